//! OffsetCommit (8), versions 2 to 9. Offsets never expire.

use super::Request;
use crate::broker::groups::{Committed, Speaker};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

impl Cluster {
    pub(super) fn offset_commit(&mut self, request: &Request, body: OffsetCommitRequest) -> Option<Reply> {
        let mut offsets = Vec::new();
        let mut answers = Vec::new();
        for topic in body.topics {
            let mut partitions = Vec::new();
            for partition in topic.partitions {
                let index = partition.partition_index;
                let known = self.topics.key(&topic.name, index).is_some();
                let error = if known { 0 } else { ResponseError::UnknownTopicOrPartition.code() };
                if known {
                    let metadata = partition.committed_metadata.unwrap_or_default().to_string();
                    let (offset, leader_epoch) =
                        (partition.committed_offset, partition.committed_leader_epoch);
                    let committed = Committed { offset, leader_epoch, metadata };
                    offsets.push(((topic.name.to_string(), index), committed));
                }
                let answer = OffsetCommitResponsePartition::default().with_partition_index(index);
                partitions.push(answer.with_error_code(error));
            }
            let answer = OffsetCommitResponseTopic::default().with_name(topic.name);
            answers.push(answer.with_partitions(partitions));
        }
        let generation = body.generation_id_or_member_epoch;
        let speaker = Speaker { member_id: &body.member_id, generation };
        let now_us = request.now.mono_us;
        if let Err(error) = self.groups.commit(&body.group_id, speaker, now_us, offsets) {
            for partition in answers.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.error_code = error.code();
            }
        }
        request.answer(&OffsetCommitResponse::default().with_topics(answers))
    }
}
