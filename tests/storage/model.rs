//! A log must behave as a list of batches does: random appends, reads, truncations, moves of its begin, look-ups and
//! restarts, by seed.

use bytes::Bytes;
use highwater::{
    base::{
        LeaderEpoch, Offset, ProducerEpoch, ProducerId, Switches, Timestamp, TopicPartition,
        random::{self, Random},
    },
    protocol::records::{BatchBuilder, BatchHeader, Codec, HEADER_BYTES, decode_records, patched_header},
    runtime::{clock, disk::Disk},
    storage::{AppendError, Log, LogConfig, LogDirFailure, LogOptions, SequenceError, StorageError},
    trace::Tracer,
};
use rand::Rng;

/// The log as a list.
#[derive(Default)]
pub struct Model {
    batches: Vec<(BatchHeader, Bytes)>,
    start: i64,
    end: i64,
    epochs: Vec<(i32, i64)>,
    /// Batches before the begin: whether their producers are still known depends on the restarts since.
    deleted: Vec<(BatchHeader, Bytes)>,
}

impl Model {
    fn push(&mut self, header: BatchHeader, bytes: Bytes) {
        assert_eq!(header.base_offset.0, self.end);
        self.note_epoch(header.leader_epoch.0);
        self.end = header.end_offset().0;
        self.batches.push((header, bytes));
    }

    fn latest_epoch(&self) -> i32 {
        self.epochs.last().map_or(-1, |(epoch, _)| *epoch)
    }

    fn note_epoch(&mut self, epoch: i32) {
        if epoch > self.latest_epoch() {
            self.epochs.retain(|(_, start)| *start < self.end);
            self.epochs.push((epoch, self.end));
        }
    }

    fn truncate(&mut self, offset: i64) {
        if offset <= self.start && offset < self.end {
            (self.start, self.end) = (offset, offset);
            self.batches.clear();
            self.deleted.clear();
        } else if offset < self.end {
            self.end = offset;
            while self.batches.last().is_some_and(|(header, _)| header.end_offset().0 > offset) {
                self.end = self.batches.pop().expect("just seen").0.base_offset.0;
            }
            self.start = self.start.min(self.end);
        }
        self.epochs.retain(|(_, start)| *start < self.end);
    }

    fn begin_at(&mut self, start: i64) {
        self.start = start;
        let stays = self.batches.iter().position(|(header, _)| header.end_offset().0 > start);
        self.deleted.extend(self.batches.drain(..stays.unwrap_or(self.batches.len())));
        let epoch = self.epochs.iter().rev().find(|(_, from)| *from <= start).map(|(epoch, _)| (*epoch, start));
        self.epochs.retain(|(_, from)| *from > start);
        self.epochs.splice(0..0, epoch);
    }

    fn records(&self) -> impl Iterator<Item = (i64, Timestamp)> {
        self.batches
            .iter()
            .flat_map(|(header, bytes)| {
                let records = decode_records(header, bytes, 1 << 20).expect("a sound batch");
                records.into_iter().map(|record| (record.offset.0, record.timestamp))
            })
            .filter(|(offset, _)| *offset >= self.start)
    }

    fn last_of(&self, producer: ProducerId) -> Option<&(BatchHeader, Bytes)> {
        self.deleted.iter().chain(&self.batches).rev().find(|(header, _)| header.producer_id == producer)
    }
}

/// A log and its model, on a disk.
pub struct Session {
    pub disk: Disk,
    pub random: Random,
    pub config: LogConfig,
    pub log: Log,
    pub model: Model,
    now_ms: Timestamp,
}

impl Session {
    pub async fn begin(disk: Disk, seed: u64) -> Self {
        let mut random = random::stream(seed, "log");
        let config = LogConfig {
            segment_bytes: random.random_range(300..5000),
            index_interval_bytes: random.random_range(1..600),
            segment_index_bytes: random.random_range(48..400),
            ..LogConfig::default()
        };
        let log = open(&disk, &config, true, (Offset::ZERO, Offset::ZERO)).await;
        Self { disk, random, config, log, model: Model::default(), now_ms: clock::wall_ms() }
    }

