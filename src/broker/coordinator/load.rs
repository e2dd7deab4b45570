//! Reading a partition's records into a coordinator, from the first to the last.
//!
//! A damaged record is named in the log and skipped, and so is a damaged batch: the rest of the groups go on. Records of
//! transactions are left out, as there are none here; so are markers.

use crate::{
    base::{LeaderEpoch, Offset, Switches},
    broker::partition::Partition,
    group::{Machine, records::Record},
    protocol::{
        ErrorCode,
        records::{BatchHeader, batches, decode_records},
    },
};

/// Most bytes that the records of a batch may have.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// What was loaded.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// End of the log.
    pub end_offset: Offset,
    /// Records replayed.
    pub records: u64,
}

/// Replays the log of `partition`, which this broker leads in `leader_epoch`, into `machine`.
///
/// # Errors
/// NOT_LEADER_OR_FOLLOWER when the leadership is over, KAFKA_STORAGE_ERROR when the disk failed.
pub async fn load(
    partition: &Partition,
    leader_epoch: LeaderEpoch,
    machine: &mut Machine,
    buffer_bytes: usize,
    switches: Switches,
) -> Result<Loaded, ErrorCode> {
    let mut loaded = Loaded { end_offset: Offset::ZERO, records: 0 };
    let mut damaged_from: Option<Offset> = None;
    loop {
        let from = loaded.end_offset;
        let chunk = match partition.read_in(leader_epoch, from, buffer_bytes).await {
            Ok(chunk) => chunk,
            Err(ErrorCode::CorruptMessage) => {
                // The batch that has this offset cannot be read. The next one may begin at any offset after it.
                damaged_from.get_or_insert(from);
                loaded.end_offset = from.plus(1);
                continue;
            }
            Err(code) => return Err(code),
        };
        let from = from.max(chunk.start);
        if let Some(begin) = damaged_from.take() {
            tracing::error!(
                partition = %partition.id, from = %begin, to = %from,
                "damaged batches are skipped; their groups and offsets are as the records before tell"
            );
        }
        loaded.end_offset = from;
        for found in batches(&chunk.records) {
            let Ok((header, batch)) = found else { break };
            if header.end_offset() <= from {
                continue;
            }
            let records = match header.is_control() || header.is_transactional() {
                true => Vec::new(),
                false => decode(partition, &header, &batch),
            };
            loaded.records += records.len() as u64;
            loaded.end_offset = header.end_offset();
            machine.load(&records, header.end_offset(), chunk.high_watermark);
            if switches.bug_load_stops_at_tombstone && records.iter().any(|record| record.value().is_none()) {
                loaded.end_offset = chunk.end;
                return Ok(loaded);
            }
        }
        if loaded.end_offset >= chunk.end {
            return Ok(loaded);
        }
        if loaded.end_offset == from {
            // Nothing could be read here.
            loaded.end_offset = from.plus(1);
        }
    }
}

fn decode(partition: &Partition, header: &BatchHeader, batch: &bytes::Bytes) -> Vec<Record> {
    let decoded = match decode_records(header, batch, DECOMPRESSED_BYTES_MAX) {
        Ok(decoded) => decoded,
        Err(error) => {
            tracing::error!(
                partition = %partition.id, offset = %header.base_offset, %error,
                "a damaged batch is skipped; its groups and offsets are as the records before it tell"
            );
            return Vec::new();
        }
    };
    let mut records = Vec::with_capacity(decoded.len());
    for record in decoded {
        match Record::parse(record.key.as_deref(), record.value.as_deref()) {
            Ok(Some(parsed)) => records.push(parsed),
            Ok(None) => {
                tracing::debug!(partition = %partition.id, offset = %record.offset, "a record of an unknown type");
            }
            Err(problem) => tracing::error!(
                partition = %partition.id, offset = %record.offset, problem,
                "a damaged record is skipped; see `highwater inspect`"
            ),
        }
    }
    records
}
