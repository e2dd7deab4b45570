//! `trace.perfetto.json`: the run in Chrome's trace format, which the Perfetto viewer opens.
//!
//! A process for each node with threads for what it does; an arrow (a flow) for each message; counters for the high
//! watermark and the log end of each replica. Times are microseconds with nanoseconds behind the point.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::Recorded;
use crate::{
    base::{Offset, Time, TopicPartition},
    trace::{Event, journal::Entry},
};

/// Duration of a slice that stands for a moment: a flow needs a slice at both ends.
const MOMENT_NS: u64 = 1000;

/// The threads of each process, their numbers from 1.
const THREADS: &[&str] = &["network", "log", "disk", "controller", "process", "client"];

/// The whole file, an event a line.
pub(super) fn render(run: &Recorded) -> String {
    let mut trace = Trace::default();
    for entry in &run.entries {
        trace.take(entry);
    }
    let lines: Vec<String> = trace.into_events().iter().map(Value::to_string).collect();
    let name = super::terminal::run_name(&run.manifest);
    let about = json!({ "run": name, "trace_hash": run.manifest.trace_hash });
    format!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[\n{}\n]}}\n", lines.join(",\n"))
}

#[derive(Default)]
struct Trace {
    processes: BTreeMap<Arc<str>, usize>,
    events: Vec<Value>,
}

impl Trace {
    fn take(&mut self, entry: &Entry) {
        let count = self.processes.len() + 1;
        let pid = *self.processes.entry(entry.node.clone()).or_insert(count);
        let mut fields = match serde_json::to_value(&entry.event) {
            Ok(Value::Object(fields)) => fields,
            other => panic!("an event is an object with string keys, and event {} is {other:?}", entry.id.0),
        };
        let kind = fields.shift_remove("kind").unwrap_or_default();
        fields.insert("event".into(), entry.id.0.into());
        fields.insert("cause".into(), entry.cause.map(|cause| cause.0).into());
        let (thread, name) = place(&entry.event, kind.as_str().unwrap_or_default());
        let tid = THREADS.iter().position(|known| *known == thread).map_or(0, |index| index + 1);
        let ts = micros(entry.time);
        let duration = MOMENT_NS as f64 / 1000.0;
        self.events.push(json!({
            "ph": "X", "pid": pid, "tid": tid, "ts": ts, "dur": duration, "name": name, "cat": thread, "args": fields,
        }));
        match &entry.event {
            Event::MessageSent { api, .. } => {
                self.events.push(json!({
                    "ph": "s", "pid": pid, "tid": tid, "ts": ts, "id": entry.id.0, "name": api, "cat": "message",
                }));
            }
            Event::MessageDelivered { sent, api, .. } => {
                self.events.push(json!({
                    "ph": "f", "bp": "e", "pid": pid, "tid": tid, "ts": ts, "id": sent.0, "name": api, "cat": "message",
                }));
            }
            Event::LogLoaded { partition, end_offset, high_watermark, .. }
            | Event::BecameFollower { partition, end_offset, high_watermark, .. }
            | Event::HighWatermark { partition, end_offset, high_watermark, .. } => {
                self.counter(pid, ts, partition, "HW", *high_watermark);
                self.counter(pid, ts, partition, "LEO", *end_offset);
            }
            Event::BecameLeader { partition, high_watermark, .. } => {
                self.counter(pid, ts, partition, "HW", *high_watermark);
            }
            Event::Appended { partition, end_offset, .. } | Event::Truncated { partition, to: end_offset, .. } => {
                self.counter(pid, ts, partition, "LEO", *end_offset);
            }
            _ => {}
        }
    }

    fn counter(&mut self, pid: usize, ts: f64, partition: &TopicPartition, what: &str, value: Offset) {
        self.events.push(json!({
            "ph": "C", "pid": pid, "ts": ts, "name": format!("{partition} {what}"), "args": { "offset": value },
        }));
    }

