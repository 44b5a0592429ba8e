//! When a batch may go, and what its answer means.

use super::{ASK_AGAIN_MS, Batch, Lane, RUNS_KEPT, Sent, State};
use crate::error::{self, Verdict as ErrorVerdict};
use crate::shard::api::{Event, Lease, OffsetMode, Settings, StopKind, guarded_after_ms};
use crate::shard::progress::sequence;
use crate::time::Now;
use crate::wire::batch::Stamp;
use crate::wire::seed::SeedBatch;
use std::collections::VecDeque;

impl Lane {
    /// The next batch, if the protocol lets it go now, with the stamp for its header.
    pub(in crate::shard) fn next_batch(
        &mut self,
        now: Now,
        lease: Lease,
        settings: &Settings,
    ) -> Option<(Batch, Stamp)> {
        let front = self.pending.front()?;
        let number = front.number;
        // A rebuilt batch may hold several runs.
        let last_number = number + i64::from(front.header.record_count) - 1;
        if !self.numbering.is_durable(last_number)
            || !self.is_next(number)
            || !self.may_send(now, lease, settings)
        {
            return None;
        }
        let batch = self.pending.pop_front()?;
        self.pending_bytes -= batch.header.payload_bytes();
        let stamp = self.begin_send(&batch, batch.next_offset, settings);
        Some((batch, stamp))
    }

    /// As [`Self::next_batch`], for a batch of seeds that [`Self::wants_seeds`] asked for.
    pub(in crate::shard) fn next_seeds(
        &mut self,
        now: Now,
        lease: Lease,
        seeds: &SeedBatch,
        settings: &Settings,
    ) -> Option<(Batch, Stamp)> {
        // Where the seeds end must be known to whoever goes on with them.
        let end = self.send_number + self.numbering.seeds_from(self.send_number);
        if !self.numbering.is_durable(end) || !self.may_send(now, lease, settings) {
            return None;
        }
        let batch = self.seed(seeds)?;
        let stamp = self.begin_send(&batch, batch.next_offset, settings);
        Some((batch, stamp))
    }

    fn begin_send(&mut self, batch: &Batch, next_offset: i64, settings: &Settings) -> Stamp {
        let count = i64::from(batch.header.record_count);
        let stamp = self.transaction_stamp(count).unwrap_or(Stamp {
            producer_id: settings.producer_id,
            producer_epoch: settings.producer_epoch,
            base_sequence: sequence(batch.number),
            is_transactional: false,
        });
        self.in_flight.push_back(Sent {
            number: batch.number,
            count,
            bytes: batch.header.batch_bytes,
            next_offset,
            source_epoch: batch.header.leader_epoch,
            max_timestamp_ms: batch.header.max_timestamp_ms,
            base_timestamp_ms: batch.header.base_timestamp_ms,
            fetched_us: batch.fetched_us,
        });
        self.send_number = batch.number + count;
        self.send_target += count;
        stamp
    }

    /// Whether [`Self::next_batch`] would give one: cheap, and may change the state from Stream to Single or Probe.
    pub(in crate::shard) fn may_send(&mut self, now: Now, lease: Lease, settings: &Settings) -> bool {
        let may_go = self.is_current(lease) && !self.is_silent;
        let Some(timestamp_ms) = self.next_timestamp_ms(now).filter(|_| may_go) else {
            return false;
        };
        if self.state == State::Transact {
            return self.may_send_in_transaction();
        }
        if self.needs_transaction(now, settings) {
            if self.state == State::Stream && self.in_flight.is_empty() {
                // Which would splice.
                self.state = State::Single;
            }
            return false;
        }
        if self.state == State::Stream {
            if self.is_guarded(now, settings, timestamp_ms) {
                if !self.in_flight.is_empty() || self.is_guarded(now, settings, self.settled_timestamp_ms) {
                    return true;
                }
                // So long ago that the broker may have forgotten us.
                self.state = State::Probe;
            } else if self.in_flight.is_empty() {
                self.state = State::Single;
            }
        }
        matches!(self.state, State::Probe | State::Single)
            && self.in_flight.is_empty()
            && now.mono_us < lease.until_us
            && !self.awaits_zombies(now, settings)
            && !self.awaits_first_batch(now)
    }

