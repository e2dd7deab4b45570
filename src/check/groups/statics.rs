//! `static-ids-unique`: S38 `StaticIdUnique`. Of those who claim to be the same static member (`group.instance.id`,
//! KIP-345) one at most gets on: in the classic protocol the newest, which fences the one before it; in the consumer
//! protocol the one that is there.
//!
//! When one has been replaced, and its successor has been given something, no commit that it sends is taken. After
//! everything healed only one of them believes to have partitions. And who alone claims an id is sent away for nobody: a
//! coordinator that does so has forgotten that this member came back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Case, Owners, Suspicions};
use crate::{
    base::TopicPartition,
    check::{Claim, Finding},
    trace::{Event, EventId, journal::Entry},
};

/// A group and a `group.instance.id`.
type Name = (Arc<str>, Arc<str>);

/// Static members.
#[derive(Default)]
pub(super) struct Statics {
    /// The name of each member that was ever counted.
    names: BTreeMap<Arc<str>, Name>,
    /// Who took the place of a member.
    successors: BTreeMap<Arc<str>, Arc<str>>,
    /// Members that were told that they are ones.
    given: BTreeSet<Arc<str>>,
    /// Commits of members that had been replaced for certain.
    late: BTreeMap<EventId, Arc<str>>,
    /// What each node believes to have, and by which member id.
    beliefs: BTreeMap<Arc<str>, Belief>,
    found: Suspicions,
}

struct Belief {
    member: Arc<str>,
    partitions: BTreeSet<TopicPartition>,
    event: EventId,
}

impl Statics {
    pub(super) fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            Event::MemberJoined { group, member, instance: Some(instance), .. } => {
                let name = (group.clone(), instance.clone());
                self.names.insert(member.clone(), name);
                self.successors.remove(member);
                self.found.checks += 1;
            }
            Event::MemberReplaced { group, instance, old, new } => {
                self.names.insert(new.clone(), (group.clone(), instance.clone()));
                // In the consumer protocol a member that was away keeps its id.
                self.successors.remove(new);
                if old != new {
                    self.successors.insert(old.clone(), new.clone());
                }
            }
            Event::PartitionsAssigned { member, partitions, .. } => {
                self.given.insert(member.clone());
                self.believe(entry, member, partitions);
            }
            Event::PartitionsRevoked { partitions, .. } | Event::PartitionsLost { partitions, .. } => {
                if let Some(belief) = self.beliefs.get_mut(&entry.node) {
                    belief.partitions.retain(|partition| !partitions.contains(partition));
                }
            }
            Event::NodeStopped { .. } => drop(self.beliefs.remove(&entry.node)),
            Event::CommitSent { member, generation: 0.., .. } => {
                let successor = self.successors.get(member);
                if successor.is_some_and(|successor| self.given.contains(successor)) {
                    self.late.insert(entry.id, member.clone());
                }
            }
            Event::CommitAnswered { group, sent, error, .. } if **error == *"NONE" => {
                self.found.checks += 1;
                if let Some(member) = self.late.get(sent) {
                    let text = format!("a commit of {member}, which had been replaced, was taken by group {group}");
                    self.found.suspect(text, vec![*sent, entry.id]);
                }
            }
            _ => {}
        }
    }

    fn believe(&mut self, entry: &Entry, member: &Arc<str>, partitions: &[TopicPartition]) {
        let begin = || Belief { member: member.clone(), partitions: BTreeSet::new(), event: entry.id };
        let belief = self.beliefs.entry(entry.node.clone()).or_insert_with(begin);
        (belief.member, belief.event) = (member.clone(), entry.id);
        belief.partitions.extend(partitions.iter().cloned());
    }

    pub(super) fn unique(&self, case: &Case<'_>, owners: &Owners) -> Finding {
        let mut found = self.found.clone();
        for (node, event) in owners.sent_away() {
            if case.plan.groups.values().any(|plan| plan.is_alone_as_static(node)) {
                found.suspect(
                    format!("{node} was sent away for another static member, and there is none"),
                    vec![*event],
                );
            }
        }
        let mut score = found.judge(Claim::StaticIdsUnique, case);
        if case.plan.leave_broken || !case.history.has_settled() {
            return score.into_finding();
        }
        let mut seen: BTreeMap<&Name, (&Arc<str>, EventId)> = BTreeMap::new();
        for (node, belief) in self.beliefs.iter().filter(|(_, belief)| !belief.partitions.is_empty()) {
            let Some(name) = self.names.get(&belief.member) else { continue };
            if let Some((other, event)) = seen.insert(name, (node, belief.event)) {
                let (group, instance) = name;
                let text = format!("{other} and {node} both go on as {instance} in group {group}");
                score.violate(text, vec![event, belief.event]);
            }
        }
        score.into_finding()
    }
}
