//! IncrementalAlterConfigs (44), versions 0 and 1: topics' configs, by SET, DELETE, APPEND and SUBTRACT.

use super::{Request, text};
use crate::broker::topic_config::TopicConfig;
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

impl Cluster {
    pub(super) fn incremental_alter_configs(
        &mut self,
        request: &Request,
        body: IncrementalAlterConfigsRequest,
    ) -> Option<Reply> {
        let responses = body.resources.into_iter().map(|resource| {
            let changed = self.change_config(
                resource.resource_type,
                &resource.resource_name,
                body.validate_only,
                |config| resource.configs.iter().try_for_each(|change| apply(config, change)),
            );
            let response = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name);
            match changed {
                Ok(()) => response,
                Err((error, message)) => {
                    response.with_error_code(error.code()).with_error_message(Some(text(&message)))
                }
            }
        });
        let responses = responses.collect();
        request.answer(&IncrementalAlterConfigsResponse::default().with_responses(responses))
    }
}

fn apply(config: &mut TopicConfig, change: &AlterableConfig) -> Result<(), String> {
    let value = change.value.as_deref().unwrap_or_default();
    let parts = |of: &str| -> Vec<String> {
        of.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    let mut list = parts(config.get(&change.name));
    match change.config_operation {
        0 => config.set(&change.name, value),
        1 => {
            config.unset(&change.name);
            Ok(())
        }
        2 => {
            list.extend(parts(value));
            list.dedup();
            config.set(&change.name, &list.join(","))
        }
        3 => {
            let taken = parts(value);
            list.retain(|part| !taken.contains(part));
            config.set(&change.name, &list.join(","))
        }
        other => Err(format!("Unknown operation {other}")),
    }
}
