//! What disks have done to logs, as events tell it: what an operator has to mend, and may.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    base::TopicPartition,
    trace::{Event, journal::Entry},
};

/// The disks of a run.
#[derive(Debug, Default)]
pub(super) struct DiskView {
    /// Hosts whose disk may have damaged logs: it has said that it had synced and had not, or a record has rotted on
    /// it.
    spoilt: BTreeSet<Arc<str>>,
    /// Logs that turned out to be damaged, by their host.
    damaged: BTreeSet<(Arc<str>, TopicPartition)>,
    /// Logs in which a batch has rotted: that is mended with the disk.
    rotten: BTreeSet<(Arc<str>, TopicPartition)>,
}

impl DiskView {
    /// Takes an event; `leads` says whether a node leads a partition.
    pub(super) fn take(&mut self, entry: &Entry, leads: impl Fn(&Arc<str>, &TopicPartition) -> bool) {
        let node = &entry.node;
        match &entry.event {
            Event::FaultBegan { .. } => self.spoilt.extend(entry.event.disks_that_lie().map(Into::into)),
            Event::BatchCorrupted { partition, .. } => {
                self.spoilt.insert(node.clone());
                self.rotten.insert((node.clone(), partition.clone()));
            }
            Event::BatchMended { partition, .. } => {
                self.rotten.remove(&(node.clone(), partition.clone()));
            }
            Event::DiskReplaced => {
                self.spoilt.remove(node);
                self.damaged.retain(|(host, _)| host != node);
                self.rotten.retain(|(host, _)| host != node);
            }
            Event::LogDamaged { partition, .. } => {
                let log = (node.clone(), partition.clone());
                // What its leader cannot read may be what has rotted; a log opens all the same.
                if !(self.rotten.contains(&log) && leads(node, partition)) {
                    self.damaged.insert(log);
                }
            }
            Event::DamagedLogRemoved { partition } | Event::ReplicaLeft { partition } => {
                self.damaged.remove(&(node.clone(), partition.clone()));
            }
            Event::TopicDeleted { topic, .. } => self.damaged.retain(|(_, partition)| partition.topic != *topic),
            _ => {}
        }
    }

    /// Whether the disk of `host` has lied, or let a record rot.
    pub(super) fn is_spoilt(&self, host: &str) -> bool {
        self.spoilt.contains(host)
    }

    /// The damaged logs on such hosts.
    pub(super) fn damaged(&self) -> Vec<(Arc<str>, TopicPartition)> {
        self.damaged.iter().filter(|(host, _)| self.is_spoilt(host)).cloned().collect()
    }
}
