//! What the target's coordinators are asked for the shards' transactions, in which order, and what their answers mean.
//!
//! Each shard has a transactional id (`twinlog.<link>.<shard>`); the positions of its lanes are committed in the group
//! `twinlog.<link>`, with the number and the target topic's id as metadata.
//!
//! | step of a shard | requests |
//! |---|---|
//! | claim | InitProducerId, OffsetFetch |
//! | join | AddPartitionsToTxn |
//! | commit | AddOffsetsToTxn, TxnOffsetCommit, EndTxn |
//!
//! When InitProducerId is answered, whatever was open is aborted, its markers are written, and no older batch can be appended any
//! more; so the positions that are fetched then are final. At an instance's first claim it is asked for every transactional id that
//! the link ever had, since a lane may come from another shard.
//!
//! All of these may be repeated when an answer is lost: the same epoch asks for the same thing (`TransactionCoordinator`). But what
//! was repeated may arrive a second time in the next transaction of that epoch, so that one begins with a claim. Answers
//! that say that the epoch is not ours any more, or that the coordinator gave the transaction up, break it.

use super::{
    CONCURRENT_TRANSACTIONS, OPERATION_NOT_ATTEMPTED, Place, Position, Producer, RETRY_MS, Todo, refusal,
};
use crate::control::ledger::{shard_transactional_id, transactional_id};
use crate::error;
use crate::shard::{Checkpoint, Stop, StopKind, TransactionDone, TransactionStep};
use crate::time::Now;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A step that is not done after this time is broken: the coordinator would soon abort the transaction anyway.
const PATIENCE_MS: u64 = 20_000;

const UNSTABLE_OFFSET_COMMIT: i16 = 88;
/// What is being done, for people.
const CLAIMING: &str = "claiming a transactional id of the target";
const JOINING: &str = "adding the partition to a transaction";
const COMMITTING: &str = "committing a transaction";

/// One transaction coordinator's worth of work for all shards of a link.
#[derive(Debug)]
pub(super) struct Transactor {
    link: String,
    /// Transactional ids that are to be claimed before the first position is believed.
    unclaimed: Vec<String>,
    producers: BTreeMap<usize, Producer>,
    waiting: VecDeque<(usize, TransactionStep, Vec<Place>)>,
    work: Option<Work>,
    /// Shards in whose transaction a request was not answered.
    unanswered: BTreeSet<usize>,
    asked: bool,
    retry_at_us: u64,
    done: VecDeque<(usize, TransactionDone)>,
}

#[derive(Debug)]
struct Work {
    shard: usize,
    step: TransactionStep,
    places: Vec<Place>,
    stage: Stage,
    began_us: Option<u64>,
}

