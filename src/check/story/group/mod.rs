//! Stories of consumer groups: what becomes of records by when a group commits, and of partitions by who has them.
//!
//! | module | tells |
//! |---|---|
//! | [`unprocessed`] | records that nobody worked on, because the group goes on behind them |
//! | [`repeated`] | records that were worked on twice |
//! | [`refused`] | a commit that was refused |
//! | [`rebalance`] | a partition that nobody had for a while: who left, why, for how long |

mod rebalance;
mod refused;
mod repeated;
#[cfg(test)]
mod tests;
mod unprocessed;

use std::{collections::BTreeMap, sync::Arc};

use super::{Line, Moment, Record, Story, scene::client_set};
use crate::{
    base::{Offset, TopicPartition},
    check::{AUDIT_NODE, GroupPlan, Plan},
    trace::{Event, EventId, StopKind, journal::Entry},
};

/// Every story of a group.
pub(super) fn stories(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let of_group = |(group, plan): (&Arc<str>, &GroupPlan)| {
        let mut stories = unprocessed::stories(entries, group, plan);
        stories.extend(repeated::stories(entries, group, plan));
        stories.extend(rebalance::stories(entries, group, plan));
        stories
    };
    let mut all: Vec<Story> = plan.groups.iter().flat_map(of_group).collect();
    all.extend(refused::stories(entries, plan));
    all
}

/// A group and one of its partitions, as the journal has told of them so far.
struct Scene<'a> {
    group: &'a Arc<str>,
    partition: &'a TopicPartition,
    plan: &'a GroupPlan,
    /// Who has which member id.
    names: BTreeMap<&'a Arc<str>, &'a Arc<str>>,
    lines: Vec<Line>,
}

impl<'a> Scene<'a> {
    fn new(group: &'a Arc<str>, partition: &'a TopicPartition, plan: &'a GroupPlan) -> Self {
        Self { group, partition, plan, names: BTreeMap::new(), lines: Vec::new() }
    }

    /// Takes the next event.
    fn observe(&mut self, entry: &'a Entry) {
        let is_member = self.plan.members.contains(&entry.node);
        let text = match &entry.event {
            Event::StepFired { action, .. } if action == "nothing" => return,
            Event::StepFired { step, action, .. } => format!("step {step}: {action}"),
            Event::SettleBegan => "everything is healed and restarted".into(),
            Event::NodeStopped { how } if is_member => match how {
                StopKind::Clean => "ended in peace",
                StopKind::Kill | StopKind::Power | StopKind::Torn => "died, and with it all that it had in its hands",
            }
            .into(),
            Event::NodeStarted { incarnation } if is_member && *incarnation > 1 => "started again".into(),
            Event::NodePaused if is_member => "stands still: it gets no CPU".into(),
            Event::NodeResumed if is_member => "goes on where it stood".into(),
            Event::PositionSet { partition, offset, why } if is_member && partition == self.partition => match &**why {
                "committed" => format!("goes on at {offset}, the committed offset"),
                "start" => format!("begins at {offset}: it found no committed offset, and asked auto.offset.reset"),
                why => format!("goes on at {offset}: {why}"),
            },
            event => match self.of_group(entry, event) {
                Some(text) => text,
                None => return,
            },
        };
        self.say(entry, text);
    }

