//! Committed decisions as events of the journal.
//!
//! A controller that is killed between the append of a decision and its sync may leave it in the log without having told
//! it. The one after it, which commits what it finds there, tells it then.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::{
    core::{Controller, Decided},
    image::{MetadataDelta, MetadataImage, PartitionRegistration},
};
use crate::{
    base::{NodeId, Offset, Time, TopicId, TopicPartition},
    protocol::metadata::{ConfigResource, MetadataRecord, PartitionChange},
    trace::{self, Election, Event, Tracer},
};

/// Up to where in its log a controller has told its decisions. Whoever reads events for as long as there are controllers
/// keeps this from one process to the next.
#[derive(Clone, Debug)]
pub struct Told(Arc<AtomicI64>);

impl Told {
    /// Nobody told anything yet.
    pub fn nothing() -> Self {
        Self(Arc::new(AtomicI64::new(0)))
    }

    /// Nobody asks for what is in a log already: each process tells its own decisions.
    pub fn everything() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }

    /// Offset after the last record that was told.
    pub fn end(&self) -> Offset {
        Offset(self.0.load(Ordering::Relaxed))
    }

    /// Tells decisions, each with the offset after it. What no request asked for follows from the first of them: the
    /// elections from the fencing. What a process does not live to tell does not count as told.
    pub fn tell(&self, tracer: &Tracer, events: Vec<(Offset, Event)>) {
        let mut cause = trace::current_cause();
        for (end, event) in events {
            let told = trace::caused_by_sync(cause, || tracer.milestone(event));
            if told.is_some() {
                self.0.store(end.0, Ordering::Relaxed);
            }
            cause = cause.or(told);
        }
    }
}

/// Replays a committed record that ends at `end`, and says what the journal is to tell of it, each with where the log is
/// told up to then.
pub fn replay(
    controller: &mut Controller,
    decided: &Decided,
    delta: &mut MetadataDelta,
    now: Time,
    end: Offset,
) -> Vec<(Offset, Event)> {
    let deleted = match &decided.record {
        MetadataRecord::RemoveTopic { topic_id } => controller.image().topic_by_id(*topic_id),
        _ => None,
    };
    let deleted = deleted.map(|topic| topic.name.clone());
    let before = match &decided.record {
        MetadataRecord::PartitionChange(change) => registration(controller.image(), change).cloned(),
        _ => None,
    };
    controller.replay(&decided.record, delta, now);
    let event = event(controller.image(), decided, deleted);
    let reassigned = match &decided.record {
        MetadataRecord::PartitionChange(change) => {
            before.and_then(|before| reassignment_event(controller.image(), change, &before))
        }
        _ => None,
    };
    // With two to tell, it is told when both are.
    let first = if reassigned.is_some() { end.plus(-1) } else { end };
    let told = event.map(|event| (first, event)).into_iter();
    told.chain(reassigned.map(|event| (end, event))).collect()
}

fn registration<'a>(image: &'a MetadataImage, change: &PartitionChange) -> Option<&'a PartitionRegistration> {
    image.topic_by_id(change.topic_id)?.partitions.get(&change.partition)
}

/// What a change does to the reassignment of its partition.
fn reassignment_event(
    image: &MetadataImage,
    change: &PartitionChange,
    before: &PartitionRegistration,
) -> Option<Event> {
    let after = registration(image, change)?;
    let topic = image.topic_by_id(change.topic_id)?;
    let partition = TopicPartition::new(topic.name.clone(), change.partition);
    let under_way = |of: &PartitionRegistration| (of.adding_replicas.clone(), of.removing_replicas.clone());
    if after.is_reassigning() {
        let (from, to) = (before.replicas_before(), after.replicas_after());
        let began = under_way(before) != under_way(after);
        return began.then_some(Event::ReassignmentBegan { partition, from, to });
    }
    // Where nobody leaves, the replicas are the same before it is complete and after.
    if !before.is_reassigning() && before.replicas == after.replicas {
        return None;
    }
    let replicas = after.replicas.clone();
    Some(match before.is_reassigning() && replicas == before.replicas_before() {
        true => Event::ReassignmentCancelled { partition, replicas },
        false => Event::ReassignmentCompleted { partition, replicas },
    })
}

/// A record that a controller finds in its log, as far as the metadata before it tells what it was.
pub fn found(image: &MetadataImage, record: MetadataRecord) -> Decided {
    let election = match &record {
        MetadataRecord::Partition(_) => Election::Created,
        MetadataRecord::PartitionChange(change) => {
            let before = registration(image, change);
            match change.leader {
                None => Election::None,
                Some(leader) if before.is_some_and(|before| before.leader == leader) => Election::None,
                Some(NodeId::NONE) => Election::Offline,
                Some(leader) if before.is_some_and(|before| before.isr.contains(&leader)) => Election::Clean,
                Some(_) => Election::Unclean,
            }
        }
        _ => Election::None,
    };
    Decided { record, election, reason: "the controller had decided it before it stopped".to_owned() }
}

/// What a record says that was replayed into `image`. `deleted` names the topic that it removed.
fn event(image: &MetadataImage, decided: &Decided, deleted: Option<Arc<str>>) -> Option<Event> {
    let reason = decided.reason.as_str();
    Some(match &decided.record {
        MetadataRecord::RegisterBroker(record) => Event::BrokerRegistered {
            broker: record.broker,
            broker_epoch: record.broker_epoch,
            clean: reason.contains("clean stop") && !reason.contains("unclean"),
        },
        MetadataRecord::BrokerRegistrationChange { broker, fenced: Some(true), .. } => {
            Event::BrokerFenced { broker: *broker, reason: reason.into() }
        }
        MetadataRecord::BrokerRegistrationChange { broker, fenced: Some(false), .. } => {
            Event::BrokerUnfenced { broker: *broker }
        }
        MetadataRecord::BrokerRegistrationChange { broker, in_controlled_shutdown: true, .. } => {
            Event::ControlledShutdown { broker: *broker }
        }
        MetadataRecord::Topic { name, topic_id } => {
            Event::TopicCreated { topic: name.as_str().into(), topic_id: *topic_id }
        }
        MetadataRecord::RemoveTopic { topic_id } => {
            let topic = deleted.expect("the caller looked the topic up before it was removed");
            Event::TopicDeleted { topic, topic_id: *topic_id }
        }
        MetadataRecord::Config { resource: ConfigResource::Topic, name, key, value } => Event::ConfigChanged {
            topic: name.as_str().into(),
            name: key.as_str().into(),
            value: value.as_deref().map(Into::into),
        },
        MetadataRecord::Partition(record) => {
            partition_event(image, record.topic_id, record.partition, decided.election, reason)
        }
        MetadataRecord::PartitionChange(change) => {
            partition_event(image, change.topic_id, change.partition, decided.election, reason)
        }
        _ => return None,
    })
}

fn partition_event(image: &MetadataImage, topic_id: TopicId, index: i32, election: Election, reason: &str) -> Event {
    let topic = image.topic_by_id(topic_id).expect("the record was replayed");
    let registration = &topic.partitions[&index];
    Event::PartitionChanged {
        partition: TopicPartition::new(topic.name.clone(), index),
        leader: registration.leader,
        leader_epoch: registration.leader_epoch,
        partition_epoch: registration.partition_epoch,
        replicas: registration.replicas.clone(),
        isr: registration.isr.clone(),
        election,
        reason: reason.into(),
    }
}
