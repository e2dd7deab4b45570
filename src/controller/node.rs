//! The process around the controller: its log on disk, its listener, its timers.
//!
//! Every request goes through one lock: decide, append, sync, replay, answer. With one voter a record is committed when
//! it is synced. Brokers follow the log as observers with Fetch and are woken by each commit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::{
    core::{Controller, ControllerSettings, Decided, elections::Kind},
    events,
    image::MetadataDelta,
};
pub use super::{events::Told, fencing::EndedSessions};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition, random::Random},
    protocol::{
        ErrorCode,
        api::{self, ApiRange},
        frame::Request,
        messages::{
            AllocateProducerIdsRequest, AllocateProducerIdsResponse, BrokerHeartbeatRequest, DescribeClusterRequest,
            DescribeClusterResponse, FetchRequest, FetchResponse, RequestKind, ResponseKind,
            describe_cluster_response::DescribeClusterBroker,
            fetch_response::{FetchableTopicResponse, LeaderIdAndEpoch, PartitionData},
        },
        metadata::{ConfigResource, MetadataRecord},
        records::{BatchBuilder, BatchHeader, Codec, leader_change_batch},
    },
    rpc::{self, Options, Peer, Reply, Service, Shutdown},
    runtime::{clock, disk::Disk, net::Listener, random, task},
    storage::{self, AppendError, Log, LogConfig, LogDirFailure, LogOptions, StorageError},
    trace::{self, Event, Tracer},
};

/// Folder and name of the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";
const PRODUCER_ID_BLOCK: i32 = 1000;

/// What a controller's process is told.
pub struct ControllerConfig {
    /// What the core is told.
    pub settings: ControllerSettings,
    /// `auto.leader.rebalance.enable` with `leader.imbalance.check.interval.seconds`.
    pub rebalance_interval: Option<Duration>,
    /// `unclean.leader.election.interval.ms`.
    pub unclean_interval: Duration,
    /// Limits of the listener.
    pub options: Options,
}

