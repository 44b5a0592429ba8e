//! AddPartitionsToTxn (24), versions 0 to 3: those that producers use. Later ones are for brokers among themselves.

use super::Request;
use crate::broker::transactions::{Claim, Place};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

/// From this version on requests are told PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

impl Cluster {
    /// All of the partitions are added, or none.
    pub(super) fn add_partitions_to_txn(
        &mut self,
        request: &Request,
        body: AddPartitionsToTxnRequest,
    ) -> Option<Reply> {
        let topics = body.v3_and_below_topics;
        let places: Vec<Place> = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|&partition| (topic.name.to_string(), partition)))
            .collect();
        let is_known = |topic: &str, partition| self.topics.key(topic, partition).is_some();
        let all_known = places.iter().all(|(topic, partition)| is_known(topic, *partition));
        let error = if all_known {
            let claim = Claim {
                transactional_id: &body.v3_and_below_transactional_id,
                producer_id: body.v3_and_below_producer_id.0,
                epoch: body.v3_and_below_producer_epoch,
            };
            self.transactions.add(request.now, claim, places, []).err()
        } else {
            Some(ResponseError::OperationNotAttempted)
        };
        let code = error.map_or(0, |error| request.fencing(error, FENCED_FROM).code());
        let results = topics.into_iter().map(|topic| {
            let results = topic.partitions.iter().map(|&partition| {
                let is_known = self.topics.key(&topic.name, partition).is_some();
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(partition)
                    .with_partition_error_code(if is_known {
                        code
                    } else {
                        ResponseError::UnknownTopicOrPartition.code()
                    })
            });
            let results = results.collect();
            AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(results)
        });
        let results = results.collect();
        request.answer(&AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results))
    }
}
