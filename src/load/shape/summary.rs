//! What a shape is like, in a few figures, and whether two are alike.

use super::{Captured, Clock, Ended};
use crate::load::Codec;
use crate::stats::units;
use serde::Serialize;
use std::fmt;

/// Arrival times are compared at so many moments.
const MOMENTS: usize = 200;

#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub topics: usize,
    pub partitions: usize,
    pub clock: Clock,
    pub ended: Ended,
    /// How long was looked.
    pub seconds: f64,
    /// From the first batch to the last.
    pub active_seconds: f64,
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
    /// While it was active.
    pub batches_per_second: f64,
    pub records_per_second: f64,
    pub bytes_per_second: f64,
    /// In the busiest second.
    pub peak_bytes_per_second: f64,
    pub batch_bytes: Spread,
    pub records_per_batch: Spread,
    /// Their part of all bytes.
    pub codecs: Vec<(&'static str, f64)>,
    /// Partitions that had a batch.
    pub partitions_used: usize,
    /// The busiest partition's part of all bytes.
    pub busiest_share: f64,
    pub control_batches: u64,
    /// By topic and partition, its part of all bytes.
    #[serde(skip)]
    shares: Vec<((u32, u32), f64)>,
    /// How much of all bytes had come at each of [`MOMENTS`].
    #[serde(skip)]
    course: Vec<f64>,
}

