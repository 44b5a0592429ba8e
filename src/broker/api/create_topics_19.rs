//! CreateTopics (19), versions 2 to 7. Assignments by hand are honoured; configs are checked by name and value.

use super::{Request, text};
use crate::broker::topic::{Partition, Topic, name_is_valid};
use crate::broker::topic_config::{TOPIC_CONFIGS, TopicConfig};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

/// Partitions that one topic may have here: more would only be a way to use up the memory.
pub(super) const PARTITIONS_PER_TOPIC_MAX: usize = 20_000;

/// A topic as it will be.
struct Plan {
    config: TopicConfig,
    partitions: Vec<Partition>,
}

impl Cluster {
    pub(super) fn create_topics(&mut self, request: &Request, body: CreateTopicsRequest) -> Option<Reply> {
        let fault = self.faults.take(request.api, request.node, "", 0);
        let results = body.topics.into_iter().map(|wanted| {
            let planned = match fault {
                Some((error, false)) => Err((error, String::new())),
                _ => self.plan_topic(&wanted),
            };
            let planned = planned.map(|plan| self.create_topic(&wanted.name, plan, body.validate_only));
            let result = CreatableTopicResult::default().with_name(wanted.name);
            match (planned, fault) {
                (Ok(_), Some((error, _))) => failed(result, error, ""),
                (Ok(created), None) => created,
                (Err((error, message)), _) => failed(result, error, &message),
            }
        });
        let results = results.collect();
        request.answer(&CreateTopicsResponse::default().with_topics(results))
    }

    fn plan_topic(&self, wanted: &CreatableTopic) -> Result<Plan, (ResponseError, String)> {
        let refuse = |error, message: &str| Err((error, message.to_owned()));
        if !name_is_valid(&wanted.name) {
            return refuse(ResponseError::InvalidTopicException, "The topic name is not valid.");
        }
        if self.topics.index_of(&wanted.name).is_some() {
            return refuse(ResponseError::TopicAlreadyExists, "The topic exists already.");
        }
        let mut config = TopicConfig::default();
        for entry in &wanted.configs {
            let Some(value) = &entry.value else { continue };
            config.set(&entry.name, value).map_err(|message| (ResponseError::InvalidConfig, message))?;
        }
        let partitions = if wanted.assignments.is_empty() {
            let count = match wanted.num_partitions {
                -1 => self.settings.partitions_default,
                count => usize::try_from(count).unwrap_or(0),
            };
            if count == 0 || count > PARTITIONS_PER_TOPIC_MAX {
                return refuse(ResponseError::InvalidPartitions, "The number of partitions is not possible.");
            }
            let replication = match wanted.replication_factor {
                -1 => self.settings.replication_factor,
                factor => usize::try_from(factor).unwrap_or(0),
            };
            if replication == 0 || replication > self.nodes.len() {
                return refuse(
                    ResponseError::InvalidReplicationFactor,
                    "The replication factor is larger than the number of brokers, or below 1.",
                );
            }
            (0..count).map(|at| Partition::new(self.assign(at, replication))).collect()
        } else {
            let mut assigned: Vec<_> = wanted.assignments.iter().collect();
            assigned.sort_by_key(|assignment| assignment.partition_index);
            let known = (0..).zip(&assigned).all(|(index, assignment)| {
                assignment.partition_index == index
                    && !assignment.broker_ids.is_empty()
                    && assignment.broker_ids.iter().all(|id| self.nodes.contains_key(&id.0))
            });
            if !known || assigned.len() > PARTITIONS_PER_TOPIC_MAX {
                return refuse(ResponseError::InvalidReplicaAssignment, "The assignment is not possible.");
            }
            let replicas = assigned.iter().map(|it| it.broker_ids.iter().map(|id| id.0).collect());
            replicas.map(Partition::new).collect()
        };
        Ok(Plan { config, partitions })
    }

    fn create_topic(&mut self, name: &str, plan: Plan, validate_only: bool) -> CreatableTopicResult {
        let replication = plan.partitions.first().map_or(1, |partition| partition.replicas.len());
        let configs = TOPIC_CONFIGS.iter().map(|(key, ..)| {
            CreatableTopicConfigs::default()
                .with_name(text(key))
                .with_value(Some(text(plan.config.get(key))))
                .with_config_source(if plan.config.is_set(key) { 1 } else { 5 })
        });
        let result = CreatableTopicResult::default()
            .with_name(text(name).into())
            .with_num_partitions(i32::try_from(plan.partitions.len()).unwrap_or(i32::MAX))
            .with_replication_factor(i16::try_from(replication).unwrap_or(i16::MAX))
            .with_configs(Some(configs.collect()));
        if validate_only {
            return result;
        }
        let index = self.add_planned(name, plan.config, plan.partitions);
        result.with_topic_id(self.topics.get(index).map_or_else(Default::default, |topic: &Topic| topic.id))
    }
}

fn failed(result: CreatableTopicResult, error: ResponseError, message: &str) -> CreatableTopicResult {
    result
        .with_error_code(error.code())
        .with_error_message(Some(text(message)).filter(|message| !message.is_empty()))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}
