//! Consumer groups, as a member sees them: Kafka's consumer with `group.id`.
//!
//! The decisions are pure ([`membership`], [`assignor`]); a background task of each consumer does what they say, so
//! that heartbeats go on while the application is busy. Not here: the coordinator.
//!
//! | module | is |
//! |---|---|
//! | [`consumer`] | [`GroupConsumer`]: subscribe, poll, commit, close |
//! | [`membership`] | what to ask the coordinator next, and what its answers mean, for both protocols |
//! | [`assignor`] | who reads what: range, roundrobin, sticky, cooperative-sticky |
//! | [`reading`] | the ways to say what it reads, which exclude each other |
//! | [`subscription`] | the bytes that members of a classic group exchange |
//! | [`offsets`] | commits, and committed offsets |
//! | [`config`] | settings |

pub mod assignor;
mod background;
pub mod config;
pub mod consumer;
pub mod membership;
pub mod offsets;
mod reading;
pub mod subscription;

pub use config::{GroupConfig, GroupProtocol};
pub use consumer::{GroupConsumer, RebalanceListener};
pub use offsets::Committed;
