//! ConsumerGroupHeartbeat: members join, tell what they have, and are told what they are to have.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::Rng;

use super::{
    ConsumerGroup, Decided, LEAVE, Member, Refusal,
    reconcile::Goal,
    records::{Change, Current, Epochs, MemberState, Subscription},
};
use crate::{
    base::{Timestamp, TopicId},
    group::{
        classic::State,
        consumer::ConsumerSettings,
        machine::{Context, Outcome, Then, Waiter},
        records::Record,
        shard::Shard,
        timers::TimerKind,
    },
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
            consumer_group_heartbeat_response::{Assignment, TopicPartitions},
        },
    },
    trace::{AWAY, Event},
};

/// From this version on clients choose their member ids themselves (KIP-1082).
const CLIENT_MEMBER_ID_VERSION: i16 = 1;

/// A heartbeat as far as it is decided.
pub(super) struct Beat<'a> {
    pub group: &'a ConsumerGroup,
    /// The member as it was; a new one as it would be without saying anything.
    pub before: Member,
    /// The member with what it says now.
    pub member: Member,
    /// The member whose place it takes.
    pub replaced: Option<Arc<str>>,
    pub records: Vec<Record>,
    pub events: Vec<Event>,
}

impl Beat<'_> {
    /// The members as they will be.
    pub fn next_members(&self) -> Vec<Member> {
        let others = self.group.members().filter(|other| other.id != self.member.id);
        let mut members: Vec<Member> = others.filter(|other| Some(&other.id) != self.replaced.as_ref()).collect();
        members.push(self.member.clone());
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members
    }
}

