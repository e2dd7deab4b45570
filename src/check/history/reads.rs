//! `no-phantom-reads` (S13 `ConsistentRead`, Jepsen's `G1a` and reads out of nowhere) and `offsets-agree` (S17,
//! Jepsen's `inconsistent-offsets`).
//!
//! A record that a consumer has read was sent, was not refused for certain, and is still in the log when the audit
//! reads it, unless its topic was deleted after it was sent. Two reads of one offset give one record. Where a loss was
//! permitted, or is reported by `acked-records-survive`, what was read may vanish and its offset may be given again: that
//! is the same loss seen from another side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Case, Content, Outcome, Read, Score, lost};
use crate::{
    base::Offset,
    check::{Claim, Finding},
    trace::EventId,
};

pub(super) fn phantoms(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::NoPhantomReads);
    let mut vanished = 0;
    let (refused, old) = (refused(case), went_with_topics(case));
    for read in &case.history.reads {
        score.checks += 1;
        let key = (&read.content, &*read.partition.topic);
        let Read { consumer, partition, offset, content, event } = read;
        if case.senders.get(key).is_none() {
            score.violate(
                format!("{consumer} read {} at {partition}@{offset}, which nobody sent", content.value),
                vec![*event],
            );
        } else if let Some((error, refusal)) = refused.get(&key) {
            let text = format!("{consumer} read {} at {partition}@{offset}, refused with {error}", content.value);
            score.violate(text, vec![*refusal, *event]);
        } else if !old.contains(&key) && is_gone(case, read) {
            if case.excuses(partition, *offset) {
                vanished += 1;
            } else {
                let text = format!("{consumer} read {} at {partition}@{offset}, and it is gone", content.value);
                score.violate(text, vec![*event]);
            }
        }
    }
    score.note = (vanished > 0).then(|| format!("{vanished} reads were of records that were lost afterwards"));
    score.into_finding()
}

/// The contents that were refused for certain and not sent again with success.
fn refused<'a>(case: &Case<'a>) -> BTreeMap<(&'a Content, &'a str), (&'a Arc<str>, EventId)> {
    let mut refused = BTreeMap::new();
    for (.., send) in case.history.sends() {
        if let Outcome::Refused { error, event } = &send.outcome {
            refused.insert((&send.content, &*send.topic), (error, *event));
        }
    }
    if refused.is_empty() {
        return refused;
    }
    for (.., send) in case.history.sends().filter(|(.., send)| !matches!(send.outcome, Outcome::Refused { .. })) {
        refused.remove(&(&send.content, &*send.topic));
    }
    refused
}

/// The contents that were sent to topics which were deleted since: of one that is not in the log, nothing follows.
pub(super) fn went_with_topics<'a>(case: &Case<'a>) -> BTreeSet<(&'a Content, &'a str)> {
    if case.history.topics_deleted.is_empty() {
        return BTreeSet::new();
    }
    let sends = case.history.sends().filter(|(.., send)| case.history.went_with_topic(&send.topic, send.sent));
    sends.map(|(.., send)| (&send.content, &*send.topic)).collect()
}

/// Whether a record read once is not at its offset when the audit comes to it.
fn is_gone(case: &Case<'_>, read: &Read) -> bool {
    let Some(audit) = case.history.audits.get(&read.partition) else { return false };
    match audit.records.get(read.offset.0) {
        Some((found, _)) => *found != read.content,
        None if case.history.was_deleted(&read.partition, read.offset, EventId(0)) => false,
        None => audit.end.is_some() && !case.history.is_after_audit(&read.partition, read.offset, read.event),
    }
}

pub(super) fn disagreements(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::OffsetsAgree);
    let old = went_with_topics(case);
    let is_old = |read: &&Read| old.contains(&(&read.content, &*read.partition.topic));
    let mut reads: Vec<&Read> = case.history.reads.iter().filter(|read| !is_old(read)).collect();
    // Those of one offset stay in the order in which they happened.
    reads.sort_by(|one, other| (&one.partition, one.offset).cmp(&(&other.partition, other.offset)));
    let mut differing = Vec::new();
    for same in reads.chunk_by(|one, other| one.offset == other.offset && one.partition == other.partition) {
        let (first, others) = same.split_first().expect("a chunk is not empty");
        score.checks += others.len() as u64;
        let others = others.iter().filter(|read| first.content != read.content);
        differing.extend(others.filter(|read| !case.excuses(&read.partition, read.offset)).map(|read| (first, read)));
    }
    differing.sort_by_key(|(_, read)| read.event);
    for (first, read) in differing {
        let Read { partition, offset, .. } = read;
        let (before, after) = (&first.content.value, &read.content.value);
        score.violate(
            format!("{partition}@{offset} was read as {before} and as {after}"),
            vec![first.event, read.event],
        );
    }
    for acked in case.acked {
        let audit = case.history.audits.get(acked.partition);
        if audit.is_none_or(|audit| audit.end.is_none()) {
            continue;
        }
        score.checks += 1;
        if acked.is_in_place {
            continue;
        }
        // A retry without enable.idempotence may leave two copies, of which a loss anywhere in the partition may have
        // taken the one that was acknowledged; with acks=1 a new leader may have, which leaves the other one.
        let idempotent = case.plan.producers.get(acked.producer).is_none_or(|producer| producer.idempotent);
        let twice = !idempotent && case.retried();
        let changed_from = |offset| if twice { Offset(i64::MAX) } else { acked.offset.min(offset) };
        if let Some(offset) = lost::moved_to(case.history, acked)
            && !(twice && acked.send.acks == 1)
            && !case.excuses(acked.partition, changed_from(offset))
        {
            let (value, partition) = (&acked.send.content.value, acked.partition);
            let text = format!("{value} was acknowledged at {partition}@{} and stands at {offset}", acked.offset);
            score.violate(text, vec![acked.send.sent, acked.event]);
        }
    }
    score.into_finding()
}
