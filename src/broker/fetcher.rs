//! Copies from one leader: one task fetches all partitions that follow the same broker.
//!
//! The loop is Kafka's: ask for everything that follows this leader, from each log's end and with the epoch there; cut
//! where the leader says that the logs diverge; append what it sends; take its high watermark. What has not changed is
//! neither asked for nor answered again: [`super::following`]. A partition in error pauses for
//! `replica.fetch.backoff.ms`; a leader that does not answer pauses them all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    config::NodeConfig,
    following::{Following, Key},
    lifecycle::Registration,
    metadata::MetadataCache,
    partition::{Fetched, FollowerPosition, Partition},
    replicas::Replicas,
};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, Switches, Time, TopicId, TopicPartition},
    protocol::{
        ErrorCode,
        messages::{
            FetchRequest, FetchResponse, ListOffsetsRequest, OffsetForLeaderEpochRequest, RequestKind, ResponseKind,
            TopicName,
            fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState},
            fetch_response::PartitionData,
            list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
            offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        },
    },
    rpc::{Answer, Connection, RpcError, Shutdown},
    runtime::clock,
    trace,
};

const FETCH_VERSION: i16 = 17;
const LIST_OFFSETS_VERSION: i16 = 9;
const EPOCH_END_VERSION: i16 = 4;

/// Fetches from one leader.
pub struct Fetcher {
    /// Whom to copy from.
    pub leader: NodeId,
    /// Settings.
    pub config: Arc<NodeConfig>,
    /// The partitions of this broker.
    pub replicas: Arc<Replicas>,
    /// Where the leader is.
    pub cache: Arc<MetadataCache>,
    /// Who this broker is.
    pub registration: Arc<Registration>,
    /// Rung when the partitions to fetch may have changed.
    pub changed: Arc<Changed>,
    /// When to stop.
    pub shutdown: Shutdown,
    /// Behaviour switches.
    pub switches: Switches,
}

/// Tells a fetcher that the partitions to fetch may be others.
#[derive(Default)]
pub struct Changed {
    is_news: AtomicBool,
    waiting: Notify,
}

impl Changed {
    /// They may be others now.
    pub fn ring(&self) {
        self.is_news.store(true, Ordering::SeqCst);
        self.waiting.notify_one();
    }

    /// Whether that was told since this was asked before.
    fn take(&self) -> bool {
        self.is_news.swap(false, Ordering::SeqCst)
    }

    /// Waits until it is told, at most until `deadline`.
    async fn wait(&self, deadline: Option<Time>) {
        let told = async {
            while !self.is_news.load(Ordering::SeqCst) {
                self.waiting.notified().await;
            }
        };
        let Some(deadline) = deadline else { return told.await };
        tokio::select! {
            biased;
            () = told => {}
            () = clock::sleep_until(deadline) => {}
        }
    }
}

/// Why a round of fetching ended early.
enum Failure {
    /// The leader cannot be spoken with.
    Unreachable(RpcError),
    /// It refused the fetch as a whole.
    Refused(ErrorCode),
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Self::Unreachable(error)
    }
}

impl Fetcher {
    /// Copies until its shutdown. That ends the wait for an answer, never what is done with one: a log must not be
    /// closed with half a change.
    pub async fn run(self) {
        let shutdown = &self.shutdown;
        let mut connection: Option<Arc<Connection>> = None;
        let mut paused: BTreeMap<TopicPartition, Time> = BTreeMap::new();
        let mut following = Following::default();
        self.changed.ring();
        while !shutdown.is_triggered() {
            let (before, now) = (paused.len(), clock::now());
            paused.retain(|_, until| *until > now);
            let ended = paused.len() < before;
            if self.changed.take() || ended {
                following.set_all(self.followed(&paused).await);
            }
            if following.is_empty() {
                shutdown.or(self.changed.wait(paused.values().min().copied())).await;
                continue;
            }
            match self.fetch(&mut following, &mut connection).await {
                Ok(failed) => {
                    let until = clock::now() + self.config.replica_fetch_backoff;
                    for key in failed {
                        paused.extend(following.find(&key).map(|followed| (followed.partition.id.clone(), until)));
                        following.set(key, None);
                    }
                }
                Err(Failure::Refused(
                    code @ (ErrorCode::FetchSessionIdNotFound
                    | ErrorCode::InvalidFetchSessionEpoch
                    | ErrorCode::FetchSessionTopicIdError),
                )) => {
                    tracing::debug!(leader = %self.leader, %code, "beginning another fetch session");
                    following.begin_anew();
                }
                Err(failure) => {
                    match failure {
                        Failure::Unreachable(error) => tracing::debug!(leader = %self.leader, %error, "a fetch failed"),
                        Failure::Refused(code) => tracing::warn!(leader = %self.leader, %code, "a fetch was refused"),
                    }
                    connection = None;
                    let until = clock::now() + self.config.replica_fetch_backoff;
                    shutdown.or(self.changed.wait(Some(until))).await;
                }
            }
        }
    }

