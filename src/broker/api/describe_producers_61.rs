//! DescribeProducers (61), version 0.
//!
//! As on real brokers leadership is not checked: any replica answers, one that does not lead with the state it has, which a
//! hook can let grow old (`Cluster::freeze_producers`). A node that is no replica answers NOT_LEADER_OR_FOLLOWER.

use super::Request;
use crate::broker::topic::PartitionKey;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

impl Cluster {
    pub(super) fn describe_producers(
        &mut self,
        request: &Request,
        body: DescribeProducersRequest,
    ) -> Option<Reply> {
        let mut response = DescribeProducersResponse::default();
        for topic in body.topics {
            let answers = topic.partition_indexes.iter().map(|&partition| {
                let answer = PartitionResponse::default().with_partition_index(partition);
                match self.active_producers(request, &topic.name, partition) {
                    Ok(producers) => answer.with_active_producers(producers),
                    Err(error) => answer.with_error_code(error.code()),
                }
            });
            let answers = answers.collect();
            response.topics.push(TopicResponse::default().with_name(topic.name).with_partitions(answers));
        }
        request.answer(&response)
    }

    fn active_producers(
        &mut self,
        request: &Request,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<ProducerState>, ResponseError> {
        if let Some((error, _)) = self.faults.take(request.api, request.node, topic, partition) {
            return Err(error);
        }
        let index = self.topics.index_of(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = self.topics.partition(PartitionKey { topic: index, partition });
        let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
        let node = request.node;
        if !partition.replicas.contains(&node) && !partition.stale_producers.contains_key(&node) {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        let stale = partition.stale_producers.get(&node).filter(|_| partition.leader != node);
        let producers = stale.unwrap_or(&partition.log.producers);
        let states = producers.iter().map(|(producer_id, entry)| {
            ProducerState::default()
                .with_producer_id(ProducerId(producer_id))
                .with_producer_epoch(i32::from(entry.epoch))
                .with_last_sequence(entry.last_sequence())
                .with_last_timestamp(entry.last_timestamp_ms)
                .with_coordinator_epoch(entry.coordinator_epoch)
                .with_current_txn_start_offset(entry.open_since.unwrap_or(-1))
        });
        Ok(states.collect())
    }
}
