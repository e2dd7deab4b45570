//! Life stories, told from the journal: of a record that was acknowledged and is gone - who had it, who promised it,
//! which event decided its loss, when its last copy went - and of what else happens to records and partitions.
//!
//! | module | tells |
//! |---|---|
//! | [`walk`] | the life of one record, with the set of its copies |
//! | [`twice`] | a record that is in the log twice, and records that stand in another order than they were sent |
//! | [`seen`] | a record that was read and later truncated, and a high watermark that moved back |
//! | [`refused`] | a producer that was refused, and a partition that nobody led |
//! | [`group`] | what consumer groups skip, repeat and refuse, and partitions that nobody had |
//! | [`scene`] | what happens around a story: steps, processes, elections, ISR |
//! | [`words`] | an event in plain words |
//! | [`therefore`] | the conclusion about a lost record, from two sets: who was needed, who could be elected |
//! | [`what_if`] | sentences about other settings, and what running them showed |

mod group;
mod promise;
mod refused;
mod scene;
mod seen;
mod therefore;
mod twice;
mod walk;
mod what_if;
mod words;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::seen::unpromised;
pub use self::what_if::{Aftermath, Effect, Fate, Ran, Sentence, WhatIf, remember};
pub use self::words::count;
use super::{Lost, Plan, Verdict};
use crate::{
    base::{LeaderEpoch, Time, TopicPartition},
    trace::{EventId, journal::Entry},
};

/// Most stories of one kind that are told; the others are counted. Every lost record has its story told.
const STORIES_MAX: usize = 3;

/// What a story is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An acknowledged record is gone.
    Lost,
    /// A record is in the log more often than it was sent.
    Duplicate,
    /// Records of one producer stand in another order than they were sent.
    Reordered,
    /// A consumer read a record that is gone.
    ReadThenTruncated,
    /// A new leader has less than an earlier leader had shown as committed.
    HighWatermarkMovedBack,
    /// A produce was refused: the ISR is smaller than `min.insync.replicas`.
    Refused,
    /// A produce was refused after its records were appended: the ISR had shrunk meanwhile.
    RefusedAfterAppend,
    /// A partition had no leader.
    Offline,
    /// Records that no member of a group worked on.
    Unprocessed,
    /// Records that members of a group worked on twice.
    ProcessedTwice,
    /// A commit was refused.
    CommitRefused,
    /// A client failed a commit by itself.
    CommitNotSent,
    /// A partition had no owner in a group.
    Rebalance,
}

impl Kind {
    /// The word that a story begins with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "LOST",
            Self::Duplicate => "DUPLICATE",
            Self::Reordered => "REORDERED",
            Self::ReadThenTruncated => "READ AND LATER TRUNCATED",
            Self::HighWatermarkMovedBack => "HIGH WATERMARK MOVED BACK",
            Self::Refused => "REFUSED",
            Self::RefusedAfterAppend => "REFUSED AFTER APPEND",
            Self::Offline => "OFFLINE",
            Self::Unprocessed => "UNPROCESSED",
            Self::ProcessedTwice => "PROCESSED TWICE",
            Self::CommitRefused => "COMMIT REFUSED",
            Self::CommitNotSent => "COMMIT NOT SENT",
            Self::Rebalance => "REBALANCE",
        }
    }
}

/// A record as its producer knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Record {
    /// Who sent it.
    pub producer: Arc<str>,
    /// Its number among the producer's records.
    pub number: u64,
}

/// One story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// What it is about.
    pub kind: Kind,
    /// Where it happened.
    pub partition: TopicPartition,
    /// What it happened to: `orders-0@5 e0  value=o-5  acks=1`.
    pub subject: String,
    /// The records that share it, if it is one of records.
    pub records: Vec<Record>,
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// What follows: the sets, and the settings that would and would not have helped.
    pub therefore: Vec<Sentence>,
    /// How many more stories of its kind are not told.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub untold: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Every story that a run has, by kind. `entries` is the whole journal; the lives of lost records are those that
/// [`tell`] told.
pub fn every(entries: &[Entry], plan: &Plan, verdict: &Verdict) -> Vec<Story> {
    let mut all = lost(&verdict.lost);
    all.extend(twice::duplicates(entries, plan));
    all.extend(twice::reorderings(entries, plan));
    all.extend(seen::truncated_reads(entries, plan));
    all.extend(seen::moved_back(entries, plan));
    all.extend(refused::refusals(entries, plan));
    all.extend(refused::offline(entries, plan));
    all.extend(group::stories(entries, plan));
    all.sort_by_key(|story| story.kind);
    all
}

/// The stories to tell: those of lost records, and of each other kind the first few.
pub fn told(all: Vec<Story>) -> Vec<Story> {
    let mut told: Vec<Story> = Vec::new();
    for story in all {
        let same = told.iter().filter(|other| other.kind == story.kind).count();
        match told.last_mut().filter(|_| same >= STORIES_MAX && story.kind != Kind::Lost) {
            Some(last) => last.untold += 1,
            None => told.push(story),
        }
    }
    told
}

