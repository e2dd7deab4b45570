//! Groups of the consumer protocol: heartbeats by hand, and what they are answered.

mod members;
mod migration;

use std::sync::Arc;

use super::*;
use crate::{
    base::TopicId,
    group::consumer::topics::{Overrides, Topic, Topics},
    protocol::messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_request::TopicPartitions,
    },
};

/// What a heartbeat says beside the member and its epoch.
#[derive(Default)]
struct Says<'a> {
    topics: Option<&'a [&'a str]>,
    regex: Option<&'a str>,
    /// As `t:0.1 u:0`.
    owned: Option<&'a str>,
    instance: Option<&'a str>,
    assignor: Option<&'a str>,
}

/// Says nothing new.
const SAME: Says<'static> = Says { topics: None, regex: None, owned: None, instance: None, assignor: None };

fn subscribes<'a>(topics: &'a [&'a str]) -> Says<'a> {
    Says { topics: Some(topics), owned: Some(""), ..SAME }
}

fn owns(owned: &str) -> Says<'_> {
    Says { owned: Some(owned), ..SAME }
}

/// Ids of topics are their names.
fn topic_id(name: &str) -> TopicId {
    let mut id = [0; 16];
    id[15] = name.as_bytes()[0];
    TopicId(id)
}

fn set_topics(desk: &mut Desk, wanted: &[(&str, usize)]) {
    let mut topics = Topics::default();
    for (version, (name, partitions)) in (1..).zip(wanted) {
        let topic = Topic::new(name, topic_id(name), &vec![Vec::new(); *partitions]);
        topics.set(&Arc::from(*name), Some(topic), version + 10 * wanted.len() as i64 + *partitions as i64);
    }
    desk.machine.set_topics(Arc::new(topics));
}

fn desk(topics: &[(&str, usize)]) -> Desk {
    let mut desk = Desk::new();
    set_topics(&mut desk, topics);
    desk
}

/// Member, epoch, what it says, and what it is told: its epoch and its partitions.
type Beat<'a> = (&'a str, i32, Says<'a>, Result<(i32, &'a str), ErrorCode>);

