//! A follower's side: where it stands, and what it does with the leader's answers.

use super::{Fetched, Partition, Standing};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, mark, switches::Truncate},
    replica::truncation_offset,
    runtime::clock,
    storage::{AppendError, StorageError},
    trace::Role,
};

/// Where a follower stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPosition {
    /// Whom it follows.
    pub leader: NodeId,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// End of its log: the offset to fetch.
    pub offset: Offset,
    /// Epoch of its last record; unknown before KIP-101.
    pub last_epoch: LeaderEpoch,
    /// First offset of its log.
    pub log_start: Offset,
}

impl Partition {
    /// What a follower fetches with: leader, epochs, end of its log. `None` while it does not follow anyone.
    pub async fn follower_position(&self) -> Option<FollowerPosition> {
        let state = self.state.lock().await;
        if matches!(state.role, Standing::Leader(_)) || state.leader == NodeId::NONE {
            return None;
        }
        let with_epochs = self.context.switches.truncate == Truncate::LeaderEpoch;
        Some(FollowerPosition {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            offset: state.log.end_offset(),
            last_epoch: if with_epochs { state.log.latest_epoch() } else { LeaderEpoch::UNKNOWN },
            log_start: state.log.start_offset(),
        })
    }

    /// Takes what the leader sent to a fetch that was made at `position`. A response that comes too late - the
    /// partition follows someone else by now, or leads itself - changes nothing (KAFKA-13207).
    ///
    /// # Errors
    /// The log failed, or what the leader sent does not fit.
    pub async fn take(&self, position: &FollowerPosition, response: &Fetched) -> Result<(), AppendError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if matches!(state.role, Standing::Leader(_)) || state.leader_epoch != position.leader_epoch {
            return Ok(());
        }
        if let Some(diverging) = response.diverging {
            if self.context.switches.bug_no_truncation {
                return Ok(());
            }
            let own = state.log.end_offset_for_epoch(diverging.0);
            let to = truncation_offset(diverging, own, state.high_watermark, state.log.end_offset());
            mark::reach("follower_truncated_to_leader_epoch");
            state.log.truncate_to(to, "leader-epoch").await?;
            state.high_watermark = state.high_watermark.min(state.log.end_offset());
            return Ok(());
        }
        if state.log.end_offset() != position.offset {
            return Ok(());
        }
        if !response.records.is_empty() {
            state.log.append_as_follower(&response.records, clock::wall_ms()).await?;
        }
        let high_watermark = response.high_watermark.min(state.log.end_offset());
        if high_watermark != state.high_watermark && high_watermark >= Offset::ZERO {
            state.high_watermark = high_watermark;
            self.report_high_watermark(state, Role::Follower);
        }
        Ok(())
    }

    /// The leader does not have the offset that this follower asked for: its log is `start..end`.
    ///
    /// # Errors
    /// The log failed.
    pub async fn leader_range(
        &self,
        position: &FollowerPosition,
        start: Offset,
        end: Offset,
    ) -> Result<(), StorageError> {
        let mut state = self.state.lock().await;
        if matches!(state.role, Standing::Leader(_)) || state.leader_epoch != position.leader_epoch {
            return Ok(());
        }
        if self.context.switches.bug_no_truncation {
            return Ok(());
        }
        if end < state.log.end_offset() {
            state.log.truncate_to(end, "out-of-range").await?;
        } else if start > state.log.end_offset() {
            state.log.truncate_fully_and_start_at(start, "out-of-range").await?;
        }
        state.high_watermark = state.high_watermark.min(state.log.end_offset());
        Ok(())
    }
}
