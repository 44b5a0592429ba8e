//! Metadata (3), versions 0 to 13. Topics by name, from version 10 on by id too; unknown names are created when the cluster's
//! settings and the request allow it.

use super::{Request, text};
use crate::broker::topic::{Partition, Topic, TopicIndex, name_is_valid};
use crate::broker::topic_config::TopicConfig;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};

impl Cluster {
    pub(super) fn metadata(&mut self, request: &Request, body: MetadataRequest) -> Option<Reply> {
        let wanted = body.topics.filter(|topics| request.version > 0 || !topics.is_empty());
        let topics = match wanted {
            None => self.topics.iter().map(|topic| self.describe(topic)).collect(),
            Some(wanted) => {
                let may_create = self.settings.auto_create_topics
                    && (request.version < 4 || body.allow_auto_topic_creation);
                wanted.into_iter().map(|wanted| self.describe_wanted(wanted, may_create)).collect()
            }
        };
        let up = self.nodes.iter().filter(|(_, node)| node.up);
        let brokers = up.clone().map(|(&id, node)| {
            let rack = self.settings.racks.iter().find(|(broker, _)| *broker == id);
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(text(&node.address.host))
                .with_port(i32::from(node.address.port))
                .with_rack(rack.filter(|_| request.version >= 1).map(|(_, rack)| text(rack)))
        });
        let controller = up.clone().next().map_or(-1, |(&id, _)| id);
        let response = MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_cluster_id(Some(text(&self.settings.cluster_id)))
            .with_controller_id(BrokerId(controller))
            .with_topics(topics);
        request.answer(&response)
    }

    fn describe_wanted(&mut self, wanted: MetadataRequestTopic, may_create: bool) -> MetadataResponseTopic {
        let found: Result<TopicIndex, ResponseError> = match &wanted.name {
            None => self.topics.index_of_id(&wanted.topic_id).ok_or(ResponseError::UnknownTopicId),
            Some(name) => match self.topics.index_of(name) {
                Some(index) => Ok(index),
                None if !name_is_valid(name) => Err(ResponseError::InvalidTopicException),
                None if may_create => {
                    let (partitions, replication) =
                        (self.settings.partitions_default, self.settings.replication_factor);
                    Ok(self.add_topic(name, partitions, replication, TopicConfig::default()))
                }
                None => Err(ResponseError::UnknownTopicOrPartition),
            },
        };
        match found.map(|index| self.topics.get(index)) {
            Ok(Some(topic)) => self.describe(topic),
            Ok(None) => unknown(wanted, ResponseError::UnknownTopicOrPartition),
            Err(error) => unknown(wanted, error),
        }
    }

    fn describe(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = (0..).zip(&topic.partitions).map(|(index, partition)| {
            let (up, down) = self.replicas(partition);
            let leaderless = partition.leader < 0;
            MetadataResponsePartition::default()
                .with_error_code(if leaderless { ResponseError::LeaderNotAvailable.code() } else { 0 })
                .with_partition_index(index)
                .with_leader_id(BrokerId(partition.leader))
                .with_leader_epoch(partition.leader_epoch)
                .with_replica_nodes(partition.replicas.iter().copied().map(BrokerId).collect())
                .with_isr_nodes(up)
                .with_offline_replicas(down)
        });
        MetadataResponseTopic::default()
            .with_name(Some(topic.name.clone()))
            .with_topic_id(topic.id)
            .with_partitions(partitions.collect())
    }

    /// The partition's replicas that are up, and those that are not.
    pub(super) fn replicas(&self, partition: &Partition) -> (Vec<BrokerId>, Vec<BrokerId>) {
        let replicas = partition.replicas.iter().copied().map(BrokerId);
        replicas.partition(|id| self.nodes.get(&id.0).is_some_and(|node| node.up))
    }
}

fn unknown(wanted: MetadataRequestTopic, error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(wanted.name)
        .with_topic_id(wanted.topic_id)
}
