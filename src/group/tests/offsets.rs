//! Commits, fetches, deletion, expiry.

use rand::Rng;

use super::*;
use crate::{
    base::TopicId,
    group::offsets::DeletedTopics,
    protocol::messages::{
        OffsetDeleteRequest,
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    },
};

#[test]
fn a_commit_is_answered_when_it_is_committed_and_seen_from_then_on() {
    let mut desk = Desk::new();
    assert_eq!(desk.commit_offset("", -1, "t", 5), ErrorCode::None);
    desk.uncommitted = true;
    let commit = desk.begin_commit("", -1, "t", 8);
    assert!(!desk.is_answered(commit));
    assert_eq!(desk.fetch("t"), 5);
    let stable = desk.begin_fetch("t", true);
    assert!(!desk.is_answered(stable), "who wants what is stable waits");
    desk.commit_all();
    assert_eq!((desk.committed(commit), desk.fetched(stable), desk.fetch("t")), (ErrorCode::None, 8, 8));
}

/// The planted bug is seen: the answer comes, and the commit is not there after the leader is gone.
#[test]
fn an_answer_comes_before_the_commit_with_the_planted_bug() {
    let mut desk = Desk::with(with_bug("bug_coordinator_answers_early"));
    desk.uncommitted = true;
    let commit = desk.begin_commit("", -1, "t", 8);
    assert_eq!(desk.committed(commit), ErrorCode::None);
    assert_eq!(desk.fetch("t"), -1);
}

#[test]
fn a_commit_that_cannot_be_written_is_taken_back() {
    let mut desk = Desk::new();
    assert_eq!(desk.commit_offset("", -1, "t", 5), ErrorCode::None);
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    assert_eq!(desk.commit_offset("", -1, "t", 8), ErrorCode::NotEnoughReplicas);
    assert_eq!(desk.commit_offset("", -1, "new", 1), ErrorCode::NotEnoughReplicas);
    assert_eq!((desk.fetch("t"), desk.fetch("new")), (5, -1));
}

#[test]
fn commits_are_refused_by_the_rules() {
    let mut desk = Desk::new();
    assert_eq!(desk.commit_offset("m", 1, "t", 1), ErrorCode::IllegalGeneration, "there is no such group");
    let (ids, generation) = desk.stable_group(1);
    assert_eq!(desk.commit_offset("", -1, "t", 1), ErrorCode::UnknownMemberId, "the group has members");
    assert_eq!(desk.commit_offset("stranger", generation, "t", 1), ErrorCode::UnknownMemberId);
    assert_eq!(desk.commit_offset(&ids[0], generation, "t", 1), ErrorCode::None);
    let long = OffsetCommitRequestPartition::default().with_committed_metadata(Some(string(&"x".repeat(4097))));
    let topic = OffsetCommitRequestTopic::default().with_name(name("u")).with_partitions(vec![long]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(string(&ids[0]))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic]);
    let waiter = desk.begin("c", 8, GroupRequest::OffsetCommit(request));
    assert_eq!(desk.committed(waiter), ErrorCode::OffsetMetadataTooLarge);
}

#[test]
fn an_offset_is_of_the_topic_for_which_it_was_committed() {
    let mut desk = Desk::new();
    let (now, before, unknown) = (uuid::Uuid::from_u128(2), uuid::Uuid::from_u128(1), uuid::Uuid::nil());
    for (topic, committed_for) in [("known", now), ("unknown", unknown)] {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
        let topic = OffsetCommitRequestTopic::default().with_name(name(topic)).with_topic_id(committed_for);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic.with_partitions(vec![partition])]);
        let waiter = desk.begin("c", 10, GroupRequest::OffsetCommit(request));
        assert_eq!(desk.committed(waiter), ErrorCode::None);
    }
    let mut fetch = |topic: &str, id: uuid::Uuid| {
        let topic = OffsetFetchRequestTopics::default().with_name(name(topic)).with_topic_id(id);
        let topics = Some(vec![topic.with_partition_indexes(vec![0])]);
        let group = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(topics);
        let waiter = desk.begin("c", 10, GroupRequest::OffsetFetch { group, require_stable: false });
        desk.fetched(waiter)
    };
    assert_eq!([now, before, unknown].map(|id| fetch("known", id)), [5, -1, 5]);
    assert_eq!([now, unknown].map(|id| fetch("unknown", id)), [5, 5]);
    let ids = vec![TopicId(*before.as_bytes())];
    let deleted = DeletedTopics::from([("known".into(), ids.clone()), ("unknown".into(), ids)]);
    let answers = desk.machine.forget_topics(&deleted);
    desk.settle(answers);
    assert_eq!(desk.offsets(), BTreeMap::from([("g known-0".to_owned(), 5)]), "of the one that there is now");
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(1);
    for offset in 0..4 {
        desk.sleep(8);
        assert_eq!(desk.commit_offset(&ids[0], generation, "t", offset), ErrorCode::None);
    }
}

