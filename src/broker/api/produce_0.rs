//! Produce (0), versions 3 to 13 (topic ids from 13 on).
//!
//! One batch per partition. Checked: leadership, length, magic, CRC-32C, base offset, record count, control bit, timestamps by the
//! header's bounds, size, the producer's sequence, and that a transactional batch belongs to a transaction that is open in the
//! partition or that the coordinator knows to be. The records themselves are not looked at.
//! With acks=-1 the answer waits until the high watermark covers the batch, at most `timeout_ms` (then REQUEST_TIMED_OUT).
//! With acks=0 there is no answer; an error closes the connection.

use super::Request;
use crate::broker::delayed::{Checked, Replication, Ticket, Waiting};
use crate::broker::topic::{PartitionKey, TopicIndex};
use crate::broker::transactions::Claim;
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

/// One partition's part of it, and where in the answer.
#[derive(Debug)]
struct Awaited {
    at: (usize, usize),
    replication: Replication,
}

/// From this version on requests are told TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;

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
                let transactional_id = body.transactional_id.as_ref().map(|id| id.as_str());
                let stored =
                    index.and_then(|index| self.produce_partition(&request, transactional_id, index, data));
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
                                let leader_epoch = partition.leader_epoch;
                                let replication = Replication { key, offset, leader_epoch };
                                awaited.push(Awaited { at, replication });
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
                let keys: Vec<PartitionKey> = awaited.iter().map(|awaited| awaited.replication.key).collect();
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
        transactional_id: Option<&str>,
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
        let vouched = self.vouch(request, transactional_id, key, &batch)?;
        let appended = self.append_batch(request.now, key, batch, vouched)?;
        match fault {
            Some((error, _)) => Err(error),
            None => Ok((appended.base_offset, appended.last_offset + 1)),
        }
    }

    /// Asks the coordinator for the transaction that a batch would begin in the partition.
    fn vouch(
        &mut self,
        request: &Request,
        transactional_id: Option<&str>,
        key: PartitionKey,
        batch: &Batch,
    ) -> Result<bool, ResponseError> {
        let topic = self.topics.get(key.topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = self.topics.partition(key).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let (producer_id, epoch) = (batch.producer_id(), batch.producer_epoch());
        let is_open = partition.log.producers.has_open_transaction(producer_id, epoch);
        let Some(transactional_id) = transactional_id.filter(|_| batch.is_transactional() && !is_open) else {
            return Ok(false);
        };
        let claim = Claim { transactional_id, producer_id, epoch };
        self.transactions.verify(claim, request.version >= ABORTABLE_FROM, |transaction| {
            transaction.holds_partition(&topic.name, key.partition)
        })?;
        Ok(true)
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
            let Some(ended) = awaited.replication.look(&self.topics, due) else { return true };
            let (topic, at) = awaited.at;
            let answer = response.responses.get_mut(topic);
            let answer = answer.and_then(|topic| topic.partition_responses.get_mut(at));
            if let (Some(answer), Err(error)) = (answer, ended) {
                answer.error_code = error.code();
                answer.base_offset = -1;
            }
            false
        });
        if pending.awaited.is_empty() {
            Checked::Answered(pending.request.encode(&pending.response).unwrap_or_default())
        } else {
            let keys: Vec<PartitionKey> =
                pending.awaited.iter().map(|awaited| awaited.replication.key).collect();
            self.wait_for(ticket, keys);
            Checked::StillWaiting(Waiting::Produce(pending))
        }
    }
}
