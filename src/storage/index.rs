//! The two sparse indexes of a segment, kept in memory and appended to their files.
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
    runtime::disk::{Disk, File, Open},
};

/// One kind of index entry.
pub trait Entry: Copy {
    /// Bytes of an entry in the file.
    const BYTES: usize;
    /// Reads an entry of a segment that begins at `base`.
    fn read(bytes: &[u8], base: Offset) -> Self;
    /// Writes an entry.
    fn write(&self, base: Offset, out: &mut Vec<u8>);
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

    fn follows(&self, previous: &Self) -> bool {
        self.timestamp > previous.timestamp && self.offset >= previous.offset
    }
}

/// An index file with its entries.
#[derive(Debug)]
pub struct Index<E> {
    base: Offset,
    path: String,
    file: File,
    entries: Vec<E>,
}

impl<E: Entry> Index<E> {
    /// Opens the index at `path`, or makes an empty one. `existed` tells which.
    pub async fn open(disk: &Disk, path: String, base: Offset) -> Result<(Self, bool), StorageError> {
        let existed = disk.exists(&path).await.map_err(StorageError::io(&path))?;
        let file = disk.open(&path, Open::Write).await.map_err(StorageError::io(&path))?;
        let length = file.len().await.map_err(StorageError::io(&path))? as usize;
        let bytes = file.read_at(0, length).await.map_err(StorageError::io(&path))?;
        let mut entries: Vec<E> = Vec::new();
        for chunk in bytes.chunks_exact(E::BYTES) {
            let entry = E::read(chunk, base);
            // The first entry of a pre-sized empty file is all zeros as well.
            let sound = entries.last().map_or(chunk.iter().any(|byte| *byte != 0), |last| entry.follows(last));
            if !sound {
                break;
            }
            entries.push(entry);
        }
        let index = Self { base, path, file, entries };
        if length != index.size_bytes() as usize {
            index.file.set_len(index.size_bytes()).await.map_err(StorageError::io(&index.path))?;
        }
        Ok((index, existed))
    }

    /// The entries, rising.
    pub fn entries(&self) -> &[E] {
        &self.entries
    }

    /// Length of the file.
    pub fn size_bytes(&self) -> u64 {
        (self.entries.len() * E::BYTES) as u64
    }

    /// Adds an entry if it may follow the last.
    pub async fn push(&mut self, entry: E) -> Result<(), StorageError> {
        if self.entries.last().is_some_and(|last| !entry.follows(last)) {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(E::BYTES);
        entry.write(self.base, &mut bytes);
        self.file.write_at(self.size_bytes(), &bytes).await.map_err(StorageError::io(&self.path))?;
        self.entries.push(entry);
        Ok(())
    }

    /// Keeps the first entries for which `keep` holds.
    pub async fn retain(&mut self, keep: impl Fn(&E) -> bool) -> Result<(), StorageError> {
        let count = self.entries.partition_point(keep);
        if count < self.entries.len() {
            self.entries.truncate(count);
            self.file.set_len(self.size_bytes()).await.map_err(StorageError::io(&self.path))?;
        }
        Ok(())
    }

    /// Makes the file durable.
    pub async fn sync(&self) -> Result<(), StorageError> {
        self.file.sync().await.map_err(StorageError::io(&self.path))
    }
}
