//! Tasks on madsim. A task belongs to the host on which it was started and dies with its process.

pub use madsim::task::{JoinHandle, yield_now};

/// Starts `future`; it runs on whether or not the handle is kept.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // The executor moves a future several times before it runs, and some of ours have tens of kilobytes.
    madsim::task::spawn(Box::pin(future))
}