/// A story for each fate: the life of the first record that has it.
fn lost(lost: &[Lost]) -> Vec<Story> {
    let mut stories: Vec<(&Lost, Story)> = Vec::new();
    for record in lost {
        let id = Record { producer: record.producer.clone(), number: record.record };
        match stories.iter_mut().find(|(first, _)| first.same_fate(record)) {
            Some((_, story)) => story.records.push(id),
            None => stories.push((
                record,
                Story {
                    kind: Kind::Lost,
                    partition: record.partition.clone(),
                    subject: record.subject(),
                    records: vec![id],
                    lines: record.life.lines.clone(),
                    therefore: record.life.therefore.clone(),
                    untold: 0,
                },
            )),
        }
    }
    stories.into_iter().map(|(_, story)| story).collect()
}

impl Lost {
    /// Whether two records were lost by the same event and went with the same event.
    pub fn same_fate(&self, other: &Self) -> bool {
        let moments = |lost: &Self| [Moment::Decisive, Moment::LastCopyGone].map(|moment| lost.life.moment(moment));
        self.partition == other.partition
            && self.cause == other.cause
            && self.life.acks == other.life.acks
            && self.life.therefore == other.life.therefore
            && moments(self) == moments(other)
    }

    /// `orders-0@5 e0  key=k  value=o-5  acks=all`.
    pub fn subject(&self) -> String {
        let Life { leader_epoch, key, acks, .. } = &self.life;
        let epoch = leader_epoch.map(|epoch| format!(" e{epoch}")).unwrap_or_default();
        let key = key.as_ref().map(|key| format!("  key={key}")).unwrap_or_default();
        let acks = words::acks(*acks);
        format!("{}@{}{epoch}{key}  value={}  {acks}", self.partition, self.offset, self.value)
    }
}

/// A record's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Leader epoch in which it was appended, where the journal tells.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// With which `acks` it was sent.
    pub acks: i16,
    /// What happened to it, in order.
    pub lines: Vec<Line>,
    /// What follows: who was needed for the promise, who could be elected, what would have kept it.
    pub therefore: Vec<Sentence>,
}

/// One line of a story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The event it tells of.
    pub event: EventId,
    /// When.
    pub time: Time,
    /// Who.
    pub node: Arc<str>,
    /// What.
    pub text: String,
    /// Who has a copy after it, where that changed: `{b1~, b2}`; `~` is not flushed, `?` unknown after a power loss.
    pub copies: Option<String>,
    /// Which moment of the story it is.
    pub moment: Option<Moment>,
}

/// The moments of stories: three of a lost record, and one of each other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// The acknowledgement was sent.
    Promise,
    /// From here on the leader's lineage lacks the record.
    Decisive,
    /// Nobody has it any more.
    LastCopyGone,
    /// It is in the log for the second time.
    StoredAgain,
    /// It stands behind a record that was sent after it.
    Overtaken,
    /// A consumer got it.
    Shown,
    /// A leader begins with a lower high watermark than was known.
    MovedBack,
    /// The producer was told no.
    Refused,
    /// Nobody leads.
    Offline,
    /// A commit covers what is not done.
    Committed,
    /// The group goes on behind it.
    Skipped,
    /// The work is done for the second time.
    ProcessedAgain,
    /// Nobody in the group has the partition.
    Unowned,
    /// Somebody has it again.
    OwnedAgain,
}

impl Moment {
    /// Its name in a text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promise => "PROMISE",
            Self::Decisive => "DECISIVE",
            Self::LastCopyGone => "LAST COPY GONE",
            Self::StoredAgain => "STORED AGAIN",
            Self::Overtaken => "OVERTAKEN",
            Self::Shown => "SHOWN",
            Self::MovedBack => "MOVED BACK",
            Self::Refused => "REFUSED",
            Self::Offline => "OFFLINE",
            Self::Committed => "COMMITTED",
            Self::Skipped => "SKIPPED",
            Self::ProcessedAgain => "PROCESSED AGAIN",
            Self::Unowned => "NOBODY HAS IT",
            Self::OwnedAgain => "OWNED AGAIN",
        }
    }
}

impl Life {
    /// The event of one of the three moments, if the journal shows it.
    pub fn moment(&self, moment: Moment) -> Option<EventId> {
        self.lines.iter().find(|line| line.moment == Some(moment)).map(|line| line.event)
    }
}

/// Tells the life of each lost record, and finds its cause.
pub fn tell(entries: &[Entry], plan: &Plan, lost: &mut [Lost]) {
    for record in lost {
        let (life, cause) = walk::tell(entries, plan, record);
        record.life = life;
        record.cause = cause;
    }
}
