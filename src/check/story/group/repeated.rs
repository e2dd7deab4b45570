//! Records that were worked on twice: somebody began at a committed offset that was behind the work.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Place, Scene, all_set, count, senders, stretch, with_application, with_default_retention, with_three_copies,
    without_unclean_elections,
};
use crate::{
    base::{OFFSETS_TOPIC, Offset, TopicPartition},
    check::{
        GroupPlan,
        story::{Effect, Kind, Moment, Record, Sentence, Story, scene::client_set},
    },
    trace::{Election, Event, EventId, journal::Entry},
};

/// The first two times that work was done, each with who did it.
#[derive(Clone, Copy)]
struct Twice<'a> {
    first: (EventId, &'a Arc<str>),
    second: (EventId, &'a Arc<str>),
}

/// A story for each stretch of neighbours that the same two worked on.
pub(super) fn stories(entries: &[Entry], group: &Arc<str>, plan: &GroupPlan) -> Vec<Story> {
    let mut stories = Vec::new();
    for partition in &plan.partitions {
        let mut stretches: Vec<(Twice<'_>, Vec<Place<'_>>)> = Vec::new();
        for (place, twice) in repeated(entries, group, partition) {
            match stretches.last_mut() {
                Some((before, stretch))
                    if (before.first.1, before.second.1) == (twice.first.1, twice.second.1)
                        && stretch.last().is_some_and(|last| last.offset.next() == place.offset) =>
                {
                    stretch.push(place);
                }
                _ => stretches.push((twice, vec![place])),
            }
        }
        stories.extend(stretches.iter().map(|(twice, places)| story(entries, group, plan, partition, *twice, places)));
    }
    stories
}

fn repeated<'a>(entries: &'a [Entry], group: &Arc<str>, partition: &TopicPartition) -> Vec<(Place<'a>, Twice<'a>)> {
    let mut deeds: BTreeMap<Place<'a>, Vec<(EventId, &'a Arc<str>)>> = BTreeMap::new();
    for entry in entries {
        if let Event::RecordProcessed { group: g, partition: p, offset, value } = &entry.event
            && g == group
            && p == partition
        {
            deeds.entry(Place { offset: *offset, value }).or_default().push((entry.id, &entry.node));
        }
    }
    let twice = deeds.into_iter().filter_map(|(place, deeds)| match deeds.as_slice() {
        [first, second, ..] => Some((place, Twice { first: *first, second: *second })),
        _ => None,
    });
    twice.collect()
}

/// What came between the work and its commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Who had done it died.
    Death,
    /// It stood still, and was put out of the group.
    Pause,
    /// It gave the partition up.
    Rebalance,
    /// It lost the partition.
    Lost,
    /// Both took the partition for their own.
    Both,
    /// The committed offset was deleted.
    Expiry,
    /// This offset was committed, and nobody knew it any more.
    Forgotten(Offset),
    /// This offset was committed, and the coordinator that came next knew an older one.
    Outdated(Offset),
    /// The log had become shorter than where the group stood.
    OutOfRange,
    /// The other one is no member: both read the partition.
    Outsider,
    /// Nothing that the journal tells.
    Unknown,
}

