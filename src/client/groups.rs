//! Groups seen from outside: which there are, who is in them, how far they are; and their offsets, set or removed.
//!
//! What Kafka's admin client does for `kafka-consumer-groups`. Each question goes to the coordinator of the group and is
//! asked again while the error may pass, for at most `request.timeout.ms`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ClientError, Cluster,
    cluster::topic_name,
    group::{
        offsets::{Committed, Offsets, topics_of},
        subscription::decode_assignment,
    },
};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            ApiKey, ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
            GroupId, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, RequestKind,
            ResponseKind,
            consumer_group_describe_response::{Assignment, DescribedGroup},
            describe_groups_response::DescribedGroup as DescribedClassic,
            offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
            offset_fetch_request::OffsetFetchRequestGroup,
        },
    },
    rpc::RpcError,
    runtime::clock,
};

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listing {
    /// Its id.
    pub group: String,
    /// Kafka's name of its state, as `Stable`.
    pub state: String,
    /// `classic` or `consumer`.
    pub kind: String,
}

/// A group from near.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub group: String,
    /// Kafka's name of its state, as `Stable`.
    pub state: String,
    /// Who assigns; empty while nobody does.
    pub assignor: String,
    /// Its coordinator: address and id.
    pub coordinator: (String, NodeId),
    /// Epoch of the group and of its target assignment, in the consumer protocol.
    pub epochs: Option<(i32, i32)>,
    /// Who is in it.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The coordinator's name of it.
    pub id: String,
    /// `group.instance.id` of a static one.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from, as `/127.0.0.1`.
    pub host: String,
    /// What it has.
    pub assignment: Vec<TopicPartition>,
    /// Its epoch and what it shall have, in the consumer protocol.
    pub target: Option<(i32, Vec<TopicPartition>)>,
    /// Whether it speaks the consumer protocol itself; `None` where the broker does not say.
    pub upgraded: Option<bool>,
}

/// What became of single partitions.
pub type Outcomes = BTreeMap<TopicPartition, ErrorCode>;

/// Looks at groups and changes their offsets.
pub struct Groups {
    cluster: Arc<Cluster>,
}

impl Groups {
    /// Of `cluster`.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// The groups of consumers that the brokers coordinate, by id.
    ///
    /// # Errors
    /// A broker does not answer.
    pub async fn list(&self) -> Result<Vec<Listing>, ClientError> {
        self.cluster.metadata(Some(Vec::new()), false).await?;
        let mut found = BTreeSet::new();
        for node in self.cluster.nodes() {
            let link = self.cluster.connection_to(node).await?;
            let version = link.version_for(ApiKey::ListGroups, (4, 5))?;
            let request = RequestKind::ListGroups(ListGroupsRequest::default());
            let answer = link.call(request, version, self.cluster.config().request_timeout).await?;
            let ResponseKind::ListGroups(response) = answer.body else { unreachable!("answered by its own kind") };
            ClientError::check(response.error_code, None)?;
            let is_consumers = |kind: &str| kind.is_empty() || kind == "consumer";
            found.extend(response.groups.iter().filter(|one| is_consumers(&one.protocol_type)).map(|one| Listing {
                group: one.group_id.to_string(),
                state: one.group_state.to_string(),
                kind: if version < 5 { "classic".to_owned() } else { one.group_type.to_string() },
            }));
        }
        Ok(found.into_iter().collect())
    }

    /// The group called `group`.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND and others of Kafka's; or its coordinator does not answer.
    pub async fn describe(&self, group: &str) -> Result<Description, ClientError> {
        let coordinator = self.coordinator(group).await?;
        let modern = ConsumerGroupDescribeRequest::default().with_group_ids(vec![id(group)]);
        let read = |body: &ResponseKind| match body {
            ResponseKind::ConsumerGroupDescribe(response) => match response.groups.first() {
                Some(found) => ClientError::check(found.error_code, found.error_message.as_deref()),
                None => Ok(()),
            },
            other => unreachable!("ConsumerGroupDescribe is not answered by {other:?}"),
        };
        let request = RequestKind::ConsumerGroupDescribe(modern);
        match self.ask(group, ApiKey::ConsumerGroupDescribe, (0, 1), request, read).await {
            Ok(ResponseKind::ConsumerGroupDescribe(response)) => {
                if let Some(found) = response.groups.first() {
                    return Ok(of_modern(found, coordinator));
                }
            }
            // It is a classic group, or the brokers know no other.
            Ok(_) | Err(ClientError::Rpc(RpcError::NoCommonVersion { .. })) => {}
            Err(ClientError::Kafka { code: ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion, .. }) => {}
            Err(error) => return Err(error),
        }
        let missing = || ClientError::Kafka { code: ErrorCode::GroupIdNotFound, message: None };
        let request = RequestKind::DescribeGroups(DescribeGroupsRequest::default().with_groups(vec![id(group)]));
        let read = |body: &ResponseKind| match body {
            ResponseKind::DescribeGroups(response) => {
                let found = response.groups.first().ok_or_else(missing)?;
                ClientError::check(found.error_code, found.error_message.as_deref())
            }
            other => unreachable!("DescribeGroups is not answered by {other:?}"),
        };
        let answer = self.ask(group, ApiKey::DescribeGroups, (0, 6), request, read).await?;
        let ResponseKind::DescribeGroups(response) = answer else { unreachable!("it was just read") };
        let found = response.groups.first().filter(|found| &*found.group_state != "Dead").ok_or_else(missing)?;
        Ok(of_classic(found, coordinator))
    }

