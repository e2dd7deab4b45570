//! The settings that Kafka knows: of topics and of brokers.

pub mod broker;
pub mod topic;
