//! What happens around a story: steps, processes, leadership, the ISR. Follows one partition through the journal, knows
//! who leads and what each log holds, and says what each event that matters means.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Line, Moment, words};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    check::{Plan, invariants::Brokers, model::broker_id},
    trace::{Election, Event, EventId, Role, journal::Entry},
};

/// The partition of a story, as the journal has told it so far.
pub(super) struct Scene<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) leader: NodeId,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) isr: Vec<NodeId>,
    pub(super) replicas: Vec<NodeId>,
    /// Where each log ends.
    pub(super) ends: BTreeMap<NodeId, Offset>,
    /// The highest high watermark that a leader told, who, and with which ISR.
    pub(super) highest: Option<(Offset, NodeId, Vec<NodeId>)>,
    /// Brokers whose process does not run.
    pub(super) stopped: BTreeSet<NodeId>,
    /// Brokers that the controller has fenced.
    pub(super) fenced: BTreeSet<NodeId>,
    /// Brokers whose host lost power at some time.
    pub(super) lost_power: BTreeSet<NodeId>,
    /// Brokers whose disk took a part of their log: what they did, as in "it had ...".
    pub(super) by_disk: BTreeMap<NodeId, &'static str>,
    /// Batches that have rotted on brokers' disks: where each begins.
    rotten: BTreeSet<(NodeId, Offset)>,
    /// Brokers that cut their log at their own high watermark at some time.
    pub(super) cut_to_high_watermark: BTreeSet<NodeId>,
    /// The newest election that gave the partition a leader.
    pub(super) election: Option<Elected>,
    isr_wanted: Option<Arc<str>>,
    lines: Vec<Line>,
}

/// An election, and the sets it chose from.
#[derive(Clone)]
pub(super) struct Elected {
    pub(super) event: EventId,
    pub(super) leader: NodeId,
    pub(super) election: Election,
    /// Who could be elected.
    pub(super) electable: Vec<NodeId>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(partition: &'a TopicPartition) -> Self {
        Self {
            partition,
            leader: NodeId::NONE,
            leader_epoch: LeaderEpoch::UNKNOWN,
            isr: Vec::new(),
            replicas: Vec::new(),
            ends: BTreeMap::new(),
            highest: None,
            stopped: BTreeSet::new(),
            fenced: BTreeSet::new(),
            lost_power: BTreeSet::new(),
            by_disk: BTreeMap::new(),
            rotten: BTreeSet::new(),
            cut_to_high_watermark: BTreeSet::new(),
            election: None,
            isr_wanted: None,
            lines: Vec::new(),
        }
    }

