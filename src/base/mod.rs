//! What every layer shares: identities with types, time, named random streams, coverage marks, behaviour switches.
//!
//! Not here: anything that does I/O, knows a protocol or keeps state of its own (but for the set of reached marks).

pub mod ids;
pub mod java;
pub mod mark;
pub mod random;
pub mod suggest;
pub mod switches;
pub mod time;

pub use ids::{
    BrokerEpoch, LeaderEpoch, NodeId, OFFSETS_TOPIC, Offset, PartitionEpoch, ProducerEpoch, ProducerId, TopicId,
    TopicPartition,
};
pub use switches::Switches;
pub use time::{Time, Timestamp};
