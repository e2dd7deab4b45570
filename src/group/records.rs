//! The records of `__consumer_offsets`, byte for byte as Kafka has them.
//!
//! A key is its type as i16 and fields in the old encoding, a value is its version as i16 and fields, flexible from
//! version 4 on; no value is a tombstone. Every length is checked before anything is read. Types that are not known are
//! left to those who know them: a newer broker may have written them (KIP-915).
//!
//! | type | record | read | written |
//! |---|---|---|---|
//! | 0, 1 | a committed offset, by group and partition | 0 to 4 | 4; 1 where an old client set an expiry |
//! | 2 | a classic group with its members | 0 to 4 | 3 |
//! | 3 to 8, 16 | groups of the consumer protocol: [`super::consumer::records`] | 0 | 0 |

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::consumer::records::Change;
use crate::base::{LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition};

/// A record, decoded. A value of `None` is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A committed offset.
    Offset {
        /// Group that committed.
        group: Arc<str>,
        /// Of which partition.
        partition: TopicPartition,
        /// What was committed.
        value: Option<OffsetAndMetadata>,
    },
    /// A classic group.
    Group {
        /// Its id.
        group: Arc<str>,
        /// What is known of it.
        value: Option<Box<GroupMetadata>>,
    },
    /// Something of a group of the consumer protocol.
    Consumer {
        /// Its id.
        group: Arc<str>,
        /// What it is.
        change: Box<Change>,
    },
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetAndMetadata {
    /// The next offset to consume.
    pub offset: Offset,
    /// Epoch of the record before it, or -1.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: Arc<str>,
    /// When it was committed, wall clock.
    pub commit_ms: Timestamp,
    /// When it expires, if an old client said so.
    pub expire_ms: Option<Timestamp>,
    /// Id of the topic; zero where the writer did not know it.
    pub topic_id: TopicId,
}

impl OffsetAndMetadata {
    /// Whether it was committed for this topic and not for another that had the same name before, as far as both ids are
    /// known.
    pub(super) fn is_of(&self, topic: TopicId) -> bool {
        self.topic_id == topic || [self.topic_id, topic].contains(&TopicId::ZERO)
    }
}

/// A classic group as it was when its members last were in agreement.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMetadata {
    /// `consumer`, `connect` or a type of the application's own; empty for a group that has none yet.
    pub protocol_type: Arc<str>,
    /// Counts the rebalances.
    pub generation: i32,
    /// The protocol chosen.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub leader: Option<Arc<str>>,
    /// When the group came into its state, wall clock; -1 unknown.
    pub state_ms: Timestamp,
    /// Its members.
    pub members: Vec<MemberMetadata>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberMetadata {
    /// The id the coordinator gave.
    pub member: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// The client's address, after a slash.
    pub client_host: Arc<str>,
    /// How long it may take to rejoin; -1 unknown.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its metadata under the protocol chosen.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

const OFFSET: i16 = 1;
const GROUP: i16 = 2;

impl Record {
    /// Bytes of the key.
    pub fn key(&self) -> Bytes {
        let mut out = Writer::new();
        match self {
            Self::Offset { group, partition, .. } => {
                out.0.put_i16(OFFSET);
                out.string(group);
                out.string(&partition.topic);
                out.0.put_i32(partition.partition);
            }
            Self::Group { group, .. } => {
                out.0.put_i16(GROUP);
                out.string(group);
            }
            Self::Consumer { group, change } => change.write_key(group, &mut out),
        }
        out.0.freeze()
    }

    /// Bytes of the value; none for a tombstone.
    pub fn value(&self) -> Option<Bytes> {
        match self {
            Self::Offset { value, .. } => value.as_ref().map(write_offset),
            Self::Group { value, .. } => value.as_ref().map(|value| write_group(value)),
            Self::Consumer { change, .. } => change.write_value(),
        }
    }

    /// Reads a record; `names` are those of the record before. `None`: of a type that is not known here.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>, names: &mut Names) -> Result<Option<Self>, String> {
        let mut key = Reader(key.ok_or("no key")?);
        let (kind, record) = match key.i16()? {
            kind @ (0 | OFFSET) => {
                let (group, topic) =
                    (again(&mut names.group, key.raw_text()?)?, again(&mut names.topic, key.raw_text()?)?);
                let partition = TopicPartition::new(topic, key.i32()?);
                let value = value.map(|value| read_offset(value, names)).transpose()?;
                (kind, Self::Offset { group, partition, value })
            }
            GROUP => {
                let group = key.string()?;
                (GROUP, Self::Group { group, value: value.map(read_group).transpose()?.map(Box::new) })
            }
            kind => {
                let Some((group, change)) = Change::parse(kind, &mut key, value)? else { return Ok(None) };
                (kind, Self::Consumer { group, change: Box::new(change) })
            }
        };
        match key.0.len() {
            0 => Ok(Some(record)),
            left => Err(format!("{left} bytes after a key of type {kind}")),
        }
    }
}

