//! A message in words: every field that was on the wire, as lines for people.
//!
//! Walked by its schema ([`super::schema`]) from the very bytes, so that nothing is told that was not there. Errors have
//! Kafka's names, topics their own beside their ids, and record batches are told by their headers. Bytes that are no such
//! message are said to be none; this never fails.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    ErrorCode, api,
    messages::ApiKey,
    records,
    schema::{self, Field, Fields, Kind},
};
use crate::base::TopicId;

/// How many elements of an array are told.
const ELEMENTS_MAX: usize = 8;
/// How many values of a list of plain values are told.
const VALUES_MAX: usize = 24;
/// How many characters of a text are told.
const TEXT_MAX: usize = 80;

/// What an element of an array begins with.
const ELEMENT: &str = "- ";

/// Topics by their ids.
pub type Topics = BTreeMap<TopicId, Arc<str>>;

/// The message in `frame` (without its length prefix) as lines: a first one of what its header says, then its fields.
pub fn message(api: ApiKey, version: i16, is_request: bool, frame: &[u8], topics: &Topics) -> String {
    let Some(schema) = schema::of(api, is_request) else { return format!("{}: not known", api::name(api)) };
    let flexible = version >= schema.flexible_from;
    let mut teller = Teller { rest: frame, version, flexible, topics, lines: format!("version {version}") };
    if let Err(problem) = teller.header(api, is_request).and_then(|()| teller.structure(&schema.fields, "", "")) {
        teller.lines.push_str(&format!("\nnot readable from here on: {problem}"));
    }
    teller.lines
}

/// What is left of the bytes of a message, and the lines so far.
struct Teller<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    topics: &'a Topics,
    lines: String,
}

impl<'a> Teller<'a> {
    fn header(&mut self, api: ApiKey, is_request: bool) -> Result<(), String> {
        let layout = api::layout(api, self.version);
        let tagged = match is_request {
            true => {
                self.take(8)?;
                let length = self.signed_length(2)?;
                if let Some(client) = length {
                    let client = self.text(client)?;
                    self.lines.push_str(&format!(", client {client}"));
                }
                api.request_header_version(layout) >= 2
            }
            false => {
                self.take(4)?;
                api.response_header_version(layout) >= 1
            }
        };
        if tagged { self.tagged(&[], "", &mut Vec::new()) } else { Ok(()) }
    }

    /// The fields of a structure: what is plain on one line that begins with `mark`, everything else on lines of its own.
    fn structure(&mut self, fields: &'a Fields, indent: &str, mark: &str) -> Result<(), String> {
        let begin = self.lines.len();
        let (mut plain, version) = (Vec::new(), self.version);
        for field in fields.plain.iter().filter(|field| (field.first..=field.last).contains(&version)) {
            self.field(field, indent, &mut plain)?;
        }
        if self.flexible {
            self.tagged(&fields.tagged, indent, &mut plain)?;
        }
        let head = if indent.is_empty() { "" } else { &indent[2..] };
        if !plain.is_empty() || mark == ELEMENT {
            self.lines.insert_str(begin, &format!("\n{head}{mark}{}", plain.join(", ")));
        }
        Ok(())
    }

    /// A field: into `plain` where it is one value, else as lines.
    fn field(&mut self, field: &'a Field, indent: &str, plain: &mut Vec<String>) -> Result<(), String> {
        let name = field.name;
        match &field.kind {
            Kind::Array(element) => match self.count()? {
                0 => plain.push(format!("{name} none")),
                count => self.array(name, element, count, indent)?,
            },
            Kind::Structure(fields) => self.nested(name, fields, indent)?,
            Kind::Optional(fields) => match self.take(1)? {
                [1] => self.nested(name, fields, indent)?,
                _ => plain.push(format!("{name} none")),
            },
            Kind::Bytes if name == "records" => {
                let length = self.length(4)?;
                self.records(length.unwrap_or(0), indent)?;
            }
            kind => {
                let value = self.value(name, kind)?;
                plain.push(format!("{name} {value}"));
            }
        }
        Ok(())
    }

    fn nested(&mut self, name: &str, fields: &'a Fields, indent: &str) -> Result<(), String> {
        self.lines.push_str(&format!("\n{indent}{name}"));
        self.structure(fields, &format!("{indent}    "), "  ")
    }

    fn array(&mut self, name: &str, element: &'a Fields, count: usize, indent: &str) -> Result<(), String> {
        self.lines.push_str(&format!("\n{indent}{name}{}", showing(ELEMENTS_MAX, count)));
        let inner = format!("{indent}    ");
        for index in 0..count {
            let end = self.lines.len();
            self.structure(element, &inner, ELEMENT)?;
            if index >= ELEMENTS_MAX {
                self.lines.truncate(end);
            }
        }
        Ok(())
    }

