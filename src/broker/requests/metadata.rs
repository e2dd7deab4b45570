//! Metadata and DescribeTopicPartitions: brokers, topics, leaders.

use std::{collections::BTreeSet, sync::Arc};

use super::{Broker, cluster::CLUSTER_OPERATIONS, topic_name, uuid_of};
use crate::{
    base::{NodeId, OFFSETS_TOPIC, TopicId},
    controller::{
        core::check_topic_name,
        image::{MetadataImage, PartitionRegistration, TopicImage},
    },
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            BrokerId, CreateTopicsRequest, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
            MetadataRequest, MetadataResponse, RequestKind, ResponseKind,
            create_topics_request::{CreatableTopic, CreatableTopicConfig},
            describe_topic_partitions_response::{
                Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
            },
            metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        },
    },
    rpc::Reply,
};

/// Bits of every operation on a topic: without an authorizer all are allowed (AclOperation).
const TOPIC_OPERATIONS: i32 = 3576;
/// Most partitions in one answer to DescribeTopicPartitions (`max.request.partition.size.limit`).
const PARTITIONS_MAX: usize = 2000;
const CREATE_TOPICS_VERSION: i16 = 7;

impl Broker {
    pub(super) async fn metadata(self: Arc<Self>, request: MetadataRequest, version: i16) -> Reply {
        if is_null_too_early(&request, version) {
            return Reply::Close;
        }
        let image = self.cache.image();
        let all = match &request.topics {
            None => true,
            Some(topics) => version == 0 && topics.is_empty(),
        };
        let mut topics = Vec::new();
        let mut missing = Vec::new();
        if all {
            topics.extend(image.topics().map(|topic| self.topic(&image, topic, version)));
        }
        let mut seen = BTreeSet::new();
        for asked in request.topics.iter().flatten() {
            let id = TopicId(*asked.topic_id.as_bytes());
            let name = asked.name.as_ref().map(|name| name.as_str().to_owned());
            if !seen.insert((id, name.clone())) {
                continue;
            }
            if id != TopicId::ZERO && version < 12 {
                let code = ErrorCode::InvalidRequest;
                return Reply::now(self.metadata_error(&request, code, version));
            }
            if id != TopicId::ZERO || name.is_none() {
                topics.push(match image.topic_by_id(id) {
                    Some(topic) => self.topic(&image, topic, version),
                    None => unknown(None, id, ErrorCode::UnknownTopicId, version),
                });
                continue;
            }
            let name = name.expect("a topic without id has a name");
            match image.topic(&name) {
                Some(topic) => topics.push(self.topic(&image, topic, version)),
                None => match check_topic_name(&name) {
                    Err((code, _)) => topics.push(unknown(Some(&name), TopicId::ZERO, code, version)),
                    Ok(()) => {
                        let create =
                            self.config.auto_create_topics_enable && (version < 4 || request.allow_auto_topic_creation);
                        if create {
                            missing.push(name.clone());
                        }
                        topics.push(unknown(Some(&name), TopicId::ZERO, ErrorCode::UnknownTopicOrPartition, version));
                    }
                },
            }
        }
        let operations = version >= 8 && request.include_topic_authorized_operations;
        if operations {
            topics.iter_mut().filter(|topic| topic.error_code == 0).for_each(|topic| {
                topic.topic_authorized_operations = TOPIC_OPERATIONS;
            });
        }
        let response = self.metadata_response(&request, &image, topics, version);
        if missing.is_empty() {
            return Reply::now(response);
        }
        Reply::later(async move {
            self.create(missing).await;
            ResponseKind::Metadata(response)
        })
    }

    /// Has topics created that a client asked about; it will ask again until they are there.
    pub(super) async fn create(&self, names: Vec<String>) {
        let topic = |name: &String| {
            let topic = CreatableTopic::default().with_name(topic_name(name));
            match name.as_str() {
                OFFSETS_TOPIC => self.offsets_topic(topic),
                _ => topic.with_num_partitions(-1).with_replication_factor(-1),
            }
        };
        let request =
            CreateTopicsRequest::default().with_topics(names.iter().map(topic).collect()).with_timeout_ms(30_000);
        if let Err(error) = self.channel.call(RequestKind::CreateTopics(request), CREATE_TOPICS_VERSION).await {
            tracing::warn!(%error, ?names, "topics could not be created");
        }
    }

