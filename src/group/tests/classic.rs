//! Members of a classic group: they join, are assigned, stay, leave, are silent.

use super::*;

#[test]
fn members_join_one_generation_and_each_gets_what_the_leader_gave_it() {
    let mut desk = Desk::new();
    let (first, second) = (desk.member_id(), desk.member_id());
    let waiters = [desk.join(&first, None, &["t"]), desk.join(&second, None, &["t"])];
    desk.sleep(2);
    assert!(!desk.is_answered(waiters[0]), "the initial delay is not over");
    desk.sleep(1);
    assert!(!desk.is_answered(waiters[0]), "a member came meanwhile: the delay begins anew");
    desk.sleep(3);
    let responses = waiters.map(|waiter| desk.joined(waiter));
    assert!(responses.iter().all(|response| response.generation_id == 1 && *response.leader == *first));
    assert_eq!(responses[0].members.len(), 2, "the leader gets the members");
    assert_eq!(responses[0].members[0].metadata, subscription(&["t"]));
    assert!(responses[1].members.is_empty());
    assert_eq!(desk.state(), "CompletingRebalance");
    let waiting = desk.sync(&second, 1, &[]);
    assert!(!desk.is_answered(waiting), "a follower waits for the leader");
    let leading = desk.sync(&first, 1, &[(&first, "a"), (&second, "b")]);
    assert_eq!(desk.synced(leading), Ok("a".to_owned()));
    assert_eq!(desk.synced(waiting), Ok("b".to_owned()));
    assert_eq!(desk.state(), "Stable");
    let again = desk.sync(&second, 1, &[]);
    assert_eq!(desk.synced(again), Ok("b".to_owned()));
}

#[test]
fn a_newcomer_makes_all_join_again_and_the_old_generation_is_over() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(2);
    let third = desk.member_id();
    let newcomer = desk.join(&third, None, &["t"]);
    assert_eq!(desk.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    assert_eq!(desk.commit_offset(&ids[0], generation, "t", 5), ErrorCode::None, "what was consumed may be told");
    let waiters: Vec<Waiter> = ids.iter().map(|id| desk.join(id, None, &["t"])).collect();
    assert_eq!(desk.joined(newcomer).generation_id, generation + 1);
    waiters.into_iter().for_each(|waiter| assert_eq!(desk.joined(waiter).generation_id, generation + 1));
    assert_eq!(desk.heartbeat(&ids[0], generation), ErrorCode::IllegalGeneration);
    assert_eq!(desk.commit_offset(&ids[0], generation, "t", 4), ErrorCode::IllegalGeneration);
    assert_eq!(desk.commit_offset(&ids[0], generation + 1, "t", 4), ErrorCode::RebalanceInProgress);
    assert_eq!(desk.fetch("t"), 5);
}

/// The planted bug is seen: the commit of a member of an old generation takes the group back.
#[test]
fn commits_of_an_old_generation_are_taken_with_the_planted_bug() {
    let mut desk = Desk::with(with_bug("bug_commit_from_old_generation"));
    let (ids, generation) = desk.stable_group(1);
    assert_eq!(desk.commit_offset(&ids[0], generation, "t", 5), ErrorCode::None);
    assert_eq!(desk.commit_offset(&ids[0], generation - 1, "t", 4), ErrorCode::None);
    assert_eq!(desk.fetch("t"), 4);
}

