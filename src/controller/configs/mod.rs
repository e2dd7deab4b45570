//! The settings that Kafka knows: of topics, of brokers and of groups.

pub mod broker;
pub mod group;
pub mod topic;
