//! The conclusion of a record's life, from two sets: a record may be lost exactly if somebody can be elected who was
//! not needed for the promise, or if everybody who was needed forgets.
//!
//! What would have kept it follows from the rules of replication. A sentence that names settings says so in a form that
//! can be tried ([`super::what_if`]): the report of a run has tried them.

use std::sync::Arc;

use super::{
    Effect, Sentence,
    scene::client_set,
    words::{any_of, brokers, one_of},
};
use crate::{
    base::{
        NodeId,
        switches::{ERAS, TABLE},
    },
    check::{Cause, Plan},
};

/// What the conclusion rests on.
pub(super) struct Facts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) topic: &'a str,
    pub(super) producer: &'a str,
    pub(super) acks: i16,
    /// The ISR when the acknowledgement was sent.
    pub(super) promise_isr: &'a [NodeId],
    /// Who acknowledged.
    pub(super) leader: NodeId,
    /// The ISR just before the decisive event.
    pub(super) isr_before: &'a [NodeId],
    /// Who could be elected at the decisive event.
    pub(super) electable: &'a [NodeId],
    /// Who was.
    pub(super) elected: Option<NodeId>,
    pub(super) replicas: &'a [NodeId],
    /// Who still has a copy at the end.
    pub(super) still_held: Vec<NodeId>,
    pub(super) cause: Cause,
}

impl Facts<'_> {
    fn setting(&self, name: &str) -> Option<&Arc<str>> {
        self.plan.topics.get(self.topic)?.get(name)
    }

    fn min_isr(&self) -> usize {
        self.setting("min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1)
    }

    /// A setting of the topic, as `run --set` takes it.
    fn set(&self, name: &str, value: &str) -> String {
        format!("topic.{}.{name}={value}", self.topic)
    }

    /// acks=all for its producer, as `run --set` takes it.
    fn set_acks_all(&self) -> String {
        client_set(self.producer, "acks", "all")
    }

    fn acks_all(&self) -> bool {
        self.acks == -1
    }

    /// Who had to have the record before it was acknowledged.
    fn needed(&self) -> Vec<NodeId> {
        if self.acks_all() { self.promise_isr.to_vec() } else { vec![self.leader] }
    }
}

/// The sentences after *Therefore*.
pub(super) fn sentences(facts: &Facts<'_>) -> Vec<Sentence> {
    let mut sentences = vec![Sentence::plain(sets(facts))];
    let remedies = remedies(facts);
    let mut sets = remedies.iter().filter_map(|sentence| sentence.what_if.as_ref()).flat_map(|what_if| &what_if.set);
    let release_told = sets.any(|set| set.starts_with("switch.") || set.starts_with("era="));
    sentences.extend(remedies);
    if let Some(set) = newest(facts.plan).filter(|_| !release_told) {
        let text = format!("It would have lived with {}: newer brokers behave otherwise here.", set.join(", "));
        sentences.push(Sentence::about(&set, Effect::Helps, text));
    }
    if !facts.still_held.is_empty() {
        let held = brokers(&facts.still_held);
        let text = format!("A copy is still on {held}; it goes when that broker follows the new leader.");
        sentences.push(Sentence::plain(text));
    }
    sentences
}

/// Who was needed for the promise, and who could be elected.
fn sets(facts: &Facts<'_>) -> String {
    let needed = brokers(&facts.needed());
    let electable = any_of(facts.electable);
    let elected = facts.elected.map_or_else(|| "nobody".to_owned(), |node| format!("b{node}"));
    match facts.cause {
        Cause::PowerLossOfAllCopies => format!(
            "the promise needed {needed}, in memory and not on disk; all of them lost power, and {elected} came back \
             without it."
        ),
        Cause::ElectedAfterPowerLoss => format!(
            "the promise needed {needed}; {elected} forgot it with its power, and the election still accepted \
             {electable}."
        ),
        Cause::LostWithADisk => format!(
            "the promise needed {needed}; {elected} came back with an empty disk, and the election still accepted \
             {electable}."
        ),
        Cause::CutAtACorruptBatch => format!(
            "the promise needed {needed}; {elected} cut it off with all that followed a corrupt batch, and the election \
             still accepted {electable}."
        ),
        Cause::TruncatedToHighWatermark => format!(
            "the promise needed {needed}; {elected} had a copy and threw it away when it followed a new leader, and the \
             election still accepted {electable}."
        ),
        Cause::TruncatedByTheLeader => format!(
            "the promise needed {needed}; {elected} led, and threw its copy away all the same, and whoever followed it did \
             too."
        ),
        Cause::AcknowledgedByAStaleLeader => {
            format!("the promise needed {needed}, and {elected} had been elected already, who is not one of them.")
        }
        Cause::Unknown => format!("the promise needed {needed}; the journal does not show what decided the loss."),
        _ => format!(
            "the promise needed {needed}; the election accepted {electable} and took {elected}, which had no \
             copy."
        ),
    }
}