    /// Record batches by their headers.
    fn records(&mut self, length: usize, indent: &str) -> Result<(), String> {
        let bytes = Bytes::copy_from_slice(self.take(length)?);
        let told: Vec<String> = records::batches(&bytes)
            .map(|batch| match batch {
                Ok((header, _)) => {
                    let count = header.record_count;
                    let producer = match header.has_producer() {
                        true => format!(
                            ", producer_id {}, producer_epoch {}, base_sequence {}",
                            header.producer_id.0, header.producer_epoch.0, header.base_sequence
                        ),
                        false => String::new(),
                    };
                    let (base, epoch, size) = (header.base_offset.0, header.leader_epoch.0, header.size_bytes());
                    format!("base_offset {base}, leader_epoch {epoch}, records {count}, bytes {size}{producer}")
                }
                Err(error) => format!("no whole batch: {error}"),
            })
            .collect();
        let none = if told.is_empty() { " none" } else { "" };
        self.lines.push_str(&format!("\n{indent}batches{none}{}", showing(ELEMENTS_MAX, told.len())));
        for batch in told.iter().take(ELEMENTS_MAX) {
            self.lines.push_str(&format!("\n{indent}  - {batch}"));
        }
        Ok(())
    }

    fn value(&mut self, name: &str, kind: &'a Kind) -> Result<String, String> {
        Ok(match kind {
            Kind::Fixed(16) => self.id(name)?,
            Kind::Fixed(length) => {
                let number = self.number(*length)?;
                match (name, length) {
                    ("error_code" | "topic_config_error_code", 2) => {
                        ErrorCode::from_i16(number as i16).name().to_owned()
                    }
                    _ => number.to_string(),
                }
            }
            Kind::Flag => if self.take(1)? == [0] { "no" } else { "yes" }.to_owned(),
            Kind::String => match self.length(2)? {
                Some(length) => self.text(length)?,
                None => "null".to_owned(),
            },
            Kind::Bytes => match self.length(4)? {
                Some(length) => format!("of {} bytes", self.take(length)?.len()),
                None => "null".to_owned(),
            },
            Kind::List(element) => {
                let count = self.count()?;
                let mut values = Vec::new();
                for index in 0..count {
                    let value = self.value("", element)?;
                    if index < VALUES_MAX {
                        values.push(value);
                    }
                }
                format!("[{}]{}", values.join(" "), showing(VALUES_MAX, count))
            }
            Kind::Array(_) | Kind::Structure(_) | Kind::Optional(_) => unreachable!("it has lines of its own"),
        })
    }

    /// An id of 16 bytes; a topic's with its name.
    fn id(&mut self, name: &str) -> Result<String, String> {
        let id = TopicId(self.take(16)?.try_into().expect("as many were taken"));
        let topic = self.topics.get(&id).filter(|_| name == "topic_id");
        Ok(topic.map_or_else(|| id.to_string(), |topic| format!("{id} ({topic})")))
    }

    fn text(&mut self, length: usize) -> Result<String, String> {
        let text = String::from_utf8_lossy(self.take(length)?);
        let shown: String =
            text.chars().take(TEXT_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect();
        let all = text.chars().count();
        Ok(match all > TEXT_MAX {
            true => format!("{shown}{}", showing(TEXT_MAX, all)),
            false if shown.is_empty() => "\"\"".to_owned(),
            false => shown,
        })
    }

    fn tagged(&mut self, known: &'a [(u32, Field)], indent: &str, plain: &mut Vec<String>) -> Result<(), String> {
        for _ in 0..self.varint()? {
            let (tag, size) = (self.varint()?, self.varint()? as usize);
            let (inner, after) =
                self.rest.split_at_checked(size).ok_or_else(|| format!("{size} bytes of tagged field {tag}"))?;
            if let Some((_, field)) = known.iter().find(|(known, _)| *known == tag) {
                self.rest = inner;
                self.field(field, indent, plain)?;
            }
            self.rest = after;
        }
        Ok(())
    }

    fn number(&mut self, length: usize) -> Result<i64, String> {
        let bytes = self.take(length)?;
        let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
        Ok(bytes.iter().fold(sign, |number, byte| (number << 8) | i64::from(*byte)))
    }

    fn count(&mut self) -> Result<usize, String> {
        let count = self.length(4)?.unwrap_or(0);
        if count > self.rest.len() {
            return Err(format!("an array of {count} in {} bytes", self.rest.len()));
        }
        Ok(count)
    }

    /// A length in the form of this version, `bytes` long where it is not flexible; `None`: null.
    fn length(&mut self, bytes: usize) -> Result<Option<usize>, String> {
        match self.flexible {
            true => Ok((self.varint()? as usize).checked_sub(1)),
            false => self.signed_length(bytes),
        }
    }

    fn signed_length(&mut self, bytes: usize) -> Result<Option<usize>, String> {
        Ok(usize::try_from(self.number(bytes)?).ok())
    }

    fn varint(&mut self) -> Result<u32, String> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| format!("number {value}"));
            }
        }
        Err("a number of more than 5 bytes".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let left = self.rest.len();
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| format!("{length} bytes expected, {left} are left"))?;
        self.rest = rest;
        Ok(taken)
    }
}

