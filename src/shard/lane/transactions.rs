//! Transactions on the target, for records that the broker may forget who wrote.
//!
//! A broker dates its memory of a producer by the records, so for old ones it protects nothing, however busy the producer is.
//! An open transaction does: its batches count only if it is committed, and the position is committed in it. So where offsets
//! are appended and records are old, a lane *enlists*: the shard's transaction takes it in, its batches go many at a time, in
//! the name of the transaction's producer, and it is settled when the transaction is committed. At the live edge the lane
//! *leaves* and goes by sequences again.
//!
//! ```text
//! Probe, Single, Stream ──► Enlist ──► Ask ──► Transact ◄──► Commit ──► Enlist ──► Ask ──► Probe
//!    a batch is too old    position  log end   many in flight   all were       the last    nothing
//!                                                               guarded        marker      remembered amiss
//! ```
//!
//! - **Position.** Every transaction begins a run of its own ([`IN_TRANSACTION`]), since its marker takes an offset. Runs are
//!   durable before their records are sent, so the map of offsets has them; but only the transaction says whether they count.
//!   A lane whose last run is one of these stands where the last commit says, or where the first of these runs begins.
//! - **Markers.** A coordinator may write one twice when a broker fails (KAFKA-19999), so a batch may stand further on than its
//!   run says. Then the transaction is broken and the run begun anew; only if that goes on somebody else is writing.
//! - **Doubt.** Whatever goes wrong, the transaction is broken: the next claim (InitProducerId) aborts it, and its markers shut
//!   out every batch that may still be under way. Nothing has to be waited for.
//! - **Numbers.** They count records across both ways of writing; the transaction's producer has sequences of its own. When the
//!   lane leaves, the link's producer goes on with the number. A broker that still remembers an older sequence of it would refuse
//!   that, so the lane stays until it is forgotten; and where the broker does not tell, it stays.

use super::{ASK_AGAIN_MS, Asked, Lane, RUNS_KEPT, Sent, State};
use crate::config::ExactlyOnce;
use crate::shard::api::{
    BEHIND_OTHERS, Checkpoint, Event, IN_TRANSACTION, OffsetMode, Run, Settings, StopKind,
};
use crate::shard::progress::sequence;
use crate::time::Now;
use crate::wire::batch::Stamp;
use std::collections::VecDeque;

/// Transactions in a row whose batches stand where they should not, before that is somebody else's doing.
const MISPLACED_MAX: u32 = 5;
/// Time between two attempts to leave, while the broker remembers an older sequence.
const LEAVE_AGAIN_MS: u64 = 60_000;

/// A lane's part in its shard's transactions.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Where the lane stands is known: `settled` is it.
    is_positioned: bool,
    /// The open transaction has the lane's partition.
    is_joined: bool,
    /// The transaction is about to be committed: nothing more is read for it.
    is_closing: bool,
    /// What it has acknowledged so far.
    appended: Option<Appended>,
    leaving: bool,
    leave_at_us: u64,
}

/// In whose name a lane's transactions are, since the last claim, and how many records it has sent so. It outlives the lane's
/// part: whoever enlists again under the same claim goes on with the sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamping {
    producer: (i64, i16),
    records: i64,
}

#[derive(Clone, Copy, Debug)]
struct Appended {
    checkpoint: Checkpoint,
    max_timestamp_ms: i64,
    all_guarded: bool,
}

impl Part {
    fn new(is_positioned: bool) -> Self {
        Self {
            is_positioned,
            is_joined: false,
            is_closing: false,
            appended: None,
            leaving: false,
            leave_at_us: 0,
        }
    }
}

impl Lane {
    // Coming in.

    /// The last run says that the lane was in transactions when its last owner ended; or something went wrong. Only what stands
    /// in no open transaction is known.
    pub(super) fn enlist_again(&mut self) {
        let is_positioned = self.part.as_ref().is_some_and(|part| part.is_positioned && !part.is_joined);
        self.part = Some(Part::new(is_positioned));
        self.state = State::Enlist;
    }

