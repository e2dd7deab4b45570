//! A structural check before decoding: no length and no count in a message may exceed what its bytes can hold.
//!
//! `kafka-protocol` reserves room for as many array elements as the wire says. So the structure of each message is
//! walked first, by a table of the schemas of the APIs that Highwater speaks. Nothing is decoded here and nothing is
//! allocated.
//!
//! A schema is a list of fields in order. `1 2 4 8 16` are that many bytes, `s` a string, `b` bytes, `*4` an array of
//! plain values, `[..]` an array of structures, `{..}` a structure, `?{..}` one that may be missing, `#3:x` the tagged
//! field 3. `@5+`, `@-5`, `@5-7` give the versions that have the field. The number before a schema is the first flexible
//! version.

use std::{cell::RefCell, collections::BTreeMap, sync::OnceLock};

use super::messages::ApiKey;

/// Checks the body of a request.
///
/// # Errors
/// What does not fit, and at which byte.
pub fn request(api: ApiKey, version: i16, body: &[u8]) -> Result<(), String> {
    check(&schemas().requests, api, version, body)
}

/// Checks the body of a response.
///
/// # Errors
/// As [`request`].
pub fn response(api: ApiKey, version: i16, body: &[u8]) -> Result<(), String> {
    check(&schemas().responses, api, version, body)
}

fn check(schemas: &BTreeMap<i16, Schema>, api: ApiKey, version: i16, body: &[u8]) -> Result<(), String> {
    walk(schemas, api, version, body, None)
}

/// Where in a message that was checked the topics are named: by name in OffsetCommit and OffsetFetch up to version 9, by
/// id in version 10.
pub fn topic_fields(api: ApiKey, version: i16, is_request: bool, body: &[u8]) -> Result<Vec<usize>, String> {
    let schemas = if is_request { &schemas().requests } else { &schemas().responses };
    let found = RefCell::default();
    walk(schemas, api, version, body, Some(&found))?;
    Ok(found.into_inner())
}

fn walk(
    schemas: &BTreeMap<i16, Schema>,
    api: ApiKey,
    version: i16,
    bytes: &[u8],
    topics: Option<&RefCell<Vec<usize>>>,
) -> Result<(), String> {
    let schema = schemas.get(&(api as i16)).ok_or_else(|| format!("no schema for API {}", api as i16))?;
    let mut walk = Walk { bytes, position: 0, version, flexible: version >= schema.flexible_from, topics };
    walk.structure(&schema.fields)
}

struct Schema {
    flexible_from: i16,
    fields: Fields,
}

struct Fields {
    plain: Vec<Field>,
    tagged: Vec<(u32, Kind)>,
}

struct Field {
    kind: Kind,
    first: i16,
    last: i16,
}

enum Kind {
    Fixed(usize),
    String,
    Bytes,
    List(Box<Kind>),
    Array(Fields),
    Structure(Fields),
    Optional(Fields),
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

