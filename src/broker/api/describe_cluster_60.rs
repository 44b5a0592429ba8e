//! DescribeCluster (60), versions 0 to 2.

use super::{Request, text};
use crate::broker::{Cluster, Reply};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

impl Cluster {
    pub(super) fn describe_cluster(&self, request: &Request, body: &DescribeClusterRequest) -> Option<Reply> {
        let up = self.nodes.iter().filter(|(_, node)| node.up);
        let brokers = up.map(|(&id, node)| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(id))
                .with_host(text(&node.address.host))
                .with_port(i32::from(node.address.port))
        });
        let brokers: Vec<_> = brokers.collect();
        let controller = brokers.first().map_or(BrokerId(-1), |broker| broker.broker_id);
        let response = DescribeClusterResponse::default()
            .with_endpoint_type(body.endpoint_type)
            .with_cluster_id(text(&self.settings.cluster_id))
            .with_controller_id(controller)
            .with_brokers(brokers);
        request.answer(&response)
    }
}
