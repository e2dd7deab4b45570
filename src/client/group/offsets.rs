//! Commits, and what was committed: OffsetCommit and OffsetFetch.
//!
//! Commits of one consumer go one after the other, so that an older one is never written over a newer.
//!
//! As in Kafka's client a member of the consumer protocol names topics by their ids (version 10), where the coordinator
//! reads that and all ids are known; a classic member by their names. An id that the coordinator does not know is that
//! of a topic which was deleted, or which it has not heard of yet. Who asks for offsets asks for metadata then, and tries
//! again. A commit is tried again with the id that metadata has by then, and asks for none that is younger than
//! `metadata.max.age.ms`, as Kafka's: where the topic was made again, its offsets are those of another log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    background::Shared,
    membership::{Identity, group_id, text},
};
use crate::{
    base::{LeaderEpoch, Offset, Time, TopicId, TopicPartition},
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

/// Versions of OffsetCommit that we speak, by name.
const COMMIT: (i16, i16) = (7, 9);
/// Versions of OffsetFetch that we speak, by name.
const FETCH: (i16, i16) = (8, 9);
/// The version of both that names topics by their ids (KIP-848).
const BY_ID: i16 = 10;

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
    /// Until when it is answered, whatever is before it in the queue.
    pub(super) until: Time,
    /// Whether it is tried again until then.
    pub(super) retries: bool,
    /// Whether whoever commits means to be a member: then it does not commit as one from outside.
    pub(super) subscribed: bool,
    pub(super) outcome: oneshot::Sender<Result<(), ClientError>>,
}

impl Commit {
    /// As whom it is sent.
    ///
    /// # Errors
    /// Nothing is to be sent now.
    fn identity(&self, shared: &Shared) -> Result<Identity, ClientError> {
        match self.subscribed {
            true => shared.look(|membership| membership.commits_as()),
            false => Ok(Identity::outside()),
        }
    }

    /// What it says, for the history.
    fn named(&self) -> Vec<(TopicPartition, Offset)> {
        self.offsets.iter().map(|(partition, committed)| (partition.clone(), committed.offset)).collect()
    }
}

/// Whose offsets these are.
pub(super) struct Owner {
    pub(super) group: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    /// In the consumer protocol a member says who it is when it asks for offsets.
    pub(super) is_modern: bool,
}

/// How topics are called in a request: by their ids, where all are known and the version says ids.
struct Names(BTreeMap<Arc<str>, TopicId>);

impl Names {
    /// Of the topics of `partitions`; none has an id unless `owner` may use them and all are known to `id_of`.
    fn new<'a>(
        owner: &Owner,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        id_of: impl Fn(&str) -> Option<TopicId>,
    ) -> Self {
        let ids = partitions.map(|one| Some((one.topic.clone(), id_of(&one.topic)?))).collect::<Option<_>>();
        Self(ids.filter(|_| owner.is_modern).unwrap_or_default())
    }

    /// The versions that can be spoken, of those by name and that by id.
    fn versions(&self, (lowest, highest): (i16, i16)) -> (i16, i16) {
        (lowest, if self.0.is_empty() { highest } else { BY_ID })
    }

    /// The id that a request of `version` has for `topic`.
    fn id(&self, topic: &str, version: i16) -> Uuid {
        let id = self.0.get(topic).filter(|_| version >= BY_ID);
        id.map_or(Uuid::nil(), |id| Uuid::from_bytes(id.0))
    }

    /// The topic that an answer is about.
    fn topic(&self, name: &str, id: Uuid) -> Option<Arc<str>> {
        if id.is_nil() {
            return Some(Arc::from(name));
        }
        self.0.iter().find(|(_, known)| known.0 == id.into_bytes()).map(|(name, _)| name.clone())
    }
}

/// Why a commit failed, whether it may be tried again, and whether it was sent.
struct Failed {
    error: ClientError,
    again: bool,
    sent: bool,
}

impl Failed {
    fn by_itself(error: ClientError) -> Self {
        Self { error, again: false, sent: false }
    }
}

/// Carries out commits until nobody can ask for one any more.
pub(super) async fn run(shared: Arc<Shared>, owner: Arc<Owner>, mut commits: mpsc::UnboundedReceiver<Commit>) {
    while let Some(commit) = commits.recv().await {
        let outcome = loop {
            match attempt(&shared, &owner, &commit).await {
                Err(failed) if failed.again && commit.retries && clock::now() < commit.until => {}
                Err(failed) => {
                    if !failed.sent {
                        tell_not_sent(&shared, &owner, &commit, &failed.error);
                    }
                    break Err(failed.error);
                }
                Ok(()) => break Ok(()),
            }
            clock::sleep(shared.cluster.config().retry_backoff).await;
        };
        let _ = commit.outcome.send(outcome);
    }
}

