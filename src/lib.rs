//! Highwater: Kafka-style replication under deterministic simulation, and the same code as a real broker.
//!
//! ```text
//! base <- protocol <- storage <- replica <- broker
//! base <- protocol <- controller <- broker <- scenario <- engine <- explore <- cli
//! base <- protocol <- rpc <- broker, client;  client <- scenario
//! base <- trace <- check <- scenario;  trace, check <- report <- cli;  scenario, report <- lesson <- cli
//! runtime (net, disk, clock, task, random) is the only part that knows which build this is
//! ```
//!
//! See ARCHITECTURE.md for the map, the invariants and the tests that guard them.

pub mod base;
pub mod broker;
pub mod check;
pub mod cli;
pub mod client;
pub mod controller;
pub mod coordinator;
#[cfg(madsim)]
pub mod engine;
pub mod explore;
pub mod group;
pub mod lesson;
pub mod protocol;
pub mod replica;
pub mod report;
pub mod rpc;
pub mod runtime;
pub mod scenario;
pub mod storage;
pub mod trace;