/// Names of the committed offset read last: the next one mostly has the same, and shares them.
#[derive(Debug, Default)]
pub struct Names {
    group: Arc<str>,
    topic: Arc<str>,
    metadata: Arc<str>,
}

fn again(last: &mut Arc<str>, text: &[u8]) -> Result<Arc<str>, String> {
    if last.as_bytes() != text {
        *last = Reader::utf8(text)?.into();
    }
    Ok(last.clone())
}

fn write_offset(value: &OffsetAndMetadata) -> Bytes {
    let mut out = Writer::new();
    if let Some(expire_ms) = value.expire_ms {
        out.0.put_i16(1);
        out.0.put_i64(value.offset.0);
        out.string(&value.metadata);
        out.0.put_i64(value.commit_ms);
        out.0.put_i64(expire_ms);
        return out.0.freeze();
    }
    out.0.put_i16(4);
    out.0.put_i64(value.offset.0);
    out.0.put_i32(value.leader_epoch.0);
    out.compact_string(&value.metadata);
    out.0.put_i64(value.commit_ms);
    if value.topic_id == TopicId::ZERO {
        out.varint(0);
    } else {
        [1, 0, 16].into_iter().for_each(|number| out.varint(number));
        out.0.put_slice(&value.topic_id.0);
    }
    out.0.freeze()
}

fn read_offset(bytes: &[u8], names: &mut Names) -> Result<OffsetAndMetadata, String> {
    let mut from = Reader(bytes);
    let version = from.version("an offset", 4)?;
    let offset = Offset(from.i64()?);
    let leader_epoch = if version >= 3 { LeaderEpoch(from.i32()?) } else { LeaderEpoch::UNKNOWN };
    let metadata = if version >= 4 { from.raw_compact_text()? } else { from.raw_text()? };
    let metadata = again(&mut names.metadata, metadata)?;
    let commit_ms = from.i64()?;
    let expire_ms = if version == 1 { Some(from.i64()?).filter(|expire| *expire != -1) } else { None };
    let mut topic_id = TopicId::ZERO;
    if version >= 4 {
        from.tags(|tag, value| {
            if tag == 0 {
                topic_id = TopicId(value.try_into().map_err(|_| format!("a topic id of {} bytes", value.len()))?);
            }
            Ok(())
        })?;
    }
    Ok(OffsetAndMetadata { offset, leader_epoch, metadata, commit_ms, expire_ms, topic_id })
}

fn write_group(value: &GroupMetadata) -> Bytes {
    let mut out = Writer::new();
    out.0.put_i16(3);
    out.string(&value.protocol_type);
    out.0.put_i32(value.generation);
    out.nullable_string(value.protocol.as_deref());
    out.nullable_string(value.leader.as_deref());
    out.0.put_i64(value.state_ms);
    out.0.put_i32(i32::try_from(value.members.len()).expect("a group has less than 2^31 members"));
    for member in &value.members {
        out.string(&member.member);
        out.nullable_string(member.instance.as_deref());
        out.string(&member.client_id);
        out.string(&member.client_host);
        out.0.put_i32(member.rebalance_timeout_ms);
        out.0.put_i32(member.session_timeout_ms);
        out.bytes(&member.subscription);
        out.bytes(&member.assignment);
    }
    out.0.freeze()
}

fn read_group(bytes: &[u8]) -> Result<GroupMetadata, String> {
    let mut from = Reader(bytes);
    let version = from.version("a group", 4)?;
    let flexible = version >= 4;
    let protocol_type = from.text(flexible)?;
    let generation = from.i32()?;
    let (protocol, leader) = (from.nullable_text(flexible)?, from.nullable_text(flexible)?);
    let state_ms = if version >= 2 { from.i64()? } else { -1 };
    let count = if flexible { i64::from(from.varint()?) - 1 } else { i64::from(from.i32()?) };
    // A member has at least four lengths and a number.
    if count < 0 || count as usize > from.0.len() {
        return Err(format!("{count} members where {} bytes are left", from.0.len()));
    }
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(MemberMetadata {
            member: from.text(flexible)?,
            instance: if version >= 3 { from.nullable_text(flexible)? } else { None },
            client_id: from.text(flexible)?,
            client_host: from.text(flexible)?,
            rebalance_timeout_ms: if version >= 1 { from.i32()? } else { -1 },
            session_timeout_ms: from.i32()?,
            subscription: from.blob(flexible)?,
            assignment: from.blob(flexible)?,
        });
        if flexible {
            from.tags(|_, _| Ok(()))?;
        }
    }
    if flexible {
        from.tags(|_, _| Ok(()))?;
    }
    Ok(GroupMetadata { protocol_type, generation, protocol, leader, state_ms, members })
}

