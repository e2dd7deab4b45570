//! `diff`: two runs of one scenario beside each other - two seeds, two variants, two versions of its file. What was
//! set otherwise, what became of it, the first event that differs with what came before, and the milestones side by
//! side. Times are not compared, they are shown: another seed is another weather.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};
use similar::{Algorithm, ChangeTag, TextDiff, capture_diff_slices};
use thiserror::Error;

use super::{Manifest, Recorded, milestones, terminal};
use crate::{
    base::Time,
    check::Status,
    trace::{Event, journal::Entry},
};

/// Version of what `--format json` prints.
const SCHEMA: &str = "highwater/diff/1";
/// Events shown before and from the first one that differs.
const CONTEXT: usize = 3;
/// Most rows of milestones shown; the rest is counted.
const ROWS_MAX: usize = 200;
/// Widest text of a milestone in a column.
const COLUMN: usize = 70;

/// Why two runs cannot be compared.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DiffError {
    /// They are runs of different scenarios.
    #[error(
        "these are runs of different scenarios, {0} and {1}; diff compares two seeds, two variants, or two versions of one"
    )]
    DifferentScenarios(String, String),
}

/// How two runs differ.
#[derive(Debug)]
pub struct Diff<'a> {
    a: &'a Recorded,
    b: &'a Recorded,
    settings: Vec<Setting>,
    divergence: Option<Divergence<'a>>,
    milestones: Vec<Row>,
}

/// A setting that is not the same.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    key: String,
    a: Option<String>,
    b: Option<String>,
}

/// Where the journals part.
#[derive(Debug)]
struct Divergence<'a> {
    /// The last events that are the same.
    before: &'a [Entry],
    /// What follows in the one, and in the other.
    a: &'a [Entry],
    b: &'a [Entry],
}

/// A milestone of either run, or of both.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    node: String,
    text: String,
    a: Option<Time>,
    b: Option<Time>,
}

impl<'a> Diff<'a> {
    /// Compares two runs.
    ///
    /// # Errors
    /// [`DiffError::DifferentScenarios`].
    pub fn of(a: &'a Recorded, b: &'a Recorded) -> Result<Self, DiffError> {
        let (one, other) = (&a.manifest, &b.manifest);
        if one.scenario != other.scenario {
            return Err(DiffError::DifferentScenarios(one.scenario.clone(), other.scenario.clone()));
        }
        let (divergence, milestones) = (divergence(&a.entries, &b.entries), rows(&a.entries, &b.entries));
        Ok(Self { a, b, settings: settings(one, other), divergence, milestones })
    }

    /// For people.
    pub fn text(&self) -> String {
        let (a, b) = (&self.a.manifest, &self.b.manifest);
        let mut text = String::new();
        for (name, manifest) in [("A", a), ("B", b)] {
            line(&mut text, format_args!("{name}  {}", terminal::run_name(manifest)));
            line(&mut text, format_args!("   {}", manifest.verdict.sentence));
        }
        text.push_str("\nWhat was set otherwise\n");
        if self.settings.is_empty() && a.scenario_text == b.scenario_text {
            text.push_str("  nothing\n");
        }
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
        for Setting { key, a, b } in &self.settings {
            line(&mut text, format_args!("  {key}: {} in A, {} in B", shown(a), shown(b)));
        }
        if a.scenario_text != b.scenario_text {
            text.push_str("  the scenario file itself:\n");
            text.push_str(&file_diff(&a.scenario_text, &b.scenario_text));
        }
        text.push_str("\nWhat became of it\n");
        for (what, a, b) in self.outcomes() {
            line(&mut text, format_args!("  {what}: {a} in A, {b} in B"));
        }
        text.push_str("\nThe first event that differs\n");
        match &self.divergence {
            None => text.push_str("  none: both runs are the same, event by event\n"),
            Some(divergence) => text.push_str(&divergence.text()),
        }
        text.push_str("\nMilestones, A beside B\n");
        for row in self.milestones.iter().take(ROWS_MAX) {
            text.push_str(&row.text());
        }
        let all = self.milestones.len();
        if all > ROWS_MAX {
            line(&mut text, format_args!("  showing {ROWS_MAX} of {all}; --format json has all"));
        }
        text
    }

