//! The topics as a group coordinator knows them, and the hash by which it notices that they changed (KIP-1101).

use std::{collections::BTreeMap, sync::Arc};

use twox_hash::XxHash3_64;

use crate::base::TopicId;

/// First byte of what is hashed of a topic: the layout.
const HASH_LAYOUT: u8 = 0;

/// All topics of the cluster, and what was set for groups while the brokers ran.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    names: BTreeMap<TopicId, Arc<str>>,
    version: i64,
    created: i64,
    overrides: BTreeMap<Arc<str>, Overrides>,
    assignment_interval_ms: Option<i32>,
}

/// What a group has set for itself in place of the brokers' properties; `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `consumer.session.timeout.ms`.
    pub session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: Option<i32>,
    /// `consumer.assignment.interval.ms`.
    pub assignment_interval_ms: Option<i32>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Number of its partitions.
    pub partitions: i32,
    hash: i64,
}

impl Topic {
    /// A topic whose partitions have their replicas in these racks; brokers without a rack are not counted.
    pub fn new(name: &str, id: TopicId, racks: &[Vec<String>]) -> Self {
        let partitions = i32::try_from(racks.len()).expect("a topic has less than 2^31 partitions");
        let mut bytes = vec![HASH_LAYOUT];
        // Numbers with the least byte first, strings as UTF-16 with their lengths behind.
        let (most, least) = id.0.split_at(8);
        bytes.extend(most.iter().rev().chain(least.iter().rev()));
        put_string(&mut bytes, name);
        bytes.extend(partitions.to_le_bytes());
        for (index, racks) in (0i32..).zip(racks) {
            bytes.extend(index.to_le_bytes());
            let mut racks: Vec<&String> = racks.iter().collect();
            racks.sort();
            for rack in racks {
                bytes.extend((rack.encode_utf16().count() as i32).to_le_bytes());
                put_string(&mut bytes, rack);
            }
        }
        Self { id, partitions, hash: XxHash3_64::oneshot(&bytes) as i64 }
    }
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    let before = bytes.len();
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    let units = (bytes.len() - before) / 2;
    bytes.extend((units as i32).to_le_bytes());
}

impl Topics {
    /// The topic called `name`.
    pub fn find(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name).map(|topic| &**topic)
    }

    /// The name of a topic.
    pub fn name_of(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// Names of all topics, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// Grows with every change.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The version in which the newest topic came to be.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// Sets or removes a topic; `true`: something changed, as of `version` of the metadata.
    pub fn set(&mut self, name: &Arc<str>, topic: Option<Topic>, version: i64) -> bool {
        let before = self.by_name.get(name);
        if before.map(|before| &**before) == topic.as_ref() {
            return false;
        }
        if topic.as_ref().is_some_and(|topic| before.is_none_or(|before| before.id != topic.id)) {
            self.created = version;
        }
        if let Some(before) = self.by_name.remove(name) {
            self.names.remove(&before.id);
        }
        if let Some(topic) = topic {
            self.names.insert(topic.id, name.clone());
            self.by_name.insert(name.clone(), Arc::new(topic));
        }
        self.version = version;
        true
    }

    /// What goes before the broker's properties for `group`: its own settings, then what running brokers were told.
    pub fn overrides(&self, group: &str) -> Overrides {
        let own = self.overrides.get(group).copied().unwrap_or_default();
        Overrides { assignment_interval_ms: own.assignment_interval_ms.or(self.assignment_interval_ms), ..own }
    }

    /// Changes `group.consumer.assignment.interval.ms`, the one setting of group coordinators that a running broker takes;
    /// `None`: its property counts.
    pub fn set_assignment_interval(&mut self, interval_ms: Option<i32>) {
        self.assignment_interval_ms = interval_ms;
    }

    /// Changes what `group` has set for itself.
    pub fn set_overrides(&mut self, group: &str, overrides: Overrides) {
        match overrides == Overrides::default() {
            true => drop(self.overrides.remove(group)),
            false => drop(self.overrides.insert(group.into(), overrides)),
        }
    }

    /// The hash of these topics; 0 where none exists.
    pub(super) fn hash_of<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) -> i64 {
        // In Java's order, which differs from ours only beyond the basic plane, where no topic name goes.
        let hashes: Vec<u8> =
            names.filter_map(|name| self.find(name)).flat_map(|topic| topic.hash.to_le_bytes()).collect();
        if hashes.is_empty() { 0 } else { XxHash3_64::oneshot(&hashes) as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_apache_kafka() {
        let id = |text: &str| TopicId(u128::from_str_radix(text, 16).unwrap().to_be_bytes());
        let plain = Topic::new("topic", id("00112233445566778899aabbccddeeff"), &[vec![], vec![]]);
        let racks = [vec!["b".to_owned(), "a".to_owned()], vec!["c".to_owned()]];
        let racked = Topic::new("\u{e9}t\u{e9}", id("0123456789abcdeffedcba9876543210"), &racks);
        // Printed by a program over the hash that Kafka uses.
        assert_eq!((plain.hash, racked.hash), (8832445941269558192, -1098016356335094389));
        let mut topics = Topics::default();
        let names: [Arc<str>; 3] = ["gone".into(), "topic".into(), "\u{e9}t\u{e9}".into()];
        assert_eq!(topics.hash_of(names.iter()), 0);
        assert!(topics.set(&names[1], Some(plain.clone()), 3) && !topics.set(&names[1], Some(plain), 4));
        assert_eq!(topics.hash_of(names.iter()), -8496664433878981003);
        assert!(topics.set(&names[2], Some(racked), 5));
        assert_eq!(topics.hash_of(names.iter()), 6875405497735206428);
        assert!(topics.set(&names[1], None, 6));
        assert_eq!((topics.version(), topics.created()), (6, 5));
    }
}
