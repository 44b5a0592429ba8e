//! What control asks a cluster, one blocking question at a time: metadata, configs, new topics, offsets. Topics have the link's
//! names here, and the cluster's only in requests and answers.

use super::client::{ANY_BROKER, ClientError, ClusterClient};
use crate::config::{Cluster, Isolation, StartFrom, TopicNames};
use crate::control::config_sync::Changes;
use crate::control::configs::{self, TopicConfigs};
use crate::control::forecast::rights::{self, Operations};
use crate::control::metadata::Observed;
use crate::error;
use crate::wire::legacy::requests::{self, BEFORE_ALL};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    ListOffsetsRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

const METADATA: (i16, i16) = (0, 12);
/// From here on no topic is made by being asked for.
const METADATA_HARMLESS_MIN: i16 = 4;
const CREATE_TOPICS: (i16, i16) = (2, 7);
/// The versions that name topics.
const DELETE_TOPICS: (i16, i16) = (1, 5);
const DELETE_TOPICS_BY_ID: (i16, i16) = (6, 6);
const CREATE_PARTITIONS: (i16, i16) = (0, 3);
const DESCRIBE_CONFIGS_KEY: i16 = 32;
const DESCRIBE_CONFIGS: (i16, i16) = (0, 4);
const LIST_OFFSETS_KEY: i16 = 2;
const LIST_OFFSETS: (i16, i16) = (0, 7);
/// From here on with an isolation level.
const LIST_OFFSETS_ISOLATION_MIN: i16 = 2;
const OFFSET_FOR_LEADER_EPOCH_KEY: i16 = 23;
const INCREMENTAL_ALTER_CONFIGS: (i16, i16) = (0, 1);
/// Kafka's `AlterConfigOp.OpType`.
const SET_CONFIG: i8 = 0;
const DELETE_CONFIG: i8 = 1;
const DELETE_RECORDS: (i16, i16) = (0, 2);
const WRITE_TXN_MARKERS_KEY: i16 = 27;
const DESCRIBE_CLUSTER_KEY: i16 = 60;
const DESCRIBE_CLUSTER: (i16, i16) = (0, 1);
const LEADER_NOT_AVAILABLE: i16 = 5;
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const EXPIRATION_KEY: &str = "producer.id.expiration.ms";
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const ALTER_TIMEOUT_MS: i32 = 15_000;
/// Resources in one DescribeConfigs request, topics in one ListOffsets request.
const CHUNK: usize = 500;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{what}: {}: {}", error::name(*code), error::advice(*code))]
    Refused { what: String, code: i16 },
    #[error("the broker left out {0}")]
    Missing(&'static str),
    #[error("the link's state topic cannot be read: {0}")]
    Unreadable(String),
    #[error("dead letters cannot be put together: {0}")]
    Unwritable(String),
}

impl AdminError {
    pub(super) fn missing(what: &'static str) -> Self {
        Self::Missing(what)
    }

    /// Whether the cluster did not let us in. At the start that is an error of the settings; later somebody may be about to change
    /// a password on both sides.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Client(ClientError::Denied { .. }))
    }

    /// Whether the same may go well a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Client(error) => {
                !matches!(error, ClientError::Unsupported { .. } | ClientError::NotKafka { .. })
            }
            Self::Refused { code, .. } => error::is_retriable(*code),
            Self::Missing(_) => true,
            Self::Unreadable(_) | Self::Unwritable(_) => false,
        }
    }
}

/// Ok for no error.
pub(super) fn check(code: i16, what: &str) -> Result<(), AdminError> {
    if code == 0 { Ok(()) } else { Err(AdminError::Refused { what: what.to_owned(), code }) }
}

/// One cluster, and what was last seen of it.
pub struct Admin {
    client: ClusterClient,
    names: TopicNames,
    observed: Observed,
    /// Something suggested that what was observed is out of date.
    is_stale: bool,
}

impl Admin {
    pub fn new(cluster: &Cluster, client_id: &str, timeout: Duration) -> Self {
        Self {
            client: ClusterClient::new(cluster, client_id, timeout),
            names: cluster.names.clone(),
            observed: Observed::default(),
            is_stale: true,
        }
    }

    pub(super) fn client(&mut self) -> &mut ClusterClient {
        &mut self.client
    }

    /// The cluster's name for one of the link's topics.
    pub(super) fn on_wire(&self, topic: &str) -> TopicName {
        TopicName(self.text_on_wire(topic))
    }

