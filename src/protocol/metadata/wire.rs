//! Kafka's flexible encoding, as far as metadata records use it.

use bytes::{BufMut, Bytes, BytesMut};

use super::{MetadataError, Uuid};
use crate::base::NodeId;

const CUT: MetadataError = MetadataError::Malformed("the bytes end too soon");

/// Writes one record.
#[derive(Default)]
pub struct Writer(BytesMut);

impl Writer {
    pub fn frame(&mut self, record_type: u32, version: u32) -> &mut Self {
        self.varint(1).varint(record_type).varint(version)
    }

    pub fn varint(&mut self, mut value: u32) -> &mut Self {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
        self
    }

    pub fn i8(&mut self, value: i8) -> &mut Self {
        self.0.put_i8(value);
        self
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.i8(i8::from(value))
    }

    pub fn i16(&mut self, value: i16) -> &mut Self {
        self.0.put_i16(value);
        self
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.0.put_u16(value);
        self
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.0.put_i32(value);
        self
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.0.put_i64(value);
        self
    }

    pub fn node(&mut self, node: NodeId) -> &mut Self {
        self.i32(node.0)
    }

    pub fn uuid(&mut self, uuid: &Uuid) -> &mut Self {
        self.0.put_slice(uuid);
        self
    }

    pub fn string(&mut self, text: &str) -> &mut Self {
        self.length(text.len());
        self.0.put_slice(text.as_bytes());
        self
    }

    pub fn nullable_string(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.varint(0),
        }
    }

    /// Length of a string or an array, which is not null.
    pub fn length(&mut self, length: usize) -> &mut Self {
        self.varint(u32::try_from(length + 1).expect("a metadata record is small"))
    }

    pub fn nodes(&mut self, nodes: &[NodeId]) -> &mut Self {
        self.length(nodes.len());
        nodes.iter().for_each(|node| self.0.put_i32(node.0));
        self
    }

    pub fn uuids(&mut self, uuids: &[Uuid]) -> &mut Self {
        self.length(uuids.len());
        uuids.iter().for_each(|uuid| self.0.put_slice(uuid));
        self
    }

    pub fn no_tags(&mut self) {
        self.varint(0);
    }

    /// The tagged fields that are given, by rising tag.
    pub fn tags(&mut self, tags: &[(u32, Option<Bytes>)]) {
        self.varint(tags.iter().filter(|(_, value)| value.is_some()).count() as u32);
        for (tag, value) in tags {
            if let Some(value) = value {
                self.varint(*tag).varint(value.len() as u32);
                self.0.put_slice(value);
            }
        }
    }

    /// What was written, leaving nothing.
    pub fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }

    pub fn finish(mut self) -> Bytes {
        self.take()
    }
}

/// Reads one record.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], MetadataError> {
        let (chunk, rest) = self.0.split_first_chunk::<N>().ok_or(CUT)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], MetadataError> {
        let (slice, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(slice)
    }

    pub fn varint(&mut self) -> Result<u32, MetadataError> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.chunk()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| MetadataError::Malformed("a number is too large"));
            }
        }
        Err(MetadataError::Malformed("a number has more than 5 bytes"))
    }

    pub fn i8(&mut self) -> Result<i8, MetadataError> {
        self.chunk().map(i8::from_be_bytes)
    }

    pub fn bool(&mut self) -> Result<bool, MetadataError> {
        Ok(self.i8()? != 0)
    }

    pub fn i16(&mut self) -> Result<i16, MetadataError> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, MetadataError> {
        self.chunk().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, MetadataError> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, MetadataError> {
        self.chunk().map(i64::from_be_bytes)
    }

    pub fn node(&mut self) -> Result<NodeId, MetadataError> {
        self.i32().map(NodeId)
    }

    pub fn uuid(&mut self) -> Result<Uuid, MetadataError> {
        self.chunk()
    }

    pub fn string(&mut self) -> Result<String, MetadataError> {
        self.nullable_string()?.ok_or(MetadataError::Malformed("a string is missing"))
    }

    pub fn nullable_string(&mut self) -> Result<Option<String>, MetadataError> {
        let length = self.varint()? as usize;
        if length == 0 {
            return Ok(None);
        }
        let text = std::str::from_utf8(self.slice(length - 1)?);
        text.map(|text| Some(text.to_owned())).map_err(|_| MetadataError::Malformed("a string is not UTF-8"))
    }

    /// An array; null is empty. Each element takes at least one byte.
    pub fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, MetadataError>,
    ) -> Result<Vec<T>, MetadataError> {
        let count = (self.varint()? as usize).saturating_sub(1);
        if count > self.0.len() {
            return Err(CUT);
        }
        (0..count).map(|_| element(self)).collect()
    }

    pub fn nodes(&mut self) -> Result<Vec<NodeId>, MetadataError> {
        self.array(Self::node)
    }

    pub fn uuids(&mut self) -> Result<Vec<Uuid>, MetadataError> {
        self.array(Self::uuid)
    }

    /// Tagged fields: `known` gets each and says whether it read it; unknown ones are skipped.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'_>) -> Result<bool, MetadataError>,
    ) -> Result<(), MetadataError> {
        for _ in 0..self.varint()? {
            let (tag, size) = (self.varint()?, self.varint()? as usize);
            let mut value = Reader(self.slice(size)?);
            if known(tag, &mut value)? {
                value.end()?;
            }
        }
        Ok(())
    }

    pub fn end(&self) -> Result<(), MetadataError> {
        if self.0.is_empty() { Ok(()) } else { Err(MetadataError::Malformed("bytes are left over")) }
    }
}
