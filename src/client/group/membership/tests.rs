//! Membership beside a coordinator by hand: what is asked, what answers mean.

mod modern;

use super::*;
use crate::{
    client::group::subscription::{Subscription, decode_assignment, encode_assignment},
    protocol::messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorResponse, HeartbeatResponse,
        JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
        find_coordinator_response::Coordinator as Found,
        join_group_response::JoinGroupResponseMember,
    },
    rpc::RpcError,
};

const SECOND: Duration = Duration::from_secs(1);

/// A membership and the time.
struct Play {
    membership: Membership,
    now: Time,
}

impl Play {
    fn new(given: &[(&str, &str)]) -> Self {
        let all = [("group.id", "g"), ("heartbeat.interval.ms", "3000"), ("max.poll.interval.ms", "60000")];
        let modern = given.contains(&("group.protocol", "consumer"));
        let all = all.iter().chain(given).filter(|(name, _)| !(modern && name.starts_with("heartbeat")));
        let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = GroupConfig::from_properties(&all).expect("the settings are right");
        let mut play = Self { membership: Membership::new(Arc::new(config), "me".into()), now: Time::ZERO + SECOND };
        play.membership.subscribe(play.now, Topics::Named(vec!["t".into()]));
        play
    }

    /// A member of a classic group with `t-0` and `t-1`, led by itself.
    fn classic(given: &[(&str, &str)]) -> Self {
        let mut play = Self::new(given);
        assert!(matches!(play.membership.next(play.now), Step::Topics(Some(_))));
        play.membership.topics(play.now, counts(2));
        assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: vec![], lost: false }));
        play.rejoin(7);
        play
    }

    /// A member in the consumer protocol with `t-0` and `t-1`.
    fn modern(given: &[(&str, &str)]) -> Self {
        let mut play = Self::new(&[&[("group.protocol", "consumer")], given].concat());
        play.find();
        let first = play.beat();
        assert_eq!((first.member_epoch, first.topic_partitions), (0, Some(vec![])));
        play.assign(3, &[0, 1]);
        let Step::Names(ids) = play.membership.next(play.now) else { panic!("names are asked for") };
        play.membership.names(play.now, ids.into_iter().map(|id| (id, Arc::from("t"))).collect());
        assert_eq!(play.take(), partitions(&[0, 1]));
        let told = play.beat();
        assert_eq!((told.member_epoch, told.topic_partitions.map(|topics| topics.len())), (3, Some(1)));
        assert_eq!((told.subscribed_topic_names, told.rebalance_timeout_ms), (None, -1));
        play.answer(ResponseKind::ConsumerGroupHeartbeat(alive(3)));
        play
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn find(&mut self) {
        let step = self.membership.next(self.now);
        assert!(matches!(step, Step::Find(_)), "{step:?}");
        let found = Found::default().with_host(text("h")).with_port(9);
        self.answer(ResponseKind::FindCoordinator(FindCoordinatorResponse::default().with_coordinators(vec![found])));
    }

    fn call(&mut self) -> RequestKind {
        match self.membership.next(self.now) {
            Step::Call(address, _, request, _) => {
                assert_eq!(&*address, "h:9");
                *request
            }
            other => panic!("the coordinator is not asked: {other:?}"),
        }
    }

    fn answer(&mut self, response: ResponseKind) {
        self.membership.answered(self.now, Ok(response));
    }

    fn demand(&mut self) -> Option<Demand> {
        self.membership.polled(self.now);
        self.membership.demand()
    }

    fn take(&mut self) -> Vec<TopicPartition> {
        let Some(Demand::Apply(given)) = self.demand() else { panic!("there is something to take") };
        self.membership.applied(self.now, given.clone(), false);
        given
    }

    fn joins(&mut self) -> JoinGroupRequest {
        match self.call() {
            RequestKind::JoinGroup(join) => join,
            other => panic!("it does not join: {other:?}"),
        }
    }

    fn beat(&mut self) -> ConsumerGroupHeartbeatRequest {
        match self.call() {
            RequestKind::ConsumerGroupHeartbeat(beat) => beat,
            other => panic!("no heartbeat: {other:?}"),
        }
    }

    fn assign(&mut self, epoch: i32, indexes: &[i32]) {
        let topic = TopicPartitions::default().with_topic_id(uuid::Uuid::from_bytes([5; 16]));
        let topics = if indexes.is_empty() { vec![] } else { vec![topic.with_partitions(indexes.to_vec())] };
        let assignment = Some(Assignment::default().with_topic_partitions(topics));
        self.answer(ResponseKind::ConsumerGroupHeartbeat(alive(epoch).with_assignment(assignment)));
    }

    /// The application has given up; the member joins as the leader of `generation`, alone.
    fn rejoin(&mut self, generation: i32) {
        self.membership.given_up(self.now, vec![]);
        if self.membership.coordinator.address().is_none() {
            self.find();
        }
        let join = self.joins();
        if join.member_id.is_empty() && join.group_instance_id.is_none() {
            let asked = JoinGroupResponse::default().with_error_code(ErrorCode::MemberIdRequired.code());
            self.answer(ResponseKind::JoinGroup(asked.with_member_id(text("m"))));
            assert_eq!(&*self.joins().member_id, "m");
        }
        let said = join.protocols[0].metadata.clone();
        let member = JoinGroupResponseMember::default().with_member_id(text("m")).with_metadata(said);
        let joined = joined(generation)
            .with_protocol_name(Some(join.protocols[0].name.clone()))
            .with_leader(text("m"))
            .with_members(vec![member]);
        self.answer(ResponseKind::JoinGroup(joined));
        assert_eq!(self.membership.next(self.now), Step::Topics(Some(vec!["t".into()])));
        self.membership.topics(self.now, counts(2));
        let RequestKind::SyncGroup(sync) = self.call() else { panic!("the leader assigns") };
        assert_eq!((sync.generation_id, sync.assignments.len()), (generation, 1));
        let given = sync.assignments[0].assignment.clone();
        assert_eq!(decode_assignment(&given), Ok(partitions(&[0, 1])));
        self.answer(ResponseKind::SyncGroup(SyncGroupResponse::default().with_assignment(given)));
        assert_eq!(self.take(), partitions(&[0, 1]));
    }

    fn is_told_overdue(&mut self) {
        let identity = self.membership.identity();
        assert_eq!(self.membership.next(self.now), Step::Overdue(identity));
    }

    fn heartbeat_is_answered(&mut self, code: ErrorCode) {
        self.pass(3 * SECOND);
        let beat = self.call();
        assert!(matches!(beat, RequestKind::Heartbeat(_)), "{beat:?}");
        self.answer(ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(code.code())));
    }
}

