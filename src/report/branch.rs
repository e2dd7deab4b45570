//! A branch: the same seed with one thing changed - a variant, or a fault left out - as the page of a run carries it.
//!
//! It is a run of its own, told in brief: its verdict, and its journal without messages. Of a long run only the
//! milestones are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, Messages, Recorded, milestones, page};
use crate::{
    check::{Claim, Finding, Status},
    trace::{Event, EventId, journal::Entry},
};

/// Most events that a branch brings along; of a longer run it brings its milestones.
const EVENTS_MAX: usize = 4000;

/// A run beside the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// Its variant, declared or `without step N`; none for the scenario as written.
    pub variant: Option<String>,
    /// What the command line set besides, each `KEY=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub set: Vec<String>,
    /// What it changes, against the scenario as written.
    pub changes: Vec<Change>,
    /// Its verdict as a sentence.
    pub sentence: String,
    /// Its exit code.
    pub exit: u8,
    /// Acknowledged records whose fate was checked.
    pub acked: u64,
    /// How many of them were lost.
    pub lost: u64,
    /// Records that were refused, or of which nobody knows.
    pub failed: u64,
    /// Steps that never came, by number.
    pub unfired: Vec<usize>,
    /// What became of each claim.
    pub claims: BTreeMap<Claim, Status>,
    /// Number of events of the run.
    pub events: u64,
    /// Its trace hash.
    pub trace_hash: String,
    /// What the page's scripts read of it, in the form of the run's own.
    pub page: Value,
}

impl Branch {
    /// The branch that `run` is beside another.
    pub fn of(run: &Recorded) -> Self {
        Self { page: page::data(&brief(run)), ..Self::in_words(run) }
    }

    /// The same without what scripts read.
    pub(super) fn in_words(run: &Recorded) -> Self {
        let manifest = &run.manifest;
        let verdict = &manifest.verdict;
        let failed = |entry: &&Entry| matches!(entry.event, Event::RecordFailed { .. });
        Self {
            variant: manifest.variant.clone(),
            set: manifest.set.clone(),
            changes: manifest.changes.clone(),
            sentence: verdict.sentence.clone(),
            exit: verdict.exit,
            acked: verdict.acked,
            lost: verdict.lost.len() as u64,
            failed: run.entries.iter().filter(failed).count() as u64,
            unfired: manifest.ending.unfired.iter().map(|unfired| unfired.step).collect(),
            claims: verdict.findings.iter().map(|Finding { claim, status, .. }| (*claim, *status)).collect(),
            events: manifest.events,
            trace_hash: manifest.trace_hash.clone(),
            page: Value::Null,
        }
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        let variant = self.variant.as_deref().unwrap_or("as written");
        [variant].into_iter().chain(self.set.iter().map(String::as_str)).collect::<Vec<_>>().join(", ")
    }
}

/// The run without what a milestone does not need, its events numbered anew.
fn brief(run: &Recorded) -> Recorded {
    let milestones: Vec<EventId> = milestones::told(&run.entries).iter().map(|(entry, _)| entry.id).collect();
    let frequent = |entry: &Entry| entry.event.is_message() || matches!(entry.event, Event::FollowerFetched { .. });
    let tells = |entry: &&Entry| !frequent(entry);
    let long = run.entries.iter().filter(tells).count() > EVENTS_MAX;
    let kept = |entry: &Entry| match long {
        true => milestones.binary_search(&entry.id).is_ok() || matches!(entry.event, Event::FaultBegan { .. }),
        false => !frequent(entry),
    };
    // Of each event the last one kept up to it, by its new number.
    let mut numbers = Vec::with_capacity(run.entries.len());
    let mut entries: Vec<Entry> = Vec::new();
    for entry in &run.entries {
        if kept(entry) {
            let id = EventId(entries.len() as u64 + 1);
            let cause = nearest(run, entry.cause, &kept).map(|cause| numbered(&numbers, cause));
            let mut entry = Entry { id, cause, ..entry.clone() };
            if let Event::CommitAnswered { sent: asked, .. } | Event::CommittedFetched { asked, .. } = &mut entry.event
            {
                *asked = numbered(&numbers, *asked);
            }
            entries.push(entry);
        }
        numbers.push(EventId((entries.len() as u64).max(1)));
    }
    let mut manifest = run.manifest.clone();
    for lost in &mut manifest.verdict.lost {
        lost.acked = numbered(&numbers, lost.acked);
        for line in &mut lost.life.lines {
            line.event = numbered(&numbers, line.event);
        }
    }
    for line in manifest.stories.iter_mut().flat_map(|story| &mut story.lines) {
        line.event = numbered(&numbers, line.event);
    }
    for event in
        manifest.verdict.findings.iter_mut().flat_map(|finding| &mut finding.witnesses).flat_map(|w| &mut w.events)
    {
        *event = numbered(&numbers, *event);
    }
    Recorded { manifest, entries, messages: Messages::default(), branches: Vec::new() }
}

/// The first of an event's ancestors that is kept.
fn nearest(run: &Recorded, mut cause: Option<EventId>, kept: &impl Fn(&Entry) -> bool) -> Option<EventId> {
    while let Some(id) = cause {
        let entry = &run.entries[id.0 as usize - 1];
        if kept(entry) {
            return cause;
        }
        cause = entry.cause;
    }
    None
}

fn numbered(numbers: &[EventId], event: EventId) -> EventId {
    numbers.get(event.0 as usize - 1).copied().unwrap_or(EventId(1))
}
