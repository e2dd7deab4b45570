//! One group of the classic protocol: members join, one of them assigns, the others ask what they got.
//!
//! ```text
//! Empty --join--> PreparingRebalance --all joined, or time is up--> CompletingRebalance --assigned--> Stable
//!   ^                   |     ^                                            |                            |
//!   '---nobody is left--'     '------- a member joins, leaves or fails ----+----------------------------'
//! ```
//!
//! Only what members have agreed is recorded: a generation when its assignments are there, a static member's new id, and
//! that nobody is left. Who is joining is known to this coordinator alone. So this is the one part of a shard that
//! handlers change before records are committed; what depends on them - that assignments are handed out, that a static
//! member has its place again - waits for the commit and is taken back when it fails. As in Kafka, a group is Stable
//! only after that.
//!
//! This file: what a group is. [`join`], [`rebalance`], [`membership`]: what happens to it.

mod join;
mod membership;
mod rebalance;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;

pub use self::join::Rejoin;
use super::{
    GroupSettings,
    consumer::records::{ClassicMember, Subscription},
    machine::{Context, Outcome, Waiter},
    records::{GroupMetadata, MemberMetadata, Record},
    subscription,
    timers::Timers,
};
use crate::base::{Switches, Timestamp};

/// What each member is given, by its id.
pub type Assignments = BTreeMap<Arc<str>, Bytes>;

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody is in it.
    Empty,
    /// Members join; those of the generation before have to come again.
    PreparingRebalance,
    /// All have joined; the leader assigns.
    CompletingRebalance,
    /// Everyone may ask for what it was given.
    Stable,
}

/// Kafka's name, as tools print it.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        })
    }
}

/// A member of a classic group.
#[derive(Clone, Debug)]
pub struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// What it can do, the dearest first, with its metadata for each.
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) assignment: Bytes,
    /// It has not been part of a generation yet.
    is_new: bool,
    joining: Option<Waiter>,
    /// Version of its last JoinGroup; of a member from a record none is known.
    join_version: i16,
    syncing: Option<Waiter>,
}

impl Member {
    /// Its metadata under `protocol`.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(&**name) == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }
}

/// A classic group.
#[derive(Debug)]
pub struct ClassicGroup {
    pub(super) id: Arc<str>,
    state: State,
    previous: Option<State>,
    /// Since when it is in its state, wall clock, if anybody knows.
    state_ms: Option<Timestamp>,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    generation: i32,
    leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids by `group.instance.id`.
    statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and have not joined yet.
    pending: BTreeSet<Arc<str>>,
    /// Members that have not asked for their assignment yet.
    unsynced: BTreeSet<Arc<str>>,
    /// How many members support each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    /// What the members subscribe to, if they are consumers and say so.
    subscribed: Option<BTreeSet<Arc<str>>>,
    /// Of an initial rebalance: the delay under way and what may be added, in milliseconds.
    initial_delay: (i32, i32),
    newcomer: bool,
    /// Whether it has a record of its own.
    pub(super) recorded: bool,
}

/// What a group acts on while it handles something.
pub(super) struct Turn<'a, 'c> {
    pub settings: &'a GroupSettings,
    pub switches: Switches,
    pub timers: &'a mut Timers,
    pub context: &'a mut Context<'c>,
    pub out: &'a mut Outcome,
}

