//! Liveness, demanded only after everything was healed and restarted, and not of a run that ends broken.
//!
//! `cluster-recovers`: L-elect, L-isr. The cluster settled: each partition has a leader and a full ISR.
//!
//! `consumers-reach-the-end`: L-consume, Jepsen's `unseen`.
//! After healing, each consumer has read each of its partitions to the end that the audit found, and the audit itself
//! found the end of each partition that a client has touched.
//!
//! `consumers-miss-nothing`: S37 `ConsumeCoverage`, Jepsen's `poll-skip`.
//! Of the records that the audit found between the first position of a consumer and its last, it has read each, at that
//! offset. It need not have come to the end. Where something else stood at an offset when it read that, it has missed
//! what stands there now - unless it has noticed, and a leader sent it behind that offset: a leader tells the end of the
//! newest epoch that it shares with the consumer, and what it has of that epoch may itself be other than what the consumer
//! read (KIP-320 goes no further) - or read late what a topic had that is deleted. A member of a group is asked for what
//! it passed while a partition was its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{AUDIT_NODE, Case, Content, History, Read, Score, reads::went_with_topics};
use crate::{
    base::{Offset, TopicPartition},
    check::{Claim, Finding},
};

pub(super) fn check(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::ConsumersReachTheEnd);
    if case.plan.leave_broken {
        score.note = Some("the scenario leaves the cluster broken".into());
        return score.into_finding();
    }
    if case.ending.unfinished.is_some() && case.history.audits.is_empty() {
        score.unknown = Some("the run did not come to its audit".into());
        return score.into_finding();
    }
    for partition in touched(case) {
        score.checks += 1;
        if case.history.audits.get(partition).is_none_or(|audit| audit.end.is_none()) {
            score.violate(format!("the audit did not reach the end of {partition}"), Vec::new());
        }
    }
    for ((consumer, partition), (position, event)) in consumers(case) {
        let Some(end) = case.history.audits.get(partition).and_then(|audit| audit.end) else { continue };
        score.checks += 1;
        if *position < end {
            let text = format!("{consumer} stands at {partition}@{position}, the end is {end}");
            score.violate(text, vec![*event]);
        }
    }
    score.into_finding()
}

/// Whether each consumer has read all that it passed.
pub(super) fn coverage(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::ConsumersMissNothing);
    let mut seen: BTreeMap<(&Arc<str>, &TopicPartition), BTreeSet<Offset>> = BTreeMap::new();
    let old = went_with_topics(case);
    let mut replaced: BTreeSet<(&Arc<str>, &TopicPartition, Offset)> = BTreeSet::new();
    for read in case.history.reads.iter().filter(|read| &*read.consumer != AUDIT_NODE) {
        let audit = case.history.audits.get(&read.partition);
        let found = audit.and_then(|audit| audit.records.get(read.offset.0));
        if found.is_some_and(|(content, _)| *content == read.content) {
            seen.entry((&read.consumer, &read.partition)).or_default().insert(read.offset);
        } else if case.history.was_sent_behind(read) && case.ledger.permits_loss(&read.partition, read.offset)
            || case.history.is_late(read, &old)
        {
            replaced.insert((&read.consumer, &read.partition, read.offset));
        }
    }
    let alone = consumers(case).filter_map(|((consumer, partition), (position, event))| {
        let begin = *case.history.begins.get(&(consumer.clone(), partition.clone()))?;
        Some((consumer, partition, begin..(*position).max(begin), *event))
    });
    for (consumer, partition, passed, event) in alone.chain(case.history.tenures.all()) {
        let Some(audit) = case.history.audits.get(partition).filter(|audit| audit.end.is_some()) else { continue };
        let seen = seen.get(&(consumer, partition));
        for (offset, (content, _)) in audit.records.range(passed.start.0..passed.end.0) {
            let offset = Offset(offset);
            score.checks += 1;
            // A member goes on from what the group has committed, whatever came to stand below.
            let may_skip = case.plan.consumers.iter().all(|alone| alone != consumer)
                && case.ledger.permits_loss(partition, offset);
            let may_skip = may_skip || replaced.contains(&(consumer, partition, offset));
            if !may_skip && !seen.is_some_and(|seen| seen.contains(&offset)) {
                let text = format!("{consumer} has passed {partition}@{offset} without reading {}", content.value);
                score.violate(text, vec![event]);
            }
        }
    }
    score.into_finding()
}

/// Whether the cluster settled after healing.
pub(super) fn recovery(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::ClusterRecovers);
    if case.plan.leave_broken {
        score.note = Some("the scenario leaves the cluster broken".into());
    } else if let Some(began) = case.history.settle_began {
        score.checks += 1;
        if !case.history.settled {
            let why = case.ending.unsettled.as_deref().or(case.ending.unfinished.as_deref());
            let why = why.unwrap_or("the run ended before");
            score.violate(format!("everything was healed, and the cluster did not settle: {why}"), vec![began]);
        }
    }
    score.into_finding()
}

/// The partitions in which a producer's record was acknowledged or a consumer stands, but for those of deleted topics.
fn touched<'a>(case: &Case<'a>) -> BTreeSet<&'a TopicPartition> {
    let acked = case.acked.iter().map(|acked| acked.partition);
    let all = acked.chain(case.history.positions.keys().map(|(_, partition)| partition));
    all.filter(|partition| !case.history.is_gone(partition)).collect()
}

impl History {
    /// Whether the consumer noticed after this that the log was truncated, and went on further behind.
    fn was_sent_behind(&self, read: &Read) -> bool {
        let truncations = self.truncations.get(&(read.consumer.clone(), read.partition.clone()));
        truncations.into_iter().flatten().any(|(to, event)| *event > read.event && *to > read.offset)
    }

    /// Whether this was handed out when its topic had been deleted.
    fn is_late(&self, read: &Read, old: &BTreeSet<(&Content, &str)>) -> bool {
        let topic = &*read.partition.topic;
        old.contains(&(&read.content, topic)) && !self.went_with_topic(topic, read.event)
    }
}

type Position<'a> = (&'a (Arc<str>, TopicPartition), &'a (Offset, crate::trace::EventId));

fn consumers<'a>(case: &Case<'a>) -> impl Iterator<Item = Position<'a>> {
    let alone = |node: &Arc<str>| **node != *AUDIT_NODE && !case.history.tenures.is_member(node);
    case.history.positions.iter().filter(move |((node, _), _)| alone(node))
}