    /// The topic of the groups' records, as the broker's properties want it.
    fn offsets_topic(&self, topic: CreatableTopic) -> CreatableTopic {
        let groups = &self.config.groups;
        let config = |name: &'static str, value: String| {
            let config = CreatableTopicConfig::default().with_name(StrBytes::from_static_str(name));
            config.with_value(Some(value.into()))
        };
        let configs = vec![
            config("compression.type", "producer".to_owned()),
            config("cleanup.policy", "compact".to_owned()),
            config("segment.bytes", groups.topic_segment_bytes.to_string()),
        ];
        topic
            .with_num_partitions(groups.topic_partitions)
            .with_replication_factor(groups.topic_replication_factor)
            .with_configs(configs)
    }

    fn metadata_response(
        &self,
        request: &MetadataRequest,
        image: &MetadataImage,
        topics: Vec<MetadataResponseTopic>,
        version: i16,
    ) -> MetadataResponse {
        let brokers = image.brokers().filter(|known| !known.fenced).filter_map(|known| {
            let endpoint = known.endpoint(&self.config.inter_broker_listener)?;
            let broker = MetadataResponseBroker::default()
                .with_node_id(BrokerId(known.id.0))
                .with_host(endpoint.host.clone().into())
                .with_port(i32::from(endpoint.port));
            Some(if version >= 1 { broker.with_rack(known.rack.clone().map(Into::into)) } else { broker })
        });
        let mut response = MetadataResponse::default().with_brokers(brokers.collect()).with_topics(topics);
        if version >= 1 {
            response.controller_id = BrokerId(self.controller_id().0);
        }
        if version >= 2 {
            response.cluster_id = Some(self.cluster_id.clone().into());
        }
        if (8..=10).contains(&version) {
            let asked = request.include_cluster_authorized_operations;
            response.cluster_authorized_operations = if asked { CLUSTER_OPERATIONS } else { i32::MIN };
        }
        response
    }

    /// A request that contradicts itself: every topic in it is refused.
    fn metadata_error(&self, request: &MetadataRequest, code: ErrorCode, version: i16) -> MetadataResponse {
        let topics = request.topics.iter().flatten().map(|asked| {
            let name = asked.name.as_ref().map_or("", |name| name.as_str());
            unknown(Some(name), TopicId(*asked.topic_id.as_bytes()), code, version)
        });
        MetadataResponse::default().with_topics(topics.collect())
    }

    fn topic(&self, image: &MetadataImage, topic: &TopicImage, version: i16) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().map(|(index, registration)| {
            let code = match registration.leader {
                NodeId::NONE => ErrorCode::LeaderNotAvailable,
                leader if !is_reachable(image, leader) => ErrorCode::LeaderNotAvailable,
                _ => ErrorCode::None,
            };
            let leader = if code == ErrorCode::None { registration.leader } else { NodeId::NONE };
            let partition = MetadataResponsePartition::default()
                .with_error_code(code.code())
                .with_partition_index(*index)
                .with_leader_id(BrokerId(leader.0))
                .with_replica_nodes(ids(&registration.replicas))
                .with_isr_nodes(ids(&registration.isr));
            let partition =
                if version >= 5 { partition.with_offline_replicas(offline(image, registration)) } else { partition };
            if version >= 7 { partition.with_leader_epoch(registration.leader_epoch.0) } else { partition }
        });
        let answer = MetadataResponseTopic::default().with_name(Some(topic_name(&topic.name)));
        let answer = if version >= 10 { answer.with_topic_id(uuid_of(topic.id)) } else { answer };
        let answer = if version >= 1 { answer.with_is_internal(is_internal(&topic.name)) } else { answer };
        answer.with_partitions(partitions.collect())
    }

    pub(super) fn describe_topic_partitions(
        &self,
        request: &DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        let image = self.cache.image();
        let mut names: Vec<String> = match request.topics.is_empty() {
            true => image.topics().map(|topic| topic.name.to_string()).collect(),
            false => request.topics.iter().map(|topic| topic.name.to_string()).collect(),
        };
        names.sort();
        names.dedup();
        let mut first = 0;
        if let Some(cursor) = &request.cursor {
            let at = cursor.topic_name.as_str();
            let known = names.iter().any(|name| name == at);
            if cursor.partition_index < 0 || (!request.topics.is_empty() && !known) {
                return refuse_cursor(&names);
            }
            names.retain(|name| name.as_str() >= at);
            first = cursor.partition_index;
        }
        let mut left = match request.response_partition_limit {
            limit if limit > 0 => PARTITIONS_MAX.min(limit as usize),
            _ => 1,
        };
        let (mut topics, mut next_cursor) = (Vec::new(), None);
        for name in names {
            let from = std::mem::take(&mut first);
            let Some(topic) = image.topic(&name) else {
                let code =
                    check_topic_name(&name).map_or_else(|(code, _)| code, |()| ErrorCode::UnknownTopicOrPartition);
                let answer = DescribeTopicPartitionsResponseTopic::default().with_name(Some(topic_name(&name)));
                let answer = answer.with_topic_authorized_operations(TOPIC_OPERATIONS);
                topics.push(answer.with_error_code(code.code()));
                continue;
            };
            if left == 0 {
                next_cursor = Some(Cursor::default().with_topic_name(topic_name(&name)).with_partition_index(0));
                break;
            }
            let mut partitions = Vec::new();
            for (index, registration) in topic.partitions.range(from..) {
                if left == 0 {
                    let cursor = Cursor::default().with_topic_name(topic_name(&name));
                    next_cursor = Some(cursor.with_partition_index(*index));
                    break;
                }
                left -= 1;
                partitions.push(described(&image, *index, registration));
            }
            let answer = DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(topic_name(&topic.name)))
                .with_topic_id(uuid_of(topic.id))
                .with_is_internal(is_internal(&topic.name))
                .with_topic_authorized_operations(TOPIC_OPERATIONS)
                .with_partitions(partitions);
            topics.push(answer);
            if next_cursor.is_some() {
                break;
            }
        }
        DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next_cursor)
    }
}

