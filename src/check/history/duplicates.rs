//! `no-duplicates`: S26, Jepsen's `duplicate`.
//!
//! The final log has no record more often than it was sent. What the settings promise decides what counts: with
//! `enable.idempotence` a retry never duplicates (KIP-98), without it a retry may, and such a duplicate is noted but is
//! no violation, unless the scenario is written to show it. If no producer retried at all, a duplicate is a violation whoever sent it.

use std::sync::Arc;

use super::{Case, Score, contents::ByContent};
use crate::{
    base::{Offset, TopicPartition},
    check::{Claim, Finding},
    trace::EventId,
};

type Place<'a> = (&'a TopicPartition, Offset, EventId);

pub(super) fn check(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::NoDuplicates);
    let mut permitted = 0;
    let permits = !case.teaches_violation_of(Claim::NoDuplicates);
    let places = places(case);
    let mut twice = Vec::new();
    for (key, places) in places.iter() {
        score.checks += 1;
        let Some(producers) = case.senders.get(key) else { continue };
        if places.count() > producers.count() {
            twice.push((key, places, producers));
        }
    }
    twice.sort_by_key(|(key, ..)| *key);
    for (key, places, producers) in twice {
        let idempotent = |producer: &Arc<str>| case.plan.producers.get(producer).is_none_or(|p| p.idempotent);
        if permits && case.retried() && !producers.iter().any(|producer| idempotent(producer)) {
            permitted += 1;
            continue;
        }
        let at: Vec<String> = places.iter().map(|(partition, offset, _)| format!("{partition}@{offset}")).collect();
        let times = if producers.count() == 1 { "once".to_owned() } else { format!("{} times", producers.count()) };
        let events = places.iter().map(|(.., event)| *event).collect();
        score.violate(format!("{} was sent {times} and stands at {}", key.0.value, at.join(" and ")), events);
    }
    score.note = (permitted > 0).then(|| {
        format!("{permitted} records are there twice: a producer without enable.idempotence retried, which permits it")
    });
    score.into_finding()
}

/// Where each content stands in the final log.
fn places<'a>(case: &Case<'a>) -> ByContent<'a, Place<'a>> {
    let count = case.history.audits.values().map(|audit| audit.records.len()).sum();
    let places = case.history.audits.iter().flat_map(|(partition, audit)| {
        let records = audit.records.iter();
        records
            .map(move |(offset, (content, event))| ((content, &*partition.topic), (partition, Offset(offset), *event)))
    });
    ByContent::new(count, places)
}
