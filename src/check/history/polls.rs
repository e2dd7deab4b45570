//! `polls-go-forward`: Jepsen's `nonmonotonic-poll`, exact: positions are known, so nothing has to be tolerated where
//! partitions come and go.
//!
//! What a consumer is handed stands at its position or behind it. A position goes back where somebody sets it - at a
//! committed offset, at a reset, where a leader tells of a truncation, by a seek, in a new process -, and not by itself.

use super::{Case, Place, Read, Score};
use crate::{
    base::Offset,
    check::{Claim, Finding},
    trace::EventId,
};

/// What consumers were handed, seen from where they stood.
#[derive(Default)]
pub(super) struct Polls {
    checks: u64,
    /// Records from before: where the consumer stood and since when, and the record.
    back: Vec<(Place, EventId)>,
}

impl Polls {
    /// A consumer that `stood` somewhere was handed the record at `offset`.
    pub(super) fn handed_out(&mut self, stood: Option<Place>, offset: Offset, event: EventId) {
        let Some((position, since)) = stood else { return };
        self.checks += 1;
        if offset < position {
            self.back.push(((position, since), event));
        }
    }
}

pub(super) fn check(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::PollsGoForward);
    let Polls { checks, back } = &case.history.polls;
    score.checks = *checks;
    let reads = &case.history.reads;
    for ((position, since), event) in back {
        // Reads are kept in the order of their events.
        let read = reads.binary_search_by_key(event, |read| read.event).expect("what was handed out was read");
        let Read { consumer, partition, offset, content, .. } = &reads[read];
        let text = format!("{consumer} stood at {partition}@{position} and was handed {} at {offset}", content.value);
        score.violate(text, vec![*since, *event]);
    }
    score.into_finding()
}
