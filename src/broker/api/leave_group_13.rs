//! LeaveGroup (13), versions 0 to 5 (several members at once from 3 on).

use super::Request;
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

impl Cluster {
    pub(super) fn leave_group(&mut self, request: &Request, body: LeaveGroupRequest) -> Option<Reply> {
        let now_us = request.now.mono_us;
        let group_id = &body.group_id;
        let mut leave = |member_id: &str, instance_id: Option<&str>| {
            let left = self.groups.leave(group_id, member_id, instance_id, now_us);
            left.map_or_else(|error| error.code(), |()| 0)
        };
        let mut response = LeaveGroupResponse::default();
        if request.version < 3 {
            response.error_code = leave(&body.member_id, None);
        } else {
            let members = body.members.into_iter().map(|member| {
                let error = leave(&member.member_id, member.group_instance_id.as_deref());
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(error)
            });
            response.members = members.collect();
        }
        self.finish_group_answers();
        request.answer(&response)
    }
}
