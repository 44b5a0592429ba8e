//! What can go wrong with a real cluster, on request: hooks for the simulator and for tests.

use super::Cluster;
use super::batch::Batch;
use super::log::Appended;
use super::topic::PartitionKey;
use crate::time::Now;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiKey;
use uuid::Uuid;

/// An error that a partition answers with, a number of times.
#[derive(Clone, Debug)]
pub struct Injection {
    pub api: ApiKey,
    /// None: at every node.
    pub node: Option<i32>,
    /// None: every topic. For APIs that know no partitions both are ignored.
    pub topic: Option<String>,
    /// None: every partition.
    pub partition: Option<i32>,
    pub error: ResponseError,
    /// The work is done all the same, as with NOT_ENOUGH_REPLICAS_AFTER_APPEND or REQUEST_TIMED_OUT.
    pub applied: bool,
    /// So many are served first: of the markers of one request, only some are appended.
    pub after: u32,
    /// How many more times.
    pub times: u32,
}

/// The faults that are on.
#[derive(Debug, Default)]
pub struct Faults {
    injections: Vec<Injection>,
    /// APIs that the client has no right to, everywhere or for a topic.
    denied: Vec<(ApiKey, Option<String>)>,
    /// Markers that are still to be appended twice, by topic and partition.
    repeated_markers: Vec<(String, i32, u32)>,
    pub throttle_time_ms: i32,
}

impl Faults {
    /// The error to answer with, if one is due here.
    pub fn take(
        &mut self,
        api: ApiKey,
        node: i32,
        topic: &str,
        partition: i32,
    ) -> Option<(ResponseError, bool)> {
        let is_denied = |(denied, of): &(ApiKey, Option<String>)| {
            *denied == api && of.as_deref().is_none_or(|of| of == topic)
        };
        if self.denied.iter().any(is_denied) {
            return Some((missing_right(api), false));
        }
        let at = self.injections.iter().position(|injection| {
            injection.api == api
                && injection.node.is_none_or(|wanted| wanted == node)
                && injection.topic.as_deref().is_none_or(|wanted| wanted == topic)
                && injection.partition.is_none_or(|wanted| wanted == partition)
        })?;
        let injection = &mut self.injections[at];
        if injection.after > 0 {
            injection.after -= 1;
            return None;
        }
        injection.times = injection.times.saturating_sub(1);
        let fault = (injection.error, injection.applied);
        if injection.times == 0 {
            self.injections.remove(at);
        }
        Some(fault)
    }

    /// Whether the marker that was just appended is to be appended once more.
    pub fn repeats_marker(&mut self, topic: &str, partition: i32) -> bool {
        let place =
            |(of, index, times): &&mut (String, i32, u32)| of == topic && *index == partition && *times > 0;
        self.repeated_markers.iter_mut().find(place).map(|(.., times)| *times -= 1).is_some()
    }
}

/// How an authorizer's refusal is told.
fn missing_right(api: ApiKey) -> ResponseError {
    match api {
        ApiKey::WriteTxnMarkers | ApiKey::InitProducerId => ResponseError::ClusterAuthorizationFailed,
        _ => ResponseError::TopicAuthorizationFailed,
    }
}

impl Cluster {
    /// Lets an API fail. Partition-level errors: Produce, Fetch, ListOffsets, DescribeProducers, OffsetForLeaderEpoch,
    /// DeleteRecords, WriteTxnMarkers (marker by marker). Whole answers: InitProducerId, CreateTopics, DescribeConfigs.
    pub fn inject(&mut self, injection: Injection) {
        self.faults.injections.push(injection);
    }

    /// Takes a right away, for one topic or for all: an authorizer refuses the APIs that [`Self::inject`] lists. For good.
    pub fn deny(&mut self, api: ApiKey, topic: Option<&str>) {
        self.faults.denied.push((api, topic.map(str::to_owned)));
    }

    /// How large a topic's batches may be.
    pub fn max_message_bytes(&self, topic: &str) -> Option<usize> {
        let key = self.topics.key(topic, 0)?;
        Some(self.topics.get(key.topic)?.config.max_message_bytes())
    }

