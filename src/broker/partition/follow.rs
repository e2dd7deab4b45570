//! A follower's side: where it stands, and what it does with the leader's answers.

use super::{Fetched, Partition, Standing, State};
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
    /// The epoch whose end it has to ask for before it fetches.
    pub asks: Option<LeaderEpoch>,
}

impl State {
    /// Whether it still stands as it did at `position`: with that leader, in that epoch.
    fn follows(&self, position: &FollowerPosition) -> bool {
        let with = (position.leader, position.leader_epoch);
        matches!(self.role, Standing::Follower) && (self.leader, self.leader_epoch) == with
    }
}

impl Partition {
    /// What a follower fetches with: leader, epochs, end of its log. `None` while it does not follow anyone.
    pub async fn follower_position(&self) -> Option<FollowerPosition> {
        let state = self.state.lock().await;
        if matches!(state.role, Standing::Leader(_)) || state.leader == NodeId::NONE {
            return None;
        }
        let switches = &self.context.switches;
        let with_epochs = switches.truncate == Truncate::LeaderEpoch && !switches.bug_keeps_diverging_tail;
        Some(FollowerPosition {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            offset: state.log.end_offset(),
            last_epoch: if with_epochs { state.log.latest_epoch() } else { LeaderEpoch::UNKNOWN },
            log_start: state.log.start_offset(),
            asks: state.asks_first.then(|| state.log.latest_epoch()),
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
        if !state.follows(position) {
            if let Some(diverging) = response.diverging
                && !self.context.switches.late_answers_ignored
            {
                self.cut(state, diverging).await?;
            }
            return Ok(());
        }
        if let Some(diverging) = response.diverging {
            if self.context.switches.bug_no_truncation {
                return Ok(());
            }
            if self.context.switches.hw_update_before_truncate {
                self.take_high_watermark(state, response.high_watermark);
            }
            return Ok(self.cut(state, diverging).await?);
        }
        if state.log.end_offset() != position.offset {
            return Ok(());
        }
        if !response.records.is_empty() {
            state.log.append_as_follower(&response.records, clock::wall_ms()).await?;
        }
        self.take_high_watermark(state, response.high_watermark);
        let start = response.log_start.min(state.high_watermark);
        state.log.advance_start(start, state.high_watermark, "leader").await?;
        Ok(())
    }

    fn take_high_watermark(&self, state: &mut State, leaders: Offset) {
        let high_watermark = leaders.min(state.log.end_offset());
        if high_watermark != state.high_watermark && high_watermark >= Offset::ZERO {
            state.high_watermark = high_watermark;
            self.report_high_watermark(state, Role::Follower);
        }
    }

    /// Cuts the log where it leaves the leader's, whose epochs up to that of `leaders` end at its offset.
    async fn cut(&self, state: &mut State, leaders: (LeaderEpoch, Offset)) -> Result<(), StorageError> {
        let own = state.log.end_offset_for_epoch(leaders.0);
        let to = truncation_offset(leaders, own, state.high_watermark, state.log.end_offset());
        if to < state.log.end_offset() {
            mark::reach("follower_truncated_to_leader_epoch");
        }
        if to < state.log.end_offset() || self.context.switches.truncate_cleans_epochs {
            state.log.truncate_to(to, "leader-epoch").await?;
        }
        state.high_watermark = state.high_watermark.min(state.log.end_offset());
        if let Standing::Leader(leader) = &mut state.role {
            leader.truncated(state.log.end_offset());
        }
        Ok(())
    }

    /// Takes the leader's answer to the question of [`FollowerPosition::asks`], which comes before the first fetch
    /// until 2.7. In one round (KIP-101) the follower believes the offset; since KIP-279 it asks again until the epoch
    /// of the answer is one that it knows.
    ///
    /// # Errors
    /// The log failed.
    pub async fn take_epoch_end(
        &self,
        position: &FollowerPosition,
        leaders: (LeaderEpoch, Offset),
    ) -> Result<(), StorageError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if !state.follows(position) {
            return Ok(());
        }
        let (own_epoch, _) = state.log.end_offset_for_epoch(leaders.0);
        let one_round = self.context.switches.truncate == Truncate::OneRound;
        state.asks_first = !one_round && own_epoch != LeaderEpoch::UNKNOWN && own_epoch != leaders.0;
        let leaders = if one_round { (LeaderEpoch::UNKNOWN, leaders.1) } else { leaders };
        self.cut(state, leaders).await
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
        if !state.follows(position) {
            return Ok(());
        }
        if self.context.switches.bug_no_truncation {
            return Ok(());
        }
        if end < state.log.end_offset() {
            state.log.truncate_to(end, "out-of-range").await?;
        } else if start > state.log.end_offset() {
            mark::reach("follower_behind_log_start");
            state.log.truncate_fully_and_start_at(start, "out-of-range").await?;
        }
        // Never before the begin (KAFKA-9491).
        state.high_watermark = state.high_watermark.clamp(state.log.start_offset(), state.log.end_offset());
        Ok(())
    }
}
