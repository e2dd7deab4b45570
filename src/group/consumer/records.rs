//! The records of groups of the consumer protocol, byte for byte as Kafka has them.
//!
//! | type | what | key beside the group |
//! |---|---|---|
//! | 3 | the group's epoch | |
//! | 4 | partitions of topics, of Kafka before 4.1; only ever deleted | |
//! | 5 | what a member says of itself | member |
//! | 6 | epoch of the target assignment | |
//! | 7 | what a member is to have | member |
//! | 8 | what a member has, and its epoch | member |
//! | 16 | the topics that a regular expression matches | expression |

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::{BufMut, Bytes};

use crate::{
    base::{Timestamp, TopicId},
    group::{
        assignor::{Partitions, in_order_of_ids},
        records::{Reader, Writer},
    },
};

/// Partitions by topic, each with the epoch in which the member got it.
pub type Epochs = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// One record of a group, which is also one value of its state. `None` is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The group's epoch.
    Epoch(Option<GroupEpoch>),
    /// What Kafka before 4.1 kept of topics: deleted with the group.
    OldTopics,
    /// What a member says of itself.
    Subscription(Arc<str>, Option<Arc<Subscription>>),
    /// Epoch of the target assignment.
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have.
    Target(Arc<str>, Option<Arc<Partitions>>),
    /// What a member has.
    Current(Arc<str>, Option<Arc<Current>>),
    /// Topics that a regular expression matches.
    Regex(Arc<str>, Option<Arc<Resolved>>),
}

/// The group's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Counts the changes of members, subscriptions and topics.
    pub epoch: i32,
    /// Of the topics subscribed to as they were then; see [`super::topics`].
    pub metadata_hash: i64,
}

/// Which target assignment there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group's epoch for which it was computed.
    pub epoch: i32,
    /// When, wall clock; 0 unknown.
    pub computed_ms: Timestamp,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscription {
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// `client.rack`.
    pub rack: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// The client's address, after a slash.
    pub client_host: Arc<str>,
    /// Topics by name.
    pub topics: BTreeSet<Arc<str>>,
    /// Topics by regular expression; an empty one is none.
    pub regex: Option<Arc<str>>,
    /// How long it may take to give up partitions; -1 unknown.
    pub rebalance_timeout_ms: i32,
    /// The assignor it prefers.
    pub assignor: Option<Arc<str>>,
    /// What a member has that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member of the classic protocol has beside.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicMember {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it can do, the dearest first, with its metadata for each.
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

/// How far a member has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it is to have in its epoch.
    #[default]
    Stable,
    /// It has to give up partitions.
    UnrevokedPartitions,
    /// Others have to give up partitions that are to be its own.
    UnreleasedPartitions,
    /// Written by a newer broker.
    Unknown(i8),
}

impl MemberState {
    fn number(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown(number) => number,
        }
    }

    fn of(number: i8) -> Self {
        match number {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            other => Self::Unknown(other),
        }
    }
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Current {
    /// Its epoch; -2: a static member that is away.
    pub epoch: i32,
    /// Its epoch before: a request whose answer was lost still has this one.
    pub previous_epoch: i32,
    /// How far it has come.
    pub state: MemberState,
    /// What it may use.
    pub assigned: Epochs,
    /// What it has to give up and may still have.
    pub revoking: Epochs,
}

/// Topics that a regular expression matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Their names.
    pub topics: BTreeSet<Arc<str>>,
    /// Version of the metadata that was searched.
    pub version: i64,
    /// When it was searched, wall clock.
    pub resolved_ms: Timestamp,
}

const VERSION: i16 = 0;

impl Change {
    pub(in crate::group) fn write_key(&self, group: &str, out: &mut Writer) {
        let (kind, rest) = match self {
            Self::Epoch(_) => (3, None),
            Self::OldTopics => (4, None),
            Self::Subscription(member, _) => (5, Some(member)),
            Self::TargetEpoch(_) => (6, None),
            Self::Target(member, _) => (7, Some(member)),
            Self::Current(member, _) => (8, Some(member)),
            Self::Regex(text, _) => (16, Some(text)),
        };
        out.0.put_i16(kind);
        out.string(group);
        if let Some(rest) = rest {
            out.string(rest);
        }
    }

