//! The group's epoch, and the target assignment that is computed for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ConsumerGroup, Member,
    heartbeat::Beat,
    records::{Change, GroupEpoch, TargetEpoch},
};
use crate::{
    base::{Timestamp, TopicId, TopicPartition},
    group::{
        assignor::{Assignor, Partitions, Spec, Subscriber, in_order_of_strings},
        shard::Shard,
    },
    trace::Event,
};

impl Shard {
    /// Moves the group on to a new epoch if its subscriptions or their topics have changed. Gives its epoch.
    pub(super) fn update_epoch(&self, beat: &mut Beat<'_>, bump: bool) -> i32 {
        let group = beat.group;
        let is_checked =
            group.checked.is_some_and(|(version, epoch)| version == self.topics.version() && epoch <= group.epoch());
        if !bump && is_checked {
            return group.epoch();
        }
        let members = beat.next_members();
        let metadata_hash = self.hash_of_subscribed(group, &members);
        if !bump && metadata_hash == group.metadata_hash() {
            return group.epoch();
        }
        let epoch = group.epoch().wrapping_add(1);
        beat.records.push(group.record(Change::Epoch(Some(GroupEpoch { epoch, metadata_hash }))));
        let why = match (beat.is_new(), bump) {
            (true, _) => "a member joins",
            (false, true) => "a member subscribes to other topics, or a classic group goes on",
            (false, false) => "a topic that members subscribe to has changed",
        };
        beat.events.extend(self.formed(group, epoch, &members, why));
        epoch
    }

    /// Hash of the topics that `members` subscribe to.
    pub(super) fn hash_of_subscribed(&self, group: &ConsumerGroup, members: &[Member]) -> i64 {
        let names: BTreeSet<Arc<str>> = members.iter().flat_map(|member| group.topics_of(member)).collect();
        self.topics.hash_of(names.iter())
    }

    /// Whether every partition that members subscribe to is in somebody's target.
    pub(super) fn is_all_given(&self, group: &ConsumerGroup) -> bool {
        let given: BTreeSet<(TopicId, i32)> = group.targets.values().flat_map(|target| partitions(target)).collect();
        let names: BTreeSet<Arc<str>> = group.members().flat_map(|member| group.topics_of(&member)).collect();
        let mut topics = names.iter().filter_map(|name| self.topics.find(name));
        topics.all(|topic| (0..topic.partitions).all(|partition| given.contains(&(topic.id, partition))))
    }

    /// A group epoch and what it is for, for those who watch.
    pub(super) fn formed(&self, group: &ConsumerGroup, epoch: i32, members: &[Member], why: &str) -> [Event; 2] {
        let began = Event::RebalanceBegan { group: group.id.clone(), generation: group.epoch(), why: why.into() };
        if members.is_empty() {
            return [began, Event::GroupEmptied { group: group.id.clone(), generation: epoch }];
        }
        let formed = Event::GenerationFormed {
            group: group.id.clone(),
            generation: epoch,
            protocol: self.preferred_assignor(members, None).to_string().into(),
            leader: "".into(),
            members: members.iter().map(|member| member.id.clone()).collect(),
        };
        [began, formed]
    }

    /// The assignor that most members prefer. Of equals the one that the member prefers for which it is computed, where
    /// nobody else does: it was the last to come into Kafka's hash table of votes, at the head of its bucket. Else the first
    /// in the order of that table.
    pub(super) fn preferred_assignor(&self, members: &[Member], computed_for: Option<&Member>) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in members.iter().filter_map(|member| member.subscription.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let own = computed_for.and_then(|member| member.subscription.assignor.as_deref());
        let alone = own.filter(|name| votes.get(name) == Some(&1));
        let in_order: Vec<&str> = alone.into_iter().chain(in_order_of_strings(votes.keys().copied())).collect();
        let preferred = in_order.into_iter().rev().max_by_key(|name| votes[name]);
        let default = self.settings.consumer.assignors.first().copied().unwrap_or(Assignor::Uniform);
        preferred.and_then(|name| name.parse().ok()).unwrap_or(default)
    }

