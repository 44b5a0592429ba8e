//! DeleteGroups (42), versions 0 to 2.

use super::Request;
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

impl Cluster {
    pub(super) fn delete_groups(&mut self, request: &Request, body: DeleteGroupsRequest) -> Option<Reply> {
        let results = body.groups_names.into_iter().map(|id| {
            let error = self.groups.delete(&id).map_or_else(|error| error.code(), |()| 0);
            DeletableGroupResult::default().with_group_id(id).with_error_code(error)
        });
        let results = results.collect();
        request.answer(&DeleteGroupsResponse::default().with_results(results))
    }
}
