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
pub(super) fn update(
    topics: &mut Topics,
    image: &MetadataImage,
    delta: &MetadataDelta,
    end: Offset,
    bounds: &group::Defaults,
) -> bool {
    let has_racks = image.brokers().any(|broker| broker.rack.is_some());
    let mut names: BTreeSet<Arc<str>> = delta.partitions.iter().map(|partition| partition.topic.clone()).collect();
    names.extend(delta.deleted.iter().flat_map(|(_, partitions)| partitions).map(|partition| partition.topic.clone()));
    if delta.brokers && has_racks {
        names.extend(image.topics().map(|topic| topic.name.clone()));
    }
    for name in &delta.groups {
        topics.set_overrides(name, overrides(name, image, bounds));
    }
    let mut changed = !delta.groups.is_empty();
    for name in names {
        let topic = image.topic(&name).map(|topic| seen(topic, image));
        changed |= topics.set(&name, topic, end.0);
    }
    changed
}

fn overrides(group: &str, image: &MetadataImage, bounds: &group::Defaults) -> Overrides {
    // The controller has checked them.
    let number = |name: &str| {
        let value = image.config(ConfigResource::Group, group, name)?.trim().parse().ok()?;
        Some(group::group_config(name)?.within(value, bounds))
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::metadata::MetadataRecord;

    #[test]
    fn what_a_group_has_set_is_brought_within_the_bounds_of_this_broker() {
        let (mut image, mut delta, mut topics) =
            (MetadataImage::default(), MetadataDelta::default(), Topics::default());
        for (key, value) in [(group::SESSION_TIMEOUT, "60000"), (group::HEARTBEAT_INTERVAL, "6000")] {
            let (name, key, value) = ("g".to_owned(), key.to_owned(), Some(value.to_owned()));
            image.replay(&MetadataRecord::Config { resource: ConfigResource::Group, name, key, value }, &mut delta);
        }
        let narrow = |name: &str| (name == "group.consumer.max.session.timeout.ms").then_some("50000");
        assert!(update(&mut topics, &image, &delta, Offset(1), &group::defaults(narrow)));
        let own = topics.overrides("g");
        assert_eq!((own.session_timeout_ms, own.heartbeat_interval_ms), (Some(50_000), Some(6_000)));
        assert_eq!(own.assignment_interval_ms, None);
    }
}
