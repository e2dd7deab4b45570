//! The oracle: judges a run from its events alone.
//!
//! It sees what brokers, controller and clients *report* ([`crate::trace::Event`]) and what the scenario promised
//! ([`Plan`]); it shares no code with what it judges, so it cannot share its mistakes. Three kinds of checkers feed one
//! [`Verdict`]:
//!
//! * [`invariants`] watch replicas and controller while the run goes, on a [`model`] rebuilt from events;
//! * [`history`] checks at the end what clients were told, as Jepsen does, and needs nothing else: the same checker
//!   judges real processes;
//! * [`groups`] checks both ways what became of consumer groups.
//!
//! For each acknowledged record that is gone, [`story`] tells its life and finds the [`Cause`].
//!
//! What is *not* a violation: a loss that an injected fault or a setting permits is written into a ledger
//! ([`invariants::Ledger`]) and excused exactly there. Old behaviours and planted bugs (`switch.*`) excuse nothing.

mod cause;
mod claim;
mod groups;
pub mod history;
pub mod invariants;
mod judge;
pub mod model;
mod plan;
mod score;
pub mod story;
mod strays;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use cause::Cause;
pub use claim::{Claim, Expectation, Expected, ExpectedLoss, Status};
pub use plan::{Ending, GroupPlan, Plan, ProducerPlan, Unfired, WorkerPlan};
pub use verdict::{Finding, Lost, Verdict, WITNESSES_MAX, Witness};

use self::{groups::Groups, history::History, invariants::Invariants, judge::Fate, strays::Strays};
use crate::trace::journal::Entry;

/// Node name of the consumer that reads every partition from begin to end after the run: the final audit.
pub const AUDIT_NODE: &str = "audit";

/// Room for the events of a large run, so that they are never copied; what is not used of it costs no memory.
const ENTRIES_ROOM: usize = 1 << 20;

/// Watches a run and judges it.
pub struct Oracle {
    plan: Plan,
    invariants: Invariants,
    history: History,
    strays: Strays,
    /// Kept in a run with consumer groups.
    groups: Option<Groups>,
    /// What stories are told from: of messages only those that tell a producer what became of its records.
    entries: Vec<Entry>,
    /// Why a checker cannot go on: it panicked.
    gave_up: Option<String>,
}

impl Oracle {
    /// An oracle for a run of this plan.
    pub fn new(plan: Plan) -> Self {
        Self {
            invariants: Invariants::of(&plan),
            groups: (!plan.groups.is_empty()).then(Groups::default),
            plan,
            history: History::default(),
            strays: Strays::default(),
            entries: Vec::with_capacity(ENTRIES_ROOM),
            gave_up: None,
        }
    }

    /// Takes the next event. A checker that panics here makes its claims unknown, it does not end the run.
    pub fn observe(&mut self, entry: Entry) {
        if entry.event.is_message() {
            self.entries.extend(Some(entry).filter(|entry| entry.event.answers_produce()));
            return;
        }
        self.history.observe(&entry);
        if let Some(groups) = &mut self.groups {
            groups.observe(&entry);
        }
        let is_stray = self.strays.has(&entry);
        if self.gave_up.is_none() && !is_stray {
            let invariants = &mut self.invariants;
            let observed = catch_unwind(AssertUnwindSafe(|| invariants.observe(&entry)));
            self.gave_up = observed.err().map(|panic| format!("at event {}: {}", entry.id.0, panic_text(&*panic)));
        }
        self.entries.push(entry);
    }

    /// The invariants as far as they were checked: a run may stop at the first violation.
    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    /// Judges the run that ended so. What was observed stays: it takes time to take down, and a process has one run.
    pub fn finish(&mut self, ending: &Ending) -> Verdict {
        if self.gave_up.is_none() {
            let invariants = &mut self.invariants;
            let finished = catch_unwind(AssertUnwindSafe(|| invariants.finish()));
            self.gave_up = finished.err().map(|panic| format!("at the end: {}", panic_text(&*panic)));
        }
        let mut findings = self.invariants.findings(self.gave_up.as_deref());
        let judged = catch_unwind(AssertUnwindSafe(|| {
            history::findings(&self.history, &self.plan, ending, self.invariants.ledger())
        }));
        let mut fate = match judged {
            Ok(report) => {
                findings.extend(report.findings);
                report.fate
            }
            Err(panic) => {
                findings.extend(history::unknown(&panic_text(&*panic)));
                Fate::default()
            }
        };
        let (nobody, ledger) = (Groups::default(), self.invariants.ledger());
        let groups = self.groups.as_ref().unwrap_or(&nobody);
        let case = groups::Case { history: &self.history, plan: &self.plan, ending, ledger };
        let judged = catch_unwind(AssertUnwindSafe(|| groups.findings(&case)));
        findings.extend(judged.unwrap_or_else(|panic| groups::unknown(&panic_text(&*panic))));
        story::tell(&self.entries, &self.plan, &mut fate.lost);
        findings.sort_by_key(|finding| finding.claim);
        judge::judge(&self.plan, ending, findings, fate)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