/// Why a controller ended.
#[derive(Debug, Error)]
pub enum ControllerError {
    /// Its log failed.
    #[error("the metadata log failed: {0}")]
    Storage(#[from] StorageError),
    /// The log holds a record that is not known here.
    #[error("the metadata log has a record that cannot be read at offset {offset}: {problem}")]
    Record {
        /// Where.
        offset: Offset,
        /// What is wrong.
        problem: String,
    },
}

struct Node {
    config: ControllerConfig,
    state: Mutex<State>,
    committed: Notify,
    shutdown: Shutdown,
    tracer: Tracer,
    ended_sessions: EndedSessions,
}

struct State {
    controller: Controller,
    log: Log,
    /// Up to here the log is committed; what stands behind it was never synced, and nobody may see it.
    committed: Offset,
    epoch: LeaderEpoch,
    random: Random,
    told: Told,
}

/// Runs a controller over the metadata log in `disk` and serves `listener`, until `shutdown`.
///
/// # Errors
/// The log cannot be opened, read or written.
pub async fn run(
    config: ControllerConfig,
    disk: Disk,
    listener: Listener,
    tracer: Tracer,
    (told, ended_sessions): (Told, EndedSessions),
    shutdown: Shutdown,
) -> Result<(), ControllerError> {
    let state = open(&config, &disk, &tracer, told).await?;
    let options = config.options;
    let (committed, state) = (Notify::new(), Mutex::new(state));
    let node = Arc::new(Node { config, state, committed, shutdown: shutdown.clone(), tracer, ended_sessions });
    task::spawn(watch_time(node.clone()));
    rpc::serve(listener, node.clone(), options, shutdown).await;
    node.state.lock().await.log.close().await?;
    Ok(())
}

/// Opens the log, replays it, and begins a new epoch of leadership.
async fn open(config: &ControllerConfig, disk: &Disk, tracer: &Tracer, told: Told) -> Result<State, ControllerError> {
    let folder = format!("{METADATA_TOPIC}-0");
    let options = LogOptions {
        partition: TopicPartition::new(METADATA_TOPIC, 0),
        config: LogConfig { flush_messages: i64::MAX, ..LogConfig::default() },
        // What was not synced was not committed: checking the tail costs little.
        clean: false,
        recovery_point: Offset::ZERO,
        start_offset: Offset::ZERO,
        high_watermark: Offset::ZERO,
        switches: config.settings.switches,
        tracer: Tracer::off(),
        // A controller that cannot write stops by itself.
        failures: LogDirFailure::default(),
    };
    let log = Log::open(disk, &folder, options).await?;
    let mut controller = Controller::new(config.settings.clone());
    let found = replay_log(&log, &mut controller, told.end()).await?;
    controller.begin_sessions(clock::now());
    let epoch = LeaderEpoch(log.latest_epoch().0.max(0) + 1);
    let (node, voters) = (config.settings.node, [config.settings.node]);
    let quorum_state = serde_json::json!({
        "leaderId": node.0, "leaderEpoch": epoch.0, "votedId": -1, "appliedOffset": 0,
        "currentVoters": [{"voterId": node.0}], "data_version": 0,
    });
    storage::replace_file(disk, &format!("{folder}/quorum-state"), quorum_state.to_string().as_bytes()).await?;
    let is_new = log.end_offset() == Offset::ZERO;
    let committed = log.end_offset();
    let mut state = State { controller, log, committed, epoch, random: random::stream("controller"), told };
    let batch = leader_change_batch(state.log.end_offset(), epoch, node, &voters, clock::wall_ms());
    append(&mut state, &batch).await?;
    state.told.tell(tracer, found);
    if is_new {
        let records = bootstrap_records(&config.settings.topic_defaults);
        commit(&mut state, records, tracer).await?;
    }
    Ok(state)
}

/// Replays the log. Returns what it says from `told` on, each event with the offset after its record.
async fn replay_log(
    log: &Log,
    controller: &mut Controller,
    told: Offset,
) -> Result<Vec<(Offset, Event)>, ControllerError> {
    let (mut from, mut untold) = (log.start_offset(), Vec::new());
    while from < log.end_offset() {
        let bytes = log.read(from, log.end_offset(), 1 << 20, true).await?;
        for (offset, record) in
            super::decode_batches(&bytes).map_err(|problem| ControllerError::Record { offset: from, problem })?
        {
            let mut delta = MetadataDelta::default();
            if offset > told {
                let decided = events::found(controller.image(), record);
                untold.extend(events::replay(controller, &decided, &mut delta, clock::now(), offset));
            } else {
                controller.replay(&record, &mut delta, clock::now());
            }
            from = from.max(offset);
        }
        from = super::end_of(&bytes).unwrap_or(log.end_offset());
    }
    Ok(untold)
}

/// What a new cluster begins with. As with Kafka's eligible leader replicas, `min.insync.replicas` is the cluster's from here
/// on, and what the brokers' properties say of it counts no more: it begins with what the controller's say.
fn bootstrap_records(topic_defaults: &BTreeMap<&'static str, String>) -> Vec<Decided> {
    const MIN_INSYNC: &str = "min.insync.replicas";
    let level = MetadataRecord::FeatureLevel { name: "metadata.version".to_owned(), level: api::METADATA_VERSIONS.1 };
    let min_insync = MetadataRecord::Config {
        resource: ConfigResource::Broker,
        name: String::new(),
        key: MIN_INSYNC.to_owned(),
        value: Some(topic_defaults.get(MIN_INSYNC).map_or_else(|| "1".to_owned(), |value| value.trim().to_owned())),
    };
    let decided = |record| Decided { record, election: trace::Election::None, reason: "a new cluster".to_owned() };
    vec![decided(level), decided(min_insync)]
}

/// Appends a batch and syncs it: with one voter it is committed then.
async fn append(state: &mut State, batch: &Bytes) -> Result<(), StorageError> {
    let header = BatchHeader::parse(batch).expect("the controller writes sound batches");
    let appended = state.log.append_as_leader(&header, batch, state.epoch, clock::wall_ms()).await;
    appended.map_err(|error| match error {
        AppendError::Storage(error) => error,
        other => unreachable!("the controller's batch has no producer: {other}"),
    })?;
    state.log.flush().await?;
    state.committed = state.log.end_offset();
    Ok(())
}

/// Makes records true: appended as one batch, synced, replayed, reported.
async fn commit(state: &mut State, records: Vec<Decided>, tracer: &Tracer) -> Result<(), StorageError> {
    if records.is_empty() {
        return Ok(());
    }
    let mut batch = BatchBuilder::new(Codec::None);
    let now_ms = clock::wall_ms();
    records.iter().for_each(|decided| batch.push(now_ms, None, Some(&decided.record.encode()), &[]));
    let mut end = state.log.end_offset();
    append(state, &batch.build()).await?;
    let (mut delta, mut events) = (MetadataDelta::default(), Vec::new());
    for decided in &records {
        end = end.next();
        events.extend(events::replay(&mut state.controller, decided, &mut delta, clock::now(), end));
    }
    state.told.tell(tracer, events);
    Ok(())
}

impl Node {
    /// Commits what a handler decided and wakes those who follow the log. A disk that fails ends the process: a
    /// controller that cannot write must not answer.
    async fn commit(&self, state: &mut MutexGuard<'_, State>, records: Vec<Decided>) -> bool {
        if records.is_empty() {
            return true;
        }
        match commit(state, records, &self.tracer).await {
            Ok(()) => {
                self.committed.notify_waiters();
                true
            }
            Err(error) => {
                tracing::error!(%error, "the metadata log cannot be written; the controller stops");
                self.shutdown.trigger();
                false
            }
        }
    }

