//! JoinGroup (11), versions 0 to 9. From version 4 on a member without an id is given one and asked to join again (KIP-394).
//! The answer waits until all members have joined, or the rebalance timeout is over.

use super::{Request, text};
use crate::broker::delayed::Waiting;
use crate::broker::groups::{Answer, Join, Joined};
use crate::broker::{Cluster, Reply};
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

impl Cluster {
    pub(super) fn join_group(&mut self, request: &Request, body: JoinGroupRequest) -> Option<Reply> {
        let micros = |ms: i32| u64::try_from(ms).unwrap_or(0) * 1000;
        // Version 0 knows one timeout for both.
        let rebalance_ms =
            if request.version == 0 { body.session_timeout_ms } else { body.rebalance_timeout_ms };
        let protocols = body.protocols.iter();
        let join = Join {
            group_id: body.group_id.to_string(),
            member_id: body.member_id.to_string(),
            instance_id: body.group_instance_id.as_ref().map(ToString::to_string),
            protocol_type: body.protocol_type.to_string(),
            protocols: protocols
                .map(|protocol| (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata)))
                .collect(),
            session_timeout_us: micros(body.session_timeout_ms),
            rebalance_timeout_us: micros(rebalance_ms),
            id_required: request.version >= 4,
            initial_delay_us: self.settings.group_initial_rebalance_delay_ms * 1000,
        };
        let (groups, delayed) = (&mut self.groups, &mut self.delayed);
        let mut kept = None;
        let joined = groups.join(request, join, || {
            let ticket = delayed.add(Waiting::Group, u64::MAX);
            kept = Some(ticket);
            ticket
        });
        match (joined, kept) {
            (Answer::Later, Some(ticket)) => {
                self.finish_group_answers();
                Some(Reply::Later(ticket))
            }
            (Answer::Later, None) => None,
            (Answer::Now(Ok(joined)), _) => request.answer(&join_response(request, Ok(joined))),
            (Answer::Now(Err((error, member_id))), _) => {
                let refused = join_response(request, Err(error));
                request.answer(&refused.with_member_id(text(&member_id)))
            }
        }
    }
}

pub(super) fn join_response(request: &Request, joined: Result<Joined, ResponseError>) -> JoinGroupResponse {
    let nullable = request.version >= 7;
    let response = JoinGroupResponse::default();
    match joined {
        Err(error) => response
            .with_error_code(error.code())
            .with_generation_id(-1)
            .with_protocol_name(if nullable { None } else { Some(text("")) }),
        Ok(joined) => {
            let members = joined.members.into_iter().map(|(id, instance_id, metadata)| {
                JoinGroupResponseMember::default()
                    .with_member_id(text(&id))
                    .with_group_instance_id(instance_id.as_deref().map(text))
                    .with_metadata(metadata)
            });
            response
                .with_generation_id(joined.generation)
                .with_protocol_type(Some(text(&joined.protocol_type)).filter(|_| nullable))
                .with_protocol_name(Some(text(&joined.protocol)))
                .with_leader(text(&joined.leader))
                .with_member_id(text(&joined.member_id))
                .with_members(members.collect())
        }
    }
}
