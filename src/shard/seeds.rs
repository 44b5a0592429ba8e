//! Batches of seeds: encoded once, sent by many lanes many times.

use crate::limits::SEEDS_PER_BATCH;
use crate::wire::seed::SeedBatch;

#[derive(Default)]
pub(super) struct Seeds {
    /// Of [`SEEDS_PER_BATCH`] records.
    full: Option<SeedBatch>,
    /// Of any other number: the last one that was asked for.
    other: Option<SeedBatch>,
}

impl Seeds {
    /// A batch of so many seeds. None: there is no memory for it now.
    pub(super) fn of(&mut self, records: i32, wall_ms: i64) -> Option<&SeedBatch> {
        let place = if records == SEEDS_PER_BATCH { &mut self.full } else { &mut self.other };
        if place.as_ref().is_none_or(|seeds| seeds.header.record_count != records) {
            *place = SeedBatch::new(records, wall_ms).ok();
        }
        place.as_ref()
    }
}
