//! What can go wrong with files: always names the file, and where in it.

use std::io;

use thiserror::Error;

use crate::base::Offset;

/// An operation on a log or its files failed.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The disk failed, or is full.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds what it cannot hold.
    #[error("{path}, {place}: {problem}")]
    Corrupt {
        /// Which file.
        path: String,
        /// `line 3` or `byte 1234`.
        place: String,
        /// What is wrong, and what to do if anything helps.
        problem: String,
    },
    /// An offset before the log's begin or after its end.
    #[error("offset {offset} is not within {start}..{end}")]
    OutOfRange {
        /// Asked for.
        offset: Offset,
        /// First offset of the log.
        start: Offset,
        /// Offset after the last.
        end: Offset,
    },
    /// The directory belongs to another node or cluster, is not formatted, or is in use.
    #[error("{0}")]
    Directory(String),
}

impl StorageError {
    /// For `map_err` on a call that touches `path`.
    pub fn io(path: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
