//! What a coordinator does with the partition that holds its records: it reads them all, appends its own, and hears how
//! far they are committed. Everything names the leader epoch: a coordinator of an older one gets nothing done.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Partition, Standing, State};
use crate::{
    base::{LeaderEpoch, Offset, mark},
    protocol::{ErrorCode, records::BatchHeader},
    runtime::clock,
};

/// Records read for a coordinator.
pub struct Chunk {
    /// Whole batches.
    pub records: Bytes,
    /// First offset of the log.
    pub start: Offset,
    /// The log's end.
    pub end: Offset,
    /// How far it is committed.
    pub high_watermark: Offset,
}

impl Partition {
    /// Rings `notify` whenever the high watermark or the role changes. One coordinator listens at a time.
    pub async fn observe(&self, notify: Arc<Notify>) {
        self.state.lock().await.observer = Some(notify);
    }

    /// How far the records of the leadership in `leader_epoch` are committed.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER when that is over.
    pub async fn committed_in(&self, leader_epoch: LeaderEpoch) -> Result<Offset, ErrorCode> {
        let state = self.state.lock().await;
        state.check_epoch(leader_epoch)?;
        Ok(state.high_watermark())
    }

    /// Reads from `from` on, to the end of the log.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, or CORRUPT_MESSAGE where a batch is damaged; else the files failed.
    pub async fn read_in(&self, leader_epoch: LeaderEpoch, from: Offset, max_bytes: usize) -> Result<Chunk, ErrorCode> {
        let mut state = self.state.lock().await;
        state.check_epoch(leader_epoch)?;
        let (start, end) = (state.log.start_offset(), state.log.end_offset());
        let records = match state.log.read(from.max(start), end, max_bytes, true).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(partition = %self.id, offset = %from, %error, "records of a coordinator cannot be read");
                return Err(self.unreadable(&mut state, &error));
            }
        };
        Ok(Chunk { records, start, end, high_watermark: state.high_watermark() })
    }

    /// Largest batch that may be appended.
    pub async fn batch_bytes_max(&self) -> usize {
        self.state.lock().await.settings.limits.message_bytes_max
    }

    /// Appends a batch by the rules of acks=all, but does not wait; gives the end of the log after it.
    ///
    /// # Errors
    /// The code; nothing was appended, but for a disk that failed midway.
    pub async fn append_in(&self, leader_epoch: LeaderEpoch, batch: &Bytes) -> Result<Offset, ErrorCode> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        state.check_epoch(leader_epoch)?;
        let Standing::Leader(leader) = &mut state.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        if !leader.has_enough_replicas() {
            mark::reach("not_enough_replicas");
            return Err(ErrorCode::NotEnoughReplicas);
        }
        if batch.len() > state.settings.limits.message_bytes_max {
            return Err(ErrorCode::MessageTooLarge);
        }
        let header = BatchHeader::parse(batch).expect("a coordinator writes sound batches");
        let appended = state.log.append_as_leader(&header, batch, leader_epoch, clock::wall_ms()).await;
        let appended = appended.map_err(|error| {
            tracing::error!(partition = %self.id, %error, "records of a coordinator cannot be written");
            ErrorCode::KafkaStorageError
        })?;
        leader.appended(appended.end_offset, clock::now());
        self.after_change(state);
        Ok(appended.end_offset)
    }
}

impl State {
    fn check_epoch(&self, leader_epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        let leads = matches!(self.role, Standing::Leader(_)) && self.leader_epoch == leader_epoch;
        if leads { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    /// Tells the coordinator, if there is one, to look again.
    pub(super) fn ring_observer(&self) {
        if let Some(observer) = &self.observer {
            observer.notify_one();
        }
    }
}
