//! Groups by hand: a desk that a test asks, with a log and a clock that the test moves.

mod admin;
mod classic;
mod consumer;
mod failover;
mod offsets;
mod recorded;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use rand::SeedableRng;

use super::{Answers, Context, GroupRequest, GroupSettings, Machine, Waiter, machine::Answer, records::Record};
use crate::{
    base::{Offset, Switches, Time, Timestamp, random::Random},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest,
            ResponseKind, SyncGroupRequest, SyncGroupResponse, TopicName,
            join_group_request::JoinGroupRequestProtocol,
            leave_group_request::MemberIdentity,
            offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
            offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
            sync_group_request::SyncGroupRequestAssignment,
        },
    },
    trace::Event,
};

const WALL_BEGIN_MS: Timestamp = 1_700_000_000_000;

/// A coordinator of partition 0 with the log that it writes.
struct Desk {
    machine: Machine,
    now: Time,
    random: Random,
    next_waiter: u64,
    answered: BTreeMap<Waiter, Answer>,
    log: Vec<Record>,
    events: Vec<Event>,
    /// While it is set appends fail with it.
    append_fails: Option<ErrorCode>,
    /// While it is set what is written is not committed.
    uncommitted: bool,
}

fn settings() -> GroupSettings {
    GroupSettings {
        initial_rebalance_delay: Duration::from_secs(3),
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        max_size: 3,
        offset_metadata_max_bytes: 4096,
        commit_timeout: Duration::from_secs(5),
        offsets_retention: Duration::from_secs(600),
        offsets_retention_check_interval: Duration::from_secs(60),
        consumer: super::consumer::ConsumerSettings::default(),
    }
}

/// The newest behaviour with one planted bug.
fn with_bug(name: &str) -> Switches {
    let mut switches = Switches::NEWEST;
    switches.set(name, "true").unwrap();
    switches
}

impl Desk {
    fn new() -> Self {
        Self::with(Switches::NEWEST)
    }

    fn with(switches: Switches) -> Self {
        Self::after(&[], Time::ZERO, switches)
    }

    /// A coordinator that loads what another has written.
    fn after(log: &[Record], now: Time, switches: Switches) -> Self {
        Self::with_settings(settings(), log, now, switches)
    }

    /// The same, whose groups may have so many members.
    fn limited(before: &Self, max_size: usize) -> Self {
        Self::with_settings(GroupSettings { max_size, ..settings() }, &before.log, before.now, Switches::NEWEST)
    }

    fn with_settings(settings: GroupSettings, log: &[Record], now: Time, switches: Switches) -> Self {
        let mut desk = Self {
            machine: Machine::new(settings, switches),
            now,
            random: Random::seed_from_u64(7),
            next_waiter: 0,
            answered: BTreeMap::new(),
            log: log.to_vec(),
            events: Vec::new(),
            append_fails: None,
            uncommitted: false,
        };
        let end = Offset(log.len() as i64);
        desk.machine.load(log.to_vec(), end, end);
        let answers = desk.with_context("", 0, Machine::loaded);
        desk.settle(answers);
        desk
    }

