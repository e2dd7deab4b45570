//! The four codecs in the framing that Kafka gives them.
//!
//! | codec | framing |
//! |---|---|
//! | gzip | RFC 1952 |
//! | snappy | xerial blocks: magic, two versions, then length and raw block; a bare block is read too |
//! | lz4 | frame format with independent 64 KiB blocks and no checksums |
//! | zstd | frame without a content size |

use std::io::{self, BufRead, BufReader, Read};

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

const GZIP_MAGIC: &[u8; 2] = b"\x1f\x8b";
const GZIP_HEADER_BYTES: usize = 10;
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
            bits => Err(BatchError::Compression(format!("codec {bits} is not known"))),
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
        self.compress_from(records).expect("reading from memory and writing to it does not fail")
    }

    /// Compresses records as they are read: memory is needed for what comes out and a window, however much goes in.
    fn compress_from(self, mut records: impl Read) -> io::Result<Vec<u8>> {
        match self {
            Self::None => {
                let mut out = Vec::new();
                records.read_to_end(&mut out)?;
                Ok(out)
            }
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                io::copy(&mut records, &mut encoder)?;
                encoder.finish()
            }
            Self::Snappy => {
                let mut out = XERIAL_MAGIC.to_vec();
                out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
                let mut block = Vec::with_capacity(XERIAL_BLOCK_BYTES);
                while records.by_ref().take(XERIAL_BLOCK_BYTES as u64).read_to_end(&mut block)? > 0 {
                    let compressed = snap::raw::Encoder::new().compress_vec(&block)?;
                    out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
                    out.extend_from_slice(&compressed);
                    block.clear();
                }
                Ok(out)
            }
            Self::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                io::copy(&mut records, &mut encoder)?;
                Ok(encoder.finish()?)
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3)?;
                io::copy(&mut records, &mut encoder)?;
                encoder.finish()
            }
        }
    }

    /// Records that this codec compressed, compressed by `other`, without room for all of them between the two.
    ///
    /// # Errors
    /// Bytes that this codec did not write, or more than `limit_bytes` of records.
    pub fn recompress(self, records: &[u8], other: Self, limit_bytes: usize) -> Result<Bytes, BatchError> {
        let mut limited = self.reader(records)?.take(limit_bytes as u64 + 1);
        let compressed = other.compress_from(&mut limited).map_err(|error| unreadable(&error))?;
        if limited.limit() == 0 { Err(BatchError::TooLarge(limit_bytes)) } else { Ok(compressed.into()) }
    }

    /// Decompresses records, at most to `limit_bytes`.
    ///
    /// # Errors
    /// Bytes that this codec did not write, or more than the limit.
    pub fn decompress(self, records: &Bytes, limit_bytes: usize) -> Result<Bytes, BatchError> {
        if self == Self::None {
            return Ok(records.clone());
        }
        let mut out = Vec::new();
        let limited = self.reader(records)?.take(limit_bytes as u64 + 1).read_to_end(&mut out);
        limited.map_err(|error| unreadable(&error))?;
        if out.len() > limit_bytes { Err(BatchError::TooLarge(limit_bytes)) } else { Ok(out.into()) }
    }

    /// Reads records as they are decompressed: memory is needed for a window, however much comes out.
    ///
    /// # Errors
    /// The codec does not begin.
    pub(super) fn reader(self, records: &[u8]) -> Result<Box<dyn BufRead + '_>, BatchError> {
        Ok(match self {
            Self::None => Box::new(records),
            Self::Gzip if records.len() < GZIP_HEADER_BYTES || !records.starts_with(GZIP_MAGIC) => {
                return Err(BatchError::Compression("no gzip header".to_owned()));
            }
            Self::Gzip => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(records))),
            Self::Snappy => Box::new(BufReader::new(SnappyReader::new(records))),
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(records)),
            Self::Zstd => {
                let decoder = zstd::stream::Decoder::with_buffer(records);
                Box::new(BufReader::new(decoder.map_err(|error| unreadable(&error))?))
            }
        })
    }
}

/// What a decoder's error says of the batch: bytes that end too early are cut, all else is no such compression.
pub(super) fn unreadable(error: &io::Error) -> BatchError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BatchError::Malformed(error.to_string()),
        _ => BatchError::Compression(error.to_string()),
    }
}

/// Decompresses snappy block by block.
struct SnappyReader<'a> {
    /// Blocks, each with its length before it; or one bare block.
    rest: &'a [u8],
    is_bare: bool,
    block: Vec<u8>,
    position: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(records: &'a [u8]) -> Self {
        let blocks = records.starts_with(XERIAL_MAGIC).then(|| records.get(XERIAL_HEADER_BYTES..).unwrap_or_default());
        Self { rest: blocks.unwrap_or(records), is_bare: blocks.is_none(), block: Vec::new(), position: 0 }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let compressed;
        if self.is_bare {
            (compressed, self.rest) = (self.rest, &[]);
        } else {
            let (length, after) = self.rest.split_first_chunk().ok_or_else(cut)?;
            (compressed, self.rest) = after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(cut)?;
        }
        let length = snap::raw::decompress_len(compressed)?;
        // Snappy never makes more than about 21 bytes of one: a greater length is a lie, and no room is made for it.
        if length / 32 > compressed.len() {
            return Err(io::Error::other(format!("{length} bytes out of a snappy block of {}", compressed.len())));
        }
        self.block.resize(length, 0);
        self.position = 0;
        snap::raw::Decoder::new().decompress(compressed, &mut self.block)?;
        Ok(())
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() && !self.rest.is_empty() {
            self.next_block()?;
        }
        let count = (&self.block[self.position..]).read(into)?;
        self.position += count;
        Ok(count)
    }
}
