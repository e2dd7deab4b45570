//! One partition on this broker: its log and its role, behind one lock.
//!
//! The decisions are those of [`crate::replica::Leader`]; here they meet the disk, the waiting requests and the
//! journal. Requests that must wait leave a waiter: an acks=all produce until the high watermark reaches its records, a
//! fetch until there is more to read.
//!
//! This file: the role, and what the controller says of it. [`produce`]: appending. [`read`]: what others read.
//! [`follow`]: a follower's side. [`coordinate`]: what a coordinator does with its records.
//! [`retain`]: the begin moves.

mod coordinate;
mod follow;
mod produce;
mod read;
mod retain;

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{Mutex, Notify, mpsc, oneshot};

pub use self::{
    follow::FollowerPosition,
    produce::Accepted,
    read::{FetchParams, Fetched, Fetcher},
};
use super::settings::TopicSettings;
use crate::{
    base::{LeaderEpoch, NodeId, Offset, PartitionEpoch, Switches, TopicId, TopicPartition, mark, switches::Truncate},
    controller::image::PartitionRegistration,
    protocol::ErrorCode,
    replica::{Ack, ActiveBrokers, Leader, LeaderStart, Proposal},
    runtime::clock,
    storage::{Log, StorageError},
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

impl PartitionContext {
    /// Tells that the log of `partition` is damaged, where that is the error.
    pub fn tell_damage(&self, partition: &TopicPartition, error: &StorageError) {
        if let StorageError::Corrupt { .. } = error {
            let (partition, problem) = (partition.clone(), error.to_string().into());
            self.tracer.milestone(Event::LogDamaged { partition, problem });
        }
    }
}

/// A proposal on its way to the controller.
pub struct IsrChange {
    /// Of which partition.
    pub partition: Arc<Partition>,
    /// What is proposed.
    pub proposal: Proposal,
    /// It was sent before and not answered: whatever is answered later, that attempt may be applied.
    pub in_doubt: bool,
}

/// What the controller made of a proposal: the leader epoch, the ISR and the partition epoch.
pub type IsrCommitted<'a> = (LeaderEpoch, &'a [NodeId], PartitionEpoch);

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
    /// As follower: it has to ask where to truncate before it fetches (KIP-101 until 2.7).
    asks_first: bool,
    settings: TopicSettings,
    acks: Vec<AckWaiter>,
    /// Fetches that wait for more; those that have ended stay until the next one comes.
    fetches: Vec<Weak<Notify>>,
    /// The coordinator whose records these are.
    observer: Option<Arc<Notify>>,
    /// What was told of damage in the log.
    damage_told: BTreeSet<String>,
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
            asks_first: false,
            settings,
            acks: Vec::new(),
            fetches: Vec::new(),
            observer: None,
            damage_told: BTreeSet::new(),
        };
        Arc::new(Self { id, topic_id, context, state: Mutex::new(state) })
    }

    /// Takes what the controller committed: leads, or follows, or notes another ISR.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn apply(
        &self,
        registration: &PartitionRegistration,
        active: &ActiveBrokers,
    ) -> Result<(), StorageError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if registration.partition_epoch <= state.partition_epoch {
            return Ok(());
        }
        state.partition_epoch = registration.partition_epoch;
        let leads = matches!(state.role, Standing::Leader(_));
        let is_leader =
            registration.leader == self.context.node || leads && self.context.switches.bug_old_leader_leads_on;
        if registration.leader_epoch == state.leader_epoch && is_leader == matches!(state.role, Standing::Leader(_)) {
            if let Standing::Leader(leader) = &mut state.role {
                leader.set_replicas(&registration.replicas, clock::now());
                leader.committed(&registration.isr, registration.partition_epoch, clock::now());
                self.after_change(state);
            }
            return Ok(());
        }
        // Who leads on in another epoch has all that it was asked to append.
        match leads && registration.leader == self.context.node {
            true => state.look_again(),
            false => state.fail_waiters(),
        }
        let unnoticed = state.leader == registration.leader && !self.context.switches.truncate_on_every_epoch;
        (state.leader, state.leader_epoch) = (registration.leader, registration.leader_epoch);
        if is_leader { self.lead(state, registration, active).await } else { self.follow(state, unnoticed).await }
    }

    async fn lead(
        &self,
        state: &mut State,
        registration: &PartitionRegistration,
        active: &ActiveBrokers,
    ) -> Result<(), StorageError> {
        state.high_watermark = state.high_watermark();
        state.log.begin_epoch(registration.leader_epoch).await?;
        let start = LeaderStart {
            node: self.context.node,
            epoch: registration.leader_epoch,
            partition_epoch: registration.partition_epoch,
            replicas: registration.replicas.clone(),
            adding: registration.adding_replicas.clone(),
            isr: registration.isr.clone(),
            end: state.log.end_offset(),
            high_watermark: state.high_watermark,
            active: active.clone(),
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

    /// `unnoticed`: whom it follows is the same, so before KAFKA-7164 it went on as if nothing had happened.
    async fn follow(&self, state: &mut State, unnoticed: bool) -> Result<(), StorageError> {
        state.high_watermark = state.high_watermark();
        state.role = Standing::Follower;
        self.context.tracer.milestone(Event::BecameFollower {
            partition: self.id.clone(),
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            end_offset: state.log.end_offset(),
            high_watermark: state.high_watermark,
        });
        if state.leader == NodeId::NONE || unnoticed {
            return Ok(());
        }
        match self.context.switches.truncate {
            Truncate::HighWatermark if state.high_watermark < state.log.end_offset() => {
                mark::reach("follower_truncated_to_high_watermark");
                state.log.truncate_to(state.high_watermark, "high-watermark").await?;
            }
            Truncate::OneRound | Truncate::Iterative => state.asks_first = true,
            Truncate::HighWatermark | Truncate::LeaderEpoch => {}
        }
        Ok(())
    }

    /// Reports a moved high watermark and serves those who waited for it. Call after every input to the leader.
    fn after_change(&self, state: &mut State) {
        let Standing::Leader(leader) = &state.role else { return };
        let high_watermark = leader.high_watermark();
        if high_watermark != state.high_watermark {
            state.high_watermark = high_watermark;
            self.report_high_watermark(state, Role::Leader);
            state.ring_observer();
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
        let _ = self.context.isr_changes.send(IsrChange { partition: self.clone(), proposal, in_doubt: false });
    }

    /// Proposes to take out followers that lag.
    pub async fn check_lag(self: &Arc<Self>) {
        let mut state = self.state.lock().await;
        let Standing::Leader(leader) = &mut state.role else { return };
        let proposal = leader.check_lag(clock::now());
        if leader.high_watermark() != state.high_watermark {
            self.after_change(&mut state);
        }
        drop(state);
        self.propose(proposal);
    }

    /// Whether this proposal still waits for an answer.
    pub async fn awaits(&self, proposal: &Proposal) -> bool {
        matches!(&self.state.lock().await.role, Standing::Leader(leader) if leader.awaits(proposal))
    }

    /// The controller's answer to a proposal. One that does not wait any more, since metadata told what became of it,
    /// changes nothing: the leader may have made another one meanwhile. Nor does one that is of another leader epoch:
    /// metadata will tell who leads in it, and where the partition is.
    pub async fn isr_answered(&self, change: &IsrChange, answer: Result<IsrCommitted<'_>, ErrorCode>) {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let Standing::Leader(leader) = &mut state.role else { return };
        if !leader.awaits(&change.proposal) {
            return;
        }
        match answer {
            Ok((leader_epoch, ..)) if leader_epoch != state.leader_epoch => {}
            Ok((_, isr, partition_epoch)) => {
                if leader.committed(isr, partition_epoch, clock::now()) {
                    state.partition_epoch = state.partition_epoch.max(partition_epoch);
                }
            }
            Err(code) => {
                let error = code.name().into();
                self.context.tracer.milestone(Event::IsrRefused { partition: self.id.clone(), error });
                if matches!(code, ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted) {
                    leader.refused(change.in_doubt, clock::now());
                }
            }
        }
        self.after_change(state);
    }

    /// Takes who may be in the ISR.
    pub async fn set_active(&self, active: &ActiveBrokers) {
        if let Standing::Leader(leader) = &mut self.state.lock().await.role {
            leader.set_active(active.clone());
        }
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

    /// Forgets producers that have been silent for too long.
    pub async fn expire_producers(&self) {
        self.state.lock().await.log.expire_producers();
    }

    /// What the checkpoints hold: high watermark, recovery point, and the begin where the files do not tell it.
    pub async fn checkpoints(&self) -> (Offset, Offset, Option<Offset>) {
        let state = self.state.lock().await;
        (state.high_watermark(), state.log.recovery_point(), state.log.start_to_checkpoint())
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

    /// The topic is deleted, or others hold the partition: everyone who waits is told.
    pub async fn abandon(&self) {
        let mut state = self.state.lock().await;
        state.fail_waiters();
        (state.role, state.leader) = (Standing::Follower, NodeId::NONE);
    }
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

    fn wake_on_change(&mut self, waiter: &Arc<Notify>) {
        let waiter = Arc::downgrade(waiter);
        self.fetches.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&waiter));
        self.fetches.push(waiter);
    }

    fn wake_fetches(&mut self) {
        for waiter in self.fetches.drain(..).filter_map(|waiter| waiter.upgrade()) {
            waiter.notify_one();
        }
    }

    fn fail_waiters(&mut self) {
        for waiter in self.acks.drain(..) {
            let _ = waiter.answer.send(ErrorCode::NotLeaderOrFollower);
        }
        self.look_again();
    }

    /// Has those look again who wait for records or watch the role.
    fn look_again(&mut self) {
        self.ring_observer();
        self.wake_fetches();
    }
}
