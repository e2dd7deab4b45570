//! One vocabulary of events, and the way they leave the code that makes them.
//!
//! Brokers, controllers, clients, the simulated network and disk all report through a [`Tracer`]; the journal, the
//! triggers of a scenario, the checkers and every report read nothing but these events. Observing never changes a run:
//! an event is emitted whether or not anyone keeps it, draws no randomness and takes no time.
//!
//! Not here: metrics, and text logs (a deployment's [`Sink`] turns events into `tracing` records).

pub mod event;
pub mod journal;
pub mod log_sink;

use std::{future::Future, sync::Arc};

use bytes::Bytes;
pub use event::{AWAY, BatchInfo, DOWNGRADED, Election, Event, Role, StopKind};
use serde::{Deserialize, Serialize};

/// Number of an event in its run, from 1 in the order of happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub u64);

/// Who takes events.
pub trait Sink: Send + Sync {
    /// Takes an event of `node` (`b1`, `c1`, `p1`, `scenario`). Returns its id, or `None` where it is not kept - also
    /// when the incarnation that reports it is dead already.
    fn record(&self, node: &Arc<str>, cause: Option<EventId>, event: Event) -> Option<EventId>;

    /// Whether events of every message and batch are wanted, or milestones only.
    fn wants_detail(&self) -> bool;

    /// Takes the bytes of the message that event `sent` put on the wire: a frame with its length prefix.
    fn carried(&self, sent: EventId, version: i16, frame: &[Bytes]) {
        let _ = (sent, version, frame);
    }
}

/// Reports the events of one incarnation of one node. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    node: Arc<str>,
    sink: Option<Arc<dyn Sink>>,
}

impl Tracer {
    /// A tracer of `node` into `sink`.
    pub fn new(node: impl Into<Arc<str>>, sink: Arc<dyn Sink>) -> Self {
        Self { node: node.into(), sink: Some(sink) }
    }

    /// A tracer that nobody listens to.
    pub fn off() -> Self {
        Self { node: "".into(), sink: None }
    }

    /// Name of the node whose events these are.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Reports something rare that a reader of the log wants to know. The cause is the one in force ([`caused_by`]).
    pub fn milestone(&self, event: Event) -> Option<EventId> {
        self.sink.as_ref()?.record(&self.node, current_cause(), event)
    }

    /// Reports something frequent; `event` is only built where details are wanted.
    pub fn detail(&self, event: impl FnOnce() -> Event) -> Option<EventId> {
        let sink = self.sink.as_ref().filter(|sink| sink.wants_detail())?;
        sink.record(&self.node, current_cause(), event())
    }

    /// As [`Tracer::detail`], with an explicit cause.
    pub fn detail_caused(&self, cause: Option<EventId>, event: impl FnOnce() -> Event) -> Option<EventId> {
        let sink = self.sink.as_ref().filter(|sink| sink.wants_detail())?;
        sink.record(&self.node, cause, event())
    }

    /// Whether events of every message and batch are wanted.
    pub fn wants_detail(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| sink.wants_detail())
    }
}

tokio::task_local! {
    static CAUSE: Option<EventId>;
}

/// Runs `future` so that the events it reports name `cause`: the request that is being served, the step that fired.
pub async fn caused_by<F: Future>(cause: Option<EventId>, future: F) -> F::Output {
    CAUSE.scope(cause, future).await
}

/// As [`caused_by`], for code that does not await.
pub fn caused_by_sync<R>(cause: Option<EventId>, run: impl FnOnce() -> R) -> R {
    CAUSE.sync_scope(cause, run)
}

/// The cause in force.
pub fn current_cause() -> Option<EventId> {
    CAUSE.try_with(|cause| *cause).ok().flatten()
}
