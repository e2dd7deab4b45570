//! What became of committed offsets.
//!
//! `only-members-commit`: S35 `CommitFencing`. A commit that its sender made in an older generation than the group was in
//! at that moment is refused; so is one from outside while the group has members. In the consumer protocol the epoch of
//! the member counts, not that of the group: a member may lag behind, and may commit what it has had since an older epoch.
//!
//! `commits-survive` and `commits-never-go-back`: S36 `OffsetDurability`. Who asks for a committed offset is told the newest
//! commit that was acknowledged before the question, or another that is not certain to be older: one sent after it, or
//! one whose sender was never told what became of it. The audit asks at the very end, members ask when they get a
//! partition. Nothing is demanded where offsets have expired - which those of a partition that a member has never do -, of
//! what was committed before the topic was deleted, or where a loss of records of `__consumer_offsets` was permitted, nor
//! of the answer of a broker that has been replaced as coordinator and has not heard of it: Kafka's coordinators answer
//! from what they have.

use std::{collections::BTreeMap, sync::Arc};

use super::{Case, Coordinated, Score, Suspicions, broker_at};
use crate::{
    base::{OFFSETS_TOPIC, Offset, TopicPartition},
    check::{AUDIT_NODE, Claim, Finding},
    trace::{Event, EventId, journal::Entry},
};

/// A partition of a group.
type Key = (Arc<str>, TopicPartition);

/// Commits and questions for them.
#[derive(Default)]
pub(super) struct Commits {
    sent: BTreeMap<EventId, Commit>,
    /// The commits of each partition of each group, in the order in which they were sent.
    of: BTreeMap<Key, Vec<(EventId, Offset)>>,
    /// Whom each question went to.
    asked: BTreeMap<EventId, Arc<str>>,
    questions: Vec<Question>,
    /// When it was last written that they expire.
    expired: BTreeMap<Key, EventId>,
    /// Topics that are not there, and when they were deleted.
    deleted: BTreeMap<Arc<str>, EventId>,
    fencing: Suspicions,
    /// Offsets that expired though a member had the partition.
    expiries: Suspicions,
}

struct Commit {
    node: Arc<str>,
    member: Arc<str>,
    partitions: Vec<TopicPartition>,
    generation: i32,
    /// What the coordinator had when it was sent; of a member the older of that and what it has when it is answered, as
    /// its heartbeat may have come before its commit.
    group_generation: i32,
    /// Whether that is the epoch of a member.
    is_epoch: bool,
    /// How often the group had become empty; `None`: it was.
    emptied: Option<u64>,
    answer: Answer,
}

#[derive(Clone, Copy)]
enum Answer {
    /// None, or one that leaves it open.
    Open,
    Stands(EventId),
    Refused,
}

/// A question for a committed offset, answered.
struct Question {
    node: Arc<str>,
    key: Key,
    asked: EventId,
    told: EventId,
    offset: Offset,
    /// Who answered had been replaced as coordinator, and did not know it yet.
    is_stale: bool,
}

impl Commits {
    pub(super) fn observe(&mut self, entry: &Entry, coordinated: &Coordinated) {
        match &entry.event {
            Event::CommitSent { group, member, generation, offsets } => {
                let partitions = offsets.iter().map(|(partition, _)| partition);
                let epoch = coordinated.commit_epoch(group, member, partitions);
                let commit = Commit {
                    node: entry.node.clone(),
                    member: member.clone(),
                    partitions: offsets.iter().map(|(partition, _)| partition.clone()).collect(),
                    generation: *generation,
                    group_generation: epoch.unwrap_or_else(|| coordinated.generation(group)),
                    is_epoch: epoch.is_some(),
                    emptied: coordinated.emptied(group),
                    answer: Answer::Open,
                };
                self.sent.insert(entry.id, commit);
                for (partition, offset) in offsets {
                    let key = (group.clone(), partition.clone());
                    self.of.entry(key).or_default().push((entry.id, *offset));
                }
            }
            Event::CommitAnswered { group, sent, error, definite } => {
                let stands = **error == *"NONE";
                let Some(commit) = self.sent.get_mut(sent) else { return };
                commit.answer = match (stands, definite) {
                    (true, _) => Answer::Stands(entry.id),
                    (false, true) => Answer::Refused,
                    (false, false) => Answer::Open,
                };
                if stands {
                    let epoch = coordinated.commit_epoch(group, &commit.member, commit.partitions.iter());
                    if let Some(epoch) = epoch.filter(|_| commit.is_epoch) {
                        commit.group_generation = commit.group_generation.min(epoch);
                    }
                    let still_has_members = commit.emptied.is_some() && commit.emptied == coordinated.emptied(group);
                    self.fencing.checks += 1;
                    if let Some(why) = commit.should_be_refused(still_has_members) {
                        let text = format!("a commit of {} was taken by group {group}, {why}", commit.node);
                        self.fencing.suspect(text, vec![*sent, entry.id]);
                    }
                }
            }
            Event::CommittedAsked { coordinator, .. } => drop(self.asked.insert(entry.id, coordinator.clone())),
            Event::CommittedFetched { group, partition, offset, asked } => {
                let key = (group.clone(), partition.clone());
                let (node, asked, offset) = (entry.node.clone(), *asked, *offset);
                let coordinator = self.asked.get(&asked);
                let is_stale = coordinator.is_some_and(|at| coordinated.is_replaced(group, broker_at(at)));
                self.questions.push(Question { node, key, asked, told: entry.id, offset, is_stale });
            }
            Event::OffsetsExpiring { group, partitions } => self.may_be_gone(group, partitions, entry.id),
            Event::OffsetsExpired { group, partitions } => {
                for partition in partitions.iter().filter(|partition| coordinated.is_assigned(group, partition)) {
                    let text = format!("the offset of {partition} expired in group {group}, of which a member has it");
                    self.expiries.suspect(text, vec![entry.id]);
                }
                self.may_be_gone(group, partitions, entry.id);
            }
            // A coordinator that has not heard of it yet may take a commit in between, and lets it go when it hears.
            Event::TopicDeleted { topic, .. } => drop(self.deleted.insert(topic.clone(), entry.id)),
            Event::TopicCreated { topic, .. } if self.deleted.remove(topic).is_some() => {
                let of_topic = self.of.keys().filter(|(_, partition)| partition.topic == *topic).cloned();
                self.expired.extend(of_topic.map(|key| (key, entry.id)));
            }
            _ => {}
        }
    }

