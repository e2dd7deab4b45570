//! What a leader lets others read: records, offsets, epochs. A follower's fetch also tells how far it is.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Partition, Standing, State};
use crate::{
    base::{BrokerEpoch, LeaderEpoch, NodeId, Offset, switches::Truncate},
    protocol::ErrorCode,
    replica::diverging_epoch,
    runtime::clock,
    storage::{StorageError, TimestampedOffset},
    trace::Event,
};

/// Who fetches.
#[derive(Clone, Copy, Debug)]
pub enum Fetcher {
    /// A consumer reads up to the high watermark.
    Consumer,
    /// A follower reads to the end; its fetch tells how far it is.
    Replica {
        /// Which broker.
        id: NodeId,
        /// Its incarnation, or -1.
        epoch: BrokerEpoch,
        /// Whether this read tells how far it is: the first of a fetch does, a second look after waiting does not.
        tells: bool,
    },
}

impl Fetcher {
    /// The same asker looking again.
    #[must_use]
    pub fn without_news(self) -> Self {
        match self {
            Self::Consumer => self,
            Self::Replica { id, epoch, .. } => Self::Replica { id, epoch, tells: false },
        }
    }
}

/// A fetch of one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchParams {
    /// Who asks.
    pub fetcher: Fetcher,
    /// First offset wanted.
    pub offset: Offset,
    /// The asker's idea of the leader epoch, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// Epoch of the asker's last record, or -1.
    pub last_fetched_epoch: LeaderEpoch,
    /// First offset of the asker's log; of followers alone.
    pub log_start: Offset,
    /// About how much to read.
    pub max_bytes: usize,
    /// Whether to read one batch even if it is larger.
    pub at_least_one: bool,
}

/// What a fetch of one partition gives.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What kept it from reading.
    pub code: ErrorCode,
    /// High watermark, -1 beside most errors.
    pub high_watermark: Offset,
    /// First offset, -1 beside most errors.
    pub log_start: Offset,
    /// Whole batches.
    pub records: Bytes,
    /// Where the asker's log leaves the leader's.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Who leads, for those who asked the wrong one.
    pub leader: (NodeId, LeaderEpoch),
}

impl Fetched {
    /// Nothing but an error.
    pub fn error(code: ErrorCode) -> Self {
        let leader = (NodeId::NONE, LeaderEpoch::UNKNOWN);
        let (high_watermark, log_start) = (Offset::UNKNOWN, Offset::UNKNOWN);
        Self { code, high_watermark, log_start, records: Bytes::new(), diverging: None, leader }
    }
}

impl Partition {
    /// Reads for a consumer or a follower. At the next change that a fetch may wait for, `waiter` is rung, as long as
    /// somebody holds it.
    pub async fn fetch(self: &Arc<Self>, params: &FetchParams, waiter: Option<&Arc<Notify>>) -> Fetched {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if let Some(waiter) = waiter {
            state.wake_on_change(waiter);
        }
        let leader = (state.leader, state.leader_epoch);
        if let Err(code) = state.check_leadership(params.current_leader_epoch) {
            return Fetched { leader, ..Fetched::error(code) };
        }
        let (start, end) = (state.log.start_offset(), state.log.end_offset());
        let mut fetched = Fetched {
            code: ErrorCode::None,
            high_watermark: state.high_watermark(),
            log_start: start,
            records: Bytes::new(),
            diverging: None,
            leader,
        };
        if params.offset < start {
            return Fetched { leader, ..Fetched::error(ErrorCode::OffsetOutOfRange) };
        }
        if params.last_fetched_epoch != LeaderEpoch::UNKNOWN {
            let own = state.log.end_offset_for_epoch(params.last_fetched_epoch);
            if own.1 == Offset::UNKNOWN {
                return Fetched { leader, ..Fetched::error(ErrorCode::OffsetOutOfRange) };
            }
            fetched.diverging = diverging_epoch(params.last_fetched_epoch, params.offset, own)
                .filter(|_| !self.context.switches.bug_serves_diverging_followers);
            if fetched.diverging.is_some() {
                // What the asker has beyond it counts for nothing (KAFKA-13141).
                if !self.context.switches.ignore_fetch_offset_when_diverging
                    && let Fetcher::Replica { id, epoch, tells: true } = params.fetcher
                {
                    self.note_follower(state, (id, epoch), params.offset.min(end), params.log_start);
                }
                return fetched;
            }
        }
        if params.offset > end {
            return Fetched { leader, ..Fetched::error(ErrorCode::OffsetOutOfRange) };
        }
        let is_consumer = matches!(params.fetcher, Fetcher::Consumer);
        let to_high_watermark = is_consumer && !self.context.switches.bug_consumers_read_to_the_end;
        let up_to = if to_high_watermark { fetched.high_watermark } else { end };
        match state.log.read(params.offset, up_to, params.max_bytes, params.at_least_one).await {
            Ok(records) => fetched.records = records,
            Err(error) => {
                tracing::error!(partition = %self.id, %error, "a fetch failed");
                return Fetched { leader, ..Fetched::error(self.unreadable(state, &error)) };
            }
        }
        if let Fetcher::Replica { id, epoch, tells: true } = params.fetcher {
            self.note_follower(state, (id, epoch), params.offset, params.log_start);
        }
        fetched
    }

