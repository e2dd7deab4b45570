//! Consumer groups: their members, their generations and their committed offsets, as a pure state machine.
//!
//! A [`Machine`] coordinates the groups of one partition of `__consumer_offsets`. It takes requests with the time, and
//! gives answers, records to append, and events. What is durable - committed offsets, groups and their members - is what
//! the records replay to ([`crate::coordinator`]); who waits for an answer and until when is not, and is gone with the
//! leadership, as in Kafka: members join again.
//!
//! | module | is |
//! |---|---|
//! | [`records`] | the records and their bytes |
//! | [`log`] | from the batches of a log to records |
//! | [`machine`] | requests in, answers and records out; timers; what waits for a commit |
//! | [`shard`] | the state: all groups and offsets of the partition |
//! | [`classic`] | one group of the classic protocol: join, sync, heartbeat, leave |
//! | [`consumer`] | one group of the consumer protocol (KIP-848): heartbeats and epochs |
//! | [`assignor`] | its assignors |
//! | [`offsets`] | committed offsets: commit, fetch, delete, expire |
//! | `describe` | what administrators see |
//!
//! Not here: logs, sockets, clocks (`broker/coordinator/`).

pub mod assignor;
pub mod classic;
pub mod consumer;
mod describe;
pub mod log;
pub mod machine;
pub mod offsets;
pub mod records;
pub mod request;
pub mod shard;
mod subscription;
#[cfg(test)]
mod tests;
mod timers;

use std::time::Duration;

pub use machine::{Answers, Context, Machine, Waiter};
pub use request::GroupRequest;

use crate::base::java;

/// What groups are bounded by. The fields are named after the broker's properties.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub max_size: usize,
    /// `offset.metadata.max.bytes`: counted in UTF-16 units, as Kafka does.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout: Duration,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// Of groups of the consumer protocol.
    pub consumer: consumer::ConsumerSettings,
}

/// The partition of `__consumer_offsets`, which has `partitions`, that coordinates `group`: Java's hash of the id.
pub fn partition_for(group: &str, partitions: i32) -> i32 {
    java::coordinating_partition(group, partitions)
}
