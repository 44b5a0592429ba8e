//! The judge: reads what arrived on the target, batch by batch, and counts what is not exactly as it was sent.

use super::batches::{ATTRIBUTES, BASE_TIMESTAMP, Batches, CRC, LAST_OFFSET_DELTA, MAX_TIMESTAMP};
use crate::limits::BATCH_HEADER_BYTES;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// What was found on the target, in batches. Everything but `arrived` should be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Batches that arrived intact and for the first time.
    pub arrived: u64,
    /// Sent and not there.
    pub lost: u64,
    /// There once more.
    pub duplicated: u64,
    /// There, but after a later one.
    pub reordered: u64,
    /// Not a batch that was sent: payload, checksum or header differ, or the offset is not the one after the last.
    pub corrupted: u64,
}

impl Tally {
    /// Everything sent is there, once, in order, unchanged.
    pub fn is_perfect(&self) -> bool {
        (self.lost, self.duplicated, self.reordered, self.corrupted) == (0, 0, 0, 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.arrived += other.arrived;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
    }
}

/// What one batch turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Intact and new; the number tells when it was meant to be sent.
    Batch {
        index: u64,
    },
    Duplicate {
        index: u64,
    },
    Corrupt,
}

/// Checks one partition of the target, which must be read from its first batch on, in order.
#[derive(Debug, Default)]
pub struct Checker {
    partition: u32,
    /// The index expected next: one more than the greatest seen.
    next_index: u64,
    /// The offset that the next batch must have.
    next_offset: i64,
    /// Skipped indices, as ranges: start → end. Lost, unless they come later.
    missing: BTreeMap<u64, u64>,
    tally: Tally,
}

impl Checker {
    /// A checker for a partition whose first batch will have the given offset.
    pub fn new(partition: u32, first_offset: i64) -> Self {
        Self { partition, next_offset: first_offset, ..Self::default() }
    }

    /// Where to read on.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// A transaction's marker, which nobody sent as a batch, goes before this offset.
    pub fn pass_marker(&mut self, next_offset: i64) {
        self.next_offset = next_offset;
    }

    /// How many different batches have arrived, counting those skipped as arrived.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Judges the next batch of the target partition; the payload may come in several pieces.
    pub fn check<'a>(
        &mut self,
        batches: &Batches,
        header: &[u8; BATCH_HEADER_BYTES],
        payload: impl Iterator<Item = &'a [u8]>,
    ) -> Found {
        let base_offset = i64::from_be_bytes(field(header, 0));
        let in_place = base_offset == self.next_offset;
        let last_offset_delta = i32::from_be_bytes(field(header, LAST_OFFSET_DELTA));
        self.next_offset = base_offset.saturating_add(i64::from(last_offset_delta) + 1);

        let timestamp_ms = i64::from_be_bytes(field(header, BASE_TIMESTAMP));
        let index = u64::try_from(timestamp_ms.saturating_sub(batches.first_timestamp_ms()));
        let Some(index) = index.ok().filter(|_| in_place && self.is_intact(batches, header, payload)) else {
            self.tally.corrupted += 1;
            return Found::Corrupt;
        };
        if index >= self.next_index {
            if index > self.next_index {
                self.missing.insert(self.next_index, index);
            }
            self.next_index = index + 1;
        } else if self.fill_in(index) {
            self.tally.reordered += 1;
        } else {
            self.tally.duplicated += 1;
            return Found::Duplicate { index };
        }
        self.tally.arrived += 1;
        Found::Batch { index }
    }

    /// The result, if `sent` batches were sent to this partition.
    pub fn tally(&self, sent: u64) -> Tally {
        let skipped: u64 = self.missing.iter().map(|(start, end)| end - start).sum();
        Tally { lost: skipped + sent.saturating_sub(self.next_index), ..self.tally }
    }

    fn is_intact<'a>(
        &self,
        batches: &Batches,
        header: &[u8; BATCH_HEADER_BYTES],
        payload: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        let timestamp_ms = i64::from_be_bytes(field(header, BASE_TIMESTAMP));
        let index = timestamp_ms.wrapping_sub(batches.first_timestamp_ms()) as u64;
        let Some(variant) = batches.variant(self.partition, index) else { return false };
        let mut expected: &[u8] = &variant.payload;
        for piece in payload {
            match expected.split_at_checked(piece.len()) {
                Some((same, rest)) if same == piece => expected = rest,
                _ => return false,
            }
        }
        let crc = || crc32c::crc32c_append(crc32c::crc32c(&header[ATTRIBUTES..]), &variant.payload);
        expected.is_empty()
            && variant.agrees_with(header)
            && header[BASE_TIMESTAMP..MAX_TIMESTAMP] == header[MAX_TIMESTAMP..MAX_TIMESTAMP + 8]
            && u32::from_be_bytes(field(header, CRC)) == crc()
    }

    /// Takes `index` out of the missing ones, if it is among them.
    fn fill_in(&mut self, index: u64) -> bool {
        let Some((&start, &end)) = self.missing.range(..=index).next_back().filter(|(_, end)| index < **end)
        else {
            return false;
        };
        self.missing.remove(&start);
        if start < index {
            self.missing.insert(start, index);
        }
        if index + 1 < end {
            self.missing.insert(index + 1, end);
        }
        true
    }
}

