//! ListOffsets and OffsetForLeaderEpoch.

use std::collections::BTreeSet;

use super::{Broker, find_partition};
use crate::{
    base::LeaderEpoch,
    protocol::{
        ErrorCode,
        messages::{
            ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
            ResponseKind, TopicName,
            list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
            offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
        },
    },
};

/// The oldest version that knows each special timestamp: greatest, local start, tiered, pending upload.
const SPECIAL: [(i64, i16); 3] = [(-3, 7), (-4, 8), (-5, 9)];

impl Broker {
    pub(super) async fn list_offsets(&self, request: ListOffsetsRequest, version: i16) -> ResponseKind {
        let mut seen = BTreeSet::new();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
                let key = (topic.name.as_str().to_owned(), asked.partition_index);
                let twice =
                    topic.partitions.iter().filter(|other| other.partition_index == asked.partition_index).count() > 1;
                if !seen.insert(key) {
                    continue;
                }
                let epoch = LeaderEpoch(asked.current_leader_epoch);
                let found = match twice {
                    true => Err(ErrorCode::InvalidRequest),
                    false => {
                        self.list_offset(
                            &topic.name,
                            asked.partition_index,
                            asked.timestamp,
                            epoch,
                            version,
                            request.replica_id.0,
                        )
                        .await
                    }
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
            topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
        }
        ListOffsetsResponse::default().with_topics(topics).into()
    }

    async fn list_offset(
        &self,
        topic: &TopicName,
        partition: i32,
        timestamp: i64,
        epoch: LeaderEpoch,
        version: i16,
        replica: i32,
    ) -> Result<Option<crate::storage::TimestampedOffset>, ErrorCode> {
        let too_old = SPECIAL.iter().any(|(special, since)| *special == timestamp && version < *since);
        if too_old || timestamp < -5 {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let image = self.cache.image();
        let known = image.topic(topic.as_str()).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition = find_partition(&self.replicas, known, partition)?;
        if timestamp == -5 {
            // Nothing is tiered.
            return partition.list_offset(-1, false, epoch).await.map(|_| None);
        }
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
