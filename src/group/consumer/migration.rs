//! A group with members that goes on in the other protocol (KIP-848, `group.consumer.migration.policy`).
//!
//! Upgrade: somebody of the consumer protocol joins a classic group. Downgrade: the last member of the consumer protocol
//! is out, or a static member of the classic protocol has taken its place. Either way the members stay what they are and
//! keep what they have: the records of the one group become tombstones, the other group's follow in the same batch, and
//! the epoch is the generation. Who is left after a downgrade joins again, so that somebody gets what is nobody's now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ConsumerGroup, Decided, Member, MigrationPolicy, Refusal,
    records::{Change, ClassicMember, Current, Epochs, GroupEpoch, Subscription, TargetEpoch},
};
use crate::{
    base::{Timestamp, TopicId},
    group::{
        classic::ClassicGroup,
        machine::{Context, Outcome, Then},
        records::Record,
        shard::Shard,
        subscription,
        timers::TimerKind,
    },
    protocol::ErrorCode,
    trace::Event,
};

fn refuse_upgrade(classic: &ClassicGroup, why: &str) -> Result<(), Refusal> {
    let message = format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.id);
    Err((ErrorCode::GroupIdNotFound, message))
}

impl Shard {
    /// Whether a classic group with members may go on in the consumer protocol, as far as that is told without reading
    /// what they say.
    fn check_upgrade(&self, classic: &ClassicGroup) -> Result<(), Refusal> {
        let refuse = |why| refuse_upgrade(classic, why);
        if !matches!(self.settings.consumer.migration_policy, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional)
        {
            return refuse("online upgrade is disabled");
        }
        if !classic.is_of_consumers() {
            return refuse("the group does not use the consumer embedded protocol");
        }
        if classic.members.len() > self.settings.consumer.max_size {
            return refuse("the group size exceeds the consumer group maximum size");
        }
        Ok(())
    }

    /// Somebody of the consumer protocol joins a classic group with members: those who wait join again, also where nothing
    /// comes of it after all.
    pub(super) fn begin_upgrade(
        &mut self,
        id: &Arc<str>,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), Refusal> {
        self.check_upgrade(&self.groups[id])?;
        let (mut turn, groups) = self.turn(context, out);
        groups.get_mut(id).expect("it is there").send_back(&mut turn);
        Ok(())
    }

