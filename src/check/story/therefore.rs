//! The conclusion of a record's life, from two sets: a record may be lost exactly if somebody can be elected who was
//! not needed for the promise, or if everybody who was needed forgets.
//!
//! What would have kept it follows from the rules of replication, not from another run; where a variant of the scenario
//! really was run, its own verdict confirms it.

use std::sync::Arc;

use super::words::{brokers, one_of};
use crate::{
    base::NodeId,
    check::{Cause, Plan},
};

/// What the conclusion rests on.
pub(super) struct Facts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) topic: &'a str,
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

    fn acks_all(&self) -> bool {
        self.acks == -1
    }

    /// Who had to have the record before it was acknowledged.
    fn needed(&self) -> Vec<NodeId> {
        if self.acks_all() { self.promise_isr.to_vec() } else { vec![self.leader] }
    }
}

/// The sentences after *Therefore*.
pub(super) fn sentences(facts: &Facts<'_>) -> Vec<String> {
    let mut sentences = vec![sets(facts)];
    sentences.extend(remedies(facts));
    if !facts.still_held.is_empty() {
        let held = brokers(&facts.still_held);
        sentences.push(format!("A copy is still on {held}; it goes when that broker follows the new leader."));
    }
    sentences
}

/// Who was needed for the promise, and who could be elected.
fn sets(facts: &Facts<'_>) -> String {
    let needed = brokers(&facts.needed());
    let electable = brokers(facts.electable);
    let elected = facts.elected.map_or_else(|| "nobody".to_owned(), |node| format!("b{node}"));
    match facts.cause {
        Cause::PowerLossOfAllCopies => format!(
            "the promise needed {needed}, in memory and not on disk; all of them lost power, and {elected} came back \
             without it."
        ),
        Cause::ElectedAfterPowerLoss => format!(
            "the promise needed {needed}; {elected} forgot it with its power, and the election still accepted any of \
             {electable}."
        ),
        Cause::TruncatedToHighWatermark => format!(
            "the promise needed {needed}; {elected} had a copy and threw it away when it followed a new leader, and the \
             election still accepted any of {electable}."
        ),
        Cause::AcknowledgedByAStaleLeader => {
            format!("the promise needed {needed}, and {elected} had been elected already, who is not one of them.")
        }
        Cause::Unknown => format!("the promise needed {needed}; the journal does not show what decided the loss."),
        _ => format!(
            "the promise needed {needed}; the election accepted any of {electable} and took {elected}, which had no \
             copy."
        ),
    }
}

fn remedies(facts: &Facts<'_>) -> Vec<String> {
    match facts.cause {
        Cause::LeaderElectedWithoutThem => unclean(facts),
        Cause::AcknowledgedByAStaleLeader => stale(facts),
        Cause::LeaderCrashedBeforeReplication | Cause::LeaderMovedBeforeReplication => acks_one(facts),
        Cause::PowerLossOfAllCopies => vec![
            "It would have lived with flush.messages=1: each replica has it on disk before it counts.".into(),
            "It would have lived with replicas on hosts that do not lose power together.".into(),
        ],
        Cause::ElectedAfterPowerLoss => vec![
            "It would have lived with flush.messages=1, or had the controller taken the broker out of the ISR before \
             it came back (KIP-903, KIP-966)."
                .into(),
        ],
        Cause::TruncatedToHighWatermark => vec![
            "It would have lived with Kafka 0.11 or newer (switch truncate = \"leader-epoch\", KIP-101): a follower \
             asks the leader where its epochs end before it cuts anything."
                .into(),
            "No setting of acks or min.insync.replicas would have helped: every in-sync replica had it.".into(),
        ],
        Cause::AcknowledgedTooEarly | Cause::JoinedIsrTooEarly => {
            vec!["No setting would have helped: this is a bug of the broker.".into()]
        }
        Cause::Unknown => Vec::new(),
    }
}

fn unclean(facts: &Facts<'_>) -> Vec<String> {
    let keeper = one_of(&facts.needed());
    let mut sentences = vec![format!(
        "It would have lived with unclean.leader.election.enable=false: the partition stays offline until {keeper} \
         returns."
    )];
    if facts.min_isr() > 1 {
        if !facts.acks_all() {
            sentences.push(format!(
                "With acks=all there would have been no promise while fewer than {} replicas were in sync.",
                facts.min_isr()
            ));
        }
        return sentences;
    }
    if !facts.acks_all() {
        let leader = facts.leader;
        sentences.push(match (facts.promise_isr, facts.isr_before) {
            (_, isr) if isr != [leader] => {
                format!("With acks=all the acknowledgement would have waited for {}.", brokers(facts.promise_isr))
            }
            ([_], _) => format!(
                "acks=all alone would NOT have saved it: the ISR was {{b{leader}}}, and b{leader} would have \
                 acknowledged at once."
            ),
            _ => format!(
                "acks=all alone would NOT have saved it: the ISR shrank to {{b{leader}}}, and b{leader} would have \
                 acknowledged then."
            ),
        });
    }
    sentences.push(
        "acks=all with min.insync.replicas=2 would have made no promise while one replica was in sync \
         (NOT_ENOUGH_REPLICAS)."
            .into(),
    );
    sentences
}

fn stale(facts: &Facts<'_>) -> Vec<String> {
    let leader = facts.leader;
    if facts.acks_all() {
        return vec![format!(
            "It would have lived with unclean.leader.election.enable=false, and with min.insync.replicas=2 b{leader} \
             would have made no promise."
        )];
    }
    vec![format!(
        "It would have lived with acks=all: b{leader} could not have acknowledged without {}.",
        brokers(&others(facts.promise_isr, leader))
    )]
}

fn acks_one(facts: &Facts<'_>) -> Vec<String> {
    let waited = brokers(&others(facts.promise_isr, facts.leader));
    let mut sentences = vec![format!(
        "It would have lived with acks=all: the acknowledgement waits for {waited} too, and whoever is elected has it."
    )];
    if facts.min_isr() < 2 && facts.replicas.len() > 2 {
        sentences.push(
            "Add min.insync.replicas=2, so that acks=all never means the leader alone when the ISR has shrunk.".into(),
        );
    }
    sentences
}

fn others(nodes: &[NodeId], without: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| *node != without).collect()
}
