//! Which member gets which partitions: the assignors of the consumer protocol (KIP-848), as Apache Kafka computes them.
//!
//! An assignor is a function of the members, their subscriptions and what they have been assigned before. Kafka's walk hash
//! tables in places; who sits in which bucket decides between assignments that are equally good. [`java`] knows the order,
//! so that the same input gives the same assignment.
//!
//! | module | is |
//! |---|---|
//! | [`uniform`] | `uniform` where all members subscribe to the same topics |
//! | [`general`] | `uniform` where they do not |
//! | [`range`] | `range` |
//! | [`java`] | orders of Java's hash tables |

mod general;
mod java;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

pub(super) use java::{in_order_of_ids, in_order_of_strings};

use crate::base::TopicId;

/// Partitions by topic. No topic without partitions.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;
/// What each member gets.
pub type Assignment = BTreeMap<Arc<str>, Partitions>;

/// A server-side assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Spreads all partitions evenly and moves as few as it can.
    Uniform,
    /// Cuts each topic into ranges, the same for topics with as many partitions.
    Range,
}

impl Assignor {
    /// Computes an assignment.
    pub fn assign(self, spec: &Spec) -> Assignment {
        match self {
            Self::Range => range::assign(spec),
            Self::Uniform if spec.homogeneous => uniform::assign(spec),
            Self::Uniform => general::assign(spec),
        }
    }
}

/// The name that clients and settings know it by.
impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        })
    }
}

impl FromStr for Assignor {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "uniform" => Ok(Self::Uniform),
            "range" => Ok(Self::Range),
            other => Err(format!("there is no assignor `{other}`; there are uniform and range")),
        }
    }
}

/// What an assignor works on.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The members by id.
    pub members: BTreeMap<Arc<str>, Subscriber>,
    /// How many partitions each topic has; every topic that is subscribed to is here.
    pub topics: BTreeMap<TopicId, i32>,
    /// Whether all members subscribe to the same topics.
    pub homogeneous: bool,
}

/// A member as assignors see it.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// The topics it subscribes to, in the order of its names in a Java hash set; see [`in_order_of_strings`].
    pub topics: Vec<TopicId>,
    /// What it was assigned before.
    pub assigned: Partitions,
}

impl Spec {
    /// The ids in the order in which Kafka walks the members.
    fn member_ids(&self) -> Vec<&Arc<str>> {
        java::in_order_of_table(self.members.keys(), |id| java::hash_of_string(id))
    }

    fn partitions_of(&self, topic: TopicId) -> i32 {
        self.topics.get(&topic).copied().unwrap_or(0)
    }
}

/// Adds one partition.
fn put(partitions: &mut Partitions, topic: TopicId, partition: i32) {
    partitions.entry(topic).or_default().insert(partition);
}

/// Takes one partition away.
fn take(partitions: &mut Partitions, topic: TopicId, partition: i32) {
    if let Some(of_topic) = partitions.get_mut(&topic) {
        of_topic.remove(&partition);
        if of_topic.is_empty() {
            partitions.remove(&topic);
        }
    }
}