/// How some sizes are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Spread {
    fn of(mut sizes: Vec<u32>) -> Self {
        sizes.sort_unstable();
        let Some(last) = sizes.len().checked_sub(1) else { return Self::default() };
        let at = |quantile: f64| u64::from(sizes[(quantile * last as f64).round() as usize]);
        let sum: u64 = sizes.iter().map(|size| u64::from(*size)).sum();
        Self { mean: sum as f64 / sizes.len() as f64, p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl Summary {
    pub fn of(captured: &Captured) -> Self {
        let Captured { head, batches } = captured;
        let (bytes, records) = (captured.bytes(), captured.records());
        let first_us = batches.first().map_or(0, |seen| seen.at_us);
        let active_us = batches.last().map_or(0, |seen| seen.at_us) - first_us;
        let active_seconds = active_us as f64 / 1e6;
        // The last batch ends the time; what it brings belongs to the time after.
        let rate = |count: u64, last: u64| (count - last) as f64 / active_seconds.max(1e-6);
        let rate = |count: u64, last: u64| if active_us == 0 { 0.0 } else { rate(count, last) };
        let last = batches.last().copied();
        let mut by_lane = vec![0u64; head.lanes()];
        let mut by_codec = [0u64; Codec::ALL.len()];
        let mut course = vec![0u64; MOMENTS + 1];
        let mut seconds = vec![0u64; (active_us / 1_000_000) as usize + 1];
        for seen in batches {
            let since_us = seen.at_us - first_us;
            by_lane[seen.lane as usize] += u64::from(seen.bytes);
            by_codec[seen.codec.id() as usize] += u64::from(seen.bytes);
            course[(u128::from(since_us) * MOMENTS as u128 / u128::from(active_us.max(1))) as usize] +=
                u64::from(seen.bytes);
            seconds[(since_us / 1_000_000) as usize] += u64::from(seen.bytes);
        }
        let share = |part: u64| part as f64 / bytes.max(1) as f64;
        let mut come = 0;
        let course = course.iter().map(|part| {
            come += part;
            share(come)
        });
        Self {
            topics: head.topics.len(),
            partitions: head.lanes(),
            clock: head.clock,
            ended: head.ended,
            seconds: head.us as f64 / 1e6,
            active_seconds,
            batches: batches.len() as u64,
            records,
            bytes,
            batches_per_second: rate(batches.len() as u64, u64::from(last.is_some())),
            records_per_second: rate(records, last.map_or(0, |seen| u64::from(seen.records))),
            bytes_per_second: rate(bytes, last.map_or(0, |seen| u64::from(seen.bytes))),
            peak_bytes_per_second: seconds.iter().max().copied().unwrap_or(0) as f64,
            batch_bytes: Spread::of(batches.iter().map(|seen| seen.bytes).collect()),
            records_per_batch: Spread::of(batches.iter().map(|seen| seen.records).collect()),
            codecs: Codec::ALL
                .iter()
                .zip(by_codec)
                .filter(|(_, bytes)| *bytes > 0)
                .map(|(codec, bytes)| (codec.name(), share(bytes)))
                .collect(),
            partitions_used: by_lane.iter().filter(|bytes| **bytes > 0).count(),
            busiest_share: share(by_lane.iter().max().copied().unwrap_or(0)),
            control_batches: head.left_out.control,
            course: course.collect(),
            shares: captured.places().into_iter().zip(by_lane.into_iter().map(share)).collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = match self.clock {
            Clock::Arrival => "by the clock, as they came",
            Clock::Timestamps => "by their timestamps",
        };
        writeln!(
            f,
            "captured    {:.1} s, {clock}; ended {}; {:.1} s from the first batch to the last",
            self.seconds, self.ended, self.active_seconds
        )?;
        writeln!(
            f,
            "traffic     {} batches, {} records, {} in {} of {} partitions ({} {})",
            units::count(self.batches),
            units::count(self.records),
            units::bytes(self.bytes),
            units::count(self.partitions_used as u64),
            units::count(self.partitions as u64),
            units::count(self.topics as u64),
            if self.topics == 1 { "topic" } else { "topics" },
        )?;
        writeln!(
            f,
            "rate        {}, {}, {}; busiest second {}",
            units::byte_rate(self.bytes_per_second),
            units::rate(self.records_per_second, "records"),
            units::rate(self.batches_per_second, "batches"),
            units::bytes(self.peak_bytes_per_second as u64),
        )?;
        let Spread { mean, p50, p99, max } = self.batch_bytes;
        let size = |bytes: u64| units::memory(bytes);
        writeln!(
            f,
            "batches     mean {}   p50 {}   p99 {}   max {}",
            size(mean as u64),
            size(p50),
            size(p99),
            size(max)
        )?;
        let Spread { mean, p50, p99, max } = self.records_per_batch;
        writeln!(f, "  records   mean {mean:.1}   p50 {p50}   p99 {p99}   max {max}")?;
        let codecs: Vec<String> =
            self.codecs.iter().map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect();
        writeln!(f, "codecs      {} (of the bytes)", codecs.join(", "))?;
        write!(f, "partitions  the busiest has {:.1} % of the bytes", self.busiest_share * 100.0)?;
        if self.control_batches > 0 {
            write!(f, "; {} markers of transactions left out", units::count(self.control_batches))?;
        }
        Ok(())
    }
}

/// Two shapes side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The second was meant to be so many times as fast.
    pub speed: f64,
    pub tolerance_percent: f64,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub what: &'static str,
    pub first: f64,
    pub second: f64,
    /// Of the first; of everything where the row is one of shares.
    pub difference_percent: f64,
}

impl Comparison {
    pub fn of(first: &Summary, second: &Summary, speed: f64, tolerance_percent: f64) -> Self {
        let mut rows = Vec::new();
        let mut figure = |what, first: f64, second: f64| {
            let difference = if first == second { 0.0 } else { (second - first) / first.abs().max(1e-9) };
            rows.push(Row { what, first, second, difference_percent: 100.0 * difference });
        };
        figure("batches", first.batches as f64, second.batches as f64);
        figure("bytes", first.bytes as f64, second.bytes as f64);
        figure("records", first.records as f64, second.records as f64);
        figure("bytes/s", first.bytes_per_second * speed, second.bytes_per_second);
        figure("records/s", first.records_per_second * speed, second.records_per_second);
        figure("batches/s", first.batches_per_second * speed, second.batches_per_second);
        for (names, first, second) in [
            (
                ["batch bytes, mean", "batch bytes, p50", "batch bytes, p99"],
                first.batch_bytes,
                second.batch_bytes,
            ),
            (
                ["records per batch, mean", "records per batch, p50", "records per batch, p99"],
                first.records_per_batch,
                second.records_per_batch,
            ),
        ] {
            figure(names[0], first.mean, second.mean);
            figure(names[1], first.p50 as f64, second.p50 as f64);
            figure(names[2], first.p99 as f64, second.p99 as f64);
        }
        // Shares of everything: what one has too much another has too little.
        let mut shares = |what, apart: f64| {
            rows.push(Row { what, first: 0.0, second: apart, difference_percent: 100.0 * apart });
        };
        shares("codecs, share of bytes apart", apart(&first.codecs, &second.codecs));
        shares("partitions, share of bytes apart", apart(&first.shares, &second.shares));
        let times = first.course.iter().zip(&second.course).map(|(one, other)| (one - other).abs());
        shares("arrival times, share of bytes apart", times.fold(0.0, f64::max));
        Self { speed, tolerance_percent, rows }
    }

    pub fn is_alike(&self) -> bool {
        self.rows.iter().all(|row| self.is_near(row))
    }

    fn is_near(&self, row: &Row) -> bool {
        row.difference_percent.abs() <= self.tolerance_percent
    }
}

/// How much would have to be moved from one name to another.
fn apart<N: PartialEq>(first: &[(N, f64)], second: &[(N, f64)]) -> f64 {
    let of = |all: &[(N, f64)], name: &N| {
        all.iter().find(|(other, _)| other == name).map_or(0.0, |(_, part)| *part)
    };
    // Both are sorted alike where they have the same names, which is the usual case and spares the search.
    let missing = first.iter().enumerate().map(|(at, (name, part))| {
        let other = second
            .get(at)
            .filter(|(other, _)| other == name)
            .map_or_else(|| of(second, name), |(_, part)| *part);
        (part - other).max(0.0)
    });
    missing.sum()
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = if self.speed == 1.0 { String::new() } else { format!(" × {}", self.speed) };
        writeln!(f, "{:<38}{:>16}{:>16}{:>13}", "", format!("first{speed}"), "second", "difference")?;
        for row in &self.rows {
            let mark = if self.is_near(row) { "" } else { "   <==" };
            let values = match row.what.contains("apart") {
                true => format!("{:>32}", ""),
                false => format!("{:>16.1}{:>16.1}", row.first, row.second),
            };
            writeln!(f, "{:<38}{values}{:>+11.2} %{mark}", row.what, row.difference_percent)?;
        }
        let verdict = if self.is_alike() { "alike" } else { "NOT alike" };
        write!(f, "{verdict}, within {} %", self.tolerance_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::captured;
    use super::super::{Captured, Seen};
    use super::*;

    fn even(count: u64, gap_us: u64, bytes: u32, codec: Codec) -> Captured {
        let seen = |n: u64| Seen { at_us: n * gap_us, lane: (n % 4) as u32, bytes, records: 10, codec };
        captured((0..count).map(seen).collect())
    }

    fn compare(first: &Captured, second: &Captured, speed: f64) -> Comparison {
        Comparison::of(&Summary::of(first), &Summary::of(second), speed, 2.0)
    }

    fn differs(comparison: &Comparison) -> Vec<&'static str> {
        comparison.rows.iter().filter(|row| !comparison.is_near(row)).map(|row| row.what).collect()
    }

    #[test]
    fn rates_are_those_between_the_first_and_the_last_batch() {
        let summary = Summary::of(&even(2001, 1000, 5000, Codec::Zstd));
        assert_eq!((summary.active_seconds, summary.batches_per_second), (2.0, 1000.0));
        assert_eq!((summary.bytes_per_second, summary.records_per_second), (5e6, 10_000.0));
        assert_eq!((summary.batch_bytes.p50, summary.partitions_used), (5000, 4));
        assert_eq!(summary.codecs, [("zstd", 1.0)]);
        let text = summary.to_string();
        assert!(text.contains("5.00 MB/s, 10,000 records/s, 1,000 batches/s"), "{text}");
    }

    #[test]
    fn a_faster_replay_is_alike_at_its_speed_only() {
        let (slow, fast) = (even(2001, 1000, 5000, Codec::None), even(2001, 250, 5000, Codec::None));
        assert!(compare(&slow, &fast, 4.0).is_alike(), "{}", compare(&slow, &fast, 4.0));
        assert_eq!(differs(&compare(&slow, &fast, 1.0)), ["bytes/s", "records/s", "batches/s"]);
    }

    #[test]
    fn what_is_not_alike_is_named() {
        let one = even(2001, 1000, 5000, Codec::None);
        assert_eq!(
            differs(&compare(&one, &even(2001, 1000, 5000, Codec::Lz4), 1.0)),
            ["codecs, share of bytes apart"]
        );
        let mut bunched = one.clone();
        bunched.batches.iter_mut().skip(1).take(900).for_each(|seen| seen.at_us = 500);
        assert_eq!(differs(&compare(&one, &bunched, 1.0)), ["arrival times, share of bytes apart"]);
        let mut skewed = one.clone();
        skewed.batches.iter_mut().take(500).for_each(|seen| seen.lane = 0);
        assert_eq!(differs(&compare(&one, &skewed, 1.0)), ["partitions, share of bytes apart"]);
        let text = compare(&one, &skewed, 1.0).to_string();
        assert!(text.contains("NOT alike") && text.contains("<=="), "{text}");
    }

    #[test]
    fn one_batch_or_none_has_no_rate() {
        assert_eq!(Summary::of(&even(1, 1000, 100, Codec::None)).bytes_per_second, 0.0);
        assert_eq!(Summary::of(&captured(vec![])).batches, 0);
    }
}
