//! What is asked of a cluster about its consumer groups.

use crate::config::Cluster;
use crate::control::forecast::rights::Operations;
use crate::control::groups::{Committed, Positions};
use crate::edge::admin::{Admin, AdminError, check};
use crate::edge::client::{ANY_BROKER, ClientError};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::Duration;

const FIND_COORDINATOR_KEY: i16 = 10;
/// From 4 on many groups are asked for at once (KIP-699).
const FIND_COORDINATORS: (i16, i16) = (4, 5);
const FIND_COORDINATOR: (i16, i16) = (0, 3);
const OFFSET_FETCH_KEY: i16 = 9;
/// From 8 on many groups are asked for at once (KIP-709); from 10 on topics have ids.
const OFFSET_FETCHES: (i16, i16) = (8, 9);
const OFFSET_FETCH: (i16, i16) = (1, 7);
/// From here on (Kafka 0.10.2) a group's positions can be had without naming their partitions.
const OFFSET_FETCH_ALL_MIN: i16 = 2;
const OFFSET_COMMIT: (i16, i16) = (5, 9);
const LIST_GROUPS: (i16, i16) = (0, 5);
/// Groups of this type have no positions of their own to commit (KIP-932).
const SHARE: &str = "share";
/// Groups in one request.
const CHUNK: usize = 200;
/// From 3 on with what this user may do (KIP-430); before 6 a group that does not exist is no error.
const DESCRIBE_GROUPS_KEY: i16 = 15;
const DESCRIBE_GROUPS: (i16, i16) = (3, 5);
const GROUP_AUTHORIZATION_FAILED: i16 = 30;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// Positions that were not taken, with the error code.
pub(super) type Refused = Vec<((String, i32), i16)>;

pub(super) struct GroupClient {
    admin: Admin,
    is_observed: bool,
    /// What there is to look for on brokers that do not list groups (before Kafka 0.9).
    named: Vec<String>,
    coordinators: BTreeMap<String, i32>,
}

impl GroupClient {
    pub(super) fn new(cluster: &Cluster, client_id: &str, timeout: Duration) -> Self {
        Self {
            admin: Admin::new(cluster, client_id, timeout),
            is_observed: false,
            named: Vec::new(),
            coordinators: BTreeMap::new(),
        }
    }

    pub(super) fn naming(self, named: Vec<String>) -> Self {
        Self { named, ..self }
    }

    /// All groups, of whichever protocol, and whether they have members, where the brokers tell (from Kafka 2.6 on, KIP-518).
    /// Brokers that do not answer are left out, if others do.
    pub(super) fn list(&mut self) -> Result<BTreeMap<String, bool>, AdminError> {
        self.observe()?;
        let brokers: Vec<i32> = self.admin.observed().brokers.keys().copied().collect();
        let mut found = BTreeMap::new();
        let mut trouble = None;
        let mut answered = false;
        for broker in brokers {
            let (min, max) = LIST_GROUPS;
            let answer = self.admin.client().call(broker, min, max, |_| ListGroupsRequest::default());
            match answer.map_err(AdminError::from) {
                Ok(answer) => {
                    answered = true;
                    check(answer.error_code, "listing consumer groups (DESCRIBE on them)")?;
                    let groups = answer.groups.into_iter().filter(|group| group.group_type.as_str() != SHARE);
                    let has_members = |state: &str| !matches!(state, "" | "Empty" | "Dead");
                    found.extend(
                        groups.map(|group| (group.group_id.to_string(), has_members(&group.group_state))),
                    );
                }
                Err(error) => {
                    self.is_observed = false;
                    trouble = Some(error);
                }
            }
        }
        match trouble {
            Some(AdminError::Client(ClientError::Unsupported { .. })) if !answered => {
                self.is_observed = true;
                Ok(self.named.iter().map(|group| (group.clone(), false)).collect())
            }
            Some(error) if !answered => Err(error),
            _ => Ok(found),
        }
    }

    /// What the groups have committed. A group whose coordinator is not to be had now is left out; one that does not exist has
    /// committed nothing.
    pub(super) fn fetch(&mut self, groups: &[String]) -> Result<BTreeMap<String, Positions>, AdminError> {
        self.observe()?;
        let mut found = BTreeMap::new();
        for (coordinator, groups) in self.by_coordinator(groups)? {
            for chunk in groups.chunks(CHUNK) {
                if let Err(error) = self.fetch_from(coordinator, chunk, &mut found) {
                    self.forget_coordinators(chunk);
                    self.is_observed = false;
                    tracing::debug!(coordinator, %error, "asking for consumer groups' offsets");
                }
            }
        }
        Ok(found)
    }

