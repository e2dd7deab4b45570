//! From one protocol to the other: groups with members that go on, and members of both in one group.

use super::*;
use crate::group::consumer::{ConsumerSettings, MigrationPolicy};

/// A consumer's assignment: the first `count` partitions of t.
fn given(count: u8) -> String {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, count];
    (0..count).for_each(|partition| bytes.extend([0, 0, 0, partition]));
    bytes.extend([0; 4]);
    String::from_utf8(bytes).unwrap()
}

impl Desk {
    /// A member of the classic protocol joins again and asks what it got: its generation and partitions.
    fn rejoin(&mut self, member: &str) -> (i32, Vec<i32>) {
        let waiter = self.join(member, None, &["t"]);
        let generation = self.joined(waiter).generation_id;
        let waiter = self.sync(member, generation, &[]);
        let Ok(ResponseKind::SyncGroup(response)) = self.answer(waiter) else { panic!("no sync was answered") };
        let partitions = crate::group::subscription::partitions(&response.assignment);
        (generation, partitions.into_iter().map(|partition| partition.partition).collect())
    }
}

#[test]
fn a_classic_group_goes_on_in_the_consumer_protocol_member_by_member() {
    let mut desk = desk(&[("t", 2)]);
    let id = desk.member_id();
    let waiter = desk.join(&id, None, &["t"]);
    desk.sleep(6);
    let first = desk.joined(waiter).generation_id;
    let waiter = desk.sync(&id, first, &[(&id, &given(2))]);
    assert_eq!(desk.synced(waiter), Ok(given(2)));
    let next = first + 1;
    desk.check_beats(&[("n", 0, subscribes(&["t"]), Ok((next, "")))]);
    assert_eq!((desk.machine.shard().groups().count(), desk.consumer_state()), (0, "Reconciling".to_owned()));
    assert_eq!(desk.heartbeat(&id, first), ErrorCode::RebalanceInProgress);
    let waiter = desk.sync(&id, first, &[]);
    assert_eq!(desk.synced(waiter), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(desk.commit_offset(&id, first, "t", 3), ErrorCode::None, "it has the partitions still");
    let (generation, kept) = desk.rejoin(&id);
    assert_eq!((generation, kept.len(), desk.heartbeat(&id, next)), (next, 1, ErrorCode::None));
    assert_eq!(desk.heartbeat(&id, first), ErrorCode::IllegalGeneration);
    assert_eq!(desk.commit_offset(&id, first - 1, "t", 3), ErrorCode::IllegalGeneration);
    let other = format!("t:{}", 1 - kept[0]);
    desk.check_beats(&[("n", next, SAME, Ok((next, other.as_str())))]);
    let mut failed_over = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    set_topics(&mut failed_over, &[("t", 2)]);
    assert_eq!(failed_over.heartbeat(&id, next), ErrorCode::None, "the record tells what it speaks");
    desk.sleep(1);
    desk.check_beats(&[("n", -1, SAME, Ok((-1, "-")))]);
    assert_eq!((desk.state(), desk.consumer_state()), ("PreparingRebalance".to_owned(), "Dead".to_owned()));
    assert_eq!(desk.heartbeat(&id, next), ErrorCode::RebalanceInProgress, "its epoch is the generation");
    desk.check_beats(&[("n", next, SAME, Err(ErrorCode::GroupIdNotFound))]);
    let waiter = desk.join(&id, None, &["t"]);
    assert_eq!(desk.joined(waiter).generation_id, next + 1);
    let waiter = desk.sync(&id, next + 1, &[(&id, &given(2))]);
    assert_eq!(desk.synced(waiter), Ok(given(2)));
    desk.sleep(11);
    assert_eq!(desk.state(), "Empty", "its session is over");
}

impl Desk {
    /// The member of the classic protocol alone shows that it lives, until the session of the other is nearly over.
    fn wait_with(&mut self, member: &str) {
        for _ in 0..8 {
            self.sleep(5);
            assert_eq!((self.heartbeat(member, 3), self.consumer_state()), (ErrorCode::None, "Stable".to_owned()));
        }
    }
}

/// A member of each protocol, both in epoch 3: m with t:0, and the other, whose id is given, with t:1.
fn mixed() -> (Desk, String) {
    let mut desk = desk(&[("t", 2)]);
    desk.check_beats(&[("m", 0, Says { instance: Some("i"), ..subscribes(&["t"]) }, Ok((2, "t:0.1")))]);
    desk.sleep(1);
    let id = desk.member_id();
    assert_eq!(desk.rejoin(&id), (3, vec![]));
    let of_i = |says| Says { instance: Some("i"), ..says };
    desk.check_beats(&[("m", 2, of_i(SAME), Ok((2, "t:0"))), ("m", 2, of_i(owns("t:0")), Ok((3, "-")))]);
    assert_eq!(desk.rejoin(&id), (3, vec![1]));
    (desk, id)
}

#[test]
fn a_group_becomes_a_classic_one_when_the_session_of_its_last_member_of_the_consumer_protocol_is_over() {
    let (mut desk, id) = mixed();
    desk.wait_with(&id);
    desk.sleep(6);
    assert_eq!((desk.heartbeat(&id, 3), desk.state()), (ErrorCode::RebalanceInProgress, "PreparingRebalance".into()));
    let mut next = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    assert_eq!((next.heartbeat(&id, 3), next.state()), (ErrorCode::None, "Stable".into()), "it is a record");
    let waiter = next.sync(&id, 3, &[]);
    let Ok(ResponseKind::SyncGroup(response)) = next.answer(waiter) else { panic!("no sync was answered") };
    let partitions = crate::group::subscription::partitions(&response.assignment);
    assert_eq!(partitions, [crate::base::TopicPartition::new("t", 1)], "it has what it had");
}

#[test]
fn a_rebalance_that_was_due_after_a_downgrade_is_not_forgotten_with_its_coordinator() {
    let mut desk = desk(&[("t", 2)]);
    let of_i = Some("i");
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0.1")))]);
    desk.sleep(1);
    let waiter = desk.join("", of_i, &["t"]);
    let id = desk.joined(waiter).member_id.to_string();
    desk.check_beats(&[("m", 2, SAME, Ok((2, "t:0"))), ("m", 2, owns("t:0"), Ok((3, "-")))]);
    let waiter = desk.join(&id, of_i, &["t"]);
    assert_eq!(desk.joined(waiter).generation_id, 3);
    for _ in 0..8 {
        desk.sleep(5);
        desk.heartbeat_of(&id, of_i, 3);
    }
    desk.sleep(6);
    assert_eq!(desk.state(), "PreparingRebalance", "m is out, and what it had is nobody's");
    let mut next = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    set_topics(&mut next, &[("t", 2)]);
    assert_eq!(next.state(), "Stable", "it is not in the record");
    next.check_beats(&[("n", 0, Says { instance: of_i, ..subscribes(&["t"]) }, Ok((4, "t:0.1")))]);
}

#[test]
fn a_downgrade_that_is_not_committed_yet_hands_nothing_out() {
    let (mut desk, id) = mixed();
    desk.wait_with(&id);
    desk.uncommitted = true;
    desk.sleep(6);
    assert_eq!(desk.state(), "PreparingRebalance");
    let waiter = desk.sync(&id, 3, &[]);
    assert_eq!(desk.synced(waiter), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn a_static_member_that_is_replaced_by_one_of_the_classic_protocol_leaves_its_partitions_to_that() {
    let (mut desk, id) = mixed();
    let waiter = desk.join("", Some("i"), &["t"]);
    let response = desk.joined(waiter);
    assert_eq!((response.generation_id, desk.state().as_str()), (3, "Stable"));
    let heir = response.member_id.to_string();
    assert_eq!((desk.heartbeat_of(&heir, Some("i"), 3), desk.heartbeat(&id, 3)), (ErrorCode::None, ErrorCode::None));
    let waiter = desk.sync(&heir, 3, &[]);
    let Ok(ResponseKind::SyncGroup(response)) = desk.answer(waiter) else { panic!("no sync was answered") };
    let partitions = crate::group::subscription::partitions(&response.assignment);
    assert_eq!(partitions, [crate::base::TopicPartition::new("t", 0)]);
}

#[test]
fn a_static_member_that_comes_back_in_the_classic_protocol_with_another_subscription_has_the_group_assigned_anew() {
    let (mut desk, id) = mixed();
    let waiter = desk.join("", Some("i"), &["t", "u"]);
    let response = desk.joined(waiter);
    assert_eq!((response.generation_id, desk.state().as_str()), (0, "PreparingRebalance"));
    let heir = response.member_id.to_string();
    let waiter = desk.sync(&heir, 0, &[]);
    assert_eq!(desk.synced(waiter), Err(ErrorCode::IllegalGeneration), "it joins again");
    assert_eq!(desk.heartbeat(&id, 3), ErrorCode::RebalanceInProgress);
    let waiters = [desk.join(&heir, Some("i"), &["t", "u"]), desk.join(&id, None, &["t"])];
    for response in waiters.map(|waiter| desk.joined(waiter)) {
        assert_eq!(
            (response.generation_id, response.leader.as_str()),
            (4, &*id),
            "the one that has not just come leads"
        );
    }
}

#[test]
fn who_waits_for_partitions_when_its_group_becomes_a_classic_one_joins_again() {
    let mut desk = desk(&[("t", 2)]);
    let of_i = |says| Says { instance: Some("i"), ..says };
    desk.check_beats(&[("m", 0, of_i(subscribes(&["t"])), Ok((2, "t:0.1")))]);
    desk.sleep(1);
    let id = desk.member_id();
    assert_eq!(desk.rejoin(&id), (3, vec![]), "m has everything still");
    let waiter = desk.join("", Some("i"), &["t"]);
    assert_eq!(desk.joined(waiter).generation_id, 3);
    assert_eq!(desk.state(), "PreparingRebalance");
    assert_eq!(desk.heartbeat(&id, 3), ErrorCode::RebalanceInProgress, "half of it is to be had now");
}

#[test]
fn a_downgrade_that_cannot_be_written_did_not_happen() {
    let (mut desk, id) = mixed();
    desk.wait_with(&id);
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    desk.sleep(6);
    desk.append_fails = None;
    assert_eq!((desk.consumer_state(), desk.machine.shard().groups().count()), ("Stable".to_owned(), 0));
    assert_eq!(desk.heartbeat(&id, 3), ErrorCode::None);
    desk.check_beats(&[("m", 3, Says { instance: Some("i"), ..SAME }, Ok((3, "-")))]);
}

#[test]
fn an_upgrade_that_cannot_be_written_leaves_the_group_as_it_was() {
    let begin = || {
        let mut desk = desk(&[("t", 2)]);
        let (first, second) = (desk.member_id(), desk.member_id());
        let waiters = [desk.join(&first, None, &["t"]), desk.join(&second, None, &["t"])];
        desk.sleep(6);
        let generation = waiters.map(|waiter| desk.joined(waiter).generation_id)[0];
        (desk, first, second, generation)
    };
    let fails = |desk: &mut Desk| {
        desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
        assert!(desk.beat("n", 0, &subscribes(&["t"])).is_err());
        desk.append_fails = None;
    };
    let (mut desk, first, second, generation) = begin();
    fails(&mut desk);
    assert_eq!(desk.state(), "CompletingRebalance");
    for _ in 0..13 {
        desk.sleep(5);
        desk.heartbeat(&first, generation);
        desk.heartbeat(&second, generation);
    }
    assert_eq!(desk.state(), "Empty", "they had their time to ask for their assignments");

    let (mut desk, first, second, generation) = begin();
    let waiter = desk.sync(&first, generation, &[(&first, &given(2)), (&second, &given(1))]);
    assert_eq!(desk.synced(waiter), Ok(given(2)));
    fails(&mut desk);
    let waiter = desk.sync(&second, generation, &[]);
    assert_eq!((desk.synced(waiter), desk.state().as_str()), (Ok(given(1)), "Stable"), "they have what they had");
    assert_eq!(desk.leave(&second), ErrorCode::None);
    let waiter = desk.join(&first, None, &["t"]);
    let generation = desk.joined(waiter).generation_id;
    let third = desk.member_id();
    let waiter = desk.join(&third, None, &["t"]);
    fails(&mut desk);
    assert_eq!(desk.joined(waiter).error_code, ErrorCode::RebalanceInProgress.code());
    for _ in 0..13 {
        desk.sleep(5);
        desk.heartbeat(&first, generation);
    }
    assert_eq!(desk.state(), "Empty", "they had their time to join");
}

/// JoinGroup of a member in the rack r: a consumer's metadata in version 3, which has no partitions.
fn join_in_rack(member: &str) -> JoinGroupRequest {
    let mut metadata = subscription(&["t"]).to_vec();
    metadata[1] = 3;
    metadata.extend([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, b'r']);
    let protocol = JoinGroupRequestProtocol::default().with_name(string("range")).with_metadata(metadata.into());
    join(member, None, &[]).with_protocols(vec![protocol])
}

#[test]
fn the_rack_of_a_member_of_the_classic_protocol_is_known() {
    let rack_of = |desk: &mut Desk, id: &str| match desk.ask(1, GroupRequest::DescribeConsumers(vec![group()])) {
        Ok(ResponseKind::ConsumerGroupDescribe(response)) => {
            let mut members = response.groups[0].members.iter();
            members.find(|member| *member.member_id == *id).unwrap().rack_id.clone().map(|rack| rack.to_string())
        }
        other => panic!("no description was answered: {other:?}"),
    };
    let mut joins = desk(&[("t", 2)]);
    joins.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0.1")))]);
    let id = joins.member_id();
    let waiter = joins.begin("c", 5, GroupRequest::Join(join_in_rack(&id)));
    joins.joined(waiter);
    assert_eq!((rack_of(&mut joins, &id), rack_of(&mut joins, "m")), (Some("r".to_owned()), None));

    let mut goes_on = desk(&[("t", 2)]);
    let id = goes_on.member_id();
    let waiter = goes_on.begin("c", 5, GroupRequest::Join(join_in_rack(&id)));
    goes_on.sleep(6);
    let generation = goes_on.joined(waiter).generation_id;
    let waiter = goes_on.sync(&id, generation, &[(&id, &given(2))]);
    assert_eq!(goes_on.synced(waiter), Ok(given(2)));
    goes_on.check_beats(&[("n", 0, subscribes(&["t"]), Ok((generation + 1, "")))]);
    assert_eq!((rack_of(&mut goes_on, &id), rack_of(&mut goes_on, "n")), (Some("r".to_owned()), None));
}

#[test]
fn a_group_whose_bytes_are_no_consumers_stays_a_classic_one() {
    // Whoever read them as nothing would give away what the members have.
    let mut assigned = desk(&[("t", 1)]);
    let (ids, generation) = assigned.stable_group(1);
    assigned.check_beats(&[("m", 0, subscribes(&["t"]), Err(ErrorCode::GroupIdNotFound))]);
    assert_eq!((assigned.state().as_str(), assigned.heartbeat(&ids[0], generation)), ("Stable", ErrorCode::None));

    let malformed = |metadata: &'static [u8]| {
        let protocol = JoinGroupRequestProtocol::default().with_name(string("range")).with_metadata(metadata.into());
        GroupRequest::Join(join("", None, &[]).with_protocols(vec![protocol]))
    };
    // The partitions that version 1 has are missing.
    let no_partitions = &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut subscribed = desk(&[("t", 1)]);
    let waiter = subscribed.begin("c", 3, malformed(no_partitions));
    subscribed.sleep(3);
    assert_eq!(subscribed.joined(waiter).error_code, 0, "it is the leader's matter");
    subscribed.check_beats(&[("m", 0, subscribes(&["t"]), Err(ErrorCode::GroupIdNotFound))]);
    let mut consumer = desk(&[("t", 1)]);
    consumer.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0")))]);
    let waiter = consumer.begin("c", 3, malformed(no_partitions));
    assert_eq!(consumer.joined(waiter).error_code, ErrorCode::UnknownServerError.code());
}

#[test]
fn who_waits_in_a_classic_group_joins_again_when_it_cannot_go_on_after_all() {
    // The leader has handed out what is no consumer's, and one more has joined since.
    let mut desk = self::desk(&[("t", 1)]);
    let (ids, generation) = desk.stable_group(1);
    let id = desk.member_id();
    let waiter = desk.join(&id, None, &["t"]);
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Err(ErrorCode::GroupIdNotFound))]);
    assert_eq!(desk.joined(waiter).error_code, ErrorCode::RebalanceInProgress.code());
    assert_eq!(desk.state(), "PreparingRebalance");
    assert_eq!(desk.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    let waiters = [desk.join(&ids[0], None, &["t"]), desk.join(&id, None, &["t"])];
    assert_eq!(waiters.map(|waiter| desk.joined(waiter).generation_id), [generation + 1; 2]);
    // Nor where who would have it go on is refused itself, while a follower waits for what the leader will hand out.
    let mut assigning = self::desk(&[("t", 1)]);
    let (first, second) = (assigning.member_id(), assigning.member_id());
    let waiters = [assigning.join(&first, None, &["t"]), assigning.join(&second, None, &["t"])];
    assigning.sleep(6);
    let generation = waiters.map(|waiter| assigning.joined(waiter).generation_id)[0];
    let waiter = assigning.sync(&second, generation, &[]);
    let says = Says { regex: Some("["), ..subscribes(&[]) };
    assigning.check_beats(&[("m", 0, says, Err(ErrorCode::InvalidRegularExpression))]);
    assert_eq!(assigning.synced(waiter), Err(ErrorCode::RebalanceInProgress));
    let waiter = assigning.join(&second, None, &["t"]);
    assert_eq!(
        (assigning.joined(waiter).generation_id, assigning.state().as_str()),
        (generation, "CompletingRebalance")
    );
    // Where it is not even tried, they go on waiting.
    let mut disabled = Desk::with_settings(
        GroupSettings {
            consumer: ConsumerSettings { migration_policy: MigrationPolicy::Disabled, ..ConsumerSettings::default() },
            ..settings()
        },
        &[],
        Time::ZERO,
        Switches::NEWEST,
    );
    let id = disabled.member_id();
    let waiter = disabled.join(&id, None, &["t"]);
    disabled.check_beats(&[("m", 0, subscribes(&["t"]), Err(ErrorCode::GroupIdNotFound))]);
    assert!(disabled.answered.is_empty(), "the others are waited for");
    disabled.sleep(6);
    assert_eq!(disabled.joined(waiter).error_code, 0);
}

