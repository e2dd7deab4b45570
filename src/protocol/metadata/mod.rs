//! Records of the metadata log `__cluster_metadata`, byte for byte as Kafka writes them (KIP-631).
//!
//! A record's value is a frame: version of the frame (1), type and version of the record as unsigned varints, then the
//! record in the flexible encoding. What a record means is decided by who replays it; this module only reads and
//! writes.
//!
//! | type | record | written in version | read in versions |
//! |---|---|---|---|
//! | 0 | RegisterBroker | 3 | 0 to 3 |
//! | 1 | UnregisterBroker | 0 | 0 |
//! | 2 | Topic | 0 | 0 |
//! | 3 | Partition | 1 | 0 to 2 |
//! | 4 | Config | 0 | 0 |
//! | 5 | PartitionChange | 0 | 0 to 2 |
//! | 9 | RemoveTopic | 0 | 0 |
//! | 12 | FeatureLevel | 0 | 0 |
//! | 15 | ProducerIds | 0 | 0 |
//! | 17 | BrokerRegistrationChange | 1 | 0 to 2 |
//! | 20 | NoOp | 0 | 0 |

mod wire;

use bytes::Bytes;
use thiserror::Error;
use wire::{Reader, Writer};

use crate::base::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, ProducerId, TopicId};

/// A 16-byte id of a directory or of a broker's incarnation.
pub type Uuid = [u8; 16];

/// One record of the metadata log.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataRecord {
    /// A broker registered; it is fenced until it has caught up.
    RegisterBroker(RegisterBroker),
    /// A broker was removed for good.
    UnregisterBroker {
        /// Which.
        broker: NodeId,
        /// Its incarnation.
        broker_epoch: BrokerEpoch,
    },
    /// A topic was created; its partitions follow.
    Topic {
        /// Its name.
        name: String,
        /// Its id.
        topic_id: TopicId,
    },
    /// A partition was created.
    Partition(Partition),
    /// A setting of a topic, broker or group was set, or removed (`value: None`).
    Config {
        /// What kind of thing.
        resource: ConfigResource,
        /// Name of the topic or group; number of the broker, or nothing for all brokers.
        name: String,
        /// Name of the setting.
        key: String,
        /// Its new value.
        value: Option<String>,
    },
    /// A partition changed: each field that is given replaces the old one. The partition epoch rises by one; the
    /// leader epoch rises if a leader is given, even the same.
    PartitionChange(PartitionChange),
    /// A topic was deleted with all its partitions.
    RemoveTopic {
        /// Which.
        topic_id: TopicId,
    },
    /// A feature was finalized at this level.
    FeatureLevel {
        /// Its name, as `metadata.version`.
        name: String,
        /// The level.
        level: i16,
    },
    /// A block of producer ids went to a broker.
    ProducerIds {
        /// Which broker.
        broker: NodeId,
        /// Its incarnation.
        broker_epoch: BrokerEpoch,
        /// First id of the next block.
        next_producer_id: ProducerId,
    },
    /// A broker was fenced, unfenced, or began its controlled shutdown.
    BrokerRegistrationChange {
        /// Which broker.
        broker: NodeId,
        /// Its incarnation.
        broker_epoch: BrokerEpoch,
        /// `Some(true)` fences, `Some(false)` unfences.
        fenced: Option<bool>,
        /// Whether it began its controlled shutdown.
        in_controlled_shutdown: bool,
    },
    /// Nothing happened.
    NoOp,
}

/// Resource types of [`MetadataRecord::Config`], numbered as in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic.
    Topic = 2,
    /// A broker, or all of them.
    Broker = 4,
    /// A group.
    Group = 32,
}

