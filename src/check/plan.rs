//! What a checker has to know of a scenario: who takes part, by which promises, and what is expected.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Expectation;
use crate::base::TopicPartition;

/// Facts of a resolved scenario (a variant applied) that the events do not carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The producers by node name.
    pub producers: BTreeMap<Arc<str>, ProducerPlan>,
    /// Node names of the consumers, without the final audit's.
    pub consumers: Vec<Arc<str>>,
    /// The consumer groups by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<Arc<str>, GroupPlan>,
    /// Resolved settings of each topic: Kafka's names, the broker's value where the topic has none. Those that reports
    /// speak of are `min.insync.replicas`, `unclean.leader.election.enable` and `flush.messages`.
    pub topics: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
    /// Switches that differ from the newest behaviour, by name.
    pub switches: BTreeMap<Arc<str>, Arc<str>>,
    /// What the scenario expects; at most one entry a claim.
    pub expectations: Vec<Expectation>,
    /// Marks without which the run proves nothing.
    pub must_reach: Vec<Arc<str>>,
    /// The run ends broken: nobody demands that consumers reach the end.
    pub leave_broken: bool,
}

/// What a producer's settings promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerPlan {
    /// `enable.idempotence`.
    pub idempotent: bool,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: u32,
}

/// Who is in a consumer group, and what its application means to promise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// Node names of its members.
    pub members: Vec<Arc<str>>,
    /// The partitions of the topics that they subscribe to.
    pub partitions: Vec<TopicPartition>,
    /// Its applications mean to process each record once or more.
    pub at_least_once: bool,
    /// Its applications mean to process no record twice.
    pub at_most_once: bool,
    /// How each member works, by node name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workers: BTreeMap<Arc<str>, WorkerPlan>,
    /// Nobody joins: each takes its partitions itself, and commits in the group's name.
    #[serde(default, skip_serializing_if = "is_false")]
    pub assigned_by_hand: bool,
}

impl GroupPlan {
    /// Whether `member` is a static one, and the only one of its `group.instance.id`.
    pub fn is_alone_as_static(&self, member: &str) -> bool {
        let instance = self.workers.get(member).and_then(|worker| worker.instance.as_ref());
        instance.is_some() && self.workers.values().filter(|worker| worker.instance.as_ref() == instance).count() == 1
    }
}

/// How a member of a group works, as far as reports speak of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// Its application, by the name that scenarios use.
    pub application: Arc<str>,
    /// `auto.offset.reset`.
    pub reset: Arc<str>,
    /// It speaks the consumer protocol (KIP-848).
    pub modern: bool,
    /// `group.instance.id` of a static member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Arc<str>>,
    /// Its assignors let members keep what they have during a rebalance.
    pub cooperative: bool,
    /// `session.timeout.ms`; of the classic protocol.
    pub session_timeout_ms: u64,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// How a run ended, as its engine knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Steps that never fired.
    pub unfired: Vec<Unfired>,
    /// Marks that were reached ([`crate::base::mark`]).
    pub marks: Vec<Arc<str>>,
    /// Why the run could not be finished, such as a deadline that passed: what was waited for.
    pub unfinished: Option<String>,
    /// What the cluster lacked when it was given up after healing.
    pub unsettled: Option<String>,
    /// A fault of the harness: a simulator invariant broke, a trace hash differed, a task of ours panicked.
    pub harness_fault: Option<String>,
}

/// A step whose trigger did not come true in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfired {
    /// Number of the step from 1.
    pub step: usize,
    /// Its trigger as written.
    pub trigger: String,
    /// What the trigger's expression was worth at last.
    pub last_value: String,
}