    /// All offsets that the group has committed.
    ///
    /// # Errors
    /// Kafka's; or its coordinator does not answer.
    pub async fn offsets(&self, group: &str) -> Result<Offsets, ClientError> {
        let wanted = OffsetFetchRequestGroup::default().with_group_id(id(group)).with_topics(None);
        let request = RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![wanted]));
        let read = |body: &ResponseKind| match body {
            ResponseKind::OffsetFetch(response) => {
                response.groups.iter().try_for_each(|group| ClientError::check(group.error_code, None))
            }
            other => unreachable!("OffsetFetch is not answered by {other:?}"),
        };
        let answer = self.ask(group, ApiKey::OffsetFetch, (8, 8), request, read).await?;
        let ResponseKind::OffsetFetch(response) = answer else { unreachable!("it was just read") };
        let mut offsets = Offsets::new();
        for topic in response.groups.iter().flat_map(|group| &group.topics) {
            for one in topic.partitions.iter().filter(|one| one.error_code == 0 && one.committed_offset >= 0) {
                let committed = Committed {
                    offset: Offset(one.committed_offset),
                    leader_epoch: LeaderEpoch(one.committed_leader_epoch),
                    metadata: one.metadata.as_deref().unwrap_or_default().to_owned(),
                };
                offsets.insert(TopicPartition::new(&**topic.name, one.partition_index), committed);
            }
        }
        Ok(offsets)
    }

    /// Sets offsets of a group without members.
    ///
    /// # Errors
    /// Kafka's for the first partition with one, such as UNKNOWN_MEMBER_ID while there are members; or its coordinator
    /// does not answer.
    pub async fn set_offsets(&self, group: &str, offsets: &Offsets) -> Result<(), ClientError> {
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(topics_of(offsets));
        let read = |body: &ResponseKind| match body {
            ResponseKind::OffsetCommit(response) => {
                let mut all = response.topics.iter().flat_map(|topic| &topic.partitions);
                all.try_for_each(|one| ClientError::check(one.error_code, None))
            }
            other => unreachable!("OffsetCommit is not answered by {other:?}"),
        };
        self.ask(group, ApiKey::OffsetCommit, (7, 9), RequestKind::OffsetCommit(request), read).await.map(drop)
    }

    /// Removes what the group has committed for `partitions`; of topics that a member reads it stays.
    ///
    /// # Errors
    /// Kafka's for the whole request, such as GROUP_ID_NOT_FOUND; or its coordinator does not answer.
    pub async fn delete_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<Outcomes, ClientError> {
        let mut topics: BTreeMap<&Arc<str>, Vec<_>> = BTreeMap::new();
        for one in partitions {
            let index = OffsetDeleteRequestPartition::default().with_partition_index(one.partition);
            topics.entry(&one.topic).or_default().push(index);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetDeleteRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
        });
        let request = OffsetDeleteRequest::default().with_group_id(GroupId(text(group))).with_topics(topics.collect());
        let read = |body: &ResponseKind| match body {
            ResponseKind::OffsetDelete(response) => ClientError::check(response.error_code, None),
            other => unreachable!("OffsetDelete is not answered by {other:?}"),
        };
        let answer = self.ask(group, ApiKey::OffsetDelete, (0, 0), RequestKind::OffsetDelete(request), read).await?;
        let ResponseKind::OffsetDelete(response) = answer else { unreachable!("it was just read") };
        let outcomes = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|one| {
                let partition = TopicPartition::new(&**topic.name, one.partition_index);
                (partition, ErrorCode::from_i16(one.error_code))
            })
        });
        Ok(outcomes.collect())
    }

    /// Deletes a group without members, with its offsets.
    ///
    /// # Errors
    /// NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND and others of Kafka's; or its coordinator does not answer.
    pub async fn delete(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![id(group)]);
        let read = |body: &ResponseKind| match body {
            ResponseKind::DeleteGroups(response) => {
                response.results.iter().try_for_each(|one| ClientError::check(one.error_code, None))
            }
            other => unreachable!("DeleteGroups is not answered by {other:?}"),
        };
        self.ask(group, ApiKey::DeleteGroups, (0, 2), RequestKind::DeleteGroups(request), read).await.map(drop)
    }

    /// Address and id of the group's coordinator.
    async fn coordinator(&self, group: &str) -> Result<(String, NodeId), ClientError> {
        let deadline = clock::now() + self.cluster.config().request_timeout;
        loop {
            let keys = vec![text(group)];
            let request = RequestKind::FindCoordinator(FindCoordinatorRequest::default().with_coordinator_keys(keys));
            let answer = self.cluster.call_any(request, ApiKey::FindCoordinator, (4, 6)).await?;
            let ResponseKind::FindCoordinator(response) = answer.body else { unreachable!("answered by its own kind") };
            let found = response.coordinators.first();
            match found.map_or(ErrorCode::CoordinatorNotAvailable, |found| ErrorCode::from_i16(found.error_code)) {
                ErrorCode::None => {
                    let found = found.expect("it was just seen");
                    return Ok((format!("{}:{}", &*found.host, found.port), NodeId(found.node_id.0)));
                }
                code if code.is_retriable() && clock::now() < deadline => {
                    clock::sleep(self.cluster.config().retry_backoff).await;
                }
                code => return Err(ClientError::Kafka { code, message: None }),
            }
        }
    }

    /// Asks the group's coordinator until `read` finds no error that may pass.
    async fn ask(
        &self,
        group: &str,
        api: ApiKey,
        ours: (i16, i16),
        request: RequestKind,
        read: impl Fn(&ResponseKind) -> Result<(), ClientError>,
    ) -> Result<ResponseKind, ClientError> {
        let deadline = clock::now() + self.cluster.config().request_timeout;
        loop {
            let (address, _) = self.coordinator(group).await?;
            let outcome = self.cluster.call(&address, request.clone(), api, ours).await.and_then(|answer| {
                read(&answer.body)?;
                Ok(answer.body)
            });
            let may_pass = match &outcome {
                Ok(_) | Err(ClientError::Rpc(RpcError::NoCommonVersion { .. } | RpcError::Encode(_))) => false,
                Err(ClientError::Kafka { code, .. }) => {
                    code.is_retriable() && *code != ErrorCode::UnknownTopicOrPartition
                }
                Err(_) => true,
            };
            if !may_pass || clock::now() >= deadline {
                return outcome;
            }
            clock::sleep(self.cluster.config().retry_backoff).await;
        }
    }
}

