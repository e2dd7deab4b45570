//! Commits, and what was committed: OffsetCommit and OffsetFetch.
//!
//! Commits of one consumer go one after the other, so that an older one is never written over a newer.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::{
    background::Shared,
    membership::{Identity, group_id, text},
};
use crate::{
    base::{LeaderEpoch, Offset, Time, TopicPartition},
    client::{ClientError, cluster::topic_name},
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, OffsetCommitRequest, OffsetFetchRequest, RequestKind, ResponseKind,
            offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
            offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        },
    },
    rpc::RpcError,
    runtime::clock,
    trace::Event,
};

/// Where a group goes on in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Of the next record to process.
    pub offset: Offset,
    /// Epoch of the record before, if it is known.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the application writes beside it.
    pub metadata: String,
}

impl Committed {
    /// At `offset`, with nothing more to say.
    pub fn at(offset: Offset) -> Self {
        Self { offset, leader_epoch: LeaderEpoch::UNKNOWN, metadata: String::new() }
    }
}

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, Committed>;

/// A commit on its way.
pub(super) struct Commit {
    pub(super) offsets: Offsets,
    /// Until when it is tried again; `None`: it is tried once.
    pub(super) until: Option<Time>,
    /// Whether whoever commits means to be a member: then it does not commit as one from outside.
    pub(super) subscribed: bool,
    pub(super) outcome: oneshot::Sender<Result<(), ClientError>>,
}

/// Whose offsets these are.
pub(super) struct Owner {
    pub(super) group: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    /// In the consumer protocol a member says who it is when it asks for offsets.
    pub(super) is_modern: bool,
}

/// Carries out commits until nobody can ask for one any more.
pub(super) async fn run(shared: Arc<Shared>, owner: Arc<Owner>, mut commits: mpsc::UnboundedReceiver<Commit>) {
    while let Some(commit) = commits.recv().await {
        let until = commit.until.unwrap_or(clock::now() + shared.cluster.config().request_timeout);
        let outcome = loop {
            let identity = shared.look(|membership| membership.identity());
            let (outcome, again) = match coordinator(&shared, until).await {
                _ if commit.subscribed && identity.epoch < 0 => (Err(no_member()), false),
                Ok(address) => told_attempt(&shared, &owner, &address, &identity, &commit.offsets).await,
                Err(error) => (Err(error), false),
            };
            if outcome.is_ok() || !again || commit.until.is_none() || clock::now() >= until {
                break outcome;
            }
            clock::sleep(shared.cluster.config().retry_backoff).await;
        };
        let _ = commit.outcome.send(outcome);
    }
}

/// Others may have the partitions by now, and have committed them: Kafka's `CommitFailedException`.
fn no_member() -> ClientError {
    let message = Some("the consumer is not part of an active group".to_owned());
    ClientError::Kafka { code: ErrorCode::UnknownMemberId, message }
}

/// Where the coordinator is, once somebody knows.
async fn coordinator(shared: &Shared, until: Time) -> Result<Arc<str>, ClientError> {
    shared.change(|membership, _| membership.coordinator.want());
    shared.wait(until, |membership| membership.coordinator.address().is_some()).await;
    let address = shared.look(|membership| membership.coordinator.address());
    address.ok_or_else(|| ClientError::TimedOut("the group's coordinator was not found".to_owned()))
}

/// [`attempt`], with its history.
async fn told_attempt(
    shared: &Shared,
    owner: &Owner,
    address: &str,
    identity: &Identity,
    offsets: &Offsets,
) -> (Result<(), ClientError>, bool) {
    let sent = shared.tracer.detail(|| Event::CommitSent {
        group: owner.group.clone(),
        member: identity.member_id.clone(),
        generation: identity.epoch,
        offsets: offsets.iter().map(|(partition, committed)| (partition.clone(), committed.offset)).collect(),
    });
    let (outcome, again) = attempt(shared, owner, address, identity, offsets).await;
    if let Some(sent) = sent {
        let error = outcome.as_ref().err().map_or(ErrorCode::None.name(), ClientError::name);
        let group = owner.group.clone();
        let definite = is_definite(&outcome);
        shared.tracer.detail(|| Event::CommitAnswered { group, sent, error: error.into(), definite });
    }
    (outcome, again)
}

/// Whether the commit stands or was refused for certain. A coordinator that is replaced while it waits for its commit to
/// be copied answers NOT_COORDINATOR, and the commit may stand all the same.
fn is_definite(outcome: &Result<(), ClientError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(ClientError::Kafka { code, .. }) => !matches!(
            code,
            ErrorCode::RequestTimedOut
                | ErrorCode::UnknownServerError
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
        ),
        Err(ClientError::Rpc(error)) => {
            matches!(error, RpcError::Connect { .. } | RpcError::Encode(_) | RpcError::NoCommonVersion { .. })
        }
        Err(ClientError::TimedOut(_)) => false,
    }
}

/// Offsets as an OffsetCommit request has them.
pub(in crate::client) fn topics_of(offsets: &Offsets) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: BTreeMap<&Arc<str>, Vec<_>> = BTreeMap::new();
    for (partition, committed) in offsets {
        let one = OffsetCommitRequestPartition::default()
            .with_partition_index(partition.partition)
            .with_committed_offset(committed.offset.0)
            .with_committed_leader_epoch(committed.leader_epoch.0)
            .with_committed_metadata(Some(text(&committed.metadata)));
        topics.entry(&partition.topic).or_default().push(one);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
    });
    topics.collect()
}