    /// The runs by which the position was understood are all that there are: the link was still ours after it was found. An
    /// instance that was locked out without knowing it may find a position that another one reached, by runs of its own.
    pub(super) fn is_current(&self, lease: Lease) -> bool {
        lease.since_us >= self.current_since_us
    }

    /// A batch that the broker may soon forget is the next, or a later one, while requests of before may still come: when it has
    /// forgotten, it takes any of them. A previous owner that does not know it yet may be further on by now, so that what it
    /// appends makes the broker forget, and the broker takes what we send for the next.
    fn awaits_zombies(&self, now: Now, settings: &Settings) -> bool {
        let is_old = |batch: &Batch| !self.is_guarded(now, settings, batch.header.max_timestamp_ms);
        now.mono_us < self.zombies_until_us
            && self.next_timestamp_ms(now).is_some()
            && self.pending.iter().any(is_old)
    }

    /// What follows the seeds is to be known first, see [`Self::awaits_zombies`].
    fn awaits_first_batch(&self, now: Now) -> bool {
        now.mono_us < self.zombies_until_us
            && self.pending.is_empty()
            && self.numbering.seeds_from(self.send_number) > 0
            && !(self.source_end >= 0 && self.read_offset >= self.source_end)
    }

    /// What the next batch to send is dated; None: there is none, or a gap is to be filled before it.
    fn next_timestamp_ms(&self, now: Now) -> Option<i64> {
        if self.mode == OffsetMode::Identical {
            if self.numbering.seeds_from(self.send_number) > 0 {
                return Some(now.wall_ms);
            }
            if !self.is_next(self.send_number) {
                return None;
            }
        }
        self.pending.front().map(|batch| batch.header.max_timestamp_ms)
    }

    /// Waits with an unguarded batch until nothing old can be under way, and asks again then.
    pub(in crate::shard) fn wait_for_zombies(&mut self, now: Now, settings: &Settings) {
        let may_wait = matches!(self.state, State::Probe | State::Stream | State::Single);
        if may_wait && self.in_flight.is_empty() && self.awaits_zombies(now, settings) {
            self.doubt();
            self.hold_for_zombies();
        }
    }

    /// The batch whose answer is next.
    pub(in crate::shard) fn oldest_in_flight(&self) -> Option<Sent> {
        self.in_flight.front().copied()
    }

    /// Takes back what was accepted and cannot be sent.
    pub(in crate::shard) fn drop_pending(&mut self) {
        self.read_anew();
        self.rewind();
    }

    /// The broker's answer to the oldest batch in flight. Returns true if the leader should be looked up.
    pub(in crate::shard) fn handle_acked(
        &mut self,
        now: Now,
        code: i16,
        base_offset: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) -> bool {
        let Some(sent) = self.in_flight.pop_front() else { return false };
        if !matches!(self.state, State::Probe | State::Stream | State::Single | State::Transact) {
            // Answered after a doubt: the next question tells.
            return false;
        }
        match error::of_produce(code) {
            ErrorVerdict::Ok if self.state == State::Transact => {
                self.append_in_transaction(now, sent, base_offset, settings, events);
                false
            }
            ErrorVerdict::Ok => {
                self.settle(now, sent, base_offset, settings, events);
                false
            }
            ErrorVerdict::Stop(kind) => {
                let fits_ms = (kind == StopKind::BatchTooLarge)
                    .then(|| self.fit(now, code, sent, settings, events))
                    .flatten();
                let mut is_diverted =
                    || kind == StopKind::BatchTooLarge && self.divert_too_large(sent, settings);
                match fits_ms.or_else(|| is_diverted().then_some(ASK_AGAIN_MS)) {
                    Some(ms) => {
                        self.doubt();
                        self.hold(now, ms);
                    }
                    None => self.stop(kind, self.refused(code), events),
                }
                false
            }
            ErrorVerdict::Damaged if self.damaged.take() == Some(sent.number) => {
                match self.look_for_damage(sent, settings) {
                    true => {
                        self.doubt();
                        self.hold(now, ASK_AGAIN_MS);
                    }
                    false => self.stop(StopKind::DamagedBatch, self.refused(code), events),
                }
                false
            }
            verdict => {
                // The bytes may have suffered on the way: they are fetched once more.
                self.damaged = (verdict == ErrorVerdict::Damaged).then_some(sent.number);
                if verdict == ErrorVerdict::Retry {
                    if self.refused_told.replace(code) != Some(code) {
                        events.push_back(Event::Refused { lane: self.id, code });
                    }
                } else if verdict != ErrorVerdict::Damaged {
                    // It may have been appended, and may yet be replicated. (Checksums are looked at before.)
                    self.suspect(now, settings);
                }
                self.doubt();
                self.hold(now, ASK_AGAIN_MS);
                verdict == ErrorVerdict::LeaderUnknown
            }
        }
    }