    fn may_be_gone(&mut self, group: &Arc<str>, partitions: &[TopicPartition], event: EventId) {
        let keys = partitions.iter().map(|partition| (group.clone(), partition.clone()));
        self.expired.extend(keys.map(|key| (key, event)));
    }

    pub(super) fn fenced(&self, case: &Case<'_>) -> Finding {
        self.fencing.judge(Claim::OnlyMembersCommit, case).into_finding()
    }

    pub(super) fn survive(&self, case: &Case<'_>) -> Finding {
        let score = self.expiries.judge(Claim::CommitsSurvive, case);
        self.durable(case, score, |question| *question.node == *AUDIT_NODE)
    }

    pub(super) fn never_go_back(&self, case: &Case<'_>) -> Finding {
        let score = Score::new(Claim::CommitsNeverGoBack);
        self.durable(case, score, |question| *question.node != *AUDIT_NODE)
    }

    fn durable(&self, case: &Case<'_>, mut score: Score, concerns: impl Fn(&Question) -> bool) -> Finding {
        let is_taught = case.teaches_violation_of(score.claim);
        let (mut permitted, mut stale) = (0, 0);
        for question in self.questions.iter().filter(|question| concerns(question)) {
            let Some(newest) = self.newest_before(question) else { continue };
            score.checks += 1;
            if self.is_admissible(question, newest) {
                continue;
            }
            if !is_taught && case.groups_may_be_lost(question.told) {
                permitted += 1;
                continue;
            }
            if !is_taught && question.is_stale {
                stale += 1;
                continue;
            }
            let (group, partition) = &question.key;
            let found = match question.offset {
                Offset(-1) => "none".to_owned(),
                offset => offset.to_string(),
            };
            let (sent, offset, _) = newest;
            let text =
                format!("group {group} had committed {offset} in {partition}, and {} found {found}", question.node);
            score.violate(text, vec![sent, question.told]);
        }
        let gone = format!("{permitted} times a commit was gone with records of {OFFSETS_TOPIC}, which is permitted");
        let late = format!("{stale} times one answered that had been replaced as coordinator and did not know it yet");
        score.note = match (permitted, stale) {
            (0, 0) => None,
            (_, 0) => Some(gone),
            (0, _) => Some(late),
            _ => Some(format!("{gone}; {late}")),
        };
        score.into_finding()
    }

    fn commits<'a>(&'a self, question: &Question) -> impl Iterator<Item = (EventId, Offset, Answer)> + 'a {
        let commits = self.of.get(&question.key).into_iter().flatten();
        commits.map(|(sent, offset)| (*sent, *offset, self.sent[sent].answer))
    }

    /// The last commit that was acknowledged before the question was asked: sent, offset, acknowledged.
    fn newest_before(&self, question: &Question) -> Option<(EventId, Offset, EventId)> {
        let acknowledged = |(sent, offset, answer)| match answer {
            Answer::Stands(event) if event < question.asked => Some((sent, offset, event)),
            _ => None,
        };
        self.commits(question).filter_map(acknowledged).max_by_key(|(sent, ..)| *sent)
    }

    fn is_admissible(&self, question: &Question, newest: (EventId, Offset, EventId)) -> bool {
        let (newest_sent, ..) = newest;
        let (_, partition) = &question.key;
        if self.deleted.get(&partition.topic).is_some_and(|deleted| *deleted < question.told) {
            return true;
        }
        if self.expired.get(&question.key).is_some_and(|expired| *expired > newest_sent) {
            return true;
        }
        self.commits(question).any(|(sent, offset, answer)| {
            let may_be_last = match answer {
                // Acknowledged before the newest was sent: certainly older.
                Answer::Stands(event) => event >= newest_sent,
                Answer::Open => true,
                Answer::Refused => false,
            };
            offset == question.offset && sent < question.told && may_be_last
        })
    }
}

impl Commit {
    /// Why it must not have been taken. `has_members`: all the time from its sending to its answer.
    fn should_be_refused(&self, has_members: bool) -> Option<String> {
        match self.generation {
            0.. if self.generation < self.group_generation && self.is_epoch => Some(match self.group_generation {
                i32::MAX => "of one that was no member".to_owned(),
                epoch => format!("sent in epoch {} of what is its own since epoch {epoch}", self.generation),
            }),
            0.. if self.generation < self.group_generation => Some(format!(
                "sent in generation {} when the group was in generation {}",
                self.generation, self.group_generation
            )),
            0.. => None,
            _ => has_members.then(|| "from outside while it had members".to_owned()),
        }
    }
}
