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
    /// The members that were given each partition and still believe to have it, the last one last.
    owners: BTreeMap<(Arc<str>, TopicPartition), Vec<Arc<str>>>,
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
                for partition in partitions {
                    let owners = self.owners.entry((group.clone(), partition.clone())).or_default();
                    owners.retain(|owner| owner != node);
                    owners.push(node.clone());
                }
            }
            Event::PartitionsRevoked { group, partitions, .. } | Event::PartitionsLost { group, partitions, .. } => {
                for partition in partitions {
                    let owners = self.owners.get_mut(&(group.clone(), partition.clone()));
                    owners.into_iter().for_each(|owners| owners.retain(|owner| owner != node));
                }
            }
            Event::NodeStopped { .. } => {
                self.owners.values_mut().for_each(|owners| owners.retain(|owner| owner != node));
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
            Event::TopicDeleted { topic, .. } => self.committed.retain(|(_, partition), _| partition.topic != *topic),
            Event::RecordProcessed { .. } => {
                *self.processed.entry(node.clone()).or_default() += 1;
                *self.at_work.entry(node.clone()).or_default() -= 1;
            }
            _ => {}
        }
    }

    pub(super) fn owner(&self, group: &str, partition: &TopicPartition) -> Option<String> {
        self.owners(group, partition).last().map(|owner| owner.to_string())
    }

    fn owners(&self, group: &str, partition: &TopicPartition) -> &[Arc<str>] {
        self.owners.get(&(group.into(), partition.clone())).map_or(&[], Vec::as_slice)
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

    /// Why not exactly one member of a group has a partition.
    pub(super) fn misowned(&self, group: &str, partition: &TopicPartition) -> Option<String> {
        match self.owners(group, partition) {
            [_] => None,
            [] => Some(format!("nobody in group {group} has {partition}")),
            many => Some(format!("{} of group {group} all have {partition}", many.join(", "))),
        }
    }
}