/// Where the coordinator is, once somebody knows.
async fn coordinator(shared: &Shared, until: Time) -> Result<Arc<str>, ClientError> {
    shared.change(|membership, _| membership.coordinator.want());
    shared.wait(until, |membership| membership.coordinator.address().is_some()).await;
    let address = shared.look(|membership| membership.coordinator.address());
    address.ok_or_else(|| ClientError::TimedOut("the group's coordinator was not found".to_owned()))
}

fn tell_not_sent(shared: &Shared, owner: &Owner, commit: &Commit, error: &ClientError) {
    shared.tracer.detail(|| Event::CommitNotSent {
        group: owner.group.clone(),
        member: shared.look(|membership| membership.identity()).member_id,
        offsets: commit.named(),
        error: error.name().into(),
    });
}

/// One try. Whether its member may commit is asked last, behind everything that is waited for: so no commit is sent
/// behind the JoinGroup of its member.
async fn attempt(shared: &Shared, owner: &Owner, commit: &Commit) -> Result<(), Failed> {
    let address = coordinator(shared, commit.until).await.map_err(Failed::by_itself)?;
    if clock::now() >= commit.until {
        return Err(Failed::by_itself(ClientError::TimedOut("the commit did not come to its turn".to_owned())));
    }
    commit.identity(shared).map_err(Failed::by_itself)?;
    let age_max = shared.cluster.config().metadata_age_max;
    if shared.cluster.updated().is_none_or(|at| clock::now() >= at + age_max) {
        ask_for_ids(shared, commit.offsets.keys()).await;
    }
    let names = Names::new(owner, commit.offsets.keys(), |topic| shared.cluster.topic_id(topic));
    let unreachable = |error: RpcError| {
        shared.change(|membership, now| membership.coordinator.lost_at(now, &address));
        Failed { error: error.into(), again: true, sent: false }
    };
    let ours = names.versions(COMMIT);
    let (link, version) = shared.link(&address, ApiKey::OffsetCommit, ours).await.map_err(unreachable)?;
    let identity = commit.identity(shared).map_err(Failed::by_itself)?;
    let sent = shared.tracer.detail(|| Event::CommitSent {
        group: owner.group.clone(),
        member: identity.member_id.clone(),
        generation: identity.epoch,
        offsets: commit.named(),
    });
    let request = request(owner, &identity, &commit.offsets, &names, version);
    let limit = shared.cluster.config().request_timeout.min(commit.until.since(clock::now()));
    let outcome = match link.call(request, version, limit).await {
        Ok(answer) => understood(shared, &address, &identity, &answer.body),
        Err(error) => Err(Failed { sent: true, ..unreachable(error) }),
    };
    if let Some(sent) = sent {
        let told = outcome.as_ref().map_err(|failed| &failed.error);
        let error = told.map_or_else(|error| error.name(), |()| ErrorCode::None.name());
        let (group, definite) = (owner.group.clone(), is_definite(told.copied()));
        shared.tracer.detail(|| Event::CommitAnswered { group, sent, error: error.into(), definite });
    }
    outcome
}

