//! What the members of a group have done with the records, all together.
//!
//! `processed-at-least-once`: S37 `ConsumeCoverage`. Every record that the audit finds from where the group first stood to
//! the end was processed by a member. `processed-at-most-once`: none was processed twice. Which of the two an application
//! promises is in the plan; what it does not promise is noted and is no violation, unless the scenario is written to show
//! it. Nor is what the causes permit that the scenario names (`any` with `lost`), and for `processed-at-most-once` what
//! follows from a permitted loss of commits or records, or from offsets that expired.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Case, Coordinated, Score, owners::Owners};
use crate::{
    base::{Offset, TopicPartition},
    check::{Cause, Claim, Finding},
    trace::{Event, EventId, journal::Entry},
};

/// What was processed, and where groups began.
#[derive(Default)]
pub(super) struct Processing {
    done: BTreeMap<(Arc<str>, TopicPartition), BTreeMap<Offset, Vec<Deed>>>,
    /// Every position that a node was given, in order; whose group it is in is known at the end.
    begins: BTreeMap<(Arc<str>, TopicPartition), (Offset, EventId)>,
    /// Where each node began without a commit.
    resets: BTreeMap<(Arc<str>, TopicPartition), Vec<Offset>>,
    /// What each running process has got and not worked through, and up to where it has asked for a commit.
    hands: BTreeMap<(Arc<str>, TopicPartition), Hands>,
    /// What was in the hands of each process that died, and committed by it.
    dead: BTreeMap<(Arc<str>, TopicPartition), BTreeSet<Content>>,
    /// When offsets of a group expired.
    expired: BTreeMap<(Arc<str>, TopicPartition), Vec<EventId>>,
}

/// A record: where it stood, and its value.
type Content = (Offset, Arc<str>);

#[derive(Default)]
struct Hands {
    records: BTreeMap<Offset, (Arc<str>, EventId)>,
    committed: Offset,
}

struct Deed {
    node: Arc<str>,
    value: Arc<str>,
    /// When the process got it: a commit may have come before the work.
    got: EventId,
    event: EventId,
}

