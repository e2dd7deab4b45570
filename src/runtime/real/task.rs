//! Tasks on tokio.

pub use tokio::task::{JoinHandle, yield_now};

/// Starts `future`; it runs on whether or not the handle is kept.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}
