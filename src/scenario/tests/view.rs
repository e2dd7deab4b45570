//! What the view of a run makes of its events.

use std::sync::Arc;

use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    scenario::{condition::Condition, term::Cast, view::View},
    trace::{Event, EventId, journal::Entry},
};

fn after(events: &[(&str, Event)]) -> View {
    let mut view = View::new(Cast::default());
    for (node, event) in events {
        let (id, time) = (EventId(1), crate::base::Time(0));
        view.take(&Entry { id, time, node: (*node).into(), cause: None, event: event.clone() });
    }
    view
}

/// The logs that an operator may take away after these events, with their hosts.
fn damaged_by_disks(events: &[(&str, Event)]) -> Vec<(Arc<str>, TopicPartition)> {
    after(events).damaged_by_disks()
}

#[test]
fn an_operator_takes_away_what_a_lie_has_damaged_and_no_log_that_its_broker_has_spoilt() {
    let partition: TopicPartition = "orders-0".parse().unwrap();
    let lie = ("scenario", Event::FaultBegan { fault: "disk b1,b2 lost-sync".into() });
    let slow = ("scenario", Event::FaultBegan { fault: "disk b2 slow 50ms".into() });
    let damaged = ("b2", Event::LogDamaged { partition: partition.clone(), problem: "bad".into() });
    let removed = ("b2", Event::DamagedLogRemoved { partition: partition.clone() });
    assert_eq!(damaged_by_disks(&[lie.clone(), damaged.clone()]), [("b2".into(), partition)]);
    assert!(damaged_by_disks(&[slow, damaged.clone()]).is_empty());
    assert!(damaged_by_disks(&[lie, damaged, removed]).is_empty());
}

#[test]
fn what_has_rotted_is_mended_with_the_disk_and_what_stays_damaged_is_taken_away() {
    let partition: TopicPartition = "orders-0".parse().unwrap();
    let (base_offset, end_offset, zero) = (Offset(1), Offset(2), Offset::ZERO);
    let rots = ("b2", Event::BatchCorrupted { partition: partition.clone(), base_offset, end_offset });
    let mended = ("b2", Event::BatchMended { partition: partition.clone(), base_offset });
    let leads = Event::BecameLeader {
        partition: partition.clone(),
        leader_epoch: LeaderEpoch(1),
        start_offset: zero,
        high_watermark: zero,
        isr: Vec::new(),
    };
    let leads = ("b2", leads);
    let damaged = ("b2", Event::LogDamaged { partition: partition.clone(), problem: "bad".into() });
    let replaced = ("b2", Event::DiskReplaced);
    let taken = [("b2".into(), partition)];
    let (rots, leads, damaged) = (&rots, &leads, &damaged);
    assert!(damaged_by_disks(&[leads.clone(), rots.clone(), damaged.clone(), mended.clone()]).is_empty());
    assert_eq!(damaged_by_disks(&[leads.clone(), rots.clone(), mended, damaged.clone()]), taken);
    assert_eq!(damaged_by_disks(&[rots.clone(), damaged.clone()]), taken, "it does not open");
    assert!(damaged_by_disks(&[rots.clone(), damaged.clone(), replaced]).is_empty());
}

#[test]
fn a_partition_moves_until_that_is_complete_or_cancelled() {
    let partition: TopicPartition = "orders-0".parse().unwrap();
    let (from, to) = (vec![NodeId(1)], vec![NodeId(2)]);
    let began = Event::ReassignmentBegan { partition: partition.clone(), from: from.clone(), to: to.clone() };
    let completed = Event::ReassignmentCompleted { partition: partition.clone(), replicas: to };
    let cancelled = Event::ReassignmentCancelled { partition, replicas: from };
    let reassigning = Condition::parse("reassigning(orders-0)", 0).unwrap();
    assert!(after(&[("c1", began.clone())]).holds(&reassigning));
    for end in [completed, cancelled] {
        assert!(!after(&[("c1", began.clone()), ("c1", end)]).holds(&reassigning));
    }
}

#[test]
fn what_a_condition_was_worth_is_told_of_its_words_as_of_its_functions() {
    let view = after(&[("b1", Event::NodeStarted { incarnation: 1 })]);
    for (condition, told) in [
        ("stopped == [b1]", "stopped = []"),
        ("settled and size(stopped) > 0", "settled = true, size(stopped) = 0"),
        ("controller == c1", "controller = none"),
    ] {
        assert_eq!(view.explain(&Condition::parse(condition, 0).unwrap()), told, "{condition}");
    }
}
