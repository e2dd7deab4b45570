//! What is given to a connection's writer: bytes, and what the simulated network may know about them.

use bytes::Bytes;

use crate::trace::EventId;

/// One protocol message (a frame with its length prefix), written as a whole.
#[derive(Clone, Debug)]
pub struct Message {
    /// The bytes, in as many chunks as is cheap.
    pub chunks: Vec<Bytes>,
    /// Which message it is. The deployment ignores it; the simulated network shows it in the journal and lets a
    /// scenario hold, drop or delay messages of one API.
    pub label: Label,
}

/// Names a message for the journal and for faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Kafka's name of the API (`Fetch`).
    pub api: &'static str,
    /// Its version.
    pub version: i16,
    /// Request or response.
    pub request: bool,
    /// Correlation id of the request.
    pub correlation: i32,
    /// The event that made the sender send it.
    pub cause: Option<EventId>,
}

impl Message {
    /// Total length in bytes.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.chunks.iter().all(Bytes::is_empty)
    }
}
