//! Who leaves a group, and why: by itself, silent for its session, or too slow to give partitions up.

use std::sync::Arc;

use super::{
    ConsumerGroup, Decided, Member, Refusal,
    heartbeat::{check_static, tombstones, unknown_member},
    records::{Change, Current, Epochs, GroupEpoch, MemberState},
};
use crate::{
    group::{
        machine::{Context, Outcome, Waiter},
        records::Record,
        shard::Shard,
        timers::{Timer, TimerKey, TimerKind},
    },
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, LeaveGroupRequest, LeaveGroupResponse,
            ResponseKind, leave_group_request::MemberIdentity, leave_group_response::MemberResponse,
        },
    },
    trace::{AWAY, Event},
};

/// How soon a member is thrown out again when that could not be written, as in Kafka.
const FENCE_RETRY: std::time::Duration = std::time::Duration::from_millis(500);

impl Shard {
    /// A member leaves for good, or a static one for a while.
    pub(super) fn leave_consumer_group(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        waiter: Waiter,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), Refusal> {
        let id = request.group_id.as_str();
        let Some(group) = self.consumers.get(id) else {
            let is = if self.groups.contains_key(id) { "is not a consumer group" } else { "not found" };
            return Err((ErrorCode::GroupIdNotFound, format!("Group {id} {is}.")));
        };
        let member_id = request.member_id.as_str();
        let member = match request.instance_id.as_deref() {
            None => group.member(member_id).ok_or_else(|| unknown_member(group, member_id))?,
            Some(instance) => check_static(group, instance, member_id)?,
        };
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(StrBytes::from_string(member.id.to_string())))
            .with_member_epoch(request.member_epoch);
        let answer = Some((waiter, Box::new(response.into())));
        if request.member_epoch == AWAY {
            let away = |partitions: &std::collections::BTreeMap<i32, i32>| {
                partitions.keys().map(|index| (*index, 0)).collect()
            };
            let assigned: Epochs =
                member.current.assigned.iter().map(|(topic, partitions)| (*topic, away(partitions))).collect();
            let current = Current { epoch: AWAY, assigned, revoking: Epochs::new(), ..(*member.current).clone() };
            let member = Member { current: Arc::new(current), ..member };
            let record = group.record(Change::Current(member.id.clone(), Some(member.current.clone())));
            let events = vec![self.advanced(group, &member)];
            out.write(vec![record], Decided { answer, events, undone: Vec::new() }.into());
            return Ok(());
        }
        let id = group.id.clone();
        self.fence(&id, &[member], "it left", Decided { answer, ..Decided::default() }, context, out);
        Ok(())
    }

    /// LeaveGroup of a group of the consumer protocol: an administrator removes members.
    pub(in crate::group) fn remove_consumers(
        &mut self,
        request: &LeaveGroupRequest,
        waiter: Waiter,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) {
        let group = &self.consumers[request.group_id.as_str()];
        let (mut leaving, mut answers): (Vec<Member>, Vec<MemberResponse>) = (Vec::new(), Vec::new());
        for identity in &request.members {
            let answer = MemberResponse::default()
                .with_member_id(identity.member_id.clone())
                .with_group_instance_id(identity.group_instance_id.clone());
            answers.push(match group.find_leaving(identity) {
                Ok(member) => {
                    if !leaving.contains(&member) {
                        leaving.push(member);
                    }
                    answer
                }
                Err((code, _)) => answer.with_error_code(code.code()),
            });
        }
        let response: ResponseKind = LeaveGroupResponse::default().with_members(answers).into();
        let id = group.id.clone();
        match leaving.is_empty() {
            true => out.answer(waiter, response),
            false => {
                let answer = Some((waiter, Box::new(response)));
                let decided = Decided { answer, ..Decided::default() };
                self.fence(&id, &leaving, "an administrator removed it", decided, context, out);
            }
        }
    }

    /// Removes members: tombstones of what they said and had, and a new epoch for the others; or a classic group of them.
    fn fence(
        &mut self,
        id: &Arc<str>,
        leaving: &[Member],
        why: &str,
        mut decided: Decided,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) {
        let group = &self.consumers[id];
        for member in leaving {
            let id = &member.id;
            decided.events.push(Event::MemberLeft { group: group.id.clone(), member: id.clone(), why: why.into() });
            decided.undone.extend(self.timers.take_all_of(&group.id, id));
        }
        let staying: Vec<Member> = group.members().filter(|member| !leaving.contains(member)).collect();
        if let Some(classic) = self.downgrade(group, &staying, None, context.wall_ms) {
            return self.go_on_as_classic(classic, true, decided, context, out);
        }
        let gone = leaving.iter().flat_map(|member| tombstones(&member.id));
        let mut records: Vec<Record> = gone.map(|change| group.record(change)).collect();
        let is_used = |regex: &Arc<str>| staying.iter().any(|member| member.regex() == Some(regex));
        let mut regexes: Vec<&Arc<str>> =
            leaving.iter().filter_map(Member::regex).filter(|regex| !is_used(regex)).collect();
        regexes.sort();
        regexes.dedup();
        records.extend(regexes.into_iter().map(|regex| group.record(Change::Regex(regex.clone(), None))));
        let epoch = group.epoch().wrapping_add(1);
        let metadata_hash = self.hash_of_subscribed(group, &staying);
        records.push(group.record(Change::Epoch(Some(GroupEpoch { epoch, metadata_hash }))));
        decided.events.extend(self.formed(group, epoch, &staying, &format!("a member is out: {why}")));
        out.write(records, decided.into());
    }

    /// The session time-out of a group: its own, else the broker's.
    pub(super) fn consumer_session_timeout(&self, group: &str) -> std::time::Duration {
        let own = self.topics.overrides(group).session_timeout_ms;
        own.map_or(self.settings.consumer.session_timeout, |own_ms| {
            std::time::Duration::from_millis(own_ms.max(0) as u64)
        })
    }

    /// After a load everyone has a whole session to find the new coordinator, and its whole time to give partitions up.
    pub(in crate::group) fn consumers_are_loaded(&mut self, context: &Context<'_>) {
        for group in self.consumers.values() {
            for member in group.members() {
                let session = TimerKind::Session(member.id.clone());
                self.timers.set(&group.id, session, context.now + self.consumer_session_timeout(&group.id));
                if member.current.state == MemberState::UnrevokedPartitions {
                    let timeout = member.subscription.rebalance_timeout_ms.max(0) as u64;
                    let at = context.now + std::time::Duration::from_millis(timeout);
                    self.timers.set(&group.id, TimerKind::Revocation(member.id.clone()), at);
                }
            }
        }
    }

    /// Does what is due for a group of the consumer protocol.
    pub(in crate::group) fn consumer_timer(&mut self, key: TimerKey, context: &mut Context<'_>, out: &mut Outcome) {
        let group = &self.consumers[&key.group];
        let (member, why) = match &key.kind {
            TimerKind::Session(id) => (group.member(id), "its session is over"),
            TimerKind::Revocation(id) => {
                // A static one that is away has its session to come back.
                let slow = |member: &Member| {
                    member.current.state == MemberState::UnrevokedPartitions && member.current.epoch != AWAY
                };
                (group.member(id).filter(slow), "did not give up partitions in time")
            }
            TimerKind::Rejoin(id) => (group.member(id), "did not join again in time"),
            TimerKind::Resync(id) => (group.member(id), "did not ask for its assignment in time"),
            TimerKind::Regex => return self.resolve_regexes(&key.group, context, out),
            TimerKind::Join | TimerKind::Sync | TimerKind::Commit => return,
        };
        if let Some(member) = member {
            let group = key.group.clone();
            let undone = vec![Timer { at: context.now + FENCE_RETRY, key }];
            self.fence(&group, &[member], why, Decided { undone, ..Decided::default() }, context, out);
        }
    }

    /// Tombstones for all of a group.
    pub(in crate::group) fn tombstones_of_consumers(group: &ConsumerGroup) -> Vec<Record> {
        let ids = || group.subscriptions.keys().cloned();
        let changes = ids()
            .map(|id| Change::Current(id, None))
            .chain(ids().map(|id| Change::Target(id, None)))
            .chain([Change::TargetEpoch(None)])
            .chain(ids().map(|id| Change::Subscription(id, None)))
            .chain(group.regexes.keys().map(|regex| Change::Regex(regex.clone(), None)))
            .chain([Change::OldTopics, Change::Epoch(None)]);
        changes.map(|change| group.record(change)).collect()
    }
}

impl ConsumerGroup {
    fn find_leaving(&self, identity: &MemberIdentity) -> Result<Member, Refusal> {
        let id = identity.member_id.as_str();
        match identity.group_instance_id.as_deref() {
            None => self.member(id).ok_or_else(|| unknown_member(self, id)),
            Some(instance) if id.is_empty() => {
                let unknown = || (ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."));
                self.static_member(instance).ok_or_else(unknown)
            }
            Some(instance) => check_static(self, instance, id),
        }
    }
}
