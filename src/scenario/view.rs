//! The state of a run as triggers see it: rebuilt from events, the same that reports and checkers read.

mod settled;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::{
    condition::{Comparison, Condition, EventTrigger},
    disk_view::DiskView,
    group_view::GroupView,
    outbox::Outbox,
    term::{Cast, Term},
};
use crate::{
    base::{NodeId, OFFSETS_TOPIC, Offset, TopicPartition, java},
    check::AUDIT_NODE,
    trace::{Event, journal::Entry},
};

/// What a term is worth now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number; `None` while it is not known.
    Number(Option<i64>),
    /// A node; `None` is nobody.
    Node(Option<String>),
    /// Nodes, in order.
    Nodes(Vec<String>),
    /// True or false.
    Truth(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(Some(number)) => write!(f, "{number}"),
            Self::Number(None) => f.write_str("unknown"),
            Self::Node(node) => f.write_str(node.as_deref().unwrap_or(NOBODY)),
            Self::Nodes(nodes) => write!(f, "[{}]", nodes.join(", ")),
            Self::Truth(truth) => write!(f, "{truth}"),
        }
    }
}

/// The node that is none.
const NOBODY: &str = "none";

/// A partition's registration at the controller.
#[derive(Clone, Debug, Default)]
struct Registration {
    leader: Option<String>,
    epoch: i64,
    partition_epoch: i64,
    replicas: Vec<String>,
    isr: Vec<String>,
}

/// What a replica said of its log.
#[derive(Clone, Debug, Default)]
struct Replica {
    end: Option<i64>,
    high_watermark: Option<i64>,
    flushed: i64,
    /// Who leads as far as it knows: itself, another, or nobody.
    leader: Option<String>,
    /// The newest leader epoch in which its fetch reached a leader.
    fetched_in: Option<i64>,
}

/// Counts of a client.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: i64,
    acked: i64,
    failed: i64,
    read: i64,
}

/// The state of a run.
#[derive(Debug, Default)]
pub struct View {
    cast: Cast,
    partitions: BTreeMap<TopicPartition, Registration>,
    /// Partitions that are on their way to other replicas.
    moving: BTreeSet<TopicPartition>,
    replicas: BTreeMap<(TopicPartition, Arc<str>), Replica>,
    clients: BTreeMap<Arc<str>, Counts>,
    outboxes: BTreeMap<Arc<str>, Outbox>,
    positions: BTreeMap<(Arc<str>, TopicPartition), Offset>,
    /// Whose position a new leader's log did not reach: what stands there later is not what was read.
    overtaken: BTreeSet<(Arc<str>, TopicPartition)>,
    running: BTreeSet<Arc<str>>,
    disks: DiskView,
    fenced: BTreeSet<String>,
    registered: BTreeSet<String>,
    /// Topics that were deleted once: what they had need not be there.
    deleted: BTreeSet<Arc<str>>,
    audited: BTreeSet<TopicPartition>,
    groups: GroupView,
    /// Groups whose committed offsets the audit has.
    audited_groups: BTreeSet<Arc<str>>,
}

/// Name of a broker as scenarios have it.
fn broker(id: NodeId) -> String {
    format!("b{id}")
}

impl View {
    /// Nothing happened yet.
    pub fn new(cast: Cast) -> Self {
        let of = |(name, count): &(String, Option<u64>)| Some((name.as_str().into(), Outbox::new((*count)?)));
        let outboxes = cast.clients.iter().filter_map(of).collect();
        Self { cast, outboxes, ..Self::default() }
    }

