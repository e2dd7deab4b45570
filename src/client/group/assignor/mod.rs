//! The assignors of classic groups: who reads what, decided by the leader among the members. Pure.
//!
//! Each gives the answer that Apache Kafka's assignor of the same name gives, so that it does not matter whose client
//! leads; `tests.rs` compares with recorded ones. Where several answers are as good, Kafka takes one by the order
//! of a hash table, and these by the order of names. Not here: racks (KIP-881), and the coordinator's own assignors.
//!
//! | name | a member gets | rebalance |
//! |---|---|---|
//! | `range` | of each topic a run of partitions | eager |
//! | `roundrobin` | partitions in turns, over all topics | eager |
//! | `sticky` | as many as the others, and as much as possible of what it had | eager |
//! | `cooperative-sticky` | the same, but nothing that another has still to give up | cooperative |

mod range;
mod round_robin;
mod sticky;

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use bytes::Bytes;

use super::subscription::{self, NO_GENERATION, Subscription};
use crate::base::TopicPartition;

/// The members of a group by id, with what they said.
pub type Members = BTreeMap<Arc<str>, Subscription>;
/// Number of partitions of each topic that exists.
pub type PartitionCounts = BTreeMap<Arc<str>, i32>;
/// The partitions of each member, by its id.
pub type Assignment = BTreeMap<Arc<str>, Vec<TopicPartition>>;

/// One of Kafka's assignors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// `RangeAssignor`.
    Range,
    /// `RoundRobinAssignor`.
    RoundRobin,
    /// `StickyAssignor`.
    Sticky,
    /// `CooperativeStickyAssignor`.
    CooperativeSticky,
}

impl Assignor {
    /// As members name it to each other.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether a member may keep its partitions while the group rebalances (KIP-429).
    pub fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// What a member of `generation` that was assigned `assigned` tells the leader besides its subscription.
    pub fn user_data(self, assigned: Option<&[TopicPartition]>, generation: i32) -> Option<Bytes> {
        match self {
            Self::Range | Self::RoundRobin => None,
            Self::Sticky => assigned.map(|assigned| subscription::encode_sticky(assigned, generation)),
            Self::CooperativeSticky => Some(subscription::encode_generation(generation)),
        }
    }

    /// Who gets what. Topics that are not in `partitions` are left out.
    pub fn assign(self, partitions: &PartitionCounts, members: &Members) -> Assignment {
        let subscribed = |topic: &Arc<str>| members.values().any(|member| member.topics.contains(topic));
        let there = partitions.iter().filter(|(topic, count)| **count > 0 && subscribed(topic));
        let partitions: PartitionCounts = there.map(|(topic, count)| (topic.clone(), *count)).collect();
        match self {
            Self::Range => range::assign(&partitions, members),
            Self::RoundRobin => round_robin::assign(&partitions, members),
            Self::Sticky => sticky::assign(&partitions, members, sticky_memory).0,
            Self::CooperativeSticky => cooperative(&partitions, members),
        }
    }
}

impl FromStr for Assignor {
    type Err = String;

    /// By its name, or by the name of Kafka's class.
    fn from_str(text: &str) -> Result<Self, String> {
        let class = text.strip_prefix("org.apache.kafka.clients.consumer.").unwrap_or(text);
        match class {
            "range" | "RangeAssignor" => Ok(Self::Range),
            "roundrobin" | "RoundRobinAssignor" => Ok(Self::RoundRobin),
            "sticky" | "StickyAssignor" => Ok(Self::Sticky),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Self::CooperativeSticky),
            _ => Err(format!("expected range, roundrobin, sticky or cooperative-sticky, found `{text}`")),
        }
    }
}

/// What a member had before, and in which generation.
struct Memory {
    owned: Vec<TopicPartition>,
    generation: Option<i32>,
}

/// `sticky` keeps it in its user data.
fn sticky_memory(member: &Subscription) -> Memory {
    let Some(data) = member.user_data.as_ref().filter(|data| !data.is_empty()) else {
        return Memory { owned: Vec::new(), generation: None };
    };
    match subscription::decode_sticky(data) {
        Ok((owned, generation)) => Memory { owned, generation },
        Err(_) => Memory { owned: Vec::new(), generation: Some(NO_GENERATION) },
    }
}

/// `cooperative-sticky` has it in the subscription itself; members of Kafka before 3.5 write the generation into the
/// user data alone.
fn cooperative_memory(member: &Subscription) -> Memory {
    let told = || member.user_data.as_ref().map(|data| subscription::decode_generation(data).unwrap_or(NO_GENERATION));
    Memory { owned: member.owned.clone(), generation: member.generation.or_else(told) }
}

/// What a member has from a generation beyond which others have come counts for nothing, as before Kafka 3.4.1: who
/// joined one and never heard what it was given loses all it has, and does not know it (KAFKA-14639).
pub fn forget_older_claims(members: &mut Members) {
    let heard = |member: &Subscription| {
        let told = member.user_data.as_ref();
        told.and_then(|data| subscription::decode_generation(data).ok()).unwrap_or(NO_GENERATION)
    };
    let newest = members.values().map(heard).max().unwrap_or(NO_GENERATION);
    members.values_mut().filter(|member| heard(member) < newest).for_each(|member| member.owned.clear());
}

/// As `sticky`, without what another member still has: it gets that in the next round, once it was given up.
fn cooperative(partitions: &PartitionCounts, members: &Members) -> Assignment {
    let (mut assignment, moving) = sticky::assign(partitions, members, cooperative_memory);
    let moving = moving.unwrap_or_else(|| moving_between(members, &assignment));
    for (partition, receiver) in moving {
        let given = assignment.get_mut(&receiver).expect("a partition moves to a member");
        given.retain(|other| *other != partition);
    }
    assignment
}

/// What one member loses and another gets, with the one that gets it.
fn moving_between(members: &Members, assignment: &Assignment) -> BTreeMap<TopicPartition, Arc<str>> {
    let had = |member: &Arc<str>, partition: &TopicPartition| members[member].owned.contains(partition);
    let all = assignment.iter().flat_map(|(member, given)| given.iter().map(move |partition| (partition, member)));
    let added = all.filter(|(partition, member)| !had(member, partition));
    let is_given_up = |partition: &TopicPartition| {
        members.iter().any(|(member, said)| {
            said.owned.contains(partition) && !assignment.get(member).is_some_and(|given| given.contains(partition))
        })
    };
    let moving = added.filter(|(partition, _)| is_given_up(partition));
    moving.map(|(partition, member)| (partition.clone(), member.clone())).collect()
}

/// Ids in the order in which `range` and `roundrobin` serve members: static ones first, by their instance id, so that
/// a restart under another member id changes nothing (KIP-345).
fn in_turn<'a>(members: impl Iterator<Item = (&'a Arc<str>, &'a Subscription)>) -> Vec<&'a Arc<str>> {
    let mut members: Vec<_> = members.collect();
    members.sort_by(|(a, a_said), (b, b_said)| match (&a_said.instance_id, &b_said.instance_id) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    });
    members.into_iter().map(|(member, _)| member).collect()
}

/// An entry without partitions for each member.
fn nothing(members: &Members) -> Assignment {
    members.keys().map(|member| (member.clone(), Vec::new())).collect()
}

#[cfg(test)]
mod tests;
