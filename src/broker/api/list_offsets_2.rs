//! ListOffsets (2), versions 1 to 10.
//!
//! Timestamps: -1 latest (the high watermark, or for readers of committed records the last stable offset), -2 earliest, -3 the
//! largest timestamp, -4 earliest local (as -2), -5 latest tiered (none); others look for the first record at or after them,
//! inside the batch too where its records can be read.
//! Leadership and current_leader_epoch are checked.

use super::Request;
use crate::broker::topic::{Partition, PartitionKey};
use crate::broker::{Batch, Cluster, Reply};
use bytes::BytesMut;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use kafka_protocol::records::RecordBatchDecoder;

impl Cluster {
    pub(super) fn list_offsets(&mut self, request: &Request, body: ListOffsetsRequest) -> Option<Reply> {
        let mut response = ListOffsetsResponse::default();
        let read_committed = body.isolation_level == 1;
        for topic in body.topics {
            let answers = topic.partitions.iter().map(|wanted| {
                let answer = ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index)
                    .with_timestamp(-1)
                    .with_offset(-1);
                match self.list_offset(request, read_committed, &topic.name, wanted) {
                    Ok((timestamp, offset, leader_epoch)) => {
                        let answer = answer.with_timestamp(timestamp).with_offset(offset);
                        if request.version >= 4 { answer.with_leader_epoch(leader_epoch) } else { answer }
                    }
                    Err(error) => answer.with_error_code(error.code()),
                }
            });
            let answers = answers.collect();
            response
                .topics
                .push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(answers));
        }
        request.answer(&response)
    }

    /// (timestamp, offset, leader epoch)
    fn list_offset(
        &mut self,
        request: &Request,
        read_committed: bool,
        topic: &str,
        wanted: &ListOffsetsPartition,
    ) -> Result<(i64, i64, i32), ResponseError> {
        if let Some((error, _)) = self.faults.take(request.api, request.node, topic, wanted.partition_index) {
            return Err(error);
        }
        let index = self.topics.index_of(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let key = PartitionKey { topic: index, partition: wanted.partition_index };
        let partition = self.topics.partition(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(request.node, wanted.current_leader_epoch)?;
        Ok(find(partition, wanted.timestamp, read_committed))
    }
}

fn find(partition: &Partition, timestamp: i64, read_committed: bool) -> (i64, i64, i32) {
    let log = &partition.log;
    let end = log.readable_end(read_committed);
    match timestamp {
        -1 => (-1, end, partition.leader_epoch),
        -2 | -4 => (-1, log.log_start_offset(), log.epoch_of(log.log_start_offset())),
        -5 => (-1, -1, -1),
        -3 => {
            let newest = log.batches().filter(|batch| batch.last_offset() < end);
            // The first of several equal ones, so that more of the same timestamp does not move it.
            let newest = newest.rev().max_by_key(|batch| batch.max_timestamp());
            newest.map_or((-1, -1, -1), |batch| {
                let (timestamp, offset) = first_record_at(batch, batch.max_timestamp(), batch.base_offset());
                (timestamp, offset, batch.leader_epoch())
            })
        }
        _ => {
            let mut candidates = log.read(log.log_start_offset(), end);
            let batch = candidates.find(|batch| batch.max_timestamp() >= timestamp);
            batch.map_or((-1, -1, -1), |batch| {
                let (timestamp, offset) = first_record_at(batch, timestamp, log.log_start_offset());
                (timestamp, offset, batch.leader_epoch())
            })
        }
    }
}

/// (timestamp, offset) of the batch's first record at or after a time and an offset; the batch's own bounds when its records
/// cannot be read.
fn first_record_at(batch: &Batch, timestamp: i64, from_offset: i64) -> (i64, i64) {
    let mut whole = BytesMut::with_capacity(batch.size_bytes());
    whole.extend_from_slice(batch.header());
    whole.extend_from_slice(&batch.payload);
    let records = RecordBatchDecoder::decode(&mut whole.freeze());
    let found = records.ok().and_then(|set| {
        set.records
            .iter()
            .find(|record| record.timestamp >= timestamp && record.offset >= from_offset)
            .map(|record| (record.timestamp, record.offset))
    });
    found.unwrap_or((batch.max_timestamp(), batch.base_offset().max(from_offset)))
}
