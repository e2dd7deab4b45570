//! Committed decisions as events of the journal.

use std::sync::Arc;

use super::{core::Decided, image::MetadataImage};
use crate::{
    base::{TopicId, TopicPartition},
    protocol::metadata::{ConfigResource, MetadataRecord},
    trace::{Election, Event, EventId, Tracer},
};

/// Reports one record that was replayed into `image`, and returns its event. `deleted` names the topic that it removed.
pub fn report(tracer: &Tracer, image: &MetadataImage, decided: &Decided, deleted: Option<Arc<str>>) -> Option<EventId> {
    let reason = decided.reason.as_str();
    let event = match &decided.record {
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
            return report_partition(tracer, image, record.topic_id, record.partition, decided.election, reason);
        }
        MetadataRecord::PartitionChange(change) => {
            return report_partition(tracer, image, change.topic_id, change.partition, decided.election, reason);
        }
        _ => return None,
    };
    tracer.milestone(event)
}

fn report_partition(
    tracer: &Tracer,
    image: &MetadataImage,
    topic_id: TopicId,
    index: i32,
    election: Election,
    reason: &str,
) -> Option<EventId> {
    let topic = image.topic_by_id(topic_id).expect("the record was replayed");
    let registration = &topic.partitions[&index];
    tracer.milestone(Event::PartitionChanged {
        partition: TopicPartition::new(topic.name.clone(), index),
        leader: registration.leader,
        leader_epoch: registration.leader_epoch,
        partition_epoch: registration.partition_epoch,
        replicas: registration.replicas.clone(),
        isr: registration.isr.clone(),
        election,
        reason: reason.into(),
    })
}
