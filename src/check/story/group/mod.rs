//! Stories of consumer groups: what becomes of records by when a group commits, and of partitions by who has them.
//!
//! | module | tells |
//! |---|---|
//! | [`unprocessed`] | records that nobody worked on, because the group goes on behind them |
//! | [`repeated`] | records that were worked on twice |
//! | [`refused`] | a commit that was refused |
//! | [`unsent`] | a commit that a client failed by itself |
//! | [`rebalance`] | a partition that nobody had for a while: who left, why, for how long |

mod rebalance;
mod refused;
mod repeated;
#[cfg(test)]
mod tests;
mod unprocessed;
mod unsent;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Effect, Line, Moment, Record, Sentence, Story, scene::client_set, words::count};
use crate::{
    base::{OFFSETS_TOPIC, Offset, TopicPartition},
    check::{AUDIT_NODE, GroupPlan, Plan},
    trace::{Election, Event, EventId, StopKind, journal::Entry},
};

/// Every story of a group.
pub(super) fn stories(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let of_group = |(group, of_group): (&Arc<str>, &GroupPlan)| {
        let mut stories = unprocessed::stories(entries, plan, group, of_group);
        stories.extend(repeated::stories(entries, group, of_group));
        stories.extend(rebalance::stories(entries, group, of_group));
        stories
    };
    let mut all: Vec<Story> = plan.groups.iter().flat_map(of_group).collect();
    all.extend(refused::stories(entries, plan));
    all.extend(unsent::stories(entries, plan));
    all
}

/// A group and one of its partitions, as the journal has told of them so far.
struct Scene<'a> {
    group: &'a Arc<str>,
    partition: &'a TopicPartition,
    plan: &'a GroupPlan,
    /// Who has which member id.
    names: BTreeMap<&'a Arc<str>, &'a Arc<str>>,
    /// Members whose applications did not poll for too long.
    overdue: BTreeSet<&'a Arc<str>>,
    lines: Vec<Line>,
}

impl<'a> Scene<'a> {
    fn new(group: &'a Arc<str>, partition: &'a TopicPartition, plan: &'a GroupPlan) -> Self {
        Self { group, partition, plan, names: BTreeMap::new(), overdue: BTreeSet::new(), lines: Vec::new() }
    }