    /// One fetch and what it brings; returns the partitions that have to pause.
    async fn fetch(
        &self,
        following: &mut Following,
        connection: &mut Option<Arc<Connection>>,
    ) -> Result<Vec<Key>, Failure> {
        let open = match connection.as_ref().filter(|open| !open.is_closed()) {
            Some(open) => open.clone(),
            None => {
                following.begin_anew();
                connection.insert(self.connect().await?).clone()
            }
        };
        if let Some(failed) = self.ask_epochs(following, &open).await? {
            return Ok(failed);
        }
        let request = RequestKind::Fetch(self.request(following));
        let answer = self.call(&open, request, FETCH_VERSION).await?;
        let ResponseKind::Fetch(response) = answer.body else { unreachable!("an answer is of its request's kind") };
        match ErrorCode::from_i16(response.error_code) {
            ErrorCode::None => {}
            code => return Err(Failure::Refused(code)),
        }
        following.answered(response.session_id);
        Ok(trace::caused_by(answer.cause, self.take(following, &response, &open)).await)
    }

    /// The partitions that follow this leader, and where each stands.
    async fn followed(&self, paused: &BTreeMap<TopicPartition, Time>) -> Vec<(Arc<Partition>, FollowerPosition)> {
        let mut followed = Vec::new();
        for partition in self.replicas.all() {
            if !paused.contains_key(&partition.id)
                && let Some(position) = self.position(&partition).await
            {
                followed.push((partition, position));
            }
        }
        followed
    }

    /// Where a partition stands, if it follows this leader.
    async fn position(&self, partition: &Partition) -> Option<FollowerPosition> {
        partition.follower_position().await.filter(|position| position.leader == self.leader)
    }

    async fn connect(&self) -> Result<Arc<Connection>, RpcError> {
        let image = self.cache.image();
        let listener = &self.config.inter_broker_listener;
        let endpoint = image.broker(self.leader).and_then(|known| known.endpoint(listener).cloned());
        let Some(endpoint) = endpoint else {
            let problem = format!("broker {} has no listener {listener}", self.leader);
            return Err(RpcError::Connect { address: format!("broker {}", self.leader), problem });
        };
        let address = format!("{}:{}", endpoint.host, endpoint.port);
        let client_id = format!("broker-{}-fetcher-{}", self.config.node_id, self.leader);
        let connecting = Connection::connect(&address, &client_id, self.config.replica_socket_timeout);
        self.shutdown.or(connecting).await.unwrap_or(Err(RpcError::Disconnected { address: address.clone() }))
    }

    async fn call(&self, open: &Connection, request: RequestKind, version: i16) -> Result<Answer, RpcError> {
        let call = open.call(request, version, self.config.replica_socket_timeout);
        self.shutdown.or(call).await.unwrap_or_else(|| Err(open.disconnected()))
    }

    fn request(&self, following: &mut Following) -> FetchRequest {
        let (news, gone) = following.news();
        let mut topics: BTreeMap<TopicId, Vec<FetchPartition>> = BTreeMap::new();
        for followed in news {
            let (partition, position) = (followed.partition, followed.position);
            let wanted = FetchPartition::default()
                .with_partition(partition.id.partition)
                .with_current_leader_epoch(self.current_epoch(&position).0)
                .with_fetch_offset(position.offset.0)
                .with_last_fetched_epoch(position.last_epoch.0)
                .with_log_start_offset(position.log_start.0)
                .with_partition_max_bytes(self.config.replica_fetch_max_bytes);
            topics.entry(partition.topic_id).or_default().push(wanted);
        }
        let topics = topics.into_iter().map(|(id, partitions)| {
            FetchTopic::default().with_topic_id(Uuid::from_bytes(id.0)).with_partitions(partitions)
        });
        let mut forgotten: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        gone.into_iter().for_each(|(id, partition)| forgotten.entry(id).or_default().push(partition));
        let forgotten = forgotten.into_iter().map(|(id, partitions)| {
            ForgottenTopic::default().with_topic_id(Uuid::from_bytes(id.0)).with_partitions(partitions)
        });
        let replica = ReplicaState::default()
            .with_replica_id(self.registration.node.0.into())
            .with_replica_epoch(self.registration.broker_epoch().0);
        let (session_id, session_epoch) = following.session();
        FetchRequest::default()
            .with_replica_state(replica)
            .with_max_wait_ms(self.config.replica_fetch_wait_max.as_millis() as i32)
            .with_min_bytes(self.config.replica_fetch_min_bytes)
            .with_max_bytes(self.config.replica_fetch_response_max_bytes)
            .with_session_id(session_id)
            .with_session_epoch(session_epoch)
            .with_topics(topics.collect())
            .with_forgotten_topics_data(forgotten.collect())
    }

