//! What a leader asks of a producer's records before it appends them, and how it refuses (Kafka's LogValidator).
//!
//! | in this order | refused as |
//! |---|---|
//! | a length or a magic that no batch has | CORRUPT_MESSAGE, and the client is told why |
//! | no whole batch, more than one, a magic other than 2 | INVALID_RECORD |
//! | zstd before Produce 7 | UNSUPPORTED_COMPRESSION_TYPE |
//! | a base offset other than 0 | INVALID_RECORD |
//! | larger than `max.message.bytes` | MESSAGE_TOO_LARGE |
//! | a wrong CRC | CORRUPT_MESSAGE |
//! | compression that is not known or cannot be undone | UNKNOWN_SERVER_ERROR |
//! | counts that contradict each other, a control batch, a producer without sequence | INVALID_RECORD |
//! | records that do not fill the batch exactly, or whose offsets are not consecutive | INVALID_RECORD |
//! | records without key in a compacted topic | INVALID_RECORD, with the records |
//! | timestamps out of range, or claimed to be the broker's | INVALID_TIMESTAMP, with the records |
//! | larger than a segment | RECORD_LIST_TOO_LARGE |
//!
//! What is left of a batch that is cut short, behind a whole one, is passed over: clients of old left it there.

use bytes::{BufMut, Bytes, BytesMut};

use super::{BatchError, BatchHeader, Codec, HEADER_BYTES, RecordHead, check_crc, header::crc_of, walk_records};
use crate::{base::Timestamp, protocol::ErrorCode};

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
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// `compression.type`; none where the producer's stands.
    pub codec: Option<Codec>,
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
    /// What is wrong.
    pub message: String,
    /// Whether the client gets the message; Kafka keeps most to itself.
    pub told: bool,
    /// Index of each bad record with its own message, where single records are to blame.
    pub records: Vec<(i32, String)>,
}

impl Refusal {
    /// A refusal whose message stays here.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), told: false, records: Vec::new() }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.name())
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let code = match &error {
            BatchError::TooLarge(_) => ErrorCode::MessageTooLarge,
            BatchError::Magic(_) | BatchError::Malformed(_) => ErrorCode::InvalidRecord,
            BatchError::Compression(_) => ErrorCode::UnknownServerError,
            BatchError::Incomplete { .. } | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
        };
        Self::new(code, error.to_string())
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRecord, message)
}

/// Most bytes that the records of one batch may have once decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Checks what a producer sent for one partition in a Produce of `version`, and gives the batch to append: the bytes
/// that were sent, where the topic's settings ask for no change.
///
/// # Errors
/// The refusal to answer with. Nothing may be appended then.
pub fn validate_produce(
    records: &Bytes,
    version: i16,
    limits: &Limits,
    now_ms: Timestamp,
) -> Result<(BatchHeader, Bytes), Refusal> {
    let batch = only_batch(records, version)?;
    let Some(header) = batch.first_chunk().map(BatchHeader::read) else {
        return Err(Refusal::new(ErrorCode::CorruptMessage, format!("{} bytes are no batch", batch.len())));
    };
    if header.base_offset.0 != 0 {
        return Err(invalid(format!("base offset {}, which is the broker's to give", header.base_offset)));
    }
    check_size(batch.len(), limits)?;
    check_crc(&header, &batch)?;
    check_header(&header)?;
    let max_timestamp = check_records(&header, &batch, limits, now_ms)?;
    let (header, batch) = as_the_topic_wants(header, batch, limits, max_timestamp, now_ms)?;
    check_size(batch.len(), limits)?;
    if batch.len() > limits.segment_bytes {
        let message = format!("a batch of {} bytes, where a segment has {}", batch.len(), limits.segment_bytes);
        return Err(Refusal::new(ErrorCode::RecordListTooLarge, message));
    }
    Ok((header, batch))
}

fn only_batch(records: &Bytes, version: i16) -> Result<Bytes, Refusal> {
    let size = next_size(records)?.ok_or_else(|| invalid("no whole batch was sent"))?;
    let (batch, rest) = (records.slice(..size), records.slice(size..));
    if batch[16] != 2 {
        return Err(invalid(format!("magic {}, expected 2", batch[16])));
    }
    let attributes = batch.get(21..23).map_or(0, |bytes| i16::from_be_bytes([bytes[0], bytes[1]]));
    if version < 7 && Codec::from_attributes(attributes) == Ok(Codec::Zstd) {
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, "zstd needs Produce 7"));
    }
    match next_size(&rest).map_err(|refusal| Refusal { told: false, ..refusal })? {
        None => Ok(batch),
        Some(_) => Err(invalid("more than one batch was sent")),
    }
}

/// Size of the batch that begins here, of any format; none where less than all of it is there.
fn next_size(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let Some(begin) = bytes.first_chunk::<17>() else { return Ok(None) };
    let corrupt = |message: String| Refusal { told: true, ..Refusal::new(ErrorCode::CorruptMessage, message) };
    let length = i32::from_be_bytes([begin[8], begin[9], begin[10], begin[11]]);
    // The shortest message that there ever was, of magic 0.
    let length = usize::try_from(length).ok().filter(|length| *length >= 14);
    let size = 12 + length.ok_or_else(|| corrupt("a batch that is shorter than any".to_owned()))?;
    let magic = begin[16];
    if magic > 2 { Err(corrupt(format!("magic {magic}"))) } else { Ok((size <= bytes.len()).then_some(size)) }
}

