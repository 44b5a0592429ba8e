//! What was measured of a load in some span of time.

use crate::stats::Latency;

/// Counts and latencies. Latencies count records, each with what its batch took.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// From the moment a batch was meant to be sent to its acknowledgement; at full speed from the moment it was sent.
    pub from_intended: Latency,
    /// From the moment it was sent in fact. Smaller, when the sender itself was held up: what most tools show.
    pub from_sent: Latency,
    /// From the moment it was meant to be sent to the moment it was.
    pub delay: Latency,
    /// From the moment it was meant to be sent to the moment a consumer had it.
    pub end_to_end: Latency,
    /// Acknowledged.
    pub batches: u64,
    pub records: u64,
    /// Sum of the sizes of their values.
    pub value_bytes: u64,
    /// Their batches as they travelled.
    pub wire_bytes: u64,
    /// Refused, or on a connection that broke.
    pub failed_batches: u64,
    pub failed_records: u64,
    /// Read back.
    pub consumed_records: u64,
    pub consumed_bytes: u64,
}

impl Measures {
    pub fn merge(&mut self, other: &Self) {
        self.from_intended.merge(&other.from_intended);
        self.from_sent.merge(&other.from_sent);
        self.delay.merge(&other.delay);
        self.end_to_end.merge(&other.end_to_end);
        self.batches += other.batches;
        self.records += other.records;
        self.value_bytes += other.value_bytes;
        self.wire_bytes += other.wire_bytes;
        self.failed_batches += other.failed_batches;
        self.failed_records += other.failed_records;
        self.consumed_records += other.consumed_records;
        self.consumed_bytes += other.consumed_bytes;
    }

    /// Back to nothing, without letting the histograms' memory go.
    pub fn clear(&mut self) {
        let Self { from_intended, from_sent, delay, end_to_end, .. } = self;
        [from_intended, from_sent, delay, end_to_end].into_iter().for_each(Latency::clear);
        self.batches = 0;
        self.records = 0;
        self.value_bytes = 0;
        self.wire_bytes = 0;
        self.failed_batches = 0;
        self.failed_records = 0;
        self.consumed_records = 0;
        self.consumed_bytes = 0;
    }
}
