//! S15 `MinIsrAck`: a positive answer to acks=all says that the records are committed - the leader's high watermark is
//! beyond them, and so is the log of each member of the committed ISR - and that the ISR which the leader knows is no
//! smaller than `min.insync.replicas`.
//!
//! Excused: a member that forgot over its power or its disk and has not caught up since. A leader may not have heard of
//! a changed setting or of more replicas: the smallest value that the topic ever had counts, and never more than the
//! partition ever had replicas.

use std::{collections::BTreeMap, sync::Arc};

use super::{Broken, Tally, Violation};
use crate::{
    base::{NodeId, Offset, TopicPartition},
    check::{
        Claim, Plan,
        model::{Cluster, Partition, broker_id},
    },
    trace::{Event, journal::Entry},
};

const MIN_ISR: &str = "min.insync.replicas";

#[derive(Default)]
pub(super) struct AcksAllMeansCommitted {
    /// The smallest `min.insync.replicas` of each topic so far.
    min_isr: BTreeMap<Arc<str>, usize>,
    /// The fewest replicas of each partition so far.
    replicas: BTreeMap<TopicPartition, usize>,
}

impl AcksAllMeansCommitted {
    pub(super) fn of(plan: &Plan) -> Self {
        let number = |settings: &BTreeMap<Arc<str>, Arc<str>>| settings.get(MIN_ISR)?.parse().ok();
        let min_isr = plan.topics.iter().filter_map(|(topic, settings)| Some((topic.clone(), number(settings)?)));
        Self { min_isr: min_isr.collect(), ..Self::default() }
    }

    pub(super) fn observe(&mut self, cluster: &Cluster, entry: &Entry, tally: &mut Tally) {
        match &entry.event {
            Event::ConfigChanged { topic, name, value } if &**name == MIN_ISR => {
                let value = value.as_ref().and_then(|value| value.parse().ok()).unwrap_or(1);
                let known = self.min_isr.entry(topic.clone()).or_insert(value);
                *known = value.min(*known);
            }
            Event::TopicDeleted { topic, .. } => self.replicas.retain(|partition, _| partition.topic != *topic),
            Event::PartitionChanged { partition, replicas, .. } => match self.replicas.get_mut(partition) {
                Some(known) => *known = replicas.len().min(*known),
                None => drop(self.replicas.insert(partition.clone(), replicas.len())),
            },
            Event::ProduceAnswered { partition, acks: -1, error, end_offset, isr, .. } if &**error == "NONE" => {
                let Some(leader) = broker_id(&entry.node) else { return };
                let broken = self.by_too_few(partition, leader, *end_offset, isr);
                let broken = broken.or_else(|| uncommitted(cluster, entry, leader));
                let found = broken.map(|broken| Violation { broken, events: vec![entry.id] });
                tally.check(Claim::AcksAllMeansCommitted, found);
            }
            _ => {}
        }
    }

    fn by_too_few(
        &self,
        partition: &TopicPartition,
        leader: NodeId,
        end_offset: Offset,
        isr: &[NodeId],
    ) -> Option<Broken> {
        let replicas = *self.replicas.get(partition)?;
        let min_isr = (*self.min_isr.get(&partition.topic)?).min(replicas);
        let (partition, isr) = (partition.clone(), isr.to_vec());
        (isr.len() < min_isr).then_some(Broken::AnsweredByTooFew { partition, leader, end_offset, isr, min_isr })
    }
}

/// What the records that were answered lack to be committed.
fn uncommitted(cluster: &Cluster, entry: &Entry, leader: NodeId) -> Option<Broken> {
    let Event::ProduceAnswered { partition, end_offset, leader_epoch, high_watermark, .. } = &entry.event else {
        return None;
    };
    let state = cluster.partitions.get(partition);
    let known = state.and_then(|state| state.replicas.get(&leader)).map_or(Offset::ZERO, |r| r.high_watermark);
    let (partition, end_offset, high_watermark) = (partition.clone(), *end_offset, known.max(*high_watermark));
    let chosen = state.filter(|state| state.is_chosen_leader(leader, *leader_epoch));
    if high_watermark < end_offset {
        Some(Broken::AnsweredEarly { partition, leader, end_offset, high_watermark })
    } else {
        chosen
            .and_then(|state| member_without(state, leader, end_offset))
            .map(|(member, member_end)| Broken::AnsweredWithout { partition, leader, end_offset, member, member_end })
    }
}

/// An ISR member other than the leader whose log ends before `end_offset`, and where.
fn member_without(state: &Partition, leader: NodeId, end_offset: Offset) -> Option<(NodeId, Offset)> {
    let registration = state.registration.as_ref()?;
    let ends = registration.isr.iter().filter(|member| **member != leader).filter_map(|member| {
        let replica = state.replicas.get(member);
        let excused = replica.is_some_and(|replica| replica.forgot.is_some());
        (!excused).then(|| (*member, replica.map_or(Offset::ZERO, |replica| replica.log.end())))
    });
    ends.into_iter().find(|(_, end)| *end < end_offset)
}
