//! One partition on this broker: its log and its role, behind one lock.
//!
//! The decisions are those of [`crate::replica::Leader`]; here they meet the disk, the waiting requests and the
//! journal. Requests that must wait leave a waiter: an acks=all produce until the high watermark reaches its records, a
//! fetch until there is more to read.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use super::settings::TopicSettings;
use crate::{
    base::{
        BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, Switches, Timestamp, TopicId, TopicPartition, mark,
        switches::Truncate,
    },
    controller::image::PartitionRegistration,
    protocol::{
        ErrorCode,
        records::{Refusal, TimestampType, validate_produce, with_append_time},
    },
    replica::{Ack, Leader, LeaderStart, Proposal, diverging_epoch, truncation_offset},
    runtime::clock,
    storage::{AppendError, Log, SequenceError, StorageError, TimestampedOffset},
    trace::{Event, Role, Tracer},
};

/// What a partition needs from its broker.
#[derive(Clone)]
pub struct PartitionContext {
    /// This broker.
    pub node: NodeId,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// Behaviour switches.
    pub switches: Switches,
    /// Where events go.
    pub tracer: Tracer,
    /// Where proposals for the ISR go.
    pub isr_changes: mpsc::UnboundedSender<IsrChange>,
}

/// A proposal on its way to the controller.
pub struct IsrChange {
    /// Of which partition.
    pub partition: Arc<Partition>,
    /// What is proposed.
    pub proposal: Proposal,
}

/// A replica on this broker.
pub struct Partition {
    /// Topic and index.
    pub id: TopicPartition,
    /// Id of the topic.
    pub topic_id: TopicId,
    context: PartitionContext,
    state: Mutex<State>,
}

struct State {
    log: Log,
    role: Standing,
    leader: NodeId,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    /// As follower; a leader's own is in its core.
    high_watermark: Offset,
    settings: TopicSettings,
    acks: Vec<AckWaiter>,
    fetches: Vec<Arc<Notify>>,
}

enum Standing {
    Leader(Box<Leader>),
    Follower,
}

struct AckWaiter {
    end_offset: Offset,
    base_offset: Offset,
    answer: oneshot::Sender<ErrorCode>,
}

/// What became of a produced batch.
#[derive(Debug)]
pub struct Accepted {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The broker's time, if the topic asks for it; else -1.
    pub append_time_ms: Timestamp,
    /// First offset of the log.
    pub log_start: Offset,
    /// With acks=all: the code to answer with, when it is known.
    pub committed: Option<oneshot::Receiver<ErrorCode>>,
}

/// Who fetches.
#[derive(Clone, Copy, Debug)]
pub enum Fetcher {
    /// A consumer reads up to the high watermark.
    Consumer,
    /// A follower reads to the end; its fetch tells how far it is.
    Replica {
        /// Which broker.
        id: NodeId,
        /// Its incarnation, or -1.
        epoch: BrokerEpoch,
        /// Whether the metadata lets it into an ISR.
        eligible: bool,
        /// Whether this read tells how far it is: the first of a fetch does, a second look after waiting does not.
        tells: bool,
    },
}

impl Fetcher {
    /// The same asker looking again.
    #[must_use]
    pub fn without_news(self) -> Self {
        match self {
            Self::Consumer => self,
            Self::Replica { id, epoch, eligible, .. } => Self::Replica { id, epoch, eligible, tells: false },
        }
    }
}

/// A fetch of one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchParams {
    /// Who asks.
    pub fetcher: Fetcher,
    /// First offset wanted.
    pub offset: Offset,
    /// The asker's idea of the leader epoch, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// Epoch of the asker's last record, or -1.
    pub last_fetched_epoch: LeaderEpoch,
    /// About how much to read.
    pub max_bytes: usize,
    /// Whether to read one batch even if it is larger.
    pub at_least_one: bool,
}

/// What a fetch of one partition gives.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What kept it from reading.
    pub code: ErrorCode,
    /// High watermark, -1 beside most errors.
    pub high_watermark: Offset,
    /// First offset, -1 beside most errors.
    pub log_start: Offset,
    /// Whole batches.
    pub records: Bytes,
    /// Where the asker's log leaves the leader's.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Who leads, for those who asked the wrong one.
    pub leader: (NodeId, LeaderEpoch),
}

