//! FindCoordinator (10), versions 0 to 6: the first broker that is up coordinates all groups and transactional ids.

use super::{Request, text};
use crate::broker::{Cluster, Reply};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

impl Cluster {
    pub(super) fn find_coordinator(&self, request: &Request, body: FindCoordinatorRequest) -> Option<Reply> {
        let found = self.nodes.iter().find(|(_, node)| node.up).map(|(&id, node)| (id, &node.address));
        let (id, host, port) =
            found.map_or((-1, "", -1), |(id, address)| (id, address.host.as_str(), i32::from(address.port)));
        let error = if found.is_none() { ResponseError::CoordinatorNotAvailable.code() } else { 0 };
        let response = FindCoordinatorResponse::default();
        if request.version < 4 {
            let response = response.with_error_code(error).with_node_id(BrokerId(id));
            return request.answer(&response.with_host(text(host)).with_port(port));
        }
        let coordinators = body.coordinator_keys.into_iter().map(|key| {
            Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(id))
                .with_host(text(host))
                .with_port(port)
                .with_error_code(error)
        });
        request.answer(&response.with_coordinators(coordinators.collect()))
    }
}
