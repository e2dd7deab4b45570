//! JoinGroup: new members, members that come again, static members that take their place.

use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;

use super::{Assignments, ClassicGroup, Member, State, Turn};
use crate::{
    base::mark,
    group::{
        consumer,
        machine::{Context, Outcome, Then, Waiter},
        request::refuse_join,
        shard::Shard,
        timers::TimerKind,
    },
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            JoinGroupRequest, JoinGroupResponse, SyncGroupResponse, join_group_request::JoinGroupRequestProtocol,
            join_group_response::JoinGroupResponseMember,
        },
    },
    trace::Event,
};

/// How long a new member's request may wait: it cannot send heartbeats yet, and may be gone.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;
/// From this version on a member needs an id before it joins (KIP-394).
const MEMBER_ID_REQUIRED_VERSION: i16 = 4;
/// From this version on a leader is told the instance ids of static members (KIP-345).
const INSTANCE_ID_VERSION: i16 = 5;
/// From this version on a leader that comes back may be told not to assign anew (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// A static member that has come back under a new id, and what was before.
#[derive(Debug)]
pub struct Rejoin {
    instance: Arc<str>,
    member: Arc<str>,
    before: Member,
    leader_before: Option<Arc<str>>,
    skip_assignment: bool,
}

impl Shard {
    /// Takes a member in, or has it wait for the others.
    pub(in crate::group) fn join(
        &mut self,
        request: &JoinGroupRequest,
        waiter: Waiter,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let before_timeouts = context.version == 0;
        let with_timeout =
            before_timeouts.then(|| request.clone().with_rebalance_timeout_ms(request.session_timeout_ms));
        let request = with_timeout.as_ref().unwrap_or(request);
        let is_unknown = request.member_id.is_empty();
        let id: Arc<str> = request.group_id.as_str().into();
        if let Some(group) = self.consumers.get(&id) {
            if group.state() != consumer::State::Empty {
                if let Err(code) = self.join_consumer_group(request, waiter, context, out) {
                    out.answer(waiter, refuse_join(code, StrBytes::default()).into());
                }
                return Ok(());
            }
            if !is_unknown {
                return Err(ErrorCode::UnknownMemberId);
            }
            // An empty group of the other protocol makes way; its offsets stay.
            out.write(Self::tombstones_of_consumers(group), Then::Nothing);
        }
        let is_new_group = !self.groups.contains_key(&id);
        if is_new_group {
            if !is_unknown {
                return Err(ErrorCode::UnknownMemberId);
            }
            let group = Self::new_group(id.clone(), context.wall_ms);
            // Whoever looks after the group has to find it after a failover as well.
            out.write(vec![group.record_of_new()], Then::Created(id.clone()));
            self.groups.insert(id.clone(), group);
        }
        let (mut turn, groups) = self.turn(context, out);
        let group = groups.get_mut(&id).expect("it was there or was made");
        if !group.has_room_for(&request.member_id, turn.settings.max_size) {
            group.remove(&request.member_id);
            turn.out.answer(waiter, refuse_join(ErrorCode::GroupMaxSizeReached, StrBytes::default()).into());
            return Ok(());
        }
        if !group.supports(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match is_unknown {
            true => group.join_new(&mut turn, request, waiter),
            false => group.join_known(&mut turn, request, waiter)?,
        }
        Ok(())
    }
}

impl ClassicGroup {
    fn has_room_for(&self, member: &str, max_size: usize) -> bool {
        match self.state {
            State::Empty => true,
            // Who waits already has its place; the last to come have none.
            State::PreparingRebalance => {
                self.members.get(member).is_some_and(|known| known.joining.is_some())
                    || self.members.values().filter(|known| known.joining.is_some()).count() < max_size
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member) || self.members.len() < max_size
            }
        }
    }

    fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |name: &str| self.supported.get(name).copied().unwrap_or(0) == self.members.len();
        self.protocol_type() == Some(protocol_type) && protocols.iter().any(|protocol| by_all(&protocol.name))
    }

    fn join_new(&mut self, turn: &mut Turn<'_, '_>, request: &JoinGroupRequest, waiter: Waiter) {
        let prefix = request.group_instance_id.as_deref().unwrap_or(turn.context.client_id);
        let uuid = uuid::Builder::from_random_bytes(turn.context.random.random()).into_uuid();
        let id: Arc<str> = format!("{prefix}-{uuid}").into();
        if let Some(instance) = request.group_instance_id.as_deref() {
            match self.statics.get(instance).cloned() {
                Some(known) => self.replace_static(turn, request, waiter, &known, id),
                None => self.add_and_rebalance(turn, request, waiter, id),
            }
        } else if turn.context.version >= MEMBER_ID_REQUIRED_VERSION {
            // A client that gives up and asks again must not leave members behind that nobody speaks for.
            self.pending.insert(id.clone());
            turn.set_timer(&self.id, TimerKind::Session(id.clone()), request.session_timeout_ms);
            turn.out.answer(waiter, refuse_join(ErrorCode::MemberIdRequired, text(&id)).into());
        } else {
            self.add_and_rebalance(turn, request, waiter, id);
        }
    }

    fn join_known(
        &mut self,
        turn: &mut Turn<'_, '_>,
        request: &JoinGroupRequest,
        waiter: Waiter,
    ) -> Result<(), ErrorCode> {
        let id: Arc<str> = request.member_id.as_str().into();
        if self.pending.contains(&id) {
            if request.group_instance_id.is_some() {
                // A static member needs no id first, so that nobody was given this one for it.
                return Err(ErrorCode::UnknownServerError);
            }
            self.add_and_rebalance(turn, request, waiter, id);
            return Ok(());
        }
        self.check_member(&id, request.group_instance_id.as_deref())?;
        let is_same = is_same(&self.members[&id].protocols, &request.protocols);
        match self.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            State::CompletingRebalance if is_same && !self.can_be_told(turn, &id, turn.context.version) => {
                return Err(ErrorCode::UnknownServerError);
            }
            // It did not get the answer, or nothing has changed for it.
            State::CompletingRebalance if is_same => self.answer_join(turn, waiter, &id),
            State::Stable if is_same && !self.is_leader(&id) => {
                let response = JoinGroupResponse::default().with_members(Vec::new());
                self.answer_join_with(turn, waiter, &id, response);
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                let why = match self.state {
                    State::PreparingRebalance => "a member joins again",
                    _ if is_same => "the leader joins again",
                    _ => "a member's metadata has changed",
                };
                self.update(&id, request, turn.context.version, Some(waiter));
                self.prepare_or_complete(turn, why);
            }
        }
        Ok(())
    }

    fn add_and_rebalance(&mut self, turn: &mut Turn<'_, '_>, request: &JoinGroupRequest, waiter: Waiter, id: Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.as_str().into());
        }
        if self.state == State::PreparingRebalance && self.previous == Some(State::Empty) {
            self.newcomer = true;
        }
        let member = Member {
            id: id.clone(),
            instance: request.group_instance_id.as_deref().map(Into::into),
            client_id: turn.context.client_id.into(),
            client_host: turn.context.client_host.into(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: owned(&request.protocols),
            assignment: Bytes::new(),
            is_new: true,
            joining: Some(waiter),
            join_version: turn.context.version,
            syncing: None,
        };
        turn.out.events.push(Event::MemberJoined {
            group: self.id.clone(),
            member: id.clone(),
            instance: member.instance.clone(),
            client: member.client_id.clone(),
        });
        self.add(member);
        turn.set_timer(&self.id, TimerKind::Session(id), NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.prepare_or_complete(turn, "a member joins");
    }

    fn update(&mut self, id: &str, request: &JoinGroupRequest, version: i16, waiter: Option<Waiter>) {
        let member = self.members.get(id).expect("the caller has found it");
        let before = member.protocols.clone();
        self.count_protocols(&before, false);
        let after = owned(&request.protocols);
        self.count_protocols(&after, true);
        let member = self.members.get_mut(id).expect("the caller has found it");
        member.protocols = after;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        (member.joining, member.join_version) = (waiter, version);
    }

    /// A static member comes back: it gets a new id and keeps its place; whoever still has the old id is fenced.
    fn replace_static(
        &mut self,
        turn: &mut Turn<'_, '_>,
        request: &JoinGroupRequest,
        waiter: Waiter,
        old: &Arc<str>,
        new: Arc<str>,
    ) {
        let leader_before = self.leader.clone();
        let mut before = self.members[old].clone();
        self.fence(turn, &mut before);
        self.rename_static(old, &new);
        mark::reach("static_member_replaced");
        turn.out.events.push(Event::MemberReplaced {
            group: self.id.clone(),
            instance: before.instance.clone().expect("it is static"),
            old: old.clone(),
            new: new.clone(),
        });
        let was_awaited = self.unsynced.remove(old);
        if was_awaited {
            self.unsynced.insert(new.clone());
        }
        turn.set_timer(&self.id, TimerKind::Session(new.clone()), before.session_timeout_ms);
        self.update(&new, request, turn.context.version, Some(waiter));
        match self.state {
            State::Stable if self.protocol == self.select_protocol() => {
                let assignments: Assignments =
                    self.members.values().map(|member| (member.id.clone(), member.assignment.clone())).collect();
                let instance = before.instance.clone().expect("it is static");
                let skip_assignment = turn.context.version >= SKIP_ASSIGNMENT_VERSION;
                let rejoin = Rejoin { instance, member: new, before, leader_before, skip_assignment };
                if turn.switches.bug_static_rejoin_not_persisted || !turn.switches.static_member_persisted {
                    return self.rejoined(turn, rejoin, None);
                }
                turn.expect_commit(&self.id);
                let then = Then::Rejoined { group: self.id.clone(), rejoin: Box::new(rejoin) };
                turn.out.write(vec![self.record(&assignments)], then);
            }
            State::Stable => self.prepare_or_complete(turn, "a static member offers other protocols"),
            // The leader assigns to the old id: nobody would get that.
            State::CompletingRebalance => self.prepare(turn, "a static member is replaced"),
            State::PreparingRebalance => self.maybe_complete(turn),
            State::Empty => unreachable!("an empty group has no static member"),
        }
    }

    /// Tells whoever waits under the old id of a static member that another has taken its place.
    fn fence(&self, turn: &mut Turn<'_, '_>, member: &mut Member) {
        let code = ErrorCode::FencedInstanceId;
        if let Some(waiter) = member.joining.take() {
            turn.out.answer(waiter, refuse_join(code, text(&member.id)).into());
        }
        if let Some(waiter) = member.syncing.take() {
            turn.out.answer(waiter, SyncGroupResponse::default().with_error_code(code.code()).into());
        }
    }

    fn rename_static(&mut self, old: &Arc<str>, new: &Arc<str>) {
        let mut member = self.members.remove(old).expect("the caller has found it");
        let instance = member.instance.clone().expect("it is static");
        (member.id, member.joining, member.syncing, member.is_new) = (new.clone(), None, None, false);
        self.members.insert(new.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.statics.insert(instance, new.clone());
    }

    /// The new id of a static member is committed, or could not be written: then the old one has its place again.
    pub(in crate::group) fn rejoined(&mut self, turn: &mut Turn<'_, '_>, rejoin: Rejoin, failed: Option<ErrorCode>) {
        let Rejoin { instance, member: id, before, leader_before, skip_assignment } = rejoin;
        let Some(waiter) = self.members.get_mut(&id).and_then(|member| member.joining.take()) else { return };
        turn.timers.cancel(&self.id, TimerKind::Commit);
        if let Some(code) = failed {
            let old = before.id.clone();
            let protocols = self.members[&id].protocols.clone();
            self.count_protocols(&protocols, false);
            self.count_protocols(&before.protocols, true);
            self.members.remove(&id);
            self.members.insert(old.clone(), before);
            if self.is_leader(&id) {
                self.leader = Some(old.clone());
            }
            self.statics.insert(instance, old.clone());
            turn.set_timer(&self.id, TimerKind::Session(old.clone()), self.members[&old].session_timeout_ms);
            return turn.out.refuse_write(waiter, code);
        }
        // Before version 9 nobody could be told not to assign: the id of the leader before makes it a follower.
        let leader = if skip_assignment { self.leader.clone() } else { leader_before };
        let skips = skip_assignment && self.is_leader(&id);
        let members = if skips { self.members_with_metadata() } else { Vec::new() };
        let response = JoinGroupResponse::default()
            .with_members(members)
            .with_skip_assignment(skips)
            .with_leader(leader.as_deref().map_or_else(StrBytes::default, text));
        self.answer_join_as(turn, waiter, &id, response);
    }

    /// Answers with the generation as it is; the leader gets the members.
    pub(super) fn answer_join(&self, turn: &mut Turn<'_, '_>, waiter: Waiter, member: &str) {
        let members = if self.is_leader(member) { self.members_with_metadata() } else { Vec::new() };
        self.answer_join_with(turn, waiter, member, JoinGroupResponse::default().with_members(members));
    }

    /// Whether an answer to a JoinGroup of `version` can be written. Until Kafka 3.3.2 it could not where a leader was to be
    /// told of instance ids in a version without them.
    pub(super) fn can_be_told(&self, turn: &Turn<'_, '_>, member: &str, version: i16) -> bool {
        turn.switches.instance_ids_left_out
            || version >= INSTANCE_ID_VERSION
            || !self.is_leader(member)
            || self.statics.is_empty()
    }

    fn answer_join_with(&self, turn: &mut Turn<'_, '_>, waiter: Waiter, member: &str, response: JoinGroupResponse) {
        let leader = self.leader.as_deref().map_or_else(StrBytes::default, text);
        self.answer_join_as(turn, waiter, member, response.with_leader(leader));
    }

    fn answer_join_as(&self, turn: &mut Turn<'_, '_>, waiter: Waiter, member: &str, response: JoinGroupResponse) {
        let response = response
            .with_member_id(text(member))
            .with_generation_id(self.generation)
            .with_protocol_name(self.protocol.as_deref().map(text))
            .with_protocol_type(self.protocol_type.as_deref().map(text));
        turn.out.answer(waiter, response.into());
    }

    fn members_with_metadata(&self) -> Vec<JoinGroupResponseMember> {
        let member = |member: &Member| {
            JoinGroupResponseMember::default()
                .with_member_id(text(&member.id))
                .with_group_instance_id(member.instance.as_deref().map(text))
                .with_metadata(member.metadata(self.protocol.as_deref()))
        };
        self.members.values().map(member).collect()
    }
}

fn is_same(known: &[(Arc<str>, Bytes)], offered: &[JoinGroupRequestProtocol]) -> bool {
    let mut pairs = known.iter().zip(offered);
    known.len() == offered.len()
        && pairs.all(|((name, metadata), offered)| **name == *offered.name && *metadata == offered.metadata)
}

/// Copies: a slice of a frame would keep all of it.
fn owned(protocols: &[JoinGroupRequestProtocol]) -> Vec<(Arc<str>, Bytes)> {
    let copy = |protocol: &JoinGroupRequestProtocol| {
        (protocol.name.as_str().into(), Bytes::copy_from_slice(&protocol.metadata))
    };
    protocols.iter().map(copy).collect()
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
