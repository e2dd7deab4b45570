//! `run.json`: everything that is needed to run it again, and what came of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lesson::Question;
use crate::{
    base::Time,
    check::{Ending, Plan, Verdict, story::Story},
};

/// Value of the manifest's `schema` field. It changes when a field changes its meaning or goes.
pub const SCHEMA: &str = "highwater/run/1";

/// What was run and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: Arc<str>,
    /// Version of Highwater.
    pub highwater: Arc<str>,
    /// Name of the scenario: its file without folder and ending.
    pub scenario: String,
    /// Path of its file as it was given on the command line.
    pub path: String,
    /// Its `title`.
    pub title: String,
    /// Its `teaches`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub teaches: Option<String>,
    /// The variant that was run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
    /// What the command line set, each `KEY=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub set: Vec<String>,
    /// With `set`: when each step fired without it, since the story began. It fires soon after that at the latest.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub latest_ns: Vec<u64>,
    /// What the variant and the command line change.
    pub changes: Vec<Change>,
    /// The seed.
    pub seed: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// Hash over every event: 64 hexadecimal digits. A replay has the same.
    pub trace_hash: String,
    /// Number of events.
    pub events: u64,
    /// Simulated time at the end, in nanoseconds.
    pub simulated_ns: Time,
    /// How the run ended, with the marks it reached.
    pub ending: Ending,
    /// What happened to records and partitions, by kind, and what other settings would have done.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stories: Vec<Story>,
    /// How many branches there are that its page does not have.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub branches_left_out: usize,
    /// The questions of its lesson, answered by this run.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lesson: Vec<Question>,
    /// What the checkers knew of the scenario.
    pub plan: Plan,
    /// Every setting that was in force, as its engine resolved it.
    pub config: serde_json::Value,
    /// The scenario file.
    pub scenario_text: String,
    /// The scenario that the seed drew from it, where the file has `[swarm]`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drawn: Option<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One key that a variant changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The key as the scenario writes it.
    pub key: String,
    /// Its value without the variant, if it had one.
    pub from: Option<String>,
    /// Its value with it.
    pub to: String,
}

/// The manifest as indented JSON; the order of keys is that of the fields.
pub(super) fn to_json(manifest: &Manifest) -> String {
    let mut text = serde_json::to_string_pretty(manifest).expect("a manifest is plain data with string keys");
    text.push('\n');
    text
}
