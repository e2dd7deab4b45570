//! ListOffsets: the first and last offset of a partition, and where records of a time begin.

use std::sync::Arc;

use super::Seek;
use crate::{
    base::{Offset, TopicPartition},
    client::{ClientError, Cluster, cluster::topic_name},
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, ListOffsetsRequest, RequestKind, ResponseKind,
            list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        },
    },
};

/// Versions of ListOffsets that we speak.
const LIST_OFFSETS: (i16, i16) = (1, 8);

/// Where `seek` is in the log of the partition's leader.
///
/// # Errors
/// Nobody leads, or the leader does not answer.
pub(super) async fn list_offset(
    cluster: Arc<Cluster>,
    partition: TopicPartition,
    seek: Seek,
) -> Result<Offset, ClientError> {
    let timestamp = match seek {
        Seek::Beginning => -2,
        Seek::End => -1,
        Seek::Offset(offset) => return Ok(offset),
        Seek::Timestamp(timestamp) => timestamp,
    };
    if cluster.leader(&partition).is_none() {
        cluster.refresh(std::slice::from_ref(&partition.topic)).await?;
    }
    let nobody = || ClientError::Kafka { code: ErrorCode::LeaderNotAvailable, message: None };
    let leader = cluster.leader(&partition).ok_or_else(nobody)?;
    let wanted = ListOffsetsPartition::default()
        .with_partition_index(partition.partition)
        .with_current_leader_epoch(leader.epoch.0)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(topic_name(&partition.topic)).with_partitions(vec![wanted]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let link = cluster.connection_to(leader.node).await?;
    let version = link.version_for(ApiKey::ListOffsets, LIST_OFFSETS)?;
    let answer = link.call(RequestKind::ListOffsets(request), version, cluster.config().request_timeout).await?;
    let ResponseKind::ListOffsets(response) = answer.body else { unreachable!("answered by its own kind") };
    let found = response.topics.first().and_then(|topic| topic.partitions.first()).ok_or_else(nobody)?;
    ClientError::check(found.error_code, None)?;
    Ok(Offset(found.offset))
}
