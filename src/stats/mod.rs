//! Numbers about a running mirror, and how people like to read them.

mod latency;
pub mod metrics;
mod report;
pub mod units;
mod watch;

pub use latency::{Latency, Percentiles};
pub use report::{Counters, Lag, LaneCounts, Meter, Rates, Report};
pub use watch::{LaneLook, Pulse, Watch};
