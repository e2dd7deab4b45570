//! What was visible and is no more: a record that a consumer read and that was truncated afterwards, and a high
//! watermark that moved back. What a leader shows rests on the ISR as it is then; who is elected later need not have it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Effect, Kind, Line, Moment, Record, Sentence, Story,
    scene::{Elected, Scene},
    words,
};
use crate::{
    base::{NodeId, Offset, TopicPartition},
    check::{AUDIT_NODE, Plan, invariants::Brokers, model::broker_id},
    trace::{BatchInfo, Election, Event, EventId, Role, journal::Entry},
};

/// A record as somebody read it.
struct Read<'a> {
    event: EventId,
    partition: &'a TopicPartition,
    offset: Offset,
    value: &'a Arc<str>,
}

fn reads<'a>(entries: &'a [Entry], of_audit: bool) -> impl Iterator<Item = Read<'a>> {
    entries.iter().filter(move |entry| (&*entry.node == AUDIT_NODE) == of_audit).filter_map(|entry| {
        match &entry.event {
            Event::RecordRead { partition, offset, value, .. } => {
                Some(Read { event: entry.id, partition, offset: *offset, value })
            }
            _ => None,
        }
    })
}

/// Records that a consumer read and that are not there at the end, those together that went with the same event. What
/// went with its topic is no story.
pub(super) fn truncated_reads(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let stands: BTreeMap<(&TopicPartition, Offset), &Arc<str>> =
        reads(entries, true).map(|read| ((read.partition, read.offset), read.value)).collect();
    let mut ends: BTreeMap<&TopicPartition, Offset> = BTreeMap::new();
    for entry in entries {
        if let Event::AuditReachedEnd { partition, end_offset } = &entry.event {
            ends.insert(partition, *end_offset);
        }
    }
    let mut stories: Vec<(EventId, Story)> = Vec::new();
    let mut told: Vec<(&TopicPartition, Offset)> = Vec::new();
    for read in reads(entries, false) {
        let place = (read.partition, read.offset);
        if !ends.contains_key(read.partition) || stands.get(&place) == Some(&read.value) || told.contains(&place) {
            continue;
        }
        told.push(place);
        let Some(gone) = gone(entries, &read) else { continue };
        match stories.iter_mut().find(|(event, story)| *event == gone && story.partition == *read.partition) {
            Some((_, story)) => story.records.extend(sender(entries, read.value)),
            None => stories.push((gone, truncated_read(entries, plan, &read, gone))),
        }
    }
    stories.into_iter().map(|(_, story)| story).collect()
}

/// The last event that took a copy of what was read: a truncation, or a log that came back without it. `None` too where
/// the topic was deleted.
fn gone(entries: &[Entry], read: &Read<'_>) -> Option<EventId> {
    let takes = |entry: &&Entry| match &entry.event {
        Event::Truncated { partition, to, .. } => partition == read.partition && *to <= read.offset,
        Event::LogLoaded { partition, end_offset, .. } => partition == read.partition && *end_offset <= read.offset,
        _ => false,
    };
    let later = entries.iter().filter(|entry| entry.id > read.event);
    let until_audit = later.take_while(|entry| &*entry.node != AUDIT_NODE);
    let deletes = |event: &Event| matches!(event, Event::TopicDeleted { topic, .. } if *topic == read.partition.topic);
    if until_audit.clone().any(|entry| deletes(&entry.event)) {
        return None;
    }
    until_audit.filter(takes).last().map(|entry| entry.id)
}

fn sender(entries: &[Entry], value: &str) -> Option<Record> {
    entries.iter().find_map(|entry| match &entry.event {
        Event::RecordSent { record, value: sent, .. } if **sent == *value => {
            Some(Record { producer: entry.node.clone(), number: *record })
        }
        _ => None,
    })
}

