//! Consumer groups: who owned what, what was committed, what was processed.
//!
//! From the members' own history and from what coordinators decided. Judged only in a run whose scenario has groups.
//!
//! | chapter | claims |
//! |---|---|
//! | [`owners`] | `one-owner-per-partition`, `group-converges` |
//! | [`commits`] | `only-members-commit`, `commits-survive`, `commits-never-go-back` |
//! | [`processing`] | `processed-at-least-once`, `processed-at-most-once` |
//! | [`statics`] | `static-ids-unique` |
//!
//! Where faults and settings have permitted that a coordinator lost its records, it may have forgotten members and commits:
//! what follows from that is noted and is no violation, unless the scenario is written to show it.

mod commits;
mod owners;
mod processing;
mod statics;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::{commits::Commits, owners::Owners, processing::Processing, statics::Statics};
use super::{
    Cause, Claim, Ending, Expectation, Expected, Finding, Plan, history::History, invariants::Ledger, score::Score,
};
use crate::{
    base::{LeaderEpoch, OFFSETS_TOPIC, TopicPartition, java},
    trace::{AWAY, DOWNGRADED, Event, EventId, journal::Entry},
};

/// The claims checked here.
pub(super) const CLAIMS: &[Claim] = &[
    Claim::ProcessedAtLeastOnce,
    Claim::ProcessedAtMostOnce,
    Claim::OneOwnerPerPartition,
    Claim::OnlyMembersCommit,
    Claim::CommitsSurvive,
    Claim::CommitsNeverGoBack,
    Claim::StaticIdsUnique,
    Claim::GroupConverges,
];

/// The broker at an address of the simulated network, as `b2` at `b2:9092`.
fn broker_at(address: &str) -> &str {
    address.split_once(':').map_or(address, |(broker, _)| broker)
}

/// Everything that happened in groups.
#[derive(Default)]
pub(super) struct Groups {
    coordinated: Coordinated,
    owners: Owners,
    commits: Commits,
    processing: Processing,
    statics: Statics,
}

/// What a checker of groups judges by at the end.
pub(super) struct Case<'a> {
    pub(super) history: &'a History,
    pub(super) plan: &'a Plan,
    pub(super) ending: &'a Ending,
    pub(super) ledger: &'a Ledger,
}

impl Case<'_> {
    /// Whether the scenario is written to show that `claim` breaks: then nothing is permitted.
    fn teaches_violation_of(&self, claim: Claim) -> bool {
        let taught = |expected: &Expectation| expected.claim == claim && expected.value == Expected::Violated;
        self.plan.expectations.iter().any(taught)
    }

    /// The causes by which `claim` may break, as the scenario says.
    fn permitted_causes(&self, claim: Claim) -> &[Cause] {
        let of_claim = |expected: &&Expectation| expected.claim == claim && expected.value == Expected::Any;
        let expected = self.plan.expectations.iter().find(of_claim);
        expected.and_then(|expected| expected.lost.as_ref()).map_or(&[], |lost| &lost.causes)
    }

    /// Whether faults and settings have permitted a loss of what coordinators had written, before `event`.
    fn groups_may_be_lost(&self, event: EventId) -> bool {
        self.ledger.permits().iter().any(|loss| *loss.partition.topic == *OFFSETS_TOPIC && loss.event < event)
    }
}

/// What would be violations, unless something permitted them: judged at the end.
#[derive(Clone, Default)]
struct Suspicions {
    checks: u64,
    found: Vec<(String, Vec<EventId>)>,
}

impl Suspicions {
    fn suspect(&mut self, text: String, events: Vec<EventId>) {
        self.found.push((text, events));
    }

    fn judge(&self, claim: Claim, case: &Case<'_>) -> Score {
        let mut score = Score::new(claim);
        score.checks = self.checks;
        let mut permitted = 0;
        for (text, events) in &self.found {
            let seen = *events.last().expect("a suspicion has its events");
            match case.groups_may_be_lost(seen) && !case.teaches_violation_of(claim) {
                true => permitted += 1,
                false => score.violate(text.clone(), events.clone()),
            }
        }
        score.note = (permitted > 0).then(|| {
            format!("{permitted} times a coordinator had lost records of {OFFSETS_TOPIC}, which was permitted")
        });
        score
    }
}

