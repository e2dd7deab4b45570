//! The metadata as the records of the log make it: brokers, topics, partitions, settings.
//!
//! Pure: [`MetadataImage::replay`] is the only way to change it, for the controller and for every broker alike, so
//! that all who have read the same records hold the same image.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    base::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, ProducerId, TopicId, TopicPartition},
    protocol::metadata::{ConfigResource, MetadataRecord, PartitionChange, RegisteredEndpoint, Uuid},
};

/// Everything the metadata log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    brokers: BTreeMap<NodeId, BrokerRegistration>,
    topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    names: BTreeMap<TopicId, Arc<str>>,
    configs: BTreeMap<(ConfigResource, String), BTreeMap<String, String>>,
    features: BTreeMap<String, i16>,
    next_producer_id: i64,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerRegistration {
    /// `node.id`.
    pub id: NodeId,
    /// Its incarnation, as the controller counts.
    pub epoch: BrokerEpoch,
    /// Its incarnation, as it drew it.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<RegisteredEndpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether it may not lead and not be in ISRs.
    pub fenced: bool,
    /// Whether it is leaving.
    pub in_controlled_shutdown: bool,
    /// Its log directories.
    pub log_dirs: Vec<Uuid>,
}

impl BrokerRegistration {
    /// Whether it may lead and be in ISRs.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Where `listener` is.
    pub fn endpoint(&self, listener: &str) -> Option<&RegisteredEndpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener)
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Its partitions, by index.
    pub partitions: BTreeMap<i32, PartitionRegistration>,
}

/// What the controller says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// Who holds it; the first is preferred as leader.
    pub replicas: Vec<NodeId>,
    /// Who is in sync.
    pub isr: Vec<NodeId>,
    /// Who leads, or [`NodeId::NONE`].
    pub leader: NodeId,
    /// Counts leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes.
    pub partition_epoch: PartitionEpoch,
    /// 1 while an uncleanly elected leader recovers.
    pub leader_recovery_state: i8,
    /// Of the replicas, those that a reassignment adds.
    pub adding_replicas: Vec<NodeId>,
    /// Of the replicas, those that a reassignment removes when all that stay are in sync.
    pub removing_replicas: Vec<NodeId>,
}

impl PartitionRegistration {
    /// Whether a reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    /// Who holds it after the reassignment under way.
    pub fn replicas_after(&self) -> Vec<NodeId> {
        without(&self.replicas, &self.removing_replicas)
    }

    /// Who held it before the reassignment under way.
    pub fn replicas_before(&self) -> Vec<NodeId> {
        without(&self.replicas, &self.adding_replicas)
    }

    /// The registration after `change`.
    #[must_use]
    pub fn merged(&self, change: &PartitionChange) -> Self {
        Self {
            replicas: change.replicas.clone().unwrap_or_else(|| self.replicas.clone()),
            isr: change.isr.clone().unwrap_or_else(|| self.isr.clone()),
            leader: change.leader.unwrap_or(self.leader),
            leader_epoch: LeaderEpoch(self.leader_epoch.0 + i32::from(change.leader.is_some())),
            partition_epoch: PartitionEpoch(self.partition_epoch.0 + 1),
            leader_recovery_state: change.leader_recovery_state.unwrap_or(self.leader_recovery_state),
            adding_replicas: change.adding_replicas.clone().unwrap_or_else(|| self.adding_replicas.clone()),
            removing_replicas: change.removing_replicas.clone().unwrap_or_else(|| self.removing_replicas.clone()),
        }
    }
}

/// Those of `nodes` that are not among `others`.
pub fn without(nodes: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| !others.contains(node)).collect()
}

/// What a batch of records changed, so that a broker need not look at everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataDelta {
    /// Partitions created or changed.
    pub partitions: BTreeSet<TopicPartition>,
    /// Topics deleted, with their partitions.
    pub deleted: Vec<(TopicId, Vec<TopicPartition>)>,
    /// Topics whose settings changed.
    pub configs: BTreeSet<String>,
    /// Whether a broker registered, left or changed.
    pub brokers: bool,
    /// Whether a setting of brokers changed.
    pub broker_configs: bool,
    /// Groups whose settings changed.
    pub groups: BTreeSet<String>,
}

