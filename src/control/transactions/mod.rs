//! What the target's coordinators are asked for the link's transactions, and what their answers mean: those of the shards
//! ([`shards`]), which carry records, and those that fill gaps ([`gaps`]). Whoever drives this asks one thing at a time.

mod gaps;
mod shards;

use crate::error;
use crate::shard::{GapsDone, GapsStep, LaneId, Stop, StopKind, TransactionDone, TransactionStep};
use crate::time::Now;
use gaps::GapFiller;
use shards::Transactor;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Pause before a request is sent again.
const RETRY_MS: u64 = 20;

const CONCURRENT_TRANSACTIONS: i16 = 51;
const OPERATION_NOT_ATTEMPTED: i16 = 55;

/// What a shard wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Transaction(TransactionStep),
    Gaps(GapsStep),
}

impl Step {
    /// The lanes that it names.
    pub fn lanes(&self) -> Vec<LaneId> {
        match self {
            Self::Transaction(TransactionStep::Claim { lanes } | TransactionStep::Join { lanes }) => {
                lanes.clone()
            }
            Self::Transaction(TransactionStep::Commit { positions }) => {
                positions.iter().map(|(lane, _)| *lane).collect()
            }
            Self::Gaps(GapsStep::Claim) => Vec::new(),
            Self::Gaps(GapsStep::Fill { lanes, .. }) => lanes.iter().map(|(lane, _)| *lane).collect(),
        }
    }
}

/// What became of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Transaction(TransactionDone),
    Gaps(GapsDone),
}

impl Done {
    /// The producer id that must be published as the link's before the shard hears of it.
    pub fn to_publish(&self) -> Option<i64> {
        match self {
            Self::Transaction(TransactionDone::Claimed { producer_id, .. })
            | Self::Gaps(GapsDone::Claimed { producer_id, .. }) => Some(*producer_id),
            _ => None,
        }
    }
}

/// A partition of the target, as a step's lane stands for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub lane: LaneId,
    pub topic: Arc<str>,
    pub partition: i32,
    /// Nil where the cluster has no topic ids.
    pub topic_id: Uuid,
}

/// In whose name a request is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    pub transactional_id: String,
    pub id: i64,
    pub epoch: i16,
}

/// A request to a coordinator. The one of the group where `group` is named, else that of the transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// InitProducerId; [`Coordination::on_producer`].
    Init { transactional_id: String },
    /// OffsetFetch of all that the group has committed, with `require_stable`; [`Coordination::on_positions`].
    Positions { group: String },
    /// AddPartitionsToTxn; [`Coordination::on_joined`].
    AddPartitions { producer: Producer, partitions: Vec<(Arc<str>, i32)> },
    /// AddOffsetsToTxn; [`Coordination::on_done`].
    AddGroup { producer: Producer, group: String },
    /// TxnOffsetCommit; [`Coordination::on_done`].
    CommitPositions { producer: Producer, group: String, positions: Vec<Position> },
    /// EndTxn; [`Coordination::on_done`].
    End { producer: Producer, commits: bool },
    /// Produce of so many empty records to the partition's leader; [`Coordination::on_done`].
    Append { producer: Producer, topic: Arc<str>, partition: i32, base_sequence: i32, records: i32 },
}

/// A position as the group has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub topic: Arc<str>,
    pub partition: i32,
    pub source_offset: i64,
    pub metadata: String,
}

/// All transactions of a link.
#[derive(Debug)]
pub struct Coordination {
    shards: Transactor,
    gaps: GapFiller,
    /// Whose question is under way, or was the last one.
    asking: Whose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Shards,
    Gaps,
}

impl Coordination {
    /// For a link that ever had `ids` shards.
    pub fn new(link: &str, ids: u32) -> Self {
        Self { shards: Transactor::new(link, ids), gaps: GapFiller::new(link), asking: Whose::Gaps }
    }

    /// A step of a shard; `places` says what its lanes are.
    pub fn handle(&mut self, shard: usize, step: Step, places: Vec<Place>) {
        match step {
            Step::Transaction(step) => self.shards.handle(shard, step, places),
            Step::Gaps(step) => self.gaps.handle(shard, step, places),
        }
    }

    /// What to ask now. The answer comes before anything else is asked.
    pub fn poll(&mut self, now: Now) -> Option<Todo> {
        // In turn, so that neither waits for long.
        let order = match self.asking {
            Whose::Shards => [Whose::Gaps, Whose::Shards],
            Whose::Gaps => [Whose::Shards, Whose::Gaps],
        };
        order.into_iter().find_map(|whose| {
            let todo = match whose {
                Whose::Shards => self.shards.poll(now),
                Whose::Gaps => self.gaps.poll(now),
            };
            self.asking = if todo.is_some() { whose } else { self.asking };
            todo
        })
    }

    /// When [`Self::poll`] may have something though nothing happened (steady clock, µs).
    pub fn poll_timeout(&self) -> Option<u64> {
        [self.shards.poll_timeout(), self.gaps.poll_timeout()].into_iter().flatten().min()
    }

    /// What became of steps, and whose they were.
    pub fn poll_done(&mut self) -> Option<(usize, Done)> {
        let of_shards = self.shards.poll_done().map(|(shard, done)| (shard, Done::Transaction(done)));
        of_shards.or_else(|| self.gaps.poll_done().map(|(shard, done)| (shard, Done::Gaps(done))))
    }

    // Answers.

    /// There was none, and nobody knows whether what was asked for is done.
    pub fn on_failed(&mut self, now: Now) {
        match self.asking {
            Whose::Shards => self.shards.on_failed(now),
            Whose::Gaps => self.gaps.on_failed(now),
        }
    }

    /// There will be none: the target does not have such requests, or this user may not look for the coordinator.
    pub fn on_refused(&mut self, detail: String) {
        match self.asking {
            Whose::Shards => self.shards.on_refused(detail),
            Whose::Gaps => self.gaps.on_refused(detail),
        }
    }

    pub fn on_producer(&mut self, now: Now, code: i16, id: i64, epoch: i16) {
        match self.asking {
            Whose::Shards => self.shards.on_producer(now, code, id, epoch),
            Whose::Gaps => self.gaps.on_producer(now, code, id, epoch),
        }
    }

    /// The group's positions; those of topics that were made anew since are nothing to go by.
    pub fn on_positions(&mut self, now: Now, code: i16, committed: &[Position]) {
        self.shards.on_positions(now, code, committed);
    }

    /// By partition. The coordinator adds all of them or none.
    pub fn on_joined(&mut self, now: Now, codes: &BTreeMap<(Arc<str>, i32), i16>) {
        match self.asking {
            Whose::Shards => self.shards.on_joined(now, codes),
            Whose::Gaps => self.gaps.on_joined(now, codes),
        }
    }

    pub fn on_done(&mut self, now: Now, code: i16) {
        match self.asking {
            Whose::Shards => self.shards.on_done(now, code),
            Whose::Gaps => self.gaps.on_done(now, code),
        }
    }
}

fn refusal(code: i16, what: &str) -> Stop {
    let kind = match error::of_produce(code) {
        error::Verdict::Stop(kind) => kind,
        _ => StopKind::TargetRefuses,
    };
    Stop { kind, detail: format!("{what}: {}: {}", error::name(code), error::advice(code)) }
}
