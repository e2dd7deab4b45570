//! The `highwater` command. Everything is in [`highwater::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    highwater::cli::main()
}