    pub(in crate::group) fn write_value(&self) -> Option<Bytes> {
        let mut out = Writer::new();
        out.0.put_i16(VERSION);
        match self {
            Self::OldTopics => return None,
            Self::Epoch(value) => {
                let value = value.as_ref()?;
                out.0.put_i32(value.epoch);
                write_tagged_i64(&mut out, value.metadata_hash);
            }
            Self::TargetEpoch(value) => {
                let value = value.as_ref()?;
                out.0.put_i32(value.epoch);
                write_tagged_i64(&mut out, value.computed_ms);
            }
            Self::Subscription(_, value) => write_subscription(&mut out, value.as_ref()?),
            Self::Target(_, value) => {
                let value = value.as_ref()?;
                write_count(&mut out, value.len());
                for topic in in_order_of_ids(value.keys().copied()) {
                    out.0.put_slice(&topic.0);
                    write_numbers(&mut out, value[&topic].iter().copied());
                    out.varint(0);
                }
                out.varint(0);
            }
            Self::Current(_, value) => {
                let value = value.as_ref()?;
                out.0.put_i32(value.epoch);
                out.0.put_i32(value.previous_epoch);
                out.0.put_i8(value.state.number());
                write_epochs(&mut out, &value.assigned);
                write_epochs(&mut out, &value.revoking);
                out.varint(0);
            }
            Self::Regex(_, value) => {
                let value = value.as_ref()?;
                write_strings(&mut out, &value.topics);
                out.0.put_i64(value.version);
                out.0.put_i64(value.resolved_ms);
                out.varint(0);
            }
        }
        Some(out.0.freeze())
    }

    /// Reads a record of type `kind`, whose key follows in `key`. `None`: of a type that is not known here.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub(in crate::group) fn parse(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(Arc<str>, Self)>, String> {
        if !matches!(kind, 3..=8 | 16) {
            return Ok(None);
        }
        let group = key.string()?;
        let change = match kind {
            3 => Self::Epoch(value.map(read_epoch).transpose()?),
            4 => Self::OldTopics,
            5 => Self::Subscription(key.string()?, value.map(read_subscription).transpose()?.map(Arc::new)),
            6 => Self::TargetEpoch(value.map(read_target_epoch).transpose()?),
            7 => Self::Target(key.string()?, value.map(read_target).transpose()?.map(Arc::new)),
            8 => Self::Current(key.string()?, value.map(read_current).transpose()?.map(Arc::new)),
            _ => Self::Regex(key.string()?, value.map(read_regex).transpose()?.map(Arc::new)),
        };
        Ok(Some((group, change)))
    }
}

fn write_count(out: &mut Writer, count: usize) {
    out.varint(u32::try_from(count + 1).expect("a group has less than 2^32 parts"));
}

fn write_numbers(out: &mut Writer, numbers: impl ExactSizeIterator<Item = i32>) {
    write_count(out, numbers.len());
    numbers.for_each(|number| out.0.put_i32(number));
}

fn write_strings(out: &mut Writer, strings: &BTreeSet<Arc<str>>) {
    write_count(out, strings.len());
    strings.iter().for_each(|text| out.compact_string(text));
}

fn write_nullable(out: &mut Writer, text: Option<&str>) {
    match text {
        Some(text) => out.compact_string(text),
        None => out.varint(0),
    }
}

/// The tagged field 0, which is left out when it is 0.
fn write_tagged_i64(out: &mut Writer, number: i64) {
    if number == 0 {
        return out.varint(0);
    }
    [1, 0, 8].into_iter().for_each(|number| out.varint(number));
    out.0.put_i64(number);
}

fn write_subscription(out: &mut Writer, value: &Subscription) {
    write_nullable(out, value.instance.as_deref());
    write_nullable(out, value.rack.as_deref());
    out.compact_string(&value.client_id);
    out.compact_string(&value.client_host);
    write_strings(out, &value.topics);
    write_nullable(out, value.regex.as_deref());
    out.0.put_i32(value.rebalance_timeout_ms);
    write_nullable(out, value.assignor.as_deref());
    // The default of this field is not null, so that a null is written.
    let mut tagged = Writer::new();
    match &value.classic {
        None => tagged.varint(0),
        Some(classic) => {
            tagged.varint(1);
            tagged.0.put_i32(classic.session_timeout_ms);
            write_count(&mut tagged, classic.protocols.len());
            for (name, metadata) in &classic.protocols {
                tagged.compact_string(name);
                write_count(&mut tagged, metadata.len());
                tagged.0.put_slice(metadata);
                tagged.varint(0);
            }
            tagged.varint(0);
        }
    }
    write_tagged(out, &tagged);
}

/// Writes the one tagged field 0.
fn write_tagged(out: &mut Writer, tagged: &Writer) {
    [1, 0].into_iter().for_each(|number| out.varint(number));
    out.varint(u32::try_from(tagged.0.len()).expect("it came in one message"));
    out.0.put_slice(&tagged.0);
}

fn write_epochs(out: &mut Writer, epochs: &Epochs) {
    write_count(out, epochs.len());
    for topic in in_order_of_ids(epochs.keys().copied()) {
        let partitions = &epochs[&topic];
        out.0.put_slice(&topic.0);
        write_numbers(out, partitions.keys().copied());
        let mut tagged = Writer::new();
        write_numbers(&mut tagged, partitions.values().copied());
        write_tagged(out, &tagged);
    }
}

