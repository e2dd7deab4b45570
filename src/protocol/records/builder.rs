//! Writing batches: what a producer sends and what the controller appends to its log.

use bytes::{BufMut, Bytes, BytesMut};

use super::{BatchHeader, Codec, HEADER_BYTES, header::crc_of, varint};
use crate::base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Collects records into one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: i16,
    producer: (ProducerId, ProducerEpoch, i32),
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: i32,
    records: BytesMut,
}

impl BatchBuilder {
    /// An empty batch whose records will be compressed with `codec`.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            attributes: codec as i16,
            producer: (ProducerId::NONE, ProducerEpoch::NONE, -1),
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::UNKNOWN,
            base_timestamp: -1,
            max_timestamp: -1,
            count: 0,
            records: BytesMut::new(),
        }
    }

    /// An idempotent producer's batch: its id, its epoch and the sequence number of the first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Where it will stand: for those who append to their own log.
    #[must_use]
    pub fn position(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        (self.base_offset, self.leader_epoch) = (base_offset, leader_epoch);
        self
    }

    /// Sets the control bit.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= 0x20;
        self
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Bytes>)],
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp - self.base_timestamp;
        let length = body_size_bytes(timestamp_delta, self.count, key, value, headers);
        let out = &mut self.records;
        varint::write(out, length as i64);
        out.put_u8(0);
        varint::write(out, timestamp_delta);
        varint::write(out, i64::from(self.count));
        put_nullable(out, key);
        put_nullable(out, value);
        varint::write(out, headers.len() as i64);
        for (name, value) in headers {
            put_nullable(out, Some(name.as_bytes()));
            put_nullable(out, value.as_deref());
        }
        self.count += 1;
    }

    /// Number of records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Size of the batch if it is not compressed.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The finished batch.
    ///
    /// # Panics
    /// Without a record: Kafka has no empty batches but those the cleaner leaves.
    pub fn build(self) -> Bytes {
        assert!(self.count > 0, "a batch has at least one record");
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let compressed = match self.codec {
            Codec::None => self.records.freeze(),
            codec => codec.compress(&self.records).into(),
        };
        let mut header = BatchHeader {
            base_offset: self.base_offset,
            length: i32::try_from(HEADER_BYTES - 12 + compressed.len()).expect("a batch is shorter than 2 GiB"),
            leader_epoch: self.leader_epoch,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.count,
        };
        let mut out = BytesMut::with_capacity(HEADER_BYTES + compressed.len());
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(&compressed);
        header.crc = crc_of(&out[21..]);
        out[17..21].copy_from_slice(&header.crc.to_be_bytes());
        out.freeze()
    }
}

/// Upper bound of what a record adds to a batch, not compressed.
pub fn estimated_size_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(String, Option<Bytes>)]) -> usize {
    let content = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let headers: usize =
        headers.iter().map(|(name, value)| 10 + name.len() + value.as_ref().map_or(0, Bytes::len)).sum();
    36 + content + headers
}

fn body_size_bytes(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(String, Option<Bytes>)],
) -> usize {
    let nullable = |bytes: Option<&[u8]>| bytes.map_or(1, |bytes| varint::size_bytes(bytes.len() as i64) + bytes.len());
    let headers_size: usize =
        headers.iter().map(|(name, value)| nullable(Some(name.as_bytes())) + nullable(value.as_deref())).sum();
    1 + varint::size_bytes(timestamp_delta)
        + varint::size_bytes(i64::from(offset_delta))
        + nullable(key)
        + nullable(value)
        + varint::size_bytes(headers.len() as i64)
        + headers_size
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::write(out, -1),
    }
}
