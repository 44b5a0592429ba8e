//! Heartbeat (12), versions 0 to 4.

use super::Request;
use crate::broker::groups::Speaker;
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

impl Cluster {
    pub(super) fn heartbeat(&mut self, request: &Request, body: &HeartbeatRequest) -> Option<Reply> {
        let speaker = Speaker { member_id: &body.member_id, generation: body.generation_id };
        let beaten = self.groups.heartbeat(&body.group_id, speaker, request.now.mono_us);
        let error = beaten.map_or_else(|error| error.code(), |()| 0);
        request.answer(&HeartbeatResponse::default().with_error_code(error))
    }
}