impl Desk {
    fn beat_response(
        &mut self,
        member: &str,
        epoch: i32,
        says: &Says<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, ErrorCode> {
        let owned = says.owned.map(|owned| {
            let topic = |word: &str| {
                let (name, partitions) = word.split_once(':').unwrap();
                TopicPartitions::default()
                    .with_topic_id(uuid::Uuid::from_bytes(topic_id(name).0))
                    .with_partitions(partitions.split('.').map(|partition| partition.parse().unwrap()).collect())
            };
            owned.split_whitespace().map(topic).collect()
        });
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(string(member))
            .with_member_epoch(epoch)
            .with_instance_id(says.instance.map(string))
            .with_rebalance_timeout_ms(if epoch == 0 { 20_000 } else { -1 })
            .with_subscribed_topic_names(says.topics.map(|topics| topics.iter().map(|topic| name(topic)).collect()))
            .with_subscribed_topic_regex(says.regex.map(string))
            .with_server_assignor(says.assignor.map(string))
            .with_topic_partitions(owned);
        match self.ask(1, GroupRequest::ConsumerHeartbeat(request))? {
            ResponseKind::ConsumerGroupHeartbeat(response) => Ok(response),
            other => panic!("no heartbeat was answered: {other:?}"),
        }
    }

    /// The member's epoch and its assignment, as `t:0.1`, or `-` where it is told none; or the error.
    fn beat(&mut self, member: &str, epoch: i32, says: &Says<'_>) -> Result<(i32, String), ErrorCode> {
        let response = self.beat_response(member, epoch, says)?;
        if response.error_code != 0 {
            return Err(ErrorCode::from_i16(response.error_code));
        }
        let topic = |topic: &crate::protocol::messages::consumer_group_heartbeat_response::TopicPartitions| {
            let partitions: Vec<String> = topic.partitions.iter().map(ToString::to_string).collect();
            format!("{}:{}", char::from(topic.topic_id.as_bytes()[15]), partitions.join("."))
        };
        let assignment = response
            .assignment
            .map(|assignment| assignment.topic_partitions.iter().map(topic).collect::<Vec<String>>().join(" "));
        Ok((response.member_epoch, assignment.unwrap_or("-".to_owned())))
    }

    fn check_beats(&mut self, beats: &[Beat<'_>]) {
        for (index, (member, epoch, says, expected)) in beats.iter().enumerate() {
            let found = self.beat(member, *epoch, says);
            let found = found.as_ref().map(|(epoch, assignment)| (*epoch, assignment.as_str())).map_err(|code| *code);
            assert_eq!(found, *expected, "heartbeat {index}, of {member} in epoch {epoch}");
        }
    }

    fn consumer_state(&self) -> String {
        self.machine.shard().consumers().next().map_or("Dead".to_owned(), |group| group.state().to_string())
    }

    fn commit_in_epoch(&mut self, member: &str, epoch: i32, partition: i32) -> ErrorCode {
        let partition =
            OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(7);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name("t"))
            .with_topic_id(uuid::Uuid::from_bytes(topic_id("t").0))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(string(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        match self.ask(9, GroupRequest::OffsetCommit(request)) {
            Ok(ResponseKind::OffsetCommit(response)) => {
                ErrorCode::from_i16(response.topics[0].partitions[0].error_code)
            }
            Err(code) => code,
            other => panic!("no commit was answered: {other:?}"),
        }
    }

    fn fetch_in_epoch(&mut self, member: Option<&str>, epoch: i32) -> ErrorCode {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_member_id(member.map(string))
            .with_member_epoch(epoch)
            .with_topics(None);
        match self.ask(9, GroupRequest::OffsetFetch { group, require_stable: false }) {
            Ok(ResponseKind::OffsetFetch(response)) => ErrorCode::from_i16(response.groups[0].error_code),
            other => panic!("no fetch was answered: {other:?}"),
        }
    }
}

/// Two members, m with the first two partitions of four and n with the others, both in epoch 3.
fn pair() -> Desk {
    let mut desk = desk(&[("t", 4)]);
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0.1.2.3")))]);
    desk.sleep(1);
    desk.check_beats(&[
        ("n", 0, subscribes(&["t"]), Ok((3, ""))),
        ("m", 2, SAME, Ok((2, "t:0.1"))),
        ("m", 2, owns("t:0.1.2.3"), Ok((2, "-"))),
        ("n", 3, SAME, Ok((3, "-"))),
        ("m", 2, owns("t:0.1"), Ok((3, "-"))),
        ("n", 3, SAME, Ok((3, "t:2.3"))),
    ]);
    desk
}

#[test]
fn partitions_are_handed_over_when_they_have_been_given_up() {
    let desk = pair();
    assert_eq!(desk.consumer_state(), "Stable");
    let owners =
        |event: &Event| matches!(event, Event::GroupAssigned { generation: 3, owners, .. } if owners.len() == 2);
    assert!(desk.events.iter().any(owners), "{:?}", desk.events);
    // The state is what the log replays to.
    let mut next = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    set_topics(&mut next, &[("t", 4)]);
    next.check_beats(&[("m", 3, SAME, Ok((3, "-"))), ("n", 3, SAME, Ok((3, "-")))]);
    next.sleep(30);
    next.check_beats(&[("n", 3, SAME, Ok((3, "-")))]);
    next.sleep(20);
    next.check_beats(&[("n", 3, SAME, Ok((4, "t:0.1.2.3"))), ("m", 3, SAME, Err(ErrorCode::UnknownMemberId))]);
}

#[test]
fn a_groups_own_settings_go_before_the_brokers() {
    let mut desk = pair();
    let mut topics = (**desk.machine.shard().topics()).clone();
    let own = Overrides { session_timeout_ms: Some(50_000), heartbeat_interval_ms: Some(7000), ..Overrides::default() };
    topics.set_overrides("g", own);
    desk.machine.set_topics(Arc::new(topics));
    assert_eq!(desk.beat_response("m", 3, &SAME).unwrap().heartbeat_interval_ms, 7000);
    // Another group is assigned again without waiting.
    let mut hasty = self::desk(&[("t", 2)]);
    let mut topics = (**hasty.machine.shard().topics()).clone();
    topics.set_overrides("g", Overrides { assignment_interval_ms: Some(0), ..Overrides::default() });
    hasty.machine.set_topics(Arc::new(topics));
    hasty.check_beats(&[
        ("m", 0, subscribes(&["t"]), Ok((2, "t:0.1"))),
        ("n", 0, subscribes(&["t"]), Ok((3, ""))),
        ("m", 2, SAME, Ok((2, "t:0"))),
    ]);
    // n has spoken last when the session was the broker's.
    desk.sleep(46);
    desk.check_beats(&[("n", 3, SAME, Err(ErrorCode::UnknownMemberId)), ("m", 3, SAME, Ok((4, "t:0.1.2.3")))]);
}

#[test]
fn a_second_assignment_waits_for_the_interval() {
    let mut desk = desk(&[("t", 2)]);
    desk.check_beats(&[
        ("m", 0, subscribes(&["t"]), Ok((2, "t:0.1"))),
        ("n", 0, subscribes(&["t"]), Ok((2, ""))),
        ("n", 2, SAME, Ok((2, "-"))),
    ]);
    assert_eq!(desk.consumer_state(), "Assigning");
    desk.sleep(1);
    desk.check_beats(&[("m", 2, SAME, Ok((2, "t:0"))), ("n", 2, SAME, Ok((3, "-")))]);
    assert_eq!(desk.consumer_state(), "Reconciling");
}

#[test]
fn where_as_many_prefer_each_assignor_the_last_to_come_decides() {
    for (first, second, told) in [("uniform", "range", "t:0.1 u:0.1"), ("range", "uniform", "t:0.1.2")] {
        let mut desk = desk(&[("t", 3), ("u", 3)]);
        let prefers = |assignor| Says { assignor: Some(assignor), ..subscribes(&["t", "u"]) };
        desk.check_beats(&[("m", 0, prefers(first), Ok((2, "t:0.1.2 u:0.1.2")))]);
        desk.sleep(1);
        desk.check_beats(&[("n", 0, prefers(second), Ok((3, ""))), ("m", 2, SAME, Ok((2, told)))]);
        match desk.ask(1, GroupRequest::DescribeConsumers(vec![group()])) {
            Ok(ResponseKind::ConsumerGroupDescribe(response)) => {
                assert_eq!(&*response.groups[0].assignor_name, "uniform", "whoever asks for it is no member");
            }
            other => panic!("no description was answered: {other:?}"),
        }
    }
}

#[test]
fn epochs_fence_who_has_lost_touch() {
    let mut desk = pair();
    desk.check_beats(&[
        ("m", 4, SAME, Err(ErrorCode::FencedMemberEpoch)),
        ("m", 1, SAME, Err(ErrorCode::FencedMemberEpoch)),
        ("m", 2, SAME, Err(ErrorCode::FencedMemberEpoch)),
        // The answer was lost: the epoch before, and no more than it may have.
        ("m", 2, owns("t:0"), Ok((3, "-"))),
        ("m", 2, owns("t:0.2"), Err(ErrorCode::FencedMemberEpoch)),
        ("x", 3, SAME, Err(ErrorCode::UnknownMemberId)),
        ("m", 0, subscribes(&["t"]), Ok((3, "t:0.1"))),
    ]);
}

#[test]
fn bad_heartbeats_are_refused_with_the_code_of_apache_kafka() {
    let mut desk = pair();
    let unknown = Says { assignor: Some("best"), ..subscribes(&["t"]) };
    let explodes = Says { regex: Some("((a{100}){100}){100}"), ..owns("") };
    desk.check_beats(&[
        ("", 0, subscribes(&["t"]), Err(ErrorCode::InvalidRequest)),
        ("x", 0, owns("t:0"), Err(ErrorCode::InvalidRequest)),
        ("x", 0, owns(""), Err(ErrorCode::InvalidRequest)),
        ("x", 0, SAME, Err(ErrorCode::InvalidRequest)),
        ("x", -3, SAME, Err(ErrorCode::InvalidRequest)),
        ("x", -2, SAME, Err(ErrorCode::InvalidRequest)),
        ("m", 3, Says { instance: Some(" "), ..SAME }, Err(ErrorCode::InvalidRequest)),
        ("x", 0, unknown, Err(ErrorCode::UnsupportedAssignor)),
        ("x", 0, explodes, Err(ErrorCode::InvalidRegularExpression)),
        ("x", -1, SAME, Err(ErrorCode::UnknownMemberId)),
        ("m", 3, SAME, Ok((3, "-"))),
    ]);
    let huge = "x".repeat(40_000);
    let waiter = desk.begin(
        "c",
        1,
        GroupRequest::ConsumerHeartbeat(
            ConsumerGroupHeartbeatRequest::default().with_group_id(group()).with_member_id(string(&huge)),
        ),
    );
    assert_eq!(desk.answer(waiter), Err(ErrorCode::UnknownServerError));
    let mut empty = Desk::new();
    empty.check_beats(&[
        ("m", 1, SAME, Err(ErrorCode::GroupIdNotFound)),
        ("m", -1, SAME, Err(ErrorCode::GroupIdNotFound)),
    ]);
}

#[test]
fn who_leaves_or_is_too_slow_gives_its_partitions_to_the_others() {
    let mut left = pair();
    left.sleep(1);
    left.check_beats(&[("m", -1, SAME, Ok((-1, "-"))), ("n", 3, SAME, Ok((4, "t:0.1.2.3")))]);
    left.check_beats(&[("n", -1, SAME, Ok((-1, "-")))]);
    assert_eq!(left.consumer_state(), "Empty");
    let mut slow = desk(&[("t", 2)]);
    slow.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0.1")))]);
    slow.sleep(1);
    slow.check_beats(&[("n", 0, subscribes(&["t"]), Ok((3, ""))), ("m", 2, SAME, Ok((2, "t:0")))]);
    slow.sleep(19);
    slow.check_beats(&[("m", 2, owns("t:0.1"), Ok((2, "-"))), ("n", 3, SAME, Ok((3, "-")))]);
    slow.sleep(1);
    slow.check_beats(&[("m", 2, owns("t:0"), Err(ErrorCode::UnknownMemberId)), ("n", 3, SAME, Ok((4, "t:0.1")))]);
}

#[test]
fn topics_that_change_move_the_group_on() {
    let mut desk = desk(&[("t", 1), ("u", 1)]);
    desk.check_beats(&[("m", 0, subscribes(&["t", "u", "v"]), Ok((2, "t:0 u:0")))]);
    desk.sleep(1);
    set_topics(&mut desk, &[("t", 2), ("u", 1)]);
    desk.check_beats(&[("m", 2, SAME, Ok((3, "t:0.1 u:0"))), ("m", 3, SAME, Ok((3, "-")))]);
    desk.sleep(1);
    set_topics(&mut desk, &[("t", 2), ("v", 3)]);
    desk.check_beats(&[("m", 3, SAME, Ok((3, "t:0.1"))), ("m", 3, owns("t:0.1"), Ok((4, "t:0.1 v:0.1.2")))]);
    desk.sleep(1);
    desk.check_beats(&[("m", 4, subscribes(&["v"]), Ok((5, "v:0.1.2")))]);
}

#[test]
fn a_regular_expression_is_resolved_after_the_heartbeat_and_again_for_new_topics() {
    let mut desk = desk(&[("t", 1), ("u", 1)]);
    let regex = |regex| Says { regex: Some(regex), ..owns("") };
    desk.check_beats(&[("m", 0, regex("t|v"), Ok((1, "")))]);
    desk.sleep(1);
    desk.check_beats(&[("m", 1, SAME, Ok((2, "t:0")))]);
    set_topics(&mut desk, &[("t", 1), ("u", 1), ("v", 2)]);
    desk.check_beats(&[("m", 2, SAME, Ok((2, "-")))]);
    desk.sleep(10);
    desk.check_beats(&[("m", 2, SAME, Ok((2, "-")))]);
    desk.sleep(1);
    desk.check_beats(&[("m", 2, SAME, Ok((3, "t:0 v:0.1")))]);
    desk.sleep(1);
    desk.check_beats(&[
        ("n", 0, regex("t|v"), Ok((4, ""))),
        ("n", 4, regex("["), Err(ErrorCode::InvalidRegularExpression)),
    ]);
    desk.check_beats(&[("m", -1, SAME, Ok((-1, "-"))), ("n", -1, SAME, Ok((-1, "-")))]);
    let tombstones = desk.log.iter().filter(|record| record.value().is_none() && record.key()[1] == 16).count();
    assert_eq!(tombstones, 1, "the expression goes with the last member that uses it");
}

#[test]
fn offsets_are_fenced_by_the_epoch_of_the_member() {
    let mut desk = pair();
    let codes = [
        ("m", 3, 0, ErrorCode::None),
        ("m", 2, 0, ErrorCode::None),
        ("m", 2, 2, ErrorCode::StaleMemberEpoch),
        ("n", 2, 2, ErrorCode::StaleMemberEpoch),
        ("m", 1, 0, ErrorCode::StaleMemberEpoch),
        ("m", 4, 0, ErrorCode::StaleMemberEpoch),
        ("x", 3, 0, ErrorCode::UnknownMemberId),
        ("", -1, 0, ErrorCode::UnknownMemberId),
    ];
    for (member, epoch, partition, expected) in codes {
        assert_eq!(desk.commit_in_epoch(member, epoch, partition), expected, "{member} in {epoch}");
    }
    assert_eq!(desk.fetch_in_epoch(Some("m"), 3), ErrorCode::None);
    assert_eq!(desk.fetch_in_epoch(Some("m"), 2), ErrorCode::StaleMemberEpoch);
    assert_eq!(desk.fetch_in_epoch(Some("x"), 3), ErrorCode::UnknownMemberId);
    assert_eq!(desk.fetch_in_epoch(None, -1), ErrorCode::None);
    desk.uncommitted = true;
    desk.sleep(1);
    let waiter = desk.begin(
        "c",
        1,
        GroupRequest::ConsumerHeartbeat(
            ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(string("n"))
                .with_member_epoch(-1),
        ),
    );
    let beat = ConsumerGroupHeartbeatRequest::default().with_group_id(group()).with_member_id(string("m"));
    let advancing =
        desk.begin("c", 1, GroupRequest::ConsumerHeartbeat(beat.with_member_epoch(3).with_rebalance_timeout_ms(-1)));
    assert!(!desk.is_answered(waiter) && !desk.is_answered(advancing));
    assert_eq!(desk.fetch_in_epoch(Some("m"), 3), ErrorCode::None, "its new epoch is not committed yet");
    desk.commit_all();
    assert_eq!(desk.fetch_in_epoch(Some("m"), 4), ErrorCode::None);
}

#[test]
fn a_group_is_described_at_once_as_far_as_it_is_committed() {
    let members = |desk: &mut Desk| match desk.ask(1, GroupRequest::DescribeConsumers(vec![group()])) {
        Ok(ResponseKind::ConsumerGroupDescribe(response)) => {
            let members = response.groups[0].members.iter();
            members.map(|member| format!("{} {}", member.member_id, member.member_epoch)).collect::<Vec<String>>()
        }
        other => panic!("no description was answered: {other:?}"),
    };
    let mut desk = pair();
    desk.uncommitted = true;
    let leave = ConsumerGroupHeartbeatRequest::default().with_group_id(group()).with_member_id(string("n"));
    let waiter = desk.begin("c", 1, GroupRequest::ConsumerHeartbeat(leave.with_member_epoch(-1)));
    assert!(!desk.is_answered(waiter));
    assert_eq!(members(&mut desk), ["m 3", "n 3"]);
    desk.commit_all();
    assert_eq!(members(&mut desk), ["m 3"]);
}

#[test]
fn an_append_that_fails_leaves_no_trace() {
    let mut desk = pair();
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    desk.sleep(1);
    let waiter = desk.begin(
        "c",
        1,
        GroupRequest::ConsumerHeartbeat(
            ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(string("n"))
                .with_member_epoch(-1),
        ),
    );
    assert_eq!(desk.answer(waiter), Err(ErrorCode::NotEnoughReplicas));
    desk.append_fails = None;
    desk.check_beats(&[("n", 3, SAME, Ok((3, "-"))), ("m", 3, SAME, Ok((3, "-")))]);
}

#[test]
fn an_empty_group_of_one_protocol_makes_way_for_the_other() {
    let mut desk = desk(&[("t", 1)]);
    assert_eq!(desk.commit_offset("", -1, "t", 5), ErrorCode::None);
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0")))]);
    assert_eq!(desk.state(), "Dead", "for the API of classic groups");
    desk.check_beats(&[("m", -1, SAME, Ok((-1, "-")))]);
    let (ids, _) = desk.stable_group(1);
    desk.check_beats(&[("m", 1, SAME, Err(ErrorCode::GroupIdNotFound))]);
    assert_eq!((desk.leave(&ids[0]), desk.fetch("t")), (ErrorCode::None, 5));
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0")))]);
    assert_eq!(desk.fetch("t"), 5);
    assert_eq!(desk.machine.shard().groups().count(), 0);
    let next = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    assert_eq!((next.consumer_state(), next.machine.shard().groups().count()), ("Stable".to_owned(), 0));
}

#[test]
fn an_empty_group_whose_place_another_could_not_take_is_the_one_it_was() {
    let mut desk = desk(&[("t", 1)]);
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0")))]);
    assert_eq!(desk.commit_in_epoch("m", 2, 0), ErrorCode::None);
    desk.check_beats(&[("m", -1, SAME, Ok((-1, "-")))]);
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    desk.member_id();
    desk.append_fails = None;
    assert_eq!((desk.consumer_state(), desk.machine.shard().groups().count()), ("Empty".to_owned(), 0));
    assert_eq!(desk.fetch("t"), 7);
}

#[test]
fn a_group_that_stays_empty_is_gone_with_its_offsets() {
    let mut desk = desk(&[("t", 1)]);
    desk.check_beats(&[("m", 0, subscribes(&["t"]), Ok((2, "t:0")))]);
    assert_eq!(desk.commit_in_epoch("m", 2, 0), ErrorCode::None);
    for _ in 0..30 {
        desk.sleep(40);
        desk.check_beats(&[("m", 2, SAME, Ok((2, "-")))]);
    }
    assert_eq!(desk.fetch("t"), 7, "it is subscribed to");
    desk.check_beats(&[("m", -1, SAME, Ok((-1, "-")))]);
    desk.sleep(61);
    assert_eq!((desk.consumer_state(), desk.fetch("t")), ("Dead".to_owned(), -1));
    let next = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    assert_eq!(next.consumer_state(), "Dead");
}