    fn of_group(&mut self, entry: &'a Entry, event: &'a Event) -> Option<String> {
        Some(match event {
            Event::MemberJoined { group, member, client, .. } if group == self.group => {
                self.names.insert(member, client);
                return None;
            }
            Event::PartitionsAssigned { group, member, generation, partitions } if group == self.group => {
                self.names.insert(member, &entry.node);
                let (partition, has) = (self.partition, partitions.contains(self.partition));
                has.then(|| format!("gets {partition} in generation {generation}"))?
            }
            Event::PartitionsRevoked { group, partitions, .. } if group == self.group => {
                partitions.contains(self.partition).then(|| format!("gives {} up", self.partition))?
            }
            Event::PartitionsLost { group, partitions, .. } if group == self.group => {
                let learns = || format!("learns that {} was taken from it", self.partition);
                partitions.contains(self.partition).then(learns)?
            }
            Event::MemberLeft { group, member, why } if group == self.group => {
                format!("{} is out of the group: {why}", self.name(member))
            }
            Event::MemberReplaced { group, instance, .. } if group == self.group => {
                format!("{instance} is back under another member id; whoever has the old one is fenced")
            }
            Event::RebalanceBegan { group, generation, why } if group == self.group => {
                format!("all members of generation {generation} have to join again: {why}")
            }
            Event::GenerationFormed { group, generation, members, .. } if group == self.group => {
                format!("generation {generation} has {} members", members.len())
            }
            Event::OffsetsExpired { group, partitions } if group == self.group => {
                let gone = "deleted the committed offset: nobody had committed for offsets.retention.minutes";
                partitions.contains(self.partition).then(|| gone.to_owned())?
            }
            Event::CommitAnswered { group, error, .. } if group == self.group && **error != *"NONE" => {
                format!("is told of its commit: {error}")
            }
            _ => return None,
        })
    }

    /// The node of a member; the member's id where nobody has told.
    fn name(&self, member: &Arc<str>) -> String {
        self.names.get(member).map_or_else(|| member.to_string(), |name| name.to_string())
    }

    fn say(&mut self, entry: &Entry, text: impl Into<String>) {
        let (event, time, node) = (entry.id, entry.time, entry.node.clone());
        self.lines.push(Line { event, time, node, text: text.into(), copies: None, moment: None });
    }

    fn say_moment(&mut self, entry: &Entry, text: impl Into<String>, moment: Moment) {
        self.say(entry, text);
        self.lines.last_mut().expect("a line was just added").moment = Some(moment);
    }

    /// The lines from `begin` to `end`.
    fn between(self, begin: EventId, end: EventId) -> Vec<Line> {
        self.lines.into_iter().filter(|line| (begin..=end).contains(&line.event)).collect()
    }
}

/// A record of the final log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'a> {
    offset: Offset,
    value: &'a Arc<str>,
}

/// Who sent each record, by where it stands.
fn senders(entries: &[Entry]) -> BTreeMap<(&TopicPartition, Offset), Record> {
    let acked = entries.iter().filter_map(|entry| match &entry.event {
        Event::RecordAcked { record, partition, offset } => {
            Some(((partition, *offset), Record { producer: entry.node.clone(), number: *record }))
        }
        _ => None,
    });
    acked.collect()
}

/// The records of `partition` that the audit found.
fn audited<'a>(entries: &'a [Entry], partition: &TopicPartition) -> Vec<Place<'a>> {
    let read = entries.iter().filter(|entry| &*entry.node == AUDIT_NODE).filter_map(|entry| match &entry.event {
        Event::RecordRead { partition: p, offset, value, .. } if p == partition => {
            Some(Place { offset: *offset, value })
        }
        _ => None,
    });
    let mut places: Vec<Place<'a>> = read.collect();
    places.sort();
    places.dedup();
    places
}

/// `orders-0@5` or `orders-0@5..8`, both included.
fn stretch(partition: &TopicPartition, first: Offset, last: Offset) -> String {
    if first == last { format!("{partition}@{first}") } else { format!("{partition}@{first}..{last}") }
}

/// `1 record`, `3 records`.
fn count(records: usize) -> String {
    if records == 1 { "1 record".into() } else { format!("{records} records") }
}

/// The same setting of several members with a value, as `run --set` takes it.
fn all_set<'a>(members: impl IntoIterator<Item = &'a Arc<str>>, name: &str, value: &str) -> Vec<String> {
    members.into_iter().map(|member| client_set(member, name, value)).collect()
}

/// The application of all members.
fn application(plan: &GroupPlan, value: &str) -> Vec<String> {
    all_set(&plan.members, "consume.application", value)
}
