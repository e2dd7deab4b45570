//! One partition's log in Kafka's own files, and the directory that holds a broker's logs.
//!
//! ```text
//! LogDirectory   meta.properties, .lock, .kafka_cleanshutdown, checkpoints, one folder for each partition
//!   Log          segments in order, leader epochs, producers' states
//!     Segment    N.log, N.index, N.timeindex        N: offset of its first record, 20 digits
//! ```
//!
//! A write goes to the page cache; it is durable after [`Log::flush`], which also moves the recovery point. After an
//! unclean stop everything from the segment with the recovery point on is checked batch by batch, and cut at the first
//! that is not sound. The begin of a log moves
//! forward with retention and DeleteRecords. Not here: who leads, the high watermark's meaning, compaction.

mod checkpoint;
mod config;
mod directory;
mod epochs;
mod error;
mod failure;
mod index;
mod load;
mod log;
mod meta_properties;
mod producers;
mod retention;
mod segment;
mod truncate;

pub use checkpoint::{Offsets, read as read_file, replace as replace_file};
pub use config::LogConfig;
pub use directory::{LogDirectory, Opened};
pub use epochs::LeaderEpochs;
pub use error::StorageError;
pub use failure::LogDirFailure;
pub use log::{AppendError, Appended, Log, LogOptions, TimestampedOffset};
pub use meta_properties::MetaProperties;
pub use producers::{KnownBatch, ProducerStates, SequenceError};