    /// A classic group with members goes on in the consumer protocol, its generation as epoch.
    pub(super) fn upgrade(
        &self,
        classic: &ClassicGroup,
        group: &mut ConsumerGroup,
        records: &mut Vec<Record>,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let refuse = |why| refuse_upgrade(classic, why);
        let epoch = classic.generation();
        let (mut subscriptions, mut targets, mut currents) = (Vec::new(), Vec::new(), Vec::new());
        for member in classic.members.values() {
            let malformed = "the embedded consumer protocol is malformed";
            let Ok(given) = subscription::given(&member.assignment) else { return refuse(malformed) };
            if given.has_user_data {
                return refuse("an unsupported custom assignor is in use");
            }
            let metadata = match classic.protocol() {
                Some(protocol) => member.metadata(Some(protocol)),
                None => member.protocols.first().map(|(_, metadata)| metadata.clone()).unwrap_or_default(),
            };
            let Ok(said) = subscription::said(&metadata) else { return refuse(malformed) };
            let subscription = Subscription {
                instance: member.instance.clone(),
                rack: said.rack,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                topics: said.topics,
                regex: Some("".into()),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                assignor: None,
                classic: Some(ClassicMember {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            };
            let mut assigned = Epochs::new();
            for (topic, partition) in self.with_ids(given.partitions) {
                assigned.entry(topic).or_default().insert(partition, epoch);
            }
            let target = assigned.iter().map(|(topic, of)| (*topic, of.keys().copied().collect())).collect();
            let current = Current { epoch, previous_epoch: epoch, assigned, ..Current::default() };
            subscriptions.push(Change::Subscription(member.id.clone(), Some(Arc::new(subscription))));
            targets.push(Change::Target(member.id.clone(), Some(Arc::new(target))));
            currents.push(Change::Current(member.id.clone(), Some(Arc::new(current))));
        }
        subscriptions.iter().for_each(|change| drop(group.apply(change)));
        let members: Vec<Member> = group.members().collect();
        let metadata_hash = self.hash_of_subscribed(group, &members);
        let changes = subscriptions
            .into_iter()
            .chain([Change::Epoch(Some(GroupEpoch { epoch, metadata_hash }))])
            .chain(targets)
            .chain([Change::TargetEpoch(Some(TargetEpoch { epoch, computed_ms: 0 }))])
            .chain(currents);
        records.push(Record::Group { group: classic.id.clone(), value: None });
        for change in changes {
            group.apply(&change);
            records.push(group.record(change));
        }
        events.extend(group.members().map(|member| self.advanced(group, &member)));
        Ok(())
    }

    /// The classic group in which `members` go on, if all of them speak that protocol and it is allowed. They have what
    /// they were to have; an heir, given by its id, has what the static member was to have whose place it takes.
    pub(super) fn downgrade(
        &self,
        group: &ConsumerGroup,
        members: &[Member],
        heir: Option<(&Arc<str>, &Arc<str>)>,
        wall_ms: Timestamp,
    ) -> Option<ClassicGroup> {
        let policy = self.settings.consumer.migration_policy;
        let is_allowed = matches!(policy, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional);
        if !is_allowed || !(1..=self.settings.max_size).contains(&members.len()) {
            return None;
        }
        let speaks = |member: &'_ Member| Some((member.id.clone(), member.subscription.classic.clone()?));
        let classics: BTreeMap<Arc<str>, ClassicMember> = members.iter().map(speaks).collect::<Option<_>>()?;
        // The first of them leads from here on; whoever has just come is the last.
        let is_heir = |member: &&Member| heir.is_some_and(|(id, _)| *id == member.id);
        let (heirs, others): (Vec<&Member>, Vec<&Member>) = members.iter().partition(is_heir);
        let in_order = others.into_iter().chain(heirs);
        let consumers = in_order.map(|member| (&member.id, &*member.subscription, &classics[&member.id]));
        let mut classic = ClassicGroup::of_consumers(group.id.clone(), group.epoch(), consumers, wall_ms);
        let protocol = classic.protocol().map(Arc::<str>::from);
        for member in classic.members.values_mut() {
            let of = heir.filter(|(id, _)| **id == member.id).map_or(&member.id, |(_, before)| before);
            let target = group.targets.get(of).into_iter().flat_map(|target| target.iter());
            let topic = |(id, partitions): (&TopicId, &BTreeSet<i32>)| {
                Some((&**self.topics.name_of(*id)?, partitions.iter().copied().collect::<Vec<i32>>()))
            };
            member.assignment =
                subscription::assignment(&member.metadata(protocol.as_deref()), target.filter_map(topic));
        }
        Some(classic)
    }

    /// The group is a classic one from here on: nothing is due for it as one of the consumer protocol any more, and its
    /// members have a whole session. Where one is out, or new in no generation, they join again, and none is told before what
    /// it was to have: others may have it still. `decided` is told when all is committed.
    pub(super) fn go_on_as_classic(
        &mut self,
        classic: ClassicGroup,
        rebalances: bool,
        mut decided: Decided,
        context: &mut Context<'_>,
        out: &mut Outcome,
    ) {
        let id = classic.id.clone();
        let group = &self.consumers[&id];
        decided.undone.extend(group.member_ids().flat_map(|member| self.timers.take_all_of(&id, member)));
        for kind in [TimerKind::Regex, TimerKind::Join, TimerKind::Sync] {
            self.timers.cancel(&id, kind);
        }
        classic.member_ids().for_each(|member| classic.extend_session(member, &mut self.timers, context.now));
        decided.events.push(classic.assigned_event());
        out.write(Self::tombstones_of_consumers(group), decided.into());
        out.write(vec![classic.record_as_it_is()], Then::Downgraded(id.clone()));
        self.groups.insert(id.clone(), classic);
        if rebalances {
            let (mut turn, groups) = self.turn(context, out);
            groups.get_mut(&id).expect("it is there").go_on(&mut turn);
        }
    }
}
