//! SyncGroup (14), versions 0 to 5. The leader's request brings the assignments; the others wait for it.

use super::{Request, text};
use crate::broker::delayed::Waiting;
use crate::broker::groups::{Answer, Speaker, Synced};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

impl Cluster {
    pub(super) fn sync_group(&mut self, request: &Request, body: SyncGroupRequest) -> Option<Reply> {
        let assignments = body.assignments.into_iter();
        let assignments = assignments.map(|it| (it.member_id.to_string(), it.assignment)).collect();
        let speaker = Speaker { member_id: &body.member_id, generation: body.generation_id };
        let (groups, delayed) = (&mut self.groups, &mut self.delayed);
        let mut kept = None;
        let synced = groups.sync(request, &body.group_id, speaker, assignments, || {
            let ticket = delayed.add(Waiting::Group, u64::MAX);
            kept = Some(ticket);
            ticket
        });
        self.finish_group_answers();
        match synced {
            Answer::Later => kept.map(Reply::Later),
            Answer::Now(synced) => request.answer(&sync_response(request, synced)),
        }
    }
}

pub(super) fn sync_response(request: &Request, synced: Result<Synced, ResponseError>) -> SyncGroupResponse {
    let named = request.version >= 5;
    let response = SyncGroupResponse::default();
    match synced {
        Err(error) => response.with_error_code(error.code()),
        Ok(synced) => response
            .with_protocol_type(Some(text(&synced.protocol_type)).filter(|_| named))
            .with_protocol_name(Some(text(&synced.protocol)).filter(|_| named))
            .with_assignment(synced.assignment),
    }
}
