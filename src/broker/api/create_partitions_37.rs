//! CreatePartitions (37), versions 0 to 3. The new partitions' leaders go round the brokers, or are those of the assignment.

use super::create_topics_19::PARTITIONS_PER_TOPIC_MAX;
use super::{Request, text};
use crate::broker::topic::Partition;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

impl Cluster {
    pub(super) fn create_partitions(
        &mut self,
        request: &Request,
        body: CreatePartitionsRequest,
    ) -> Option<Reply> {
        let results = body.topics.into_iter().map(|wanted| {
            let grown = self.grow(&wanted, body.validate_only);
            let result = CreatePartitionsTopicResult::default().with_name(wanted.name);
            match grown {
                Ok(()) => result,
                Err((error, message)) => {
                    result.with_error_code(error.code()).with_error_message(Some(text(message)))
                }
            }
        });
        let results = results.collect();
        request.answer(&CreatePartitionsResponse::default().with_results(results))
    }

    fn grow(
        &mut self,
        wanted: &CreatePartitionsTopic,
        validate_only: bool,
    ) -> Result<(), (ResponseError, &'static str)> {
        let unknown = (ResponseError::UnknownTopicOrPartition, "The topic does not exist.");
        let index = self.topics.index_of(&wanted.name).ok_or(unknown)?;
        let topic = self.topics.get(index).ok_or(unknown)?;
        let (now, replication) =
            (topic.partitions.len(), topic.partitions.first().map_or(1, |it| it.replicas.len()));
        let count = usize::try_from(wanted.count).unwrap_or(0);
        if count <= now || count > PARTITIONS_PER_TOPIC_MAX {
            let message = "The number of partitions can only grow, and not beyond what a topic may have.";
            return Err((ResponseError::InvalidPartitions, message));
        }
        let added: Vec<Partition> = match &wanted.assignments {
            None => (now..count).map(|at| Partition::new(self.assign(at, replication))).collect(),
            Some(assignments) => {
                let known = assignments.len() == count - now
                    && assignments.iter().all(|assignment| {
                        !assignment.broker_ids.is_empty()
                            && assignment.broker_ids.iter().all(|id| self.nodes.contains_key(&id.0))
                    });
                if !known {
                    let message = "The assignment names unknown brokers or not all new partitions.";
                    return Err((ResponseError::InvalidReplicaAssignment, message));
                }
                let replicas = assignments.iter().map(|it| it.broker_ids.iter().map(|id| id.0).collect());
                replicas.map(Partition::new).collect()
            }
        };
        if !validate_only && let Some(topic) = self.topics.get_mut(index) {
            topic.partitions.extend(added);
        }
        Ok(())
    }
}
