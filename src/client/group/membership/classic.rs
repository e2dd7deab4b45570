//! A member of a classic group: it joins, a leader among the members assigns, all get their part, and heartbeats say
//! that it lives and bring news of the next rebalance.
//!
//! | state | until |
//! |---|---|
//! | idle | it subscribes |
//! | giving up | the application has given up what it must not keep while the group rebalances |
//! | joining | JoinGroup is answered: all members are there |
//! | assigning | the leader knows how many partitions there are |
//! | syncing | SyncGroup is answered |
//! | taking | the application has taken what it was assigned |
//! | stable | a heartbeat, new topics or another subscription ask for a rebalance |
//! | leaving | LeaveGroup is answered |
//!
//! Who misses `max.poll.interval.ms` leaves, and what it has is lost; a static member only falls silent (KIP-345).

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use regex::Regex;

use super::{Coordinator, Demand, GroupConfig, Identity, PartitionCounts, Step, Topics, group_id, no_member, text};
use crate::{
    base::{Time, TopicPartition},
    client::{
        ClientError,
        group::{
            assignor::{self, Assignor, Members},
            subscription::{NO_GENERATION, Subscription, decode_assignment, encode_assignment},
        },
    },
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, RequestKind,
            ResponseKind, SyncGroupRequest, SyncGroupResponse, join_group_request::JoinGroupRequestProtocol,
            leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
        },
    },
};

/// What consumers call their kind of group.
const PROTOCOL_TYPE: &str = "consumer";
/// How much longer than a rebalance may take its JoinGroup waits, as in Kafka's client.
const JOIN_SLACK: Duration = Duration::from_secs(5);

pub(super) struct ClassicMember {
    config: Arc<GroupConfig>,
    state: State,
    wanted: Topics,
    /// Topics to join with; for a pattern, once the topics are known.
    topics: Option<Vec<Arc<str>>>,
    member_id: Arc<str>,
    generation: i32,
    protocol: Arc<str>,
    /// This member leads; the number of partitions that the assignment was made for.
    leads: bool,
    assigned_for: Option<PartitionCounts>,
    /// What was assigned last, and in which generation: what `sticky` tells.
    assigned: Option<(Vec<TopicPartition>, i32)>,
    owned: Vec<TopicPartition>,
    /// Membership was lost, and with it what is owned.
    lost: bool,
    rejoin: bool,
    failure: Option<ClientError>,
    retry_at: Time,
    polled: Time,
    heartbeat_due: Time,
    /// When the coordinator was last heard of.
    heard: Time,
    topics_due: Time,
}

enum State {
    Idle,
    GivingUp,
    Joining,
    Assigning(Members, Assignor),
    Syncing(Vec<SyncGroupRequestAssignment>),
    Taking(Vec<TopicPartition>),
    Stable,
    /// And what the reason is; whether to join again at the next poll.
    Leaving(&'static str, bool),
}

impl ClassicMember {
    pub(super) fn new(config: Arc<GroupConfig>) -> Self {
        Self {
            config,
            state: State::Idle,
            wanted: Topics::Named(Vec::new()),
            topics: None,
            member_id: "".into(),
            generation: NO_GENERATION,
            protocol: "".into(),
            leads: false,
            assigned_for: None,
            assigned: None,
            owned: Vec::new(),
            lost: false,
            rejoin: false,
            failure: None,
            retry_at: Time::ZERO,
            polled: Time::ZERO,
            heartbeat_due: Time::ZERO,
            heard: Time::ZERO,
            topics_due: Time::ZERO,
        }
    }

    pub(super) fn subscribe(&mut self, now: Time, wanted: Topics) {
        self.topics = match &wanted {
            Topics::Named(topics) => Some(topics.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()),
            Topics::Matching(_) => None,
        };
        self.wanted = match wanted {
            Topics::Matching(pattern) => Topics::Matching(whole(&pattern)),
            named => named,
        };
        (self.polled, self.topics_due) = (now, now);
        self.request_rejoin();
    }

