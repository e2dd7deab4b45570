//! One node: composes the cores into a broker - configuration, lifecycle, requests, replicas.

pub mod config;
mod controller_channel;
mod coordinator;
mod fetcher;
mod following;
mod isr_changes;
mod lifecycle;
mod metadata;
pub mod node;
mod partition;
mod replicas;
mod requests;
pub mod settings;