fn truncated_read(entries: &[Entry], plan: &Plan, read: &Read<'_>, gone: EventId) -> Story {
    let partition = read.partition;
    let (mut scene, mut batch, mut begin) = (Scene::new(partition), None::<BatchInfo>, read.event);
    let mut shown: Option<(NodeId, Vec<NodeId>)> = None;
    let mut decisive: Option<Elected> = None;
    for entry in entries.iter().take_while(|entry| entry.id <= gone) {
        scene.observe(entry);
        let node = broker_id(&entry.node);
        match &entry.event {
            Event::RecordSent { value, acks, .. } if value == read.value => {
                begin = entry.id;
                scene.say(entry, format!("sent it with {}", words::acks(*acks)));
            }
            Event::Appended { partition: p, role, batches, end_offset, .. }
                if p == partition && entry.id < read.event =>
            {
                let held =
                    batches.iter().find(|batch| batch.base_offset <= read.offset && read.offset < batch.end_offset);
                if let Some(held) = held {
                    batch = Some(held.clone());
                    let what = if *role == Role::Leader { "appended it as leader" } else { "copied it" };
                    scene.say(entry, format!("{what}; LEO {end_offset}"));
                }
            }
            Event::HighWatermark { partition: p, role: Role::Leader, high_watermark, .. }
                if p == partition && shown.is_none() && batch.is_some() && *high_watermark > read.offset =>
            {
                let isr = scene.isr.clone();
                scene.say(entry, format!("high watermark {high_watermark}: the ISR {} has it", Brokers(&isr)));
                shown = node.map(|node| (node, isr));
            }
            Event::RecordRead { .. } if entry.id == read.event => {
                scene.say_moment(entry, format!("read it at offset {}", read.offset), Moment::Shown);
            }
            Event::PositionSet { partition: p, offset, why } if p == partition && entry.id > read.event => {
                scene.say(entry, format!("position set to {offset}: {why}"));
            }
            Event::PartitionChanged { partition: p, .. } if p == partition && entry.id > read.event => {
                let elected = scene.election.as_ref().filter(|elected| elected.event == entry.id);
                let lacks = elected.filter(|e| scene.ends.get(&e.leader).is_none_or(|end| *end <= read.offset));
                if let (Some(elected), None) = (lacks, &decisive) {
                    decisive = Some(elected.clone());
                }
            }
            _ => {}
        }
    }
    let mut lines = scene.between(begin, gone);
    for line in &mut lines {
        if decisive.as_ref().is_some_and(|elected| elected.event == line.event) {
            line.moment = Some(Moment::Decisive);
        } else if line.event == gone {
            line.moment = Some(Moment::LastCopyGone);
        }
    }
    Story {
        kind: Kind::ReadThenTruncated,
        partition: partition.clone(),
        subject: format!("{partition}@{}  value={}", read.offset, read.value),
        records: sender(entries, read.value).into_iter().collect(),
        lines,
        therefore: conclusion(plan, &scene, shown.as_ref(), decisive.as_ref(), "showed it"),
        untold: 0,
    }
}