    fn settle(
        &mut self,
        now: Now,
        sent: Sent,
        base_offset: i64,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let expected = self.numbering.target_of(sent.number);
        if Some(base_offset) != expected && !self.is_shared() {
            return self.stop_for_other_writer(base_offset, expected, events);
        }
        self.settled = sent.settled();
        self.diverting.forget_before(self.settled.source_offset);
        self.settled_target = self.settled_target.max(base_offset + sent.count);
        self.refused_told = None;
        self.settled_timestamp_ms = sent.max_timestamp_ms;
        self.numbering.forget_before(self.settled.number, RUNS_KEPT);
        if self.state == State::Probe {
            if self.is_guarded(now, settings, sent.max_timestamp_ms) {
                self.probed = Some(self.target);
                self.state = State::Ask;
            } else {
                self.state = State::Single;
            }
        } else if self.state == State::Single && self.is_guarded(now, settings, sent.max_timestamp_ms) {
            self.state = State::Probe;
        }
    }

    pub(super) fn stop_for_other_writer(
        &mut self,
        offset: i64,
        expected: Option<i64>,
        events: &mut VecDeque<Event>,
    ) {
        let detail = format!(
            "the target appended at offset {offset} what was expected at {}: somebody else writes to the partition, or it was \
             recreated",
            expected.unwrap_or(-1)
        );
        self.stop(StopKind::OtherWriter, detail, events);
    }

    /// The connection to the target is gone; what was in flight on it may or may not be appended, now or a little later.
    pub(in crate::shard) fn handle_connection_lost(&mut self, now: Now, settings: &Settings) {
        if !self.in_flight.is_empty() {
            self.suspect(now, settings);
            self.in_flight.clear();
        }
        self.lose_fill(now, settings);
        self.doubt();
        self.forget_questions();
    }

    /// What was sent so far may still be appended for a while, though nobody will tell us.
    fn suspect(&mut self, now: Now, settings: &Settings) {
        if self.part.is_some() {
            // The transaction is broken, and the next claim shuts it out.
            return;
        }
        let are_gone = now.mono_us >= self.zombies_until_us;
        self.zombie_numbers =
            if are_gone { self.send_number } else { self.zombie_numbers.max(self.send_number) };
        self.zombies_until_us = self.zombies_until_us.max(now.after_ms(settings.zombie_bound_ms));
    }

    /// Guarded: the broker will remember the producer of a batch with this timestamp until every doubt is resolved.
    pub(super) fn is_guarded(&self, now: Now, settings: &Settings, timestamp_ms: i64) -> bool {
        let expiration_ms = settings.producer_id_expiration_ms;
        expiration_ms.is_some_and(|expiration_ms| timestamp_ms > guarded_after_ms(now.wall_ms, expiration_ms))
    }
}