fn story(
    entries: &[Entry],
    group: &Arc<str>,
    plan: &GroupPlan,
    partition: &TopicPartition,
    twice: Twice<'_>,
    places: &[Place<'_>],
) -> Story {
    let Twice { first: (done, worker), second: (again, successor) } = twice;
    let (first, last) = (places[0], places[places.len() - 1]);
    let mut scene = Scene::new(group, partition, plan);
    let is_outsider = |node| plan.workers.get(node).is_some_and(|worker| &*worker.application == "assign");
    let mut between = if is_outsider(worker) || is_outsider(successor) { Between::Outsider } else { Between::Unknown };
    // Who stood still may have done its work after the other.
    let mut paused: Vec<&Arc<str>> = Vec::new();
    let mut owners: BTreeSet<&Arc<str>> = BTreeSet::new();
    let (mut committed, mut begun, mut begin) = (Offset::ZERO, None, done);
    // Whether another coordinator has come since that was committed.
    let mut reloaded = false;
    for entry in entries {
        scene.observe(entry);
        let after = entry.id > done && entry.id < again;
        match &entry.event {
            Event::PartitionsAssigned { group: g, partitions, .. } if g == group && partitions.contains(partition) => {
                owners.insert(&entry.node);
                let both = after && worker != successor && entry.node == *successor && owners.contains(worker);
                if both && between == Between::Unknown && paused.is_empty() {
                    between = Between::Both;
                }
            }
            // Who is out may not know it yet.
            Event::MemberLeft { group: g, member, .. } if g == group => {
                let name = scene.name(member);
                let lost = after && name == **worker && owners.contains(worker);
                if lost && between == Between::Unknown && paused.is_empty() {
                    between = Between::Lost;
                }
                owners.retain(|owner| ***owner != *name);
            }
            Event::PartitionsRevoked { group: g, partitions, .. }
            | Event::PartitionsLost { group: g, partitions, .. }
                if g == group && partitions.contains(partition) =>
            {
                owners.remove(&entry.node);
            }
            Event::NodeStopped { .. } => drop(owners.remove(&entry.node)),
            _ => {}
        }
        match &entry.event {
            Event::NodePaused if entry.id < again && (entry.node == *worker || entry.node == *successor) => {
                paused.push(&entry.node);
                begin = begin.min(entry.id);
            }
            Event::NodeStopped { .. } if after && entry.node == *worker && between == Between::Unknown => {
                between = Between::Death;
            }
            Event::PartitionsRevoked { group: g, partitions, .. }
                if between == Between::Unknown
                    && after
                    && g == group
                    && entry.node == *worker
                    && partitions.contains(partition) =>
            {
                between = Between::Rebalance;
            }
            Event::PartitionsLost { group: g, partitions, .. }
                if between == Between::Unknown
                    && paused.is_empty()
                    && after
                    && g == group
                    && entry.node == *worker
                    && partitions.contains(partition) =>
            {
                between = Between::Lost;
            }
            Event::OffsetsExpired { group: g, partitions } if after && g == group && partitions.contains(partition) => {
                between = Between::Expiry;
            }
            Event::OffsetsCommitted { group: g, offsets, .. } if g == group => {
                let of_partition = offsets.iter().find(|(p, _)| p == partition);
                committed = of_partition.map_or(committed, |(_, offset)| *offset);
                reloaded &= of_partition.is_none();
            }
            Event::CoordinatorLoaded { .. } => reloaded = true,
            Event::PartitionChanged { partition: p, leader, election: Election::Unclean, .. }
                if after && *p.topic == *OFFSETS_TOPIC =>
            {
                let text =
                    format!("unclean election, from outside the ISR: b{leader} leads {p} with what it has copied");
                scene.say(entry, text);
            }
            Event::PositionSet { partition: p, offset, why }
                if p == partition && entry.node == *successor && entry.id < again && *offset <= first.offset =>
            {
                begun = Some(*offset);
                begin = begin.min(entry.id);
                between = match &**why {
                    "start" if between != Between::Expiry && committed > first.offset => Between::Forgotten(committed),
                    "committed" if after && reloaded && committed > first.offset => Between::Outdated(committed),
                    "out-of-range" => Between::OutOfRange,
                    _ => between,
                };
            }
            Event::CommitSent { group: g, offsets, .. } if after && g == group && entry.node == *worker => {
                if let Some((_, offset)) = offsets.iter().find(|(p, _)| p == partition) {
                    scene.say(entry, format!("asks for {offset} to be committed"));
                }
            }
            Event::RecordProcessed { .. } if entry.id == done => {
                let both = worker != successor && owners.contains(worker) && owners.contains(successor);
                if both && between == Between::Unknown && paused.is_empty() {
                    between = Between::Both;
                }
                scene.say(entry, format!("has worked through {}", first.offset));
            }
            Event::RecordProcessed { .. } if entry.id == again => {
                let text = format!("works through {} again", first.offset);
                scene.say_moment(entry, text, Moment::ProcessedAgain);
            }
            _ => {}
        }
    }
    if between == Between::Unknown && !paused.is_empty() {
        between = Between::Pause;
    }
    let senders = senders(entries);
    let records: Vec<Record> =
        places.iter().filter_map(|place| senders.get(&(partition, place.offset)).cloned()).collect();
    let begun = begun.unwrap_or(committed);
    Story {
        kind: Kind::ProcessedTwice,
        partition: partition.clone(),
        subject: format!("{}  value={}  group {group}", stretch(partition, first.offset, last.offset), first.value),
        records,
        lines: scene.between(begin, again),
        therefore: therefore(
            entries,
            plan,
            (worker, successor),
            between,
            (begun, places.len(), paused.contains(&successor)),
        ),
        untold: 0,
    }
}

fn therefore(
    entries: &[Entry],
    plan: &GroupPlan,
    (worker, successor): (&Arc<str>, &Arc<str>),
    between: Between,
    (begun, records, held): (Offset, usize, bool),
) -> Vec<Sentence> {
    let why = match between {
        Between::Death => format!("{worker} died between its work and the commit of it"),
        Between::Pause => "one of them stood still and was put out of the group with records in its hands; fencing \
                           stops its commits, not its work"
            .into(),
        Between::Rebalance => format!("{worker} gave the partition up without a commit of what it had done"),
        Between::Lost => format!("{worker} had lost the partition before the commit of what it had done was taken"),
        Between::Both => format!("{worker} and {successor} both took the partition for their own"),
        Between::Expiry => "the committed offset was deleted".into(),
        Between::Forgotten(committed) => {
            format!("the group had committed {committed}, and its coordinator had lost that")
        }
        Between::Outdated(committed) => {
            format!("the group had committed {committed}, and the coordinator that came next did not know that")
        }
        Between::OutOfRange => "the log had become shorter than where the group stood".into(),
        Between::Outsider => {
            "one of them reads the partition without being a member: the group shares partitions among \
                              its members, and nobody else knows of that"
                .into()
        }
        Between::Unknown => "the commit did not come before the successor".into(),
    };
    let records = count(records, "record");
    let rule = match between {
        Between::Expiry | Between::Forgotten(_) | Between::OutOfRange => "auto.offset.reset decided where",
        Between::Outdated(_) => "a commit that the coordinator does not know has not been",
        _ => "what is not committed is done again",
    };
    let shared = matches!(between, Between::Outsider | Between::Both);
    let mut therefore = vec![Sentence::plain(match held {
        _ if shared => format!("{why}. {worker} had done {records} of these when {successor} came to them."),
        true => format!(
            "{why}. {successor} had {records} of these in its hands all the time; {worker} got the partition and worked \
             on them, and then {successor} went on where it stood."
        ),
        false => {
            format!("{why}. {successor} began at {begun}, and {records} from there on had been done already: {rule}.")
        }
    })];
    match between {
        Between::Outsider => {
            let outsider = if plan.workers.get(worker).is_some_and(|plan| &*plan.application == "assign") {
                worker
            } else {
                successor
            };
            therefore.push(Sentence::about(
                &[client_set(outsider, "consume.group", "another-group")],
                Effect::Helps,
                format!("With a group of its own {outsider} would be another application, with work of its own."),
            ));
            return therefore;
        }
        Between::Expiry => {
            therefore.push(with_default_retention());
            return therefore;
        }
        Between::Forgotten(_) => {
            therefore.extend(with_three_copies(entries));
            return therefore;
        }
        Between::Outdated(_) => {
            therefore.extend(without_unclean_elections(entries));
            return therefore;
        }
        Between::OutOfRange | Between::Both => return therefore,
        Between::Rebalance => {
            therefore.extend(with_application(
                plan,
                "commit-on-revocation",
                Effect::Helps,
                "With a commit in the callback, before the partition is given up (application commit-on-revocation), \
                 nothing would have been done again.",
            ));
            let is_eager = plan.workers.values().all(|worker| !worker.modern && !worker.cooperative);
            if is_eager && worker == successor {
                therefore.push(Sentence::about(
                    &all_set(&plan.members, "partition.assignment.strategy", "cooperative-sticky"),
                    Effect::Helps,
                    format!("With cooperative-sticky {worker} would have kept the partition, and gone on where it stood."),
                ));
            }
        }
        Between::Death => therefore.extend(with_application(
            plan,
            "commit-per-record",
            Effect::DoesNotHelp,
            "A commit after each record (application commit-per-record) would NOT have helped: between the work and its \
             commit there is always a moment.",
        )),
        Between::Pause | Between::Lost | Between::Unknown => {}
    }
    therefore.extend(with_application(
        plan,
        "at-most-once",
        Effect::Helps,
        "With the commit before the work (application at-most-once) nothing is done twice, and a crash skips what it had \
         in its hands.",
    ));
    therefore
}
