//! Requests that change the cluster: the controller answers, the broker passes it on.

use std::sync::Arc;

use super::Broker;
use crate::{
    protocol::{
        ErrorCode,
        messages::{
            AlterPartitionReassignmentsResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteTopicsResponse,
            ElectLeadersResponse, IncrementalAlterConfigsResponse, ListPartitionReassignmentsResponse, RequestKind,
            ResponseKind, create_partitions_response::CreatePartitionsTopicResult,
            create_topics_response::CreatableTopicResult, delete_topics_response::DeletableTopicResult,
            incremental_alter_configs_response::AlterConfigsResourceResponse,
        },
    },
    rpc::Reply,
};

impl Broker {
    pub(super) fn forward(self: Arc<Self>, request: RequestKind, version: i16) -> Reply {
        Reply::later(async move {
            match self.channel.call(request.clone(), version).await {
                Ok(answer) => answer.body,
                Err(error) => {
                    tracing::warn!(%error, "the controller did not answer a forwarded request");
                    unanswered(request)
                }
            }
        })
    }
}

/// The answer when the controller gave none: whether it was carried out is not known.
fn unanswered(request: RequestKind) -> ResponseKind {
    let code = ErrorCode::RequestTimedOut.code();
    match request {
        RequestKind::CreateTopics(request) => {
            let failed = |name| CreatableTopicResult::default().with_name(name).with_error_code(code);
            let topics = request.topics.into_iter().map(|topic| failed(topic.name));
            CreateTopicsResponse::default().with_topics(topics.collect()).into()
        }
        RequestKind::DeleteTopics(request) => {
            let by_state = request.topics.into_iter().filter_map(|topic| topic.name);
            let failed = |name| DeletableTopicResult::default().with_name(Some(name)).with_error_code(code);
            let names = request.topic_names.into_iter().chain(by_state);
            DeleteTopicsResponse::default().with_responses(names.map(failed).collect()).into()
        }
        RequestKind::CreatePartitions(request) => {
            let failed = |name| CreatePartitionsTopicResult::default().with_name(name).with_error_code(code);
            let results = request.topics.into_iter().map(|topic| failed(topic.name));
            CreatePartitionsResponse::default().with_results(results.collect()).into()
        }
        RequestKind::IncrementalAlterConfigs(request) => {
            let failed = request.resources.into_iter().map(|resource| {
                AlterConfigsResourceResponse::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name)
                    .with_error_code(code)
            });
            IncrementalAlterConfigsResponse::default().with_responses(failed.collect()).into()
        }
        RequestKind::AlterPartitionReassignments(_) => {
            AlterPartitionReassignmentsResponse::default().with_error_code(code).into()
        }
        RequestKind::ListPartitionReassignments(_) => {
            ListPartitionReassignmentsResponse::default().with_error_code(code).into()
        }
        RequestKind::ElectLeaders(_) => ElectLeadersResponse::default().into(),
        other => unreachable!("{other:?} is not forwarded"),
    }
}
