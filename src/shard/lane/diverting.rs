//! What the lane cannot bring over goes to the dead letters instead, and the lane goes on behind it.
//!
//! ```text
//! cannot be mirrored ──► letters under way, nothing is read ──► acknowledged ──► read again: dropped, as by a filter
//! ```
//!
//! Letters are written before the lane passes what they are about; where something comes in between (a kill, above all), it is
//! met again, finds the same verdict and is written once more. In the twin it leaves what a dropped record leaves: a hole, closed
//! by a new run or filled.
//!
//! What was written is remembered until the position is behind it. So after a doubt it is not written again, and the lane comes
//! past any number of them. Whoever only sends a batch does not see its records: when the target refuses one for good, the lane
//! notes where that is, and it is opened when it is read again.

use super::{Lane, Sent};
use crate::records::letters::Letter;
use crate::shard::api::{Event, Settings};
use crate::wire::batch::BatchHeader;
use std::collections::VecDeque;

/// While so many ranges of offsets are remembered and something is under way, no more are added: they are forgotten when that is
/// settled.
const RANGES_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Diverting {
    /// Source offsets (from, behind) in the dead letters and not settled yet, in ascending order, apart from each other.
    written: Vec<(i64, i64)>,
    /// The same of those that are being written.
    under_way: Option<Vec<(i64, i64)>>,
    /// The source's offsets do not mean any more what they did when those were sent.
    is_void: bool,
    refused: Option<Refused>,
    /// Letters written in the lane's life.
    count: u64,
}

/// What the target refused for good, before its records were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    from: i64,
    behind: i64,
    /// Of a record that is to be diverted whatever it holds; else it is the checksum that tells.
    reason: Option<String>,
}