impl Shard {
    /// Serves a heartbeat; a refusal is an answer of its own.
    pub(in crate::group) fn consumer_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        waiter: Waiter,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) {
        let decided = match check(request, context.version, &self.settings.consumer) {
            Err(refusal) => Err(refusal),
            Ok(()) if matches!(request.member_epoch, LEAVE | AWAY) => {
                self.leave_consumer_group(request, waiter, context, out)
            }
            Ok(()) => self.beat(request, waiter, context, out),
        };
        match decided {
            Err((code, _)) if self.switches.bug_fenced_heartbeat_accepted && is_fencing(code) => {
                let response = ConsumerGroupHeartbeatResponse::default()
                    .with_member_id(Some(request.member_id.clone()))
                    .with_member_epoch(request.member_epoch)
                    .with_heartbeat_interval_ms(self.settings.consumer.heartbeat_interval_ms);
                out.answer(waiter, response.into());
            }
            Err(refusal) => out.answer(waiter, refused(refusal).into()),
            Ok(()) => {}
        }
    }

    fn beat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        waiter: Waiter,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), Refusal> {
        let id: Arc<str> = request.group_id.as_str().into();
        let joins = request.member_epoch == 0;
        let mut fresh = ConsumerGroup::new(id.clone());
        let (mut records, mut events) = (Vec::new(), Vec::new());
        if joins && self.groups.get(&id).is_some_and(|classic| classic.state() != State::Empty) {
            self.begin_upgrade(&id, context, out)?;
        }
        let classic = self.groups.get(&id);
        match classic {
            Some(classic) if joins && classic.state() == State::Empty => {
                // An empty classic group makes way; its offsets stay.
                records.push(Record::Group { group: id.clone(), value: None });
            }
            Some(classic) if joins => self.upgrade(classic, &mut fresh, &mut records, &mut events)?,
            Some(_) => return Err((ErrorCode::GroupIdNotFound, format!("Group {id} is not a consumer group."))),
            None if joins || self.consumers.contains_key(&id) => {}
            None => return Err((ErrorCode::GroupIdNotFound, format!("Consumer group {id} not found."))),
        }
        let upgrades = !events.is_empty();
        let group = self.consumers.get(&id).unwrap_or(&fresh);
        let max_size = self.settings.consumer.max_size;
        let is_known = group.subscriptions.contains_key(request.member_id.as_str());
        if group.subscriptions.len() >= max_size && !is_known {
            let message = format!("The consumer group has reached its maximum capacity of {max_size} members.");
            return Err((ErrorCode::GroupMaxSizeReached, message));
        }
        let member_id: Arc<str> = match request.member_id.as_str() {
            "" => TopicId(context.random.random()).to_string().into(),
            given => given.into(),
        };
        let owned = owned(request);
        let (before, replaced) = find_member(group, request, &member_id, owned.as_ref())?;
        let mut beat = Beat { group, member: before.clone(), before, replaced: replaced.clone(), records, events };
        beat.replace(&replaced);
        beat.update(request, context);
        let topics_changed = beat.member.subscription.topics != beat.before.subscription.topics;
        let regex = self.update_regex(&mut beat, context)?;
        let resubscribed = topics_changed || regex.changed;
        // What members of a group in the midst of a rebalance were given last is not what they would be given now. Nor is
        // it where something is nobody's: a rebalance was due, and the coordinator who knew of it is gone.
        let is_settled = classic.is_some_and(|classic| classic.state() == State::Stable) && self.is_all_given(group);
        let is_unsettled = upgrades && !is_settled;
        let epoch = self.update_epoch(&mut beat, topics_changed || regex.resolved || is_unsettled);
        if self.reconcile(&mut beat, epoch, resubscribed, owned.as_ref(), context.wall_ms)? {
            let timer = TimerKind::Revocation(member_id.clone());
            match beat.member.current.state {
                MemberState::UnrevokedPartitions => {
                    let timeout = millis(beat.member.subscription.rebalance_timeout_ms);
                    self.timers.set(&id, timer, context.now + timeout);
                }
                _ => self.timers.cancel(&id, timer),
            }
        }
        let session = TimerKind::Session(member_id.clone());
        self.timers.set(&id, session, context.now + self.consumer_session_timeout(&id));
        let undone = replaced.iter().flat_map(|replaced| self.timers.take_all_of(&id, replaced)).collect();
        if regex.refresh {
            self.timers.set(&id, TimerKind::Regex, context.now);
        }
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let interval_ms = self.topics.overrides(&id).heartbeat_interval_ms;
        let heartbeat_interval_ms = interval_ms.unwrap_or(self.settings.consumer.heartbeat_interval_ms);
        let (before, now) = (&beat.before.current, &beat.member.current);
        let has_changed = !Arc::ptr_eq(before, now) && before.assigned != now.assigned;
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(StrBytes::from_string(member_id.to_string())))
            .with_member_epoch(beat.member.current.epoch)
            .with_heartbeat_interval_ms(heartbeat_interval_ms)
            .with_assignment((joins || is_full || has_changed).then(|| assignment(&beat.member.current)));
        let (records, events) = (beat.records, beat.events);
        if let Some(group) = self.consumers.get_mut(&id) {
            group.checked = Some((self.topics.version(), epoch));
        }
        if upgrades {
            let (mut turn, groups) = self.turn(context, out);
            groups.get_mut(&id).expect("it was upgraded").dissolve(&mut turn);
        }
        let answer = Some((waiter, Box::new(response.into())));
        answer_decided(records, Decided { answer, events, undone }, out);
        Ok(())
    }

    /// Brings the member of `beat` nearer to its target assignment, which is computed if it is due. Gives whether what
    /// the member has, or has to give up, has changed.
    pub(super) fn reconcile(
        &self,
        beat: &mut Beat<'_>,
        epoch: i32,
        resubscribed: bool,
        owned: Option<&BTreeSet<(TopicId, i32)>>,
        wall_ms: Timestamp,
    ) -> Result<bool, Refusal> {
        let group = beat.group;
        let (target_epoch, target) = self.update_target(beat, epoch, wall_ms);
        if !resubscribed && beat.member.is_reconciled_to(target_epoch) {
            return Ok(false);
        }
        let goal = Goal {
            epoch: target_epoch,
            target: &target,
            topics: &self.subscribed_ids(group, &beat.member),
            resubscribed,
            owned,
            is_taken: &|topic, partition| {
                !self.switches.bug_assigns_before_revoked && group.owners.contains_key(&(topic, partition))
            },
        };
        let next = goal.next(&beat.member.current)?;
        if next == *beat.member.current {
            return Ok(false);
        }
        beat.member.current = Arc::new(next);
        let change = Change::Current(beat.member.id.clone(), Some(beat.member.current.clone()));
        beat.records.push(group.record(change));
        beat.events.push(self.advanced(group, &beat.member));
        Ok(true)
    }

    /// Ids of the topics that a member subscribes to and that exist.
    pub(super) fn subscribed_ids(&self, group: &ConsumerGroup, member: &Member) -> BTreeSet<TopicId> {
        group.topics_of(member).iter().filter_map(|name| self.topics.find(name)).map(|topic| topic.id).collect()
    }
}

