//! What a leader asks of a producer's batch before it appends it (Kafka's LogValidator), and how it refuses.

use bytes::{Bytes, BytesMut};

use super::{BatchError, BatchHeader, Codec, batches, check_crc, decode_records, header::crc_of};
use crate::{
    base::{LeaderEpoch, Offset, Timestamp},
    protocol::ErrorCode,
};

/// `message.timestamp.type` of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's time stands.
    #[default]
    CreateTime,
    /// The broker writes its own.
    LogAppendTime,
}

/// The settings of a topic that bound its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max.message.bytes`.
    pub message_bytes_max: usize,
    /// `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
}

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code on the wire.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Index of each bad record with its own message, where single records are to blame.
    pub records: Vec<(i32, String)>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), records: Vec::new() }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let code = match &error {
            BatchError::TooLarge(_) => ErrorCode::MessageTooLarge,
            BatchError::Magic(_) => ErrorCode::InvalidRecord,
            BatchError::Incomplete { .. } | BatchError::Crc { .. } | BatchError::Malformed(_) => {
                ErrorCode::CorruptMessage
            }
        };
        Self::new(code, error.to_string())
    }
}

/// Checks what a producer sent for one partition: exactly one batch, sound, and within the topic's limits.
///
/// # Errors
/// The refusal to answer with. Nothing may be appended then.
pub fn validate_produce(
    records: &Bytes,
    version: i16,
    limits: &Limits,
    now_ms: Timestamp,
) -> Result<(BatchHeader, Bytes), Refusal> {
    let mut found = batches(records);
    let (header, batch) = found.next().ok_or_else(|| Refusal::new(ErrorCode::InvalidRecord, "no batch was sent"))??;
    match found.next() {
        None => {}
        Some(Ok(_)) => return Err(Refusal::new(ErrorCode::InvalidRecord, "more than one batch was sent")),
        Some(Err(error)) => return Err(error.into()),
    }
    if batch.len() > limits.message_bytes_max {
        let message = format!("a batch of {} bytes, where {} are allowed", batch.len(), limits.message_bytes_max);
        return Err(Refusal::new(ErrorCode::MessageTooLarge, message));
    }
    check_crc(&header, &batch)?;
    check_header(&header, version)?;
    check_timestamps(&header, &batch, limits, now_ms)?;
    if limits.compacted {
        check_keys(&header, &batch)?;
    }
    Ok((header, batch))
}

fn check_header(header: &BatchHeader, version: i16) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRecord, message));
    if header.is_control() {
        return invalid("clients may not write control batches".to_owned());
    }
    if header.record_count <= 0 || header.record_count != header.last_offset_delta + 1 {
        return invalid(format!("{} records with last offset delta {}", header.record_count, header.last_offset_delta));
    }
    if header.has_producer() && header.base_sequence < 0 {
        return invalid(format!("sequence {} of producer {}", header.base_sequence, header.producer_id));
    }
    let codec = header.codec()?;
    if codec == Codec::Zstd && version < 7 {
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, "zstd needs Produce 7"));
    }
    Ok(())
}

fn check_timestamps(header: &BatchHeader, batch: &Bytes, limits: &Limits, now_ms: Timestamp) -> Result<(), Refusal> {
    if limits.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    if header.is_append_time() {
        return Err(Refusal::new(ErrorCode::InvalidTimestamp, "a producer may not claim append time"));
    }
    let good = |time: Timestamp| {
        time == -1
            || (now_ms.saturating_sub(time) <= limits.timestamp_before_max_ms
                && time.saturating_sub(now_ms) <= limits.timestamp_after_max_ms)
    };
    // The header bounds the records' times from above; from below only where no limit is set.
    if good(header.max_timestamp) && limits.timestamp_before_max_ms == i64::MAX {
        return Ok(());
    }
    let bad: Vec<(i32, String)> = decode(header, batch)?
        .iter()
        .enumerate()
        .filter(|(_, record)| !good(record.timestamp))
        .map(|(index, record)| (index as i32, format!("timestamp {} is out of range", record.timestamp)))
        .collect();
    match bad.is_empty() {
        true => Ok(()),
        false => {
            let message = "one or more records have timestamps out of range".to_owned();
            Err(Refusal { code: ErrorCode::InvalidTimestamp, message, records: bad })
        }
    }
}

fn check_keys(header: &BatchHeader, batch: &Bytes) -> Result<(), Refusal> {
    let bad: Vec<(i32, String)> = decode(header, batch)?
        .iter()
        .enumerate()
        .filter(|(_, record)| record.key.is_none())
        .map(|(index, _)| (index as i32, "a compacted topic needs keys".to_owned()))
        .collect();
    match bad.is_empty() {
        true => Ok(()),
        false => {
            let message = "one or more records have no key, and the topic is compacted".to_owned();
            Err(Refusal { code: ErrorCode::InvalidRecord, message, records: bad })
        }
    }
}

/// Most bytes that the records of one batch may have when a leader must look at them.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

fn decode(header: &BatchHeader, batch: &Bytes) -> Result<Vec<super::Record>, Refusal> {
    Ok(decode_records(header, batch, DECOMPRESSED_BYTES_MAX)?)
}

/// The batch with the broker's time in it, as `message.timestamp.type=LogAppendTime` asks; the CRC is made anew.
pub fn with_append_time(header: &BatchHeader, batch: &Bytes, now_ms: Timestamp) -> (BatchHeader, Bytes) {
    let mut stamped = BatchHeader { attributes: header.attributes | 0x08, max_timestamp: now_ms, crc: 0, ..*header };
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[..super::HEADER_BYTES].copy_from_slice(&patch(&stamped));
    stamped.crc = crc_of(&bytes[21..]);
    bytes[17..21].copy_from_slice(&stamped.crc.to_be_bytes());
    (stamped, bytes.freeze())
}

fn patch(header: &BatchHeader) -> [u8; super::HEADER_BYTES] {
    super::patched_header(header, Offset(header.base_offset.0), LeaderEpoch(header.leader_epoch.0))
}
