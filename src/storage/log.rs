//! One partition's log: append, read, flush.
//!
//! Offsets are given here: a leader's append takes the end offset and patches it into the batch with the leader epoch;
//! a follower's append keeps what the leader wrote and refuses anything that does not follow its own end.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::{
    LeaderEpochs, LogConfig, LogDirFailure, ProducerStates, SequenceError, StorageError, checkpoint,
    segment::{Segment, stem},
};
use crate::{
    base::{LeaderEpoch, Offset, Switches, Timestamp, TopicPartition, mark},
    protocol::records::{BatchError, BatchHeader, HEADER_BYTES, batches, check_crc, decode_records},
    runtime::{clock, disk::Disk},
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
    /// Who is told when its files fail.
    pub failures: LogDirFailure,
}

/// A partition's log.
pub struct Log {
    pub(super) disk: Disk,
    pub(super) folder: String,
    pub(super) partition: TopicPartition,
    pub(super) config: LogConfig,
    pub(super) switches: Switches,
    /// By base offset; never empty, the last is appended to.
    pub(super) segments: BTreeMap<Offset, Segment>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) recovery_point: Offset,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: ProducerStates,
    pub(super) tracer: Tracer,
    /// Whether the epochs have changed since their checkpoint was written.
    pub(super) epochs_dirty: bool,
    /// The first failure of a write or a sync.
    pub(super) failure: Option<String>,
    /// Who is told of it.
    pub(super) failures: LogDirFailure,
    /// It was closed cleanly and stays as it is.
    pub(super) is_closed: bool,
}