/// Who was needed to show it, and who could be elected.
fn conclusion(
    plan: &Plan,
    scene: &Scene<'_>,
    shown: Option<&(NodeId, Vec<NodeId>)>,
    decisive: Option<&Elected>,
    what: &str,
) -> Vec<Sentence> {
    let Some((leader, isr)) = shown else { return Vec::new() };
    let isr_text = Brokers(isr);
    let elected = decisive.map(|elected| elected.leader);
    // It had been there, and forgot.
    let forgot = elected.is_some_and(|node| isr.contains(&node));
    let by_disk =
        elected.map_or(Some(*leader), |node| forgot.then_some(node)).and_then(|node| scene.by_disk.get(&node));
    let in_power = decisive.is_none() || elected.is_some_and(|node| forgot && scene.lost_power.contains(&node));
    let by_power = by_disk.is_none() && in_power;
    let kept = by_disk.is_none() && !by_power;
    let by_cut = elected.is_some_and(|node| forgot && kept && scene.cut_to_high_watermark.contains(&node));
    let first = match decisive {
        Some(elected) => format!(
            "b{leader} {what} because the ISR, {isr_text}, had it; the election accepted {} and took b{}, which {}. A high \
             watermark promises as much as the ISR behind it.",
            words::any_of(&elected.electable),
            elected.leader,
            match (by_disk, by_power, by_cut) {
                (Some(did), ..) => format!("had {did}"),
                (_, true, _) => "had lost it with its power".to_owned(),
                (_, _, true) => "had cut it off when it followed another leader".to_owned(),
                _ => "had not".to_owned(),
            }
        ),
        None if let Some(did) = by_disk => {
            format!("b{leader} {what} because the ISR, {isr_text}, had it; when it came back it had {did}.")
        }
        None => format!(
            "b{leader} {what} because the ISR, {isr_text}, had it in memory; what was not on disk went with the power."
        ),
    };
    let mut sentences = vec![Sentence::plain(first)];
    let is_unclean = decisive.is_some_and(|elected| elected.election == Election::Unclean);
    if is_unclean {
        sentences.push(Sentence::about(
            &[scene.set("unclean.leader.election.enable", "false")],
            Effect::Helps,
            "It would not have happened with unclean.leader.election.enable=false: nobody leads until a member of that \
             ISR is back.",
        ));
    }
    let min_isr = scene.setting(plan, "min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
    if isr.len() == 1 && min_isr < 2 && scene.replicas.len() > 1 {
        sentences.push(Sentence::about(
            &[scene.set("min.insync.replicas", "2")],
            Effect::Helps,
            "It would not have happened with min.insync.replicas=2: what fewer than two replicas have is not shown \
             (since Kafka 3.7, KIP-966).",
        ));
    }
    if by_cut {
        sentences.push(Sentence::about(
            &["switch.truncate=leader-epoch".into()],
            Effect::Helps,
            "It would not have happened with Kafka 0.11 or newer (switch truncate = \"leader-epoch\", KIP-101).",
        ));
    }
    if by_power {
        sentences.push(Sentence::about(
            &[scene.set("flush.messages", "1")],
            Effect::Helps,
            "It would not have happened with flush.messages=1: it is on disk before it counts.",
        ));
    }
    sentences
}

/// The life of a record that a log once had at `offset`, whatever its producer was told; `None`: no log ever had one.
pub fn unpromised(entries: &[Entry], partition: &TopicPartition, offset: Offset) -> Option<Vec<Line>> {
    let covers = |batch: &BatchInfo| batch.base_offset <= offset && offset < batch.end_offset;
    let value = entries.iter().find_map(|entry| match &entry.event {
        Event::RecordRead { partition: p, offset: o, value, .. } if p == partition && *o == offset => Some(value),
        _ => None,
    });
    let mut scene = Scene::new(partition);
    let (mut begin, mut end) = (None, None);
    for entry in entries {
        scene.observe(entry);
        match &entry.event {
            Event::RecordSent { value: sent, acks, .. } if Some(sent) == value => {
                begin = begin.or(Some(entry.id));
                scene.say(entry, format!("sent {sent} with {}", words::acks(*acks)));
            }
            Event::Appended { partition: p, role, leader_epoch, batches, .. }
                if p == partition && batches.iter().any(covers) =>
            {
                let text = match role {
                    Role::Leader => format!("appended a record at offset {offset} as leader of epoch {leader_epoch}"),
                    Role::Follower => "copied it".to_owned(),
                };
                scene.say(entry, text);
                (begin, end) = (begin.or(Some(entry.id)), Some(entry.id));
            }
            Event::ProduceAnswered { partition: p, error, base_offset, end_offset, .. }
                if p == partition && *base_offset <= offset && offset < *end_offset =>
            {
                scene.say(entry, format!("answered: {error}"));
            }
            Event::RecordAcked { record, offset: o, partition: p } if p == partition && Some(entry.id) > begin => {
                let same = value.is_some_and(|value| {
                    sender(entries, value) == Some(Record { producer: entry.node.clone(), number: *record })
                });
                if same {
                    scene.say(entry, format!("was told that it stands at {p}@{o}"));
                    end = Some(entry.id);
                }
            }
            Event::RecordRead { partition: p, offset: o, value, .. } if p == partition && *o == offset => {
                scene.say(entry, format!("read {value} there"));
                end = Some(entry.id);
            }
            Event::Truncated { partition: p, to, .. } if p == partition && *to <= offset => end = Some(entry.id),
            _ => {}
        }
    }
    Some(scene.between(begin?, end?))
}

/// A leader that begins below what an earlier leader had shown as committed, and lacks it.
pub(super) fn moved_back(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let mut partitions: Vec<&TopicPartition> = Vec::new();
    for entry in entries {
        if let Event::BecameLeader { partition, .. } = &entry.event
            && !partitions.contains(&partition)
        {
            partitions.push(partition);
        }
    }
    partitions.into_iter().filter_map(|partition| moved_back_in(entries, plan, partition)).collect()
}

fn moved_back_in(entries: &[Entry], plan: &Plan, partition: &TopicPartition) -> Option<Story> {
    let mut scene = Scene::new(partition);
    let mut found = None;
    let mut begin = None;
    let mut furthest: BTreeMap<&Arc<str>, Offset> = BTreeMap::new();
    for entry in entries {
        let highest = scene.highest.clone();
        scene.observe(entry);
        match &entry.event {
            // Only the step that raised it highest is told: `between` begins with it.
            Event::HighWatermark { partition: p, role: Role::Leader, high_watermark, .. }
                if p == partition
                    && found.is_none()
                    && highest.as_ref().is_none_or(|(highest, ..)| high_watermark > highest) =>
            {
                begin = Some(entry.id);
                let isr = scene.isr.clone();
                scene.say(entry, format!("high watermark {high_watermark}: the ISR {} has it", Brokers(&isr)));
            }
            Event::TopicDeleted { topic, .. } if *topic == partition.topic => furthest.clear(),
            Event::RecordRead { partition: p, offset, .. } if p == partition && found.is_none() => {
                furthest.insert(&entry.node, *offset);
            }
            Event::BecameLeader { partition: p, high_watermark, leader_epoch, .. }
                if p == partition && found.is_none() =>
            {
                let (Some(node), Some((before, leader, isr))) = (broker_id(&entry.node), highest) else { continue };
                let end = scene.ends.get(&node).copied().unwrap_or(Offset::ZERO);
                if *high_watermark < before && end < before {
                    let readers: Vec<String> = furthest
                        .iter()
                        .filter(|(node, offset)| ****node != *AUDIT_NODE && **offset >= end)
                        .map(|(node, offset)| format!("{node} has read up to {offset}"))
                        .collect();
                    let readers = if readers.is_empty() { String::new() } else { format!("; {}", readers.join(", ")) };
                    let text = format!(
                        "leads epoch {leader_epoch} with high watermark {high_watermark}, and its log ends at {end}: \
                         [{end}, {before}) had been committed{readers}"
                    );
                    scene.say_moment(entry, text, Moment::MovedBack);
                    found = Some((entry.id, before, end, (leader, isr), scene.election.clone()));
                }
            }
            Event::PositionSet { partition: p, offset, why }
                if p == partition && found.is_some() && **why != *"start" =>
            {
                scene.say(entry, format!("position set to {offset}: {why}"));
                if let Some(found) = &mut found {
                    found.0 = entry.id;
                }
            }
            _ => {}
        }
    }
    let (last, before, after, shown, decisive) = found?;
    let lines = scene.between(begin?, last);
    Some(Story {
        kind: Kind::HighWatermarkMovedBack,
        partition: partition.clone(),
        subject: format!("{partition}  from {before} to {after}"),
        records: Vec::new(),
        lines,
        therefore: conclusion(plan, &scene, Some(&shown), decisive.as_ref(), &format!("had moved it to {before}")),
        untold: 0,
    })
}
