//! Numbers about a running mirror, and how people like to read them.

mod buckets;
mod checkpoint_times;
mod flight;
mod heat;
mod lately;
mod latency;
pub mod live;
pub mod metrics;
mod report;
mod stages;
mod timeline;
pub mod units;
mod watch;

pub use buckets::{BOUNDS_US, Buckets, StageBuckets, Way};
pub use checkpoint_times::CheckpointTimes;
pub use flight::{Flight, Noted};
pub use heat::{Heat, ROWS_PER_DECADE};
pub use lately::{Lately, Passed, Span};
pub use latency::{Latency, Percentiles};
pub use report::{Counters, Lag, LaneCounts, Meter, Rates, Report};
pub use stages::{Passage, Stage, StageFigures, Stages};
pub use timeline::{Phase, Sample, Timeline};
pub use watch::{InstanceLook, LaneLook, Limits, Pulse, Watch};
