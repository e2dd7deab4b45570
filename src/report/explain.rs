//! `explain`: the life of a record, told again from a run's folder.

use thiserror::Error;

use super::{JOURNAL_FILE, MANIFEST_FILE, Manifest, Messages, Recorded, SCHEMA, story_text, terminal};
use crate::{
    base::{Offset, TopicPartition},
    check::{
        Claim, Lost,
        story::{self, Kind},
    },
    trace::{
        Event,
        journal::{self, Entry},
    },
};

/// Why a run cannot be explained.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExplainError {
    /// The manifest is not one.
    #[error("{MANIFEST_FILE}: not the manifest of a run: {0}")]
    Manifest(String),
    /// A line of the journal is no event.
    #[error("{JOURNAL_FILE}:{line}:{column}: {error}")]
    Journal {
        /// The line from 1.
        line: usize,
        /// The column from 1.
        column: usize,
        /// What is wrong with it.
        error: String,
    },
    /// Manifest and journal are not of one run, or one of them was changed.
    #[error("{JOURNAL_FILE}: not the journal of this run: {0}; run it again with\n    {1}")]
    Damaged(String, String),
    /// The record's name cannot be read.
    #[error("`{0}` is not a record; expected partition@offset, as `orders-0@5`")]
    Record(String),
    /// No log ever had a record there.
    #[error("{partition}@{offset}: no log ever had a record there; {hint}")]
    NoSuchRecord {
        /// Its partition.
        partition: TopicPartition,
        /// Its offset.
        offset: Offset,
        /// Which records there are.
        hint: String,
    },
}

/// Reads a manifest.
///
/// # Errors
/// [`ExplainError::Manifest`] where the text is not what a run of this version wrote.
pub fn read_manifest(text: &str) -> Result<Manifest, ExplainError> {
    let manifest: Manifest = serde_json::from_str(text).map_err(|error| ExplainError::Manifest(error.to_string()))?;
    if *manifest.schema != *SCHEMA {
        let found = &manifest.schema;
        return Err(ExplainError::Manifest(format!("schema is `{found}`, this version reads `{SCHEMA}`")));
    }
    let has_finding = |claim: &Claim| manifest.verdict.findings.iter().any(|finding| finding.claim == *claim);
    match Claim::ALL.iter().find(|claim| !has_finding(claim)) {
        Some(claim) => Err(ExplainError::Manifest(format!("it says nothing about the claim `{claim}`"))),
        None => Ok(manifest),
    }
}

/// Reads a run back from the text of its manifest and its journal. The journal has to have the hash that the manifest
/// names: what is told from it is what happened.
///
/// # Errors
/// [`ExplainError::Manifest`] or [`ExplainError::Journal`] where a text is not what a run wrote,
/// [`ExplainError::Damaged`] where they do not belong together.
pub fn load(manifest: &str, events: &str) -> Result<Recorded, ExplainError> {
    let mut manifest = read_manifest(manifest)?;
    let mut entries = Vec::new();
    for (index, line) in events.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let entry: Entry = serde_json::from_str(line).map_err(|error| {
            // It names a place within the line, which is the first for it.
            let (place, text) = (format!(" at line {} column {}", error.line(), error.column()), error.to_string());
            let error_alone = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            ExplainError::Journal { line: index + 1, column: error.column(), error: error_alone }
        })?;
        entries.push(entry);
    }
    let (found, expected) = (entries.len() as u64, manifest.events);
    let (hash, recorded) = (journal::hash_of(&entries), &manifest.trace_hash);
    if found != expected || hash != *recorded {
        let problem = match found == expected {
            true => format!("its hash is {hash}, {MANIFEST_FILE} says {recorded}"),
            false => format!("it has {found} events, {MANIFEST_FILE} says {expected}"),
        };
        return Err(ExplainError::Damaged(problem, terminal::run_command(&manifest)));
    }
    story::tell(&entries, &manifest.plan, &mut manifest.verdict.lost);
    story::remember(&manifest.stories, &mut manifest.verdict.lost);
    Ok(Recorded { manifest, entries, messages: Messages::default(), branches: Vec::new() })
}

