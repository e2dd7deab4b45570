//! From one generation to the next: when the members must join again, when they have, and what they are given.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Assignments, ClassicGroup, State, Turn};
use crate::{
    base::{TopicPartition, java, mark},
    group::{
        machine::{Then, Waiter},
        request::refuse_join,
        subscription,
        timers::TimerKind,
    },
    protocol::{
        ErrorCode, StrBytes,
        messages::{SyncGroupRequest, SyncGroupResponse},
    },
    trace::{DOWNGRADED, Event},
};

impl Turn<'_, '_> {
    pub(super) fn set_timer(&mut self, group: &Arc<str>, kind: TimerKind, after_ms: i32) {
        let at = self.context.now + Duration::from_millis(after_ms.max(0) as u64);
        self.timers.set(group, kind, at);
    }

    /// What waits for a commit is told when that takes too long: this may be a leader that others have replaced already.
    pub(super) fn expect_commit(&mut self, group: &Arc<str>) {
        let at = self.context.now + self.settings.commit_timeout;
        self.timers.set(group, TimerKind::Commit, at);
    }

    fn initial_delay_ms(&self) -> i32 {
        i32::try_from(self.settings.initial_rebalance_delay.as_millis()).unwrap_or(i32::MAX)
    }
}

impl ClassicGroup {
    /// Something has changed: has everyone join again, or sees whether all have joined.
    pub(super) fn prepare_or_complete(&mut self, turn: &mut Turn<'_, '_>, why: &str) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare(turn, why),
            State::PreparingRebalance => self.maybe_complete(turn),
        }
    }

    pub(super) fn prepare(&mut self, turn: &mut Turn<'_, '_>, why: &str) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(turn, ErrorCode::RebalanceInProgress);
        }
        self.unsynced.clear();
        turn.timers.cancel(&self.id, TimerKind::Sync);
        turn.timers.cancel(&self.id, TimerKind::Commit);
        let is_initial = self.state == State::Empty;
        if is_initial {
            // The first members give others the time to come as well.
            let delay_ms = turn.initial_delay_ms();
            self.initial_delay = (delay_ms, (self.rebalance_timeout_ms() - delay_ms).max(0));
            turn.set_timer(&self.id, TimerKind::Join, delay_ms);
        }
        self.enter(State::PreparingRebalance, turn.context.wall_ms);
        turn.out.events.push(Event::RebalanceBegan {
            group: self.id.clone(),
            generation: self.generation,
            why: why.into(),
        });
        if !is_initial {
            if self.has_all_joined() {
                self.complete(turn);
            } else {
                turn.set_timer(&self.id, TimerKind::Join, self.rebalance_timeout_ms());
            }
        }
    }

    /// Ends the joining if everyone is there; an initial rebalance lasts for its whole delay.
    pub(super) fn maybe_complete(&mut self, turn: &mut Turn<'_, '_>) {
        let is_initial = self.previous == Some(State::Empty);
        if self.state == State::PreparingRebalance && !is_initial && self.has_all_joined() {
            self.complete(turn);
        }
    }

    /// The members have had their time to join.
    pub(in crate::group) fn join_time_is_up(&mut self, turn: &mut Turn<'_, '_>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        let (delay_ms, left_ms) = self.initial_delay;
        if self.previous == Some(State::Empty) && self.newcomer && left_ms != 0 {
            self.newcomer = false;
            let next_ms = turn.initial_delay_ms().min(left_ms);
            self.initial_delay = (next_ms, (left_ms - delay_ms).max(0));
            turn.set_timer(&self.id, TimerKind::Join, next_ms);
            return;
        }
        self.complete(turn);
    }

    /// Those who have joined form the next generation. Members that have not come are out, but for static ones, whose
    /// sessions decide.
    pub(super) fn complete(&mut self, turn: &mut Turn<'_, '_>) {
        turn.timers.cancel(&self.id, TimerKind::Join);
        let missing: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|member| member.joining.is_none() && member.instance.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in missing {
            self.remove_told(turn, &id, "did not join again in time");
            turn.timers.cancel(&self.id, TimerKind::Session(id));
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Static members only, and none of them came: their sessions will end.
            turn.set_timer(&self.id, TimerKind::Join, self.rebalance_timeout_ms());
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.subscribed = self.compute_subscribed();
            self.enter(State::Empty, turn.context.wall_ms);
            turn.out.events.push(Event::GroupEmptied { group: self.id.clone(), generation: self.generation });
            turn.out.write(vec![self.record(&Assignments::new())], Then::Nothing);
            return;
        }
        self.protocol = self.select_protocol();
        self.subscribed = self.compute_subscribed();
        self.enter(State::CompletingRebalance, turn.context.wall_ms);
        let joined = self.members.values().filter(|member| member.joining.is_some());
        turn.out.events.push(Event::GenerationFormed {
            group: self.id.clone(),
            generation: self.generation,
            protocol: self.protocol.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            members: joined.map(|member| member.id.clone()).collect(),
        });
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("the ids are the members'");
            member.is_new = false;
            let (session_ms, version) = (member.session_timeout_ms, member.join_version);
            if !self.can_be_told(turn, &id, version) {
                // The broker failed at it: this member and those behind it wait, and nobody's time runs.
                mark::reach("join_could_not_be_answered");
                return;
            }
            let member = self.members.get_mut(&id).expect("the ids are the members'");
            if let Some(waiter) = member.joining.take() {
                self.answer_join(turn, waiter, &id);
            }
            turn.set_timer(&self.id, TimerKind::Session(id.clone()), session_ms);
            self.unsynced.insert(id);
        }
        turn.set_timer(&self.id, TimerKind::Sync, self.rebalance_timeout_ms());
    }

    /// Whether the leader has joined, or another member that has joined leads now.
    fn elect_leader(&mut self) -> bool {
        let Some(leader) = self.leader.as_ref().and_then(|leader| self.members.get(leader)) else { return false };
        if leader.joining.is_some() {
            return true;
        }
        let joined = self.members.values().find(|member| member.joining.is_some());
        let Some(next) = joined.map(|member| member.id.clone()) else { return false };
        self.leader = Some(next);
        true
    }

    /// The protocol that most members prefer, among those that all have. Of equals the first in the order of Java's hash
    /// table, in which Kafka counts the votes.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let by_all = |name: &str| self.supported.get(name).copied().unwrap_or(0) == self.members.len();
        let mut votes: BTreeMap<(u32, &Arc<str>), usize> = BTreeMap::new();
        for member in self.members.values() {
            let (name, _) = member.protocols.iter().find(|(name, _)| by_all(name))?;
            *votes.entry((bucket(name), name)).or_default() += 1;
        }
        let most = votes.values().max()?;
        votes.iter().find(|(_, count)| *count == most).map(|((_, name), _)| (*name).clone())
    }

    /// SyncGroup: the leader brings the assignments, everyone gets its own.
    pub(in crate::group) fn sync(
        &mut self,
        turn: &mut Turn<'_, '_>,
        request: &SyncGroupRequest,
        waiter: Waiter,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        let id: Arc<str> = request.member_id.as_str().into();
        self.check_member(&id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: Option<&StrBytes>, known: Option<&str>| {
            said.zip(known).is_some_and(|(said, known)| said.as_str() != known)
        };
        if differs(request.protocol_type.as_ref(), self.protocol_type())
            || differs(request.protocol_name.as_ref(), self.protocol())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::PreparingRebalance => return Err(ErrorCode::RebalanceInProgress),
            State::Stable => {
                self.note_sync(turn, &id);
                self.answer_sync(turn, waiter, &id);
            }
            State::CompletingRebalance | State::Empty => {
                self.members.get_mut(&id).expect("it was checked").syncing = Some(waiter);
                self.note_sync(turn, &id);
                if self.is_leader(&id) {
                    let given = |id: &Arc<str>| {
                        let found = request.assignments.iter().rev().find(|given| *given.member_id == **id);
                        found.map_or_else(Bytes::new, |given| Bytes::copy_from_slice(&given.assignment))
                    };
                    let assignments: Assignments = self.members.keys().map(|id| (id.clone(), given(id))).collect();
                    let record = self.record(&assignments);
                    let (group, generation) = (self.id.clone(), self.generation);
                    turn.expect_commit(&self.id);
                    turn.out.write(vec![record], Then::Assigned { group, generation, assignments });
                }
            }
        }
        Ok(())
    }

    fn note_sync(&mut self, turn: &mut Turn<'_, '_>, id: &str) {
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            turn.timers.cancel(&self.id, TimerKind::Sync);
        }
    }

    fn answer_sync(&self, turn: &mut Turn<'_, '_>, waiter: Waiter, id: &str) {
        let text = |text: &Arc<str>| StrBytes::from_string(text.to_string());
        let response = SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.as_ref().map(text))
            .with_protocol_name(self.protocol.as_ref().map(text))
            .with_assignment(self.members[id].assignment.clone());
        turn.out.answer(waiter, response.into());
    }

    /// The assignments of `generation` are committed, or could not be written. Meanwhile the group may have gone on.
    pub(in crate::group) fn assigned(
        &mut self,
        turn: &mut Turn<'_, '_>,
        generation: i32,
        assignments: &Assignments,
        failed: Option<ErrorCode>,
    ) {
        if self.state != State::CompletingRebalance || generation != self.generation {
            return;
        }
        turn.timers.cancel(&self.id, TimerKind::Commit);
        if let Some(code) = failed {
            self.reset_assignments(turn, code);
            return self.prepare_or_complete(turn, "the assignments could not be written");
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.get(&member.id).cloned().unwrap_or_default();
        }
        self.enter(State::Stable, turn.context.wall_ms);
        turn.out.events.push(self.assigned_event());
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("the ids are the members'");
            let session_ms = member.session_timeout_ms;
            if let Some(waiter) = member.syncing.take() {
                self.answer_sync(turn, waiter, &id);
                turn.set_timer(&self.id, TimerKind::Session(id), session_ms);
            }
        }
    }

    /// Tells who has what.
    pub(in crate::group) fn assigned_event(&self) -> Event {
        let owners = self.members.values().map(|member| {
            let partitions: Vec<TopicPartition> = match self.is_of_consumers() {
                true => subscription::partitions(&member.assignment),
                false => Vec::new(),
            };
            (member.id.clone(), partitions)
        });
        Event::GroupAssigned { group: self.id.clone(), generation: self.generation, owners: owners.collect() }
    }

    /// The group goes on in this protocol, and its members join again.
    pub(in crate::group) fn go_on(&mut self, turn: &mut Turn<'_, '_>) {
        self.prepare(turn, DOWNGRADED);
    }

    /// What the group has agreed has not been committed in time. Whether it will be is not known: the members begin anew,
    /// and a static member asks again for its place.
    pub(in crate::group) fn commit_time_is_up(&mut self, turn: &mut Turn<'_, '_>) {
        let code = ErrorCode::RequestTimedOut;
        match self.state {
            State::CompletingRebalance => {
                self.reset_assignments(turn, code);
                self.prepare(turn, "the assignments were not committed in time");
            }
            State::Stable => {
                for waiter in self.members.values_mut().filter_map(|member| member.joining.take()) {
                    turn.out.refuse_write(waiter, code);
                }
            }
            State::PreparingRebalance | State::Empty => {}
        }
    }

    /// Nobody gets anything: those who wait are told `code`.
    fn reset_assignments(&mut self, turn: &mut Turn<'_, '_>, code: ErrorCode) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            let Some(waiter) = member.syncing.take() else { continue };
            turn.set_timer(&self.id, TimerKind::Session(member.id.clone()), member.session_timeout_ms);
            match code {
                ErrorCode::RebalanceInProgress => {
                    let response = SyncGroupResponse::default().with_error_code(code.code());
                    turn.out.answer(waiter, response.into());
                }
                code => turn.out.refuse_write(waiter, code),
            }
        }
    }

    /// The members have had their time to ask for what they were given: those who did not are out.
    pub(in crate::group) fn sync_time_is_up(&mut self, turn: &mut Turn<'_, '_>) {
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || self.unsynced.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.unsynced) {
            self.remove_told(turn, &id, "did not ask for its assignment in time");
            turn.timers.cancel(&self.id, TimerKind::Session(id));
        }
        self.prepare(turn, "members did not ask for their assignments");
    }

    /// Those who wait join again, and have a whole session for it.
    pub(in crate::group) fn send_back(&mut self, turn: &mut Turn<'_, '_>) {
        let code = ErrorCode::RebalanceInProgress;
        for member in self.members.values_mut() {
            let (joining, syncing) = (member.joining.take(), member.syncing.take());
            if joining.is_some() || syncing.is_some() {
                turn.set_timer(&self.id, TimerKind::Session(member.id.clone()), member.session_timeout_ms);
            }
            if let Some(waiter) = joining {
                let id = StrBytes::from_string(member.id.to_string());
                turn.out.answer(waiter, refuse_join(code, id).into());
            }
            if let Some(waiter) = syncing {
                turn.out.answer(waiter, SyncGroupResponse::default().with_error_code(code.code()).into());
            }
        }
    }

    /// The group goes on in the other protocol: everyone has a whole session. If that cannot be written, it goes on as it
    /// was: its members have what they had, and what was due is due.
    pub(in crate::group) fn dissolve(&mut self, turn: &mut Turn<'_, '_>) {
        for member in self.members.values() {
            turn.set_timer(&self.id, TimerKind::Session(member.id.clone()), member.session_timeout_ms);
        }
    }

    /// The group's first record in this protocol could not be written: everyone who waits looks for the coordinator again.
    pub(in crate::group) fn give_up(&mut self, turn: &mut Turn<'_, '_>, code: ErrorCode) {
        for member in self.members.values_mut() {
            for waiter in member.joining.take().into_iter().chain(member.syncing.take()) {
                turn.out.refuse_write(waiter, code);
            }
        }
    }

    pub(super) fn remove_told(&mut self, turn: &mut Turn<'_, '_>, id: &str, why: &str) {
        let Some(member) = self.remove(id) else { return };
        // It may still wait: told so, it joins again if it is alive.
        let code = ErrorCode::UnknownMemberId;
        if let Some(waiter) = member.joining {
            turn.out.answer(waiter, refuse_join(code, StrBytes::default()).into());
        }
        if let Some(waiter) = member.syncing {
            turn.out.answer(waiter, SyncGroupResponse::default().with_error_code(code.code()).into());
        }
        turn.out.events.push(Event::MemberLeft { group: self.id.clone(), member: member.id, why: why.into() });
    }
}

/// The bucket of a name in a Java hash table of 16.
fn bucket(name: &str) -> u32 {
    let hash = java::string_hash(name).cast_unsigned();
    (hash ^ (hash >> 16)) & 15
}
