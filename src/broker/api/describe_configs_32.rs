//! DescribeConfigs (32), versions 1 to 4: topics, and brokers with what matters to a mirror.

use super::{Request, text};
use crate::broker::topic_config::{Kind, TOPIC_CONFIGS};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

/// Kafka's `ConfigResource.Type` and `ConfigSource`.
pub(super) const TOPIC_RESOURCE: i8 = 2;
pub(super) const BROKER_RESOURCE: i8 = 4;
const TOPIC_SOURCE: i8 = 1;
const STATIC_BROKER_SOURCE: i8 = 4;
const DEFAULT_SOURCE: i8 = 5;

impl Cluster {
    pub(super) fn describe_configs(
        &mut self,
        request: &Request,
        body: DescribeConfigsRequest,
    ) -> Option<Reply> {
        let fault = self.faults.take(request.api, request.node, "", 0);
        let results = body.resources.into_iter().map(|resource| {
            let found = match fault {
                Some((error, _)) => Err(error),
                None => self.configs(&resource),
            };
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name);
            match found {
                Err(error) => result.with_error_code(error.code()),
                Ok(mut configs) => {
                    if let Some(keys) = resource.configuration_keys {
                        configs.retain(|config| keys.contains(&config.name));
                    }
                    result.with_configs(configs)
                }
            }
        });
        let results = results.collect();
        request.answer(&DescribeConfigsResponse::default().with_results(results))
    }

    fn configs(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
        match resource.resource_type {
            TOPIC_RESOURCE => {
                let index = self.topics.index_of(&resource.resource_name);
                let topic = index.and_then(|index| self.topics.get(index));
                let config = &topic.ok_or(ResponseError::UnknownTopicOrPartition)?.config;
                let all = TOPIC_CONFIGS.iter().map(|&(name, _, kind)| {
                    let source = if config.is_set(name) { TOPIC_SOURCE } else { DEFAULT_SOURCE };
                    described(name, config.get(name), kind, source)
                });
                Ok(all.collect())
            }
            BROKER_RESOURCE => {
                let node = resource.resource_name.parse::<i32>();
                let known = node.is_ok_and(|node| self.nodes.contains_key(&node));
                if !known {
                    // The cluster-wide default resource ("") holds dynamic configs only: there are none.
                    return if resource.resource_name.is_empty() {
                        Ok(Vec::new())
                    } else {
                        Err(ResponseError::InvalidRequest)
                    };
                }
                let settings = &self.settings;
                let numbers = [
                    ("producer.id.expiration.ms", settings.producer_id_expiration_ms, Kind::Int),
                    ("message.max.bytes", 1_048_588, Kind::Int),
                    ("default.replication.factor", as_i64(settings.replication_factor), Kind::Int),
                    ("num.partitions", as_i64(settings.partitions_default), Kind::Int),
                    ("min.insync.replicas", 1, Kind::Int),
                    ("log.retention.bytes", -1, Kind::Long),
                    ("log.retention.ms", -1, Kind::Long),
                ];
                let numbers = numbers.into_iter().map(|(name, value, kind)| {
                    described(name, &value.to_string(), kind, STATIC_BROKER_SOURCE)
                });
                let auto_create = settings.auto_create_topics.to_string();
                let create = "auto.create.topics.enable";
                let auto_create = described(create, &auto_create, Kind::Boolean, STATIC_BROKER_SOURCE);
                Ok(numbers.chain([auto_create]).collect())
            }
            _ => Err(ResponseError::InvalidRequest),
        }
    }
}

fn described(name: &str, value: &str, kind: Kind, source: i8) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_read_only(source == STATIC_BROKER_SOURCE)
        .with_config_source(source)
        .with_config_type(kind as i8)
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
