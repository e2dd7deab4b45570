//! Records within a batch.

use bytes::Bytes;

use super::{BatchError, BatchHeader, HEADER_BYTES, varint};
use crate::base::{Offset, Timestamp};

/// One record with its absolute offset and timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset in the log.
    pub offset: Offset,
    /// The producer's time, or the broker's if the batch says so.
    pub timestamp: Timestamp,
    /// Key, if it has one.
    pub key: Option<Bytes>,
    /// Value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order; keys may repeat.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Decodes the records of one whole batch, decompressed to at most `limit_bytes`.
///
/// # Errors
/// Bytes that are no records, a count that does not match, or more bytes than the limit.
pub fn decode_records(header: &BatchHeader, batch: &Bytes, limit_bytes: usize) -> Result<Vec<Record>, BatchError> {
    let content = header.codec()?.decompress(&batch.slice(HEADER_BYTES..header.size_bytes()), limit_bytes)?;
    let count = usize::try_from(header.record_count)
        .map_err(|_| BatchError::Malformed(format!("{} records", header.record_count)))?;
    // A record has at least 7 bytes.
    let mut records = Vec::with_capacity(count.min(content.len() / 7 + 1));
    let mut rest = &content[..];
    for index in 0..count {
        let cut = || BatchError::Malformed(format!("record {index} of {count} is cut or has an impossible length"));
        let length = varint::read(&mut rest).and_then(|length| usize::try_from(length).ok()).ok_or_else(cut)?;
        let (body, after) = rest.split_at_checked(length).ok_or_else(cut)?;
        records.push(decode(header, &content, body).ok_or_else(cut)?);
        rest = after;
    }
    if rest.is_empty() {
        Ok(records)
    } else {
        Err(BatchError::Malformed(format!("{} bytes after the last record", rest.len())))
    }
}

fn decode(header: &BatchHeader, content: &Bytes, mut body: &[u8]) -> Option<Record> {
    let (_attributes, rest) = body.split_first()?;
    body = rest;
    let timestamp_delta = varint::read(&mut body)?;
    let offset_delta = varint::read(&mut body)?;
    let key = nullable(content, &mut body)?;
    let value = nullable(content, &mut body)?;
    let header_count = usize::try_from(varint::read(&mut body)?).ok()?;
    let mut headers = Vec::with_capacity(header_count.min(body.len() / 2));
    for _ in 0..header_count {
        let name = nullable(content, &mut body)??;
        headers.push((String::from_utf8(name.to_vec()).ok()?, nullable(content, &mut body)?));
    }
    let timestamp = match header.is_append_time() {
        true => header.max_timestamp,
        false => header.base_timestamp.checked_add(timestamp_delta)?,
    };
    let offset = header.base_offset.0.checked_add(offset_delta).map(Offset)?;
    body.is_empty().then_some(Record { offset, timestamp, key, value, headers })
}

/// Bytes with their length before them; length -1 is none. The outer `None`: they are cut.
fn nullable(content: &Bytes, body: &mut &[u8]) -> Option<Option<Bytes>> {
    let length = varint::read(body)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
    *body = rest;
    Some(Some(content.slice_ref(bytes)))
}
