//! EndTxn (26), versions 0 to 4. It is answered when the outcome is decided, before the markers are replicated.

use super::Request;
use crate::broker::transactions::Claim;
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};

/// From this version on requests are told PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

impl Cluster {
    pub(super) fn end_txn(&mut self, request: &Request, body: &EndTxnRequest) -> Option<Reply> {
        let claim = Claim {
            transactional_id: &body.transactional_id,
            producer_id: body.producer_id.0,
            epoch: body.producer_epoch,
        };
        let ended = self.end_transaction(request.now, claim, body.committed);
        let code = ended.err().map_or(0, |error| request.fencing(error, FENCED_FROM).code());
        request.answer(&EndTxnResponse::default().with_error_code(code))
    }
}
