//! Groups: finding their coordinator, and what it is asked.
//!
//! A handler checks what the metadata can tell - topics and partitions that do not exist -, passes the rest to the
//! coordinator of each group, and puts the parts of the answer together.

use std::{collections::BTreeMap, sync::Arc};

use super::Broker;
use crate::{
    base::OFFSETS_TOPIC,
    broker::coordinator::{Asked, Client},
    controller::image::MetadataImage,
    group::{GroupRequest, consumer::refuse_heartbeat, partition_for},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
            DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
            FindCoordinatorRequest, FindCoordinatorResponse, GroupId, LeaveGroupRequest, ListGroupsRequest,
            ListGroupsResponse, ResponseKind, consumer_group_describe_response, find_coordinator_response::Coordinator,
            leave_group_request::MemberIdentity,
        },
    },
    rpc::Reply,
};

/// Bits of every operation on a group: without an authorizer all are allowed.
const GROUP_OPERATIONS: i32 = 3400;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// From this version on several keys are asked for at once (KIP-699).
const BATCHED_VERSION: i16 = 4;
/// From this version on several members may leave at once (KIP-345).
const MEMBERS_VERSION: i16 = 3;

impl Broker {
    pub(super) fn find_coordinator(self: Arc<Self>, request: FindCoordinatorRequest, version: i16) -> Reply {
        let image = self.cache.image();
        let keys = match version >= BATCHED_VERSION {
            true => request.coordinator_keys.clone(),
            false => vec![request.key.clone()],
        };
        let found: Vec<Coordinator> =
            keys.into_iter().map(|key| self.coordinator(&image, key, request.key_type, version)).collect();
        let missing = ErrorCode::CoordinatorNotAvailable.code();
        let create = image.topic(OFFSETS_TOPIC).is_none()
            && request.key_type == GROUP
            && found.iter().any(|found| found.error_code == missing);
        let response = match version >= BATCHED_VERSION {
            true => FindCoordinatorResponse::default().with_coordinators(found),
            false => {
                let found = found.into_iter().next().expect("there is one key");
                let response = FindCoordinatorResponse::default()
                    .with_error_code(found.error_code)
                    .with_node_id(found.node_id)
                    .with_host(found.host)
                    .with_port(found.port);
                if version >= 1 { response.with_error_message(found.error_message) } else { response }
            }
        };
        if !create {
            return Reply::now(response);
        }
        Reply::later(async move {
            self.create(vec![OFFSETS_TOPIC.to_owned()]).await;
            response.into()
        })
    }

