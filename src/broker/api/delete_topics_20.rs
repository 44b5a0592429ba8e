//! DeleteTopics (20), versions 1 to 6 (by id from 6 on).

use super::Request;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

impl Cluster {
    pub(super) fn delete_topics(&mut self, request: &Request, body: DeleteTopicsRequest) -> Option<Reply> {
        let wanted = if request.version >= 6 {
            body.topics
        } else {
            let names = body.topic_names.into_iter();
            names.map(|name| DeleteTopicState::default().with_name(Some(name))).collect()
        };
        let results = wanted.into_iter().map(|wanted| {
            let (index, unknown) = match &wanted.name {
                Some(name) => (self.topics.index_of(name), ResponseError::UnknownTopicOrPartition),
                None => (self.topics.index_of_id(&wanted.topic_id), ResponseError::UnknownTopicId),
            };
            let result =
                DeletableTopicResult::default().with_name(wanted.name).with_topic_id(wanted.topic_id);
            let topic = index.and_then(|index| Some((index, self.topics.get(index)?)));
            let Some((index, topic)) = topic else { return result.with_error_code(unknown.code()) };
            let result = result.with_name(Some(topic.name.clone())).with_topic_id(topic.id);
            self.delete_topic(index);
            result
        });
        let results = results.collect();
        request.answer(&DeleteTopicsResponse::default().with_responses(results))
    }
}
