//! One operating-system process for each run: what the parent and the child agree on.

use std::{os::unix::process::CommandExt, process::Command};

/// Starts the child without address-space randomisation, so that nothing can depend on addresses. Where the system
/// forbids that, the child runs all the same.
pub fn without_address_randomisation(command: &mut Command) {
    let disable = || {
        // SAFETY: `personality` only changes a flag of the calling process, here the forked child.
        unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
        Ok(())
    };
    // SAFETY: the closure makes one system call, which is allowed between fork and exec.
    unsafe { command.pre_exec(disable) };
}

/// Ends this process with `exit_code` after `seconds` of real time: the watchdog over a run that never ends. `message`
/// is written to standard error first.
pub fn watchdog(seconds: u32, message: &str, exit_code: i32) {
    let _ = MESSAGE.set((message.to_owned(), exit_code));
    // SAFETY: the handler only writes bytes that were prepared before and leaves; both are async-signal-safe.
    unsafe {
        libc::signal(libc::SIGALRM, expired as *const () as libc::sighandler_t);
        libc::alarm(seconds);
    }
}

static MESSAGE: std::sync::OnceLock<(String, i32)> = std::sync::OnceLock::new();

extern "C" fn expired(_signal: libc::c_int) {
    let (message, exit_code) = MESSAGE.get().map_or(("", 3), |(message, code)| (message.as_str(), *code));
    // SAFETY: writing prepared bytes and leaving are async-signal-safe.
    unsafe {
        libc::write(2, message.as_ptr().cast(), message.len());
        libc::_exit(exit_code);
    }
}
