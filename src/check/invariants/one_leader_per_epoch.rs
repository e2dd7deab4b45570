//! S10 `SingleLeaderPerEpoch`, S16 `EpochMonotonic`: in one leader epoch of a partition at most one broker is chosen,
//! begins to lead, or appends as leader; and the epochs that the controller decides on never fall.

use std::collections::BTreeMap;

use super::{Broken, Tally, Violation};
use crate::{
    base::{LeaderEpoch, NodeId, TopicPartition},
    check::{Claim, model::broker_id},
    trace::{Event, EventId, Role, journal::Entry},
};

#[derive(Default)]
pub(super) struct OneLeaderPerEpoch {
    leaders: BTreeMap<TopicPartition, BTreeMap<LeaderEpoch, (NodeId, EventId)>>,
}

impl OneLeaderPerEpoch {
    pub(super) fn observe(&mut self, entry: &Entry, tally: &mut Tally) {
        match &entry.event {
            Event::TopicCreated { topic, .. } | Event::TopicDeleted { topic, .. } => {
                self.leaders.retain(|partition, _| partition.topic != *topic);
            }
            Event::PartitionChanged { partition, leader, leader_epoch, .. } => {
                let fell = self.epoch_fell(partition, *leader_epoch, entry.id);
                let found = if *leader == NodeId::NONE {
                    None
                } else {
                    self.second_leader(partition, *leader_epoch, *leader, entry.id)
                };
                tally.check(Claim::OneLeaderPerEpoch, fell.or(found));
            }
            Event::BecameLeader { partition, leader_epoch, .. }
            | Event::Appended { partition, role: Role::Leader, leader_epoch, .. } => {
                if let Some(node) = broker_id(&entry.node) {
                    let found = self.second_leader(partition, *leader_epoch, node, entry.id);
                    tally.check(Claim::OneLeaderPerEpoch, found);
                }
            }
            _ => {}
        }
    }

    fn second_leader(
        &mut self,
        partition: &TopicPartition,
        leader_epoch: LeaderEpoch,
        second: NodeId,
        event: EventId,
    ) -> Option<Violation> {
        if !self.leaders.contains_key(partition) {
            self.leaders.insert(partition.clone(), BTreeMap::new());
        }
        let epochs = self.leaders.get_mut(partition)?;
        let (first, begin) = *epochs.entry(leader_epoch).or_insert((second, event));
        (first != second).then(|| Violation {
            broken: Broken::TwoLeaders { partition: partition.clone(), leader_epoch, first, second },
            events: vec![begin, event],
        })
    }

    fn epoch_fell(&self, partition: &TopicPartition, to: LeaderEpoch, event: EventId) -> Option<Violation> {
        let (from, (_, begin)) = self.leaders.get(partition)?.last_key_value()?;
        (to < *from).then(|| Violation {
            broken: Broken::EpochFell { partition: partition.clone(), from: *from, to },
            events: vec![*begin, event],
        })
    }
}