    /// Takes the next event.
    pub(super) fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            Event::StepFired { action, .. } if action == "nothing" => {}
            Event::StepFired { step, action, .. } => self.say(entry, format!("step {step}: {action}")),
            Event::NodeStopped { how } => {
                if let Some(node) = self.replica(entry) {
                    self.stopped.insert(node);
                    if how.lost_power() {
                        self.lost_power.insert(node);
                    }
                    self.say(entry, words::stopped(*how));
                }
            }
            Event::DiskReplaced => {
                if let Some(node) = self.replica(entry) {
                    self.ends.remove(&node);
                    self.rotten.retain(|(rotten, _)| *rotten != node);
                    self.by_disk.insert(node, "lost it with its disk");
                    self.say(entry, "its disk was replaced by an empty one");
                }
            }
            Event::NodeStarted { incarnation } => {
                if let Some(node) = self.replica(entry) {
                    self.stopped.remove(&node);
                    if *incarnation > 1 {
                        self.say(entry, "started again");
                    }
                }
            }
            Event::BrokerFenced { broker, reason } => {
                self.fenced.insert(*broker);
                if self.replicas.contains(broker) {
                    self.say(entry, format!("fenced b{broker}: {reason}"));
                }
            }
            Event::BrokerUnfenced { broker } => {
                self.fenced.remove(broker);
            }
            // The next topic of its name has other logs, and epochs of its own.
            Event::TopicDeleted { topic, .. } if *topic == self.partition.topic => {
                (self.leader, self.leader_epoch, self.election) = (NodeId::NONE, LeaderEpoch::UNKNOWN, None);
                (self.highest, self.isr_wanted) = (None, None);
                (self.isr, self.replicas, self.ends) = Default::default();
            }
            event if words::partition_of(event) == Some(self.partition) => self.of_partition(entry),
            _ => {}
        }
    }

    fn replica(&self, entry: &Entry) -> Option<NodeId> {
        broker_id(&entry.node).filter(|node| self.replicas.is_empty() || self.replicas.contains(node))
    }

    fn of_partition(&mut self, entry: &Entry) {
        let node = broker_id(&entry.node);
        match &entry.event {
            Event::PartitionChanged { .. } => self.changed(entry),
            Event::IsrProposed { reason, .. } => self.isr_wanted = Some(reason.clone()),
            Event::LogLoaded { end_offset, .. } | Event::Appended { end_offset, .. } => {
                self.ends.extend(node.map(|node| (node, *end_offset)));
            }
            Event::BatchCorrupted { base_offset, end_offset, .. } => {
                self.rotten.extend(node.map(|node| (node, *base_offset)));
                self.say(entry, format!("its batch [{base_offset}, {end_offset}) rots on its disk"));
            }
            Event::BatchMended { base_offset, .. } => {
                self.rotten.retain(|rotten| Some(*rotten) != node.map(|node| (node, *base_offset)));
            }
            Event::Truncated { from, to, why, .. } => {
                self.ends.extend(node.map(|node| (node, *to)));
                let at_rot = node.filter(|node| **why == *"recovery" && self.rotten.contains(&(*node, *to)));
                self.by_disk.extend(at_rot.map(|node| (node, "cut it off at a corrupt batch")));
                if **why == *"high-watermark" {
                    self.cut_to_high_watermark.extend(node);
                }
                match &**why {
                    _ if from == to => {}
                    "recovery" => {
                        self.say(entry, format!("checked its log after the unclean stop and cut it at {to}"));
                    }
                    why => {
                        let why = words::truncation(why, self.leader, *to);
                        self.say(entry, format!("truncated [{to}, {from}): {why}"));
                    }
                }
            }
            Event::ReplicaLeft { .. } => {
                node.map(|node| self.ends.remove(&node));
                self.say(entry, words::LEFT);
            }
            Event::HighWatermark { role: Role::Leader, high_watermark, .. } => {
                let Some(node) = node else { return };
                if self.highest.as_ref().is_none_or(|(highest, ..)| high_watermark > highest) {
                    self.highest = Some((*high_watermark, node, self.isr.clone()));
                }
            }
            other => {
                if let Some(text) = words::moved(other) {
                    self.say(entry, text);
                }
            }
        }
    }

    fn changed(&mut self, entry: &Entry) {
        let Event::PartitionChanged { leader, leader_epoch, replicas, isr, election, reason, .. } = &entry.event else {
            return;
        };
        let begins = *leader != NodeId::NONE && *leader_epoch > self.leader_epoch;
        let reason = match self.isr_wanted.take() {
            Some(wanted) if reason.ends_with("asked for it") => wanted,
            _ => reason.clone(),
        };
        let end = self.ends.get(leader).copied().unwrap_or(Offset::ZERO);
        let text = match election {
            Election::Created => None,
            _ if begins => Some(words::elected(*election, *leader, *leader_epoch, end, &reason)),
            // Its replicas changed, which is told for itself.
            _ if (leader, isr) == (&self.leader, &self.isr) => None,
            _ if *leader == NodeId::NONE => Some(format!("nobody leads: {reason}")),
            _ => Some(format!("the ISR {} became {}: {reason}", Brokers(&self.isr), Brokers(isr))),
        };
        if begins {
            let electable = if *election == Election::Unclean { replicas.clone() } else { self.isr.clone() };
            let (event, leader, election) = (entry.id, *leader, *election);
            self.election = Some(Elected { event, leader, election, electable });
        }
        (self.leader, self.leader_epoch) = (*leader, *leader_epoch);
        (self.isr, self.replicas) = (isr.clone(), replicas.clone());
        if let Some(text) = text {
            self.say(entry, text);
        }
    }

    /// Adds a line.
    pub(super) fn say(&mut self, entry: &Entry, text: impl Into<String>) {
        let (event, time, node) = (entry.id, entry.time, entry.node.clone());
        self.lines.push(Line { event, time, node, text: text.into(), copies: None, moment: None });
    }

    /// Adds a line that is a moment of the story.
    pub(super) fn say_moment(&mut self, entry: &Entry, text: impl Into<String>, moment: Moment) {
        self.say(entry, text);
        self.lines.last_mut().expect("a line was just added").moment = Some(moment);
    }

    /// The lines from `begin` to `end`, and of what came before only the steps.
    pub(super) fn between(&mut self, begin: EventId, end: EventId) -> Vec<Line> {
        let mut lines = std::mem::take(&mut self.lines);
        let early_step = |line: &Line| line.event < begin && line.text.starts_with("step ");
        lines.retain(|line| (begin <= line.event && line.event <= end) || early_step(line));
        lines
    }

    /// The value of a setting of the topic.
    pub(super) fn setting<'p>(&self, plan: &'p Plan, name: &str) -> Option<&'p str> {
        plan.topics.get(&self.partition.topic)?.get(name).map(|value| &**value)
    }

    /// The key of a setting of the topic with a value, as `run --set` takes it.
    pub(super) fn set(&self, name: &str, value: &str) -> String {
        format!("topic.{}.{name}={value}", self.partition.topic)
    }
}

/// The key of a setting of a producer with a value, as `run --set` takes it.
pub(super) fn client_set(producer: &str, name: &str, value: &str) -> String {
    format!("client.{producer}.{name}={value}")
}
