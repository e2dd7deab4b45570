//! What availability costs: a producer that is told no because the ISR is too small, and a partition that nobody leads
//! because nobody who may lead is alive.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Effect, Kind, Line, Moment, Sentence, Story,
    scene::{Scene, client_set},
    words,
};
use crate::{
    base::{NodeId, Time, TopicPartition},
    check::{Plan, invariants::Brokers, model::broker_id},
    trace::{Event, EventId, journal::Entry},
};

fn kind_of(error: &str) -> Option<Kind> {
    match error {
        "NOT_ENOUGH_REPLICAS" => Some(Kind::Refused),
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND" => Some(Kind::RefusedAfterAppend),
        _ => None,
    }
}

/// For each partition, the first time that a produce was refused in either way, up to the next one that was not.
pub(super) fn refusals(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let mut first: Vec<(&TopicPartition, Kind, EventId)> = Vec::new();
    for entry in entries {
        if let Event::ProduceAnswered { partition, error, .. } = &entry.event
            && let Some(kind) = kind_of(error)
            && !first.iter().any(|(known, of, _)| *known == partition && *of == kind)
        {
            first.push((partition, kind, entry.id));
        }
    }
    first.into_iter().map(|(partition, kind, event)| refusal(entries, plan, partition, kind, event)).collect()
}