fn of_modern(found: &DescribedGroup, coordinator: (String, NodeId)) -> Description {
    let members = found.members.iter().map(|member| Member {
        id: member.member_id.to_string(),
        instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: partitions(&member.assignment),
        target: Some((member.member_epoch, partitions(&member.target_assignment))),
        upgraded: match member.member_type {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    });
    Description {
        group: found.group_id.to_string(),
        state: found.group_state.to_string(),
        assignor: found.assignor_name.to_string(),
        coordinator,
        epochs: Some((found.group_epoch, found.assignment_epoch)),
        members: members.collect(),
    }
}

fn partitions(assignment: &Assignment) -> Vec<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    let mut all: Vec<TopicPartition> = topics
        .flat_map(|topic| topic.partitions.iter().map(|index| TopicPartition::new(&**topic.topic_name, *index)))
        .collect();
    all.sort();
    all
}

fn of_classic(found: &DescribedClassic, coordinator: (String, NodeId)) -> Description {
    let members = found.members.iter().map(|member| {
        // An assignment that nobody understands is shown as none.
        let mut assignment = decode_assignment(&member.member_assignment).unwrap_or_default();
        assignment.sort();
        Member {
            id: member.member_id.to_string(),
            instance_id: member.group_instance_id.as_deref().map(str::to_owned),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assignment,
            target: None,
            upgraded: None,
        }
    });
    Description {
        group: found.group_id.to_string(),
        state: found.group_state.to_string(),
        assignor: found.protocol_data.to_string(),
        coordinator,
        epochs: None,
        members: members.collect(),
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id(group: &str) -> GroupId {
    GroupId(text(group))
}
