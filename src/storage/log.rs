//! One partition's log: append, read, truncate, flush.
//!
//! Offsets are given here: a leader's append takes the end offset and patches it into the batch with the leader epoch;
//! a follower's append keeps what the leader wrote and refuses anything that does not follow its own end.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::{
    LeaderEpochs, LogConfig, ProducerStates, SequenceError, StorageError, checkpoint,
    segment::{Segment, stem},
};
use crate::{
    base::{LeaderEpoch, Offset, Switches, Timestamp, TopicPartition, mark},
    protocol::records::{BatchError, BatchHeader, HEADER_BYTES, batches, check_crc, decode_records},
    runtime::disk::Disk,
    trace::{BatchInfo, Event, Role, Tracer},
};

/// Most bytes that the records of a batch may have when a timestamp is looked up in it.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// What a log is opened with.
#[derive(Clone)]
pub struct LogOptions {
    /// Which partition; names the folder.
    pub partition: TopicPartition,
    /// Settings of the topic.
    pub config: LogConfig,
    /// Whether the process before stopped cleanly.
    pub clean: bool,
    /// Up to here everything was synced.
    pub recovery_point: Offset,
    /// Records before it were deleted.
    pub start_offset: Offset,
    /// The high watermark of the checkpoint, for the journal alone.
    pub high_watermark: Offset,
    /// Behaviour switches.
    pub switches: Switches,
    /// Where events go.
    pub tracer: Tracer,
}

/// A partition's log.
pub struct Log {
    pub(super) disk: Disk,
    pub(super) folder: String,
    pub(super) partition: TopicPartition,
    pub(super) config: LogConfig,
    /// By base offset; never empty, the last is appended to.
    pub(super) segments: BTreeMap<Offset, Segment>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) recovery_point: Offset,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: ProducerStates,
    pub(super) tracer: Tracer,
}

/// Where a batch stands after an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub end_offset: Offset,
    /// It had been appended before: nothing was written.
    pub duplicate: bool,
}

/// A record's timestamp and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// Timestamp of the record.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch it was appended in.
    pub leader_epoch: LeaderEpoch,
}

