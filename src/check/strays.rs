//! Replicas of topics that were deleted, for as long as their brokers have not heard of it.
//!
//! A topic of the same name is another one. What a broker tells of the log that it still has of the old one would be
//! taken for the new one's; it begins anew where it tells of a log with nothing in it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    base::{Offset, TopicPartition},
    trace::{Event, journal::Entry},
};

/// A broker and a partition.
type Replica = (Arc<str>, TopicPartition);

/// Replicas that have a log, and those of them whose topic was deleted.
#[derive(Default)]
pub(super) struct Strays {
    logs: BTreeSet<Replica>,
    strays: BTreeSet<Replica>,
}

impl Strays {
    /// Whether `entry` tells of a replica of a deleted topic.
    pub(super) fn has(&mut self, entry: &Entry) -> bool {
        match &entry.event {
            Event::TopicDeleted { topic, .. } => {
                self.strays.extend(self.logs.iter().filter(|(_, log)| log.topic == *topic).cloned());
                self.logs.retain(|(_, log)| log.topic != *topic);
                false
            }
            Event::LogLoaded { partition, end_offset, .. } => {
                let replica = (entry.node.clone(), partition.clone());
                if *end_offset > Offset::ZERO && self.strays.contains(&replica) {
                    return true;
                }
                self.strays.remove(&replica);
                self.logs.insert(replica);
                false
            }
            Event::DiskReplaced => {
                self.logs.retain(|(node, _)| *node != entry.node);
                self.strays.retain(|(node, _)| *node != entry.node);
                false
            }
            _ if self.strays.is_empty() => false,
            Event::Appended { partition, .. }
            | Event::BatchCorrupted { partition, .. }
            | Event::BatchMended { partition, .. }
            | Event::Truncated { partition, .. }
            | Event::LogStartMoved { partition, .. }
            | Event::Flushed { partition, .. }
            | Event::BecameLeader { partition, .. }
            | Event::BecameFollower { partition, .. }
            | Event::HighWatermark { partition, .. }
            | Event::FollowerFetched { partition, .. }
            | Event::IsrProposed { partition, .. }
            | Event::IsrRefused { partition, .. }
            | Event::ProduceAnswered { partition, .. } => {
                self.strays.contains(&(entry.node.clone(), partition.clone()))
            }
            _ => false,
        }
    }
}
