//! A Kafka cluster in memory: for laptops, demos, tests, the simulator and benchmarks.
//!
//! [`Cluster`] is a state machine: requests go in with the time, answers come out, at once or later. One file per API is in
//! [`api`], named after its key. Replication is modelled, not carried out: a partition has one log and a high watermark, and
//! what else a real cluster of several brokers does to its clients is done by the hooks in [`faults`].
//!
//! A payload is stored as the slice of the request that brought it and sent as the same slice: it is never copied, and read
//! once, for its checksum.

pub mod api;
pub mod batch;
pub mod delayed;
pub mod faults;
pub mod fetch_session;
pub mod groups;
pub mod log;
pub mod marker;
pub mod producer_state;
pub mod response;
pub mod topic;
pub mod topic_config;
pub mod transaction_index;
pub mod transactions;

pub use batch::Batch;
pub use delayed::Ticket;
pub use faults::Injection;
pub use marker::Marker;
pub use response::Response;

use crate::config::Address;
use crate::limits::BATCH_HEADER_BYTES;
use crate::time::Now;
use bytes::Bytes;
use delayed::{Checked, Delayed, Waiting};
use faults::Faults;
use fetch_session::FetchSessions;
use groups::Groups;
use kafka_protocol::error::ResponseError;
use log::Appended;
use std::collections::{BTreeMap, VecDeque};
use topic::{Partition, PartitionKey, TopicIndex, Topics};
use topic_config::TopicConfig;
use transactions::Transactions;
use uuid::Uuid;

/// What a batch costs besides its payload and header, for the memory budget.
const BATCH_OVERHEAD_BYTES: usize = 96;

/// `twinlog broker`, validated.
#[derive(Clone, Debug)]
pub struct SyntheticCluster {
    pub cluster_id: String,
    /// Node ids and where clients reach them. The first is the controller.
    pub brokers: Vec<(i32, Address)>,
    /// Where brokers stand. Consumers that name a rack are sent to a replica there (`RackAwareReplicaSelector`, KIP-392).
    pub racks: Vec<(i32, String)>,
    /// Topics that exist from the start, with their number of partitions.
    pub topics: Vec<(String, usize)>,
    /// Replicas of a topic that does not say, at most one per broker.
    pub replication_factor: usize,
    /// A topic that somebody asks the metadata of is created, with `partitions_default` partitions.
    pub auto_create_topics: bool,
    pub partitions_default: usize,
    /// All batches together may take this much; the oldest go first, except from compacted topics.
    pub retention_bytes: usize,
    /// Kafka's `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// Kafka's `producer.id.expiration.check.interval.ms`.
    pub producer_id_expiration_check_ms: u64,
    /// Kafka's `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay_ms: u64,
    /// A fetched range may end inside a batch, as on a real broker.
    pub cut_batches: bool,
    /// (API key, version): pretend to be older. A version below the API's first hides it.
    pub max_versions: Vec<(i16, i16)>,
}

