//! A member in the protocol of KIP-848: ConsumerGroupHeartbeat says what changed, and brings what the coordinator wants
//! this member to have. It gives up before it takes, and says what it has; only then another gets what it gave up. So it
//! takes nothing while that is under way, which the protocol does not forbid and Kafka's own consumer does not wait for.
//!
//! | state | until |
//! |---|---|
//! | idle | it subscribes |
//! | joining | the heartbeat with epoch 0 is answered |
//! | stable | it is fenced, leaves, or stops polling |
//! | fenced | the application has given up what it has |
//! | leaving | the heartbeat with epoch -1 (a static member's: -2) is answered |

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Coordinator, Demand, GroupConfig, Identity, Step, Topics, group_id, no_member, text};
use crate::{
    base::{Time, TopicId, TopicPartition},
    client::{ClientError, cluster::topic_name},
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestKind, ResponseKind,
            consumer_group_heartbeat_request::TopicPartitions,
        },
    },
};

/// Epoch of a member that joins.
const JOINS: i32 = 0;
/// Epoch of a member that leaves, and of a static one that will come back.
const LEAVES: (i32, i32) = (-1, -2);
/// How long a heartbeat interval is before the coordinator has said it.
const FIRST_INTERVAL_MS: i32 = 1000;

pub(super) struct ModernMember {
    config: Arc<GroupConfig>,
    state: State,
    member_id: Arc<str>,
    epoch: i32,
    wanted: Topics,
    /// What the coordinator has been told; `None`: everything has to be said.
    told: Option<Told>,
    /// What the coordinator wants it to have.
    target: Option<BTreeMap<TopicId, Vec<i32>>>,
    names: BTreeMap<TopicId, Arc<str>>,
    names_due: Time,
    owned: Vec<TopicPartition>,
    /// What the application is about to have.
    taking: Vec<TopicPartition>,
    /// It has said what it has, and no answer to that has come: the coordinator may have given the rest to others.
    is_bound: bool,
    failure: Option<ClientError>,
    interval_ms: i32,
    heartbeat_due: Time,
    polled: Time,
}

#[derive(Clone, PartialEq, Eq)]
struct Told {
    topics: Vec<Arc<str>>,
    pattern: Option<Arc<str>>,
    /// `None`: it is to be said again.
    owned: Option<Vec<TopicPartition>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Joining,
    Stable,
    Fenced,
    /// And whether to join again at the next poll.
    Leaving(bool),
}

impl ModernMember {
    pub(super) fn new(config: Arc<GroupConfig>, member_id: Arc<str>) -> Self {
        Self {
            config,
            state: State::Idle,
            member_id,
            epoch: JOINS,
            wanted: Topics::Named(Vec::new()),
            told: None,
            target: None,
            names: BTreeMap::new(),
            names_due: Time::ZERO,
            owned: Vec::new(),
            taking: Vec::new(),
            is_bound: false,
            failure: None,
            interval_ms: FIRST_INTERVAL_MS,
            heartbeat_due: Time::ZERO,
            polled: Time::ZERO,
        }
    }

    pub(super) fn subscribe(&mut self, now: Time, wanted: Topics) {
        self.wanted = wanted;
        (self.polled, self.heartbeat_due) = (now, now);
        if self.state == State::Idle {
            self.state = State::Joining;
        }
    }

    pub(super) fn polled(&mut self, now: Time) {
        self.polled = now;
    }

    pub(super) fn next(&mut self, now: Time, coordinator: &mut Coordinator) -> Step {
        let poll_until = self.polled + self.config.poll_interval_max;
        if self.state == State::Stable && now >= poll_until {
            self.state = State::Leaving(true);
            return Step::Overdue(self.identity());
        }
        match self.state {
            State::Idle | State::Fenced => return coordinator.idle(now),
            State::Leaving(_) if coordinator.address.is_none() => {
                self.has_gone();
                return self.next(now, coordinator);
            }
            _ => {}
        }
        let Some(address) = coordinator.address() else {
            // What is under way there is lost, and another coordinator has to be told everything.
            (self.told, self.heartbeat_due) = (None, now);
            return coordinator.find(now);
        };
        let unnamed = self.unnamed();
        if !unnamed.is_empty() && now >= self.names_due {
            return Step::Names(unnamed);
        }
        let leaves = matches!(self.state, State::Leaving(_));
        if now < self.heartbeat_due && !leaves {
            let wake = if unnamed.is_empty() { poll_until } else { poll_until.min(self.names_due) };
            return Step::Wait(Some(self.heartbeat_due.min(wake)));
        }
        self.heartbeat_due = now + std::time::Duration::from_millis(u64::from(self.interval_ms.unsigned_abs()));
        let heartbeat = if leaves { self.farewell() } else { self.heartbeat() };
        let request = Box::new(RequestKind::ConsumerGroupHeartbeat(heartbeat));
        Step::Call(address, ApiKey::ConsumerGroupHeartbeat, request, None)
    }

