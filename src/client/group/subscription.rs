//! The bytes that members of a classic group exchange through the coordinator, which does not look into them:
//! subscriptions in JoinGroup, assignments in SyncGroup, and what the sticky assignors write into their user data.
//!
//! Both begin with a version; what a newer version adds stands behind what an older reader knows, so a reader takes what
//! it knows and leaves the rest (`ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json`). They come from
//! other members, so a length is never trusted.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::base::TopicPartition;

/// The version of both that we write: the highest of Apache Kafka 4.3.
const VERSION: i16 = 3;
/// A generation that says "none".
pub const NO_GENERATION: i32 = -1;

/// Bytes of another member that mean nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what} ends within its {field}, or holds a length that it cannot")]
pub struct Malformed {
    what: &'static str,
    field: &'static str,
}

/// What a member says of itself when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics it reads.
    pub topics: Vec<Arc<str>>,
    /// What its assignor says to the leader's.
    pub user_data: Option<Bytes>,
    /// The partitions it has (KIP-429). From version 1 on.
    pub owned: Vec<TopicPartition>,
    /// The generation that gave it these (KIP-792). From version 2 on.
    pub generation: Option<i32>,
    /// Where it runs (KIP-881). From version 3 on.
    pub rack: Option<Arc<str>>,
    /// `group.instance.id`; the coordinator tells it, it is not in the bytes.
    pub instance_id: Option<Arc<str>>,
}

impl Subscription {
    /// As it is sent.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i16(VERSION);
        put_array(&mut bytes, &self.topics, |bytes, topic| put_string(bytes, topic));
        put_user_data(&mut bytes, self.user_data.as_ref());
        put_partitions(&mut bytes, &self.owned);
        bytes.put_i32(self.generation.unwrap_or(NO_GENERATION));
        match &self.rack {
            Some(rack) => put_string(&mut bytes, rack),
            None => bytes.put_i16(-1),
        }
        bytes.freeze()
    }

    /// As it was received.
    ///
    /// # Errors
    /// The bytes mean nothing.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader { bytes: bytes.clone(), what: "a subscription" };
        let version = reader.number::<2>("version").map(i16::from_be_bytes)?;
        let topics = reader.array("topics", |reader| reader.string("topic"))?;
        let user_data = reader.bytes("user data")?;
        let owned = if version >= 1 { reader.partitions("owned partitions")? } else { Vec::new() };
        let generation = if version >= 2 { Some(reader.i32("generation")?) } else { None };
        let rack = if version >= 3 { reader.nullable_string("rack")? } else { None };
        let generation = generation.filter(|generation| *generation >= 0);
        Ok(Self { topics, user_data, owned, generation, rack, instance_id: None })
    }
}

/// The bytes of an assignment without user data, which none of Kafka's assignors writes.
pub fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    put_partitions(&mut bytes, partitions);
    put_user_data(&mut bytes, None);
    bytes.freeze()
}

/// The partitions of an assignment. No bytes at all mean no partitions: a member that joined after the leader had
/// assigned.
///
/// # Errors
/// The bytes mean nothing.
pub fn decode_assignment(bytes: &Bytes) -> Result<Vec<TopicPartition>, Malformed> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader { bytes: bytes.clone(), what: "an assignment" };
    reader.number::<2>("version")?;
    reader.partitions("partitions")
}

/// What `sticky` remembers in its user data: its assignment and the generation it is of.
pub fn encode_sticky(partitions: &[TopicPartition], generation: i32) -> Bytes {
    let mut bytes = BytesMut::new();
    put_partitions(&mut bytes, partitions);
    bytes.put_i32(generation);
    bytes.freeze()
}

/// Reads [`encode_sticky`]'s; members of Kafka before 2.3 write no generation.
///
/// # Errors
/// The bytes mean nothing.
pub fn decode_sticky(bytes: &Bytes) -> Result<(Vec<TopicPartition>, Option<i32>), Malformed> {
    let mut reader = Reader { bytes: bytes.clone(), what: "user data of `sticky`" };
    let partitions = reader.partitions("previous assignment")?;
    Ok((partitions, reader.i32("generation").ok()))
}

