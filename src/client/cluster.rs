//! What a client knows of its cluster: which brokers there are, who leads which partition, a connection to each.
//!
//! Metadata comes from any broker: of those with a connection the one with the fewest requests under way, so that a
//! silent broker is not asked first. A leader is replaced only by one with a newer epoch (KIP-320): metadata from a
//! broker that is behind changes nothing, unless it is about another topic of the same name (KIP-516).

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use uuid::Uuid;

use super::{ClientError, config::ClusterConfig};
use crate::{
    base::{LeaderEpoch, NodeId, Time, TopicId, TopicPartition},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            ApiKey, MetadataRequest, MetadataResponse, RequestKind, ResponseKind, TopicName,
            metadata_request::MetadataRequestTopic,
        },
    },
    rpc::{Answer, Connection, RpcError},
    runtime::clock,
};

/// Versions of Metadata that we speak.
const METADATA: (i16, i16) = (5, 12);

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The broker; [`NodeId::NONE`] while nobody leads.
    pub node: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
}

/// A cluster as one client sees it.
pub struct Cluster {
    config: ClusterConfig,
    bootstrap: Vec<String>,
    known: Mutex<Known>,
    links: Mutex<BTreeMap<String, Arc<Link>>>,
}

#[derive(Default)]
struct Known {
    nodes: BTreeMap<NodeId, String>,
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Leader>>,
    /// Of the topics, where brokers tell it.
    ids: BTreeMap<Arc<str>, Uuid>,
    updated: Option<Time>,
}

/// The way to one address.
#[derive(Default)]
struct Link {
    slot: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// Seen without waiting: the connection in use, and when the last attempt failed.
    seen: Mutex<(Option<Arc<Connection>>, Option<Time>)>,
}

impl Cluster {
    /// The cluster that `bootstrap` (addresses `host:port`) belongs to. Nothing is connected yet.
    pub fn new(config: ClusterConfig, bootstrap: Vec<String>) -> Arc<Self> {
        Arc::new(Self { config, bootstrap, known: Mutex::default(), links: Mutex::default() })
    }