fn refusal(entries: &[Entry], plan: &Plan, partition: &TopicPartition, kind: Kind, refused: EventId) -> Story {
    let mut scene = Scene::new(partition);
    let planned: usize = scene.setting(plan, "min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
    let mut min_isr = planned;
    let (mut begin, mut end, mut count) = (refused, refused, 0_usize);
    let mut isr_then: Vec<NodeId> = Vec::new();
    let mut leader = NodeId::NONE;
    let mut senders: Vec<&Arc<str>> = Vec::new();
    for entry in entries {
        let enough = scene.isr.len() >= min_isr;
        scene.observe(entry);
        if entry.id < refused && enough && scene.isr.len() < min_isr {
            begin = entry.id;
        }
        match &entry.event {
            Event::RecordSent { topic, acks: -1, .. }
                if *topic == partition.topic && !senders.contains(&&entry.node) =>
            {
                senders.push(&entry.node);
            }
            Event::ConfigChanged { topic, name, value }
                if *topic == partition.topic && **name == *"min.insync.replicas" && entry.id < refused =>
            {
                min_isr = value.as_ref().and_then(|value| value.parse().ok()).unwrap_or(planned);
            }
            Event::ProduceAnswered { partition: p, error, isr, acks, base_offset, end_offset, .. }
                if p == partition && entry.id >= refused =>
            {
                let again = kind_of(error) == Some(kind);
                count += usize::from(again);
                if entry.id == refused {
                    (isr_then, leader) = (isr.clone(), scene.leader);
                    let acks = words::acks(*acks);
                    let isr = Brokers(isr);
                    let text = match kind {
                        Kind::RefusedAfterAppend => format!(
                            "answered {error}: with {acks} it needs {min_isr} in-sync replicas and has {isr}; \
                             [{base_offset}, {end_offset}) stays in its log"
                        ),
                        _ => format!(
                            "answered {error} and appended nothing: with {acks} it needs {min_isr} in-sync replicas and \
                             has {isr}"
                        ),
                    };
                    scene.say_moment(entry, text, Moment::Refused);
                } else if **error == *"NONE" {
                    let (isr, times) =
                        (Brokers(isr), if count == 1 { "once".into() } else { format!("{count} times") });
                    scene.say(entry, format!("answered a produce again: the ISR is {isr}; it had refused {times}"));
                    end = entry.id;
                    break;
                }
            }
            Event::RecordFailed { error, .. } if entry.id > refused && senders.contains(&&entry.node) => {
                scene.say(entry, format!("gave a record up: {error}"));
                end = entry.id;
            }
            _ => {}
        }
    }
    let have = Brokers(&isr_then);
    let mut therefore = vec![Sentence::plain(match kind {
        Kind::RefusedAfterAppend => format!(
            "the promise needed {min_isr} of the ISR, and while it was waited for, the ISR became {have}. The answer \
             says \"not enough copies\", not \"not stored\": the record may be committed later, and a producer without \
             idempotence that sends it again writes it twice."
        ),
        _ => format!(
            "the promise needed {min_isr} of the ISR, and the ISR was {have}. The record is on nobody: b{leader} does \
             not promise what only {have} would have, for an election may choose another."
        ),
    })];
    // What an operator sets during the run cannot be set before it.
    if min_isr == planned && isr_then.len() < min_isr {
        let enough = isr_then.len().max(1);
        therefore.push(Sentence::about(
            &[scene.set("min.insync.replicas", &enough.to_string())],
            Effect::Helps,
            format!("With min.insync.replicas={enough} it would have been taken, and promised by {have} alone."),
        ));
        if let [sender] = senders.as_slice() {
            let mut set = vec![client_set(sender, "acks", "1")];
            if plan.producers.get(*sender).is_some_and(|producer| producer.idempotent) {
                set.push(client_set(sender, "enable.idempotence", "false"));
            }
            therefore.push(Sentence::about(
                &set,
                Effect::Helps,
                "With acks=1 it would have been taken: min.insync.replicas binds acks=all alone.",
            ));
        }
    }
    Story {
        kind,
        partition: partition.clone(),
        subject: format!("{partition}  min.insync.replicas={min_isr}"),
        records: Vec::new(),
        lines: folded(scene.between(begin, end)),
        therefore,
        untold: 0,
    }
}

/// The lines with neighbours that are alike told once, with their number.
fn folded(lines: Vec<Line>) -> Vec<Line> {
    let alike = |one: &Line, next: &Line| one.moment.is_none() && (&one.node, &one.text) == (&next.node, &next.text);
    let fold = |lines: &[Line]| {
        let (mut line, more, last) = (lines[0].clone(), lines.len() - 1, lines[lines.len() - 1].time);
        if more > 0 {
            line.text = format!("{} (and {more} more alike, to {last})", line.text);
        }
        line
    };
    lines.chunk_by(alike).map(fold).collect()
}

/// Every time that a partition had no leader.
pub(super) fn offline(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let mut open: BTreeMap<&TopicPartition, EventId> = BTreeMap::new();
    let mut spans: Vec<(&TopicPartition, EventId, Option<EventId>)> = Vec::new();
    for entry in entries {
        let Event::PartitionChanged { partition, leader, .. } = &entry.event else { continue };
        match (*leader == NodeId::NONE, open.get(partition)) {
            (true, None) => {
                open.insert(partition, entry.id);
            }
            (false, Some(begin)) => {
                spans.push((partition, *begin, Some(entry.id)));
                open.remove(partition);
            }
            _ => {}
        }
    }
    spans.extend(open.into_iter().map(|(partition, begin)| (partition, begin, None)));
    spans.into_iter().map(|(partition, begin, end)| outage(entries, plan, partition, begin, end)).collect()
}

fn outage(entries: &[Entry], plan: &Plan, partition: &TopicPartition, began: EventId, ended: Option<EventId>) -> Story {
    let mut scene = Scene::new(partition);
    let (mut begin, mut members, mut stopped) = (EventId(0), Vec::new(), Vec::new());
    let mut died: BTreeMap<NodeId, Time> = BTreeMap::new();
    let (mut dead, mut failures) = (None, Vec::new());
    let (mut from, mut to) = (None, None);
    for entry in entries {
        let (led, leader) = (scene.isr.clone(), scene.leader);
        scene.observe(entry);
        match (&entry.event, broker_id(&entry.node)) {
            (Event::NodeStopped { .. }, Some(node)) => died.extend([(node, entry.time)]),
            (Event::NodeStarted { .. }, Some(node)) => died.retain(|dead, _| *dead != node),
            (Event::RecordFailed { .. }, _) => failures.push(entry.time),
            _ => {}
        }
        if entry.id < began && scene.isr != led {
            begin = entry.id;
        }
        if entry.id == began {
            members = scene.isr.clone();
            stopped = scene.stopped.union(&scene.fenced).copied().collect();
            from = Some(entry.time);
            dead = died.get(&leader).map(|since| (leader, *since));
        }
        if Some(entry.id) == ended {
            to = Some(entry.time);
            break;
        }
    }
    let last = ended.or(entries.last().map(|entry| entry.id)).unwrap_or(began);
    let mut lines = scene.between(begin, last);
    for line in lines.iter_mut().filter(|line| line.event == began) {
        line.moment = Some(Moment::Offline);
    }
    let (isr, alive) = (Brokers(&members), others(&scene.replicas, &stopped));
    let seconds = match (from, to) {
        (Some(from), Some(to)) => format!("for {:.3} s", to.since(from).as_secs_f64()),
        _ => "to the end".to_owned(),
    };
    // The controller learns of a death when the session ends; producers feel it at once.
    let before = match (dead, from) {
        (Some((leader, since)), Some(from)) => {
            format!(", and its leader b{leader} had been dead for {:.3} s before", from.since(since).as_secs_f64())
        }
        _ => String::new(),
    };
    let unled = dead.map(|(_, since)| since).or(from);
    let cost = match failures.iter().filter(|failed| Some(**failed) >= unled).count() {
        0 => "no producer gave up".to_owned(),
        1 => "1 record was given up by its producer".to_owned(),
        failed => format!("{failed} records were given up by their producers"),
    };
    let mut therefore = vec![Sentence::plain(format!(
        "a leader has to come from the ISR, {isr}, for everybody else may lack what was promised; nobody of it was there. \
         The partition waited {seconds}{before}; {cost}."
    ))];
    let allowed = scene.setting(plan, "unclean.leader.election.enable") == Some("true");
    if !allowed && alive.iter().any(|node| !members.contains(node)) {
        let alive = Brokers(&alive);
        therefore.push(Sentence::about(
            &[scene.set("unclean.leader.election.enable", "true")],
            Effect::Helps,
            format!("With unclean.leader.election.enable=true one of {alive} would have led, with whatever it had."),
        ));
    }
    if alive.is_empty() {
        let replicas = Brokers(&scene.replicas);
        therefore.push(Sentence::plain(format!("None of {replicas} lived: no setting would have given it a leader.")));
    }
    Story {
        kind: Kind::Offline,
        partition: partition.clone(),
        subject: format!("{partition}  {seconds}"),
        records: Vec::new(),
        lines,
        therefore,
        untold: 0,
    }
}

fn others(nodes: &[NodeId], without: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| !without.contains(node)).collect()
}
