//! S5 `WeakIsr` and S6 `StrongIsr` (hachikuji): whatever a broker that leads, or believes that it leads, shows as
//! committed, the members of the ISR hold, record by record - at each acks=all answer those of the ISR that this broker
//! goes by, at each move of its high watermark those of the controller's ISR, who may be elected.
//!
//! Other than `hw-within-isr` this compares content: a member may have as many records and others.
//!
//! Excused: a member that forgot over its power or its disk and has not caught up since, offsets whose loss was
//! permitted, and a broker that is no replica any more: it may have deleted its log before its leader has heard of that.

use std::collections::BTreeMap;

use super::{Broken, Ledger, Tally, Violation};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    check::{
        Claim,
        model::{Cluster, broker_id},
    },
    trace::{Event, Role, journal::Entry},
};

/// Whose records were compared how far.
type Compared = BTreeMap<(TopicPartition, NodeId), (LeaderEpoch, Offset)>;

#[derive(Default)]
pub(super) struct IsrHasCommitted {
    own: Compared,
    controllers: Compared,
}

impl IsrHasCommitted {
    pub(super) fn observe(&mut self, cluster: &Cluster, ledger: &Ledger, entry: &Entry, tally: &mut Tally) {
        if let Event::TopicDeleted { topic, .. } = &entry.event {
            self.own.retain(|(partition, _), _| partition.topic != *topic);
            self.controllers.retain(|(partition, _), _| partition.topic != *topic);
        }
        let Some(leader) = broker_id(&entry.node) else { return };
        let (partition, leader_epoch, high_watermark) = match &entry.event {
            Event::HighWatermark { partition, role: Role::Leader, leader_epoch, high_watermark, .. }
            | Event::ProduceAnswered { partition, acks: -1, leader_epoch, high_watermark, .. } => {
                (partition, *leader_epoch, *high_watermark)
            }
            _ => return,
        };
        let check = Check { cluster, ledger, entry, partition, leader, leader_epoch, high_watermark };
        match &entry.event {
            Event::ProduceAnswered { error, isr, .. } if &**error == "NONE" => {
                check.members(Claim::OwnIsrHasCommitted, isr.iter().copied(), &mut self.own, tally);
            }
            // What a leader shows that was replaced uncleanly is compared once the new one has shown what it lacks.
            Event::HighWatermark { .. } if !ledger.has_unclean_leader_to_come(partition) => {
                let registration = cluster.partitions.get(partition).and_then(|state| state.registration.as_ref());
                let isr = registration.into_iter().flat_map(|registration| registration.isr.iter().copied());
                check.members(Claim::IsrHasCommitted, isr, &mut self.controllers, tally);
            }
            _ => {}
        }
    }
}

struct Check<'a> {
    cluster: &'a Cluster,
    ledger: &'a Ledger,
    entry: &'a Entry,
    partition: &'a TopicPartition,
    leader: NodeId,
    leader_epoch: LeaderEpoch,
    high_watermark: Offset,
}

impl Check<'_> {
    /// Compares what the leader shows, from where it was compared before, with what `members` hold.
    fn members(&self, claim: Claim, members: impl Iterator<Item = NodeId>, compared: &mut Compared, tally: &mut Tally) {
        let Some(state) = self.cluster.partitions.get(self.partition) else { return };
        let Some(own) = state.replicas.get(&self.leader) else { return };
        let done = compared.entry((self.partition.clone(), self.leader)).or_insert((self.leader_epoch, Offset::ZERO));
        if done.0 != self.leader_epoch {
            *done = (self.leader_epoch, Offset::ZERO);
        }
        let fresh = own.log.batches_from(done.1).iter().take_while(|batch| batch.end_offset <= self.high_watermark);
        let fresh: Vec<_> =
            fresh.filter(|batch| !self.ledger.permits_loss(self.partition, batch.base_offset)).collect();
        done.1 = self.high_watermark.max(done.1);
        let holds = |member: &NodeId| state.registration.as_ref().is_none_or(|known| known.replicas.contains(member));
        for member in members.filter(|member| *member != self.leader && holds(member)) {
            let replica = state.replicas.get(&member);
            if replica.is_some_and(|replica| replica.forgot.is_some()) {
                continue;
            }
            let lacks = fresh.iter().find(|batch| !replica.is_some_and(|replica| replica.log.contains(batch)));
            let found = lacks.map(|batch| Violation {
                broken: Broken::MemberLacks {
                    partition: self.partition.clone(),
                    leader: self.leader,
                    leader_epoch: self.leader_epoch,
                    high_watermark: self.high_watermark,
                    member,
                    held: replica.and_then(|replica| replica.log.batch_at(batch.base_offset)).cloned(),
                    expected: (**batch).clone(),
                },
                events: vec![self.entry.id],
            });
            tally.check(claim, found);
        }
    }
}
