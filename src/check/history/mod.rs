//! What clients were told, and the checkers that judge it at the end, as Jepsen's Kafka workload does.
//!
//! Nothing here looks at a broker, so that the same checkers judge a run against real processes. The final audit - a
//! consumer called [`AUDIT_NODE`], which reads every partition from its begin to its end once everything has healed -
//! is the log as clients can see it.
//!
//! A produce that timed out is *indefinite*: neither that its record is there nor that it is missing proves anything. A
//! record that was refused for certain (`definite`) must not be there.

mod ascending;
mod consumers;
mod contents;
mod duplicates;
mod lost;
mod order;
mod polls;
mod reads;
mod tenures;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::{ascending::Ascending, contents::ByContent, polls::Polls, tenures::Tenures};
use super::{
    AUDIT_NODE, Claim, Ending, Expectation, Expected, Finding, Lost, Plan, Status, invariants::Ledger, judge::Fate,
    score::Score,
};
use crate::{
    base::{Offset, TopicPartition},
    trace::{Event, EventId, journal::Entry},
};

/// The claims checked here.
pub const CLAIMS: &[Claim] = &[
    Claim::AckedRecordsSurvive,
    Claim::NoDuplicates,
    Claim::OrderKept,
    Claim::NoPhantomReads,
    Claim::OffsetsAgree,
    Claim::ConsumersReachTheEnd,
    Claim::ConsumersMissNothing,
    Claim::PollsGoForward,
    Claim::ClusterRecovers,
];

/// An offset, and the event that told it.
type Place = (Offset, EventId);

/// Everything clients did and were told.
#[derive(Default)]
pub struct History {
    /// Every record given to a producer, by producer and number.
    sends: BTreeMap<Arc<str>, Ascending<Sent>>,
    /// Every record handed to a consumer, in order.
    reads: Vec<Read>,
    /// Where each consumer began.
    begins: BTreeMap<(Arc<str>, TopicPartition), Offset>,
    /// Where each consumer stands: the offset after the last it read.
    positions: BTreeMap<(Arc<str>, TopicPartition), (Offset, EventId)>,
    /// Whether polls went forward from there.
    polls: Polls,
    /// Where each consumer went on after a truncation, as a leader had told it.
    truncations: BTreeMap<(Arc<str>, TopicPartition), Vec<Place>>,
    /// The log as the audit read it.
    audits: BTreeMap<TopicPartition, Audit>,
    /// Where retention or a request moved the begin of a log to, and when.
    deletions: BTreeMap<TopicPartition, Vec<Place>>,
    /// When processes were started again.
    restarts: BTreeMap<Arc<str>, Vec<EventId>>,
    /// When topics were deleted last.
    topics_deleted: BTreeMap<Arc<str>, EventId>,
    /// The audit's first event: the ends of the logs, up to which it reads, were asked for after it.
    audit_began: Option<EventId>,
    /// What members of groups have read while a partition was theirs.
    tenures: Tenures,
    /// Everything was healed and restarted.
    settle_began: Option<EventId>,
    /// And the cluster has settled.
    settled: bool,
}

/// A record given to a producer.
struct Sent {
    topic: Arc<str>,
    content: Content,
    acks: i16,
    sent: EventId,
    outcome: Outcome,
}

/// What identifies a record to a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    /// First, so that contents are mostly told apart without a look at them.
    digest: u64,
    key: Option<Arc<str>>,
    value: Arc<str>,
}

impl Content {
    fn new(key: &Option<Arc<str>>, value: &Arc<str>) -> Self {
        // FNV-1a: the same everywhere and for ever.
        let fold = |digest: u64, byte: u8| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let digest = value.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        Self { digest, key: key.clone(), value: value.clone() }
    }
}

/// What a producer was told about its record.
enum Outcome {
    /// Nothing, or an error that leaves it open.
    Indefinite,
    /// It stands at this offset.
    Acked { partition: TopicPartition, offset: Offset, event: EventId },
    /// It was not appended, for certain.
    Refused { error: Arc<str>, event: EventId },
}

/// A record handed to a consumer.
struct Read {
    consumer: Arc<str>,
    partition: TopicPartition,
    offset: Offset,
    content: Content,
    event: EventId,
}

/// One partition as the audit read it.
#[derive(Default)]
struct Audit {
    records: Ascending<(Content, EventId)>,
    /// Where the log ended, once the audit got there.
    end: Option<Offset>,
}

