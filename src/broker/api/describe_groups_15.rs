//! DescribeGroups (15), versions 0 to 6. An unknown group is `Dead`, from version 6 on GROUP_ID_NOT_FOUND besides.

use super::{Request, text};
use crate::broker::groups::Group;
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

/// "Not asked for", as the protocol puts it.
const NO_OPERATIONS: i32 = i32::MIN;

impl Cluster {
    pub(super) fn describe_groups(&self, request: &Request, body: DescribeGroupsRequest) -> Option<Reply> {
        let groups = body.groups.into_iter().map(|id| {
            let described = match self.groups.get(&id) {
                Some(group) => describe(group),
                None if request.version >= 6 => DescribedGroup::default()
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_group_state(text("Dead")),
                None => DescribedGroup::default().with_group_state(text("Dead")),
            };
            described.with_group_id(id).with_authorized_operations(NO_OPERATIONS)
        });
        request.answer(&DescribeGroupsResponse::default().with_groups(groups.collect()))
    }
}

fn describe(group: &Group) -> DescribedGroup {
    let members = group.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text("/127.0.0.1"))
            .with_member_metadata(member.metadata(&group.protocol))
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol))
        .with_members(members.collect())
}
