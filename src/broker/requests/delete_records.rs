//! DeleteRecords: the begin of a log moves, and the answer waits until it has moved on every replica that lives.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{super::partition::Partition, Broker, find_partition, metadata::is_internal};
use crate::{
    base::{Offset, Time},
    protocol::{
        ErrorCode,
        messages::{
            DeleteRecordsRequest, DeleteRecordsResponse, ResponseKind, TopicName,
            delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        },
    },
    rpc::Reply,
    runtime::clock,
    trace,
};

/// What is known of one partition: what to answer, and what it still waits for.
struct Pending {
    answer: DeleteRecordsPartitionResult,
    waits: Option<(Arc<Partition>, Offset)>,
}

impl Broker {
    pub(super) async fn delete_records(self: Arc<Self>, request: DeleteRecordsRequest) -> Reply {
        let deadline = clock::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                partitions.push(self.delete_before(&topic.name, asked.partition_index, Offset(asked.offset)).await);
            }
            topics.push((topic.name.clone(), partitions));
        }
        let cause = trace::current_cause();
        Reply::later(trace::caused_by(cause, async move {
            let mut results = Vec::new();
            for (name, partitions) in topics {
                let mut answers = Vec::new();
                for pending in partitions {
                    answers.push(pending.answered(deadline).await);
                }
                results.push(DeleteRecordsTopicResult::default().with_name(name).with_partitions(answers));
            }
            ResponseKind::from(DeleteRecordsResponse::default().with_topics(results))
        }))
    }

    async fn delete_before(&self, topic: &TopicName, index: i32, before: Offset) -> Pending {
        let answer = DeleteRecordsPartitionResult::default().with_partition_index(index);
        let refused = |code: ErrorCode| Pending {
            answer: answer.clone().with_error_code(code.code()).with_low_watermark(-1),
            waits: None,
        };
        let image = self.cache.image();
        let Some(known) = image.topic(topic.as_str()) else { return refused(ErrorCode::UnknownTopicOrPartition) };
        if is_internal(topic.as_str()) {
            return refused(ErrorCode::InvalidTopicException);
        }
        let partition = match find_partition(&self.replicas, known, index) {
            Ok(partition) => partition,
            Err(code) => return refused(code),
        };
        match partition.delete_records(before).await {
            Ok(deleted) => {
                let waits = (deleted.low_watermark < deleted.before).then_some((partition, deleted.before));
                Pending { answer: answer.with_low_watermark(deleted.low_watermark.0), waits }
            }
            Err(code) => refused(code),
        }
    }
}

impl Pending {
    /// The answer once every replica that lives begins there, or the time is up.
    async fn answered(self, deadline: Time) -> DeleteRecordsPartitionResult {
        let Some((partition, before)) = self.waits else { return self.answer };
        let waiter = Arc::new(Notify::new());
        loop {
            match partition.low_watermark(&waiter).await {
                Ok(low_watermark) if low_watermark >= before => {
                    return self.answer.with_low_watermark(low_watermark.0);
                }
                Ok(_) => {}
                Err(code) => return self.answer.with_error_code(code.code()).with_low_watermark(-1),
            }
            let left = deadline.since(clock::now());
            if left.is_zero() {
                return self.answer.with_error_code(ErrorCode::RequestTimedOut.code());
            }
            let _ = clock::timeout(left, waiter.notified()).await;
        }
    }
}