    fn coordinator(&self, image: &MetadataImage, key: StrBytes, key_type: i8, version: i16) -> Coordinator {
        let refused = |code: ErrorCode, message: Option<&'static str>| {
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(code.code())
                .with_error_message(message.map(StrBytes::from_static_str))
        };
        match key_type {
            GROUP => {}
            TRANSACTION => return refused(ErrorCode::CoordinatorNotAvailable, None),
            SHARE if version >= BATCHED_VERSION => return refused(ErrorCode::InvalidRequest, None),
            _ => return refused(ErrorCode::InvalidRequest, Some("There is no such type of coordinators.")),
        }
        let Some(topic) = image.topic(OFFSETS_TOPIC) else {
            return refused(ErrorCode::CoordinatorNotAvailable, None);
        };
        let partition = partition_for(&key, topic.partitions.len() as i32);
        let leader = topic.partitions.get(&partition).and_then(|registration| image.broker(registration.leader));
        let endpoint = leader.and_then(|leader| leader.endpoint(&self.config.inter_broker_listener));
        match leader.zip(endpoint) {
            Some((leader, endpoint)) => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(leader.id.0))
                .with_host(endpoint.host.clone().into())
                .with_port(i32::from(endpoint.port)),
            None => refused(ErrorCode::CoordinatorNotAvailable, None),
        }
    }

    /// Asks the coordinator of `group`.
    pub(super) async fn ask_coordinator(&self, group: &str, request: GroupRequest, client: &Client) -> Asked {
        self.coordinators.ask(self.partition_of_group(group), request, client).await
    }

    pub(super) fn partition_of_group(&self, group: &str) -> i32 {
        let image = self.cache.image();
        let known = image.topic(OFFSETS_TOPIC).map(|topic| topic.partitions.len() as i32);
        partition_for(group, known.unwrap_or(self.config.groups.topic_partitions))
    }

    /// What concerns one group.
    pub(super) async fn ask_about(&self, group: &GroupId, request: GroupRequest, client: Client) -> Reply {
        let version = client.version;
        self.ask_coordinator(group, request, &client).await.map(move |answer| finished(answer, version)).reply()
    }

    pub(super) async fn leave_group(&self, mut request: LeaveGroupRequest, client: Client) -> Reply {
        if client.version < MEMBERS_VERSION {
            let member = MemberIdentity::default().with_member_id(std::mem::take(&mut request.member_id));
            request.members = vec![member];
        }
        self.ask_about(&request.group_id.clone(), GroupRequest::Leave(request), client).await
    }

    /// Asks for several groups, each coordinator for its own, all of them at once. The answers come in their order.
    async fn ask_all(
        &self,
        groups: Vec<GroupId>,
        request: fn(Vec<GroupId>) -> GroupRequest,
        client: &Client,
    ) -> Vec<ResponseKind> {
        let mut by_partition: BTreeMap<i32, Vec<GroupId>> = BTreeMap::new();
        for group in groups {
            by_partition.entry(self.partition_of_group(&group)).or_default().push(group);
        }
        let ask = async |(partition, groups)| self.coordinators.ask(partition, request(groups), client).await;
        all(by_partition.into_iter().map(ask)).await
    }

    pub(super) fn describe_groups(self: Arc<Self>, request: DescribeGroupsRequest, client: Client) -> Reply {
        Reply::later(async move {
            let mut groups = Vec::new();
            for answer in self.ask_all(request.groups, GroupRequest::DescribeGroups, &client).await {
                if let ResponseKind::DescribeGroups(answer) = answer {
                    groups.extend(answer.groups);
                }
            }
            for group in &mut groups {
                let told = request.include_authorized_operations && group.error_code == 0;
                group.authorized_operations = if told { GROUP_OPERATIONS } else { i32::MIN };
                if client.version < 6 {
                    group.error_message = None;
                }
            }
            DescribeGroupsResponse::default().with_groups(groups).into()
        })
    }

    pub(super) async fn consumer_group_heartbeat(
        &self,
        request: ConsumerGroupHeartbeatRequest,
        client: Client,
    ) -> Reply {
        if let Some(refusal) = refuse_heartbeat(&request, client.version, &self.config.groups.settings.consumer) {
            return Reply::now(refusal);
        }
        self.ask_about(&request.group_id.clone(), GroupRequest::ConsumerHeartbeat(request), client).await
    }

    pub(super) fn consumer_group_describe(
        self: Arc<Self>,
        request: ConsumerGroupDescribeRequest,
        client: Client,
    ) -> Reply {
        Reply::later(async move {
            let (named, unnamed): (Vec<GroupId>, Vec<GroupId>) =
                request.group_ids.into_iter().partition(|group| !group.is_empty());
            let invalid = ErrorCode::InvalidGroupId.code();
            let mut groups: Vec<consumer_group_describe_response::DescribedGroup> = Vec::new();
            groups.extend(unnamed.iter().map(|_| Default::default()));
            groups.iter_mut().for_each(|group| group.error_code = invalid);
            for answer in self.ask_all(named, GroupRequest::DescribeConsumers, &client).await {
                if let ResponseKind::ConsumerGroupDescribe(answer) = answer {
                    groups.extend(answer.groups);
                }
            }
            for group in &mut groups {
                let told = request.include_authorized_operations && group.error_code == 0;
                group.authorized_operations = if told { GROUP_OPERATIONS } else { i32::MIN };
                if client.version == 0 {
                    // What kind a member is came with version 1.
                    group.members.iter_mut().for_each(|member| member.member_type = -1);
                }
            }
            ConsumerGroupDescribeResponse::default().with_groups(groups).into()
        })
    }

    pub(super) fn delete_groups(self: Arc<Self>, request: DeleteGroupsRequest, client: Client) -> Reply {
        Reply::later(async move {
            let mut results = Vec::new();
            for answer in self.ask_all(request.groups_names, GroupRequest::DeleteGroups, &client).await {
                if let ResponseKind::DeleteGroups(answer) = answer {
                    results.extend(answer.results);
                }
            }
            DeleteGroupsResponse::default().with_results(results).into()
        })
    }

    pub(super) fn list_groups(self: Arc<Self>, request: ListGroupsRequest, client: Client) -> Reply {
        Reply::later(async move {
            let mut response = ListGroupsResponse::default();
            let ask = async |partition| {
                let asked = GroupRequest::ListGroups(request.clone());
                self.coordinators.ask(partition, asked, &client).await
            };
            for answer in all(self.coordinators.partitions().into_iter().map(ask)).await {
                let ResponseKind::ListGroups(answer) = answer else { continue };
                // One that was given up meanwhile has no groups here.
                if answer.error_code != 0 && answer.error_code != ErrorCode::NotCoordinator.code() {
                    response.error_code = answer.error_code;
                }
                response.groups.extend(answer.groups);
            }
            if response.error_code != 0 {
                response.groups.clear();
            }
            if client.version < 5 {
                response.groups.iter_mut().for_each(|group| group.group_type = StrBytes::default());
            }
            if client.version < 4 {
                response.groups.iter_mut().for_each(|group| group.group_state = StrBytes::default());
            }
            response.into()
        })
    }
}

/// The answers to what is asked at once, in the order of asking: each is begun before the first is waited for. Whoever is
/// asked works on its own: the last answer is there when the slowest is.
pub(super) async fn all(asking: impl Iterator<Item = impl Future<Output = Asked>>) -> Vec<ResponseKind> {
    let (mut asked, mut answers) = (Vec::new(), Vec::new());
    for one in asking {
        asked.push(one.await);
    }
    for one in asked {
        answers.push(one.answer().await);
    }
    answers
}

/// Brings an answer into the form that its version can carry.
pub(super) fn finished(mut response: ResponseKind, version: i16) -> ResponseKind {
    match &mut response {
        ResponseKind::JoinGroup(response) => {
            if version < 7 {
                response.protocol_type = None;
                // Before null was possible.
                response.protocol_name.get_or_insert_default();
            }
            if version < 9 {
                response.skip_assignment = false;
            }
            if version < 5 {
                response.members.iter_mut().for_each(|member| member.group_instance_id = None);
            }
        }
        ResponseKind::SyncGroup(response) if version < 5 => {
            (response.protocol_type, response.protocol_name) = (None, None);
        }
        ResponseKind::LeaveGroup(response) if version < 3 => {
            // One member leaves at a time, and its error is that of the request.
            if let Some(member) = response.members.pop()
                && response.error_code == 0
            {
                response.error_code = member.error_code;
            }
            response.members.clear();
        }
        _ => {}
    }
    response
}
