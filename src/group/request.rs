//! What a group's coordinator is asked, and how it refuses.

use super::GroupSettings;
use crate::protocol::{
    ErrorCode, StrBytes,
    messages::{
        ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        DeleteGroupsResponse, DescribeGroupsResponse, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
        JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
        OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchResponse,
        ResponseKind, SyncGroupRequest, SyncGroupResponse, consumer_group_describe_response,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::DescribedGroup,
        leave_group_response::MemberResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_request::OffsetFetchRequestGroup,
        offset_fetch_response::OffsetFetchResponseGroup,
    },
};

/// A request to the coordinator of one partition. What concerns groups of several partitions comes in parts.
#[derive(Clone, Debug)]
pub enum GroupRequest {
    /// JoinGroup.
    Join(JoinGroupRequest),
    /// SyncGroup.
    Sync(SyncGroupRequest),
    /// Heartbeat.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup.
    Leave(LeaveGroupRequest),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    /// ConsumerGroupDescribe.
    DescribeConsumers(Vec<GroupId>),
    /// OffsetCommit; every topic has its name, and its id if it has one.
    OffsetCommit(OffsetCommitRequest),
    /// OffsetFetch of one group; every topic has its name. Answered in the form of version 8 and later.
    OffsetFetch {
        /// The group and what is asked of it.
        group: OffsetFetchRequestGroup,
        /// Whether the answer has to wait for what is being committed.
        require_stable: bool,
    },
    /// OffsetDelete.
    OffsetDelete(OffsetDeleteRequest),
    /// DeleteGroups.
    DeleteGroups(Vec<GroupId>),
    /// DescribeGroups.
    DescribeGroups(Vec<GroupId>),
    /// ListGroups.
    ListGroups(ListGroupsRequest),
}

/// From this version on SyncGroup tells the protocol that the member believes in (KIP-559).
const SYNC_TELLS_PROTOCOL_VERSION: i16 = 5;
/// Longest string that a key or value of a record can hold.
const RECORD_STRING_MAX: usize = i16::MAX as usize;
/// What a member id adds to the client id or instance id: a dash and a UUID.
const MEMBER_ID_SUFFIX: usize = 37;

