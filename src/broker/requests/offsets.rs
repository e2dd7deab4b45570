//! ListOffsets and OffsetForLeaderEpoch.

use std::collections::BTreeMap;

use super::{Broker, READ_COMMITTED, READ_UNCOMMITTED, find_partition};
use crate::{
    base::LeaderEpoch,
    protocol::{
        ErrorCode,
        messages::{
            ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
            ResponseKind, TopicName,
            list_offsets_request::ListOffsetsPartition,
            list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
            offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
        },
    },
    storage::TimestampedOffset,
};

/// The oldest version that knows each special timestamp: greatest, local start, last tiered, first to be tiered.
const SPECIAL: [(i64, i16); 4] = [(-3, 7), (-4, 8), (-5, 9), (-6, 11)];

impl Broker {
    pub(super) async fn list_offsets(&self, request: ListOffsetsRequest, version: i16) -> ResponseKind {
        // By topic and partition: one that is named twice has one answer, a refusal.
        let mut asked: BTreeMap<&TopicName, BTreeMap<i32, Vec<&ListOffsetsPartition>>> = BTreeMap::new();
        for topic in &request.topics {
            let partitions = asked.entry(&topic.name).or_default();
            for partition in &topic.partitions {
                partitions.entry(partition.partition_index).or_default().push(partition);
            }
        }
        let mut topics = Vec::new();
        for (name, of_topic) in asked {
            let mut partitions = Vec::new();
            for (index, asked) in of_topic {
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
                let found = match asked[..] {
                    [one] => self.list_offset(name, one, &request, version).await,
                    _ => Err(ErrorCode::InvalidRequest),
                };
                partitions.push(match found {
                    Ok(Some(found)) => {
                        let answer = answer.with_timestamp(found.timestamp).with_offset(found.offset.0);
                        if version >= 4 { answer.with_leader_epoch(found.leader_epoch.0) } else { answer }
                    }
                    Ok(None) => answer.with_timestamp(-1).with_offset(-1),
                    Err(code) => answer.with_error_code(code.code()).with_timestamp(-1).with_offset(-1),
                });
            }
            topics.push(ListOffsetsTopicResponse::default().with_name(name.clone()).with_partitions(partitions));
        }
        ListOffsetsResponse::default().with_topics(topics).into()
    }

    async fn list_offset(
        &self,
        topic: &TopicName,
        asked: &ListOffsetsPartition,
        request: &ListOffsetsRequest,
        version: i16,
    ) -> Result<Option<TimestampedOffset>, ErrorCode> {
        let (timestamp, epoch) = (asked.timestamp, LeaderEpoch(asked.current_leader_epoch));
        let too_old = SPECIAL.iter().any(|(special, since)| *special == timestamp && version < *since);
        if too_old || timestamp < -6 {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let image = self.cache.image();
        let known = image.topic(topic.as_str()).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition = find_partition(&self.replicas, known, asked.partition_index)?;
        if version >= 2 && !matches!(request.isolation_level, READ_UNCOMMITTED..=READ_COMMITTED) {
            return Err(ErrorCode::UnknownServerError);
        }
        if matches!(timestamp, -5 | -6) {
            // Nothing is tiered.
            return partition.list_offset(-1, false, epoch).await.map(|_| None);
        }
        let replica = request.replica_id.0;
        let from_replica = replica >= 0 || replica == -2;
        partition.list_offset(timestamp, from_replica, epoch).await.map_err(|code| match code {
            ErrorCode::OffsetNotAvailable if version < 5 => ErrorCode::LeaderNotAvailable,
            other => other,
        })
    }

    pub(super) async fn offset_for_leader_epoch(&self, request: OffsetForLeaderEpochRequest) -> ResponseKind {
        let image = self.cache.image();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let answer = EpochEndOffset::default().with_partition(asked.partition);
                let known = image.topic(topic.topic.as_str()).ok_or(ErrorCode::UnknownTopicOrPartition);
                let found = match known.and_then(|known| find_partition(&self.replicas, known, asked.partition)) {
                    Ok(partition) => {
                        let current = LeaderEpoch(asked.current_leader_epoch);
                        partition.epoch_end(LeaderEpoch(asked.leader_epoch), current).await
                    }
                    Err(code) => Err(code),
                };
                partitions.push(match found {
                    Ok((epoch, end)) => answer.with_leader_epoch(epoch.0).with_end_offset(end.0),
                    Err(code) => answer.with_error_code(code.code()),
                });
            }
            let result = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
            topics.push(result.with_partitions(partitions));
        }
        OffsetForLeaderEpochResponse::default().with_topics(topics).into()
    }
}
