//! TxnOffsetCommit (28), versions 0 to 4: offsets that are in force when the transaction commits.

use super::Request;
use crate::broker::groups::{Committed, Speaker};
use crate::broker::transactions::Claim;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

/// From this version on requests are told TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;

impl Cluster {
    pub(super) fn txn_offset_commit(
        &mut self,
        request: &Request,
        body: TxnOffsetCommitRequest,
    ) -> Option<Reply> {
        let mut offsets = Vec::new();
        for topic in &body.topics {
            for partition in &topic.partitions {
                let metadata = partition.committed_metadata.as_deref().unwrap_or_default().to_owned();
                let (offset, leader_epoch) = (partition.committed_offset, partition.committed_leader_epoch);
                let committed = Committed { offset, leader_epoch, metadata };
                if self.topics.key(&topic.name, partition.partition_index).is_some() {
                    offsets.push(((topic.name.to_string(), partition.partition_index), committed));
                }
            }
        }
        let code = self.commit_in_transaction(request, &body, offsets).err().map_or(0, |error| error.code());
        let topics = body.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let is_known = self.topics.key(&topic.name, partition.partition_index).is_some();
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(if is_known {
                        code
                    } else {
                        ResponseError::UnknownTopicOrPartition.code()
                    })
            });
            let partitions = partitions.collect();
            TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        });
        let topics = topics.collect();
        request.answer(&TxnOffsetCommitResponse::default().with_topics(topics))
    }

    fn commit_in_transaction(
        &mut self,
        request: &Request,
        body: &TxnOffsetCommitRequest,
        offsets: Vec<((String, i32), Committed)>,
    ) -> Result<(), ResponseError> {
        let claim = Claim {
            transactional_id: &body.transactional_id,
            producer_id: body.producer_id.0,
            epoch: body.producer_epoch,
        };
        self.transactions.verify(claim, request.version >= ABORTABLE_FROM, |transaction| {
            transaction.holds_group(&body.group_id)
        })?;
        let names_itself = body.generation_id >= 0 || !body.member_id.is_empty();
        let speaker = Speaker { member_id: &body.member_id, generation: body.generation_id };
        let (speaker, now_us) = (names_itself.then_some(speaker), request.now.mono_us);
        self.groups.commit_in_transaction(&body.group_id, speaker, now_us, claim.producer_id, offsets)
    }
}
