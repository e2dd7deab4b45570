//! Looking at every record of a batch without keeping any: what a leader does before it appends a batch.
//!
//! A compressed batch is decompressed on the way through and passes by, so that a small batch that grows large costs
//! time, up to the limit, and no memory. Not here: records to keep, which [`super::decode_records`] gives.

use std::io::BufRead;

use super::{BatchError, BatchHeader, HEADER_BYTES, codec::unreadable, varint};
use crate::base::Timestamp;

/// What a leader looks at in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The producer's time, or the batch's greatest if the batch says that it has the broker's.
    pub timestamp: Timestamp,
    /// Offset minus the base offset of the batch.
    pub offset_delta: i64,
    /// Whether there is a key.
    pub has_key: bool,
}

/// Gives the head of each record of a whole batch to `each`; the records may have `limit_bytes` once decompressed.
///
/// # Errors
/// As [`super::decode_records`], but that the bytes of keys, values and header names may be any.
pub fn walk_records(
    header: &BatchHeader,
    batch: &[u8],
    limit_bytes: usize,
    mut each: impl FnMut(RecordHead),
) -> Result<(), BatchError> {
    let reader = header.codec()?.reader(&batch[HEADER_BYTES..header.size_bytes()])?;
    let mut walk = Walk { reader, position: 0, limit: limit_bytes as u64 };
    for _ in 0..header.record_count {
        each(walk.record(header)?);
    }
    match walk.at_end()? {
        true => Ok(()),
        false => Err(malformed(format!("bytes after the last of {} records", header.record_count))),
    }
}

fn malformed(problem: impl Into<String>) -> BatchError {
    BatchError::Malformed(problem.into())
}

/// A position in the records, decompressed.
struct Walk<R> {
    reader: R,
    position: u64,
    limit: u64,
}

impl<R: BufRead> Walk<R> {
    fn record(&mut self, header: &BatchHeader) -> Result<RecordHead, BatchError> {
        let length = u64::try_from(self.number()?).map_err(|_| malformed("a record of negative length"))?;
        let end = self.position.saturating_add(length);
        self.skip(1, end)?;
        let (timestamp_delta, offset_delta) = (self.number()?, self.number()?);
        let has_key = self.skip_nullable(end)?;
        self.skip_nullable(end)?;
        let headers = self.number()?;
        if headers < 0 {
            return Err(malformed(format!("{headers} record headers")));
        }
        for _ in 0..headers {
            if !self.skip_nullable(end)? {
                return Err(malformed("a record header without a name"));
            }
            self.skip_nullable(end)?;
        }
        if self.position != end {
            return Err(malformed(format!("a record of {length} bytes that ends elsewhere")));
        }
        let timestamp = match header.is_append_time() {
            true => Some(header.max_timestamp),
            false => header.base_timestamp.checked_add(timestamp_delta),
        };
        let timestamp = timestamp.ok_or_else(|| malformed(format!("timestamp delta {timestamp_delta}")))?;
        Ok(RecordHead { timestamp, offset_delta, has_key })
    }

    /// Passes bytes with their length before them; whether there are any, as length -1 means none.
    fn skip_nullable(&mut self, end: u64) -> Result<bool, BatchError> {
        let length = self.number()?;
        if length == -1 {
            return Ok(false);
        }
        self.skip(u64::try_from(length).map_err(|_| malformed(format!("length {length}")))?, end)?;
        Ok(true)
    }

    fn skip(&mut self, mut count: u64, end: u64) -> Result<(), BatchError> {
        if count > end.saturating_sub(self.position) {
            return Err(malformed("a record that is longer inside than it says"));
        }
        while count > 0 {
            let some = (self.available()?.len() as u64).min(count);
            self.take(some)?;
            count -= some;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<i64, BatchError> {
        let mut bytes = [0; varint::BYTES_MAX];
        for length in 1..=bytes.len() {
            let byte = self.available()?[0];
            self.take(1)?;
            bytes[length - 1] = byte;
            if byte & 0x80 == 0 {
                return varint::read(&mut &bytes[..length]).ok_or_else(|| malformed("a number that is too long"));
            }
        }
        Err(malformed("a number that is too long"))
    }

    /// Bytes that come next, at least one.
    fn available(&mut self) -> Result<&[u8], BatchError> {
        let bytes = self.reader.fill_buf().map_err(|error| unreadable(&error))?;
        if bytes.is_empty() { Err(malformed("the records end too early")) } else { Ok(bytes) }
    }

    fn take(&mut self, count: u64) -> Result<(), BatchError> {
        self.reader.consume(count as usize);
        self.position += count;
        if self.position > self.limit { Err(BatchError::TooLarge(self.limit as usize)) } else { Ok(()) }
    }

    fn at_end(&mut self) -> Result<bool, BatchError> {
        Ok(self.reader.fill_buf().map_err(|error| unreadable(&error))?.is_empty())
    }
}