    /// Takes an event.
    pub fn take(&mut self, entry: &Entry) {
        let node = &entry.node;
        if !self.cast.groups.is_empty() {
            self.groups.take(entry);
        }
        let replicas = &self.replicas;
        self.disks.take(entry, |node, partition| {
            let replica = replicas.get(&(partition.clone(), node.clone()));
            replica.is_some_and(|replica| replica.leader.as_deref() == Some(&**node))
        });
        match &entry.event {
            Event::NodeStarted { incarnation } => {
                self.running.insert(node.clone());
                if let Some(outbox) = self.outboxes.get_mut(node) {
                    outbox.begin(u64::from(*incarnation).saturating_sub(1));
                }
            }
            Event::NodeStopped { .. } => {
                self.running.remove(node);
                for ((_, host), replica) in &mut self.replicas {
                    if host == node {
                        (replica.leader, replica.fetched_in) = (None, None);
                    }
                }
            }
            Event::DiskReplaced => self.replicas.retain(|(_, host), _| host != node),
            Event::PartitionChanged { partition, leader, leader_epoch, partition_epoch, replicas, isr, .. } => {
                let names = |ids: &[NodeId]| ids.iter().map(|id| broker(*id)).collect();
                let registration = Registration {
                    leader: (*leader != NodeId::NONE).then(|| broker(*leader)),
                    epoch: i64::from(leader_epoch.0),
                    partition_epoch: i64::from(partition_epoch.0),
                    replicas: names(replicas),
                    isr: names(isr),
                };
                self.partitions.insert(partition.clone(), registration);
            }
            Event::TopicDeleted { topic, .. } => {
                self.partitions.retain(|partition, _| partition.topic != *topic);
                self.moving.retain(|partition| partition.topic != *topic);
                self.replicas.retain(|(partition, _), _| partition.topic != *topic);
                self.deleted.insert(topic.clone());
            }
            Event::ReassignmentBegan { partition, .. } => {
                self.moving.insert(partition.clone());
            }
            Event::ReassignmentCompleted { partition, .. } | Event::ReassignmentCancelled { partition, .. } => {
                self.moving.remove(partition);
            }
            Event::ReplicaLeft { partition } => {
                self.replicas.remove(&(partition.clone(), node.clone()));
            }
            Event::BrokerRegistered { broker: id, .. } | Event::BrokerFenced { broker: id, .. } => {
                self.registered.insert(broker(*id));
                self.fenced.insert(broker(*id));
            }
            Event::BrokerUnfenced { broker: id } => {
                self.fenced.remove(&broker(*id));
            }
            Event::RecordSent { .. } => self.counts(node).sent += 1,
            Event::RecordAcked { record, .. } => {
                self.counts(node).acked += 1;
                self.settle(node, *record);
            }
            Event::RecordFailed { record, .. } => {
                self.counts(node).failed += 1;
                self.settle(node, *record);
            }
            Event::RecordRead { partition, offset, .. } => {
                self.counts(node).read += 1;
                self.stand(node, partition, offset.next());
            }
            Event::PositionSet { partition, offset, .. } => self.stand(node, partition, *offset),
            Event::CommittedFetched { group, .. } if **node == *AUDIT_NODE => {
                self.audited_groups.insert(group.clone());
            }
            Event::AuditReachedEnd { partition, .. } => {
                self.audited.insert(partition.clone());
            }
            Event::FollowerFetched { partition, follower, leader_epoch, .. } => {
                let replica = self.replicas.entry((partition.clone(), broker(*follower).into())).or_default();
                replica.fetched_in = Some(i64::from(leader_epoch.0));
            }
            other => self.take_log(node, other),
        }
    }

    /// The application of a producer was told what became of a record.
    fn settle(&mut self, client: &Arc<str>, record: u64) {
        if let Some(outbox) = self.outboxes.get_mut(client) {
            outbox.take_settled(record);
        }
    }

    /// What the application of a producer has left to send.
    pub fn outbox(&self, client: &str) -> Outbox {
        self.outboxes[client].clone()
    }

    fn counts(&mut self, client: &Arc<str>) -> &mut Counts {
        if !self.clients.contains_key(client) {
            self.clients.insert(client.clone(), Counts::default());
        }
        self.clients.get_mut(client).expect("it was there or is now")
    }

    fn stand(&mut self, consumer: &Arc<str>, partition: &TopicPartition, next: Offset) {
        let whose = (consumer.clone(), partition.clone());
        self.overtaken.remove(&whose);
        self.positions.insert(whose, next);
    }

