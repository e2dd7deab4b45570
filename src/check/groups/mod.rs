//! Consumer groups: who owned what, what was committed, what was processed.
//!
//! From the members' own history and from what coordinators decided. Judged only in a run whose scenario has groups.
//!
//! | chapter | claims |
//! |---|---|
//! | [`owners`] | `one-owner-per-partition`, `group-converges` |
//! | [`commits`] | `only-members-commit`, `commits-survive`, `commits-never-go-back` |
//! | [`processing`] | `processed-at-least-once`, `processed-at-most-once` |

mod commits;
mod owners;
mod processing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::{commits::Commits, owners::Owners, processing::Processing};
use super::{Claim, Ending, Expectation, Expected, Finding, Plan, history::History, invariants::Ledger, score::Score};
use crate::{
    base::TopicPartition,
    trace::{Event, journal::Entry},
};

/// The claims checked here.
pub(super) const CLAIMS: &[Claim] = &[
    Claim::ProcessedAtLeastOnce,
    Claim::ProcessedAtMostOnce,
    Claim::OneOwnerPerPartition,
    Claim::OnlyMembersCommit,
    Claim::CommitsSurvive,
    Claim::CommitsNeverGoBack,
    Claim::GroupConverges,
];

/// Everything that happened in groups.
#[derive(Default)]
pub(super) struct Groups {
    coordinated: Coordinated,
    owners: Owners,
    commits: Commits,
    processing: Processing,
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
}

impl Groups {
    /// Takes the next event.
    pub(super) fn observe(&mut self, entry: &Entry) {
        self.coordinated.observe(&entry.event);
        self.owners.observe(entry, &self.coordinated);
        self.commits.observe(entry, &self.coordinated);
        self.processing.observe(entry);
    }

    /// Judges all of it.
    pub(super) fn findings(&self, case: &Case<'_>) -> Vec<Finding> {
        vec![
            self.processing.at_least_once(case),
            self.processing.at_most_once(case),
            self.owners.one_owner(),
            self.owners.converge(case),
            self.commits.fenced(),
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

/// Groups as their coordinators have them.
#[derive(Default)]
struct Coordinated(BTreeMap<Arc<str>, Coordination>);

#[derive(Default)]
struct Coordination {
    /// The newest generation that was formed.
    formed: i32,
    /// The newest whose assignment is a committed record: what another coordinator goes on from.
    assigned: i32,
    members: BTreeSet<Arc<str>>,
    /// Of a group of the consumer protocol: the epoch of each member, and what it has.
    epochs: BTreeMap<Arc<str>, MemberEpoch>,
}

/// How far a member of a group of the consumer protocol has come.
struct MemberEpoch {
    epoch: i32,
    /// Since which epoch it has each partition.
    since: BTreeMap<TopicPartition, i32>,
}

impl Coordinated {
    fn observe(&mut self, event: &Event) {
        match event {
            Event::MemberJoined { group, member, .. } => {
                self.group(group).members.insert(member.clone());
            }
            Event::MemberReplaced { group, old, new, .. } => {
                self.group(group).members.remove(old);
                self.group(group).epochs.remove(old);
                self.group(group).members.insert(new.clone());
            }
            Event::MemberLeft { group, member, .. } => {
                self.group(group).members.remove(member);
                self.group(group).epochs.remove(member);
            }
            Event::MemberAdvanced { group, member, epoch, partitions } => {
                let since = partitions.iter().cloned().collect();
                self.group(group).epochs.insert(member.clone(), MemberEpoch { epoch: *epoch, since });
            }
            Event::GenerationFormed { group, generation, .. } => self.group(group).formed = *generation,
            Event::GroupAssigned { group, generation, .. } => {
                let group = self.group(group);
                group.assigned = *generation;
                group.formed = group.formed.max(*generation);
            }
            // A generation that was formed and not assigned yet is forgotten with the coordinator that formed it.
            Event::CoordinatorLoaded { .. } => self.0.values_mut().for_each(|group| group.formed = group.assigned),
            _ => {}
        }
    }

    fn group(&mut self, name: &Arc<str>) -> &mut Coordination {
        self.0.entry(name.clone()).or_default()
    }

    /// The generation that `group` is in.
    fn generation(&self, group: &Arc<str>) -> i32 {
        self.0.get(group).map_or(0, |group| group.formed)
    }

    /// The oldest epoch in whose name `member` may commit the offsets of `partitions`: its own, or for partitions that it
    /// has had for longer the newest of the epochs since when (KIP-1251). `None`: the group is of the classic protocol.
    fn commit_epoch<'p>(
        &self,
        group: &Arc<str>,
        member: &Arc<str>,
        partitions: impl Iterator<Item = &'p TopicPartition>,
    ) -> Option<i32> {
        let group = self.0.get(group).filter(|group| !group.epochs.is_empty())?;
        // One that is no member may commit in no epoch.
        let Some(known) = group.epochs.get(member) else { return Some(i32::MAX) };
        let since = |partition| known.since.get(partition).copied().unwrap_or(known.epoch);
        Some(partitions.map(since).max().unwrap_or(known.epoch))
    }

    /// Whether the coordinator counts `member` as one.
    fn counts(&self, group: &Arc<str>, member: &Arc<str>) -> bool {
        self.0.get(group).is_some_and(|group| group.members.contains(member))
    }

    fn has_members(&self, group: &Arc<str>) -> bool {
        self.0.get(group).is_some_and(|group| !group.members.is_empty())
    }
}
