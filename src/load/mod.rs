//! The built-in load and its judge: what is sent and when, and whether exactly that arrived.
//!
//! A load is a numbered sequence of batches for each partition. Everything about batch `index` of a partition is a function of
//! the two numbers, so whoever reads the target can check each batch without having seen it being sent:
//! - its *variant*, one of a few payloads that were encoded beforehand, picked pseudo-randomly;
//! - its base timestamp, [`Batches::first_timestamp_ms`] + `index`, which makes the index readable from the header;
//! - its intended send time, by [`Schedule`].

mod batches;
mod check;
mod payload;
mod report;
mod schedule;

pub use batches::{Batches, Codec, Shape};
pub use check::{Checker, Found, Tally};
pub use report::{BenchReport, Checked, LatencyRun, LoadFacts, MirrorFacts, Throughput};
pub use schedule::Schedule;
