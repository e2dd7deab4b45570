//! The 61 bytes before the records, and walking from batch to batch.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use thiserror::Error;

use super::Codec;
use crate::{
    base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp},
    trace::BatchInfo,
};

/// Length of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length, which the length does not count.
const PREFIX_BYTES: usize = 12;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// What is wrong with the bytes of a batch.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes end within the batch: the rest of a fetch response, a torn write.
    #[error("the batch needs {needed} bytes, {available} are there")]
    Incomplete {
        /// Bytes that the batch has, as far as known.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// Another message format.
    #[error("magic {0}, expected 2")]
    Magic(i8),
    /// The content does not match its checksum.
    #[error("CRC {computed:08x} computed, {stored:08x} stored")]
    Crc {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A field or a record that cannot be.
    #[error("{0}")]
    Malformed(String),
    /// Records that no codec reads.
    #[error("compressed records: {0}")]
    Compression(String),
    /// Records that would be longer than allowed once decompressed.
    #[error("more than {0} bytes when decompressed")]
    TooLarge(usize),
}

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes after the length field.
    pub length: i32,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C from the attributes to the end.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: i32,
    /// Timestamp that those of the records are relative to.
    pub base_timestamp: Timestamp,
    /// Greatest timestamp.
    pub max_timestamp: Timestamp,
    /// Producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the begin of `bytes`. The CRC is not checked; the length is known to be possible.
    ///
    /// # Errors
    /// [`BatchError::Incomplete`] where less than a header is there; another magic; a length below a header's.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            if let Some(magic) = bytes.get(16).map(|byte| *byte as i8).filter(|magic| *magic != 2) {
                return Err(BatchError::Magic(magic));
            }
            return Err(BatchError::Incomplete { needed: HEADER_BYTES, available: bytes.len() });
        };
        if header[16] != 2 {
            return Err(BatchError::Magic(header[16] as i8));
        }
        let parsed = Self::read(header);
        if parsed.length < (HEADER_BYTES - PREFIX_BYTES) as i32 {
            return Err(BatchError::Malformed(format!("a batch of length {}", parsed.length)));
        }
        if parsed.last_offset_delta < 0 {
            return Err(BatchError::Malformed(format!("last offset delta {}", parsed.last_offset_delta)));
        }
        // So that no arithmetic on the offsets of a batch overflows.
        if !(0..=i64::MAX - (1 << 32)).contains(&parsed.base_offset.0) {
            return Err(BatchError::Malformed(format!("base offset {}", parsed.base_offset)));
        }
        Ok(parsed)
    }

    /// The fields as they are, checked or not.
    pub(super) fn read(header: &[u8; HEADER_BYTES]) -> Self {
        let i16_at = |at: usize| i16::from_be_bytes([header[at], header[at + 1]]);
        let i32_at = |at: usize| i32::from_be_bytes(*header[at..].first_chunk().expect("the field lies in the header"));
        let i64_at = |at: usize| i64::from_be_bytes(*header[at..].first_chunk().expect("the field lies in the header"));
        Self {
            base_offset: Offset(i64_at(0)),
            length: i32_at(8),
            leader_epoch: LeaderEpoch(i32_at(12)),
            crc: i32_at(CRC_AT) as u32,
            attributes: i16_at(21),
            last_offset_delta: i32_at(23),
            base_timestamp: i64_at(27),
            max_timestamp: i64_at(35),
            producer_id: ProducerId(i64_at(43)),
            producer_epoch: ProducerEpoch(i16_at(51)),
            base_sequence: i32_at(53),
            record_count: i32_at(57),
        }
    }

    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        out[16] = 2;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// Length of the whole batch.
    pub fn size_bytes(&self) -> usize {
        PREFIX_BYTES + self.length as usize
    }

    /// Offset after the last record.
    pub fn end_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta) + 1)
    }

    /// Sequence number of the last record; sequences go from 2^31-1 to 0.
    pub fn last_sequence(&self) -> i32 {
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// Compression bits that mean nothing.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        Codec::from_attributes(self.attributes)
    }

    /// Whether the broker's clock gave the timestamps.
    pub fn is_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether the batch is a marker and not data.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether an idempotent producer sent it.
    pub fn has_producer(&self) -> bool {
        self.producer_id > ProducerId::NONE
    }

    /// What a checker needs to know of it.
    pub fn info(&self) -> BatchInfo {
        BatchInfo {
            base_offset: self.base_offset,
            end_offset: self.end_offset(),
            leader_epoch: self.leader_epoch,
            crc: self.crc,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
        }
    }
}

/// Checks the CRC of a whole batch.
///
/// # Errors
/// [`BatchError::Crc`].
pub fn check_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let computed = crc_of(&batch[CRC_FROM..]);
    if computed == header.crc { Ok(()) } else { Err(BatchError::Crc { stored: header.crc, computed }) }
}

/// CRC-32C of the bytes from the attributes on.
pub(super) fn crc_of(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The header with the two fields that a leader writes; both lie outside the CRC.
pub fn patched_header(header: &BatchHeader, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; HEADER_BYTES] {
    BatchHeader { base_offset, leader_epoch, ..*header }.to_bytes()
}

/// The batches in `bytes`, one after the other. An incomplete last one ends the walk as an error of that kind.
pub fn batches(bytes: &Bytes) -> impl Iterator<Item = Result<(BatchHeader, Bytes), BatchError>> + use<> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let header = match BatchHeader::parse(&rest) {
            Ok(header) if header.size_bytes() <= rest.len() => header,
            Ok(header) => {
                let available = rest.len();
                rest.clear();
                return Some(Err(BatchError::Incomplete { needed: header.size_bytes(), available }));
            }
            Err(error) => {
                rest.clear();
                return Some(Err(error));
            }
        };
        Some(Ok((header, rest.split_to(header.size_bytes()))))
    })
}
