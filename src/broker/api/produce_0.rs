//! Produce (0), versions 3 to 13 (topic ids from 13 on).
//!
//! One batch per partition. Checked: leadership, length, magic, CRC-32C, base offset, record count, control and transactional
//! bits, timestamps by the header's bounds, size, and the producer's sequence. The records themselves are not looked at.
//! With acks=-1 the answer waits until the high watermark covers the batch, at most `timeout_ms` (then REQUEST_TIMED_OUT).
//! With acks=0 there is no answer; an error closes the connection.

use super::Request;
use crate::broker::delayed::{Checked, Ticket, Waiting};
use crate::broker::topic::{PartitionKey, TopicIndex};
use crate::broker::{Batch, Cluster, Reply};
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};

/// An answer that waits for replicas.
#[derive(Debug)]
pub struct PendingProduce {
    request: Request,
    response: ProduceResponse,
    awaited: Vec<Awaited>,
}

/// One partition's part of it: where in the answer, and what the high watermark has to reach under the same leader.
#[derive(Debug)]
struct Awaited {
    key: PartitionKey,
    at: (usize, usize),
    offset: i64,
    leader_epoch: i32,
}

/// (base offset, the offset that the high watermark must reach)
type Stored = (i64, i64);

impl Cluster {
    pub(super) fn produce(&mut self, request: Request, body: &ProduceRequest) -> Option<Reply> {
        let mut response = ProduceResponse::default().with_throttle_time_ms(self.faults.throttle_time_ms);
        let mut awaited = Vec::new();
        let mut failed = false;
        for topic in &body.topic_data {
            let by_id = request.version >= 13;
            let index = if by_id {
                self.topics.index_of_id(&topic.topic_id).ok_or(ResponseError::UnknownTopicId)
            } else {
                self.topics.index_of(&topic.name).ok_or(ResponseError::UnknownTopicOrPartition)
            };
            let mut answers = Vec::with_capacity(topic.partition_data.len());
            for data in &topic.partition_data {
                let stored = index.and_then(|index| self.produce_partition(&request, index, data));
                let mut answer = PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_base_offset(-1)
                    .with_log_append_time_ms(-1)
                    .with_log_start_offset(-1);
                let key = index.ok().map(|topic| PartitionKey { topic, partition: data.index });
                let partition = key.and_then(|key| Some((key, self.topics.partition(key)?)));
                match stored {
                    Ok((base_offset, offset)) => {
                        answer.base_offset = base_offset;
                        if let Some((key, partition)) = partition {
                            answer.log_start_offset = partition.log.log_start_offset();
                            if body.acks == -1 && partition.log.high_watermark() < offset {
                                let at = (response.responses.len(), answers.len());
                                awaited.push(Awaited {
                                    key,
                                    at,
                                    offset,
                                    leader_epoch: partition.leader_epoch,
                                });
                            }
                        }
                    }
                    Err(error) => {
                        failed = true;
                        answer.error_code = error.code();
                        if let Some((_, partition)) =
                            partition.filter(|_| error == ResponseError::NotLeaderOrFollower)
                        {
                            answer.current_leader = LeaderIdAndEpoch::default()
                                .with_leader_id(partition.leader.into())
                                .with_leader_epoch(partition.leader_epoch);
                        }
                    }
                }
                answers.push(answer);
            }
            let mut answered = TopicProduceResponse::default().with_partition_responses(answers);
            if by_id {
                answered.topic_id = topic.topic_id;
            } else {
                answered.name = topic.name.clone();
            }
            response.responses.push(answered);
        }
        match body.acks {
            0 => Some(if failed { Reply::Close } else { Reply::None }),
            _ if awaited.is_empty() => request.answer(&response),
            _ => {
                let deadline_us = request.now.after_ms(u64::try_from(body.timeout_ms).unwrap_or(0));
                let keys: Vec<PartitionKey> = awaited.iter().map(|awaited| awaited.key).collect();
                let pending = Waiting::Produce(PendingProduce { request, response, awaited });
                let ticket = self.delayed.add(pending, deadline_us);
                self.wait_for(ticket, keys);
                Some(Reply::Later(ticket))
            }
        }
    }

    fn produce_partition(
        &mut self,
        request: &Request,
        topic: TopicIndex,
        data: &PartitionProduceData,
    ) -> Result<Stored, ResponseError> {
        let key = PartitionKey { topic, partition: data.index };
        let name = &self.topics.get(topic).ok_or(ResponseError::UnknownTopicOrPartition)?.name;
        let fault = self.faults.take(request.api, request.node, name, data.index);
        if let Some((error, false)) = fault {
            return Err(error);
        }
        let partition = self.topics.partition(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.check_leader(request.node, -1)?;
        let batch = Batch::from_records(data.records.as_ref().unwrap_or(&Bytes::new()))?;
        if !batch.is_intact() {
            return Err(ResponseError::CorruptMessage);
        }
        let appended = self.append_batch(request.now, key, batch)?;
        match fault {
            Some((error, _)) => Err(error),
            None => Ok((appended.base_offset, appended.last_offset + 1)),
        }
    }

    /// Looks whether a waiting answer is complete, or must go out as it is because it is `due`.
    pub(in crate::broker) fn check_produce(
        &mut self,
        ticket: Ticket,
        mut pending: PendingProduce,
        due: bool,
    ) -> Checked {
        let PendingProduce { response, awaited, .. } = &mut pending;
        awaited.retain(|awaited| {
            let error = match self.topics.partition(awaited.key) {
                None => Some(ResponseError::UnknownTopicOrPartition),
                Some(partition) if partition.leader_epoch != awaited.leader_epoch => {
                    Some(ResponseError::NotLeaderOrFollower)
                }
                Some(partition) if partition.log.high_watermark() >= awaited.offset => None,
                Some(_) if due => Some(ResponseError::RequestTimedOut),
                Some(_) => return true,
            };
            let (topic, at) = awaited.at;
            let answer = response.responses.get_mut(topic);
            let answer = answer.and_then(|topic| topic.partition_responses.get_mut(at));
            if let (Some(answer), Some(error)) = (answer, error) {
                answer.error_code = error.code();
                answer.base_offset = -1;
            }
            false
        });
        if pending.awaited.is_empty() {
            Checked::Answered(pending.request.encode(&pending.response).unwrap_or_default())
        } else {
            let keys: Vec<PartitionKey> = pending.awaited.iter().map(|awaited| awaited.key).collect();
            self.wait_for(ticket, keys);
            Checked::StillWaiting(Waiting::Produce(pending))
        }
    }
}