    /// Takes the answers; returns the partitions that have to pause.
    async fn take(&self, following: &mut Following, response: &FetchResponse, open: &Connection) -> Vec<Key> {
        let mut failed = Vec::new();
        for topic in &response.responses {
            for answer in &topic.partitions {
                let key = (TopicId(*topic.topic_id.as_bytes()), answer.partition_index);
                let Some(followed) = following.find(&key) else { continue };
                let (partition, position) = (followed.partition.clone(), followed.position);
                let fetched = fetched_of(answer);
                let outcome = match fetched.code {
                    ErrorCode::None => partition.take(&position, &fetched).await.map_err(|error| error.to_string()),
                    ErrorCode::OffsetOutOfRange => self.ask_range(&partition, &position, open).await,
                    code => Err(code.to_string()),
                };
                match outcome {
                    Ok(()) => following.set(key, self.position(&partition).await),
                    Err(problem) => {
                        tracing::debug!(partition = %partition.id, problem, "a fetched partition pauses");
                        failed.push(key);
                    }
                }
            }
        }
        failed
    }

    /// The leader epoch to be fenced by.
    fn current_epoch(&self, position: &FollowerPosition) -> LeaderEpoch {
        if self.switches.fetch_epoch_fencing { position.leader_epoch } else { LeaderEpoch::UNKNOWN }
    }

    /// Asks where epochs end, for the partitions that have to know before they fetch. Returns those that have to
    /// pause; `None` if nobody had to ask.
    async fn ask_epochs(&self, following: &mut Following, open: &Connection) -> Result<Option<Vec<Key>>, RpcError> {
        let mut failed = None;
        let asking: Vec<_> = following.all().filter(|followed| followed.position.asks.is_some()).cloned().collect();
        for followed in asking {
            let (partition, position) = (followed.partition, followed.position);
            let Some(epoch) = position.asks else { continue };
            let failed = failed.get_or_insert_with(Vec::new);
            let wanted = OffsetForLeaderPartition::default()
                .with_partition(partition.id.partition)
                .with_current_leader_epoch(self.current_epoch(&position).0)
                .with_leader_epoch(epoch.0);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(TopicName(partition.id.topic.to_string().into()))
                .with_partitions(vec![wanted]);
            let request = OffsetForLeaderEpochRequest::default()
                .with_replica_id(self.registration.node.0.into())
                .with_topics(vec![topic]);
            let answer = self.call(open, RequestKind::OffsetForLeaderEpoch(request), EPOCH_END_VERSION).await?;
            let ResponseKind::OffsetForLeaderEpoch(response) = answer.body else { continue };
            let found = response.topics.first().and_then(|topic| topic.partitions.first());
            let taken = match found.filter(|found| found.error_code == 0) {
                Some(found) => {
                    let end = (LeaderEpoch(found.leader_epoch), Offset(found.end_offset));
                    let taken = partition.take_epoch_end(&position, end);
                    trace::caused_by(answer.cause, taken).await.map_err(|error| error.to_string())
                }
                None => Err("the leader did not say where its epoch ends".to_owned()),
            };
            let key = (partition.topic_id, partition.id.partition);
            match taken {
                Ok(()) => following.set(key, self.position(&partition).await),
                Err(problem) => {
                    tracing::debug!(partition = %partition.id, problem, "a partition that has to truncate pauses");
                    failed.push(key);
                }
            }
        }
        Ok(failed)
    }

    /// The leader does not have our offset: learn what it has, and cut or begin anew.
    async fn ask_range(
        &self,
        partition: &Partition,
        position: &FollowerPosition,
        open: &Connection,
    ) -> Result<(), String> {
        let end = self.list_offset(partition, position, -1, open).await?;
        let start = self.list_offset(partition, position, -2, open).await?;
        partition.leader_range(position, start, end).await.map_err(|error| error.to_string())
    }

    async fn list_offset(
        &self,
        partition: &Partition,
        position: &FollowerPosition,
        timestamp: i64,
        open: &Connection,
    ) -> Result<Offset, String> {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition.id.partition)
            .with_current_leader_epoch(self.current_epoch(position).0)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(partition.id.topic.to_string().into()))
            .with_partitions(vec![wanted]);
        let request =
            ListOffsetsRequest::default().with_replica_id(self.registration.node.0.into()).with_topics(vec![topic]);
        let answer = self.call(open, RequestKind::ListOffsets(request), LIST_OFFSETS_VERSION).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let ResponseKind::ListOffsets(response) = answer.body else { return Err("another response".to_owned()) };
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.ok_or("an empty response")?;
        match ErrorCode::from_i16(found.error_code) {
            ErrorCode::None => Ok(Offset(found.offset)),
            code => Err(code.to_string()),
        }
    }
}

fn fetched_of(answer: &PartitionData) -> Fetched {
    let diverging = &answer.diverging_epoch;
    let diverges = diverging.epoch >= 0 || diverging.end_offset >= 0;
    Fetched {
        code: ErrorCode::from_i16(answer.error_code),
        high_watermark: Offset(answer.high_watermark),
        log_start: Offset(answer.log_start_offset),
        records: answer.records.clone().unwrap_or_default(),
        diverging: diverges.then_some((LeaderEpoch(diverging.epoch), Offset(diverging.end_offset))),
        leader: (NodeId(answer.current_leader.leader_id.0), LeaderEpoch(answer.current_leader.leader_epoch)),
    }
}
