//! S1 `NoAckedLoss`, S3 `LeaderCompleteness` (Vanlightly): a leader that the controller chose holds, when it begins to
//! lead, every record that an earlier chosen leader committed, with the same content at the same offset.
//!
//! Excused, and written into the ledger:
//! * an **unclean election** since the last leader began: whatever the new leader lacks;
//! * a **power loss**: the new leader lost power and had not caught up since, and so had every member of the ISR of
//!   that moment, or of the ISR in which it leads: who lost its log stays when the others leave before the controller
//!   knows, since an ISR is never empty and nobody else may be elected (the gap that KIP-966 closes). A member that lost
//!   power alone and leads an ISR with others in it is *not* excused: a controller has to take it out first (KIP-903);
//! * a **disk that lied**: when the new leader lost power its disk took what it had called synced, and the hole is not
//!   at the end, where following a leader would have filled it;
//! * as a power loss, a **corrupt batch**, where recovery cut a log exactly at one that was injected, and a **disk that
//!   was replaced** by an empty one.
//!
//! A leader that was replaced without knowing it (a zombie) commits nothing here.

use super::{Broken, Ledger, Permit, PermittedLoss, Tally, Violation};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    check::{
        Claim,
        model::{Cluster, Damage, Partition, broker_id},
    },
    trace::{Election, Event, EventId, Role, journal::Entry},
};

#[derive(Default)]
pub(super) struct CommittedPrefixKept {
    pub(super) ledger: Ledger,
}

impl CommittedPrefixKept {
    pub(super) fn observe(&mut self, cluster: &Cluster, entry: &Entry, tally: &mut Tally) {
        match &entry.event {
            Event::TopicCreated { topic, .. } | Event::TopicDeleted { topic, .. } => {
                self.ledger.forget_topic(topic);
            }
            Event::PartitionChanged { partition, election: Election::Unclean, .. } => {
                self.ledger.unclean_election(partition, entry.id);
            }
            Event::BecameLeader { partition, leader_epoch, high_watermark, .. } => {
                if let Some((node, state)) = chosen(cluster, entry, partition, *leader_epoch) {
                    let broken = self.began(state, partition, node, *leader_epoch, entry.id);
                    tally.check(Claim::CommittedPrefixKept, broken);
                    self.commit(state, partition, node, *high_watermark, entry.id);
                }
            }
            Event::HighWatermark { partition, role: Role::Leader, leader_epoch, high_watermark, .. } => {
                if let Some((node, state)) = chosen(cluster, entry, partition, *leader_epoch) {
                    self.commit(state, partition, node, *high_watermark, entry.id);
                }
            }
            _ => {}
        }
    }

    fn commit(
        &mut self,
        state: &Partition,
        name: &TopicPartition,
        node: NodeId,
        high_watermark: Offset,
        event: EventId,
    ) {
        let account = self.ledger.account(name);
        let fresh = state.replicas[&node].log.batches_from(account.end());
        account.commit(fresh, high_watermark, event);
    }

    /// The chosen leader begins: compares its log with what was committed, and makes it the truth.
    fn began(
        &mut self,
        state: &Partition,
        name: &TopicPartition,
        leader: NodeId,
        leader_epoch: LeaderEpoch,
        event: EventId,
    ) -> Option<Violation> {
        let log = &state.replicas[&leader].log;
        let unclean = self.ledger.leader_begins(name);
        let account = self.ledger.account(name);
        let (end, gap) = (account.end(), first_missing(account.range(Offset::ZERO, account.end()), log));
        let permit = match (unclean, damage_permits(state, leader)) {
            (Some(election), _) => Some((Permit::UncleanElection, election)),
            (None, Some(Damage::Power)) => Some((Permit::PowerLoss, event)),
            (None, Some(Damage::Rot)) => Some((Permit::CorruptBatch, event)),
            (None, Some(Damage::Blank)) => Some((Permit::DiskReplaced, event)),
            (None, None) => None,
        };
        // A leader that was replaced uncleanly and does not know it may yet commit what it has and the new one has not.
        let known = if unclean.is_some() { log.end().min(end) } else { log.end() };
        let from = gap.as_ref().map_or(known, |(offset, _)| *offset);
        if gap.is_some() {
            account.cut(from);
        }
        if let Some((permit, event)) = permit {
            let records = (end.0 - from.0).max(0);
            let partition = name.clone();
            self.ledger.permit(PermittedLoss { partition, from, records, leader, leader_epoch, permit, event });
            return None;
        }
        gap.map(|(from, committed)| Violation {
            broken: Broken::CommittedLost {
                partition: name.clone(),
                leader,
                leader_epoch,
                from,
                to: end,
                held: log.batch_at(from).cloned(),
            },
            events: vec![committed, event],
        })
    }
}

/// The broker of the entry and its partition, if the controller chose it as leader in this epoch.
fn chosen<'a>(
    cluster: &'a Cluster,
    entry: &Entry,
    partition: &TopicPartition,
    leader_epoch: LeaderEpoch,
) -> Option<(NodeId, &'a Partition)> {
    let node = broker_id(&entry.node)?;
    let state = cluster.partitions.get(partition)?;
    state.is_chosen_leader(node, leader_epoch).then_some((node, state))
}

/// Offset of the first committed batch that `log` does not hold, and the event that committed it.
fn first_missing(
    committed: &[(crate::trace::BatchInfo, EventId)],
    log: &crate::check::model::ReplicaLog,
) -> Option<(Offset, EventId)> {
    committed.iter().find(|(batch, _)| !log.contains(batch)).map(|(batch, event)| (batch.base_offset, *event))
}

/// What made the leader forget, if it has not caught up since, and if every member of the ISR in which it forgot, or of
/// the ISR that it leads, has forgotten too; or if its disk had lied to it.
fn damage_permits(state: &Partition, leader: NodeId) -> Option<Damage> {
    let has_forgotten = |node: &NodeId| state.replicas.get(node).is_some_and(|replica| replica.forgot.is_some());
    let isr = state.registration.as_ref().map(|registration| &registration.isr);
    let nobody_else = isr.is_some_and(|isr| isr.iter().all(has_forgotten));
    if state.replicas[&leader].is_holed() {
        return Some(Damage::Power);
    }
    let forgot = state.replicas[&leader].forgot.as_ref()?;
    (nobody_else || forgot.isr.iter().all(has_forgotten)).then_some(forgot.by)
}
