//! A request to stop, given once and seen by everyone who holds a copy.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// A latch: off, then on for ever.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Latch>);

#[derive(Debug, Default)]
struct Latch {
    triggered: AtomicBool,
    waiting: Notify,
}

impl Shutdown {
    /// Asks everyone to stop.
    pub fn trigger(&self) {
        self.0.triggered.store(true, Ordering::SeqCst);
        self.0.waiting.notify_waiters();
    }

    /// Whether stopping was asked for.
    pub fn is_triggered(&self) -> bool {
        self.0.triggered.load(Ordering::SeqCst)
    }

    /// Waits until stopping is asked for.
    pub async fn wait(&self) {
        let notified = self.0.waiting.notified();
        tokio::pin!(notified);
        // Registers before looking, so that no trigger falls between the two.
        notified.as_mut().enable();
        if !self.is_triggered() {
            notified.await;
        }
    }

    /// Runs `future` to its end, unless stopping is asked for first.
    pub async fn or<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.wait() => None,
            output = future => Some(output),
        }
    }
}
