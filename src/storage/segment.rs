//! One segment: a file of batches from a base offset on, with its two indexes.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

use super::{
    LogConfig, StorageError,
    index::{Index, Position, Reached},
};
use crate::{
    base::{Offset, Timestamp},
    protocol::records::{BatchError, BatchHeader, HEADER_BYTES, check_crc},
    runtime::disk::{Disk, File, Open},
};

/// Positions of the newest batches, kept so that a follower at the tail is served without a search.
const RECENT_KEPT: usize = 128;

/// Bytes read at once when walking through a file.
const WALK_BYTES: usize = 1 << 20;

/// A segment of a log.
#[derive(Debug)]
pub struct Segment {
    pub base: Offset,
    path: String,
    file: File,
    size: u64,
    pub offset_index: Index<Position>,
    pub time_index: Index<Reached>,
    bytes_since_entry: u64,
    /// Greatest timestamp and the last offset of the batch that has it.
    pub reached: Reached,
    /// Timestamp of the first batch: the age of the segment counts from it.
    pub first_timestamp: Option<Timestamp>,
    recent: VecDeque<Position>,
    /// Whether something was written since the last sync.
    dirty: bool,
}

/// Name of a segment's file without its ending.
pub fn stem(folder: &str, base: Offset) -> String {
    format!("{folder}/{:020}", base.0)
}

impl Segment {
    /// Makes the files of a new segment at `base`. What an interrupted deletion left of an older one goes.
    pub async fn create(disk: &Disk, folder: &str, base: Offset) -> Result<Self, StorageError> {
        let stem = stem(folder, base);
        let path = format!("{stem}.log");
        let file = disk.open(&path, Open::Truncate).await.map_err(StorageError::io(&path))?;
        let offset_index = Index::empty(format!("{stem}.index"), base);
        let time_index = Index::empty(format!("{stem}.timeindex"), base);
        offset_index.make_file(disk).await?;
        time_index.make_file(disk).await?;
        Ok(Self::new(base, path, file, 0, offset_index, time_index))
    }

    /// Opens the files of the segment at `base`. The flag is false where an index is missing or damaged: see
    /// [`Segment::rebuild`].
    pub async fn open(disk: &Disk, folder: &str, base: Offset) -> Result<(Self, bool), StorageError> {
        let stem = stem(folder, base);
        let path = format!("{stem}.log");
        let file = disk.open(&path, Open::Write).await.map_err(StorageError::io(&path))?;
        let size = file.len().await.map_err(StorageError::io(&path))?;
        let (offset_index, offsets_sound) = Index::load(disk, format!("{stem}.index"), base).await?;
        let (time_index, times_sound) = Index::load(disk, format!("{stem}.timeindex"), base).await?;
        let within = offset_index.entries().last().is_none_or(|last: &Position| last.position < size);
        let segment = Self::new(base, path, file, size, offset_index, time_index);
        Ok((segment, offsets_sound && times_sound && within))
    }

    fn new(
        base: Offset,
        path: String,
        file: File,
        size: u64,
        offset_index: Index<Position>,
        time_index: Index<Reached>,
    ) -> Self {
        let reached = time_index.entries().last().copied().unwrap_or(Reached { timestamp: -1, offset: base });
        Self {
            base,
            path,
            file,
            size,
            offset_index,
            time_index,
            bytes_since_entry: 0,
            reached,
            first_timestamp: None,
            recent: VecDeque::with_capacity(RECENT_KEPT),
            dirty: false,
        }
    }

    /// Length of the file of batches.
    pub fn size_bytes(&self) -> u64 {
        self.size
    }

    /// Whether a batch of `size_bytes` with this header has to go to another segment.
    pub fn is_full_for(&self, header: &BatchHeader, config: &LogConfig, now_ms: Timestamp) -> bool {
        if self.size == 0 {
            return false;
        }
        // As Kafka: age is the producers' time where there is one, so that old records do not each get a segment.
        let age_ms = match self.first_timestamp.filter(|first| *first >= 0) {
            Some(first) if header.max_timestamp >= 0 => header.max_timestamp.saturating_sub(first),
            Some(first) => now_ms.saturating_sub(first),
            None => 0,
        };
        self.size + header.size_bytes() as u64 > config.segment_bytes
            || age_ms > config.segment_ms
            || self.offset_index.entries().len() >= Index::<Position>::capacity(config.segment_index_bytes)
            // One place stays free for the entry that closes the segment.
            || self.time_index.entries().len() + 1 >= Index::<Reached>::capacity(config.segment_index_bytes)
            || header.end_offset().0 - 1 - self.base.0 > i64::from(i32::MAX)
    }

