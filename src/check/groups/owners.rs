//! `one-owner-per-partition`: S34 `NoDoubleClientAssignment` of KIP-848's specification.
//!
//! When a member takes a partition, no other member believes to have it, except one that the coordinator has thrown out
//! already: that one is fenced when it speaks to the coordinator next, and nobody can call it back before. What a process
//! believed ends with the process.
//!
//! `group-converges`: L-group. After everything healed, each partition that a group subscribes to belongs to exactly one
//! running member. Not asked of a run that ends broken.

use std::{collections::BTreeMap, sync::Arc};

use super::{Case, Coordinated, Score};
use crate::{
    base::TopicPartition,
    check::{Claim, Finding},
    trace::{Event, EventId, journal::Entry},
};

/// Who believes to own what, in the order of assignments.
pub(super) struct Owners {
    beliefs: BTreeMap<(Arc<str>, TopicPartition), BTreeMap<Arc<str>, Belief>>,
    taken: Score,
}

struct Belief {
    member: Arc<str>,
    event: EventId,
}

impl Default for Owners {
    fn default() -> Self {
        Self { beliefs: BTreeMap::new(), taken: Score::new(Claim::OneOwnerPerPartition) }
    }
}

impl Owners {
    pub(super) fn observe(&mut self, entry: &Entry, coordinated: &Coordinated) {
        match &entry.event {
            Event::PartitionsAssigned { group, member, partitions, .. } => {
                for partition in partitions {
                    self.take(entry, group, member, partition, coordinated);
                }
            }
            Event::PartitionsRevoked { group, partitions, .. } | Event::PartitionsLost { group, partitions, .. } => {
                for partition in partitions {
                    let believers = self.beliefs.get_mut(&(group.clone(), partition.clone()));
                    believers.map(|believers| believers.remove(&entry.node));
                }
            }
            Event::NodeStopped { .. } => self.beliefs.values_mut().for_each(|believers| {
                believers.remove(&entry.node);
            }),
            _ => {}
        }
    }

    fn take(
        &mut self,
        entry: &Entry,
        group: &Arc<str>,
        member: &Arc<str>,
        partition: &TopicPartition,
        coordinated: &Coordinated,
    ) {
        let believers = self.beliefs.entry((group.clone(), partition.clone())).or_default();
        self.taken.checks += 1;
        let other = believers.iter().find(|(node, had)| **node != entry.node && coordinated.counts(group, &had.member));
        if let Some((node, had)) = other {
            let text = format!("{} took {partition} in group {group} while {node} had it", entry.node);
            self.taken.violate(text, vec![had.event, entry.id]);
        }
        believers.insert(entry.node.clone(), Belief { member: member.clone(), event: entry.id });
    }

    pub(super) fn one_owner(&self) -> Finding {
        self.taken.clone().into_finding()
    }

    pub(super) fn converge(&self, case: &Case<'_>) -> Finding {
        let mut score = Score::new(Claim::GroupConverges);
        if case.plan.leave_broken {
            score.note = Some("the scenario leaves the cluster broken".into());
            return score.into_finding();
        }
        if !case.plan.groups.is_empty() && !case.history.has_settled() {
            score.unknown = case.ending.unfinished.clone().or(Some("the cluster did not settle".into()));
            return score.into_finding();
        }
        for (group, plan) in case.plan.groups.iter().filter(|(_, plan)| !plan.assigned_by_hand) {
            for partition in &plan.partitions {
                score.checks += 1;
                let believers = self.beliefs.get(&(group.clone(), partition.clone()));
                let believers: Vec<(&str, EventId)> =
                    believers.into_iter().flatten().map(|(node, belief)| (&**node, belief.event)).collect();
                let names: Vec<&str> = believers.iter().map(|(node, _)| *node).collect();
                let text = match names.as_slice() {
                    [_] => continue,
                    [] => format!("nobody in group {group} has {partition}"),
                    many => format!("{} of group {group} all have {partition}", many.join(", ")),
                };
                score.violate(text, believers.iter().map(|(_, event)| *event).collect());
            }
        }
        score.into_finding()
    }
}
