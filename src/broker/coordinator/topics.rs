//! The topics, and the settings of groups, as group coordinators see them, from the metadata.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    base::Offset,
    controller::{
        configs::group,
        image::{MetadataDelta, MetadataImage, PartitionRegistration, TopicImage},
    },
    group::consumer::topics::{Overrides, Topic, Topics},
    protocol::metadata::ConfigResource,
};

/// Takes over what `delta` changed; `true`: something that coordinators care for.
pub(super) fn update(topics: &mut Topics, image: &MetadataImage, delta: &MetadataDelta, end: Offset) -> bool {
    let has_racks = image.brokers().any(|broker| broker.rack.is_some());
    let mut names: BTreeSet<Arc<str>> = delta.partitions.iter().map(|partition| partition.topic.clone()).collect();
    names.extend(delta.deleted.iter().flat_map(|(_, partitions)| partitions).map(|partition| partition.topic.clone()));
    if delta.brokers && has_racks {
        names.extend(image.topics().map(|topic| topic.name.clone()));
    }
    for name in &delta.groups {
        topics.set_overrides(name, overrides(name, image));
    }
    let mut changed = !delta.groups.is_empty();
    for name in names {
        let topic = image.topic(&name).map(|topic| seen(topic, image));
        changed |= topics.set(&name, topic, end.0);
    }
    changed
}

fn overrides(group: &str, image: &MetadataImage) -> Overrides {
    // The controller has checked them.
    let number = |name: &str| image.config(ConfigResource::Group, group, name)?.trim().parse().ok();
    Overrides {
        session_timeout_ms: number(group::SESSION_TIMEOUT),
        heartbeat_interval_ms: number(group::HEARTBEAT_INTERVAL),
        assignment_interval_ms: number(group::ASSIGNMENT_INTERVAL),
    }
}

fn seen(topic: &TopicImage, image: &MetadataImage) -> Topic {
    let racks = |partition: &PartitionRegistration| {
        partition.replicas.iter().filter_map(|replica| image.broker(*replica)?.rack.clone()).collect()
    };
    let racks: Vec<Vec<String>> = topic.partitions.values().map(racks).collect();
    Topic::new(&topic.name, topic.id, &racks)
}
