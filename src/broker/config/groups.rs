//! The properties of group coordinators.

use std::time::Duration;

use super::{ConfigError, Reading};
use crate::{
    controller::configs::group,
    group::{GroupSettings, assignor::Assignor, consumer::ConsumerSettings},
};

/// What a broker's group coordinators act on. The fields are named after their properties.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// What bounds the groups.
    pub settings: GroupSettings,
    /// The bounds of what groups set for themselves.
    pub bounds: group::Defaults,
    /// `group.coordinator.append.linger.ms`; `None`: as long as there are requests that can go into the same batch.
    pub append_linger: Option<Duration>,
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
                commit_timeout: Duration::from_millis(read.number("offsets.commit.timeout.ms", 1)?),
                offsets_retention: minutes("offsets.retention.minutes")?,
                offsets_retention_check_interval: Duration::from_millis(
                    read.number("offsets.retention.check.interval.ms", 1)?,
                ),
                consumer: read_consumer(read)?,
            },
            bounds: group::defaults(|name| read.text(name)),
            append_linger: u64::try_from(linger).ok().map(Duration::from_millis),
            load_buffer_bytes: read.number("offsets.load.buffer.size", 1)?,
            topic_partitions: read.number("offsets.topic.num.partitions", 1)?,
            topic_replication_factor: read.number("offsets.topic.replication.factor", 1)?,
            topic_segment_bytes: read.number("offsets.topic.segment.bytes", 1)?,
        })
    }
}

fn read_consumer(read: &Reading<'_>) -> Result<ConsumerSettings, ConfigError> {
    let session_ms = bounded(read, "session.timeout.ms", 1)?;
    let heartbeat_interval_ms = bounded(read, "heartbeat.interval.ms", 1)?;
    if heartbeat_interval_ms >= session_ms {
        let message =
            format!("{heartbeat_interval_ms} is not less than group.consumer.session.timeout.ms, {session_ms}");
        return Err(read.error("group.consumer.heartbeat.interval.ms", message));
    }
    let name = "group.consumer.assignors";
    let assignors = read.list(name).iter().map(|text| text.parse()).collect::<Result<Vec<Assignor>, _>>();
    let assignors = assignors.map_err(|problem| read.error(name, problem))?;
    if assignors.is_empty() {
        return Err(read.error(name, "expected at least one of uniform and range".to_owned()));
    }
    let name = "group.consumer.migration.policy";
    let policy = read.text(name).unwrap_or_default().trim().parse();
    Ok(ConsumerSettings {
        migration_policy: policy.map_err(|problem| read.error(name, problem))?,
        session_timeout: Duration::from_millis(session_ms as u64),
        heartbeat_interval_ms,
        max_size: read.number("group.consumer.max.size", 1)?,
        assignors,
        assignment_interval_ms: i64::from(bounded(read, "assignment.interval.ms", 0)?),
        regex_refresh_interval_ms: read.number("group.consumer.regex.refresh.interval.ms", 10_000)?,
    })
}

/// A setting of consumer groups that has settings for its own bounds.
fn bounded(read: &Reading<'_>, name: &str, least: i32) -> Result<i32, ConfigError> {
    let (low, high) = (format!("group.consumer.min.{name}"), format!("group.consumer.max.{name}"));
    let (min, max): (i32, i32) = (read.number(&low, least)?, read.number(&high, least)?);
    let full = format!("group.consumer.{name}");
    let value = read.number(&full, least)?;
    if max < min {
        return Err(read.error(&high, format!("{max} is less than {low}, {min}")));
    }
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(read.error(&full, format!("{value} is not between {low}, {min}, and {high}, {max}")))
}