    /// Joins again as soon as what is under way is over.
    fn request_rejoin(&mut self) {
        match self.state {
            State::Idle | State::Stable => self.state = State::GivingUp,
            _ => self.rejoin = true,
        }
    }

    pub(super) fn polled(&mut self, now: Time) {
        self.polled = now;
    }

    fn is_member(&self) -> bool {
        self.generation != NO_GENERATION
    }

    pub(super) fn next(&mut self, now: Time, coordinator: &mut Coordinator) -> Step {
        let poll_until = self.polled + self.config.poll_interval_max;
        let waits = matches!(self.state, State::GivingUp | State::Taking(_) | State::Stable);
        if waits && self.is_member() && now >= poll_until {
            let identity = self.identity();
            self.expire();
            return Step::Overdue(identity);
        }
        match &self.state {
            State::Idle => coordinator.idle(now),
            State::GivingUp | State::Taking(_) | State::Stable => self.keep_alive(now, poll_until, coordinator),
            State::Joining | State::Syncing(_) if now < self.retry_at => Step::Wait(Some(self.retry_at)),
            State::Assigning(members, _) => {
                let all: BTreeSet<_> = members.values().flat_map(|member| member.topics.iter().cloned()).collect();
                Step::Topics(Some(all.into_iter().collect()))
            }
            State::Joining | State::Syncing(_) | State::Leaving(..) => {
                let Some(address) = coordinator.address() else { return self.without_coordinator(now, coordinator) };
                let (api, request, timeout) = self.request();
                Step::Call(address, api, Box::new(request), timeout)
            }
        }
    }

    /// A member that leaves does not look for its coordinator: the session ends by itself.
    fn without_coordinator(&mut self, now: Time, coordinator: &mut Coordinator) -> Step {
        if matches!(self.state, State::Leaving(..)) {
            self.has_gone();
            return self.next(now, coordinator);
        }
        coordinator.find(now)
    }

    fn keep_alive(&mut self, now: Time, poll_until: Time, coordinator: &mut Coordinator) -> Step {
        if now >= self.topics_due {
            return Step::Topics(match (&self.wanted, &self.topics) {
                (Topics::Named(_), Some(topics)) => Some(topics.clone()),
                _ => None,
            });
        }
        if !self.is_member() {
            return match coordinator.idle(now) {
                Step::Wait(None) => Step::Wait(Some(self.topics_due)),
                other => other,
            };
        }
        if now >= self.heard + self.config.session_timeout && coordinator.address.is_some() {
            // As Kafka's client: somebody else may coordinate by now.
            coordinator.lost(now);
            self.heard = now;
        }
        let Some(address) = coordinator.address() else { return coordinator.find(now) };
        if now < self.heartbeat_due {
            return Step::Wait(Some(self.heartbeat_due.min(self.topics_due).min(poll_until)));
        }
        self.heartbeat_due = now + self.config.heartbeat_interval;
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(group_id(&self.config.group_id))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.config.instance_id.as_deref().map(text));
        Step::Call(address, ApiKey::Heartbeat, Box::new(RequestKind::Heartbeat(heartbeat)), None)
    }

    fn request(&self) -> (ApiKey, RequestKind, Option<Duration>) {
        match &self.state {
            State::Leaving(reason, _) => {
                let member = MemberIdentity::default()
                    .with_member_id(text(&self.member_id))
                    .with_group_instance_id(self.config.instance_id.as_deref().map(text))
                    .with_reason(Some(text(reason)));
                let leave = LeaveGroupRequest::default().with_group_id(group_id(&self.config.group_id));
                (ApiKey::LeaveGroup, RequestKind::LeaveGroup(leave.with_members(vec![member])), None)
            }
            State::Syncing(assignments) => {
                let sync = SyncGroupRequest::default()
                    .with_group_id(group_id(&self.config.group_id))
                    .with_generation_id(self.generation)
                    .with_member_id(text(&self.member_id))
                    .with_group_instance_id(self.config.instance_id.as_deref().map(text))
                    .with_protocol_type(Some(text(PROTOCOL_TYPE)))
                    .with_protocol_name(Some(text(&self.protocol)))
                    .with_assignments(assignments.clone());
                (ApiKey::SyncGroup, RequestKind::SyncGroup(sync), Some(self.config.poll_interval_max + JOIN_SLACK))
            }
            _ => {
                let join = RequestKind::JoinGroup(self.join());
                (ApiKey::JoinGroup, join, Some(self.config.poll_interval_max + JOIN_SLACK))
            }
        }
    }

