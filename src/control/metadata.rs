//! A cluster as its brokers describe it.

use crate::config::{Address, TopicNames};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Broker id, -1 when there is none.
    pub leader: i32,
    /// -1 when unknown.
    pub leader_epoch: i32,
    pub replicas: usize,
}

impl Default for Partition {
    fn default() -> Self {
        Self { leader: -1, leader_epoch: -1, replicas: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    /// Nil where the cluster has none (before Kafka 2.8).
    pub id: Uuid,
    /// By number; one that the answer did not describe has no leader.
    pub partitions: Vec<Partition>,
    pub is_internal: bool,
    /// Kafka's error code, 0 for none.
    pub error: i16,
}

impl Topic {
    /// Of the partition that has most replicas; 1 where none is told.
    pub fn replication_factor(&self) -> i16 {
        let most = self.partitions.iter().map(|partition| partition.replicas).max().unwrap_or(1);
        i16::try_from(most.max(1)).unwrap_or(i16::MAX)
    }
}

/// A cluster at the moment its metadata was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Empty where the cluster has none (before Kafka 0.10.1).
    pub cluster_id: String,
    /// Broker id, -1 when unknown.
    pub controller: i32,
    pub brokers: BTreeMap<i32, Address>,
    /// Where they are, but for those that have no rack.
    pub racks: BTreeSet<String>,
    pub topics: BTreeMap<String, Topic>,
}

impl Observed {
    /// Asks for the named topics, or for all that we may see. From version 4 on (Kafka 0.11) no named topic is
    /// created by being asked for; before, brokers with `auto.create.topics.enable` do that.
    pub fn request(version: i16, topics: Option<&[String]>) -> MetadataRequest {
        let named = |name: &String| {
            MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(name.clone()))))
        };
        // Version 0 asks for all by naming none.
        let named = topics.map(|names| names.iter().map(named).collect()).or((version == 0).then(Vec::new));
        let request = MetadataRequest::default().with_topics(named);
        if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
    }

    pub fn read(answer: &MetadataResponse) -> Self {
        let brokers = answer.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id.0, Address { host: broker.host.to_string(), port }))
        });
        let racks = answer.brokers.iter().filter_map(|broker| broker.rack.as_ref());
        let racks = racks.filter(|rack| !rack.is_empty());
        let topics = answer.topics.iter().filter_map(|topic| {
            let name = topic.name.as_ref()?.0.to_string();
            Some((name.clone(), Topic::read(name, topic)))
        });
        Self {
            cluster_id: answer.cluster_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            controller: answer.controller_id.0,
            brokers: brokers.collect(),
            racks: racks.map(ToString::to_string).collect(),
            topics: topics.collect(),
        }
    }

    /// The same with topics under the link's names, without those that are none of the link's.
    pub fn in_link(mut self, names: &TopicNames) -> Self {
        if !names.is_identity() {
            let topics = std::mem::take(&mut self.topics).into_values().filter_map(|topic| {
                let name = names.in_link(&topic.name)?.to_owned();
                Some((name.clone(), Topic { name: name.into(), ..topic }))
            });
            self.topics = topics.collect();
        }
        self
    }

    /// A topic's id; nil where there is none.
    pub fn topic_id(&self, topic: &str) -> Uuid {
        self.topics.get(topic).map(|topic| topic.id).unwrap_or_default()
    }

    /// Who leads a partition; nobody when it is not there.
    pub fn leader(&self, topic: &str, partition: i32) -> Partition {
        let partitions = self.topics.get(topic).map(|topic| &topic.partitions);
        let index = usize::try_from(partition).ok();
        partitions.zip(index).and_then(|(all, index)| all.get(index)).copied().unwrap_or_default()
    }
}

impl Topic {
    fn read(name: String, answer: &MetadataResponseTopic) -> Self {
        // Brokers describe all partitions of a topic, so none has a number beyond their count; one that has would make us
        // allocate what it likes.
        let described = answer.partitions.len();
        let number = |partition: &MetadataResponsePartition| {
            usize::try_from(partition.partition_index).ok().filter(|&number| number < described)
        };
        let count = answer.partitions.iter().filter_map(number).max().map_or(0, |last| last + 1);
        let mut partitions = vec![Partition::default(); count];
        for partition in &answer.partitions {
            if let Some(place) = number(partition).and_then(|number| partitions.get_mut(number)) {
                *place = Partition {
                    leader: partition.leader_id.0,
                    leader_epoch: partition.leader_epoch,
                    replicas: partition.replica_nodes.len(),
                };
            }
        }
        Self {
            name: name.into(),
            id: answer.topic_id,
            partitions,
            is_internal: answer.is_internal,
            error: answer.error_code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;

    #[test]
    fn partitions_stand_at_their_numbers_and_nonsense_is_dropped() {
        let partition = |index: i32, leader: i32| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(3)
                .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
        };
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
            .with_partitions(vec![
                partition(2, 1),
                partition(0, -1),
                partition(-5, 1),
                partition(i32::MAX, 1),
            ]);
        let broker = |id: i32, port: i32| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_static_str("h"))
                .with_port(port)
        };
        let answer = MetadataResponse::default()
            .with_cluster_id(Some(StrBytes::from_static_str("A")))
            .with_brokers(vec![broker(1, 9092), broker(2, 70_000)])
            .with_topics(vec![topic, MetadataResponseTopic::default().with_name(None)]);
        let observed = Observed::read(&answer);
        assert_eq!(observed.cluster_id, "A");
        assert_eq!(observed.brokers.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(observed.topics.len(), 1);
        assert_eq!(observed.topics["t"].partitions.len(), 3);
        assert_eq!(observed.leader("t", 2), Partition { leader: 1, leader_epoch: 3, replicas: 2 });
        for (topic, partition) in [("t", 0), ("t", 1), ("t", 3), ("t", -1), ("u", 0)] {
            assert_eq!(observed.leader(topic, partition).leader, -1, "{topic}-{partition}");
        }
    }

    #[test]
    fn asking_never_creates() {
        assert!(!Observed::request(4, Some(&["t".to_owned()])).allow_auto_topic_creation);
        assert_eq!(Observed::request(4, None).topics, None);
        assert_eq!(Observed::request(0, None).topics, Some(vec![]));
    }
}