    fn text_on_wire(&self, topic: &str) -> StrBytes {
        StrBytes::from_string(self.names.on_cluster(topic).into_owned())
    }

    /// The link's name for one of the cluster's topics. None: it is none of the link's.
    pub(super) fn in_link(&self, name: &str) -> Option<String> {
        self.names.in_link(name).map(ToOwned::to_owned)
    }

    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Reads the metadata of the whole cluster.
    pub fn observe(&mut self) -> Result<&Observed, AdminError> {
        let (min, max) = METADATA;
        let answer = self.client.call(ANY_BROKER, min, max, |version| Observed::request(version, None))?;
        self.observed = Observed::read(&answer).in_link(&self.names);
        self.is_stale = false;
        self.client.set_brokers(self.observed.brokers.clone());
        Ok(&self.observed)
    }

    /// Which Kafka the cluster is, if that is too old to be mirrored to.
    pub fn too_old(&mut self) -> Result<Option<&'static str>, AdminError> {
        let versions = self.client.client(ANY_BROKER)?.versions();
        let needed = [
            (LIST_OFFSETS_KEY, crate::shard::LIST_OFFSETS),
            (OFFSET_FOR_LEADER_EPOCH_KEY, crate::shard::OFFSET_FOR_LEADER_EPOCH),
        ];
        let lacks = |&(api_key, (min, max)): &(i16, (i16, i16))| versions.pick(api_key, min, max).is_none();
        Ok(needed.iter().any(lacks).then(|| versions.kafka()))
    }

    /// The broker that leads a partition, looked up anew after an error.
    pub(super) fn leader(&mut self, topic: &str, partition: usize) -> Result<i32, AdminError> {
        if self.is_stale {
            self.observe()?;
        }
        let found = self.observed.topics.get(topic).and_then(|topic| topic.partitions.get(partition));
        match found.map(|partition| partition.leader) {
            Some(leader) if leader >= 0 => Ok(leader),
            _ => {
                self.is_stale = true;
                Err(AdminError::Refused {
                    what: format!("looking for the leader of {topic}-{partition}"),
                    code: 5,
                })
            }
        }
    }

    /// Something else than a call went wrong.
    pub(super) fn look_up_leaders_again(&mut self) {
        self.is_stale = true;
    }

    /// Passes a result on; an error means that the leaders are to be looked up again.
    pub(super) fn noted<T>(&mut self, result: Result<T, ClientError>) -> Result<T, AdminError> {
        self.note(result.map_err(AdminError::from))
    }

    pub(super) fn note<T>(&mut self, result: Result<T, AdminError>) -> Result<T, AdminError> {
        self.is_stale |= result.is_err();
        result
    }

    /// Whether the cluster describes configs at all; before Kafka 0.11 it does not.
    pub fn tells_configs(&mut self) -> Result<bool, AdminError> {
        let (min, max) = DESCRIBE_CONFIGS;
        Ok(self.client.client(ANY_BROKER)?.versions().pick(DESCRIBE_CONFIGS_KEY, min, max).is_some())
    }

    /// The configs of topics. Those that the cluster does not describe to us are left out; where it describes none, they are empty.
    pub fn topic_configs<'a>(
        &mut self,
        topics: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, TopicConfigs>, AdminError> {
        if !self.tells_configs()? {
            let none = |topic: &str| (topic.to_owned(), TopicConfigs::default());
            return Ok(topics.into_iter().map(none).collect());
        }
        let resources: Vec<DescribeConfigsResource> = topics
            .into_iter()
            .map(|topic| {
                DescribeConfigsResource::default()
                    .with_resource_type(TOPIC_RESOURCE)
                    .with_resource_name(self.text_on_wire(topic))
                    .with_configuration_keys(None)
            })
            .collect();
        let mut configs = BTreeMap::new();
        for chunk in resources.chunks(CHUNK) {
            let answer = self.describe(ANY_BROKER, chunk.to_vec())?;
            for (name, described) in TopicConfigs::read(&answer) {
                let Some(topic) = self.in_link(&name) else { continue };
                match described {
                    Ok(described) => {
                        configs.insert(topic, described);
                    }
                    Err((code, message)) => tracing::warn!(
                        topic,
                        message,
                        "cannot describe the topic's configs: {}: {}",
                        error::name(code),
                        error::advice(code)
                    ),
                }
            }
        }
        Ok(configs)
    }

    /// What [`configs::replica_selector`] finds at one of the brokers.
    pub fn replica_selector(&mut self) -> Result<Option<String>, AdminError> {
        let Some(&broker) = self.observed.brokers.keys().next() else { return Ok(None) };
        let answer = self.describe(broker, vec![broker_setting(broker, configs::REPLICA_SELECTOR)])?;
        Ok(configs::replica_selector(&answer))
    }

    /// The smallest static `producer.id.expiration.ms` of the cluster's brokers: that is what holds when logs are loaded.
    /// None if a broker does not tell.
    pub fn producer_id_expiration_ms(&mut self) -> Result<Option<i64>, AdminError> {
        let brokers: Vec<i32> = self.observed.brokers.keys().copied().collect();
        let mut smallest = None;
        for broker in brokers {
            let answer = self.describe(broker, vec![broker_setting(broker, EXPIRATION_KEY)])?;
            let Some(expiration_ms) = configs::producer_id_expiration_ms(&answer) else { return Ok(None) };
            smallest = Some(smallest.map_or(expiration_ms, |smallest: i64| smallest.min(expiration_ms)));
        }
        Ok(smallest)
    }

    fn describe(
        &mut self,
        broker: i32,
        resources: Vec<DescribeConfigsResource>,
    ) -> Result<DescribeConfigsResponse, AdminError> {
        let (min, max) = DESCRIBE_CONFIGS;
        let request = DescribeConfigsRequest::default().with_resources(resources).with_include_synonyms(true);
        let answer = self.client.call_by(
            broker,
            (DESCRIBE_CONFIGS_KEY, min, max),
            |version, id, client_id| requests::describe_configs(&request, version, id, client_id),
            requests::describe_configs_answer,
        );
        Ok(answer?)
    }

    /// Creates a topic. One that exists already is as good as created.
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &BTreeMap<String, String>,
    ) -> Result<(), AdminError> {
        self.is_stale = true;
        match self.create(name, partitions, replication_factor, configs, false) {
            Ok(_) | Err(AdminError::Refused { code: TOPIC_ALREADY_EXISTS, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What [`Self::create_topic`] would come to: the settings that the topic would have, as far as the brokers tell.
    pub fn would_create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &BTreeMap<String, String>,
    ) -> Result<Option<TopicConfigs>, AdminError> {
        let created = self.create(name, partitions, replication_factor, configs, true)?;
        Ok(TopicConfigs::of_created(&created))
    }

    fn create(
        &mut self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<CreatableTopicResult, AdminError> {
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(key.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
        });
        let topic = CreatableTopic::default()
            .with_name(self.on_wire(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor)
            .with_configs(configs.collect());
        let (min, max) = CREATE_TOPICS;
        let controller = self.controller();
        let answer = self.client.call(controller, min, max, |_| {
            CreateTopicsRequest::default()
                .with_topics(vec![topic])
                .with_timeout_ms(ALTER_TIMEOUT_MS)
                .with_validate_only(validate_only)
        })?;
        let Some(result) = answer.topics.into_iter().next() else {
            return Err(AdminError::missing("the topic to create"));
        };
        let said = said(result.error_message.as_deref());
        let name = self.text_on_wire(name);
        check(result.error_code, &format!("creating topic {name} on the target{said}"))?;
        Ok(result)
    }

    /// Deletes topics. Those that are not there are as good as deleted.
    pub fn delete_topics(&mut self, names: &[String]) -> Result<(), AdminError> {
        let topics = names.iter().map(|name| self.on_wire(name)).collect();
        let (min, max) = DELETE_TOPICS;
        let controller = self.controller();
        let answer = self.client.call(controller, min, max, |_| {
            DeleteTopicsRequest::default().with_topic_names(topics).with_timeout_ms(ALTER_TIMEOUT_MS)
        })?;
        self.is_stale = true;
        let refused = answer
            .responses
            .iter()
            .find(|topic| ![0, UNKNOWN_TOPIC_OR_PARTITION].contains(&topic.error_code));
        refused.map_or(Ok(()), |topic| {
            let name = topic.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default();
            check(topic.error_code, &format!("deleting topic {name}"))
        })
    }

    /// Deletes the topic that has this id (Kafka 2.8), and none that has been made under its name since.
    pub fn delete_topic(&mut self, topic: &str, id: Uuid) -> Result<(), AdminError> {
        let (min, max) = DELETE_TOPICS_BY_ID;
        let controller = self.controller();
        let answer = self.client.call(controller, min, max, |_| {
            let topic = DeleteTopicState::default().with_name(None).with_topic_id(id);
            DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(ALTER_TIMEOUT_MS)
        })?;
        self.is_stale = true;
        let code =
            answer.responses.first().ok_or(AdminError::Missing("what became of the topic"))?.error_code;
        if code == UNKNOWN_TOPIC_ID { Ok(()) } else { check(code, &format!("deleting topic {topic}")) }
    }

    /// Those of the topics that no broker has, by the word of each. Of one that this user may not see they do not say so.
    pub fn missing_everywhere(&mut self, topics: &[&str]) -> Result<BTreeSet<String>, AdminError> {
        let names: Vec<String> = topics.iter().map(|topic| self.text_on_wire(topic).to_string()).collect();
        let brokers: Vec<i32> = self.observed.brokers.keys().copied().collect();
        let mut missing: BTreeSet<String> = topics.iter().map(|&topic| topic.to_owned()).collect();
        let (_, max) = METADATA;
        for &broker in &brokers {
            // Earlier versions may make the topics.
            let ask = |version| Observed::request(version, Some(&names));
            let answer = self.client.call(broker, METADATA_HARMLESS_MIN, max, ask)?;
            let unknown = answer.topics.iter().filter(|topic| topic.error_code == UNKNOWN_TOPIC_OR_PARTITION);
            let unknown = unknown.filter_map(|topic| self.in_link(topic.name.as_ref()?));
            let unknown: BTreeSet<String> = unknown.collect();
            missing.retain(|topic| unknown.contains(topic));
        }
        // Nobody was asked.
        if brokers.is_empty() {
            missing.clear();
        }
        Ok(missing)
    }

    /// Grows a topic to `count` partitions; or only asks whether that would go well.
    pub fn add_partitions(&mut self, name: &str, count: i32, validate_only: bool) -> Result<(), AdminError> {
        let topic = CreatePartitionsTopic::default()
            .with_name(self.on_wire(name))
            .with_count(count)
            .with_assignments(None);
        let (min, max) = CREATE_PARTITIONS;
        let controller = self.controller();
        let answer = self.client.call(controller, min, max, |_| {
            CreatePartitionsRequest::default()
                .with_topics(vec![topic])
                .with_timeout_ms(ALTER_TIMEOUT_MS)
                .with_validate_only(validate_only)
        })?;
        self.is_stale |= !validate_only;
        let Some(result) = answer.results.first() else {
            return Err(AdminError::missing("the topic to grow"));
        };
        let said = said(result.error_message.as_deref());
        let name = self.text_on_wire(name);
        check(result.error_code, &format!("adding partitions to topic {name} on the target{said}"))
    }

    /// Changes topics' settings. Returns each topic's error code (0 for none), and the broker's own words on it.
    pub fn alter_topic_configs(
        &mut self,
        changes: &BTreeMap<String, Changes>,
    ) -> Result<Vec<(String, i16, String)>, AdminError> {
        let entry = |name: &str, value: Option<&str>| {
            AlterableConfig::default()
                .with_name(StrBytes::from_string(name.to_owned()))
                .with_config_operation(if value.is_some() { SET_CONFIG } else { DELETE_CONFIG })
                .with_value(value.map(|value| StrBytes::from_string(value.to_owned())))
        };
        let resource = |(topic, changes): (&String, &Changes)| {
            let set = changes.set.iter().map(|(name, value)| entry(name, Some(value)));
            let delete = changes.delete.iter().map(|name| entry(name, None));
            AlterConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(self.text_on_wire(topic))
                .with_configs(set.chain(delete).collect())
        };
        let resources: Vec<AlterConfigsResource> = changes.iter().map(resource).collect();
        let mut results = Vec::new();
        for chunk in resources.chunks(CHUNK) {
            let (min, max) = INCREMENTAL_ALTER_CONFIGS;
            let answer = self.client.call(ANY_BROKER, min, max, |_| {
                IncrementalAlterConfigsRequest::default().with_resources(chunk.to_vec())
            })?;
            results.extend(answer.responses.iter().filter_map(|topic| {
                let said = said(topic.error_message.as_deref().filter(|said| !said.is_empty()));
                Some((self.in_link(&topic.resource_name)?, topic.error_code, said))
            }));
        }
        Ok(results)
    }

    /// Older clusters alter topics at the controller only; newer brokers forward.
    pub(super) fn controller(&self) -> i32 {
        let controller = self.observed.controller;
        if self.observed.brokers.contains_key(&controller) { controller } else { ANY_BROKER }
    }

    /// Why this user may not write control records into partitions, if so.
    pub fn cannot_fill(&mut self) -> Result<Option<String>, AdminError> {
        let versions = self.client.client(ANY_BROKER)?.versions();
        if versions.pick(WRITE_TXN_MARKERS_KEY, 1, 1).is_none() {
            return Ok(Some("it does not know WriteTxnMarkers version 1 (Kafka 2.8 and later do)".into()));
        }
        Ok(rights::cannot_fill(self.cluster_operations()?))
    }

    /// What this user may do with the cluster. Where brokers do not tell, doing it does.
    pub fn cluster_operations(&mut self) -> Result<Operations, AdminError> {
        let (min, max) = DESCRIBE_CLUSTER;
        if self.client.client(ANY_BROKER)?.versions().pick(DESCRIBE_CLUSTER_KEY, min, max).is_none() {
            return Ok(Operations::UNKNOWN);
        }
        let answer = self.client.call(ANY_BROKER, min, max, |_| {
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(true)
        })?;
        check(answer.error_code, "asking what this user may do with the cluster (DescribeCluster)")?;
        Ok(Operations::from_bits(answer.cluster_authorized_operations))
    }

    /// Deletes the records of partitions below the offsets given. Returns what could not be done, with the error code.
    pub fn delete_records(&mut self, ends: &BTreeMap<(String, i32), i64>) -> Vec<((String, i32), i16)> {
        let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<DeleteRecordsPartition>>> = BTreeMap::new();
        let mut failed = Vec::new();
        for ((topic, partition), &offset) in ends {
            match self.leader(topic, usize::try_from(*partition).unwrap_or(usize::MAX)) {
                Ok(leader) => {
                    let end = DeleteRecordsPartition::default()
                        .with_partition_index(*partition)
                        .with_offset(offset);
                    by_leader.entry(leader).or_default().entry(topic).or_default().push(end);
                }
                Err(_) => failed.push(((topic.clone(), *partition), LEADER_NOT_AVAILABLE)),
            }
        }
        for (leader, topics) in by_leader {
            let asked: Vec<(String, i32)> = topics
                .iter()
                .flat_map(|(topic, ends)| ends.iter().map(|end| ((*topic).to_owned(), end.partition_index)))
                .collect();
            let topics = topics.into_iter().map(|(topic, ends)| {
                DeleteRecordsTopic::default().with_name(self.on_wire(topic)).with_partitions(ends)
            });
            let topics = topics.collect();
            let (min, max) = DELETE_RECORDS;
            let answer = self.client.call(leader, min, max, |_| {
                DeleteRecordsRequest::default().with_topics(topics).with_timeout_ms(ALTER_TIMEOUT_MS)
            });
            match self.noted(answer) {
                Err(_) => failed.extend(asked.into_iter().map(|place| (place, LEADER_NOT_AVAILABLE))),
                Ok(answer) => {
                    for topic in &answer.topics {
                        let Some(name) = self.in_link(&topic.name) else { continue };
                        let bad = topic.partitions.iter().filter(|partition| partition.error_code != 0);
                        failed.extend(bad.map(|partition| {
                            ((name.clone(), partition.partition_index), partition.error_code)
                        }));
                    }
                }
            }
        }
        failed
    }

    /// Where partitions' logs begin, asked of their leaders. What cannot be asked now is left out.
    pub fn start_offsets(&mut self, partitions: &[(String, i32)]) -> BTreeMap<(String, i32), i64> {
        self.offsets(partitions, EARLIEST, Isolation::ReadCommitted)
    }

    /// The ends of partitions' decided data, asked of their leaders. What cannot be asked now is left out.
    pub fn end_offsets(&mut self, partitions: &[(String, i32)]) -> BTreeMap<(String, i32), i64> {
        self.offsets(partitions, LATEST, Isolation::ReadCommitted)
    }

    /// The ends of what is read with that isolation.
    pub fn end_offsets_of(
        &mut self,
        partitions: &[(String, i32)],
        isolation: Isolation,
    ) -> BTreeMap<(String, i32), i64> {
        self.offsets(partitions, LATEST, isolation)
    }

    /// The first records of a time or later; -1 for a partition that has none, or that does not know (before Kafka 0.10.1 brokers
    /// know only when a segment was written to). What cannot be asked now is left out.
    pub fn offsets_since(
        &mut self,
        partitions: &[(String, i32)],
        timestamp_ms: i64,
    ) -> BTreeMap<(String, i32), i64> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            partitions.iter().cloned().partition(|(topic, partition)| self.knows_times(topic, *partition));
        let mut since = self.offsets(&known, timestamp_ms.max(0), Isolation::ReadCommitted);
        since.extend(unknown.into_iter().map(|place| (place, -1)));
        since.values_mut().for_each(|offset| *offset = (*offset).max(-1));
        since
    }

    /// Whether a partition's leader finds records by their time.
    fn knows_times(&mut self, topic: &str, partition: i32) -> bool {
        let Ok(leader) = self.leader(topic, usize::try_from(partition).unwrap_or(usize::MAX)) else {
            return true;
        };
        let client = self.client.client(leader);
        client.is_ok_and(|client| client.versions().pick(LIST_OFFSETS_KEY, 1, LIST_OFFSETS.1).is_some())
    }

    /// Where partitions are read from that were never mirrored.
    pub fn begin_offsets(
        &mut self,
        partitions: &[(String, i32)],
        from: StartFrom,
    ) -> BTreeMap<(String, i32), i64> {
        match from {
            StartFrom::Earliest => self.start_offsets(partitions),
            StartFrom::Latest => self.end_offsets(partitions),
            StartFrom::TimestampMs(timestamp_ms) => {
                let mut begins = self.offsets(partitions, timestamp_ms.max(0), Isolation::ReadCommitted);
                let with = |begins: &BTreeMap<_, _>, wanted: fn(i64) -> bool| -> Vec<(String, i32)> {
                    let found = begins.iter().filter(|(_, offset)| wanted(**offset));
                    found.map(|(place, _): (&(String, i32), _)| place.clone()).collect()
                };
                let before_all = with(&begins, |offset| offset == BEFORE_ALL);
                let none = with(&begins, |offset| offset < 0 && offset != BEFORE_ALL);
                begins.extend(self.start_offsets(&before_all));
                begins.extend(self.end_offsets(&none));
                begins
            }
        }
    }

    fn offsets(
        &mut self,
        partitions: &[(String, i32)],
        timestamp: i64,
        isolation: Isolation,
    ) -> BTreeMap<(String, i32), i64> {
        let isolation_level = match isolation {
            Isolation::ReadCommitted => READ_COMMITTED,
            Isolation::ReadUncommitted => READ_UNCOMMITTED,
        };
        let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for (topic, partition) in partitions {
            if let Ok(leader) = self.leader(topic, usize::try_from(*partition).unwrap_or(usize::MAX)) {
                by_leader.entry(leader).or_default().entry(topic).or_default().push(*partition);
            }
        }
        let mut ends = BTreeMap::new();
        for (leader, topics) in by_leader {
            let topics: Vec<ListOffsetsTopic> = topics
                .into_iter()
                .map(|(topic, partitions)| {
                    let partitions = partitions.into_iter().map(|partition| {
                        ListOffsetsPartition::default()
                            .with_partition_index(partition)
                            .with_timestamp(timestamp)
                    });
                    ListOffsetsTopic::default()
                        .with_name(self.on_wire(topic))
                        .with_partitions(partitions.collect())
                })
                .collect();
            for chunk in topics.chunks(CHUNK) {
                let (min, max) = LIST_OFFSETS;
                let request =
                    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(chunk.to_vec());
                let answer = self.client.call_by(
                    leader,
                    (LIST_OFFSETS_KEY, min, max),
                    |version, id, client_id| {
                        let isolated = version >= LIST_OFFSETS_ISOLATION_MIN;
                        let level = if isolated { isolation_level } else { READ_UNCOMMITTED };
                        let request = request.with_isolation_level(level);
                        requests::list_offsets(&request, version, id, client_id)
                    },
                    requests::list_offsets_answer,
                );
                let Ok(answer) = self.noted(answer) else { continue };
                for topic in &answer.topics {
                    let Some(name) = self.in_link(&topic.name) else { continue };
                    for partition in &topic.partitions {
                        let offset = match partition.error_code {
                            0 => partition.offset,
                            error::UNSUPPORTED_FOR_MESSAGE_FORMAT => BEFORE_ALL,
                            _ => continue,
                        };
                        ends.insert((name.clone(), partition.partition_index), offset);
                    }
                }
            }
        }
        ends
    }
}

/// One setting of a broker, to be described.
fn broker_setting(broker: i32, key: &'static str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(BROKER_RESOURCE)
        .with_resource_name(StrBytes::from_string(broker.to_string()))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str(key)]))
}

/// The broker's own words on an error, to be put behind what was tried.
fn said(message: Option<&str>) -> String {
    message.map(|message| format!(" (it says: {message})")).unwrap_or_default()
}
