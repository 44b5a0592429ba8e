//! Both directions: lanes whose target partition has other writers.
//!
//! Or several topics that become one there: then the others are links, and nothing is left out.
//!
//! The target's clients write to the partition, and a link in the other direction mirrors what they write. What that link wrote
//! to the source came from here, and is left out: its batches bear its producer id, which stands in its state topic before the
//! first of them is sent. So a producer id that is met for the first time is asked for ([`Event::WriterWanted`]), and nothing is
//! read on before the answer.
//!
//! Where our records stand between those of others nobody can foretell, so the log end does not tell the position. The last
//! sequence does, and when the broker has forgotten us the log is read from where the last of our runs can begin.

use super::{ASK_AGAIN_MS, Asked, Lane, TargetEnd, Verdict};
use crate::shard::api::{Event, OffsetMode, Settings, Writer};
use crate::shard::progress::{nearest_number, sequence};
use crate::shard::writers::Writers;
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use std::collections::VecDeque;

/// A new run begins at least this often (target offsets), so that not more has to be read to find the last record.
const RUN_OFFSETS_MAX: i64 = 100_000;
/// How much is read of the target's log at a time.
const READ_BYTES: i32 = 1 << 20;

/// What the leader said of itself and of us, to be covered by its high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cover {
    leader: super::Leader,
    last_sequence: i32,
    log_end: i64,
}

/// The log is read for our last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    next_offset: i64,
    /// What follows the last batch of ours that was met.
    next_sequence: Option<i32>,
}

impl Lane {
    pub(super) fn is_shared(&self) -> bool {
        self.mode == OffsetMode::Shared
    }

    /// Whether a batch of the source is for the target at all. None: yes.
    pub(super) fn judge_writer(
        &mut self,
        header: &BatchHeader,
        writers: &Writers,
        events: &mut VecDeque<Event>,
    ) -> Option<Verdict> {
        if !self.is_shared() {
            return None;
        }
        match writers.of(header.producer_id) {
            Some(Writer::Client) => return None,
            Some(Writer::Reverse) => self.skip_to(header.next_offset(), header.leader_epoch),
            None => {
                self.rewind();
                self.awaited_writer = Some(header.producer_id);
                events.push_back(Event::WriterWanted { producer_id: header.producer_id });
            }
        }
        Some(Verdict::Skip)
    }

    /// It is known by now whose the producer id is. Returns whether the lane waited for that.
    pub(in crate::shard) fn handle_writer(&mut self, producer_id: i64) -> bool {
        self.awaited_writer.take_if(|awaited| *awaited == producer_id).is_some()
    }

    /// Whether the current run has become so long that the search for our last record would be, too.
    pub(super) fn wants_new_run(&self) -> bool {
        let begins = self.numbering.target_of(self.read_number).filter(|_| self.is_shared());
        begins.is_some_and(|at_least| self.settled_target - at_least > RUN_OFFSETS_MAX)
    }

    /// As [`Lane::handle_asked`], when the log end says nothing.
    pub(super) fn handle_asked_shared(
        &mut self,
        now: Now,
        asked: Asked,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let (Some(high_watermark), Some(log_end)) = (asked.high_watermark, asked.log_end) else {
            return self.hold(now, ASK_AGAIN_MS);
        };
        let Some(last_sequence) = asked.last_sequence else {
            // Others go on writing: what may be ours is read up to the log end that was told first.
            return match now.mono_us < self.zombies_until_us {
                true => self.hold_for_zombies(),
                false => self.wants_tail = true,
            };
        };
        if now.mono_us < self.zombies_until_us && !self.is_guarded(now, settings, asked.last_timestamp_ms) {
            return self.hold_for_zombies();
        }
        // Others keep the log end ahead of the high watermark: what counts is that it reached where the log ended when we were
        // last heard of.
        let cover = Cover { leader: self.target, last_sequence, log_end };
        let known = self.cover.filter(|known| Cover { log_end, ..*known } == cover);
        if high_watermark < known.map_or(log_end, |known| known.log_end) {
            self.cover = known.or(Some(cover));
            return self.hold(now, ASK_AGAIN_MS);
        }
        self.cover = None;
        let number = nearest_number(self.settled.number, sequence(i64::from(last_sequence) + 1));
        self.resume(now, number, settings, events);
    }

    /// Batches of the target's log, asked for because the broker does not know our producer id.
    pub(super) fn handle_tail_shared(
        &mut self,
        now: Now,
        end: &TargetEnd,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) {
        let is_ours = |header: &&BatchHeader| {
            header.producer_id == settings.producer_id && !header.is_control() && header.base_sequence >= 0
        };
        let after = |header: &BatchHeader| sequence(i64::from(header.last_sequence()) + 1);
        let found = end.batches.iter().rev().find(is_ours).map(after);
        let read_to = end.batches.last().map(BatchHeader::next_offset);
        let log_end = self.asked.log_end.unwrap_or(0);
        let search = match self.search {
            // The last batch of all was asked for first: mostly it is ours. It also tells where the log begins.
            None => Search {
                next_offset: self.numbering.target_of(self.settled.number).unwrap_or(0).max(end.log_start),
                next_sequence: None,
            },
            Some(search) => Search {
                next_offset: read_to.unwrap_or(log_end).max(search.next_offset),
                next_sequence: found.or(search.next_sequence),
            },
        };
        let is_over = search.next_offset >= log_end || (self.search.is_none() && found.is_some());
        if !is_over {
            self.search = Some(search);
            return;
        }
        self.search = None;
        let number = match found.or(search.next_sequence) {
            Some(next_sequence) => nearest_number(self.settled.number, next_sequence),
            // Nothing of ours stands where the next record would have to be.
            None => self.settled.number,
        };
        self.resume(now, number, settings, events);
    }

    /// What is to be read next in search of our last batch, and how much of it.
    pub(super) fn search_from(&self) -> Option<(i64, i32)> {
        self.search.map(|search| (search.next_offset, READ_BYTES))
    }
}