    /// For programs: one object on one line.
    pub fn json(&self) -> String {
        let run = |manifest: &Manifest| {
            json!({
                "scenario": manifest.scenario, "variant": manifest.variant, "set": manifest.set, "seed": manifest.seed,
                "trace_hash": manifest.trace_hash, "exit": manifest.verdict.exit, "verdict": manifest.verdict.sentence,
            })
        };
        let settings: Vec<Value> =
            self.settings.iter().map(|Setting { key, a, b }| json!({ "key": key, "a": a, "b": b })).collect();
        let outcomes: Vec<Value> =
            self.outcomes().into_iter().map(|(what, a, b)| json!({ "what": what, "a": a, "b": b })).collect();
        let rows: Vec<Value> = self
            .milestones
            .iter()
            .map(|row| json!({ "node": row.node, "text": row.text, "a_ns": row.a, "b_ns": row.b }))
            .collect();
        let divergence = self
            .divergence
            .as_ref()
            .map(|found| json!({ "before": found.before, "a": found.a.first(), "b": found.b.first() }));
        json!({
            "schema": SCHEMA,
            "a": run(&self.a.manifest),
            "b": run(&self.b.manifest),
            "settings": settings,
            "file_differs": self.a.manifest.scenario_text != self.b.manifest.scenario_text,
            "outcomes": outcomes,
            "first_divergent_event": divergence,
            "milestones": rows,
        })
        .to_string()
    }

    /// Verdicts, counts, claims and marks that are not the same.
    fn outcomes(&self) -> Vec<(String, String, String)> {
        let (a, b) = (&self.a.manifest, &self.b.manifest);
        let lost = |manifest: &Manifest| format!("{} of {}", manifest.verdict.lost.len(), manifest.verdict.acked);
        let mut found = vec![("acknowledged records lost".to_owned(), lost(a), lost(b))];
        // That a violation was expected is the scenario's word, not the run's.
        let plain = |status: Status| match status {
            Status::ViolatedAsExpected => Status::Violated.to_string(),
            other => other.to_string(),
        };
        for finding in &a.verdict.findings {
            let other = b.verdict.finding(finding.claim);
            found.push((finding.claim.to_string(), plain(finding.status), plain(other.status)));
        }
        let marks = a.ending.marks.iter().chain(&b.ending.marks).map(|mark| (mark.to_string(), ()));
        for mark in marks.collect::<BTreeMap<_, _>>().into_keys() {
            let reached = |manifest: &Manifest| match manifest.ending.marks.iter().any(|known| **known == *mark) {
                true => "reached".to_owned(),
                false => "not reached".to_owned(),
            };
            found.push((format!("mark {mark}"), reached(a), reached(b)));
        }
        let first = found.remove(0);
        std::iter::once(first).chain(found.into_iter().filter(|(_, a, b)| a != b)).collect()
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a string does not fail");
    text.push('\n');
}

/// Seed, variant, and every setting that the scenario resolved to.
fn settings(a: &Manifest, b: &Manifest) -> Vec<Setting> {
    let all = |manifest: &Manifest| {
        let mut found = BTreeMap::new();
        flatten("", &manifest.config, &mut found);
        for change in manifest.changes.iter().filter(|change| change.key.starts_with("step ")) {
            found.insert(change.key.clone(), change.to.clone());
        }
        found.insert("seed".into(), manifest.seed.to_string());
        found.insert("variant".into(), manifest.variant.clone().unwrap_or_else(|| "none".into()));
        found
    };
    let mut found = (all(a), all(b));
    // A step that the other run does not change is as the scenario has it.
    for (of, changes) in [(&mut found.0, &b.changes), (&mut found.1, &a.changes)] {
        for change in changes.iter().filter(|change| change.key.starts_with("step ")) {
            of.entry(change.key.clone()).or_insert_with(|| change.from.clone().unwrap_or_default());
        }
    }
    let (a, b) = found;
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    let setting = |key: &String| Setting { key: key.clone(), a: a.get(key).cloned(), b: b.get(key).cloned() };
    keys.into_iter().map(setting).filter(|setting| setting.a != setting.b).collect()
}

fn flatten(prefix: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, found);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            found.insert(prefix.to_owned(), text.clone());
        }
        other => {
            found.insert(prefix.to_owned(), other.to_string());
        }
    }
}

