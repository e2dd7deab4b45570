//! `story.txt`: the verdict, the claims, the milestones, and the life of each lost record.

use std::fmt::Write;

use super::{
    Manifest, Recorded, milestones,
    terminal::{lost_lines, offsets, outcome, replay_command, run_name},
};
use crate::{
    base::Offset,
    check::{
        Finding, Lost, Status,
        story::{Kind, Life, Line, Sentence, Story},
    },
};

/// The whole text.
pub(super) fn story(run: &Recorded) -> String {
    let manifest = &run.manifest;
    let mut text = head(manifest);
    text.push_str(&claims(&manifest.verdict.findings));
    text.push_str("\nWhat happened\n");
    for line in milestones::lines(&run.entries) {
        text.push_str(&format!("  {line}\n"));
    }
    let lives = lives(&manifest.verdict.lost);
    if !lives.is_empty() {
        text.push_str("\nThe life of each lost record\n");
        text.push_str(&lives);
    }
    let others: Vec<&Story> = manifest.stories.iter().filter(|story| story.kind != Kind::Lost).collect();
    if !others.is_empty() {
        text.push_str("\nOther stories\n");
        others.iter().for_each(|story| text.push_str(&format!("\n{}", other(story))));
    }
    text
}

/// Verdict, replay command, what was run.
fn head(manifest: &Manifest) -> String {
    let verdict = &manifest.verdict;
    let mut text = format!("{}\n\n  {}\n", verdict.sentence, manifest.title);
    if let Some(teaches) = &manifest.teaches {
        text.push_str(&format!("  {teaches}\n"));
    }
    text.push_str(&format!("\n  run      {}: {}\n", run_name(manifest), outcome(verdict)));
    text.push_str(&format!("  replay   {}\n", replay_command(manifest)));
    for change in &manifest.changes {
        let from = change.from.as_deref().unwrap_or("default");
        text.push_str(&format!("  variant  {} = {} (was {from})\n", change.key, change.to));
    }
    for (name, value) in &manifest.plan.switches {
        text.push_str(&format!("  switch   {name} = {value}\n"));
    }
    let (events, simulated) = (manifest.events, manifest.simulated_ns);
    text.push_str(&format!("  trace    {} ({events} events, {simulated} simulated)\n", manifest.trace_hash));
    for line in lost_lines(verdict) {
        text.push_str(&format!("  {line}\n"));
    }
    for complaint in &verdict.complaints {
        text.push_str(&format!("  not as expected: {complaint}\n"));
    }
    text
}

/// The table of claims, each with its meaning; below it notes and witnesses.
fn claims(findings: &[Finding]) -> String {
    let mut text = String::from("\nClaims\n");
    for finding in findings.iter().filter(|finding| finding.concerns_the_run()) {
        let (claim, status) = (finding.claim, finding.status);
        let checks = if finding.checks == 1 { "1 check".to_owned() } else { format!("{} checks", finding.checks) };
        let count = match finding.violations {
            0 => checks,
            violations => format!("{violations} of {checks}"),
        };
        writeln!(text, "  {claim:<24} {status:<21} {count:<16} {}", claim.meaning()).expect("a string takes it");
        if let Some(note) = &finding.note {
            writeln!(text, "      note: {note}").expect("a string takes it");
        }
        if matches!(status, Status::Violated | Status::ViolatedAsExpected) {
            text.push_str(&witnesses(finding));
        }
    }
    text
}

fn witnesses(finding: &Finding) -> String {
    let mut text = String::new();
    for witness in &finding.witnesses {
        let events: Vec<String> = witness.events.iter().map(|event| format!("#{}", event.0)).collect();
        writeln!(text, "      {} ({})", witness.text, events.join(" ")).expect("a string takes it");
    }
    let shown = finding.witnesses.len() as u64;
    if shown < finding.violations {
        writeln!(text, "      showing {shown} of {}", finding.violations).expect("a string takes it");
    }
    text
}

/// The lives, told once for all records that share one.
fn lives(lost: &[Lost]) -> String {
    fates(lost).iter().map(|sharers| format!("\n{}", life(sharers[0], sharers))).collect()
}

/// The lost records, those together that share a fate, each lot in order.
pub(super) fn fates(lost: &[Lost]) -> Vec<Vec<&Lost>> {
    let mut fates: Vec<Vec<&Lost>> = Vec::new();
    for record in lost {
        match fates.iter_mut().find(|fate| fate[0].same_fate(record)) {
            Some(fate) => fate.push(record),
            None => fates.push(vec![record]),
        }
    }
    fates
}

/// The life of one record; `sharers` are the records with the same fate, itself among them.
pub(super) fn life(lost: &Lost, sharers: &[&Lost]) -> String {
    let Life { lines, therefore, .. } = &lost.life;
    let mut text = format!("LOST {}", lost.subject());
    if let [_, rest @ ..] = sharers
        && !rest.is_empty()
    {
        let from = shared_from(lost, sharers);
        let others: Vec<Offset> = rest.iter().map(|other| other.offset).collect();
        let (count, others) = (sharers.len(), offsets(&others));
        let share = if rest.len() == 1 { "shares" } else { "share" };
        text.push_str(&format!("  (one of {count}; @ {others} {share} this story from line {from} on)"));
    }
    text.push('\n');
    text.push_str(&told(lines, therefore));
    text
}

/// A story that is not the life of a lost record.
pub(super) fn other(story: &Story) -> String {
    let more = match story.records.len() {
        0 | 1 => String::new(),
        records if story.kind == Kind::Reordered => format!("  ({records} records)"),
        records => format!("  (one of {records})"),
    };
    let mut text = format!("{} {}{more}\n{}", story.kind.word(), story.subject, told(&story.lines, &story.therefore));
    if story.untold > 0 {
        text.push_str(&format!("({} more stories of this kind are not told)\n", story.untold));
    }
    text
}

/// The lines of a story and what follows from them.
pub(super) fn told(lines: &[Line], therefore: &[Sentence]) -> String {
    let mut text = String::new();
    let width = lines.iter().map(|line| line.node.len()).max().unwrap_or(0);
    for (index, line) in lines.iter().enumerate() {
        text.push_str(&life_line(index + 1, line, width));
    }
    for (index, sentence) in therefore.iter().enumerate() {
        let label = if index == 0 { "Therefore: " } else { "           " };
        text.push_str(&format!("{label}{sentence}\n"));
    }
    text
}

fn life_line(number: usize, line: &Line, width: usize) -> String {
    let Line { time, node, text, copies, moment, .. } = line;
    let copies = copies.as_ref().map(|copies| format!("  copies {copies}")).unwrap_or_default();
    let moment = moment.map(|moment| format!("  <- {}", moment.name())).unwrap_or_default();
    format!("  {number:>2}  {time:>8} {node:<width$}  {text}{copies}{moment}\n")
}

/// Number of the first line after which every line of the record is a line of each sharer too.
pub(super) fn shared_from(lost: &Lost, sharers: &[&Lost]) -> usize {
    let shared =
        |line: &Line| sharers.iter().all(|other| other.life.lines.iter().any(|theirs| theirs.event == line.event));
    let own = lost.life.lines.iter().rposition(|line| !shared(line));
    own.map_or(1, |index| index + 2)
}