fn remedies(facts: &Facts<'_>) -> Vec<Sentence> {
    use Effect::{DoesNotHelp, Helps};
    let flush = facts.set("flush.messages", "1");
    match facts.cause {
        Cause::LeaderElectedWithoutThem => unclean(facts),
        Cause::AcknowledgedByAStaleLeader => stale(facts),
        Cause::LeaderCrashedBeforeReplication | Cause::LeaderMovedBeforeReplication => acks_one(facts),
        Cause::PowerLossOfAllCopies => {
            let mut sentences = vec![Sentence::about(
                &[flush],
                Helps,
                "It would have lived with flush.messages=1: each replica has it on disk before it counts.",
            )];
            let all = facts.replicas.len();
            let full = facts.promise_isr.len() == all;
            if facts.acks_all() && !full && facts.min_isr() < 2 {
                sentences.push(Sentence::about(
                    &[facts.set("min.insync.replicas", "2")],
                    Helps,
                    "With min.insync.replicas=2 there would have been no promise while one replica was in sync.",
                ));
            }
            if facts.acks_all() && full && facts.min_isr() < all {
                sentences.push(Sentence::about(
                    &[facts.set("min.insync.replicas", &all.to_string())],
                    DoesNotHelp,
                    format!("min.insync.replicas={all} would NOT have saved it: it counts replicas, not disks."),
                ));
            }
            sentences
        }
        Cause::ElectedAfterPowerLoss => vec![Sentence::about(
            &[flush],
            Helps,
            "It would have lived with flush.messages=1, or had the controller taken the broker out of the ISR before \
             it came back (KIP-903, KIP-966).",
        )],
        Cause::CutAtACorruptBatch | Cause::LostWithADisk
            if facts.acks_all() && facts.promise_isr.len() == 1 && facts.min_isr() < 2 =>
        {
            vec![Sentence::about(
                &[facts.set("min.insync.replicas", "2")],
                Helps,
                "With min.insync.replicas=2 there would have been no promise while one replica was in sync.",
            )]
        }
        Cause::LostWithADisk => vec![Sentence::plain(
            "No setting would have kept it there: it was on that disk alone, or on those that went the same way.",
        )],
        Cause::CutAtACorruptBatch => vec![Sentence::plain(
            "No setting would have kept it there: a log is as good as the disk below it, and recovery cuts what it cannot \
             vouch for.",
        )],
        Cause::TruncatedToHighWatermark => vec![
            Sentence::about(
                &["switch.truncate=leader-epoch".into()],
                Helps,
                "It would have lived with Kafka 0.11 or newer (switch truncate = \"leader-epoch\", KIP-101): a follower \
                 asks the leader where its epochs end before it cuts anything.",
            ),
            Sentence::about(
                &[facts.set("min.insync.replicas", &facts.replicas.len().to_string()), facts.set_acks_all()],
                DoesNotHelp,
                "No setting of acks or min.insync.replicas would have helped: every in-sync replica had it.",
            ),
        ],
        Cause::TruncatedByTheLeader => vec![
            Sentence::about(
                &["switch.late_answers_ignored=true".into()],
                Helps,
                "It would have lived with Kafka 3.0 or newer (switch late_answers_ignored = true): an answer belongs to the \
                 epoch in which it was asked for.",
            ),
            Sentence::about(
                &[facts.set("min.insync.replicas", &facts.replicas.len().to_string()), facts.set_acks_all()],
                DoesNotHelp,
                "No setting of acks or min.insync.replicas would have helped: every in-sync replica had it.",
            ),
        ],
        Cause::AcknowledgedTooEarly | Cause::JoinedIsrTooEarly => {
            vec![behaviour(facts.plan)]
        }
        // Records that are in the log and were never processed have no such story.
        Cause::LeftInDeadHands | Cause::SkippedByReset | Cause::SkippedByTruncation | Cause::Unknown => Vec::new(),
    }
}

/// A fault of the code: that of an older release or a planted one, if the scenario asks for it.
pub(super) fn behaviour(plan: &Plan) -> Sentence {
    let Some(set) = newest(plan) else {
        return Sentence::plain("No setting would have helped: this is a bug of the broker.");
    };
    let old: Vec<String> = plan.switches.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
    let text = format!(
        "No setting of Kafka's would have helped: it is the broker's behaviour under {}. With {} it would not have happened.",
        old.join(", "),
        set.join(", ")
    );
    Sentence::about(&set, Effect::Helps, text)
}