    /// Before a batch that has to go in a transaction. What may still be under way by sequences must be waited for first: the
    /// broker would take it, if it is the next one by what it remembers.
    pub(in crate::shard) fn enlist(&mut self, now: Now, settings: &Settings) {
        let may_enlist =
            matches!(self.state, State::Probe | State::Stream | State::Single) && self.in_flight.is_empty();
        if !may_enlist || !self.needs_transaction(now, settings) {
            return;
        }
        self.doubt();
        self.rewind();
        if now.mono_us < self.zombies_until_us {
            return self.hold_for_zombies();
        }
        self.forget_questions();
        self.part = Some(Part::new(true));
        self.state = State::Enlist;
    }

    /// The last transaction was left for sequences, and the broker that leads now remembers an older one than comes next: back
    /// into transactions until it is forgotten.
    pub(super) fn enlist_behind_others(&mut self, number: i64, log_end: i64, settings: &Settings) -> bool {
        let may_enlist = self.may_transact(settings) && self.numbering.is_behind_others(number, log_end);
        let Some((_, source_offset)) = self.numbering.reading_from(number).filter(|_| may_enlist) else {
            return false;
        };
        if self.settled.number != number {
            self.settled = Checkpoint::at(number, source_offset);
        }
        self.forget_questions();
        self.part = Some(Part::new(true));
        self.state = State::Enlist;
        true
    }

    fn may_transact(&self, settings: &Settings) -> bool {
        self.mode == OffsetMode::Append
            && !self.transactions_refused
            && settings.exactly_once != ExactlyOnce::Sequences
    }

    /// Whether the next batch must not go by sequences.
    pub(super) fn needs_transaction(&self, now: Now, settings: &Settings) -> bool {
        let Some(timestamp_ms) = self.pending.front().map(|batch| batch.header.max_timestamp_ms) else {
            return false;
        };
        let is_always = settings.exactly_once == ExactlyOnce::Transactions;
        self.may_transact(settings) && (is_always || !self.is_guarded(now, settings, timestamp_ms))
    }

    /// The target does not let the link have transactions. A lane that may do without goes on by sequences, as it would have.
    pub(in crate::shard) fn refuse_transactions(
        &mut self,
        settings: &Settings,
        kind: StopKind,
        why: &str,
        events: &mut VecDeque<Event>,
    ) {
        let Some(part) = self.part.take() else { return };
        let never_began = part.is_positioned && !self.numbering.is_in_transactions();
        if settings.exactly_once == ExactlyOnce::Auto && never_began {
            self.transactions_refused = true;
            self.state = State::Ask;
            return;
        }
        let detail = match never_began {
            true => format!("{why}; or mirror without transactions: --exactly-once sequences"),
            false => format!("{why}. Where the lane stands is known by its last transaction alone"),
        };
        self.stop(kind, detail, events);
    }

    /// Whether it is in transactions at all, or about to be.
    pub(in crate::shard) fn is_enlisted(&self) -> bool {
        self.part.is_some() && !self.is_stopped()
    }

    /// Waits to be taken in. The other question is whether its position is known.
    pub(in crate::shard) fn wants_part(&self) -> Option<bool> {
        let part = self.part.as_ref().filter(|_| self.state == State::Enlist)?;
        let is_ready = self.in_flight.is_empty()
            && self.numbering.is_confirmed()
            && self.target.broker >= 0
            && !self.awaits_control();
        is_ready.then_some(part.is_positioned)
    }

    /// A claim was answered that named the lane. Whoever had it before, another instance maybe, may have committed more than is
    /// known here.
    pub(in crate::shard) fn position_anew(&mut self) {
        let Some(part) = self.part.as_ref().filter(|_| !self.is_stopped()) else { return };
        let part = Part { leaving: part.leaving, leave_at_us: part.leave_at_us, ..Part::new(false) };
        self.read_anew();
        self.forget_questions();
        self.part = Some(part);
        self.state = State::Enlist;
    }

    /// In whose name the next transactions are. Nothing may be in flight.
    fn set_producer(&mut self, producer: (i64, i16)) {
        if self.stamping.is_none_or(|stamping| stamping.producer != producer) {
            self.stamping = Some(Stamping { producer, records: 0 });
        }
    }

