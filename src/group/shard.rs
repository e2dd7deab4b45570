//! The groups and offsets of one partition of `__consumer_offsets`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    GroupSettings,
    classic::{ClassicGroup, Turn},
    consumer::{ConsumerGroup, records::Change, topics::Topics},
    machine::{Context, Outcome, Then, Waiter},
    offsets::Offsets,
    records::{OffsetAndMetadata, Record},
    request::GroupRequest,
    timers::{TimerKind, Timers},
};
use crate::{
    base::{Switches, Time, Timestamp, TopicPartition},
    coordinator::Replayed,
    protocol::{ErrorCode, messages::LeaveGroupResponse},
};

/// All that is known of the groups of a partition.
pub struct Shard {
    pub(super) settings: GroupSettings,
    pub(super) switches: Switches,
    /// By id. A group exists as long as it has members, offsets or a record of its own.
    pub(super) groups: BTreeMap<Arc<str>, ClassicGroup>,
    /// Those of the consumer protocol, by id. No id is in both.
    pub(super) consumers: BTreeMap<Arc<str>, ConsumerGroup>,
    /// The topics of the cluster.
    pub(super) topics: Arc<Topics>,
    pub(super) offsets: Offsets,
    pub(super) timers: Timers,
    /// Whether all records of the leaders before have been replayed.
    loaded: bool,
    next_expiry: Time,
}

/// What takes a replayed record back.
#[derive(Debug)]
pub enum Undo {
    /// An offset as it was.
    Offset {
        /// Of which group.
        group: Arc<str>,
        /// Of which partition.
        partition: TopicPartition,
        /// What was committed before.
        before: Option<OffsetAndMetadata>,
        /// Whether the record made the group.
        created: bool,
    },
    /// A group that was deleted.
    Deleted(Box<ClassicGroup>),
    /// A value of a group of the consumer protocol.
    Consumer {
        /// Of which group.
        group: Arc<str>,
        /// As it was.
        before: Box<Change>,
        /// The group that only held offsets until then.
        replaced: Option<Box<ClassicGroup>>,
    },
    /// A group's own record, which tells what its members have agreed already: see [`super::classic`].
    Nothing,
}

impl Replayed for Shard {
    type Record = Record;
    type Undo = Undo;

    fn replay(&mut self, record: &Record) -> Undo {
        match record {
            Record::Offset { group, partition, value } => {
                let created = value.is_some() && !self.knows(group);
                if created {
                    self.groups.insert(group.clone(), ClassicGroup::new(group.clone(), None));
                }
                let before = self.offsets.set(group, partition, value.clone());
                Undo::Offset { group: group.clone(), partition: partition.clone(), before, created }
            }
            Record::Consumer { group, change } => {
                let before = Box::new(self.change_consumers(group, change));
                let is_simple = self.groups.get(group).is_some_and(ClassicGroup::is_simple);
                let replaced = match is_simple && self.consumers.contains_key(group) {
                    true => self.groups.remove(group).map(Box::new),
                    false => None,
                };
                Undo::Consumer { group: group.clone(), before, replaced }
            }
            Record::Group { group, value: None } => match self.groups.remove(group) {
                Some(group) => Undo::Deleted(Box::new(group)),
                None => Undo::Nothing,
            },
            Record::Group { group, value: Some(value) } => {
                if !self.loaded {
                    self.groups.insert(group.clone(), ClassicGroup::from_record(group.clone(), value));
                }
                Undo::Nothing
            }
        }
    }

    /// Most of what a coordinator reads when it is loaded are offsets after which others of the same partition come: only
    /// the values change.
    fn apply(&mut self, record: Record) {
        match record {
            Record::Offset { group, partition, value: Some(value) } if self.knows(&group) => {
                match self.offsets.get_mut(&group, &partition) {
                    Some(known) => *known = value,
                    None => drop(self.offsets.set(&group, &partition, Some(value))),
                }
            }
            record => drop(self.replay(&record)),
        }
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Offset { group, partition, before, created } => {
                self.offsets.set(&group, &partition, before);
                if created && self.groups.get(&group).is_some_and(ClassicGroup::is_simple) {
                    self.groups.remove(&group);
                }
            }
            Undo::Consumer { group, before, replaced } => {
                self.change_consumers(&group, &before);
                if let Some(replaced) = replaced {
                    self.groups.insert(group, *replaced);
                }
            }
            Undo::Deleted(group) => {
                // Someone may have joined meanwhile and made it anew.
                let standing = self.groups.entry(group.id.clone()).or_insert(*group);
                standing.recorded = true;
            }
            Undo::Nothing => {}
        }
    }
}