impl Processing {
    pub(super) fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            Event::RecordProcessed { group, partition, offset, value } => {
                let got = self.hands(entry, partition).records.remove(offset).map_or(entry.id, |(_, got)| got);
                let deed = Deed { node: entry.node.clone(), value: value.clone(), got, event: entry.id };
                let done = self.done.entry((group.clone(), partition.clone())).or_default();
                done.entry(*offset).or_default().push(deed);
            }
            Event::RecordRead { partition, offset, value, .. } => {
                self.hands(entry, partition).records.insert(*offset, (value.clone(), entry.id));
            }
            Event::CommitSent { offsets, .. } => {
                for (partition, offset) in offsets {
                    let hands = self.hands(entry, partition);
                    hands.committed = hands.committed.max(*offset);
                }
            }
            Event::NodeStopped { .. } => self.died(&entry.node),
            Event::PositionSet { partition, offset, why } => {
                let key = (entry.node.clone(), partition.clone());
                if matches!(&**why, "start" | "out-of-range") {
                    self.resets.entry(key.clone()).or_default().push(*offset);
                }
                self.begins.entry(key).or_insert((*offset, entry.id));
            }
            Event::OffsetsExpiring { group, partitions } | Event::OffsetsExpired { group, partitions } => {
                for partition in partitions {
                    self.expired.entry((group.clone(), partition.clone())).or_default().push(entry.id);
                }
            }
            Event::TopicDeleted { topic, .. } => {
                self.resets.retain(|(_, partition), _| partition.topic != *topic);
                self.hands.retain(|(_, partition), _| partition.topic != *topic);
            }
            _ => {}
        }
    }

    fn hands(&mut self, entry: &Entry, partition: &TopicPartition) -> &mut Hands {
        self.hands.entry((entry.node.clone(), partition.clone())).or_default()
    }

    fn died(&mut self, node: &Arc<str>) {
        for ((holder, partition), hands) in &mut self.hands {
            if holder == node {
                let Hands { records, committed } = std::mem::take(hands);
                let left = records.into_iter().filter(|(offset, _)| *offset < committed);
                let left = left.map(|(offset, (value, _))| (offset, value));
                self.dead.entry((holder.clone(), partition.clone())).or_default().extend(left);
            }
        }
    }

    /// Why a record that is in the log was never processed by the members of a group.
    fn cause(
        &self,
        case: &Case<'_>,
        members: &[Arc<str>],
        partition: &TopicPartition,
        record: (Offset, &str),
    ) -> Cause {
        let (offset, value) = record;
        let skipped = |member: &Arc<str>| {
            let resets = self.resets.get(&(member.clone(), partition.clone()));
            resets.into_iter().flatten().any(|begin| *begin > offset)
        };
        let left = |member: &Arc<str>| {
            let dead = self.dead.get(&(member.clone(), partition.clone()));
            dead.is_some_and(|dead| dead.contains(&(offset, value.into())))
        };
        match () {
            () if members.iter().any(left) => Cause::LeftInDeadHands,
            // That a member began behind it was seen; that something else stood here once is a mere possibility.
            () if members.iter().any(skipped) => Cause::SkippedByReset,
            () if case.ledger.permits_loss(partition, offset) => Cause::SkippedByTruncation,
            () => Cause::Unknown,
        }
    }

    pub(super) fn at_least_once(&self, case: &Case<'_>, owners: &Owners, coordinated: &Coordinated) -> Finding {
        let mut score = Score::new(Claim::ProcessedAtLeastOnce);
        let teaches = case.teaches_violation_of(Claim::ProcessedAtLeastOnce);
        let permits = case.permitted_causes(Claim::ProcessedAtLeastOnce);
        let mut permitted = 0;
        for (group, plan) in &case.plan.groups {
            // Nobody is there to do the work.
            let group_promises = plan.at_least_once && !owners.is_wronged(case, plan);
            for partition in plan.partitions.iter().filter(|partition| !case.history.is_gone(partition)) {
                let promises = teaches || group_promises && !coordinated.is_left_out(group, partition);
                let members = plan.members.iter();
                let begins = members.filter_map(|member| self.begins.get(&(member.clone(), partition.clone())));
                let Some((begin, began)) = begins.min_by_key(|(_, event)| *event) else { continue };
                let Some(records) = case.history.audited(partition) else {
                    score.unknown = Some(format!("the audit did not reach the end of {partition}"));
                    continue;
                };
                let done = self.done.get(&(group.clone(), partition.clone()));
                for (offset, value) in records.filter(|(offset, _)| offset >= begin) {
                    score.checks += 1;
                    let deeds = done.and_then(|done| done.get(&offset));
                    if deeds.is_some_and(|deeds| deeds.iter().any(|deed| deed.value == *value)) {
                        continue;
                    }
                    let cause = || self.cause(case, &plan.members, partition, (offset, value));
                    if promises && (permits.is_empty() || !permits.contains(&cause())) {
                        let text = format!("{partition}@{offset} ({value}) was never processed in group {group}");
                        score.violate(text, vec![*began]);
                    } else {
                        permitted += 1;
                    }
                }
            }
        }
        score.note = (permitted > 0).then(|| {
            let why = match permits {
                [] => "the application commits before it has done its work",
                _ => "what the application and its settings do not promise",
            };
            format!("{permitted} records were never processed: {why}")
        });
        score.into_finding()
    }

    pub(super) fn at_most_once(&self, case: &Case<'_>) -> Finding {
        let mut score = Score::new(Claim::ProcessedAtMostOnce);
        let teaches = case.teaches_violation_of(Claim::ProcessedAtMostOnce);
        let mut permitted = 0;
        for ((group, partition), done) in &self.done {
            let promised = case.plan.groups.get(group).is_some_and(|plan| plan.at_most_once);
            for (offset, deeds) in done {
                score.checks += 1;
                // Another record may have come to stand at the offset: that is no repetition.
                let twice = deeds.iter().enumerate().find_map(|(index, deed)| {
                    let before = deeds[..index].iter().find(|before| before.value == deed.value)?;
                    Some((before, deed))
                });
                let Some((first, second)) = twice else { continue };
                match teaches
                    || promised && !self.may_repeat(case, group, partition, *offset, [first.got, second.event])
                {
                    true => {
                        let (value, one, other) = (&first.value, &first.node, &second.node);
                        let text = format!(
                            "{partition}@{offset} ({value}) was processed by {one} and again by {other} in group {group}"
                        );
                        score.violate(text, vec![first.event, second.event]);
                    }
                    false => permitted += 1,
                }
            }
        }
        score.note = (permitted > 0).then(|| {
            format!("{permitted} records were processed twice: the application does its work before it commits")
        });
        score.into_finding()
    }

    /// Whether a group that had committed a record between two `deeds` was allowed to lose that commit.
    fn may_repeat(
        &self,
        case: &Case<'_>,
        group: &Arc<str>,
        partition: &TopicPartition,
        offset: Offset,
        [first, second]: [EventId; 2],
    ) -> bool {
        let expired = self.expired.get(&(group.clone(), partition.clone()));
        case.groups_may_be_lost(second)
            || case.ledger.permits_loss(partition, offset)
            || expired.into_iter().flatten().any(|event| first < *event && *event < second)
    }
}
