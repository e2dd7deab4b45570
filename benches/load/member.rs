//! A member of a group, without what a client library does besides.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use highwater::{
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
            JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, RequestKind, ResponseKind, SyncGroupRequest,
            TopicName,
            consumer_group_heartbeat_request::TopicPartitions,
            consumer_group_heartbeat_response::Assignment,
            join_group_request::JoinGroupRequestProtocol,
            leave_group_request::MemberIdentity,
            offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
            sync_group_request::SyncGroupRequestAssignment,
        },
    },
    rpc::Connection,
};
use tokio::{sync::Barrier, time::sleep};

/// The topic of all groups, and how many partitions it has.
pub const TOPIC: &str = "load";
pub const PARTITIONS: i32 = 1000;
/// Of how many the group has commits that a coordinator is to load.
pub const FILLED: i32 = 100;
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A member of a group, or who only commits for one.
pub struct Member {
    pub connection: Arc<Connection>,
    pub group: String,
    pub id: StrBytes,
    /// Generation, or member epoch.
    pub epoch: i32,
    /// What it owns, of the newer protocol.
    pub owned: Vec<TopicPartitions>,
    /// What its assignor has to say, of the classic protocol: a member that says something new makes all join again.
    pub userdata: Option<i32>,
}

impl Member {
    /// Connected to the coordinator of `group`, which is asked for until there is one.
    pub async fn new(broker: &str, group: &str) -> Self {
        let first = Connection::connect(broker, "load", PATIENCE).await.expect("the broker is there");
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        let address = loop {
            let ResponseKind::FindCoordinator(found) =
                call(&first, RequestKind::FindCoordinator(find.clone()), 4).await
            else {
                unreachable!("an answer is of its request's kind")
            };
            let found = &found.coordinators[0];
            if found.error_code == 0 {
                break format!("{}:{}", &*found.host, found.port);
            }
            sleep(Duration::from_millis(20)).await;
        };
        let connection = Connection::connect(&address, "load", PATIENCE).await.expect("the coordinator is there");
        let (group, id, owned) = (group.to_owned(), text(""), Vec::new());
        Self { connection, group, id, epoch: -1, owned, userdata: None }
    }

    pub async fn call(&self, request: RequestKind, version: i16) -> ResponseKind {
        call(&self.connection, request, version).await
    }

    pub fn group(&self) -> highwater::protocol::messages::GroupId {
        text(&self.group).into()
    }

    /// Commits `offset` for the first `partitions`; returns the first error.
    pub async fn commit(&self, partitions: i32, offset: i64) -> i16 {
        let partition = |index| {
            let one = OffsetCommitRequestPartition::default().with_partition_index(index);
            one.with_committed_offset(offset).with_committed_metadata(Some(text("")))
        };
        let topic = OffsetCommitRequestTopic::default().with_name(TopicName(text(TOPIC)));
        let request = OffsetCommitRequest::default().with_group_id(self.group()).with_member_id(self.id.clone());
        let request = request.with_generation_id_or_member_epoch(self.epoch);
        let request = request.with_topics(vec![topic.with_partitions((0..partitions).map(partition).collect())]);
        let ResponseKind::OffsetCommit(response) = self.call(RequestKind::OffsetCommit(request), 8).await else {
            unreachable!("an answer is of its request's kind")
        };
        let codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        codes.into_iter().find(|code| *code != 0).unwrap_or(0)
    }

    /// One JoinGroup.
    pub async fn join(&mut self) -> JoinGroupResponse {
        let mut subscription = BytesMut::new();
        subscription.put_i16(0);
        subscription.put_i32(1);
        subscription.put_i16(TOPIC.len() as i16);
        subscription.put_slice(TOPIC.as_bytes());
        match self.userdata {
            Some(userdata) => {
                subscription.put_i32(4);
                subscription.put_i32(userdata);
            }
            None => subscription.put_i32(-1),
        }
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(subscription.freeze());
        loop {
            let request = JoinGroupRequest::default().with_group_id(self.group()).with_member_id(self.id.clone());
            let request = request.with_session_timeout_ms(6000).with_rebalance_timeout_ms(60_000);
            let request = request.with_protocol_type(text("consumer")).with_protocols(vec![protocol.clone()]);
            let ResponseKind::JoinGroup(response) = self.call(RequestKind::JoinGroup(request), 5).await else {
                unreachable!("an answer is of its request's kind")
            };
            self.id = response.member_id.clone();
            match ErrorCode::from_i16(response.error_code) {
                ErrorCode::None => {
                    self.epoch = response.generation_id;
                    return response;
                }
                ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress => {}
                // Too late for the first generation, and out of the group since.
                ErrorCode::UnknownMemberId => self.id = text(""),
                code => panic!("JoinGroup of {}: {code}", self.group),
            }
        }
    }

