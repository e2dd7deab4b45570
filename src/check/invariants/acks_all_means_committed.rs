//! S15 `MinIsrAck`, first half: a positive answer to acks=all says that the records are committed - the leader's high
//! watermark is beyond them, and so is the log of each member of the committed ISR.
//!
//! Excused: a member whose host lost power and which has not caught up since.

use super::{Broken, Tally, Violation};
use crate::{
    base::{NodeId, Offset},
    check::{
        Claim,
        model::{Cluster, Partition, broker_id},
    },
    trace::{Event, journal::Entry},
};

pub(super) fn observe(cluster: &Cluster, entry: &Entry, tally: &mut Tally) {
    let Event::ProduceAnswered { partition, acks: -1, error, end_offset, leader_epoch, high_watermark, .. } =
        &entry.event
    else {
        return;
    };
    let Some(leader) = broker_id(&entry.node).filter(|_| &**error == "NONE") else { return };
    let state = cluster.partitions.get(partition);
    let known = state.and_then(|state| state.replicas.get(&leader)).map_or(Offset::ZERO, |r| r.high_watermark);
    let (partition, end_offset, high_watermark) = (partition.clone(), *end_offset, known.max(*high_watermark));
    let chosen = state.filter(|state| state.is_chosen_leader(leader, *leader_epoch));
    let broken = if high_watermark < end_offset {
        Some(Broken::AnsweredEarly { partition, leader, end_offset, high_watermark })
    } else {
        chosen
            .and_then(|state| member_without(state, leader, end_offset))
            .map(|(member, member_end)| Broken::AnsweredWithout { partition, leader, end_offset, member, member_end })
    };
    tally.check(Claim::AcksAllMeansCommitted, broken.map(|broken| Violation { broken, events: vec![entry.id] }));
}

/// An ISR member other than the leader whose log ends before `end_offset`, and where.
fn member_without(state: &Partition, leader: NodeId, end_offset: Offset) -> Option<(NodeId, Offset)> {
    let registration = state.registration.as_ref()?;
    let ends = registration.isr.iter().filter(|member| **member != leader).filter_map(|member| {
        let replica = state.replicas.get(member);
        let excused = replica.is_some_and(|replica| replica.lost_power.is_some());
        (!excused).then(|| (*member, replica.map_or(Offset::ZERO, |replica| replica.log.end())))
    });
    ends.into_iter().find(|(_, end)| *end < end_offset)
}