impl Shard {
    /// Without groups.
    pub(super) fn new(settings: GroupSettings, switches: Switches) -> Self {
        Self {
            settings,
            switches,
            groups: BTreeMap::new(),
            consumers: BTreeMap::new(),
            topics: Arc::default(),
            offsets: Offsets::default(),
            timers: Timers::default(),
            loaded: false,
            next_expiry: Time::ZERO,
        }
    }

    /// Whether there is such a group, of either protocol.
    fn knows(&self, group: &str) -> bool {
        self.groups.contains_key(group) || self.consumers.contains_key(group)
    }

    /// Whether there is such a group, of the consumer protocol.
    pub fn is_of_consumer_protocol(&self, group: &str) -> bool {
        self.consumers.contains_key(group)
    }

    /// The committed offsets.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = &ClassicGroup> {
        self.groups.values()
    }

    /// The topics of the cluster.
    pub fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// Those of the consumer protocol.
    pub fn consumers(&self) -> impl Iterator<Item = &ConsumerGroup> {
        self.consumers.values()
    }

    /// The members of all groups: group, member id.
    pub fn members(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        let classic = self.groups.values().map(|group| (&group.id, group.member_ids().cloned().collect::<Vec<_>>()));
        let consumer = self.consumers.values().map(|group| (&group.id, group.member_ids().cloned().collect()));
        classic.chain(consumer).flat_map(|(id, members)| members.into_iter().map(|member| (id.clone(), member)))
    }

    /// Applies a value of a group of the consumer protocol, which is there as long as it has any. Gives what was before.
    fn change_consumers(&mut self, id: &Arc<str>, change: &Change) -> Change {
        let group = self.consumers.entry(id.clone()).or_insert_with(|| ConsumerGroup::new(id.clone()));
        let before = group.apply(change);
        if group.is_gone() {
            self.consumers.remove(id);
        }
        before
    }

    /// Everything has been replayed: sessions begin, and a group that has become too large must shrink.
    pub(super) fn loaded(&mut self, context: &mut Context<'_>, out: &mut Outcome) {
        self.loaded = true;
        self.next_expiry = context.now + self.settings.offsets_retention_check_interval;
        self.consumers_are_loaded(context);
        let (mut turn, groups) = self.turn(context, out);
        groups.values_mut().for_each(|group| group.loaded(&mut turn));
    }

    /// The parts that a group acts on, and the groups.
    pub(super) fn turn<'a, 'c>(
        &'a mut self,
        context: &'a mut Context<'c>,
        out: &'a mut Outcome,
    ) -> (Turn<'a, 'c>, &'a mut BTreeMap<Arc<str>, ClassicGroup>) {
        (
            Turn { settings: &self.settings, switches: self.switches, timers: &mut self.timers, context, out },
            &mut self.groups,
        )
    }

    /// Begins to serve a request that changes something.
    ///
    /// # Errors
    /// The code to refuse the whole request with.
    pub(super) fn handle(
        &mut self,
        request: &GroupRequest,
        waiter: Waiter,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        request.check(context.client_id)?;
        match request {
            GroupRequest::Join(request) => self.join(request, waiter, context, out),
            GroupRequest::Sync(request) if self.consumers.contains_key(request.group_id.as_str()) => {
                self.sync_consumer(request, waiter, context, out)
            }
            GroupRequest::Heartbeat(request) if self.consumers.contains_key(request.group_id.as_str()) => {
                self.heartbeat_of_consumer(request, waiter, context, out)
            }
            GroupRequest::Sync(request) => {
                let (mut turn, groups) = self.turn(context, out);
                let group = groups.get_mut(request.group_id.as_str()).ok_or(ErrorCode::UnknownMemberId)?;
                group.sync(&mut turn, request, waiter)
            }
            GroupRequest::Heartbeat(request) => {
                let (mut turn, groups) = self.turn(context, out);
                let group = groups.get_mut(request.group_id.as_str()).ok_or(ErrorCode::UnknownMemberId)?;
                group.heartbeat(&mut turn, request, waiter)
            }
            GroupRequest::Leave(request) if self.consumers.contains_key(request.group_id.as_str()) => {
                self.remove_consumers(request, waiter, context, out);
                Ok(())
            }
            GroupRequest::Leave(request) => {
                let (mut turn, groups) = self.turn(context, out);
                let group = groups.get_mut(request.group_id.as_str()).ok_or(ErrorCode::UnknownMemberId)?;
                let members = group.leave(&mut turn, &request.members);
                out.answer(waiter, LeaveGroupResponse::default().with_members(members).into());
                Ok(())
            }
            GroupRequest::OffsetCommit(request) => self.commit_offsets(request, waiter, context, out),
            GroupRequest::OffsetDelete(request) => self.delete_offsets(request, waiter, out),
            GroupRequest::DeleteGroups(groups) => {
                self.delete_groups(groups, waiter, out);
                Ok(())
            }
            GroupRequest::DescribeGroups(groups) => {
                out.answer(waiter, self.describe_groups(groups, context.version).into());
                Ok(())
            }
            GroupRequest::ConsumerHeartbeat(request) => {
                self.consumer_heartbeat(request, waiter, context, out);
                Ok(())
            }
            GroupRequest::ListGroups(request) => {
                out.answer(waiter, self.list_groups(request).into());
                Ok(())
            }
            GroupRequest::OffsetFetch { .. } | GroupRequest::DescribeConsumers(_) => {
                unreachable!("these read what is committed, not the shard alone")
            }
        }
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Time {
        self.timers.next().map_or(self.next_expiry, |at| at.min(self.next_expiry))
    }

    /// Does what is due.
    pub(super) fn fire(&mut self, context: &mut Context<'_>, out: &mut Outcome) {
        while let Some(key) = self.timers.pop(context.now) {
            if self.consumers.contains_key(&key.group) {
                // The next one has to see what this one decides.
                return self.consumer_timer(key, context, out);
            }
            let (mut turn, groups) = self.turn(context, out);
            let Some(group) = groups.get_mut(&key.group) else { continue };
            match key.kind {
                TimerKind::Join => group.join_time_is_up(&mut turn),
                TimerKind::Sync => group.sync_time_is_up(&mut turn),
                TimerKind::Commit => group.commit_time_is_up(&mut turn),
                TimerKind::Session(member) => group.session_is_over(&mut turn, &member),
                TimerKind::Revocation(_) | TimerKind::Regex | TimerKind::Rejoin(_) | TimerKind::Resync(_) => {}
            }
        }
        if context.now >= self.next_expiry {
            let interval = self.settings.offsets_retention_check_interval.max(Duration::from_millis(1));
            self.next_expiry = context.now + interval;
            self.expire_offsets(context.wall_ms, out);
        }
    }

    /// Records that a handler gave are committed, or could not be written.
    pub(super) fn done(
        &mut self,
        then: Then,
        result: Result<(), ErrorCode>,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) {
        let code = result.err();
        match then {
            Then::Nothing => {
                if let Some(code) = code {
                    out.lost.push(code);
                }
            }
            Then::Answer(waiter, response, event) => match code {
                None => {
                    out.events.extend(event.map(|event| *event));
                    out.answer(waiter, *response);
                }
                Some(code) => out.refuse_write(waiter, code),
            },
            Then::Decided(decided) => match code {
                None => {
                    out.events.extend(decided.events);
                    if let Some((waiter, response)) = decided.answer {
                        out.answer(waiter, *response);
                    }
                }
                Some(code) => {
                    decided.undone.into_iter().for_each(|timer| self.timers.put_back(timer));
                    match decided.answer {
                        Some((waiter, _)) => out.refuse_write(waiter, code),
                        None => out.lost.push(code),
                    }
                }
            },
            Then::Assigned { group: id, generation, assignments } => {
                let (mut turn, groups) = self.turn(context, out);
                if let Some(group) = groups.get_mut(&id) {
                    group.assigned(&mut turn, generation, &assignments, code);
                }
            }
            Then::Rejoined { group: id, rejoin } => {
                let (mut turn, groups) = self.turn(context, out);
                if let Some(group) = groups.get_mut(&id) {
                    group.rejoined(&mut turn, *rejoin, code);
                }
            }
            Then::Downgraded(id) => {
                let (mut turn, groups) = self.turn(context, out);
                let Some(group) = groups.get_mut(&id) else { return };
                match code {
                    None => group.recorded = true,
                    Some(code) => {
                        group.give_up(&mut turn, code);
                        groups.remove(&id);
                    }
                }
            }
            Then::Created(id) => {
                let (mut turn, groups) = self.turn(context, out);
                let Some(group) = groups.get_mut(&id) else { return };
                match code {
                    None => group.recorded = true,
                    Some(code) => {
                        group.give_up(&mut turn, code);
                        let holds_offsets = group.recorded || self.offsets.of(&id).is_some();
                        // An empty group of the other protocol that had made way is there again.
                        if !holds_offsets || self.consumers.contains_key(&id) {
                            self.groups.remove(&id);
                        }
                    }
                }
            }
        }
    }

    /// The time by which silence of a group's state is counted.
    pub(super) fn new_group(id: Arc<str>, wall_ms: Timestamp) -> ClassicGroup {
        ClassicGroup::new(id, Some(wall_ms))
    }
}
