//! What a consumer says in its metadata of the classic protocol, as far as the broker reads it.
//!
//! Version 0 is a prefix of every later version, so that nothing else needs to be known.

use std::{collections::BTreeSet, sync::Arc};

use super::records::Reader;
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

/// The partitions that a consumer was given; none where the bytes are not a consumer's.
pub(super) fn partitions(assignment: &[u8]) -> Vec<TopicPartition> {
    read_partitions(assignment).unwrap_or_default()
}

fn read_partitions(assignment: &[u8]) -> Result<Vec<TopicPartition>, String> {
    let mut from = Reader(assignment);
    let mut partitions = Vec::new();
    from.i16()?;
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
