//! The built-in load and its judge: what is sent and when, and whether exactly that arrived.
//!
//! A load is a numbered sequence of batches for each partition. Everything about batch `index` of a partition is a function of
//! the two numbers, so whoever reads the target can check each batch without having seen it being sent:
//! - its *variant*, one of a few payloads that were encoded beforehand, picked pseudo-randomly;
//! - its base timestamp, [`Batches::first_timestamp_ms`] + `index`, which makes the index readable from the header;
//! - its intended send time, by [`Schedule`].

mod arrivals;
mod batches;
pub mod capacity;
mod check;
mod keys;
mod measures;
pub mod omb;
mod outcome;
mod payload;
pub mod perf_test;
mod report;
mod schedule;
pub mod shape;
mod sizes;
mod workload;

pub use arrivals::{Arrivals, Pattern, Profile};
pub use batches::{Batches, Codec, Headers, ReadyBatch, Shape};
pub use check::{Checker, Found, Tally};
pub use keys::{Keys, Turn};
pub use measures::Measures;
pub use outcome::{LoadReport, LoadSettings, Rate, ReadBack, Step, TransactionCounts};
pub use payload::Values;
pub use report::{
    BenchReport, CatchUp, Checked, LatencyRun, LoadFacts, MirrorFacts, StagesRun, SweepPoint, Throughput,
};
pub use schedule::Schedule;
pub use sizes::Sizes;
pub use workload::{KeyDistributor, Workload};
