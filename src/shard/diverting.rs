//! From what cannot be mirrored to the letters that say so.

use super::api::LaneId;
use super::lane::Lane;
use super::source::Slot;
use super::{Key, Shard};
use crate::limits::RECORDS_BYTES_MAX;
use crate::records::letters::Letter;
use crate::time::Now;
use crate::wire::batch::{BatchHeader, is_intact};
use crate::wire::codec::{BadRecords, decompress};
use crate::wire::rebuild::{Batches, Change, Changed, Holes, Packing, Record, records};

/// Letters of one lane that are written together: so many, and of so many bytes, or one.
const LETTERS_MAX: usize = 256;
const LETTERS_BYTES_MAX: usize = 1 << 20;
/// Of the buffers one part in so many is for letters.
const LETTERS_PART: usize = 4;
/// A lane whose letters would be too many for the shard's memory reads them again after this time.
const LETTERS_PAUSE_MS: u64 = 500;

/// Looks at each record before it is changed: what is in the dead letters is dropped, and what has to go there is an error.
pub(super) struct Sorting<'a> {
    pub(super) lane: &'a Lane,
    pub(super) change: Option<&'a mut (dyn Change + 'a)>,
}

impl Sorting<'_> {
    /// Whether a record may become something else than it is.
    pub(super) fn is_needed(&self) -> bool {
        self.change.is_some() || self.lane.sorts()
    }
}

impl Change for Sorting<'_> {
    fn change(&mut self, record: &Record<'_>, body: &mut Vec<u8>) -> Result<Changed, String> {
        if self.lane.is_diverted(record.offset) {
            return Ok(Changed::Dropped);
        }
        match (self.lane.refusal(record.offset), &mut self.change) {
            (Some(reason), _) => Err(reason.to_owned()),
            (None, Some(change)) => change.change(record, body),
            (None, None) => Ok(Changed::Same),
        }
    }
}

/// The same, to collect what has to go there. Nothing comes of the other records.
pub(super) struct Collecting<'a> {
    sorting: Sorting<'a>,
    bytes_max: usize,
    pub(super) letters: Vec<Letter>,
    bytes: usize,
}

impl<'a> Collecting<'a> {
    pub(super) fn new(sorting: Sorting<'a>, bytes_max: usize) -> Self {
        Self { sorting, bytes_max, letters: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.letters.len() >= LETTERS_MAX || self.bytes >= LETTERS_BYTES_MAX
    }
}

impl Change for Collecting<'_> {
    fn change(&mut self, record: &Record<'_>, body: &mut Vec<u8>) -> Result<Changed, String> {
        if !self.is_full()
            && let Err(reason) = self.sorting.change(record, body)
        {
            // What is too large for the target's topic is too large for another one of its topics.
            let is_refused = self.sorting.lane.refusal(record.offset).is_some();
            let letter = Letter::of_record(record, reason, !is_refused, self.bytes_max);
            self.bytes += letter.bytes();
            self.letters.push(letter);
        }
        Ok(Changed::Dropped)
    }
}

impl Shard {
    /// A batch of which something cannot be mirrored goes to the dead letters, or what of it cannot. What comes before that is
    /// mirrored. False: nothing of it belongs there.
    pub(super) fn divert(
        &mut self,
        now: Now,
        key: Key,
        slot: Slot,
        header: &BatchHeader,
        payload: &[u8],
        bad: &BadRecords,
    ) -> bool {
        let bytes_max = self.letters_bytes_max();
        let letters = match bad {
            BadRecords::Change { offset, .. } => {
                let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
                let Some(gathered) = walk.and_then(|walk| walk.gathered.as_mut()) else { return false };
                gathered.next_offset = *offset;
                gathered.source_epoch = header.leader_epoch;
                let member = &self.lanes[slot];
                let lane = &member.lane;
                let change = super::opening::change(&mut self.workers, member.worker);
                let mut collecting = Collecting::new(Sorting { lane, change }, bytes_max);
                let collected = Batches::new(Packing::apart(Holes::Close)).add(
                    header,
                    payload,
                    *offset,
                    Some(&mut collecting),
                );
                if collected.is_err() {
                    return false;
                }
                collecting.letters
            }
            _ => match unreadable(header, payload) {
                Some(why) => {
                    let reason = format!("the batch cannot be read, since {why}");
                    vec![Letter::of_batch(header, payload, reason, bytes_max)]
                }
                // It is what becomes of it that does not work.
                None => return false,
            },
        };
        self.close_gathered(now, key);
        self.send_letters(now, slot, letters);
        true
    }

