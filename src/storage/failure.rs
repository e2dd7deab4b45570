//! What tells a node that its log directory has failed, as Kafka's `LogDirFailureChannel` does.

use std::sync::Arc;

use tokio::sync::watch;

use super::StorageError;

/// The first failure of a log directory, shared by everything that writes to it. After it nothing in the directory can
/// be relied on: its node has to end.
#[derive(Clone, Debug)]
pub struct LogDirFailure {
    first: Arc<watch::Sender<Option<String>>>,
}

impl Default for LogDirFailure {
    fn default() -> Self {
        Self { first: Arc::new(watch::Sender::new(None)) }
    }
}

impl LogDirFailure {
    /// Notes what went wrong, if it is the disk's.
    pub fn note(&self, error: &StorageError) {
        if error.is_of_disk() {
            self.first.send_if_modified(|first| first.is_none() && first.replace(error.to_string()).is_none());
        }
    }

    /// Waits for a failure; returns the first.
    ///
    /// # Panics
    /// Never: whoever waits holds the sender too.
    pub async fn failed(&self) -> String {
        let mut failures = self.first.subscribe();
        let first = failures.wait_for(Option::is_some).await.expect("the sender lives as long as this");
        first.clone().expect("it was waited for")
    }
}
