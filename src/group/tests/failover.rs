//! Another broker becomes the coordinator: it knows what the log tells.

use super::*;

/// Another coordinator with the same log.
fn fail_over(desk: &Desk) -> Desk {
    Desk::after(&desk.log, desk.now, Switches::NEWEST)
}

#[test]
fn members_go_on_with_the_next_coordinator_and_have_a_whole_session_to_find_it() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(2);
    assert_eq!(desk.commit_offset(&ids[0], generation, "t", 5), ErrorCode::None);
    desk.sleep(8);
    let mut next = fail_over(&desk);
    next.sleep(8);
    assert_eq!(next.heartbeat(&ids[0], generation), ErrorCode::None);
    assert_eq!((next.fetch("t"), next.state()), (5, "Stable".to_owned()));
    let again = next.sync(&ids[1], generation, &[]);
    assert_eq!(next.synced(again).as_ref(), Ok(&ids[1]), "assignments are in the log");
    next.sleep(3);
    assert_eq!(next.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress, "the other one did not come");
}

#[test]
fn a_rebalance_that_was_under_way_is_forgotten_and_begins_anew() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(1);
    let waiter = desk.join(&ids[0], None, &["t", "u"]);
    let forming = desk.joined(waiter).generation_id;
    let mut next = fail_over(&desk);
    let sync = next.sync(&ids[0], forming, &[]);
    assert_eq!(next.synced(sync), Err(ErrorCode::IllegalGeneration));
    let waiter = next.join(&ids[0], None, &["t", "u"]);
    assert_eq!(next.joined(waiter).generation_id, generation + 1);
}

/// A group of one static member that has come back under a new id: old id, new id, generation.
fn bounced(desk: &mut Desk) -> (String, String, i32) {
    let waiter = desk.join("", Some("i"), &["t"]);
    desk.sleep(3);
    let response = desk.joined(waiter);
    let (old, generation) = (response.member_id.to_string(), response.generation_id);
    desk.assign(std::slice::from_ref(&old), generation);
    let waiter = desk.join("", Some("i"), &["t"]);
    let response = desk.joined(waiter);
    assert_eq!(response.generation_id, generation, "there is no rebalance");
    (old, response.member_id.to_string(), generation)
}

#[test]
fn a_static_member_keeps_its_place_under_a_new_id_that_the_next_coordinator_knows() {
    let mut desk = Desk::new();
    let (old, new, generation) = bounced(&mut desk);
    for desk in [&mut fail_over(&desk), &mut desk] {
        assert_eq!(desk.heartbeat_of(&old, Some("i"), generation), ErrorCode::FencedInstanceId);
        assert_eq!(desk.heartbeat_of(&new, Some("i"), generation), ErrorCode::None);
        let waiter = desk.sync(&new, generation, &[]);
        assert_eq!(desk.synced(waiter).as_ref(), Ok(&old), "what the place was given is kept");
    }
}

/// The planted bug is seen: after a failover the live member is fenced and the one before it is not (KAFKA-10284).
#[test]
fn the_next_coordinator_knows_the_old_id_with_the_planted_bug() {
    let mut desk = Desk::with(with_bug("bug_static_rejoin_not_persisted"));
    let (old, new, generation) = bounced(&mut desk);
    let mut next = fail_over(&desk);
    assert_eq!(next.heartbeat_of(&new, Some("i"), generation), ErrorCode::FencedInstanceId);
    assert_eq!(next.heartbeat_of(&old, Some("i"), generation), ErrorCode::None);
}

#[test]
fn a_static_member_whose_new_id_cannot_be_written_has_its_old_one() {
    let mut desk = Desk::new();
    let (_, id, generation) = bounced(&mut desk);
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    let waiter = desk.join("", Some("i"), &["t"]);
    assert_eq!(desk.answer(waiter).unwrap_err(), ErrorCode::NotEnoughReplicas);
    assert_eq!(desk.heartbeat_of(&id, Some("i"), generation), ErrorCode::None);
}

#[test]
fn nothing_is_told_of_what_was_loaded_before_it_is_committed() {
    let mut desk = Desk::new();
    assert_eq!(desk.commit_offset("", -1, "t", 5), ErrorCode::None);
    assert_eq!(desk.commit_offset("", -1, "t", 8), ErrorCode::None);
    // The new leader has both records and does not know yet that the second is committed as well.
    let mut next = Desk::new();
    next.log.clone_from(&desk.log);
    next.machine = Machine::new(settings(), Switches::NEWEST);
    next.machine.load(desk.log[..1].to_vec(), Offset(1), Offset(1));
    next.machine.load(desk.log[1..].to_vec(), Offset(2), Offset(1));
    let waiter = next.begin_fetch("t", false);
    assert!(!next.is_answered(waiter), "5 would be a step back from what was answered");
    next.commit_all();
    assert_eq!(next.fetched(waiter), 8);
}
