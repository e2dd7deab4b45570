//! Events of a record's life in plain words.

use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    check::invariants::Brokers,
    trace::{Election, Event, StopKind},
};

/// `{b1, b2}`.
pub(super) fn brokers(nodes: &[NodeId]) -> String {
    Brokers(nodes).to_string()
}

/// `1 record`, `3 records`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// `acks=all` for -1.
pub(super) fn acks(acks: i16) -> String {
    if acks == -1 { "acks=all".into() } else { format!("acks={acks}") }
}

/// What the acknowledgement rests on.
pub(super) fn promise(acks: i16, isr: &[NodeId]) -> String {
    match (acks, isr) {
        (-1, [only]) => format!("acknowledged it: acks=all asks for the whole ISR, and that was b{only} alone"),
        (-1, _) => format!("acknowledged it: acks=all, and every member of the ISR {} had it", brokers(isr)),
        _ => "acknowledged it: acks=1 asks only for the leader's append".into(),
    }
}

/// Why a log was cut.
pub(super) fn truncation(why: &str, leader: NodeId, to: Offset) -> String {
    match why {
        "leader-epoch" => format!("it follows b{leader}, whose log differs from its own from {to} on"),
        "high-watermark" => {
            format!("its own high watermark was {to}, and before 0.11 a follower keeps nothing above it")
        }
        "out-of-range" => format!("it starts again where the log of b{leader} does"),
        "deleted" => "the replica was deleted".into(),
        other => other.into(),
    }
}

/// One broker by its name, several as `one of {b1, b2}`.
pub(super) fn one_of(nodes: &[NodeId]) -> String {
    match nodes {
        [only] => format!("b{only}"),
        many => format!("one of {}", brokers(many)),
    }
}

/// A set to choose from: one broker as `b1 alone`, several as `any of {b1, b2}`.
pub(super) fn any_of(nodes: &[NodeId]) -> String {
    match nodes {
        [only] => format!("b{only} alone"),
        many => format!("any of {}", brokers(many)),
    }
}

/// How a process ended.
pub(super) fn stopped(how: StopKind) -> &'static str {
    match how {
        StopKind::Clean => "stopped in peace, everything flushed",
        StopKind::Kill => "was killed; its host keeps what was written",
        StopKind::Power => "lost power; what was not flushed may be gone",
        StopKind::Torn => "lost power in the middle of writing; what was not flushed may be gone, or be there in part",
    }
}

/// Others hold the partition.
pub(super) const LEFT: &str = "deleted its log: others hold the partition";

/// An election, or another epoch of the same leader.
pub(super) fn elected(election: Election, leader: NodeId, epoch: LeaderEpoch, end: Offset, reason: &str) -> String {
    let kind = match election {
        Election::None => return format!("b{leader} leads on, in epoch {epoch}: {reason}"),
        Election::Unclean => "unclean election, from outside the ISR",
        Election::Preferred => "election of the preferred replica",
        _ => "election from the ISR",
    };
    format!("{kind}: b{leader} leads epoch {epoch}, and its log ends at {end} ({reason})")
}

/// What a reassignment has come to.
pub(super) fn moved(event: &Event) -> Option<String> {
    Some(match event {
        Event::ReassignmentBegan { from, to, .. } => format!("it moves from {} to {}", brokers(from), brokers(to)),
        Event::ReassignmentCompleted { replicas, .. } => format!("it has moved to {}", brokers(replicas)),
        Event::ReassignmentCancelled { replicas, .. } => {
            format!("it stays with {}: the reassignment was cancelled", brokers(replicas))
        }
        _ => return None,
    })
}

/// The partition an event of a replica or of the controller is about.
pub(super) fn partition_of(event: &Event) -> Option<&TopicPartition> {
    match event {
        Event::LogLoaded { partition, .. }
        | Event::BatchCorrupted { partition, .. }
        | Event::BatchMended { partition, .. }
        | Event::Appended { partition, .. }
        | Event::Truncated { partition, .. }
        | Event::Flushed { partition, .. }
        | Event::HighWatermark { partition, .. }
        | Event::ProduceAnswered { partition, .. }
        | Event::IsrProposed { partition, .. }
        | Event::ReplicaLeft { partition }
        | Event::ReassignmentBegan { partition, .. }
        | Event::ReassignmentCompleted { partition, .. }
        | Event::ReassignmentCancelled { partition, .. }
        | Event::PartitionChanged { partition, .. } => Some(partition),
        _ => None,
    }
}