fn delete(desk: &mut Desk, topic: &str) -> Result<ErrorCode, ErrorCode> {
    let partitions = vec![OffsetDeleteRequestPartition::default()];
    let topic = OffsetDeleteRequestTopic::default().with_name(name(topic)).with_partitions(partitions);
    let request = OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic]);
    match desk.ask(0, GroupRequest::OffsetDelete(request))? {
        ResponseKind::OffsetDelete(response) => Ok(ErrorCode::from_i16(response.topics[0].partitions[0].error_code)),
        other => panic!("no deletion was answered: {other:?}"),
    }
}

#[test]
fn offsets_are_deleted_but_for_topics_that_members_subscribe_to() {
    let mut desk = Desk::new();
    assert_eq!(delete(&mut desk, "t"), Err(ErrorCode::GroupIdNotFound));
    let (ids, generation) = desk.stable_group(1);
    for topic in ["t", "u"] {
        assert_eq!(desk.commit_offset(&ids[0], generation, topic, 1), ErrorCode::None);
    }
    assert_eq!(delete(&mut desk, "t"), Ok(ErrorCode::GroupSubscribedToTopic));
    assert_eq!(delete(&mut desk, "u"), Ok(ErrorCode::None));
    assert_eq!((desk.fetch("t"), desk.fetch("u")), (1, -1));
}

#[test]
fn a_group_without_members_is_deleted_with_its_offsets() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(1);
    assert_eq!(desk.commit_offset(&ids[0], generation, "t", 1), ErrorCode::None);
    let delete = |desk: &mut Desk| match desk.ask(1, GroupRequest::DeleteGroups(vec![group()])) {
        Ok(ResponseKind::DeleteGroups(response)) => ErrorCode::from_i16(response.results[0].error_code),
        other => panic!("no deletion was answered: {other:?}"),
    };
    assert_eq!(delete(&mut desk), ErrorCode::NonEmptyGroup);
    desk.leave(&ids[0]);
    assert_eq!(delete(&mut desk), ErrorCode::None);
    assert_eq!(delete(&mut desk), ErrorCode::GroupIdNotFound);
    assert_eq!((desk.fetch("t"), desk.state()), (-1, "Dead".to_owned()));
    let loaded = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    assert_eq!((loaded.offsets(), loaded.machine.shard().groups().count()), (BTreeMap::new(), 0));
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    let mut desk = Desk::new();
    for topic in ["t", "u"] {
        assert_eq!(desk.commit_offset("", -1, topic, 1), ErrorCode::None);
    }
    let answers = desk.machine.forget_topics(&DeletedTopics::from([("t".into(), vec![TopicId([1; 16])])]));
    desk.settle(answers);
    assert_eq!(desk.offsets(), BTreeMap::from([("g u-0".to_owned(), 1)]));
}