/// Writes keys and values.
pub(super) struct Writer(pub(super) BytesMut);

impl Writer {
    pub(super) fn new() -> Self {
        Self(BytesMut::with_capacity(64))
    }

    pub(super) fn string(&mut self, text: &str) {
        self.0.put_i16(i16::try_from(text.len()).expect("the wire's strings are shorter than 32 KiB"));
        self.0.put_slice(text.as_bytes());
    }

    pub(super) fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.0.put_i16(-1),
        }
    }

    pub(super) fn compact_string(&mut self, text: &str) {
        self.varint(u32::try_from(text.len() + 1).expect("a string is shorter than 4 GiB"));
        self.0.put_slice(text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.put_i32(i32::try_from(bytes.len()).expect("a message is shorter than 2 GiB"));
        self.0.put_slice(bytes);
    }

    pub(super) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }
}

/// Reads keys and values.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let left = self.0.len();
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| format!("{length} bytes expected, {left} are left"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many were taken"))
    }

    pub(super) fn i16(&mut self) -> Result<i16, String> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, String> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, String> {
        self.chunk().map(i64::from_be_bytes)
    }

    pub(super) fn version(&mut self, what: &str, newest: i16) -> Result<i16, String> {
        let version = self.i16()?;
        if (0..=newest).contains(&version) { Ok(version) } else { Err(format!("{what} in version {version}")) }
    }

    fn utf8(bytes: &'a [u8]) -> Result<&'a str, String> {
        std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8".to_owned())
    }

    fn nullable_raw_text(&mut self) -> Result<Option<&'a [u8]>, String> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| format!("a string of length {length}"))?;
                self.take(length).map(Some)
            }
        }
    }

    /// Bytes of a text, not yet known to be one.
    fn raw_text(&mut self) -> Result<&'a [u8], String> {
        self.nullable_raw_text()?.ok_or_else(|| "a string is missing".to_owned())
    }

    fn raw_compact_text(&mut self) -> Result<&'a [u8], String> {
        self.nullable_compact()?.ok_or_else(|| "a string is missing".to_owned())
    }

    pub(super) fn nullable_compact_text(&mut self) -> Result<Option<&'a str>, String> {
        self.nullable_compact()?.map(Self::utf8).transpose()
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<Arc<str>>, String> {
        self.nullable_raw_text()?.map(|text| Self::utf8(text).map(Into::into)).transpose()
    }

    pub(super) fn string(&mut self) -> Result<Arc<str>, String> {
        Self::utf8(self.raw_text()?).map(Into::into)
    }

    pub(super) fn nullable_compact(&mut self) -> Result<Option<&'a [u8]>, String> {
        match self.varint()? {
            0 => Ok(None),
            length => self.take(length as usize - 1).map(Some),
        }
    }

    pub(super) fn compact_string(&mut self) -> Result<Arc<str>, String> {
        Self::utf8(self.raw_compact_text()?).map(Into::into)
    }

    fn text(&mut self, flexible: bool) -> Result<Arc<str>, String> {
        if flexible { self.compact_string() } else { self.string() }
    }

    fn nullable_text(&mut self, flexible: bool) -> Result<Option<Arc<str>>, String> {
        match flexible {
            true => self.nullable_compact_text().map(|text| text.map(Into::into)),
            false => self.nullable_string(),
        }
    }

    fn blob(&mut self, flexible: bool) -> Result<Bytes, String> {
        if flexible {
            return Ok(Bytes::copy_from_slice(self.nullable_compact()?.unwrap_or_default()));
        }
        match self.i32()? {
            -1 => Ok(Bytes::new()),
            length => {
                let length = usize::try_from(length).map_err(|_| format!("bytes of length {length}"))?;
                Ok(Bytes::copy_from_slice(self.take(length)?))
            }
        }
    }

    pub(super) fn varint(&mut self) -> Result<u32, String> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.chunk()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| format!("the number {value}"));
            }
        }
        Err("a number of more than 5 bytes".to_owned())
    }

    pub(super) fn tags(&mut self, mut each: impl FnMut(u32, &[u8]) -> Result<(), String>) -> Result<(), String> {
        for _ in 0..self.varint()? {
            let (tag, size) = (self.varint()?, self.varint()? as usize);
            each(tag, self.take(size)?)?;
        }
        Ok(())
    }
}
