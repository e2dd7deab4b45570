//! S7 `ValidHighWatermark` (AsyncIsr), S6 `StrongIsr` (hachikuji): each member of the committed ISR has everything
//! below the high watermark of the leader that the controller chose.
//!
//! It follows from the maximal ISR (KIP-497): a leader counts a member as long as the controller may still think it is
//! one. Excused: a member that forgot over its power or its disk and has not caught up since; the controller takes it
//! out when it has noticed.

use super::{Broken, Tally, Violation};
use crate::{
    base::{Offset, TopicPartition},
    check::{Claim, model::Cluster},
    trace::{Event, EventId, Role, journal::Entry},
};

pub(super) fn observe(cluster: &Cluster, entry: &Entry, tally: &mut Tally) {
    match &entry.event {
        Event::HighWatermark { partition, role: Role::Leader, .. }
        | Event::BecameLeader { partition, .. }
        | Event::PartitionChanged { partition, .. }
        | Event::Truncated { partition, .. } => check(cluster, partition, entry.id, tally),
        _ => {}
    }
}

fn check(cluster: &Cluster, name: &TopicPartition, event: EventId, tally: &mut Tally) {
    let Some(state) = cluster.partitions.get(name) else { return };
    let (Some((leader_id, leader)), Some(registration)) = (state.acting_leader(), &state.registration) else { return };
    for member in registration.isr.iter().filter(|member| **member != leader_id) {
        let replica = state.replicas.get(member);
        if replica.is_some_and(|replica| replica.forgot.is_some()) {
            continue;
        }
        let member_end = replica.map_or(Offset::ZERO, |replica| replica.log.end());
        let found = (member_end < leader.high_watermark).then(|| Violation {
            broken: Broken::HwBeyondMember {
                partition: name.clone(),
                leader: leader_id,
                leader_epoch: leader.leader_epoch,
                high_watermark: leader.high_watermark,
                member: *member,
                member_end,
            },
            events: vec![registration.event, event],
        });
        tally.check(Claim::HwWithinIsr, found);
    }
}
