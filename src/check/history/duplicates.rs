//! `no-duplicates`: S26, Jepsen's `duplicate`.
//!
//! The final log has no record more often than it was sent. What the settings promise decides what counts: with
//! `enable.idempotence` a retry never duplicates (KIP-98), without it a retry may, and such a duplicate is noted but is
//! no violation, unless the scenario is written to show it. If no producer retried at all, a duplicate is a violation
//! whoever sent it. A producer id ends with its process: what an application that was started again sends again, since it
//! was told nothing of it, may be there twice in every case, and that too is noted unless the scenario shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Case, Content, Score,
    contents::{ByContent, Key},
};
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
    let resent = resent(case);
    let (mut twice, mut again) = (Vec::new(), 0);
    for (key, places) in places.iter() {
        score.checks += 1;
        let Some(producers) = case.senders.get(key) else { continue };
        let by_application = places.count() > 1 && resent.contains(&key);
        if places.count() > producers.count() || by_application && !permits {
            twice.push((key, places, producers));
        } else if by_application {
            again += 1;
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
    let by_retry =
        format!("{permitted} records are there twice: a producer without enable.idempotence retried, which permits it");
    let by_application =
        format!("{again} records are there twice: their application was started again, and sent them again");
    score.note = match (permitted, again) {
        (0, 0) => None,
        (_, 0) => Some(by_retry),
        (0, _) => Some(by_application),
        _ => Some(format!("{by_retry}; {by_application}")),
    };
    score.into_finding()
}

/// What a producer that was started again has sent before that and afterwards.
fn resent<'a>(case: &Case<'a>) -> BTreeSet<Key<'a>> {
    let mut resent = BTreeSet::new();
    for (producer, restarts) in &case.history.restarts {
        let mut first: BTreeMap<(&Content, &str), EventId> = BTreeMap::new();
        for (.., send) in case.history.sends().filter(|(by, ..)| *by == producer) {
            let key = (&send.content, &*send.topic);
            let before = *first.entry(key).or_insert(send.sent);
            if restarts.iter().any(|restart| (before..send.sent).contains(restart)) {
                resent.insert(key);
            }
        }
    }
    resent
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