fn field<const N: usize>(header: &[u8; BATCH_HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| header[at + i])
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, ReadyBatch, Shape};
    use super::*;

    const PARTITION: u32 = 2;

    struct Target {
        batches: Batches,
        checker: Checker,
        end: i64,
    }

    impl Target {
        fn new() -> Self {
            let shape = Shape::plain(1000, 100, Codec::None, 50);
            Self {
                batches: Batches::new(shape, 3, 5_000).unwrap(),
                checker: Checker::new(PARTITION, 70),
                end: 70,
            }
        }

        /// Appends a batch as a mirror would, damaged by `damage`, and has it checked.
        fn append(&mut self, index: u64, damage: impl FnOnce(&mut [u8], &mut Vec<u8>)) -> Found {
            let ReadyBatch { mut header, payload, .. } = self.batches.batch(PARTITION, index);
            header[..8].copy_from_slice(&self.end.to_be_bytes());
            self.end += i64::from(self.batches.records_per_batch());
            // Another producer id, with the checksum to match.
            header[43..51].copy_from_slice(&4711i64.to_be_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c(&header[ATTRIBUTES..]), &payload);
            header[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
            let mut payload = payload.to_vec();
            damage(&mut header, &mut payload);
            self.checker.check(&self.batches, &header, payload.chunks(300))
        }

        fn good(&mut self, index: u64) -> Found {
            self.append(index, |_, _| {})
        }
    }

    #[test]
    fn everything_in_order_is_perfect() {
        let mut target = Target::new();
        for index in 0..50 {
            assert_eq!(target.good(index), Found::Batch { index });
        }
        assert_eq!(target.checker.next_offset(), target.end);
        assert_eq!(target.checker.tally(50), Tally { arrived: 50, ..Tally::default() });
        assert!(target.checker.tally(50).is_perfect());
        assert_eq!(target.checker.tally(52).lost, 2);
    }

    #[test]
    fn losses_duplicates_and_wrong_order_are_told_apart() {
        let mut target = Target::new();
        for index in [0, 1, 5, 3, 3, 0, 6] {
            target.good(index);
        }
        let tally = target.checker.tally(8);
        // 2, 4 and 7 never came; 3 came late, and twice; 0 came twice.
        assert_eq!(tally, Tally { arrived: 5, lost: 3, duplicated: 2, reordered: 1, corrupted: 0 });
        assert!(!tally.is_perfect());
    }

    #[test]
    fn every_kind_of_damage_is_seen() {
        type Damage = fn(&mut [u8], &mut Vec<u8>);
        let damages: [(&str, Damage); 8] = [
            ("payload", |_, payload| payload[100] ^= 1),
            ("payload cut", |_, payload| payload.truncate(100)),
            ("crc", |header, _| header[CRC] ^= 1),
            ("codec", |header, _| header[ATTRIBUTES + 1] ^= 1),
            ("producer id without its checksum", |header, _| header[45] ^= 1),
            ("record count", |header, _| header[60] ^= 1),
            ("timestamp", |header, _| header[MAX_TIMESTAMP + 7] ^= 1),
            ("base offset", |header, _| header[7] ^= 1),
        ];
        for (what, damage) in damages {
            let mut target = Target::new();
            assert_eq!(target.good(0), Found::Batch { index: 0 });
            assert_eq!(target.append(1, damage), Found::Corrupt, "{what}");
            assert_eq!((target.checker.tally(2).corrupted, target.checker.tally(2).lost), (1, 1), "{what}");
        }
    }

    #[test]
    fn a_hole_in_the_offsets_is_corruption() {
        let mut target = Target::new();
        target.good(0);
        target.end += 1;
        assert_eq!(target.good(1), Found::Corrupt);
        assert_eq!(target.good(2), Found::Batch { index: 2 });
    }
}
