//! A structural check before decoding: no length and no count in a message may exceed what its bytes can hold.
//!
//! `kafka-protocol` reserves room for as many array elements as the wire says. So the structure of each message is
//! walked first, by its [`schema`]. Nothing is decoded here and nothing is allocated.

use std::cell::RefCell;

use super::{
    messages::ApiKey,
    schema::{self, Field, Fields, Kind},
};

/// Checks the body of a request.
///
/// # Errors
/// What does not fit, and at which byte.
pub fn request(api: ApiKey, version: i16, body: &[u8]) -> Result<(), String> {
    walk(api, version, true, body, None)
}

/// Checks the body of a response.
///
/// # Errors
/// As [`request`].
pub fn response(api: ApiKey, version: i16, body: &[u8]) -> Result<(), String> {
    walk(api, version, false, body, None)
}

/// Where in a message that was checked the topics are named: by name in OffsetCommit and OffsetFetch up to version 9, by
/// id in version 10.
pub fn topic_fields(api: ApiKey, version: i16, is_request: bool, body: &[u8]) -> Result<Vec<usize>, String> {
    let found = RefCell::default();
    walk(api, version, is_request, body, Some(&found))?;
    Ok(found.into_inner())
}

fn walk(
    api: ApiKey,
    version: i16,
    is_request: bool,
    bytes: &[u8],
    topics: Option<&RefCell<Vec<usize>>>,
) -> Result<(), String> {
    let schema = schema::of(api, is_request).ok_or_else(|| format!("no schema for API {}", api as i16))?;
    let mut walk = Walk { bytes, position: 0, version, flexible: version >= schema.flexible_from, topics };
    walk.structure(&schema.fields)
}