/// Whether the commit stands or was refused for certain. A coordinator that is replaced while it waits for its commit to
/// be copied answers NOT_COORDINATOR, and the commit may stand all the same.
fn is_definite(outcome: Result<(), &ClientError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(ClientError::Kafka { code, .. }) => !matches!(
            code,
            ErrorCode::RequestTimedOut
                | ErrorCode::UnknownServerError
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
        ),
        Err(ClientError::Rpc(error)) => !error.may_be_carried_out(),
        Err(ClientError::TimedOut(_) | ClientError::Misused(_)) => false,
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

/// OffsetCommit, in `version`.
fn request(owner: &Owner, identity: &Identity, offsets: &Offsets, names: &Names, version: i16) -> RequestKind {
    let mut request = OffsetCommitRequest::default()
        .with_group_id(group_id(&owner.group))
        .with_generation_id_or_member_epoch(identity.epoch)
        .with_member_id(text(&identity.member_id))
        .with_group_instance_id(owner.instance_id.as_deref().filter(|_| identity.epoch >= 0).map(text))
        .with_topics(topics_of(offsets));
    request.topics.iter_mut().for_each(|topic| topic.topic_id = names.id(&topic.name, version));
    RequestKind::OffsetCommit(request)
}

/// What the coordinator at `address` says to a commit of `identity`.
fn understood(shared: &Shared, address: &str, identity: &Identity, response: &ResponseKind) -> Result<(), Failed> {
    let ResponseKind::OffsetCommit(response) = response else { unreachable!("OffsetCommit, not {response:?}") };
    let codes = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| one.error_code));
    let Some(code) = codes.map(ErrorCode::from_i16).find(|code| *code != ErrorCode::None) else {
        return Ok(());
    };
    let again = match code {
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::RequestTimedOut => {
            shared.change(|membership, now| membership.coordinator.lost_at(now, address));
            true
        }
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition => true,
        // The member has a newer epoch by now, or will be told (KIP-848).
        ErrorCode::StaleMemberEpoch => true,
        code => {
            shared.change(|membership, _| membership.commit_refused(code, identity));
            false
        }
    };
    Err(Failed { error: ClientError::Kafka { code, message: None }, again, sent: true })
}

/// Asks for metadata of the topics of `partitions`, whose ids are not those that the coordinator knows.
async fn ask_for_ids(shared: &Shared, partitions: impl Iterator<Item = &TopicPartition>) {
    let topics: BTreeSet<Arc<str>> = partitions.map(|one| one.topic.clone()).collect();
    // Without an answer the next try asks again.
    let _ = shared.cluster.refresh(&topics.into_iter().collect::<Vec<_>>()).await;
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
                if *code == ErrorCode::UnknownTopicId {
                    ask_for_ids(shared, partitions.iter()).await;
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
    let identity = shared.look(|membership| membership.identity());
    let names = Names::new(owner, partitions.iter(), |topic| shared.cluster.topic_id(topic));
    let (link, version) = shared.link(address, ApiKey::OffsetFetch, names.versions(FETCH)).await?;
    let topics = topics.into_iter().map(|(topic, indexes)| {
        OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_topic_id(names.id(topic, version))
            .with_partition_indexes(indexes)
    });
    let mut group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(&owner.group))
        .with_member_epoch(-1)
        .with_topics(Some(topics.collect()));
    if owner.is_modern && identity.epoch > 0 {
        group = group.with_member_id(Some(text(&identity.member_id))).with_member_epoch(identity.epoch);
    }
    let request = RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]));
    let answer = link.call(request, version, shared.cluster.config().request_timeout).await?.body;
    let ResponseKind::OffsetFetch(response) = answer else { unreachable!("OffsetFetch is answered by OffsetFetch") };
    let mut offsets = Offsets::new();
    for group in &response.groups {
        ClientError::check(group.error_code, None)?;
        for topic in &group.topics {
            let Some(name) = names.topic(&topic.name, topic.topic_id) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_go_by_id_where_the_protocol_says_ids_and_all_are_known() {
        let known = [("a", 1), ("b", 2)];
        let id_of = |topic: &str| {
            let found = known.iter().find(|(name, _)| *name == topic);
            found.map(|(_, id)| TopicId(Uuid::from_u128(*id).into_bytes()))
        };
        // The protocol, the topics; the highest version, and the id of the first topic in it.
        for (is_modern, topics, highest, id) in [
            (true, vec!["a"], 10, 1),
            (true, vec!["b", "a"], 10, 2),
            (true, vec!["a", "c"], 9, 0),
            (true, vec!["c"], 9, 0),
            (false, vec!["a", "b"], 9, 0),
        ] {
            let owner = Owner { group: "g".into(), instance_id: None, is_modern };
            let partitions: Vec<_> = topics.iter().map(|topic| TopicPartition::new(*topic, 0)).collect();
            let names = Names::new(&owner, partitions.iter(), id_of);
            assert_eq!(names.versions(COMMIT), (7, highest), "{is_modern}, {topics:?}");
            let id = Uuid::from_u128(id);
            assert_eq!(names.id(topics[0], highest), id, "{is_modern}, {topics:?}");
            assert_eq!(names.id(topics[0], 9), Uuid::nil(), "a coordinator that reads no ids gets none");
            let told = if id.is_nil() { topics[0] } else { "" };
            assert_eq!(names.topic(told, id).as_deref(), Some(topics[0]));
        }
    }
}
