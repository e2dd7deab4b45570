//! The cluster as its events tell it: who runs, what each replica's log holds, what the controller decided.
//!
//! Rebuilt from events alone. It is what *is*, not what any broker believes: a leader may not know yet what stands
//! here. Brokers are named `b<node.id>`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    base::{LeaderEpoch, NodeId, Offset, PartitionEpoch, TopicPartition},
    trace::{BatchInfo, Election, Event, EventId, Role, StopKind, journal::Entry},
};

/// Everything known about the cluster after some event.
#[derive(Default)]
pub struct Cluster {
    /// Whether each process runs.
    pub running: BTreeMap<Arc<str>, bool>,
    /// Every partition that exists.
    pub partitions: BTreeMap<TopicPartition, Partition>,
    /// Hosts whose disk has said that it had synced and had not.
    lied_to: BTreeSet<Arc<str>>,
}

/// One partition: what the controller decided and what its replicas hold.
#[derive(Default)]
pub struct Partition {
    /// The controller's newest decision.
    pub registration: Option<Registration>,
    /// The replicas that have a log; one that others hold the partition for until it has deleted it.
    pub replicas: BTreeMap<NodeId, Replica>,
}

/// The controller's decision about a partition.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The leader, or nobody.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Counts the decisions.
    pub partition_epoch: PartitionEpoch,
    /// The replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The in-sync replicas.
    pub isr: BTreeSet<NodeId>,
    /// What the decision did to the leadership.
    pub election: Election,
    /// The event that told it.
    pub event: EventId,
}

/// One replica's log and role.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// What its log holds, whether or not its broker runs.
    pub log: ReplicaLog,
    /// The high watermark as it knows it.
    pub high_watermark: Offset,
    /// Its role, `None` while its broker is down or has not heard of it.
    pub role: Option<Role>,
    /// The leader epoch of that role.
    pub leader_epoch: LeaderEpoch,
    /// Its log may lack what it once had, and it has not caught up with a leader since. It may be in the ISR all the
    /// same until the controller has noticed.
    pub forgot: Option<Forgot>,
    /// Its disk had forgotten what it called synced when the power went: what is gone may lie anywhere in its log.
    pub was_lied_to: bool,
    /// Batches of its log that are corrupt on its disk: where each begins.
    pub rotten: BTreeSet<Offset>,
}

/// What made a replica forget.
#[derive(Clone, Debug)]
pub struct Forgot {
    /// The fault.
    pub by: Damage,
    /// The ISR at that moment.
    pub isr: BTreeSet<NodeId>,
}

/// A fault that may take records from a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Its host lost power.
    Power,
    /// Recovery cut its log at a batch that is corrupt on its disk, as it has to.
    Rot,
    /// Its disk was replaced by an empty one.
    Blank,
}

/// The batches of one log.
#[derive(Clone, Debug, Default)]
pub struct ReplicaLog {
    batches: Vec<BatchInfo>,
    start: Offset,
    end: Offset,
}

impl ReplicaLog {
    /// Its batches, in order.
    pub fn batches(&self) -> &[BatchInfo] {
        &self.batches
    }

    /// Offset of the next record: LEO.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The batches that start at `offset` or later.
    pub fn batches_from(&self, offset: Offset) -> &[BatchInfo] {
        let index = self.batches.partition_point(|batch| batch.base_offset < offset);
        &self.batches[index..]
    }

    /// The batch that contains `offset`.
    pub fn batch_at(&self, offset: Offset) -> Option<&BatchInfo> {
        let index = self.batches.partition_point(|batch| batch.end_offset <= offset);
        self.batches.get(index).filter(|batch| batch.base_offset <= offset)
    }

    /// Whether exactly this batch is in it, or stood before its begin, where records were deleted.
    pub fn contains(&self, batch: &BatchInfo) -> bool {
        batch.end_offset <= self.start || self.batch_at(batch.base_offset) == Some(batch)
    }

    fn has_hole(&self) -> bool {
        let mut next = self.start;
        let follows = |batch: &BatchInfo| {
            let follows = batch.base_offset <= next;
            next = batch.end_offset;
            follows
        };
        !self.batches.iter().all(follows) || next < self.end
    }

    fn append(&mut self, batches: &[BatchInfo], end: Offset) {
        self.batches.extend_from_slice(batches);
        self.end = end;
    }

    fn truncate(&mut self, to: Offset) {
        self.batches.retain(|batch| batch.end_offset <= to);
        self.end = self.end.min(to);
        self.start = self.start.min(to);
    }

