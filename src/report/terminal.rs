//! What a command prints about one finished run.

use std::{collections::BTreeMap, fmt::Write};

use super::Manifest;
use crate::{
    base::Offset,
    check::{Cause, Claim, Finding, Status, Verdict},
};

/// Most runs of offsets named for one partition; the rest is counted.
const RUNS_MAX: usize = 12;

/// A line with the verdict of the run; then, indented, what was lost and why, what else broke, what is not as expected, and the command
/// that runs it again, where there is any of it.
pub fn run_lines(manifest: &Manifest) -> String {
    let verdict = &manifest.verdict;
    let mut text = format!("{}  {}\n", run_name(manifest), outcome(verdict));
    for line in lost_lines(verdict) {
        writeln!(text, "  {line}").expect("writing to a string does not fail");
    }
    // Lost records have been told already.
    let taught = verdict.findings.iter().filter(|finding| finding.is_taught_violation());
    let taught: Vec<String> =
        taught.filter(|finding| finding.claim != Claim::AckedRecordsSurvive).map(Finding::complaint).collect();
    for line in taught.iter().chain(&verdict.complaints) {
        writeln!(text, "  {line}").expect("writing to a string does not fail");
    }
    if verdict.exit != 0 || !verdict.lost.is_empty() || !taught.is_empty() {
        writeln!(text, "  replay: {}", replay_command(manifest)).expect("writing to a string does not fail");
    }
    text
}

/// `01-acks-one-leader-crash seed 7 [acks=all]`.
pub(super) fn run_name(manifest: &Manifest) -> String {
    let variant = manifest.variant.as_ref().map(|variant| format!(" [{variant}]")).unwrap_or_default();
    let set: String = manifest.set.iter().map(|set| format!(" [{set}]")).collect();
    format!("{}{variant}{set} seed {}", manifest.scenario, manifest.seed)
}

/// The verdict in a few words: what became of the claim that the run is about.
pub(super) fn outcome(verdict: &Verdict) -> String {
    let survival = verdict.finding(Claim::AckedRecordsSurvive);
    let records = match (verdict.lost.len(), verdict.acked) {
        (_, 0) => "nothing was acknowledged".to_owned(),
        (0, acked) if survival.status == Status::Unknown => format!("fate of {acked} acknowledged records unknown"),
        (0, acked) => format!("none of {acked} acknowledged records lost"),
        (lost, acked) => format!("{lost} of {acked} acknowledged records lost"),
    };
    let breaks =
        survival.status == Status::ViolatedAsExpected || verdict.findings.iter().any(Finding::is_taught_violation);
    let word = match verdict.exit {
        0 if breaks => "violated as expected",
        0 => "as expected",
        1 => "UNEXPECTED",
        2 => "UNKNOWN",
        _ => "HARNESS FAULT",
    };
    format!("{word}: {records}")
}

/// The lost records, a line for each partition and cause.
pub(super) fn lost_lines(verdict: &Verdict) -> Vec<String> {
    let mut groups: BTreeMap<(String, Cause), Vec<Offset>> = BTreeMap::new();
    for lost in &verdict.lost {
        groups.entry((lost.partition.to_string(), lost.cause)).or_default().push(lost.offset);
    }
    let line = |((partition, cause), lost): ((String, Cause), Vec<Offset>)| {
        format!("lost {partition} @ {}: {} ({cause})", offsets(&lost), cause.reason())
    };
    groups.into_iter().map(line).collect()
}

/// Ascending offsets, those that follow each other as `4 to 19`.
pub(super) fn offsets(offsets: &[Offset]) -> String {
    let runs: Vec<&[Offset]> = offsets.chunk_by(|a, b| a.next() == *b).collect();
    let show = |run: &&[Offset]| match run {
        [first, _, .., last] => vec![format!("{first} to {last}")],
        few => few.iter().map(Offset::to_string).collect(),
    };
    let named = runs.iter().take(RUNS_MAX).flat_map(show).collect::<Vec<_>>().join(", ");
    match runs.iter().skip(RUNS_MAX).map(|run| run.len()).sum::<usize>() {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The run as one JSON object on one line, for programs; `schema` tells its version.
pub fn run_json(manifest: &Manifest) -> String {
    let verdict = &manifest.verdict;
    let claims: serde_json::Map<String, serde_json::Value> = verdict
        .findings
        .iter()
        .filter(|finding| finding.concerns_the_run())
        .map(|finding| (finding.claim.name().to_owned(), serde_json::json!(finding.status)))
        .collect();
    let lost: Vec<serde_json::Value> = verdict
        .lost
        .iter()
        .map(|lost| serde_json::json!({"partition": lost.partition, "offset": lost.offset, "cause": lost.cause}))
        .collect();
    serde_json::json!({
        "schema": "highwater/verdict/1",
        "scenario": manifest.scenario,
        "variant": manifest.variant,
        "seed": manifest.seed,
        "exit": verdict.exit,
        "verdict": verdict.sentence,
        "complaints": verdict.complaints,
        "acked": verdict.acked,
        "unpromised": verdict.unpromised,
        "lost": lost,
        "claims": claims,
        "trace_hash": manifest.trace_hash,
        "events": manifest.events,
        "simulated_ns": manifest.simulated_ns,
        "replay": replay_command(manifest),
    })
    .to_string()
}

/// The command that runs exactly this again and demands the same hash.
pub fn replay_command(manifest: &Manifest) -> String {
    command("replay", manifest)
}

/// The command that runs exactly this again and writes its report.
pub fn run_command(manifest: &Manifest) -> String {
    command("run", manifest)
}

fn command(verb: &str, manifest: &Manifest) -> String {
    let variant =
        manifest.variant.as_ref().map(|variant| format!(" --variant {}", shell_word(variant))).unwrap_or_default();
    let set: String = manifest.set.iter().map(|set| format!(" --set {}", shell_word(set))).collect();
    format!("cargo sim {verb} {} --seed {}{variant}{set}", shell_word(&manifest.path), manifest.seed)
}

/// `text` as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
