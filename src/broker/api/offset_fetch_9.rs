//! OffsetFetch (9), versions 1 to 9 (several groups from 8 on). No topics means all of them; an unknown group has none. Where an
//! open transaction may change the offset, who wants a stable one is told UNSTABLE_OFFSET_COMMIT (KIP-447).

use super::{Request, text};
use crate::broker::groups::{Committed, Group};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use std::collections::BTreeMap;

/// Topics and partitions that are asked for, in order.
type Asked = Vec<(String, Vec<i32>)>;

/// Partition, error code, offset.
type Answer = (i32, i16, Committed);

impl Cluster {
    pub(super) fn offset_fetch(&self, request: &Request, body: OffsetFetchRequest) -> Option<Reply> {
        let response = OffsetFetchResponse::default();
        if request.version < 8 {
            let asked = body.topics.map(|topics| {
                let topics = topics.into_iter();
                topics.map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect()
            });
            let committed = self.committed(&body.group_id, body.require_stable, asked);
            let topics = committed.into_iter().map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|(index, error, committed)| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(index)
                        .with_error_code(error)
                        .with_committed_offset(committed.offset)
                        .with_committed_leader_epoch(committed.leader_epoch)
                        .with_metadata(Some(text(&committed.metadata)))
                });
                let partitions = partitions.collect();
                OffsetFetchResponseTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
            });
            return request.answer(&response.with_topics(topics.collect()));
        }
        let groups = body.groups.into_iter().map(|group| {
            let asked = group.topics.map(|topics| {
                let topics = topics.into_iter();
                topics.map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect()
            });
            let committed = self.committed(&group.group_id, body.require_stable, asked);
            let topics = committed.into_iter().map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|(index, error, committed)| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(index)
                        .with_error_code(error)
                        .with_committed_offset(committed.offset)
                        .with_committed_leader_epoch(committed.leader_epoch)
                        .with_metadata(Some(text(&committed.metadata)))
                });
                let partitions = partitions.collect();
                OffsetFetchResponseTopics::default().with_name(topic_name(&name)).with_partitions(partitions)
            });
            let topics = topics.collect();
            OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics)
        });
        request.answer(&response.with_groups(groups.collect()))
    }

    /// What the group committed, for what is asked or for everything. -1 where there is nothing.
    fn committed(&self, group_id: &str, stable: bool, asked: Option<Asked>) -> Vec<(String, Vec<Answer>)> {
        let group = self.groups.get(group_id);
        let asked = asked.unwrap_or_else(|| group.map_or_else(Vec::new, all_of));
        let look_up = |topic: &str, index: i32| {
            let is_unstable = stable && group.is_some_and(|group| group.is_unstable(topic, index));
            let error = if is_unstable { ResponseError::UnstableOffsetCommit.code() } else { 0 };
            let found = group.and_then(|group| group.offsets.get(&(topic.to_owned(), index)));
            let found = found.filter(|_| !is_unstable).cloned();
            let nothing = Committed { offset: -1, leader_epoch: -1, metadata: String::new() };
            (index, error, found.unwrap_or(nothing))
        };
        let topics = asked.into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|index| look_up(&topic, index)).collect();
            (topic, partitions)
        });
        topics.collect()
    }
}

fn all_of(group: &Group) -> Asked {
    let mut topics: BTreeMap<&String, Vec<i32>> = BTreeMap::new();
    for (topic, index) in group.offsets.keys() {
        topics.entry(topic).or_default().push(*index);
    }
    topics.into_iter().map(|(topic, partitions)| (topic.clone(), partitions)).collect()
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
