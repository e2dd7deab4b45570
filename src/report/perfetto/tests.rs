//! The timeline has the shape that the viewer's JSON importer asks for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{THREADS, render};
use crate::{
    base::Time,
    report::{Recorded, tests::recorded},
    trace::{Event, EventId, journal::Entry},
};

fn with_a_message() -> Recorded {
    let mut run = recorded();
    let (to, from, api) = ("b2".into(), "b1".into(), "Fetch".into());
    let sent = EventId(run.entries.len() as u64 + 1);
    let messages = [
        ("b1", Event::MessageSent { to, api, request: true, correlation: 3, bytes: 10 }),
        ("b2", Event::MessageDelivered { sent, from, api: "Fetch".into(), request: true, correlation: 3 }),
    ];
    for (node, event) in messages {
        let id = EventId(run.entries.len() as u64 + 1);
        run.entries.push(Entry { id, time: Time(6_000_000_000 + id.0), node: node.into(), cause: None, event });
    }
    run
}

#[test]
fn the_timeline_names_its_processes_and_threads_and_its_arrows_have_both_ends() {
    let run = with_a_message();
    let trace: Value = serde_json::from_str(&render(&run)).expect("the file is JSON");
    let events = trace["traceEvents"].as_array().expect("a list of events");
    let phase = |wanted: &str| events.iter().filter(|event| event["ph"] == wanted).collect::<Vec<_>>();
    let named: BTreeMap<u64, &str> = phase("M")
        .iter()
        .filter(|event| event["name"] == "process_name")
        .map(|event| (event["pid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap()))
        .collect();
    let slices = phase("X");
    assert_eq!(slices.len(), run.entries.len(), "an event is one slice");
    for (slice, entry) in slices.iter().zip(&run.entries) {
        assert_eq!(named[&slice["pid"].as_u64().unwrap()], &*entry.node);
        assert!((1..=THREADS.len() as u64).contains(&slice["tid"].as_u64().unwrap()), "{slice}");
        assert_eq!(slice["ts"].as_f64().unwrap(), entry.time.0 as f64 / 1000.0);
        assert!(slice["dur"].as_f64().unwrap() > 0.0 && slice["name"].as_str().is_some_and(|name| !name.is_empty()));
    }
    let ends = |ends: Vec<&Value>| ends.iter().map(|end| end["id"].as_u64().unwrap()).collect::<Vec<_>>();
    let (starts, finishes) = (ends(phase("s")), ends(phase("f")));
    assert!(!starts.is_empty() && starts == finishes, "{starts:?} {finishes:?}");
    assert!(phase("f").iter().all(|end| end["bp"] == "e"), "an arrow ends in the slice around it");
    let counters: Vec<&str> = phase("C").iter().map(|counter| counter["name"].as_str().unwrap()).collect();
    assert!(counters.contains(&"orders-0 HW") && counters.contains(&"orders-0 LEO"), "{counters:?}");
    assert!(phase("C").iter().all(|counter| counter["args"]["offset"].is_i64()));
}