    fn take_log(&mut self, node: &Arc<str>, event: &Event) {
        let mut change = |partition: &TopicPartition, change: &dyn Fn(&mut Replica)| {
            change(self.replicas.entry((partition.clone(), node.clone())).or_default());
        };
        match event {
            Event::LogLoaded { partition, end_offset, high_watermark, .. } => change(partition, &|replica| {
                (replica.end, replica.high_watermark) = (Some(end_offset.0), Some(high_watermark.0));
            }),
            Event::Appended { partition, end_offset, .. } => {
                change(partition, &|replica| replica.end = Some(end_offset.0));
            }
            Event::Truncated { partition, to, .. } => change(partition, &|replica| {
                replica.end = Some(to.0);
                replica.flushed = replica.flushed.min(to.0);
            }),
            Event::LogStartMoved { partition, to, .. } => change(partition, &|replica| {
                replica.end = replica.end.max(Some(to.0));
            }),
            Event::Flushed { partition, end_offset } => change(partition, &|replica| replica.flushed = end_offset.0),
            Event::BecameLeader { partition, start_offset, high_watermark, .. } => {
                change(partition, &|replica| {
                    replica.high_watermark = Some(high_watermark.0);
                    replica.leader = Some(node.to_string());
                });
                let beyond = self.positions.iter().filter(|((_, at), next)| at == partition && *next > start_offset);
                self.overtaken.extend(beyond.map(|(whose, _)| whose.clone()));
            }
            Event::BecameFollower { partition, leader, high_watermark, end_offset, .. } => {
                change(partition, &|replica| {
                    (replica.end, replica.high_watermark) = (Some(end_offset.0), Some(high_watermark.0));
                    replica.leader = (*leader != NodeId::NONE).then(|| broker(*leader));
                });
            }
            Event::HighWatermark { partition, high_watermark, end_offset, .. } => change(partition, &|replica| {
                (replica.end, replica.high_watermark) = (Some(end_offset.0), Some(high_watermark.0));
            }),
            _ => {}
        }
    }

    /// What a term is worth.
    pub fn value(&self, term: &Term) -> Value {
        match term {
            Term::Number(number) => Value::Number(Some(*number)),
            Term::Name(_, name) => self.named(name),
            Term::List(terms) => Value::Nodes(terms.iter().map(|term| self.value(term).to_string()).collect()),
            Term::Call(_, function, arguments) => self.call(function.name, arguments),
        }
    }

    fn named(&self, name: &str) -> Value {
        let stopped = |node: &&str| !self.running.contains(*node);
        let owned = |nodes: Vec<&str>| Value::Nodes(nodes.into_iter().map(str::to_owned).collect());
        match name {
            "none" => Value::Node(None),
            "controller" => Value::Node(self.cast.controllers.first().cloned()),
            "brokers" => owned(self.cast.brokers.iter().map(|(name, _)| name.as_str()).collect()),
            "clients" => owned(self.cast.clients.iter().map(|(name, _)| name.as_str()).collect()),
            "all" => owned(self.cast.nodes().collect()),
            "stopped" => owned(self.cast.nodes().filter(stopped).collect()),
            "settled" => Value::Truth(self.unsettled().is_none()),
            node => Value::Node(Some(node.to_owned())),
        }
    }

