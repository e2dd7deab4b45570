//! `trace.perfetto.json`: the run in Chrome's trace format, which the Perfetto viewer opens.
//!
//! A process for each node with threads for what it does; an arrow (a flow) for each message; counters for the high
//! watermark and the log end of each replica, and for what groups have committed. Times are microseconds with
//! nanoseconds behind the point.

use std::{
    collections::BTreeMap,
    mem::{Discriminant, discriminant},
    sync::Arc,
};

use serde::Serialize;
use serde_json::json;

use super::Recorded;
use crate::{
    base::{Offset, Time, TopicPartition},
    trace::{Event, journal::Entry},
};

/// Duration of a slice that stands for a moment: a flow needs a slice at both ends.
const MOMENT_NS: u64 = 1000;

/// The threads of each process, their numbers from 1.
const THREADS: &[&str] = &["network", "log", "disk", "controller", "process", "client", "groups"];

/// The whole file, an event a line.
pub(super) fn render(run: &Recorded) -> String {
    let mut trace = Trace::default();
    for entry in &run.entries {
        trace.take(entry);
    }
    trace.name_processes();
    let name = super::terminal::run_name(&run.manifest);
    let about = json!({ "run": name, "trace_hash": run.manifest.trace_hash });
    let lines = String::from_utf8(trace.lines).expect("JSON is UTF-8");
    format!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[\n{lines}\n]}}\n")
}

#[derive(Default)]
struct Trace {
    processes: BTreeMap<Arc<str>, usize>,
    kinds: Vec<(Discriminant<Event>, String)>,
    lines: Vec<u8>,
}

/// An event of the journal, shown as a moment.
#[derive(Serialize)]
struct Slice<'a> {
    ph: &'static str,
    pid: usize,
    tid: usize,
    ts: f64,
    dur: f64,
    name: &'a str,
    cat: &'static str,
    args: Arguments<'a>,
}

/// What the viewer shows of an event that is chosen.
#[derive(Serialize)]
struct Arguments<'a> {
    event: u64,
    cause: Option<u64>,
    #[serde(flatten)]
    fields: &'a Event,
}

/// One end of a message's arrow. `bp` binds the end to the slice around it.
#[derive(Serialize)]
struct End<'a> {
    ph: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    pid: usize,
    tid: usize,
    ts: f64,
    id: u64,
    name: &'a str,
    cat: &'static str,
}

impl Trace {
    fn take(&mut self, entry: &Entry) {
        let count = self.processes.len() + 1;
        let pid = *self.processes.entry(entry.node.clone()).or_insert(count);
        let (thread, name) = place(&entry.event);
        let name = name.unwrap_or_else(|| self.kind(&entry.event));
        let tid = THREADS.iter().position(|known| *known == thread).map_or(0, |index| index + 1);
        let ts = micros(entry.time);
        let dur = MOMENT_NS as f64 / 1000.0;
        let args = Arguments { event: entry.id.0, cause: entry.cause.map(|cause| cause.0), fields: &entry.event };
        self.push(&Slice { ph: "X", pid, tid, ts, dur, name: &name, cat: thread, args });
        let end = |ph, bp, id, name| End { ph, bp, pid, tid, ts, id, name, cat: "message" };
        match &entry.event {
            Event::MessageSent { api, .. } => self.push(&end("s", None, entry.id.0, api)),
            Event::MessageDelivered { sent, api, .. } => self.push(&end("f", Some("e"), sent.0, api)),
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
            Event::OffsetsCommitted { group, offsets, .. } => {
                let what = format!("committed by {group}");
                offsets.iter().for_each(|(partition, offset)| self.counter(pid, ts, partition, &what, *offset));
            }
            _ => {}
        }
    }

    fn counter(&mut self, pid: usize, ts: f64, partition: &TopicPartition, what: &str, value: Offset) {
        self.push(&json!({
            "ph": "C", "pid": pid, "ts": ts, "name": format!("{partition} {what}"), "args": { "offset": value },
        }));
    }

    /// Names the processes and their threads.
    fn name_processes(&mut self) {
        for (name, pid) in self.processes.clone() {
            self.push(&json!({ "ph": "M", "pid": pid, "name": "process_name", "args": { "name": name } }));
            for (index, thread) in THREADS.iter().enumerate() {
                let tid = index + 1;
                self.push(&json!({
                    "ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": { "name": thread },
                }));
            }
        }
    }

