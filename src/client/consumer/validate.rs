//! Position validation (KIP-320): after a change of leader a consumer asks the new one where the epoch of the last record
//! read ends in its log. If that is before the position, the log was truncated under the consumer.

use std::collections::BTreeMap;

use super::{Consumer, Position, Report, Seek};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    client::{
        ClientError,
        cluster::{Leader, topic_name},
    },
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, OffsetForLeaderEpochRequest, RequestKind, ResponseKind,
            offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
            offset_for_leader_epoch_response::EpochEndOffset,
        },
    },
    rpc::{Answer, RpcError},
    runtime::task,
};

/// Versions of OffsetForLeaderEpoch that we speak.
const OFFSET_FOR_LEADER_EPOCH: (i16, i16) = (3, 4);

/// What is asked of a leader about one position.
pub(super) struct Question {
    pub(super) partition: TopicPartition,
    pub(super) offset: Offset,
    pub(super) epoch: LeaderEpoch,
    pub(super) leader: Leader,
}

/// Whether `leader` has not yet been asked about a position that another's log gave.
pub(super) fn is_doubtful(position: &Position, leader: Leader) -> bool {
    position.epoch != LeaderEpoch::UNKNOWN && leader.epoch > position.validated
}

impl Consumer {
    pub(super) fn validate(&mut self, node: NodeId, questions: Vec<Question>) {
        let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for question in &questions {
            self.set_busy(&question.partition);
            let one = OffsetForLeaderPartition::default()
                .with_partition(question.partition.partition)
                .with_current_leader_epoch(question.leader.epoch.0)
                .with_leader_epoch(question.epoch.0);
            topics.entry(question.partition.topic.clone()).or_default().push(one);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetForLeaderTopic::default().with_topic(topic_name(&topic)).with_partitions(partitions)
        });
        let request = OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(topics.collect());
        let (cluster, reports) = (self.cluster.clone(), self.reports.clone());
        task::spawn(async move {
            let asked = async {
                let link = cluster.connection_to(node).await?;
                let version = link.version_for(ApiKey::OffsetForLeaderEpoch, OFFSET_FOR_LEADER_EPOCH)?;
                link.call(RequestKind::OffsetForLeaderEpoch(request), version, cluster.config().request_timeout).await
            };
            let answer = asked.await;
            let _ = reports.send(Report::Validated(questions, answer));
        });
    }

    pub(super) fn take_validated(
        &mut self,
        questions: &[Question],
        answer: Result<Answer, RpcError>,
    ) -> Result<(), ClientError> {
        let response = answer.map(|answer| match answer.body {
            ResponseKind::OffsetForLeaderEpoch(response) => response,
            _ => unreachable!("answered by its own kind"),
        });
        for question in questions {
            let Some(position) = self.positions.get_mut(&question.partition) else { continue };
            position.busy = false;
            if position.next != Some(Seek::Offset(question.offset)) || position.epoch != question.epoch {
                continue;
            }
            let found = response.as_ref().ok().and_then(|response| {
                let mut topics = response.topics.iter().filter(|topic| **topic.topic == *question.partition.topic);
                let mut all = topics.next()?.partitions.iter();
                all.find(|one| one.partition == question.partition.partition)
            });
            self.take_end(question, found)?;
        }
        Ok(())
    }

    fn take_end(&mut self, question: &Question, found: Option<&EpochEndOffset>) -> Result<(), ClientError> {
        let Question { partition, offset, leader, .. } = question;
        let Some(found) = found.filter(|found| ErrorCode::from_i16(found.error_code) == ErrorCode::None) else {
            self.put_off(partition);
            return Ok(());
        };
        if found.end_offset < 0 || found.leader_epoch < 0 {
            // The leader has nothing of that epoch nor of any before it.
            return self.reset(partition, || format!("{partition} has nothing left of what was read before {offset}"));
        }
        if Offset(found.end_offset) < *offset {
            return self.truncated(partition, *offset, (Offset(found.end_offset), LeaderEpoch(found.leader_epoch)));
        }
        if let Some(position) = self.positions.get_mut(partition) {
            position.validated = leader.epoch;
        }
        Ok(())
    }
}
