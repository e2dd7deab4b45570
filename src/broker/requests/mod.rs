//! What a broker answers: one file for each family of APIs.
//!
//! A handler reads the metadata image and the partitions and builds the response in the version asked for. What changes
//! the cluster - topics, settings, elections - goes on to the controller and its answer comes back as it is.

mod cluster;
mod configs;
mod delete_records;
mod fetch;
mod fetch_session;
mod forward;
mod group_offsets;
mod groups;
mod metadata;
mod offsets;
mod produce;
mod producer_ids;

use std::sync::{Arc, Mutex};

use fetch_session::FetchSessions;
use producer_ids::ProducerIds;

use super::{
    config::NodeConfig,
    controller_channel::ControllerChannel,
    coordinator::{Client, GroupCoordinators},
    lifecycle::Registration,
    metadata::MetadataCache,
    replicas::Replicas,
};
use crate::{
    base::{NodeId, Switches, TopicId, TopicPartition},
    controller::image::TopicImage,
    group::GroupRequest,
    protocol::{
        ErrorCode,
        api::{self, ApiRange},
        frame::Request,
        messages::{RequestKind, TopicName},
    },
    rpc::{Peer, Reply, Service},
};

/// Levels of isolation: all up to the high watermark, or all of transactions that have ended. Highwater has no
/// transactions, so that both see the same.
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

/// What Kafka's own tools call themselves where they do what other clients may not.
const ADMIN_CLIENT: &str = "__admin_client";

/// Everything that requests need.
pub struct Broker {
    /// Settings.
    pub config: Arc<NodeConfig>,
    /// Id of the cluster.
    pub cluster_id: String,
    /// Behaviour switches.
    pub switches: Switches,
    /// The metadata.
    pub cache: Arc<MetadataCache>,
    /// The partitions.
    pub replicas: Arc<Replicas>,
    /// The way to the controller.
    pub channel: Arc<ControllerChannel>,
    /// Who this broker is.
    pub registration: Arc<Registration>,
    /// The groups that it coordinates.
    pub coordinators: Arc<GroupCoordinators>,
    sessions: Mutex<FetchSessions>,
    producer_ids: tokio::sync::Mutex<ProducerIds>,
}

impl Broker {
    /// A broker that answers from these parts.
    pub fn new(
        config: Arc<NodeConfig>,
        cluster_id: String,
        cache: Arc<MetadataCache>,
        replicas: Arc<Replicas>,
        channel: Arc<ControllerChannel>,
        registration: Arc<Registration>,
        coordinators: Arc<GroupCoordinators>,
    ) -> Self {
        let sessions = Mutex::new(FetchSessions::new(config.fetch_session_slots));
        let producer_ids = tokio::sync::Mutex::default();
        Self {
            config,
            cluster_id,
            switches: replicas.switches(),
            cache,
            replicas,
            channel,
            registration,
            coordinators,
            sessions,
            producer_ids,
        }
    }

    /// Who leads the controller quorum, as clients are told: brokers forward, so any broker would do.
    fn controller_id(&self) -> NodeId {
        let image = self.cache.image();
        let controller = self.config.quorum_voters.first().map_or(NodeId::NONE, |(id, _)| *id);
        match image.broker(controller).is_some_and(|known| !known.fenced) {
            true => controller,
            false => image.brokers().find(|known| !known.fenced).map_or(NodeId::NONE, |known| known.id),
        }
    }
}

