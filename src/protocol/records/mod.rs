//! Record batches of magic 2: header, CRC-32C, records, codecs, control batches.
//!
//! A broker keeps batches opaque: it reads the [`BatchHeader`], checks the CRC, patches base offset and leader epoch
//! (which the CRC leaves out) and appends the producer's bytes. A leader walks over the records once, so that nothing
//! gets into a log that its readers choke on, and changes them only where the topic's settings ask for it. Every length
//! is checked before anything is reserved. Not here: message formats 0 and 1.
//!
//! | at | field | | at | field |
//! |---|---|---|---|---|
//! | 0 | base offset, i64 | | 27 | base timestamp, i64 |
//! | 8 | length of the rest, i32 | | 35 | greatest timestamp, i64 |
//! | 12 | leader epoch, i32 | | 43 | producer id, i64 |
//! | 16 | magic, i8 | | 51 | producer epoch, i16 |
//! | 17 | CRC-32C from 21 on, u32 | | 53 | base sequence, i32 |
//! | 21 | attributes, i16 | | 57 | number of records, i32 |
//! | 23 | last offset delta, i32 | | 61 | records |

mod builder;
mod codec;
mod control;
mod header;
mod record;
#[cfg(test)]
mod tests;
mod validate;
mod varint;
mod walk;

pub use builder::{BatchBuilder, estimated_size_bytes};
pub use codec::Codec;
pub use control::leader_change_batch;
pub use header::{BatchError, BatchHeader, HEADER_BYTES, batches, check_crc, patched_header};
pub use record::{Decoded, Record, decode_records, walk_decoded};
pub use validate::{Limits, Refusal, TimestampType, validate_produce};
pub use walk::{RecordHead, walk_records};
