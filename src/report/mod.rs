//! Renders what a run recorded: files of a run's folder, lines for the terminal, the life of a record.
//!
//! Input is a [`Recorded`]: the [`Manifest`] and the journal, nothing live. The same input gives the same bytes;
//! nothing here reads a clock, a path or an environment. A renderer returns text or bytes, and who called it writes
//! them.

mod branch;
mod catalogue;
mod diff;
mod explain;
pub mod lesson;
mod manifest;
mod messages;
mod milestones;
mod page;
mod perfetto;
mod story_text;
mod terminal;

pub use self::{
    branch::Branch,
    catalogue::{Listed, ListedRun, catalogue},
    diff::{Diff, DiffError},
    explain::{ExplainError, explain, load, read_manifest},
    manifest::{Change, Manifest, SCHEMA},
    messages::Messages,
    terminal::{replay_command, run_command, run_json, run_lines, shell_word},
};
use crate::trace::journal::Entry;

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// What was run and what came of it.
    pub manifest: Manifest,
    /// Every event.
    pub entries: Vec<Entry>,
    /// What its messages said; none where that was not kept.
    pub messages: Messages,
    /// The same seed with one thing changed, as the page lists them.
    pub branches: Vec<Branch>,
}

/// One file of a run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name within the folder.
    pub name: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Name of the manifest in a run's folder.
pub const MANIFEST_FILE: &str = "run.json";
/// Name of the journal in a run's folder.
pub const JOURNAL_FILE: &str = "events.jsonl";
/// Name of what the messages said in a run's folder.
pub const MESSAGES_FILE: &str = "messages.json";
/// Name of the text for people in a run's folder.
pub const STORY_FILE: &str = "story.txt";

/// Name of the branches in a run's folder, which the page carries: the same seed with each variant, and without each fault.
pub const BRANCHES_FILE: &str = "branches.json";
/// Name of the page in a run's folder.
pub const PAGE_FILE: &str = "report.html";
/// Name of the timeline for the Perfetto viewer in a run's folder.
pub const PERFETTO_FILE: &str = "trace.perfetto.json";

/// Name of the page that lists every scenario, beside the folders of the runs.
pub const CATALOGUE_FILE: &str = "index.html";

/// Names of the files of a run's folder, in the order to write them. A run whose journal was not kept has no journal, and
/// nothing that is drawn from it.
pub fn names(run: &Recorded) -> Vec<&'static str> {
    let all = [STORY_FILE, MANIFEST_FILE, JOURNAL_FILE, MESSAGES_FILE, BRANCHES_FILE, PAGE_FILE, PERFETTO_FILE];
    let has = |name: &&str| match *name {
        STORY_FILE | MANIFEST_FILE => true,
        MESSAGES_FILE => !run.messages.is_empty(),
        BRANCHES_FILE => !run.branches.is_empty(),
        _ => !run.entries.is_empty(),
    };
    all.into_iter().filter(has).collect()
}

/// The files that `run` wrote beside its journal and that are not here, each with what the page lacks without it.
pub fn missing(run: &Recorded) -> Vec<(&'static str, &'static str)> {
    let declares = |table: &str| run.manifest.scenario_text.lines().any(|line| line.trim() == table);
    let mut missing = Vec::new();
    if run.messages.is_empty() && run.entries.iter().any(|entry| entry.event.is_message()) {
        missing.push((MESSAGES_FILE, "what the messages said"));
    }
    if run.branches.is_empty() && (declares("[[variant]]") || declares("[[step]]")) {
        missing.push((BRANCHES_FILE, "the branches"));
    }
    missing
}

/// The file `name` of a run's folder.
///
/// # Panics
/// It is none of [`names`].
pub fn file(run: &Recorded, name: &'static str) -> File {
    let bytes = match name {
        STORY_FILE => story_text::story(run).into_bytes(),
        MANIFEST_FILE => manifest::to_json(&run.manifest).into_bytes(),
        JOURNAL_FILE => journal_lines(&run.entries),
        MESSAGES_FILE => serde_json::to_vec(&run.messages).expect("messages are plain data"),
        BRANCHES_FILE => serde_json::to_vec(&run.branches).expect("branches are plain data"),
        PAGE_FILE => page::render(run).into_bytes(),
        PERFETTO_FILE => perfetto::render(run).into_bytes(),
        other => panic!("a run has no file {other}"),
    };
    File { name, bytes }
}

/// The journal as one JSON object a line.
fn journal_lines(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * 160);
    for entry in entries {
        serde_json::to_writer(&mut bytes, entry).expect("an event is plain data and a vector takes any bytes");
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests;
