//! A consumer of assigned partitions: positions, fetches from the leaders, resets.
//!
//! One fetch is under way for each leader, for the partitions of which nothing is buffered (`fetch`). Each fetch names
//! the leader epoch and the epoch of the last record read, so that a log that was truncated under the consumer is noticed
//! (KIP-320); a group's consumer asks the new leader before it reads on (`validate`). Not here: groups and commits.
//!
//! | position | leaves it when | to |
//! |---|---|---|
//! | awaited | somebody says where to begin | unset or set |
//! | unset | the leader told the first or last offset | set |
//! | set | OFFSET_OUT_OF_RANGE | unset, by `auto.offset.reset` |
//! | set | the leader's log diverges before it | set to where it diverges |

mod fetch;
mod list;
mod validate;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{ClientError, Cluster, ConsumerConfig, config::OffsetReset};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, Time, Timestamp, TopicPartition},
    protocol::ErrorCode,
    rpc::{Answer, RpcError},
    runtime::{clock, task},
    trace::{Event, EventId, Tracer},
};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Where from.
    pub partition: TopicPartition,
    /// At which offset.
    pub offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Its time.
    pub timestamp: Timestamp,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Where in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// At the first record there is.
    Beginning,
    /// Behind the last record that everybody may read.
    End,
    /// At this offset.
    Offset(Offset),
    /// At the first record that is not older, in milliseconds since 1970.
    Timestamp(Timestamp),
}

/// Kafka's `IllegalStateException` of whoever speaks of a partition that it does not have.
pub(super) const NOT_ASSIGNED: ClientError = ClientError::Misused("the partition is not assigned to this consumer");

/// Where the consumer is in one partition.
struct Position {
    /// `None` while somebody else finds out where to begin.
    next: Option<Seek>,
    /// Why the position was or will be set, for the history.
    why: &'static str,
    /// Epoch of the last record read, and of the last one handed out.
    epoch: LeaderEpoch,
    consumed_epoch: LeaderEpoch,
    /// The leader's epoch for which the position is known to be in its log.
    validated: LeaderEpoch,
    /// Something is asked of the leader.
    busy: bool,
    paused: bool,
    not_before: Time,
    buffered: VecDeque<(Option<EventId>, ConsumerRecord)>,
}

impl Position {
    fn at(next: Option<Seek>, epoch: LeaderEpoch) -> Self {
        Self {
            next,
            why: "start",
            epoch,
            consumed_epoch: epoch,
            validated: LeaderEpoch::UNKNOWN,
            busy: false,
            paused: false,
            not_before: Time::ZERO,
            buffered: VecDeque::new(),
        }
    }
}

/// Reads assigned partitions. Dropping it ends its requests.
pub struct Consumer {
    config: ConsumerConfig,
    cluster: Arc<Cluster>,
    tracer: Tracer,
    positions: BTreeMap<TopicPartition, Position>,
    fetching: BTreeSet<NodeId>,
    refreshing: bool,
    reports: mpsc::UnboundedSender<Report>,
    inbox: mpsc::UnboundedReceiver<Report>,
}

/// What happened to something that the consumer asked for.
enum Report {
    Fetched(NodeId, Vec<(TopicPartition, Offset)>, Result<Answer, RpcError>),
    Listed(TopicPartition, Seek, Result<Offset, ClientError>),
    Validated(Vec<validate::Question>, Result<Answer, RpcError>),
    Refreshed,
}

impl Consumer {
    /// A consumer without partitions; its history goes to `tracer`.
    pub fn new(config: ConsumerConfig, cluster: Arc<Cluster>, tracer: Tracer) -> Self {
        let (reports, inbox) = mpsc::unbounded_channel();
        Self {
            config,
            cluster,
            tracer,
            positions: BTreeMap::new(),
            fetching: BTreeSet::new(),
            refreshing: false,
            reports,
            inbox,
        }
    }

    /// Reads `partition`, from `from` on.
    pub fn assign(&mut self, partition: TopicPartition, from: Seek) {
        if let Seek::Offset(offset) = from {
            self.tracer.detail(|| Event::PositionSet { partition: partition.clone(), offset, why: "start".into() });
        }
        self.positions.insert(partition, Position::at(Some(from), LeaderEpoch::UNKNOWN));
    }

    /// Has `partition`, but reads nothing until [`Consumer::seek`] says from where.
    pub fn assign_awaiting(&mut self, partition: TopicPartition) {
        self.positions.insert(partition, Position::at(None, LeaderEpoch::UNKNOWN));
    }

