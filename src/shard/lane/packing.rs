//! Which batches are taken apart and put together anew, though the target would take them in order.
//!
//! **Merging.** A Produce request carries one batch of a partition, and only so many requests are under way at a time. A source
//! whose batches hold a record or two can come faster than that. Then what has piled up travels together.
//!
//! **Splitting.** A target whose `max.message.bytes` is smaller than the source's takes a large batch in pieces, unless that
//! setting is raised ([`Room`]).
//!
//! **Changing.** Topics with transforms are opened whole (`crate::records`).
//!
//! But for that the records are the same, in the same order and with the same offsets; only where batches begin is not. It costs
//! opening them, so it is done where it is needed.

use super::{ASK_AGAIN_MS, Lane, ROUGH_BATCHES, Sent};
use crate::config::{Merge, Oversize};
use crate::limits::{BATCH_HEADER_BYTES, MERGED_BYTES};
use crate::shard::api::{Event, Repacking, Settings};
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use crate::wire::rebuild::Packing;
use std::collections::VecDeque;

/// Batches that have piled up behind those under way...
const WAITING_MIN: usize = 32;
/// ...and are smaller than this on average, in bytes, gain by being merged.
const SMALL_BATCH_BYTES: usize = 8 << 10;
/// What comes in answers of fewer batches than this...
const FEW_BATCHES: u32 = 4;
/// ...so many times in a row needs it no more.
const FEW_ANSWERS: u32 = 500;

/// The code of a batch that is larger than the topic's `max.message.bytes`. (The other one for large batches is about its
/// `segment.bytes`, which Kafka's `UnifiedLog.append` looks at afterwards: more room would not help.)
const MESSAGE_TOO_LARGE: i16 = 10;
/// Brokers hear of a topic's new setting from the controller, a moment after it was changed. So long a batch may still be refused,
/// and is sent again this often.
const ROOM_PATIENCE_MS: u64 = 10_000;
const ROOM_AGAIN_MS: u64 = 250;

impl Lane {
    /// Whether this batch is to be taken apart, whatever the state of its offsets.
    pub(super) fn opens(&mut self, header: &BatchHeader) -> bool {
        let opens = self.is_changed
            || self.merging.is_on
            || header.payload_bytes() > self.split_bytes
            || self.must_look_into(header);
        if opens {
            self.rough_batches = ROUGH_BATCHES;
            self.note_size(header.batch_bytes);
        }
        opens
    }

    /// Whether a batch may share one with the batches before it.
    pub(in crate::shard) fn merges(&self, header: &BatchHeader) -> bool {
        // What may have to be left out has to be judged alone.
        let is_plain = !header.is_control()
            && !header.is_transactional()
            && header.record_count > 0
            && !self.is_batch_diverted(header);
        self.merging.is_on && is_plain && !self.is_shared()
    }

    pub(in crate::shard) fn packing(&self) -> Packing {
        Packing {
            holes: self.holes(),
            compression: self.compression,
            joined_bytes: if self.merging.is_on { MERGED_BYTES.min(self.split_bytes) } else { 0 },
            split_bytes: self.split_bytes,
        }
    }

    /// A batch was accepted, of the answer at hand.
    pub(in crate::shard) fn note_waiting(&mut self, events: &mut VecDeque<Event>) {
        let (waiting, batch_bytes) = (self.pending.len(), self.batch_bytes_average);
        if self.merging.begins(waiting, batch_bytes) {
            events.push_back(Event::Repacking {
                lane: self.id,
                what: Repacking::Merging { batch_bytes, waiting },
            });
        }
    }

    /// The answer at hand had so many batches for this lane.
    pub(in crate::shard) fn note_answer(&mut self, batches: u32, events: &mut VecDeque<Event>) {
        if self.merging.ends(batches, self.batch_bytes_average) {
            events.push_back(Event::Repacking { lane: self.id, what: Repacking::NotMerging });
        }
    }

    /// The target takes no batch as large as this one. It goes again later (returned is when, in ms), in one piece or in several.
    /// None: it cannot be made smaller, or may not.
    pub(super) fn fit(
        &mut self,
        now: Now,
        code: i16,
        sent: Sent,
        settings: &Settings,
        events: &mut VecDeque<Event>,
    ) -> Option<u64> {
        if settings.oversize == Oversize::Raise && code == MESSAGE_TOO_LARGE {
            match self.room.wish(now, sent.bytes) {
                Wish::Ask => {
                    events.push_back(Event::RoomWanted { lane: self.id, batch_bytes: sent.bytes });
                    return Some(ASK_AGAIN_MS);
                }
                Wish::Wait => return Some(ROOM_AGAIN_MS),
                Wish::InVain => {
                    let what = Repacking::RaisedInVain { batch_bytes: sent.bytes };
                    events.push_back(Event::Repacking { lane: self.id, what });
                }
                Wish::Refused => {}
            }
        }
        self.split(sent, settings, events).then_some(ASK_AGAIN_MS)
    }

    /// Control's answer to the wish for room.
    pub(in crate::shard) fn handle_room(&mut self, now: Now, is_made: bool) {
        self.room.answer(now, is_made);
    }

    /// Whether the lane waits for an answer of control's before anything is asked or sent.
    pub(super) fn awaits_control(&self) -> bool {
        self.room.asked_bytes.is_some()
    }

    /// The target takes no batch as large as this one. False: it cannot be made smaller, or may not.
    fn split(&mut self, sent: Sent, settings: &Settings, events: &mut VecDeque<Event>) -> bool {
        if settings.oversize == Oversize::Halt || sent.count == 1 {
            return false;
        }
        self.split_bytes = self.split_bytes.min(sent.bytes.saturating_sub(BATCH_HEADER_BYTES)) / 2;
        let what = Repacking::Splitting { batch_bytes: sent.bytes, split_bytes: self.split_bytes };
        events.push_back(Event::Repacking { lane: self.id, what });
        true
    }
}

