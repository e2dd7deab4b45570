//! What tells a node that its log directory has failed, as Kafka's `LogDirFailureChannel` does.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::StorageError;

/// The first failure of a log directory, shared by everything that writes to it. After it nothing in the directory can
/// be relied on: its node has to end.
#[derive(Clone, Debug, Default)]
pub struct LogDirFailure(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    first: Mutex<Option<String>>,
    noted: Notify,
}

impl LogDirFailure {
    /// Notes what went wrong, if it is the disk's.
    pub fn note(&self, error: &StorageError) {
        if error.is_of_disk() {
            self.first(|first| *first = Some(first.take().unwrap_or_else(|| error.to_string())));
            self.0.noted.notify_waiters();
        }
    }

    /// Waits for a failure; returns the first.
    pub async fn failed(&self) -> String {
        loop {
            let noted = self.0.noted.notified();
            if let Some(first) = self.first(|first| first.clone()) {
                return first;
            }
            noted.await;
        }
    }

    fn first<T>(&self, look: impl FnOnce(&mut Option<String>) -> T) -> T {
        look(&mut self.0.first.lock().expect("nobody panics with the lock"))
    }
}
