//! The task behind a group's consumer: it does what the membership says, one step after the other, whether or not the
//! application polls.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    assignor::PartitionCounts,
    config::GroupConfig,
    membership::{Identity, Membership, Step},
};
use crate::{
    base::{Time, TopicId},
    client::{ClientError, Cluster, cluster::topic_name},
    protocol::{
        ErrorCode,
        messages::{ApiKey, RequestKind, ResponseKind, metadata_request::MetadataRequestTopic},
    },
    rpc::{Connection, RpcError},
    runtime::clock,
    trace::{Event, Tracer},
};

/// The first version of JoinGroup with all that is said.
const JOIN_VERSION_MIN: i16 = 7;

/// What the application's side and the background share.
pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    group: Arc<str>,
    pub(super) exclude_internal: bool,
    join_version_max: i16,
    /// For the history of the run.
    pub(super) tracer: Tracer,
    membership: Mutex<Membership>,
    /// The application's side has changed something.
    changed: Notify,
    /// There may be something for the application to do.
    pub(super) demanded: Notify,
    /// The membership or the coordinator may have changed.
    pub(super) moved: Notify,
}

impl Shared {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        config: &GroupConfig,
        tracer: Tracer,
        membership: Membership,
    ) -> Arc<Self> {
        let (exclude_internal, join_version_max) = (config.exclude_internal, config.join_version_max);
        let (group, membership) = (config.group_id.clone(), Mutex::new(membership));
        let (changed, demanded, moved) = (Notify::new(), Notify::new(), Notify::new());
        Arc::new(Self {
            cluster,
            group,
            exclude_internal,
            join_version_max,
            tracer,
            membership,
            changed,
            demanded,
            moved,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().expect("no panic while a membership is held")
    }

    /// Changes the membership, and has the background look again.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Membership, Time) -> T) -> T {
        let changed = change(&mut self.lock(), clock::now());
        self.changed.notify_one();
        changed
    }

    /// Looks at the membership.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Membership) -> T) -> T {
        look(&mut self.lock())
    }

    fn moved(&self, change: impl FnOnce(&mut Membership, Time)) {
        change(&mut self.lock(), clock::now());
        self.demanded.notify_one();
        self.moved.notify_waiters();
    }

    /// Waits until something has moved, at most until `deadline`.
    pub(super) async fn wait(&self, deadline: Time, is_done: impl Fn(&mut Membership) -> bool) -> bool {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.look(&is_done) {
                return true;
            }
            if clock::now() >= deadline {
                return false;
            }
            tokio::select! {
                biased;
                () = moved => {}
                () = clock::sleep_until(deadline) => {}
            }
        }
    }

    /// Asks the coordinator at `address`.
    ///
    /// # Errors
    /// It cannot be reached or does not answer in time.
    pub(super) async fn call(
        &self,
        address: &str,
        api: ApiKey,
        request: RequestKind,
        timeout: Option<Duration>,
    ) -> Result<ResponseKind, ClientError> {
        let (link, version) = self.link(address, api, self.versions(api)).await?;
        let timeout = timeout.unwrap_or(self.cluster.config().request_timeout);
        Ok(link.call(request, version, timeout).await?.body)
    }

    /// The connection to the coordinator at `address`, and the version of `api` to speak there.
    ///
    /// # Errors
    /// It cannot be reached, or serves no version that we speak.
    pub(super) async fn link(
        &self,
        address: &str,
        api: ApiKey,
        ours: (i16, i16),
    ) -> Result<(Arc<Connection>, i16), RpcError> {
        let link = self.cluster.connection_to_coordinator(address).await?;
        let version = link.version_for(api, ours)?;
        Ok((link, version))
    }

    /// The versions that we speak: from the first with all that is said, which brokers since Apache Kafka 3.2 serve (the
    /// consumer protocol's since 4.0).
    fn versions(&self, api: ApiKey) -> (i16, i16) {
        match api {
            ApiKey::FindCoordinator => (4, 6),
            ApiKey::JoinGroup => (JOIN_VERSION_MIN.min(self.join_version_max), self.join_version_max),
            ApiKey::SyncGroup | ApiKey::LeaveGroup => (5, 5),
            ApiKey::Heartbeat => (3, 4),
            ApiKey::ConsumerGroupHeartbeat => (1, 1),
            other => unreachable!("{other:?} is not asked of a coordinator here"),
        }
    }
}

/// Does what the membership says until it is over.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let step = shared.look(|membership| membership.next(clock::now()));
        match step {
            Step::End => return,
            Step::Wait(until) => {
                // A membership that has nothing to do may be waited for.
                shared.moved.notify_waiters();
                let waiting = async {
                    match until {
                        Some(until) => clock::sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = shared.changed.notified() => {}
                    () = waiting => shared.demanded.notify_one(),
                }
            }
            Step::Overdue(Identity { member_id: member, .. }) => {
                shared.tracer.milestone(Event::PollOverdue { group: shared.group.clone(), member });
            }
            Step::Find(request) => {
                let api = ApiKey::FindCoordinator;
                let answer = shared.cluster.call_any(*request, api, shared.versions(api)).await;
                shared.moved(|membership, now| membership.answered(now, answer.map(|answer| answer.body)));
            }
            Step::Call(address, api, request, timeout) => {
                let answer = shared.call(&address, api, *request, timeout).await;
                shared.moved(|membership, now| membership.answered(now, answer));
            }
            Step::Topics(topics) => match counts(&shared, topics).await {
                Ok(counts) => shared.moved(|membership, now| membership.topics(now, counts)),
                Err(_) => clock::sleep(shared.cluster.config().retry_backoff).await,
            },
            Step::Names(ids) => {
                let names = names(&shared.cluster, ids).await.unwrap_or_default();
                shared.moved(|membership, now| membership.names(now, names));
            }
        }
    }
}

/// Number of partitions of `topics`, or of all, as far as they exist.
async fn counts(shared: &Shared, topics: Option<Vec<Arc<str>>>) -> Result<PartitionCounts, ClientError> {
    let is_all = topics.is_none();
    let wanted = topics.map(|topics| {
        topics.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).collect()
    });
    let response = shared.cluster.metadata(wanted, true).await?;
    let is_wanted = |internal: bool| !(is_all && internal && shared.exclude_internal);
    let known = response.topics.iter().filter(|topic| is_wanted(topic.is_internal)).filter_map(|topic| {
        let count = i32::try_from(topic.partitions.len()).expect("a topic has fewer than 2^31 partitions");
        let name = topic.name.as_ref().filter(|_| count > 0)?;
        Some((Arc::from(name.as_str()), count))
    });
    Ok(known.collect())
}

/// What the topics with these ids are called, as far as a broker knows.
async fn names(cluster: &Cluster, ids: Vec<TopicId>) -> Result<BTreeMap<TopicId, Arc<str>>, ClientError> {
    let wanted = ids
        .iter()
        .map(|id| MetadataRequestTopic::default().with_name(None).with_topic_id(uuid::Uuid::from_bytes(id.0)));
    let response = cluster.metadata(Some(wanted.collect()), false).await?;
    let known = response.topics.iter().filter(|topic| ErrorCode::from_i16(topic.error_code) == ErrorCode::None);
    let known = known
        .filter_map(|topic| Some((TopicId(topic.topic_id.into_bytes()), Arc::from(topic.name.as_ref()?.as_str()))));
    Ok(known.collect())
}
