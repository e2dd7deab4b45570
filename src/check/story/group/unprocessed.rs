//! Records that nobody worked on: the group goes on behind them, because it has committed beyond, or has begun at the end.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Place, Scene, all_set, audited, count, senders, stretch, with_application, with_default_retention,
    with_newer_behaviour, with_three_copies,
};
use crate::{
    base::{Offset, TopicPartition},
    check::{
        GroupPlan, Plan,
        story::{Effect, Kind, Moment, Sentence, Story},
    },
    trace::{Event, EventId, journal::Entry},
};

/// A story for each stretch of neighbours that were passed over, from where the group began.
pub(super) fn stories(entries: &[Entry], plan: &Plan, group: &Arc<str>, of_group: &GroupPlan) -> Vec<Story> {
    let mut stories = Vec::new();
    for partition in &of_group.partitions {
        for missed in missed(entries, group, of_group, partition) {
            let mut story = story(entries, group, of_group, partition, &missed);
            story.therefore.extend(with_newer_behaviour(plan));
            stories.push(story);
        }
    }
    stories
}

/// The stretches of records that no member worked on.
fn missed<'a>(
    entries: &'a [Entry],
    group: &Arc<str>,
    plan: &GroupPlan,
    partition: &TopicPartition,
) -> Vec<Vec<Place<'a>>> {
    let begin = entries.iter().find_map(|entry| match &entry.event {
        Event::PositionSet { partition: p, offset, .. } if p == partition && plan.members.contains(&entry.node) => {
            Some(*offset)
        }
        _ => None,
    });
    let Some(begin) = begin else { return Vec::new() };
    let done: BTreeSet<Place<'_>> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::RecordProcessed { group: g, partition: p, offset, value } if g == group && p == partition => {
                Some(Place { offset: *offset, value })
            }
            _ => None,
        })
        .collect();
    let mut stretches: Vec<Vec<Place<'a>>> = Vec::new();
    for place in audited(entries, partition) {
        if place.offset < begin || done.contains(&place) {
            continue;
        }
        match stretches.last_mut() {
            Some(stretch) if stretch.last().is_some_and(|last| last.offset.next() == place.offset) => {
                stretch.push(place);
            }
            _ => stretches.push(vec![place]),
        }
    }
    stretches
}

/// How the group came to pass the first of the records.
#[derive(Default)]
struct Passed<'a> {
    /// Who had it in its hands last, and since when.
    held: Option<(&'a Arc<str>, EventId)>,
    /// The first commit that covers it: its event, and up to where.
    commit: Option<(EventId, Offset)>,
    /// Somebody went on behind it, from where, and whether by a committed offset.
    skip: Option<(EventId, &'a Arc<str>, Offset, bool)>,
    /// The last thing that happened to a member before that.
    before: Option<EventId>,
    expired: bool,
    /// The topic was deleted, and made again.
    deleted: Option<EventId>,
    /// Who has the partition at the end.
    owner: Option<&'a Arc<str>>,
}

impl Passed<'_> {
    /// When the topic was deleted, if what was committed is a place in the log that went with it: nobody had the records
    /// of this one in its hands.
    fn deleted_before_commit(&self) -> Option<EventId> {
        let (commit, _) = self.commit?;
        self.deleted.filter(|_| self.held.is_none_or(|(_, held)| commit < held))
    }
}