impl MetadataImage {
    /// Applies one record and notes in `delta` what it changed.
    ///
    /// # Panics
    /// On a record that contradicts the image: such a log cannot have been written by a sound controller.
    pub fn replay(&mut self, record: &MetadataRecord, delta: &mut MetadataDelta) {
        match record {
            MetadataRecord::RegisterBroker(record) => {
                delta.brokers = true;
                let registration = BrokerRegistration {
                    id: record.broker,
                    epoch: record.broker_epoch,
                    incarnation: record.incarnation,
                    endpoints: record.endpoints.clone(),
                    rack: record.rack.clone(),
                    fenced: record.fenced,
                    in_controlled_shutdown: record.in_controlled_shutdown,
                    log_dirs: record.log_dirs.clone(),
                };
                self.brokers.insert(record.broker, registration);
            }
            MetadataRecord::UnregisterBroker { broker, .. } => {
                delta.brokers = true;
                self.brokers.remove(broker);
            }
            MetadataRecord::BrokerRegistrationChange { broker, broker_epoch, fenced, in_controlled_shutdown } => {
                delta.brokers = true;
                let registration = self.brokers.get_mut(broker).expect("a change is of a registered broker");
                assert_eq!(registration.epoch, *broker_epoch, "a change of broker {broker} is of its incarnation");
                registration.fenced = fenced.unwrap_or(registration.fenced);
                registration.in_controlled_shutdown |= in_controlled_shutdown;
            }
            MetadataRecord::Topic { name, topic_id } => {
                let name: Arc<str> = name.as_str().into();
                self.names.insert(*topic_id, name.clone());
                let topic = TopicImage { name: name.clone(), id: *topic_id, partitions: BTreeMap::new() };
                self.topics.insert(name, Arc::new(topic));
            }
            MetadataRecord::RemoveTopic { topic_id } => {
                let name = self.names.remove(topic_id).expect("a topic that is removed exists");
                let topic = self.topics.remove(&name).expect("a topic has one name");
                self.configs.remove(&(ConfigResource::Topic, name.to_string()));
                let partitions = topic.partitions.keys().map(|index| TopicPartition::new(name.clone(), *index));
                delta.deleted.push((*topic_id, partitions.collect()));
            }
            MetadataRecord::Partition(record) => {
                let registration = PartitionRegistration {
                    replicas: record.replicas.clone(),
                    isr: record.isr.clone(),
                    leader: record.leader,
                    leader_epoch: record.leader_epoch,
                    partition_epoch: record.partition_epoch,
                    leader_recovery_state: record.leader_recovery_state,
                    adding_replicas: record.adding_replicas.clone(),
                    removing_replicas: record.removing_replicas.clone(),
                };
                let topic = self.topic_mut(record.topic_id);
                topic.partitions.insert(record.partition, registration);
                delta.partitions.insert(TopicPartition::new(topic.name.clone(), record.partition));
            }
            MetadataRecord::PartitionChange(change) => {
                let topic = self.topic_mut(change.topic_id);
                let registration =
                    topic.partitions.get_mut(&change.partition).expect("a change is of an existing partition");
                *registration = registration.merged(change);
                delta.partitions.insert(TopicPartition::new(topic.name.clone(), change.partition));
            }
            MetadataRecord::Config { resource, name, key, value } => {
                self.replay_config(*resource, name, key, value.as_deref(), delta);
            }
            MetadataRecord::FeatureLevel { name, level } => {
                self.features.insert(name.clone(), *level);
            }
            MetadataRecord::ProducerIds { next_producer_id, .. } => self.next_producer_id = next_producer_id.0,
            MetadataRecord::NoOp => {}
        }
    }

    fn replay_config(
        &mut self,
        resource: ConfigResource,
        name: &str,
        key: &str,
        value: Option<&str>,
        delta: &mut MetadataDelta,
    ) {
        let of = (resource, name.to_owned());
        let configs = self.configs.entry(of.clone()).or_default();
        match value {
            Some(value) => configs.insert(key.to_owned(), value.to_owned()),
            None => configs.remove(key),
        };
        if configs.is_empty() {
            self.configs.remove(&of);
        }
        match resource {
            ConfigResource::Topic => {
                delta.configs.insert(name.to_owned());
            }
            ConfigResource::Broker => delta.broker_configs = true,
            ConfigResource::Group => {
                delta.groups.insert(name.to_owned());
            }
        }
    }

    fn topic_mut(&mut self, id: TopicId) -> &mut TopicImage {
        let name = self.names.get(&id).expect("a partition's topic exists");
        Arc::make_mut(self.topics.get_mut(name).expect("a topic has one name"))
    }

    /// All registered brokers.
    pub fn brokers(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers.values()
    }

    /// A registered broker.
    pub fn broker(&self, id: NodeId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// The topic called `name`.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// What the controller says of a partition.
    pub fn partition(&self, partition: &TopicPartition) -> Option<&PartitionRegistration> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    /// The settings of a topic or broker that were set.
    pub fn configs(&self, resource: ConfigResource, name: &str) -> BTreeMap<String, String> {
        self.configs.get(&(resource, name.to_owned())).cloned().unwrap_or_default()
    }

    /// The topics, brokers or groups with settings that were set.
    pub fn configured(&self, resource: ConfigResource) -> impl Iterator<Item = &str> {
        self.configs.keys().filter(move |(of, _)| *of == resource).map(|(_, name)| name.as_str())
    }

    /// One setting of a topic, broker or group that was set.
    pub fn config(&self, resource: ConfigResource, name: &str, key: &str) -> Option<&str> {
        self.configs.get(&(resource, name.to_owned()))?.get(key).map(String::as_str)
    }

    /// Finalized features.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// First producer id that no broker has got.
    pub fn next_producer_id(&self) -> ProducerId {
        ProducerId(self.next_producer_id)
    }
}