impl Groups {
    /// Takes the next event.
    pub(super) fn observe(&mut self, entry: &Entry) {
        if self.coordinated.is_stale(entry) {
            return self.coordinated.observe_stale(entry);
        }
        self.coordinated.observe(entry);
        self.owners.observe(entry, &self.coordinated);
        self.commits.observe(entry, &self.coordinated);
        self.processing.observe(entry);
        self.statics.observe(entry);
    }

    /// Judges all of it.
    pub(super) fn findings(&self, case: &Case<'_>) -> Vec<Finding> {
        vec![
            self.processing.at_least_once(case, &self.owners, &self.coordinated),
            self.processing.at_most_once(case),
            self.owners.one_owner(case),
            self.owners.converge(case, &self.coordinated),
            self.statics.unique(case, &self.owners),
            self.commits.fenced(case),
            self.commits.survive(case),
            self.commits.never_go_back(case),
        ]
    }
}

/// Every claim of groups is unknown, for this reason.
pub(super) fn unknown(why: &str) -> Vec<Finding> {
    let finding = |claim: &Claim| {
        let mut score = Score::new(*claim);
        score.unknown = Some(format!("the checker gave up: {why}"));
        score.into_finding()
    };
    CLAIMS.iter().map(finding).collect()
}

/// Groups as their coordinators have them. What a broker decides that has been replaced as coordinator, and does not know
/// it yet, is never committed and counts for nothing.
#[derive(Default)]
struct Coordinated {
    groups: BTreeMap<Arc<str>, Coordination>,
    /// Number of partitions of the offsets topic.
    partitions: i32,
    /// Who coordinates the groups of each since which epoch.
    coordinators: BTreeMap<i32, (LeaderEpoch, Arc<str>)>,
}

#[derive(Default)]
struct Coordination {
    /// The newest generation that was formed.
    formed: i32,
    /// The newest whose assignment is a committed record: what another coordinator goes on from.
    assigned: i32,
    members: BTreeSet<Arc<str>>,
    /// Which process each of them is.
    clients: BTreeMap<Arc<str>, Arc<str>>,
    /// Processes that had joined when another coordinator began, which does not know them, or join one that has been
    /// replaced: nothing is written of it.
    forgotten: BTreeSet<Arc<str>>,
    /// Static members that came back under a new id to this coordinator. Who comes back to a group at work is answered
    /// when that is written; in a rebalance that is written with the next assignment (KIP-345).
    returned: BTreeSet<Arc<str>>,
    /// Static members that did not come when the newest generation was formed: what they had was given to others.
    absent: BTreeSet<Arc<str>>,
    /// How often the last member went.
    emptied: u64,
    /// A static member has come back since, and was handed that assignment again.
    was_handed_on: bool,
    /// What each member was given by the newest assignment.
    owners: BTreeMap<Arc<str>, Vec<TopicPartition>>,
    /// It is of the consumer protocol: nobody leads its generations.
    is_modern: bool,
    /// Of a group of the consumer protocol: the epoch of each member, and what it has.
    epochs: BTreeMap<Arc<str>, MemberEpoch>,
    /// It is about to become a classic one: its members are called, and nothing is committed.
    is_downgrading: bool,
    /// What members have, and were to give up when the group became a classic one: nobody waits for that.
    let_go: BTreeSet<(Arc<str>, TopicPartition)>,
}

/// How far a member of a group of the consumer protocol has come.
struct MemberEpoch {
    epoch: i32,
    /// Since which epoch it has each partition.
    since: BTreeMap<TopicPartition, i32>,
}

impl Coordination {
    /// Each member is handed what it was to have, as Kafka does (KIP-848), whatever it has.
    fn downgrade(&mut self) {
        for (member, known) in &self.epochs {
            let target = self.owners.get(member).map_or(&[][..], Vec::as_slice);
            let rest = known.since.keys().filter(|partition| !target.contains(partition));
            self.let_go.extend(rest.map(|partition| (member.clone(), partition.clone())));
        }
    }

    /// A generation of the classic protocol stands.
    fn is_classic(&mut self) {
        self.is_modern = false;
        self.epochs.clear();
        self.let_go.clear();
    }
}

