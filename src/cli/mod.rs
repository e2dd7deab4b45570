//! The command line: options in, text out, exit codes.
//!
//! Two builds share it. What needs a simulated cluster runs in the simulation build (`cargo sim ...`), what needs a real
//! one in the deployment build; a command that belongs to the other build says how to run it. Results go to standard
//! output, everything else to standard error.

mod args;
pub mod exit;
mod inspect;

mod files;

#[cfg(madsim)]
mod one_run;
#[cfg(not(madsim))]
mod serve;
#[cfg(madsim)]
mod simulate;
#[cfg(madsim)]
mod sweep;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use exit::{Failure, Outcome};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are asked for; everything else is wrong usage.
            let asked_for = !error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if asked_for { exit::OK } else { exit::USAGE });
        }
    };
    exit::finish(run(args.command))
}

#[cfg(not(madsim))]
fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(options) => serve::serve(options),
        Command::Storage(options) => serve::storage(options),
        other => inspect::run(other),
    }
}

#[cfg(madsim)]
fn run(command: Command) -> Outcome {
    match command {
        Command::Run(options) => simulate::run(&options),
        Command::Replay(options) => simulate::replay(&options),
        Command::Sweep(options) => sweep::sweep(&options),
        other => inspect::run(other),
    }
}

/// The answer to a command that belongs to the other build.
fn other_build(command: &str, how: &str) -> Outcome {
    Err(Failure::usage(format!("`{command}` needs the other build; run it with\n    {how} {command} ...")))
}
