//! Exit codes: the same for every command, so that scripts can rely on them.

use std::process::ExitCode;

/// Everything as expected.
pub const OK: u8 = 0;
/// A claim broke that should hold, or an expected loss did not happen; or a deployment's command failed.
pub const VIOLATED: u8 = 1;
/// Unknown or vacuous: a claim was never exercised, a step never fired, a checker gave up.
pub const UNKNOWN: u8 = 2;
/// The harness is at fault: a trace hash differs, an invariant of the simulator broke, the watchdog fired.
pub const HARNESS: u8 = 3;
/// Wrong usage, or a faulty file.
pub const USAGE: u8 = 64;
/// A report, or a result, could not be written.
pub const CANNOT_WRITE: u8 = 74;

/// Every code with its meaning, for the documentation.
#[cfg(test)]
pub const ALL: &[u8] = &[OK, VIOLATED, UNKNOWN, HARNESS, USAGE, CANNOT_WRITE];

/// A command that ended early: what to say on standard error, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub code: u8,
    /// What went wrong and what to do. A fault in a file begins with `file:line:column`, so that an editor finds it.
    pub message: String,
}

impl Failure {
    /// Wrong usage, or a faulty file.
    pub fn usage(message: impl ToString) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    /// A command of a deployment failed.
    pub fn failed(message: impl ToString) -> Self {
        Self { code: VIOLATED, message: message.to_string() }
    }

    /// A report, or a result, could not be written.
    pub fn cannot_write(message: impl ToString) -> Self {
        Self { code: CANNOT_WRITE, message: message.to_string() }
    }
}

/// What a command returns.
pub type Outcome = Result<u8, Failure>;

/// The process's exit code; a failure is told on standard error.
pub fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
