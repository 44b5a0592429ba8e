//! Transactions that fill gaps of a source's offsets, and are aborted.
//!
//! All shards of a link share one transactional id (`twinlog.<link>:gaps`), and each step ends with a claim (InitProducerId): when
//! it is answered, whatever was open is aborted, its markers are written, and nothing of before can be appended any more.
//!
//! | step of a shard | requests |
//! |---|---|
//! | claim | InitProducerId |
//! | fill | so many times: AddPartitionsToTxn, Produce of empty records where they are wanted, EndTxn; then InitProducerId |
//!
//! Nothing but InitProducerId is ever asked twice. A request without an answer may be carried out later, and then one that was
//! repeated would begin a transaction that nobody reckons with; so the claim comes at once, which shuts it out, and the log end
//! tells how far the filling got. For the same reason a step is carried out only under the claim that the log ends were asked
//! under: another instance that filled the gap had to claim first.

use super::{CONCURRENT_TRANSACTIONS, OPERATION_NOT_ATTEMPTED, Place, Producer, RETRY_MS, Todo, refusal};
use crate::control::ledger::gaps_transactional_id;
use crate::error;
use crate::limits::SEEDS_PER_BATCH;
use crate::shard::{GapFill, GapsDone, GapsStep, LaneId, Stop, StopKind};
use crate::time::Now;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What is being done, for people.
const CLAIMING: &str = "claiming the transactional id that fills gaps";
const JOINING: &str = "adding the partition to a transaction that fills gaps";
const APPENDING: &str = "filling a gap with records of an aborted transaction";

#[derive(Debug)]
pub(super) struct GapFiller {
    transactional_id: String,
    producer: Option<Producer>,
    /// Counts them.
    claim: u64,
    waiting: VecDeque<(usize, GapsStep, Vec<Place>)>,
    work: Option<Work>,
    asked: bool,
    retry_at_us: u64,
    done: VecDeque<(usize, GapsDone)>,
}

#[derive(Debug)]
struct Work {
    shard: usize,
    stage: Stage,
    /// The partitions, what each is to get, and how many transactions it had.
    parts: Vec<Part>,
    stopped: Vec<(LaneId, Stop)>,
}

#[derive(Debug)]
struct Part {
    place: Place,
    fill: GapFill,
    times: i64,
    appended: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Join,
    Append,
    End,
    Claim,
}

impl GapFiller {
    pub(super) fn new(link: &str) -> Self {
        Self {
            transactional_id: gaps_transactional_id(link),
            producer: None,
            claim: 0,
            waiting: VecDeque::new(),
            work: None,
            asked: false,
            retry_at_us: 0,
            done: VecDeque::new(),
        }
    }

    pub(super) fn handle(&mut self, shard: usize, step: GapsStep, places: Vec<Place>) {
        self.waiting.push_back((shard, step, places));
    }

    pub(super) fn poll(&mut self, now: Now) -> Option<Todo> {
        if self.asked || now.mono_us < self.retry_at_us {
            return None;
        }
        if self.work.is_none() {
            let (shard, step, places) = self.waiting.pop_front()?;
            self.work = Some(self.begin(shard, step, places));
        }
        let todo = self.todo();
        self.asked = todo.is_some();
        todo
    }

    fn begin(&self, shard: usize, step: GapsStep, places: Vec<Place>) -> Work {
        let mut parts = Vec::new();
        if let GapsStep::Fill { claim, lanes } = step
            && claim == self.claim
            && self.producer.is_some()
        {
            for place in places {
                let fill = lanes.iter().find(|(lane, _)| *lane == place.lane).map(|(_, fill)| *fill);
                parts.extend(fill.map(|fill| Part { place, fill, times: 0, appended: 0 }));
            }
        }
        let stage = if parts.is_empty() { Stage::Claim } else { Stage::Join };
        Work { shard, stage, parts, stopped: Vec::new() }
    }

    fn todo(&mut self) -> Option<Todo> {
        let work = self.work.as_mut()?;
        let Some(producer) = self.producer.clone().filter(|_| work.stage != Stage::Claim) else {
            return Some(Todo::Init { transactional_id: self.transactional_id.clone() });
        };
        if work.stage == Stage::Append
            && let Some(part) = work.parts.iter().find(|part| part.is_open() && part.left() > 0)
        {
            return Some(Todo::Append {
                producer,
                topic: Arc::clone(&part.place.topic),
                partition: part.place.partition,
                // One transaction is shorter than sequences are.
                base_sequence: i32::try_from(part.appended).unwrap_or(i32::MAX),
                records: i32::try_from(part.left()).unwrap_or(i32::MAX).min(SEEDS_PER_BATCH),
            });
        }
        if work.stage == Stage::Join {
            let open = work.parts.iter().filter(|part| part.is_open());
            let partitions = open.map(|part| (Arc::clone(&part.place.topic), part.place.partition));
            return Some(Todo::AddPartitions { producer, partitions: partitions.collect() });
        }
        work.stage = Stage::End;
        Some(Todo::End { producer, commits: false })
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let has_work = self.work.is_some() || !self.waiting.is_empty();
        (has_work && !self.asked).then_some(self.retry_at_us)
    }