fn counts(count: i32) -> PartitionCounts {
    [(Arc::from("t"), count)].into()
}

fn partitions(indexes: &[i32]) -> Vec<TopicPartition> {
    indexes.iter().map(|index| TopicPartition::new("t", *index)).collect()
}

fn joined(generation: i32) -> JoinGroupResponse {
    let name = JoinGroupResponse::default().with_protocol_name(Some(text("range")));
    name.with_member_id(text("m")).with_generation_id(generation).with_protocol_type(Some(text("consumer")))
}

fn alive(epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default().with_member_id(Some(text("me")));
    response.with_member_epoch(epoch).with_heartbeat_interval_ms(5000)
}

fn refused(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default().with_error_code(code.code())
}

fn gone() -> ClientError {
    RpcError::Disconnected { address: "h:9".to_owned() }.into()
}

#[test]
fn what_a_heartbeat_brings_decides_what_happens_to_the_partitions() {
    let all = partitions(&[0, 1]);
    for (code, demand, epoch) in [
        (ErrorCode::None, None, 7),
        (ErrorCode::RebalanceInProgress, Some(Demand::GiveUp { partitions: all.clone(), lost: false }), 7),
        (ErrorCode::UnknownMemberId, Some(Demand::GiveUp { partitions: all.clone(), lost: true }), -1),
        (ErrorCode::IllegalGeneration, Some(Demand::GiveUp { partitions: all.clone(), lost: true }), -1),
        (ErrorCode::CoordinatorLoadInProgress, None, 7),
        (ErrorCode::NotCoordinator, None, 7),
        (ErrorCode::CoordinatorNotAvailable, None, 7),
    ] {
        let mut play = Play::classic(&[]);
        play.heartbeat_is_answered(code);
        assert_eq!((play.demand(), play.membership.identity().epoch), (demand, epoch), "{code}");
        let moved = matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable);
        assert_eq!(play.membership.coordinator.address().is_none(), moved, "{code}");
    }
}

