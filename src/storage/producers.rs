//! What a partition knows of its idempotent producers: their last batches, by which retries are recognised (KIP-98).
//!
//! | header says | known state | answer |
//! |---|---|---|
//! | older epoch | any | fenced: INVALID_PRODUCER_EPOCH |
//! | same epoch and sequences as one of the last five batches | | duplicate: its offsets again |
//! | newer epoch | known producer | sequence must be 0 |
//! | same epoch | last sequence s | sequence must be s + 1, after 2^31-1 comes 0 |
//! | any | unknown producer | any sequence |

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum};

use crate::{
    base::{Offset, ProducerEpoch, ProducerId, Switches, Timestamp},
    protocol::records::BatchHeader,
};

/// Batches remembered of each producer: as many as may be under way.
const BATCHES_KEPT: usize = 5;
const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBatch {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus first.
    pub offset_delta: i32,
    /// Its greatest timestamp.
    pub timestamp: Timestamp,
}

impl KnownBatch {
    /// Offset of its first record.
    pub fn base_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }

    fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ProducerState {
    epoch: ProducerEpoch,
    batches: VecDeque<KnownBatch>,
}

/// Why a batch is not in sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceError {
    /// A newer epoch of this producer is known.
    FencedEpoch {
        /// The newer one.
        known: ProducerEpoch,
    },
    /// Records are missing between the last batch and this one.
    OutOfOrder {
        /// Sequence that should come.
        expected: i32,
    },
}

/// The producers of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates(BTreeMap<ProducerId, ProducerState>);

impl ProducerStates {
    /// Checks a batch that is about to be appended: `Ok(Some(..))` is a retry of that batch.
    ///
    /// # Errors
    /// See [`SequenceError`] and the table above.
    pub fn check(&self, header: &BatchHeader, switches: &Switches) -> Result<Option<KnownBatch>, SequenceError> {
        let Some(state) = self.0.get(&header.producer_id) else { return Ok(None) };
        if header.producer_epoch < state.epoch {
            return Err(SequenceError::FencedEpoch { known: state.epoch });
        }
        if header.producer_epoch > state.epoch {
            let in_order = header.base_sequence == 0;
            return if in_order { Ok(None) } else { Err(SequenceError::OutOfOrder { expected: 0 }) };
        }
        let same = |batch: &&KnownBatch| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        if let Some(duplicate) = state.batches.iter().find(same) {
            return Ok((!switches.bug_duplicates_taken).then_some(*duplicate));
        }
        let expected = state.batches.back().map(|last| last.last_sequence.wrapping_add(1) & i32::MAX);
        match expected {
            Some(expected) if expected != header.base_sequence && !switches.bug_batches_overtake => {
                Err(SequenceError::OutOfOrder { expected })
            }
            _ => Ok(None),
        }
    }

