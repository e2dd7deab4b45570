//! Reading a partition's records into a coordinator, from the first to the last.
//!
//! A damaged record is named in the log and skipped, and so is a damaged batch: the rest of the groups go on.

use crate::{
    base::{LeaderEpoch, Offset, Switches},
    broker::partition::Partition,
    group::{
        Machine,
        log::{Damage, LogReader},
    },
    protocol::{ErrorCode, records::batches},
};

/// What was loaded.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// End of the log.
    pub end_offset: Offset,
    /// Records replayed.
    pub records: u64,
}

/// Replays the log of `partition`, which this broker leads in `leader_epoch`, into `machine`; with `until` (a planted bug)
/// no further than that.
///
/// # Errors
/// NOT_LEADER_OR_FOLLOWER when the leadership is over, KAFKA_STORAGE_ERROR when the disk failed.
pub async fn load(
    partition: &Partition,
    leader_epoch: LeaderEpoch,
    machine: &mut Machine,
    buffer_bytes: usize,
    switches: Switches,
    until: Option<Offset>,
) -> Result<Loaded, ErrorCode> {
    let mut loaded = Loaded { end_offset: Offset::ZERO, records: 0 };
    let mut reader = LogReader::new(switches);
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
            if until.is_some_and(|until| header.end_offset() > until) {
                return Ok(loaded);
            }
            let mut damage = Vec::new();
            let records = reader.read(&header, &batch, &mut damage);
            for Damage { offset, problem } in damage {
                tracing::error!(
                    partition = %partition.id, %offset, problem,
                    "a damaged record is skipped; `highwater inspect` shows the log"
                );
            }
            loaded.records += records.len() as u64;
            loaded.end_offset = header.end_offset();
            machine.load(records, header.end_offset(), chunk.high_watermark);
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
