//! `no-duplicates`: S26, Jepsen's `duplicate`.
//!
//! The final log has no record more often than it was sent. What the settings promise decides what counts: with
//! `enable.idempotence` a retry never duplicates (KIP-98), without it a retry may, and such a duplicate is noted but is
//! no violation, unless the scenario is written to show it. If no producer retried at all, a duplicate is a violation whoever sent it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Case, Content, Score};
use crate::{
    base::{Offset, TopicPartition},
    check::{Claim, Finding},
    trace::EventId,
};

type Places<'a> = Vec<(&'a TopicPartition, Offset, EventId)>;

pub(super) fn check(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::NoDuplicates);
    let mut permitted = 0;
    let senders = senders(case);
    let permits = !case.teaches_violation_of(Claim::NoDuplicates);
    for ((content, topic), places) in places(case) {
        score.checks += 1;
        let Some(producers) = senders.get(&(content, topic)) else { continue };
        if places.len() <= producers.len() {
            continue;
        }
        let idempotent = |producer: &&&Arc<str>| case.plan.producers.get(**producer).is_none_or(|p| p.idempotent);
        if permits && case.retried() && !producers.iter().any(|producer| idempotent(&producer)) {
            permitted += 1;
            continue;
        }
        let at: Vec<String> = places.iter().map(|(partition, offset, _)| format!("{partition}@{offset}")).collect();
        let times = if producers.len() == 1 { "once".to_owned() } else { format!("{} times", producers.len()) };
        let events = places.iter().map(|(.., event)| *event).collect();
        score.violate(format!("{} was sent {times} and stands at {}", content.value, at.join(" and ")), events);
    }
    score.note = (permitted > 0).then(|| {
        format!("{permitted} records are there twice: a producer without enable.idempotence retried, which permits it")
    });
    score.into_finding()
}

/// Who sent each content to each topic, once for every time.
fn senders<'a>(case: &Case<'a>) -> BTreeMap<(&'a Content, &'a str), Vec<&'a Arc<str>>> {
    let mut senders: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (producer, _, send) in case.history.sends() {
        senders.entry((&send.content, &*send.topic)).or_default().push(producer);
    }
    senders
}

/// Where each content stands in the final log.
fn places<'a>(case: &Case<'a>) -> BTreeMap<(&'a Content, &'a str), Places<'a>> {
    let mut places: BTreeMap<_, Places<'a>> = BTreeMap::new();
    for (partition, audit) in &case.history.audits {
        for (offset, (content, event)) in &audit.records {
            places.entry((content, &*partition.topic)).or_default().push((partition, *offset, *event));
        }
    }
    places
}