/// Where a batch stands after an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub end_offset: Offset,
    /// It had been appended before and nothing was written: the greatest timestamp of the batch that is there.
    pub retry_of: Option<Timestamp>,
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

    /// Forgets idempotent producers that have been silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self) {
        self.producers.expire(clock::wall_ms().saturating_sub(self.config.producer_expiration_ms));
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
        self.check_online()?;
        self.epochs_dirty |= self.epochs.assign(epoch, self.end);
        let written = self.write_epochs().await;
        self.note_failure(written)
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
        if header.has_producer()
            && let Some(known) = self.producers.check(header, &self.switches).map_err(AppendError::Sequence)?
        {
            mark::reach("duplicate_batch");
            let (base_offset, end_offset) = (known.base_offset(), known.last_offset.next());
            return Ok(Appended { base_offset, end_offset, retry_of: Some(known.timestamp) });
        }
        self.check_online()?;
        let header = BatchHeader { base_offset: self.end, leader_epoch, ..*header };
        let appended = self.append(&header, &batch[HEADER_BYTES..header.size_bytes()], now_ms).await;
        self.note_failure(appended)?;
        self.report_appended(Role::Leader, leader_epoch, || vec![header.info()]);
        self.flush_if_due().await?;
        Ok(Appended { base_offset: header.base_offset, end_offset: header.end_offset(), retry_of: None })
    }

    /// Appends what a leader sent: whole batches with their offsets and epochs.
    ///
    /// # Errors
    /// Nothing of a batch that does not follow the end, or is damaged, is written; batches before it are.
    pub async fn append_as_follower(&mut self, records: &Bytes, now_ms: Timestamp) -> Result<Appended, AppendError> {
        self.check_online()?;
        let joined = self.begin_within(records).await;
        self.note_failure(joined)?;
        let base_offset = self.end;
        let (headers, failed) = sound_batches(records, self.end);
        let mut rest = records.clone();
        let mut remaining = &headers[..];
        while !remaining.is_empty() {
            if self.active().is_full_for(&remaining[0], &self.config, now_ms) {
                let rolled = self.roll().await;
                self.note_failure(rolled)?;
            }
            let (count, size_bytes) = self.active().run_that_fits(remaining, &self.config, now_ms);
            let run;
            (run, remaining) = remaining.split_at(count);
            let appended = self.append_run(run, &rest.split_to(size_bytes)).await;
            self.note_failure(appended)?;
        }
        if !headers.is_empty() {
            let epoch = self.epochs.latest();
            self.report_appended(Role::Follower, epoch, || headers.iter().map(BatchHeader::info).collect());
            self.flush_if_due().await?;
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Appended { base_offset, end_offset: self.end, retry_of: None }),
        }
    }

    /// A leader's log may begin within a batch. A follower's that begins there and has no record yet takes the batch
    /// whole, in a segment from the batch's base offset on; the begin stays.
    async fn begin_within(&mut self, records: &Bytes) -> Result<(), StorageError> {
        if self.start < self.end {
            return Ok(());
        }
        let Ok(first) = BatchHeader::parse(records) else { return Ok(()) };
        if !(first.base_offset < self.end && self.end < first.end_offset()) {
            return Ok(());
        }
        self.remove_segments_from(Offset::ZERO).await?;
        let segment = Segment::create(&self.disk, &self.folder, first.base_offset).await?;
        self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
        self.segments.insert(first.base_offset, segment);
        self.end = first.base_offset;
        self.recovery_point = self.recovery_point.min(self.end);
        Ok(())
    }

    async fn append(&mut self, header: &BatchHeader, rest: &[u8], now_ms: Timestamp) -> Result<(), StorageError> {
        if self.active().is_full_for(header, &self.config, now_ms) {
            self.roll().await?;
        }
        let active = self.segments.values_mut().next_back().expect("a log has a segment");
        active.append(header, rest, &self.config).await?;
        self.note(header);
        self.write_epochs().await
    }

    async fn append_run(&mut self, headers: &[BatchHeader], bytes: &[u8]) -> Result<(), StorageError> {
        let active = self.segments.values_mut().next_back().expect("a log has a segment");
        active.append_run(headers, bytes, &self.config).await?;
        headers.iter().for_each(|header| self.note(header));
        self.write_epochs().await
    }

    /// Goes past a batch that was written. Does not wait, so that a caller who gives up leaves nothing half done.
    fn note(&mut self, header: &BatchHeader) {
        assert!(header.base_offset >= self.end, "batch at {} in a log that ends at {}", header.base_offset, self.end);
        self.epochs_dirty |= self.epochs.assign(header.leader_epoch, header.base_offset);
        self.end = header.end_offset();
        self.producers.update(header);
    }

    pub(super) fn check_online(&self) -> Result<(), StorageError> {
        let closed = self.is_closed.then(|| "it is closed, the broker stops".to_owned());
        match self.failure.clone().or(closed) {
            None => Ok(()),
            Some(reason) => Err(StorageError::Offline { path: self.disk.describe(&self.folder), reason }),
        }
    }

    /// Takes the log out of use when its files have failed: a later success would not prove that earlier writes stand.
    pub(super) fn note_failure<T>(&mut self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(error @ StorageError::Io { .. }) = &result {
            self.failure.get_or_insert_with(|| error.to_string());
            self.failures.note(error);
        }
        result
    }

    /// Notes that the log could not be read: a log directory of which something cannot is out of use, as Kafka's is.
    pub fn note_unreadable(&self, error: &StorageError) {
        self.failures.note(error);
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

    fn active(&self) -> &Segment {
        self.segments.values().next_back().expect("a log has a segment")
    }

    /// Goes on in a new segment, once the one before is durable: a log never has a hole before its last segment.
    pub(super) async fn roll(&mut self) -> Result<(), StorageError> {
        mark::reach("segment_rolled");
        self.make_durable().await?;
        self.segments.values_mut().next_back().expect("a log has a segment").finish(&self.disk).await?;
        self.write_snapshot().await?;
        let segment = Segment::create(&self.disk, &self.folder, self.end).await?;
        self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
        self.segments.insert(self.end, segment);
        Ok(())
    }

    /// Writes the producers' states at the end of the log, so that a start need not read everything.
    pub(super) async fn write_snapshot(&self) -> Result<(), StorageError> {
        checkpoint::replace(
            &self.disk,
            &format!("{}.snapshot", stem(&self.folder, self.end)),
            &self.producers.snapshot(),
        )
        .await
    }

    /// Writes the leader epochs if they have changed.
    pub(super) async fn write_epochs(&mut self) -> Result<(), StorageError> {
        if self.epochs_dirty {
            let path = format!("{}/leader-epoch-checkpoint", self.folder);
            checkpoint::write_epochs(&self.disk, &path, self.epochs.entries()).await?;
            self.epochs_dirty = false;
        }
        Ok(())
    }

    /// Makes everything durable and moves the recovery point to the end.
    ///
    /// # Errors
    /// The disk failed; the recovery point stays, and the log takes nothing more.
    pub async fn flush(&mut self) -> Result<(), StorageError> {
        self.check_online()?;
        let durable = self.make_durable().await;
        self.note_failure(durable)
    }

    async fn make_durable(&mut self) -> Result<(), StorageError> {
        let end = self.end;
        let first = self.segments.range(..=self.recovery_point).next_back().map_or(Offset::ZERO, |(base, _)| *base);
        let last = *self.segments.keys().next_back().expect("a log has a segment");
        for (base, segment) in self.segments.range_mut(first..) {
            if *base == last { segment.sync().await? } else { segment.finish(&self.disk).await? }
        }
        if self.recovery_point != end {
            self.recovery_point = end;
            self.tracer.detail(|| Event::Flushed { partition: self.partition.clone(), end_offset: end });
        }
        Ok(())
    }

    /// Whole batches from the one that holds `from` on, not past `up_to` (exclusive), about `max_bytes` long. Their
    /// CRCs are checked: what the disk has damaged does not spread, and a read ends before it.
    ///
    /// # Errors
    /// [`StorageError::OutOfRange`], a damaged batch at the begin, or the disk failed.
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
            if let Some(bytes) = segment.read(from, up_to, max_bytes, at_least_one).await? {
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

    /// Closes the log cleanly: everything synced, epochs, indexes and producers' states written. Nothing changes it any
    /// more.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn close(&mut self) -> Result<(), StorageError> {
        self.write_epochs().await?;
        self.flush().await?;
        self.segments.values_mut().next_back().expect("a log has a segment").finish(&self.disk).await?;
        self.write_snapshot().await?;
        self.is_closed = true;
        Ok(())
    }
}

/// The headers of the batches that may follow a log that ends at `end`, and what is wrong with the one after them.
fn sound_batches(records: &Bytes, mut end: Offset) -> (Vec<BatchHeader>, Option<AppendError>) {
    let mut headers = Vec::new();
    for found in batches(records) {
        let (header, batch) = match found {
            Ok(found) => found,
            // The leader cut the last batch short; it comes whole the next time.
            Err(BatchError::Incomplete { .. }) => break,
            Err(error) => return (headers, Some(error.into())),
        };
        if let Err(error) = check_crc(&header, &batch) {
            return (headers, Some(error.into()));
        }
        if header.base_offset < end {
            return (headers, Some(AppendError::NotContiguous { found: header.base_offset, end }));
        }
        end = header.end_offset();
        headers.push(header);
    }
    (headers, None)
}