    /// SyncGroup; the leader gives the partitions out in turns. False: another rebalance has begun.
    pub async fn sync(&mut self, joined: &JoinGroupResponse) -> bool {
        let members = &joined.members;
        let assignment =
            |(place, member): (usize, &highwater::protocol::messages::join_group_response::JoinGroupResponseMember)| {
                let mine: Vec<i32> = (0..PARTITIONS).skip(place).step_by(members.len()).collect();
                let mut bytes = BytesMut::new();
                bytes.put_i16(0);
                bytes.put_i32(1);
                bytes.put_i16(TOPIC.len() as i16);
                bytes.put_slice(TOPIC.as_bytes());
                bytes.put_i32(mine.len() as i32);
                mine.iter().for_each(|partition| bytes.put_i32(*partition));
                bytes.put_i32(-1);
                let one = SyncGroupRequestAssignment::default().with_member_id(member.member_id.clone());
                one.with_assignment(bytes.freeze())
            };
        let request = SyncGroupRequest::default().with_group_id(self.group()).with_member_id(self.id.clone());
        let request = request.with_generation_id(self.epoch);
        let request = request.with_assignments(members.iter().enumerate().map(assignment).collect());
        let ResponseKind::SyncGroup(response) = self.call(RequestKind::SyncGroup(request), 3).await else {
            unreachable!("an answer is of its request's kind")
        };
        match ErrorCode::from_i16(response.error_code) {
            ErrorCode::None => {
                assert_ne!(response.assignment, Bytes::new(), "a member without partitions");
                true
            }
            code => !self.is_to_join("SyncGroup", code),
        }
    }

    /// Whether it has to join after `code`, as Kafka's consumer does.
    pub fn is_to_join(&mut self, what: &str, code: ErrorCode) -> bool {
        match code {
            ErrorCode::None => return false,
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            ErrorCode::UnknownMemberId => self.id = text(""),
            code => panic!("{what} of {}: {code}", self.group),
        }
        true
    }

    /// Joins until a generation stands.
    pub async fn settle(&mut self) {
        loop {
            let joined = self.join().await;
            if self.sync(&joined).await {
                return;
            }
        }
    }

    /// Heartbeat of the classic protocol; true: a rebalance is on.
    pub async fn heartbeat(&mut self) -> bool {
        let request = HeartbeatRequest::default().with_group_id(self.group()).with_member_id(self.id.clone());
        let request = request.with_generation_id(self.epoch);
        let ResponseKind::Heartbeat(response) = self.call(RequestKind::Heartbeat(request), 3).await else {
            unreachable!("an answer is of its request's kind")
        };
        self.is_to_join("Heartbeat", ErrorCode::from_i16(response.error_code))
    }

    /// Heartbeats once, and does what it is told then.
    pub async fn stay(&mut self, consumer: bool) {
        if consumer {
            self.follow(false).await;
        } else if self.heartbeat().await {
            self.settle().await;
        }
    }

    /// Waits for the others: heartbeats every 2 s until all are at `barrier`. Without this a member that has its
    /// assignment would be waited for, for its whole session, when another one joins behind it.
    pub async fn stay_until(&mut self, barrier: &Barrier, consumer: bool) {
        let all = barrier.wait();
        tokio::pin!(all);
        loop {
            tokio::select! {
                biased;
                _ = &mut all => return,
                _ = sleep(Duration::from_secs(2)) => self.stay(consumer).await,
            }
        }
    }

    /// ConsumerGroupHeartbeat; says what it subscribes to if it is `joining`, and what it owns if that has `changed`.
    pub async fn beat(&mut self, joining: bool, changed: bool) -> Option<Assignment> {
        let request = ConsumerGroupHeartbeatRequest::default().with_group_id(self.group());
        let mut request = request.with_member_id(self.id.clone()).with_member_epoch(self.epoch);
        request.rebalance_timeout_ms = if joining { 60_000 } else { -1 };
        request.subscribed_topic_names = joining.then(|| vec![TopicName(text(TOPIC))]);
        request.topic_partitions = (joining || changed).then(|| self.owned.clone());
        let ResponseKind::ConsumerGroupHeartbeat(response) =
            self.call(RequestKind::ConsumerGroupHeartbeat(request), 1).await
        else {
            unreachable!("an answer is of its request's kind")
        };
        assert_eq!(response.error_code, 0, "ConsumerGroupHeartbeat of {}: {:?}", self.group, response.error_message);
        self.epoch = response.member_epoch;
        response.assignment
    }

    /// Heartbeats and, whenever it is given other partitions, says at once that it has them.
    pub async fn follow(&mut self, joining: bool) {
        let mut given = self.beat(joining, false).await;
        while let Some(assignment) = given {
            let topics = assignment.topic_partitions.into_iter();
            let owned = topics
                .map(|one| TopicPartitions::default().with_topic_id(one.topic_id).with_partitions(one.partitions));
            self.owned = owned.collect();
            given = self.beat(false, true).await;
        }
    }

    pub fn owns(&self) -> usize {
        self.owned.iter().map(|topic| topic.partitions.len()).sum()
    }

    /// Joins with the newer protocol, under an id of its own choice.
    pub async fn enter(&mut self, name: &str) {
        self.id = text(name);
        self.epoch = 0;
        self.follow(true).await;
    }

    pub async fn leave(&mut self, consumer: bool) {
        if consumer {
            self.epoch = -1;
            self.beat(false, false).await;
        } else {
            let me = MemberIdentity::default().with_member_id(self.id.clone());
            let request = LeaveGroupRequest::default().with_group_id(self.group()).with_members(vec![me]);
            self.call(RequestKind::LeaveGroup(request), 4).await;
        }
    }
}

pub async fn call(connection: &Connection, request: RequestKind, version: i16) -> ResponseKind {
    connection.call(request, version, PATIENCE).await.expect("an answer").body
}