    /// Its settings.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while metadata is held")
    }

    /// Who leads `partition`, as far as is known; `None` while nobody does or it is not known.
    pub fn leader(&self, partition: &TopicPartition) -> Option<Leader> {
        let known = self.known();
        let leader = known.topics.get(&partition.topic)?.get(&partition.partition).copied()?;
        (leader.node != NodeId::NONE && known.nodes.contains_key(&leader.node)).then_some(leader)
    }

    /// The partitions of `topic`, if it is known.
    pub fn partitions(&self, topic: &str) -> Option<Vec<i32>> {
        let partitions: Vec<i32> = self.known().topics.get(topic)?.keys().copied().collect();
        (!partitions.is_empty()).then_some(partitions)
    }

    /// The id of `topic`, if it is known.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.known().ids.get(topic).map(|id| TopicId(id.into_bytes()))
    }

    /// The brokers that are known.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.known().nodes.keys().copied().collect()
    }

    /// When metadata came last.
    pub fn updated(&self) -> Option<Time> {
        self.known().updated
    }

    /// Takes what a broker said about a leader in an answer, if it is newer (KIP-951).
    pub fn learn(&self, partition: &TopicPartition, leader: Leader) {
        let mut known = self.known();
        if !known.nodes.contains_key(&leader.node) {
            return;
        }
        let old = known.topics.get_mut(&partition.topic).and_then(|topic| topic.get_mut(&partition.partition));
        if let Some(old) = old.filter(|old| leader.epoch > old.epoch) {
            *old = leader;
        }
    }

    /// A record of `partition` was committed or read in `epoch`: a leader of an older one that is known here has been
    /// replaced, and its log may end before that record (KIP-320).
    pub fn learn_epoch(&self, partition: &TopicPartition, epoch: LeaderEpoch) {
        let mut known = self.known();
        let old = known.topics.get_mut(&partition.topic).and_then(|topic| topic.get_mut(&partition.partition));
        if let Some(old) = old.filter(|old| epoch > old.epoch) {
            *old = Leader { node: NodeId::NONE, epoch };
        }
    }

    /// Asks for metadata of `topics`. A topic that does not exist is created where the brokers allow that.
    ///
    /// # Errors
    /// No broker answers. A topic's own error is no error here: the topic stays unknown.
    pub async fn refresh(&self, topics: &[Arc<str>]) -> Result<(), ClientError> {
        let wanted = topics.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
        self.metadata(Some(wanted.collect()), true).await.map(drop)
    }

    /// One Metadata request.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(create);
        let answer = self.call_any(RequestKind::Metadata(request), ApiKey::Metadata, METADATA).await?;
        let ResponseKind::Metadata(response) = answer.body else { unreachable!("Metadata is answered by Metadata") };
        self.take(&response, clock::now());
        Ok(response)
    }

    fn take(&self, response: &MetadataResponse, now: Time) {
        let mut known = self.known();
        known.updated = Some(now);
        let nodes =
            response.brokers.iter().map(|node| (NodeId(node.node_id.0), format!("{}:{}", &*node.host, node.port)));
        known.nodes = nodes.collect();
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().map(|name| Arc::<str>::from(name.as_str())) else { continue };
            if ErrorCode::from_i16(topic.error_code) == ErrorCode::UnknownTopicOrPartition {
                known.topics.remove(&name);
                known.ids.remove(&name);
            }
            let id = Some(topic.topic_id).filter(|id| !id.is_nil());
            if id.is_some_and(|id| known.ids.insert(name.clone(), id).is_some_and(|old| old != id)) {
                known.topics.remove(&name);
            }
            let partitions = known.topics.entry(name).or_default();
            for partition in &topic.partitions {
                let fresh = Leader { node: NodeId(partition.leader_id.0), epoch: LeaderEpoch(partition.leader_epoch) };
                let old = partitions.entry(partition.partition_index).or_insert(fresh);
                if fresh.epoch >= old.epoch || fresh.epoch == LeaderEpoch::UNKNOWN {
                    *old = fresh;
                }
            }
        }
    }

    /// Asks any broker, one after the other until one answers.
    ///
    /// # Errors
    /// That of the last one asked.
    pub async fn call_any(&self, body: RequestKind, api: ApiKey, ours: (i16, i16)) -> Result<Answer, ClientError> {
        let mut last = None;
        for address in self.candidates() {
            match self.call(&address, body.clone(), api, ours).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ClientError::TimedOut("no broker is known".to_owned())))
    }

    /// Asks the broker at `address`.
    ///
    /// # Errors
    /// It cannot be reached or does not answer in time.
    pub async fn call(
        &self,
        address: &str,
        body: RequestKind,
        api: ApiKey,
        ours: (i16, i16),
    ) -> Result<Answer, ClientError> {
        let connection = self.connection(address).await?;
        let version = connection.version_for(api, ours)?;
        Ok(connection.call(body, version, self.config.request_timeout).await?)
    }

    /// Addresses in the order to ask them: first those with a connection, the least busy first, then those that failed
    /// longest ago, last those whose connection has ended - a broker that did not answer in time may be a leader of
    /// yesterday that does not know it, and would give the same answer again; the bootstrap addresses behind those of the metadata.
    fn candidates(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.known().nodes.values().cloned().collect();
        for address in &self.bootstrap {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let links = self.links.lock().expect("no panic while links are held");
        addresses.sort_by_key(|address| {
            let seen = links.get(address).map(|link| link.seen.lock().expect("no panic while a link is held"));
            let (open, failed) = seen.map_or((None, None), |seen| (seen.0.clone(), seen.1));
            let ended = open.as_ref().is_some_and(|open| open.is_closed());
            let waiting = open.filter(|open| !open.is_closed()).map(|open| open.waiting());
            (Reverse(waiting.is_some()), waiting, ended, failed)
        });
        addresses
    }

    /// A connection to the broker `node`.
    ///
    /// # Errors
    /// It cannot be reached, or is not known.
    pub async fn connection_to(&self, node: NodeId) -> Result<Arc<Connection>, RpcError> {
        let address = self.known().nodes.get(&node).cloned();
        match address {
            Some(address) => self.connection(&address).await,
            None => Err(RpcError::Connect {
                address: format!("broker {node}"),
                problem: "it is not in the metadata".to_owned(),
            }),
        }
    }

    /// The connection to `address`, made again if it has ended; versions are negotiated.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn connection(&self, address: &str) -> Result<Arc<Connection>, RpcError> {
        self.connection_as(address.to_owned(), address).await
    }

    /// A connection of its own to the coordinator at `address`: a broker answers what comes on one connection in order,
    /// and a fetch that waits for records must not hold up a heartbeat.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn connection_to_coordinator(&self, address: &str) -> Result<Arc<Connection>, RpcError> {
        self.connection_as(format!("coordinator {address}"), address).await
    }

    async fn connection_as(&self, name: String, address: &str) -> Result<Arc<Connection>, RpcError> {
        let link = {
            let mut links = self.links.lock().expect("no panic while links are held");
            links.entry(name).or_default().clone()
        };
        let mut slot = link.slot.lock().await;
        if let Some(open) = slot.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        *slot = None;
        let failed = link.seen.lock().expect("no panic while a link is held").1;
        if let Some(failed) = failed {
            clock::sleep_until(failed + self.config.reconnect_backoff).await;
        }
        let made = self.connect(address).await;
        *link.seen.lock().expect("no panic while a link is held") = match &made {
            Ok(open) => (Some(open.clone()), None),
            Err(_) => (None, Some(clock::now())),
        };
        let open = made?;
        *slot = Some(open.clone());
        Ok(open)
    }

    async fn connect(&self, address: &str) -> Result<Arc<Connection>, RpcError> {
        let open = Connection::connect(address, &self.config.client_id, self.config.connect_timeout).await?;
        open.negotiate(self.config.request_timeout).await?;
        Ok(open)
    }
}