#[test]
fn offsets_expire_once_nobody_needs_them() {
    let mut desk = Desk::new();
    let (ids, generation) = desk.stable_group(1);
    for topic in ["t", "left"] {
        assert_eq!(desk.commit_offset(&ids[0], generation, topic, 1), ErrorCode::None);
    }
    let live = |desk: &mut Desk, seconds: u64| {
        for _ in 0..seconds / 5 {
            desk.sleep(5);
            assert_eq!(desk.heartbeat(&ids[0], generation), ErrorCode::None);
        }
    };
    live(&mut desk, 500);
    assert_eq!((desk.fetch("t"), desk.fetch("left")), (1, 1), "the retention is not over");
    live(&mut desk, 200);
    assert_eq!((desk.fetch("t"), desk.fetch("left")), (1, -1), "of a live group only what nobody subscribes to");
    assert_eq!(desk.leave(&ids[0]), ErrorCode::None);
    desk.sleep(500);
    assert_eq!(desk.fetch("t"), 1, "counted since the group is empty");
    desk.sleep(200);
    assert_eq!((desk.fetch("t"), desk.state()), (-1, "Dead".to_owned()), "the group is gone with its last offset");
    assert!(desk.events.iter().any(|event| matches!(event, Event::OffsetsExpired { .. })));
}

/// Until version 4 a client says how long an offset is kept.
#[test]
fn an_offset_with_a_time_of_its_own_expires_then() {
    let mut desk = Desk::new();
    for (topic, retention_ms) in [("short", 100_000), ("long", 900_000), ("usual", -1)] {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic = OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_retention_time_ms(retention_ms)
            .with_topics(vec![topic]);
        let waiter = desk.begin("c", 4, GroupRequest::OffsetCommit(request));
        assert_eq!(desk.committed(waiter), ErrorCode::None);
    }
    let mut desk = Desk::after(&desk.log, desk.now, Switches::NEWEST);
    let kept = |desk: &mut Desk, seconds: u64| {
        desk.sleep(seconds);
        ["short", "long", "usual"].map(|topic| desk.fetch(topic))
    };
    assert_eq!(kept(&mut desk, 90), [1, 1, 1]);
    assert_eq!(kept(&mut desk, 90), [-1, 1, 1]);
    assert_eq!(kept(&mut desk, 480), [-1, 1, -1]);
    assert_eq!(kept(&mut desk, 300), [-1, -1, -1]);
}

/// The planted bug is seen: a group that lives loses an offset that it needs.
#[test]
fn offsets_of_a_live_group_expire_with_the_planted_bug() {
    let mut desk = Desk::with(with_bug("bug_live_offsets_expire"));
    let (ids, generation) = desk.stable_group(1);
    assert_eq!(desk.commit_offset(&ids[0], generation, "t", 1), ErrorCode::None);
    for _ in 0..140 {
        desk.sleep(5);
        assert_eq!(desk.heartbeat(&ids[0], generation), ErrorCode::None);
    }
    assert_eq!(desk.fetch("t"), -1);
}

/// Whatever is committed, refused, taken back or deleted: the offsets are what the log replays to.
#[test]
fn the_state_is_what_the_log_replays_to() {
    for seed in 0..200 {
        let mut chance = Random::seed_from_u64(seed);
        let mut desk = Desk::new();
        for _ in 0..60 {
            desk.append_fails = chance.random_bool(0.2).then_some(ErrorCode::NotEnoughReplicas);
            if chance.random_bool(0.2) {
                desk.uncommitted = true;
            }
            let topic = ["a", "b", "c"][chance.random_range(0..3)];
            match chance.random_range(0..10) {
                0..6 => drop(desk.begin_commit("", -1, topic, chance.random_range(0..100))),
                6 => drop(desk.begin("c", 0, GroupRequest::DeleteGroups(vec![group()]))),
                7 => drop(desk.machine.forget_topics(&DeletedTopics::from([(topic.into(), vec![TopicId::ZERO])]))),
                8 => desk.sleep(chance.random_range(0..400)),
                _ => desk.commit_all(),
            }
            desk.settle(Answers::default());
            let loaded = Desk::after(&desk.log, desk.now, Switches::NEWEST);
            assert_eq!(desk.offsets(), loaded.offsets(), "seed {seed}");
        }
        desk.append_fails = None;
        desk.commit_all();
        assert_eq!(desk.answered.len() as u64, desk.next_waiter, "seed {seed}: everyone is answered");
    }
}