    /// Takes the next event.
    fn observe(&mut self, entry: &'a Entry) {
        let is_member = self.plan.members.contains(&entry.node);
        let text = match &entry.event {
            Event::StepFired { action, .. } if action == "nothing" => return,
            Event::StepFired { step, action, .. } => format!("step {step}: {action}"),
            Event::SettleBegan => "everything is healed and restarted".into(),
            Event::TopicDeleted { topic, .. } if *topic == self.partition.topic => {
                format!("{topic} is deleted, and all its records with it")
            }
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
                has.then(|| format!("gets {partition} in {} {generation}", epoch_word(self.plan)))?
            }
            Event::PartitionsRevoked { group, partitions, .. } if group == self.group => {
                partitions.contains(self.partition).then(|| format!("gives {} up", self.partition))?
            }
            Event::PartitionsLost { group, partitions, .. } if group == self.group => {
                let learns = || format!("learns that {} was taken from it", self.partition);
                partitions.contains(self.partition).then(learns)?
            }
            Event::MemberLeft { group, member, why } if group == self.group => {
                format!("{} is out of the group: {}", self.name(member), self.why_out(member, why))
            }
            Event::PollOverdue { group, member } if group == self.group => {
                self.overdue.insert(member);
                let then =
                    if self.is_static(&entry.node) { "its heartbeats end" } else { "its heartbeat thread leaves" };
                format!("has not polled for longer than max.poll.interval.ms: {then}")
            }
            Event::MemberReplaced { group, instance, .. } if group == self.group => {
                format!("{instance} is back under another member id; whoever has the old one is fenced")
            }
            Event::RebalanceBegan { group, generation, why } if group == self.group => match speaks_modern(self.plan) {
                true => format!("the group goes on from epoch {generation}: {why}"),
                false => format!("all members of generation {generation} have to join again: {why}"),
            },
            Event::GenerationFormed { group, generation, members, .. } if group == self.group => {
                format!("{} {generation} has {}", epoch_word(self.plan), count(members.len(), "member"))
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

    /// Why a member is out, as its coordinator knows, and as it knows itself.
    fn why_out(&self, member: &Arc<str>, why: &str) -> String {
        let overdue = "it did not poll for longer than max.poll.interval.ms, so its own";
        match (self.overdue.contains(member), self.is_static(&self.name(member))) {
            (false, _) => why.to_owned(),
            (true, false) => format!("{overdue} heartbeat thread left"),
            (true, true) => format!("{overdue} heartbeats ended: {why}"),
        }
    }

    fn is_static(&self, client: &str) -> bool {
        self.plan.workers.get(client).is_some_and(|worker| worker.instance.is_some())
    }

    fn say(&mut self, entry: &Entry, text: impl Into<String>) {
        let (event, time, node) = (entry.id, entry.time, entry.node.clone());
        self.lines.push(Line { event, time, node, text: text.into(), copies: None, moment: None });
    }

    fn say_moment(&mut self, entry: &Entry, text: impl Into<String>, moment: Moment) {
        self.say(entry, text);
        self.lines.last_mut().expect("a line was just added").moment = Some(moment);
    }

    /// The lines from `begin` to `end`; what is told again and again is told once, and how often.
    fn between(self, begin: EventId, end: EventId) -> Vec<Line> {
        let lines: Vec<Line> = self.lines.into_iter().filter(|line| (begin..=end).contains(&line.event)).collect();
        let same = |one: &Line, next: &Line| {
            one.node == next.node && one.text == next.text && one.moment.is_none() && next.moment.is_none()
        };
        let told = lines.chunk_by(same).map(|lot| match lot {
            [line] => line.clone(),
            _ => Line { text: format!("{}, {} times", lot[0].text, lot.len()), ..lot[0].clone() },
        });
        told.collect()
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

/// Whether the group is of the consumer protocol (KIP-848): it is as soon as one of its members speaks that.
fn speaks_modern(plan: &GroupPlan) -> bool {
    plan.workers.values().any(|worker| worker.modern)
}

/// What the epochs of the group's protocol are called.
fn epoch_word(plan: &GroupPlan) -> &'static str {
    if speaks_modern(plan) { "epoch" } else { "generation" }
}

/// The same setting of several members with a value, as `run --set` takes it.
fn all_set<'a>(members: impl IntoIterator<Item = &'a Arc<str>>, name: &str, value: &str) -> Vec<String> {
    members.into_iter().map(|member| client_set(member, name, value)).collect()
}

/// A sentence about another application of all members; none where they work like that.
fn with_application(plan: &GroupPlan, value: &str, effect: Effect, text: &str) -> Option<Sentence> {
    let is_other = plan.workers.values().any(|worker| *worker.application != *value);
    is_other.then(|| Sentence::about(&all_set(&plan.members, "consume.application", value), effect, text))
}

/// Old behaviours by which a group loses a member that lives: the switch, and what it is since when.
const BEHAVIOURS: &[(&str, &str)] = &[
    (
        "static_member_persisted",
        "Since Kafka 2.6.1 the new id of a static member is a record before the member is told, and the next coordinator \
         knows it.",
    ),
    (
        "instance_ids_left_out",
        "Since Kafka 3.3.2 an answer to an old client leaves out what its version cannot carry, and the rebalance ends.",
    ),
];

/// A sentence about each of the old behaviours that the run has.
fn with_newer_behaviour(plan: &Plan) -> Vec<Sentence> {
    let known = BEHAVIOURS.iter().filter(|(name, _)| plan.switches.contains_key(*name));
    known.map(|(name, text)| Sentence::about(&[format!("switch.{name}=true")], Effect::Helps, *text)).collect()
}

/// A sentence about offsets that had expired.
fn with_default_retention() -> Sentence {
    Sentence::about(
        &["cluster.offsets.retention.minutes=10080".to_owned()],
        Effect::Helps,
        "With offsets.retention.minutes=10080, the default, the offset would still have been there.",
    )
}

/// A sentence about offsets of which there was one copy, where a power loss may have taken it.
fn with_three_copies(entries: &[Entry]) -> Option<Sentence> {
    let one_copy = entries.iter().any(|entry| {
        matches!(&entry.event, Event::PartitionChanged { partition, replicas, .. }
            if *partition.topic == *OFFSETS_TOPIC && replicas.len() == 1)
    });
    let power_lost = entries.iter().any(|entry| matches!(entry.event, Event::NodeStopped { how } if how.lost_power()));
    (one_copy && power_lost).then(|| {
        Sentence::about(
            &["cluster.offsets.topic.replication.factor=3".to_owned()],
            Effect::Helps,
            "With offsets.topic.replication.factor=3 another broker would have had the offset, and would have coordinated.",
        )
    })
}

/// A sentence about offsets that an unclean election took.
fn without_unclean_elections(entries: &[Entry]) -> Option<Sentence> {
    let unclean = entries.iter().any(|entry| {
        matches!(&entry.event, Event::PartitionChanged { partition, election: Election::Unclean, .. }
            if *partition.topic == *OFFSETS_TOPIC)
    });
    unclean.then(|| {
        Sentence::about(
            &["cluster.unclean.leader.election.enable=false".to_owned()],
            Effect::Helps,
            "With unclean.leader.election.enable=false the group would have waited for a broker that has its commits.",
        )
    })
}
