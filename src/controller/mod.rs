//! The controller: cluster metadata as a log of records, and everything that is decided from it.
//!
//! [`image`] is what the records say, replayed by the controller and by every broker; [`core`] decides; [`configs`] are
//! the settings that Kafka knows; `node` is the process around them: the log on disk, the listener, the timers. One
//! voter in this slice: what it has synced is committed.

pub mod configs;
pub mod core;
pub mod image;