    fn forget_coordinators(&mut self, groups: &[String]) {
        for group in groups {
            self.coordinators.remove(group);
        }
    }

    fn fetch_from(
        &mut self,
        coordinator: i32,
        groups: &[String],
        found: &mut BTreeMap<String, Positions>,
    ) -> Result<(), AdminError> {
        let client = self.admin.client();
        let (min, max) = OFFSET_FETCHES;
        if client.client(coordinator)?.versions().pick(OFFSET_FETCH_KEY, min, max).is_none() {
            let (min, max) = OFFSET_FETCH;
            let partitions = all_partitions(&self.admin);
            for group in groups {
                let answer = self.admin.client().call(coordinator, min, max, |version| {
                    let named = (version < OFFSET_FETCH_ALL_MIN).then(|| partitions.clone());
                    OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(named)
                })?;
                let named = answer.topics.into_iter();
                let named = named.filter_map(|topic| Some((self.admin.in_link(&topic.name)?, topic)));
                let positions = named.flat_map(|(name, topic)| {
                    topic.partitions.into_iter().filter(|partition| partition.error_code == 0).map(
                        move |partition| {
                            let place = (name.clone(), partition.partition_index);
                            (place, committed(partition.committed_offset, partition.metadata))
                        },
                    )
                });
                let positions = positions.collect();
                self.coordinators_answer(group, answer.error_code, positions, found);
            }
            return Ok(());
        }
        let wanted = groups.iter().map(|group| {
            OffsetFetchRequestGroup::default()
                .with_group_id(group_id(group))
                .with_member_epoch(-1)
                .with_topics(None)
        });
        let wanted = wanted.collect();
        let answer = client.call(coordinator, min, max, |_| {
            // What an open transaction has committed is not yet a position.
            OffsetFetchRequest::default().with_groups(wanted).with_require_stable(true)
        })?;
        for group in answer.groups {
            let named = group.topics.into_iter();
            let named = named.filter_map(|topic| Some((self.admin.in_link(&topic.name)?, topic)));
            let positions = named.flat_map(|(name, topic)| {
                topic.partitions.into_iter().filter(|partition| partition.error_code == 0).map(
                    move |partition| {
                        let place = (name.clone(), partition.partition_index);
                        (place, committed(partition.committed_offset, partition.metadata))
                    },
                )
            });
            let positions = positions.collect();
            self.coordinators_answer(&group.group_id, group.error_code, positions, found);
        }
        Ok(())
    }

    fn coordinators_answer(
        &mut self,
        group: &str,
        code: i16,
        positions: Positions,
        found: &mut BTreeMap<String, Positions>,
    ) {
        match code {
            0 => {
                let positions = positions.into_iter().filter(|(_, committed)| committed.offset >= 0);
                found.insert(group.to_owned(), positions.collect());
            }
            GROUP_ID_NOT_FOUND => drop(found.insert(group.to_owned(), Positions::new())),
            _ => self.forget_coordinators(&[group.to_owned()]),
        }
    }

    /// What this user may do with the groups; only those that the brokers tell of.
    pub(super) fn operations(
        &mut self,
        groups: &[String],
    ) -> Result<BTreeMap<String, Operations>, AdminError> {
        self.observe()?;
        let mut found = BTreeMap::new();
        let (min, max) = DESCRIBE_GROUPS;
        if self.admin.client().client(ANY_BROKER)?.versions().pick(DESCRIBE_GROUPS_KEY, min, max).is_none() {
            return Ok(found);
        }
        // Any broker says what must not even be described. Only the coordinator says more.
        self.operations_from(ANY_BROKER, groups, &mut found)?;
        if !self.list()?.is_empty() {
            let left: Vec<String> =
                groups.iter().filter(|group| !found.contains_key(*group)).cloned().collect();
            for (coordinator, groups) in self.by_coordinator(&left)? {
                self.operations_from(coordinator, &groups, &mut found)?;
            }
        }
        Ok(found)
    }

    fn operations_from(
        &mut self,
        broker: i32,
        groups: &[String],
        found: &mut BTreeMap<String, Operations>,
    ) -> Result<(), AdminError> {
        let (min, max) = DESCRIBE_GROUPS;
        for chunk in groups.chunks(CHUNK) {
            let ids = chunk.iter().map(|group| group_id(group)).collect();
            let answer = self.admin.client().call(broker, min, max, |_| {
                DescribeGroupsRequest::default().with_groups(ids).with_include_authorized_operations(true)
            })?;
            for group in answer.groups {
                let operations = match group.error_code {
                    0 => Operations::from_bits(group.authorized_operations),
                    GROUP_AUTHORIZATION_FAILED => Operations::NONE,
                    _ => continue,
                };
                found.insert(group.group_id.to_string(), operations);
            }
        }
        Ok(())
    }

