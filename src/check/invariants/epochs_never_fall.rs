//! S16 `EpochMonotonic`: nobody acts on an older epoch than it knows. A broker's roles in a partition have leader epochs
//! that never fall, over restarts too; and a change of the ISR that takes a member in was asked for in the leader epoch
//! and on top of the registration that the controller had. (Taking members out needs no leader: fencing does it.)

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Tally, Violation};
use crate::{
    base::{LeaderEpoch, NodeId, PartitionEpoch, TopicPartition},
    check::{Claim, model::broker_id},
    trace::{Election, Event, EventId, journal::Entry},
};

#[derive(Default)]
pub(super) struct EpochsNeverFall {
    roles: BTreeMap<(TopicPartition, NodeId), (LeaderEpoch, EventId)>,
    /// The ISR and the leader epoch of each partition: a reassignment that is complete may begin an epoch of the same
    /// leader.
    isr: BTreeMap<TopicPartition, (BTreeSet<NodeId>, LeaderEpoch)>,
    asked: BTreeMap<TopicPartition, Vec<Asked>>,
}

/// A change of the ISR that a leader asked for.
struct Asked {
    epochs: (LeaderEpoch, PartitionEpoch),
    isr: BTreeSet<NodeId>,
    event: EventId,
}

impl EpochsNeverFall {
    pub(super) fn observe(&mut self, entry: &Entry, tally: &mut Tally) {
        match &entry.event {
            Event::TopicCreated { topic, .. } | Event::TopicDeleted { topic, .. } => {
                self.roles.retain(|(partition, _), _| partition.topic != *topic);
                self.isr.retain(|partition, _| partition.topic != *topic);
                self.asked.retain(|partition, _| partition.topic != *topic);
            }
            Event::BecameLeader { partition, leader_epoch, .. }
            | Event::BecameFollower { partition, leader_epoch, .. } => {
                let Some(broker) = broker_id(&entry.node) else { return };
                let before = self.roles.insert((partition.clone(), broker), (*leader_epoch, entry.id));
                let Some((from, event)) = before else { return };
                let found = (*leader_epoch < from).then(|| Violation {
                    broken: Broken::RoleFell { partition: partition.clone(), broker, from, to: *leader_epoch },
                    events: vec![event, entry.id],
                });
                tally.check(Claim::EpochsNeverFall, found);
            }
            Event::IsrProposed { partition, leader_epoch, partition_epoch, isr, .. } => {
                let epochs = (*leader_epoch, *partition_epoch);
                let asked = Asked { epochs, isr: isr.iter().copied().collect(), event: entry.id };
                self.asked.entry(partition.clone()).or_default().push(asked);
            }
            Event::PartitionChanged { partition, leader_epoch, partition_epoch, replicas, isr, election, .. } => {
                let isr: BTreeSet<NodeId> = isr.iter().copied().collect();
                let before = self.isr.insert(partition.clone(), (isr.clone(), *leader_epoch));
                let Some((isr_before, epoch_before)) = before else { return };
                if !isr.is_subset(&isr_before) && *election == Election::None {
                    let committed_in = (epoch_before, PartitionEpoch(partition_epoch.0 - 1));
                    let found = self.stale(partition, (replicas, &isr), committed_in, entry.id);
                    tally.check(Claim::EpochsNeverFall, found);
                }
            }
            _ => {}
        }
    }

    /// The request for this ISR, if it was made only in other epochs than these. It may complete a reassignment: who is
    /// no replica any more is not taken.
    fn stale(
        &self,
        partition: &TopicPartition,
        (replicas, isr): (&[NodeId], &BTreeSet<NodeId>),
        committed_in: (LeaderEpoch, PartitionEpoch),
        event: EventId,
    ) -> Option<Violation> {
        let taken = |asked: &&Asked| asked.isr.iter().filter(|member| replicas.contains(member)).eq(isr);
        let mut asked = self.asked.get(partition)?.iter().filter(taken);
        let last = asked.clone().next_back()?;
        if asked.any(|asked| asked.epochs == committed_in) {
            return None;
        }
        let (isr, asked_in) = (isr.iter().copied().collect(), last.epochs);
        let broken = Broken::StaleIsrChange { partition: partition.clone(), isr, asked_in, committed_in };
        Some(Violation { broken, events: vec![last.event, event] })
    }
}