    pub async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..40 => self.append_as_leader().await,
            40..60 => self.append_as_follower().await,
            60..64 => self.begin_epoch().await,
            64..74 => self.truncate().await,
            74..76 => self.start_again().await,
            76..82 => self.flush().await,
            82..86 => self.restart(true).await,
            86..90 => self.restart(false).await,
            90..93 => self.delete_records().await,
            93..95 => self.delete_old_segments().await,
            _ => self.check().await,
        }
        assert_eq!((self.log.start_offset().0, self.log.end_offset().0), (self.model.start, self.model.end));
        assert!(self.log.recovery_point() <= self.log.end_offset());
    }

    fn new_batch(&mut self, base_offset: i64, epoch: i32) -> (BatchHeader, Bytes) {
        let codec = if self.random.random_bool(0.2) { Codec::Lz4 } else { Codec::None };
        let mut builder = BatchBuilder::new(codec).position(Offset(base_offset), LeaderEpoch(epoch));
        let producer = ProducerId(self.random.random_range(-3..3));
        if producer.0 >= 0 {
            let sequence = self.model.last_of(producer).map_or(0, |(last, _)| last.last_sequence() + 1);
            builder = builder.producer(producer, ProducerEpoch(0), sequence);
        }
        for _ in 0..self.random.random_range(1..6) {
            let value = vec![b'v'; self.random.random_range(0..300)];
            builder.push(self.now_ms + self.random.random_range(0..500), None, Some(&value), &[]);
        }
        self.now_ms += self.random.random_range(-50..200);
        let bytes = builder.build();
        (BatchHeader::parse(&bytes).expect("just built"), bytes)
    }

    async fn append_as_leader(&mut self) {
        let epoch = LeaderEpoch(self.model.latest_epoch().max(0));
        let (header, bytes) = self.new_batch(0, -1);
        let appended = self.log.append_as_leader(&header, &bytes, epoch, self.now_ms).await.expect("in sequence");
        assert_eq!((appended.base_offset.0, appended.retry_of), (self.model.end, None));
        let patched = patched_header(&header, appended.base_offset, epoch);
        let standing = Bytes::from([&patched[..], &bytes[HEADER_BYTES..]].concat());
        self.model.push(BatchHeader::parse(&standing).expect("patched"), standing);
        assert_eq!(appended.end_offset.0, self.model.end);
        if header.has_producer() {
            self.check_sequence(header, bytes, epoch).await;
        }
    }

    /// The same batch again is a duplicate, one after the next is refused.
    async fn check_sequence(&mut self, header: BatchHeader, bytes: Bytes, epoch: LeaderEpoch) {
        let again = self.log.append_as_leader(&header, &bytes, epoch, self.now_ms).await.expect("a duplicate");
        let (standing, _) = self.model.batches.last().expect("just appended");
        assert_eq!((again.base_offset, again.retry_of), (standing.base_offset, Some(standing.max_timestamp)));
        let beyond = BatchHeader { base_sequence: header.last_sequence() + 2, ..header };
        let expected = header.last_sequence() + 1;
        match self.log.append_as_leader(&beyond, &bytes, epoch, self.now_ms).await {
            Err(AppendError::Sequence(SequenceError::OutOfOrder { expected: found })) => assert_eq!(found, expected),
            other => panic!("a gap in the sequence was answered with {other:?}"),
        }
    }

    async fn append_as_follower(&mut self) {
        let mut epoch = self.model.latest_epoch().max(0);
        let mut sent = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            epoch += i32::from(self.random.random_bool(0.1));
            let (header, bytes) = self.new_batch(self.model.end, epoch);
            sent.extend_from_slice(&bytes);
            self.model.push(header, bytes);
        }
        let whole = sent.len();
        sent.extend_from_within(..self.random.random_range(0..whole.min(100)));
        sent.truncate(whole + 60);
        let appended = self.log.append_as_follower(&sent.into(), self.now_ms).await.expect("they follow");
        assert_eq!(appended.end_offset.0, self.model.end);
    }

    async fn begin_epoch(&mut self) {
        let epoch = self.model.latest_epoch() + self.random.random_range(1..3);
        self.log.begin_epoch(LeaderEpoch(epoch)).await.expect("the disk is sound");
        self.model.note_epoch(epoch);
        self.check_epochs();
    }

    async fn truncate(&mut self) {
        let back = self.random.random_range(-2..40).min(self.model.end - self.model.start + 1);
        let offset = (self.model.end - back).max(0);
        self.log.truncate_to(Offset(offset), "leader-epoch").await.expect("the disk is sound");
        self.model.truncate(offset);
        self.check_epochs();
        self.check_producers().await;
    }

    async fn start_again(&mut self) {
        let offset = self.random.random_range(0..1000);
        self.log.truncate_fully_and_start_at(Offset(offset), "out-of-range").await.expect("the disk is sound");
        self.model = Model { start: offset, end: offset, ..Model::default() };
        self.check().await;
    }

    async fn delete_records(&mut self) {
        let to = self.random.random_range(self.model.start..=self.model.end);
        let moved = self.log.advance_start(Offset(to), Offset(self.model.end), "delete-records").await;
        assert_eq!(moved.expect("the disk is sound"), to > self.model.start);
        if to > self.model.start {
            self.model.begin_at(to);
        }
        let beyond = self.log.advance_start(Offset(to + 1), Offset(to), "delete-records").await;
        assert!(matches!(beyond, Err(StorageError::OutOfRange { .. })), "beyond the high watermark: {beyond:?}");
        self.check().await;
    }

    /// Whole segments go from the front, and none at the high watermark.
    async fn delete_old_segments(&mut self) {
        let high_watermark = self.random.random_range(self.model.start..=self.model.end);
        let size_bytes = self.log.size_bytes();
        self.config.retention_bytes = self.random.random_range(0..=size_bytes as i64);
        self.log.reconfigure(self.config.clone());
        let deleted = self.log.delete_old_segments(Offset(high_watermark), self.now_ms).await;
        let start = self.log.start_offset().0;
        assert_eq!(deleted.expect("the disk is sound"), start > self.model.start);
        assert!(start <= high_watermark, "begins at {start}, the high watermark is {high_watermark}");
        let least = (self.config.retention_bytes as u64).min(size_bytes);
        assert!(self.log.size_bytes() >= least || start == self.model.start, "{} bytes", self.log.size_bytes());
        if start > self.model.start {
            self.model.begin_at(start);
        }
        self.check().await;
    }

    async fn flush(&mut self) {
        self.log.flush().await.expect("the disk is sound");
        assert_eq!(self.log.recovery_point(), self.log.end_offset());
    }

    async fn restart(&mut self, clean: bool) {
        if clean {
            self.log.close().await.expect("the disk is sound");
        }
        let recovery_point = self.log.recovery_point();
        let start = self.log.start_to_checkpoint().unwrap_or_default();
        self.log = open(&self.disk, &self.config, clean, (recovery_point, start)).await;
        if !clean {
            assert!(self.log.recovery_point() <= recovery_point, "recovery moved the recovery point");
        }
        // An epoch without a record is forgotten.
        self.model.truncate(self.model.end);
        self.check().await;
        self.check_producers().await;
    }

    fn check_epochs(&self) {
        let found: Vec<_> = self.log.epochs().entries().iter().map(|(epoch, start)| (epoch.0, start.0)).collect();
        assert_eq!(found, self.model.epochs);
        assert_eq!(self.log.latest_epoch().0, self.model.latest_epoch());
    }

    /// What was last appended by each producer is recognised, however the state was brought back.
    async fn check_producers(&mut self) {
        let epoch = LeaderEpoch(self.model.latest_epoch());
        for producer in (0..3).map(ProducerId) {
            let Some((header, bytes)) = self.model.last_of(producer) else { continue };
            if header.end_offset().0 <= self.model.start {
                continue;
            }
            let again = self.log.append_as_leader(header, bytes, epoch, self.now_ms).await.expect("a duplicate");
            assert_eq!((again.base_offset, again.retry_of), (header.base_offset, Some(header.max_timestamp)));
        }
    }

    pub async fn check(&mut self) {
        self.check_epochs();
        for _ in 0..5 {
            self.check_read().await;
            self.check_timestamp().await;
        }
        let greatest = self.model.records().map(|(_, timestamp)| timestamp).max();
        let first = greatest.and_then(|greatest| self.model.records().find(|(_, timestamp)| *timestamp == greatest));
        let found = self.log.max_timestamp().await.expect("a sound log");
        let deleted = self.model.deleted.iter().map(|(header, _)| header.max_timestamp).max();
        let within = self.model.batches.first().filter(|(header, _)| header.base_offset.0 < self.model.start);
        let deleted = deleted.max(within.map(|(header, _)| header.max_timestamp));
        // A segment whose greatest time is that of a deleted record does not know the next one, as in Kafka.
        if greatest > deleted {
            assert_eq!(found.map(|found| (found.offset.0, found.timestamp)), first);
        }
        for out in [self.model.start - 1, self.model.end + 1] {
            let found = self.log.read(Offset(out), Offset(i64::MAX), 100, true).await;
            assert!(matches!(found, Err(StorageError::OutOfRange { .. })), "reading {out}: {found:?}");
        }
    }

    async fn check_read(&mut self) {
        let from = self.random.random_range(self.model.start..=self.model.end);
        let up_to = self.random.random_range(from..=self.model.end);
        let max_bytes = self.random.random_range(0..4000);
        let at_least_one = self.random.random();
        let within =
            |header: &BatchHeader| header.end_offset().0 > from && header.end_offset().0 <= up_to && from < up_to;
        let expected: Vec<_> = self.model.batches.iter().filter(|(header, _)| within(header)).collect();
        let found = self.log.read(Offset(from), Offset(up_to), max_bytes, at_least_one).await.expect("a sound log");
        let mut rest = &found[..];
        let mut count = 0;
        while !rest.is_empty() {
            let (_, bytes) = expected[count];
            assert_eq!(&rest[..bytes.len()], &bytes[..], "read {from}..{up_to}, batch {count}");
            rest = &rest[bytes.len()..];
            count += 1;
        }
        assert!(found.len() <= max_bytes || (at_least_one && count == 1), "{} of {max_bytes} bytes", found.len());
        if let Some((_, first)) = expected.first() {
            let must = first.len() <= max_bytes || at_least_one;
            assert_eq!(count > 0, must, "read {from}..{up_to} with {max_bytes} bytes gave {count} batches");
        }
    }

    async fn check_timestamp(&mut self) {
        let asked = self.now_ms - self.random.random_range(-1000..5000);
        let expected = self.model.records().find(|(_, timestamp)| *timestamp >= asked);
        let found = self.log.offset_for_timestamp(asked).await.expect("a sound log");
        assert_eq!(found.map(|found| (found.offset.0, found.timestamp)), expected, "asked for {asked}");
        if let Some(found) = found {
            assert_eq!(found.leader_epoch, self.log.epochs().epoch_at(found.offset));
        }
    }
}

async fn open(disk: &Disk, config: &LogConfig, clean: bool, (recovery_point, start_offset): (Offset, Offset)) -> Log {
    let options = LogOptions {
        partition: TopicPartition::new("orders", 0),
        config: config.clone(),
        clean,
        recovery_point,
        start_offset,
        high_watermark: Offset::ZERO,
        switches: Switches::NEWEST,
        tracer: Tracer::off(),
        failures: LogDirFailure::default(),
    };
    Log::open(disk, "orders-0", options).await.expect("a sound log opens")
}
