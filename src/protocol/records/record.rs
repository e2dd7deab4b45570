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

/// A record whose bytes are still those of its batch.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// Offset in the log.
    pub offset: Offset,
    /// The producer's time, or the broker's if the batch says so.
    pub timestamp: Timestamp,
    /// Key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order; keys may repeat.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// Decodes the records of one whole batch, decompressed to at most `limit_bytes`.
///
/// # Errors
/// Bytes that are no records, a count that does not match, or more bytes than the limit.
pub fn decode_records(header: &BatchHeader, batch: &Bytes, limit_bytes: usize) -> Result<Vec<Record>, BatchError> {
    let content = content(header, batch, limit_bytes)?;
    let owned = |bytes: Option<&[u8]>| bytes.map(|bytes| content.slice_ref(bytes));
    // A record has at least 7 bytes.
    let mut records = Vec::with_capacity((header.record_count.max(0) as usize).min(content.len() / 7 + 1));
    walk(header, &content, |record| {
        let headers = record.headers.into_iter().map(|(name, value)| (name.to_owned(), owned(value)));
        records.push(Record {
            offset: record.offset,
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: headers.collect(),
        });
    })?;
    Ok(records)
}

/// As [`decode_records`], but keeps nothing: gives each record to `each`, also those before one that is no record.
///
/// # Errors
/// As [`decode_records`].
pub fn walk_decoded(
    header: &BatchHeader,
    batch: &Bytes,
    limit_bytes: usize,
    each: impl FnMut(Decoded<'_>),
) -> Result<(), BatchError> {
    walk(header, &content(header, batch, limit_bytes)?, each)
}

fn content(header: &BatchHeader, batch: &Bytes, limit_bytes: usize) -> Result<Bytes, BatchError> {
    header.codec()?.decompress(&batch.slice(HEADER_BYTES..header.size_bytes()), limit_bytes)
}

fn walk(header: &BatchHeader, content: &[u8], mut each: impl FnMut(Decoded<'_>)) -> Result<(), BatchError> {
    let count = usize::try_from(header.record_count)
        .map_err(|_| BatchError::Malformed(format!("{} records", header.record_count)))?;
    let mut rest = content;
    for index in 0..count {
        let cut = || BatchError::Malformed(format!("record {index} of {count} is cut or has an impossible length"));
        let length = varint::read(&mut rest).and_then(|length| usize::try_from(length).ok()).ok_or_else(cut)?;
        let (body, after) = rest.split_at_checked(length).ok_or_else(cut)?;
        each(decode(header, body).ok_or_else(cut)?);
        rest = after;
    }
    match rest.len() {
        0 => Ok(()),
        left => Err(BatchError::Malformed(format!("{left} bytes after the last record"))),
    }
}

fn decode<'a>(header: &BatchHeader, mut body: &'a [u8]) -> Option<Decoded<'a>> {
    let (_attributes, rest) = body.split_first()?;
    body = rest;
    let timestamp_delta = varint::read(&mut body)?;
    let offset_delta = varint::read(&mut body)?;
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    let header_count = usize::try_from(varint::read(&mut body)?).ok()?;
    let mut headers = Vec::with_capacity(header_count.min(body.len() / 2));
    for _ in 0..header_count {
        let name = nullable(&mut body)??;
        headers.push((std::str::from_utf8(name).ok()?, nullable(&mut body)?));
    }
    let timestamp = match header.is_append_time() {
        true => header.max_timestamp,
        false => header.base_timestamp.checked_add(timestamp_delta)?,
    };
    let offset = header.base_offset.0.checked_add(offset_delta).map(Offset)?;
    body.is_empty().then_some(Decoded { offset, timestamp, key, value, headers })
}

/// Bytes with their length before them; length -1 is none. The outer `None`: they are cut.
fn nullable<'a>(body: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read(body)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
    *body = rest;
    Some(Some(bytes))
}