    async fn answer(&self, request: Request) -> Option<ResponseKind> {
        let now = clock::now();
        let mut guard = self.state.lock().await;
        let state = &mut *guard;
        let (response, records): (ResponseKind, Vec<Decided>) = match request.body {
            RequestKind::BrokerRegistration(body) => {
                let next = state.log.end_offset();
                let decision = state.controller.register_broker(&body, next, now);
                (decision.response.into(), decision.records)
            }
            RequestKind::BrokerHeartbeat(body) => return self.heartbeat(guard, &body).await,
            RequestKind::AlterPartition(body) => {
                let decision = state.controller.alter_partition(&body);
                (decision.response.into(), decision.records)
            }
            RequestKind::CreateTopics(body) => {
                let decision = state.controller.create_topics(&body, request.version, &mut state.random);
                (decision.response.into(), decision.records)
            }
            RequestKind::DeleteTopics(body) => {
                let decision = state.controller.delete_topics(&body, request.version);
                (decision.response.into(), decision.records)
            }
            RequestKind::CreatePartitions(body) => {
                let decision = state.controller.create_partitions(&body, &mut state.random);
                (decision.response.into(), decision.records)
            }
            RequestKind::IncrementalAlterConfigs(body) => {
                let decision = state.controller.incremental_alter_configs(&body);
                (decision.response.into(), decision.records)
            }
            RequestKind::ElectLeaders(body) => {
                let decision = state.controller.elect_leaders(&body, request.version);
                (decision.response.into(), decision.records)
            }
            RequestKind::AlterPartitionReassignments(body) => {
                let decision = state.controller.alter_partition_reassignments(&body);
                (decision.response.into(), decision.records)
            }
            RequestKind::ListPartitionReassignments(body) => {
                (state.controller.list_partition_reassignments(&body).into(), vec![])
            }
            RequestKind::AllocateProducerIds(body) => allocate_producer_ids(&state.controller, &body),
            RequestKind::DescribeCluster(body) => (describe_cluster(&state.controller, &body, request.version), vec![]),
            RequestKind::ApiVersions(body) => {
                let (features, epoch) = (state.controller.image().features(), state.log.end_offset().0);
                let answer = api::versions_response(api::CONTROLLER, &body, request.version, features, epoch);
                (answer.into(), vec![])
            }
            other => unreachable!("the table of the controller's listener has no {other:?}"),
        };
        let config_changed = matches!(response, ResponseKind::IncrementalAlterConfigs(_)) && !records.is_empty();
        if !self.commit(&mut guard, records).await {
            return None;
        }
        if config_changed {
            // A partition without leader may have one now.
            let elected = guard.controller.periodic_elections(Kind::Online);
            self.commit(&mut guard, elected).await;
        }
        Some(response)
    }

