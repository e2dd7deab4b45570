//! Kafka's clients: a producer, a consumer of assigned partitions, a group's consumer, an admin.
//!
//! What the simulated applications use, and a Rust client for real clusters: everything goes through Kafka's protocol
//! and through the runtime seam. Settings have Kafka's names and defaults ([`config`]). Not here: transactions,
//! security.
//!
//! | module | offers |
//! |---|---|
//! | [`cluster`] | who leads what, and a connection to each broker |
//! | [`producer`] | [`Producer`]: batches, linger, retries, idempotence; its decisions are a pure core |
//! | [`consumer`] | [`Consumer`]: positions, fetches, resets |
//! | [`group`] | [`GroupConsumer`]: membership, commits, assignors |
//! | [`groups`] | [`Groups`](groups::Groups): groups seen from outside, and their offsets |
//! | [`admin`] | [`Admin`]: topics, their settings, elections |

pub mod admin;
pub mod cluster;
pub mod config;
pub mod consumer;
pub mod group;
pub mod groups;
pub mod producer;

use thiserror::Error;

pub use admin::Admin;
pub use cluster::Cluster;
pub use config::{ConfigError, ConsumerConfig, ProducerConfig};
pub use consumer::{Consumer, ConsumerRecord};
pub use group::{GroupConfig, GroupConsumer};
pub use producer::{Producer, ProducerRecord, SendError};

use crate::{protocol::ErrorCode, rpc::RpcError};

/// Why a client's call failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ClientError {
    /// No broker could be reached, or the connection ended.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A broker answered with an error.
    #[error("{code}{}", .message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Kafka {
        /// Kafka's code.
        code: ErrorCode,
        /// What the broker says about it.
        message: Option<String>,
    },
    /// It took longer than it may.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// The application may not call this, or not now: Kafka's `IllegalStateException` and `IllegalArgumentException`.
    #[error("{0}")]
    Misused(&'static str),
}

impl ClientError {
    /// The error of a response's code and message; `Ok` where there is none.
    pub(crate) fn check(code: i16, message: Option<&str>) -> Result<(), Self> {
        match ErrorCode::from_i16(code) {
            ErrorCode::None => Ok(()),
            code => Err(Self::Kafka { code, message: message.map(str::to_owned) }),
        }
    }

    /// Kafka's name of the error, for the history of a run.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kafka { code, .. } => code.name(),
            Self::Rpc(RpcError::TimedOut { .. }) | Self::TimedOut(_) => "REQUEST_TIMED_OUT",
            Self::Rpc(_) => "NETWORK_EXCEPTION",
            Self::Misused(_) => "INVALID_REQUEST",
        }
    }
}
