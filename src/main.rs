//! The `highwater` command. Everything is in [`highwater::cli`].

use std::process::ExitCode;

/// A broker makes mostly small values that live for one request. A simulation has its allocator in its runtime.
#[cfg(not(madsim))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    highwater::cli::main()
}