fn check_size(size_bytes: usize, limits: &Limits) -> Result<(), Refusal> {
    if size_bytes <= limits.message_bytes_max {
        return Ok(());
    }
    let message = format!("a batch of {size_bytes} bytes, where {} are allowed", limits.message_bytes_max);
    Err(Refusal::new(ErrorCode::MessageTooLarge, message))
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    header.codec()?;
    if header.record_count <= 0 || header.last_offset_delta != header.record_count - 1 {
        let (count, last) = (header.record_count, header.last_offset_delta);
        return Err(invalid(format!("{count} records with last offset delta {last}")));
    }
    if header.is_control() {
        return Err(invalid("clients may not write control batches"));
    }
    if header.has_producer() && header.base_sequence < 0 {
        return Err(invalid(format!("sequence {} of producer {}", header.base_sequence, header.producer_id)));
    }
    Ok(())
}

/// Most bad records that a refusal names: a small compressed batch may have millions.
const BAD_RECORDS_MAX: usize = 1000;

/// Checks each record; gives the greatest timestamp.
fn check_records(header: &BatchHeader, batch: &[u8], limits: &Limits, now_ms: Timestamp) -> Result<Timestamp, Refusal> {
    let mut bad: Vec<(ErrorCode, i32, String)> = Vec::new();
    let (mut index, mut greatest, mut in_order) = (0, -1, true);
    walk_records(header, batch, DECOMPRESSED_BYTES_MAX, |record| {
        if let Err((code, message)) = check_record(header, &record, limits, now_ms)
            && bad.len() < BAD_RECORDS_MAX
        {
            bad.push((code, index, message));
        }
        in_order &= record.offset_delta == i64::from(index);
        greatest = greatest.max(record.timestamp);
        index += 1;
    })?;
    if !in_order {
        // Kafka keeps such offsets, or writes new ones where the batch is compressed. No client sends them.
        return Err(invalid("the offsets of the records are not consecutive"));
    }
    if bad.is_empty() {
        return Ok(greatest);
    }
    let code = match bad.iter().any(|(code, ..)| *code == ErrorCode::InvalidTimestamp) {
        true => ErrorCode::InvalidTimestamp,
        false => ErrorCode::InvalidRecord,
    };
    let message = format!("{} of {} records are refused, the first because {}", bad.len(), index, bad[0].2);
    let records = bad.into_iter().map(|(_, index, message)| (index, message)).collect();
    Err(Refusal { code, message, told: true, records })
}

fn check_record(
    header: &BatchHeader,
    record: &RecordHead,
    limits: &Limits,
    now_ms: Timestamp,
) -> Result<(), (ErrorCode, String)> {
    if limits.compacted && !record.has_key {
        return Err((ErrorCode::InvalidRecord, "a record of a compacted topic needs a key".to_owned()));
    }
    let time = record.timestamp;
    if limits.timestamp_type == TimestampType::CreateTime && time != -1 {
        let (behind, ahead) = (now_ms.saturating_sub(time), time.saturating_sub(now_ms));
        if behind > limits.timestamp_before_max_ms || ahead > limits.timestamp_after_max_ms {
            return Err((ErrorCode::InvalidTimestamp, format!("timestamp {time} is out of range at {now_ms}")));
        }
    } else if header.is_append_time() {
        // Only here: a claim in a topic of create time is put right without a word.
        return Err((ErrorCode::InvalidTimestamp, "a producer may not claim append time".to_owned()));
    }
    Ok(())
}

/// The batch with the topic's codec and timestamp type and with a true greatest timestamp. Bytes that are so already
/// stay as they are; others get a new CRC.
fn as_the_topic_wants(
    header: BatchHeader,
    batch: Bytes,
    limits: &Limits,
    max_timestamp: Timestamp,
    now_ms: Timestamp,
) -> Result<(BatchHeader, Bytes), Refusal> {
    let source = header.codec()?;
    let codec = limits.codec.unwrap_or(source);
    let mut records = batch.slice(HEADER_BYTES..);
    if codec != source {
        let limit_bytes = if codec == Codec::None { limits.message_bytes_max } else { DECOMPRESSED_BYTES_MAX };
        records = source.recompress(&records, codec, limit_bytes)?;
    }
    let (append_time, max_timestamp) = match limits.timestamp_type {
        TimestampType::LogAppendTime => (0x08, now_ms),
        TimestampType::CreateTime => (0, max_timestamp),
    };
    let mut wanted = BatchHeader {
        attributes: header.attributes & !0x0f | append_time | codec as i16,
        max_timestamp,
        length: i32::try_from(HEADER_BYTES - 12 + records.len()).expect("a batch within its limits is below 2 GiB"),
        ..header
    };
    if wanted == header {
        return Ok((header, batch));
    }
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + records.len());
    bytes.put_slice(&wanted.to_bytes());
    bytes.put_slice(&records);
    wanted.crc = crc_of(&bytes[21..]);
    bytes[17..21].copy_from_slice(&wanted.crc.to_be_bytes());
    Ok((wanted, bytes.freeze()))
}
