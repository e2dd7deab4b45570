//! What a consumer says in its metadata of the classic protocol, as far as the broker reads it.
//!
//! Version 0 is a prefix of every later version, so that nothing else needs to be known.

use std::{collections::BTreeSet, sync::Arc};

use bytes::{BufMut, Bytes};

use super::records::{Reader, Writer};
use crate::base::TopicPartition;

/// The protocol type of consumers; connectors and others have their own.
pub(super) const CONSUMER: &str = "consumer";

/// The topics that a consumer subscribes to.
///
/// # Errors
/// What is wrong with the bytes: an application may use the type and send something else.
pub(super) fn topics(metadata: &[u8]) -> Result<BTreeSet<Arc<str>>, String> {
    let mut from = Reader(metadata);
    from.i16()?;
    let count = from.i32()?;
    (0..count).map(|_| from.string()).collect()
}

/// The partitions that a consumer says it has, from version 1 on; none where the bytes tell none.
pub(super) fn owned(metadata: &[u8]) -> Vec<TopicPartition> {
    read_owned(metadata).unwrap_or_default()
}

fn read_owned(metadata: &[u8]) -> Result<Vec<TopicPartition>, String> {
    let mut from = Reader(metadata);
    if from.i16()? < 1 {
        return Ok(Vec::new());
    }
    for _ in 0..from.i32()? {
        from.string()?;
    }
    let user_data = from.i32()?;
    from.take(usize::try_from(user_data).unwrap_or(0))?;
    read_topic_partitions(&mut from)
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
    read_partitions(assignment).unwrap_or_default()
}

fn read_partitions(assignment: &[u8]) -> Result<Vec<TopicPartition>, String> {
    let mut from = Reader(assignment);
    from.i16()?;
    read_topic_partitions(&mut from)
}

/// What an assignor of the application's own left for itself beside the partitions.
pub(super) fn has_user_data(assignment: &[u8]) -> bool {
    let mut from = Reader(assignment);
    let length = from.i16().and_then(|_| read_topic_partitions(&mut from)).and_then(|_| from.i32());
    length.is_ok_and(|length| length > 0)
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
        let assignment = [0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 3];
        assert_eq!(partitions(&assignment), [TopicPartition::new("t", 3), TopicPartition::new("t", 5)]);
        assert_eq!(partitions(&assignment[..12]), []);
    }
}
