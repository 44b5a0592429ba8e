//! Batches that are taken apart, and what becomes of them: on to their lanes, as batches put together anew.

use super::api::StopKind;
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
        let member = &mut self.lanes[slot];
        let lane = &mut member.lane;
        if !lane.reads(reading) {
            return;
        }
        let change = change(&mut self.workers, member.worker);
        match convert(&messages, lane.read_offset(), lane.packing(), change) {
            Ok(Converted { batches, next_offset }) => {
                self.counters.batches_rebuilt += batches.len() as u64;
                lane.push_rebuilt(now, next_offset, -1, reading, batches, &mut self.events);
            }
            Err(bad) => lane.stop(StopKind::Unreadable, bad.to_string(), &mut self.events),
        }
        self.refresh(now, slot);
    }

    /// A whole batch that is to be taken apart. What its records become waits for what may join them.
    pub(super) fn open(&mut self, now: Now, key: Key, slot: Slot, header: &BatchHeader, payload: &[u8]) {
        let walk = self.sources.get_mut(&key).and_then(|source| source.walk.as_mut());
        let Some(walk) = walk else { return };
        let Some((_, reading)) = walk.lane else { return };
        let member = &mut self.lanes[slot];
        let lane = &mut member.lane;
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
        let change = change(&mut self.workers, member.worker);
        match gathered.batches.add(header, payload, lane.read_offset(), change) {
            Ok(()) => {
                gathered.next_offset = header.next_offset();
                gathered.count += 1;
                if !lane.merges(header) || gathered.batches.open_bytes() >= MERGED_BYTES {
                    self.close_gathered(now, key);
                }
            }
            Err(bad) => {
                walk.gathered = None;
                self.cannot_open(now, slot, header, &bad);
            }
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

    fn cannot_open(&mut self, now: Now, slot: Slot, header: &BatchHeader, bad: &BadRecords) {
        let lane = &mut self.lanes[slot].lane;
        // The bytes may have suffered on the way: they are fetched once more.
        if !matches!(bad, BadRecords::Checksum) || !lane.read_damaged_again(header.base_offset) {
            let detail = format!("the batch at offset {} has to be opened, and {bad}", header.base_offset);
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
fn change(workers: &mut [(Arc<Recipe>, Worker)], worker: Option<usize>) -> Option<&mut dyn Change> {
    let (_, worker) = workers.get_mut(worker?)?;
    Some(worker)
}