    /// The kind of an event in words, which its JSON tells.
    fn kind(&mut self, event: &Event) -> String {
        let which = discriminant(event);
        if let Some((_, words)) = self.kinds.iter().find(|(known, _)| *known == which) {
            return words.clone();
        }
        let json = serde_json::to_value(event).expect("an event is plain data");
        let words = json["kind"].as_str().expect("an event names its kind").replace('_', " ");
        self.kinds.push((which, words.clone()));
        words
    }

    fn push(&mut self, line: &impl Serialize) {
        if !self.lines.is_empty() {
            self.lines.extend(b",\n");
        }
        serde_json::to_writer(&mut self.lines, line).expect("a line is plain data and a vector takes any bytes");
    }
}

fn micros(time: Time) -> f64 {
    time.0 as f64 / 1000.0
}

/// On which thread of its node an event is shown, and under which name if not that of its kind.
fn place(event: &Event) -> (&'static str, Option<String>) {
    match event {
        Event::MessageSent { api, request, .. } => ("network", Some(format!("send {}", message(api, *request)))),
        Event::MessageDelivered { api, request, .. } => {
            ("network", Some(format!("receive {}", message(api, *request))))
        }
        Event::MessageHeld { api, .. } => ("network", Some(format!("{api} held"))),
        Event::MessageLost { api, .. } => ("network", Some(format!("{api} lost"))),
        Event::ConnectFailed { .. } | Event::ConnectionReset { .. } => ("network", None),
        Event::UnsyncedLost { .. }
        | Event::DiskReplaced
        | Event::DamagedCheckpointRemoved { .. }
        | Event::BatchCorrupted { .. }
        | Event::BatchMended { .. }
        | Event::LogDirFailed { .. }
        | Event::Flushed { .. } => ("disk", None),
        Event::LogLoaded { .. }
        | Event::LogDamaged { .. }
        | Event::DamagedLogRemoved { .. }
        | Event::Appended { .. }
        | Event::LogStartMoved { .. }
        | Event::Truncated { .. }
        | Event::ReplicaLeft { .. }
        | Event::BecameLeader { .. }
        | Event::BecameFollower { .. }
        | Event::HighWatermark { .. }
        | Event::FollowerFetched { .. }
        | Event::IsrProposed { .. }
        | Event::IsrRefused { .. }
        | Event::ProduceAnswered { .. } => ("log", None),
        Event::BrokerRegistered { .. }
        | Event::BrokerFenced { .. }
        | Event::BrokerUnfenced { .. }
        | Event::ControlledShutdown { .. }
        | Event::TopicCreated { .. }
        | Event::TopicDeleted { .. }
        | Event::ConfigChanged { .. }
        | Event::ReassignmentBegan { .. }
        | Event::ReassignmentCompleted { .. }
        | Event::ReassignmentCancelled { .. }
        | Event::PartitionChanged { .. } => ("controller", None),
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
        | Event::CommitNotSent { .. }
        | Event::PollOverdue { .. }
        | Event::CommittedAsked { .. }
        | Event::CommittedFetched { .. }
        | Event::RecordProcessed { .. }
        | Event::ClientError { .. } => ("client", None),
        Event::CoordinatorLoaded { .. }
        | Event::CoordinatorUnloaded { .. }
        | Event::MemberJoined { .. }
        | Event::MemberReplaced { .. }
        | Event::MemberLeft { .. }
        | Event::RebalanceBegan { .. }
        | Event::GenerationFormed { .. }
        | Event::GroupAssigned { .. }
        | Event::MemberAdvanced { .. }
        | Event::GroupEmptied { .. }
        | Event::OffsetsCommitted { .. }
        | Event::CommitRefused { .. }
        | Event::OffsetsExpiring { .. }
        | Event::OffsetsExpired { .. } => ("groups", None),
        Event::StepFired { step, action, .. } => ("process", Some(format!("step {step}: {action}"))),
        Event::FaultBegan { fault } => ("process", Some(format!("fault: {fault}"))),
        Event::FaultEnded { fault } => ("process", Some(format!("fault ends: {fault}"))),
        Event::SettleBegan
        | Event::Settled
        | Event::NodeStarted { .. }
        | Event::NodeStopped { .. }
        | Event::NodePaused
        | Event::NodeResumed => ("process", None),
    }
}

fn message(api: &str, request: bool) -> String {
    let what = if request { "request" } else { "response" };
    format!("{api} {what}")
}

#[cfg(test)]
mod tests;