fn passed<'a>(
    entries: &'a [Entry],
    group: &Arc<str>,
    plan: &GroupPlan,
    partition: &TopicPartition,
    first: Place<'_>,
) -> Passed<'a> {
    let mut passed = Passed::default();
    for entry in entries {
        let is_member = plan.members.contains(&entry.node);
        match &entry.event {
            Event::RecordRead { partition: p, offset, .. }
                if is_member && p == partition && *offset == first.offset =>
            {
                passed.held = Some((&entry.node, entry.id));
                passed.skip = None;
            }
            // What was passed over before is no part of this commit.
            Event::CommitSent { group: g, offsets, .. }
                if g == group && passed.commit.is_none() && passed.skip.is_none() =>
            {
                let covers = offsets.iter().find(|(p, offset)| p == partition && *offset > first.offset);
                passed.commit = covers.map(|(_, offset)| (entry.id, *offset));
            }
            Event::OffsetsExpiring { group: g, partitions } | Event::OffsetsExpired { group: g, partitions }
                if g == group && partitions.contains(partition) =>
            {
                (passed.expired, passed.before) = (true, Some(entry.id));
            }
            // What was held and committed before was another record, of another log.
            Event::TopicDeleted { topic, .. } if *topic == partition.topic => {
                passed = Passed { deleted: Some(entry.id), ..Passed::default() };
            }
            Event::PartitionsAssigned { group: g, partitions, .. } if g == group && partitions.contains(partition) => {
                passed.owner = Some(&entry.node);
            }
            Event::PartitionsRevoked { group: g, partitions, .. }
            | Event::PartitionsLost { group: g, partitions, .. }
                if g == group && passed.owner == Some(&entry.node) && partitions.contains(partition) =>
            {
                passed.owner = None;
            }
            Event::NodeStopped { .. } if is_member => {
                passed.owner = passed.owner.filter(|owner| **owner != entry.node);
                if passed.skip.is_none() {
                    passed.before = Some(entry.id);
                }
            }
            Event::PositionSet { partition: p, offset, why }
                if is_member && p == partition && *offset > first.offset && passed.skip.is_none() =>
            {
                passed.skip = Some((entry.id, &entry.node, *offset, **why == *"committed"));
            }
            _ => {}
        }
    }
    passed
}

