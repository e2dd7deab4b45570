//! Files and folders as both builds name them, and what can be wrong with the disk below them.

use std::{fmt, time::Duration};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; made empty if it does not exist.
    Write,
    /// For reading and writing; emptied if it exists.
    Truncate,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, without the folder.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_dir: bool,
}

/// What can be wrong with a disk. Reading goes on: it is served by the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFault {
    /// What writes or syncs does not return.
    Stall,
    /// Each write and each sync takes so much longer.
    Slow(Duration),
    /// No space left: no file becomes longer, none is new.
    Full,
    /// Writes fail.
    Eio,
    /// Syncs fail.
    SyncEio,
    /// A sync says that it is done, and is not.
    LostSync,
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stall => f.write_str("stall"),
            Self::Slow(delay) => write!(f, "slow {}ms", delay.as_millis()),
            Self::Full => f.write_str("full"),
            Self::Eio => f.write_str("eio"),
            Self::SyncEio => f.write_str("sync-eio"),
            Self::LostSync => f.write_str("lost-sync"),
        }
    }
}