    /// Commits positions as somebody who is no member. Returns those that were refused, with the error code.
    pub(super) fn commit(&mut self, group: &str, positions: &Positions) -> Result<Refused, AdminError> {
        let all = |code: i16| positions.keys().map(|place| (place.clone(), code)).collect();
        let found = self.by_coordinator(&[group.to_owned()])?;
        let Some((&coordinator, _)) = found.first_key_value() else {
            return Ok(all(COORDINATOR_NOT_AVAILABLE));
        };
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition), committed) in positions {
            // The leader epoch is the source's: it means nothing on the target.
            let position = OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(StrBytes::from_string(committed.metadata.clone())));
            topics.entry(topic).or_default().push(position);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(self.admin.on_wire(topic))
                .with_partitions(partitions)
        });
        let topics = topics.collect();
        let (min, max) = OFFSET_COMMIT;
        let answer = self.admin.client().call(coordinator, min, max, |_| {
            OffsetCommitRequest::default()
                .with_group_id(group_id(group))
                .with_generation_id_or_member_epoch(-1)
                .with_topics(topics)
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.coordinators.remove(group);
                self.is_observed = false;
                return Err(error.into());
            }
        };
        let mut refused = Vec::new();
        for topic in answer.topics {
            let Some(name) = self.admin.in_link(&topic.name) else { continue };
            for partition in topic.partitions.iter().filter(|partition| partition.error_code != 0) {
                refused.push(((name.clone(), partition.partition_index), partition.error_code));
            }
        }
        if refused.iter().any(|(_, code)| matches!(*code, COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR)) {
            self.coordinators.remove(group);
        }
        Ok(refused)
    }

    /// The groups by the broker that coordinates them. Those without one for now are left out.
    fn by_coordinator(&mut self, groups: &[String]) -> Result<BTreeMap<i32, Vec<String>>, AdminError> {
        let unknown: Vec<String> =
            groups.iter().filter(|group| !self.coordinators.contains_key(*group)).cloned().collect();
        for chunk in unknown.chunks(CHUNK) {
            self.find_coordinators(chunk)?;
        }
        let mut by_coordinator: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for group in groups {
            if let Some(&coordinator) = self.coordinators.get(group) {
                by_coordinator.entry(coordinator).or_default().push(group.clone());
            }
        }
        Ok(by_coordinator)
    }

    fn find_coordinators(&mut self, groups: &[String]) -> Result<(), AdminError> {
        let client = self.admin.client();
        let (min, max) = FIND_COORDINATORS;
        if client.client(ANY_BROKER)?.versions().pick(FIND_COORDINATOR_KEY, min, max).is_some() {
            let keys = groups.iter().map(|group| StrBytes::from_string(group.clone())).collect();
            let answer = client.call(ANY_BROKER, min, max, |_| {
                FindCoordinatorRequest::default().with_coordinator_keys(keys)
            })?;
            for found in answer.coordinators.into_iter().filter(|found| found.error_code == 0) {
                self.coordinators.insert(found.key.to_string(), found.node_id.0);
            }
            return Ok(());
        }
        let (min, max) = FIND_COORDINATOR;
        for group in groups {
            let key = StrBytes::from_string(group.clone());
            let answer =
                client.call(ANY_BROKER, min, max, |_| FindCoordinatorRequest::default().with_key(key))?;
            if answer.error_code == 0 {
                self.coordinators.insert(group.clone(), answer.node_id.0);
            }
        }
        Ok(())
    }

    fn observe(&mut self) -> Result<(), AdminError> {
        if !self.is_observed {
            self.admin.observe()?;
            self.is_observed = true;
        }
        Ok(())
    }
}

fn all_partitions(admin: &Admin) -> Vec<OffsetFetchRequestTopic> {
    let topics = admin.observed().topics.iter().map(|(name, topic)| {
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        OffsetFetchRequestTopic::default()
            .with_name(admin.on_wire(name))
            .with_partition_indexes((0..count).collect())
    });
    topics.collect()
}

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

fn committed(offset: i64, metadata: Option<StrBytes>) -> Committed {
    Committed { offset, metadata: metadata.map(|text| text.to_string()).unwrap_or_default() }
}