#[test]
fn a_member_beats_on_until_the_application_has_given_up_and_then_keeps_its_id() {
    let mut play = Play::classic(&[]);
    play.heartbeat_is_answered(ErrorCode::RebalanceInProgress);
    play.heartbeat_is_answered(ErrorCode::RebalanceInProgress);
    play.membership.given_up(play.now, vec![]);
    assert_eq!(&*play.joins().member_id, "m");
    play.answer(ResponseKind::JoinGroup(joined(8).with_leader(text("other"))));
    let RequestKind::SyncGroup(sync) = play.call() else { panic!("a follower asks for its part") };
    assert_eq!((sync.generation_id, sync.assignments), (8, vec![]));
    let part = SyncGroupResponse::default().with_assignment(encode_assignment(&partitions(&[1])));
    play.answer(ResponseKind::SyncGroup(part));
    assert_eq!(play.take(), partitions(&[1]));
    assert_eq!(play.membership.identity(), Identity { member_id: "m".into(), epoch: 8 });
}

#[test]
fn whatever_goes_wrong_while_it_joins_it_begins_again() {
    let ask_again = |code: ErrorCode, of_sync: bool| {
        let mut play = Play::classic(&[]);
        play.heartbeat_is_answered(ErrorCode::RebalanceInProgress);
        play.membership.given_up(play.now, vec![]);
        play.joins();
        if of_sync {
            play.answer(ResponseKind::JoinGroup(joined(8).with_leader(text("other"))));
            play.call();
            play.answer(ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(code.code())));
        } else {
            play.answer(ResponseKind::JoinGroup(JoinGroupResponse::default().with_error_code(code.code())));
        }
        play.pass(SECOND);
        if let Some(Demand::GiveUp { partitions, lost }) = play.demand() {
            assert_eq!((partitions, lost), (vec![], false), "{code}: there is nothing left to give up");
            play.membership.given_up(play.now, vec![]);
        }
        if play.membership.coordinator.address().is_none() {
            play.find();
        }
        play.joins().member_id.to_string()
    };
    for of_sync in [false, true] {
        for (code, id) in [
            (ErrorCode::UnknownMemberId, ""),
            (ErrorCode::IllegalGeneration, "m"),
            (ErrorCode::RebalanceInProgress, "m"),
            (ErrorCode::NotCoordinator, "m"),
            (ErrorCode::CoordinatorLoadInProgress, "m"),
        ] {
            assert_eq!(ask_again(code, of_sync), id, "{code}, of sync: {of_sync}");
        }
    }
}

#[test]
fn a_lost_answer_costs_a_search_for_the_coordinator_and_no_membership() {
    let mut play = Play::classic(&[]);
    play.pass(3 * SECOND);
    play.call();
    play.membership.answered(play.now, Err(gone()));
    assert_eq!(play.membership.next(play.now), Step::Wait(Some(play.now + Duration::from_millis(100))));
    play.pass(SECOND);
    play.find();
    assert!(matches!(play.call(), RequestKind::Heartbeat(beat) if beat.generation_id == 7));
}

#[test]
fn who_does_not_poll_leaves_and_has_lost_what_it_had() {
    let silence = 61 * SECOND;
    let mut play = Play::classic(&[]);
    play.pass(silence);
    play.is_told_overdue();
    assert!(matches!(play.call(), RequestKind::LeaveGroup(leave) if &*leave.members[0].member_id == "m"));
    play.answer(ResponseKind::LeaveGroup(LeaveGroupResponse::default()));
    assert!(matches!(play.membership.next(play.now), Step::Wait(_)), "it is silent until the next poll");
    assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: partitions(&[0, 1]), lost: true }));
    play.rejoin(9);

    let mut fixed = Play::classic(&[("group.instance.id", "i")]);
    fixed.pass(silence);
    fixed.is_told_overdue();
    assert!(matches!(fixed.membership.next(fixed.now), Step::Wait(_)), "a static member only falls silent");
    assert_eq!(fixed.demand(), Some(Demand::GiveUp { partitions: partitions(&[0, 1]), lost: true }));

    for (given, epoch) in [(&[][..], -1), (&[("group.instance.id", "i")], -2)] {
        let mut modern = Play::modern(given);
        modern.pass(silence);
        modern.is_told_overdue();
        assert_eq!(modern.beat().member_epoch, epoch);
        modern.answer(ResponseKind::ConsumerGroupHeartbeat(alive(epoch)));
        assert_eq!(modern.demand(), Some(Demand::GiveUp { partitions: partitions(&[0, 1]), lost: true }));
        modern.membership.given_up(modern.now, vec![]);
        assert_eq!(modern.beat().member_epoch, 0);
    }
}

