//! Topics: CreateTopics, DeleteTopics, CreatePartitions. Each entry of a request succeeds or fails for itself.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::{Controller, Decided, Decision, FIRST_EPOCH, isr::uuid, placement};
use crate::{
    base::{NodeId, PartitionEpoch, TopicId, random::Random},
    controller::{configs::topic, image::TopicImage},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
            DeleteTopicsRequest, DeleteTopicsResponse,
            create_partitions_request::CreatePartitionsTopic,
            create_partitions_response::CreatePartitionsTopicResult,
            create_topics_request::CreatableTopic,
            create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
            delete_topics_response::DeletableTopicResult,
        },
        metadata::{ConfigResource, MetadataRecord, Partition},
    },
    trace::Election,
};

/// Longest name of a topic.
const NAME_LENGTH_MAX: usize = 249;

/// Most partitions that one request creates: each costs memory here and in every broker, and a number is quickly sent.
const PARTITIONS_MAX: usize = 10_000;

/// A protocol outcome with its text.
pub(super) type Refusal = (ErrorCode, String);

pub(super) fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err((code, message.into()))
}

/// Checks the name of a topic.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION with what is wrong.
pub fn check_topic_name(name: &str) -> Result<(), (ErrorCode, String)> {
    let good = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    let problem = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' cannot be a topic name"),
        long if long.len() > NAME_LENGTH_MAX => format!("the length of '{long}' is longer than the maximum 249"),
        odd if !odd.chars().all(good) => {
            format!("'{odd}' contains characters other than ASCII letters, digits, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    refuse(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {problem}"))
}

