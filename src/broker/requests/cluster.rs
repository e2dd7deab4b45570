//! DescribeCluster.

use super::Broker;
use crate::{
    base::Switches,
    protocol::{
        ErrorCode,
        messages::{DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker},
    },
};

/// Bits of every operation on the cluster: without an authorizer all are allowed (AclOperation).
pub const CLUSTER_OPERATIONS: i32 = 8096;
/// Brokers, in `endpoint_type`.
const BROKERS: i8 = 1;

impl Broker {
    pub(super) fn describe_cluster(&self, request: &DescribeClusterRequest, version: i16) -> DescribeClusterResponse {
        let answer = DescribeClusterResponse::default().with_cluster_authorized_operations(i32::MIN);
        if version >= 1 && request.endpoint_type != BROKERS {
            let (code, message) = match request.endpoint_type {
                2 => (ErrorCode::MismatchedEndpointType, "The request was sent to an endpoint of the wrong type."),
                _ => (ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type"),
            };
            let refused = answer.with_error_code(code.code()).with_error_message(Some(message.into()));
            return refused.with_controller_id((-1).into());
        }
        let image = self.cache.image();
        let fenced_too = version >= 2 && request.include_fenced_brokers;
        let brokers = image.brokers().filter(|known| fenced_too || !known.fenced).filter_map(|known| {
            let endpoint = known.endpoint(&self.config.inter_broker_listener)?;
            let broker = DescribeClusterBroker::default()
                .with_broker_id(known.id.0.into())
                .with_host(endpoint.host.clone().into())
                .with_port(i32::from(endpoint.port))
                .with_rack(known.rack.clone().map(Into::into));
            Some(if version >= 2 { broker.with_is_fenced(known.fenced) } else { broker })
        });
        let answer = answer
            .with_cluster_id(self.cluster_id.clone().into())
            .with_controller_id(self.controller_id().0.into())
            .with_brokers(brokers.collect());
        match request.include_cluster_authorized_operations {
            true => answer.with_cluster_authorized_operations(CLUSTER_OPERATIONS),
            false => answer,
        }
    }

    /// Behaviour switches, for settings whose default they change.
    pub(super) fn switches(&self) -> &Switches {
        &self.switches
    }
}
