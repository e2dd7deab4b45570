//! Brokers that the controller is asked to count out while they run.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::{
    base::NodeId,
    trace::{self, EventId},
};

/// Brokers whose session is to end at once, as if `broker.session.timeout.ms` had passed without a heartbeat. A scenario
/// asks for that, of whichever controller runs next; in a deployment nobody does.
#[derive(Clone, Debug, Default)]
pub struct EndedSessions(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    brokers: Mutex<Vec<(NodeId, Option<EventId>)>>,
    rung: Notify,
}

impl EndedSessions {
    /// Ends the session of a broker: the fencing follows from the cause in force.
    pub fn end(&self, broker: NodeId) {
        self.0.brokers.lock().expect("no panic while they are held").push((broker, trace::current_cause()));
        self.0.rung.notify_one();
    }

    /// Returns once there may be one.
    pub(super) async fn asked(&self) {
        self.0.rung.notified().await;
    }

    /// Those whose session has not been ended yet.
    pub(super) fn take(&self) -> Vec<(NodeId, Option<EventId>)> {
        std::mem::take(&mut self.0.brokers.lock().expect("no panic while they are held"))
    }
}