impl History {
    /// Takes the next event.
    pub fn observe(&mut self, entry: &Entry) {
        if &*entry.node == AUDIT_NODE {
            self.audit_began.get_or_insert(entry.id);
        }
        self.tenures.observe(entry);
        match &entry.event {
            Event::RecordSent { record, topic, key, value, acks, .. } => {
                let content = Content::new(key, value);
                let (topic, acks, outcome) = (topic.clone(), *acks, Outcome::Indefinite);
                let send = Sent { topic, content, acks, sent: entry.id, outcome };
                self.sends_of(&entry.node).insert(record.cast_signed(), send);
            }
            Event::RecordAcked { record, partition, offset } => {
                let acked = Outcome::Acked { partition: partition.clone(), offset: *offset, event: entry.id };
                self.outcome(entry, *record, acked);
            }
            Event::RecordFailed { record, error, definite: true, .. } => {
                self.outcome(entry, *record, Outcome::Refused { error: error.clone(), event: entry.id });
            }
            Event::RecordRead { partition, offset, key, value, .. } => {
                let content = Content::new(key, value);
                self.read(entry, partition, *offset, content);
            }
            Event::PositionSet { partition, offset, why } => {
                if **why == *"truncation" {
                    let key = (entry.node.clone(), partition.clone());
                    self.truncations.entry(key).or_default().push((*offset, entry.id));
                }
                self.begins.entry((entry.node.clone(), partition.clone())).or_insert(*offset);
                self.positions.insert((entry.node.clone(), partition.clone()), (*offset, entry.id));
                if &*entry.node == AUDIT_NODE {
                    self.audits.insert(partition.clone(), Audit::default());
                }
            }
            // A follower that takes its leader's begin, or cannot but begin anew there, decides nothing.
            Event::LogStartMoved { partition, to, why, .. }
                if matches!(&**why, "delete-records" | "retention.ms" | "retention.bytes") =>
            {
                self.deletions.entry(partition.clone()).or_default().push((*to, entry.id));
            }
            Event::NodeStarted { incarnation: 2.. } => {
                // A reader that is started again begins again, maybe at the end of today.
                self.begins.retain(|(consumer, _), _| *consumer != entry.node);
                self.restarts.entry(entry.node.clone()).or_default().push(entry.id);
            }
            Event::TopicDeleted { topic, .. } => drop(self.topics_deleted.insert(topic.clone(), entry.id)),
            Event::SettleBegan => self.settle_began = Some(entry.id),
            Event::Settled => self.settled = true,
            Event::AuditReachedEnd { partition, end_offset } => {
                self.audits.entry(partition.clone()).or_default().end = Some(*end_offset);
            }
            _ => {}
        }
    }

    /// Whether the cluster was whole again after everything was healed.
    pub(super) fn has_settled(&self) -> bool {
        self.settled
    }

    /// The records of a partition as the audit read them, if it came to the end.
    pub(super) fn audited(&self, partition: &TopicPartition) -> Option<impl Iterator<Item = (Offset, &Arc<str>)>> {
        let audit = self.audits.get(partition).filter(|audit| audit.end.is_some())?;
        Some(audit.records.iter().map(|(offset, (content, _))| (Offset(offset), &content.value)))
    }

    /// Records sent with acks=0 that the audit did not find. Nobody was promised anything.
    fn unpromised(&self) -> u64 {
        let nobody = self.sends().all(|(.., send)| send.acks != 0);
        if nobody || self.audits.values().any(|audit| audit.end.is_none()) {
            return 0;
        }
        let found: BTreeSet<&Content> =
            self.audits.values().flat_map(|audit| audit.records.iter().map(|(_, (content, _))| content)).collect();
        self.sends().filter(|(.., send)| send.acks == 0 && !found.contains(&send.content)).count() as u64
    }

    /// Whether the audit says nothing about what a client learnt by `event` of a record at `offset`: it came too late,
    /// behind the end up to which the audit reads.
    fn is_after_audit(&self, partition: &TopicPartition, offset: Offset, event: EventId) -> bool {
        let end = self.audits.get(partition).and_then(|audit| audit.end);
        self.audit_began.is_some_and(|began| began < event) && end.is_some_and(|end| offset >= end)
    }

    fn sends_of(&mut self, producer: &Arc<str>) -> &mut Ascending<Sent> {
        if !self.sends.contains_key(producer) {
            self.sends.insert(producer.clone(), Ascending::default());
        }
        self.sends.get_mut(producer).expect("it was there or is now")
    }

    /// Whether the record at `offset`, which was there by `event`, was deleted since: by retention, or on request.
    fn was_deleted(&self, partition: &TopicPartition, offset: Offset, event: EventId) -> bool {
        let deletions = self.deletions.get(partition);
        deletions.into_iter().flatten().any(|(to, deleted)| offset < *to && event < *deleted)
    }

    /// Whether what was sent to `topic` by `sent` may have gone with a topic of that name, which was deleted since.
    fn went_with_topic(&self, topic: &str, sent: EventId) -> bool {
        self.topics_deleted.get(topic).is_some_and(|deleted| sent < *deleted)
    }

    /// Whether the partition was deleted with its topic and not made again, so that no audit asked for it.
    pub(super) fn is_gone(&self, partition: &TopicPartition) -> bool {
        self.topics_deleted.contains_key(&partition.topic) && !self.audits.contains_key(partition)
    }

    fn outcome(&mut self, entry: &Entry, record: u64, outcome: Outcome) {
        if let Some(send) = self.sends.get_mut(&entry.node).and_then(|sends| sends.get_mut(record.cast_signed())) {
            send.outcome = outcome;
        }
    }

