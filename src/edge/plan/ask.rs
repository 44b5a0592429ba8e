//! Questions to a cluster that only a plan has. None of them changes anything.

use crate::control::forecast::rights::Operations;
use crate::edge::admin::{Admin, AdminError};
use crate::edge::client::ANY_BROKER;
use crate::wire::versions::Versions;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeLogDirsRequest, DescribeTransactionsRequest, GroupId, MetadataRequest,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

const METADATA_KEY: i16 = 3;
/// From here on with what this user may do (KIP-430).
const METADATA_OPERATIONS: (i16, i16) = (8, 12);
const DESCRIBE_LOG_DIRS: (i16, i16) = (1, 4);
const DESCRIBE_TRANSACTIONS_KEY: i16 = 65;
const DESCRIBE_TRANSACTIONS: (i16, i16) = (0, 0);
const DESCRIBE_GROUPS: (i16, i16) = (0, 5);
const GROUP_AUTHORIZATION_FAILED: i16 = 30;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
/// Topics in one request.
const CHUNK: usize = 500;

/// What each broker speaks; and why those that cannot be asked cannot.
pub(super) fn versions(admin: &mut Admin) -> (BTreeMap<i32, Versions>, BTreeMap<i32, String>) {
    let brokers: Vec<i32> = admin.observed().brokers.keys().copied().collect();
    let (mut spoken, mut unreachable) = (BTreeMap::new(), BTreeMap::new());
    for broker in brokers {
        match admin.client().client(broker) {
            Ok(client) => drop(spoken.insert(broker, client.versions().clone())),
            Err(error) => drop(unreachable.insert(broker, error.to_string())),
        }
    }
    (spoken, unreachable)
}

/// What this user may do with topics. Nothing, where brokers do not tell.
pub(super) fn topic_operations(
    admin: &mut Admin,
    topics: &[String],
) -> Result<BTreeMap<String, Operations>, AdminError> {
    let (min, max) = METADATA_OPERATIONS;
    let mut allowed = BTreeMap::new();
    if admin.client().client(ANY_BROKER)?.versions().pick(METADATA_KEY, min, max).is_none() {
        return Ok(allowed);
    }
    for chunk in topics.chunks(CHUNK) {
        let named =
            chunk.iter().map(|name| MetadataRequestTopic::default().with_name(Some(admin.on_wire(name))));
        let named = named.collect();
        let answer = admin.client().call(ANY_BROKER, min, max, |_| {
            MetadataRequest::default()
                .with_topics(Some(named))
                .with_allow_auto_topic_creation(false)
                .with_include_topic_authorized_operations(true)
        })?;
        for topic in answer.topics.into_iter().filter(|topic| topic.error_code == 0) {
            if let Some(name) = topic.name.and_then(|name| admin.in_link(&name)) {
                allowed.insert(name, Operations::from_bits(topic.topic_authorized_operations));
            }
        }
    }
    Ok(allowed)
}

/// Which of these transactional ids this user may not even DESCRIBE, and so not WRITE under. Any broker knows that, coordinator or
/// not, from Kafka 3.0 on (KIP-664).
pub(super) fn denied_transactional_ids(
    admin: &mut Admin,
    ids: Vec<String>,
) -> Result<BTreeSet<String>, AdminError> {
    let (min, max) = DESCRIBE_TRANSACTIONS;
    if admin.client().client(ANY_BROKER)?.versions().pick(DESCRIBE_TRANSACTIONS_KEY, min, max).is_none() {
        return Ok(BTreeSet::new());
    }
    let ids = ids.into_iter().map(|id| TransactionalId(StrBytes::from_string(id))).collect();
    let answer = admin
        .client()
        .call(ANY_BROKER, min, max, |_| DescribeTransactionsRequest::default().with_transactional_ids(ids))?;
    let states = answer.transaction_states.iter();
    let denied = states.filter(|state| state.error_code == TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    Ok(denied.map(|state| state.transactional_id.to_string()).collect())
}

/// Whether this user may not even DESCRIBE a group, and so not READ it. Any broker knows that.
pub(super) fn is_group_denied(admin: &mut Admin, group: &str) -> Result<bool, AdminError> {
    let (min, max) = DESCRIBE_GROUPS;
    let groups = vec![GroupId(StrBytes::from_string(group.to_owned()))];
    let answer = admin
        .client()
        .call(ANY_BROKER, min, max, |_| DescribeGroupsRequest::default().with_groups(groups))?;
    Ok(answer.groups.iter().any(|group| group.error_code == GROUP_AUTHORIZATION_FAILED))
}

/// The size of partitions' logs on their leaders' disks. Leaders that do not tell (it takes DESCRIBE on the cluster) are left
/// out.
pub(super) fn log_bytes(admin: &mut Admin, partitions: &[(String, i32)]) -> BTreeMap<(String, i32), u64> {
    let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
    for (topic, partition) in partitions {
        let leader = admin.observed().leader(topic, *partition).leader;
        by_leader.entry(leader).or_default().entry(topic).or_default().push(*partition);
    }
    let mut bytes = BTreeMap::new();
    for (leader, topics) in by_leader {
        let topics = topics.into_iter().map(|(topic, partitions)| {
            DescribableLogDirTopic::default().with_topic(admin.on_wire(topic)).with_partitions(partitions)
        });
        let topics = topics.collect();
        let (min, max) = DESCRIBE_LOG_DIRS;
        let answer = admin
            .client()
            .call(leader, min, max, |_| DescribeLogDirsRequest::default().with_topics(Some(topics)));
        let Ok(answer) = answer else { continue };
        for topic in answer.results.iter().flat_map(|result| &result.topics) {
            let Some(name) = admin.in_link(&topic.name) else { continue };
            // A future log is a copy on its way to another disk.
            for partition in topic.partitions.iter().filter(|partition| !partition.is_future_key) {
                let size = u64::try_from(partition.partition_size).unwrap_or(0);
                *bytes.entry((name.clone(), partition.partition_index)).or_default() += size;
            }
        }
    }
    bytes
}
