//! What a retry does to a producer without idempotence, or one that is started again: a record that is in the log twice,
//! and records that overtook each other. Found in what clients were told, as the checkers of `no-duplicates` and
//! `order-kept` do.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Effect, Kind, Moment, Record, Sentence, Story,
    scene::{Scene, client_set},
    words,
};
use crate::{
    base::{NodeId, Offset, TopicPartition},
    check::{AUDIT_NODE, Plan, invariants::Brokers, model::broker_id},
    trace::{BatchInfo, Event, EventId, Role, journal::Entry},
};

/// A record given to a producer.
struct Sent<'a> {
    record: Record,
    topic: &'a Arc<str>,
    key: &'a Option<Arc<str>>,
    value: &'a Arc<str>,
    acks: i16,
    event: EventId,
}

fn sends(entries: &[Entry]) -> impl Iterator<Item = Sent<'_>> {
    entries.iter().filter_map(|entry| match &entry.event {
        Event::RecordSent { record, topic, key, value, acks, .. } => {
            let record = Record { producer: entry.node.clone(), number: *record };
            Some(Sent { record, topic, key, value, acks: *acks, event: entry.id })
        }
        _ => None,
    })
}

type Content<'a> = (&'a Arc<str>, &'a Option<Arc<str>>, &'a Arc<str>);

/// Where each content stands in the final log, as the audit read it.
fn places(entries: &[Entry]) -> BTreeMap<Content<'_>, Vec<(&TopicPartition, Offset)>> {
    let mut places: BTreeMap<Content<'_>, Vec<(&TopicPartition, Offset)>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| &*entry.node == AUDIT_NODE) {
        if let Event::RecordRead { partition, offset, key, value, .. } = &entry.event {
            let of_content = places.entry((&partition.topic, key, value)).or_default();
            if !of_content.contains(&(partition, *offset)) {
                of_content.push((partition, *offset));
            }
        }
    }
    places
}

fn is_idempotent(plan: &Plan, producer: &str) -> bool {
    plan.producers.get(producer).is_some_and(|producer| producer.idempotent)
}

/// What makes a producer idempotent.
fn idempotent_set(plan: &Plan, producer: &str) -> Vec<String> {
    let mut set = vec![client_set(producer, "enable.idempotence", "true"), client_set(producer, "acks", "all")];
    if plan.producers.get(producer).is_some_and(|plan| plan.max_in_flight > 5) {
        set.push(client_set(producer, "max.in.flight.requests.per.connection", "5"));
    }
    set
}

/// The event by which a leader gave the record at `offset` its final place, and the batch that it is in.
fn appended<'a>(
    entries: &'a [Entry],
    partition: &TopicPartition,
    offset: Offset,
) -> Option<(EventId, NodeId, &'a BatchInfo)> {
    entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Appended { partition: p, role: Role::Leader, batches, .. } if p == partition => {
            let holds = |batch: &&BatchInfo| batch.base_offset <= offset && offset < batch.end_offset;
            Some((entry.id, broker_id(&entry.node)?, batches.iter().find(holds)?))
        }
        _ => None,
    })
}

/// A record that is in the log more often than it was sent, or that another process of its producer has sent again: each
/// lot of neighbours with the same two leaders once.
pub(super) fn duplicates(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let places = places(entries);
    if places.values().all(|places| places.len() < 2) {
        return Vec::new();
    }
    let mut times: BTreeMap<Content<'_>, Vec<Sent<'_>>> = BTreeMap::new();
    sends(entries).for_each(|sent| times.entry((sent.topic, sent.key, sent.value)).or_default().push(sent));
    let again = |entry: &&Entry| matches!(entry.event, Event::NodeStarted { incarnation: 2.. });
    let restarts: Vec<&Entry> = entries.iter().filter(again).collect();
    let mut stories: Vec<((EventId, EventId), Story)> = Vec::new();
    for sent in sends(entries) {
        let content = (sent.topic, sent.key, sent.value);
        let Some([(partition, first), .., (_, last)]) = places.get(&content).map(Vec::as_slice) else { continue };
        let resent = by_another_process(&restarts, &times[&content]);
        if places[&content].len() <= times[&content].len() && resent.is_none() {
            continue;
        }
        let (Some(one), Some(two)) = (appended(entries, partition, *first), appended(entries, partition, *last)) else {
            continue;
        };
        if resent.is_some_and(|resent| resent.event == sent.event) {
            continue;
        }
        match stories.iter_mut().find(|(batches, _)| *batches == (one.0, two.0)) {
            Some((_, story)) => story.records.push(sent.record),
            None => {
                let places = [(*first, one), (*last, two)];
                stories.push(((one.0, two.0), duplicate(entries, plan, (&sent, resent), partition, places)));
            }
        }
    }
    stories.into_iter().map(|(_, story)| story).collect()
}

