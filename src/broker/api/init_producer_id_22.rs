//! InitProducerId (22), versions 0 to 5.
//!
//! Without a transactional id: a new producer id. With one: the same producer id in the next epoch, which fences whoever used
//! the epoch before (KIP-98), checked against the epoch that the request names (KIP-360). A transaction that is still open is
//! aborted; the producer is told CONCURRENT_TRANSACTIONS and asks again. Epochs that are used up give way to a new producer id.

use super::Request;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

/// From this version on requests are told PRODUCER_FENCED.
const FENCED_FROM: i16 = 4;

impl Cluster {
    pub(super) fn init_producer_id(
        &mut self,
        request: &Request,
        body: &InitProducerIdRequest,
    ) -> Option<Reply> {
        let response = InitProducerIdResponse::default();
        let response = match self.allocate(request, body) {
            Ok((producer_id, epoch)) => {
                response.with_producer_id(ProducerId(producer_id)).with_producer_epoch(epoch)
            }
            Err(error) => response
                .with_error_code(error.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        };
        request.answer(&response)
    }

    fn allocate(
        &mut self,
        request: &Request,
        body: &InitProducerIdRequest,
    ) -> Result<(i64, i16), ResponseError> {
        if let Some((error, _)) = self.faults.take(request.api, request.node, "", 0) {
            return Err(error);
        }
        let Some(transactional_id) = &body.transactional_id else {
            return Ok((self.next_producer_id(), 0));
        };
        let named = (body.producer_id.0, body.producer_epoch);
        let named = match named {
            (-1, -1) => None,
            (0.., 0..) => Some(named),
            _ => return Err(ResponseError::InvalidRequest),
        };
        let timeout_ms = body.transaction_timeout_ms;
        let next = self.init_transactions(request.now, transactional_id, timeout_ms, named);
        next.map_err(|error| request.fencing(error, FENCED_FROM))
    }
}