/// What makes the broker behave as the newest release, if the scenario asks for another behaviour.
fn newest(plan: &Plan) -> Option<Vec<String>> {
    let newest = |name: &str| match name {
        "era" => ERAS.last().map(|(era, _)| format!("era={era}")),
        name => {
            let switch = TABLE.iter().find(|switch| switch.name == name)?;
            Some(format!("switch.{name}={}", switch.values.last()?))
        }
    };
    let set: Vec<String> = plan.switches.keys().filter_map(|name| newest(name)).collect();
    (!set.is_empty()).then_some(set)
}

fn unclean(facts: &Facts<'_>) -> Vec<Sentence> {
    let keeper = one_of(&facts.needed());
    let mut sentences = vec![Sentence::about(
        &[facts.set("unclean.leader.election.enable", "false")],
        Effect::Helps,
        format!(
            "It would have lived with unclean.leader.election.enable=false: the partition stays offline until {keeper} \
             returns."
        ),
    )];
    if facts.min_isr() > 1 {
        if !facts.acks_all() {
            let text = format!(
                "With acks=all there would have been no promise while fewer than {} replicas were in sync.",
                facts.min_isr()
            );
            sentences.push(Sentence::about(&[facts.set_acks_all()], Effect::Helps, text));
        }
        return sentences;
    }
    if !facts.acks_all() {
        let leader = facts.leader;
        let set = [facts.set_acks_all()];
        sentences.push(match (facts.promise_isr, facts.isr_before) {
            (_, isr) if isr != [leader] => Sentence::about(
                &set,
                Effect::Helps,
                format!("With acks=all the acknowledgement would have waited for {}.", brokers(facts.promise_isr)),
            ),
            ([_], _) => Sentence::about(
                &set,
                Effect::DoesNotHelp,
                format!(
                    "acks=all alone would NOT have saved it: the ISR was {{b{leader}}}, and b{leader} would have \
                     acknowledged at once."
                ),
            ),
            _ => Sentence::about(
                &set,
                Effect::DoesNotHelp,
                format!(
                    "acks=all alone would NOT have saved it: the ISR shrank to {{b{leader}}}, and b{leader} would have \
                     acknowledged then."
                ),
            ),
        });
    }
    let mut set = vec![facts.set("min.insync.replicas", "2")];
    set.extend((!facts.acks_all()).then(|| facts.set_acks_all()));
    sentences.push(Sentence::about(
        &set,
        Effect::Helps,
        "acks=all with min.insync.replicas=2 would have made no promise while one replica was in sync \
         (NOT_ENOUGH_REPLICAS): the producer sends again until two are, or gives up.",
    ));
    sentences
}

fn stale(facts: &Facts<'_>) -> Vec<Sentence> {
    let leader = facts.leader;
    if facts.acks_all() {
        return vec![
            Sentence::about(
                &[facts.set("unclean.leader.election.enable", "false")],
                Effect::Helps,
                "It would have lived with unclean.leader.election.enable=false: only a broker of the ISR is elected.",
            ),
            Sentence::about(
                &[facts.set("min.insync.replicas", "2")],
                Effect::Helps,
                format!("With min.insync.replicas=2 b{leader} would have made no promise."),
            ),
        ];
    }
    vec![Sentence::about(
        &[facts.set_acks_all()],
        Effect::Helps,
        format!(
            "It would have lived with acks=all: b{leader} could not have acknowledged without {}.",
            brokers(&others(facts.promise_isr, leader))
        ),
    )]
}

fn acks_one(facts: &Facts<'_>) -> Vec<Sentence> {
    let waited = brokers(&others(facts.promise_isr, facts.leader));
    let text = format!(
        "It would have lived with acks=all: the acknowledgement waits for {waited} too, and whoever is elected has it."
    );
    let mut sentences = vec![Sentence::about(&[facts.set_acks_all()], Effect::Helps, text)];
    if facts.min_isr() < 2 && facts.replicas.len() > 2 {
        sentences.push(Sentence::about(
            &[facts.set("min.insync.replicas", "2")],
            Effect::DoesNotHelp,
            "min.insync.replicas=2 alone would NOT have saved it: it binds acks=all. With acks=all it sees to it that \
             this never means the leader alone.",
        ));
    }
    sentences
}

fn others(nodes: &[NodeId], without: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| *node != without).collect()
}