    /// Appends a batch: `header` is what stands in the log, `rest` what follows the header's bytes.
    pub async fn append(&mut self, header: &BatchHeader, rest: &[u8], config: &LogConfig) -> Result<(), StorageError> {
        assert_eq!(header.size_bytes(), HEADER_BYTES + rest.len(), "a batch is appended whole: {header:?}");
        let bytes = header.to_bytes();
        let slices = [IoSlice::new(&bytes), IoSlice::new(rest)];
        self.file.write_vectored_at(self.size, &slices).await.map_err(StorageError::io(&self.path))?;
        self.dirty = true;
        self.note(header, config);
        Ok(())
    }

    /// Appends batches that have their offsets already, in one write: `bytes` holds those of `headers`.
    pub async fn append_run(
        &mut self,
        headers: &[BatchHeader],
        bytes: &[u8],
        config: &LogConfig,
    ) -> Result<(), StorageError> {
        assert_eq!(bytes.len(), headers.iter().map(BatchHeader::size_bytes).sum::<usize>());
        self.file.write_at(self.size, bytes).await.map_err(StorageError::io(&self.path))?;
        self.dirty = true;
        headers.iter().for_each(|header| self.note(header, config));
        Ok(())
    }

    /// How many of these batches go into this segment together, at least one, and their length.
    pub fn run_that_fits(&self, headers: &[BatchHeader], config: &LogConfig, now_ms: Timestamp) -> (usize, usize) {
        let mut size_bytes = 0;
        for (count, header) in headers.iter().enumerate() {
            let full = self.size + (size_bytes + header.size_bytes()) as u64 > config.segment_bytes;
            if count > 0 && (full || self.is_full_for(header, config, now_ms)) {
                return (count, size_bytes);
            }
            size_bytes += header.size_bytes();
        }
        (headers.len(), size_bytes)
    }

