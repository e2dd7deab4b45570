//! What the view of a run makes of its events.

use std::sync::Arc;

use crate::{
    base::TopicPartition,
    scenario::{term::Cast, view::View},
    trace::{Event, EventId, journal::Entry},
};

/// The logs that an operator may take away after these events, with their hosts.
fn damaged_by_lies(events: &[(&str, Event)]) -> Vec<(Arc<str>, TopicPartition)> {
    let mut view = View::new(Cast::default());
    for (node, event) in events {
        let (id, time) = (EventId(1), crate::base::Time(0));
        view.take(&Entry { id, time, node: (*node).into(), cause: None, event: event.clone() });
    }
    view.damaged_by_lies()
}

#[test]
fn an_operator_takes_away_what_a_lie_has_damaged_and_no_log_that_its_broker_has_spoilt() {
    let partition: TopicPartition = "orders-0".parse().unwrap();
    let lie = ("scenario", Event::FaultBegan { fault: "disk b1,b2 lost-sync".into() });
    let slow = ("scenario", Event::FaultBegan { fault: "disk b2 slow 50ms".into() });
    let damaged = ("b2", Event::LogDamaged { partition: partition.clone(), problem: "bad".into() });
    let removed = ("b2", Event::DamagedLogRemoved { partition: partition.clone() });
    assert_eq!(damaged_by_lies(&[lie.clone(), damaged.clone()]), [("b2".into(), partition)]);
    assert!(damaged_by_lies(&[slow, damaged.clone()]).is_empty());
    assert!(damaged_by_lies(&[lie, damaged, removed]).is_empty());
}
