//! What the chosen leaders have committed, and the losses that faults and settings permit.

use std::{collections::BTreeMap, fmt};

use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    trace::{BatchInfo, EventId},
};

/// The committed batches of each partition, and its permitted losses.
#[derive(Default)]
pub struct Ledger {
    partitions: BTreeMap<TopicPartition, Account>,
    permits: Vec<PermittedLoss>,
    /// Unclean elections whose leader has not begun yet.
    unclean: BTreeMap<TopicPartition, EventId>,
}

/// The committed log of one partition.
#[derive(Default)]
pub(super) struct Account {
    committed: Vec<(BatchInfo, EventId)>,
}

/// Records that a fault or a setting was allowed to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermittedLoss {
    /// Of this partition,
    pub partition: TopicPartition,
    /// from this offset on.
    pub from: Offset,
    /// Number of committed records that went.
    pub records: i64,
    /// Who leads without them,
    pub leader: NodeId,
    /// in which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Why that is permitted.
    pub permit: Permit,
    /// The event that permitted it.
    pub event: EventId,
}

/// Why a loss is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permit {
    /// An unclean election.
    UncleanElection,
    /// Every member of the ISR lost power.
    PowerLoss,
    /// Recovery had to cut the log of the last in-sync replica.
    CorruptBatch,
    /// The disk of the last in-sync replica was replaced.
    DiskReplaced,
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UncleanElection => "an unclean election",
            Self::PowerLoss => "a power loss of every in-sync replica",
            Self::DiskReplaced => "an empty disk in place of that of the last in-sync replica",
            Self::CorruptBatch => "a corrupt batch, at which recovery cut the log of the last in-sync replica,",
        })
    }
}

impl Account {
    /// Where the committed log ends.
    pub(super) fn end(&self) -> Offset {
        self.committed.last().map_or(Offset::ZERO, |(batch, _)| batch.end_offset)
    }

    /// The committed batches that start in `from..to`.
    pub(super) fn range(&self, from: Offset, to: Offset) -> &[(BatchInfo, EventId)] {
        let first = self.committed.partition_point(|(batch, _)| batch.base_offset < from);
        let last = self.committed.partition_point(|(batch, _)| batch.end_offset <= to);
        &self.committed[first.min(last)..last]
    }

    /// `batches` stand in the leader's log; those that end at `high_watermark` or below are committed from `event` on.
    pub(super) fn commit(&mut self, batches: &[BatchInfo], high_watermark: Offset, event: EventId) {
        let fresh = batches.iter().take_while(|batch| batch.end_offset <= high_watermark);
        self.committed.extend(fresh.map(|batch| (batch.clone(), event)));
    }

    pub(super) fn cut(&mut self, to: Offset) {
        self.committed.retain(|(batch, _)| batch.end_offset <= to);
    }
}

impl Ledger {
    pub(super) fn account(&mut self, partition: &TopicPartition) -> &mut Account {
        if !self.partitions.contains_key(partition) {
            self.partitions.insert(partition.clone(), Account::default());
        }
        self.partitions.get_mut(partition).expect("it was inserted just now if it was not there")
    }

    pub(super) fn known_account(&self, partition: &TopicPartition) -> Option<&Account> {
        self.partitions.get(partition)
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.partitions.retain(|partition, _| *partition.topic != *topic);
        self.unclean.retain(|partition, _| *partition.topic != *topic);
    }

    /// `event` is an unclean election: what its leader lacks will be permitted, once it begins and shows it.
    pub(super) fn unclean_election(&mut self, partition: &TopicPartition, event: EventId) {
        self.unclean.insert(partition.clone(), event);
    }

    /// A leader begins: the unclean election that it owes that to, if it was one.
    pub(super) fn leader_begins(&mut self, partition: &TopicPartition) -> Option<EventId> {
        self.unclean.remove(partition)
    }

    /// Whether nobody can tell yet what an unclean election takes.
    pub(super) fn has_unclean_leader_to_come(&self, partition: &TopicPartition) -> bool {
        self.unclean.contains_key(partition)
    }

    pub(super) fn permit(&mut self, loss: PermittedLoss) {
        self.permits.push(loss);
    }

    /// The losses that were permitted.
    pub fn permits(&self) -> &[PermittedLoss] {
        &self.permits
    }

    /// Whether a record at `offset` was allowed to vanish at some time.
    pub fn permits_loss(&self, partition: &TopicPartition, offset: Offset) -> bool {
        self.permits.iter().any(|loss| loss.partition == *partition && loss.from <= offset)
    }

    /// The permitted losses of committed records in a few words, if there were any.
    pub(super) fn summary(&self) -> Option<String> {
        let mut by_permit: BTreeMap<Permit, i64> = BTreeMap::new();
        for loss in &self.permits {
            *by_permit.entry(loss.permit).or_default() += loss.records;
        }
        let parts: Vec<String> = by_permit
            .iter()
            .filter(|(_, records)| **records > 0)
            .map(|(permit, records)| format!("{permit} took {records} committed records, which is permitted"))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