    /// Topics of the target whose names are not known.
    fn unnamed(&self) -> Vec<TopicId> {
        let ids = self.target.iter().flat_map(|target| target.keys());
        ids.filter(|id| !self.names.contains_key(id)).copied().collect()
    }

    fn basis(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&self.config.group_id))
            .with_member_id(text(&self.member_id))
            .with_member_epoch(self.epoch)
            .with_instance_id(self.config.instance_id.as_deref().map(text))
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }

    /// What has changed since the last one; everything after a failure and in the first.
    fn heartbeat(&mut self) -> ConsumerGroupHeartbeatRequest {
        let (topics, pattern) = match &self.wanted {
            Topics::Named(topics) => (topics.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(), None),
            Topics::Matching(pattern) => (Vec::new(), Some(Arc::from(pattern.as_str()))),
        };
        let now = Told { topics, pattern, owned: Some(self.owned.clone()) };
        let before = self.told.replace(now.clone());
        let mut request = self.basis();
        if before.is_none() {
            request.rebalance_timeout_ms = self.config.rebalance_timeout_ms();
            request.server_assignor = self.config.remote_assignor.as_deref().map(text);
        }
        if before.as_ref().is_none_or(|before| before.topics != now.topics) {
            request.subscribed_topic_names = Some(now.topics.iter().map(|topic| topic_name(topic)).collect());
        }
        if before.as_ref().is_none_or(|before| before.pattern != now.pattern) {
            request.subscribed_topic_regex = Some(text(now.pattern.as_deref().unwrap_or_default()));
        }
        if before.as_ref().is_none_or(|before| before.owned != now.owned) {
            request.topic_partitions = Some(self.owned_by_id());
            self.is_bound = true;
        }
        request
    }

    fn farewell(&self) -> ConsumerGroupHeartbeatRequest {
        let epoch = if self.config.instance_id.is_some() { LEAVES.1 } else { LEAVES.0 };
        self.basis().with_member_epoch(epoch)
    }

    fn owned_by_id(&self) -> Vec<TopicPartitions> {
        let ids: BTreeMap<&str, TopicId> = self.names.iter().map(|(id, name)| (&**name, *id)).collect();
        let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        let all: BTreeSet<&TopicPartition> = self.owned.iter().chain(&self.taking).collect();
        for one in all {
            let id = ids.get(&*one.topic).expect("what is owned came with its topic's id");
            topics.entry(*id).or_default().push(one.partition);
        }
        let topic = |(id, partitions): (TopicId, _)| {
            TopicPartitions::default().with_topic_id(uuid::Uuid::from_bytes(id.0)).with_partitions(partitions)
        };
        topics.into_iter().map(topic).collect()
    }

    pub(super) fn answered(
        &mut self,
        now: Time,
        answer: Result<ResponseKind, ClientError>,
        coordinator: &mut Coordinator,
    ) {
        let response = match answer {
            Ok(ResponseKind::ConsumerGroupHeartbeat(response)) => response,
            Ok(other) => panic!("a group's coordinator does not answer with {other:?}"),
            Err(ClientError::Rpc(error @ crate::rpc::RpcError::NoCommonVersion { .. })) => {
                return self.fail(error.into());
            }
            Err(_) => {
                coordinator.lost(now);
                return self.not_answered(now);
            }
        };
        if let State::Leaving(_) = self.state {
            // Also when it was refused: then the coordinator does not have this member any more.
            return self.has_gone();
        }
        match ErrorCode::from_i16(response.error_code) {
            ErrorCode::None => self.heard(now, &response),
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                coordinator.lost(now);
                self.not_answered(now);
            }
            ErrorCode::CoordinatorLoadInProgress => self.not_answered(now),
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => self.fence(),
            code => {
                let message = response.error_message.as_deref().map(str::to_owned);
                self.fail(ClientError::Kafka { code, message });
            }
        }
    }

    /// The next heartbeat says everything again, soon.
    fn not_answered(&mut self, now: Time) {
        self.told = None;
        self.heartbeat_due = now + self.config.consumer.cluster.retry_backoff;
    }

    fn heard(&mut self, now: Time, response: &ConsumerGroupHeartbeatResponse) {
        if !matches!(self.state, State::Joining | State::Stable) {
            return;
        }
        (self.state, self.is_bound) = (State::Stable, false);
        (self.epoch, self.interval_ms) = (response.member_epoch, response.heartbeat_interval_ms);
        if let Some(id) = &response.member_id {
            self.member_id = Arc::from(&**id);
        }
        if let Some(assignment) = &response.assignment {
            let topics = assignment.topic_partitions.iter();
            let target = topics.map(|topic| (TopicId(topic.topic_id.into_bytes()), topic.partitions.clone()));
            let before = self.target.replace(target.collect());
            self.names_due = now;
            // The coordinator waits to hear that what it asked back is given up, also when that was never taken. Not while
            // there is something to take whose name is not known yet.
            let is_done = self.unnamed().is_empty() && self.assigned().is_none();
            if before.is_some() && before != self.target && is_done {
                if let Some(told) = &mut self.told {
                    told.owned = None;
                }
                self.heartbeat_due = now;
            }
        }
    }

    pub(super) fn names(&mut self, now: Time, names: BTreeMap<TopicId, Arc<str>>) {
        self.names.extend(names);
        // A topic that is not known yet, or not any more.
        self.names_due = now + self.config.consumer.cluster.retry_backoff;
    }

    pub(super) fn demand(&mut self) -> Option<Demand> {
        if let Some(failure) = &self.failure {
            return Some(Demand::Fail(failure.clone()));
        }
        match self.state {
            State::Fenced => Some(Demand::GiveUp { partitions: self.owned.clone(), lost: true }),
            State::Stable => {
                self.taking = self.assigned()?;
                Some(Demand::Apply(self.taking.clone()))
            }
            _ => None,
        }
    }

    /// What the application is to have, if that is not what it has.
    fn assigned(&self) -> Option<Vec<TopicPartition>> {
        let target = self.target.as_ref()?;
        let named = target.iter().filter_map(|(id, partitions)| Some((self.names.get(id)?, partitions)));
        let all = named.flat_map(|(name, partitions)| {
            partitions.iter().map(move |index| TopicPartition::new(name.clone(), *index))
        });
        let owned: BTreeSet<TopicPartition> = self.owned.iter().cloned().collect();
        let all: BTreeSet<TopicPartition> = all.filter(|one| !self.is_bound || owned.contains(one)).collect();
        (all != owned).then(|| all.into_iter().collect())
    }

    pub(super) fn given_up(&mut self, now: Time, owned: Vec<TopicPartition>) {
        (self.owned, self.taking) = (owned, Vec::new());
        if self.state == State::Fenced {
            (self.state, self.heartbeat_due) = (State::Joining, now);
        }
    }

    pub(super) fn applied(&mut self, now: Time, owned: Vec<TopicPartition>, _gave_up: bool) {
        if self.state == State::Idle {
            return;
        }
        // Also when it was fenced meanwhile: it has these, and is to lose them.
        (self.owned, self.taking) = (owned, Vec::new());
        if self.state == State::Stable {
            self.heartbeat_due = now;
        }
    }

    pub(super) fn identity(&self) -> Identity {
        let is_in = matches!(self.state, State::Stable | State::Leaving(_)) && self.epoch > JOINS;
        match is_in {
            true => Identity { member_id: self.member_id.clone(), epoch: self.epoch },
            false => Identity::outside(),
        }
    }

    /// In whichever epoch: a member commits while it gives up and takes.
    pub(super) fn commits_as(&self) -> Result<Identity, ClientError> {
        Some(self.identity()).filter(|identity| identity.epoch > JOINS).ok_or_else(no_member)
    }

    /// The heartbeat learns of it too; only what no heartbeat would tell matters here.
    pub(super) fn commit_refused(&mut self, code: ErrorCode) {
        if code == ErrorCode::FencedInstanceId {
            self.fail(ClientError::Kafka { code, message: None });
        }
    }

    fn fence(&mut self) {
        (self.epoch, self.told, self.target) = (JOINS, None, None);
        self.state = State::Fenced;
    }

    pub(super) fn leave(&mut self, _now: Time, coordinator: &Coordinator) {
        let is_known = self.told.is_some() || self.epoch > JOINS;
        let tells = coordinator.address.is_some() && is_known && self.state != State::Idle;
        self.state = State::Leaving(false);
        if !tells {
            self.has_gone();
        }
    }

    fn has_gone(&mut self) {
        let State::Leaving(again) = self.state else { return };
        self.fence();
        if !again {
            (self.state, self.failure) = (State::Idle, None);
            (self.owned, self.taking) = (Vec::new(), Vec::new());
        }
    }

    pub(super) fn has_left(&self) -> bool {
        self.state == State::Idle
    }

    /// The coordinator does not take this member.
    pub(super) fn fail(&mut self, error: ClientError) {
        self.failure = Some(error);
        self.fence();
    }
}
