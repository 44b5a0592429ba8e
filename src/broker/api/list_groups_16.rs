//! ListGroups (16), versions 0 to 5.

use super::{Request, text};
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};

impl Cluster {
    pub(super) fn list_groups(&self, request: &Request, body: &ListGroupsRequest) -> Option<Reply> {
        let passes = |filter: &[_], value: &str| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|wanted: &kafka_protocol::protocol::StrBytes| wanted.eq_ignore_ascii_case(value))
        };
        let groups = self.groups.iter().filter(|(_, group)| passes(&body.states_filter, group.state.name()));
        let groups = groups.filter(|_| passes(&body.types_filter, "classic")).map(|(id, group)| {
            ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(text(&group.protocol_type))
                .with_group_state(text(group.state.name()))
                .with_group_type(text("classic"))
        });
        request.answer(&ListGroupsResponse::default().with_groups(groups.collect()))
    }
}
