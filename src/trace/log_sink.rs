//! A deployment's sink: milestones become lines of the log.

use std::sync::Arc;

use super::{Event, EventId, Sink};

/// Logs milestones at `info`; wants no details.
pub struct LogSink;

impl Sink for LogSink {
    fn record(&self, _node: &Arc<str>, _cause: Option<EventId>, event: Event) -> Option<EventId> {
        match serde_json::to_value(&event) {
            Ok(serde_json::Value::Object(mut fields)) => {
                let kind = fields.remove("kind").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
                tracing::info!(target: "highwater", "{kind} {}", serde_json::Value::Object(fields));
            }
            _ => tracing::info!(target: "highwater", "{event:?}"),
        }
        None
    }

    fn wants_detail(&self) -> bool {
        false
    }
}