impl GroupRequest {
    /// Checks what needs no coordinator, in Kafka's order: any broker refuses it.
    ///
    /// # Errors
    /// The code to refuse with.
    pub fn check_first(&self, version: i16, settings: &GroupSettings) -> Result<(), ErrorCode> {
        let named = |group: &GroupId| if group.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(()) };
        match self {
            Self::Join(request) => {
                named(&request.group_id)?;
                let bounds = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
                match bounds.contains(&request.session_timeout_ms) {
                    true => Ok(()),
                    false => Err(ErrorCode::InvalidSessionTimeout),
                }
            }
            Self::Sync(request) => {
                let unsaid = request.protocol_type.is_none() || request.protocol_name.is_none();
                match version >= SYNC_TELLS_PROTOCOL_VERSION && unsaid {
                    true => Err(ErrorCode::InconsistentGroupProtocol),
                    false => named(&request.group_id),
                }
            }
            Self::Heartbeat(request) => named(&request.group_id),
            Self::Leave(request) => named(&request.group_id),
            Self::OffsetDelete(request) => named(&request.group_id),
            // A group without a name may have offsets, and is asked about as any other. Heartbeats of the consumer protocol
            // are refused with words.
            Self::ConsumerHeartbeat(_)
            | Self::DescribeConsumers(_)
            | Self::OffsetCommit(_)
            | Self::OffsetFetch { .. }
            | Self::DeleteGroups(_)
            | Self::DescribeGroups(_)
            | Self::ListGroups(_) => Ok(()),
        }
    }

    /// Checks what needs no group: ids that a record could not hold.
    ///
    /// # Errors
    /// The code to refuse with.
    pub(super) fn check(&self, client_id: &str) -> Result<(), ErrorCode> {
        let fits = |text: &str| text.len() + MEMBER_ID_SUFFIX <= RECORD_STRING_MAX;
        let fits_all = match self {
            Self::Join(request) => {
                fits(&request.group_id)
                    && fits(client_id)
                    && fits(&request.member_id)
                    && fits(&request.protocol_type)
                    && request.group_instance_id.as_deref().is_none_or(fits)
                    && request.protocols.iter().all(|protocol| fits(&protocol.name))
            }
            Self::OffsetCommit(request) => {
                fits(&request.group_id) && request.topics.iter().all(|topic| fits(&topic.name))
            }
            Self::ConsumerHeartbeat(request) => {
                let ids = [Some(request.member_id.as_str()), request.subscribed_topic_regex.as_deref()];
                fits(&request.group_id) && ids.into_iter().flatten().all(fits)
            }
            // These write what is there already.
            Self::Sync(_)
            | Self::Heartbeat(_)
            | Self::Leave(_)
            | Self::OffsetFetch { .. }
            | Self::OffsetDelete(_)
            | Self::DeleteGroups(_)
            | Self::DescribeGroups(_)
            | Self::DescribeConsumers(_)
            | Self::ListGroups(_) => true,
        };
        if fits_all { Ok(()) } else { Err(ErrorCode::UnknownServerError) }
    }

    /// The answer that refuses all of it with `code`.
    pub fn refuse(&self, code: ErrorCode) -> ResponseKind {
        match self {
            Self::Join(request) => refuse_join(code, request.member_id.clone()).into(),
            Self::Sync(_) => SyncGroupResponse::default().with_error_code(code.code()).into(),
            Self::Heartbeat(_) => {
                // Members of a group that is being loaded need not know: their sessions begin anew.
                let code = if code == ErrorCode::CoordinatorLoadInProgress { ErrorCode::None } else { code };
                HeartbeatResponse::default().with_error_code(code.code()).into()
            }
            Self::Leave(request) if code == ErrorCode::UnknownMemberId => {
                let refused = |member: &crate::protocol::messages::leave_group_request::MemberIdentity| {
                    MemberResponse::default()
                        .with_member_id(member.member_id.clone())
                        .with_group_instance_id(member.group_instance_id.clone())
                        .with_error_code(code.code())
                };
                LeaveGroupResponse::default().with_members(request.members.iter().map(refused).collect()).into()
            }
            Self::Leave(_) => LeaveGroupResponse::default().with_error_code(code.code()).into(),
            Self::OffsetCommit(request) => {
                let topics = request.topics.iter().map(|topic| {
                    let partitions = topic.partitions.iter().map(|partition| {
                        OffsetCommitResponsePartition::default()
                            .with_partition_index(partition.partition_index)
                            .with_error_code(code.code())
                    });
                    OffsetCommitResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_topic_id(topic.topic_id)
                        .with_partitions(partitions.collect())
                });
                OffsetCommitResponse::default().with_topics(topics.collect()).into()
            }
            Self::OffsetFetch { group, .. } => {
                let group = OffsetFetchResponseGroup::default()
                    .with_group_id(group.group_id.clone())
                    .with_error_code(code.code());
                OffsetFetchResponse::default().with_groups(vec![group]).into()
            }
            Self::OffsetDelete(_) => OffsetDeleteResponse::default().with_error_code(code.code()).into(),
            Self::DeleteGroups(groups) => {
                let refused = |group: &GroupId| {
                    DeletableGroupResult::default().with_group_id(group.clone()).with_error_code(code.code())
                };
                DeleteGroupsResponse::default().with_results(groups.iter().map(refused).collect()).into()
            }
            Self::DescribeGroups(groups) => {
                let refused = |group: &GroupId| {
                    DescribedGroup::default().with_group_id(group.clone()).with_error_code(code.code())
                };
                DescribeGroupsResponse::default().with_groups(groups.iter().map(refused).collect()).into()
            }
            Self::ConsumerHeartbeat(_) => ConsumerGroupHeartbeatResponse::default().with_error_code(code.code()).into(),
            Self::DescribeConsumers(groups) => {
                let refused = |group: &GroupId| {
                    consumer_group_describe_response::DescribedGroup::default()
                        .with_group_id(group.clone())
                        .with_error_code(code.code())
                };
                ConsumerGroupDescribeResponse::default().with_groups(groups.iter().map(refused).collect()).into()
            }
            Self::ListGroups(_) => ListGroupsResponse::default().with_error_code(code.code()).into(),
        }
    }

    /// The code that a client is told when the records could not be written or committed: it looks for the coordinator
    /// again, or waits.
    pub fn code_of_failed_write(&self, code: ErrorCode) -> ErrorCode {
        let unavailable = match self {
            // Older consumers know no other that sends them looking (KAFKA-17064).
            Self::OffsetFetch { .. } => ErrorCode::NotCoordinator,
            _ => ErrorCode::CoordinatorNotAvailable,
        };
        match code {
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::RequestTimedOut => unavailable,
            ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
                ErrorCode::UnknownServerError
            }
            other => other,
        }
    }
}

/// A refused join tells the member id that the client is to go on with.
pub(super) fn refuse_join(code: ErrorCode, member: StrBytes) -> JoinGroupResponse {
    let refused = JoinGroupResponse::default().with_error_code(code.code()).with_generation_id(-1);
    refused.with_protocol_name(None).with_member_id(member)
}
