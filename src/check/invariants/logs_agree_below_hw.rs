//! S4 `LogMatching` (Vanlightly): two replicas that follow one leader hold the same batches below both high watermarks.
//!
//! While the run goes, a follower is compared with what is committed when it takes data or a high watermark from the
//! leader that the controller chose: from then on it has settled with that leader's log (KIP-101, KIP-279), and before
//! it may hold a tail of an older leader. At the end all replicas are compared with their leader. Excused: what is not
//! in a log where a disk that lied has made a hole.

use std::collections::BTreeMap;

use super::{Broken, Ledger, Tally, Violation};
use crate::{
    base::{NodeId, Offset, TopicPartition},
    check::{
        Claim,
        model::{Cluster, Partition, Replica, broker_id},
    },
    trace::{BatchInfo, Event, EventId, Role, journal::Entry},
};

#[derive(Default)]
pub(super) struct LogsAgreeBelowHw {
    /// Up to where each replica's log was compared.
    agreed: BTreeMap<TopicPartition, BTreeMap<NodeId, Offset>>,
    last_event: Option<EventId>,
}

impl LogsAgreeBelowHw {
    pub(super) fn observe(&mut self, cluster: &Cluster, ledger: &Ledger, entry: &Entry, tally: &mut Tally) {
        self.last_event = Some(entry.id);
        match &entry.event {
            Event::BecameLeader { partition, .. } => {
                self.agreed.remove(partition);
            }
            Event::TopicDeleted { topic, .. } => self.agreed.retain(|partition, _| partition.topic != *topic),
            Event::LogLoaded { partition, .. }
            | Event::Truncated { partition, .. }
            | Event::ReplicaLeft { partition } => {
                if let (Some(node), Some(agreed)) = (broker_id(&entry.node), self.agreed.get_mut(partition)) {
                    agreed.remove(&node);
                }
            }
            Event::Appended { partition, role: Role::Follower, .. }
            | Event::HighWatermark { partition, role: Role::Follower, .. } => {
                self.compare(cluster, ledger, partition, entry, tally);
            }
            _ => {}
        }
    }

    fn compare(&mut self, cluster: &Cluster, ledger: &Ledger, name: &TopicPartition, entry: &Entry, tally: &mut Tally) {
        let (Some(node), Some(state), Some(account)) =
            (broker_id(&entry.node), cluster.partitions.get(name), ledger.known_account(name))
        else {
            return;
        };
        let Some((leader, acting)) = state.acting_leader() else { return };
        let replica = &state.replicas[&node];
        if replica.leader_epoch != acting.leader_epoch {
            return;
        }
        let agreed = self.agreed.entry(name.clone()).or_default().entry(node).or_insert(Offset::ZERO);
        let upto = replica.high_watermark.min(replica.log.end()).min(account.end());
        for (batch, committed) in account.range(*agreed, upto) {
            let found = lacks(replica, batch).then(|| Violation {
                broken: Broken::LogsDiffer {
                    partition: name.clone(),
                    replica: node,
                    other: leader,
                    offset: batch.base_offset,
                    held: replica.log.batch_at(batch.base_offset).cloned(),
                    expected: batch.clone(),
                },
                events: vec![*committed, entry.id],
            });
            tally.check(Claim::LogsAgreeBelowHw, found);
            *agreed = batch.end_offset;
        }
    }

    /// Compares every replica that runs with its leader.
    pub(super) fn finish(&mut self, cluster: &Cluster, tally: &mut Tally) {
        for (name, state) in &cluster.partitions {
            let Some((leader_id, leader)) = state.acting_leader() else { continue };
            for (node, replica) in settled_followers(state, leader) {
                let upto = replica.high_watermark.min(leader.high_watermark).min(replica.log.end());
                let below = |end: Offset| end <= upto;
                let differs = leader.log.batches().iter().find(|b| below(b.end_offset) && lacks(replica, b));
                let found = differs.map(|batch| Violation {
                    broken: Broken::LogsDiffer {
                        partition: name.clone(),
                        replica: node,
                        other: leader_id,
                        offset: batch.base_offset,
                        held: replica.log.batch_at(batch.base_offset).cloned(),
                        expected: batch.clone(),
                    },
                    events: self.last_event.into_iter().collect(),
                });
                tally.check(Claim::LogsAgreeBelowHw, found);
            }
        }
    }
}

/// Whether the replica has something else where `batch` is to be, or nothing that a disk's lie would explain.
fn lacks(replica: &Replica, batch: &BatchInfo) -> bool {
    let is_hole = || replica.is_holed() && replica.log.batch_at(batch.base_offset).is_none();
    !replica.log.contains(batch) && !is_hole()
}

/// The ISR members that follow the leader in its epoch.
fn settled_followers<'a>(state: &'a Partition, leader: &Replica) -> impl Iterator<Item = (NodeId, &'a Replica)> {
    let leader_epoch = leader.leader_epoch;
    let isr = state.registration.as_ref().map(|registration| &registration.isr);
    state.replicas.iter().map(|(node, replica)| (*node, replica)).filter(move |(node, replica)| {
        replica.role == Some(Role::Follower)
            && replica.leader_epoch == leader_epoch
            && isr.is_some_and(|isr| isr.contains(node))
    })
}
