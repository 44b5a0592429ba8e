//! AddOffsetsToTxn (25), versions 0 to 4: the transaction will commit offsets of this group.

use super::Request;
use crate::broker::transactions::Claim;
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

/// From this version on requests are told PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

impl Cluster {
    pub(super) fn add_offsets_to_txn(
        &mut self,
        request: &Request,
        body: &AddOffsetsToTxnRequest,
    ) -> Option<Reply> {
        let claim = Claim {
            transactional_id: &body.transactional_id,
            producer_id: body.producer_id.0,
            epoch: body.producer_epoch,
        };
        let added = self.transactions.add(request.now, claim, [], [body.group_id.to_string()]);
        let code = added.err().map_or(0, |error| request.fencing(error, FENCED_FROM).code());
        request.answer(&AddOffsetsToTxnResponse::default().with_error_code(code))
    }
}
