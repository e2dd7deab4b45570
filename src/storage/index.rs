//! The two sparse indexes of a segment, kept in memory and written to their files when the segment is closed.
//!
//! | index | entry | rule |
//! |---|---|---|
//! | offset | last offset of a batch minus base, i32; position of that batch, i32 | when `index.interval.bytes` were written since the last |
//! | time | greatest timestamp so far, i64; last offset of its batch minus base, i32 | with each offset entry, if the timestamp grew; and at the roll |
//!
//! Files that are longer than their entries (Kafka makes active ones as long as they may become) are read up to the
//! first entry that does not rise.

use super::StorageError;
use crate::{
    base::{Offset, Timestamp},
    runtime::disk::{Disk, Open},
};

/// One kind of index entry.
pub trait Entry: Copy {
    /// Bytes of an entry in the file.
    const BYTES: usize;
    /// Reads an entry of a segment that begins at `base`.
    fn read(bytes: &[u8], base: Offset) -> Self;
    /// Writes an entry.
    fn write(&self, base: Offset, out: &mut Vec<u8>);
    /// Whether this entry may be the first of a segment that begins at `base`.
    fn may_be_first(&self, base: Offset) -> bool;
    /// Whether this entry may follow `previous`.
    fn follows(&self, previous: &Self) -> bool;
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Last offset of the batch.
    pub offset: Offset,
    /// First byte of the batch.
    pub position: u64,
}

/// By which offset a timestamp was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Greatest timestamp up to here.
    pub timestamp: Timestamp,
    /// Last offset of the batch that has it.
    pub offset: Offset,
}

impl Entry for Position {
    const BYTES: usize = 8;

    fn read(bytes: &[u8], base: Offset) -> Self {
        let field = |at: usize| i32::from_be_bytes(*bytes[at..].first_chunk().expect("an entry has 8 bytes"));
        Self { offset: base.plus(i64::from(field(0))), position: u64::from(field(4) as u32) }
    }

    fn write(&self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&((self.offset.0 - base.0) as i32).to_be_bytes());
        out.extend_from_slice(&(self.position as u32).to_be_bytes());
    }

    fn may_be_first(&self, base: Offset) -> bool {
        self.offset >= base && self.position > 0
    }

    fn follows(&self, previous: &Self) -> bool {
        self.offset > previous.offset && self.position > previous.position
    }
}

impl Entry for Reached {
    const BYTES: usize = 12;

    fn read(bytes: &[u8], base: Offset) -> Self {
        let timestamp = i64::from_be_bytes(*bytes.first_chunk().expect("an entry has 12 bytes"));
        let relative = i32::from_be_bytes(*bytes[8..].first_chunk().expect("an entry has 12 bytes"));
        Self { timestamp, offset: base.plus(i64::from(relative)) }
    }

    fn write(&self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&((self.offset.0 - base.0) as i32).to_be_bytes());
    }

    fn may_be_first(&self, base: Offset) -> bool {
        self.offset >= base && self.timestamp >= 0 && (self.timestamp, self.offset) != (0, base)
    }

    fn follows(&self, previous: &Self) -> bool {
        self.timestamp > previous.timestamp && self.offset >= previous.offset
    }
}

/// The entries of an index, and how many of them its file holds.
///
/// Entries reach the file when the segment is closed. A kill loses those of the active segment, which is walked again
/// then in any case; in exchange an append touches one file.
#[derive(Debug)]
pub struct Index<E> {
    base: Offset,
    path: String,
    entries: Vec<E>,
    /// Entries that the file holds already.
    stored: usize,
    /// Whether the file has something else after them.
    cut: bool,
}

impl<E: Entry> Index<E> {
    /// An index without entries, whatever a file at `path` holds.
    pub fn empty(path: String, base: Offset) -> Self {
        Self { base, path, entries: Vec::new(), stored: 0, cut: true }
    }

    /// Reads the index at `path`. The flag is false where it is missing or damaged and has to be made again.
    pub async fn load(disk: &Disk, path: String, base: Offset) -> Result<(Self, bool), StorageError> {
        if !disk.exists(&path).await.map_err(StorageError::io(&path))? {
            return Ok((Self::empty(path, base), false));
        }
        let file = disk.open(&path, Open::Read).await.map_err(StorageError::io(&path))?;
        let length = file.len().await.map_err(StorageError::io(&path))? as usize;
        let bytes = file.read_at(0, length).await.map_err(StorageError::io(&path))?;
        let mut entries: Vec<E> = Vec::new();
        for chunk in bytes.chunks_exact(E::BYTES) {
            let entry = E::read(chunk, base);
            // The first entry of a pre-sized empty file is all zeros as well.
            if !entries.last().map_or(entry.may_be_first(base), |last| entry.follows(last)) {
                break;
            }
            entries.push(entry);
        }
        let stored = entries.len();
        let rest = &bytes[stored * E::BYTES..];
        let sound = length.is_multiple_of(E::BYTES) && rest.iter().all(|byte| *byte == 0);
        Ok((Self { base, path, entries, stored, cut: !rest.is_empty() }, sound))
    }

    /// The entries, rising.
    pub fn entries(&self) -> &[E] {
        &self.entries
    }

    /// How many entries fit into `size_bytes`.
    pub fn capacity(size_bytes: u64) -> usize {
        usize::try_from(size_bytes).unwrap_or(usize::MAX) / E::BYTES
    }

    /// Adds an entry if it may follow the last.
    pub fn push(&mut self, entry: E) {
        if self.entries.last().is_none_or(|last| entry.follows(last)) {
            self.entries.push(entry);
        }
    }

    /// Keeps the first entries for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(&E) -> bool) {
        self.entries.truncate(self.entries.partition_point(keep));
        self.cut |= self.stored > self.entries.len();
        self.stored = self.stored.min(self.entries.len());
    }

    /// Empties the file, or makes it. It need not be durable: before the segment is closed nobody reads it.
    pub async fn make_file(&self, disk: &Disk) -> Result<(), StorageError> {
        disk.open(&self.path, Open::Truncate).await.map(drop).map_err(StorageError::io(&self.path))
    }

    /// Brings the file up to date and makes it durable.
    pub async fn store(&mut self, disk: &Disk) -> Result<(), StorageError> {
        if self.stored == self.entries.len() && !self.cut {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity((self.entries.len() - self.stored) * E::BYTES);
        self.entries[self.stored..].iter().for_each(|entry| entry.write(self.base, &mut bytes));
        let at = (self.stored * E::BYTES) as u64;
        let write = async {
            let file = disk.open(&self.path, Open::Write).await?;
            if self.cut {
                file.set_len(at).await?;
            }
            file.write_at(at, &bytes).await?;
            file.sync().await
        };
        write.await.map_err(StorageError::io(&self.path))?;
        (self.stored, self.cut) = (self.entries.len(), false);
        Ok(())
    }
}
