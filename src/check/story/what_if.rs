//! What other settings would have done: a sentence that says so, and what running them with the same seed and the same
//! faults showed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Kind, Moment, Record, Story, words::count};
use crate::{
    base::TopicPartition,
    check::{Ending, Lost, Verdict},
    trace::{Event, journal::Entry},
};

/// A sentence of a conclusion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    /// What it says.
    pub text: String,
    /// The settings that it speaks of, if it can be tried.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub what_if: Option<WhatIf>,
}

/// Settings that can be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// Each `KEY=VALUE`, as `run --set` takes it.
    pub set: Vec<String>,
    /// What the sentence says of them.
    pub effect: Effect,
    /// What running them showed, once they were run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ran: Option<Ran>,
}

/// Whether a story would have been another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It would not have happened.
    Helps,
    /// It would have happened all the same.
    DoesNotHelp,
}

/// What a run with other settings showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// It bears the sentence out.
    pub confirms: bool,
    /// What was seen.
    pub seen: String,
}

impl Sentence {
    /// A sentence that nothing has to be tried for.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), what_if: None }
    }

    /// A sentence about settings that can be tried.
    pub fn about(set: &[String], effect: Effect, text: impl Into<String>) -> Self {
        Self { text: text.into(), what_if: Some(WhatIf { set: set.to_vec(), effect, ran: None }) }
    }

    /// Whether the settings that it speaks of help, as running them showed; `None` where none were run.
    pub fn helps(&self) -> Option<bool> {
        let WhatIf { effect, ran, .. } = self.what_if.as_ref()?;
        Some((*effect == Effect::Helps) == ran.as_ref()?.confirms)
    }
}

/// The sentence, and what running its settings showed. Where that is not what the rules suggest - an operator overrides
/// the setting, another client does the same - the run has the word.
impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(WhatIf { set, effect, ran: Some(Ran { confirms: false, seen }) }) = &self.what_if {
            let would = match effect {
                Effect::Helps => "would NOT have helped here",
                Effect::DoesNotHelp => "would have helped here",
            };
            return write!(f, "{} {would}, as running it showed: {seen}.", set.join(" with "));
        }
        f.write_str(&self.text)?;
        match self.what_if.as_ref().and_then(|what_if| what_if.ran.as_ref()) {
            Some(Ran { seen, .. }) => write!(f, " Confirmed by running: {seen}."),
            None => Ok(()),
        }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It was acknowledged, and is there.
    Kept,
    /// It was acknowledged, and is gone.
    Lost,
    /// It was never acknowledged.
    Unpromised,
}

/// What a run left, as far as the sentences of another run's stories need it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Aftermath {
    /// What became of the records of each producer, by their number.
    pub fates: BTreeMap<Arc<str>, Vec<Fate>>,
    /// The stories it has: kind, partition, and whose records they are about.
    pub stories: Vec<(Kind, TopicPartition, Option<Arc<str>>)>,
    /// The longest time, in ms, that nobody in a group had each partition.
    #[serde(default)]
    pub unowned_ms: BTreeMap<TopicPartition, u64>,
    /// How many records groups have passed over, and how many they have worked on twice.
    #[serde(default)]
    pub unprocessed: usize,
    #[serde(default)]
    pub repeated: usize,
    /// Acknowledged records that are gone.
    pub lost: usize,
    /// Acknowledged records.
    pub acked: u64,
    /// It was not told to its end: it shows nothing.
    pub unfinished: bool,
}

impl Aftermath {
    /// What the run left.
    pub fn of(entries: &[Entry], verdict: &Verdict, ending: &Ending, stories: &[Story]) -> Self {
        let mut fates: BTreeMap<Arc<str>, Vec<Fate>> = BTreeMap::new();
        let mut put = |producer: &Arc<str>, record: u64, fate: Fate| {
            let of_producer = fates.entry(producer.clone()).or_default();
            let length = of_producer.len().max(record as usize + 1);
            of_producer.resize(length, Fate::Unpromised);
            of_producer[record as usize] = fate;
        };
        for entry in entries {
            match &entry.event {
                Event::RecordSent { record, .. } => put(&entry.node, *record, Fate::Unpromised),
                Event::RecordAcked { record, .. } => put(&entry.node, *record, Fate::Kept),
                _ => {}
            }
        }
        verdict.lost.iter().for_each(|lost| put(&lost.producer, lost.record, Fate::Lost));
        let of_kind = |kind| stories.iter().filter(move |story: &&Story| story.kind == kind);
        let count = |kind| of_kind(kind).map(|story| story.records.len()).sum();
        let mut unowned_ms: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        for story in of_kind(Kind::Rebalance) {
            let longest = unowned_ms.entry(story.partition.clone()).or_default();
            *longest = story.unowned_ms().max(*longest);
        }
        Self {
            fates,
            unowned_ms,
            unprocessed: count(Kind::Unprocessed),
            repeated: count(Kind::ProcessedTwice),
            stories: stories.iter().map(Story::key).collect(),
            lost: verdict.lost.len(),
            acked: verdict.acked,
            unfinished: ending.unfinished.is_some() || !ending.unfired.is_empty(),
        }
    }

    fn fate(&self, record: &Record) -> Fate {
        let fates = self.fates.get(&record.producer);
        fates.and_then(|fates| fates.get(record.number as usize)).copied().unwrap_or(Fate::Unpromised)
    }