    fn read(&mut self, entry: &Entry, partition: &TopicPartition, offset: Offset, content: Content) {
        if &*entry.node == AUDIT_NODE {
            let audit = self.audits.entry(partition.clone()).or_default();
            audit.records.insert(offset.0, (content.clone(), entry.id));
        } else {
            self.begins.entry((entry.node.clone(), partition.clone())).or_insert(offset);
            let stood = self.positions.insert((entry.node.clone(), partition.clone()), (offset.next(), entry.id));
            self.polls.handed_out(stood, offset, entry.id);
        }
        let (consumer, partition) = (entry.node.clone(), partition.clone());
        self.reads.push(Read { consumer, partition, offset, content, event: entry.id });
    }

    /// Every record given to a producer, with the producer and its number there.
    fn sends(&self) -> impl Iterator<Item = (&Arc<str>, u64, &Sent)> {
        self.sends.iter().flat_map(|(producer, sends)| {
            sends.iter().map(move |(record, send)| (producer, record.cast_unsigned(), send))
        })
    }

    /// What the audit found at an offset.
    fn found(&self, partition: &TopicPartition, offset: Offset) -> Option<&Content> {
        self.audits.get(partition)?.records.get(offset.0).map(|(content, _)| content)
    }

    /// The sends that were acknowledged with an offset.
    fn acked(&self) -> impl Iterator<Item = Acked<'_>> {
        self.sends().filter_map(|(producer, record, send)| match &send.outcome {
            Outcome::Acked { partition, offset, event } if send.acks != 0 && *offset >= Offset::ZERO => {
                let is_in_place = self.found(partition, *offset).is_some_and(|content| *content == send.content);
                Some(Acked { producer, record, send, partition, offset: *offset, event: *event, is_in_place })
            }
            _ => None,
        })
    }
}

/// An acknowledged send.
#[derive(Clone, Copy)]
struct Acked<'a> {
    producer: &'a Arc<str>,
    record: u64,
    send: &'a Sent,
    partition: &'a TopicPartition,
    offset: Offset,
    event: EventId,
    /// The audit found it at the offset that its producer was told.
    is_in_place: bool,
}

/// What the history shows.
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) fate: Fate,
}

/// Everything a history checker judges by.
struct Case<'a> {
    history: &'a History,
    plan: &'a Plan,
    ending: &'a Ending,
    ledger: &'a Ledger,
    /// The sends that were acknowledged with an offset.
    acked: &'a [Acked<'a>],
    /// The acknowledged records that are gone.
    lost: &'a [Lost],
    /// Who sent each content, once for every time.
    senders: &'a ByContent<'a, &'a Arc<str>>,
}

impl Case<'_> {
    /// Whether the log may differ at `offset` from what a client once saw: a loss that was permitted, or that
    /// `acked-records-survive` reports already.
    fn excuses(&self, partition: &TopicPartition, offset: Offset) -> bool {
        let reported = |lost: &Lost| lost.partition == *partition && lost.offset <= offset;
        self.ledger.permits_loss(partition, offset) || self.lost.iter().any(reported)
    }

    /// Whether the scenario is written to show that `claim` breaks: then what its settings permit counts too.
    fn teaches_violation_of(&self, claim: Claim) -> bool {
        let taught = |expected: &&Expectation| expected.claim == claim && expected.value == Expected::Violated;
        self.plan.expectations.iter().any(|expected| taught(&expected))
    }

    /// Whether some producer sent a batch again.
    fn retried(&self) -> bool {
        self.ending.marks.iter().any(|mark| &**mark == "producer_retried")
    }
}

/// Judges the whole history.
pub(super) fn findings(history: &History, plan: &Plan, ending: &Ending, ledger: &Ledger) -> Report {
    let count = history.sends.values().map(Ascending::len).sum();
    let mut acked: Vec<Acked<'_>> = Vec::with_capacity(count);
    acked.extend(history.acked());
    let (survival, fate) = lost::check(history, &acked);
    let sends = history.sends().map(|(producer, _, send)| ((&send.content, &*send.topic), producer));
    let senders = ByContent::new(count, sends);
    let case = Case { history, plan, ending, ledger, acked: &acked, lost: &fate.lost, senders: &senders };
    let findings = vec![
        survival,
        duplicates::check(&case),
        order::check(&case),
        reads::phantoms(&case),
        reads::disagreements(&case),
        consumers::check(&case),
        consumers::coverage(&case),
        polls::check(&case),
        consumers::recovery(&case),
    ];
    Report { findings, fate }
}

/// Every claim of the history is unknown, for this reason.
pub(super) fn unknown(why: &str) -> Vec<Finding> {
    let finding = |claim: &Claim| {
        let mut verdict = Score::new(*claim).into_finding();
        verdict.status = Status::Unknown;
        verdict.note = Some(format!("the checker gave up: {why}"));
        verdict
    };
    CLAIMS.iter().map(finding).collect()
}