    fn join(&self) -> JoinGroupRequest {
        let assigned = self.assigned.as_ref();
        let said = Subscription {
            topics: self.topics.clone().unwrap_or_default(),
            owned: self.owned.clone(),
            generation: Some(self.generation),
            ..Subscription::default()
        };
        let protocols = self.config.assignors.iter().map(|assignor| {
            let generation = assigned.map_or(NO_GENERATION, |(_, generation)| *generation);
            let user_data = assignor.user_data(assigned.map(|(partitions, _)| &partitions[..]), generation);
            let metadata = Subscription { user_data, ..said.clone() }.encode();
            JoinGroupRequestProtocol::default().with_name(text(assignor.name())).with_metadata(metadata)
        });
        JoinGroupRequest::default()
            .with_group_id(group_id(&self.config.group_id))
            .with_session_timeout_ms(i32::try_from(self.config.session_timeout.as_millis()).unwrap_or(i32::MAX))
            .with_rebalance_timeout_ms(self.config.rebalance_timeout_ms())
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.config.instance_id.as_deref().map(text))
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(protocols.collect())
    }

    pub(super) fn answered(
        &mut self,
        now: Time,
        answer: Result<ResponseKind, ClientError>,
        coordinator: &mut Coordinator,
    ) {
        let code = match &answer {
            Ok(ResponseKind::JoinGroup(response)) => response.error_code,
            Ok(ResponseKind::SyncGroup(response)) => response.error_code,
            Ok(ResponseKind::Heartbeat(response)) => response.error_code,
            Ok(ResponseKind::LeaveGroup(_)) => return self.has_gone(),
            Ok(other) => panic!("a group's coordinator does not answer with {other:?}"),
            Err(_) => {
                coordinator.lost(now);
                return self.not_answered(now);
            }
        };
        let is_heartbeat = matches!(answer, Ok(ResponseKind::Heartbeat(_)));
        match (ErrorCode::from_i16(code), answer) {
            (ErrorCode::None, Ok(ResponseKind::JoinGroup(response))) => self.joined(now, &response),
            (ErrorCode::None, Ok(ResponseKind::SyncGroup(response))) => self.synced(now, &response),
            (ErrorCode::None, _) => self.heard = now,
            (ErrorCode::MemberIdRequired, Ok(ResponseKind::JoinGroup(response))) => {
                self.member_id = Arc::from(&*response.member_id);
            }
            (ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable, _) => {
                coordinator.lost(now);
                self.not_answered(now);
            }
            (ErrorCode::CoordinatorLoadInProgress, _) => self.not_answered(now),
            (ErrorCode::RebalanceInProgress, _) if is_heartbeat => {
                self.heard = now;
                self.request_rejoin();
            }
            (ErrorCode::RebalanceInProgress, _) => self.not_answered(now),
            (ErrorCode::UnknownMemberId, _) => self.forget(true),
            (ErrorCode::IllegalGeneration, _) => self.forget(false),
            (code, _) => self.fail(ClientError::Kafka { code, message: None }),
        }
    }

    /// A request of the rebalance has to be sent again, from the beginning.
    fn not_answered(&mut self, now: Time) {
        let backoff = self.config.consumer.cluster.retry_backoff;
        (self.retry_at, self.heartbeat_due) = (now + backoff, self.heartbeat_due.min(now + backoff));
        match self.state {
            State::Syncing(_) => self.state = State::Joining,
            State::Leaving(..) => self.has_gone(),
            _ => {}
        }
    }

    fn joined(&mut self, now: Time, response: &JoinGroupResponse) {
        self.member_id = Arc::from(&*response.member_id);
        if !matches!(self.state, State::Joining) {
            return;
        }
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let assignor = self.config.assignors.iter().find(|assignor| assignor.name() == name).copied();
        let is_ours = response.protocol_type.as_deref().is_none_or(|kind| kind == PROTOCOL_TYPE);
        let Some(assignor) = assignor.filter(|_| is_ours) else {
            let message = Some(format!("the group has chosen `{name}`, which was not offered"));
            return self.fail(ClientError::Kafka { code: ErrorCode::InconsistentGroupProtocol, message });
        };
        (self.generation, self.protocol, self.heard) = (response.generation_id, name.into(), now);
        (self.leads, self.assigned_for) = (response.leader == response.member_id, None);
        // A leader that came back as a static member has nothing to assign (KIP-814).
        self.state = if self.leads && !response.skip_assignment {
            let said = response.members.iter().map(|member| {
                // Who says what nobody understands reads nothing.
                let said = Subscription::decode(&member.metadata).unwrap_or_default();
                let instance_id = member.group_instance_id.as_deref().map(Arc::from);
                (Arc::from(&*member.member_id), Subscription { instance_id, ..said })
            });
            State::Assigning(said.collect(), assignor)
        } else {
            State::Syncing(Vec::new())
        };
    }

    fn synced(&mut self, now: Time, response: &SyncGroupResponse) {
        let State::Syncing(_) = self.state else { return };
        self.heard = now;
        self.heartbeat_due = now + self.config.heartbeat_interval;
        match decode_assignment(&response.assignment) {
            Ok(partitions) => {
                self.assigned = Some((partitions.clone(), self.generation));
                self.state = State::Taking(partitions);
            }
            Err(malformed) => {
                let message = Some(malformed.to_string());
                self.fail(ClientError::Kafka { code: ErrorCode::InconsistentGroupProtocol, message });
            }
        }
    }

    pub(super) fn topics(&mut self, now: Time, counts: PartitionCounts) {
        self.topics_due = now + self.config.consumer.cluster.metadata_age_max;
        if let State::Assigning(members, assignor) = &mut self.state {
            let (mut members, assignor) = (mem::take(members), *assignor);
            if assignor.is_cooperative() && !self.config.older_claims_count {
                assignor::forget_older_claims(&mut members);
            }
            let encoded = |(id, partitions): (Arc<str>, Vec<TopicPartition>)| {
                let bytes: Bytes = encode_assignment(&partitions);
                SyncGroupRequestAssignment::default().with_member_id(text(&id)).with_assignment(bytes)
            };
            let given = assignor.assign(&counts, &members);
            self.state = State::Syncing(given.into_iter().map(encoded).collect());
            self.assigned_for = Some(counts);
            return;
        }
        if let Topics::Matching(pattern) = &self.wanted {
            let matching: Vec<Arc<str>> = counts.keys().filter(|name| pattern.is_match(name)).cloned().collect();
            if self.topics.replace(matching.clone()).is_some_and(|before| before != matching) {
                self.request_rejoin();
            }
        }
        if self.leads && self.assigned_for.is_none() {
            self.assigned_for = Some(counts.clone());
        }
        let grown = self.leads
            && self.assigned_for.as_ref().is_some_and(|before| {
                let mut ours = self.topics.iter().flatten();
                ours.any(|topic| counts.contains_key(topic) && before.get(topic) != counts.get(topic))
            });
        if grown {
            self.request_rejoin();
        }
    }

    pub(super) fn demand(&mut self) -> Option<Demand> {
        if let Some(failure) = &self.failure {
            let failure = failure.clone();
            // Who was replaced stays out; everything else may be tried again.
            if failure.name() != ErrorCode::FencedInstanceId.name() {
                self.failure = None;
            }
            return Some(Demand::Fail(failure));
        }
        match &self.state {
            State::GivingUp => {
                let topics = self.topics.as_ref()?;
                let is_kept = |one: &TopicPartition| !self.lost && self.is_cooperative() && topics.contains(&one.topic);
                let partitions = self.owned.iter().filter(|one| !is_kept(one)).cloned().collect();
                Some(Demand::GiveUp { partitions, lost: self.lost })
            }
            State::Taking(partitions) => Some(Demand::Apply(partitions.clone())),
            _ => None,
        }
    }

    /// Whether members keep what they have while the group rebalances: all assignors have to allow it.
    fn is_cooperative(&self) -> bool {
        self.config.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    pub(super) fn given_up(&mut self, now: Time, owned: Vec<TopicPartition>) {
        self.owned = owned;
        if let State::GivingUp = self.state {
            (self.lost, self.rejoin, self.retry_at) = (false, false, now);
            self.state = State::Joining;
        }
    }

    pub(super) fn applied(&mut self, _now: Time, owned: Vec<TopicPartition>, gave_up: bool) {
        self.owned = owned;
        if let State::Taking(_) = self.state {
            let again = mem::take(&mut self.rejoin) || (gave_up && self.is_cooperative());
            self.state = if again { State::GivingUp } else { State::Stable };
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { member_id: self.member_id.clone(), epoch: self.generation }
    }

    /// As `generationIfStable` of Kafka's client: nothing is committed from JoinGroup until SyncGroup is answered, and who
    /// polls on may try again.
    pub(super) fn commits_as(&self) -> Result<Identity, ClientError> {
        match self.state {
            State::Joining | State::Assigning(..) | State::Syncing(_) => {
                let message = Some("the rebalance of the consumer is under way".to_owned());
                Err(ClientError::Kafka { code: ErrorCode::RebalanceInProgress, message })
            }
            State::GivingUp | State::Taking(_) | State::Stable if self.is_member() => Ok(self.identity()),
            _ => Err(no_member()),
        }
    }

    pub(super) fn commit_refused(&mut self, code: ErrorCode) {
        match code {
            ErrorCode::UnknownMemberId => self.forget(true),
            ErrorCode::IllegalGeneration => self.forget(false),
            // REBALANCE_IN_PROGRESS says that this generation waits for its assignment: its member has joined already. Such a
            // commit was under way when it joined.
            ErrorCode::FencedInstanceId => self.fail(ClientError::Kafka { code, message: None }),
            _ => {}
        }
    }

    /// The coordinator does not know this member any more, or not in this generation.
    fn forget(&mut self, member_too: bool) {
        self.generation = NO_GENERATION;
        if member_too {
            self.member_id = "".into();
        }
        self.lost = !self.owned.is_empty();
        match self.state {
            State::Idle => {}
            State::Leaving(..) => self.has_gone(),
            _ => self.state = State::GivingUp,
        }
    }

    /// The application has not polled for too long.
    fn expire(&mut self) {
        if self.config.instance_id.is_none() {
            self.state = State::Leaving("the application has not polled for max.poll.interval.ms", true);
        } else {
            self.forget(true);
        }
    }

    pub(super) fn leave(&mut self, _now: Time, coordinator: &Coordinator) {
        let tells = self.config.instance_id.is_none() && !self.member_id.is_empty();
        if tells && coordinator.address.is_some() && !matches!(self.state, State::Idle) {
            self.state = State::Leaving("the consumer is being closed or unsubscribed", false);
        } else {
            self.state = State::Leaving("", false);
            self.has_gone();
        }
    }

    fn has_gone(&mut self) {
        if let State::Leaving(_, again) = self.state {
            self.state = State::Idle;
            (self.failure, self.leads, self.rejoin) = (None, false, false);
            self.forget(true);
            if again {
                self.state = State::GivingUp;
            } else {
                (self.owned, self.lost, self.assigned) = (Vec::new(), false, None);
            }
        }
    }

    pub(super) fn has_left(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// The group does not take this member, or the cluster not this client.
    pub(super) fn fail(&mut self, error: ClientError) {
        self.failure = Some(error);
        self.forget(true);
    }
}

/// `pattern`, for whole names; as it is where it cannot be enclosed, which needs a comment in it.
fn whole(pattern: &Regex) -> Regex {
    Regex::new(&format!("^(?:{})$", pattern.as_str())).unwrap_or_else(|_| pattern.clone())
}
