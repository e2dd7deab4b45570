//! Produce: append to each partition in order, answer when the acks asked for are given.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::Rng;
use tokio::sync::oneshot;

use super::{Broker, find_partition, find_topic, metadata::is_internal};
use crate::{
    base::NodeId,
    controller::image::PartitionRegistration,
    protocol::{
        ErrorCode,
        messages::{
            ProduceRequest, ProduceResponse, ResponseKind,
            produce_request::PartitionProduceData,
            produce_response::{
                BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
                TopicProduceResponse,
            },
        },
        records::{BatchHeader, Refusal},
    },
    rpc::Reply,
    runtime::{clock, random, task},
};

/// One partition's answer, and what it still waits for.
struct Pending {
    answer: PartitionProduceResponse,
    committed: Option<oneshot::Receiver<ErrorCode>>,
    /// Who really leads, for those who asked the wrong one.
    leader: Option<PartitionRegistration>,
}

impl Broker {
    /// `is_admin`: the client is one of Kafka's own tools, which may write to internal topics.
    pub(super) async fn produce(self: Arc<Self>, request: ProduceRequest, version: i16, is_admin: bool) -> Reply {
        let image = self.cache.image();
        let mut topics = Vec::new();
        for topic in &request.topic_data {
            let mut partitions = Vec::new();
            let found = find_topic(&image, &topic.name, topic.topic_id, version >= 13);
            // What stands there is written by coordinators alone.
            let found = found.and_then(|found| match is_internal(&found.name) && !is_admin {
                true => Err(ErrorCode::InvalidTopicException),
                false => Ok(found),
            });
            // Of a partition that is named twice the last counts, as in Kafka's map.
            let data: BTreeMap<i32, &PartitionProduceData> =
                topic.partition_data.iter().map(|data| (data.index, data)).collect();
            for data in data.into_values() {
                let pending = match &found {
                    Ok(found) => {
                        let registration = found.partitions.get(&data.index).cloned();
                        let pending = match find_partition(&self.replicas, found, data.index) {
                            Ok(partition) => append(&partition, data, version, request.acks).await,
                            Err(code) => Err(code.into()),
                        };
                        (pending, registration)
                    }
                    Err(code) => (Err((*code).into()), None),
                };
                partitions.push(pending_answer(data.index, pending.0, pending.1, version));
            }
            let answer = TopicProduceResponse::default();
            topics.push((
                if version >= 13 { answer.with_topic_id(topic.topic_id) } else { answer.with_name(topic.name.clone()) },
                partitions,
            ));
        }
        if request.acks == 0 {
            let failed =
                topics.iter().flat_map(|(_, partitions)| partitions).any(|pending| pending.answer.error_code != 0);
            return if failed { Reply::Close } else { Reply::Nothing };
        }
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let waits = topics.iter().flat_map(|(_, partitions)| partitions).any(|pending| pending.committed.is_some());
        if !waits {
            return Reply::now(self.produce_response(topics, version));
        }
        let deadline = clock::now() + timeout;
        Reply::later(async move {
            for (_, partitions) in &mut topics {
                for pending in partitions.iter_mut() {
                    let Some(committed) = pending.committed.take() else { continue };
                    let code = wait(committed, deadline.since(clock::now())).await;
                    if code != ErrorCode::None {
                        pending.answer.error_code = code.code();
                        (pending.answer.base_offset, pending.answer.log_append_time_ms) = (-1, -1);
                        if version >= 5 {
                            pending.answer.log_start_offset = -1;
                        }
                    }
                }
            }
            self.produce_response(topics, version)
        })
    }

    /// As [`Broker::produce`], each request on its own: a planted bug, with which whoever comes second may be first.
    pub(super) fn produce_in_any_order(self: Arc<Self>, request: ProduceRequest, version: i16) -> Reply {
        let (answer, answered) = oneshot::channel();
        let held_up = Duration::from_millis(random::stream("overtaking").random_range(0..30));
        task::spawn(async move {
            clock::sleep(held_up).await;
            // Nobody listens any more when the connection is closed.
            let _ = match self.produce(request, version, false).await {
                Reply::Now(response) => answer.send(*response),
                Reply::Later(response) => answer.send(response.await),
                Reply::Nothing | Reply::Close => return,
            };
        });
        Reply::later(async { answered.await.expect("a produce with acks is answered") })
    }

