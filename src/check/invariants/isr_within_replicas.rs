//! S11 `LeaderInIsr` (hachikuji), S12 `ValidControllerState` (Vanlightly): in each decision of the controller the ISR
//! is part of the replicas, and the leader, if there is one, is in the ISR - after an unclean election too, which makes
//! the leader the ISR.

use super::{Broken, Tally, Violation};
use crate::{
    base::NodeId,
    check::Claim,
    trace::{Event, journal::Entry},
};

pub(super) fn observe(entry: &Entry, tally: &mut Tally) {
    let Event::PartitionChanged { partition, leader, replicas, isr, .. } = &entry.event else { return };
    let stranger = isr.iter().find(|member| !replicas.contains(member));
    let broken = if let Some(member) = stranger {
        let replicas = replicas.clone();
        Some(Broken::IsrOutsideReplicas { partition: partition.clone(), member: *member, replicas })
    } else if *leader != NodeId::NONE && !isr.contains(leader) {
        Some(Broken::LeaderOutsideIsr { partition: partition.clone(), leader: *leader, isr: isr.clone() })
    } else {
        None
    };
    tally.check(Claim::IsrWithinReplicas, broken.map(|broken| Violation { broken, events: vec![entry.id] }));
}