/// What the lane knows of how large a batch the target's topic may be made to take.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Control was asked for so much, and has not answered.
    asked_bytes: Option<usize>,
    /// There is room for so much, or will be by then (µs).
    made_bytes: usize,
    by_us: u64,
    /// There will be none for so much or more.
    refused_bytes: Option<usize>,
}

/// What becomes of a batch that was refused for its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Control is to be asked for room.
    Ask,
    /// There will be room in a moment.
    Wait,
    /// There should be room by now. Told once.
    InVain,
    Refused,
}

impl Room {
    fn wish(&mut self, now: Now, batch_bytes: usize) -> Wish {
        if self.refused_bytes.is_some_and(|refused| batch_bytes >= refused) {
            return Wish::Refused;
        }
        if batch_bytes > self.made_bytes {
            self.asked_bytes = Some(batch_bytes);
            return Wish::Ask;
        }
        if now.mono_us < self.by_us {
            return Wish::Wait;
        }
        self.refused_bytes = Some(batch_bytes);
        Wish::InVain
    }

    fn answer(&mut self, now: Now, is_made: bool) {
        let Some(asked) = self.asked_bytes.take() else { return };
        if is_made {
            self.made_bytes = self.made_bytes.max(asked);
            self.by_us = now.after_ms(ROOM_PATIENCE_MS);
        } else {
            self.refused_bytes = Some(self.refused_bytes.map_or(asked, |refused| refused.min(asked)));
        }
    }
}

#[derive(Debug)]
pub(super) struct Merging {
    policy: Merge,
    is_on: bool,
    /// Answers in a row with few batches.
    few: u32,
}

impl Merging {
    pub(super) fn new(policy: Merge) -> Self {
        Self { policy, is_on: policy == Merge::Always, few: 0 }
    }

    /// So many batches wait, of this size on average. True when that is the moment to begin.
    fn begins(&mut self, waiting: usize, batch_bytes: usize) -> bool {
        let begins = self.policy == Merge::Auto
            && !self.is_on
            && waiting >= WAITING_MIN
            && batch_bytes < SMALL_BATCH_BYTES;
        self.is_on |= begins;
        self.few = 0;
        begins
    }

    /// An answer had so many batches. True when they need no merging any more.
    fn ends(&mut self, batches: u32, batch_bytes: usize) -> bool {
        if self.policy != Merge::Auto || !self.is_on {
            return false;
        }
        self.few = if batches < FEW_BATCHES { self.few + 1 } else { 0 };
        self.is_on = self.few < FEW_ANSWERS && batch_bytes < 2 * SMALL_BATCH_BYTES;
        !self.is_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_batches_that_pile_up_are_merged_until_they_come_slowly() {
        let mut merging = Merging::new(Merge::Auto);
        assert!(!merging.begins(WAITING_MIN - 1, 200), "few wait");
        assert!(!merging.begins(WAITING_MIN, SMALL_BATCH_BYTES), "they are large");
        assert!(merging.begins(WAITING_MIN, 200) && merging.is_on);
        assert!(!merging.begins(WAITING_MIN, 200), "it is told once");
        let answer = |merging: &mut Merging, batches: u32| merging.ends(batches, 200);
        for _ in 0..FEW_ANSWERS - 1 {
            assert!(!answer(&mut merging, 1));
        }
        assert!(!answer(&mut merging, FEW_BATCHES), "they come fast again");
        for _ in 0..FEW_ANSWERS - 1 {
            assert!(!answer(&mut merging, 1));
        }
        assert!(merging.is_on);
        assert!(answer(&mut merging, 0));
        assert!(!merging.is_on);
    }

    #[test]
    fn large_batches_end_it_at_once() {
        let mut merging = Merging::new(Merge::Auto);
        assert!(merging.begins(WAITING_MIN, 200));
        assert!(!merging.ends(1, 2 * SMALL_BATCH_BYTES - 1), "not at once where it began");
        assert!(merging.ends(1, 2 * SMALL_BATCH_BYTES) && !merging.is_on);
    }

    #[test]
    fn room_is_asked_for_once_waited_for_and_given_up() {
        let at = |ms: u64| Now { mono_us: ms * 1_000, wall_ms: 0 };
        let mut room = Room::default();
        assert_eq!(room.wish(at(0), 500), Wish::Ask);
        room.answer(at(1), true);
        assert_eq!(room.wish(at(2), 400), Wish::Wait, "brokers may not know it yet");
        assert_eq!(room.wish(at(3), 600), Wish::Ask, "a larger one");
        room.answer(at(4), false);
        assert_eq!((room.wish(at(5), 600), room.wish(at(5), 700)), (Wish::Refused, Wish::Refused));
        assert_eq!(room.wish(at(6), 550), Wish::Ask);
        room.answer(at(7), true);
        assert_eq!(room.wish(at(8 + ROOM_PATIENCE_MS), 550), Wish::InVain);
        assert_eq!(room.wish(at(9 + ROOM_PATIENCE_MS), 550), Wish::Refused, "that is told once");
    }

    #[test]
    fn what_was_told_stays() {
        let (mut always, mut never) = (Merging::new(Merge::Always), Merging::new(Merge::Never));
        assert!(!never.begins(1_000, 100) && !never.is_on);
        for _ in 0..=FEW_ANSWERS {
            assert!(!always.ends(1, 1 << 20) && always.is_on);
        }
    }
}
