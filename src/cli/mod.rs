//! The command line: options in, text out, exit codes.
//!
//! Two builds share it. What needs a simulated cluster runs in the simulation build (`cargo sim ...`), what needs a real
//! one in the deployment build, what needs none in both; a command that belongs to the other build says how to run it.
//! Results go to standard output, everything else to standard error.
//!
//! | build | module | commands |
//! |---|---|---|
//! | both | `inspect` | `list`, `check`, `explain`, `diff`, `report` |
//! | simulation | `simulate`, `sweep`, `shrink` | `run`, `replay`, `sweep`, `shrink` |
//! | simulation | `catalogue`, `claims`, `bugs`, `lesson` | the same |
//! | deployment | `serve` | `serve`, `storage` |
//! | deployment | `topics`, `groups`, `produce`, `consume` | the same, through `cluster` |

mod args;
pub mod exit;
mod files;
mod inspect;
mod output;

#[cfg(madsim)]
mod branches;
#[cfg(madsim)]
mod bugs;
#[cfg(madsim)]
mod catalogue;
#[cfg(madsim)]
mod claims;
#[cfg(not(madsim))]
mod cluster;
#[cfg(not(madsim))]
mod consume;
#[cfg(not(madsim))]
mod groups;
#[cfg(madsim)]
mod lesson;
#[cfg(madsim)]
mod one_run;
#[cfg(madsim)]
mod pool;
#[cfg(not(madsim))]
mod produce;
#[cfg(madsim)]
mod progress;
#[cfg(madsim)]
mod results;
#[cfg(not(madsim))]
mod serve;
#[cfg(madsim)]
mod shrink;
#[cfg(madsim)]
mod simulate;
#[cfg(madsim)]
mod sweep;
#[cfg(not(madsim))]
mod topics;
#[cfg(madsim)]
mod way;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::{report::shell_word, runtime};
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

/// Runs a command of either build; `of_this_build` knows the others that this one has.
fn run(command: Command) -> Outcome {
    match command {
        Command::List(options) => inspect::list(&options),
        Command::Check(options) => inspect::check(&options),
        Command::Explain(options) => inspect::explain(&options),
        Command::Report(options) => inspect::report(&options),
        Command::Diff(options) => inspect::diff(&options),
        Command::Completions(options) => {
            let mut script = Vec::new();
            clap_complete::generate(options.shell, &mut Args::command(), "highwater", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(exit::OK)
        }
        other => of_this_build(other),
    }
}

#[cfg(not(madsim))]
fn of_this_build(command: Command) -> Outcome {
    match command {
        Command::Serve(options) => serve::serve(options),
        Command::Storage(options) => serve::storage(options),
        Command::Topics(options) => topics::topics(&options),
        Command::Groups(options) => groups::groups(&options),
        Command::Produce(options) => produce::produce(&options),
        Command::Consume(options) => consume::consume(&options),
        other => other_build(other.name(), "simulation", "cargo sim"),
    }
}

#[cfg(madsim)]
fn of_this_build(command: Command) -> Outcome {
    match command {
        Command::Run(options) => simulate::run(&options),
        Command::Replay(options) => simulate::replay(&options),
        Command::Sweep(options) => sweep::sweep(&options),
        Command::Catalogue(options) => catalogue::catalogue(&options),
        Command::Shrink(options) => shrink::shrink(&options),
        Command::Bugs(options) => bugs::bugs(&options),
        Command::Claims(options) => claims::claims(&options),
        Command::Lesson(options) => lesson::lesson(&options),
        other => other_build(other.name(), "deployment", "cargo run --release --"),
    }
}

/// The answer to a command that belongs to the other build: how to run it, with the arguments that were given.
fn other_build(command: &str, other: &str, how: &str) -> Outcome {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| shell_word(&argument.to_string_lossy())).collect();
    let (this, arguments) = (runtime::BUILD, arguments.join(" "));
    Err(Failure::usage(format!(
        "`{command}` belongs to the {other} build, and this is the {this} build; run\n    {how} {arguments}"
    )))
}

#[cfg(test)]
mod tests;
