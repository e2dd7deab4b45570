//! The seam between Highwater and its world: network, disk, clock, tasks, randomness, the life of the process.
//!
//! Both builds offer the same names with the same signatures: `sim` on madsim's executor with our own simulated TCP
//! and disk, `real` on tokio and the operating system. This folder and the entry points of the command line are the
//! only code that knows which build it is in.
//!
//! | module | offers |
//! |---|---|
//! | [`net`] | [`net::Listener`], [`net::connect`], and the two halves of a connection |
//! | [`disk`] | [`disk::Disk`], [`disk::File`]: page-cache writes, explicit sync of files and of directories |
//! | [`clock`] | monotonic [`clock::now`], wall clock [`clock::wall_ms`], `sleep`, `timeout` |
//! | [`task`] | `spawn`, `JoinHandle`, `yield_now` |
//! | [`random`] | named streams |
//! | [`process`] | the request to shut down |
//!
//! What does not hold in one of the builds does not hold: a write is durable only after `sync`, a new or renamed file
//! only after `sync_dir`; a peer that is gone may never answer; a dead incarnation's calls never return.

#[cfg(not(madsim))]
pub mod real;
#[cfg(madsim)]
pub mod sim;

#[cfg(not(madsim))]
pub use real::{clock, disk, net, process, random, task};
#[cfg(madsim)]
pub use sim::{clock, disk, net, process, random, task};

mod file;
pub mod message;
pub use file::DiskFault;
pub use message::{Label, Message};

/// Name of this build, for `--version` and for messages about commands of the other one.
pub const BUILD: &str = if cfg!(madsim) { "simulation" } else { "deployment" };
