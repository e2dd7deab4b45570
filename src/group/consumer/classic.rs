//! Members of the classic protocol in a group of the consumer protocol.
//!
//! An application that is upgraded member by member has both for a while. Whoever speaks the classic protocol joins and
//! asks for its assignment as before; its generation is its member epoch. When the group has moved on it is told to join
//! again, each member at its own time: nobody waits for the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand::Rng;

use super::{
    ConsumerGroup, Decided, Member, MigrationPolicy,
    heartbeat::{Beat, answer_decided, check_static, millis},
    records::{ClassicMember, Current, MemberState},
};
use crate::{
    base::{TopicId, TopicPartition},
    group::{
        machine::{Context, Outcome, Then, Waiter},
        request::refuse_join,
        shard::Shard,
        subscription,
        timers::TimerKind,
    },
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
            SyncGroupResponse,
        },
    },
};

/// From this version on a member needs an id before it joins (KIP-394).
const MEMBER_ID_REQUIRED_VERSION: i16 = 4;

impl Shard {
    /// JoinGroup of a group of the consumer protocol that has members.
    pub(in crate::group) fn join_consumer_group(
        &mut self,
        request: &JoinGroupRequest,
        waiter: Waiter,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let id: Arc<str> = request.group_id.as_str().into();
        let group = &self.consumers[&id];
        if self.settings.consumer.migration_policy == MigrationPolicy::Disabled {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_unknown = request.member_id.is_empty();
        let member_id: Arc<str> = match is_unknown {
            true => TopicId(context.random.random()).to_string().into(),
            false => request.member_id.as_str().into(),
        };
        if group.subscriptions.len() >= self.settings.consumer.max_size && !group.subscriptions.contains_key(&member_id)
        {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let Some(first) = request.protocols.first().filter(|_| group.supports(request)) else {
            return Err(ErrorCode::InconsistentGroupProtocol);
        };
        let instance = request.group_instance_id.as_deref();
        if is_unknown && instance.is_none() && context.version >= MEMBER_ID_REQUIRED_VERSION {
            let id = StrBytes::from_string(member_id.to_string());
            out.answer(waiter, refuse_join(ErrorCode::MemberIdRequired, id).into());
            return Ok(());
        }
        let (before, replaced) = group.find_classic(instance, &member_id, is_unknown)?;
        let said = subscription::said(&first.metadata).map_err(|_| ErrorCode::UnknownServerError)?;
        let owned: BTreeSet<(TopicId, i32)> = self.with_ids(said.owned).collect();
        let mut beat = Beat {
            group,
            member: before.clone(),
            before,
            replaced: replaced.clone(),
            records: Vec::new(),
            events: Vec::new(),
        };
        beat.replace(&replaced);
        let mut next = (*beat.before.subscription).clone();
        next.instance = instance.map(Arc::from).or(next.instance);
        next.rack = said.rack.or(next.rack);
        next.rebalance_timeout_ms = request.rebalance_timeout_ms;
        (next.topics, next.regex) = (said.topics, Some("".into()));
        (next.client_id, next.client_host) = (context.client_id.into(), context.client_host.into());
        let copy = |protocol: &crate::protocol::messages::join_group_request::JoinGroupRequestProtocol| {
            (Arc::from(protocol.name.as_str()), bytes::Bytes::copy_from_slice(&protocol.metadata))
        };
        let protocols = request.protocols.iter().map(copy).collect();
        next.classic = Some(ClassicMember { session_timeout_ms: request.session_timeout_ms, protocols });
        beat.say(next);
        let topics_changed = beat.member.subscription.topics != beat.before.subscription.topics;
        let regex = self.update_regex(&mut beat, context).map_err(|(code, _)| code)?;
        let resubscribed = topics_changed || regex.changed;
        let told = beat.events.len();
        let epoch = self.update_epoch(&mut beat, resubscribed);
        let place = instance.and_then(|instance| group.statics.get(instance));
        let members = beat.next_members();
        let classic =
            place.and_then(|known| self.downgrade(group, &members, Some((&member_id, known)), context.wall_ms));
        // A classic group that goes on with the target of an old epoch is assigned anew anyway.
        let is_stale = classic.is_some() && group.assignment_epoch() < epoch;
        if is_stale {
            beat.events.truncate(told);
        } else {
            self.reconcile(&mut beat, epoch, resubscribed, Some(&owned), context.wall_ms).map_err(|(code, _)| code)?;
        }
        let response = JoinGroupResponse::default()
            .with_member_id(StrBytes::from_string(member_id.to_string()))
            .with_generation_id(beat.member.current.epoch)
            .with_protocol_type(Some(StrBytes::from_static_str(subscription::CONSUMER)))
            .with_protocol_name(Some(first.name.clone()));
        let (records, events) = (beat.records, beat.events);
        if let Some(classic) = classic {
            // What it says is in the record of the classic group.
            let decided = Decided { answer: Some((waiter, Box::new(response.into()))), events, undone: Vec::new() };
            // Whoever waits for partitions asks again only when it is told to.
            let waits = |member: &Member| member.id != beat.member.id && !member.is_reconciled_to(classic.generation());
            let rebalances = is_stale || beat.member.current.epoch != classic.generation() || members.iter().any(waits);
            self.go_on_as_classic(classic, rebalances, decided, context, out);
            return Ok(());
        }
        let mut undone = self.timers.take_all_of(&id, &member_id);
        undone.extend(replaced.iter().flat_map(|replaced| self.timers.take_all_of(&id, replaced)));
        let session = TimerKind::Session(member_id.clone());
        self.timers.set(&id, session, context.now + millis(request.session_timeout_ms));
        self.timers.set(&id, TimerKind::Resync(member_id), context.now + millis(request.rebalance_timeout_ms));
        if regex.refresh {
            self.timers.set(&id, TimerKind::Regex, context.now);
        }
        if let Some(group) = self.consumers.get_mut(&id) {
            group.checked = Some((self.topics.version(), epoch));
        }
        let answer = Some((waiter, Box::new(response.into())));
        answer_decided(records, Decided { answer, events, undone }, out);
        Ok(())
    }

    /// SyncGroup of a group of the consumer protocol: the member gets what it may use.
    pub(in crate::group) fn sync_consumer(
        &mut self,
        request: &SyncGroupRequest,
        waiter: Waiter,
        context: &Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let group = &self.consumers[request.group_id.as_str()];
        let instance = request.group_instance_id.as_deref();
        let (member, classic) = group.classic_member(&request.member_id, instance, request.generation_id)?;
        let (name, metadata) = classic.protocols.first().ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let differs = |said: &Option<StrBytes>, known: &str| said.as_ref().is_some_and(|said| said.as_str() != known);
        if differs(&request.protocol_type, subscription::CONSUMER) || differs(&request.protocol_name, name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_behind = group.assignment_epoch() > member.current.epoch;
        if is_behind && member.current.state != MemberState::UnrevokedPartitions {
            let at = context.now + millis(member.subscription.rebalance_timeout_ms);
            self.timers.set_if_absent(&group.id, TimerKind::Rejoin(member.id.clone()), at);
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.timers.cancel(&group.id, TimerKind::Resync(member.id.clone()));
        let at = context.now + millis(classic.session_timeout_ms);
        self.timers.set(&group.id, TimerKind::Session(member.id.clone()), at);
        let topic = |(id, partitions): (&TopicId, &BTreeMap<i32, i32>)| {
            Some((&**self.topics.name_of(*id)?, partitions.keys().copied().collect::<Vec<i32>>()))
        };
        let assignment = subscription::assignment(metadata, member.current.assigned.iter().filter_map(topic));
        let response = SyncGroupResponse::default()
            .with_protocol_type(request.protocol_type.clone())
            .with_protocol_name(request.protocol_name.clone())
            .with_assignment(assignment);
        out.write(Vec::new(), Then::Answer(waiter, Box::new(response.into()), None));
        Ok(())
    }

    /// Heartbeat of a group of the consumer protocol: the member is told to join again when there is something new.
    pub(in crate::group) fn heartbeat_of_consumer(
        &mut self,
        request: &HeartbeatRequest,
        waiter: Waiter,
        context: &Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let group = &self.consumers[request.group_id.as_str()];
        let instance = request.group_instance_id.as_deref();
        let (member, classic) = group.classic_member(&request.member_id, instance, request.generation_id)?;
        let at = context.now + millis(classic.session_timeout_ms);
        self.timers.set(&group.id, TimerKind::Session(member.id.clone()), at);
        let rejoins = member.current.epoch < group.epoch_to_come_to()
            || match member.current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !group.waits_for_others(&member),
                MemberState::Stable | MemberState::Unknown(_) => false,
            };
        let mut code = ErrorCode::None;
        if rejoins {
            code = ErrorCode::RebalanceInProgress;
            let at = context.now + millis(member.subscription.rebalance_timeout_ms);
            self.timers.set_if_absent(&group.id, TimerKind::Rejoin(member.id.clone()), at);
        }
        let response = HeartbeatResponse::default().with_error_code(code.code());
        out.write(Vec::new(), Then::Answer(waiter, Box::new(response.into()), None));
        Ok(())
    }

    /// With the ids of topics that exist.
    pub(super) fn with_ids(&self, partitions: Vec<TopicPartition>) -> impl Iterator<Item = (TopicId, i32)> {
        partitions
            .into_iter()
            .filter_map(|partition| Some((self.topics.find(&partition.topic)?.id, partition.partition)))
    }
}

impl ConsumerGroup {
    /// Whether all members of the classic protocol know a protocol that this one knows.
    fn supports(&self, request: &JoinGroupRequest) -> bool {
        let known = self.subscriptions.values().filter_map(|subscription| subscription.classic.as_ref());
        let classics: Vec<&ClassicMember> = known.collect();
        let by_all =
            |name: &str| classics.iter().all(|classic| classic.protocols.iter().any(|(known, _)| **known == *name));
        *request.protocol_type == *subscription::CONSUMER
            && request.protocols.iter().any(|protocol| by_all(&protocol.name))
    }

    /// The member that joins, and the static member whose place it takes.
    fn find_classic(
        &self,
        instance: Option<&str>,
        id: &Arc<str>,
        is_unknown: bool,
    ) -> Result<(Member, Option<Arc<str>>), ErrorCode> {
        let new = || self.member(id).unwrap_or_else(|| Member::new(id.clone()));
        let Some(instance) = instance else { return Ok((new(), None)) };
        if !is_unknown {
            return check_static(self, instance, id).map(|member| (member, None)).map_err(|(code, _)| code);
        }
        let Some(known) = self.static_member(instance) else { return Ok((new(), None)) };
        let current = Current { epoch: 0, previous_epoch: 0, ..(*known.current).clone() };
        let member = Member { id: id.clone(), subscription: known.subscription, current: Arc::new(current) };
        Ok((member, Some(known.id)))
    }

    /// A member of the classic protocol that is in this generation.
    fn classic_member(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(Member, ClassicMember), ErrorCode> {
        let member = match instance {
            None => self.member(id).ok_or(ErrorCode::UnknownMemberId)?,
            Some(instance) => check_static(self, instance, id).map_err(|(code, _)| code)?,
        };
        let classic = member.subscription.classic.clone().ok_or(ErrorCode::UnknownMemberId)?;
        if generation == member.current.epoch { Ok((member, classic)) } else { Err(ErrorCode::IllegalGeneration) }
    }

    /// The epoch that members are to come to. With nobody left who speaks the consumer protocol, where it may not become a
    /// classic group, those who join again have to have the target assignment computed.
    fn epoch_to_come_to(&self) -> i32 {
        let all_classic = self.subscriptions.values().all(|subscription| subscription.classic.is_some());
        if all_classic { self.epoch() } else { self.assignment_epoch() }
    }

    /// Whether others still have what is to be its own.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.targets.get(&member.id).into_iter().flat_map(|target| target.iter());
        target.flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition))).any(
            |partition| {
                let has = |of: &BTreeMap<i32, i32>| of.contains_key(&partition.1);
                !member.current.assigned.get(&partition.0).is_some_and(has) && self.owners.contains_key(&partition)
            },
        )
    }
}