    /// Goes past a batch that stands at the end: indexes, positions, greatest timestamp.
    fn note(&mut self, header: &BatchHeader, config: &LogConfig) {
        let here = Position { offset: header.end_offset().plus(-1), position: self.size };
        if header.max_timestamp > self.reached.timestamp {
            self.reached = Reached { timestamp: header.max_timestamp, offset: here.offset };
        }
        self.first_timestamp.get_or_insert(header.max_timestamp);
        if self.bytes_since_entry > config.index_interval_bytes {
            self.offset_index.push(here);
            self.time_index.push(self.reached);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size_bytes() as u64;
        self.remember(here);
        self.size += header.size_bytes() as u64;
    }

    fn remember(&mut self, batch: Position) {
        if self.recent.len() == RECENT_KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(batch);
    }

    /// Forgets everything but the base and walks the file again with `visit`, which may refuse a batch. Stops at the
    /// first that is not sound; returns what was wrong with it. The segment then ends before it; the file does not yet.
    pub async fn rebuild(
        &mut self,
        config: &LogConfig,
        check_crc: bool,
        mut visit: impl FnMut(&BatchHeader) -> Result<(), BatchError> + Send,
    ) -> Result<Option<(u64, BatchError)>, StorageError> {
        self.offset_index.retain(|_| false);
        self.time_index.retain(|_| false);
        self.dirty = true;
        self.reached = Reached { timestamp: -1, offset: self.base };
        let mut walk = self.walk_from(0);
        self.size = 0;
        (self.bytes_since_entry, self.first_timestamp) = (0, None);
        self.recent.clear();
        loop {
            match walk.next(check_crc).await.map_err(StorageError::io(&self.path))? {
                None => return Ok(None),
                Some(Ok((position, header))) => {
                    if let Err(error) = visit(&header) {
                        return Ok(Some((position, error)));
                    }
                    self.note(&header, config);
                }
                Some(Err(error)) => return Ok(Some((walk.position, error))),
            }
        }
    }

    /// Walks the batches after the last index entry, to know where the segment ends and what its tail holds.
    /// Returns the offset after the last batch.
    pub async fn load_tail(&mut self) -> Result<Offset, StorageError> {
        let entry = self.offset_index.entries().last().copied();
        let (mut end, from) = entry.map_or((self.base, 0), |last| (last.offset, last.position));
        if let Some(first) = self.walk_from(0).next(false).await.map_err(StorageError::io(&self.path))? {
            let (position, header) = first.map_err(|error| self.corrupt(0, &error))?;
            assert_eq!(position, 0);
            self.first_timestamp = Some(header.max_timestamp);
        }
        let mut walk = self.walk_from(from);
        while let Some(found) = walk.next(false).await.map_err(StorageError::io(&self.path))? {
            let (position, header) = found.map_err(|error| self.corrupt(walk.position, &error))?;
            let follows = if position == from && from > 0 {
                header.end_offset() == end.next()
            } else {
                header.base_offset >= end && header.end_offset().0 - 1 - self.base.0 <= i64::from(i32::MAX)
            };
            if !follows {
                return Err(self.corrupt(position, &out_of_order(&header, end)));
            }
            end = header.end_offset();
            self.bytes_since_entry += header.size_bytes() as u64;
            if header.max_timestamp > self.reached.timestamp {
                self.reached = Reached { timestamp: header.max_timestamp, offset: end.plus(-1) };
            }
            self.remember(Position { offset: end.plus(-1), position });
        }
        Ok(end)
    }

    /// The first byte of the batch that holds `offset`, or of the first after it; `None` at the end.
    pub async fn position_of(&self, offset: Offset) -> Result<Option<u64>, StorageError> {
        let before = self.recent.partition_point(|batch| batch.offset < offset);
        if before > 0 || self.recent.front().is_some_and(|first| first.position == 0) {
            return Ok(self.recent.get(before).map(|batch| batch.position));
        }
        let entries = self.offset_index.entries();
        let after = entries.partition_point(|entry| entry.offset <= offset);
        let from = if after == 0 { 0 } else { entries[after - 1].position };
        match self.search(offset, from).await {
            // Perhaps it is the index that is damaged, and not the log.
            Err(StorageError::Corrupt { .. }) if from > 0 => self.search(offset, 0).await,
            found => found,
        }
    }

    async fn search(&self, offset: Offset, from: u64) -> Result<Option<u64>, StorageError> {
        let mut walk = self.walk_from(from);
        while let Some(found) = walk.next(false).await.map_err(StorageError::io(&self.path))? {
            let (position, header) = found.map_err(|error| self.corrupt(walk.position, &error))?;
            if position == from && from > 0 && header.base_offset > offset {
                return Err(self.corrupt(position, &out_of_order(&header, offset)));
            }
            if header.end_offset() > offset {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// Whole batches from the one that holds `from` on, up to `max_bytes` and not past `up_to`. With `at_least_one`
    /// the first batch is read even if it is larger. `None`: the segment ends before `from`.
    pub async fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Option<Bytes>, StorageError> {
        let Some(position) = self.position_of(from).await? else { return Ok(None) };
        let available = (self.size - position) as usize;
        let wanted = max_bytes.max(HEADER_BYTES).min(available);
        let mut bytes = self.file.read_at(position, wanted).await.map_err(StorageError::io(&self.path))?;
        let (mut length, mut next) = (0, Offset::ZERO);
        let problem = loop {
            if length >= bytes.len() {
                break None;
            }
            let header = match BatchHeader::parse(&bytes[length..]) {
                Ok(header) => header,
                Err(error) => break Some(error),
            };
            if header.base_offset < next || header.end_offset() <= from {
                break Some(out_of_order(&header, next.max(from)));
            }
            let end = length + header.size_bytes();
            if header.end_offset() > up_to || end > max_bytes && !(length == 0 && at_least_one) {
                break None;
            }
            if end > available {
                break Some(BatchError::Incomplete { needed: end, available });
            }
            if end > bytes.len() {
                bytes = self.file.read_at(position, end).await.map_err(StorageError::io(&self.path))?;
            }
            if let Err(error) = check_crc(&header, &bytes[length..end.min(bytes.len())]) {
                break Some(error);
            }
            (length, next) = (end, header.end_offset());
        };
        // What is sound before the damage is read; that shows to whoever begins there.
        if let Some(problem) = problem.filter(|_| length == 0) {
            return Err(self.corrupt(position, &problem));
        }
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    /// Walks the batches from `position` on.
    pub fn walk_from(&self, position: u64) -> Walk {
        Walk::new(self.file.clone(), position, self.size)
    }

    /// Cuts the segment at byte `size`, durably; everything from offset `end` on goes.
    pub async fn truncate(&mut self, size: u64, end: Offset) -> Result<(), StorageError> {
        self.offset_index.retain(|entry| entry.position < size && entry.offset < end);
        self.time_index.retain(|entry| entry.offset < end);
        self.file.set_len(size).await.map_err(StorageError::io(&self.path))?;
        (self.size, self.dirty) = (size, true);
        self.reached =
            self.time_index.entries().last().copied().unwrap_or(Reached { timestamp: -1, offset: self.base });
        (self.bytes_since_entry, self.first_timestamp) = (0, None);
        self.recent.clear();
        if let Err(StorageError::Corrupt { .. }) = self.load_tail().await {
            // Perhaps it is the index that is damaged, and not the log.
            self.offset_index.retain(|_| false);
            self.bytes_since_entry = 0;
            self.recent.clear();
            self.load_tail().await?;
        }
        self.sync().await
    }

    /// Makes the batches durable. The indexes of a segment that is still appended to can be made again from them.
    pub async fn sync(&mut self) -> Result<(), StorageError> {
        if self.dirty {
            self.file.sync().await.map_err(StorageError::io(&self.path))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Makes batches and indexes durable, with the time entry that closes them: at a roll or a clean stop.
    pub async fn finish(&mut self, disk: &Disk) -> Result<(), StorageError> {
        if self.reached.timestamp >= 0 {
            self.time_index.push(self.reached);
        }
        self.sync().await?;
        self.offset_index.store(disk).await?;
        self.time_index.store(disk).await
    }

    /// An error at byte `position` of this segment.
    pub fn corrupt(&self, position: u64, error: &BatchError) -> StorageError {
        StorageError::Corrupt {
            path: self.path.clone(),
            place: format!("byte {position}"),
            problem: format!("{error}. The batch is damaged; other replicas may hold it"),
        }
    }

    /// Removes the files of the segment at `base`.
    pub async fn remove(disk: &Disk, folder: &str, base: Offset) -> Result<(), StorageError> {
        for ending in ["log", "index", "timeindex", "txnindex", "snapshot"] {
            let path = format!("{}.{ending}", stem(folder, base));
            if disk.exists(&path).await.map_err(StorageError::io(&path))? {
                disk.remove_file(&path).await.map_err(StorageError::io(&path))?;
            }
        }
        Ok(())
    }
}

fn out_of_order(header: &BatchHeader, expected: Offset) -> BatchError {
    BatchError::Malformed(format!("base offset {}, expected {expected} or more", header.base_offset))
}

/// Walks a file from batch to batch.
pub struct Walk {
    file: File,
    /// First byte of the next batch.
    pub position: u64,
    size: u64,
    buffer: Bytes,
    buffer_at: u64,
}

impl Walk {
    fn new(file: File, position: u64, size: u64) -> Self {
        Self { file, position, size, buffer: Bytes::new(), buffer_at: position }
    }

    /// The next batch's position and header; `None` at the end. With `whole` its CRC is checked too.
    pub async fn next(&mut self, whole: bool) -> std::io::Result<Option<Result<(u64, BatchHeader), BatchError>>> {
        if self.position >= self.size {
            return Ok(None);
        }
        let left = (self.size - self.position) as usize;
        let bytes = self.bytes(HEADER_BYTES.min(left), if whole { WALK_BYTES } else { 16 * 1024 }).await?;
        let header = match BatchHeader::parse(&bytes) {
            Ok(header) if header.size_bytes() <= left => header,
            Ok(header) => {
                return Ok(Some(Err(BatchError::Incomplete { needed: header.size_bytes(), available: left })));
            }
            Err(error) => return Ok(Some(Err(error))),
        };
        if whole {
            let batch = self.bytes(header.size_bytes(), WALK_BYTES).await?;
            if let Err(error) = check_crc(&header, &batch) {
                return Ok(Some(Err(error)));
            }
        }
        let position = self.position;
        self.position += header.size_bytes() as u64;
        Ok(Some(Ok((position, header))))
    }

    /// The whole batch that [`Walk::next`] returned last.
    pub async fn batch(&self, position: u64, header: &BatchHeader) -> std::io::Result<Bytes> {
        self.file.read_at(position, header.size_bytes()).await
    }

    /// `length` bytes at the position, read `ahead` if they are not in the buffer.
    async fn bytes(&mut self, length: usize, ahead: usize) -> std::io::Result<Bytes> {
        let at = (self.position - self.buffer_at) as usize;
        if self.buffer.len() < at + length {
            let wanted = length.max(ahead).min((self.size - self.position) as usize);
            self.buffer = self.file.read_at(self.position, wanted).await?;
            self.buffer_at = self.position;
            return Ok(self.buffer.slice(..length.min(self.buffer.len())));
        }
        Ok(self.buffer.slice(at..at + length))
    }
}