    /// Reads `partition` no more.
    pub fn unassign(&mut self, partition: &TopicPartition) {
        self.positions.remove(partition);
    }

    /// Goes on from `to`. `epoch` is that of the record before, if it is known, `why` is for the history.
    ///
    /// # Errors
    /// The partition is not assigned.
    pub fn seek(
        &mut self,
        partition: &TopicPartition,
        to: Seek,
        epoch: LeaderEpoch,
        why: &'static str,
    ) -> Result<(), ClientError> {
        let position = self.position_mut(partition)?;
        let (busy, paused) = (position.busy, position.paused);
        *position = Position { busy, paused, why, ..Position::at(Some(to), epoch) };
        if let Seek::Offset(offset) = to {
            if self.config.truncation_check {
                self.cluster.learn_epoch(partition, epoch);
            }
            self.tracer.detail(|| Event::PositionSet { partition: partition.clone(), offset, why: why.into() });
        }
        Ok(())
    }

    /// Hands out nothing of `partition` until it is resumed.
    ///
    /// # Errors
    /// The partition is not assigned.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), ClientError> {
        self.position_mut(partition)?.paused = true;
        Ok(())
    }

    /// Undoes [`Consumer::pause`].
    ///
    /// # Errors
    /// The partition is not assigned.
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), ClientError> {
        self.position_mut(partition)?.paused = false;
        Ok(())
    }

    fn position_mut(&mut self, partition: &TopicPartition) -> Result<&mut Position, ClientError> {
        self.positions.get_mut(partition).ok_or(NOT_ASSIGNED)
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> impl Iterator<Item = &TopicPartition> {
        self.positions.iter().filter(|(_, position)| position.paused).map(|(partition, _)| partition)
    }

    /// The assigned partitions for which nobody has said where to begin.
    pub fn awaiting(&self) -> impl Iterator<Item = &TopicPartition> {
        self.positions.iter().filter(|(_, position)| position.next.is_none()).map(|(partition, _)| partition)
    }

    /// The assigned partitions.
    pub fn assigned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.positions.keys()
    }

    /// [`Consumer::position`], with the epoch of the record before: what a commit says.
    pub fn consumed(&self, partition: &TopicPartition) -> Option<(Offset, LeaderEpoch)> {
        let position = self.positions.get(partition)?;
        let epoch = if position.buffered.is_empty() { position.epoch } else { position.consumed_epoch };
        Some((self.position(partition)?, epoch))
    }

    /// Offset of the record of `partition` that the application gets next; `None` while it is not known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        let position = self.positions.get(partition)?;
        match (position.buffered.front(), position.next) {
            (Some((_, record)), _) => Some(record.offset),
            (None, Some(Seek::Offset(offset))) => Some(offset),
            (None, _) => None,
        }
    }

    /// Waits for records, at most for `limit`; none when nothing came.
    ///
    /// # Errors
    /// A position is out of range and `auto.offset.reset` is `none`.
    pub async fn poll(&mut self, limit: Duration) -> Result<Vec<ConsumerRecord>, ClientError> {
        let deadline = clock::now() + limit;
        loop {
            while let Ok(report) = self.inbox.try_recv() {
                self.take(report)?;
            }
            let records = self.deliver();
            let next = self.ask();
            if !records.is_empty() || clock::now() >= deadline {
                return Ok(records);
            }
            let until = next.map_or(deadline, |next| next.min(deadline));
            let report = tokio::select! {
                biased;
                report = self.inbox.recv() => report,
                () = clock::sleep_until(until) => None,
            };
            if let Some(report) = report {
                self.take(report)?;
            }
        }
    }

    /// Goes on with what is under way without handing out anything, until something has happened or for `limit`.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub async fn advance(&mut self, limit: Duration) -> Result<(), ClientError> {
        let deadline = clock::now() + limit;
        let until = self.ask().map_or(deadline, |next| next.min(deadline));
        let report = tokio::select! {
            biased;
            report = self.inbox.recv() => report,
            () = clock::sleep_until(until) => None,
        };
        report.map_or(Ok(()), |report| self.take(report))
    }

    /// Where the records end that everybody may read, or where they begin.
    ///
    /// # Errors
    /// Nobody leads the partition, or its leader does not answer.
    pub async fn offset_of(&self, partition: &TopicPartition, seek: Seek) -> Result<Offset, ClientError> {
        let found = list::list_offset(self.cluster.clone(), partition.clone(), seek).await;
        if found.is_err() {
            // Another broker may lead by now: who asks again has to ask that one.
            let _ = self.cluster.refresh(std::slice::from_ref(&partition.topic)).await;
        }
        found
    }

    /// Hands out what is buffered, in the order of partitions.
    fn deliver(&mut self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for position in self.positions.values_mut().filter(|position| !position.paused) {
            let room = self.config.poll_records_max - records.len();
            let count = room.min(position.buffered.len());
            for (cause, record) in position.buffered.drain(..count) {
                let text = |bytes: &Bytes| Arc::<str>::from(String::from_utf8_lossy(bytes));
                self.tracer.detail_caused(cause, || Event::RecordRead {
                    partition: record.partition.clone(),
                    offset: record.offset,
                    leader_epoch: record.leader_epoch,
                    key: record.key.as_ref().map(text),
                    value: record.value.as_ref().map_or_else(|| "".into(), text),
                });
                position.consumed_epoch = record.leader_epoch;
                records.push(record);
            }
        }
        records
    }

    fn refresh(&mut self) {
        if std::mem::replace(&mut self.refreshing, true) {
            return;
        }
        let topics: BTreeSet<Arc<str>> = self.positions.keys().map(|partition| partition.topic.clone()).collect();
        let (cluster, reports) = (self.cluster.clone(), self.reports.clone());
        task::spawn(async move {
            let begun = clock::now();
            let _ = cluster.refresh(&topics.into_iter().collect::<Vec<_>>()).await;
            clock::sleep_until(begun + cluster.config().retry_backoff).await;
            let _ = reports.send(Report::Refreshed);
        });
    }

    fn take(&mut self, report: Report) -> Result<(), ClientError> {
        match report {
            Report::Refreshed => self.refreshing = false,
            Report::Listed(partition, asked, listed) => self.take_listed(&partition, asked, listed),
            Report::Validated(asked, answer) => return self.take_validated(&asked, answer),
            Report::Fetched(node, partitions, answer) => {
                self.fetching.remove(&node);
                return self.take_fetched(&partitions, answer);
            }
        }
        Ok(())
    }

    fn take_listed(&mut self, partition: &TopicPartition, asked: Seek, listed: Result<Offset, ClientError>) {
        let Some(position) = self.positions.get_mut(partition) else { return };
        position.busy = false;
        if position.next != Some(asked) {
            return;
        }
        match listed {
            Ok(offset) => {
                (position.next, position.epoch) = (Some(Seek::Offset(offset)), LeaderEpoch::UNKNOWN);
                let why = position.why.into();
                self.tracer.detail(|| Event::PositionSet { partition: partition.clone(), offset, why });
            }
            Err(_) => self.put_off(partition),
        }
    }

    /// Something went wrong with `partition`: try again later, with fresh metadata.
    fn put_off(&mut self, partition: &TopicPartition) {
        if let Some(position) = self.positions.get_mut(partition) {
            position.not_before = clock::now() + self.cluster.config().retry_backoff;
        }
        self.refresh();
    }

    /// What became of a position that the leader's log does not have, by `auto.offset.reset`.
    ///
    /// # Errors
    /// It is `none`: the application wants to decide by itself.
    fn reset(&mut self, partition: &TopicPartition, problem: impl FnOnce() -> String) -> Result<(), ClientError> {
        let Some(position) = self.positions.get_mut(partition) else { return Ok(()) };
        position.next = Some(match self.config.reset {
            OffsetReset::Earliest => Seek::Beginning,
            OffsetReset::Latest => Seek::End,
            OffsetReset::None => {
                return Err(ClientError::Kafka { code: ErrorCode::OffsetOutOfRange, message: Some(problem()) });
            }
        });
        position.why = "out-of-range";
        Ok(())
    }

    /// Goes back to where the leader's log has become another one (KIP-320).
    ///
    /// # Errors
    /// `auto.offset.reset` is `none` (Kafka's LogTruncationException).
    fn truncated(
        &mut self,
        partition: &TopicPartition,
        from: Offset,
        to: (Offset, LeaderEpoch),
    ) -> Result<(), ClientError> {
        let Some(position) = self.positions.get_mut(partition) else { return Ok(()) };
        let offset = to.0.min(from);
        if self.config.reset == OffsetReset::None {
            let message = Some(format!("{partition} was truncated to {offset}, and {from} was read before"));
            return Err(ClientError::Kafka { code: ErrorCode::OffsetOutOfRange, message });
        }
        (position.next, position.epoch) = (Some(Seek::Offset(offset)), to.1);
        self.tracer.detail(|| Event::PositionSet { partition: partition.clone(), offset, why: "truncation".into() });
        Ok(())
    }
}
