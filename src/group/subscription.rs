//! What a consumer says in its metadata of the classic protocol, and what it is given, as far as the broker reads it.
//!
//! Version 0 is a prefix of every later version, so that a broker knows what a group subscribes to, whatever its members
//! speak. Who is in a group of the consumer protocol is read as a whole.

use std::{collections::BTreeSet, sync::Arc};

use bytes::{BufMut, Bytes};

use super::records::{Reader, Writer};
use crate::base::TopicPartition;

/// The protocol type of consumers; connectors and others have their own.
pub(super) const CONSUMER: &str = "consumer";

/// All that a consumer says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    /// The topics that it subscribes to.
    pub topics: BTreeSet<Arc<str>>,
    /// The partitions that it has, from version 1 on.
    pub owned: Vec<TopicPartition>,
    /// `client.rack`, from version 3 on.
    pub rack: Option<Arc<str>>,
}

/// What a consumer is given.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Given {
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
    /// Whether an assignor of the application's own left something for itself beside them.
    pub has_user_data: bool,
}

/// The topics that a consumer subscribes to.
///
/// # Errors
/// What is wrong with the bytes: an application may use the type and send something else.
pub(super) fn topics(metadata: &[u8]) -> Result<BTreeSet<Arc<str>>, String> {
    let mut from = Reader(metadata);
    from.i16()?;
    read_topics(&mut from)
}

/// All that a consumer says; what a version beyond ours has is left out.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn said(metadata: &[u8]) -> Result<Said, String> {
    let mut from = Reader(metadata);
    let version = from.version("a subscription", i16::MAX)?;
    let mut said = Said { topics: read_topics(&mut from)?, ..Said::default() };
    if version >= 1 {
        said.owned = read_topic_partitions(&mut from)?;
    }
    if version >= 2 {
        // The generation in which it had them.
        from.i32()?;
    }
    if version >= 3 {
        said.rack = from.nullable_string()?;
    }
    Ok(said)
}

fn read_topics(from: &mut Reader<'_>) -> Result<BTreeSet<Arc<str>>, String> {
    let count = from.i32()?;
    let topics = (0..count).map(|_| from.string()).collect::<Result<_, _>>()?;
    read_user_data(from)?;
    Ok(topics)
}

fn read_user_data<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], String> {
    let length = from.i32()?;
    from.take(usize::try_from(length).unwrap_or(0))
}

/// An assignment for a consumer whose metadata is this.
pub(super) fn assignment<'a>(metadata: &[u8], partitions: impl Iterator<Item = (&'a str, Vec<i32>)>) -> Bytes {
    let version = Reader(metadata).i16().unwrap_or(0);
    let topics: Vec<(&str, Vec<i32>)> = partitions.collect();
    let mut out = Writer::new();
    out.0.put_i16(version);
    out.0.put_i32(topics.len() as i32);
    for (topic, partitions) in topics {
        out.string(topic);
        out.0.put_i32(partitions.len() as i32);
        partitions.into_iter().for_each(|partition| out.0.put_i32(partition));
    }
    // No user data.
    out.0.put_i32(-1);
    out.0.freeze()
}

/// The partitions that a consumer was given; none where the bytes are not a consumer's.
pub(super) fn partitions(assignment: &[u8]) -> Vec<TopicPartition> {
    given(assignment).unwrap_or_default().partitions
}

/// What a consumer was given; no bytes are nothing, of a member that has never asked.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn given(assignment: &[u8]) -> Result<Given, String> {
    if assignment.is_empty() {
        return Ok(Given::default());
    }
    let mut from = Reader(assignment);
    from.version("an assignment", i16::MAX)?;
    let partitions = read_topic_partitions(&mut from)?;
    Ok(Given { partitions, has_user_data: !read_user_data(&mut from)?.is_empty() })
}

fn read_topic_partitions(from: &mut Reader<'_>) -> Result<Vec<TopicPartition>, String> {
    let mut partitions = Vec::new();
    for _ in 0..from.i32()? {
        let topic = from.string()?;
        for _ in 0..from.i32()? {
            partitions.push(TopicPartition::new(topic.clone(), from.i32()?));
        }
    }
    partitions.sort();
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_subscription_are_told_and_reserve_nothing() {
        let metadata = [&[0, 1, 0, 0, 0, 2, 0, 1, b'b', 0, 1, b'a'][..], &[0xff, 0xff, 0xff, 0xff, 9]].concat();
        assert_eq!(topics(&metadata).unwrap(), BTreeSet::from(["a".into(), "b".into()]));
        assert!(topics(&metadata[..9]).unwrap_err().contains("bytes expected"));
        assert!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]).is_err());
        assert!(topics(&[]).is_err());
        assert!(topics(&metadata[..14]).is_err(), "the user data is missing");
        let assignment = [0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0];
        assert_eq!(partitions(&assignment), [TopicPartition::new("t", 3), TopicPartition::new("t", 5)]);
        assert_eq!(partitions(&assignment[..12]), []);
        assert_eq!((given(&[]), given(&assignment[..12]).is_err()), (Ok(Given::default()), true));
    }

    #[test]
    fn a_version_says_more_than_the_one_before() {
        // The topic a; no user data; b-7 is its own; in generation 3; in the rack r; and something of a later version.
        let metadata = [0, 9, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b'b', 0, 0, 0, 1, 0, 0, 0, 7];
        let metadata = [&metadata[..], &[0, 0, 0, 3, 0, 1, b'r', 1, 2]].concat();
        let all = Said {
            topics: BTreeSet::from(["a".into()]),
            owned: vec![TopicPartition::new("b", 7)],
            rack: Some("r".into()),
        };
        assert_eq!(said(&metadata).unwrap(), all);
        let version = |version: u8| said(&[&[0, version], &metadata[2..]].concat()).unwrap();
        assert_eq!(version(2), Said { rack: None, ..all });
        assert_eq!(version(0), Said { topics: BTreeSet::from(["a".into()]), ..Said::default() });
        assert!(said(&metadata[..30]).is_err() && said(&[&[0xff, 0xff], &metadata[2..]].concat()).is_err());
    }
}
