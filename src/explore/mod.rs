//! Many runs: which seeds, in which share, and what they found together.
//!
//! Pure: the command line starts the processes (one for each run) and hands their outcomes over.

pub mod claims;
mod excuse;
pub mod plan;
pub mod scoreboard;
pub mod shrink;
pub mod summary;
pub mod swarm;

pub use plan::{Plan, Run, SeedRange};
pub use summary::{Outcome, Summary};