type Place<'a> = (Offset, (EventId, NodeId, &'a BatchInfo));

/// The send of a record by a process of its producer that began after it had been sent before.
fn by_another_process<'s, 'a>(restarts: &[&Entry], sends: &'s [Sent<'a>]) -> Option<&'s Sent<'a>> {
    let first = sends.first()?;
    let producer = &first.record.producer;
    let started = restarts.iter().find(|entry| entry.id > first.event && entry.node == *producer)?;
    sends.iter().find(|sent| sent.record.producer == *producer && sent.event > started.id)
}

fn duplicate(
    entries: &[Entry],
    plan: &Plan,
    (sent, resent): (&Sent<'_>, Option<&Sent<'_>>),
    partition: &TopicPartition,
    [(first, (one, first_leader, batch)), (last, (two, second_leader, _))]: [Place<'_>; 2],
) -> Story {
    let producer = &sent.record.producer;
    let is_it = |number: u64| number == sent.record.number || resent.is_some_and(|sent| number == sent.record.number);
    let mut scene = Scene::new(partition);
    let (mut isr_before, mut answer, mut end, mut copies) = (Vec::new(), "nobody answered it", two, vec![first_leader]);
    for entry in entries {
        scene.observe(entry);
        let node = broker_id(&entry.node);
        match &entry.event {
            Event::RecordSent { record, .. } if entry.node == *producer && is_it(*record) => {
                scene.say(entry, format!("sent it with {}", words::acks(sent.acks)));
            }
            Event::NodeStopped { how } if entry.node == *producer => scene.say(entry, words::stopped(*how)),
            Event::NodeStarted { .. } if entry.node == *producer => scene.say(entry, "started again"),
            Event::Appended { .. } if entry.id == one => {
                isr_before = scene.isr.clone();
                scene.say(entry, format!("appended it at offset {first} as leader of epoch {}", scene.leader_epoch));
            }
            Event::Appended { partition: p, batches, .. } if p == partition && entry.id < two => {
                if let Some(node) = node.filter(|node| batches.contains(batch) && !copies.contains(node)) {
                    copies.push(node);
                    scene.say(entry, format!("copied offset {first}"));
                }
            }
            Event::ProduceAnswered { partition: p, error, base_offset, end_offset, .. }
                if p == partition
                    && one < entry.id
                    && entry.id < two
                    && *base_offset <= first
                    && first < *end_offset =>
            {
                let what = if **error == *"NONE" { "stored".to_owned() } else { error.to_string() };
                scene.say(entry, format!("answered: {what}"));
                answer = match **error == *"NONE" {
                    true => "the answer did not reach it",
                    false => {
                        "the answer was an error that may be tried again, and that is not a no: the record was stored"
                    }
                };
            }
            Event::MessageLost { to, api, reason, .. }
                if one < entry.id && entry.id < two && to == producer && &**api == "Produce" =>
            {
                scene.say(entry, format!("its answer to {producer} never arrives: {reason}"));
                answer = "the answer did not reach it";
            }
            Event::Appended { .. } if entry.id == two => {
                let text = format!("appended it again at offset {last} as leader of epoch {}", scene.leader_epoch);
                scene.say_moment(entry, text, Moment::StoredAgain);
            }
            Event::RecordAcked { record, partition: p, offset } if entry.node == *producer && is_it(*record) => {
                scene.say(entry, format!("was told that it stands at {p}@{offset}"));
                end = end.max(entry.id);
            }
            _ => {}
        }
    }
    copies.sort();
    let who = if first_leader == second_leader {
        format!("b{second_leader} had it already")
    } else if copies.contains(&second_leader) {
        format!("the election accepted {}, and b{second_leader} had it already", words::any_of(&isr_before))
    } else {
        format!("b{second_leader} got it from the log later")
    };
    let value = sent.value;
    let story = |therefore: Vec<Sentence>, scene: &mut Scene<'_>| Story {
        kind: Kind::Duplicate,
        partition: partition.clone(),
        subject: format!("{partition}@{first} and @{last}  value={value}  {}", words::acks(sent.acks)),
        records: vec![sent.record.clone()],
        lines: scene.between(sent.event, end),
        therefore,
        untold: 0,
    };
    if resent.is_some() {
        let text = format!(
            "{producer} was started again, and its application sent again what it had been told nothing of. The first copy \
             stood on {}; {who}. A producer id and its sequence numbers end with their process: to the leader it is \
             another record, whatever the settings of the producer are.",
            Brokers(&copies)
        );
        // An idempotent producer is left one thing that people think of.
        let in_flight = "max.in.flight.requests.per.connection";
        let (set, setting) = match is_idempotent(plan, producer) {
            false => (idempotent_set(plan, producer), "enable.idempotence=true".to_owned()),
            true => (vec![client_set(producer, in_flight, "1")], format!("{in_flight}=1")),
        };
        let no = format!("{setting} would NOT have helped: no process knows what the one before it has sent.");
        let therefore = vec![Sentence::plain(text), Sentence::about(&set, Effect::DoesNotHelp, no)];
        return story(therefore, &mut scene);
    }
    let mut therefore = vec![Sentence::plain(format!(
        "{producer} sent it again, for {answer}. The first copy stood on {}; {who}. A batch without a producer id and a \
         sequence number looks new to whoever has it.",
        Brokers(&copies)
    ))];
    if !is_idempotent(plan, producer) {
        therefore.push(Sentence::about(
            &idempotent_set(plan, producer),
            Effect::Helps,
            "It would be there once with enable.idempotence=true (and acks=all, which that needs): the leader recognises \
             the sequence number, whoever leads (KIP-98).",
        ));
        if sent.acks != -1 {
            therefore.push(Sentence::about(
                &[client_set(producer, "acks", "all")],
                Effect::DoesNotHelp,
                "acks=all alone would NOT have helped: it says when to answer, not what to do with a second copy.",
            ));
        }
        therefore.push(Sentence::about(
            &[client_set(producer, "retries", "0")],
            Effect::Helps,
            "With retries=0 it would not be sent again, and the application would not know whether it is stored.",
        ));
    }
    story(therefore, &mut scene)
}

