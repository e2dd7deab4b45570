//! The properties of group coordinators.

use std::time::Duration;

use super::{ConfigError, Reading};
use crate::group::GroupSettings;

/// What a broker's group coordinators act on. The fields are named after their properties.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// What bounds the groups.
    pub settings: GroupSettings,
    /// `group.coordinator.append.linger.ms`; `None`: as long as there are requests that can go into the same batch.
    pub append_linger: Option<Duration>,
    /// `offsets.commit.timeout.ms`: how long a request waits for its records to be committed.
    pub commit_timeout: Duration,
    /// `offsets.load.buffer.size`, in bytes.
    pub load_buffer_bytes: usize,
    /// `offsets.topic.num.partitions`.
    pub topic_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: i32,
}

impl GroupConfig {
    pub(super) fn read(read: &Reading<'_>) -> Result<Self, ConfigError> {
        let minutes = |name: &str| read.number(name, 1).map(|minutes: u64| Duration::from_secs(minutes * 60));
        let linger: i64 = read.number("group.coordinator.append.linger.ms", -1)?;
        Ok(Self {
            settings: GroupSettings {
                initial_rebalance_delay: read.millis("group.initial.rebalance.delay.ms")?,
                min_session_timeout_ms: read.number("group.min.session.timeout.ms", i32::MIN)?,
                max_session_timeout_ms: read.number("group.max.session.timeout.ms", i32::MIN)?,
                max_size: read.number("group.max.size", 1)?,
                offset_metadata_max_bytes: read.number("offset.metadata.max.bytes", 0)?,
                offsets_retention: minutes("offsets.retention.minutes")?,
                offsets_retention_check_interval: Duration::from_millis(
                    read.number("offsets.retention.check.interval.ms", 1)?,
                ),
            },
            append_linger: u64::try_from(linger).ok().map(Duration::from_millis),
            commit_timeout: Duration::from_millis(read.number("offsets.commit.timeout.ms", 1)?),
            load_buffer_bytes: read.number("offsets.load.buffer.size", 1)?,
            topic_partitions: read.number("offsets.topic.num.partitions", 1)?,
            topic_replication_factor: read.number("offsets.topic.replication.factor", 1)?,
            topic_segment_bytes: read.number("offsets.topic.segment.bytes", 1)?,
        })
    }
}
