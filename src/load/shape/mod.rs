//! The shape of some topics' traffic: of each batch when it came, to which partition, its size, its codec and how many records it
//! has. Nothing of what is in a record.
//!
//! [`mod@file`] keeps it, [`summary`] tells of it and compares two, [`replay`] makes a load of it, [`synth`] the payloads.

mod file;
mod kinds;
mod replay;
mod summary;
mod synth;

pub use file::{BadShape, read, write};
pub use kinds::Kinds;
pub use replay::Replay;
pub use summary::{Comparison, Spread, Summary};

pub(super) use synth::payload;

use super::Codec;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A capture ends with this many batches: it has to fit into memory, here and where it is replayed.
pub const BATCHES_MAX: usize = 1_000_000;
/// Partitions of all topics together.
pub const LANES_MAX: usize = 200_000;

/// What was seen of some topics in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    pub head: Head,
    /// In the order of their arrival.
    pub batches: Vec<Seen>,
}

/// What a file begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Of the format.
    pub twinlog_shape: u32,
    /// The Twinlog that wrote it.
    pub version: String,
    /// When the first µs was, in ms since 1970.
    pub begin_ms: i64,
    /// How long was looked.
    pub us: u64,
    pub clock: Clock,
    pub ended: Ended,
    /// Their partitions are counted through, topic by topic: that is a batch's lane.
    pub topics: Vec<Topic>,
    pub left_out: LeftOut,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    pub name: String,
    pub partitions: u32,
}

/// Whose clock tells when batches came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// That of who captured, while they came.
    Arrival,
    /// The batches' own latest timestamps, of what was there already.
    Timestamps,
}

/// Why nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The time was over, or everything was read.
    AsAsked,
    Interrupted,
    BytesMax,
    BatchesMax,
}

/// Batches that are in no list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Markers of transactions.
    pub control: u64,
    /// Compaction left no record in them.
    pub empty: u64,
    /// Dated outside of the time that was asked for.
    pub dated_otherwise: u64,
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Since the begin.
    pub at_us: u64,
    pub lane: u32,
    /// On the wire, header included.
    pub bytes: u32,
    pub records: u32,
    pub codec: Codec,
}

impl Head {
    pub fn lanes(&self) -> usize {
        self.topics.iter().map(|topic| topic.partitions as usize).sum()
    }
}

impl Captured {
    /// Puts the batches in order.
    pub fn new(mut head: Head, mut batches: Vec<Seen>) -> Self {
        // Those of one lane and moment stay as they came.
        batches.sort_by_key(|seen| seen.at_us);
        let last_us = batches.last().map_or(0, |seen| seen.at_us);
        head.us = head.us.max(last_us + 1);
        Self { head, batches }
    }

    /// By lane: the number of its topic, and its partition.
    pub fn places(&self) -> Vec<(u32, u32)> {
        let topics = (0..).zip(&self.head.topics);
        topics.flat_map(|(at, topic)| (0..topic.partitions).map(move |partition| (at, partition))).collect()
    }

    /// Partitions of the topic that has most.
    pub fn partitions_max(&self) -> u32 {
        self.head.topics.iter().map(|topic| topic.partitions).max().unwrap_or(0)
    }

    pub fn bytes(&self) -> u64 {
        self.batches.iter().map(|seen| u64::from(seen.bytes)).sum()
    }

    pub fn records(&self) -> u64 {
        self.batches.iter().map(|seen| u64::from(seen.records)).sum()
    }

    /// Over the whole time.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes() as f64 * 1e6 / self.head.us.max(1) as f64
    }

    pub fn batch_bytes_max(&self) -> usize {
        self.batches.iter().map(|seen| seen.bytes as usize).max().unwrap_or(0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsAsked => f.write_str("as asked"),
            Self::Interrupted => f.write_str("stopped by a signal"),
            Self::BytesMax => f.write_str("at --max-bytes"),
            Self::BatchesMax => write!(f, "at {BATCHES_MAX} batches, which is the most that a file holds"),
        }
    }
}

#[cfg(test)]
pub(in crate::load) mod tests {
    use super::*;

    /// A capture of two topics with three and one partitions.
    pub(in crate::load) fn captured(batches: Vec<Seen>) -> Captured {
        let topic = |name: &str, partitions| Topic { name: name.into(), partitions };
        let head = Head {
            twinlog_shape: 1,
            version: "0.0.0".into(),
            begin_ms: 1_700_000_000_000,
            us: 0,
            clock: Clock::Arrival,
            ended: Ended::AsAsked,
            topics: vec![topic("a", 3), topic("b", 1)],
            left_out: LeftOut::default(),
        };
        Captured::new(head, batches)
    }

    #[test]
    fn lanes_are_counted_through_topic_by_topic() {
        let seen = |at_us, lane| Seen { at_us, lane, bytes: 100, records: 1, codec: Codec::None };
        let captured = captured(vec![seen(7, 3), seen(5, 0)]);
        assert_eq!(captured.places(), [(0, 0), (0, 1), (0, 2), (1, 0)]);
        assert_eq!((captured.batches[0].at_us, captured.head.us), (5, 8));
        assert_eq!((captured.head.lanes(), captured.partitions_max()), (4, 3));
    }
}
