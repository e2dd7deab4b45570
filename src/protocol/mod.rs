//! Bytes and messages: framing, API versions, error codes, record batches, the records of the metadata log.
//!
//! Requests and responses are those of the `kafka-protocol` crate, behind [`frame`]; record batches are our own
//! ([`records`]), since a broker must neither lose a header nor trust a count. Nothing here does I/O.

pub mod api;
mod error;
pub mod frame;
pub mod metadata;
pub mod records;
mod schema;
mod skim;
pub mod tell;
mod topic_ids;

pub use error::ErrorCode;
pub use kafka_protocol::{messages, protocol::StrBytes};
