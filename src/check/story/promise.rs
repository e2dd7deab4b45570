//! What a leader said of a record that is gone.

use crate::{
    base::{NodeId, Offset},
    check::{Lost, model::broker_id},
    trace::{BatchInfo, Event, EventId, journal::Entry},
};

/// The answer that told the producer "stored", and the batch it spoke of.
pub(super) struct Promise {
    pub(super) event: EventId,
    pub(super) leader: NodeId,
    pub(super) acks: i16,
    pub(super) isr: Vec<NodeId>,
    pub(super) batch: BatchInfo,
}

impl Promise {
    /// The last one before `lost` was told as stored.
    pub(super) fn find(entries: &[Entry], lost: &Lost) -> Option<Self> {
        // What made the acknowledgement happen is the answer's leaving: until that came, or while it was held, another
        // leader may have answered for the same offset.
        let up_to = |id: EventId| entries.partition_point(|entry| entry.id <= id);
        let told = entries[..up_to(lost.acked)].last().filter(|entry| entry.id == lost.acked);
        let left = told.and_then(|entry| entry.cause);
        let upto = up_to(left.unwrap_or(lost.acked));
        let message = entries[..upto].last().filter(|entry| Some(entry.id) == left && entry.event.is_message());
        let covers = |base: Offset, end: Offset| base <= lost.offset && lost.offset < end;
        let (index, leader, acks, isr) = entries[..upto].iter().enumerate().rev().find_map(|(index, entry)| {
            let Event::ProduceAnswered { partition, acks, error, base_offset, end_offset, isr, .. } = &entry.event
            else {
                return None;
            };
            let promised = *partition == lost.partition
                && &**error == "NONE"
                && covers(*base_offset, *end_offset)
                && message.is_none_or(|message| message.node == entry.node);
            promised.then(|| Some((index, broker_id(&entry.node)?, *acks, isr.clone())))?
        })?;
        // As a follower, if it answers a retry of what the leader before it had appended.
        let of_leader = |entry: &&Entry| broker_id(&entry.node) == Some(leader);
        let mut appended = entries[..index].iter().rev().filter(of_leader).filter_map(|entry| {
            let Event::Appended { partition, batches, .. } = &entry.event else { return None };
            let own = (*partition == lost.partition).then_some(batches)?;
            Some((entry.id, own.iter().find(|batch| covers(batch.base_offset, batch.end_offset))?))
        });
        // An answer may have waited while the log was cut, and another record come to stand there and stay.
        let was_cut = |&(id, batch): &(EventId, &BatchInfo)| {
            entries[up_to(id)..].iter().filter(of_leader).any(|entry| match &entry.event {
                Event::Truncated { partition, to, .. } => *partition == lost.partition && *to < batch.end_offset,
                Event::LogLoaded { partition, .. } => *partition == lost.partition,
                _ => false,
            })
        };
        let last = appended.clone().next();
        let (_, batch) = appended.find(was_cut).or(last)?;
        let batch = batch.clone();
        Some(Self { event: entries[index].id, leader, acks, isr, batch })
    }
}