impl Controller {
    /// Creates topics. Versions differ in what the answer may carry.
    pub fn create_topics(
        &self,
        request: &CreateTopicsRequest,
        version: i16,
        random: &mut Random,
    ) -> Decision<CreateTopicsResponse> {
        let mut by_name: BTreeMap<&str, Vec<&CreatableTopic>> = BTreeMap::new();
        for topic in &request.topics {
            by_name.entry(topic.name.as_str()).or_default().push(topic);
        }
        let too_many = request.topics.iter().map(|topic| self.partitions_of(topic)).sum::<usize>() > PARTITIONS_MAX;
        let (mut results, mut records) = (Vec::new(), Vec::new());
        for topics in by_name.into_values() {
            let topic = topics[0];
            let created = match topics.len() {
                _ if too_many => {
                    refuse(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.")
                }
                1 => self.create_topic(topic, random),
                _ => refuse(ErrorCode::InvalidRequest, "Duplicate topic name."),
            };
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            results.push(match created {
                Ok((id, made)) => {
                    let result = self.describe_created(result, topic, id, &made, version);
                    if !request.validate_only {
                        records.extend(made);
                    }
                    result
                }
                Err((code, message)) => result
                    .with_error_code(code.code())
                    .with_error_message(Some(message.into()))
                    .with_num_partitions(-1)
                    .with_replication_factor(-1)
                    .with_configs((version >= 5).then(Vec::new)),
            });
        }
        Decision { response: CreateTopicsResponse::default().with_topics(results), records }
    }

    /// Number of partitions asked for; nonsense counts as none and is refused for itself.
    fn partitions_of(&self, topic: &CreatableTopic) -> usize {
        match (topic.assignments.len(), topic.num_partitions) {
            (0, -1) => self.settings.num_partitions.max(0) as usize,
            (0, asked) => asked.max(0) as usize,
            (assigned, _) => assigned,
        }
    }

    fn create_topic(&self, topic: &CreatableTopic, random: &mut Random) -> Result<(TopicId, Vec<Decided>), Refusal> {
        let name = topic.name.as_str();
        check_topic_name(name)?;
        if name == "__cluster_metadata" {
            return refuse(ErrorCode::InvalidRequest, format!("Creation of internal topic {name} is prohibited."));
        }
        if self.image.topic(name).is_some() {
            return refuse(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists."));
        }
        let collides = |other: &str| other.replace('.', "_") == name.replace('.', "_");
        if let Some(other) = self.image.topics().find(|other| collides(&other.name)) {
            let message = format!("Topic '{name}' collides with existing topic: {}", other.name);
            return refuse(ErrorCode::InvalidTopicException, message);
        }
        let assignments = self.assignments(topic, random)?;
        let mut configs = Vec::new();
        for config in &topic.configs {
            let value = config.value.as_deref();
            self.check_topic_config(config.name.as_str(), value)
                .map_err(|message| (ErrorCode::InvalidConfig, message))?;
            configs.push((config.name.to_string(), value.unwrap_or_default().to_owned()));
        }
        let id = TopicId(random.random());
        let reason = "it was created";
        let mut records = vec![Decided::new(MetadataRecord::Topic { name: name.to_owned(), topic_id: id }, reason)];
        for (key, value) in configs {
            let resource = ConfigResource::Topic;
            let record = MetadataRecord::Config { resource, name: name.to_owned(), key, value: Some(value) };
            records.push(Decided::new(record, reason));
        }
        for (index, replicas) in assignments.into_iter().enumerate() {
            records.push(self.new_partition(id, index as i32, replicas));
        }
        Ok((id, records))
    }

    /// The replicas of each partition: as given, or placed.
    fn assignments(&self, topic: &CreatableTopic, random: &mut Random) -> Result<Vec<Vec<NodeId>>, Refusal> {
        if !topic.assignments.is_empty() {
            if topic.replication_factor != -1 {
                let message = "A manual partition assignment was specified, but replication factor was not set to -1.";
                return refuse(ErrorCode::InvalidRequest, message);
            }
            if topic.num_partitions != -1 {
                let message = "A manual partition assignment was specified, but numPartitions was not set to -1.";
                return refuse(ErrorCode::InvalidRequest, message);
            }
            let mut by_index = BTreeMap::new();
            for assignment in &topic.assignments {
                let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id| NodeId(id.0)).collect();
                self.check_assignment(&replicas, None)?;
                if by_index.insert(assignment.partition_index, replicas).is_some() {
                    let message =
                        format!("Found multiple manual assignments for partition {}", assignment.partition_index);
                    return refuse(ErrorCode::InvalidReplicaAssignment, message);
                }
            }
            if by_index.keys().enumerate().any(|(expected, index)| *index != expected as i32) {
                let message = "partitions should be a consecutive 0-based integer sequence";
                return refuse(ErrorCode::InvalidReplicaAssignment, message);
            }
            return Ok(by_index.into_values().collect());
        }
        if topic.replication_factor == 0 || topic.replication_factor < -1 {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.";
            return refuse(ErrorCode::InvalidReplicationFactor, message);
        }
        if topic.num_partitions == 0 || topic.num_partitions < -1 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return refuse(ErrorCode::InvalidPartitions, message);
        }
        let or_default = |value: i32, default: i32| if value == -1 { default } else { value };
        let partitions = or_default(topic.num_partitions, self.settings.num_partitions);
        let default_replication = i32::from(self.settings.default_replication_factor);
        let replication = or_default(i32::from(topic.replication_factor), default_replication);
        self.place(partitions as usize, replication as usize, random)
    }

    fn place(&self, partitions: usize, replication: usize, random: &mut Random) -> Result<Vec<Vec<NodeId>>, Refusal> {
        let candidate = |known: &crate::controller::image::BrokerRegistration| placement::Candidate {
            id: known.id,
            rack: known.rack.clone(),
            fenced: known.fenced,
        };
        let usable: Vec<_> =
            self.image.brokers().filter(|known| !known.in_controlled_shutdown).map(candidate).collect();
        if usable.iter().all(|candidate| candidate.fenced) || replication > usable.len() {
            let message = format!(
                "Unable to replicate the partition {replication} time(s): the target replication factor of {replication} \
                 cannot be reached because only {} broker(s) are registered.",
                usable.len()
            );
            return refuse(ErrorCode::InvalidReplicationFactor, message);
        }
        Ok(placement::place(&usable, partitions, replication, random))
    }