/// A topic's name as requests carry it.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::ConsumerConfig,
        protocol::messages::metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    };

    /// What a broker says of `t-0`.
    fn metadata(id: u128, leader: i32, epoch: i32) -> MetadataResponse {
        let broker = |id: i32| MetadataResponseBroker::default().with_node_id(id.into());
        let partition = MetadataResponsePartition::default().with_leader_id(leader.into()).with_leader_epoch(epoch);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(topic_name("t")))
            .with_topic_id(Uuid::from_u128(id))
            .with_partitions(vec![partition]);
        MetadataResponse::default().with_brokers(vec![broker(1), broker(2)]).with_topics(vec![topic])
    }

    #[test]
    fn a_leader_is_known_until_something_newer_was_seen() {
        let leads = |node, epoch| Some(Leader { node: NodeId(node), epoch: LeaderEpoch(epoch) });
        let partition = TopicPartition::new("t", 0);
        // What was heard before, the epoch of a committed offset, what is heard then; who leads.
        for (before, committed, after, leader) in [
            (metadata(7, 1, 3), 3, metadata(7, 1, 3), leads(1, 3)),
            (metadata(7, 1, 3), 4, metadata(7, 1, 3), None),
            (metadata(7, 1, 3), 4, metadata(7, 2, 4), leads(2, 4)),
            (metadata(7, 1, 3), -1, metadata(7, 2, 2), leads(1, 3)),
            (metadata(7, 1, 3), 4, metadata(8, 2, 0), leads(2, 0)),
        ] {
            let cluster = Cluster::new(ConsumerConfig::default().cluster, vec![]);
            cluster.take(&before, Time::ZERO);
            cluster.learn_epoch(&partition, LeaderEpoch(committed));
            cluster.take(&after, Time::ZERO);
            assert_eq!(cluster.leader(&partition), leader, "{before:?}, {committed}, {after:?}");
        }
    }
}
