//! The controller: cluster metadata as a log of records, and everything that is decided from it.
//!
//! [`image`] is what the records say, replayed by the controller and by every broker; [`core`] decides; [`configs`] are
//! the settings that Kafka knows; [`node`] is the process around them: the log on disk, the listener, the timers. One
//! voter in this slice: what it has synced is committed.

pub mod configs;
pub mod core;
mod events;
mod fencing;
pub mod image;
pub mod node;

use bytes::Bytes;

use crate::{
    base::Offset,
    protocol::{
        metadata::MetadataRecord,
        records::{batches, decode_records},
    },
};

/// Most bytes that the records of one batch of the metadata log may have.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// The metadata records in batches of the log, each with the offset after it. Control batches have none.
///
/// # Errors
/// A batch or record that cannot be read, in words.
pub fn decode_batches(bytes: &Bytes) -> Result<Vec<(Offset, MetadataRecord)>, String> {
    let mut records = Vec::new();
    for found in batches(bytes) {
        let (header, batch) = found.map_err(|error| error.to_string())?;
        if header.is_control() {
            continue;
        }
        for record in decode_records(&header, &batch, BATCH_BYTES_MAX).map_err(|error| error.to_string())? {
            let value = record.value.ok_or_else(|| format!("no value at offset {}", record.offset))?;
            let decoded = MetadataRecord::decode(&value).map_err(|error| error.to_string())?;
            records.push((record.offset.next(), decoded));
        }
    }
    Ok(records)
}

/// Offset after the last whole batch, if there is one.
pub fn end_of(bytes: &Bytes) -> Option<Offset> {
    batches(bytes).filter_map(Result::ok).map(|(header, _)| header.end_offset()).last()
}
