//! The settings of a topic that its logs act on.

/// Resolved settings of one log, named after the topic configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `flush.messages`: sync after so many records, before the append returns.
    pub flush_messages: i64,
    /// Whether `cleanup.policy` has delete: old segments go.
    pub deletes: bool,
    /// `retention.ms`: a segment whose newest record is older goes; -1: none does.
    pub retention_ms: i64,
    /// `retention.bytes`: the oldest segments go while the others have as much; -1: none does.
    pub retention_bytes: i64,
    /// `producer.id.expiration.ms`: an idempotent producer is forgotten when its last record is older. Of the broker.
    pub producer_expiration_ms: i64,
}

impl Default for LogConfig {
    /// Kafka 4.3's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            flush_messages: i64::MAX,
            deletes: true,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            producer_expiration_ms: 86_400_000,
        }
    }
}
