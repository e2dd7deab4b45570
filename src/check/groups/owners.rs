//! `one-owner-per-partition`: S34 `NoDoubleClientAssignment` of KIP-848's specification.
//!
//! When a member takes a partition, no other member believes to have it. Whoever the coordinator has thrown out already
//! does not count, neither who has a partition nor who hears late that it got one: it is fenced when it speaks to the
//! coordinator next, and nobody can call it back before. Nor does a static member of a classic group that did not come when
//! the generation was formed, nor what a member was to give up when its group became a classic one. What a process believed
//! ends with the process.
//!
//! `group-converges`: L-group. After everything healed, each partition that a group subscribes to belongs to exactly one
//! running member. Not asked of a run that ends broken, nor of topics that were deleted and not made again, nor where a
//! static member was sent away by a coordinator that was permitted to lose its records, or that took over before the return
//! of the member was written, or that the member had not found when it came back, or that did not know yet that it had been
//! replaced as coordinator; nor where a join that was sent before it had joined came late and took its place, as one that
//! its own client had given up. Nor of a partition that a cooperative leader was about to give away when a static member
//! came back (KIP-345, KIP-814: no rebalance follows).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Case, Coordinated, Score, Suspicions, broker_at};
use crate::{
    base::TopicPartition,
    check::{Claim, Finding, GroupPlan},
    trace::{Event, EventId, journal::Entry},
};

/// What a static member is told whose place another has.
const FENCED: &str = "FENCED_INSTANCE_ID";

/// Who believes to own what, in the order of assignments.
#[derive(Default)]
pub(super) struct Owners {
    beliefs: BTreeMap<(Arc<str>, TopicPartition), BTreeMap<Arc<str>, Belief>>,
    taken: Suspicions,
    /// Who stays away because another has its `group.instance.id`, as a coordinator said.
    away: BTreeMap<Arc<str>, Away>,
    /// The times that nothing excuses, of members and the events.
    sent_away: Vec<(Arc<str>, EventId)>,
    /// When each member was first counted.
    joined: BTreeMap<Arc<str>, EventId>,
    /// Processes whose member was replaced by a join that was older than its own.
    overtaken: BTreeSet<Arc<str>>,
    /// Which broker each process took for the coordinator of its group when it asked for offsets last.
    asked: BTreeMap<Arc<str>, (Arc<str>, Arc<str>)>,
}

struct Away {
    event: EventId,
    /// It had come back under a new id, which was not written when the coordinator moved; or a coordinator that had been
    /// replaced did not hear of that; or an older join replaced it.
    is_excused: bool,
}

struct Belief {
    member: Arc<str>,
    event: EventId,
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
            Event::NodeStopped { .. } => {
                self.beliefs.values_mut().for_each(|believers| drop(believers.remove(&entry.node)));
                self.away.remove(&entry.node);
                self.overtaken.remove(&entry.node);
                self.asked.remove(&entry.node);
            }
            Event::CommittedAsked { group, coordinator, .. } => {
                self.asked.insert(entry.node.clone(), (group.clone(), broker_at(coordinator).into()));
            }
            Event::MemberJoined { member, .. } => drop(self.joined.insert(member.clone(), entry.id)),
            Event::MemberReplaced { group, old, new, .. } => {
                let is_older =
                    self.joined.get(old).is_some_and(|joined| entry.cause.is_some_and(|sent| sent < *joined));
                self.overtaken.extend(coordinated.process_of(group, old).filter(|_| is_older).cloned());
                self.joined.insert(new.clone(), entry.id);
            }
            Event::ClientError { error } if error.starts_with(FENCED) => {
                let asked = self.asked.get(&entry.node);
                let is_stale = asked.is_some_and(|(group, broker)| coordinated.is_replaced(group, broker));
                let is_excused =
                    is_stale || coordinated.has_forgotten(&entry.node) || self.overtaken.contains(&entry.node);
                self.away.insert(entry.node.clone(), Away { event: entry.id, is_excused });
                if !is_excused {
                    self.sent_away.push((entry.node.clone(), entry.id));
                }
            }
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
        let has_it = |had: &Belief| coordinated.counts_with(group, &had.member, partition);
        let other = believers.iter().find(|(node, had)| **node != entry.node && has_it(had));
        // Who is no member any more, and hears only now what it was given, is fenced when it speaks next.
        let other = other.filter(|_| coordinated.counts(group, member));
        if let Some((node, had)) = other {
            let text = format!("{} took {partition} in group {group} while {node} had it", entry.node);
            self.taken.suspect(text, vec![had.event, entry.id]);
        }
        believers.insert(entry.node.clone(), Belief { member: member.clone(), event: entry.id });
    }

    /// Who was sent away as a static member that another had replaced, and when, where nothing excuses it but another.
    pub(super) fn sent_away(&self) -> &[(Arc<str>, EventId)] {
        &self.sent_away
    }

    pub(super) fn one_owner(&self, case: &Case<'_>) -> Finding {
        self.taken.judge(Claim::OneOwnerPerPartition, case).into_finding()
    }

    /// Whether a member stays away because a coordinator takes it for one that it has replaced: one that has lost its
    /// records, as it was permitted to, or one to which the member's return had not come yet.
    pub(super) fn is_wronged(&self, case: &Case<'_>, plan: &GroupPlan) -> bool {
        let is_wronged = |away: &Away| away.is_excused || case.groups_may_be_lost(away.event);
        let is_wronged = |member| self.away.get(member).is_some_and(is_wronged);
        plan.members.iter().any(is_wronged)
    }

    pub(super) fn converge(&self, case: &Case<'_>, coordinated: &Coordinated) -> Finding {
        let mut score = Score::new(Claim::GroupConverges);
        if case.plan.leave_broken {
            score.note = Some("the scenario leaves the cluster broken".into());
            return score.into_finding();
        }
        if !case.plan.groups.is_empty() && !case.history.has_settled() {
            score.unknown = case.ending.unfinished.clone().or(Some("the cluster did not settle".into()));
            return score.into_finding();
        }
        let mut permitted = 0;
        for (group, plan) in case.plan.groups.iter().filter(|(_, plan)| !plan.assigned_by_hand) {
            let is_taught = case.teaches_violation_of(Claim::GroupConverges);
            let wronged = self.is_wronged(case, plan);
            for partition in plan.partitions.iter().filter(|partition| !case.history.is_gone(partition)) {
                score.checks += 1;
                let believers = self.beliefs.get(&(group.clone(), partition.clone()));
                let believers: Vec<(&str, EventId)> =
                    believers.into_iter().flatten().map(|(node, belief)| (&**node, belief.event)).collect();
                let names: Vec<&str> = believers.iter().map(|(node, _)| *node).collect();
                let text = match names.as_slice() {
                    [_] => continue,
                    [] if !is_taught && (wronged || coordinated.is_left_out(group, partition)) => {
                        permitted += 1;
                        continue;
                    }
                    [] => format!("nobody in group {group} has {partition}"),
                    many => format!("{} of group {group} all have {partition}", many.join(", ")),
                };
                score.violate(text, believers.iter().map(|(_, event)| *event).collect());
            }
        }
        score.note = (permitted > 0)
            .then(|| format!("{permitted} partitions have no owner, as a static member came back: permitted"));
        score.into_finding()
    }
}
