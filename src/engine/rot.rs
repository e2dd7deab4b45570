//! Where a batch stands in the files of a log, so that it can rot there.

use std::ops::Range;

use crate::{
    base::Offset,
    protocol::records::{BatchHeader, HEADER_BYTES},
};

/// A batch in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub base_offset: Offset,
    pub end_offset: Offset,
    /// The bytes of its records: what a header says stays.
    pub records: Range<usize>,
}

/// The batch that holds `offset`, if it is in the file called `name` with this content.
pub(super) fn place(name: &str, content: &[u8], offset: Offset) -> Option<Place> {
    let mut at = if name.ends_with(".log") { 0 } else { content.len() };
    while let Some(Ok(header)) = content.get(at..).map(BatchHeader::parse) {
        let records = at + HEADER_BYTES..at + header.size_bytes();
        let (base_offset, end_offset) = (header.base_offset, header.end_offset());
        at = records.end;
        if base_offset <= offset && offset < end_offset && at <= content.len() {
            return Some(Place { base_offset, end_offset, records });
        }
    }
    None
}