    /// Whether `story` happened here too, and what was seen. `None`: this run does not tell.
    fn happened(&self, story: &Story) -> Option<(bool, String)> {
        if self.unfinished {
            return None;
        }
        let records = || format!("{} of {} acknowledged records lost", self.lost, self.acked);
        if story.kind == Kind::Lost {
            let count = |fate| story.records.iter().filter(|record| self.fate(record) == fate).count();
            let (lost, unpromised, all) = (count(Fate::Lost), count(Fate::Unpromised), story.records.len());
            let what = match (lost, unpromised) {
                (0, 0) if all == 1 => "the record was acknowledged and is there".to_owned(),
                (0, 0) => format!("all {all} of these records were acknowledged and are there"),
                (0, some) => format!("none of these records is lost, {some} of {all} were never acknowledged"),
                (lost, _) => format!("{lost} of {all} of these records lost again"),
            };
            return Some((lost > 0, what));
        }
        if story.kind == Kind::Rebalance {
            let (then, now) = (story.unowned_ms(), self.unowned_ms.get(&story.partition).copied().unwrap_or_default());
            let what = match now {
                0 => format!("{} was never without an owner", story.partition),
                u64::MAX => format!("nobody had {} to the end", story.partition),
                ms => format!("nobody had {} for {:.3} s", story.partition, ms as f64 / 1000.0),
            };
            // Half as long is another story.
            return Some((now > then / 2, what));
        }
        let again = self.stories.contains(&story.key());
        let what = match story.kind {
            Kind::Lost => unreachable!("lost records were told by their fates"),
            Kind::Duplicate if again => "a record is there twice again".to_owned(),
            Kind::Duplicate => format!("no record is there twice, {}", records()),
            Kind::Reordered if again => "records overtook each other again".to_owned(),
            Kind::Reordered => format!("all records stand in order, {}", records()),
            Kind::ReadThenTruncated if again => "a record that was read is gone again".to_owned(),
            Kind::ReadThenTruncated => "everything that was read is still there".to_owned(),
            Kind::HighWatermarkMovedBack if again => "the high watermark moved back again".to_owned(),
            Kind::HighWatermarkMovedBack => "the high watermark did not move back".to_owned(),
            Kind::Refused | Kind::RefusedAfterAppend if again => "the producer was refused again".to_owned(),
            Kind::Refused | Kind::RefusedAfterAppend => format!("the producer was not refused, {}", records()),
            Kind::Rebalance => unreachable!("what nobody had was told by its time"),
            Kind::Unprocessed | Kind::ProcessedTwice => {
                format!("{} skipped, {} done twice", count(self.unprocessed, "record"), count(self.repeated, "record"))
            }
            Kind::CommitRefused if again => "a commit was refused again".to_owned(),
            Kind::CommitRefused => "no such commit was refused".to_owned(),
            Kind::CommitNotSent if again => "a commit was not sent again".to_owned(),
            Kind::CommitNotSent => "every such commit was sent".to_owned(),
            Kind::Offline if again => "nobody led for a while again".to_owned(),
            Kind::Offline => format!("somebody led all the time, {}", records()),
        };
        Some((again, what))
    }
}

impl Story {
    /// What makes a story of another run the same story.
    fn key(&self) -> (Kind, TopicPartition, Option<Arc<str>>) {
        let of_producer = matches!(self.kind, Kind::Duplicate | Kind::Reordered);
        let producer = self.records.first().filter(|_| of_producer).map(|record| record.producer.clone());
        (self.kind, self.partition.clone(), producer)
    }

    /// Of a rebalance: how long nobody had the partition, in ms; the largest number: to the end.
    fn unowned_ms(&self) -> u64 {
        let time = |moment| self.lines.iter().find(|line| line.moment == Some(moment)).map(|line| line.time);
        match (time(Moment::Unowned), time(Moment::OwnedAgain)) {
            (Some(from), Some(to)) => u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX),
            _ => u64::MAX,
        }
    }

    /// The settings that its sentences speak of.
    pub fn sets(&self) -> impl Iterator<Item = &[String]> {
        self.therefore.iter().filter_map(|sentence| Some(sentence.what_if.as_ref()?.set.as_slice()))
    }

    /// Leaves out what was not tried: a sentence about other settings is told when a run has borne it out or not.
    pub fn tell_only_what_was_tried(&mut self) {
        self.therefore.retain(|sentence| sentence.what_if.as_ref().is_none_or(|what_if| what_if.ran.is_some()));
    }

    /// Takes in what running `set` left.
    pub fn learn(&mut self, set: &[String], aftermath: &Aftermath) {
        let Some((happened, seen)) = aftermath.happened(self) else { return };
        for what_if in self.therefore.iter_mut().filter_map(|sentence| sentence.what_if.as_mut()) {
            if what_if.set == set {
                let confirms = happened == (what_if.effect == Effect::DoesNotHelp);
                what_if.ran = Some(Ran { confirms, seen: seen.clone() });
            }
        }
    }
}

/// Gives the lives of lost records what was learnt for the story that they share.
pub fn remember(stories: &[Story], lost: &mut [Lost]) {
    for record in lost {
        let id = Record { producer: record.producer.clone(), number: record.record };
        let story = stories.iter().find(|story| story.kind == Kind::Lost && story.records.contains(&id));
        if let Some(story) = story {
            record.life.therefore = story.therefore.clone();
        }
    }
}