/// What `cooperative-sticky` writes into its user data: the generation.
pub fn encode_generation(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// Reads [`encode_generation`]'s.
///
/// # Errors
/// The bytes mean nothing.
pub fn decode_generation(bytes: &Bytes) -> Result<i32, Malformed> {
    Reader { bytes: bytes.clone(), what: "user data of `cooperative-sticky`" }.i32("generation")
}

fn put_array<T>(bytes: &mut BytesMut, items: &[T], mut put: impl FnMut(&mut BytesMut, &T)) {
    bytes.put_i32(i32::try_from(items.len()).expect("fewer than 2^31 topics and partitions"));
    items.iter().for_each(|item| put(bytes, item));
}

fn put_string(bytes: &mut BytesMut, text: &str) {
    bytes.put_i16(i16::try_from(text.len()).expect("a topic's name has at most 249 bytes"));
    bytes.put_slice(text.as_bytes());
}

fn put_user_data(bytes: &mut BytesMut, data: Option<&Bytes>) {
    match data {
        Some(data) => {
            bytes.put_i32(i32::try_from(data.len()).expect("user data of less than 2 GiB"));
            bytes.put_slice(data);
        }
        None => bytes.put_i32(-1),
    }
}

fn put_partitions(bytes: &mut BytesMut, partitions: &[TopicPartition]) {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for one in partitions {
        topics.entry(&one.topic).or_default().push(one.partition);
    }
    put_array(bytes, &topics.into_iter().collect::<Vec<_>>(), |bytes, (topic, partitions)| {
        put_string(bytes, topic);
        put_array(bytes, partitions, |bytes, partition| bytes.put_i32(*partition));
    });
}

struct Reader {
    bytes: Bytes,
    what: &'static str,
}

impl Reader {
    fn take(&mut self, length: usize, field: &'static str) -> Result<Bytes, Malformed> {
        let what = self.what;
        if length > self.bytes.remaining() { Err(Malformed { what, field }) } else { Ok(self.bytes.split_to(length)) }
    }

    fn number<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let taken = self.take(N, field)?;
        Ok(taken[..].try_into().expect("as many bytes as were asked for"))
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        self.number::<4>(field).map(i32::from_be_bytes)
    }

    /// The bytes behind a length; `None` where it is negative.
    fn bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, Malformed> {
        match usize::try_from(self.i32(field)?) {
            Ok(length) => self.take(length, field).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn nullable_string(&mut self, field: &'static str) -> Result<Option<Arc<str>>, Malformed> {
        let Ok(length) = usize::try_from(i16::from_be_bytes(self.number(field)?)) else { return Ok(None) };
        let bytes = self.take(length, field)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Malformed { what: self.what, field })?;
        Ok(Some(text.into()))
    }

    fn string(&mut self, field: &'static str) -> Result<Arc<str>, Malformed> {
        self.nullable_string(field)?.ok_or(Malformed { what: self.what, field })
    }

    fn array<T>(
        &mut self,
        field: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.i32(field)?;
        // Grows as items are read: a count alone makes no room.
        let mut items = Vec::new();
        for _ in 0..count.max(0) {
            items.push(read(self)?);
        }
        Ok(items)
    }

    fn partitions(&mut self, field: &'static str) -> Result<Vec<TopicPartition>, Malformed> {
        let topics = self.array(field, |reader| {
            let topic = reader.string(field)?;
            let partitions = reader.array(field, |reader| reader.i32(field))?;
            Ok(partitions.into_iter().map(move |partition| TopicPartition::new(topic.clone(), partition)))
        })?;
        Ok(topics.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Subscription {
        Subscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(encode_generation(7)),
            owned: vec![TopicPartition::new("a", 0), TopicPartition::new("a", 2), TopicPartition::new("b", 1)],
            generation: Some(7),
            rack: Some("r1".into()),
            instance_id: None,
        }
    }

    #[test]
    fn subscriptions_and_assignments_come_back_as_they_were_written() {
        for subscription in [full(), Subscription::default()] {
            assert_eq!(Subscription::decode(&subscription.encode()), Ok(subscription));
        }
        let partitions = full().owned;
        assert_eq!(decode_assignment(&encode_assignment(&partitions)), Ok(partitions.clone()));
        assert_eq!(decode_assignment(&Bytes::new()), Ok(vec![]));
        assert_eq!(decode_sticky(&encode_sticky(&partitions, 4)), Ok((partitions.clone(), Some(4))));
        let old = encode_sticky(&partitions, 4);
        assert_eq!(decode_sticky(&old.slice(..old.len() - 4)), Ok((partitions, None)));
    }

    #[test]
    fn every_cut_of_the_bytes_is_refused_or_read_in_part_and_counts_make_no_room() {
        let whole = full().encode();
        for length in 0..whole.len() {
            assert!(Subscription::decode(&whole.slice(..length)).is_err(), "{length} of {} bytes", whole.len());
        }
        let endless = Bytes::from_static(&[0, 3, 0x7f, 0xff, 0xff, 0xff]);
        let said = "a subscription ends within its topic, or holds a length that it cannot";
        assert_eq!(Subscription::decode(&endless).unwrap_err().to_string(), said);
        assert!(decode_assignment(&endless).is_err());
    }
}
