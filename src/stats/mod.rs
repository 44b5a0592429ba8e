//! Numbers about a running mirror, and how people like to read them.

mod latency;
mod report;
pub mod units;

pub use latency::{Latency, Percentiles};
pub use report::{Counters, Lag, LaneCounts, Meter, Rates, Report};