#[test]
fn a_member_of_the_classic_protocol_joins_a_group_of_the_consumer_protocol() {
    let mut desk = desk(&[("t", 2)]);
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0.1")))]);
    desk.sleep(1);
    let id = desk.member_id();
    assert_eq!(desk.rejoin(&id), (3, vec![]));
    desk.check_beats(&[("m", 2, SAME, Ok((2, "t:0"))), ("m", 2, owns("t:0"), Ok((3, "-")))]);
    assert_eq!(desk.heartbeat(&id, 3), ErrorCode::RebalanceInProgress, "the other has given it up");
    assert_eq!(desk.rejoin(&id), (3, vec![1]));
    assert_eq!(desk.heartbeat("m", 3), ErrorCode::UnknownMemberId, "it does not speak the classic protocol");
    desk.sleep(9);
    assert_eq!((desk.heartbeat(&id, 3), desk.leave(&id)), (ErrorCode::None, ErrorCode::None));
    desk.check_beats(&[("m", 3, SAME, Ok((4, "t:0.1")))]);
    let other = GroupRequest::Join(join("given", None, &["t"]).with_protocol_type(string("connect")));
    let waiter = desk.begin("c", 5, other);
    let refused = desk.joined(waiter);
    assert_eq!((refused.error_code, &*refused.member_id), (ErrorCode::InconsistentGroupProtocol.code(), ""));
}