#[test]
fn a_cooperative_member_keeps_what_it_has_and_joins_again_once_it_has_given_up() {
    let mut play = Play::classic(&[("partition.assignment.strategy", "cooperative-sticky")]);
    play.heartbeat_is_answered(ErrorCode::RebalanceInProgress);
    assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: vec![], lost: false }));
    play.membership.given_up(play.now, partitions(&[0, 1]));
    let said = Subscription::decode(&play.joins().protocols[0].metadata).expect("our own bytes");
    assert_eq!((said.owned, said.generation), (partitions(&[0, 1]), Some(7)));
    let chosen = joined(8).with_protocol_name(Some(text("cooperative-sticky"))).with_leader(text("other"));
    play.answer(ResponseKind::JoinGroup(chosen));
    play.call();
    let part = SyncGroupResponse::default().with_assignment(encode_assignment(&partitions(&[0])));
    play.answer(ResponseKind::SyncGroup(part));
    assert_eq!(play.demand(), Some(Demand::Apply(partitions(&[0]))));
    play.membership.applied(play.now, partitions(&[0]), true);
    assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: vec![], lost: false }));
}

#[test]
fn a_leader_whose_topics_grow_asks_for_a_rebalance() {
    let mut play = Play::classic(&[("metadata.max.age.ms", "1000")]);
    play.pass(SECOND);
    assert_eq!(play.membership.next(play.now), Step::Topics(Some(vec!["t".into()])));
    play.membership.topics(play.now, counts(2));
    assert_eq!(play.demand(), None);
    play.membership.topics(play.now, counts(3));
    assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: partitions(&[0, 1]), lost: false }));
}

#[test]
fn a_commit_that_is_refused_tells_that_membership_is_lost() {
    for (code, lost) in [
        (ErrorCode::UnknownMemberId, Some(true)),
        (ErrorCode::IllegalGeneration, Some(true)),
        (ErrorCode::RebalanceInProgress, None),
        (ErrorCode::OffsetMetadataTooLarge, None),
    ] {
        let mut play = Play::classic(&[]);
        let identity = play.membership.identity();
        play.membership.commit_refused(code, &Identity { epoch: 6, ..identity.clone() });
        assert_eq!(play.demand(), None, "{code}: of an earlier generation");
        play.membership.commit_refused(code, &identity);
        let demand = lost.map(|lost| Demand::GiveUp { partitions: partitions(&[0, 1]), lost });
        assert_eq!(play.demand(), demand, "{code}");
    }
}

#[test]
fn a_commit_that_comes_into_a_rebalance_asks_for_no_further_one() {
    let mut play = Play::classic(&[("partition.assignment.strategy", "cooperative-sticky")]);
    let before = play.membership.identity();
    play.heartbeat_is_answered(ErrorCode::RebalanceInProgress);
    assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: vec![], lost: false }));
    play.membership.given_up(play.now, partitions(&[0, 1]));
    play.membership.commit_refused(ErrorCode::RebalanceInProgress, &before);
    play.joins();
    let response = joined(8).with_protocol_name(Some(text("cooperative-sticky"))).with_leader(text("other"));
    play.answer(ResponseKind::JoinGroup(response));
    let synced = play.membership.identity();
    play.membership.commit_refused(ErrorCode::RebalanceInProgress, &synced);
    assert!(matches!(play.call(), RequestKind::SyncGroup(_)));
    let given = encode_assignment(&partitions(&[0, 1]));
    play.answer(ResponseKind::SyncGroup(SyncGroupResponse::default().with_assignment(given)));
    // Its answer may come when the assignment is there.
    play.membership.commit_refused(ErrorCode::RebalanceInProgress, &synced);
    assert_eq!(play.take(), partitions(&[0, 1]));
    play.membership.commit_refused(ErrorCode::RebalanceInProgress, &synced);
    assert_eq!(play.demand(), None, "the generation that it has come to is the one that it was to join");
}