    /// The events, behind the names of processes and threads.
    fn into_events(self) -> Vec<Value> {
        let mut events = Vec::new();
        for (name, pid) in &self.processes {
            events.push(json!({ "ph": "M", "pid": pid, "name": "process_name", "args": { "name": name } }));
            for (index, thread) in THREADS.iter().enumerate() {
                let tid = index + 1;
                events.push(json!({
                    "ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": { "name": thread },
                }));
            }
        }
        events.extend(self.events);
        events
    }
}

fn micros(time: Time) -> f64 {
    time.0 as f64 / 1000.0
}

/// On which thread of its node an event is shown, and under which name.
fn place<'a>(event: &'a Event, kind: &'a str) -> (&'static str, String) {
    match event {
        Event::MessageSent { api, request, .. } => ("network", format!("send {}", message(api, *request))),
        Event::MessageDelivered { api, request, .. } => ("network", format!("receive {}", message(api, *request))),
        Event::MessageHeld { api, .. } => ("network", format!("{api} held")),
        Event::MessageLost { api, .. } => ("network", format!("{api} lost")),
        Event::ConnectFailed { .. } | Event::ConnectionReset { .. } => ("network", words(kind)),
        Event::UnsyncedLost { .. } | Event::Flushed { .. } => ("disk", words(kind)),
        Event::LogLoaded { .. }
        | Event::Appended { .. }
        | Event::Truncated { .. }
        | Event::BecameLeader { .. }
        | Event::BecameFollower { .. }
        | Event::HighWatermark { .. }
        | Event::FollowerFetched { .. }
        | Event::IsrProposed { .. }
        | Event::IsrRefused { .. }
        | Event::ProduceAnswered { .. } => ("log", words(kind)),
        Event::BrokerRegistered { .. }
        | Event::BrokerFenced { .. }
        | Event::BrokerUnfenced { .. }
        | Event::ControlledShutdown { .. }
        | Event::TopicCreated { .. }
        | Event::TopicDeleted { .. }
        | Event::ConfigChanged { .. }
        | Event::PartitionChanged { .. } => ("controller", words(kind)),
        Event::RecordSent { .. }
        | Event::RecordAcked { .. }
        | Event::RecordFailed { .. }
        | Event::RecordRead { .. }
        | Event::PositionSet { .. }
        | Event::AuditReachedEnd { .. }
        | Event::PartitionsAssigned { .. }
        | Event::PartitionsRevoked { .. }
        | Event::PartitionsLost { .. }
        | Event::CommitSent { .. }
        | Event::CommitAnswered { .. }
        | Event::CommittedAsked { .. }
        | Event::CommittedFetched { .. }
        | Event::RecordProcessed { .. }
        | Event::ClientError { .. } => ("client", words(kind)),
        Event::CoordinatorLoaded { .. }
        | Event::CoordinatorUnloaded { .. }
        | Event::MemberJoined { .. }
        | Event::MemberReplaced { .. }
        | Event::MemberLeft { .. }
        | Event::RebalanceBegan { .. }
        | Event::GenerationFormed { .. }
        | Event::GroupAssigned { .. }
        | Event::GroupEmptied { .. }
        | Event::OffsetsCommitted { .. }
        | Event::CommitRefused { .. }
        | Event::OffsetsExpired { .. } => ("groups", words(kind)),
        Event::StepFired { step, action, .. } => ("process", format!("step {step}: {action}")),
        Event::FaultBegan { fault } => ("process", format!("fault: {fault}")),
        Event::FaultEnded { fault } => ("process", format!("fault ends: {fault}")),
        Event::SettleBegan
        | Event::Settled
        | Event::NodeStarted { .. }
        | Event::NodeStopped { .. }
        | Event::NodePaused
        | Event::NodeResumed => ("process", words(kind)),
    }
}

fn message(api: &str, request: bool) -> String {
    let what = if request { "request" } else { "response" };
    format!("{api} {what}")
}

fn words(kind: &str) -> String {
    kind.replace('_', " ")
}

#[cfg(test)]
mod tests;
