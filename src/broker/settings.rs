//! A topic's settings as its partitions act on them: the topic's own, else the cluster's, else Kafka's defaults.

use std::collections::BTreeMap;

use super::config::NodeConfig;
use crate::{
    base::Switches,
    controller::{configs::topic, image::MetadataImage},
    protocol::{
        metadata::ConfigResource,
        records::{Codec, Limits, TimestampType},
    },
    storage::LogConfig,
};

/// What a partition acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// What its log acts on.
    pub log: LogConfig,
    /// What bounds its batches.
    pub limits: Limits,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
}

/// Where a value comes from, numbered as in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set for this topic.
    Topic = 1,
    /// Set for this broker while it ran.
    DynamicBroker = 2,
    /// Set for all brokers while they ran.
    DynamicDefault = 3,
    /// In the properties.
    Static = 4,
    /// Kafka's default.
    Default = 5,
    /// Set for this group.
    Group = 8,
}

/// A value with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced {
    /// Name under which it is set there.
    pub name: String,
    /// The value.
    pub value: Option<String>,
    /// Where from.
    pub source: Source,
}

/// Every place that gives a topic's setting a value, the one in force first.
pub fn topic_values(
    config: &topic::TopicConfig,
    name: &str,
    image: &MetadataImage,
    node: &NodeConfig,
    switches: &Switches,
) -> Vec<Sourced> {
    let mut values = Vec::new();
    let mut add = |name: &str, value: Option<&str>, source| {
        if let Some(value) = value {
            values.push(Sourced { name: name.to_owned(), value: Some(value.to_owned()), source });
        }
    };
    add(config.name, image.config(ConfigResource::Topic, name, config.name), Source::Topic);
    if let Some(synonym) = config.synonym {
        let broker = node.node_id.to_string();
        add(synonym, image.config(ConfigResource::Broker, &broker, synonym), Source::DynamicBroker);
        add(synonym, image.config(ConfigResource::Broker, "", synonym), Source::DynamicDefault);
        add(synonym, node.properties.value(synonym), Source::Static);
    }
    let default = match config.name {
        "unclean.leader.election.enable" if switches.unclean_default => "true",
        _ => config.default,
    };
    let has_default_of_its_own =
        config.synonym.is_some_and(|synonym| node_default(synonym).is_some()) || config.synonym.is_none();
    let default_name = if has_default_of_its_own { config.synonym.unwrap_or(config.name) } else { config.name };
    add(default_name, Some(default), Source::Default);
    values
}

fn node_default(name: &str) -> Option<&'static str> {
    crate::controller::configs::broker::definition(name).and_then(|row| row.default)
}

/// The settings in force for the topic called `name`.
pub fn of_topic(name: &str, image: &MetadataImage, node: &NodeConfig, switches: &Switches) -> TopicSettings {
    let value_of = |setting: &str| {
        let config = topic::topic_config(setting).expect("the setting is in the table");
        topic_values(config, name, image, node, switches).swap_remove(0)
    };
    let value = |setting: &str| value_of(setting).value.expect("every place gives a value");
    let has_policy = |policy: &str| value("cleanup.policy").split(',').any(|found| found.trim() == policy);
    let number = |setting: &str| {
        let config = topic::topic_config(setting).expect("the setting is in the table");
        // The controller has checked what is set for the topic; a property may still be nonsense.
        let text = value(setting);
        text.trim().parse::<i64>().or_else(|_| config.default.parse()).expect("a default is a number")
    };
    TopicSettings {
        log: LogConfig {
            segment_bytes: number("segment.bytes").max(1) as u64,
            segment_ms: number("segment.ms"),
            segment_index_bytes: number("segment.index.bytes").max(24) as u64,
            index_interval_bytes: number("index.interval.bytes").max(0) as u64,
            flush_messages: number("flush.messages"),
            deletes: has_policy("delete"),
            retention_ms: match value_of("retention.ms") {
                // Kafka's properties say it in three units.
                Sourced { source: Source::Default, .. } => node.retention_ms,
                Sourced { value, .. } => value.and_then(|text| text.trim().parse().ok()).unwrap_or(node.retention_ms),
            },
            retention_bytes: number("retention.bytes"),
            producer_expiration_ms: i64::try_from(node.producer_id_expiration.as_millis()).unwrap_or(i64::MAX),
        },
        limits: Limits {
            message_bytes_max: number("max.message.bytes").max(0) as usize,
            segment_bytes: number("segment.bytes").max(1) as usize,
            codec: match value("compression.type").as_str() {
                "uncompressed" => Some(Codec::None),
                // Not found is `producer`: the codec is the producer's.
                name => Codec::by_name(name),
            },
            compacted: has_policy("compact"),
            timestamp_type: match value("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
        },
        min_insync_replicas: number("min.insync.replicas").max(1) as usize,
    }
}

/// Defaults of topics that `node`'s properties set, by the topic's name for them: what a controller is told.
pub fn topic_defaults(node: &NodeConfig) -> BTreeMap<&'static str, String> {
    let set = |config: &topic::TopicConfig| node.properties.value(config.synonym?).map(str::to_owned);
    topic::TOPIC.iter().filter_map(|config| Some((config.name, set(config)?))).collect()
}