/// Whether something is null that only newer versions may leave out: no list of topics, a topic without name.
fn is_null_too_early(request: &MetadataRequest, version: i16) -> bool {
    let mut topics = request.topics.iter().flatten();
    request.topics.is_none() && version == 0 || version < 10 && topics.any(|topic| topic.name.is_none())
}

fn refuse_cursor(names: &[String]) -> DescribeTopicPartitionsResponse {
    let topic = |name: &String| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_topic_authorized_operations(i32::MIN)
    };
    DescribeTopicPartitionsResponse::default().with_topics(names.iter().map(topic).collect())
}

fn described(
    image: &MetadataImage,
    index: i32,
    registration: &PartitionRegistration,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(registration.leader.0))
        .with_leader_epoch(registration.leader_epoch.0)
        .with_replica_nodes(ids(&registration.replicas))
        .with_isr_nodes(ids(&registration.isr))
        // Java's admin client fails on null lists.
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(offline(image, registration))
}

fn unknown(name: Option<&str>, id: TopicId, code: ErrorCode, version: i16) -> MetadataResponseTopic {
    let topic = MetadataResponseTopic::default().with_error_code(code.code());
    let topic = match name {
        Some(name) => topic.with_name(Some(topic_name(name))),
        None => topic.with_name((version < 12).then(|| topic_name(""))),
    };
    let topic = if version >= 1 { topic.with_is_internal(name.is_some_and(is_internal)) } else { topic };
    if version >= 10 { topic.with_topic_id(uuid_of(id)) } else { topic }
}

/// Whether a topic is the brokers' own: clients do not write to it and hide it.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | "__transaction_state" | "__share_group_state")
}

fn is_reachable(image: &MetadataImage, node: NodeId) -> bool {
    image.broker(node).is_some_and(|known| !known.fenced)
}

fn offline(image: &MetadataImage, registration: &PartitionRegistration) -> Vec<BrokerId> {
    let offline = registration.replicas.iter().filter(|replica| !is_reachable(image, **replica));
    offline.map(|replica| BrokerId(replica.0)).collect()
}

fn ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}
