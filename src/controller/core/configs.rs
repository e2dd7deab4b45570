//! Settings: IncrementalAlterConfigs, and what a changed setting entails. A resource changes as a whole or not at all.

use std::collections::BTreeMap;

use super::{
    Controller, Decided, Decision,
    brokers::note_election,
    elections::{self, Kind, Rules},
    topics::{Refusal, check_topic_name, counts, topic_name},
};
use crate::{
    base::{NodeId, TopicPartition},
    controller::configs::{broker, group, topic},
    protocol::{
        ErrorCode,
        messages::{
            ElectLeadersRequest, ElectLeadersResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
            elect_leaders_response::{PartitionResult, ReplicaElectionResult},
            incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
            incremental_alter_configs_response::AlterConfigsResourceResponse,
        },
        metadata::{ConfigResource, MetadataRecord},
    },
};

const TOPIC: i8 = ConfigResource::Topic as i8;
const BROKER: i8 = ConfigResource::Broker as i8;
/// How fast replication may be, set for a while by tools that move partitions. They are kept and throttle nothing;
/// nobody is told of them who does not set them.
const THROTTLES: &[&str] = &[
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];
const GROUP: i8 = ConfigResource::Group as i8;

impl Controller {
    /// Checks one setting of a topic.
    pub(super) fn check_topic_config(&self, name: &str, value: Option<&str>) -> Result<(), String> {
        let config = topic::topic_config(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        let value = value.ok_or_else(|| format!("Null value not supported for topic configs: {name}"))?;
        config.check(value)
    }

    /// Changes settings of topics, brokers and groups.
    pub fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Decision<IncrementalAlterConfigsResponse> {
        let (mut responses, mut records) = (Vec::new(), Vec::new());
        let named = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
        let counts = counts(request.resources.iter().map(named));
        for resource in &request.resources {
            let altered = match counts[&named(resource)] {
                1 => self.alter(resource),
                _ => Err((ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned())),
            };
            let response = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            responses.push(match altered {
                Ok(made) => {
                    if !request.validate_only {
                        records.extend(made);
                    }
                    response
                }
                Err((code, message)) => {
                    // An operation that does not exist ends in an exception without words in Kafka.
                    let told = code != ErrorCode::UnknownServerError;
                    response.with_error_code(code.code()).with_error_message(told.then(|| message.into()))
                }
            });
        }
        Decision { response: IncrementalAlterConfigsResponse::default().with_responses(responses), records }
    }

    fn alter(&self, resource: &AlterConfigsResource) -> Result<Vec<Decided>, Refusal> {
        let invalid = |message: &str| Err((ErrorCode::InvalidRequest, message.to_owned()));
        let name = resource.resource_name.as_str();
        let kind = match resource.resource_type {
            TOPIC if name.is_empty() => return invalid("Default topic resources are not allowed."),
            TOPIC => {
                check_topic_name(name)?;
                if self.image.topic(name).is_none() {
                    let message = format!("The topic '{name}' does not exist.");
                    return Err((ErrorCode::UnknownTopicOrPartition, message));
                }
                ConfigResource::Topic
            }
            BROKER => {
                let id = name.parse().map(NodeId);
                if !name.is_empty() && !id.is_ok_and(|id| self.image.broker(id).is_some()) {
                    return invalid("Unexpected broker id: it is not the id of a registered broker.");
                }
                ConfigResource::Broker
            }
            GROUP if name.is_empty() => return invalid("Default group resources are not allowed."),
            GROUP => ConfigResource::Group,
            _ => return invalid("Settings of this type of resource are not supported."),
        };
        if counts(resource.configs.iter().map(|config| &config.name)).into_values().any(|count| count > 1) {
            return invalid("Error due to duplicate config keys");
        }
        let mut records = Vec::new();
        for config in &resource.configs {
            let key = config.name.as_str();
            let value = self.altered_value(kind, name, config)?;
            let record = MetadataRecord::Config { resource: kind, name: name.to_owned(), key: key.to_owned(), value };
            records.push(Decided::new(record, "it was altered"));
        }
        if kind == ConfigResource::Group {
            let checked = group::check_all(&self.altered_configs(kind, name, &records), &self.settings.group_defaults);
            checked.map_err(|message| (ErrorCode::InvalidConfig, message))?;
        }
        Ok(records)
    }

    /// The settings of `name` once `records` are committed.
    fn altered_configs(&self, kind: ConfigResource, name: &str, records: &[Decided]) -> BTreeMap<String, String> {
        let mut configs = self.image.configs(kind, name);
        for decided in records {
            let MetadataRecord::Config { key, value, .. } = &decided.record else { continue };
            match value {
                Some(value) => configs.insert(key.clone(), value.clone()),
                None => configs.remove(key),
            };
        }
        configs
    }

    /// The new value that an operation gives: 0 sets, 1 deletes, 2 appends to a list, 3 subtracts from one.
    fn altered_value(
        &self,
        kind: ConfigResource,
        of: &str,
        config: &AlterableConfig,
    ) -> Result<Option<String>, Refusal> {
        let (key, given) = (config.name.as_str(), config.value.as_ref().map(|value| value.to_string()));
        let is_list = match kind {
            ConfigResource::Topic => topic::topic_config(key).is_some_and(topic::TopicConfig::is_list),
            ConfigResource::Broker => broker::definition(key).is_some_and(|row| row.kind == broker::ConfigType::List),
            ConfigResource::Group => false,
        };
        let value = match config.config_operation {
            0 | 2 | 3 if given.is_none() => {
                return Err((ErrorCode::InvalidRequest, format!("Null value not supported for {key}")));
            }
            0 => given,
            1 => None,
            2 | 3 if !is_list => {
                let message = format!("Can't append or subtract for config {key}: it is not a list.");
                return Err((ErrorCode::InvalidConfig, message));
            }
            operation @ (2 | 3) => {
                let default = || topic::topic_config(key).map(|config| config.default.to_owned());
                let current = self.image.config(kind, of, key).map(str::to_owned).or_else(default).unwrap_or_default();
                let mut items: Vec<&str> = current.split(',').filter(|item| !item.is_empty()).collect();
                let change = given.unwrap_or_default();
                for item in change.split(',').filter(|item| !item.is_empty()) {
                    items.retain(|known| *known != item);
                    if operation == 2 {
                        items.push(item);
                    }
                }
                Some(items.join(","))
            }
            other => return Err((ErrorCode::UnknownServerError, format!("Unknown alter config operation {other}"))),
        };
        let checked = match (kind, &value) {
            (ConfigResource::Topic, Some(value)) => self.check_topic_config(key, Some(value)),
            (ConfigResource::Group, Some(value)) => match group::group_config(key) {
                Some(config) => config.check(key, value, &self.settings.group_defaults),
                None => Err(format!("Unknown group config name: {key}")),
            },
            (ConfigResource::Topic | ConfigResource::Group, None) => Ok(()),
            (ConfigResource::Broker, value) => {
                return self.check_broker_config(key, value.as_deref()).map(|()| value.clone());
            }
        };
        checked.map(|()| value).map_err(|message| (ErrorCode::InvalidConfig, message))
    }

    fn check_broker_config(&self, key: &str, value: Option<&str>) -> Result<(), Refusal> {
        use broker::ConfigType::{Boolean, Double, Int, Long, Short};
        let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
        if THROTTLES.contains(&key) {
            return match value {
                Some(value) if value.parse::<u64>().is_err() => {
                    invalid(format!("Invalid value {value} for configuration {key}"))
                }
                _ => Ok(()),
            };
        }
        let Some(row) = broker::definition(key).filter(|row| row.dynamic) else {
            return invalid(format!("Cannot update these configs dynamically: [{key}]"));
        };
        let Some(value) = value else { return Ok(()) };
        let good = match row.kind {
            Boolean => value == "true" || value == "false",
            Int | Long | Short => value.parse::<i64>().is_ok_and(|number| number >= -1),
            Double => value.parse::<f64>().is_ok(),
            _ => true,
        };
        if !good {
            return invalid(format!("Invalid value {value} for configuration {key}"));
        }
        // What groups have instead of their own has the same bounds.
        match group::GROUP.iter().find(|config| config.synonym == key) {
            Some(config) => config.check(key, value, &self.settings.group_defaults).or_else(invalid),
            None => Ok(()),
        }
    }

    /// Elects leaders: 0 preferred, 1 unclean; of the given partitions or, with none given, of all that need it.
    pub fn elect_leaders(&self, request: &ElectLeadersRequest, version: i16) -> Decision<ElectLeadersResponse> {
        let kind = match request.election_type {
            0 => Some(Kind::Preferred),
            1 => Some(Kind::Unclean),
            _ => None,
        };
        let (mut results, mut records) = (BTreeMap::<_, Vec<PartitionResult>>::new(), Vec::new());
        let all = request.topic_partitions.is_none();
        for partition in self.partitions_asked(request) {
            // Of all partitions those are left out that need no election, but not their topics.
            let of_topic = results.entry(partition.topic.clone()).or_default();
            let found = match kind {
                None => Err((ErrorCode::InvalidRequest, "unknown election type".to_owned())),
                Some(kind) => self.elect_one(&partition, kind),
            };
            let (code, message) = match found {
                Ok(decided) => {
                    records.push(decided);
                    (ErrorCode::None, None)
                }
                Err((ErrorCode::ElectionNotNeeded, _)) if all => continue,
                Err((code, message)) => (code, Some(message.into())),
            };
            let result = PartitionResult::default().with_partition_id(partition.partition);
            of_topic.push(result.with_error_code(code.code()).with_error_message(message));
        }
        let results = results.into_iter().map(|(topic, partitions)| {
            ReplicaElectionResult::default().with_topic(topic_name(&topic)).with_partition_result(partitions)
        });
        let code = if kind.is_none() && version >= 1 { ErrorCode::InvalidRequest } else { ErrorCode::None };
        let response = ElectLeadersResponse::default().with_error_code(code.code());
        Decision { response: response.with_replica_election_results(results.collect()), records }
    }

    fn partitions_asked(&self, request: &ElectLeadersRequest) -> Vec<TopicPartition> {
        match &request.topic_partitions {
            Some(topics) => topics
                .iter()
                .flat_map(|topic| {
                    let name = topic.topic.as_str();
                    topic.partitions.iter().map(move |index| TopicPartition::new(name, *index))
                })
                .collect(),
            None => self.partitions_where(|_| true).map(|(partition, _, _)| partition).collect(),
        }
    }

    fn elect_one(&self, partition: &TopicPartition, kind: Kind) -> Result<Decided, Refusal> {
        let topic = self.image.topic(&partition.topic);
        let found = topic.and_then(|topic| Some((topic.id, topic.partitions.get(&partition.partition)?)));
        let Some((id, registration)) = found else {
            let message = format!("No such partition as {partition}");
            return Err((ErrorCode::UnknownTopicOrPartition, message));
        };
        let preferred = registration.replicas[0];
        let needed = match kind {
            Kind::Preferred => registration.leader != preferred,
            Kind::Unclean | Kind::Online => registration.leader == NodeId::NONE,
        };
        let not_needed =
            || (ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition.".to_owned());
        if !needed {
            return Err(not_needed());
        }
        if kind == Kind::Preferred && !(registration.isr.contains(&preferred) && self.is_active(preferred)) {
            return Err((ErrorCode::PreferredLeaderNotAvailable, "The preferred leader was not available.".to_owned()));
        }
        let rules = Rules { unclean: false, ..self.election_rules(&partition.topic) };
        let elected =
            elections::elect((id, partition.partition), registration, kind, rules, |node| self.is_active(node));
        match elected {
            Some((change, election)) if change.leader.is_some() => {
                note_election(election);
                Ok(self.decided_change(change, election, "it was asked for".to_owned()))
            }
            _ if kind == Kind::Unclean => Err((
                ErrorCode::EligibleLeadersNotAvailable,
                "Eligible topic partition leaders are not available.".to_owned(),
            )),
            _ => Err(not_needed()),
        }
    }

    /// Elections that time brings: unclean ones of partitions without leader where that is allowed now, and preferred
    /// ones where another broker leads.
    pub fn periodic_elections(&self, kind: Kind) -> Vec<Decided> {
        let concerned = |registration: &super::super::image::PartitionRegistration| match kind {
            Kind::Preferred => registration.leader != NodeId::NONE && registration.leader != registration.replicas[0],
            Kind::Online | Kind::Unclean => registration.leader == NodeId::NONE,
        };
        let mut records = Vec::new();
        for (partition, id, registration) in self.partitions_where(concerned) {
            let rules = self.election_rules(&partition.topic);
            let kind = if kind == Kind::Preferred { kind } else { Kind::Online };
            let at = (id, partition.partition);
            let elected = elections::elect(at, registration, kind, rules, |node| self.is_active(node));
            if let Some((change, election)) = elected.filter(|(change, _)| change.leader.is_some()) {
                note_election(election);
                records.push(self.decided_change(change, election, "a periodic check of the controller".to_owned()));
            }
        }
        records
    }
}
