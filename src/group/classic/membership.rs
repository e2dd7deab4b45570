//! Staying in a group and leaving it: heartbeats, sessions, LeaveGroup, and who may commit.

use std::{sync::Arc, time::Duration};

use super::{ClassicGroup, State, Turn};
use crate::{
    base::{Time, mark},
    group::{
        machine::Waiter,
        timers::{TimerKind, Timers},
    },
    protocol::{
        ErrorCode,
        messages::{
            HeartbeatRequest, HeartbeatResponse, leave_group_request::MemberIdentity,
            leave_group_response::MemberResponse,
        },
    },
};

impl ClassicGroup {
    /// Whether `member` is in the group, and nobody else has its place.
    pub(super) fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if **known != *member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether offsets may be committed in the name of `member`.
    pub(in crate::group) fn check_commit(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            // A client without a group, or an administrator.
            return Ok(());
        }
        if generation >= 0 || !member.is_empty() || instance.is_some() {
            self.check_member(member, instance)?;
            if generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if self.state != State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        // Its assignment is not known yet: whatever it commits was not given to it in this generation.
        if self.state == State::CompletingRebalance { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    pub(in crate::group) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_, '_>,
        request: &HeartbeatRequest,
        waiter: Waiter,
    ) -> Result<(), ErrorCode> {
        let checked = self.check_member(&request.member_id, request.group_instance_id.as_deref());
        if checked.is_err() && turn.switches.bug_fenced_heartbeat_accepted {
            turn.out.answer(waiter, HeartbeatResponse::default().into());
            return Ok(());
        }
        checked?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.extend_session(&request.member_id, turn.timers, turn.context.now);
        let code = match self.state {
            State::PreparingRebalance => ErrorCode::RebalanceInProgress,
            State::CompletingRebalance | State::Stable | State::Empty => ErrorCode::None,
        };
        turn.out.answer(waiter, HeartbeatResponse::default().with_error_code(code.code()).into());
        Ok(())
    }

    /// A sign of life.
    pub(in crate::group) fn extend_session(&self, member: &str, timers: &mut Timers, now: Time) {
        if let Some(member) = self.members.get(member) {
            let session = Duration::from_millis(member.session_timeout_ms.max(0) as u64);
            timers.set(&self.id, TimerKind::Session(member.id.clone()), now + session);
        }
    }

    /// After a load everyone has a whole session to find the new coordinator.
    pub(in crate::group) fn loaded(&mut self, turn: &mut Turn<'_, '_>) {
        for member in self.members.values() {
            self.extend_session(&member.id, turn.timers, turn.context.now);
        }
        if self.members.len() > turn.settings.max_size {
            self.prepare(turn, "the group is larger than group.max.size");
        }
    }

    /// A member has been silent for its session, or its first join has waited for too long.
    pub(in crate::group) fn session_is_over(&mut self, turn: &mut Turn<'_, '_>, id: &Arc<str>) {
        if self.pending.remove(id) {
            if self.state == State::PreparingRebalance && self.has_all_joined() {
                self.complete(turn);
            }
            return;
        }
        let Some(member) = self.members.get(id) else { return };
        if !member.is_new && (member.joining.is_some() || member.syncing.is_some()) {
            // It waits for us; its session goes on when it is answered.
            return;
        }
        mark::reach("member_session_over");
        self.remove_told(turn, id, "its session is over");
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare(turn, "the session of a member is over"),
            State::PreparingRebalance if self.has_all_joined() => self.complete(turn),
            State::PreparingRebalance | State::Empty => {}
        }
    }

    /// Members leave, or an administrator removes static members by their instance ids.
    pub(in crate::group) fn leave(
        &mut self,
        turn: &mut Turn<'_, '_>,
        leaving: &[MemberIdentity],
    ) -> Vec<MemberResponse> {
        let mut answers = Vec::new();
        for identity in leaving {
            let code = match self.leave_one(turn, identity) {
                Ok(()) => ErrorCode::None,
                Err(code) => code,
            };
            let answer = MemberResponse::default()
                .with_member_id(identity.member_id.clone())
                .with_group_instance_id(identity.group_instance_id.clone());
            answers.push(answer.with_error_code(code.code()));
        }
        if answers.iter().any(|answer| answer.error_code == 0) {
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare(turn, "a member has left"),
                State::PreparingRebalance => self.maybe_complete(turn),
                State::Empty => {}
            }
        }
        answers
    }

    fn leave_one(&mut self, turn: &mut Turn<'_, '_>, identity: &MemberIdentity) -> Result<(), ErrorCode> {
        let mut id: Arc<str> = identity.member_id.as_str().into();
        if id.is_empty() {
            let instance = identity.group_instance_id.as_deref().ok_or(ErrorCode::UnknownMemberId)?;
            id = self.statics.get(instance).ok_or(ErrorCode::UnknownMemberId)?.clone();
        } else if !self.pending.contains(&id) {
            self.check_member(&id, identity.group_instance_id.as_deref())?;
        }
        turn.timers.cancel(&self.id, TimerKind::Session(id.clone()));
        if !self.pending.remove(&id) {
            self.remove_told(turn, &id, "it left");
        }
        Ok(())
    }
}
