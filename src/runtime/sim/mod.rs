//! The seam on madsim's executor, with our own simulated TCP and disk.
//!
//! madsim gives tasks, timers and the life of nodes; its network and file system are too kind to be used. A [`World`]
//! holds everything else: hosts, links, connections, disks, wall clocks, and the one seed that everything is drawn
//! from. One process runs one world.

pub mod child;
pub mod clock;
pub mod disk;
pub mod net;
pub mod process;
pub mod random;
pub mod task;
mod world;

pub use world::{World, WorldConfig};

/// A run is mostly small values that live for one message; with the system's allocator it takes a fifth longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
