//! The topics, and the settings of groups, as group coordinators see them, from the metadata.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    base::{NodeId, Offset},
    controller::{
        configs::group,
        image::{MetadataDelta, MetadataImage, PartitionRegistration, TopicImage},
    },
    group::consumer::topics::{Overrides, Topic, Topics},
    protocol::metadata::ConfigResource,
};

/// Takes over what `delta` changed, as the broker `node` sees it; `true`: something that coordinators care for.
pub(super) fn update(
    topics: &mut Topics,
    node: NodeId,
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
    if delta.broker_configs {
        topics.set_assignment_interval(assignment_interval_ms(node, image, bounds));
    }
    let mut changed = !delta.groups.is_empty() || delta.broker_configs;
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

/// What was set for this broker while it ran, else for all of them. The controller has checked it by its own bounds.
fn assignment_interval_ms(node: NodeId, image: &MetadataImage, bounds: &group::Defaults) -> Option<i32> {
    let config = group::group_config(group::ASSIGNMENT_INTERVAL).expect("it is in the table");
    let told = |name: &str| image.config(ConfigResource::Broker, name, config.synonym)?.trim().parse().ok();
    let value = told(&node.to_string()).or_else(|| told(""))?;
    Some(config.within(value, bounds))
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
        assert!(update(&mut topics, NodeId(1), &image, &delta, Offset(1), &group::defaults(narrow)));
        let own = topics.overrides("g");
        assert_eq!((own.session_timeout_ms, own.heartbeat_interval_ms), (Some(50_000), Some(6_000)));
        assert_eq!(own.assignment_interval_ms, None);
    }

    #[test]
    fn an_interval_that_a_running_broker_is_told_goes_before_its_properties_and_behind_a_groups_own() {
        let (mut image, mut delta, mut topics) =
            (MetadataImage::default(), MetadataDelta::default(), Topics::default());
        let mut told = |resource: ConfigResource, name: &str, key: &str, value: Option<&str>| {
            let (name, key, value) = (name.to_owned(), key.to_owned(), value.map(str::to_owned));
            image.replay(&MetadataRecord::Config { resource, name, key, value }, &mut delta);
            let changed = update(&mut topics, NodeId(2), &image, &delta, Offset(1), &group::defaults(|_| None));
            delta = MetadataDelta::default();
            assert!(changed);
            ["g", "h"].map(|group| topics.overrides(group).assignment_interval_ms)
        };
        let key = "group.consumer.assignment.interval.ms";
        assert_eq!(told(ConfigResource::Broker, "", key, Some("7000")), [Some(7000); 2]);
        assert_eq!(told(ConfigResource::Broker, "3", key, Some("1")), [Some(7000); 2], "another broker's");
        assert_eq!(told(ConfigResource::Broker, "2", key, Some("20000")), [Some(15_000); 2], "within its bounds");
        let own = told(ConfigResource::Group, "g", group::ASSIGNMENT_INTERVAL, Some("0"));
        assert_eq!(own, [Some(0), Some(15_000)]);
        assert_eq!(told(ConfigResource::Broker, "2", key, None), [Some(0), Some(7000)]);
        assert_eq!(told(ConfigResource::Broker, "", key, None), [Some(0), None]);
    }
}