/// Records of one producer of which the one sent later stands first. Each run of neighbours that one record overtook is
/// one story.
pub(super) fn reorderings(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let mut acked: BTreeMap<(&Arc<str>, u64), (&TopicPartition, Offset)> = BTreeMap::new();
    for entry in entries {
        if let Event::RecordAcked { record, partition, offset } = &entry.event {
            acked.insert((&entry.node, *record), (partition, *offset));
        }
    }
    let neighbours = acked.iter().zip(acked.iter().skip(1)).filter(|((before, _), (after, _))| before.0 == after.0);
    let reversed = neighbours
        .filter(|((_, first), (_, second))| first.0 == second.0 && second.1 < first.1 && second.1 >= Offset::ZERO);
    let places = places(entries);
    let mut stories: Vec<Story> = Vec::new();
    for ((before, first), (after, second)) in reversed {
        let find = |id: &(&Arc<str>, u64)| {
            sends(entries).find(|sent| sent.record.producer == *id.0 && sent.record.number == id.1)
        };
        let (Some(before), Some(after)) = (find(before), find(after)) else { continue };
        let stands = |sent: &Sent<'_>, place: &(&TopicPartition, Offset)| {
            places.get(&(sent.topic, sent.key, sent.value)).is_some_and(|places| places.contains(place))
        };
        if stands(&before, first) && stands(&after, second) {
            stories.push(reordering(entries, plan, (&before, first.1), (&after, second.1), first.0));
        }
    }
    stories
}