    fn call(&self, function: &str, arguments: &[Term]) -> Value {
        let registration = || self.partitions.get(&arguments[0].partition());
        let replica = || {
            let partition = arguments[0].partition();
            let node = match arguments.get(1) {
                Some(term) => self.nodes(term).into_iter().next(),
                None => self.partitions.get(&partition).and_then(|registration| registration.leader.clone()),
            };
            self.replicas.get(&(partition, node?.into()))
        };
        let counts = || self.clients.get(arguments[0].name()).copied().unwrap_or_default();
        let node = || self.nodes(&arguments[0]).into_iter().next();
        match function {
            "leader" => Value::Node(registration().and_then(|registration| registration.leader.clone())),
            "followers" => Value::Nodes(registration().map_or(Vec::new(), |registration| {
                let leads = |name: &&String| Some(*name) != registration.leader.as_ref();
                registration.replicas.iter().filter(leads).cloned().collect()
            })),
            "isr" => Value::Nodes(registration().map_or(Vec::new(), |registration| registration.isr.clone())),
            "replicas" => Value::Nodes(registration().map_or(Vec::new(), |registration| registration.replicas.clone())),
            "size" => Value::Number(i64::try_from(self.nodes(&arguments[0]).len()).ok()),
            "reassigning" => Value::Truth(self.moving.contains(&arguments[0].partition())),
            "epoch" => Value::Number(registration().map(|registration| registration.epoch)),
            "partition_epoch" => Value::Number(registration().map(|registration| registration.partition_epoch)),
            "leader_known" => Value::Node(replica().and_then(|replica| replica.leader.clone())),
            "hw" => Value::Number(replica().and_then(|replica| replica.high_watermark)),
            "leo" => Value::Number(replica().and_then(|replica| replica.end)),
            "flushed" => Value::Number(replica().map(|replica| replica.flushed)),
            "sent" => Value::Number(Some(counts().sent)),
            "acked" => Value::Number(Some(counts().acked)),
            "failed" => Value::Number(Some(counts().failed)),
            "read" => Value::Number(Some(counts().read)),
            "running" => Value::Truth(node().is_some_and(|node| self.running.contains(node.as_str()))),
            "fenced" => Value::Truth(node().is_some_and(|node| self.fenced.contains(&node))),
            "processed" => Value::Number(Some(self.groups.processed(arguments[0].name()))),
            "generation" => Value::Number(self.groups.generation(arguments[0].name())),
            "owner" => Value::Node(self.groups.owner(arguments[0].name(), &arguments[1].partition())),
            "committed" => Value::Number(self.groups.committed(arguments[0].name(), &arguments[1].partition())),
            "coordinator" => {
                let number = java::coordinating_partition(arguments[0].name(), self.cast.offsets_partitions);
                let registration = self.partitions.get(&TopicPartition::new(OFFSETS_TOPIC, number));
                Value::Node(registration.and_then(|registration| registration.leader.clone()))
            }
            "rack" => {
                let rack = arguments[0].name();
                let brokers = self.cast.brokers.iter().filter(|(_, of)| of.as_deref() == Some(rack));
                Value::Nodes(brokers.map(|(name, _)| name.clone()).collect())
            }
            other => unreachable!("function `{other}` is in the table and has no value"),
        }
    }

    /// The nodes that a target names now; none where nobody leads.
    pub fn nodes(&self, target: &Term) -> Vec<String> {
        match self.value(target) {
            Value::Node(node) => node.into_iter().collect(),
            Value::Nodes(nodes) => nodes.into_iter().filter(|name| name != NOBODY).collect(),
            other => unreachable!("`{target}` was checked to be nodes and is {other}"),
        }
    }

    /// Whether the log of `node` has come to this record.
    pub fn has_record(&self, partition: &TopicPartition, node: &str, offset: Offset) -> bool {
        let replica = self.replicas.get(&(partition.clone(), node.into()));
        replica.and_then(|replica| replica.end).is_some_and(|end| end > offset.0)
    }

