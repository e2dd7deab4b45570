//! One operating-system process for each run: what the parent and the child agree on.

/// What this thread starts from here on has no address-space randomisation, so that nothing can depend on addresses.
/// Where the system forbids that, it starts all the same.
///
/// Between fork and exec it would be for the child alone; but a process that has to be forked for that is copied with all
/// its page tables, a fifth of the time of a short run.
pub fn without_address_randomisation() {
    // SAFETY: `personality` only changes a flag of the calling thread, which counts when a program is started.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
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
