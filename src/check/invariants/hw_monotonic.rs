//! S14: on one leader in one epoch the high watermark never goes back. (A follower's may, and so may it from one leader
//! to the next, whose knowledge of it lags.)

use std::collections::BTreeMap;

use super::{Broken, Tally, Violation};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    check::{Claim, model::broker_id},
    trace::{Event, EventId, Role, journal::Entry},
};

#[derive(Default)]
pub(super) struct HwMonotonic {
    leaders: BTreeMap<(TopicPartition, NodeId), (LeaderEpoch, Offset, EventId)>,
}

impl HwMonotonic {
    pub(super) fn observe(&mut self, entry: &Entry, tally: &mut Tally) {
        if let Event::TopicDeleted { topic, .. } = &entry.event {
            self.leaders.retain(|(partition, _), _| partition.topic != *topic);
        }
        let Some(node) = broker_id(&entry.node) else { return };
        match &entry.event {
            Event::NodeStopped { .. } => self.leaders.retain(|(_, leader), _| *leader != node),
            Event::BecameLeader { partition, leader_epoch, high_watermark, .. }
            | Event::HighWatermark { partition, role: Role::Leader, leader_epoch, high_watermark, .. } => {
                let now = (*leader_epoch, *high_watermark, entry.id);
                let before = self.leaders.insert((partition.clone(), node), now);
                let Some((_, from, event)) = before.filter(|(epoch, ..)| epoch == leader_epoch) else { return };
                let found = (*high_watermark < from).then(|| Violation {
                    broken: Broken::HwFell {
                        partition: partition.clone(),
                        leader: node,
                        leader_epoch: *leader_epoch,
                        from,
                        to: *high_watermark,
                    },
                    events: vec![event, entry.id],
                });
                tally.check(Claim::HwMonotonic, found);
            }
            _ => {}
        }
    }
}