impl Beat<'_> {
    /// The member takes the place of a static one.
    pub(super) fn replace(&mut self, replaced: &Option<Arc<str>>) {
        let (group, id) = (self.group, &self.member.id);
        let Some(old) = replaced else { return };
        let target = group.targets.get(old).cloned().unwrap_or_default();
        let new = [
            Change::Subscription(id.clone(), Some(self.member.subscription.clone())),
            Change::Target(id.clone(), Some(target)),
            Change::Current(id.clone(), Some(self.member.current.clone())),
        ];
        self.records.extend(tombstones(old).into_iter().chain(new).map(|change| group.record(change)));
        self.events.push(Event::MemberReplaced {
            group: group.id.clone(),
            instance: self.member.subscription.instance.clone().expect("only a static member is replaced"),
            old: old.clone(),
            new: id.clone(),
        });
    }

    /// Takes what the member says of itself; what it leaves out stays.
    fn update(&mut self, request: &ConsumerGroupHeartbeatRequest, context: &Context<'_>) {
        let text = |text: &Option<StrBytes>| text.as_ref().map(|text| Arc::from(text.as_str()));
        let before = &self.before.subscription;
        let is_silent = request.instance_id.is_none()
            && request.rack_id.is_none()
            && request.server_assignor.is_none()
            && request.subscribed_topic_regex.is_none()
            && request.subscribed_topic_names.is_none()
            && request.rebalance_timeout_ms == -1;
        let is_same_client = *before.client_id == *context.client_id && *before.client_host == *context.client_host;
        if is_silent && is_same_client && before.classic.is_none() && !self.is_new() {
            return;
        }
        let mut next = (**before).clone();
        next.instance = text(&request.instance_id).or(next.instance);
        next.rack = text(&request.rack_id).or(next.rack);
        next.assignor = text(&request.server_assignor).or(next.assignor);
        next.regex = text(&request.subscribed_topic_regex).or(next.regex);
        if request.rebalance_timeout_ms != -1 {
            next.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(names) = &request.subscribed_topic_names {
            next.topics = names.iter().map(|name| name.as_str().into()).collect();
        }
        (next.client_id, next.client_host) = (context.client_id.into(), context.client_host.into());
        next.classic = None;
        self.say(next);
    }

    /// Whether it is nobody's that the group knew before.
    pub(super) fn is_new(&self) -> bool {
        self.replaced.is_none() && !self.group.subscriptions.contains_key(&self.member.id)
    }

    /// Takes what the member says of itself.
    pub(super) fn say(&mut self, next: Subscription) {
        if self.is_new() {
            self.events.push(Event::MemberJoined {
                group: self.group.id.clone(),
                member: self.member.id.clone(),
                instance: next.instance.clone(),
                client: next.client_id.clone(),
            });
        }
        if next != *self.before.subscription {
            self.member.subscription = Arc::new(next);
            let change = Change::Subscription(self.member.id.clone(), Some(self.member.subscription.clone()));
            self.records.push(self.group.record(change));
        }
    }
}

/// Nothing is left of a member.
pub(super) fn tombstones(id: &Arc<str>) -> [Change; 3] {
    [Change::Current(id.clone(), None), Change::Target(id.clone(), None), Change::Subscription(id.clone(), None)]
}

/// Whether somebody is told by this code that it is a member no longer.
fn is_fencing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::FencedInstanceId)
}

/// The member that the heartbeat is of, and the static member whose place it takes.
fn find_member(
    group: &ConsumerGroup,
    request: &ConsumerGroupHeartbeatRequest,
    id: &Arc<str>,
    owned: Option<&BTreeSet<(TopicId, i32)>>,
) -> Result<(Member, Option<Arc<str>>), Refusal> {
    let joins = request.member_epoch == 0;
    let Some(instance) = request.instance_id.as_deref() else {
        let member = match group.member(id) {
            Some(member) => member,
            None if joins => Member::new(id.clone()),
            None => return Err(unknown_member(group, id)),
        };
        check_epoch(&member, request.member_epoch, owned)?;
        return Ok((member, None));
    };
    if !joins {
        let member = check_static(group, instance, id)?;
        check_epoch(&member, request.member_epoch, owned)?;
        return Ok((member, None));
    }
    let Some(known) = group.static_member(instance) else {
        return Ok((group.member(id).unwrap_or_else(|| Member::new(id.clone())), None));
    };
    if known.current.epoch != AWAY && known.subscription.classic.is_none() {
        let message = format!(
            "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by \
             {} member.",
            known.id
        );
        return Err((ErrorCode::UnreleasedInstanceId, message));
    }
    let current = Current { epoch: 0, previous_epoch: 0, ..(*known.current).clone() };
    let member = Member { id: id.clone(), subscription: known.subscription, current: Arc::new(current) };
    Ok((member, Some(known.id)))
}

