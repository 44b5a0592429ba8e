//! OffsetForLeaderEpoch (23), versions 2 to 4.
use super::Request;
use crate::broker::topic::PartitionKey;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

impl Cluster {
    pub(super) fn offset_for_leader_epoch(
        &mut self,
        request: &Request,
        body: OffsetForLeaderEpochRequest,
    ) -> Option<Reply> {
        let mut response = OffsetForLeaderEpochResponse::default();
        for topic in body.topics {
            let mut ends = Vec::new();
            for wanted in &topic.partitions {
                let mut end = EpochEndOffset::default().with_partition(wanted.partition);
                match self.end_offset(
                    request,
                    &topic.topic,
                    wanted.partition,
                    wanted.current_leader_epoch,
                    wanted.leader_epoch,
                ) {
                    Ok((epoch, offset)) => end = end.with_leader_epoch(epoch).with_end_offset(offset),
                    Err(error) => {
                        end = end.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1);
                    }
                }
                ends.push(end);
            }
            response
                .topics
                .push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(ends));
        }
        request.answer(&response)
    }

    fn end_offset(
        &mut self,
        request: &Request,
        topic: &str,
        partition: i32,
        current: i32,
        epoch: i32,
    ) -> Result<(i32, i64), ResponseError> {
        if let Some((error, _)) = self.faults.take(request.api, request.node, topic, partition) {
            return Err(error);
        }
        let index = self.topics.index_of(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = self
            .topics
            .partition(PartitionKey { topic: index, partition })
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(request.node, current)?;
        Ok(partition.log.end_of_epoch(epoch))
    }
}