/// See [`MetadataRecord::RegisterBroker`].
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterBroker {
    /// `node.id`.
    pub broker: NodeId,
    /// Drawn at each start of the process.
    pub incarnation: Uuid,
    /// Offset of this record.
    pub broker_epoch: BrokerEpoch,
    /// Name, host, port and security protocol of each listener.
    pub endpoints: Vec<RegisteredEndpoint>,
    /// Name, lowest and highest level of each feature.
    pub features: Vec<(String, i16, i16)>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether it may lead and be in ISRs.
    pub fenced: bool,
    /// Whether it is leaving.
    pub in_controlled_shutdown: bool,
    /// Ids of its log directories.
    pub log_dirs: Vec<Uuid>,
}

/// A listener of a registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredEndpoint {
    /// Name of the listener.
    pub name: String,
    /// Host told to clients.
    pub host: String,
    /// Port told to clients.
    pub port: u16,
    /// 0 is PLAINTEXT.
    pub security_protocol: i16,
}

/// See [`MetadataRecord::Partition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Index in its topic.
    pub partition: i32,
    /// Its topic.
    pub topic_id: TopicId,
    /// Who holds it; the first is preferred as leader.
    pub replicas: Vec<NodeId>,
    /// Who is in sync.
    pub isr: Vec<NodeId>,
    /// Who is being removed by a reassignment.
    pub removing_replicas: Vec<NodeId>,
    /// Who is being added by a reassignment.
    pub adding_replicas: Vec<NodeId>,
    /// Who leads, or [`NodeId::NONE`].
    pub leader: NodeId,
    /// Whether the leader was elected uncleanly and has not recovered.
    pub leader_recovery_state: i8,
    /// Counts leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes.
    pub partition_epoch: PartitionEpoch,
    /// Log directory of each replica.
    pub directories: Vec<Uuid>,
}

/// See [`MetadataRecord::PartitionChange`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionChange {
    /// Index in its topic.
    pub partition: i32,
    /// Its topic.
    pub topic_id: TopicId,
    /// New ISR.
    pub isr: Option<Vec<NodeId>>,
    /// New leader, or [`NodeId::NONE`] for nobody; the leader epoch rises.
    pub leader: Option<NodeId>,
    /// New replicas.
    pub replicas: Option<Vec<NodeId>>,
    /// Replicas being removed.
    pub removing_replicas: Option<Vec<NodeId>>,
    /// Replicas being added.
    pub adding_replicas: Option<Vec<NodeId>>,
    /// New recovery state.
    pub leader_recovery_state: Option<i8>,
}

/// Bytes that are no record known here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetadataError {
    /// A type or version that is not in the table of this module.
    #[error("metadata record of type {record_type} in version {version} is not known")]
    Unknown {
        /// Number of the type.
        record_type: u32,
        /// Its version.
        version: u32,
    },
    /// The bytes end too soon, go on too long or make no sense.
    #[error("malformed metadata record: {0}")]
    Malformed(&'static str),
}