    async fn heartbeat(
        &self,
        mut guard: MutexGuard<'_, State>,
        request: &BrokerHeartbeatRequest,
    ) -> Option<ResponseKind> {
        let broker = NodeId(request.broker_id.0);
        guard.controller.note_contact(broker, Offset(request.current_metadata_offset), clock::now());
        let decision = guard.controller.heartbeat(request);
        let begins_to_leave = decision.records.iter().any(|decided| {
            matches!(decided.record, MetadataRecord::BrokerRegistrationChange { in_controlled_shutdown: true, .. })
        });
        if !self.commit(&mut guard, decision.records).await {
            return None;
        }
        if begins_to_leave {
            let end = guard.log.end_offset().plus(-1);
            guard.controller.note_shutdown(broker, end);
        }
        Some(decision.response.into())
    }

    /// Serves the log to an observer: waits for records if there are none.
    async fn fetch(self: Arc<Self>, request: FetchRequest, version: i16) -> ResponseKind {
        let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let deadline = clock::now() + max_wait;
        loop {
            let committed = self.committed.notified();
            tokio::pin!(committed);
            committed.as_mut().enable();
            let (response, is_empty) = self.read(&request, version).await;
            let left = deadline.since(clock::now());
            if !is_empty || left.is_zero() || self.shutdown.is_triggered() {
                return response.into();
            }
            // Either the time or a commit ends the wait; both lead to another look.
            let _ = clock::timeout(left, self.shutdown.or(committed)).await;
        }
    }

    async fn read(&self, request: &FetchRequest, version: i16) -> (FetchResponse, bool) {
        let state = self.state.lock().await;
        let end = state.committed;
        let (mut topics, mut is_empty) = (Vec::new(), true);
        for topic in &request.topics {
            let known = match version {
                13.. => TopicId(*topic.topic_id.as_bytes()) == TopicId::METADATA,
                _ => topic.topic.as_str() == METADATA_TOPIC,
            };
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let data = PartitionData::default().with_partition_index(asked.partition);
                let code = match known {
                    false if version >= 13 => ErrorCode::UnknownTopicId,
                    false => ErrorCode::UnknownTopicOrPartition,
                    true if asked.current_leader_epoch > state.epoch.0 => ErrorCode::UnknownLeaderEpoch,
                    true if asked.current_leader_epoch != -1 && asked.current_leader_epoch < state.epoch.0 => {
                        ErrorCode::FencedLeaderEpoch
                    }
                    true => ErrorCode::None,
                };
                let from = Offset(asked.fetch_offset);
                let read = match code {
                    ErrorCode::None => state.log.read(from, end, asked.partition_max_bytes.max(1) as usize, true).await,
                    _ => Ok(Bytes::new()),
                };
                let (code, records) = match read {
                    Ok(records) => (code, records),
                    Err(StorageError::OutOfRange { .. }) => (ErrorCode::OffsetOutOfRange, Bytes::new()),
                    Err(error) => {
                        tracing::error!(%error, "the metadata log cannot be read");
                        (ErrorCode::KafkaStorageError, Bytes::new())
                    }
                };
                is_empty &= records.is_empty() && code == ErrorCode::None;
                let mut data = data.with_error_code(code.code()).with_high_watermark(end.0);
                data = data.with_last_stable_offset(end.0).with_log_start_offset(state.log.start_offset().0);
                if version >= 12 {
                    let leader = LeaderIdAndEpoch::default().with_leader_epoch(state.epoch.0);
                    data = data.with_current_leader(leader.with_leader_id(self.config.settings.node.0.into()));
                }
                partitions.push(data.with_records(Some(records)));
            }
            let answer = FetchableTopicResponse::default().with_partitions(partitions);
            topics.push(match version {
                13.. => answer.with_topic_id(topic.topic_id),
                _ => answer.with_topic(topic.topic.clone()),
            });
        }
        (FetchResponse::default().with_responses(topics), is_empty)
    }
}

impl Service for Node {
    fn served(&self) -> &'static [ApiRange] {
        api::CONTROLLER
    }

    async fn begin(self: Arc<Self>, _peer: &Peer, request: Request) -> Reply {
        match request.body {
            RequestKind::Fetch(body) => Reply::later(self.clone().fetch(body, request.version)),
            _ => match self.answer(request).await {
                Some(response) => Reply::Now(Box::new(response)),
                None => Reply::Close,
            },
        }
    }
}