impl Default for SyntheticCluster {
    fn default() -> Self {
        Self {
            cluster_id: "synthetic".to_owned(),
            brokers: vec![(1, Address { host: "127.0.0.1".to_owned(), port: 9092 })],
            racks: Vec::new(),
            topics: Vec::new(),
            replication_factor: 1,
            auto_create_topics: true,
            partitions_default: 1,
            retention_bytes: 1 << 30,
            producer_id_expiration_ms: 86_400_000,
            producer_id_expiration_check_ms: 600_000,
            group_initial_rebalance_delay_ms: 0,
            cut_batches: true,
            max_versions: Vec::new(),
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Reply {
    Now(Response),
    /// The answer will come from [`Cluster::poll`]. Until then nothing more may be read from that connection.
    Later(Ticket),
    /// The request wants no answer (Produce with acks=0).
    None,
    /// The connection is to be closed: the request cannot be understood, or the node is down.
    Close,
}

#[derive(Debug)]
struct Node {
    address: Address,
    up: bool,
}

/// All brokers of one cluster.
#[derive(Debug)]
pub struct Cluster {
    settings: SyntheticCluster,
    nodes: BTreeMap<i32, Node>,
    topics: Topics,
    sessions: BTreeMap<i32, FetchSessions>,
    groups: Groups,
    delayed: Delayed,
    faults: Faults,
    /// The producer id that is given out next.
    producer_ids: i64,
    pub(crate) transactions: Transactions,
    topics_created: u64,
    /// Batches in the order they were stored, for eviction.
    stored: VecDeque<(PartitionKey, i64)>,
    stored_bytes: usize,
    housekeeping_due_us: u64,
}

impl Cluster {
    pub fn new(settings: SyntheticCluster) -> Self {
        let nodes =
            settings.brokers.iter().map(|(id, address)| (*id, Node { address: address.clone(), up: true }));
        let mut cluster = Self {
            nodes: nodes.collect(),
            topics: Topics::default(),
            sessions: BTreeMap::new(),
            groups: Groups::default(),
            delayed: Delayed::default(),
            faults: Faults::default(),
            producer_ids: 1000,
            transactions: Transactions::default(),
            topics_created: 0,
            stored: VecDeque::new(),
            stored_bytes: 0,
            housekeeping_due_us: 0,
            settings,
        };
        for (name, partitions) in cluster.settings.topics.clone() {
            let replication = cluster.settings.replication_factor;
            cluster.add_topic(&name, partitions, replication, TopicConfig::default());
        }
        cluster
    }

    /// Serves one request, without its size prefix, that came in at `node`.
    pub fn handle_request(&mut self, now: Now, node: i32, frame: Bytes) -> Reply {
        if self.nodes.get(&node).is_some_and(|node| node.up) {
            self.dispatch(now, node, frame).unwrap_or(Reply::Close)
        } else {
            Reply::Close
        }
    }

    /// The brokers in a rack that are there.
    fn nodes_in(&self, rack: &str) -> Vec<i32> {
        let is_up = |id: &i32| self.nodes.get(id).is_some_and(|node| node.up);
        let there = self.settings.racks.iter().filter(|(_, its)| its == rack && !rack.is_empty());
        there.map(|(id, _)| *id).filter(is_up).collect()
    }

    /// Nobody waits for this answer any more: its connection is closed.
    pub fn cancel(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.delayed.cancel(ticket) {
            self.forget_waiter(ticket, &waiting);
        }
    }

    /// The next delayed answer that has become due. Call until None, after every request and at [`Cluster::poll_timeout`].
    pub fn poll(&mut self, now: Now) -> Option<(Ticket, Response)> {
        self.keep_house(now);
        if self.groups.poll_timeout().is_some_and(|due_us| due_us <= now.mono_us) {
            self.groups.handle_timeout(now.mono_us);
            self.finish_group_answers();
        }
        if self.transactions.poll_timeout().is_some_and(|due_us| due_us <= now.mono_us) {
            self.handle_transactions(now);
        }
        loop {
            if let Some(finished) = self.delayed.next_finished() {
                return Some(finished);
            }
            let (ticket, waiting, deadline_us) = self.delayed.next_to_check(now.mono_us)?;
            let due = deadline_us <= now.mono_us;
            let checked = match waiting {
                Waiting::Fetch(pending) => self.check_fetch(ticket, pending, due),
                Waiting::Produce(pending) => self.check_produce(ticket, pending, due),
                Waiting::Markers(pending) => self.check_markers(ticket, pending, due),
                Waiting::Group => Checked::StillWaiting(Waiting::Group),
            };
            match checked {
                Checked::Answered(response) => return Some((ticket, response)),
                Checked::StillWaiting(waiting) => self.delayed.put_back(ticket, waiting, deadline_us),
            }
        }
    }

    /// When to call [`Cluster::poll`] at the latest (steady clock, µs); None when nothing waits.
    pub fn poll_timeout(&self) -> Option<u64> {
        let due = self.delayed.poll_timeout().into_iter().chain(self.groups.poll_timeout());
        due.chain(self.transactions.poll_timeout()).min()
    }

    /// The load generator's door: appends a whole batch as the partition's leader would, without checking its checksum.
    ///
    /// # Errors
    /// Those of a Produce request.
    pub fn append(
        &mut self,
        now: Now,
        topic: &str,
        partition: i32,
        header: &[u8; BATCH_HEADER_BYTES],
        payload: Bytes,
    ) -> Result<i64, ResponseError> {
        let key = self.topics.key(topic, partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let appended = self.append_batch(now, key, Batch::from_parts(*header, payload), false)?;
        Ok(appended.base_offset)
    }

    /// The checker's door: shows each batch from the one that holds `offset` on, up to the high watermark, until `max_bytes`
    /// are exceeded.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        each: &mut impl FnMut(&Batch),
    ) -> Result<(), ResponseError> {
        let key = self.topics.key(topic, partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let log = &self.topics.partition(key).ok_or(ResponseError::UnknownTopicOrPartition)?.log;
        if offset < log.log_start_offset() || offset > log.log_end_offset() {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let mut read_bytes = 0;
        for batch in log.read(offset, log.high_watermark()) {
            each(batch);
            read_bytes += batch.size_bytes();
            if read_bytes > max_bytes {
                break;
            }
        }
        Ok(())
    }

    /// Creates a topic under a free name. Leaders go round the brokers.
    pub fn add_topic(
        &mut self,
        name: &str,
        partitions: usize,
        replication_factor: usize,
        config: TopicConfig,
    ) -> TopicIndex {
        let partitions = (0..partitions).map(|at| Partition::new(self.assign(at, replication_factor)));
        let partitions = partitions.collect();
        self.add_planned(name, config, partitions)
    }

    fn add_planned(&mut self, name: &str, config: TopicConfig, partitions: Vec<Partition>) -> TopicIndex {
        self.topics_created += 1;
        let id = topic_id(&self.settings.cluster_id, self.topics_created);
        self.topics.add(name, id, config, partitions)
    }

    /// The replicas of a topic's `at`th partition.
    fn assign(&self, at: usize, replication_factor: usize) -> Vec<i32> {
        let nodes: Vec<i32> = self.nodes.keys().copied().collect();
        let replicas = replication_factor.clamp(1, nodes.len().max(1));
        nodes.iter().copied().cycle().skip(at % nodes.len().max(1)).take(replicas).collect()
    }

    fn delete_topic(&mut self, index: TopicIndex) {
        let Some(topic) = self.topics.remove(index) else { return };
        for partition in topic.partitions {
            self.stored_bytes -= partition.log.size_bytes();
            self.delayed.wake(partition.waiters);
        }
    }

    /// Appends as the leader would, after the batch itself was found good. `vouched`: the coordinator knows its transaction.
    fn append_batch(
        &mut self,
        now: Now,
        key: PartitionKey,
        mut batch: Batch,
        vouched: bool,
    ) -> Result<Appended, ResponseError> {
        let topic = self.topics.get_mut(key.topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if batch.size_bytes() > topic.config.max_message_bytes() {
            return Err(ResponseError::MessageTooLarge);
        }
        batch.validate()?;
        if topic.config.stamps_append_time() {
            batch.stamp_append_time(now.wall_ms);
        } else if !topic.config.accepts_timestamps(batch.base_timestamp(), batch.max_timestamp(), now.wall_ms)
        {
            return Err(ResponseError::InvalidTimestamp);
        }
        let size_bytes = batch.size_bytes();
        let partition = self.topics.partition_mut(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let appended = partition.log.append(batch, partition.leader_epoch, vouched)?;
        self.after_append(key, appended, size_bytes);
        Ok(appended)
    }

    fn after_append(&mut self, key: PartitionKey, appended: Appended, size_bytes: usize) {
        if appended.duplicate {
            return;
        }
        self.stored_bytes += size_bytes;
        self.stored.push_back((key, appended.base_offset));
        let moved = self.topics.partition_mut(key).is_some_and(|partition| {
            !partition.high_watermark_held && partition.log.advance_high_watermark(i64::MAX)
        });
        if moved {
            self.wake(key);
        }
        self.apply_retention(key);
    }

    /// Whoever waits for this partition is to look again.
    fn wake(&mut self, key: PartitionKey) {
        if let Some(partition) = self.topics.partition_mut(key) {
            self.delayed.wake(partition.waiters.drain(..));
        }
    }

    fn wait_for(&mut self, ticket: Ticket, keys: impl IntoIterator<Item = PartitionKey>) {
        for key in keys {
            if let Some(partition) = self.topics.partition_mut(key)
                && !partition.waiters.contains(&ticket)
            {
                partition.waiters.push(ticket);
            }
        }
    }

    fn forget_waiter(&mut self, ticket: Ticket, waiting: &Waiting) {
        let keys: &[PartitionKey] = match waiting {
            Waiting::Fetch(pending) => &pending.keys,
            Waiting::Produce(_) | Waiting::Markers(_) | Waiting::Group => &[],
        };
        for &key in keys {
            if let Some(partition) = self.topics.partition_mut(key) {
                partition.waiters.retain(|&waiter| waiter != ticket);
            }
        }
    }

    /// Bounds the partition by its `retention.bytes` and the cluster by its budget.
    fn apply_retention(&mut self, key: PartitionKey) {
        if let Some(topic) = self.topics.get_mut(key.topic)
            && let Some(bound) = topic.config.retention_bytes()
            && !topic.config.is_compacted()
            && let Some(partition) =
                usize::try_from(key.partition).ok().and_then(|at| topic.partitions.get_mut(at))
        {
            while partition.log.size_bytes() > bound
                && let Some(oldest) = partition.log.oldest().map(Batch::base_offset)
                && oldest + 1 < partition.log.log_end_offset()
            {
                self.stored_bytes -= partition.log.evict(oldest);
            }
        }
        while self.stored_bytes + self.stored.len() * BATCH_OVERHEAD_BYTES > self.settings.retention_bytes
            && let Some((key, base_offset)) = self.stored.pop_front()
        {
            if let Some(topic) = self.topics.get_mut(key.topic)
                && !topic.config.is_compacted()
                && let Some(partition) =
                    usize::try_from(key.partition).ok().and_then(|at| topic.partitions.get_mut(at))
            {
                self.stored_bytes -= partition.log.evict(base_offset);
            }
        }
    }

    /// What brokers do by the clock: forget producers, delete old records.
    fn keep_house(&mut self, now: Now) {
        if now.mono_us < self.housekeeping_due_us {
            return;
        }
        let first = self.housekeeping_due_us == 0;
        self.housekeeping_due_us = now.after_ms(self.settings.producer_id_expiration_check_ms);
        if first {
            return;
        }
        self.expire_producers(now);
        for index in self.topics.indexes() {
            let Some(topic) = self.topics.get_mut(index) else { continue };
            let Some(retention_ms) = topic.config.retention_ms() else { continue };
            for partition in &mut topic.partitions {
                while let Some(oldest) = partition.log.oldest()
                    && oldest.last_offset() < partition.log.high_watermark()
                    && now.wall_ms.saturating_sub(oldest.max_timestamp()) > retention_ms
                {
                    let base_offset = oldest.base_offset();
                    self.stored_bytes -= partition.log.evict(base_offset);
                }
            }
        }
    }
}

/// A topic id that looks random and is the same in every run.
fn topic_id(cluster_id: &str, nth: u64) -> Uuid {
    let seed = cluster_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let (high, low) = (mix(seed ^ nth), mix(seed.rotate_left(32) ^ !nth));
    uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).into_uuid()
}

/// SplitMix64's output function.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