    pub(super) fn poll_done(&mut self) -> Option<(usize, GapsDone)> {
        self.done.pop_front()
    }

    // Answers.

    pub(super) fn on_failed(&mut self, now: Now) {
        self.asked = false;
        self.retry_at_us = now.after_ms(RETRY_MS);
        self.claim_next();
    }

    pub(super) fn on_refused(&mut self, detail: String) {
        self.asked = false;
        self.refuse(Stop { kind: StopKind::TargetRefuses, detail });
    }

    pub(super) fn on_producer(&mut self, now: Now, code: i16, id: i64, epoch: i16) {
        self.asked = false;
        match code {
            0 => {
                let transactional_id = self.transactional_id.clone();
                self.producer = Some(Producer { transactional_id, id, epoch });
                self.claim += 1;
                if let Some(work) = self.work.take() {
                    let done =
                        GapsDone::Claimed { producer_id: id, claim: self.claim, stopped: work.stopped };
                    self.done.push_back((work.shard, done));
                }
            }
            code if code == CONCURRENT_TRANSACTIONS
                || error::is_retriable(code)
                || error::breaks_transaction(code) =>
            {
                self.retry_at_us = now.after_ms(RETRY_MS);
            }
            code => self.refuse(refusal(code, CLAIMING)),
        }
    }

    pub(super) fn on_joined(&mut self, now: Now, codes: &BTreeMap<(Arc<str>, i32), i16>) {
        self.asked = false;
        let Some(work) = &mut self.work else { return };
        let code_of = |place: &Place| codes.get(&(Arc::clone(&place.topic), place.partition)).copied();
        let is_refused = |code: i16| {
            code != OPERATION_NOT_ATTEMPTED && matches!(error::of_produce(code), error::Verdict::Stop(_))
        };
        // What a partition is refused for is its own affair; then none is added, and the others ask again without it.
        let (refused, parts): (Vec<Part>, Vec<Part>) = std::mem::take(&mut work.parts)
            .into_iter()
            .partition(|part| part.is_open() && code_of(&part.place).is_some_and(is_refused));
        work.parts = parts;
        work.stopped.extend(refused.iter().map(|part| {
            let code = code_of(&part.place).unwrap_or_default();
            (part.place.lane, refusal(code, JOINING))
        }));
        let others: Vec<i16> = codes.values().copied().filter(|&code| !is_refused(code)).collect();
        if others.contains(&CONCURRENT_TRANSACTIONS) {
            // The markers of the transaction before are being written, and nothing was begun.
            self.retry_at_us = now.after_ms(RETRY_MS);
        } else if others.iter().any(|&code| code != 0 && code != OPERATION_NOT_ATTEMPTED) {
            self.retry_at_us = now.after_ms(RETRY_MS);
            self.claim_next();
        } else if !work.parts.iter().any(Part::is_open) {
            self.claim_next();
        } else if refused.is_empty() {
            work.stage = Stage::Append;
        }
    }

    /// Records are appended, or the transaction is aborted.
    pub(super) fn on_done(&mut self, now: Now, code: i16) {
        self.asked = false;
        let Some(work) = &mut self.work else { return };
        match (work.stage, code) {
            (Stage::Append, 0) => {
                if let Some(part) = work.parts.iter_mut().find(|part| part.is_open() && part.left() > 0) {
                    part.appended += part.left().min(i64::from(SEEDS_PER_BATCH));
                }
            }
            (Stage::Append, code) => {
                let part = work.parts.iter().find(|part| part.is_open() && part.left() > 0);
                if let (Some(part), error::Verdict::Stop(_)) = (part, error::of_produce(code)) {
                    work.stopped.push((part.place.lane, refusal(code, APPENDING)));
                }
                self.retry_at_us = now.after_ms(RETRY_MS);
                self.claim_next();
            }
            (_, 0) => {
                for part in work.parts.iter_mut().filter(|part| part.is_open()) {
                    part.times += 1;
                    part.appended = 0;
                }
                let goes_on = work.parts.iter().any(Part::is_open);
                work.stage = if goes_on { Stage::Join } else { Stage::Claim };
            }
            _ => {
                self.retry_at_us = now.after_ms(RETRY_MS);
                self.claim_next();
            }
        }
    }

    /// Whatever was asked for, what is open is aborted now.
    fn claim_next(&mut self) {
        if let Some(work) = &mut self.work {
            work.stage = Stage::Claim;
        }
    }

    fn refuse(&mut self, stop: Stop) {
        if let Some(work) = self.work.take() {
            self.producer = None;
            self.done.push_back((work.shard, GapsDone::Refused(stop)));
        }
    }
}

impl Part {
    /// Has a part in the transaction that is open, or in the next one.
    fn is_open(&self) -> bool {
        self.times < self.fill.times
    }

    fn left(&self) -> i64 {
        self.fill.records - self.appended
    }
}
