//! From findings and expectations to one verdict and its exit code.
//!
//! | exit | when |
//! |---|---|
//! | 3 | the harness is at fault |
//! | 1 | a claim broke that should hold, or an expected violation did not happen as described in a story told to its end |
//! | 2 | a claim is unknown, an expected one was not exercised, a step never fired, a mark was not reached |
//! | 0 | everything as expected |
//!
//! The first line that applies decides.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cause, Claim, Expected, Status, story::Life};
use crate::{
    base::{Offset, TopicPartition},
    trace::EventId,
};

/// The judgement of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Exit code: 0, 1, 2 or 3.
    pub exit: u8,
    /// The verdict as a sentence.
    pub sentence: String,
    /// What is not as expected, a sentence each, the gravest first; empty with exit 0.
    pub complaints: Vec<String>,
    /// One finding a claim, in the order of [`Claim::ALL`].
    pub findings: Vec<Finding>,
    /// Number of acknowledged records (acks=1 or all) whose fate was checked.
    pub acked: u64,
    /// Records sent with acks=0 that are not in the log at the end: nobody had promised them.
    #[serde(default)]
    pub unpromised: u64,
    /// Acknowledged records that are not in the log at the end, by partition and offset, each with its life.
    pub lost: Vec<Lost>,
}

impl Finding {
    /// Whether it is worth a line: claims of groups are not, in a run without them.
    pub fn concerns_the_run(&self) -> bool {
        self.status != Status::NotExercised || self.expected.is_some() || !self.claim.is_of_groups()
    }

    /// Whether it broke, and the scenario is written to show that.
    pub fn is_taught_violation(&self) -> bool {
        self.status == Status::ViolatedAsExpected && self.expected == Some(Expected::Violated)
    }

    /// That it broke, by the first violation: `order-kept broke: p1 sent ... (and 3 more)`.
    pub fn complaint(&self) -> String {
        let more = self.violations.saturating_sub(1);
        let first = self.witnesses.first().map_or("no witness was kept", |witness| &witness.text);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        format!("{} broke: {first}{more}", self.claim)
    }
}

/// What became of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The claim.
    pub claim: Claim,
    /// What became of it.
    pub status: Status,
    /// What the scenario expects, if it says anything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<Expected>,
    /// How often it was checked.
    pub checks: u64,
    /// How often it was found false.
    pub violations: u64,
    /// What a settings' small print permits and was therefore not counted as a violation, or why nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// The first few violations.
    pub witnesses: Vec<Witness>,
}

/// One violation with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// What was seen, with its numbers.
    pub text: String,
    /// The events that show it, the last being the one at which it was noticed.
    pub events: Vec<EventId>,
}

/// An acknowledged record that is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// Where it stood.
    pub partition: TopicPartition,
    /// At which offset.
    pub offset: Offset,
    /// Its value.
    pub value: String,
    /// Why it is gone.
    pub cause: Cause,
    /// Who sent it.
    pub producer: Arc<str>,
    /// Its number among the producer's records.
    pub record: u64,
    /// The event that told the producer "stored".
    pub acked: EventId,
    /// From its first append to its last copy. Not part of a manifest: it is told again from the journal.
    #[serde(skip)]
    pub life: Life,
}

/// Number of witnesses a finding keeps; its `violations` counts all.
pub const WITNESSES_MAX: usize = 5;

impl Verdict {
    /// The finding about `claim`.
    pub fn finding(&self, claim: Claim) -> &Finding {
        self.findings.iter().find(|finding| finding.claim == claim).expect("a verdict has a finding for each claim")
    }
}
