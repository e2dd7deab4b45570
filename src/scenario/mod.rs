//! Scenarios: a story of faults in a file, checked before it runs, played by seed in a simulated world.
//!
//! | module | is |
//! |---|---|
//! | [`source`] | TOML with positions |
//! | `words`, [`term`], [`condition`], [`action`] | the small language of triggers and actions |
//! | [`file`], [`parse()`] | the file as a value, and back |
//! | [`swarm`] | ranges from which a seed draws a scenario |
//! | [`variant`], [`resolve()`] | overlays; everything a run needs, every name checked |
//! | [`predict`] | questions to a class, and how a run answers them |
//! | [`view`] | the state of a run, rebuilt from its events |
//!
//! `docs/scenario-format.md` is the reference for those who write scenarios. Not here: running
//! (`engine`, only in the simulation build), sweeps over seeds, rendering.

pub mod action;
pub mod condition;
mod disk_view;
pub mod file;
mod group_view;
pub mod groups;
pub mod outbox;
mod parse;
pub mod predict;
pub mod resolve;
pub mod source;
pub mod swarm;
pub mod term;
pub mod variant;
pub mod view;
mod words;

pub use file::Scenario;
pub use parse::{TABLES, parse};
pub use resolve::{RESERVED, Resolved, resolve};
pub use source::{Fault, Problem, Spot};

#[cfg(test)]
mod tests;