impl MetadataRecord {
    /// The record as the value of a record of the log.
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        match self {
            Self::RegisterBroker(record) => record.encode(&mut out),
            Self::UnregisterBroker { broker, broker_epoch } => {
                out.frame(1, 0).node(*broker).i64(broker_epoch.0).no_tags();
            }
            Self::Topic { name, topic_id } => {
                out.frame(2, 0).string(name).uuid(&topic_id.0).no_tags();
            }
            Self::Partition(record) => record.encode(&mut out),
            Self::Config { resource, name, key, value } => {
                out.frame(4, 0)
                    .i8(*resource as i8)
                    .string(name)
                    .string(key)
                    .nullable_string(value.as_deref())
                    .no_tags();
            }
            Self::PartitionChange(record) => record.encode(&mut out),
            Self::RemoveTopic { topic_id } => {
                out.frame(9, 0).uuid(&topic_id.0).no_tags();
            }
            Self::FeatureLevel { name, level } => {
                out.frame(12, 0).string(name).i16(*level).no_tags();
            }
            Self::ProducerIds { broker, broker_epoch, next_producer_id } => {
                out.frame(15, 0).node(*broker).i64(broker_epoch.0).i64(next_producer_id.0).no_tags();
            }
            Self::BrokerRegistrationChange { broker, broker_epoch, fenced, in_controlled_shutdown } => {
                out.frame(17, 1).node(*broker).i64(broker_epoch.0);
                let fenced = fenced.map(|fenced| Writer::default().i8(if fenced { 1 } else { -1 }).take());
                let leaving = in_controlled_shutdown.then(|| Writer::default().i8(1).take());
                out.tags(&[(0, fenced), (1, leaving)]);
            }
            Self::NoOp => {
                out.frame(20, 0).no_tags();
            }
        }
        out.finish()
    }

    /// Reads the value of a record of the log.
    ///
    /// # Errors
    /// See [`MetadataError`]. No length is trusted.
    pub fn decode(value: &[u8]) -> Result<Self, MetadataError> {
        let mut input = Reader(value);
        if input.varint()? != 1 {
            return Err(MetadataError::Malformed("the frame has another version than 1"));
        }
        let (record_type, version) = (input.varint()?, input.varint()?);
        let record = match (record_type, version) {
            (0, 0..=3) => RegisterBroker::decode(&mut input, version)?,
            (1, 0) => Self::UnregisterBroker { broker: input.node()?, broker_epoch: BrokerEpoch(input.i64()?) },
            (2, 0) => Self::Topic { name: input.string()?, topic_id: TopicId(input.uuid()?) },
            (3, 0..=2) => return Partition::decode(input, version),
            (4, 0) => Self::Config {
                resource: match input.i8()? {
                    2 => ConfigResource::Topic,
                    4 => ConfigResource::Broker,
                    32 => ConfigResource::Group,
                    _ => {
                        return Err(MetadataError::Malformed(
                            "a config of something else than a topic, broker or group",
                        ));
                    }
                },
                name: input.string()?,
                key: input.string()?,
                value: input.nullable_string()?,
            },
            (5, 0..=2) => return PartitionChange::decode(input),
            (9, 0) => Self::RemoveTopic { topic_id: TopicId(input.uuid()?) },
            (12, 0) => Self::FeatureLevel { name: input.string()?, level: input.i16()? },
            (15, 0) => Self::ProducerIds {
                broker: input.node()?,
                broker_epoch: BrokerEpoch(input.i64()?),
                next_producer_id: ProducerId(input.i64()?),
            },
            (17, 0..=2) => return decode_registration_change(input),
            (20, 0) => Self::NoOp,
            _ => return Err(MetadataError::Unknown { record_type, version }),
        };
        if record_type != 0 {
            input.tags(|_, _| Ok(false))?;
        }
        input.end()?;
        Ok(record)
    }
}

impl RegisterBroker {
    fn encode(&self, out: &mut Writer) {
        out.frame(0, 3).node(self.broker).bool(false).uuid(&self.incarnation).i64(self.broker_epoch.0);
        out.length(self.endpoints.len());
        for endpoint in &self.endpoints {
            out.string(&endpoint.name)
                .string(&endpoint.host)
                .u16(endpoint.port)
                .i16(endpoint.security_protocol)
                .no_tags();
        }
        out.length(self.features.len());
        for (name, min, max) in &self.features {
            out.string(name).i16(*min).i16(*max).no_tags();
        }
        out.nullable_string(self.rack.as_deref()).bool(self.fenced).bool(self.in_controlled_shutdown);
        let log_dirs = (!self.log_dirs.is_empty()).then(|| Writer::default().uuids(&self.log_dirs).take());
        out.tags(&[(0, log_dirs)]);
    }

