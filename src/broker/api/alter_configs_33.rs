//! AlterConfigs (33), versions 0 to 2: replaces all of a topic's configs. Brokers' configs cannot be changed.

use super::describe_configs_32::TOPIC_RESOURCE;
use super::{Request, text};
use crate::broker::topic_config::TopicConfig;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

impl Cluster {
    pub(super) fn alter_configs(&mut self, request: &Request, body: AlterConfigsRequest) -> Option<Reply> {
        let responses = body.resources.into_iter().map(|resource| {
            let changed = self.change_config(
                resource.resource_type,
                &resource.resource_name,
                body.validate_only,
                |config| {
                    *config = TopicConfig::default();
                    let mut values =
                        resource.configs.iter().filter_map(|it| Some((&it.name, it.value.as_ref()?)));
                    values.try_for_each(|(name, value)| config.set(name, value))
                },
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
        request.answer(&AlterConfigsResponse::default().with_responses(responses))
    }

    /// Changes a topic's configs, all or nothing.
    pub(super) fn change_config(
        &mut self,
        resource_type: i8,
        resource_name: &str,
        validate_only: bool,
        change: impl FnOnce(&mut TopicConfig) -> Result<(), String>,
    ) -> Result<(), (ResponseError, String)> {
        if resource_type != TOPIC_RESOURCE {
            let message = "A synthetic cluster's brokers are configured by its settings.";
            return Err((ResponseError::InvalidRequest, message.to_owned()));
        }
        let index = self.topics.index_of(resource_name);
        let topic = index.and_then(|index| self.topics.get_mut(index));
        let Some(topic) = topic else {
            let message = format!("The topic '{resource_name}' does not exist.");
            return Err((ResponseError::UnknownTopicOrPartition, message));
        };
        let mut config = topic.config.clone();
        change(&mut config).map_err(|message| (ResponseError::InvalidConfig, message))?;
        if !validate_only {
            topic.config = config;
        }
        Ok(())
    }
}
