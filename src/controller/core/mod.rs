//! The controller as a value: decides, records, replays.
//!
//! A handler takes `&self`, the time and a request, and returns a [`Decision`]: the response, and the records that make
//! it true. Nothing changes until those records are committed and replayed; the response leaves after that. Only
//! sessions - who was heard from when - are kept beside the records, and a controller that starts grants everyone a
//! fresh one.
//!
//! | file | decides |
//! |---|---|
//! | `brokers` | registration, heartbeats, fencing, controlled shutdown |
//! | `elections` | who leads, and what a change of leadership does to the ISR |
//! | `isr` | AlterPartition |
//! | `reassignment` | AlterPartitionReassignments, and when a reassignment is complete |
//! | `topics` | CreateTopics, DeleteTopics, CreatePartitions |
//! | `placement` | which brokers get the replicas of a new partition |
//! | `configs` | IncrementalAlterConfigs |

mod brokers;
mod configs;
pub mod elections;
mod isr;
mod placement;
mod reassignment;
#[cfg(test)]
mod tests;
mod topics;

use std::{collections::BTreeMap, time::Duration};

pub use topics::check_topic_name;

use super::{
    configs::{group, topic},
    image::{MetadataDelta, MetadataImage},
};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, Switches, Time, TopicPartition},
    protocol::metadata::{ConfigResource, MetadataRecord, PartitionChange},
    trace::Election,
};

/// What the controller is told of its settings.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// This node.
    pub node: NodeId,
    /// Id of the cluster.
    pub cluster_id: String,
    /// `broker.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// Values of broker configs that give topics their defaults, as the properties set them.
    pub topic_defaults: BTreeMap<&'static str, String>,
    /// What bounds the settings of groups.
    pub group_defaults: group::Defaults,
    /// Behaviour switches.
    pub switches: Switches,
}

/// A controller's state.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: ControllerSettings,
    image: MetadataImage,
    /// When each broker was last heard from, and up to where it had read the metadata.
    sessions: BTreeMap<NodeId, Session>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    last_contact: Time,
    metadata_offset: Offset,
    /// The broker may go when everyone has read the metadata up to here.
    shutdown_offset: Option<Offset>,
}

/// A response, and the records that must be committed before it may leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<R> {
    /// The response.
    pub response: R,
    /// The records, which are replayed together.
    pub records: Vec<Decided>,
}

/// A record with what the journal says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The record.
    pub record: MetadataRecord,
    /// What it does to the leadership, if it is of a partition.
    pub election: Election,
    /// Why.
    pub reason: String,
}

impl Decided {
    fn new(record: MetadataRecord, reason: impl Into<String>) -> Self {
        Self { record, election: Election::None, reason: reason.into() }
    }
}

impl<R> Decision<R> {
    fn only(response: R) -> Self {
        Self { response, records: Vec::new() }
    }
}

impl Controller {
    /// A controller over an empty log.
    pub fn new(settings: ControllerSettings) -> Self {
        Self { settings, image: MetadataImage::default(), sessions: BTreeMap::new() }
    }

    /// The metadata.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Its settings.
    pub fn settings(&self) -> &ControllerSettings {
        &self.settings
    }

    /// Applies a committed record.
    pub fn replay(&mut self, record: &MetadataRecord, delta: &mut MetadataDelta, now: Time) {
        self.image.replay(record, delta);
        match record {
            MetadataRecord::RegisterBroker(record) => {
                let session = Session { last_contact: now, metadata_offset: Offset::UNKNOWN, shutdown_offset: None };
                self.sessions.insert(record.broker, session);
            }
            MetadataRecord::UnregisterBroker { broker, .. } => {
                self.sessions.remove(broker);
            }
            _ => {}
        }
    }

    /// Whether `broker` may lead and be in ISRs.
    fn is_active(&self, broker: NodeId) -> bool {
        self.image.broker(broker).is_some_and(super::image::BrokerRegistration::is_active)
    }

    /// A topic's setting: its own, else the cluster's, else the default.
    fn topic_setting(&self, topic: &str, name: &'static str) -> String {
        let own = self.image.config(ConfigResource::Topic, topic, name).map(str::to_owned);
        own.unwrap_or_else(|| self.topic_default(name))
    }

    /// What a topic that sets nothing gets.
    fn topic_default(&self, name: &'static str) -> String {
        let config = topic::topic_config(name).expect("the setting is in the table");
        let dynamic = config.synonym.and_then(|synonym| self.image.config(ConfigResource::Broker, "", synonym));
        let from_properties = || self.settings.topic_defaults.get(name).cloned();
        dynamic.map(str::to_owned).or_else(from_properties).unwrap_or_else(|| match name {
            "unclean.leader.election.enable" => self.settings.switches.unclean_default.to_string(),
            _ => config.default.to_owned(),
        })
    }

    /// Who may lead a partition of `topic`.
    fn election_rules(&self, topic: &str) -> elections::Rules {
        let anyone = self.settings.switches.bug_elects_outside_isr;
        elections::Rules { unclean: self.allows_unclean_election(topic), anyone }
    }

    fn allows_unclean_election(&self, topic: &str) -> bool {
        self.topic_setting(topic, "unclean.leader.election.enable") == "true"
    }

    /// The decided change of a partition.
    fn decided_change(&self, change: PartitionChange, election: Election, reason: String) -> Decided {
        Decided { record: MetadataRecord::PartitionChange(change), election, reason }
    }

    /// The partitions for which `wanted` holds, with their topics.
    fn partitions_where<'a>(
        &'a self,
        wanted: impl Fn(&super::image::PartitionRegistration) -> bool + 'a,
    ) -> impl Iterator<Item = (TopicPartition, crate::base::TopicId, &'a super::image::PartitionRegistration)> + 'a
    {
        self.image.topics().flat_map(move |topic| {
            let matching = topic.partitions.iter().filter(|(_, registration)| wanted(registration)).collect::<Vec<_>>();
            matching
                .into_iter()
                .map(|(index, registration)| (TopicPartition::new(topic.name.clone(), *index), topic.id, registration))
        })
    }
}

/// Epoch of a partition's first leader.
pub(super) const FIRST_EPOCH: LeaderEpoch = LeaderEpoch(0);