/// The verdict and the life of `record` (`orders-0@5`), or without one every story; records that share a fate share it.
///
/// # Errors
/// [`ExplainError::Record`] for a name that cannot be read, [`ExplainError::NoSuchRecord`] for one nobody knows.
pub fn explain(run: &Recorded, record: Option<&str>) -> Result<String, ExplainError> {
    let verdict = &run.manifest.verdict;
    let Some(name) = record else {
        let mut text = format!("{}\n", verdict.sentence);
        if verdict.lost.is_empty() {
            text.push_str(
                "No acknowledged record was lost; --record PARTITION@OFFSET tells the life of one that was kept.\n",
            );
        }
        for sharers in story_text::fates(&verdict.lost) {
            text.push('\n');
            text.push_str(&story_text::life(sharers[0], &sharers));
        }
        for story in run.manifest.stories.iter().filter(|story| story.kind != Kind::Lost) {
            text.push_str(&format!("\n{}", story_text::other(story)));
        }
        return Ok(text);
    };
    let (partition, offset) = parse_record(name)?;
    let lost = verdict.lost.iter().find(|lost| lost.partition == partition && lost.offset == offset);
    if let Some(lost) = lost {
        return Ok(story_text::life(lost, &[lost]));
    }
    survivor(run, partition, offset)
}

fn parse_record(name: &str) -> Result<(TopicPartition, Offset), ExplainError> {
    let parsed = name.split_once('@').and_then(|(partition, offset)| {
        Some((partition.parse().ok()?, Offset(offset.parse().ok().filter(|offset| *offset >= 0)?)))
    });
    parsed.ok_or_else(|| ExplainError::Record(name.to_owned()))
}

/// The life of an acknowledged record that is not lost.
fn survivor(run: &Recorded, partition: TopicPartition, offset: Offset) -> Result<String, ExplainError> {
    let acked = run.entries.iter().find_map(|entry| match &entry.event {
        Event::RecordAcked { record, partition: p, offset: o } if *p == partition && *o == offset => {
            Some((entry.node.clone(), *record, entry.id))
        }
        _ => None,
    });
    let Some((producer, record, acked)) = acked else { return unpromised(run, partition, offset) };
    let value = run.entries.iter().find_map(|entry| match &entry.event {
        Event::RecordSent { record: sent, value, .. } if entry.node == producer && *sent == record => {
            Some(value.clone())
        }
        _ => None,
    });
    let value = value.map(|value| value.to_string()).unwrap_or_default();
    let cause = crate::check::Cause::Unknown;
    let mut record = [Lost { partition, offset, value, cause, producer, record, acked, life: story::Life::default() }];
    story::tell(&run.entries, &run.manifest.plan, &mut record);
    record[0].life.therefore.clear();
    let text = story_text::life(&record[0], &[]);
    Ok(text.replacen("LOST", "KEPT", 1))
}

/// The life of a record that was in a log, and that no producer was told of.
fn unpromised(run: &Recorded, partition: TopicPartition, offset: Offset) -> Result<String, ExplainError> {
    if let Some(lines) = story::unpromised(&run.entries, &partition, offset) {
        return Ok(format!("UNPROMISED {partition}@{offset}\n{}", story_text::told(&lines, &[])));
    }
    let ends = run.entries.iter().filter_map(|entry| match &entry.event {
        Event::Appended { partition: p, end_offset, .. } if *p == partition => Some(*end_offset),
        _ => None,
    });
    let hint = match ends.max() {
        Some(end) => format!("its logs went up to {end}"),
        None => {
            let mut known: Vec<String> = Vec::new();
            for entry in &run.entries {
                if let Event::PartitionChanged { partition, .. } = &entry.event
                    && !known.contains(&partition.to_string())
                {
                    known.push(partition.to_string());
                }
            }
            format!("the partitions of this run are {}", known.join(", "))
        }
    };
    Err(ExplainError::NoSuchRecord { partition, offset, hint })
}
