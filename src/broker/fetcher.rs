//! Copies from one leader: one task fetches all partitions that follow the same broker.
//!
//! The loop is Kafka's: ask for everything that follows this leader, from each log's end and with the epoch there; cut
//! where the leader says that the logs diverge; append what it sends; take its high watermark. A partition in error
//! pauses for `replica.fetch.backoff.ms`; a leader that does not answer pauses them all.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    config::NodeConfig,
    lifecycle::Registration,
    metadata::MetadataCache,
    partition::{Fetched, FollowerPosition, Partition},
    replicas::Replicas,
};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, Switches, Time, TopicPartition},
    protocol::{
        ErrorCode,
        messages::{
            FetchRequest, FetchResponse, ListOffsetsRequest, OffsetForLeaderEpochRequest, RequestKind, ResponseKind,
            TopicName,
            fetch_request::{FetchPartition, FetchTopic, ReplicaState},
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
    pub changed: Arc<Notify>,
    /// When to stop.
    pub shutdown: Shutdown,
    /// Behaviour switches.
    pub switches: Switches,
}

type Asked = Vec<(Arc<Partition>, FollowerPosition)>;

impl Fetcher {
    /// Copies until its shutdown. That ends the wait for an answer, never what is done with one: a log must not be
    /// closed with half a change.
    pub async fn run(self) {
        let shutdown = &self.shutdown;
        let mut connection: Option<Arc<Connection>> = None;
        let mut paused: BTreeMap<TopicPartition, Time> = BTreeMap::new();
        while !shutdown.is_triggered() {
            let asked = self.asked(&paused).await;
            if asked.is_empty() {
                shutdown.or(self.wait_for_change(paused.values().min().copied())).await;
                paused.retain(|_, until| *until > clock::now());
                continue;
            }
            let round = async {
                let open = match connection.take().filter(|open| !open.is_closed()) {
                    Some(open) => open,
                    None => self.connect().await?,
                };
                let failed = self.ask_epochs(&asked, &open).await?;
                if let Some(failed) = failed {
                    return Ok((open, failed));
                }
                let request = RequestKind::Fetch(self.request(&asked));
                let answer = self.call(&open, request, FETCH_VERSION).await?;
                let ResponseKind::Fetch(response) = answer.body else { return Ok((open, Vec::new())) };
                let failed = trace::caused_by(answer.cause, self.take(&asked, &response, &open)).await;
                Ok::<_, RpcError>((open, failed))
            };
            match round.await {
                Ok((open, failed)) => {
                    let until = clock::now() + self.config.replica_fetch_backoff;
                    paused.extend(failed.into_iter().map(|id| (id, until)));
                    connection = Some(open);
                }
                Err(error) => {
                    tracing::debug!(leader = %self.leader, %error, "a fetch failed");
                    connection = None;
                    let until = clock::now() + self.config.replica_fetch_backoff;
                    shutdown.or(self.wait_for_change(Some(until))).await;
                }
            }
            paused.retain(|_, until| *until > clock::now());
        }
    }

    /// Waits until the partitions to fetch may have changed, at most until `deadline`.
    async fn wait_for_change(&self, deadline: Option<Time>) {
        let Some(deadline) = deadline else { return self.changed.notified().await };
        tokio::select! {
            biased;
            () = self.changed.notified() => {}
            () = clock::sleep_until(deadline) => {}
        }
    }

    /// The partitions that follow this leader, and where each stands.
    async fn asked(&self, paused: &BTreeMap<TopicPartition, Time>) -> Asked {
        let mut asked = Vec::new();
        for partition in self.replicas.all() {
            if paused.contains_key(&partition.id) {
                continue;
            }
            if let Some(position) =
                partition.follower_position().await.filter(|position| position.leader == self.leader)
            {
                asked.push((partition, position));
            }
        }
        asked
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

    fn request(&self, asked: &Asked) -> FetchRequest {
        let mut topics: BTreeMap<[u8; 16], Vec<FetchPartition>> = BTreeMap::new();
        for (partition, position) in asked {
            let wanted = FetchPartition::default()
                .with_partition(partition.id.partition)
                .with_current_leader_epoch(self.current_epoch(position).0)
                .with_fetch_offset(position.offset.0)
                .with_last_fetched_epoch(position.last_epoch.0)
                .with_log_start_offset(position.log_start.0)
                .with_partition_max_bytes(self.config.replica_fetch_max_bytes);
            topics.entry(partition.topic_id.0).or_default().push(wanted);
        }
        let topics = topics.into_iter().map(|(id, partitions)| {
            FetchTopic::default().with_topic_id(Uuid::from_bytes(id)).with_partitions(partitions)
        });
        let replica = ReplicaState::default()
            .with_replica_id(self.registration.node.0.into())
            .with_replica_epoch(self.registration.broker_epoch().0);
        FetchRequest::default()
            .with_replica_state(replica)
            .with_max_wait_ms(self.config.replica_fetch_wait_max.as_millis() as i32)
            .with_min_bytes(self.config.replica_fetch_min_bytes)
            .with_max_bytes(self.config.replica_fetch_response_max_bytes)
            .with_session_epoch(-1)
            .with_topics(topics.collect())
    }

    /// Takes the answers; returns the partitions that have to pause.
    async fn take(&self, asked: &Asked, response: &FetchResponse, open: &Connection) -> Vec<TopicPartition> {
        let mut failed = Vec::new();
        for topic in &response.responses {
            for answer in &topic.partitions {
                let of = |(partition, _): &&(Arc<Partition>, FollowerPosition)| {
                    partition.topic_id.0 == *topic.topic_id.as_bytes()
                        && partition.id.partition == answer.partition_index
                };
                let Some((partition, position)) = asked.iter().find(of) else { continue };
                let fetched = fetched_of(answer);
                let outcome = match fetched.code {
                    ErrorCode::None => partition.take(position, &fetched).await.map_err(|error| error.to_string()),
                    ErrorCode::OffsetOutOfRange => self.ask_range(partition, position, open).await,
                    code => Err(code.to_string()),
                };
                if let Err(problem) = outcome {
                    tracing::debug!(partition = %partition.id, problem, "a fetched partition pauses");
                    failed.push(partition.id.clone());
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
    async fn ask_epochs(&self, asked: &Asked, open: &Connection) -> Result<Option<Vec<TopicPartition>>, RpcError> {
        let mut failed = None;
        for (partition, position) in asked {
            let Some(epoch) = position.asks else { continue };
            let failed = failed.get_or_insert_with(Vec::new);
            let wanted = OffsetForLeaderPartition::default()
                .with_partition(partition.id.partition)
                .with_current_leader_epoch(self.current_epoch(position).0)
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
                    let taken = partition.take_epoch_end(position, end);
                    trace::caused_by(answer.cause, taken).await.map_err(|error| error.to_string())
                }
                None => Err("the leader did not say where its epoch ends".to_owned()),
            };
            if let Err(problem) = taken {
                tracing::debug!(partition = %partition.id, problem, "a partition that has to truncate pauses");
                failed.push(partition.id.clone());
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
