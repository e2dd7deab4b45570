//! Consumer groups as triggers see them: who has what, what is committed, who coordinates.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    base::{Offset, TopicPartition},
    trace::{Event, journal::Entry},
};

/// The groups of a run.
#[derive(Debug, Default)]
pub(super) struct GroupView {
    members: BTreeSet<Arc<str>>,
    /// The member that was given each partition last and still has it.
    owners: BTreeMap<(Arc<str>, TopicPartition), Arc<str>>,
    generations: BTreeMap<Arc<str>, i64>,
    /// Groups whose members have to join again.
    rebalancing: BTreeSet<Arc<str>>,
    /// As the coordinators have it.
    committed: BTreeMap<(Arc<str>, TopicPartition), i64>,
    /// Records that each member's application has worked through.
    processed: BTreeMap<Arc<str>, i64>,
    /// Records that each running member's application has got and not worked through.
    at_work: BTreeMap<Arc<str>, i64>,
}

impl GroupView {
    pub(super) fn take(&mut self, entry: &Entry) {
        let node = &entry.node;
        match &entry.event {
            Event::PartitionsAssigned { group, partitions, .. } => {
                self.members.insert(node.clone());
                let keys = partitions.iter().map(|partition| (group.clone(), partition.clone()));
                self.owners.extend(keys.map(|key| (key, node.clone())));
            }
            Event::PartitionsRevoked { group, partitions, .. } | Event::PartitionsLost { group, partitions, .. } => {
                self.owners
                    .retain(|(of, partition), owner| of != group || owner != node || !partitions.contains(partition));
            }
            Event::NodeStopped { .. } => {
                self.owners.retain(|_, owner| owner != node);
                self.at_work.remove(node);
            }
            Event::RecordRead { .. } if self.members.contains(node) => {
                *self.at_work.entry(node.clone()).or_default() += 1;
            }
            Event::GenerationFormed { group, generation, .. } => {
                self.generations.insert(group.clone(), i64::from(*generation));
            }
            Event::RebalanceBegan { group, .. } => {
                self.rebalancing.insert(group.clone());
            }
            Event::GroupAssigned { group, .. } | Event::GroupEmptied { group, .. } => {
                self.rebalancing.remove(group);
            }
            Event::OffsetsCommitted { group, offsets, .. } => {
                let committed = offsets.iter().map(|(partition, Offset(offset))| (partition, *offset));
                self.committed
                    .extend(committed.map(|(partition, offset)| ((group.clone(), partition.clone()), offset)));
            }
            Event::RecordProcessed { .. } => {
                *self.processed.entry(node.clone()).or_default() += 1;
                *self.at_work.entry(node.clone()).or_default() -= 1;
            }
            _ => {}
        }
    }

    pub(super) fn owner(&self, group: &str, partition: &TopicPartition) -> Option<String> {
        self.owners.get(&(group.into(), partition.clone())).map(|owner| owner.to_string())
    }

    pub(super) fn generation(&self, group: &str) -> Option<i64> {
        self.generations.get(group).copied()
    }

    pub(super) fn committed(&self, group: &str, partition: &TopicPartition) -> Option<i64> {
        self.committed.get(&(group.into(), partition.clone())).copied()
    }

    pub(super) fn processed(&self, member: &str) -> i64 {
        self.processed.get(member).copied().unwrap_or_default()
    }

    pub(super) fn unprocessed(&self) -> Option<String> {
        let busy = self.at_work.iter().find(|(_, records)| **records > 0);
        busy.map(|(member, records)| format!("{member} has {records} records to work through"))
    }

    pub(super) fn rebalancing(&self) -> Option<String> {
        self.rebalancing.first().map(|group| format!("group {group} is in a rebalance"))
    }

    /// A partition of a group that nobody has.
    pub(super) fn unowned(&self, group: &str, partitions: &[TopicPartition]) -> Option<String> {
        let nobody = |partition: &&TopicPartition| self.owner(group, partition).is_none();
        partitions.iter().find(nobody).map(|partition| format!("nobody in group {group} has {partition}"))
    }
}