    /// Hands letters to the lane if there is memory for them. Else they are made again later.
    pub(super) fn send_letters(&mut self, now: Now, slot: Slot, letters: Vec<Letter>) {
        let bytes: usize = letters.iter().map(Letter::bytes).sum();
        let (held, max) = (self.letters_bytes(), self.letters_bytes_max());
        let member = &mut self.lanes[slot];
        let lane = &mut member.lane;
        if held > 0 && held + bytes > max {
            lane.rewind();
            member.fetch_pause_until_us = now.after_ms(LETTERS_PAUSE_MS);
            self.resting.insert(slot);
        } else if lane.divert(letters, &mut self.events) {
            self.letters.insert(lane.id, bytes);
        }
        self.refresh(now, slot);
    }

    pub(super) fn handle_letters_written(&mut self, now: Now, lane: LaneId) {
        self.letters.remove(&lane);
        let Some(&slot) = self.slots.get(&lane) else { return };
        let lane = &mut self.lanes[slot].lane;
        self.counters.dead_letters += lane.handle_letters_written();
        self.refresh(now, slot);
    }

    /// What is held by letters that are being written.
    pub(super) fn letters_bytes(&self) -> usize {
        self.letters.values().sum()
    }

    /// The most of that, but for a single lane's.
    fn letters_bytes_max(&self) -> usize {
        self.settings.buffer_bytes / LETTERS_PART
    }
}

/// Why not even the records of a batch can be told, if so.
fn unreadable(header: &BatchHeader, payload: &[u8]) -> Option<BadRecords> {
    if !is_intact(&header.to_raw(), payload) {
        return Some(BadRecords::Checksum);
    }
    let bytes = match decompress(header.codec(), payload, RECORDS_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(bad) => return Some(bad),
    };
    records(header, &bytes).err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Merge, StartFrom};
    use crate::shard::api::{Event, LaneStart, OffsetMode};
    use crate::shard::lane::Path;
    use std::collections::VecDeque;
    use uuid::Uuid;

    fn lane() -> Lane {
        let name = || "orders".into();
        let start = LaneStart {
            lane: LaneId(0),
            topic: name(),
            names: [name(), name()],
            partition: 0,
            source_topic_id: Uuid::nil(),
            target_topic_id: Uuid::nil(),
            from: StartFrom::Earliest,
            runs: Vec::new(),
            checkpoint: None,
            mode: OffsetMode::Append,
            zombies_until_us: 0,
            recipe: None,
            limit: None,
            is_first: false,
        };
        Lane::new(start, Path::Copy, Merge::Never)
    }

    /// Cannot handle records with odd offsets.
    struct Even;

    impl Change for Even {
        fn change(&mut self, record: &Record<'_>, _: &mut Vec<u8>) -> Result<Changed, String> {
            if record.offset % 2 == 0 { Ok(Changed::Same) } else { Err("it is odd".into()) }
        }
    }

    fn record(offset: i64) -> Record<'static> {
        Record { offset, attributes: 0, timestamp_ms: 0, body: &[1, 1, 0] }
    }

    fn collect(lane: &Lane, offsets: std::ops::Range<i64>) -> Vec<Letter> {
        let mut even = Even;
        let mut collecting = Collecting::new(Sorting { lane, change: Some(&mut even) }, 100);
        for offset in offsets {
            let dropped = collecting.change(&record(offset), &mut Vec::new());
            assert_eq!(dropped, Ok(Changed::Dropped), "nothing else comes of it");
        }
        collecting.letters
    }

    #[test]
    fn what_is_in_the_dead_letters_is_dropped_and_all_else_judged_as_ever() {
        let (mut lane, mut events) = (lane(), VecDeque::new());
        let letters = collect(&lane, 0..6);
        assert_eq!(letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [1, 3, 5]);
        assert!(lane.divert(letters.clone(), &mut events));
        assert!(!lane.divert(letters, &mut events), "one at a time");
        assert!(
            matches!(&events.make_contiguous()[..], [Event::Letters { letters, .. }] if letters.len() == 3)
        );
        assert!(!lane.is_diverted(1), "not before they are written");
        assert_eq!((lane.handle_letters_written(), lane.handle_letters_written()), (3, 0));
        let mut even = Even;
        let mut sorting = Sorting { lane: &lane, change: Some(&mut even) };
        let mut judge = |offset| sorting.change(&record(offset), &mut Vec::new());
        assert_eq!(
            (judge(0), judge(1), judge(5)),
            (Ok(Changed::Same), Ok(Changed::Dropped), Ok(Changed::Dropped))
        );
        assert_eq!(judge(7), Err("it is odd".into()));
        assert!(collect(&lane, 0..6).is_empty());
    }

    #[test]
    fn letters_are_written_so_many_at_a_time() {
        let mut lane = lane();
        let mut all = 0;
        for _ in 0..3 {
            let letters = collect(&lane, 0..1_200);
            assert!(letters.len() <= LETTERS_MAX);
            all += letters.len();
            assert!(lane.divert(letters, &mut VecDeque::new()));
            lane.handle_letters_written();
        }
        assert_eq!((all, collect(&lane, 0..1_200).len()), (600, 0));
    }
}
