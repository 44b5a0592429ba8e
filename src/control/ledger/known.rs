//! What the ledger knows, for those who ask.

use super::{Checkpoint, Failover, LaneId, Ledger, Loss, OffsetMode};
use crate::config::TopicNames;
use crate::control::offset_map::{OffsetMap, Unmapped};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

impl Ledger {
    /// In how many parts the link is divided, once it has written.
    pub fn parts(&self) -> Option<u32> {
        self.data_pid.as_ref()?.parts
    }

    /// What the target calls the link's topics, once it has written.
    pub fn names(&self) -> Option<&TopicNames> {
        self.data_pid.as_ref().map(|pid| &pid.names)
    }

    /// Whether the link has ever begun to write to the topic.
    pub fn knows(&self, topic: &str) -> bool {
        self.topics.contains(topic)
            || self.lanes.iter().any(|((name, _), lane)| &**name == topic && lane.is_begun())
    }

    /// Topics that the link has begun to write to and nobody else writes to, with their ids on the target where it has ids.
    pub fn own_topics(&self) -> BTreeMap<&str, Uuid> {
        let mut topics = BTreeMap::new();
        let mut others: BTreeSet<&str> = self.failovers.keys().map(|(topic, _)| topic.as_str()).collect();
        for ((topic, _), lane) in self.lanes.iter().filter(|(_, lane)| lane.is_begun()) {
            let is_one =
                topics.insert(&**topic, lane.target_topic_id).is_none_or(|id| id == lane.target_topic_id);
            if lane.mode == OffsetMode::Shared || lane.target_topic_id.is_nil() || !is_one {
                others.insert(topic);
            }
        }
        topics.retain(|topic, _| !others.contains(topic));
        topics
    }

    /// The gap ledger: topic, partition, first offset, and the rest.
    pub fn losses(&self) -> impl Iterator<Item = (&str, i32, i64, &Loss)> {
        self.losses.iter().map(|((topic, partition, from), loss)| (topic.as_str(), *partition, *from, loss))
    }

    /// The partitions that were handed over.
    pub fn failovers(&self) -> &BTreeMap<(String, i32), Failover> {
        &self.failovers
    }

    /// The mode of a partition that the link has begun to mirror.
    pub fn mode(&self, topic: &str, partition: i32) -> Option<OffsetMode> {
        let lane = self.lanes.get(&(Arc::from(topic), partition)).filter(|lane| lane.is_begun())?;
        Some(lane.mode)
    }

    /// The lanes' durable positions, for displays and for deciding whether everything has been caught up with.
    pub fn checkpoint(&self, lane: LaneId) -> Option<Checkpoint> {
        self.lanes.get(self.ids.get(&lane)?)?.checkpoint
    }

    /// The target's position for a consumer's position on the source, as far as it is mirrored.
    pub fn target_of(&self, topic: &str, partition: i32, source_offset: i64) -> Result<i64, Unmapped> {
        self.map(topic, partition)?.target_of(source_offset)
    }

    /// The reverse of [`Self::target_of`].
    pub fn source_of(&self, topic: &str, partition: i32, target_offset: i64) -> Result<i64, Unmapped> {
        self.map(topic, partition)?.source_of(target_offset)
    }

    /// The id of the cluster that the link reads from.
    pub fn source_cluster(&self) -> Option<&str> {
        self.data_pid.as_ref().map(|pid| pid.source_cluster.as_str())
    }

    /// How far a partition is mirrored whose log ends there on the target: records that came after the last checkpoint count,
    /// too.
    pub fn reached(&self, topic: &str, partition: i32, log_end: i64) -> Option<i64> {
        let lane = self.lanes.get(&(Arc::from(topic), partition))?;
        let checkpoint = lane.checkpoint.map_or(0, |checkpoint| checkpoint.source_offset);
        match lane.mode {
            OffsetMode::Identical => return Some(log_end.max(checkpoint)),
            OffsetMode::Shared => return Some(checkpoint),
            OffsetMode::Append => {}
        }
        let run = lane.runs.iter().rev().find(|run| run.target_offset <= log_end)?;
        if run.is_in_transaction() {
            // What is not committed does not count.
            return Some(checkpoint);
        }
        Some((run.source_offset + (log_end - run.target_offset)).max(checkpoint))
    }

    /// Whether the link writes records into mirrored topics with this producer id.
    pub fn is_ours(&self, producer_id: i64) -> bool {
        self.data_pid.as_ref().is_some_and(|pid| pid.writes(producer_id))
    }

    /// How many transactional ids the link has, of this instance's shards and of those before.
    pub fn transactional_ids(&self) -> u32 {
        self.data_pid.as_ref().map_or(0, |pid| pid.transactional_ids)
    }

    /// Whether the link ever had transactions, and so may have one open.
    pub fn has_transactions(&self) -> bool {
        self.data_pid.as_ref().is_some_and(|pid| !pid.transactional_pids.is_empty())
    }

    /// Up to which source offset the partition is mirrored.
    pub fn mirrored_to(&self, topic: &str, partition: i32) -> Option<i64> {
        let lane = self.lanes.get(&(Arc::from(topic), partition))?;
        lane.checkpoint.map(|checkpoint| checkpoint.source_offset)
    }

    /// The partitions that the link has begun to mirror.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        let begun = self.lanes.iter().filter(|(_, lane)| lane.is_begun());
        begun.map(|((topic, partition), _)| (&**topic, *partition))
    }

    fn map(&self, topic: &str, partition: i32) -> Result<OffsetMap<'_>, Unmapped> {
        let lane = self.lanes.get(&(Arc::from(topic), partition)).ok_or(Unmapped::Unknown)?;
        let checkpoint = lane.checkpoint.ok_or(Unmapped::Unknown)?;
        if lane.mode == OffsetMode::Shared {
            return Err(Unmapped::Shared);
        }
        let (oldest, older) = lane.history.as_slices();
        Ok(OffsetMap { mode: lane.mode, runs: [oldest, older, &lane.runs], checkpoint })
    }
}
