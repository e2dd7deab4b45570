//! Identities of the domain as types, so that an offset is never taken for an epoch.
//!
//! Every number keeps Kafka's width and Kafka's sentinel, but the sentinel has a name.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number!(
    /// A broker's or controller's `node.id`.
    NodeId(i32)
);
number!(
    /// Position of a record in a partition's log.
    Offset(i64)
);
number!(
    /// Counts the leaders of a partition; a record carries the epoch of the leader that appended it (KIP-101).
    LeaderEpoch(i32)
);
number!(
    /// Counts every change of a partition's registration at the controller (KIP-497).
    PartitionEpoch(i32)
);
number!(
    /// Offset of a broker's registration record: tells its incarnations apart (KIP-631, KIP-903).
    BrokerEpoch(i64)
);
number!(
    /// Identity of an idempotent producer (KIP-98).
    ProducerId(i64)
);
number!(
    /// Counts the sessions of one producer id; an older one is fenced (KIP-98).
    ProducerEpoch(i16)
);

impl NodeId {
    /// No node: a partition without a leader, a consumer's `replica_id`.
    pub const NONE: Self = Self(-1);
}

impl Offset {
    /// Offset 0, where logs start unless something was deleted.
    pub const ZERO: Self = Self(0);
    /// "Not known" in responses (`-1`).
    pub const UNKNOWN: Self = Self(-1);

    /// The offset `count` records further.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }

    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }
}

impl LeaderEpoch {
    /// "No epoch": a fetch that carries none, a log without epochs (`-1`).
    pub const UNKNOWN: Self = Self(-1);
}

impl ProducerId {
    /// A batch without a producer id (`-1`).
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// A batch without a producer epoch (`-1`).
    pub const NONE: Self = Self(-1);
}

/// A topic's 16-byte id (KIP-516); printed as Kafka does, base64 without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The all-zero id: "no topic id given".
    pub const ZERO: Self = Self([0; 16]);
    /// The id of `__cluster_metadata`.
    pub const METADATA: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(22);
        for index in 0..22 {
            let sextet = if index < 21 { (bits >> (122 - 6 * index)) & 63 } else { (bits << 4) & 63 };
            text.push(BASE64_URL[sextet as usize] as char);
        }
        f.write_str(&text)
    }
}

impl FromStr for TopicId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bits: u128 = 0;
        if text.len() != 22 {
            return Err(format!("an id has 22 base64 characters, `{text}` has {}", text.len()));
        }
        for (index, byte) in text.bytes().enumerate() {
            let sextet = BASE64_URL
                .iter()
                .position(|&known| known == byte)
                .ok_or_else(|| format!("`{}` at {index} is not URL-safe base64", byte as char))?;
            bits = if index < 21 { (bits << 6) | sextet as u128 } else { (bits << 2) | (sextet as u128 >> 4) };
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

impl Serialize for TopicId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The topic that holds the records of all groups, their committed offsets among them.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A partition of a topic; printed `orders-0`, as Kafka names its directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Index of the partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// By name, then by number. Names are mostly one and the same and need no look.
impl Ord for TopicPartition {
    fn cmp(&self, other: &Self) -> Ordering {
        let names = if Arc::ptr_eq(&self.topic, &other.topic) { Ordering::Equal } else { self.topic.cmp(&other.topic) };
        names.then(self.partition.cmp(&other.partition))
    }
}

impl PartialOrd for TopicPartition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl FromStr for TopicPartition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.rsplit_once('-')
            .and_then(|(topic, partition)| Some(Self::new(topic, partition.parse().ok().filter(|p| *p >= 0)?)))
            .filter(|parsed| !parsed.topic.is_empty())
            .ok_or_else(|| format!("`{text}` is not a partition; expected `topic-number`, as `orders-0`"))
    }
}

/// As it is printed, put together by hand: nearly every event has one, and the formatter would take longer than all else
/// that an event's hash takes.
impl Serialize for TopicPartition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut number = itoa::Buffer::new();
        let number = number.format(self.partition);
        let mut text = String::with_capacity(self.topic.len() + 1 + number.len());
        text.push_str(&self.topic);
        text.push('-');
        text.push_str(number);
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for TopicPartition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_kafka_prints_it_and_reads_back() {
        let id = TopicId([0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3, 4, 5, 6, 7, 0xff]);
        assert_eq!(id.to_string(), "EDJUdpi63P4BAgMEBQYH_w");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(TopicId::METADATA.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    #[test]
    fn a_partition_prints_and_parses_with_dashes_in_its_topic() {
        let partition = TopicPartition::new("a-b", 3);
        assert_eq!(partition.to_string(), "a-b-3");
        assert_eq!(serde_json::to_value(&partition).unwrap(), "a-b-3");
        assert_eq!("a-b-3".parse(), Ok(partition));
        for wrong in ["a", "-1", "a-x", ""] {
            assert!(wrong.parse::<TopicPartition>().is_err(), "{wrong}");
        }
    }
}
