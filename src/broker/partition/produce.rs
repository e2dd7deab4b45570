//! Appending what producers send.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{AckWaiter, Partition, Standing};
use crate::{
    base::{Offset, Timestamp, mark},
    protocol::{
        ErrorCode,
        records::{Refusal, TimestampType, validate_produce},
    },
    replica::Ack,
    runtime::clock,
    storage::{AppendError, SequenceError},
};

/// What became of a produced batch.
#[derive(Debug)]
pub struct Accepted {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The broker's time, if the topic asks for it; else -1. Of a retry the greatest time of the batch that is there.
    pub append_time_ms: Timestamp,
    /// First offset of the log.
    pub log_start: Offset,
    /// With acks=all: the code to answer with, when it is known.
    pub committed: Option<oneshot::Receiver<ErrorCode>>,
}

impl Partition {
    /// Appends a producer's batch.
    ///
    /// # Errors
    /// The code to answer with; nothing was appended, but for a disk that failed midway.
    pub async fn append(&self, records: &Bytes, version: i16, acks: i16) -> Result<Accepted, Refusal> {
        if self.context.switches.bug_batches_overtake {
            // Whoever comes second waits less.
            let even = self.state.lock().await.log.end_offset().0 % 2 == 0;
            clock::sleep(Duration::from_millis(if even { 30 } else { 0 })).await;
        }
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let Standing::Leader(leader) = &mut state.role else { return Err(ErrorCode::NotLeaderOrFollower.into()) };
        if acks == -1 && !leader.has_enough_replicas() {
            mark::reach("not_enough_replicas");
            let Standing::Leader(leader) = &state.role else { unreachable!("the role was looked at above") };
            let code = ErrorCode::NotEnoughReplicas;
            self.report_answer(state, leader, acks, code, (Offset::UNKNOWN, Offset::UNKNOWN));
            return Err(code.into());
        }
        let now_ms = clock::wall_ms();
        let limits = &state.settings.limits;
        let by_broker = limits.timestamp_type == TimestampType::LogAppendTime;
        let (header, batch) = validate_produce(records, version, limits, now_ms)?;
        let appended = state.log.append_as_leader(&header, &batch, state.leader_epoch, now_ms).await;
        let appended = appended.map_err(|error| self.append_refusal(&error))?;
        if appended.retry_of.is_none() {
            leader.appended(appended.end_offset, clock::now());
        }
        let mut range = (appended.base_offset, appended.end_offset);
        if appended.retry_of.is_some() && self.context.switches.bug_retry_gets_new_offset {
            range.0 = state.log.end_offset();
        }
        let ack = leader.ack(appended.end_offset);
        let committed = (acks == -1).then(|| {
            let (answer, receiver) = oneshot::channel();
            state.acks.push(AckWaiter { base_offset: range.0, end_offset: range.1, answer });
            receiver
        });
        if ack != Ack::Wait || state.high_watermark() > state.high_watermark {
            self.after_change(state);
        } else {
            state.wake_fetches();
        }
        if committed.is_none()
            && let Standing::Leader(leader) = &state.role
        {
            self.report_answer(state, leader, acks, ErrorCode::None, range);
        }
        let append_time_ms = appended.retry_of.unwrap_or(if by_broker { now_ms } else { -1 });
        Ok(Accepted { base_offset: range.0, append_time_ms, log_start: state.log.start_offset(), committed })
    }

    fn append_refusal(&self, error: &AppendError) -> Refusal {
        let code = match error {
            AppendError::Sequence(SequenceError::FencedEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
            AppendError::Sequence(SequenceError::OutOfOrder { .. }) => {
                mark::reach("out_of_order_sequence");
                ErrorCode::OutOfOrderSequenceNumber
            }
            AppendError::Storage(error) => {
                tracing::error!(partition = %self.id, %error, "an append failed");
                ErrorCode::KafkaStorageError
            }
            AppendError::NotContiguous { .. } | AppendError::Batch(_) => {
                unreachable!("a leader's append gives offsets and was validated: {error}")
            }
        };
        Refusal::new(code, error.to_string())
    }
}
