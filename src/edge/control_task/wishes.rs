//! What is wished of the running link, carried out: lanes that are paused, and a limit that changes.

use super::Session;
use crate::config::{Share, rate_of};
use crate::control::planner::LanePlan;
use crate::edge::clock;
use crate::edge::outside::{Outside, Wishes};
use crate::shard::{Command, LaneId};
use crate::stats::units;
use std::sync::Arc;

/// How often it is said that nothing but paused lanes is left to do.
const REMIND_MS: u64 = 60_000;

pub(super) struct Following {
    /// As they were carried out last.
    wishes: Arc<Wishes>,
    /// The limit that was told to the shards.
    bytes_per_second: Option<u64>,
    /// Parts of the link, which all have an even share of its rate.
    parts: u64,
    remind_at_us: u64,
    /// By shard, what was told of the limits that topics have.
    of_topics: Vec<Vec<u64>>,
}

impl Following {
    pub(super) fn new(outside: &Outside, share: Option<Share>) -> Self {
        let parts = share.map_or(1, |share| u64::from(share.parts));
        let wishes = outside.controls.wishes();
        let bytes_per_second = wishes.bytes_per_second(clock::now());
        Self { wishes, bytes_per_second, parts, remind_at_us: 0, of_topics: Vec::new() }
    }

    pub(super) fn bytes_per_second(&self) -> Option<u64> {
        self.bytes_per_second
    }

    /// Each shard has its even share.
    pub(super) fn bytes_per_second_of_shard(&self, shards: usize) -> Option<u64> {
        self.bytes_per_second.map(|rate| rate / (shards.max(1) as u64 * self.parts))
    }
}

impl Session<'_> {
    pub(super) fn follow_wishes(&mut self) {
        let wishes = self.outside.controls.wishes();
        let is_same = Arc::ptr_eq(&wishes, &self.following.wishes);
        self.following.wishes = wishes;
        self.follow_limit();
        if is_same {
            return;
        }
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        let changed: Vec<LaneId> = ids.into_iter().filter(|id| self.follow_wish(*id)).collect();
        let (paused, resumed): (Vec<LaneId>, Vec<LaneId>) =
            changed.into_iter().partition(|id| self.lanes.get(id).is_some_and(|lane| lane.paused));
        self.note_all("control", &paused, "paused");
        self.note_all("control", &resumed, "resumed");
        self.following.remind_at_us = 0;
    }

    /// The limit may change with the hour, too.
    fn follow_limit(&mut self) {
        let limit = self.following.wishes.bytes_per_second(clock::now());
        if limit == self.following.bytes_per_second {
            return;
        }
        self.following.bytes_per_second = limit;
        let bytes_per_second = self.following.bytes_per_second_of_shard(self.shards.len());
        self.tell_all(&Command::Throttle { bytes_per_second });
        let limit = limit.map(|rate| units::byte_rate(rate as f64));
        let limit = limit.map_or_else(|| "no limit any more".into(), |limit| format!("limit {limit}"));
        tracing::info!("{limit}");
        self.note("control", limit);
    }

    /// How many partitions each of the topics' limits is for, on all machines.
    pub(super) fn partitions_of_limits(&self, lanes: &[LanePlan]) -> Vec<u64> {
        let rates = &self.config.max_rate_topics;
        let mut partitions = vec![0; rates.len()];
        let limits = lanes.iter().filter_map(|lane| rate_of(rates, &lane.topic));
        limits.for_each(|limit| partitions[limit] += 1);
        partitions
    }

    /// Each shard may read as much of a limit as it has of the partitions.
    pub(super) fn share_limits(&mut self, partitions: &[u64]) {
        let rates = &self.config.max_rate_topics;
        if rates.is_empty() {
            return;
        }
        let mut here = vec![vec![0; rates.len()]; self.shards.len()];
        for lane in self.lanes.values() {
            if let Some(limit) = rate_of(rates, &lane.topic) {
                here[lane.shard][limit] += 1;
            }
        }
        let share = |(at, &count): (usize, &u64)| {
            rates[at].bytes_per_second.saturating_mul(count) / partitions[at].max(1)
        };
        let shares: Vec<Vec<u64>> =
            here.iter().map(|counts| counts.iter().enumerate().map(share).collect()).collect();
        for (at, share) in shares.iter().enumerate() {
            if self.following.of_topics.get(at) != Some(share) {
                self.shards[at].send(Command::Limits(share.clone()));
            }
        }
        self.following.of_topics = shares;
    }

    /// Tells the lane's shard if the lane is to be paused and is not, or the other way round. Returns whether it was so.
    pub(super) fn follow_wish(&mut self, id: LaneId) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let paused = self.following.wishes.pauses.is_paused(&lane.topic, lane.partition);
        let is_news = lane.paused != paused;
        if is_news {
            lane.paused = paused;
            self.shards[lane.shard].send(Command::Pause { lane: id, paused });
        }
        is_news
    }

    /// A mirror that is to end when it is caught up does not while lanes are paused that are not.
    pub(super) fn remind_of_paused(&mut self) {
        let now = clock::now();
        if !self.config.until_caught_up || now.mono_us < self.following.remind_at_us {
            return;
        }
        let mut waiting = self.lanes.values().filter(|lane| !lane.stopped && !lane.has_reached_goal());
        let Some(first) = waiting.next().filter(|lane| lane.paused) else { return };
        let (topic, partition) = (Arc::clone(&first.topic), first.partition);
        let mut more = 0;
        for lane in waiting {
            if !lane.paused {
                return;
            }
            more += 1;
        }
        self.following.remind_at_us = now.after_ms(REMIND_MS);
        tracing::warn!(
            "everything is caught up but {topic}-{partition}{}, which {} paused: --until-caught-up ends when {} resumed and caught \
             up (twinlog control resume)",
            if more > 0 { format!(" and {} more", units::count(more)) } else { String::new() },
            if more > 0 { "are" } else { "is" },
            if more > 0 { "they are" } else { "it is" },
        );
    }
}
