//! DescribeConfigs: every setting of a topic, of a group or of this broker, its value, and where the value comes from.
//! ListConfigResources: what there is to describe.

use std::collections::BTreeSet;

use super::Broker;
use crate::{
    broker::settings::{Source, Sourced, topic_values},
    controller::{
        configs::{broker, group, topic},
        core::check_topic_name,
        image::MetadataImage,
    },
    protocol::{
        ErrorCode,
        messages::{
            DescribeConfigsRequest, DescribeConfigsResponse, ListConfigResourcesRequest, ListConfigResourcesResponse,
            describe_configs_request::DescribeConfigsResource,
            describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym},
            list_config_resources_response::ConfigResource as ListedResource,
        },
        metadata::ConfigResource,
    },
};

const TOPIC: i8 = ConfigResource::Topic as i8;
const BROKER: i8 = ConfigResource::Broker as i8;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = ConfigResource::Group as i8;
/// The types whose resources are listed.
const LISTED: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

/// A setting with all its values, the one in force first.
struct Setting {
    name: &'static str,
    kind: i8,
    read_only: bool,
    sensitive: bool,
    values: Vec<Sourced>,
}

/// A code, and what the client is told beside it.
type Refusal = (ErrorCode, Option<String>);

impl Broker {
    pub(super) fn describe_configs(&self, request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResponse {
        let image = self.cache.image();
        let results = request.resources.iter().map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match self.settings_of(resource, &image) {
                Ok(settings) => {
                    let wanted = |setting: &&Setting| {
                        let keys = resource.configuration_keys.as_ref();
                        keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key.as_str() == setting.name))
                    };
                    let configs = settings.iter().filter(wanted).map(|setting| describe(setting, request, version));
                    result.with_configs(configs.collect())
                }
                Err((code, message)) => result.with_error_code(code.code()).with_error_message(message.map(Into::into)),
            }
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    /// The resources of the types that are asked for; of all types where none is named. Before version 1 there were only
    /// subscriptions to client metrics.
    pub(super) fn list_config_resources(
        &self,
        request: &ListConfigResourcesRequest,
        version: i16,
    ) -> ListConfigResourcesResponse {
        let wanted: BTreeSet<i8> = match (version, request.resource_types.is_empty()) {
            (0, _) => BTreeSet::from([CLIENT_METRICS]),
            (_, true) => BTreeSet::from(LISTED),
            (_, false) => request.resource_types.iter().copied().collect(),
        };
        let response = ListConfigResourcesResponse::default();
        if !wanted.iter().all(|kind| LISTED.contains(kind)) {
            return response.with_error_code(ErrorCode::UnsupportedVersion.code());
        }
        let image = self.cache.image();
        let listed = wanted.into_iter().flat_map(|kind| {
            let named =
                move |name: String| ListedResource::default().with_resource_name(name.into()).with_resource_type(kind);
            resources(&image, kind).into_iter().map(named)
        });
        response.with_config_resources(listed.collect())
    }

    fn settings_of(&self, resource: &DescribeConfigsResource, image: &MetadataImage) -> Result<Vec<Setting>, Refusal> {
        let name = resource.resource_name.as_str();
        let invalid = |message: String| Err((ErrorCode::InvalidRequest, Some(message)));
        match resource.resource_type {
            TOPIC => {
                check_topic_name(name).map_err(|(code, message)| (code, Some(message)))?;
                if image.topic(name).is_none() {
                    return Err((ErrorCode::UnknownTopicOrPartition, None));
                }
                Ok(topic::TOPIC.iter().map(|config| self.topic_setting(config, name, image)).collect())
            }
            BROKER if name.is_empty() => Ok(dynamic_defaults(image)),
            BROKER => match name.parse::<i32>() {
                Ok(id) if id == self.config.node_id.0 => {
                    Ok(broker::TABLE.iter().map(|row| self.broker_setting(row, image)).collect())
                }
                Ok(id) => invalid(format!(
                    "Unexpected broker id, expected {} or empty string, but received {id}",
                    self.config.node_id
                )),
                Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
            },
            GROUP if name.is_empty() => invalid("Group name must not be empty".to_owned()),
            GROUP => Ok(group::GROUP.iter().map(|config| self.group_setting(config, name, image)).collect()),
            BROKER_LOGGER | CLIENT_METRICS => invalid("Resources of this type are not served.".to_owned()),
            other => invalid(format!("Unsupported resource type: {other}")),
        }
    }

    fn topic_setting(&self, config: &'static topic::TopicConfig, name: &str, image: &MetadataImage) -> Setting {
        let values = topic_values(config, name, image, &self.config, self.switches());
        Setting { name: config.name, kind: config.kind, read_only: false, sensitive: false, values }
    }

