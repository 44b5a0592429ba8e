//! Batches that are taken apart, and what becomes of them: on to their lanes, as batches put together anew.

use super::api::StopKind;
use super::diverting::{Collecting, Sorting};
use super::source::{Gathered, Slot};
use super::{Key, Shard};
use crate::limits::MERGED_BYTES;
use crate::records::{Recipe, Worker};
use crate::time::Now;
use crate::wire::batch::BatchHeader;
use crate::wire::codec::BadRecords;
use crate::wire::legacy::convert::{Converted, convert};
use crate::wire::rebuild::{Batches, Change};
use std::sync::Arc;

impl Shard {
    /// What was collected of messages goes to the lane as batches.
    pub(super) fn convert_messages(&mut self, now: Now, key: Key) {
        let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
        let Some(walk) = walk.filter(|walk| !walk.messages.is_empty()) else { return };
        let messages = std::mem::take(&mut walk.messages);
        let Some((slot, reading)) = walk.lane else { return };
        let member = &self.lanes[slot];
        let lane = &member.lane;
        if !lane.reads(reading) {
            return;
        }
        let (from, packing) = (lane.read_offset(), lane.packing());
        let mut sorting = Sorting { lane, change: change(&mut self.workers, member.worker) };
        let bad = match convert(&messages, from, packing, Some(&mut sorting)) {
            Ok(Converted { batches, next_offset }) => {
                self.counters.batches_rebuilt += batches.len() as u64;
                let lane = &mut self.lanes[slot].lane;
                lane.push_rebuilt(now, next_offset, -1, reading, batches, &mut self.events);
                return self.refresh(now, slot);
            }
            Err(bad) => bad,
        };
        let mut collecting = Collecting::new(sorting, self.settings.buffer_bytes);
        let is_of_records = self.settings.has_dead_letters && matches!(bad.cause, BadRecords::Change { .. });
        if is_of_records && convert(&messages, from, packing, Some(&mut collecting)).is_ok() {
            let letters = collecting.letters;
            return self.send_letters(now, slot, letters);
        }
        self.lanes[slot].lane.stop(StopKind::Unreadable, bad.to_string(), &mut self.events);
        self.refresh(now, slot);
    }

    /// A whole batch that is to be taken apart. What its records become waits for what may join them.
    pub(super) fn open(&mut self, now: Now, key: Key, slot: Slot, header: &BatchHeader, payload: &[u8]) {
        let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
        let Some(walk) = walk else { return };
        let Some((_, reading)) = walk.lane else { return };
        let member = &self.lanes[slot];
        let lane = &member.lane;
        if !lane.reads(reading) {
            walk.gathered = None;
            return;
        }
        let gathered = walk.gathered.get_or_insert_with(|| Gathered {
            batches: Batches::new(lane.packing()),
            next_offset: header.base_offset,
            source_epoch: header.leader_epoch,
            count: 0,
        });
        let mut sorting = Sorting { lane, change: change(&mut self.workers, member.worker) };
        let is_sorted = sorting.is_needed();
        let change = is_sorted.then_some(&mut sorting as &mut dyn Change);
        match gathered.batches.add(header, payload, lane.read_offset(), change) {
            Ok(()) => {
                gathered.next_offset = header.next_offset();
                gathered.count += 1;
                if !lane.merges(header) || gathered.batches.open_bytes() >= MERGED_BYTES {
                    self.close_gathered(now, key);
                }
            }
            Err(bad) => self.cannot_open(now, key, slot, header, payload, &bad),
        }
    }

    /// Unless this batch may join what was gathered, that goes to its lane first.
    pub(super) fn make_way(&mut self, now: Now, key: Key, header: &BatchHeader) {
        let Some(walk) = self.sources.get(&key).and_then(|source| source.walk.as_ref()) else { return };
        let Some(gathered) = &walk.gathered else { return };
        let joins = walk.lane.is_some_and(|(slot, reading)| {
            let lane = &self.lanes[slot].lane;
            lane.reads(reading) && lane.merges(header)
        });
        let follows = header.base_offset >= gathered.next_offset;
        if !joins || !follows || header.leader_epoch != gathered.source_epoch {
            self.close_gathered(now, key);
        }
    }

    /// What was gathered goes to its lane.
    pub(super) fn close_gathered(&mut self, now: Now, key: Key) {
        let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
        let Some(walk) = walk else { return };
        let (Some(gathered), Some((slot, reading))) = (walk.gathered.take(), walk.lane) else { return };
        let Gathered { batches, next_offset, source_epoch, count } = gathered;
        let lane = &mut self.lanes[slot].lane;
        self.counters.batches_rebuilt += count;
        match batches.finish() {
            Ok(rebuilt) => {
                lane.push_rebuilt(now, next_offset, source_epoch, reading, rebuilt, &mut self.events);
            }
            Err(bad) => {
                let detail =
                    format!("the records up to offset {} cannot be put together: {bad}", next_offset - 1);
                lane.stop(StopKind::Unreadable, detail, &mut self.events);
            }
        }
        self.refresh(now, slot);
    }

    fn cannot_open(
        &mut self,
        now: Now,
        key: Key,
        slot: Slot,
        header: &BatchHeader,
        payload: &[u8],
        bad: &BadRecords,
    ) {
        let lane = &mut self.lanes[slot].lane;
        // The bytes may have suffered on the way: they are fetched once more.
        let is_read_again =
            matches!(bad, BadRecords::Checksum) && lane.read_damaged_again(header.base_offset);
        if !is_read_again
            && self.settings.has_dead_letters
            && self.divert(now, key, slot, header, payload, bad)
        {
            return;
        }
        if let Some(walk) = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut()) {
            walk.gathered = None;
        }
        let lane = &mut self.lanes[slot].lane;
        if !is_read_again {
            let detail = format!(
                "the batch at offset {} has to be opened, and {bad}; to go on without what cannot be mirrored: --dead-letter TOPIC",
                header.base_offset
            );
            let kind = match bad {
                BadRecords::Checksum => StopKind::DamagedBatch,
                _ => StopKind::Unreadable,
            };
            lane.stop(kind, detail, &mut self.events);
        }
        self.refresh(now, slot);
    }
}

/// What changes the records of a lane with this worker.
pub(super) fn change(
    workers: &mut [(Arc<Recipe>, Worker)],
    worker: Option<usize>,
) -> Option<&mut dyn Change> {
    let (_, worker) = workers.get_mut(worker?)?;
    Some(worker)
}
