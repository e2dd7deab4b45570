//! Tests of the deployment build: `cargo test --test deployment`.
#![cfg(not(madsim))]

mod client_commands;
mod cluster;
mod command_line;
mod group_commands;
mod honest;
mod serve;
mod storage;

use highwater::runtime::real;

/// Runs a test that talks to processes.
fn block_on_threads<F: Future>(future: F) -> F::Output {
    real::block_on(2, future).expect("a runtime of two threads")
}

/// An empty folder, in memory where the system has such a place: what a sync means is not tested here.
fn temporary_folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}
