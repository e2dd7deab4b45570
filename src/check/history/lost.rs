//! `acked-records-survive`: S1, Jepsen's `lost-write`.
//!
//! Each record whose producer was told an offset is at that offset when the audit reads the partition. One that is not,
//! but stands at another offset and was sent once only, has moved, which `offsets-agree` reports. What retention or a
//! request deleted is not lost, nor what was sent to a topic before it was deleted. acks=0 is told no offset and promises
//! nothing. Where the audit did not reach the end, a record it has not seen is unknown; and so is one that was
//! acknowledged when the audit went on already, in a run that did not wait for its producers.

use std::collections::BTreeMap;

use super::{Acked, Content, History, Score};
use crate::{
    base::TopicPartition,
    check::{Cause, Claim, Finding, Lost, judge::Fate, story::Life},
};

/// Judges every acknowledged record: the finding, and what became of them.
pub(super) fn check(history: &History, all: &[Acked<'_>]) -> (Finding, Fate) {
    let mut score = Score::new(Claim::AckedRecordsSurvive);
    let mut unread: BTreeMap<&TopicPartition, u64> = BTreeMap::new();
    let mut lost = Vec::new();
    let (mut acked_count, mut late, mut deleted) = (0_u64, 0_u64, 0_u64);
    for acked in all {
        acked_count += 1;
        let audit = history.audits.get(acked.partition);
        if acked.is_in_place || moved_to(history, acked).is_some() {
            score.checks += 1;
        } else if history.was_deleted(acked.partition, acked.offset, acked.send.sent)
            || history.went_with_topic(&acked.send.topic, acked.send.sent)
        {
            score.checks += 1;
            deleted += 1;
        } else if history.is_after_audit(acked.partition, acked.offset, acked.event) {
            late += 1;
        } else if audit.is_some_and(|audit| audit.end.is_some()) {
            score.checks += 1;
            lost.push(gone(acked));
        } else {
            *unread.entry(acked.partition).or_default() += 1;
        }
    }
    lost.sort_by(|a, b| (&a.partition, a.offset).cmp(&(&b.partition, b.offset)));
    for record in &lost {
        let Lost { partition, offset, value, producer, acked, .. } = record;
        score.violate(
            format!("{partition}@{offset} ({value}) was acknowledged to {producer} and is gone"),
            vec![*acked],
        );
    }
    let parts: Vec<String> = unread.iter().map(|(partition, count)| format!("{count} of {partition}")).collect();
    score.unknown = match (parts.is_empty(), late) {
        (false, _) => Some(format!("the audit did not reach the end, so nobody knows of {}", parts.join(", "))),
        (true, 1..) => Some(format!("{late} records were acknowledged while the audit went on, behind its end")),
        (true, 0) => None,
    };
    let unpromised = history.unpromised();
    let notes = [
        (unpromised, "records sent with acks=0 are not there: nobody had promised them"),
        (deleted, "acknowledged records were deleted, by retention or on request"),
    ];
    let notes = notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    score.note = Some(notes.collect::<Vec<_>>().join("; ")).filter(|note| !note.is_empty());
    (score.into_finding(), Fate { acked: acked_count, unpromised, lost })
}

/// Where an acknowledged record stands instead of its offset, if it was sent only once.
pub(super) fn moved_to(history: &History, acked: &Acked<'_>) -> Option<crate::base::Offset> {
    let content: &Content = &acked.send.content;
    let same = |send: &super::Sent| send.topic == acked.send.topic && send.content == *content;
    let audit = history.audits.get(acked.partition)?;
    let (offset, _) = audit.records.iter().find(|(_, (found, _))| found == content)?;
    (history.sends().filter(|(.., send)| same(send)).count() == 1).then_some(crate::base::Offset(offset))
}

fn gone(acked: &Acked<'_>) -> Lost {
    Lost {
        partition: acked.partition.clone(),
        offset: acked.offset,
        value: acked.send.content.value.to_string(),
        cause: Cause::Unknown,
        producer: acked.producer.clone(),
        record: acked.record,
        acked: acked.event,
        life: Life::default(),
    }
}
