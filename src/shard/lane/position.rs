//! Where the lane stands: what the answers to its questions mean.

use super::{ASK_AGAIN_MS, Asked, CONTRADICTIONS_MAX, Lane, State, TargetEnd, describe};
use crate::error::{self, Verdict as ErrorVerdict};
use crate::limits::SEED_OFFSETS_MIN;
use crate::shard::api::{Checkpoint, Event, OffsetMode, Run, SEED, Settings, StopKind};
use crate::shard::progress::sequence;
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use std::collections::VecDeque;

impl Lane {
    /// The source says that the lane's first record is at `offset`.
    pub(in crate::shard) fn handle_located(&mut self, offset: i64) {
        if self.state == State::Locate {
            self.forget_questions();
            self.read_offset = offset;
            self.state = State::Ask;
        }
    }

    /// One of the questions failed. Returns true if the leader should be looked up.
    pub(in crate::shard) fn handle_ask_failed(
        &mut self,
        now: Now,
        code: i16,
        events: &mut VecDeque<Event>,
    ) -> bool {
        match error::of_produce(code) {
            ErrorVerdict::Stop(kind) => {
                self.stop(kind, format!("asking the target for the position: {}", describe(code)), events);
                false
            }
            verdict => {
                self.hold(now, ASK_AGAIN_MS);
                verdict == ErrorVerdict::LeaderUnknown
            }
        }
    }

    /// The target's leader has answered. With the answers the lane finds its position, asks again, or stops.
    pub(in crate::shard) fn handle_asked(
        &mut self,
        now: Now,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let Asked {
            high_watermark: Some(high_watermark),
            last_sequence,
            last_timestamp_ms,
            log_end: Some(log_end),
            ..
        } = self.asked
        else {
            return self.hold(now, ASK_AGAIN_MS);
        };
        if !self.numbering.is_begun() {
            return self.begin_partition(now, log_end, settings, events);
        }
        if self.part.is_some() {
            return self.handle_asked_in_transactions(now, self.asked, settings, events);
        }
        if self.is_shared() {
            return self.handle_asked_shared(now, self.asked, settings, events);
        }
        let Some(number) = self.numbering.number_at(log_end) else {
            return self.position_unknown(log_end, events);
        };
        if high_watermark < log_end {
            // Something is not replicated yet, or came between the questions.
            return self.hold(now, ASK_AGAIN_MS);
        }
        match last_sequence {
            // What the broker may forget at any moment does not keep out what may still be under way.
            Some(_)
                if now.mono_us < self.zombies_until_us
                    && !self.is_guarded(now, settings, last_timestamp_ms) =>
            {
                self.hold_for_zombies();
            }
            Some(last) if sequence(number - 1) == last => self.resume(now, number, settings, events),
            Some(_) if self.enlist_behind_others(number, log_end, settings) => {}
            Some(_) => self.contradict(now, settings, events),
            // The broker does not know us. Only when no request can be under way any more does the log itself tell.
            None if now.mono_us < self.zombies_until_us => self.hold_for_zombies(),
            None => self.wants_tail = true,
        }
    }

    /// The last batch of the target partition, or that before a gap at its end, asked for because the broker does not know our
    /// producer id.
    pub(in crate::shard) fn handle_tail(
        &mut self,
        now: Now,
        end: &TargetEnd,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        if self.is_shared() {
            return self.handle_tail_shared(now, end, settings, events);
        }
        let number = self.asked.log_end.and_then(|log_end| self.numbering.number_at(log_end));
        let Some(number) = number else { return };
        self.wants_tail = false;
        if self.asked.log_end.is_some_and(|log_end| self.numbering.is_behind_others(number, log_end)) {
            return self.resume(now, number, settings, events);
        }
        let follows = |tail: &BatchHeader| sequence(i64::from(tail.last_sequence()) + 1);
        match end.batches.last() {
            None => self.resume(now, number, settings, events),
            // The gap before the next record is being filled, or filled.
            Some(tail) if (tail.is_control() || tail.is_transactional()) && self.before_gap.is_none() => {
                if !self.gap_reaches(number, self.asked.log_end) {
                    return self.contradict(now, settings, events);
                }
                // Control records do not tell what they follow: the record before the gap does.
                let before = self.numbering.target_of(number - 1);
                self.before_gap = before.filter(|&offset| offset >= end.log_start);
                match self.before_gap {
                    Some(_) => self.wants_tail = true,
                    None => self.resume(now, number, settings, events),
                }
            }
            Some(tail) if tail.producer_id == settings.producer_id && follows(tail) == sequence(number) => {
                self.resume(now, number, settings, events);
            }
            Some(_) => self.contradict(now, settings, events),
        }
    }