    fn with_context<R>(
        &mut self,
        client: &str,
        version: i16,
        run: impl FnOnce(&mut Machine, &mut Context<'_>) -> R,
    ) -> R {
        let wall_ms = WALL_BEGIN_MS + self.now.as_millis() as i64;
        let (random, now) = (&mut self.random, self.now);
        let mut context = Context { now, wall_ms, random, client_id: client, client_host: "/h", version };
        run(&mut self.machine, &mut context)
    }

    fn settle(&mut self, answers: Answers) {
        for (waiter, answer) in answers.answers {
            let before = self.answered.insert(waiter, answer);
            assert!(before.is_none(), "{waiter:?} is answered twice, first with {before:?}");
        }
        self.events.extend(answers.events);
        while self.machine.has_records() {
            let records = self.machine.take_records();
            let answers = match self.append_fails {
                Some(code) => self.with_context("", 0, |machine, context| machine.failed(code, context)),
                None => {
                    self.log.extend(records);
                    self.machine.written(Offset(self.log.len() as i64));
                    if self.uncommitted {
                        return;
                    }
                    self.commit()
                }
            };
            self.settle(answers);
        }
    }

    fn commit(&mut self) -> Answers {
        let end = Offset(self.log.len() as i64);
        self.with_context("", 0, |machine, context| machine.committed(end, context))
    }

    /// The followers catch up.
    fn commit_all(&mut self) {
        self.uncommitted = false;
        let answers = self.commit();
        self.settle(answers);
    }

    fn begin(&mut self, client: &str, version: i16, request: GroupRequest) -> Waiter {
        let waiter = Waiter(self.next_waiter);
        self.next_waiter += 1;
        if let Err(code) = request.check_first(version, &settings()) {
            self.answered.insert(waiter, Answer::Refused(code));
            return waiter;
        }
        let answers = self.with_context(client, version, |machine, context| machine.handle(&request, waiter, context));
        self.settle(answers);
        waiter
    }

    fn is_answered(&self, waiter: Waiter) -> bool {
        self.answered.contains_key(&waiter)
    }

    fn answer(&mut self, waiter: Waiter) -> Result<ResponseKind, ErrorCode> {
        match self.answered.remove(&waiter).unwrap_or_else(|| panic!("{waiter:?} has no answer yet")) {
            Answer::Response(response) => Ok(*response),
            Answer::Refused(code) | Answer::NotWritten(code) => Err(code),
        }
    }

    fn ask(&mut self, version: i16, request: GroupRequest) -> Result<ResponseKind, ErrorCode> {
        let waiter = self.begin("c", version, request);
        self.answer(waiter)
    }

    /// Time goes on; what becomes due is done when it is due.
    fn sleep(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        loop {
            let due = self.machine.next_due();
            self.now = self.now.max(due.min(until));
            if due > until {
                return;
            }
            let answers = self.with_context("", 0, Machine::fire);
            self.settle(answers);
        }
    }

    fn join(&mut self, member: &str, instance: Option<&str>, topics: &[&str]) -> Waiter {
        self.begin("c", 5, GroupRequest::Join(join(member, instance, topics)))
    }

    fn joined(&mut self, waiter: Waiter) -> JoinGroupResponse {
        match self.answer(waiter) {
            Ok(ResponseKind::JoinGroup(response)) => response,
            other => panic!("no join was answered: {other:?}"),
        }
    }

    /// An id for a new member.
    fn member_id(&mut self) -> String {
        let waiter = self.join("", None, &["t"]);
        let response = self.joined(waiter);
        assert_eq!(response.error_code, ErrorCode::MemberIdRequired.code());
        response.member_id.to_string()
    }

    fn sync(&mut self, member: &str, generation: i32, assignments: &[(&str, &str)]) -> Waiter {
        let assignment = |(member, given): &(&str, &str)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(string(member))
                .with_assignment(Bytes::copy_from_slice(given.as_bytes()))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(generation)
            .with_member_id(string(member))
            .with_assignments(assignments.iter().map(assignment).collect());
        self.begin("c", 4, GroupRequest::Sync(request))
    }

    fn synced(&mut self, waiter: Waiter) -> Result<String, ErrorCode> {
        match self.answer(waiter)? {
            ResponseKind::SyncGroup(SyncGroupResponse { error_code: 0, assignment, .. }) => {
                Ok(String::from_utf8(assignment.to_vec()).unwrap())
            }
            ResponseKind::SyncGroup(response) => Err(ErrorCode::from_i16(response.error_code)),
            other => panic!("no sync was answered: {other:?}"),
        }
    }

    /// A stable group of `count` members: their ids, the leader first, and the generation.
    fn stable_group(&mut self, count: usize) -> (Vec<String>, i32) {
        let mut ids: Vec<String> = (0..count).map(|_| self.member_id()).collect();
        let waiters: Vec<Waiter> = ids.iter().map(|id| self.join(id, None, &["t"])).collect();
        self.sleep(6);
        let responses: Vec<JoinGroupResponse> = waiters.into_iter().map(|waiter| self.joined(waiter)).collect();
        let leader = responses[0].leader.to_string();
        ids.sort_by_key(|id| *id != leader);
        let generation = responses[0].generation_id;
        self.assign(&ids, generation);
        (ids, generation)
    }

    /// The first of `ids` gives each its own name.
    fn assign(&mut self, ids: &[String], generation: i32) {
        let given: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
        let waiters: Vec<Waiter> = ids
            .iter()
            .enumerate()
            .map(|(index, id)| self.sync(id, generation, if index == 0 { &given } else { &[] }))
            .collect();
        for (id, waiter) in ids.iter().zip(waiters) {
            assert_eq!(self.synced(waiter).as_ref(), Ok(id));
        }
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        self.heartbeat_of(member, None, generation)
    }

    fn heartbeat_of(&mut self, member: &str, instance: Option<&str>, generation: i32) -> ErrorCode {
        let request = HeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(string(member))
            .with_group_instance_id(instance.map(string))
            .with_generation_id(generation);
        match self.ask(4, GroupRequest::Heartbeat(request)) {
            Ok(ResponseKind::Heartbeat(response)) => ErrorCode::from_i16(response.error_code),
            Err(code) => code,
            other => panic!("no heartbeat was answered: {other:?}"),
        }
    }

    fn leave(&mut self, member: &str) -> ErrorCode {
        let member = MemberIdentity::default().with_member_id(string(member));
        let request = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member]);
        match self.ask(4, GroupRequest::Leave(request)) {
            Ok(ResponseKind::LeaveGroup(response)) => ErrorCode::from_i16(response.members[0].error_code),
            Err(code) => code,
            other => panic!("no leave was answered: {other:?}"),
        }
    }

    fn begin_commit(&mut self, member: &str, generation: i32, topic: &str, offset: i64) -> Waiter {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
        let partition = partition.with_committed_metadata(Some(string("m")));
        let topic = OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(string(member))
            .with_generation_id_or_member_epoch(generation)
            .with_topics(vec![topic]);
        self.begin("c", 8, GroupRequest::OffsetCommit(request))
    }

    fn commit_offset(&mut self, member: &str, generation: i32, topic: &str, offset: i64) -> ErrorCode {
        let waiter = self.begin_commit(member, generation, topic, offset);
        self.committed(waiter)
    }

    fn committed(&mut self, waiter: Waiter) -> ErrorCode {
        match self.answer(waiter) {
            Ok(ResponseKind::OffsetCommit(response)) => {
                ErrorCode::from_i16(response.topics[0].partitions[0].error_code)
            }
            Err(code) => code,
            other => panic!("no commit was answered: {other:?}"),
        }
    }

    fn begin_fetch(&mut self, topic: &str, require_stable: bool) -> Waiter {
        let topic = OffsetFetchRequestTopics::default().with_name(name(topic)).with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
        self.begin("c", 8, GroupRequest::OffsetFetch { group, require_stable })
    }

    fn fetched(&mut self, waiter: Waiter) -> i64 {
        match self.answer(waiter) {
            Ok(ResponseKind::OffsetFetch(response)) => response.groups[0].topics[0].partitions[0].committed_offset,
            other => panic!("no fetch was answered: {other:?}"),
        }
    }

    fn fetch(&mut self, topic: &str) -> i64 {
        let waiter = self.begin_fetch(topic, false);
        self.fetched(waiter)
    }

    /// State of the group; `Dead` where there is none.
    fn state(&mut self) -> String {
        match self.ask(0, GroupRequest::DescribeGroups(vec![group()])) {
            Ok(ResponseKind::DescribeGroups(response)) => response.groups[0].group_state.to_string(),
            other => panic!("no description was answered: {other:?}"),
        }
    }

    /// All offsets of all groups, as `group topic-partition`.
    fn offsets(&self) -> BTreeMap<String, i64> {
        let mut all = BTreeMap::new();
        for group in self.machine.shard().groups() {
            for (partition, value) in self.machine.shard().offsets().of(&group.id).into_iter().flatten() {
                all.insert(format!("{} {partition}", group.id), value.offset.0);
            }
        }
        all
    }
}

fn join(member: &str, instance: Option<&str>, topics: &[&str]) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(string("range")).with_metadata(subscription(topics));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(string(member))
        .with_group_instance_id(instance.map(string))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(string("consumer"))
        .with_protocols(vec![protocol])
}

/// A consumer's metadata in version 0.
fn subscription(topics: &[&str]) -> Bytes {
    let mut out = vec![0, 0, 0, 0, 0, topics.len() as u8];
    for topic in topics {
        out.extend([0, topic.len() as u8]);
        out.extend(topic.bytes());
    }
    out.extend([0xff; 4]);
    out.into()
}

fn group() -> GroupId {
    GroupId(string("g"))
}

fn name(topic: &str) -> TopicName {
    TopicName(string(topic))
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