/// ` (showing 8 of 20)`, where not all are shown.
fn showing(max: usize, all: usize) -> String {
    if all > max { format!(" (showing {max} of {all})") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::{
        FetchRequest, OffsetCommitResponse, ProduceRequest, RequestKind, ResponseKind, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    };
    use uuid::Uuid;

    use super::*;
    use crate::{
        base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId},
        protocol::frame,
    };

    fn orders() -> (TopicId, Topics) {
        let id = TopicId([7; 16]);
        (id, Topics::from([(id, "orders".into())]))
    }

    fn check_request(body: RequestKind, version: i16, expected: &[&str]) {
        let chunks = frame::encode_request(&body, version, 5, "p1").unwrap().concat();
        let told = message(frame::key_of(&body), version, true, &chunks[frame::PREFIX_BYTES..], &orders().1);
        assert_eq!(told.lines().collect::<Vec<_>>(), expected, "{told}");
    }

    #[test]
    fn a_fetch_names_its_topics_and_says_how_many_partitions_it_does_not_show() {
        let partition =
            |index| FetchPartition::default().with_partition(index).with_fetch_offset(i64::from(index) + 40);
        let (id, _) = orders();
        let topic = FetchTopic::default()
            .with_topic_id(Uuid::from_bytes(id.0))
            .with_partitions((0..10).map(partition).collect());
        let body = FetchRequest::default().with_max_wait_ms(500).with_topics(vec![topic]);
        let chunks = frame::encode_request(&RequestKind::Fetch(body), 18, 5, "b2").unwrap().concat();
        let told = message(ApiKey::Fetch, 18, true, &chunks[frame::PREFIX_BYTES..], &orders().1);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "version 18, client b2");
        assert!(lines[1].starts_with("max_wait_ms 500, min_bytes 0, max_bytes 2147483647"), "{told}");
        assert_eq!(lines[2..5], ["topics", &format!("  - topic_id {id} (orders)"), "    partitions (showing 8 of 10)"]);
        assert!(lines[6].starts_with("      - partition 1, current_leader_epoch -1, fetch_offset 41,"), "{told}");
        assert_eq!(lines.len(), 5 + 8);
    }

    #[test]
    fn a_produce_tells_its_batches() {
        let mut batch = records::BatchBuilder::new(records::Codec::None)
            .producer(ProducerId(9), ProducerEpoch(1), 3)
            .position(Offset(0), LeaderEpoch(-1));
        for _ in 0..2 {
            batch.push(0, None, Some(b"value"), &[]);
        }
        let batch = batch.build();
        let bytes = batch.len();
        let partition = PartitionProduceData::default().with_index(4).with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName("orders".to_owned().into()))
            .with_partition_data(vec![partition]);
        let body = ProduceRequest::default().with_acks(-1).with_timeout_ms(30).with_topic_data(vec![topic]);
        let told = format!(
            "        - base_offset 0, leader_epoch -1, records 2, bytes {bytes}, producer_id 9, producer_epoch 1, base_sequence 3"
        );
        let expected = [
            "version 12, client p1",
            "transactional_id null, acks -1, timeout_ms 30",
            "topic_data",
            "  - name orders",
            "    partition_data",
            "      - index 4",
            "        batches",
            &told.replacen("        - ", "          - ", 1),
        ];
        check_request(RequestKind::Produce(body), 12, &expected);
    }

    #[test]
    fn errors_have_their_names_and_damaged_bytes_are_said_to_be_so() {
        let partition = OffsetCommitResponsePartition::default().with_partition_index(1).with_error_code(25);
        let topic = OffsetCommitResponseTopic::default()
            .with_name(TopicName("orders".to_owned().into()))
            .with_partitions(vec![partition]);
        let body = ResponseKind::OffsetCommit(OffsetCommitResponse::default().with_topics(vec![topic]));
        for version in 3..=9 {
            let chunks = frame::encode_response(ApiKey::OffsetCommit, version, 5, &body).unwrap().concat();
            let bytes = &chunks[frame::PREFIX_BYTES..];
            let told = message(ApiKey::OffsetCommit, version, false, bytes, &Topics::new());
            assert!(told.ends_with("partitions\n      - partition_index 1, error_code UNKNOWN_MEMBER_ID"), "{told}");
            for end in 0..bytes.len() {
                message(ApiKey::OffsetCommit, version, false, &bytes[..end], &Topics::new());
            }
            let short = message(ApiKey::OffsetCommit, version, false, &bytes[..bytes.len() - 4], &Topics::new());
            assert!(short.contains("not readable from here on"), "{short}");
        }
        let mut huge = BytesMut::zeroed(8);
        huge.extend_from_slice(&[0x7f; 4]);
        let told = message(ApiKey::OffsetCommit, 3, false, &huge, &Topics::new());
        assert!(told.ends_with("an array of 2139062143 in 0 bytes"), "{told}");
    }
}