    fn decode(input: &mut Reader<'_>, version: u32) -> Result<MetadataRecord, MetadataError> {
        let broker = input.node()?;
        if version >= 2 {
            input.bool()?;
        }
        let (incarnation, broker_epoch) = (input.uuid()?, BrokerEpoch(input.i64()?));
        let endpoints = input.array(|input| {
            let endpoint = RegisteredEndpoint {
                name: input.string()?,
                host: input.string()?,
                port: input.u16()?,
                security_protocol: input.i16()?,
            };
            input.tags(|_, _| Ok(false)).map(|()| endpoint)
        })?;
        let features = input.array(|input| {
            let feature = (input.string()?, input.i16()?, input.i16()?);
            input.tags(|_, _| Ok(false)).map(|()| feature)
        })?;
        let (rack, fenced) = (input.nullable_string()?, input.bool()?);
        let in_controlled_shutdown = version >= 1 && input.bool()?;
        let mut log_dirs = Vec::new();
        input.tags(|tag, value| {
            if tag == 0 {
                log_dirs = value.uuids()?;
            }
            Ok(tag == 0)
        })?;
        Ok(MetadataRecord::RegisterBroker(Self {
            broker,
            incarnation,
            broker_epoch,
            endpoints,
            features,
            rack,
            fenced,
            in_controlled_shutdown,
            log_dirs,
        }))
    }
}

impl Partition {
    fn encode(&self, out: &mut Writer) {
        out.frame(3, 1).i32(self.partition).uuid(&self.topic_id.0);
        out.nodes(&self.replicas).nodes(&self.isr).nodes(&self.removing_replicas).nodes(&self.adding_replicas);
        out.node(self.leader).i32(self.leader_epoch.0).i32(self.partition_epoch.0).uuids(&self.directories);
        let state = self.leader_recovery_state;
        out.tags(&[(0, (state != 0).then(|| Writer::default().i8(state).take()))]);
    }

    fn decode(mut input: Reader<'_>, version: u32) -> Result<MetadataRecord, MetadataError> {
        let mut record = Self {
            partition: input.i32()?,
            topic_id: TopicId(input.uuid()?),
            replicas: input.nodes()?,
            isr: input.nodes()?,
            removing_replicas: input.nodes()?,
            adding_replicas: input.nodes()?,
            leader: input.node()?,
            leader_recovery_state: 0,
            leader_epoch: LeaderEpoch(input.i32()?),
            partition_epoch: PartitionEpoch(input.i32()?),
            directories: if version >= 1 { input.uuids()? } else { Vec::new() },
        };
        input.tags(|tag, value| {
            if tag == 0 {
                record.leader_recovery_state = value.i8()?;
            }
            Ok(tag == 0)
        })?;
        input.end()?;
        Ok(MetadataRecord::Partition(record))
    }
}

impl PartitionChange {
    fn encode(&self, out: &mut Writer) {
        out.frame(5, 0).i32(self.partition).uuid(&self.topic_id.0);
        let nodes = |nodes: &Option<Vec<NodeId>>| nodes.as_ref().map(|nodes| Writer::default().nodes(nodes).take());
        out.tags(&[
            (0, nodes(&self.isr)),
            (1, self.leader.map(|leader| Writer::default().node(leader).take())),
            (2, nodes(&self.replicas)),
            (3, nodes(&self.removing_replicas)),
            (4, nodes(&self.adding_replicas)),
            (5, self.leader_recovery_state.map(|state| Writer::default().i8(state).take())),
        ]);
    }