impl Coordinated {
    fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            Event::MemberJoined { group, member, client, .. } => {
                let group = self.group(group);
                group.members.insert(member.clone());
                group.clients.insert(member.clone(), client.clone());
                group.forgotten.remove(client);
            }
            Event::MemberReplaced { group, old, new, .. } => {
                let group = self.group(group);
                group.members.remove(old);
                group.epochs.remove(old);
                group.members.insert(new.clone());
                group.returned.insert(new.clone());
                if let Some(process) = group.clients.get(old).cloned() {
                    group.forgotten.remove(&process);
                    group.clients.insert(new.clone(), process);
                }
                group.was_handed_on = true;
                if let Some(owned) = group.owners.remove(old) {
                    group.owners.insert(new.clone(), owned);
                }
            }
            Event::MemberLeft { group, member, .. } => {
                let group = self.group(group);
                group.members.remove(member);
                group.epochs.remove(member);
                group.emptied += u64::from(group.members.is_empty());
            }
            Event::MemberAdvanced { group, member, epoch, partitions } => {
                let since: BTreeMap<_, _> = partitions.iter().cloned().collect();
                let group = self.group(group);
                group.let_go.retain(|(of, partition)| of != member || !since.contains_key(partition));
                group.epochs.insert(member.clone(), MemberEpoch { epoch: *epoch, since });
            }
            Event::RebalanceBegan { group, why, .. } if **why == *DOWNGRADED => self.group(group).is_downgrading = true,
            // Of another protocol it may begin anew.
            Event::GroupEmptied { group, .. } => self.group(group).formed = 0,
            Event::GenerationFormed { group, generation, leader, members, .. } => {
                let group = self.group(group);
                group.formed = *generation;
                match leader.is_empty() {
                    true => (group.is_modern, group.is_downgrading) = (true, false),
                    false if group.is_downgrading => {}
                    false => group.is_classic(),
                }
                group.absent = group.members.iter().filter(|member| !members.contains(member)).cloned().collect();
            }
            Event::GroupAssigned { group, generation, owners } => {
                let group = self.group(group);
                group.owners = owners.iter().cloned().collect();
                group.was_handed_on = false;
                group.assigned = *generation;
                if std::mem::take(&mut group.is_downgrading) {
                    group.downgrade();
                    // All have joined again before that was committed.
                    if group.formed > *generation {
                        group.is_classic();
                    }
                }
                group.formed = group.formed.max(*generation);
            }
            Event::PartitionChanged { partition, .. } if *partition.topic == *OFFSETS_TOPIC => {
                self.partitions = self.partitions.max(partition.partition + 1);
            }
            Event::CoordinatorLoaded { partition, leader_epoch, members, .. } => {
                self.loaded(&entry.node, partition.partition, *leader_epoch, members);
            }
            _ => {}
        }
    }

    /// A coordinator goes on from the records. What the one before it had decided and not written is forgotten.
    fn loaded(&mut self, node: &Arc<str>, number: i32, epoch: LeaderEpoch, members: &[(Arc<str>, Arc<str>)]) {
        if self.coordinators.get(&number).is_some_and(|(newest, _)| *newest > epoch) {
            return;
        }
        self.partitions = self.partitions.max(number + 1);
        self.coordinators.insert(number, (epoch, node.clone()));
        let partitions = self.partitions;
        for (name, group) in
            self.groups.iter_mut().filter(|(name, _)| java::coordinating_partition(name, partitions) == number)
        {
            let returned = std::mem::take(&mut group.returned);
            let is_written = |member: &Arc<str>| returned.contains(member) && group.formed <= group.assigned;
            let is_known = |member: &Arc<str>| members.iter().any(|(of, known)| of == name && known == member);
            let forgotten = group.members.iter().filter(|member| !is_known(member) && !is_written(member));
            group.forgotten.extend(forgotten.filter_map(|member| group.clients.get(member).cloned()));
            (group.formed, group.is_downgrading) = (group.assigned, false);
            group.emptied += 1;
            group.members.clear();
            group.absent.clear();
        }
        for (group, member) in members {
            self.group(group).members.insert(member.clone());
        }
        self.groups.values_mut().for_each(|group| group.epochs.retain(|member, _| group.members.contains(member)));
    }

    /// Takes what a broker tells that has been replaced as coordinator.
    fn observe_stale(&mut self, entry: &Entry) {
        if let Event::MemberJoined { group, client, .. } = &entry.event {
            self.group(group).forgotten.insert(client.clone());
        }
    }

    /// Whether this is told by a broker that has been replaced as coordinator.
    fn is_stale(&self, entry: &Entry) -> bool {
        let (Event::MemberJoined { group, .. }
        | Event::MemberReplaced { group, .. }
        | Event::MemberLeft { group, .. }
        | Event::MemberAdvanced { group, .. }
        | Event::RebalanceBegan { group, .. }
        | Event::GenerationFormed { group, .. }
        | Event::GroupAssigned { group, .. }
        | Event::GroupEmptied { group, .. }
        | Event::OffsetsExpiring { group, .. }
        | Event::OffsetsExpired { group, .. }) = &entry.event
        else {
            return false;
        };
        self.is_replaced(group, &entry.node)
    }

    /// Whether `node` is not the one that coordinates `group`.
    fn is_replaced(&self, group: &str, node: &str) -> bool {
        let coordinator = self.coordinators.get(&java::coordinating_partition(group, self.partitions));
        coordinator.is_some_and(|(_, coordinator)| **coordinator != *node)
    }

    fn group(&mut self, name: &Arc<str>) -> &mut Coordination {
        self.groups.entry(name.clone()).or_default()
    }

    /// The generation that `group` is in.
    fn generation(&self, group: &Arc<str>) -> i32 {
        self.groups.get(group).map_or(0, |group| group.formed)
    }

    /// The oldest epoch in whose name `member` may commit the offsets of `partitions`: its own, or for partitions that it
    /// has had for longer the newest of the epochs since when (KIP-1251). `None`: the group is of the classic protocol.
    fn commit_epoch<'p>(
        &self,
        group: &Arc<str>,
        member: &Arc<str>,
        partitions: impl Iterator<Item = &'p TopicPartition>,
    ) -> Option<i32> {
        let group = self.groups.get(group).filter(|group| group.is_modern || !group.epochs.is_empty())?;
        let Some(known) = group.epochs.get(member) else {
            // One that is no member may commit in no epoch. What a coordinator told a member that the next one found in
            // its records, nobody knows.
            return Some(if group.members.contains(member) { 0 } else { i32::MAX });
        };
        let since = |partition| known.since.get(partition).copied().unwrap_or(known.epoch);
        Some(partitions.map(since).max().unwrap_or(known.epoch))
    }

    /// Whether `process` had joined a group at a coordinator whose successor does not know it.
    fn has_forgotten(&self, process: &str) -> bool {
        self.groups.values().any(|group| group.forgotten.contains(process))
    }

    /// Which process joined as `member`.
    fn process_of(&self, group: &Arc<str>, member: &Arc<str>) -> Option<&Arc<str>> {
        self.groups.get(group)?.clients.get(member)
    }

    /// Whether the coordinator counts `member` as one.
    fn counts(&self, group: &Arc<str>, member: &Arc<str>) -> bool {
        self.groups.get(group).is_some_and(|group| group.members.contains(member))
    }

    /// Whether the coordinator takes `partition` for one that `member` has or may have. What a static member that is away
    /// for a while had not given up yet, it gave up by going; one that did not come when the group formed its generation is
    /// not asked to give anything up. What a member was to give up when the group became a classic one, it gives up when it
    /// joins again; until then its assignment is what it was to have, and a group that is upgraded once more goes by that.
    fn counts_with(&self, group: &Arc<str>, member: &Arc<str>, partition: &TopicPartition) -> bool {
        let Some(group) = self.groups.get(group).filter(|group| group.members.contains(member)) else { return false };
        let known = group.epochs.get(member);
        let has_let_go = known.is_some_and(|known| known.epoch == AWAY && !known.since.contains_key(partition));
        let has_let_go = has_let_go || group.let_go.contains(&(member.clone(), partition.clone()));
        !group.absent.contains(member) && !has_let_go
    }

    /// Whether the newest assignment of a classic group gives `partition` to nobody, and a static member came back and was
    /// handed it again. A cooperative leader leaves out what another has to give up first, and gives it away when that
    /// one joins again; one that has come back in between gives nothing up, and no rebalance follows.
    fn is_left_out(&self, group: &Arc<str>, partition: &TopicPartition) -> bool {
        let Some(group) = self.groups.get(group) else { return false };
        group.was_handed_on && !group.is_modern && !group.owners.values().any(|owned| owned.contains(partition))
    }

    /// Whether a member was given `partition`.
    fn is_assigned(&self, group: &Arc<str>, partition: &TopicPartition) -> bool {
        let Some(group) = self.groups.get(group) else { return false };
        group.owners.iter().any(|(member, owned)| group.members.contains(member) && owned.contains(partition))
    }

    /// How often the group has become empty; `None`: it has no members.
    fn emptied(&self, group: &Arc<str>) -> Option<u64> {
        self.groups.get(group).filter(|group| !group.members.is_empty()).map(|group| group.emptied)
    }
}
