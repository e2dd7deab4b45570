//! Commands that need no cluster.

use super::{args::Command, exit::Outcome, other_build};

/// Runs a command of either build, or says which build has it.
pub fn run(command: Command) -> Outcome {
    match command {
        Command::Run(_) => other_build("run", "cargo sim"),
        Command::Replay(_) => other_build("replay", "cargo sim"),
        Command::Sweep(_) => other_build("sweep", "cargo sim"),
        Command::Serve(_) => other_build("serve", "cargo run --release --"),
        Command::Storage(_) => other_build("storage", "cargo run --release --"),
        Command::Topics(_) => other_build("topics", "cargo run --release --"),
        Command::Produce(_) => other_build("produce", "cargo run --release --"),
        Command::Consume(_) => other_build("consume", "cargo run --release --"),
        Command::List(_) | Command::Check(_) | Command::Explain(_) => other_build("list", "cargo sim"),
    }
}