fn reordering(
    entries: &[Entry],
    plan: &Plan,
    (before, before_at): (&Sent<'_>, Offset),
    (after, after_at): (&Sent<'_>, Offset),
    partition: &TopicPartition,
) -> Story {
    let producer = &before.record.producer;
    let mut scene = Scene::new(partition);
    let at = |offset: Offset| appended(entries, partition, offset).map(|(event, ..)| event);
    let (late, early) = (at(before_at), at(after_at));
    let mut end = after.event;
    let mut refused: Option<Arc<str>> = None;
    for entry in entries {
        scene.observe(entry);
        match &entry.event {
            Event::RecordSent { record, .. } if entry.node == *producer => {
                for sent in [before, after].iter().filter(|sent| sent.record.number == *record) {
                    scene.say(entry, format!("sent {} with {}", sent.value, words::acks(sent.acks)));
                }
            }
            Event::ProduceAnswered { partition: p, error, isr, .. }
                if p == partition
                    && **error != *"NONE"
                    && entry.id > before.event
                    && early.is_none_or(|e| entry.id < e) =>
            {
                // The first says it all.
                if refused.is_none() {
                    scene.say(entry, format!("refused a produce with {error}; the ISR is {}", Brokers(isr)));
                }
                refused = Some(error.clone());
            }
            Event::MessageLost { to, api, reason, .. }
                if entry.id > before.event
                    && late.is_none_or(|late| entry.id < late)
                    && &**api == "Produce"
                    && (to == producer || entry.node == *producer) =>
            {
                scene.say(entry, format!("a produce, or its answer, never arrives at {to}: {reason}"));
            }
            Event::Appended { .. } if Some(entry.id) == early => {
                scene.say(entry, format!("appended {} at offset {after_at}", after.value));
            }
            Event::Appended { .. } if Some(entry.id) == late => {
                let text = format!("appended {} at offset {before_at}, behind {}", before.value, after.value);
                scene.say_moment(entry, text, Moment::Overtaken);
                end = end.max(entry.id);
            }
            _ => {}
        }
    }
    let in_flight = plan.producers.get(producer).map_or(1, |producer| producer.max_in_flight);
    let why = refused.map_or_else(|| "was not answered".to_owned(), |error| format!("was refused with {error}"));
    let mut therefore = vec![Sentence::plain(format!(
        "{producer} may have {in_flight} requests under way at once. That with {} {why} and was sent again; that with {} \
         was on its way already, and the leader takes what comes. The same brokers, {}, hold both.",
        before.value,
        after.value,
        Brokers(&scene.replicas)
    ))];
    if !is_idempotent(plan, producer) {
        therefore.push(Sentence::about(
            &idempotent_set(plan, producer),
            Effect::Helps,
            "They would stand in order with enable.idempotence=true (and acks=all, which that needs): the leader refuses \
             a gap in the sequence numbers (OUT_OF_ORDER_SEQUENCE_NUMBER), and the later batch is sent again (KIP-98).",
        ));
        therefore.push(Sentence::about(
            &[client_set(producer, "max.in.flight.requests.per.connection", "1")],
            Effect::Helps,
            "They would stand in order with max.in.flight.requests.per.connection=1: nothing is under way that could \
             overtake, at the price of one round trip a request.",
        ));
        if before.acks != -1 {
            therefore.push(Sentence::about(
                &[client_set(producer, "acks", "all")],
                Effect::DoesNotHelp,
                "acks=all alone would NOT have helped: it says when to answer, not in which order to append.",
            ));
        }
    }
    Story {
        kind: Kind::Reordered,
        partition: partition.clone(),
        subject: format!(
            "{partition}@{after_at} and @{before_at}  values {} and {}, sent in the other order",
            after.value, before.value
        ),
        records: vec![before.record.clone(), after.record.clone()],
        lines: scene.between(before.event, end),
        therefore,
        untold: 0,
    }
}
