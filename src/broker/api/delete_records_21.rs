//! DeleteRecords (21), versions 0 to 2. Offset -1 means the high watermark.

use super::Request;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{ApiKey, DeleteRecordsRequest, DeleteRecordsResponse};

impl Cluster {
    pub(super) fn delete_records_request(
        &mut self,
        request: &Request,
        body: DeleteRecordsRequest,
    ) -> Option<Reply> {
        let mut response = DeleteRecordsResponse::default();
        for topic in body.topics {
            let answers = topic.partitions.iter().map(|wanted| {
                let answer =
                    DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
                match self.delete_up_to(request.node, &topic.name, wanted.partition_index, wanted.offset) {
                    Ok(low_watermark) => answer.with_low_watermark(low_watermark),
                    Err(error) => answer.with_low_watermark(-1).with_error_code(error.code()),
                }
            });
            let answers = answers.collect();
            response
                .topics
                .push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(answers));
        }
        request.answer(&response)
    }

    fn delete_up_to(
        &mut self,
        node: i32,
        topic: &str,
        index: i32,
        offset: i64,
    ) -> Result<i64, ResponseError> {
        let fault = self.faults.take(ApiKey::DeleteRecords, node, topic, index);
        if let Some((error, false)) = fault {
            return Err(error);
        }
        let key = self.topics.key(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = self.topics.partition(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(node, -1)?;
        let high_watermark = partition.log.high_watermark();
        let before = if offset == -1 { high_watermark } else { offset };
        if before < 0 || before > high_watermark {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let start =
            self.delete_records(topic, index, before).ok_or(ResponseError::UnknownTopicOrPartition)?;
        fault.map_or(Ok(start), |(error, _)| Err(error))
    }
}