fn allocate_producer_ids(
    controller: &Controller,
    request: &AllocateProducerIdsRequest,
) -> (ResponseKind, Vec<Decided>) {
    let broker = NodeId(request.broker_id.0);
    let answer = AllocateProducerIdsResponse::default();
    match controller.image().broker(broker) {
        Some(known) if known.epoch.0 == request.broker_epoch => {
            let first = controller.image().next_producer_id();
            let next_producer_id = crate::base::ProducerId(first.0 + i64::from(PRODUCER_ID_BLOCK));
            let record = MetadataRecord::ProducerIds { broker, broker_epoch: known.epoch, next_producer_id };
            let reason = format!("broker {broker} needs producer ids");
            let decided = Decided { record, election: trace::Election::None, reason };
            let block = answer.with_producer_id_start(first.0.into()).with_producer_id_len(PRODUCER_ID_BLOCK);
            (block.into(), vec![decided])
        }
        Some(_) => (answer.with_error_code(ErrorCode::StaleBrokerEpoch.code()).into(), vec![]),
        None => (answer.with_error_code(ErrorCode::BrokerIdNotRegistered.code()).into(), vec![]),
    }
}

fn describe_cluster(controller: &Controller, request: &DescribeClusterRequest, version: i16) -> ResponseKind {
    let answer = DescribeClusterResponse::default()
        .with_cluster_id(controller.settings().cluster_id.clone().into())
        .with_controller_id(controller.settings().node.0.into())
        .with_cluster_authorized_operations(i32::MIN);
    let answer = if version >= 1 { answer.with_endpoint_type(request.endpoint_type) } else { answer };
    let brokers = controller.image().brokers().filter_map(|known| {
        let endpoint = known.endpoints.first()?;
        let broker = DescribeClusterBroker::default()
            .with_broker_id(known.id.0.into())
            .with_host(endpoint.host.clone().into())
            .with_port(i32::from(endpoint.port))
            .with_rack(known.rack.clone().map(Into::into));
        Some(if version >= 2 { broker.with_is_fenced(known.fenced) } else { broker })
    });
    answer.with_brokers(brokers.collect()).into()
}

/// Fences brokers that fall silent, and holds the elections that time brings.
async fn watch_time(node: Arc<Node>) {
    let mut next_unclean = clock::now() + node.config.unclean_interval;
    let mut next_rebalance = node.config.rebalance_interval.map(|interval| clock::now() + interval);
    loop {
        let expiry = node.state.lock().await.controller.next_expiry();
        // Without anyone to watch, look again soon: a broker may register meanwhile.
        let soon = clock::now() + Duration::from_millis(500);
        let next = [expiry, Some(next_unclean), next_rebalance, Some(soon)].into_iter().flatten().min();
        let wake = next.expect("one of them is set") + Duration::from_millis(1);
        let turn = async {
            tokio::select! {
                biased;
                () = clock::sleep_until(wake) => {}
                () = node.ended_sessions.asked() => {}
            }
        };
        if node.shutdown.or(turn).await.is_none() {
            return;
        }
        let now = clock::now();
        let mut guard = node.state.lock().await;
        for (broker, cause) in node.ended_sessions.take() {
            let records = guard.controller.end_session(broker);
            if !trace::caused_by(cause, node.commit(&mut guard, records)).await {
                return;
            }
        }
        while let Some((_, records)) = guard.controller.expired_session(now) {
            if !node.commit(&mut guard, records).await {
                return;
            }
        }
        if now >= next_unclean {
            next_unclean = now + node.config.unclean_interval;
            let records = guard.controller.periodic_elections(Kind::Online);
            node.commit(&mut guard, records).await;
        }
        if let (Some(due), Some(interval)) = (next_rebalance, node.config.rebalance_interval)
            && now >= due
        {
            next_rebalance = Some(now + interval);
            let records = guard.controller.periodic_elections(Kind::Preferred);
            node.commit(&mut guard, records).await;
        }
    }
}