    fn begin_at(&mut self, start: Offset) {
        self.batches.retain(|batch| batch.end_offset > start);
        (self.start, self.end) = (start, self.end.max(start));
    }
}

impl Replica {
    /// Whether its log has a hole that a disk has made. It does not show at its end, so that nobody fills it.
    pub fn is_holed(&self) -> bool {
        self.was_lied_to && self.log.has_hole()
    }

    fn catch_up(&mut self) {
        if !self.is_holed() {
            self.forgot = None;
        }
    }

    /// What is no longer in the log is not corrupt in it.
    fn note_cut(&mut self) {
        let log = &self.log;
        self.rotten.retain(|base| log.batch_at(*base).is_some_and(|batch| batch.base_offset == *base));
    }
}

/// Number of the broker called `name`: `b3` is 3.
pub fn broker_id(name: &str) -> Option<NodeId> {
    name.strip_prefix('b').and_then(|digits| digits.parse().ok()).map(NodeId)
}

impl Partition {
    /// The leader the controller chose, where it runs as such and knows so.
    pub fn acting_leader(&self) -> Option<(NodeId, &Replica)> {
        let registration = self.registration.as_ref()?;
        let replica = self.replicas.get(&registration.leader)?;
        let acts = replica.role == Some(Role::Leader) && replica.leader_epoch == registration.leader_epoch;
        acts.then_some((registration.leader, replica))
    }

    /// Whether `node` with this epoch is the leader the controller chose.
    pub fn is_chosen_leader(&self, node: NodeId, leader_epoch: LeaderEpoch) -> bool {
        self.registration.as_ref().is_some_and(|r| r.leader == node && r.leader_epoch == leader_epoch)
    }

    /// A follower that has caught up with the leader it fetches from has every committed record again. A fetch may
    /// arrive when its sender is dead: that of an incarnation that lost its log since proves nothing.
    fn note_caught_up(&mut self, follower: NodeId, leader_epoch: LeaderEpoch) {
        let Some((_, leader)) = self.acting_leader() else { return };
        let (epoch, high_watermark) = (leader.leader_epoch, leader.high_watermark);
        if let Some(replica) = self.replicas.get_mut(&follower)
            && replica.role.is_some()
            && epoch == leader_epoch
            && replica.log.end >= high_watermark
        {
            replica.catch_up();
        }
    }

    /// What `node` has in its log may be gone from now on.
    fn forget(&mut self, node: NodeId, by: Damage) {
        let Some(isr) = self.registration.as_ref().map(|registration| registration.isr.clone()) else { return };
        if let Some(replica) = self.replicas.get_mut(&node) {
            replica.forgot = Some(Forgot { by, isr });
        }
    }
}

