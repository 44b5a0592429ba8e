//! OffsetForLeaderEpoch (23), versions 2 to 4.

use super::Request;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
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
            let answers = topic.partitions.iter().map(|wanted| {
                let answer = EpochEndOffset::default().with_partition(wanted.partition);
                match self.end_of_epoch(request, &topic.topic, wanted) {
                    Ok((epoch, end)) => answer.with_leader_epoch(epoch).with_end_offset(end),
                    Err(error) => {
                        answer.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1)
                    }
                }
            });
            let answers = answers.collect();
            let answer = OffsetForLeaderTopicResult::default().with_topic(topic.topic);
            response.topics.push(answer.with_partitions(answers));
        }
        request.answer(&response)
    }

    fn end_of_epoch(
        &mut self,
        request: &Request,
        topic: &str,
        wanted: &OffsetForLeaderPartition,
    ) -> Result<(i32, i64), ResponseError> {
        if let Some((error, _)) = self.faults.take(request.api, request.node, topic, wanted.partition) {
            return Err(error);
        }
        let key = self.topics.key(topic, wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = self.topics.partition(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(request.node, wanted.current_leader_epoch)?;
        Ok(partition.log.end_of_epoch(wanted.leader_epoch))
    }
}