    fn group_setting(&self, config: &group::GroupConfig, name: &str, image: &MetadataImage) -> Setting {
        let id = self.config.node_id.to_string();
        let places = [
            (config.name, image.config(ConfigResource::Group, name, config.name), Source::Group),
            (config.synonym, image.config(ConfigResource::Broker, &id, config.synonym), Source::DynamicBroker),
            (config.synonym, image.config(ConfigResource::Broker, "", config.synonym), Source::DynamicDefault),
            (config.synonym, self.config.properties.value(config.synonym), Source::Static),
            (config.synonym, broker::definition(config.synonym).and_then(|row| row.default), Source::Default),
        ];
        let values = places.into_iter().filter_map(|(name, value, source)| {
            Some(Sourced { name: name.to_owned(), value: Some(value?.to_owned()), source })
        });
        let (values, kind) = (values.collect(), broker::ConfigType::Int as i8);
        Setting { name: config.name, kind, read_only: false, sensitive: false, values }
    }

    fn broker_setting(&self, row: &'static broker::Definition, image: &MetadataImage) -> Setting {
        let id = self.config.node_id.to_string();
        let mut values = Vec::new();
        let mut add = |value: Option<&str>, source| {
            let value = value.map(str::to_owned);
            values.extend(value.map(|value| Sourced { name: row.name.to_owned(), value: Some(value), source }));
        };
        add(image.config(ConfigResource::Broker, &id, row.name), Source::DynamicBroker);
        add(image.config(ConfigResource::Broker, "", row.name), Source::DynamicDefault);
        let given = match row.name {
            "broker.id" => self.config.properties.value("broker.id").or(self.config.properties.value("node.id")),
            name => self.config.properties.value(name),
        };
        add(given, Source::Static);
        add(row.default, Source::Default);
        Setting { name: row.name, kind: row.kind as i8, read_only: !row.dynamic, sensitive: row.sensitive, values }
    }
}

/// The resources of a type that have settings to describe, brokers that are away included. A group has some once one was
/// set.
fn resources(image: &MetadataImage, kind: i8) -> Vec<String> {
    match kind {
        TOPIC => image.topics().map(|topic| topic.name.to_string()).collect(),
        BROKER | BROKER_LOGGER => image.brokers().map(|broker| broker.id.to_string()).collect(),
        GROUP => image.configured(ConfigResource::Group).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// What was set for all brokers while they ran.
fn dynamic_defaults(image: &MetadataImage) -> Vec<Setting> {
    let set = image.configs(ConfigResource::Broker, "");
    let setting = |(name, value): (&String, &String)| {
        let row = broker::definition(name)?;
        let values = vec![Sourced { name: name.clone(), value: Some(value.clone()), source: Source::DynamicDefault }];
        Some(Setting { name: row.name, kind: row.kind as i8, read_only: false, sensitive: row.sensitive, values })
    };
    set.iter().filter_map(setting).collect()
}

fn describe(setting: &Setting, request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResourceResult {
    let shown = |value: &Option<String>| if setting.sensitive { None } else { value.clone().map(Into::into) };
    let first = setting.values.first();
    let mut result = DescribeConfigsResourceResult::default()
        .with_name(setting.name.into())
        .with_value(first.and_then(|sourced| shown(&sourced.value)))
        .with_read_only(setting.read_only)
        .with_config_source(first.map_or(Source::Default, |sourced| sourced.source) as i8)
        .with_is_sensitive(setting.sensitive);
    if request.include_synonyms {
        let synonym = |sourced: &Sourced| {
            DescribeConfigsSynonym::default()
                .with_name(sourced.name.clone().into())
                .with_value(shown(&sourced.value))
                .with_source(sourced.source as i8)
        };
        // A default under the topic's own name is no synonym of anything.
        let from_elsewhere = |sourced: &&Sourced| {
            sourced.source != Source::Default || sourced.name != setting.name || is_broker(setting)
        };
        result.synonyms = setting.values.iter().filter(from_elsewhere).map(synonym).collect();
    }
    if version >= 3 {
        result.config_type = setting.kind;
    }
    result
}

/// Whether the setting is a broker's, whose default is listed under its own name.
fn is_broker(setting: &Setting) -> bool {
    broker::definition(setting.name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::TopicId, controller::image::MetadataDelta, protocol::metadata::MetadataRecord};

    #[test]
    fn a_group_is_listed_while_it_has_settings_of_its_own_and_a_topic_always() {
        let (mut image, mut delta) = (MetadataImage::default(), MetadataDelta::default());
        let set = |value: Option<&str>| MetadataRecord::Config {
            resource: ConfigResource::Group,
            name: "billing".to_owned(),
            key: "consumer.session.timeout.ms".to_owned(),
            value: value.map(str::to_owned),
        };
        let topic = MetadataRecord::Topic { name: "orders".to_owned(), topic_id: TopicId([7; 16]) };
        [topic, set(Some("50000"))].iter().for_each(|record| image.replay(record, &mut delta));
        let listed = |image: &MetadataImage| LISTED.map(|kind| resources(image, kind));
        assert_eq!(listed(&image), [vec!["orders"], vec![], vec![], vec![], vec!["billing"]]);
        image.replay(&set(None), &mut delta);
        assert_eq!(listed(&image), [vec!["orders"], vec![], vec![], vec![], vec![]]);
    }
}