    /// Takes the lane in, in the name of this producer. `committed` is what the last transaction committed for it.
    pub(in crate::shard) fn take_part(&mut self, producer: (i64, i16), committed: Option<Checkpoint>) {
        self.set_producer(producer);
        let Some(part) = &mut self.part else { return };
        if !part.is_positioned {
            let began = self.numbering.in_transactions_since();
            let known = [Some(self.settled), began, committed].into_iter().flatten();
            let mut position =
                known.max_by_key(|known| (known.number, known.source_offset)).unwrap_or(self.settled);
            if let Some(end) = self.source_ends_at {
                position.cut(end);
            }
            self.settled = position;
            part.is_positioned = true;
        }
        self.source_ends_at = None;
        self.state = State::Ask;
        self.forget_questions();
    }

    /// As [`Lane::handle_asked`], for a lane in transactions: all that is asked for is where the log ends.
    pub(super) fn handle_asked_in_transactions(
        &mut self,
        now: Now,
        asked: Asked,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let (Some(high_watermark), Some(log_end)) = (asked.high_watermark, asked.log_end) else {
            return self.hold(now, ASK_AGAIN_MS);
        };
        if high_watermark < log_end {
            return self.hold(now, ASK_AGAIN_MS);
        }
        let last = self.numbering.target_of(self.settled.number - 1).unwrap_or(-1);
        if log_end <= last {
            return self.stop_for_lost_commit(log_end, last + 1, events);
        }
        match self.part.as_ref().is_some_and(|part| part.leaving) {
            true => self.leave(now, log_end, asked, settings, events),
            false => self.begin_to_transact(log_end, events),
        }
    }

    fn stop_for_lost_commit(&mut self, log_end: i64, expected: i64, events: &mut VecDeque<Event>) {
        let detail = format!(
            "the target lost records that were committed there: its log went on at offset {log_end} instead of {expected}. Delete \
             the target topic to mirror it anew"
        );
        self.stop(StopKind::PositionUnknown, detail, events);
    }

    fn begin_to_transact(&mut self, log_end: i64, events: &mut VecDeque<Event>) {
        let number = self.settled.number;
        self.forget_questions();
        self.read_anew();
        (self.read_number, self.send_number) = (number, number);
        (self.read_offset, self.read_epoch) = (self.settled.source_offset, self.settled.source_epoch);
        (self.send_target, self.settled_target) = (log_end, log_end);
        self.aborted.clear();
        self.begin_transaction_run(log_end, events);
        self.state = State::Transact;
    }

    fn begin_transaction_run(&mut self, target_offset: i64, events: &mut VecDeque<Event>) {
        let (number, source_offset) = (self.read_number, self.read_offset);
        self.open(Run { number, source_offset, target_offset, source_epoch: IN_TRANSACTION }, events);
    }

    // Inside.

    /// Has something to send, and its partition is not in the transaction yet. That the ledger took the run says that the link
    /// is still ours: who joins without sending leaves a marker all the same.
    pub(in crate::shard) fn wants_join(&self) -> bool {
        self.part.as_ref().is_some_and(|part| !part.is_joined)
            && self.state == State::Transact
            && !self.pending.is_empty()
            && self.numbering.is_durable(self.send_number)
    }

    pub(in crate::shard) fn join(&mut self) {
        if let Some(part) = self.part.as_mut().filter(|_| self.state == State::Transact) {
            part.is_joined = true;
        }
    }

    /// Whether the transaction that the lane has joined goes on as far as the lane is concerned.
    pub(in crate::shard) fn is_in_transaction(&self) -> bool {
        matches!(self.state, State::Transact | State::Commit)
            && self.part.as_ref().is_some_and(|part| part.is_joined)
    }

    pub(super) fn may_send_in_transaction(&self) -> bool {
        self.state == State::Transact && self.is_in_transaction()
    }

    /// Whether its batches bear the transaction's stamp, and not the link's.
    pub(in crate::shard) fn is_transacting(&self) -> bool {
        self.state == State::Transact
    }

    pub(super) fn transaction_stamp(&mut self, records: i64) -> Option<Stamp> {
        let stamping = self.stamping.as_mut().filter(|_| self.part.is_some())?;
        let (producer_id, producer_epoch) = stamping.producer;
        let base_sequence = sequence(stamping.records);
        stamping.records += records;
        Some(Stamp { producer_id, producer_epoch, base_sequence, is_transactional: true })
    }

