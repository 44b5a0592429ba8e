//! ListTransactions (66), versions 0 and 1 (a lower bound of their age from 1 on).

use super::{Request, text};
use crate::broker::transactions::Transaction;
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

/// The names of states that a filter may name.
const STATES: [&str; 6] =
    ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"];

impl Cluster {
    pub(super) fn list_transactions(
        &self,
        request: &Request,
        body: &ListTransactionsRequest,
    ) -> Option<Reply> {
        let is_state = |name: &&StrBytes| STATES.contains(&name.as_str());
        let unknown = body.state_filters.iter().filter(|name| !is_state(name)).cloned().collect();
        let is_wanted = |transaction: &Transaction| {
            let (states, producers) = (&body.state_filters, &body.producer_id_filters);
            let age_ms = request.now.wall_ms.saturating_sub(transaction.started_ms);
            (states.is_empty() || states.iter().any(|name| name.as_str() == transaction.state.name()))
                && (producers.is_empty() || producers.iter().any(|id| id.0 == transaction.producer_id))
                && (body.duration_filter < 0 || age_ms > body.duration_filter)
        };
        let states = self.transactions.iter().filter(|(_, transaction)| is_wanted(transaction)).map(
            |(id, transaction)| {
                TransactionState::default()
                    .with_transactional_id(TransactionalId(text(id)))
                    .with_producer_id(ProducerId(transaction.producer_id))
                    .with_transaction_state(text(transaction.state.name()))
            },
        );
        let states = states.collect();
        let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown);
        request.answer(&response.with_transaction_states(states))
    }
}