/// A position in the bytes of one message.
struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
    version: i16,
    flexible: bool,
    /// Where to note the fields that are a topic's name until version 9 and its id after.
    topics: Option<&'a RefCell<Vec<usize>>>,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &Fields) -> Result<(), String> {
        for field in &fields.plain {
            if (field.first..=field.last).contains(&self.version) {
                if let Some(topics) = self.topics.filter(|_| field.last == 9 || field.first == 10) {
                    topics.borrow_mut().push(self.position);
                }
                self.value(&field.kind)?;
            }
        }
        if self.flexible { self.tagged(&fields.tagged) } else { Ok(()) }
    }

    fn value(&mut self, kind: &Kind) -> Result<(), String> {
        match kind {
            Kind::Fixed(length) => self.skip(*length),
            Kind::Flag => self.skip(1),
            Kind::String => {
                let length = if self.flexible { self.compact_length()? } else { self.signed_length(2)? };
                self.skip(length)
            }
            Kind::Bytes => {
                let length = if self.flexible { self.compact_length()? } else { self.signed_length(4)? };
                self.skip(length)
            }
            Kind::List(element) => (0..self.count()?).try_for_each(|_| self.value(element)),
            Kind::Array(element) => (0..self.count()?).try_for_each(|_| self.structure(element)),
            Kind::Structure(fields) => self.structure(fields),
            Kind::Optional(fields) => {
                let present = self.bytes.get(self.position) == Some(&1);
                self.skip(1)?;
                if present { self.structure(fields) } else { Ok(()) }
            }
        }
    }

    /// Number of an array's elements. Each has at least one byte.
    fn count(&mut self) -> Result<usize, String> {
        let count = if self.flexible { self.compact_length()? } else { self.signed_length(4)? };
        let left = self.bytes.len() - self.position;
        if count > left {
            return Err(format!("an array of {count} at byte {}, where {left} bytes are left", self.position));
        }
        Ok(count)
    }

    fn tagged(&mut self, known: &[(u32, Field)]) -> Result<(), String> {
        for _ in 0..self.varint()? {
            let (tag, size) = (self.varint()?, self.varint()? as usize);
            let begin = self.position;
            self.skip(size)?;
            if let Some((_, field)) = known.iter().find(|(known, _)| *known == tag) {
                let mut inner = Walk { bytes: &self.bytes[..begin + size], position: begin, ..*self };
                inner.value(&field.kind)?;
                if inner.position != begin + size {
                    return Err(format!("tagged field {tag} at byte {begin} has {size} bytes, not its own length"));
                }
            }
        }
        Ok(())
    }

    fn skip(&mut self, length: usize) -> Result<(), String> {
        let left = self.bytes.len() - self.position;
        if length > left {
            return Err(format!("{length} bytes expected at byte {}, {left} are left", self.position));
        }
        self.position += length;
        Ok(())
    }

    /// Length of a non-flexible string, bytes or array; null has none.
    fn signed_length(&mut self, width: usize) -> Result<usize, String> {
        let begin = self.position;
        self.skip(width)?;
        let number = match &self.bytes[begin..self.position] {
            [a, b] => i64::from(i16::from_be_bytes([*a, *b])),
            [a, b, c, d] => i64::from(i32::from_be_bytes([*a, *b, *c, *d])),
            other => unreachable!("a length has 2 or 4 bytes, not {}", other.len()),
        };
        match number {
            -1 => Ok(0),
            0.. => Ok(usize::try_from(number).expect("it is not negative")),
            _ => Err(format!("length {number} at byte {begin}")),
        }
    }

    /// Length of a compact string, bytes or array; null has none.
    fn compact_length(&mut self) -> Result<usize, String> {
        Ok((self.varint()? as usize).saturating_sub(1))
    }

    fn varint(&mut self) -> Result<u32, String> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = *self.bytes.get(self.position).ok_or("the message ends within a number")?;
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| format!("number {value} before byte {}", self.position));
            }
        }
        Err(format!("a number of more than 5 bytes before byte {}", self.position))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::{
        DescribeTopicPartitionsRequest, MetadataRequest, MetadataResponse, RequestKind, ResponseKind, TopicName,
        describe_topic_partitions_request::{Cursor, TopicRequest},
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    };

    use super::*;
    use crate::protocol::{api, frame};

    fn check_exact(is_request: bool, api: ApiKey, version: i16, body: &[u8]) {
        let schema = schema::of(api, is_request).expect("an API that is spoken");
        let mut walk =
            Walk { bytes: body, position: 0, version, flexible: version >= schema.flexible_from, topics: None };
        walk.structure(&schema.fields).unwrap_or_else(|problem| panic!("{api:?} {version}: {problem}"));
        assert_eq!(walk.position, body.len(), "{api:?} {version} is walked to its end");
    }

    #[test]
    fn default_messages_of_every_version_are_walked_exactly() {
        let served = api::BROKER.iter().chain(api::CONTROLLER);
        let served = served.map(|row| (row.key, row.served_min, api::layout(row.key, row.max)));
        // What clients alone speak: whatever can be encoded.
        let spoken = schema::apis().filter(|key| served.clone().all(|row| row.0 != *key));
        let spoken = spoken.map(|key| (key, key.valid_versions().min, key.valid_versions().max));
        for (key, min, max) in served.clone().chain(spoken) {
            for version in min..=max {
                let zeros = vec![0u8; 400];
                // A message of zeros has empty arrays and strings; decoding tells how long it is.
                let mut bytes = bytes::Bytes::from(zeros.clone());
                if let Ok(request) = RequestKind::decode(key, &mut bytes, version) {
                    assert_eq!(frame::key_of(&request), key);
                    let length = zeros.len() - bytes.len();
                    check_exact(true, key, version, &zeros[..length]);
                }
                let mut bytes = bytes::Bytes::from(zeros.clone());
                if ResponseKind::decode(key, &mut bytes, version).is_ok() {
                    let length = zeros.len() - bytes.len();
                    check_exact(false, key, version, &zeros[..length]);
                }
            }
        }
    }

    #[test]
    fn nested_arrays_tags_and_missing_structures_are_walked_exactly() {
        let name = |text: &str| TopicName(text.to_owned().into());
        for version in 0..=13 {
            let topic = MetadataRequestTopic::default().with_name(Some(name("orders")));
            let request =
                RequestKind::Metadata(MetadataRequest::default().with_topics(Some(vec![topic.clone(), topic])));
            let mut bytes = BytesMut::new();
            request.encode(&mut bytes, version).unwrap();
            check_exact(true, ApiKey::Metadata, version, &bytes);
            let partition = MetadataResponsePartition::default().with_replica_nodes(vec![1.into(), 2.into()]);
            let topic = MetadataResponseTopic::default().with_name(Some(name("t"))).with_partitions(vec![partition]);
            let broker = MetadataResponseBroker::default().with_host("h".to_owned().into());
            let response = MetadataResponse::default().with_topics(vec![topic]).with_brokers(vec![broker]);
            let mut bytes = BytesMut::new();
            ResponseKind::Metadata(response).encode(&mut bytes, version).unwrap();
            check_exact(false, ApiKey::Metadata, version, &bytes);
        }
        for cursor in [None, Some(Cursor::default().with_topic_name(name("a")))] {
            let topics = vec![TopicRequest::default().with_name(name("b"))];
            let request = DescribeTopicPartitionsRequest::default().with_topics(topics).with_cursor(cursor);
            let mut bytes = BytesMut::new();
            RequestKind::DescribeTopicPartitions(request).encode(&mut bytes, 0).unwrap();
            check_exact(true, ApiKey::DescribeTopicPartitions, 0, &bytes);
        }
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused() {
        let problem = request(ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(problem, "an array of 2147483647 at byte 4, where 0 bytes are left");
        assert!(request(ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x7f]).unwrap_err().contains("number"));
        assert!(request(ApiKey::Metadata, 1, &[0, 0, 0, 1, 0x7f, 0xff, b'a']).unwrap_err().contains("32767 bytes"));
    }
}