    fn produce_response(&self, topics: Vec<(TopicProduceResponse, Vec<Pending>)>, version: i16) -> ResponseKind {
        let image = self.cache.image();
        let mut endpoints: BTreeMap<NodeId, NodeEndpoint> = BTreeMap::new();
        let mut responses = Vec::new();
        for (topic, partitions) in topics {
            let mut answers = Vec::new();
            for mut pending in partitions {
                let moved = pending.answer.error_code == ErrorCode::NotLeaderOrFollower.code();
                if let (true, Some(registration)) = (moved && version >= 10, &pending.leader) {
                    pending.answer.current_leader = LeaderIdAndEpoch::default()
                        .with_leader_id(registration.leader.0.into())
                        .with_leader_epoch(registration.leader_epoch.0);
                    let known = image.broker(registration.leader);
                    if let Some(endpoint) = known.and_then(|known| known.endpoint(&self.config.inter_broker_listener)) {
                        let node = NodeEndpoint::default()
                            .with_node_id(registration.leader.0.into())
                            .with_host(endpoint.host.clone().into())
                            .with_port(i32::from(endpoint.port));
                        endpoints.insert(registration.leader, node);
                    }
                }
                answers.push(pending.answer);
            }
            responses.push(topic.with_partition_responses(answers));
        }
        let endpoints = endpoints.into_values().collect();
        ProduceResponse::default().with_responses(responses).with_node_endpoints(endpoints).into()
    }
}

async fn append(
    partition: &super::super::partition::Partition,
    data: &PartitionProduceData,
    version: i16,
    acks: i16,
) -> Result<super::super::partition::Accepted, Refusal> {
    if !matches!(acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    let records = data.records.clone().unwrap_or_default();
    if BatchHeader::parse(&records).is_ok_and(|header| header.is_transactional()) {
        // No transaction can have been begun here: as Kafka answers for an id that may not be used.
        return Err(ErrorCode::TransactionalIdAuthorizationFailed.into());
    }
    partition.append(&records, version, acks).await
}

/// The code to answer with once the records are committed, or the time is up. An answer that has come already is
/// taken without a timer.
async fn wait(mut committed: oneshot::Receiver<ErrorCode>, left: Duration) -> ErrorCode {
    if let Ok(code) = committed.try_recv() {
        return code;
    }
    match clock::timeout(left, committed).await {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => ErrorCode::NotLeaderOrFollower,
        Err(_) => ErrorCode::RequestTimedOut,
    }
}

fn pending_answer(
    index: i32,
    outcome: Result<super::super::partition::Accepted, Refusal>,
    leader: Option<PartitionRegistration>,
    version: i16,
) -> Pending {
    let answer = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(accepted) => {
            let answer =
                answer.with_base_offset(accepted.base_offset.0).with_log_append_time_ms(accepted.append_time_ms);
            let answer = if version >= 5 { answer.with_log_start_offset(accepted.log_start.0) } else { answer };
            Pending { answer, committed: accepted.committed, leader }
        }
        Err(refusal) => {
            tracing::debug!(partition = index, code = %refusal.code, refusal.message, "records are refused");
            let answer = answer.with_error_code(refusal.code.code()).with_base_offset(-1).with_log_append_time_ms(-1);
            let mut answer = if version >= 5 { answer.with_log_start_offset(-1) } else { answer };
            if version >= 8 {
                let record = |(index, message): &(i32, String)| {
                    let error = BatchIndexAndErrorMessage::default().with_batch_index(*index);
                    error.with_batch_index_error_message(Some(message.clone().into()))
                };
                answer.record_errors = refusal.records.iter().map(record).collect();
                answer.error_message = refusal.told.then(|| refusal.message.into());
            }
            Pending { answer, committed: None, leader }
        }
    }
}