    fn decode(mut input: Reader<'_>) -> Result<MetadataRecord, MetadataError> {
        let (partition, topic_id) = (input.i32()?, TopicId(input.uuid()?));
        let mut record = Self { partition, topic_id, ..Self::default() };
        input.tags(|tag, value| {
            match tag {
                0 => record.isr = Some(value.nodes()?),
                1 => record.leader = Some(value.node()?),
                2 => record.replicas = Some(value.nodes()?),
                3 => record.removing_replicas = Some(value.nodes()?),
                4 => record.adding_replicas = Some(value.nodes()?),
                5 => record.leader_recovery_state = Some(value.i8()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        input.end()?;
        Ok(MetadataRecord::PartitionChange(record))
    }
}

fn decode_registration_change(mut input: Reader<'_>) -> Result<MetadataRecord, MetadataError> {
    let (broker, broker_epoch) = (input.node()?, BrokerEpoch(input.i64()?));
    let (mut fenced, mut in_controlled_shutdown) = (None, false);
    input.tags(|tag, value| {
        match tag {
            0 => fenced = Some(value.i8()?).filter(|change| *change != 0).map(|change| change > 0),
            1 => in_controlled_shutdown = value.i8()? > 0,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    input.end()?;
    Ok(MetadataRecord::BrokerRegistrationChange { broker, broker_epoch, fenced, in_controlled_shutdown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<MetadataRecord> {
        let topic_id = TopicId([3; 16]);
        let nodes = |ids: &[i32]| ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>();
        let (broker, broker_epoch) = (NodeId(2), BrokerEpoch(9));
        let endpoint =
            RegisteredEndpoint { name: "PLAINTEXT".into(), host: "h".into(), port: 9092, security_protocol: 0 };
        let registration = RegisterBroker {
            broker,
            incarnation: [1; 16],
            broker_epoch,
            endpoints: vec![endpoint],
            features: vec![("metadata.version".into(), 1, 27)],
            rack: Some("r1".into()),
            fenced: true,
            in_controlled_shutdown: false,
            log_dirs: vec![[7; 16]],
        };
        let partition = Partition {
            partition: 4,
            topic_id,
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(&[1, 2]),
            removing_replicas: vec![],
            adding_replicas: vec![],
            leader: NodeId(1),
            leader_recovery_state: 1,
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(6),
            directories: vec![[0; 16]; 3],
        };
        let change = PartitionChange {
            partition: 4,
            topic_id,
            isr: Some(nodes(&[2])),
            leader: Some(NodeId::NONE),
            ..Default::default()
        };
        let config = |value: Option<&str>| MetadataRecord::Config {
            resource: ConfigResource::Topic,
            name: "t".into(),
            key: "retention.ms".into(),
            value: value.map(str::to_owned),
        };
        let registration_change = |fenced, in_controlled_shutdown| MetadataRecord::BrokerRegistrationChange {
            broker,
            broker_epoch,
            fenced,
            in_controlled_shutdown,
        };
        vec![
            MetadataRecord::RegisterBroker(registration),
            MetadataRecord::UnregisterBroker { broker, broker_epoch },
            MetadataRecord::Topic { name: "orders".into(), topic_id },
            MetadataRecord::Partition(partition),
            config(Some("1")),
            config(None),
            MetadataRecord::PartitionChange(change),
            MetadataRecord::RemoveTopic { topic_id },
            MetadataRecord::FeatureLevel { name: "metadata.version".into(), level: 27 },
            MetadataRecord::ProducerIds { broker, broker_epoch, next_producer_id: ProducerId(1000) },
            registration_change(Some(false), false),
            registration_change(None, true),
            MetadataRecord::NoOp,
        ]
    }

    #[test]
    fn every_record_is_read_back_as_it_was_written() {
        for record in samples() {
            assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn cut_or_damaged_records_are_errors_and_unknown_ones_are_named() {
        for record in samples() {
            let bytes = record.encode();
            for length in 0..bytes.len() {
                assert!(MetadataRecord::decode(&bytes[..length]).is_err(), "{record:?} cut to {length}");
            }
            for at in 0..bytes.len() {
                for byte in [0, 0x7f, 0xff] {
                    let mut damaged = bytes.to_vec();
                    damaged[at] = byte;
                    let _either = MetadataRecord::decode(&damaged);
                }
            }
        }
        assert_eq!(MetadataRecord::decode(&[1, 99, 2]), Err(MetadataError::Unknown { record_type: 99, version: 2 }));
    }
}