impl ClassicGroup {
    /// The ids of its members.
    pub(super) fn member_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.keys()
    }

    /// An empty group, since `state_ms`.
    pub(super) fn new(id: Arc<str>, state_ms: Option<Timestamp>) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: None,
            state_ms,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            supported: BTreeMap::new(),
            subscribed: None,
            initial_delay: (0, 0),
            newcomer: false,
            recorded: false,
        }
    }

    /// The group as its record tells: its members are taken for alive.
    pub(super) fn from_record(id: Arc<str>, value: &GroupMetadata) -> Self {
        let mut group = Self::new(id, Some(value.state_ms).filter(|since| *since != -1));
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.protocol_type = Some(value.protocol_type.clone()).filter(|kind| !kind.is_empty());
        (group.protocol, group.generation, group.recorded) = (value.protocol.clone(), value.generation, true);
        group.leader = value.leader.clone();
        for member in &value.members {
            let timeout = member.rebalance_timeout_ms;
            group.add(Member {
                id: member.member.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: if timeout == -1 { member.session_timeout_ms } else { timeout },
                session_timeout_ms: member.session_timeout_ms,
                protocols: value.protocol.iter().map(|name| (name.clone(), member.subscription.clone())).collect(),
                assignment: member.assignment.clone(),
                is_new: false,
                joining: None,
                join_version: i16::MAX,
                syncing: None,
            });
        }
        group.subscribed = group.compute_subscribed();
        group
    }

    /// Consumers that come from a group of the other protocol, whose epoch was `generation`; without assignments yet.
    pub(super) fn of_consumers<'a>(
        id: Arc<str>,
        generation: i32,
        members: impl Iterator<Item = (&'a Arc<str>, &'a Subscription, &'a ClassicMember)>,
        wall_ms: Timestamp,
    ) -> Self {
        let mut group = Self::new(id, None);
        (group.protocol_type, group.generation) = (Some(subscription::CONSUMER.into()), generation);
        for (id, said, classic) in members {
            group.add(Member {
                id: id.clone(),
                instance: said.instance.clone(),
                client_id: said.client_id.clone(),
                client_host: said.client_host.clone(),
                rebalance_timeout_ms: said.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                protocols: classic.protocols.clone(),
                assignment: Bytes::new(),
                is_new: false,
                joining: None,
                join_version: i16::MAX,
                syncing: None,
            });
        }
        group.protocol = group.select_protocol();
        group.subscribed = group.compute_subscribed();
        group.enter(State::Stable, wall_ms);
        group
    }

    /// The record of the group as it is.
    pub(super) fn record_as_it_is(&self) -> Record {
        self.record(&self.members.values().map(|member| (member.id.clone(), member.assignment.clone())).collect())
    }

    /// The record of the group as it is, with `assignments`.
    fn record(&self, assignments: &Assignments) -> Record {
        let members = self.members.values().map(|member| MemberMetadata {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(self.protocol.as_deref()),
            assignment: assignments.get(&member.id).cloned().unwrap_or_default(),
        });
        let value = GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_ms: self.state_ms.unwrap_or(-1),
            members: members.collect(),
        };
        Record::Group { group: self.id.clone(), value: Some(Box::new(value)) }
    }

    /// The record of a group that has just come to be.
    pub(super) fn record_of_new(&self) -> Record {
        let value = GroupMetadata {
            protocol_type: "".into(),
            generation: 0,
            protocol: None,
            leader: None,
            state_ms: self.state_ms.unwrap_or(-1),
            members: Vec::new(),
        };
        Record::Group { group: self.id.clone(), value: Some(Box::new(value)) }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Counts its rebalances.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn state_since_ms(&self) -> Option<Timestamp> {
        self.state_ms
    }

    pub(super) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Whether its members speak the consumers' protocol.
    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type() == Some(subscription::CONSUMER)
    }

    /// Whether it only holds offsets.
    pub(super) fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.state == State::Empty && self.pending.is_empty()
    }

    /// Whether it is of consumers whose subscriptions can be read.
    pub(super) fn knows_subscriptions(&self) -> bool {
        self.is_of_consumers() && self.subscribed.is_some()
    }

    /// Whether a member subscribes to `topic`; where that is not known, a group of consumers may.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or_else(|| self.is_of_consumers(), |topics| topics.contains(topic))
    }

    fn compute_subscribed(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.is_of_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.extend(subscription::topics(&member.metadata(Some(protocol))).ok()?);
        }
        Some(all)
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_protocols(&member.protocols, true);
        self.pending.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, id: &str) -> Option<Member> {
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, false);
            if let Some(instance) = &member.instance {
                self.statics.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending.remove(id);
        self.unsynced.remove(id);
        removed
    }

    fn count_protocols(&mut self, protocols: &[(Arc<str>, Bytes)], more: bool) {
        for (name, _) in protocols {
            let count = self.supported.entry(name.clone()).or_default();
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    fn has_all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    fn enter(&mut self, state: State, now_ms: Timestamp) {
        self.previous = Some(self.state);
        (self.state, self.state_ms) = (state, Some(now_ms));
    }
}
