//! InitProducerId (22), versions 0 to 5.
//!
//! Without a transactional id: a new producer id. With one: the same producer id in the next epoch, which fences whoever used
//! the epoch before (KIP-98), checked against the epoch that the request names (KIP-360). There are no transactions beyond
//! that. An epoch that is used up gives way to a new producer id.

use super::Request;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

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
        let next_id = self.producer_ids;
        let Some(transactional_id) = &body.transactional_id else {
            self.producer_ids += 1;
            return Ok((next_id, 0));
        };
        if transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let next = match self.transactional_ids.get(transactional_id.as_str()) {
            None => (next_id, 0),
            Some(&(producer_id, epoch)) => {
                let named = (body.producer_id.0, body.producer_epoch);
                // The last bump of this producer counts as its own: it may not have seen the answer.
                if named.0 >= 0 && named != (producer_id, epoch) && named != (producer_id, epoch - 1) {
                    return Err(if request.version >= 4 {
                        ResponseError::ProducerFenced
                    } else {
                        ResponseError::InvalidProducerEpoch
                    });
                }
                if epoch == i16::MAX - 1 { (next_id, 0) } else { (producer_id, epoch + 1) }
            }
        };
        if next.0 == next_id {
            self.producer_ids += 1;
        }
        self.transactional_ids.insert(transactional_id.to_string(), next);
        Ok(next)
    }
}
