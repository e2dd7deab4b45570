//! What the members of a group have done with the records, all together.
//!
//! `processed-at-least-once`: S37 `ConsumeCoverage`. Every record that the audit finds from where the group first stood to
//! the end was processed by a member. `processed-at-most-once`: none was processed twice. Which of the two an application
//! promises is in the plan; what it does not promise is noted and is no violation, unless the scenario is written to show
//! it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Case, Score};
use crate::{
    base::{Offset, TopicPartition},
    check::{Claim, Finding},
    trace::{Event, EventId, journal::Entry},
};

/// What was processed, and where groups began.
#[derive(Default)]
pub(super) struct Processing {
    done: BTreeMap<(Arc<str>, TopicPartition), BTreeMap<Offset, Vec<Deed>>>,
    /// Every position that a node was given, in order; whose group it is in is known at the end.
    begins: BTreeMap<(Arc<str>, TopicPartition), (Offset, EventId)>,
}

struct Deed {
    node: Arc<str>,
    value: Arc<str>,
    event: EventId,
}

impl Processing {
    pub(super) fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            Event::RecordProcessed { group, partition, offset, value } => {
                let deed = Deed { node: entry.node.clone(), value: value.clone(), event: entry.id };
                let done = self.done.entry((group.clone(), partition.clone())).or_default();
                done.entry(*offset).or_default().push(deed);
            }
            Event::PositionSet { partition, offset, .. } => {
                let key = (entry.node.clone(), partition.clone());
                self.begins.entry(key).or_insert((*offset, entry.id));
            }
            _ => {}
        }
    }

    pub(super) fn at_least_once(&self, case: &Case<'_>) -> Finding {
        let mut score = Score::new(Claim::ProcessedAtLeastOnce);
        let teaches = case.teaches_violation_of(Claim::ProcessedAtLeastOnce);
        let mut permitted = 0;
        for (group, plan) in &case.plan.groups {
            for partition in &plan.partitions {
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
                    match plan.at_least_once || teaches {
                        true => {
                            let text = format!("{partition}@{offset} ({value}) was never processed in group {group}");
                            score.violate(text, vec![*began]);
                        }
                        false => permitted += 1,
                    }
                }
            }
        }
        score.note = (permitted > 0).then(|| {
            format!("{permitted} records were never processed: the application commits before it has done its work")
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
                match promised || teaches {
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
}