    pub(super) fn check_assignment(&self, replicas: &[NodeId], replication: Option<usize>) -> Result<(), Refusal> {
        let invalid = |message: String| refuse(ErrorCode::InvalidReplicaAssignment, message);
        if replicas.is_empty() {
            return invalid("The manual partition assignment includes an empty replica list.".to_owned());
        }
        if let Some(unknown) = replicas.iter().find(|id| self.image.broker(**id).is_none()) {
            return invalid(format!(
                "The manual partition assignment includes broker {unknown}, but no such broker is registered."
            ));
        }
        let twice = replicas.iter().enumerate().find(|(index, id)| replicas[..*index].contains(id));
        if let Some((_, id)) = twice {
            return invalid(format!("The manual partition assignment includes the broker {id} more than once."));
        }
        match replication {
            Some(expected) if expected != replicas.len() => invalid(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
                 previous partitions, which have {expected} replica(s).",
                replicas.len()
            )),
            _ => Ok(()),
        }
    }

    fn new_partition(&self, topic_id: TopicId, partition: i32, replicas: Vec<NodeId>) -> Decided {
        let live: Vec<NodeId> = replicas.iter().copied().filter(|replica| self.is_active(*replica)).collect();
        let isr = if live.is_empty() { replicas.clone() } else { live.clone() };
        let directory = |replica: &NodeId| {
            let known = self.image.broker(*replica).and_then(|known| known.log_dirs.first().copied());
            known.unwrap_or_default()
        };
        let record = Partition {
            partition,
            topic_id,
            directories: replicas.iter().map(directory).collect(),
            leader: live.first().copied().unwrap_or(NodeId::NONE),
            isr,
            replicas,
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader_recovery_state: 0,
            leader_epoch: FIRST_EPOCH,
            partition_epoch: PartitionEpoch(0),
        };
        let record = MetadataRecord::Partition(record);
        Decided { record, election: Election::Created, reason: "it was created".to_owned() }
    }

    /// Fills in what an answer of this version tells of a new topic.
    fn describe_created(
        &self,
        result: CreatableTopicResult,
        topic: &CreatableTopic,
        id: TopicId,
        made: &[Decided],
        version: i16,
    ) -> CreatableTopicResult {
        if version < 5 {
            return result;
        }
        let partitions: Vec<&Partition> = made
            .iter()
            .filter_map(|decided| match &decided.record {
                MetadataRecord::Partition(partition) => Some(partition),
                _ => None,
            })
            .collect();
        let configs = topic::TOPIC.iter().map(|config| {
            let own = topic.configs.iter().find(|set| set.name.as_str() == config.name);
            let (value, source) = match own.and_then(|set| set.value.clone()) {
                Some(value) => (value, 1),
                None => self.default_with_source(config.name),
            };
            CreatableTopicConfigs::default()
                .with_name(config.name.into())
                .with_value(Some(value))
                .with_config_source(source)
        });
        let result = result
            .with_num_partitions(partitions.len() as i32)
            .with_replication_factor(partitions.first().map_or(-1, |partition| partition.replicas.len() as i16))
            .with_configs(Some(configs.collect()));
        if version >= 7 { result.with_topic_id(uuid(id)) } else { result }
    }

    /// A topic's default and where it comes from: 3 all brokers' dynamic config, 4 the properties, 5 Kafka's default.
    fn default_with_source(&self, name: &'static str) -> (StrBytes, i8) {
        let config = topic::topic_config(name).expect("the caller takes it from the table");
        let dynamic = config.synonym.and_then(|synonym| self.image.config(ConfigResource::Broker, "", synonym));
        let source = match dynamic {
            Some(_) => 3,
            None if self.settings.topic_defaults.contains_key(name) => 4,
            None => 5,
        };
        (self.topic_default(name).into(), source)
    }

    /// Deletes topics, by name or id.
    pub fn delete_topics(&self, request: &DeleteTopicsRequest, version: i16) -> Decision<DeleteTopicsResponse> {
        let by_name = request.topic_names.iter().map(|name| (Some(name.to_string()), TopicId::ZERO));
        let by_state = request
            .topics
            .iter()
            .map(|topic| (topic.name.as_ref().map(|name| name.to_string()), TopicId(*topic.topic_id.as_bytes())));
        let asked: Vec<(Option<String>, TopicId)> = by_name.chain(by_state).collect();
        let (mut results, mut records) = (Vec::new(), Vec::new());
        let counts = counts(&asked);
        let mut seen = BTreeSet::new();
        for entry @ (name, id) in &asked {
            if !seen.insert(entry) {
                continue;
            }
            let found = match (name, *id) {
                (Some(_), id) if id != TopicId::ZERO => {
                    refuse(ErrorCode::InvalidRequest, "You may not specify both topic name and topic id.")
                }
                (None, TopicId::ZERO) => refuse(ErrorCode::InvalidRequest, "Neither topic name nor id were specified."),
                _ if counts[entry] > 1 => refuse(ErrorCode::InvalidRequest, "Duplicate topic name or topic id."),
                (Some(name), _) => {
                    self.image.topic(name).ok_or_else(|| unknown_topic(ErrorCode::UnknownTopicOrPartition))
                }
                (None, id) => self.image.topic_by_id(id).ok_or_else(|| unknown_topic(ErrorCode::UnknownTopicId)),
            };
            let result = DeletableTopicResult::default();
            results.push(match found {
                Ok(topic) => {
                    let record = MetadataRecord::RemoveTopic { topic_id: topic.id };
                    records.push(Decided::new(record, "it was deleted"));
                    let result = result.with_name(Some(topic_name(&topic.name)));
                    if version >= 6 { result.with_topic_id(uuid(topic.id)) } else { result }
                }
                Err((code, message)) => {
                    let name = name.as_deref().map(topic_name);
                    let result = result
                        .with_error_code(code.code())
                        .with_name(name.or_else(|| (version < 6).then(|| topic_name(""))));
                    let result = if version >= 5 { result.with_error_message(Some(message.into())) } else { result };
                    if version >= 6 { result.with_topic_id(uuid(*id)) } else { result }
                }
            });
        }
        Decision { response: DeleteTopicsResponse::default().with_responses(results), records }
    }

    /// Gives topics more partitions.
    pub fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        random: &mut Random,
    ) -> Decision<CreatePartitionsResponse> {
        let (mut results, mut records) = (Vec::new(), Vec::new());
        let counts = counts(request.topics.iter().map(|topic| &topic.name));
        let mut seen = BTreeSet::new();
        for asked in &request.topics {
            if !seen.insert(&asked.name) {
                continue;
            }
            let grown = match counts[&asked.name] > 1 {
                true => refuse(ErrorCode::InvalidRequest, "Duplicate topic name."),
                false => self.grow(asked, random),
            };
            let result = CreatePartitionsTopicResult::default().with_name(asked.name.clone());
            results.push(match grown {
                Ok(made) => {
                    if !request.validate_only {
                        records.extend(made);
                    }
                    result
                }
                Err((code, message)) => {
                    // Kafka has no words for these two.
                    let told = !matches!(code, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownServerError);
                    result.with_error_code(code.code()).with_error_message(told.then(|| message.into()))
                }
            });
        }
        Decision { response: CreatePartitionsResponse::default().with_results(results), records }
    }

    fn grow(&self, asked: &CreatePartitionsTopic, random: &mut Random) -> Result<Vec<Decided>, Refusal> {
        let topic = self.image.topic(asked.name.as_str());
        let topic: &TopicImage = topic.ok_or_else(|| unknown_topic(ErrorCode::UnknownTopicOrPartition))?;
        let existing = topic.partitions.len() as i32;
        if asked.count <= existing {
            let message = format!(
                "Topic {} currently has {existing} partitions, which is not fewer than the requested {}.",
                topic.name, asked.count
            );
            return refuse(ErrorCode::InvalidPartitions, message);
        }
        let added = (asked.count - existing) as usize;
        if added > PARTITIONS_MAX {
            return refuse(ErrorCode::UnknownServerError, format!("{added} partitions are too many to add"));
        }
        let replication = topic.partitions.values().next().map_or(1, |first| first.replicas.len());
        let assignments = match &asked.assignments {
            Some(given) => {
                if given.len() != added {
                    let message = format!(
                        "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                        given.len()
                    );
                    return refuse(ErrorCode::InvalidReplicaAssignment, message);
                }
                let mut assignments = Vec::new();
                for assignment in given {
                    let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id| NodeId(id.0)).collect();
                    self.check_assignment(&replicas, Some(replication))?;
                    assignments.push(replicas);
                }
                assignments
            }
            None => self.place(added, replication, random)?,
        };
        let placed = assignments.into_iter().enumerate();
        Ok(placed.map(|(index, replicas)| self.new_partition(topic.id, existing + index as i32, replicas)).collect())
    }
}

/// How often each is there.
pub(super) fn counts<T: Ord>(asked: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for one in asked {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

fn unknown_topic(code: ErrorCode) -> Refusal {
    let message = match code {
        ErrorCode::UnknownTopicId => "This server does not host this topic ID.",
        _ => "This server does not host this topic-partition.",
    };
    (code, message.to_owned())
}

pub(super) fn topic_name(name: &str) -> crate::protocol::messages::TopicName {
    crate::protocol::messages::TopicName(name.to_owned().into())
}