impl Diverting {
    fn add(&mut self, ranges: Vec<(i64, i64)>) {
        self.written.extend(ranges);
        self.written.sort_unstable();
        self.written.dedup_by(|next, last| {
            let joins = next.0 <= last.1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
    }

    /// The position is there.
    pub(super) fn forget_before(&mut self, settled: i64) {
        if !self.written.is_empty() {
            self.written.retain(|range| range.1 > settled);
        }
        if self.refused.as_ref().is_some_and(|refused| refused.behind <= settled) {
            self.refused = None;
        }
    }

    /// The source's offsets mean something else from here on.
    pub(super) fn forget(&mut self) {
        self.written.clear();
        self.refused = None;
        self.is_void = self.under_way.is_some();
    }

    pub(super) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    fn has(&self, offset: i64) -> bool {
        let at = self.written.partition_point(|range| range.1 <= offset);
        self.written.get(at).is_some_and(|range| range.0 <= offset)
    }

    fn has_all(&self, from: i64, behind: i64) -> bool {
        let at = self.written.partition_point(|range| range.1 <= from);
        self.written.get(at).is_some_and(|range| range.0 <= from && behind <= range.1)
    }

    fn has_some(&self, from: i64, behind: i64) -> bool {
        let at = self.written.partition_point(|range| range.1 <= from);
        self.written.get(at).is_some_and(|range| range.0 < behind)
    }

    /// Whether this batch has to be looked into.
    fn concerns(&self, header: &BatchHeader) -> bool {
        let (from, behind) = (header.base_offset, header.next_offset());
        self.has_some(from, behind)
            || self.refused.as_ref().is_some_and(|refused| refused.from < behind && from < refused.behind)
    }

    fn is_full(&self) -> bool {
        self.written.len() >= RANGES_MAX
    }
}

impl Lane {
    /// The whole batch is in the dead letters.
    pub(super) fn is_batch_diverted(&self, header: &BatchHeader) -> bool {
        self.diverting.has_written() && self.diverting.has_all(header.base_offset, header.next_offset())
    }

    /// Something of the batch is in the dead letters, or is to be looked at for them.
    pub(super) fn must_look_into(&self, header: &BatchHeader) -> bool {
        self.diverting.concerns(header)
    }

    /// Whether there may be records that are in the dead letters, or have to go there.
    pub(in crate::shard) fn sorts(&self) -> bool {
        self.diverting.has_written() || self.diverting.refused.is_some()
    }

    /// The record is in the dead letters.
    pub(in crate::shard) fn is_diverted(&self, offset: i64) -> bool {
        self.diverting.has(offset)
    }

    /// Why the record is to go there whatever it holds: the target does not take it.
    pub(in crate::shard) fn refusal(&self, offset: i64) -> Option<&str> {
        let refused = self.diverting.refused.as_ref()?;
        refused.reason.as_deref().filter(|_| (refused.from..refused.behind).contains(&offset))
    }

    /// Letters are written, or the position has to come past some first: nothing is read.
    pub(super) fn awaits_letters(&self) -> bool {
        self.diverting.under_way.is_some() || self.diverting.is_full() && self.has_outstanding()
    }

    /// Sends these letters, and reads on from the first of them when they are written.
    /// False: they are not sent, since the lane has to wait.
    pub(in crate::shard) fn divert(&mut self, letters: Vec<Letter>, events: &mut VecDeque<Event>) -> bool {
        self.rewind();
        if letters.is_empty() || self.awaits_letters() || self.is_stopped() {
            return false;
        }
        self.diverting.under_way = Some(letters.iter().map(Letter::range).collect());
        events.push_back(Event::Letters { lane: self.id, letters });
        true
    }

    /// The dead letters have them, acknowledged by all replicas. Returns how many they are.
    pub(in crate::shard) fn handle_letters_written(&mut self) -> u64 {
        let Some(ranges) = self.diverting.under_way.take() else { return 0 };
        let count = ranges.len() as u64;
        self.diverting.count += count;
        if !std::mem::take(&mut self.diverting.is_void) {
            self.diverting.add(ranges);
            self.diverting.forget_before(self.settled.source_offset);
        }
        count
    }

    pub(super) fn letters_written(&self) -> u64 {
        self.diverting.count
    }

    /// The target takes nothing as large as this record, which goes to the dead letters when it is read again. False: it stops the
    /// lane.
    pub(super) fn divert_too_large(&mut self, sent: Sent, settings: &Settings) -> bool {
        let offset = self.numbering.source_of(sent.number);
        let is_seed = self.numbering.seeds_from(sent.number) > 0;
        let Some(offset) = offset.filter(|_| settings.has_dead_letters && sent.count == 1 && !is_seed) else {
            return false;
        };
        let reason = format!(
            "the target takes no batch of {} bytes, which this record has alone: its topic's max.message.bytes (or segment.bytes) \
             is smaller",
            sent.bytes
        );
        self.diverting.refused = Some(Refused { from: offset, behind: offset + 1, reason: Some(reason) });
        true
    }

    /// The target found a batch damaged, twice. It is opened when it is read again: if it is damaged at the source, that shows.
    /// False: it was opened already.
    pub(super) fn look_for_damage(&mut self, sent: Sent, settings: &Settings) -> bool {
        let from = self.numbering.source_of(sent.number).filter(|_| settings.has_dead_letters);
        let Some(from) = from else { return false };
        let behind = sent.next_offset;
        let knows = |known: &Refused| known.reason.is_none() && known.from < behind && from < known.behind;
        let is_first = !self.diverting.refused.as_ref().is_some_and(knows);
        self.diverting.refused = Some(Refused { from, behind, reason: None });
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_known_until_the_position_is_behind_it() {
        let mut diverting = Diverting::default();
        diverting.add(vec![(7, 8), (3, 5), (5, 6)]);
        diverting.add(vec![(8, 10), (20, 30)]);
        assert_eq!(diverting.written, [(3, 6), (7, 10), (20, 30)]);
        let known: Vec<i64> = (0..32).filter(|&offset| diverting.has(offset)).collect();
        assert_eq!(known, [3, 4, 5, 7, 8, 9, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
        assert!(diverting.has_all(20, 30) && !diverting.has_all(5, 8) && !diverting.has_all(0, 4));
        assert!(diverting.has_some(5, 7) && diverting.has_some(0, 4) && !diverting.has_some(10, 20));
        diverting.forget_before(6);
        assert_eq!(diverting.written, [(7, 10), (20, 30)]);
        diverting.forget_before(25);
        assert!(diverting.has(29), "a batch is behind it as a whole");
        diverting.forget();
        assert!(!diverting.has_written());
    }
}