impl Work {
    fn is_claim(&self) -> bool {
        matches!(self.step, TransactionStep::Claim { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Positions,
    CommitPositions,
    End,
}

impl Transactor {
    /// For a link that ever had `ids` shards.
    pub(super) fn new(link: &str, ids: u32) -> Self {
        Self {
            link: link.to_owned(),
            unclaimed: (0..ids).map(|shard| shard_transactional_id(link, shard)).collect(),
            producers: BTreeMap::new(),
            waiting: VecDeque::new(),
            work: None,
            unanswered: BTreeSet::new(),
            asked: false,
            retry_at_us: 0,
            done: VecDeque::new(),
        }
    }

    /// A step of a shard; `places` says what its lanes are.
    pub(super) fn handle(&mut self, shard: usize, step: TransactionStep, places: Vec<Place>) {
        self.waiting.push_back((shard, step, places));
    }

    /// What to ask now. The answer comes before anything else is asked.
    pub(super) fn poll(&mut self, now: Now) -> Option<Todo> {
        if self.asked || now.mono_us < self.retry_at_us {
            return None;
        }
        if self.work.is_none() {
            let (shard, step, places) = self.waiting.pop_front()?;
            self.work = Some(Work { shard, step, places, stage: Stage::Begin, began_us: None });
        }
        let work = self.work.as_mut()?;
        let began_us = *work.began_us.get_or_insert(now.mono_us);
        let shard = work.shard;
        // A claim is what mends the others, so it goes on for ever.
        if !work.is_claim()
            && (now.mono_us > began_us + PATIENCE_MS * 1_000 || !self.producers.contains_key(&shard))
        {
            self.finish(TransactionDone::Broken);
            return self.poll(now);
        }
        let todo = self.todo(shard)?;
        self.asked = true;
        Some(todo)
    }

    /// When [`Self::poll`] may have something though nothing happened (steady clock, µs).
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let has_work = self.work.is_some() || !self.waiting.is_empty();
        (has_work && !self.asked).then_some(self.retry_at_us)
    }

    /// What became of steps.
    pub(super) fn poll_done(&mut self) -> Option<(usize, TransactionDone)> {
        self.done.pop_front()
    }

    fn todo(&self, shard: usize) -> Option<Todo> {
        let work = self.work.as_ref()?;
        let group = transactional_id(&self.link);
        let producer = || self.producers.get(&shard).cloned();
        Some(match (&work.step, work.stage) {
            (TransactionStep::Claim { .. }, Stage::Begin) => {
                let own = || shard_transactional_id(&self.link, u32::try_from(shard).unwrap_or(u32::MAX));
                Todo::Init { transactional_id: self.unclaimed.last().cloned().unwrap_or_else(own) }
            }
            (TransactionStep::Claim { .. }, _) => Todo::Positions { group },
            (TransactionStep::Join { .. }, _) => {
                let partitions = work.places.iter().map(|place| (Arc::clone(&place.topic), place.partition));
                Todo::AddPartitions { producer: producer()?, partitions: partitions.collect() }
            }
            (TransactionStep::Commit { positions }, Stage::Begin) if !positions.is_empty() => {
                Todo::AddGroup { producer: producer()?, group }
            }
            (TransactionStep::Commit { positions }, Stage::CommitPositions) => {
                let positions = positions.iter().filter_map(|(lane, checkpoint)| {
                    let place = work.places.iter().find(|place| place.lane == *lane)?;
                    Some(Position {
                        topic: Arc::clone(&place.topic),
                        partition: place.partition,
                        source_offset: checkpoint.source_offset,
                        metadata: format!("{} {}", place.topic_id, checkpoint.number),
                    })
                });
                Todo::CommitPositions { producer: producer()?, group, positions: positions.collect() }
            }
            (TransactionStep::Commit { .. }, _) => Todo::End { producer: producer()?, commits: true },
        })
    }

    // Answers.

    /// There was none: the same again.
    pub(super) fn on_failed(&mut self, now: Now) {
        self.asked = false;
        self.retry_at_us = now.after_ms(RETRY_MS);
        if let Some(work) = self.work.as_ref().filter(|work| !work.is_claim()) {
            self.unanswered.insert(work.shard);
        }
    }

    /// There will be none: the target does not have such requests, or this user may not look for the coordinator.
    pub(super) fn on_refused(&mut self, detail: String) {
        self.asked = false;
        self.finish(TransactionDone::Refused(Stop { kind: StopKind::TargetRefuses, detail }));
    }

    pub(super) fn on_producer(&mut self, now: Now, code: i16, id: i64, epoch: i16) {
        if !self.is_good(now, code, CLAIMING) {
            return;
        }
        let Some(work) = &mut self.work else { return };
        let claimed = self.unclaimed.pop();
        let own = shard_transactional_id(&self.link, u32::try_from(work.shard).unwrap_or(u32::MAX));
        if claimed.as_ref().is_some_and(|claimed| *claimed != own) {
            return;
        }
        self.unanswered.remove(&work.shard);
        self.producers.insert(work.shard, Producer { transactional_id: own, id, epoch });
        if self.unclaimed.is_empty() {
            work.stage = Stage::Positions;
        }
    }

    /// The group's positions; those of topics that were made anew since are nothing to go by.
    pub(super) fn on_positions(&mut self, now: Now, code: i16, committed: &[Position]) {
        if !self.is_good(now, code, CLAIMING) {
            return;
        }
        let Some(work) = &self.work else { return };
        let Some(producer) = self.producers.get(&work.shard) else { return };
        let position = |place: &Place| {
            let of_place =
                |position: &&Position| position.topic == place.topic && position.partition == place.partition;
            let position = committed.iter().find(of_place)?;
            let (topic_id, number) = position.metadata.split_once(' ')?;
            let number = number.parse().ok().filter(|_| topic_id == place.topic_id.to_string())?;
            Some((place.lane, Checkpoint::at(number, position.source_offset)))
        };
        let positions = work.places.iter().filter_map(position).collect();
        let (producer_id, producer_epoch) = (producer.id, producer.epoch);
        self.finish(TransactionDone::Claimed { producer_id, producer_epoch, positions });
    }

    /// By partition. The coordinator adds all of them or none.
    pub(super) fn on_joined(&mut self, now: Now, codes: &BTreeMap<(Arc<str>, i32), i16>) {
        let worst = codes.values().copied().filter(|&code| code != 0 && code != OPERATION_NOT_ATTEMPTED);
        // What a partition is refused for is its own affair, and the others ask again without it.
        let (refusals, others): (Vec<i16>, Vec<i16>) =
            worst.partition(|&code| matches!(error::of_produce(code), error::Verdict::Stop(_)));
        if let Some(&code) = others.first() {
            self.is_good(now, code, JOINING);
            return;
        }
        self.asked = false;
        let Some(work) = &self.work else { return };
        let refused = |place: &Place| {
            let code = *codes.get(&(Arc::clone(&place.topic), place.partition))?;
            let stop = refusal(code, JOINING);
            refusals.contains(&code).then_some((place.lane, stop))
        };
        let refused = work.places.iter().filter_map(refused).collect();
        self.finish(TransactionDone::Joined { refused });
    }

    pub(super) fn on_done(&mut self, now: Now, code: i16) {
        if !self.is_good(now, code, COMMITTING) {
            return;
        }
        let Some(work) = &mut self.work else { return };
        match (&work.step, work.stage) {
            (TransactionStep::Commit { positions }, Stage::Begin) if !positions.is_empty() => {
                work.stage = Stage::CommitPositions;
            }
            (TransactionStep::Commit { .. }, Stage::CommitPositions) => work.stage = Stage::End,
            (TransactionStep::Commit { .. }, _) => {
                let is_last_word = !self.unanswered.remove(&work.shard);
                self.finish(TransactionDone::Committed { is_last_word });
            }
            _ => {}
        }
    }

    /// Whether the answer is the one that was hoped for. If not, the same is asked again, or the step has come to its end.
    fn is_good(&mut self, now: Now, code: i16, what: &str) -> bool {
        self.asked = false;
        if code == 0 {
            return true;
        }
        let is_claim = self.work.as_ref().is_some_and(Work::is_claim);
        match code {
            CONCURRENT_TRANSACTIONS | UNSTABLE_OFFSET_COMMIT => self.retry_at_us = now.after_ms(RETRY_MS),
            code if error::is_retriable(code) => self.retry_at_us = now.after_ms(RETRY_MS),
            // The epoch that we have, or the transaction, is over for the coordinator.
            code if error::breaks_transaction(code) && is_claim => self.retry_at_us = now.after_ms(RETRY_MS),
            code if error::breaks_transaction(code) => self.finish(TransactionDone::Broken),
            code => self.finish(TransactionDone::Refused(refusal(code, what))),
        }
        false
    }

    fn finish(&mut self, done: TransactionDone) {
        if let Some(work) = self.work.take() {
            if done == TransactionDone::Broken {
                self.producers.remove(&work.shard);
            }
            self.done.push_back((work.shard, done));
        }
    }
}