/// The lines of the file that are not the same.
fn file_diff(a: &str, b: &str) -> String {
    let diff = TextDiff::from_lines(a, b);
    let changed = diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal);
    changed
        .map(|change| {
            let (sign, line) = match change.tag() {
                ChangeTag::Delete => ("A", change.old_index()),
                _ => ("B", change.new_index()),
            };
            let line = line.map_or(0, |line| line + 1);
            format!("    {sign} {line:>4}  {}\n", change.value().trim_end())
        })
        .collect()
}

/// Where the journals part: who did what, whatever the time.
fn divergence<'a>(a: &'a [Entry], b: &'a [Entry]) -> Option<Divergence<'a>> {
    let same = |(a, b): &(&Entry, &Entry)| a.node == b.node && a.event == b.event;
    let at = a.iter().zip(b).take_while(same).count();
    if at == a.len() && at == b.len() {
        return None;
    }
    let rest = |entries: &'a [Entry]| &entries[at..entries.len().min(at + CONTEXT)];
    Some(Divergence { before: &a[at.saturating_sub(CONTEXT)..at], a: rest(a), b: rest(b) })
}

impl Divergence<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut show = |name: &str, entries: &[Entry]| {
            for entry in entries {
                line(&mut text, format_args!("  {name:<5} {}", event_text(entry)));
            }
            if entries.is_empty() {
                line(&mut text, format_args!("  {name:<5} nothing more"));
            }
        };
        if !self.before.is_empty() {
            show("both", self.before);
        }
        show("A", self.a);
        show("B", self.b);
        text
    }
}

/// `#12 0.011s b1 message_sent to=c1 api=Fetch`.
fn event_text(entry: &Entry) -> String {
    let Entry { id, time, node, event, .. } = entry;
    let fields = serde_json::to_value(event).expect("an event is plain data");
    let mut text = format!("#{} {time} {node}", id.0);
    for (name, value) in fields.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match name.as_str() {
            "kind" => text.push_str(&format!(" {value}")),
            "batches" => {}
            _ => text.push_str(&format!(" {name}={value}")),
        }
    }
    text
}

/// The milestones of both, those that are the same in one row.
fn rows(a: &[Entry], b: &[Entry]) -> Vec<Row> {
    let (a, b) = (milestones::told(a), milestones::told(b));
    let words = |told: &[(&Entry, String)]| -> Vec<(String, String)> {
        told.iter().map(|(entry, text)| (entry.node.to_string(), without_note(entry, text))).collect()
    };
    let (one, other) = (words(&a), words(&b));
    let mut rows = Vec::new();
    for change in
        capture_diff_slices(Algorithm::Myers, &one, &other).iter().flat_map(|op| op.iter_changes(&one, &other))
    {
        let (node, text) = change.value();
        let time = |told: &[(&Entry, String)], index: Option<usize>| index.map(|index| told[index].0.time);
        rows.push(Row { node, text, a: time(&a, change.old_index()), b: time(&b, change.new_index()) });
    }
    rows
}

/// A step's note says the same in every run of a scenario: only what is done counts.
fn without_note(entry: &Entry, text: &str) -> String {
    match &entry.event {
        Event::StepFired { step, action, note: Some(_) } if action != "nothing" => format!("step {step}: {action}"),
        _ => text.to_owned(),
    }
}

impl Row {
    fn text(&self) -> String {
        let side = match (self.a, self.b) {
            (Some(_), Some(_)) => ' ',
            (Some(_), None) => 'A',
            _ => 'B',
        };
        let time = |time: Option<Time>| time.map(|time| time.to_string()).unwrap_or_default();
        let Self { node, text, a, b } = self;
        let text: String = match text.chars().count() > COLUMN {
            true => text.chars().take(COLUMN - 3).chain("...".chars()).collect(),
            false => text.clone(),
        };
        format!("  {side} {:>9} {:>9}  {node:<9} {text}\n", time(*a), time(*b))
    }
}
