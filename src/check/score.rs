//! What one checker counts on its way to a finding.

use super::{Claim, Finding, Status, WITNESSES_MAX, Witness};
use crate::trace::EventId;

/// Counts what one checker finds.
#[derive(Clone)]
pub(super) struct Score {
    pub(super) claim: Claim,
    pub(super) checks: u64,
    pub(super) violations: u64,
    pub(super) witnesses: Vec<Witness>,
    /// Why part of it cannot be judged.
    pub(super) unknown: Option<String>,
    pub(super) note: Option<String>,
}

impl Score {
    /// Nothing was checked yet.
    pub(super) fn new(claim: Claim) -> Self {
        Self { claim, checks: 0, violations: 0, witnesses: Vec::new(), unknown: None, note: None }
    }

    /// Counts a violation; the first few are kept as witnesses.
    pub(super) fn violate(&mut self, text: String, events: Vec<EventId>) {
        self.violations += 1;
        if self.witnesses.len() < WITNESSES_MAX {
            self.witnesses.push(Witness { text, events });
        }
    }

    /// What became of the claim.
    pub(super) fn into_finding(self) -> Finding {
        let status = match (self.violations, &self.unknown, self.checks) {
            (1.., _, _) => Status::Violated,
            (0, Some(_), _) => Status::Unknown,
            (0, None, 0) => Status::NotExercised,
            (0, None, _) => Status::Held,
        };
        Finding {
            claim: self.claim,
            status,
            expected: None,
            checks: self.checks,
            violations: self.violations,
            note: self.unknown.or(self.note),
            witnesses: self.witnesses,
        }
    }
}