#[test]
fn nothing_is_committed_from_join_group_until_sync_group_is_answered() {
    let commits = |play: &mut Play| match play.membership.commits_as() {
        Ok(identity) => Ok(identity.epoch),
        Err(error) => Err(error.name().to_owned()),
    };
    let (rebalances, is_none) = (Err("REBALANCE_IN_PROGRESS".to_owned()), Err("UNKNOWN_MEMBER_ID".to_owned()));
    let mut play = Play::new(&[]);
    assert_eq!(commits(&mut play), is_none, "before it joins");
    play.membership.given_up(play.now, vec![]);
    assert_eq!(commits(&mut play), rebalances, "while it joins for the first time");

    let mut play = Play::classic(&[("partition.assignment.strategy", "cooperative-sticky")]);
    assert_eq!(commits(&mut play), Ok(7));
    play.heartbeat_is_answered(ErrorCode::RebalanceInProgress);
    assert_eq!(commits(&mut play), Ok(7), "until it joins again the generation takes commits");
    play.membership.given_up(play.now, partitions(&[0, 1]));
    play.joins();
    assert_eq!(commits(&mut play), rebalances);
    let response = joined(8).with_protocol_name(Some(text("cooperative-sticky"))).with_leader(text("other"));
    play.answer(ResponseKind::JoinGroup(response));
    play.call();
    assert_eq!((commits(&mut play), play.membership.identity().epoch), (rebalances, 8));
    let given = encode_assignment(&partitions(&[0, 1]));
    play.answer(ResponseKind::SyncGroup(SyncGroupResponse::default().with_assignment(given)));
    assert_eq!(commits(&mut play), Ok(8), "also before the application has taken its part");
    play.take();
    play.pass(61 * SECOND);
    play.is_told_overdue();
    assert!(matches!(play.call(), RequestKind::LeaveGroup(_)));
    assert_eq!(commits(&mut play), is_none, "who leaves is no member");
}

#[test]
fn who_is_replaced_or_not_wanted_is_told() {
    let mut play = Play::classic(&[]);
    play.heartbeat_is_answered(ErrorCode::FencedInstanceId);
    let fenced = Some(Demand::Fail(ClientError::Kafka { code: ErrorCode::FencedInstanceId, message: None }));
    assert_eq!((play.demand(), play.demand()), (fenced.clone(), fenced));

    let mut full = Play::classic(&[]);
    full.heartbeat_is_answered(ErrorCode::GroupMaxSizeReached);
    assert!(matches!(full.demand(), Some(Demand::Fail(_))));
    assert!(matches!(full.demand(), Some(Demand::GiveUp { lost: true, .. })), "it may try again");

    let mut modern = Play::modern(&[]);
    modern.pass(5 * SECOND);
    modern.beat();
    modern.answer(ResponseKind::ConsumerGroupHeartbeat(refused(ErrorCode::UnreleasedInstanceId)));
    assert!(matches!(modern.demand(), Some(Demand::Fail(_))));
}

#[test]
fn leaving_is_told_once_and_never_waits_for_a_coordinator() {
    let mut play = Play::classic(&[]);
    play.membership.leave(play.now);
    assert!(matches!(play.call(), RequestKind::LeaveGroup(_)));
    play.membership.answered(play.now, Err(gone()));
    assert!(play.membership.has_left() && play.membership.next(play.now) == Step::Wait(None));

    for (given, epoch) in [(&[][..], -1), (&[("group.instance.id", "i")], -2)] {
        let mut modern = Play::modern(given);
        modern.membership.leave(modern.now);
        assert_eq!(modern.beat().member_epoch, epoch);
        modern.answer(ResponseKind::ConsumerGroupHeartbeat(alive(epoch)));
        assert!(modern.membership.has_left());
    }
    let mut fixed = Play::classic(&[("group.instance.id", "i")]);
    fixed.membership.leave(fixed.now);
    assert!(fixed.membership.has_left(), "a static member stays for its restart");
    let mut early = Play::new(&[]);
    early.membership.leave(early.now);
    assert!(early.membership.has_left());
    early.membership.end();
    assert_eq!(early.membership.next(early.now), Step::End);
}

#[test]
fn a_pattern_joins_with_the_topics_that_match_whole_and_again_when_there_are_more() {
    let mut play = Play::new(&[]);
    play.membership.subscribe(play.now, Topics::Matching(Regex::new("t|t.?").expect("a regular expression")));
    assert_eq!(play.demand(), None);
    assert_eq!(play.membership.next(play.now), Step::Topics(None));
    let known = |names: &[&str]| names.iter().map(|name| (Arc::from(*name), 1)).collect::<PartitionCounts>();
    play.membership.topics(play.now, known(&["t", "t2", "not", "t22"]));
    assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: vec![], lost: false }));
    play.membership.given_up(play.now, vec![]);
    play.find();
    let said = Subscription::decode(&play.joins().protocols[0].metadata).expect("our own bytes");
    assert_eq!(said.topics, [Arc::from("t"), Arc::from("t2")]);
}