    fn tagged(&mut self, known: &[(u32, Kind)]) -> Result<(), String> {
        for _ in 0..self.varint()? {
            let (tag, size) = (self.varint()?, self.varint()? as usize);
            let begin = self.position;
            self.skip(size)?;
            if let Some((_, kind)) = known.iter().find(|(known, _)| *known == tag) {
                let mut inner = Walk { bytes: &self.bytes[..begin + size], position: begin, ..*self };
                inner.value(kind)?;
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

struct Schemas {
    requests: BTreeMap<i16, Schema>,
    responses: BTreeMap<i16, Schema>,
}

fn schemas() -> &'static Schemas {
    static SCHEMAS: OnceLock<Schemas> = OnceLock::new();
    SCHEMAS.get_or_init(|| Schemas { requests: parse_table(REQUESTS), responses: parse_table(RESPONSES) })
}

fn parse_table(table: &[(ApiKey, i16, &str)]) -> BTreeMap<i16, Schema> {
    let parse = |text: &str| {
        let mut rest = text;
        let fields = parse_fields(&mut rest);
        assert!(rest.is_empty(), "schema `{text}` goes on with `{rest}`");
        fields
    };
    table
        .iter()
        .map(|(key, flexible_from, text)| (*key as i16, Schema { flexible_from: *flexible_from, fields: parse(text) }))
        .collect()
}

/// Parses fields up to the end or a closing bracket.
fn parse_fields(rest: &mut &str) -> Fields {
    let mut fields = Fields { plain: Vec::new(), tagged: Vec::new() };
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with([']', '}']) {
            return fields;
        }
        if let Some(after) = rest.strip_prefix('#') {
            let (tag, after) = after.split_once(':').expect("a tagged field is `#tag:kind`");
            *rest = after;
            fields.tagged.push((tag.parse().expect("a tag is a number"), parse_kind(rest)));
            parse_versions(rest);
        } else {
            let kind = parse_kind(rest);
            let (first, last) = parse_versions(rest);
            fields.plain.push(Field { kind, first, last });
        }
    }
}

fn parse_kind(rest: &mut &str) -> Kind {
    let inside = |rest: &mut &str, open: usize| {
        *rest = &rest[open..];
        let fields = parse_fields(rest);
        *rest = &rest[1..];
        fields
    };
    match rest.as_bytes()[0] {
        b'[' => Kind::Array(inside(rest, 1)),
        b'{' => Kind::Structure(inside(rest, 1)),
        b'?' => Kind::Optional(inside(rest, 2)),
        b'*' => {
            *rest = &rest[1..];
            Kind::List(Box::new(parse_kind(rest)))
        }
        b's' => {
            *rest = &rest[1..];
            Kind::String
        }
        b'b' => {
            *rest = &rest[1..];
            Kind::Bytes
        }
        _ => Kind::Fixed(parse_number(rest) as usize),
    }
}

fn parse_versions(rest: &mut &str) -> (i16, i16) {
    let Some(after) = rest.strip_prefix('@') else { return (0, i16::MAX) };
    *rest = after;
    let first = if rest.starts_with('-') { 0 } else { parse_number(rest) };
    if let Some(after) = rest.strip_prefix('+') {
        *rest = after;
        return (first, i16::MAX);
    }
    *rest = rest.strip_prefix('-').expect("versions are `@5+`, `@-5` or `@5-7`");
    (first, parse_number(rest))
}

fn parse_number(rest: &mut &str) -> i16 {
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().unwrap_or_else(|_| panic!("`{digits}{after}` is no number in a schema"))
}

#[rustfmt::skip]
const REQUESTS: &[(ApiKey, i16, &str)] = &[
    (ApiKey::Produce, 9, "s 2 4 [s@-12 16@13+ [4 b]]"),
    (ApiKey::Fetch, 12, "4@-14 4 4 4 1 4@7+ 4@7+ [s@-12 16@13+ [4 4@9+ 8 4@12+ 8@5+ 4 #0:16 #1:8]] [s@7-12 16@13+ *4@7+]@7+ s@11+ #0:s #1:{4@15+ 8@15+}"),
    (ApiKey::ListOffsets, 6, "4 1@2+ [s [4 4@4+ 8]] 4@10+"),
    (ApiKey::Metadata, 9, "[16@10+ s] 1@4+ 1@8-10 1@8+"),
    (ApiKey::ApiVersions, 3, "s@3+ s@3+"),
    (ApiKey::CreateTopics, 5, "[s 4 2 [4 *4] [s s]] 4 1"),
    (ApiKey::DeleteTopics, 4, "[s@6+ 16@6+]@6+ *s@-5 4"),
    (ApiKey::InitProducerId, 2, "s 4 8@3+ 2@3+"),
    (ApiKey::OffsetForLeaderEpoch, 4, "4@3+ [s [4 4 4]]"),
    (ApiKey::DescribeConfigs, 4, "[1 s *s] 1 1@3+"),
    (ApiKey::CreatePartitions, 2, "[s 4 [*4]] 4 1"),
    (ApiKey::ElectLeaders, 2, "1@1+ [s *4] 4"),
    (ApiKey::IncrementalAlterConfigs, 1, "[1 s [s 1 s]] 1"),
    (ApiKey::DescribeCluster, 0, "1 1@1+ 1@2+"),
    (ApiKey::DescribeTopicPartitions, 0, "[s] 4 ?{s 4}"),
    (ApiKey::AlterPartition, 2, "4 8 [16 [4 4 *4@-2 [4@3+ 8@3+]@3+ 1 4]]"),
    (ApiKey::BrokerRegistration, 0, "4 s 16 [s s 2 2] [s 2 2] s 1@1+ *16@2+ 8@3+"),
    (ApiKey::BrokerHeartbeat, 0, "4 8 8 1 1 #0:*16"),
    (ApiKey::AllocateProducerIds, 0, "4 8"),
    (ApiKey::FindCoordinator, 3, "s@-3 1@1+ *s@4+"),
    (ApiKey::JoinGroup, 6, "s 4 4@1+ s s@5+ s [s b] s@8+"),
    (ApiKey::SyncGroup, 4, "s 4 s s@3+ s@5+ s@5+ [s b]"),
    (ApiKey::Heartbeat, 4, "s 4 s s@3+"),
    (ApiKey::LeaveGroup, 4, "s s@-2 [s s s@5+]@3+"),
    (ApiKey::OffsetCommit, 8, "s 4 s s@7+ 8@-4 [s@-9 16@10+ [4 8 4@6+ s]]"),
    (ApiKey::OffsetFetch, 6, "s@-7 [s *4]@-7 [s s@9+ 4@9+ [s@-9 16@10+ *4]]@8+ 1@7+"),
    (ApiKey::OffsetDelete, i16::MAX, "s [s [4]]"),
    (ApiKey::DescribeGroups, 5, "*s 1@3+"),
    (ApiKey::ListGroups, 3, "*s@4+ *s@5+"),
    (ApiKey::DeleteGroups, 2, "*s"),
    (ApiKey::ConsumerGroupHeartbeat, 0, "s s 4 s s 4 *s s@1+ s [16 *4]"),
    (ApiKey::ConsumerGroupDescribe, 0, "*s 1"),
];

#[rustfmt::skip]
const RESPONSES: &[(ApiKey, i16, &str)] = &[
    (ApiKey::Produce, 9, "[s@-12 16@13+ [4 2 8 8 8@5+ [4@8+ s@8+]@8+ s@8+ #0:{4@10+ 4@10+}]] 4 #0:[4@10+ s@10+ 4@10+ s@10+]"),
    (ApiKey::Fetch, 12, "4 2@7+ 4@7+ [s@-12 16@13+ [4 2 8 8 8@5+ [8 8] 4@11+ b #0:{4@12+ 8@12+} #1:{4@12+ 4@12+} #2:{8 4}]] #0:[4@16+ s@16+ 4@16+ s@16+]"),
    (ApiKey::ListOffsets, 6, "4@2+ [s [4 2 8 8 4@4+]]"),
    (ApiKey::Metadata, 9, "4@3+ [4 s 4 s@1+] s@2+ 4@1+ [2 s 16@10+ 1@1+ [2 4 4 4@7+ *4 *4 *4@5+] 4@8+] 4@8-10 2@13+"),
    (ApiKey::ApiVersions, 3, "2 [2 2 2] 4@1+ #0:[s@3+ 2@3+ 2@3+] #1:8 #2:[s@3+ 2@3+ 2@3+] #3:1"),
    (ApiKey::CreateTopics, 5, "4 [s 16@7+ 2 s 4@5+ 2@5+ [s@5+ s@5+ 1@5+ 1@5+ 1@5+]@5+ #0:2]"),
    (ApiKey::DeleteTopics, 4, "4 [s 16@6+ 2 s@5+]"),
    (ApiKey::InitProducerId, 2, "4 2 8 2"),
    (ApiKey::OffsetForLeaderEpoch, 4, "4 [s [2 4 4 8]]"),
    (ApiKey::DescribeConfigs, 4, "4 [2 s 1 s [s s 1 1 1 [s s 1] 1@3+ s@3+]]"),
    (ApiKey::CreatePartitions, 2, "4 [s 2 s]"),
    (ApiKey::ElectLeaders, 2, "4 2@1+ [s [4 2 s]]"),
    (ApiKey::IncrementalAlterConfigs, 1, "4 [2 s 1 s]"),
    (ApiKey::DescribeCluster, 0, "4 2 s 1@1+ s 4 [4 s 4 s 1@2+] 4"),
    (ApiKey::DescribeTopicPartitions, 0, "4 [2 s 16 1 [2 4 4 4 *4 *4 *4 *4 *4] 4] ?{s 4}"),
    (ApiKey::AlterPartition, 2, "4 2 [16 [4 2 4 4 *4 1 4]]"),
    (ApiKey::BrokerRegistration, 0, "4 2 8"),
    (ApiKey::BrokerHeartbeat, 0, "4 2 1 1 1"),
    (ApiKey::AllocateProducerIds, 0, "4 2 8 4"),
    (ApiKey::FindCoordinator, 3, "4@1+ 2@-3 s@1-3 4@-3 s@-3 4@-3 [s 4 s 4 2 s]@4+"),
    (ApiKey::JoinGroup, 6, "4@2+ 2 4 s@7+ s s 1@9+ s [s s@5+ b]"),
    (ApiKey::SyncGroup, 4, "4@1+ 2 s@5+ s@5+ b"),
    (ApiKey::Heartbeat, 4, "4@1+ 2"),
    (ApiKey::LeaveGroup, 4, "4@1+ 2 [s s 2]@3+"),
    (ApiKey::OffsetCommit, 8, "4@3+ [s@-9 16@10+ [4 2]]"),
    (ApiKey::OffsetFetch, 6, "4@3+ [s [4 8 4@5+ s 2]]@-7 2@2-7 [s [s@-9 16@10+ [4 8 4 s 2]] 2]@8+"),
    (ApiKey::OffsetDelete, i16::MAX, "2 4 [s [4 2]]"),
    (ApiKey::DescribeGroups, 5, "4@1+ [2 s@6+ s s s s [s s@4+ s s b b] 4@3+]"),
    (ApiKey::ListGroups, 3, "4@1+ 2 [s s s@4+ s@5+]"),
    (ApiKey::DeleteGroups, 2, "4 [s 2]"),
    (ApiKey::ConsumerGroupHeartbeat, 0, "4 2 s s 4 4 ?{[16 *4]}"),
    (ApiKey::ConsumerGroupDescribe, 0, "4 [2 s s s 4 4 s [s s s 4 s s *s s {[16 s *4]} {[16 s *4]} 1@1+] 4]"),
];

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

    fn check_exact(schemas: &BTreeMap<i16, Schema>, api: ApiKey, version: i16, body: &[u8]) {
        let schema = &schemas[&(api as i16)];
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
        let spoken = REQUESTS.iter().map(|(key, ..)| *key).filter(|key| served.clone().all(|row| row.0 != *key));
        let spoken = spoken.map(|key| (key, key.valid_versions().min, key.valid_versions().max));
        for (key, min, max) in served.clone().chain(spoken) {
            for version in min..=max {
                let zeros = vec![0u8; 400];
                // A message of zeros has empty arrays and strings; decoding tells how long it is.
                let mut bytes = bytes::Bytes::from(zeros.clone());
                if let Ok(request) = RequestKind::decode(key, &mut bytes, version) {
                    assert_eq!(frame::key_of(&request), key);
                    let length = zeros.len() - bytes.len();
                    check_exact(&schemas().requests, key, version, &zeros[..length]);
                }
                let mut bytes = bytes::Bytes::from(zeros.clone());
                if ResponseKind::decode(key, &mut bytes, version).is_ok() {
                    let length = zeros.len() - bytes.len();
                    check_exact(&schemas().responses, key, version, &zeros[..length]);
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
            check_exact(&schemas().requests, ApiKey::Metadata, version, &bytes);
            let partition = MetadataResponsePartition::default().with_replica_nodes(vec![1.into(), 2.into()]);
            let topic = MetadataResponseTopic::default().with_name(Some(name("t"))).with_partitions(vec![partition]);
            let broker = MetadataResponseBroker::default().with_host("h".to_owned().into());
            let response = MetadataResponse::default().with_topics(vec![topic]).with_brokers(vec![broker]);
            let mut bytes = BytesMut::new();
            ResponseKind::Metadata(response).encode(&mut bytes, version).unwrap();
            check_exact(&schemas().responses, ApiKey::Metadata, version, &bytes);
        }
        for cursor in [None, Some(Cursor::default().with_topic_name(name("a")))] {
            let topics = vec![TopicRequest::default().with_name(name("b"))];
            let request = DescribeTopicPartitionsRequest::default().with_topics(topics).with_cursor(cursor);
            let mut bytes = BytesMut::new();
            RequestKind::DescribeTopicPartitions(request).encode(&mut bytes, 0).unwrap();
            check_exact(&schemas().requests, ApiKey::DescribeTopicPartitions, 0, &bytes);
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