    /// Somebody changes how large a topic's batches may be.
    pub fn set_max_message_bytes(&mut self, topic: &str, bytes: usize) {
        let topic = self.topics.key(topic, 0).and_then(|key| self.topics.get_mut(key.topic));
        if let Some(Err(bad)) = topic.map(|topic| topic.config.set("max.message.bytes", &bytes.to_string())) {
            tracing::debug!("{bad}");
        }
    }

    /// The next `times` markers that WriteTxnMarkers asks for in this partition are appended twice and answered with
    /// NETWORK_EXCEPTION, as if somebody between had asked again because the broker failed between append and answer.
    pub fn repeat_markers(&mut self, topic: &str, partition: i32, times: u32) {
        self.faults.repeated_markers.push((topic.to_owned(), partition, times));
    }

    /// Ends every injected error that is still to come.
    pub fn clear_injections(&mut self) {
        self.faults.injections.clear();
        self.faults.repeated_markers.clear();
    }

    /// Produce and Fetch answers name this time from now on. The cluster itself answers no slower.
    pub fn set_throttle_time_ms(&mut self, ms: i32) {
        self.faults.throttle_time_ms = ms;
    }

    /// Makes `node` the leader in the next leader epoch. Waiting answers of the partition fail.
    pub fn move_leader(&mut self, topic: &str, partition: i32, node: i32) {
        let Some(key) = self.topics.key(topic, partition) else { return };
        if let Some(partition) = self.topics.partition_mut(key) {
            let epoch = partition.leader_epoch + 1;
            partition.lead(node, epoch);
            partition.stale_producers.remove(&node);
            if !partition.high_watermark_held {
                let end = partition.log.log_end_offset();
                partition.log.advance_high_watermark(end);
            }
        }
        self.wake(key);
    }

    /// The node answers nothing; another replica that is up leads its partitions, or none does.
    pub fn node_down(&mut self, node: i32) {
        if let Some(broker) = self.nodes.get_mut(&node) {
            broker.up = false;
        }
        self.sessions.remove(&node);
        self.elect(|leader| leader == node);
    }

    /// The node answers again, and leads what nobody led.
    pub fn node_up(&mut self, node: i32) {
        if let Some(broker) = self.nodes.get_mut(&node) {
            broker.up = true;
        }
        self.elect(|leader| leader == -1);
    }

    fn elect(&mut self, concerned: impl Fn(i32) -> bool) {
        let up: Vec<i32> = self.nodes.iter().filter(|(_, node)| node.up).map(|(&id, _)| id).collect();
        let mut woken = Vec::new();
        for partition in self.topics.partitions_mut().filter(|partition| concerned(partition.leader)) {
            let leader =
                partition.replicas.iter().copied().find(|replica| up.contains(replica)).unwrap_or(-1);
            if leader != partition.leader {
                partition.lead(leader, partition.leader_epoch + 1);
                woken.append(&mut partition.waiters);
            }
        }
        self.delayed.wake(woken);
    }

    /// The node stops and starts at once. Where it is the only replica it stays leader, in a new epoch, and its producers'
    /// states are what its snapshot kept; elsewhere another replica, whose state is whole, takes over.
    pub fn restart_node(&mut self, now: Now, node: i32) {
        let expiration_ms = self.settings.producer_id_expiration_ms;
        self.node_down(node);
        for partition in self.topics.partitions_mut().filter(|partition| partition.replicas.contains(&node)) {
            if partition.leader == -1 {
                partition.log.restart(now.wall_ms, expiration_ms);
            }
        }
        self.node_up(node);
    }

    /// Forgets old producers as the brokers' periodic check does: by the age of their last batch's records, however busy
    /// they are. [`Cluster::poll`] does it every `producer_id_expiration_check_ms`.
    pub fn expire_producers(&mut self, now: Now) {
        let expiration_ms = self.settings.producer_id_expiration_ms;
        for partition in self.topics.partitions_mut() {
            partition.log.producers.expire(now.wall_ms, expiration_ms);
        }
    }

    /// From now on `node` answers DescribeProducers for the partition with the state of this moment, without an error, while
    /// it does not lead: DescribeProducers is not checked for leadership.
    pub fn freeze_producers(&mut self, topic: &str, partition: i32, node: i32) {
        let Some(key) = self.topics.key(topic, partition) else { return };
        if let Some(partition) = self.topics.partition_mut(key) {
            partition.stale_producers.insert(node, partition.log.producers.clone());
        }
    }