    /// Whether a condition is true now.
    pub fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Or(left, right) => self.holds(left) || self.holds(right),
            Condition::And(left, right) => self.holds(left) && self.holds(right),
            Condition::Not(inner) => !self.holds(inner),
            Condition::Is(term) => self.value(term) == Value::Truth(true),
            Condition::Compare(left, comparison, right) => compare(self.value(left), *comparison, self.value(right)),
        }
    }

    /// What the terms of a condition are worth, for people.
    pub fn explain(&self, condition: &Condition) -> String {
        let parts: Vec<String> =
            condition.symbols().into_iter().map(|term| format!("{term} = {}", self.value(term))).collect();
        parts.join(", ")
    }

    /// Whether `entry` is an event that the trigger waits for.
    pub fn matches(&self, trigger: &EventTrigger, entry: &Entry) -> bool {
        let arguments = &trigger.arguments;
        let is_at = |index: usize, node: &str| {
            arguments.get(index).is_none_or(|term| self.nodes(term).iter().any(|name| name == node))
        };
        let on = |partition: &TopicPartition| arguments[0].partition() == *partition;
        let here = |partition: &TopicPartition| on(partition) && is_at(1, &entry.node);
        let client = || arguments[0].name() == &*entry.node;
        let sends = |api: &str| arguments[0].name() == api && is_at(1, &entry.node);
        match (trigger.kind.name, &entry.event) {
            ("appended", Event::Appended { partition, .. })
            | ("hw_moved", Event::HighWatermark { partition, .. })
            | ("flushed", Event::Flushed { partition, .. })
            | ("truncated", Event::Truncated { partition, .. })
            | ("became_leader", Event::BecameLeader { partition, .. })
            | ("became_follower", Event::BecameFollower { partition, .. })
            | ("answered", Event::ProduceAnswered { partition, .. })
            | ("isr_proposed", Event::IsrProposed { partition, .. }) => here(partition),
            ("fetched", Event::FollowerFetched { partition, follower, .. }) => {
                on(partition) && is_at(1, &broker(*follower))
            }
            ("alter_partition_committed", Event::PartitionChanged { partition, .. }) => on(partition),
            ("elected", Event::PartitionChanged { partition, election, .. }) => {
                use crate::trace::Election::{Clean, Preferred, Unclean};
                on(partition) && matches!(election, Clean | Preferred | Unclean)
            }
            ("acked", Event::RecordAcked { .. })
            | ("read", Event::RecordRead { .. })
            | ("assigned", Event::PartitionsAssigned { .. })
            | ("revoked", Event::PartitionsRevoked { .. } | Event::PartitionsLost { .. })
            | ("processed", Event::RecordProcessed { .. })
            | ("commit_sent", Event::CommitSent { .. }) => client(),
            ("committed", Event::CommitAnswered { error, .. }) => **error == *"NONE" && client(),
            ("rebalance", Event::RebalanceBegan { group, .. }) => *arguments[0].name() == **group,
            ("fenced", Event::BrokerFenced { broker: id, .. }) => is_at(0, &broker(*id)),
            ("stopped", Event::NodeStopped { .. }) | ("started", Event::NodeStarted { .. }) => is_at(0, &entry.node),
            ("request", Event::MessageSent { api, request: true, .. })
            | ("response", Event::MessageSent { api, request: false, .. }) => sends(api),
            _ => false,
        }
    }

    /// Whether the process of a host runs.
    pub fn is_running(&self, name: &str) -> bool {
        self.running.contains(name)
    }

    /// Hosts whose process does not run, but for members of groups.
    pub fn stopped(&self) -> Vec<String> {
        let nodes = self.cast.brokers.iter().map(|(name, _)| name).chain(&self.cast.controllers);
        let clients = self.cast.clients.iter().map(|(name, _)| name);
        let alone = clients.filter(|name| !self.cast.members.contains(name));
        nodes.chain(alone).filter(|name| !self.running.contains(name.as_str())).cloned().collect()
    }

    /// The logs that a disk which lied, or on which a record has rotted, has damaged, as far as it is known, each with
    /// its host. One that is damaged without that is the broker's own fault, and nothing that an operator should have
    /// to mend.
    pub fn damaged_by_disks(&self) -> Vec<(Arc<str>, TopicPartition)> {
        self.disks.damaged()
    }

    /// Whether the disk of `host` has lied, or let a record rot.
    pub fn has_spoilt_disk(&self, host: &str) -> bool {
        self.disks.is_spoilt(host)
    }

    /// The cast.
    pub fn cast(&self) -> &Cast {
        &self.cast
    }
}

/// Sets are equal whatever their order; an unknown number compares false.
fn compare(left: Value, comparison: Comparison, right: Value) -> bool {
    let sorted = |mut nodes: Vec<String>| {
        nodes.sort_by_key(|name| (name.len(), name.clone()));
        nodes.dedup();
        nodes
    };
    match (left, right) {
        (Value::Number(Some(left)), Value::Number(Some(right))) => match comparison {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::AtMost => left <= right,
            Comparison::More => left > right,
            Comparison::AtLeast => left >= right,
            Comparison::In | Comparison::NotIn => false,
        },
        (Value::Node(left), Value::Node(right)) => (left == right) == (comparison == Comparison::Equal),
        (Value::Nodes(left), Value::Nodes(right)) => {
            (sorted(left) == sorted(right)) == (comparison == Comparison::Equal)
        }
        (Value::Node(node), Value::Nodes(nodes)) => {
            let inside = nodes.contains(&node.unwrap_or_else(|| NOBODY.to_owned()));
            inside == (comparison == Comparison::In)
        }
        _ => false,
    }
}