impl Service for Broker {
    fn served(&self) -> &'static [ApiRange] {
        api::BROKER
    }

    async fn begin(self: Arc<Self>, peer: &Peer, request: Request) -> Reply {
        let version = request.version;
        let client = || Client {
            id: request.client_id.clone().unwrap_or_default(),
            host: format!("/{}", peer.address.rsplit_once(':').map_or(&*peer.address, |(host, _)| host)),
            version,
        };
        match request.body {
            RequestKind::Produce(body) if self.switches.bug_batches_overtake && body.acks != 0 => {
                self.produce_in_any_order(body, version)
            }
            RequestKind::Produce(body) => {
                let is_admin = request.client_id.as_deref() == Some(ADMIN_CLIENT);
                self.produce(body, version, is_admin).await
            }
            RequestKind::FindCoordinator(body) => self.find_coordinator(body, version),
            RequestKind::JoinGroup(body) => {
                self.ask_about(&body.group_id.clone(), GroupRequest::Join(body), client()).await
            }
            RequestKind::SyncGroup(body) => {
                self.ask_about(&body.group_id.clone(), GroupRequest::Sync(body), client()).await
            }
            RequestKind::Heartbeat(body) => {
                self.ask_about(&body.group_id.clone(), GroupRequest::Heartbeat(body), client()).await
            }
            RequestKind::LeaveGroup(body) => self.leave_group(body, client()).await,
            RequestKind::OffsetCommit(body) => self.offset_commit(body, client()).await,
            RequestKind::OffsetFetch(body) => self.offset_fetch(body, client()),
            RequestKind::OffsetDelete(body) => self.offset_delete(body, client()),
            RequestKind::DescribeGroups(body) => self.describe_groups(body, client()),
            RequestKind::ListGroups(body) => self.list_groups(body, client()),
            RequestKind::ConsumerGroupHeartbeat(body) => self.consumer_group_heartbeat(body, client()).await,
            RequestKind::ConsumerGroupDescribe(body) => self.consumer_group_describe(body, client()),
            RequestKind::DeleteGroups(body) => self.delete_groups(body, client()),
            RequestKind::Fetch(body) => self.fetch(body, version),
            RequestKind::DeleteRecords(body) => self.delete_records(body).await,
            RequestKind::ListOffsets(body) => Reply::Now(Box::new(self.list_offsets(body, version).await)),
            RequestKind::OffsetForLeaderEpoch(body) => Reply::Now(Box::new(self.offset_for_leader_epoch(body).await)),
            RequestKind::Metadata(body) => self.metadata(body, version).await,
            RequestKind::DescribeTopicPartitions(body) => Reply::now(self.describe_topic_partitions(&body)),
            RequestKind::DescribeCluster(body) => Reply::now(self.describe_cluster(&body, version)),
            RequestKind::DescribeConfigs(body) => Reply::now(self.describe_configs(&body, version)),
            RequestKind::ListConfigResources(body) => Reply::now(self.list_config_resources(&body, version)),
            RequestKind::InitProducerId(body) => self.init_producer_id(body),
            RequestKind::ApiVersions(body) => {
                let (image, epoch) = (self.cache.image(), self.cache.last_offset().0.max(0));
                Reply::now(api::versions_response(api::BROKER, &body, version, image.features(), epoch))
            }
            body @ (RequestKind::CreateTopics(_)
            | RequestKind::DeleteTopics(_)
            | RequestKind::CreatePartitions(_)
            | RequestKind::IncrementalAlterConfigs(_)
            | RequestKind::AlterPartitionReassignments(_)
            | RequestKind::ListPartitionReassignments(_)
            | RequestKind::ElectLeaders(_)) => self.forward(body, version),
            other => {
                tracing::error!(peer = %peer.address, ?other, "an API is advertised and not served");
                Reply::Close
            }
        }
    }
}

/// Finds the topic that a request names by name, or by id in newer versions.
fn find_topic<'a>(
    image: &'a crate::controller::image::MetadataImage,
    name: &TopicName,
    id: uuid::Uuid,
    by_id: bool,
) -> Result<&'a Arc<TopicImage>, ErrorCode> {
    match by_id {
        true => image.topic_by_id(TopicId(*id.as_bytes())).ok_or(ErrorCode::UnknownTopicId),
        false => image.topic(name.as_str()).ok_or(ErrorCode::UnknownTopicOrPartition),
    }
}

/// The partition `index` of a topic that exists, if it is on this broker.
fn find_partition(
    replicas: &Replicas,
    topic: &TopicImage,
    index: i32,
) -> Result<Arc<super::partition::Partition>, ErrorCode> {
    if !topic.partitions.contains_key(&index) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let id = TopicPartition::new(topic.name.clone(), index);
    replicas.find(&id).filter(|found| found.topic_id == topic.id).ok_or(ErrorCode::NotLeaderOrFollower)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(name.to_owned().into())
}

fn uuid_of(id: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id.0)
}