fn story(
    entries: &[Entry],
    group: &Arc<str>,
    plan: &GroupPlan,
    partition: &TopicPartition,
    missed: &[Place<'_>],
) -> Story {
    let (first, last) = (missed[0], missed[missed.len() - 1]);
    let passed = passed(entries, group, plan, partition, first);
    let records = count(missed.len(), "record");
    let mut scene = Scene::new(group, partition, plan);
    let mut worked = 0_usize;
    for entry in entries {
        scene.observe(entry);
        match &entry.event {
            Event::RecordRead { .. } if passed.held.is_some_and(|(_, event)| event == entry.id) => {
                scene.say(entry, format!("gets {}", first.offset));
            }
            Event::RecordProcessed { group: g, partition: p, .. }
                if g == group && p == partition && passed.commit.is_none_or(|(commit, _)| entry.id < commit) =>
            {
                worked += 1;
            }
            Event::CommitSent { .. } => {
                if let Some((_, up_to)) = passed.commit.filter(|(commit, _)| *commit == entry.id) {
                    let text = match passed.deleted_before_commit() {
                        Some(_) => format!("commits {up_to}, to where it has come in the log that is gone"),
                        None => format!("commits {up_to}, with {} worked through", count(worked, "record")),
                    };
                    scene.say_moment(entry, text, Moment::Committed);
                }
            }
            _ => {}
        }
        // What it had in its hands is in nobody's from here on.
        let dies = matches!(entry.event, Event::NodeStopped { .. })
            && passed.held.is_some_and(|(holder, held)| *holder == entry.node && held < entry.id)
            && passed.skip.is_some_and(|(skip, ..)| entry.id < skip);
        if let Some(line) = scene.lines.last_mut().filter(|_| dies && passed.commit.is_some()) {
            line.moment = Some(Moment::Decisive);
        }
        if let Some(line) = scene.lines.last_mut()
            && passed.skip.is_some_and(|(skip, ..)| skip == line.event)
        {
            line.moment = Some(Moment::Skipped);
        }
    }
    let held = passed.held.map(|(_, event)| event);
    let commit = passed.commit.map(|(event, _)| event);
    let skip = passed.skip.map(|(event, ..)| event);
    let begin = [held, commit, passed.deleted_before_commit()].into_iter().flatten().min();
    let begin = begin.or(passed.before).or(skip).unwrap_or(EventId(0));
    let end = skip.or(entries.last().map(|entry| entry.id)).unwrap_or(begin);
    Story {
        kind: Kind::Unprocessed,
        partition: partition.clone(),
        subject: format!("{}  value={}  group {group}", stretch(partition, first.offset, last.offset), first.value),
        records: records_of(entries, partition, missed),
        lines: scene.between(begin, end),
        therefore: therefore(entries, plan, &passed, &records),
        untold: 0,
    }
}

fn records_of(entries: &[Entry], partition: &TopicPartition, places: &[Place<'_>]) -> Vec<crate::check::story::Record> {
    let senders = senders(entries);
    places.iter().filter_map(|place| senders.get(&(partition, place.offset)).cloned()).collect()
}

fn therefore(entries: &[Entry], plan: &GroupPlan, passed: &Passed<'_>, records: &str) -> Vec<Sentence> {
    match (&passed.skip, passed.commit) {
        (Some((_, node, from, true)), Some((_, up_to))) if passed.deleted_before_commit().is_some() => {
            of_another_log(plan, node, *from, up_to, records)
        }
        (Some((_, node, from, true)), Some((_, up_to))) => {
            let holder = passed.held.map_or(*node, |(holder, _)| holder);
            let mut therefore = vec![Sentence::plain(format!(
                "{holder} had committed {up_to} before its work for {records} below was done. A commit says where to go \
                 on, not what is done: {node} went on at {from}, and nobody goes back."
            ))];
            therefore.extend(other_applications(plan, holder));
            therefore
        }
        (Some((_, node, from, _)), _) => {
            let mut therefore = vec![Sentence::plain(format!(
                "the group had no committed offset any more, so auto.offset.reset of {node} decided, and that was \
                 {}: it began at {from}, behind {records}.",
                plan.workers.get(*node).map_or("latest", |worker| &*worker.reset)
            ))];
            therefore.extend(other_begins(entries, plan, passed));
            therefore
        }
        (None, Some((_, up_to))) => vec![Sentence::plain(format!(
            "{up_to} was committed before the work for {records} below was done, and who had them in its hands did not \
             come to it."
        ))],
        (None, None) => {
            let why = match passed.owner {
                None => "nobody had the partition at the end".to_owned(),
                Some(owner) => format!("{owner} had the partition at the end, and was not done"),
            };
            vec![Sentence::plain(format!("to the end of the run no member came to {records}: {why}."))]
        }
    }
}

/// A commit for the topic that was there before was taken for the one that has its name now.
fn of_another_log(plan: &GroupPlan, node: &Arc<str>, from: Offset, up_to: Offset, records: &str) -> Vec<Sentence> {
    let is_modern = plan.workers.get(node).is_some_and(|worker| worker.modern);
    let taken = match is_modern {
        false => "the commit has the topic's name, and there was a topic of that name",
        true => "the commit was tried again until it had the id of the new topic",
    };
    let mut sentences = vec![Sentence::plain(format!(
        "{up_to} is a place in the log of the topic that was deleted; {taken}. An offset says nothing of which log it is \
         of: {node} went on at {from}, and {records} of the new one were passed over."
    ))];
    if !is_modern {
        sentences.push(Sentence::about(
            &all_set(&plan.members, "group.protocol", "consumer"),
            Effect::Helps,
            "With group.protocol=consumer a commit has the topic's id (OffsetCommit 10): that of the topic that is gone is \
             refused with UNKNOWN_TOPIC_ID.",
        ));
    }
    sentences
}

/// When else one may commit.
fn other_applications(plan: &GroupPlan, holder: &Arc<str>) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    sentences.extend(with_application(
        plan,
        "at-least-once",
        Effect::Helps,
        "With a commit after the work (application at-least-once) somebody would have worked on them, and after a crash \
         perhaps twice.",
    ));
    match plan.workers.get(holder).map(|worker| &*worker.application) {
        Some("hand-off") => {
            sentences.extend(with_application(
                plan,
                "auto-commit",
                Effect::Helps,
                "With the work between two polls (application auto-commit) the consumer would have committed by itself \
                 what is done: at a poll it commits what the poll before has returned.",
            ));
            sentences.push(Sentence::about(
                &all_set(&plan.members, "auto.commit.interval.ms", "100"),
                Effect::DoesNotHelp,
                "Committing more often (auto.commit.interval.ms=100) would NOT have helped: it is the order that counts.",
            ));
        }
        Some("at-most-once") => sentences.push(Sentence::about(
            &all_set(&plan.members, "max.poll.records", "1"),
            Effect::DoesNotHelp,
            "Smaller polls (max.poll.records=1) would NOT have helped: they make it fewer, not none.",
        )),
        _ => {}
    }
    sentences
}

/// Where else one may begin, and how the committed offset would have been kept.
fn other_begins(entries: &[Entry], plan: &GroupPlan, passed: &Passed<'_>) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    if plan.workers.values().any(|worker| &*worker.reset == "latest") {
        sentences.push(Sentence::about(
            &all_set(&plan.members, "auto.offset.reset", "earliest"),
            Effect::Helps,
            "With auto.offset.reset=earliest it would have begun at the first record, and worked once more on what was \
             done before.",
        ));
    }
    match passed.expired {
        true => sentences.push(with_default_retention()),
        false => sentences.extend(with_three_copies(entries)),
    }
    sentences
}