    /// Lets the high watermark stay where it is (`held`), or lets it follow the log's end again.
    pub fn hold_high_watermark(&mut self, topic: &str, partition: i32, held: bool) {
        let Some(key) = self.topics.key(topic, partition) else { return };
        if let Some(partition) = self.topics.partition_mut(key) {
            partition.high_watermark_held = held;
        }
        if !held {
            self.advance_high_watermark(topic, partition, i64::MAX);
        }
    }

    /// Lets a follower stay with what it has of the partition (`held`), or have all that its leader has again.
    pub fn hold_follower(&mut self, topic: &str, partition: i32, node: i32, held: bool) {
        let Some(key) = self.topics.key(topic, partition) else { return };
        let Some(partition) = self.topics.partition_mut(key) else { return };
        match held {
            true => {
                let ends = partition.replica(node).ends;
                partition.held_back.insert(node, ends);
            }
            false => drop(partition.held_back.remove(&node)),
        }
        self.wake(key);
    }

    /// Moves a held high watermark forward, at most to the log's end.
    pub fn advance_high_watermark(&mut self, topic: &str, partition: i32, to: i64) {
        let Some(key) = self.topics.key(topic, partition) else { return };
        if self.topics.partition_mut(key).is_some_and(|partition| partition.log.advance_high_watermark(to)) {
            self.wake(key);
        }
    }

    /// An unclean election: the log's end goes back to the batch boundary at or below `offset`, with the producers' state,
    /// and `node` leads in a new epoch.
    pub fn truncate(&mut self, topic: &str, partition: i32, offset: i64, node: i32) {
        let Some(key) = self.topics.key(topic, partition) else { return };
        if let Some(partition) = self.topics.partition_mut(key) {
            self.stored_bytes -= partition.log.truncate(offset);
        }
        self.move_leader(topic, partition, node);
    }

    /// Retention or DeleteRecords: moves the log's start, at most to the high watermark. Returns the new log start.
    pub fn delete_records(&mut self, topic: &str, partition: i32, before: i64) -> Option<i64> {
        let key = self.topics.key(topic, partition)?;
        let partition = self.topics.partition_mut(key)?;
        self.stored_bytes -= partition.log.delete_before(before);
        Some(partition.log.log_start_offset())
    }

    /// The log cleaner of a compacted topic: what it leaves of the batch at `base_offset`, which keeps its offsets. (Kafka's
    /// cleaner leaves the newest batches alone, and those of open transactions.)
    pub fn clean(&mut self, topic: &str, partition: i32, base_offset: i64, left: Option<Batch>) {
        let Some(key) = self.topics.key(topic, partition) else { return };
        if let Some(partition) = self.topics.partition_mut(key) {
            self.stored_bytes -= partition.log.clean(base_offset, left);
        }
    }

    /// Deletes the topic and creates it again, empty, under a new id.
    pub fn recreate_topic(&mut self, topic: &str) -> Option<Uuid> {
        let index = self.topics.index_of(topic)?;
        let old = self.topics.get(index)?;
        let (config, partitions) = (old.config.clone(), old.partitions.len());
        let replication = old.partitions.first().map_or(1, |partition| partition.replicas.len());
        self.delete_topic(index);
        let index = self.add_topic(topic, partitions, replication, config);
        self.topics.get(index).map(|topic| topic.id)
    }

    /// Stores a batch with the offsets it carries, unchecked: holes, control batches, logs that do not begin at 0. The leader
    /// epoch in its header is kept. None when it lies below the log's end or the partition does not exist.
    pub fn append_as_is(&mut self, topic: &str, partition: i32, batch: Batch) -> Option<Appended> {
        let key = self.topics.key(topic, partition)?;
        let size_bytes = batch.size_bytes();
        let appended = self.topics.partition_mut(key)?.log.append_as_is(batch)?;
        self.after_append(key, appended, size_bytes);
        Some(appended)
    }

    /// What a checker may look at: everything a partition is.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&super::topic::Partition> {
        self.topics.partition(PartitionKey { topic: self.topics.index_of(topic)?, partition })
    }
}