impl Reader<'_> {
    /// How many elements follow, none of which is smaller than a byte.
    fn count(&mut self) -> Result<usize, String> {
        let count = (self.varint()?).checked_sub(1).ok_or("an array is missing")? as usize;
        if count > self.0.len() {
            Err(format!("{count} elements where {} bytes are left", self.0.len()))
        } else {
            Ok(count)
        }
    }

    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        (0..self.count()?).map(|_| element(self)).collect()
    }

    fn nullable(&mut self) -> Result<Option<Arc<str>>, String> {
        self.nullable_compact_text().map(|text| text.map(Into::into))
    }

    fn end(&mut self) -> Result<(), String> {
        self.tags(|_, _| Ok(()))
    }

    /// The tagged field 0; 0 when it is left out.
    fn tagged_i64(&mut self) -> Result<i64, String> {
        let mut number = 0;
        self.tags(|tag, value| {
            if tag == 0 {
                number = Reader(value).i64()?;
            }
            Ok(())
        })?;
        Ok(number)
    }
}

fn reader<'a>(what: &str, bytes: &'a [u8]) -> Result<Reader<'a>, String> {
    let mut from = Reader(bytes);
    from.version(what, VERSION)?;
    Ok(from)
}

fn read_epoch(bytes: &[u8]) -> Result<GroupEpoch, String> {
    let mut from = reader("a group's epoch", bytes)?;
    Ok(GroupEpoch { epoch: from.i32()?, metadata_hash: from.tagged_i64()? })
}

fn read_target_epoch(bytes: &[u8]) -> Result<TargetEpoch, String> {
    let mut from = reader("an assignment's epoch", bytes)?;
    Ok(TargetEpoch { epoch: from.i32()?, computed_ms: from.tagged_i64()? })
}

fn read_subscription(bytes: &[u8]) -> Result<Subscription, String> {
    let mut from = reader("a member", bytes)?;
    let mut value = Subscription {
        instance: from.nullable()?,
        rack: from.nullable()?,
        client_id: from.compact_string()?,
        client_host: from.compact_string()?,
        topics: from.list(Reader::compact_string)?.into_iter().collect(),
        regex: from.nullable()?,
        rebalance_timeout_ms: from.i32()?,
        assignor: from.nullable()?,
        classic: None,
    };
    from.tags(|tag, classic| {
        if tag == 0 && classic != [0] {
            value.classic = Some(read_classic(classic.get(1..).unwrap_or_default())?);
        }
        Ok(())
    })?;
    Ok(value)
}

fn read_classic(bytes: &[u8]) -> Result<ClassicMember, String> {
    let mut from = Reader(bytes);
    let session_timeout_ms = from.i32()?;
    let protocols = from.list(|from| {
        let name = from.compact_string()?;
        let metadata = from.nullable_compact()?.ok_or("metadata is missing")?;
        from.end()?;
        Ok((name, Bytes::copy_from_slice(metadata)))
    })?;
    from.end()?;
    Ok(ClassicMember { session_timeout_ms, protocols })
}

fn topic_id(from: &mut Reader<'_>) -> Result<TopicId, String> {
    from.chunk().map(TopicId)
}

fn read_target(bytes: &[u8]) -> Result<Partitions, String> {
    let mut from = reader("a member's target assignment", bytes)?;
    let topics = from.list(|from| {
        let topic = (topic_id(from)?, from.list(Reader::i32)?.into_iter().collect());
        from.end()?;
        Ok(topic)
    })?;
    from.end()?;
    Ok(topics.into_iter().filter(|(_, partitions): &(_, BTreeSet<i32>)| !partitions.is_empty()).collect())
}

/// Partitions without epochs, as Kafka before 4.3 wrote them, count as given in `member_epoch`.
fn read_epochs(from: &mut Reader<'_>, member_epoch: i32) -> Result<Epochs, String> {
    let topics = from.list(|from| {
        let (topic, partitions) = (topic_id(from)?, from.list(Reader::i32)?);
        let mut epochs = Vec::new();
        from.tags(|tag, value| {
            if tag == 0 && value != [0] {
                epochs = Reader(value).list(Reader::i32)?;
            }
            Ok(())
        })?;
        if epochs.len() != partitions.len() {
            epochs = vec![member_epoch.max(0); partitions.len()];
        }
        Ok((topic, partitions.into_iter().zip(epochs).collect::<BTreeMap<i32, i32>>()))
    })?;
    Ok(topics.into_iter().filter(|(_, partitions)| !partitions.is_empty()).collect())
}

fn read_current(bytes: &[u8]) -> Result<Current, String> {
    let mut from = reader("a member's assignment", bytes)?;
    let (epoch, previous_epoch) = (from.i32()?, from.i32()?);
    let [state] = from.chunk()?;
    let (assigned, revoking) = (read_epochs(&mut from, epoch)?, read_epochs(&mut from, epoch)?);
    from.end()?;
    Ok(Current { epoch, previous_epoch, state: MemberState::of(state as i8), assigned, revoking })
}

fn read_regex(bytes: &[u8]) -> Result<Resolved, String> {
    let mut from = reader("a regular expression", bytes)?;
    let topics = from.list(Reader::compact_string)?.into_iter().collect();
    let value = Resolved { topics, version: from.i64()?, resolved_ms: from.i64()? };
    from.end()?;
    Ok(value)
}