impl Cluster {
    /// Takes the next event.
    pub fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            Event::NodeStarted { .. } => {
                self.running.insert(entry.node.clone(), true);
            }
            Event::NodeStopped { how } => self.node_stopped(&entry.node, *how),
            Event::FaultBegan { .. } => self.lied_to.extend(entry.event.disks_that_lie().map(Into::into)),
            Event::DiskReplaced => self.disk_replaced(&entry.node),
            Event::TopicCreated { topic, .. } | Event::TopicDeleted { topic, .. } => {
                self.partitions.retain(|partition, _| partition.topic != *topic);
            }
            Event::PartitionChanged {
                partition,
                leader,
                leader_epoch,
                partition_epoch,
                replicas,
                isr,
                election,
                ..
            } => {
                self.partitions.entry(partition.clone()).or_default().registration = Some(Registration {
                    leader: *leader,
                    leader_epoch: *leader_epoch,
                    partition_epoch: *partition_epoch,
                    replicas: replicas.clone(),
                    isr: isr.iter().copied().collect(),
                    election: *election,
                    event: entry.id,
                });
            }
            Event::ReplicaLeft { partition } => {
                if let (Some(node), Some(partition)) = (broker_id(&entry.node), self.partitions.get_mut(partition)) {
                    partition.replicas.remove(&node);
                }
            }
            Event::BatchMended { partition, base_offset } => {
                // It may have been deleted meanwhile.
                let known = self.partitions.get_mut(partition).zip(broker_id(&entry.node));
                if let Some(replica) = known.and_then(|(partition, node)| partition.replicas.get_mut(&node)) {
                    replica.rotten.remove(base_offset);
                }
            }
            Event::FollowerFetched { partition, follower, leader_epoch, .. } => {
                if let Some(partition) = self.partitions.get_mut(partition) {
                    partition.note_caught_up(*follower, *leader_epoch);
                }
            }
            event => {
                if let Some(node) = broker_id(&entry.node) {
                    self.replica_event(node, event);
                }
            }
        }
    }

    fn node_stopped(&mut self, name: &Arc<str>, how: StopKind) {
        self.running.insert(name.clone(), false);
        let Some(node) = broker_id(name) else { return };
        for partition in self.partitions.values_mut() {
            if let Some(replica) = partition.replicas.get_mut(&node) {
                replica.role = None;
                if how.lost_power() {
                    replica.was_lied_to = self.lied_to.contains(name);
                }
            }
            if how.lost_power() {
                partition.forget(node, Damage::Power);
            }
        }
    }

    fn disk_replaced(&mut self, name: &Arc<str>) {
        self.lied_to.remove(name);
        let Some(node) = broker_id(name) else { return };
        for partition in self.partitions.values_mut() {
            partition.forget(node, Damage::Blank);
            if let Some(replica) = partition.replicas.get_mut(&node) {
                let forgot = replica.forgot.take();
                *replica = Replica { forgot, ..Replica::default() };
            }
        }
    }

    fn replica_event(&mut self, node: NodeId, event: &Event) {
        let Some(name) = partition_of(event) else { return };
        let partition = self.partitions.entry(name.clone()).or_default();
        // Only what the chosen leader has is the truth: one that was replaced may lead on with a log that lost its end.
        let leads = |epoch: &LeaderEpoch| partition.is_chosen_leader(node, *epoch);
        let is_leader = match event {
            Event::Appended { role: Role::Leader, leader_epoch, .. }
            | Event::HighWatermark { role: Role::Leader, leader_epoch, .. } => leads(leader_epoch),
            _ => false,
        };
        if let Event::Truncated { to, why, .. } = event
            && **why == *"recovery"
            && partition.replicas.get(&node).is_some_and(|replica| replica.rotten.contains(to))
        {
            partition.forget(node, Damage::Rot);
        }
        if let Event::DamagedLogRemoved { .. } = event {
            let lied = partition.replicas.get(&node).is_some_and(|replica| replica.was_lied_to);
            partition.forget(node, if lied { Damage::Power } else { Damage::Rot });
        }
        let replica = partition.replicas.entry(node).or_default();
        if is_leader {
            replica.catch_up();
        }
        match event {
            Event::LogLoaded { start_offset, end_offset, high_watermark, batches, .. } => {
                replica.log = ReplicaLog { batches: batches.clone(), start: Offset::ZERO, end: *end_offset };
                replica.log.begin_at(*start_offset);
                replica.high_watermark = *high_watermark;
                replica.note_cut();
            }
            Event::Appended { end_offset, batches, .. } => replica.log.append(batches, *end_offset),
            Event::Truncated { to, .. } => {
                replica.log.truncate(*to);
                replica.note_cut();
            }
            Event::LogStartMoved { to, .. } => {
                replica.log.begin_at(*to);
                replica.note_cut();
            }
            Event::BatchCorrupted { base_offset, .. } => {
                replica.rotten.insert(*base_offset);
            }
            Event::BecameLeader { leader_epoch, high_watermark, .. } => {
                replica.role = Some(Role::Leader);
                replica.leader_epoch = *leader_epoch;
                replica.high_watermark = *high_watermark;
            }
            Event::BecameFollower { leader_epoch, high_watermark, .. } => {
                replica.role = Some(Role::Follower);
                replica.leader_epoch = *leader_epoch;
                replica.high_watermark = *high_watermark;
            }
            Event::HighWatermark { role, leader_epoch, high_watermark, .. } => {
                replica.high_watermark = *high_watermark;
                if *role == Role::Follower {
                    partition.note_caught_up(node, *leader_epoch);
                }
            }
            _ => {}
        }
    }
}

/// The partition whose replica an event is about.
fn partition_of(event: &Event) -> Option<&TopicPartition> {
    match event {
        Event::LogLoaded { partition, .. }
        | Event::Appended { partition, .. }
        | Event::Truncated { partition, .. }
        | Event::LogStartMoved { partition, .. }
        | Event::BatchCorrupted { partition, .. }
        | Event::DamagedLogRemoved { partition }
        | Event::BecameLeader { partition, .. }
        | Event::BecameFollower { partition, .. }
        | Event::HighWatermark { partition, .. } => Some(partition),
        _ => None,
    }
}
