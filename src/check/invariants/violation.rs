//! A broken invariant with its numbers.

use std::{fmt, sync::Arc};

use crate::{
    base::{LeaderEpoch, NodeId, Offset, PartitionEpoch, TopicPartition},
    trace::{BatchInfo, EventId},
};

/// An invariant that does not hold, and the events that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is broken.
    pub broken: Broken,
    /// The events that show it; the last is the one at which it was noticed.
    pub events: Vec<EventId>,
}

/// What is broken, a variant for each way; the numbers are those that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A new leader lacks committed records, and nothing permits that.
    CommittedLost {
        partition: TopicPartition,
        leader: NodeId,
        leader_epoch: LeaderEpoch,
        from: Offset,
        to: Offset,
        held: Option<BatchInfo>,
    },
    /// Two replicas hold different records at an offset below both high watermarks.
    LogsDiffer {
        partition: TopicPartition,
        replica: NodeId,
        other: NodeId,
        offset: Offset,
        held: Option<BatchInfo>,
        expected: BatchInfo,
    },
    /// An acks=all produce was answered before it was committed.
    AnsweredEarly { partition: TopicPartition, leader: NodeId, end_offset: Offset, high_watermark: Offset },
    /// An acks=all produce was answered while an ISR member did not have it.
    AnsweredWithout {
        partition: TopicPartition,
        leader: NodeId,
        end_offset: Offset,
        member: NodeId,
        member_end: Offset,
    },
    /// An acks=all produce was answered while the ISR was smaller than `min.insync.replicas`.
    AnsweredByTooFew { partition: TopicPartition, leader: NodeId, end_offset: Offset, isr: Vec<NodeId>, min_isr: usize },
    /// A member of an ISR does not hold what a leader shows as committed.
    MemberLacks {
        partition: TopicPartition,
        leader: NodeId,
        leader_epoch: LeaderEpoch,
        high_watermark: Offset,
        member: NodeId,
        held: Option<BatchInfo>,
        expected: BatchInfo,
    },
    /// A consumer was given a record that no high watermark covers.
    ReadAboveHw { partition: TopicPartition, consumer: Arc<str>, offset: Offset, high_watermark: Offset },
    /// A broker went back to an older epoch.
    RoleFell { partition: TopicPartition, broker: NodeId, from: LeaderEpoch, to: LeaderEpoch },
    /// A change of the ISR was committed that was asked for on top of an older registration.
    StaleIsrChange {
        partition: TopicPartition,
        isr: Vec<NodeId>,
        asked_in: (LeaderEpoch, PartitionEpoch),
        committed_in: (LeaderEpoch, PartitionEpoch),
    },
    /// The high watermark is beyond the log end of an ISR member.
    HwBeyondMember {
        partition: TopicPartition,
        leader: NodeId,
        leader_epoch: LeaderEpoch,
        high_watermark: Offset,
        member: NodeId,
        member_end: Offset,
    },
    /// A leader's high watermark went back.
    HwFell { partition: TopicPartition, leader: NodeId, leader_epoch: LeaderEpoch, from: Offset, to: Offset },
    /// Two brokers lead in one epoch.
    TwoLeaders { partition: TopicPartition, leader_epoch: LeaderEpoch, first: NodeId, second: NodeId },
    /// The controller decided on a lower epoch than before.
    EpochFell { partition: TopicPartition, from: LeaderEpoch, to: LeaderEpoch },
    /// The ISR has a member that is no replica.
    IsrOutsideReplicas { partition: TopicPartition, member: NodeId, replicas: Vec<NodeId> },
    /// The leader is not in the ISR.
    LeaderOutsideIsr { partition: TopicPartition, leader: NodeId, isr: Vec<NodeId> },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommittedLost { partition, leader, leader_epoch, from, to, held } => {
                let held = Held(held.as_ref());
                write!(f, "{partition}: b{leader} leads epoch {leader_epoch} without the committed records ")?;
                write!(f, "[{from}, {to}); at {from} it has {held}")
            }
            Self::LogsDiffer { partition, replica, other, offset, held, expected } => {
                let (held, expected) = (Held(held.as_ref()), Held(Some(expected)));
                write!(f, "{partition}: below the high watermark, at offset {offset}, b{replica} has {held}, ")?;
                write!(f, "b{other} has {expected}")
            }
            Self::AnsweredEarly { partition, leader, end_offset, high_watermark } => {
                write!(f, "{partition}: b{leader} answered acks=all for records up to {end_offset} ")?;
                write!(f, "while its high watermark was {high_watermark}")
            }
            Self::AnsweredWithout { partition, leader, end_offset, member, member_end } => {
                write!(f, "{partition}: b{leader} answered acks=all for records up to {end_offset} ")?;
                write!(f, "while the log of ISR member b{member} ended at {member_end}")
            }
            Self::AnsweredByTooFew { partition, leader, end_offset, isr, min_isr } => {
                write!(f, "{partition}: b{leader} answered acks=all for records up to {end_offset} with the ISR ")?;
                write!(f, "{}, and min.insync.replicas is {min_isr}", Brokers(isr))
            }
            Self::MemberLacks { partition, leader, leader_epoch, high_watermark, member, held, expected } => {
                let (held, expected) = (Held(held.as_ref()), Held(Some(expected)));
                write!(f, "{partition}: the high watermark of b{leader} in epoch {leader_epoch} is {high_watermark} ")?;
                write!(f, "and covers {expected}; ISR member b{member} has {held}")
            }
            Self::ReadAboveHw { partition, consumer, offset, high_watermark } => {
                write!(f, "{partition}: {consumer} was given offset {offset}, and no leader's high watermark ")?;
                write!(f, "was above {high_watermark}")
            }
            Self::RoleFell { partition, broker, from, to } => {
                write!(f, "{partition}: b{broker} went from leader epoch {from} to {to}")
            }
            Self::StaleIsrChange { partition, isr, asked_in, committed_in } => {
                write!(f, "{partition}: the ISR {} was asked for in leader epoch {} ", Brokers(isr), asked_in.0)?;
                write!(f, "on top of registration {}, and was committed in leader epoch ", asked_in.1.0)?;
                write!(f, "{} on top of {}", committed_in.0, committed_in.1.0)
            }
            Self::HwBeyondMember { partition, leader, leader_epoch, high_watermark, member, member_end } => {
                write!(
                    f,
                    "{partition}: the high watermark of b{leader} in epoch {leader_epoch} is {high_watermark}, "
                )?;
                write!(f, "the log of ISR member b{member} ends at {member_end}")
            }
            Self::HwFell { partition, leader, leader_epoch, from, to } => {
                write!(
                    f,
                    "{partition}: the high watermark of b{leader} fell from {from} to {to} in epoch {leader_epoch}"
                )
            }
            Self::TwoLeaders { partition, leader_epoch, first, second } => {
                write!(f, "{partition}: b{first} and b{second} both lead epoch {leader_epoch}")
            }
            Self::EpochFell { partition, from, to } => {
                write!(f, "{partition}: the leader epoch fell from {from} to {to}")
            }
            Self::IsrOutsideReplicas { partition, member, replicas } => {
                write!(f, "{partition}: b{member} is in the ISR, the replicas are {}", Brokers(replicas))
            }
            Self::LeaderOutsideIsr { partition, leader, isr } => {
                write!(f, "{partition}: b{leader} leads, the ISR is {}", Brokers(isr))
            }
        }
    }
}

/// A set of brokers as reports write it: `{b1, b2}`.
pub(crate) struct Brokers<'a>(pub(crate) &'a [NodeId]);

impl fmt::Display for Brokers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|node| format!("b{node}")).collect();
        write!(f, "{{{}}}", names.join(", "))
    }
}

/// What stands at an offset of a log.
struct Held<'a>(Option<&'a BatchInfo>);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => write!(f, "nothing"),
            Some(BatchInfo { base_offset, end_offset, leader_epoch, crc, .. }) => {
                write!(f, "batch [{base_offset}, {end_offset}) of epoch {leader_epoch} with CRC {crc:08x}")
            }
        }
    }
}
