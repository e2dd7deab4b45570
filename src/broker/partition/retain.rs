//! The begin of the log moves forward: by retention and by DeleteRecords, here; after the leader's in [`super::follow`].

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Partition, Standing, State};
use crate::{base::Offset, protocol::ErrorCode, runtime::clock, storage::StorageError};

/// What became of a DeleteRecords on the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// First offset that stays.
    pub before: Offset,
    /// The smallest begin of a log among the replicas that live.
    pub low_watermark: Offset,
}

impl Partition {
    /// Deletes the segments that retention lets go by the wall clock of this node, whatever the role.
    pub async fn delete_old_segments(&self) {
        let mut state = self.state.lock().await;
        let (high_watermark, begin) = (state.high_watermark(), state.log.start_offset());
        if let Err(error) = state.log.delete_old_segments(high_watermark, clock::wall_ms()).await {
            tracing::error!(partition = %self.id, %error, "old segments could not be deleted");
        }
        if state.log.start_offset() != begin {
            state.wake_fetches();
        }
    }

    /// Deletes the records before `before`, on the leader alone; the followers learn it from their fetches. -1 means the
    /// high watermark.
    ///
    /// # Errors
    /// The code to answer with: POLICY_VIOLATION without `cleanup.policy` delete, OFFSET_OUT_OF_RANGE beyond the high
    /// watermark.
    pub async fn delete_records(&self, before: Offset) -> Result<Deleted, ErrorCode> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let Standing::Leader(leader) = &state.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        if !state.settings.log.deletes {
            return Err(ErrorCode::PolicyViolation);
        }
        let high_watermark = leader.high_watermark();
        let before = if before == Offset::UNKNOWN { high_watermark } else { before };
        if before < Offset::ZERO {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let moved = state.log.advance_start(before, high_watermark, "delete-records").await;
        moved.map_err(|error: StorageError| error.code())?;
        // A fetch that waits tells the new begin with its answer.
        state.wake_fetches();
        Ok(Deleted { before, low_watermark: low_watermark(state)? })
    }

    /// The smallest begin of a log among the replicas that live. `waiter` is rung when it may have moved.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER.
    pub async fn low_watermark(&self, waiter: &Arc<Notify>) -> Result<Offset, ErrorCode> {
        let mut state = self.state.lock().await;
        state.wake_on_change(waiter);
        low_watermark(&state)
    }
}

fn low_watermark(state: &State) -> Result<Offset, ErrorCode> {
    match &state.role {
        Standing::Leader(leader) => Ok(leader.low_watermark(state.log.start_offset())),
        Standing::Follower => Err(ErrorCode::NotLeaderOrFollower),
    }
}
