//! What can go wrong with files: always names the file, and where in it.

use std::io;

use thiserror::Error;

use super::directory::CHECKPOINTS;
use crate::{
    base::{Offset, TopicId},
    protocol::ErrorCode,
};

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
    /// A write or a sync of this log failed before, and what its files hold is not known any more: it takes nothing
    /// until it is opened again (KAFKA-10778).
    #[error("{path} is offline: {reason}")]
    Offline {
        /// The log's folder.
        path: String,
        /// The first failure.
        reason: String,
    },
    /// The folder of a partition belongs to an earlier topic of the same name (KIP-516).
    #[error("{path} belongs to topic id {found}, expected {expected}")]
    InconsistentTopicId {
        /// The log's folder.
        path: String,
        /// Id in its `partition.metadata`.
        found: TopicId,
        /// Id by the metadata.
        expected: TopicId,
    },
    /// The directory belongs to another node or cluster, is not formatted, or is in use.
    #[error("{0}")]
    Directory(String),
}

impl StorageError {
    /// How this is told on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Corrupt { .. } => ErrorCode::CorruptMessage,
            Self::InconsistentTopicId { .. } => ErrorCode::InconsistentTopicId,
            Self::Io { .. } | Self::Offline { .. } | Self::Directory(_) => ErrorCode::KafkaStorageError,
        }
    }

    /// Whether it is the disk that failed, and with it the log directory. A file that is not there is the trouble of one
    /// log.
    pub fn is_of_disk(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() != io::ErrorKind::NotFound,
            Self::Offline { .. } => true,
            _ => false,
        }
    }

    /// The checkpoint of the log directory that is damaged, if it is one.
    pub fn damaged_checkpoint(&self) -> Option<&'static str> {
        let Self::Corrupt { path, .. } = self else { return None };
        CHECKPOINTS.iter().copied().find(|checkpoint| path.ends_with(checkpoint))
    }

    /// For `map_err` on a call that touches `path`.
    pub fn io(path: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