    /// Notes a batch that was appended.
    pub fn update(&mut self, header: &BatchHeader) {
        if !header.has_producer() || header.is_control() {
            return;
        }
        let fresh = || ProducerState { epoch: header.producer_epoch, batches: VecDeque::with_capacity(BATCHES_KEPT) };
        let state = self.0.entry(header.producer_id).or_insert_with(fresh);
        if state.epoch != header.producer_epoch {
            *state = fresh();
        }
        if state.batches.len() == BATCHES_KEPT {
            state.batches.pop_front();
        }
        state.batches.push_back(KnownBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.end_offset().plus(-1),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
    }

    /// The last batch of a producer; `None` where nothing is known of it.
    pub fn last_batch(&self, producer: ProducerId) -> Option<&KnownBatch> {
        self.0.get(&producer)?.batches.back()
    }

    /// Forgets producers whose last record is older than `oldest`.
    pub fn expire(&mut self, oldest: Timestamp) {
        self.0.retain(|_, state| state.batches.back().is_none_or(|last| last.timestamp >= oldest));
    }

    /// Number of producers known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Content of a `.snapshot` file: the last batch of each producer.
    pub fn snapshot(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(10 + self.0.len() * SNAPSHOT_ENTRY_BYTES);
        out.put_i16(SNAPSHOT_VERSION);
        out.put_u32(0);
        out.put_i32(self.0.len() as i32);
        for (id, state) in &self.0 {
            let none = KnownBatch { last_sequence: -1, last_offset: Offset(-1), offset_delta: 0, timestamp: -1 };
            let last = state.batches.back().copied().unwrap_or(none);
            out.put_i64(id.0);
            out.put_i16(state.epoch.0);
            out.put_i32(last.last_sequence);
            out.put_i64(last.last_offset.0);
            out.put_i32(last.offset_delta);
            out.put_i64(last.timestamp);
            out.put_i32(-1);
            out.put_i64(-1);
        }
        let crc = checksum(CrcAlgorithm::Crc32Iscsi, &out[6..]) as u32;
        out[2..6].copy_from_slice(&crc.to_be_bytes());
        out.freeze()
    }

    /// Reads a `.snapshot` file.
    ///
    /// # Errors
    /// What is wrong with it; the state can then be rebuilt from the log.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, String> {
        let (header, entries) = bytes.split_first_chunk::<10>().ok_or("a snapshot has at least 10 bytes")?;
        let version = i16::from_be_bytes([header[0], header[1]]);
        if version != SNAPSHOT_VERSION {
            return Err(format!("snapshot version {version}, expected {SNAPSHOT_VERSION}"));
        }
        let stored = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let computed = checksum(CrcAlgorithm::Crc32Iscsi, &bytes[6..]) as u32;
        let count = i32::from_be_bytes([header[6], header[7], header[8], header[9]]);
        if stored != computed || usize::try_from(count).ok() != Some(entries.len() / SNAPSHOT_ENTRY_BYTES) {
            return Err(format!("{count} entries, CRC {computed:08x} computed, {stored:08x} stored"));
        }
        let mut states = Self::default();
        for entry in entries.chunks_exact(SNAPSHOT_ENTRY_BYTES) {
            let i64_at = |at: usize| i64::from_be_bytes(*entry[at..].first_chunk().expect("an entry has 46 bytes"));
            let i32_at = |at: usize| i32::from_be_bytes(*entry[at..].first_chunk().expect("an entry has 46 bytes"));
            let batch = KnownBatch {
                last_sequence: i32_at(10),
                last_offset: Offset(i64_at(14)),
                offset_delta: i32_at(22),
                timestamp: i64_at(26),
            };
            let batches = if batch.last_sequence < 0 { VecDeque::new() } else { VecDeque::from([batch]) };
            let epoch = ProducerEpoch(i16::from_be_bytes([entry[8], entry[9]]));
            states.0.insert(ProducerId(i64_at(0)), ProducerState { epoch, batches });
        }
        Ok(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LeaderEpoch;

    fn batch(epoch: i16, sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(base_offset),
            length: 49,
            leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
            record_count: count,
        }
    }

    #[test]
    fn sequences_follow_the_table() {
        let mut states = ProducerStates::default();
        for (sequence, offset) in [(0, 0), (2, 10), (4, 20), (6, 30), (8, 40), (10, 50)] {
            let header = batch(3, sequence, 2, offset);
            assert_eq!(states.check(&header, &Switches::NEWEST), Ok(None));
            states.update(&header);
        }
        let duplicate = |sequence| {
            states.check(&batch(3, sequence, 2, -1), &Switches::NEWEST).map(|found| found.map(|b| b.base_offset().0))
        };
        assert_eq!(duplicate(10), Ok(Some(50)));
        assert_eq!(duplicate(2), Ok(Some(10)));
        assert_eq!(duplicate(0), Err(SequenceError::OutOfOrder { expected: 12 }), "older than the last five");
        assert_eq!(duplicate(14), Err(SequenceError::OutOfOrder { expected: 12 }));
        assert_eq!(
            states.check(&batch(2, 12, 1, -1), &Switches::NEWEST),
            Err(SequenceError::FencedEpoch { known: ProducerEpoch(3) })
        );
        assert_eq!(
            states.check(&batch(4, 12, 1, -1), &Switches::NEWEST),
            Err(SequenceError::OutOfOrder { expected: 0 })
        );
        assert_eq!(states.check(&batch(4, 0, 1, -1), &Switches::NEWEST), Ok(None));
    }

    #[test]
    fn sequences_go_from_the_greatest_to_zero() {
        let mut states = ProducerStates::default();
        states.update(&batch(0, i32::MAX - 1, 3, 0));
        assert_eq!(states.check(&batch(0, 1, 1, 3), &Switches::NEWEST), Ok(None));
        assert_eq!(states.check(&batch(0, 2, 1, 3), &Switches::NEWEST), Err(SequenceError::OutOfOrder { expected: 1 }));
    }

    #[test]
    fn a_snapshot_is_read_back_and_a_damaged_one_refused() {
        let mut states = ProducerStates::default();
        states.update(&batch(0, 5, 3, 7));
        let bytes = states.snapshot();
        assert_eq!(ProducerStates::from_snapshot(&bytes), Ok(states));
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(ProducerStates::from_snapshot(&damaged).is_err(), "byte {at}");
            assert!(ProducerStates::from_snapshot(&bytes[..at]).is_err(), "cut to {at}");
        }
    }
}