/// One commit, and whether it may be tried again.
async fn attempt(
    shared: &Shared,
    owner: &Owner,
    address: &str,
    identity: &Identity,
    offsets: &Offsets,
) -> (Result<(), ClientError>, bool) {
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(&owner.group))
        .with_generation_id_or_member_epoch(identity.epoch)
        .with_member_id(text(&identity.member_id))
        .with_group_instance_id(owner.instance_id.as_deref().filter(|_| identity.epoch >= 0).map(text))
        .with_topics(topics_of(offsets));
    let response = match shared.call(address, ApiKey::OffsetCommit, RequestKind::OffsetCommit(request), None).await {
        Ok(ResponseKind::OffsetCommit(response)) => response,
        Ok(other) => unreachable!("OffsetCommit is not answered by {other:?}"),
        Err(error) => {
            shared.change(|membership, now| membership.coordinator.lost_at(now, address));
            return (Err(error), true);
        }
    };
    let codes = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| one.error_code));
    let Some(code) = codes.map(ErrorCode::from_i16).find(|code| *code != ErrorCode::None) else {
        return (Ok(()), false);
    };
    let again = match code {
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::RequestTimedOut => {
            shared.change(|membership, now| membership.coordinator.lost_at(now, address));
            true
        }
        ErrorCode::CoordinatorLoadInProgress => true,
        // The member has a newer epoch by now, or will be told (KIP-848).
        ErrorCode::StaleMemberEpoch => true,
        code => {
            shared.change(|membership, _| membership.commit_refused(code, identity));
            false
        }
    };
    (Err(ClientError::Kafka { code, message: None }), again)
}

/// What the group has committed for `partitions`; nothing is said of those without a commit.
///
/// # Errors
/// The coordinator was not found or did not answer until `until`, or Kafka's error.
pub(super) async fn committed(
    shared: &Shared,
    owner: &Owner,
    partitions: &[TopicPartition],
    until: Time,
) -> Result<Offsets, ClientError> {
    loop {
        let address = coordinator(shared, until).await?;
        let (group, partitions_asked, coordinator) = (owner.group.clone(), partitions.to_vec(), address.clone());
        let asked = shared.tracer.detail(|| Event::CommittedAsked { group, partitions: partitions_asked, coordinator });
        let error = match ask(shared, owner, &address, partitions).await {
            Ok(offsets) => {
                for (partition, asked) in partitions.iter().filter_map(|partition| Some((partition, asked?))) {
                    let group = owner.group.clone();
                    let offset = offsets.get(partition).map_or(Offset::UNKNOWN, |committed| committed.offset);
                    let partition = partition.clone();
                    shared.tracer.detail(|| Event::CommittedFetched { group, partition, offset, asked });
                }
                return Ok(offsets);
            }
            Err(error) => error,
        };
        let again = match &error {
            ClientError::Kafka { code, .. } => {
                let has_moved = matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable);
                let passes = matches!(code, ErrorCode::StaleMemberEpoch | ErrorCode::UnknownMemberId);
                if has_moved {
                    shared.change(|membership, now| membership.coordinator.lost_at(now, &address));
                }
                code.is_retriable() || (passes && owner.is_modern)
            }
            _ => {
                shared.change(|membership, now| membership.coordinator.lost_at(now, &address));
                true
            }
        };
        if !again || clock::now() >= until {
            return Err(error);
        }
        clock::sleep(shared.cluster.config().retry_backoff).await;
    }
}

async fn ask(
    shared: &Shared,
    owner: &Owner,
    address: &str,
    partitions: &[TopicPartition],
) -> Result<Offsets, ClientError> {
    let mut topics: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
    partitions.iter().for_each(|one| topics.entry(&one.topic).or_default().push(one.partition));
    let topics = topics.into_iter().map(|(topic, indexes)| {
        OffsetFetchRequestTopics::default().with_name(topic_name(topic)).with_partition_indexes(indexes)
    });
    let mut group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(&owner.group))
        .with_member_epoch(-1)
        .with_topics(Some(topics.collect()));
    let identity = shared.look(|membership| membership.identity());
    if owner.is_modern && identity.epoch > 0 {
        group = group.with_member_id(Some(text(&identity.member_id))).with_member_epoch(identity.epoch);
    }
    let request = RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]));
    let ResponseKind::OffsetFetch(response) = shared.call(address, ApiKey::OffsetFetch, request, None).await? else {
        unreachable!("OffsetFetch is answered by OffsetFetch")
    };
    let mut offsets = Offsets::new();
    for group in &response.groups {
        ClientError::check(group.error_code, None)?;
        for topic in &group.topics {
            let name: Arc<str> = Arc::from(&**topic.name);
            for one in &topic.partitions {
                ClientError::check(one.error_code, None)?;
                if one.committed_offset >= 0 {
                    let committed = Committed {
                        offset: Offset(one.committed_offset),
                        leader_epoch: LeaderEpoch(one.committed_leader_epoch),
                        metadata: one.metadata.as_deref().unwrap_or_default().to_owned(),
                    };
                    offsets.insert(TopicPartition::new(name.clone(), one.partition_index), committed);
                }
            }
        }
    }
    Ok(offsets)
}
