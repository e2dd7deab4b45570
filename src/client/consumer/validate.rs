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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Cluster, ConsumerConfig, config::OffsetReset},
        protocol::messages::{
            OffsetForLeaderEpochResponse, offset_for_leader_epoch_response::OffsetForLeaderTopicResult,
        },
        trace::Tracer,
    };

    /// A consumer that has read `t-0` up to offset 10, the last record of epoch 3, and is told where that epoch ends in
    /// the log of the leader of epoch 5.
    fn told(reset: OffsetReset, epoch: i32, end: i64) -> Result<Consumer, ClientError> {
        let config = ConsumerConfig { reset, validate_positions: true, ..ConsumerConfig::default() };
        let cluster = Cluster::new(config.cluster.clone(), vec![]);
        let mut consumer = Consumer::new(config, cluster, Tracer::off());
        let partition = TopicPartition::new("t", 0);
        consumer.assign_awaiting(partition.clone());
        consumer.seek(&partition, Seek::Offset(Offset(10)), LeaderEpoch(3), "committed")?;
        let leader = Leader { node: NodeId(2), epoch: LeaderEpoch(5) };
        assert!(is_doubtful(&consumer.positions[&partition], leader));
        let question = Question { partition: partition.clone(), offset: Offset(10), epoch: LeaderEpoch(3), leader };
        let found = EpochEndOffset::default().with_leader_epoch(epoch).with_end_offset(end);
        let topic = OffsetForLeaderTopicResult::default().with_topic(topic_name("t")).with_partitions(vec![found]);
        let response = OffsetForLeaderEpochResponse::default().with_topics(vec![topic]);
        let answer = || Answer { body: ResponseKind::OffsetForLeaderEpoch(response.clone()), cause: None };
        consumer.take_validated(std::slice::from_ref(&question), Ok(answer()))?;
        let position = &consumer.positions[&partition];
        let settled = (position.next, position.epoch, position.validated);
        // The same answer once more, to a question that is none any more.
        if settled.0 != Some(Seek::Offset(Offset(10))) {
            consumer.take_validated(&[question], Ok(answer()))?;
            let position = &consumer.positions[&partition];
            assert_eq!((position.next, position.epoch, position.validated), settled);
        }
        Ok(consumer)
    }

    #[test]
    fn a_new_leaders_answer_keeps_the_position_or_tells_where_the_log_was_truncated() {
        let partition = TopicPartition::new("t", 0);
        for (epoch, end, next, after, validated) in [
            (3, 12, Seek::Offset(Offset(10)), 3, 5),
            (3, 10, Seek::Offset(Offset(10)), 3, 5),
            (3, 9, Seek::Offset(Offset(9)), 3, -1),
            (2, 7, Seek::Offset(Offset(7)), 2, -1),
            (-1, -1, Seek::Beginning, 3, -1),
        ] {
            let consumer = told(OffsetReset::Earliest, epoch, end).expect("it goes on by itself");
            let position = &consumer.positions[&partition];
            let found = (position.next, position.epoch, position.validated);
            let expected = (Some(next), LeaderEpoch(after), LeaderEpoch(validated));
            assert_eq!(found, expected, "epoch {epoch} ends at {end}");
        }
        for (epoch, end) in [(2, 7), (-1, -1)] {
            let refused = told(OffsetReset::None, epoch, end).err().expect("the application decides");
            assert_eq!(refused.name(), "OFFSET_OUT_OF_RANGE", "epoch {epoch} ends at {end}");
        }
    }
}
