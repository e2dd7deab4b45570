//! A commit that a client failed by itself: what it was for, why nothing was sent, and what became of it.

use std::sync::Arc;

use super::{Scene, with_newer_behaviour};
use crate::{
    base::{Offset, TopicPartition},
    check::{
        GroupPlan, Plan,
        story::{Kind, Moment, Sentence, Story},
    },
    trace::{Event, EventId, journal::Entry},
};

/// A commit that was not sent, of one partition among others.
#[derive(Clone, Copy)]
struct Unsent<'a> {
    event: EventId,
    group: &'a Arc<str>,
    client: &'a Arc<str>,
    member: &'a Arc<str>,
    partition: &'a TopicPartition,
    offset: Offset,
    error: &'a Arc<str>,
}

/// What came of the commit, as far as that is told.
#[derive(Clone, Copy)]
enum Then<'a> {
    Nothing,
    /// The client committed it later, and that stands.
    Committed,
    /// It no longer has the partition.
    Gone,
    /// Somebody else has it.
    Taken(&'a Arc<str>),
    Ended,
}

/// The first of each client with each error.
pub(super) fn stories(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let mut first: Vec<Unsent<'_>> = Vec::new();
    for entry in entries {
        let Event::CommitNotSent { group, member, offsets, error } = &entry.event else { continue };
        let Some((partition, offset)) = offsets.first() else { continue };
        let (event, client, offset) = (entry.id, &entry.node, *offset);
        if !first.iter().any(|known| (known.group, known.client, known.error) == (group, client, error)) {
            first.push(Unsent { event, group, client, member, partition, offset, error });
        }
    }
    first.iter().filter_map(|unsent| Some(story(entries, plan, plan.groups.get(unsent.group)?, unsent))).collect()
}

fn story(entries: &[Entry], plan: &Plan, of_group: &GroupPlan, unsent: &Unsent<'_>) -> Story {
    let Unsent { event, group, client, partition, offset, error, .. } = *unsent;
    let mut scene = Scene::new(group, partition, of_group);
    // From where its membership last changed, or it stood still.
    let (mut begin, mut end) = (event, event);
    let (mut then, mut overdue, mut asked) = (Then::Nothing, false, None);
    for entry in entries {
        scene.observe(entry);
        let (is_client, before) = (entry.node == *client, entry.id < event);
        match &entry.event {
            Event::PartitionsAssigned { group: g, partitions, .. }
                if g == group && is_client && before && partitions.contains(partition) =>
            {
                (begin, overdue) = (entry.id, false);
            }
            Event::RebalanceBegan { group: g, .. } if g == group && before => begin = entry.id,
            Event::NodePaused if is_client && before => begin = entry.id,
            Event::PollOverdue { group: g, .. } if g == group && is_client && before => {
                (begin, overdue) = (entry.id, true);
            }
            Event::CommitNotSent { .. } if entry.id == event => {
                let text = format!("was to commit {offset} of {partition}, and sends nothing: {error}");
                scene.say_moment(entry, text, Moment::Refused);
            }
            _ if before => {}
            Event::CommitSent { offsets, .. } if is_client => {
                let covers = offsets.iter().find(|(one, to)| one == partition && *to >= offset);
                if let Some((_, to)) = covers {
                    asked = Some(entry.id);
                    scene.say(entry, format!("asks for {to} of {partition} to be committed"));
                }
            }
            Event::CommitAnswered { sent, error, .. } if asked == Some(*sent) && **error == *"NONE" => {
                (then, end) = (Then::Committed, entry.id);
                scene.say(entry, "is told that its commit stands");
                break;
            }
            Event::PartitionsRevoked { group: g, partitions, .. }
            | Event::PartitionsLost { group: g, partitions, .. }
                if g == group && is_client && partitions.contains(partition) =>
            {
                (then, end) = (Then::Gone, entry.id);
            }
            Event::NodeStopped { .. } if is_client => {
                (then, end) = (Then::Ended, entry.id);
                break;
            }
            Event::PartitionsAssigned { group: g, partitions, .. } if g == group && partitions.contains(partition) => {
                if !is_client {
                    then = Then::Taken(&entry.node);
                }
                end = entry.id;
                break;
            }
            _ => {}
        }
    }
    let mut therefore = vec![Sentence::plain(format!("{}; {}.", why(unsent, overdue), what_then(unsent, then)))];
    therefore.extend(with_newer_behaviour(plan));
    Story {
        kind: Kind::CommitNotSent,
        partition: partition.clone(),
        subject: format!("{partition}  {client}  {error}  group {group}"),
        records: Vec::new(),
        lines: scene.between(begin, end),
        therefore,
        untold: 0,
    }
}

fn why(unsent: &Unsent<'_>, overdue: bool) -> String {
    let Unsent { client, member, error, .. } = unsent;
    match &***error {
        "REBALANCE_IN_PROGRESS" => format!(
            "{client} had asked to join the next generation and had not heard yet what it has in it: in between its \
             client sends no commit, and who polls on may try again"
        ),
        "UNKNOWN_MEMBER_ID" if overdue => format!(
            "{client} had not polled for longer than max.poll.interval.ms, so its own heartbeat thread had left the group: \
             a commit of who is no member could send back whoever has the partition now"
        ),
        "UNKNOWN_MEMBER_ID" => format!(
            "{client} knew that it was no member at that moment: its commit could send back whoever has the partition now"
        ),
        "REQUEST_TIMED_OUT" => format!("{client} waited for the coordinator of the group until its time was over"),
        error => format!("the commit of {client} (member `{member}`) did not leave it: {error}"),
    }
}

fn what_then(unsent: &Unsent<'_>, then: Then<'_>) -> String {
    let Unsent { client, partition, offset, .. } = unsent;
    let again = "what was done without a commit is done again by whoever goes on there";
    match then {
        Then::Nothing => format!("{client} did not try again"),
        Then::Committed => format!("later {client} committed it all the same, and nothing is done twice for that"),
        Then::Gone => format!("then {client} gave {partition} up, and {again}"),
        Then::Taken(other) => {
            format!("then {other} got {partition}: as far as {offset} was not committed before, {again}")
        }
        Then::Ended => format!("then {client} ended, and {again}"),
    }
}
