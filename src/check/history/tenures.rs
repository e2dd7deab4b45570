//! What the members of groups have passed, partition by partition, for as long as each was theirs: it begins where a
//! position is set and ends when the partition is given up or lost, or the process ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use crate::{
    base::{Offset, TopicPartition},
    trace::{Event, EventId, journal::Entry},
};

/// A member and a partition.
type Key = (Arc<str>, TopicPartition);
/// What was passed, and the event that told so last.
type Tenure = (Range<Offset>, EventId);

/// The tenures of all members.
#[derive(Default)]
pub(super) struct Tenures {
    /// Nodes that were ever assigned a partition by a group.
    members: BTreeSet<Arc<str>>,
    open: BTreeMap<Key, Tenure>,
    closed: Vec<(Key, Tenure)>,
}

impl Tenures {
    pub(super) fn observe(&mut self, entry: &Entry) {
        let key = |partition: &TopicPartition| (entry.node.clone(), partition.clone());
        match &entry.event {
            Event::PartitionsAssigned { .. } => {
                self.members.insert(entry.node.clone());
            }
            Event::PositionSet { partition, offset, .. } if self.members.contains(&entry.node) => {
                self.close(&key(partition));
                self.open.insert(key(partition), (*offset..*offset, entry.id));
            }
            Event::RecordRead { partition, offset, .. } if self.members.contains(&entry.node) => {
                if let Some((passed, event)) = self.open.get_mut(&key(partition)) {
                    (passed.end, *event) = (offset.next(), entry.id);
                }
            }
            Event::PartitionsRevoked { partitions, .. } | Event::PartitionsLost { partitions, .. } => {
                partitions.iter().for_each(|partition| self.close(&key(partition)));
            }
            // What was passed stood in the log that is gone: the next one is passed from here on.
            Event::TopicDeleted { topic, .. } => {
                self.closed.retain(|((_, partition), _)| partition.topic != *topic);
                let open = self.open.iter_mut().filter(|((_, partition), _)| partition.topic == *topic);
                open.for_each(|(_, (passed, _))| passed.start = passed.end);
            }
            Event::NodeStopped { .. } if self.members.contains(&entry.node) => {
                let of_node = self.open.keys().filter(|(node, _)| *node == entry.node);
                let keys: Vec<_> = of_node.cloned().collect();
                keys.iter().for_each(|key| self.close(key));
            }
            _ => {}
        }
    }

    fn close(&mut self, key: &Key) {
        let tenure = self.open.remove_entry(key).filter(|(_, (passed, _))| !passed.is_empty());
        self.closed.extend(tenure);
    }

    pub(super) fn is_member(&self, node: &Arc<str>) -> bool {
        self.members.contains(node)
    }

    /// Member, partition, what it passed, and the event that told so last.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &TopicPartition, Range<Offset>, EventId)> {
        let closed = self.closed.iter().map(|(key, tenure)| (key, tenure));
        closed.chain(&self.open).map(|((node, partition), (passed, event))| (node, partition, passed.clone(), *event))
    }
}
