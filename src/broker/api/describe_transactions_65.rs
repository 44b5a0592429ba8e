//! DescribeTransactions (65), version 0.

use super::{Request, text};
use crate::broker::transactions::Transaction;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName,
};

impl Cluster {
    pub(super) fn describe_transactions(
        &self,
        request: &Request,
        body: DescribeTransactionsRequest,
    ) -> Option<Reply> {
        let states = body.transactional_ids.into_iter().map(|id| {
            let described = match self.transactions.get(&id) {
                Some(transaction) => describe(transaction),
                None => {
                    TransactionState::default().with_error_code(ResponseError::TransactionalIdNotFound.code())
                }
            };
            described.with_transactional_id(id)
        });
        let states = states.collect();
        request.answer(&DescribeTransactionsResponse::default().with_transaction_states(states))
    }
}

fn describe(transaction: &Transaction) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for (topic, partition) in &transaction.partitions {
        match topics.last_mut().filter(|last| last.topic.as_str() == topic) {
            Some(last) => last.partitions.push(*partition),
            None => topics.push(
                TopicData::default().with_topic(TopicName(text(topic))).with_partitions(vec![*partition]),
            ),
        }
    }
    TransactionState::default()
        .with_transaction_state(text(transaction.state.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics)
}