pub(super) fn unknown_member(group: &ConsumerGroup, id: &str) -> Refusal {
    (ErrorCode::UnknownMemberId, format!("Member {id} is not a member of group {}.", group.id))
}

/// The static member, if it is still the one that asks.
pub(super) fn check_static(group: &ConsumerGroup, instance: &str, id: &str) -> Result<Member, Refusal> {
    let Some(known) = group.static_member(instance) else {
        return Err((ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown.")));
    };
    if *known.id != *id {
        let message = format!("Static member {id} with instance id {instance} was fenced by member {}.", known.id);
        return Err((ErrorCode::FencedInstanceId, message));
    }
    Ok(known)
}

/// A member whose answer was lost still has its epoch before; it may go on if it has no more than it may have.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&BTreeSet<(TopicId, i32)>>) -> Result<(), Refusal> {
    let current = &member.current;
    let compared = match epoch {
        0 => return Ok(()),
        epoch if epoch > current.epoch => "greater",
        epoch if epoch < current.epoch => {
            let may_have = |(topic, partition): &(TopicId, i32)| {
                current.assigned.get(topic).is_some_and(|partitions| partitions.contains_key(partition))
            };
            if epoch == current.previous_epoch && owned.is_some_and(|owned| owned.iter().all(may_have)) {
                return Ok(());
            }
            "smaller"
        }
        _ => return Ok(()),
    };
    let message = format!(
        "The consumer group member has a {compared} member epoch ({epoch}) than the one known by the group coordinator \
         ({}). The member must abandon all its partitions and rejoin.",
        current.epoch
    );
    Err((ErrorCode::FencedMemberEpoch, message))
}

/// What the member says that it has.
fn owned(request: &ConsumerGroupHeartbeatRequest) -> Option<BTreeSet<(TopicId, i32)>> {
    let topics = request.topic_partitions.as_ref()?;
    let all = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (TopicId(*topic.topic_id.as_bytes()), *partition)));
    Some(all.collect())
}

fn assignment(current: &Current) -> Assignment {
    Assignment::default().with_topic_partitions(topic_partitions(&current.assigned))
}

fn topic_partitions(epochs: &Epochs) -> Vec<TopicPartitions> {
    let topic = |(topic, partitions): (&TopicId, &std::collections::BTreeMap<i32, i32>)| {
        TopicPartitions::default()
            .with_topic_id(uuid::Uuid::from_bytes(topic.0))
            .with_partitions(partitions.keys().copied().collect())
    };
    epochs.iter().map(topic).collect()
}

/// Answers when the records are committed; without any, when those before are.
pub(super) fn answer_decided(records: Vec<Record>, decided: Decided, out: &mut Outcome) {
    match decided.answer {
        Some((waiter, response)) if records.is_empty() => out.write(records, Then::Answer(waiter, response, None)),
        _ => out.write(records, decided.into()),
    }
}

/// A time that a client gave.
pub(super) fn millis(number: i32) -> Duration {
    Duration::from_millis(number.max(0) as u64)
}

fn refused((code, message): Refusal) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default().with_error_code(code.code());
    response.with_error_message(Some(StrBytes::from_string(message)))
}

/// The refusal of a heartbeat that no group could accept.
pub fn refuse_heartbeat(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    settings: &ConsumerSettings,
) -> Option<ConsumerGroupHeartbeatResponse> {
    check(request, version, settings).err().map(refused)
}

/// Checks what needs no group.
fn check(request: &ConsumerGroupHeartbeatRequest, version: i16, settings: &ConsumerSettings) -> Result<(), Refusal> {
    let invalid = |message: &str| Err((ErrorCode::InvalidRequest, message.to_owned()));
    let is_blank = |text: &str| text.trim().is_empty();
    let needs_id = version >= CLIENT_MEMBER_ID_VERSION || request.member_epoch > 0 || request.member_epoch == LEAVE;
    if needs_id && is_blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_deref().is_some_and(is_blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        AWAY if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        epoch if epoch < AWAY => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    match request.server_assignor.as_deref() {
        Some(asked) if !settings.assignors.iter().any(|assignor| assignor.to_string() == asked) => {
            let known = settings.assignors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("ServerAssignor {asked} is not supported. Supported assignors: {known}.");
            Err((ErrorCode::UnsupportedAssignor, message))
        }
        _ => Ok(()),
    }
}