    /// The code to answer with where the log cannot be read. Each damage is told once.
    pub(super) fn unreadable(&self, state: &mut State, error: &StorageError) -> ErrorCode {
        state.log.note_unreadable(error);
        let StorageError::Corrupt { .. } = error else { return ErrorCode::KafkaStorageError };
        if state.damage_told.insert(error.to_string()) {
            self.context.tell_damage(&self.id, error);
        }
        ErrorCode::CorruptMessage
    }

    /// Notes what the fetch of a follower's incarnation tells: where its log ends, and where it begins.
    fn note_follower(
        self: &Arc<Self>,
        state: &mut State,
        (id, epoch): (NodeId, BrokerEpoch),
        offset: Offset,
        log_start: Offset,
    ) {
        let end_offset = state.log.end_offset();
        let Standing::Leader(leader) = &mut state.role else { unreachable!("only a leader serves fetches") };
        self.context.tracer.detail(|| Event::FollowerFetched {
            partition: self.id.clone(),
            follower: id,
            leader_epoch: leader.epoch(),
            fetch_offset: offset,
            end_offset,
        });
        let proposal = leader.fetched(id, offset, epoch, clock::now());
        let began = leader.told_log_start(id, log_start);
        if leader.high_watermark() > state.high_watermark {
            self.after_change(state);
        } else if began {
            // A DeleteRecords may wait for it.
            state.wake_fetches();
        }
        self.propose(proposal);
    }

    /// Answers ListOffsets.
    ///
    /// # Errors
    /// The code to answer with.
    pub async fn list_offset(
        &self,
        timestamp: i64,
        from_replica: bool,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Option<TimestampedOffset>, ErrorCode> {
        let state = self.state.lock().await;
        state.check_leadership(current_leader_epoch)?;
        let Standing::Leader(leader) = &state.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        let (high_watermark, end) = (leader.high_watermark(), state.log.end_offset());
        let earliest = matches!(timestamp, -2 | -4);
        let told_late = self.context.switches.list_offsets_needs_leso;
        if !from_replica && !earliest && told_late && high_watermark < leader.epoch_start() {
            return Err(ErrorCode::OffsetNotAvailable);
        }
        let up_to = if from_replica { end } else { high_watermark };
        let at = |offset: Offset, leader_epoch: LeaderEpoch| {
            Ok(Some(TimestampedOffset { timestamp: -1, offset, leader_epoch }))
        };
        let found = match timestamp {
            -1 => return at(up_to, state.leader_epoch),
            -2 | -4 => return at(state.log.start_offset(), state.log.epochs().epoch_at(state.log.start_offset())),
            -3 => state.log.max_timestamp().await,
            _ => state.log.offset_for_timestamp(timestamp).await,
        };
        match found {
            Ok(found) => Ok(found.filter(|found| found.offset < up_to)),
            Err(error) => {
                tracing::error!(partition = %self.id, %error, "an offset could not be looked up");
                state.log.note_unreadable(&error);
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    /// Answers OffsetForLeaderEpoch.
    ///
    /// # Errors
    /// The code to answer with.
    pub async fn epoch_end(
        &self,
        epoch: LeaderEpoch,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<(LeaderEpoch, Offset), ErrorCode> {
        let state = self.state.lock().await;
        state.check_leadership(current_leader_epoch)?;
        if self.context.switches.truncate == Truncate::OneRound && epoch > state.log.latest_epoch() {
            return Ok((LeaderEpoch::UNKNOWN, Offset::UNKNOWN));
        }
        Ok(state.log.end_offset_for_epoch(epoch))
    }
}
