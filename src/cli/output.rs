//! Standard output: results and nothing else.

use std::io::{self, ErrorKind, Write};

use super::exit::Failure;

/// Writes `text` as it is. A reader that has gone (`| head`) is no fault: what it did not read is not missed.
///
/// # Errors
/// Standard output takes nothing, such as a file on a full disk.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

/// [`print`], and the end of the line.
///
/// # Errors
/// As [`print`].
pub fn print_line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Why standard output takes nothing.
pub fn unwritable(error: &io::Error) -> Failure {
    Failure::cannot_write(format!("standard output cannot be written: {error}"))
}