/// KAFKA-14422: JoinGroup 4 has no instance ids to tell a leader of.
#[test]
fn an_old_leader_beside_a_static_member_is_answered_where_instance_ids_are_left_out() {
    for instance_ids_left_out in [true, false] {
        let mut desk = Desk::with(Switches { instance_ids_left_out, ..Switches::NEWEST });
        let (ids, generation) = desk.stable_group(1);
        desk.join("", Some("static"), &["t"]);
        let leader = desk.begin("client", 4, GroupRequest::Join(join(&ids[0], None, &["t"])));
        assert_eq!(desk.is_answered(leader), instance_ids_left_out);
        assert_eq!(desk.state(), "CompletingRebalance");
        if instance_ids_left_out {
            let response = desk.joined(leader);
            assert_eq!((response.generation_id, response.members.len()), (generation + 1, 2));
        } else {
            let again = desk.begin("client", 4, GroupRequest::Join(join(&ids[0], None, &["t"])));
            assert_eq!(desk.answer(again).unwrap_err(), ErrorCode::UnknownServerError);
        }
    }
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(2);
    let leader = desk.join(&ids[0], None, &["t", "u"]);
    for _ in 0..10 {
        desk.sleep(6);
        if desk.is_answered(leader) {
            break;
        }
        assert_eq!(desk.heartbeat(&ids[1], generation), ErrorCode::RebalanceInProgress);
    }
    let response = desk.joined(leader);
    assert_eq!((response.generation_id, response.members.len()), (generation + 1, 1));
    assert_eq!(desk.heartbeat(&ids[1], generation + 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_silent_member_is_out_after_its_session_and_the_others_join_again() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(2);
    desk.sleep(9);
    assert_eq!(desk.heartbeat(&ids[1], generation), ErrorCode::None);
    desk.sleep(2);
    assert_eq!(desk.heartbeat(&ids[1], generation), ErrorCode::RebalanceInProgress);
    assert_eq!(desk.heartbeat(&ids[0], generation), ErrorCode::UnknownMemberId);
    let waiter = desk.join(&ids[1], None, &["t"]);
    let response = desk.joined(waiter);
    assert_eq!((&*response.leader, response.members.len()), (&*ids[1], 1));
}

#[test]
fn an_id_that_nobody_joins_with_holds_the_others_up_for_a_session_at_most() {
    let mut desk = Desk::new();
    let (ids, _) = desk.stable_group(1);
    let unused = desk.member_id();
    let waiter = desk.join(&ids[0], None, &["t"]);
    desk.sleep(9);
    assert!(!desk.is_answered(waiter), "the new member may still come");
    desk.sleep(1);
    assert_eq!(desk.joined(waiter).members.len(), 1);
    let late = desk.join(&unused, None, &["t"]);
    assert_eq!(desk.answer(late).unwrap_err(), ErrorCode::UnknownMemberId);
}

#[test]
fn who_does_not_ask_for_its_assignment_is_out() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(2);
    let waiters: Vec<Waiter> = ids.iter().map(|id| desk.join(id, None, &["t", "u"])).collect();
    waiters.into_iter().for_each(|waiter| drop(desk.joined(waiter)));
    let leading = desk.sync(&ids[0], generation + 1, &[]);
    assert_eq!(desk.synced(leading), Ok(String::new()));
    for _ in 0..10 {
        desk.sleep(6);
        for id in &ids {
            desk.heartbeat(id, generation + 1);
        }
    }
    assert_eq!(desk.heartbeat(&ids[1], generation + 1), ErrorCode::UnknownMemberId);
    assert_eq!(desk.heartbeat(&ids[0], generation + 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn the_last_member_leaves_an_empty_group_that_keeps_its_generation() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(1);
    assert_eq!(desk.leave("stranger"), ErrorCode::UnknownMemberId);
    assert_eq!(desk.leave(&ids[0]), ErrorCode::None);
    assert_eq!(desk.state(), "Empty");
    assert_eq!(desk.commit_offset("", -1, "t", 3), ErrorCode::None, "an administrator may commit now");
    let id = desk.member_id();
    let waiter = desk.join(&id, None, &["t"]);
    desk.sleep(3);
    assert_eq!(desk.joined(waiter).generation_id, generation + 2);
}

#[test]
fn who_leaves_while_it_waits_for_its_assignment_is_told_so() {
    let mut desk = Desk::new();
    let (first, second) = (desk.member_id(), desk.member_id());
    let waiters = [desk.join(&first, None, &["t"]), desk.join(&second, None, &["t"])];
    desk.sleep(6);
    waiters.into_iter().for_each(|waiter| assert_eq!(desk.joined(waiter).generation_id, 1));
    let waiting = desk.sync(&second, 1, &[]);
    assert_eq!(desk.leave(&second), ErrorCode::None);
    assert_eq!(desk.synced(waiting), Err(ErrorCode::UnknownMemberId));
    assert_eq!(desk.heartbeat(&first, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn the_protocol_that_most_members_prefer_is_chosen_among_those_that_all_have() {
    let offering = |member: &str, names: &[&str]| {
        let protocol = |name: &&str| JoinGroupRequestProtocol::default().with_name(string(name));
        GroupRequest::Join(join(member, None, &[]).with_protocols(names.iter().map(protocol).collect()))
    };
    let mut desk = Desk::new();
    let ids: Vec<String> = (0..3).map(|_| desk.member_id()).collect();
    let offers = [&["lone", "range", "sticky"][..], &["sticky", "range"], &["sticky", "other", "range"]];
    let waiters: Vec<Waiter> =
        ids.iter().zip(offers).map(|(id, names)| desk.begin("c", 5, offering(id, names))).collect();
    desk.sleep(9);
    for waiter in waiters {
        assert_eq!(desk.joined(waiter).protocol_name.as_deref(), Some("sticky"));
    }
    let none_in_common = desk.begin("c", 5, offering(&ids[0], &["lone"]));
    assert_eq!(desk.answer(none_in_common).unwrap_err(), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_group_that_is_too_large_for_the_next_coordinator_shrinks() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(3);
    let mut next = Desk::limited(&desk, 2);
    assert_eq!(next.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    let waiters: Vec<Waiter> = ids.iter().map(|id| next.join(id, None, &["t"])).collect();
    let last = next.joined(waiters[2]);
    assert_eq!(last.error_code, ErrorCode::GroupMaxSizeReached.code(), "the last to come has no place");
    next.sleep(60);
    for waiter in &waiters[..2] {
        assert_eq!(next.joined(*waiter).generation_id, generation + 1);
    }
}

#[test]
fn a_full_group_takes_nobody() {
    let mut desk = Desk::new();
    desk.stable_group(3);
    let waiter = desk.join("", None, &["t"]);
    assert_eq!(desk.joined(waiter).error_code, ErrorCode::GroupMaxSizeReached.code());
}

#[test]
fn assignments_that_cannot_be_written_are_given_to_nobody() {
    let mut desk = Desk::new();
    let id = desk.member_id();
    let waiter = desk.join(&id, None, &["t"]);
    desk.sleep(3);
    assert_eq!(desk.joined(waiter).generation_id, 1);
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    let waiter = desk.sync(&id, 1, &[(&id, "a")]);
    assert_eq!(desk.synced(waiter), Err(ErrorCode::NotEnoughReplicas));
    desk.append_fails = None;
    assert_eq!(desk.heartbeat(&id, 1), ErrorCode::RebalanceInProgress);
    let waiter = desk.join(&id, None, &["t"]);
    assert_eq!(desk.joined(waiter).generation_id, 2);
}

#[test]
fn assignments_that_are_not_committed_in_time_are_given_to_nobody() {
    let mut desk = Desk::new();
    let id = desk.member_id();
    let waiter = desk.join(&id, None, &["t"]);
    desk.sleep(3);
    assert_eq!(desk.joined(waiter).generation_id, 1);
    desk.uncommitted = true;
    let waiter = desk.sync(&id, 1, &[(&id, "a")]);
    desk.sleep(4);
    assert!(!desk.is_answered(waiter));
    desk.sleep(1);
    assert_eq!(desk.synced(waiter), Err(ErrorCode::RequestTimedOut));
    let waiter = desk.join(&id, None, &["t"]);
    assert_eq!(desk.joined(waiter).generation_id, 2);
    desk.commit_all();
    assert_eq!(desk.state(), "CompletingRebalance", "the old generation's record changes nothing any more");
}

#[test]
fn a_group_whose_first_record_cannot_be_written_does_not_exist() {
    let mut desk = Desk::new();
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    desk.member_id();
    assert_eq!(desk.state(), "Dead");
}

#[test]
fn bad_requests_get_kafkas_codes() {
    let mut desk = Desk::new();
    let mut refused = |request: JoinGroupRequest| desk.ask(5, GroupRequest::Join(request)).unwrap_err();
    let huge = "x".repeat(40_000);
    let cases = [
        (join("", None, &[]).with_session_timeout_ms(5_999), ErrorCode::InvalidSessionTimeout),
        (join("", None, &[]).with_session_timeout_ms(1_800_001), ErrorCode::InvalidSessionTimeout),
        (join("stranger", None, &[]), ErrorCode::UnknownMemberId),
        (join("", None, &[]).with_protocols(Vec::new()), ErrorCode::InconsistentGroupProtocol),
        (join("", None, &[]).with_protocol_type(string("")), ErrorCode::InconsistentGroupProtocol),
        (join("", None, &[]).with_group_id(GroupId(string(&huge))), ErrorCode::UnknownServerError),
        (join("", Some(&huge), &[]), ErrorCode::UnknownServerError),
        (join(&huge, None, &[]), ErrorCode::UnknownServerError),
    ];
    for (request, code) in cases {
        assert_eq!(refused(request), code);
    }
    let (ids, generation) = desk.stable_group(1);
    assert_eq!(desk.heartbeat(&ids[0], i32::MAX), ErrorCode::IllegalGeneration);
    let nonsense = desk.sync(&ids[0], generation, &[(&ids[0], "\u{0}\u{1}no assignment")]);
    assert!(desk.synced(nonsense).is_ok(), "assignments are the members' own matter");
}
