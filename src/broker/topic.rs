//! Topics and partitions: who leads, who replicates, which log.

use super::delayed::Ticket;
use super::log::Log;
use super::producer_state::ProducerStates;
use super::topic_config::TopicConfig;
use crate::limits::TOPIC_NAME_BYTES_MAX;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A topic's place among all topics that ever were: a recreated topic gets another one.
pub type TopicIndex = usize;

/// One partition of one incarnation of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionKey {
    pub topic: TopicIndex,
    pub partition: i32,
}

/// All topics by index, name and id.
#[derive(Debug, Default)]
pub struct Topics {
    /// None where a topic was deleted.
    slots: Vec<Option<Topic>>,
    by_name: BTreeMap<String, TopicIndex>,
    by_id: BTreeMap<Uuid, TopicIndex>,
}

#[derive(Debug)]
pub struct Topic {
    pub name: TopicName,
    pub id: Uuid,
    pub config: TopicConfig,
    pub partitions: Vec<Partition>,
}

/// Where a replica's log ends, for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub log_end_offset: i64,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
}

/// The log as a consumer finds it at one of its replicas.
#[derive(Clone, Copy, Debug)]
pub struct Replica<'a> {
    pub log: &'a Log,
    pub ends: Ends,
}

impl Replica<'_> {
    /// What readers may see: all that is replicated, or only what is decided, too.
    pub fn readable_end(&self, read_committed: bool) -> i64 {
        if read_committed { self.ends.last_stable_offset } else { self.ends.high_watermark }
    }

    pub fn holds(&self, offset: i64) -> bool {
        (self.log.log_start_offset()..=self.ends.log_end_offset).contains(&offset)
    }
}

#[derive(Debug)]
pub struct Partition {
    /// -1 while no replica is up.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub log: Log,
    /// The high watermark stays where it is until a hook moves it.
    pub high_watermark_held: bool,
    /// Followers that a hook holds back, and what each had then.
    pub held_back: BTreeMap<i32, Ends>,
    /// Old states that brokers which do not lead answer DescribeProducers with.
    pub stale_producers: BTreeMap<i32, ProducerStates>,
    /// Answers that wait for this partition's log to move.
    pub waiters: Vec<Ticket>,
}

impl Partition {
    pub fn new(replicas: Vec<i32>) -> Self {
        // A leader notes where its epoch begins before anything is written.
        let mut log = Log::default();
        log.begin_epoch(0);
        Self {
            leader: replicas.first().copied().unwrap_or(-1),
            leader_epoch: 0,
            replicas,
            log,
            high_watermark_held: false,
            held_back: BTreeMap::new(),
            stale_producers: BTreeMap::new(),
            waiters: Vec::new(),
        }
    }

    /// Whether a request at `node` may be served that names `current_leader_epoch` (-1: none), as `Partition.scala` checks it.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER.
    pub fn check_leader(&self, node: i32, current_leader_epoch: i32) -> Result<(), ResponseError> {
        if current_leader_epoch >= 0 && current_leader_epoch < self.leader_epoch {
            Err(ResponseError::FencedLeaderEpoch)
        } else if current_leader_epoch > self.leader_epoch {
            Err(ResponseError::UnknownLeaderEpoch)
        } else if self.leader != node {
            Err(ResponseError::NotLeaderOrFollower)
        } else {
            Ok(())
        }
    }

    /// The same for a consumer of any replica, as those are that tell where they are (Fetch 11, KIP-392).
    ///
    /// # Errors
    /// Those of [`Self::check_leader`].
    pub fn check_replica(&self, node: i32, current_leader_epoch: i32) -> Result<(), ResponseError> {
        match self.check_leader(node, current_leader_epoch) {
            Err(ResponseError::NotLeaderOrFollower) if self.leader >= 0 && self.replicas.contains(&node) => {
                Ok(())
            }
            checked => checked,
        }
    }

    /// What the node has of the log, if it is one of its replicas.
    pub fn replica(&self, node: i32) -> Replica<'_> {
        let log = &self.log;
        let all = Ends {
            log_end_offset: log.log_end_offset(),
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
        };
        // It has not more than there is, and deletes what the leader deletes.
        let reached = |held: i64, end: i64| held.min(end).max(log.log_start_offset().min(end));
        let held = self.held_back.get(&node).filter(|_| node != self.leader);
        let ends = held.map_or(all, |held| Ends {
            log_end_offset: reached(held.log_end_offset, all.log_end_offset),
            high_watermark: reached(held.high_watermark, all.high_watermark),
            last_stable_offset: reached(held.last_stable_offset, all.last_stable_offset),
        });
        Replica { log, ends }
    }

    pub fn lead(&mut self, leader: i32, leader_epoch: i32) {
        self.held_back.remove(&leader);
        self.leader = leader;
        self.leader_epoch = leader_epoch;
        if leader >= 0 {
            self.log.begin_epoch(leader_epoch);
        }
    }
}

impl Topics {
    /// Adds a topic under a name that is free.
    pub fn add(
        &mut self,
        name: &str,
        id: Uuid,
        config: TopicConfig,
        partitions: Vec<Partition>,
    ) -> TopicIndex {
        let index = self.slots.len();
        let topic_name = TopicName(StrBytes::from_string(name.to_owned()));
        self.slots.push(Some(Topic { name: topic_name, id, config, partitions }));
        self.by_name.insert(name.to_owned(), index);
        self.by_id.insert(id, index);
        index
    }

    pub fn remove(&mut self, index: TopicIndex) -> Option<Topic> {
        let topic = self.slots.get_mut(index)?.take()?;
        self.by_name.remove(topic.name.as_str());
        self.by_id.remove(&topic.id);
        Some(topic)
    }

    pub fn index_of(&self, name: &str) -> Option<TopicIndex> {
        self.by_name.get(name).copied()
    }

    pub fn index_of_id(&self, id: &Uuid) -> Option<TopicIndex> {
        self.by_id.get(id).copied()
    }

    pub fn get(&self, index: TopicIndex) -> Option<&Topic> {
        self.slots.get(index)?.as_ref()
    }

    pub fn get_mut(&mut self, index: TopicIndex) -> Option<&mut Topic> {
        self.slots.get_mut(index)?.as_mut()
    }

    pub fn partition(&self, key: PartitionKey) -> Option<&Partition> {
        self.get(key.topic)?.partitions.get(usize::try_from(key.partition).ok()?)
    }

    pub fn partition_mut(&mut self, key: PartitionKey) -> Option<&mut Partition> {
        self.get_mut(key.topic)?.partitions.get_mut(usize::try_from(key.partition).ok()?)
    }

    pub fn key(&self, name: &str, partition: i32) -> Option<PartitionKey> {
        let key = PartitionKey { topic: self.index_of(name)?, partition };
        self.partition(key).map(|_| key)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values().filter_map(|&index| self.get(index))
    }

    pub fn indexes(&self) -> Vec<TopicIndex> {
        self.by_name.values().copied().collect()
    }

    pub fn partitions_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.slots.iter_mut().flatten().flat_map(|topic| topic.partitions.iter_mut())
    }
}

/// Kafka's rule for topic names (`Topic.validate`).
pub fn name_is_valid(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= TOPIC_NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