impl Fetched {
    /// Nothing but an error.
    pub fn error(code: ErrorCode) -> Self {
        let leader = (NodeId::NONE, LeaderEpoch::UNKNOWN);
        let (high_watermark, log_start) = (Offset::UNKNOWN, Offset::UNKNOWN);
        Self { code, high_watermark, log_start, records: Bytes::new(), diverging: None, leader }
    }
}

impl Partition {
    /// A replica whose role is not known yet.
    pub fn new(
        id: TopicPartition,
        topic_id: TopicId,
        log: Log,
        high_watermark: Offset,
        settings: TopicSettings,
        context: PartitionContext,
    ) -> Arc<Self> {
        let state = State {
            log,
            role: Standing::Follower,
            leader: NodeId::NONE,
            leader_epoch: LeaderEpoch::UNKNOWN,
            partition_epoch: PartitionEpoch(-1),
            high_watermark,
            settings,
            acks: Vec::new(),
            fetches: Vec::new(),
        };
        Arc::new(Self { id, topic_id, context, state: Mutex::new(state) })
    }

    /// Takes what the controller committed: leads, or follows, or notes another ISR.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn apply(&self, registration: &PartitionRegistration) -> Result<(), StorageError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if registration.partition_epoch <= state.partition_epoch {
            return Ok(());
        }
        state.partition_epoch = registration.partition_epoch;
        let is_leader = registration.leader == self.context.node;
        if registration.leader_epoch == state.leader_epoch && is_leader == matches!(state.role, Standing::Leader(_)) {
            if let Standing::Leader(leader) = &mut state.role {
                leader.committed(&registration.isr, registration.partition_epoch, clock::now());
                self.after_change(state);
            }
            return Ok(());
        }
        state.fail_waiters();
        (state.leader, state.leader_epoch) = (registration.leader, registration.leader_epoch);
        if is_leader { self.lead(state, registration).await } else { self.follow(state).await }
    }

    async fn lead(&self, state: &mut State, registration: &PartitionRegistration) -> Result<(), StorageError> {
        state.high_watermark = state.high_watermark();
        state.log.begin_epoch(registration.leader_epoch).await?;
        let start = LeaderStart {
            node: self.context.node,
            epoch: registration.leader_epoch,
            partition_epoch: registration.partition_epoch,
            replicas: registration.replicas.clone(),
            isr: registration.isr.clone(),
            end: state.log.end_offset(),
            high_watermark: state.high_watermark,
            min_insync: state.settings.min_insync_replicas,
            lag_max: self.context.lag_max,
            switches: self.context.switches,
        };
        let leader = Leader::new(start, clock::now());
        self.context.tracer.milestone(Event::BecameLeader {
            partition: self.id.clone(),
            leader_epoch: registration.leader_epoch,
            start_offset: state.log.end_offset(),
            high_watermark: state.high_watermark,
            isr: registration.isr.clone(),
        });
        state.role = Standing::Leader(Box::new(leader));
        self.after_change(state);
        Ok(())
    }

    async fn follow(&self, state: &mut State) -> Result<(), StorageError> {
        state.high_watermark = state.high_watermark();
        state.role = Standing::Follower;
        self.context.tracer.milestone(Event::BecameFollower {
            partition: self.id.clone(),
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            end_offset: state.log.end_offset(),
            high_watermark: state.high_watermark,
        });
        let by_high_watermark = self.context.switches.truncate == Truncate::HighWatermark;
        if by_high_watermark && state.leader != NodeId::NONE && state.high_watermark < state.log.end_offset() {
            mark::reach("follower_truncated_to_high_watermark");
            state.log.truncate_to(state.high_watermark, "high-watermark").await?;
        }
        Ok(())
    }

    /// Reports a moved high watermark and serves those who waited for it. Call after every input to the leader.
    fn after_change(&self, state: &mut State) {
        let Standing::Leader(leader) = &state.role else { return };
        let high_watermark = leader.high_watermark();
        if high_watermark > state.high_watermark {
            state.high_watermark = high_watermark;
            self.report_high_watermark(state, Role::Leader);
        }
        let mut waiting = std::mem::take(&mut state.acks);
        let Standing::Leader(leader) = &state.role else { unreachable!("the role was looked at above") };
        for waiter in waiting.extract_if(.., |waiter| leader.ack(waiter.end_offset) != Ack::Wait) {
            let code = self.ack_code(leader.ack(waiter.end_offset));
            self.report_answer(state, leader, -1, code, (waiter.base_offset, waiter.end_offset));
            // The request may have timed out meanwhile.
            let _ = waiter.answer.send(code);
        }
        state.acks = waiting;
        state.wake_fetches();
    }

    fn ack_code(&self, ack: Ack) -> ErrorCode {
        if ack == Ack::NotEnoughReplicas {
            mark::reach("not_enough_replicas_after_append");
            return ErrorCode::NotEnoughReplicasAfterAppend;
        }
        ErrorCode::None
    }

    fn report_high_watermark(&self, state: &State, role: Role) {
        self.context.tracer.detail(|| Event::HighWatermark {
            partition: self.id.clone(),
            role,
            leader_epoch: state.leader_epoch,
            high_watermark: state.high_watermark,
            end_offset: state.log.end_offset(),
        });
    }

    fn report_answer(&self, state: &State, leader: &Leader, acks: i16, code: ErrorCode, range: (Offset, Offset)) {
        self.context.tracer.detail(|| Event::ProduceAnswered {
            partition: self.id.clone(),
            acks,
            error: code.name().into(),
            base_offset: range.0,
            end_offset: range.1,
            leader_epoch: state.leader_epoch,
            isr: leader.isr(),
            high_watermark: leader.high_watermark(),
        });
    }

    /// Appends a producer's batch.
    ///
    /// # Errors
    /// The code to answer with; nothing was appended, but for a disk that failed midway.
    pub async fn append(&self, records: &Bytes, version: i16, acks: i16) -> Result<Accepted, Refusal> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let Standing::Leader(leader) = &mut state.role else { return Err(refusal(ErrorCode::NotLeaderOrFollower)) };
        if acks == -1 && !leader.has_enough_replicas() {
            mark::reach("not_enough_replicas");
            let Standing::Leader(leader) = &state.role else { unreachable!("the role was looked at above") };
            let code = ErrorCode::NotEnoughReplicas;
            self.report_answer(state, leader, acks, code, (Offset::UNKNOWN, Offset::UNKNOWN));
            return Err(refusal(code));
        }
        let now_ms = clock::wall_ms();
        let (mut header, mut batch) = validate_produce(records, version, &state.settings.limits, now_ms)?;
        let by_broker = state.settings.limits.timestamp_type == TimestampType::LogAppendTime;
        if by_broker {
            (header, batch) = with_append_time(&header, &batch, now_ms);
        }
        let appended = state.log.append_as_leader(&header, &batch, state.leader_epoch, now_ms).await;
        let appended = appended.map_err(|error| self.append_refusal(&error))?;
        if !appended.duplicate {
            leader.appended(appended.end_offset, clock::now());
        }
        let range = (appended.base_offset, appended.end_offset);
        let ack = leader.ack(appended.end_offset);
        let committed = (acks == -1).then(|| {
            let (answer, receiver) = oneshot::channel();
            state.acks.push(AckWaiter { base_offset: range.0, end_offset: range.1, answer });
            receiver
        });
        if ack != Ack::Wait || state.high_watermark() > state.high_watermark {
            self.after_change(state);
        } else {
            state.wake_fetches();
        }
        if committed.is_none()
            && let Standing::Leader(leader) = &state.role
        {
            self.report_answer(state, leader, acks, ErrorCode::None, range);
        }
        let append_time_ms = if by_broker { now_ms } else { -1 };
        Ok(Accepted { base_offset: range.0, append_time_ms, log_start: state.log.start_offset(), committed })
    }

    fn append_refusal(&self, error: &AppendError) -> Refusal {
        let code = match error {
            AppendError::Sequence(SequenceError::FencedEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
            AppendError::Sequence(SequenceError::OutOfOrder { .. }) => {
                mark::reach("out_of_order_sequence");
                ErrorCode::OutOfOrderSequenceNumber
            }
            AppendError::Storage(error) => {
                tracing::error!(partition = %self.id, %error, "an append failed");
                ErrorCode::KafkaStorageError
            }
            AppendError::NotContiguous { .. } | AppendError::Batch(_) => {
                unreachable!("a leader's append gives offsets and was validated: {error}")
            }
        };
        Refusal { code, message: error.to_string(), records: Vec::new() }
    }

    /// Reads for a consumer or a follower.
    pub async fn fetch(self: &Arc<Self>, params: &FetchParams) -> Fetched {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let leader = (state.leader, state.leader_epoch);
        if let Err(code) = state.check_leadership(params.current_leader_epoch) {
            return Fetched { leader, ..Fetched::error(code) };
        }
        let (start, end) = (state.log.start_offset(), state.log.end_offset());
        let mut fetched = Fetched {
            code: ErrorCode::None,
            high_watermark: state.high_watermark(),
            log_start: start,
            records: Bytes::new(),
            diverging: None,
            leader,
        };
        if params.last_fetched_epoch != LeaderEpoch::UNKNOWN {
            let own = state.log.end_offset_for_epoch(params.last_fetched_epoch);
            if own.1 == Offset::UNKNOWN {
                return Fetched { leader, ..Fetched::error(ErrorCode::OffsetOutOfRange) };
            }
            fetched.diverging = diverging_epoch(params.last_fetched_epoch, params.offset, own);
            if fetched.diverging.is_some() {
                // What the asker has beyond it counts for nothing (KAFKA-13141).
                return fetched;
            }
        }
        if params.offset < start || params.offset > end {
            return Fetched { leader, ..Fetched::error(ErrorCode::OffsetOutOfRange) };
        }
        let up_to = if matches!(params.fetcher, Fetcher::Consumer) { fetched.high_watermark } else { end };
        match state.log.read(params.offset, up_to, params.max_bytes, params.at_least_one).await {
            Ok(records) => fetched.records = records,
            Err(error) => {
                tracing::error!(partition = %self.id, %error, "a fetch failed");
                let code = match error {
                    StorageError::Corrupt { .. } => ErrorCode::CorruptMessage,
                    _ => ErrorCode::KafkaStorageError,
                };
                return Fetched { leader, ..Fetched::error(code) };
            }
        }
        if let Fetcher::Replica { id, epoch, eligible, tells: true } = params.fetcher {
            self.note_follower(state, id, epoch, eligible, params.offset);
        }
        fetched
    }

    fn note_follower(
        self: &Arc<Self>,
        state: &mut State,
        id: NodeId,
        epoch: BrokerEpoch,
        eligible: bool,
        offset: Offset,
    ) {
        let end_offset = state.log.end_offset();
        let Standing::Leader(leader) = &mut state.role else { unreachable!("only a leader serves fetches") };
        self.context.tracer.detail(|| Event::FollowerFetched {
            partition: self.id.clone(),
            follower: id,
            leader_epoch: leader.epoch(),
            fetch_offset: offset,
            end_offset,
        });
        let proposal = leader.fetched(id, offset, epoch, eligible, clock::now());
        if leader.high_watermark() > state.high_watermark {
            self.after_change(state);
        }
        self.propose(proposal);
    }

    fn propose(self: &Arc<Self>, proposal: Option<Proposal>) {
        let Some(proposal) = proposal else { return };
        self.context.tracer.milestone(Event::IsrProposed {
            partition: self.id.clone(),
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            isr: proposal.isr.iter().map(|(id, _)| *id).collect(),
            reason: proposal.reason.as_str().into(),
        });
        // Nobody listens any more when the broker stops.
        let _ = self.context.isr_changes.send(IsrChange { partition: self.clone(), proposal });
    }

    /// Proposes to take out followers that lag.
    pub async fn check_lag(self: &Arc<Self>) {
        let mut state = self.state.lock().await;
        let Standing::Leader(leader) = &mut state.role else { return };
        let proposal = leader.check_lag(clock::now());
        drop(state);
        self.propose(proposal);
    }

    /// Whether a proposal of `leader_epoch` still waits for an answer.
    pub async fn leads_in(&self, leader_epoch: LeaderEpoch) -> bool {
        matches!(&self.state.lock().await.role, Standing::Leader(leader) if leader.epoch() == leader_epoch)
    }

    /// The controller's answer to a proposal made in `leader_epoch`.
    pub async fn isr_answered(
        &self,
        leader_epoch: LeaderEpoch,
        answer: Result<(&[NodeId], PartitionEpoch), ErrorCode>,
    ) {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let Standing::Leader(leader) = &mut state.role else { return };
        if leader.epoch() != leader_epoch {
            return;
        }
        match answer {
            Ok((isr, partition_epoch)) => {
                if leader.committed(isr, partition_epoch, clock::now()) {
                    state.partition_epoch = state.partition_epoch.max(partition_epoch);
                }
            }
            Err(code) => {
                let error = code.name().into();
                self.context.tracer.milestone(Event::IsrRefused { partition: self.id.clone(), error });
                if matches!(code, ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted) {
                    leader.refused(clock::now());
                }
            }
        }
        self.after_change(state);
    }

    /// What a follower fetches with: leader, epochs, end of its log. `None` while it does not follow anyone.
    pub async fn follower_position(&self) -> Option<FollowerPosition> {
        let state = self.state.lock().await;
        if matches!(state.role, Standing::Leader(_)) || state.leader == NodeId::NONE {
            return None;
        }
        let with_epochs = self.context.switches.truncate == Truncate::LeaderEpoch;
        Some(FollowerPosition {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            offset: state.log.end_offset(),
            last_epoch: if with_epochs { state.log.latest_epoch() } else { LeaderEpoch::UNKNOWN },
            log_start: state.log.start_offset(),
        })
    }

    /// Takes what the leader sent to a fetch that was made at `position`. A response that comes too late - the
    /// partition follows someone else by now, or leads itself - changes nothing (KAFKA-13207).
    ///
    /// # Errors
    /// The log failed, or what the leader sent does not fit.
    pub async fn take(&self, position: &FollowerPosition, response: &Fetched) -> Result<(), AppendError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if matches!(state.role, Standing::Leader(_)) || state.leader_epoch != position.leader_epoch {
            return Ok(());
        }
        if let Some(diverging) = response.diverging {
            if self.context.switches.bug_no_truncation {
                return Ok(());
            }
            let own = state.log.end_offset_for_epoch(diverging.0);
            let to = truncation_offset(diverging, own, state.high_watermark, state.log.end_offset());
            mark::reach("follower_truncated_to_leader_epoch");
            state.log.truncate_to(to, "leader-epoch").await?;
            state.high_watermark = state.high_watermark.min(state.log.end_offset());
            return Ok(());
        }
        if state.log.end_offset() != position.offset {
            return Ok(());
        }
        if !response.records.is_empty() {
            state.log.append_as_follower(&response.records, clock::wall_ms()).await?;
        }
        let high_watermark = response.high_watermark.min(state.log.end_offset());
        if high_watermark != state.high_watermark && high_watermark >= Offset::ZERO {
            state.high_watermark = high_watermark;
            self.report_high_watermark(state, Role::Follower);
        }
        Ok(())
    }

    /// The leader does not have the offset that this follower asked for: its log is `start..end`.
    ///
    /// # Errors
    /// The log failed.
    pub async fn leader_range(
        &self,
        position: &FollowerPosition,
        start: Offset,
        end: Offset,
    ) -> Result<(), StorageError> {
        let mut state = self.state.lock().await;
        if matches!(state.role, Standing::Leader(_)) || state.leader_epoch != position.leader_epoch {
            return Ok(());
        }
        if self.context.switches.bug_no_truncation {
            return Ok(());
        }
        if end < state.log.end_offset() {
            state.log.truncate_to(end, "out-of-range").await?;
        } else if start > state.log.end_offset() {
            state.log.truncate_fully_and_start_at(start, "out-of-range").await?;
        }
        state.high_watermark = state.high_watermark.min(state.log.end_offset());
        Ok(())
    }

    /// Rings `notify` at the next change that a fetch may wait for.
    pub async fn wake_on_change(&self, notify: &Arc<Notify>) {
        self.state.lock().await.fetches.push(notify.clone());
    }

    /// Forgets a fetch that no longer waits.
    pub async fn forget(&self, notify: &Arc<Notify>) {
        self.state.lock().await.fetches.retain(|known| !Arc::ptr_eq(known, notify));
    }

    /// Answers ListOffsets.
    ///
    /// # Errors
    /// The code to answer with.
    pub async fn list_offset(
        &self,
        timestamp: i64,
        from_replica: bool,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Option<TimestampedOffset>, ErrorCode> {
        let state = self.state.lock().await;
        state.check_leadership(current_leader_epoch)?;
        let Standing::Leader(leader) = &state.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        let (high_watermark, end) = (leader.high_watermark(), state.log.end_offset());
        let earliest = matches!(timestamp, -2 | -4);
        if !from_replica && !earliest && high_watermark < leader.epoch_start() {
            return Err(ErrorCode::OffsetNotAvailable);
        }
        let up_to = if from_replica { end } else { high_watermark };
        let at = |offset: Offset, leader_epoch: LeaderEpoch| {
            Ok(Some(TimestampedOffset { timestamp: -1, offset, leader_epoch }))
        };
        let found = match timestamp {
            -1 => return at(up_to, state.leader_epoch),
            -2 | -4 => return at(state.log.start_offset(), state.log.epochs().epoch_at(state.log.start_offset())),
            -3 => state.log.max_timestamp().await,
            _ => state.log.offset_for_timestamp(timestamp).await,
        };
        match found {
            Ok(found) => Ok(found.filter(|found| found.offset < up_to)),
            Err(error) => {
                tracing::error!(partition = %self.id, %error, "an offset could not be looked up");
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    /// Answers OffsetForLeaderEpoch.
    ///
    /// # Errors
    /// The code to answer with.
    pub async fn epoch_end(
        &self,
        epoch: LeaderEpoch,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<(LeaderEpoch, Offset), ErrorCode> {
        let state = self.state.lock().await;
        state.check_leadership(current_leader_epoch)?;
        Ok(state.log.end_offset_for_epoch(epoch))
    }

    /// Takes new settings of the topic.
    pub async fn configure(&self, settings: TopicSettings) {
        let mut state = self.state.lock().await;
        state.log.reconfigure(settings.log.clone());
        if let Standing::Leader(leader) = &mut state.role {
            leader.set_min_insync(settings.min_insync_replicas);
        }
        state.settings = settings;
    }

    /// What the checkpoints hold: high watermark, recovery point, first offset.
    pub async fn checkpoints(&self) -> (Offset, Offset, Offset) {
        let state = self.state.lock().await;
        (state.high_watermark(), state.log.recovery_point(), state.log.start_offset())
    }

    /// Closes the log cleanly.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn close(&self) -> Result<(), StorageError> {
        let mut state = self.state.lock().await;
        state.fail_waiters();
        state.log.close().await
    }

    /// The topic is deleted: everyone who waits is told.
    pub async fn abandon(&self) {
        let mut state = self.state.lock().await;
        state.fail_waiters();
        (state.role, state.leader) = (Standing::Follower, NodeId::NONE);
    }
}

/// Where a follower stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPosition {
    /// Whom it follows.
    pub leader: NodeId,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// End of its log: the offset to fetch.
    pub offset: Offset,
    /// Epoch of its last record; unknown before KIP-101.
    pub last_epoch: LeaderEpoch,
    /// First offset of its log.
    pub log_start: Offset,
}

impl State {
    fn high_watermark(&self) -> Offset {
        match &self.role {
            Standing::Leader(leader) => leader.high_watermark(),
            Standing::Follower => self.high_watermark,
        }
    }

    fn check_leadership(&self, current_leader_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        if current_leader_epoch != LeaderEpoch::UNKNOWN {
            if current_leader_epoch < self.leader_epoch {
                mark::reach("fenced_leader_epoch");
                return Err(ErrorCode::FencedLeaderEpoch);
            }
            if current_leader_epoch > self.leader_epoch {
                return Err(ErrorCode::UnknownLeaderEpoch);
            }
        }
        if matches!(self.role, Standing::Leader(_)) { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    fn wake_fetches(&mut self) {
        for notify in self.fetches.drain(..) {
            notify.notify_one();
        }
    }

    fn fail_waiters(&mut self) {
        for waiter in self.acks.drain(..) {
            let _ = waiter.answer.send(ErrorCode::NotLeaderOrFollower);
        }
        self.wake_fetches();
    }
}

fn refusal(code: ErrorCode) -> Refusal {
    Refusal { code, message: code.name().to_owned(), records: Vec::new() }
}