/// Why a batch was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Not in its producer's sequence.
    #[error("the producer's batch is not in sequence: {0:?}")]
    Sequence(SequenceError),
    /// A follower was given records that do not follow its end.
    #[error("records begin at {found}, the log ends at {end}")]
    NotContiguous {
        /// First offset given.
        found: Offset,
        /// End of the log.
        end: Offset,
    },
    /// A follower was given a damaged batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The files failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Log {
    /// First offset that can be read.
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// Offset of the next record (LEO).
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Everything below it is durable.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// Epoch of the newest record, or of the newest leadership if it has no record yet.
    pub fn latest_epoch(&self) -> LeaderEpoch {
        self.epochs.latest()
    }

    /// The leader epochs of the log.
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The idempotent producers of the log.
    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        self.segments.values().map(Segment::size_bytes).sum()
    }

    /// The settings in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes new settings.
    pub fn reconfigure(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// Notes that leader epoch `epoch` begins at the end of the log.
    ///
    /// # Errors
    /// The checkpoint cannot be written.
    pub async fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), StorageError> {
        if self.epochs.assign(epoch, self.end) { self.write_epochs().await } else { Ok(()) }
    }

    /// Appends a producer's batch, which has been validated, in `leader_epoch`.
    ///
    /// # Errors
    /// [`AppendError::Sequence`] for an idempotent producer's batch out of order; else the files failed.
    pub async fn append_as_leader(
        &mut self,
        header: &BatchHeader,
        batch: &Bytes,
        leader_epoch: LeaderEpoch,
        now_ms: Timestamp,
    ) -> Result<Appended, AppendError> {
        if header.has_producer() {
            if let Some(known) = self.producers.check(header).map_err(AppendError::Sequence)? {
                mark::reach("duplicate_batch");
                let (base_offset, end_offset) = (known.base_offset(), known.last_offset.next());
                return Ok(Appended { base_offset, end_offset, duplicate: true });
            }
        }
        let header = BatchHeader { base_offset: self.end, leader_epoch, ..*header };
        self.append(&header, &batch[HEADER_BYTES..header.size_bytes()], now_ms).await?;
        self.report_appended(Role::Leader, leader_epoch, || vec![header.info()]);
        self.flush_if_due().await?;
        Ok(Appended { base_offset: header.base_offset, end_offset: header.end_offset(), duplicate: false })
    }

    /// Appends what a leader sent: whole batches with their offsets and epochs.
    ///
    /// # Errors
    /// Nothing of a batch that does not follow the end, or is damaged, is written; batches before it are.
    pub async fn append_as_follower(&mut self, records: &Bytes, now_ms: Timestamp) -> Result<Appended, AppendError> {
        let base_offset = self.end;
        let (mut infos, mut failed) = (Vec::new(), None);
        for found in batches(records) {
            let step = async {
                let (header, batch) = found?;
                check_crc(&header, &batch)?;
                if header.base_offset < self.end {
                    return Err(AppendError::NotContiguous { found: header.base_offset, end: self.end });
                }
                self.append(&header, &batch[HEADER_BYTES..], now_ms).await?;
                Ok(header)
            };
            match step.await {
                Ok(header) => infos.push(header.info()),
                // The leader cut the last batch short; it comes whole the next time.
                Err(AppendError::Batch(BatchError::Incomplete { .. })) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if !infos.is_empty() {
            let epoch = self.epochs.latest();
            self.report_appended(Role::Follower, epoch, || infos);
            self.flush_if_due().await?;
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Appended { base_offset, end_offset: self.end, duplicate: false }),
        }
    }

    async fn append(&mut self, header: &BatchHeader, rest: &[u8], now_ms: Timestamp) -> Result<(), StorageError> {
        if self.must_roll(header, now_ms) {
            self.roll().await?;
        }
        let new_epoch = self.epochs.assign(header.leader_epoch, header.base_offset);
        let active = self.segments.values_mut().next_back().expect("a log has a segment");
        active.append(header, rest, &self.config).await?;
        self.end = header.end_offset();
        self.producers.update(header);
        if new_epoch { self.write_epochs().await } else { Ok(()) }
    }

    fn report_appended(&self, role: Role, leader_epoch: LeaderEpoch, batches: impl FnOnce() -> Vec<BatchInfo>) {
        self.tracer.detail(|| Event::Appended {
            partition: self.partition.clone(),
            role,
            leader_epoch,
            end_offset: self.end,
            batches: batches(),
        });
    }

    async fn flush_if_due(&mut self) -> Result<(), StorageError> {
        if self.end.0 - self.recovery_point.0 >= self.config.flush_messages { self.flush().await } else { Ok(()) }
    }

    fn must_roll(&self, header: &BatchHeader, now_ms: Timestamp) -> bool {
        let active = self.active();
        let size = active.size_bytes();
        if size == 0 {
            return false;
        }
        let age_ms = active.first_timestamp.filter(|first| *first >= 0).map_or(0, |first| now_ms.saturating_sub(first));
        let index_full = |used: u64, entry_bytes: u64| used + 2 * entry_bytes > self.config.segment_index_bytes;
        size + header.size_bytes() as u64 > self.config.segment_bytes
            || age_ms > self.config.segment_ms
            || index_full(active.offset_index.size_bytes(), 8)
            || index_full(active.time_index.size_bytes(), 12)
            || header.end_offset().0 - active.base.0 > i64::from(i32::MAX)
    }

    fn active(&self) -> &Segment {
        self.segments.values().next_back().expect("a log has a segment")
    }

    /// Goes on in a new segment. The one before is synced by the next flush.
    async fn roll(&mut self) -> Result<(), StorageError> {
        mark::reach("segment_rolled");
        self.segments.values_mut().next_back().expect("a log has a segment").finish().await?;
        self.write_snapshot().await?;
        let (segment, _) = Segment::open(&self.disk, &self.folder, self.end).await?;
        self.segments.insert(self.end, segment);
        self.flush().await
    }

    /// Writes the producers' states at the end of the log, so that a start need not read everything.
    pub(super) async fn write_snapshot(&self) -> Result<(), StorageError> {
        if self.producers.is_empty() {
            return Ok(());
        }
        checkpoint::replace(
            &self.disk,
            &format!("{}.snapshot", stem(&self.folder, self.end)),
            &self.producers.snapshot(),
        )
        .await
    }

    pub(super) async fn write_epochs(&self) -> Result<(), StorageError> {
        let path = format!("{}/leader-epoch-checkpoint", self.folder);
        checkpoint::write_epochs(&self.disk, &path, self.epochs.entries()).await
    }

    /// Makes everything durable and moves the recovery point to the end.
    ///
    /// # Errors
    /// The disk failed; the recovery point stays.
    pub async fn flush(&mut self) -> Result<(), StorageError> {
        let end = self.end;
        if self.recovery_point == end {
            return Ok(());
        }
        let first = self.segments.range(..=self.recovery_point).next_back().map_or(Offset::ZERO, |(base, _)| *base);
        let rolled = self.segments.range(first..).count() > 1;
        for segment in self.segments.range_mut(first..).map(|(_, segment)| segment) {
            segment.sync().await?;
        }
        if rolled {
            self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
        }
        self.recovery_point = end;
        self.tracer.detail(|| Event::Flushed { partition: self.partition.clone(), end_offset: end });
        Ok(())
    }

    /// Whole batches from the one that holds `from` on, not past `up_to` (exclusive), about `max_bytes` long.
    ///
    /// # Errors
    /// [`StorageError::OutOfRange`], a damaged batch, or the disk failed.
    pub async fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Bytes, StorageError> {
        if from < self.start || from > self.end {
            return Err(StorageError::OutOfRange { offset: from, start: self.start, end: self.end });
        }
        let up_to = up_to.min(self.end);
        if from >= up_to || (max_bytes == 0 && !at_least_one) {
            return Ok(Bytes::new());
        }
        let floor = self.segments.range(..=from).next_back().map_or(self.start, |(base, _)| *base);
        for segment in self.segments.range(floor..).map(|(_, segment)| segment) {
            let bytes = segment.read(from, up_to, max_bytes, at_least_one).await?;
            if !bytes.is_empty() || segment.base >= up_to {
                return Ok(bytes);
            }
            if segment.size_bytes() > 0 && segment.position_of(from).await?.is_some() {
                return Ok(bytes);
            }
        }
        Ok(Bytes::new())
    }

    /// The greatest epoch up to `epoch` and where it ends in this log (KIP-279).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.epochs.end_offset_for(epoch, self.end)
    }

    /// The first record whose timestamp is at least `timestamp`.
    ///
    /// # Errors
    /// A damaged batch, or the disk failed.
    pub async fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<TimestampedOffset>, StorageError> {
        for segment in self.segments.values().filter(|segment| segment.reached.timestamp >= timestamp) {
            let entries = segment.time_index.entries();
            let before = entries.partition_point(|entry| entry.timestamp < timestamp);
            let from = if before == 0 { segment.base } else { entries[before - 1].offset };
            let found = self.find_record(segment, from.max(self.start), |time| time >= timestamp).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first of the records with the greatest timestamp.
    ///
    /// # Errors
    /// As [`Log::offset_for_timestamp`].
    pub async fn max_timestamp(&self) -> Result<Option<TimestampedOffset>, StorageError> {
        let with_records = self.segments.values().filter(|segment| segment.size_bytes() > 0);
        let Some(greatest) = with_records.map(|segment| segment.reached.timestamp).max().filter(|time| *time >= 0)
        else {
            return Ok(None);
        };
        self.offset_for_timestamp(greatest).await
    }

    async fn find_record(
        &self,
        segment: &Segment,
        from: Offset,
        wanted: impl Fn(Timestamp) -> bool,
    ) -> Result<Option<TimestampedOffset>, StorageError> {
        let Some(position) = segment.position_of(from).await? else { return Ok(None) };
        let mut walk = segment.walk_from(position);
        let io = || StorageError::io(&self.folder);
        while let Some(found) = walk.next(false).await.map_err(io())? {
            let (position, header) = found.map_err(|error| segment.corrupt(walk.position, &error))?;
            if !wanted(header.max_timestamp) || header.end_offset() <= self.start {
                continue;
            }
            let batch = walk.batch(position, &header).await.map_err(io())?;
            let records = decode_records(&header, &batch, DECOMPRESSED_BYTES_MAX)
                .map_err(|error| segment.corrupt(position, &error))?;
            let hit = records.iter().find(|record| wanted(record.timestamp) && record.offset >= self.start);
            if let Some(record) = hit {
                let (timestamp, offset) = (record.timestamp, record.offset);
                return Ok(Some(TimestampedOffset { timestamp, offset, leader_epoch: header.leader_epoch }));
            }
        }
        Ok(None)
    }

    /// Cuts the log so that it ends at `offset`, or before the batch that holds it. `why` is for the journal.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn truncate_to(&mut self, offset: Offset, why: &str) -> Result<(), StorageError> {
        if offset >= self.end {
            return Ok(());
        }
        if offset <= self.start {
            return self.truncate_fully_and_start_at(offset, why).await;
        }
        let from = self.end;
        let later: Vec<Offset> = self.segments.range(offset.next()..).map(|(base, _)| *base).collect();
        for base in later {
            self.segments.remove(&base);
            Segment::remove(&self.disk, &self.folder, base).await?;
        }
        let mut end = offset;
        let active = self.segments.values_mut().next_back().expect("the segment that holds the offset stays");
        if let Some(position) = active.position_of(offset).await?
            && position < active.size_bytes()
        {
            let mut walk = active.walk_from(position);
            if let Some(Ok((_, header))) = walk.next(false).await.map_err(StorageError::io(&self.folder))? {
                end = end.min(header.base_offset);
            }
            active.truncate(position, end).await?;
        }
        self.end = end;
        self.after_truncation(from, why).await
    }

    /// Empties the log; the next record gets `offset`.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn truncate_fully_and_start_at(&mut self, offset: Offset, why: &str) -> Result<(), StorageError> {
        let from = self.end;
        for base in std::mem::take(&mut self.segments).into_keys() {
            Segment::remove(&self.disk, &self.folder, base).await?;
        }
        let (segment, _) = Segment::open(&self.disk, &self.folder, offset).await?;
        self.segments.insert(offset, segment);
        (self.start, self.end) = (offset, offset);
        self.after_truncation(from, why).await
    }

    async fn after_truncation(&mut self, from: Offset, why: &str) -> Result<(), StorageError> {
        self.recovery_point = self.recovery_point.min(self.end);
        if self.epochs.truncate_from_end(self.end) {
            self.write_epochs().await?;
        }
        self.remove_snapshots_after_end().await?;
        self.rebuild_producers().await?;
        let (partition, to) = (self.partition.clone(), self.end);
        self.tracer.detail(|| Event::Truncated { partition, from, to, why: why.into() });
        Ok(())
    }

    /// Closes the log cleanly: everything synced, indexes finished, producers' states written.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn close(&mut self) -> Result<(), StorageError> {
        self.segments.values_mut().next_back().expect("a log has a segment").finish().await?;
        self.flush().await?;
        for segment in self.segments.values_mut() {
            segment.sync().await?;
        }
        self.write_snapshot().await
    }
}
