//! One partition's replication as pure values: what a leader knows of its followers, and where a follower cuts its log.
//!
//! No I/O, no clock, no log text: every method takes the time and what happened, and says what follows from it. The
//! shell around them is `broker::partition`.

mod follower;
mod leader;
#[cfg(test)]
mod tests;

pub use follower::truncation_offset;
pub use leader::{Ack, ActiveBrokers, Leader, LeaderStart, Proposal, diverging_epoch};