    /// Computes a target assignment if the group has moved on since the last one, but not too often. Gives the
    /// assignment epoch and what the member is to have.
    pub(super) fn update_target(&self, beat: &mut Beat<'_>, epoch: i32, wall_ms: Timestamp) -> (i32, Arc<Partitions>) {
        let group = beat.group;
        let last_of = |id: &Arc<str>| group.targets.get(id).cloned().unwrap_or_default();
        let before = group.target_epoch.map_or(0, |target| target.computed_ms);
        let told_ms = self.topics.overrides(&group.id).assignment_interval_ms.map(i64::from);
        let interval_ms = told_ms.unwrap_or(self.settings.consumer.assignment_interval_ms);
        // The clock of the coordinator before may have been ahead: nobody waits until this one has caught up.
        let is_due = wall_ms >= before.saturating_add(interval_ms) || wall_ms < before;
        let may_compute = before == 0 || interval_ms == 0 || is_due;
        let place = beat.replaced.as_ref().unwrap_or(&beat.member.id);
        if group.assignment_epoch() >= epoch || !may_compute {
            return (group.assignment_epoch(), last_of(place));
        }
        let members = beat.next_members();
        let mut spec =
            Spec { members: BTreeMap::new(), topics: BTreeMap::new(), homogeneous: is_homogeneous(&members) };
        for member in &members {
            let before = if member.id == beat.member.id { last_of(place) } else { last_of(&member.id) };
            let mut topics = Vec::new();
            for name in in_order_of_strings(group.topics_of(member)) {
                let Some(topic) = self.topics.find(&name) else { continue };
                spec.topics.insert(topic.id, topic.partitions);
                topics.push(topic.id);
            }
            let instance = member.subscription.instance.clone();
            let subscriber = Subscriber { instance, topics, assigned: (*before).clone() };
            spec.members.insert(member.id.clone(), subscriber);
        }
        let assignment = self.preferred_assignor(&members, Some(&beat.member)).assign(&spec);
        for (id, target) in &assignment {
            if group.targets.get(id).is_none_or(|before| **before != *target) {
                beat.records.push(group.record(Change::Target(id.clone(), Some(Arc::new(target.clone())))));
            }
        }
        let computed = TargetEpoch { epoch, computed_ms: wall_ms };
        beat.records.push(group.record(Change::TargetEpoch(Some(computed))));
        let owners = assignment.iter().map(|(id, target)| (id.clone(), self.named(partitions(target)))).collect();
        beat.events.push(Event::GroupAssigned { group: group.id.clone(), generation: epoch, owners });
        let own = assignment.get(&beat.member.id).cloned().unwrap_or_default();
        (epoch, Arc::new(own))
    }

    /// What a member has, for those who watch.
    pub(super) fn advanced(&self, group: &ConsumerGroup, member: &Member) -> Event {
        let current = &member.current;
        let all = current.assigned.iter().chain(&current.revoking);
        let mut partitions = Vec::new();
        for (topic, epochs) in all {
            let Some(name) = self.topics.name_of(*topic) else { continue };
            let of_topic =
                epochs.iter().map(|(partition, since)| (TopicPartition::new(name.clone(), *partition), *since));
            partitions.extend(of_topic);
        }
        Event::MemberAdvanced { group: group.id.clone(), member: member.id.clone(), epoch: current.epoch, partitions }
    }

    /// With the names of topics that exist.
    pub(super) fn named(&self, partitions: impl Iterator<Item = (TopicId, i32)>) -> Vec<TopicPartition> {
        let named = |(topic, partition)| Some(TopicPartition::new(self.topics.name_of(topic)?.clone(), partition));
        partitions.filter_map(named).collect()
    }
}

fn partitions(target: &Partitions) -> impl Iterator<Item = (TopicId, i32)> {
    target.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
}

/// Whether all subscribe to the same topics, as far as the subscriptions tell: the same names, or one expression alone.
fn is_homogeneous(members: &[Member]) -> bool {
    let Some(first) = members.first() else { return true };
    let same =
        |member: &Member| member.regex() == first.regex() && member.subscription.topics == first.subscription.topics;
    members.iter().all(same) && (first.regex().is_none() || first.subscription.topics.is_empty())
}