    /// The target has the batch, for the case that the transaction is committed.
    pub(super) fn append_in_transaction(
        &mut self,
        now: Now,
        sent: Sent,
        base_offset: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let expected = self.numbering.target_of(sent.number).unwrap_or(i64::MAX);
        if base_offset < expected {
            return self.stop_for_lost_commit(base_offset, expected, events);
        }
        if base_offset > expected {
            self.misplaced += 1;
            return match self.misplaced > MISPLACED_MAX {
                true => self.stop_for_other_writer(base_offset, Some(expected), events),
                false => self.doubt(),
            };
        }
        let is_guarded = self.is_guarded(now, settings, sent.max_timestamp_ms);
        let Some(part) = &mut self.part else { return };
        let all_guarded = is_guarded && part.appended.is_none_or(|appended| appended.all_guarded);
        part.appended = Some(Appended {
            checkpoint: sent.settled(),
            max_timestamp_ms: sent.max_timestamp_ms,
            all_guarded,
        });
    }

    /// How far the open transaction got.
    pub(super) fn appended(&self) -> Option<Checkpoint> {
        self.part.as_ref()?.appended.map(|appended| appended.checkpoint)
    }

    /// Records that wait for the commit.
    pub(super) fn has_uncommitted(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.is_joined || part.appended.is_some())
    }

    /// Reads no more before the commit.
    pub(in crate::shard) fn close(&mut self) {
        if let Some(part) = &mut self.part {
            part.is_closing = true;
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.is_closing)
    }

    /// All there is for now has been sent and answered.
    pub(in crate::shard) fn has_run_dry(&self) -> bool {
        self.is_at_rest() && (self.draining || (self.source_end >= 0 && self.read_offset >= self.source_end))
    }

    /// The transaction is being committed. Gives the position to commit with it, if it moved. The marker takes an offset, so
    /// what follows begins a new run.
    pub(in crate::shard) fn begin_commit(&mut self, events: &mut VecDeque<Event>) -> Option<Checkpoint> {
        self.read_anew();
        self.state = State::Commit;
        self.begin_transaction_run(self.send_target + 1, events);
        self.part.as_ref()?.appended.map(|appended| appended.checkpoint)
    }

    pub(in crate::shard) fn handle_committed(&mut self, now: Now, settings: &Settings) {
        let Some(part) = self.part.as_mut().filter(|_| self.state == State::Commit) else { return };
        (part.is_joined, part.is_closing) = (false, false);
        self.send_target += 1;
        self.settled_target = self.send_target;
        (self.refused_told, self.misplaced) = (None, 0);
        self.state = State::Transact;
        let Some(appended) = part.appended.take() else { return };
        self.settled = appended.checkpoint;
        self.diverting.forget_before(self.settled.source_offset);
        self.settled_timestamp_ms = appended.max_timestamp_ms;
        self.numbering.forget_before(self.settled.number, RUNS_KEPT);
        let is_live = settings.exactly_once != ExactlyOnce::Transactions && appended.all_guarded;
        if is_live && now.mono_us >= part.leave_at_us {
            // Only after another claim no marker is to come any more.
            *part = Part { leaving: true, ..Part::new(false) };
            self.state = State::Enlist;
        }
    }

    /// The transaction will not be committed, or nobody knows whether it was.
    pub(in crate::shard) fn lose_part(&mut self) {
        if self.is_stopped() {
            self.part = None;
        }
        if self.part.is_none() {
            return;
        }
        self.read_anew();
        self.forget_questions();
        self.enlist_again();
    }

    // Leaving.

    /// The last transaction is committed, and its marker is the end of the log.
    fn leave(
        &mut self,
        now: Now,
        log_end: i64,
        asked: Asked,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let number = self.settled.number;
        let may_be_refused = match asked.last_sequence {
            Some(last) => last != sequence(number - 1),
            None => !asked.tells_producers,
        };
        if may_be_refused {
            if let Some(part) = &mut self.part {
                part.leaving = false;
                part.leave_at_us = now.after_ms(LEAVE_AGAIN_MS);
            }
            return self.begin_to_transact(log_end, events);
        }
        let source_offset = self.settled.source_offset;
        self.open(Run { number, source_offset, target_offset: log_end, source_epoch: BEHIND_OTHERS }, events);
        self.part = None;
        self.resume(now, number, settings, events);
    }
}