    /// The link never wrote here: the partition must be empty, or its records are somebody else's.
    fn begin_partition(&mut self, now: Now, log_end: i64, settings: &Settings, events: &mut VecDeque<Event>) {
        if self.asked.high_watermark != Some(log_end) && !self.is_shared() {
            return self.hold(now, ASK_AGAIN_MS);
        }
        if log_end > 0 && !self.is_shared() {
            let detail = format!(
                "the target partition already has records (up to offset {log_end}) that this link did not write; use the \
                 --link name that wrote them, mirror into a new topic, or go on with what another mirror began: twinlog take-over. \
                 Where others are to fill it, too, name the topic in --shared"
            );
            return self.stop(StopKind::OtherWriter, detail, events);
        }
        let (start, source_epoch) = (self.read_offset, -1);
        let (mut number, mut target_offset) = (start, log_end);
        if self.mode == OffsetMode::Identical {
            target_offset = start;
            // Seeds count as records. A short way is filled with control records, which do not; the run of no seeds says that
            // the log began at 0, should the first record come later than thought.
            number = if start > SEED_OFFSETS_MIN { 0 } else { start };
            self.open(Run { number, source_offset: SEED, target_offset: 0, source_epoch }, events);
        }
        self.open(Run { number: start, source_offset: start, target_offset, source_epoch }, events);
        self.settled = Checkpoint::at(number, start);
        self.resume(now, number, settings, events);
    }

    /// The position is known: records below `number` are on the target, replicated; the next one is `number`.
    pub(super) fn resume(
        &mut self,
        now: Now,
        number: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        self.contradictions = 0;
        let confirmed = self.probed == Some(self.target) && self.asked.last_sequence.is_some();
        self.probed = None;
        self.send_target = self.asked.log_end.unwrap_or(self.send_target);
        self.settled_target = self.send_target;
        self.resumed_us = now.mono_us;
        self.forget_questions();
        if now.mono_us >= self.zombies_until_us {
            self.zombie_numbers = number;
        }
        if number < self.settled.number {
            let Some((_, from_offset)) = self.numbering.reading_from(number) else {
                return self.position_unknown(number, events);
            };
            // The target lost what it had acknowledged; it is read and sent again.
            self.settled = Checkpoint::at(number, from_offset);
        }
        if number != self.send_number || !confirmed {
            self.current_since_us = now.mono_us;
            events.push_back(Event::LeaseWanted { lane: self.id });
            let Some((read_number, offset)) = self.numbering.reading_from(number) else {
                return self.position_unknown(number, events);
            };
            if self.settled.number != number || self.settled.source_offset < 0 {
                self.settled = Checkpoint::at(number, offset);
            }
            self.read_anew();
            // Beyond what is settled there may be offsets that were skipped already.
            self.read_offset = self.settled.source_offset;
            self.read_epoch = self.settled.source_epoch;
            self.read_number = read_number;
            self.read_behind_gap();
            self.send_number = number;
            self.aborted.clear();
        }
        let guarded = confirmed && self.is_guarded(now, settings, self.settled_timestamp_ms);
        self.state = match (confirmed, guarded) {
            (true, true) => State::Stream,
            (true, false) => State::Single,
            (false, _) => State::Probe,
        };
    }

    /// The target's answers do not fit our records. A request that was under way explains it for a moment, not for ever.
    fn contradict(&mut self, now: Now, settings: &Settings, events: &mut VecDeque<Event>) {
        // Somebody is still sending in our name, an older instance that does not know it yet.
        let moving = self.contradicted_by != self.asked.last_sequence;
        self.contradicted_by = self.asked.last_sequence;
        self.contradictions = if moving { 0 } else { self.contradictions + 1 };
        if self.contradictions < CONTRADICTIONS_MAX {
            return self.hold(now, ASK_AGAIN_MS);
        }
        let Asked { last_sequence, log_end, .. } = self.asked;
        let detail = format!(
            "the target partition ends at offset {log_end:?} with sequence {last_sequence:?} of producer {}, which does not fit \
             what this link wrote: somebody else writes to it, or it was recreated. Delete the target topic to mirror it anew",
            settings.producer_id
        );
        self.stop(StopKind::OtherWriter, detail, events);
    }

    fn position_unknown(&mut self, number: i64, events: &mut VecDeque<Event>) {
        let detail = format!(
            "the target lost records that it had acknowledged (next number {number}), and the ledger does not reach back that far"
        );
        self.stop(StopKind::PositionUnknown, detail, events);
    }
}
