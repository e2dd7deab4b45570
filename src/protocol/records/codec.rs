//! The four codecs in the framing that Kafka gives them.
//!
//! | codec | framing |
//! |---|---|
//! | gzip | RFC 1952 |
//! | snappy | xerial blocks: magic, two versions, then length and raw block; a bare block is read too |
//! | lz4 | frame format with independent 64 KiB blocks and no checksums |
//! | zstd | frame without a content size |

use std::io::{Read, Write};

use bytes::Bytes;

use super::BatchError;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// `gzip`.
    Gzip = 1,
    /// `snappy`.
    Snappy = 2,
    /// `lz4`.
    Lz4 = 3,
    /// `zstd`, since Produce 7 (KIP-110).
    Zstd = 4,
}

const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

impl Codec {
    /// The codec in the lowest three attribute bits.
    ///
    /// # Errors
    /// Bits that mean nothing.
    pub fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        match attributes & 7 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            bits => Err(BatchError::Malformed(format!("compression {bits} is not known"))),
        }
    }

    /// The codec called `name` in `compression.type`.
    pub fn by_name(name: &str) -> Option<Self> {
        let all = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];
        all.into_iter().find(|codec| codec.name() == name)
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses records.
    pub fn compress(self, records: &[u8]) -> Vec<u8> {
        let to_memory = "writing to memory does not fail";
        match self {
            Self::None => records.to_vec(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(records).expect(to_memory);
                encoder.finish().expect(to_memory)
            }
            Self::Snappy => {
                let mut out = XERIAL_MAGIC.to_vec();
                out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
                for block in records.chunks(XERIAL_BLOCK_BYTES) {
                    let compressed = snap::raw::Encoder::new().compress_vec(block).expect("a block is below 4 GiB");
                    out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
                    out.extend_from_slice(&compressed);
                }
                out
            }
            Self::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(records).expect(to_memory);
                encoder.finish().expect(to_memory)
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).expect("level 3 exists");
                encoder.write_all(records).expect(to_memory);
                encoder.finish().expect(to_memory)
            }
        }
    }

    /// Decompresses records, at most to `limit_bytes`.
    ///
    /// # Errors
    /// Bytes that this codec did not write, or more than the limit.
    pub fn decompress(self, records: &Bytes, limit_bytes: usize) -> Result<Bytes, BatchError> {
        match self {
            Self::None => Ok(records.clone()),
            Self::Gzip => read_all(flate2::read::MultiGzDecoder::new(&records[..]), limit_bytes),
            Self::Snappy => unsnap(records, limit_bytes),
            Self::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(&records[..]), limit_bytes),
            Self::Zstd => {
                let decoder = zstd::stream::Decoder::new(&records[..]).map_err(malformed)?;
                read_all(decoder, limit_bytes)
            }
        }
    }
}

fn malformed(problem: impl ToString) -> BatchError {
    BatchError::Malformed(problem.to_string())
}

fn read_all(decoder: impl Read, limit_bytes: usize) -> Result<Bytes, BatchError> {
    let mut out = Vec::new();
    decoder.take(limit_bytes as u64 + 1).read_to_end(&mut out).map_err(malformed)?;
    if out.len() > limit_bytes { Err(BatchError::TooLarge(limit_bytes)) } else { Ok(out.into()) }
}

fn unsnap(records: &[u8], limit_bytes: usize) -> Result<Bytes, BatchError> {
    let mut out = Vec::new();
    let mut block = |compressed: &[u8]| {
        let length = snap::raw::decompress_len(compressed).map_err(malformed)?;
        // Snappy never makes more than about 21 bytes of one.
        if out.len() + length > limit_bytes || length / 32 > compressed.len() {
            return Err(BatchError::TooLarge(limit_bytes));
        }
        let begin = out.len();
        out.resize(begin + length, 0);
        snap::raw::Decoder::new().decompress(compressed, &mut out[begin..]).map_err(malformed)?;
        Ok(())
    };
    if !records.starts_with(XERIAL_MAGIC) {
        block(records)?;
        return Ok(out.into());
    }
    let mut rest = records.get(XERIAL_HEADER_BYTES..).ok_or_else(|| malformed("a snappy header that is cut"))?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let compressed = after.get(..length).ok_or_else(|| malformed("a snappy block that is cut"))?;
        block(compressed)?;
        rest = &after[length..];
    }
    if rest.is_empty() { Ok(out.into()) } else { Err(malformed("bytes after the last snappy block")) }
}
