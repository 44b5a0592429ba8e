//! What was, moment by moment, as far as an hour back.

use super::rounded;
use crate::stats::{Counters, Watch};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const COLUMNS_MAX: usize = 240;
/// Looks that one column stands for, at the most. Before that columns are merged two by two when there are too many.
const LOOKS_MAX: u32 = 16;
/// How old the newest record of a partition that is behind may be to be counted in a row; the first row is for those that are not
/// behind, the last for those that are older, or whose records' age is not known.
pub const ROWS_MS: [u64; 7] = [1_000, 5_000, 15_000, 60_000, 300_000, 1_800_000, 10_800_000];
const ROWS: usize = ROWS_MS.len() + 2;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The bounds of the rows but the first and the last.
    pub rows_ms: Vec<u64>,
    /// The oldest first.
    pub columns: Vec<Column>,
}

/// Time (ms since 1970, at the end), bytes a second, busy cores, lag in records and in ms at its largest, and how many partitions
/// were in each row on average.
pub type Column = (i64, u64, f64, u64, u64, Vec<u32>);

#[derive(Clone, Debug, Default)]
struct Sum {
    looks: u32,
    at_ms: i64,
    us: u64,
    bytes: u64,
    cpu_us: u64,
    lag_records: u64,
    lag_ms: u64,
    rows: [u64; ROWS],
}

#[derive(Debug)]
pub(super) struct Recent {
    sums: VecDeque<Sum>,
    looks_max: u32,
}

impl Default for Recent {
    fn default() -> Self {
        Self { sums: VecDeque::new(), looks_max: 1 }
    }
}

impl Recent {
    /// `before` is the last look: its moment in µs since the start, and what each shard had done by then.
    pub(super) fn note(&mut self, watch: &Watch, before: Option<(u64, &[Counters])>) {
        let report = &watch.report;
        let total = |shards: &[Counters], of: fn(&Counters) -> u64| shards.iter().map(of).sum::<u64>();
        let since = |of: fn(&Counters) -> u64| {
            before.map_or(0, |(_, shards)| total(&report.shards, of).saturating_sub(total(shards, of)))
        };
        let mut sum = Sum {
            looks: 1,
            at_ms: watch.at.wall_ms,
            us: before.map_or(0, |(before_us, _)| report.elapsed_us.saturating_sub(before_us)),
            bytes: since(|shard| shard.bytes),
            cpu_us: since(|shard| shard.cpu_us),
            lag_records: report.lag.map_or(0, |lag| lag.records),
            lag_ms: report.lag.and_then(|lag| lag.ms).unwrap_or(0),
            rows: [0; ROWS],
        };
        for lane in watch.lanes.iter().filter(|lane| !lane.is_paused() && lane.lag_records().is_some()) {
            sum.rows[row(lane.lag_records(), lane.lag_ms(watch.at.wall_ms))] += 1;
        }
        self.push(sum);
    }

    fn push(&mut self, sum: Sum) {
        match self.sums.back_mut().filter(|last| last.looks < self.looks_max) {
            Some(last) => last.add(&sum),
            None => self.sums.push_back(sum),
        }
        if self.sums.len() <= COLUMNS_MAX {
            return;
        }
        if self.looks_max >= LOOKS_MAX {
            self.sums.pop_front();
            return;
        }
        self.looks_max *= 2;
        let pairs: Vec<Sum> = self.sums.drain(..).collect();
        self.sums.extend(pairs.chunks(2).map(|pair| {
            let mut first = pair[0].clone();
            pair[1..].iter().for_each(|second| first.add(second));
            first
        }));
    }

    pub(super) fn history(&self) -> History {
        History { rows_ms: ROWS_MS.to_vec(), columns: self.sums.iter().map(Sum::column).collect() }
    }
}

impl Sum {
    fn add(&mut self, next: &Self) {
        self.looks += next.looks;
        self.at_ms = next.at_ms;
        self.us += next.us;
        self.bytes += next.bytes;
        self.cpu_us += next.cpu_us;
        self.lag_records = self.lag_records.max(next.lag_records);
        self.lag_ms = self.lag_ms.max(next.lag_ms);
        self.rows.iter_mut().zip(next.rows).for_each(|(sum, more)| *sum += more);
    }

    fn column(&self) -> Column {
        let seconds = (self.us as f64 / 1e6).max(1e-3);
        // A partition that was there once in many looks shows.
        let mean =
            |lanes: &u64| u32::try_from(lanes.div_ceil(u64::from(self.looks.max(1)))).unwrap_or(u32::MAX);
        (
            self.at_ms,
            (self.bytes as f64 / seconds).round() as u64,
            rounded(self.cpu_us as f64 / 1e6 / seconds),
            self.lag_records,
            self.lag_ms,
            self.rows.iter().map(mean).collect(),
        )
    }
}

/// Of a partition that is known to be so far behind.
pub(super) fn row(lag_records: Option<u64>, lag_ms: Option<u64>) -> usize {
    match (lag_records, lag_ms) {
        (Some(0), _) => 0,
        (_, Some(ms)) => 1 + ROWS_MS.iter().take_while(|bound| ms > **bound).count(),
        (_, None) => ROWS - 1,
    }
}
