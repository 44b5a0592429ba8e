//! Numbers about a running mirror, and how people like to read them.

mod latency;
pub mod units;

pub use latency::{Latency, Percentiles};
