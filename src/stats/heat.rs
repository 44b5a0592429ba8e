//! How latencies were distributed over time: counts in cells of a span of time and a range of latencies.

/// Ranges of latencies for each power of ten.
pub const ROWS_PER_DECADE: usize = 8;
/// From 1 µs to 1000 s.
pub const ROWS: usize = 9 * ROWS_PER_DECADE;
/// More columns than this are merged two by two.
const COLUMNS_MAX: usize = 120;
const COLUMN_US: u64 = 100_000;

#[derive(Clone, Debug)]
pub struct Heat {
    column_us: u64,
    columns: Vec<[u32; ROWS]>,
}

impl Default for Heat {
    fn default() -> Self {
        Self { column_us: COLUMN_US, columns: Vec::new() }
    }
}

impl Heat {
    /// Counts a latency that ended at `at_us` (since the start).
    pub fn record(&mut self, at_us: u64, latency_us: u64) {
        let mut column = usize::try_from(at_us / self.column_us).unwrap_or(usize::MAX);
        while column >= COLUMNS_MAX {
            self.merge_columns();
            column = usize::try_from(at_us / self.column_us).unwrap_or(usize::MAX);
        }
        if column >= self.columns.len() {
            self.columns.resize(column + 1, [0; ROWS]);
        }
        let cell = &mut self.columns[column][row_of(latency_us)];
        *cell = cell.saturating_add(1);
    }

    /// Half as many, each twice as long.
    fn merge_columns(&mut self) {
        let pairs = self.columns.chunks(2).map(|pair| {
            let mut sum = pair[0];
            if let Some(second) = pair.get(1) {
                sum.iter_mut().zip(second).for_each(|(cell, more)| *cell = cell.saturating_add(*more));
            }
            sum
        });
        self.columns = pairs.collect();
        self.column_us *= 2;
    }

    pub fn column_us(&self) -> u64 {
        self.column_us
    }

    /// The largest count of a cell.
    pub fn max(&self) -> u32 {
        self.columns.iter().flatten().copied().max().unwrap_or(0)
    }

    /// Column, row and count of all cells that have something.
    pub fn cells(&self) -> impl Iterator<Item = (usize, usize, u32)> {
        self.columns.iter().enumerate().flat_map(|(column, rows)| {
            let filled = rows.iter().enumerate().filter(|(_, count)| **count > 0);
            filled.map(move |(row, count)| (column, row, *count))
        })
    }
}

fn row_of(latency_us: u64) -> usize {
    let decades = (latency_us.max(1) as f64).log10();
    ((decades * ROWS_PER_DECADE as f64) as usize).min(ROWS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_again_however_long_it_takes() {
        let mut heat = Heat::default();
        heat.record(0, 0);
        heat.record(50_000, 1_000);
        heat.record(50_000, 1_100);
        assert_eq!(heat.cells().collect::<Vec<_>>(), [(0, 0, 1), (0, 24, 2)]);
        heat.record(3_600_000_000, u64::MAX);
        let cells: Vec<_> = heat.cells().collect();
        assert_eq!((cells.len(), heat.max()), (3, 2));
        assert_eq!(cells[2].1, ROWS - 1);
        let last_begins_us = cells[2].0 as u64 * heat.column_us();
        assert!((3_600_000_000 - heat.column_us()..=3_600_000_000).contains(&last_begins_us), "{cells:?}");
    }
}
