//! S13 `CommittedReadsOnly` (Vanlightly): a consumer is given an offset only when some leader's high watermark has been
//! above it. What is in the log beyond may vanish, though nothing was lost.

use std::collections::BTreeMap;

use super::{Broken, Tally, Violation};
use crate::{
    base::{Offset, TopicPartition},
    check::Claim,
    trace::{Event, EventId, Role, journal::Entry},
};

#[derive(Default)]
pub(super) struct ReadsAreCommitted {
    /// The highest that a leader's high watermark ever was, and since which event.
    highest: BTreeMap<TopicPartition, (Offset, EventId)>,
}

impl ReadsAreCommitted {
    pub(super) fn observe(&mut self, entry: &Entry, tally: &mut Tally) {
        match &entry.event {
            Event::TopicCreated { topic, .. } | Event::TopicDeleted { topic, .. } => {
                self.highest.retain(|partition, _| partition.topic != *topic);
            }
            Event::BecameLeader { partition, high_watermark, .. }
            | Event::HighWatermark { partition, role: Role::Leader, high_watermark, .. } => {
                let now = (*high_watermark, entry.id);
                let highest = self.highest.entry(partition.clone()).or_insert(now);
                if now.0 > highest.0 {
                    *highest = now;
                }
            }
            Event::RecordRead { partition, offset, .. } => {
                // Of real processes nobody tells the high watermark.
                let Some((high_watermark, event)) = self.highest.get(partition) else { return };
                let found = (*offset >= *high_watermark).then(|| Violation {
                    broken: Broken::ReadAboveHw {
                        partition: partition.clone(),
                        consumer: entry.node.clone(),
                        offset: *offset,
                        high_watermark: *high_watermark,
                    },
                    events: vec![*event, entry.id],
                });
                tally.check(Claim::ReadsAreCommitted, found);
            }
            _ => {}
        }
    }
}
