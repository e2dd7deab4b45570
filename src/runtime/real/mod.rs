//! The seam on tokio and the operating system.

pub mod clock;
pub mod disk;
pub mod net;
pub mod process;
pub mod random;
pub mod task;

/// Runs `future` to its end on `worker_threads` threads (at least one).
///
/// # Errors
/// The operating system gives no threads or no event queue.
pub fn block_on<F: Future>(worker_threads: usize, future: F) -> std::io::Result<F::Output> {
    let mut builder = if worker_threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(worker_threads);
        builder
    };
    Ok(builder.enable_all().build()?.block_on(future))
}
