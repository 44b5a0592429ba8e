//! Where the source ends of lanes that are not read for now, because they are paused or the target is not there: without it, what
//! piles up there would not show.

use super::Session;
use crate::edge::runtime::ShardHandle;
use crate::shard::{LaneId, LaneSnapshot};
use crate::time::Now;
use std::collections::BTreeMap;

/// How often the source is asked, and how often when it does not answer.
const ASK_MS: (u64, u64) = (5_000, 30_000);

#[derive(Default)]
pub(super) struct Ends {
    asked: BTreeMap<LaneId, i64>,
    ask_at_us: u64,
}

impl Ends {
    /// -1: not known.
    pub(super) fn of(&self, seen: &LaneSnapshot) -> i64 {
        match self.asked.get(&seen.lane).filter(|_| !seen.is_read) {
            Some(asked) => seen.source_end.max(*asked),
            None => seen.source_end,
        }
    }
}

impl Session<'_> {
    pub(super) fn ask_ends(&mut self, now: Now) {
        if now.mono_us < self.ends.ask_at_us {
            return;
        }
        let looks: Vec<_> = self.shards.iter().map(ShardHandle::snapshot).collect();
        let unread = looks.iter().flat_map(|look| &look.shard.lanes).filter(|lane| !lane.is_read);
        let places: Vec<((String, i32), LaneId)> = unread
            .filter_map(|seen| Some((seen.lane, self.lanes.get(&seen.lane)?)))
            .filter(|(_, lane)| !lane.stopped)
            .map(|(id, lane)| ((lane.topic.to_string(), lane.partition), id))
            .collect();
        let names: Vec<(String, i32)> = places.iter().map(|(name, _)| name.clone()).collect();
        let ends = match names.is_empty() {
            true => BTreeMap::new(),
            false => self.source.end_offsets_of(&names, self.config.isolation),
        };
        let all_answered = ends.len() == names.len();
        self.ends.ask_at_us = now.after_ms(if all_answered { ASK_MS.0 } else { ASK_MS.1 });
        let asked = places.into_iter().filter_map(|(name, id)| Some((id, *ends.get(&name)?)));
        self.ends.asked = asked.collect();
    }
}
