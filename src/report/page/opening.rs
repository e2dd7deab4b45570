//! Where the page opens: at the decisive moment, never at the begin.

use crate::{
    check::{
        Claim, Finding, Status,
        story::{Kind, Moment, Story},
    },
    report::Manifest,
    trace::{Election, Event, EventId, journal::Entry},
};

/// The event that decided a loss; else what the story of a broken claim marks; else where a claim broke that should hold;
/// else the first event that any story marks; else where a claim broke as expected, where leadership was first taken
/// away, where a member of a group was first out, the first step.
pub(super) fn event(manifest: &Manifest, entries: &[Entry]) -> EventId {
    let Manifest { verdict, stories, .. } = manifest;
    let decisive = verdict.lost.iter().find_map(|lost| lost.life.moment(Moment::Decisive));
    let is_broken = |claim: Claim| {
        let finding = verdict.finding(claim);
        finding.status == Status::Violated || finding.is_taught_violation()
    };
    let told = || stories.iter().filter(|story| breaks(story.kind).is_some_and(is_broken)).find_map(marked);
    let broken = |is: fn(&Finding) -> bool| {
        let mut findings = verdict.findings.iter().filter(move |finding| is(finding));
        findings.find_map(|finding| finding.witnesses.first()?.events.last().copied())
    };
    let first = |is: fn(&Event) -> bool| entries.iter().find(|entry| is(&entry.event)).map(|entry| entry.id);
    decisive
        .or_else(told)
        .or_else(|| broken(|finding| finding.status == Status::Violated))
        .or_else(|| stories.iter().filter_map(marked).min())
        .or_else(|| broken(|finding| finding.claim != Claim::ClusterRecovers))
        .or_else(|| first(elects))
        .or_else(|| first(|event| matches!(event, Event::MemberLeft { .. })))
        .or_else(|| first(|event| matches!(event, Event::StepFired { .. })))
        .unwrap_or(EventId(1))
}

/// The claim that is broken where there is a story of this kind; none for what may happen to anybody.
fn breaks(kind: Kind) -> Option<Claim> {
    match kind {
        Kind::Lost => Some(Claim::AckedRecordsSurvive),
        Kind::Duplicate => Some(Claim::NoDuplicates),
        Kind::Reordered => Some(Claim::OrderKept),
        Kind::ReadThenTruncated => Some(Claim::NoPhantomReads),
        Kind::Unprocessed => Some(Claim::ProcessedAtLeastOnce),
        Kind::ProcessedTwice => Some(Claim::ProcessedAtMostOnce),
        Kind::HighWatermarkMovedBack
        | Kind::Refused
        | Kind::RefusedAfterAppend
        | Kind::Offline
        | Kind::CommitRefused
        | Kind::CommitNotSent
        | Kind::Rebalance => None,
    }
}

/// What decided a story, or else its first mark but the promise.
fn marked(story: &Story) -> Option<EventId> {
    let line = |is: fn(Moment) -> bool| story.lines.iter().find(|line| line.moment.is_some_and(is));
    let line = line(|moment| moment == Moment::Decisive).or_else(|| line(|moment| moment != Moment::Promise));
    line.map(|line| line.event)
}

fn elects(event: &Event) -> bool {
    matches!(event, Event::PartitionChanged { election: Election::Clean | Election::Unclean | Election::Offline, .. })
}
