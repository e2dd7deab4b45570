//! The load of `benches/groups`: members of groups that speak to one broker, without what a client library does besides.
//!
//!     groups BROKER fill|commits|death|heartbeats|rebalance|fetch PROTOCOL ...      see `main`
//!
//! Prints a number: commits a second, milliseconds, or the seconds of processor time that this program has used.

#[cfg(not(madsim))]
fn main() {
    load::main();
}

/// The simulation has no real brokers.
#[cfg(madsim)]
fn main() {}

#[cfg(not(madsim))]
mod load {
    use std::{
        env,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::{Duration, Instant},
    };

    use bytes::{BufMut, Bytes, BytesMut};
    use highwater::{
        protocol::{
            ErrorCode, StrBytes,
            messages::{
                ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
                JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, RequestKind,
                ResponseKind, SyncGroupRequest, TopicName,
                consumer_group_heartbeat_request::TopicPartitions,
                consumer_group_heartbeat_response::Assignment,
                join_group_request::JoinGroupRequestProtocol,
                leave_group_request::MemberIdentity,
                offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
                offset_fetch_request::OffsetFetchRequestGroup,
                sync_group_request::SyncGroupRequestAssignment,
            },
        },
        rpc::Connection,
        runtime::real,
    };
    use tokio::{sync::Barrier, task::JoinSet, time::sleep};

    /// The topic of all groups, and how many partitions it has.
    const TOPIC: &str = "load";
    const PARTITIONS: i32 = 1000;
    /// Of how many the group has commits that a coordinator is to load.
    const FILLED: i32 = 100;
    const PATIENCE: Duration = Duration::from_secs(120);

    fn text(text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    /// A member of a group, or who only commits for one.
    struct Member {
        connection: Arc<Connection>,
        group: String,
        id: StrBytes,
        /// Generation, or member epoch.
        epoch: i32,
        /// What it owns, of the newer protocol.
        owned: Vec<TopicPartitions>,
        /// What its assignor has to say, of the classic protocol: a member that says something new makes all join again.
        userdata: Option<i32>,
    }

    impl Member {
        /// Connected to the coordinator of `group`, which is asked for until there is one.
        async fn new(broker: &str, group: &str) -> Self {
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

        async fn call(&self, request: RequestKind, version: i16) -> ResponseKind {
            call(&self.connection, request, version).await
        }

        fn group(&self) -> highwater::protocol::messages::GroupId {
            text(&self.group).into()
        }

        /// Commits `offset` for the first `partitions`; returns the first error.
        async fn commit(&self, partitions: i32, offset: i64) -> i16 {
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
            let codes =
                response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
            codes.into_iter().find(|code| *code != 0).unwrap_or(0)
        }

        /// One JoinGroup.
        async fn join(&mut self) -> JoinGroupResponse {
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
        async fn sync(&mut self, joined: &JoinGroupResponse) -> bool {
            let members = &joined.members;
            let assignment = |(place, member): (
                usize,
                &highwater::protocol::messages::join_group_response::JoinGroupResponseMember,
            )| {
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
        fn is_to_join(&mut self, what: &str, code: ErrorCode) -> bool {
            match code {
                ErrorCode::None => return false,
                ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
                ErrorCode::UnknownMemberId => self.id = text(""),
                code => panic!("{what} of {}: {code}", self.group),
            }
            true
        }

        /// Joins until a generation stands.
        async fn settle(&mut self) {
            loop {
                let joined = self.join().await;
                if self.sync(&joined).await {
                    return;
                }
            }
        }

        /// Heartbeat of the classic protocol; true: a rebalance is on.
        async fn heartbeat(&mut self) -> bool {
            let request = HeartbeatRequest::default().with_group_id(self.group()).with_member_id(self.id.clone());
            let request = request.with_generation_id(self.epoch);
            let ResponseKind::Heartbeat(response) = self.call(RequestKind::Heartbeat(request), 3).await else {
                unreachable!("an answer is of its request's kind")
            };
            self.is_to_join("Heartbeat", ErrorCode::from_i16(response.error_code))
        }

        /// Heartbeats once, and does what it is told then.
        async fn stay(&mut self, consumer: bool) {
            if consumer {
                self.follow(false).await;
            } else if self.heartbeat().await {
                self.settle().await;
            }
        }

        /// Waits for the others: heartbeats every 2 s until all are at `barrier`. Without this a member that has its
        /// assignment would be waited for, for its whole session, when another one joins behind it.
        async fn stay_until(&mut self, barrier: &Barrier, consumer: bool) {
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
        async fn beat(&mut self, joining: bool, changed: bool) -> Option<Assignment> {
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
            assert_eq!(
                response.error_code, 0,
                "ConsumerGroupHeartbeat of {}: {:?}",
                self.group, response.error_message
            );
            self.epoch = response.member_epoch;
            response.assignment
        }

        /// Heartbeats and, whenever it is given other partitions, says at once that it has them.
        async fn follow(&mut self, joining: bool) {
            let mut given = self.beat(joining, false).await;
            while let Some(assignment) = given {
                let topics = assignment.topic_partitions.into_iter();
                let owned = topics
                    .map(|one| TopicPartitions::default().with_topic_id(one.topic_id).with_partitions(one.partitions));
                self.owned = owned.collect();
                given = self.beat(false, true).await;
            }
        }

        fn owns(&self) -> usize {
            self.owned.iter().map(|topic| topic.partitions.len()).sum()
        }

        /// Joins with the newer protocol, under an id of its own choice.
        async fn enter(&mut self, name: &str) {
            self.id = text(name);
            self.epoch = 0;
            self.follow(true).await;
        }

        async fn leave(&mut self, consumer: bool) {
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

    async fn call(connection: &Connection, request: RequestKind, version: i16) -> ResponseKind {
        connection.call(request, version, PATIENCE).await.expect("an answer").body
    }

    /// Commits a second by `clients`, each of a group of its own and waiting for each answer; counted after a second.
    async fn commits(broker: String, clients: usize, seconds: u64) {
        let done = Arc::new(AtomicU64::new(0));
        for client in 0..clients {
            let (broker, done) = (broker.clone(), done.clone());
            tokio::spawn(async move {
                let member = Member::new(&broker, &format!("commits-{client}")).await;
                for offset in 0.. {
                    match ErrorCode::from_i16(member.commit(1, offset).await) {
                        ErrorCode::None => done.fetch_add(1, Ordering::Relaxed),
                        ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => continue,
                        code => panic!("OffsetCommit: {code}"),
                    };
                }
            });
        }
        sleep(Duration::from_secs(2)).await;
        let (before, begun, used) = (done.load(Ordering::Relaxed), Instant::now(), processor_seconds());
        sleep(Duration::from_secs(seconds)).await;
        let took = begun.elapsed().as_secs_f64();
        println!(
            "{:.0} {:.2}",
            (done.load(Ordering::Relaxed) - before) as f64 / took,
            (processor_seconds() - used) / took
        );
    }

    /// Milliseconds from the last heartbeat of a member that then falls silent to the new assignment of the other, which
    /// asks every 100 ms.
    async fn death(broker: String, consumer: bool) {
        let group = format!("death-{}-{}", if consumer { "consumer" } else { "classic" }, std::process::id());
        let (mut one, mut other) = (Member::new(&broker, &group).await, Member::new(&broker, &group).await);
        let pause = Duration::from_millis(100);
        let begun = if consumer {
            one.enter("one").await;
            other.enter("other").await;
            while one.owns() != 500 || other.owns() != 500 {
                one.follow(false).await;
                other.follow(false).await;
            }
            one.beat(false, false).await;
            let begun = Instant::now();
            while other.owns() != 1000 {
                sleep(pause).await;
                other.follow(false).await;
            }
            begun
        } else {
            one.settle().await;
            let joining = tokio::spawn(async move {
                other.settle().await;
                other
            });
            while !one.heartbeat().await {
                sleep(pause).await;
            }
            one.settle().await;
            let mut other = joining.await.expect("it has joined");
            one.heartbeat().await;
            let begun = Instant::now();
            while !other.heartbeat().await {
                sleep(pause).await;
            }
            other.settle().await;
            begun
        };
        println!("{}", begun.elapsed().as_millis());
    }

    /// `groups` groups of 3 members, a connection each, heartbeat every 3 s for `seconds`; says when all are there.
    async fn heartbeats(broker: String, consumer: bool, groups: usize, seconds: u64) {
        let (ready, mut joining) = (Arc::new(Barrier::new(groups * 3 + 1)), JoinSet::new());
        let at_once = Arc::new(tokio::sync::Semaphore::new(64));
        for group in 0..groups {
            let (broker, ready, at_once) = (broker.clone(), ready.clone(), at_once.clone());
            joining.spawn(async move {
                let turn = at_once.acquire().await.expect("it is never closed");
                let mut members = Vec::new();
                for member in 0..3 {
                    let mut new = Member::new(&broker, &format!("heartbeats-{consumer}-{group}")).await;
                    if consumer {
                        new.enter(&format!("member-{member}")).await;
                    }
                    members.push(new);
                }
                if consumer {
                    while members.iter().map(Member::owns).sum::<usize>() != 1000
                        || members.iter().any(|one| one.owns() < 333)
                    {
                        for member in &mut members {
                            member.follow(false).await;
                        }
                    }
                } else {
                    // All within the initial delay of the rebalance.
                    let mut all = JoinSet::new();
                    for mut member in members.drain(..) {
                        all.spawn(async move {
                            member.settle().await;
                            member
                        });
                    }
                    members = all.join_all().await;
                }
                drop(turn);
                let mut beating = JoinSet::new();
                for (place, mut member) in members.into_iter().enumerate() {
                    let ready = ready.clone();
                    beating.spawn(async move {
                        member.stay_until(&ready, consumer).await;
                        // Spread over the interval.
                        sleep(Duration::from_millis((group * 3 + place) as u64 % 3000)).await;
                        loop {
                            member.stay(consumer).await;
                            sleep(Duration::from_secs(3)).await;
                        }
                    });
                }
                beating.join_all().await;
            });
        }
        ready.wait().await;
        println!("ready");
        let used = processor_seconds();
        sleep(Duration::from_secs(seconds)).await;
        println!("{:.2}", processor_seconds() - used);
    }

    /// Milliseconds that a rebalance of 100 members takes: all join again at once, each with new userdata, until the last
    /// has its partitions; with the newer protocol one joins and all heartbeat without a pause. The median of 5.
    async fn rebalance(broker: String, consumer: bool) {
        let mut members = Vec::new();
        for _ in 0..100 {
            members.push(Member::new(&broker, &format!("rebalance-{consumer}-{}", std::process::id())).await);
        }
        let mut took = Vec::new();
        if consumer {
            let mut last = members.pop().expect("a hundred");
            let total = |members: &[Member]| members.iter().map(Member::owns).sum::<usize>();
            for (place, member) in members.iter_mut().enumerate() {
                member.enter(&format!("member-{place:03}")).await;
            }
            for round in 0..6 {
                while total(&members) != 1000 || members.iter().any(|member| member.owns() < 10) {
                    beat_all(&mut members).await;
                }
                last.owned.clear();
                let begun = Instant::now();
                last.enter("member-last").await;
                while last.owns() != 10 || total(&members) != 990 {
                    beat_all(&mut members).await;
                    last.follow(false).await;
                }
                if round > 0 {
                    took.push(begun.elapsed());
                }
                last.leave(true).await;
            }
        } else {
            for round in 0..6 {
                let begun = Instant::now();
                let mut all = JoinSet::new();
                let barrier = Arc::new(Barrier::new(members.len()));
                for mut member in members.drain(..) {
                    let barrier = barrier.clone();
                    member.userdata = Some(round);
                    all.spawn(async move {
                        barrier.wait().await;
                        member.settle().await;
                        member.stay_until(&barrier, false).await;
                        member
                    });
                }
                members = all.join_all().await;
                took.push(begun.elapsed());
            }
            took.remove(0); // it has the initial delay
        }
        took.sort();
        println!("{:.1}", took[2].as_secs_f64() * 1000.0);
    }

    /// A heartbeat of each, at the same time.
    async fn beat_all(members: &mut Vec<Member>) {
        let mut all = JoinSet::new();
        for mut member in members.drain(..) {
            all.spawn(async move {
                member.follow(false).await;
                member
            });
        }
        *members = all.join_all().await;
    }

    /// Commits of one group: `requests` times the first [`FILLED`] partitions.
    async fn fill(broker: String, requests: i64) {
        let member = Member::new(&broker, "filled").await;
        for offset in 1..=requests {
            while member.commit(FILLED, offset).await != 0 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        println!("{requests}");
    }

    /// Waits until the broker serves, then until the filled group's offsets can be had: they are `offset`.
    /// Milliseconds of both together, and of the second alone.
    async fn fetch(broker: String, offset: i64) {
        let begun = Instant::now();
        let connection = loop {
            if let Ok(open) = Connection::connect(&broker, "load", PATIENCE).await
                && open.negotiate(PATIENCE).await.is_ok()
            {
                break open;
            }
            sleep(Duration::from_millis(2)).await;
        };
        let serves = begun.elapsed();
        loop {
            let group = OffsetFetchRequestGroup::default().with_group_id(text("filled").into()).with_topics(None);
            let request = RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]));
            let ResponseKind::OffsetFetch(response) = call(&connection, request, 8).await else {
                unreachable!("an answer is of its request's kind")
            };
            let group = &response.groups[0];
            if group.error_code == 0 {
                let found = group.topics.iter().flat_map(|topic| &topic.partitions);
                let right = found.filter(|one| one.committed_offset == offset).count();
                assert_eq!(right, FILLED as usize, "of the partitions have offset {offset}");
                break;
            }
            sleep(Duration::from_millis(2)).await;
        }
        println!("{} {}", begun.elapsed().as_millis(), (begun.elapsed() - serves).as_millis());
    }

    /// Seconds of processor time that this process has used.
    fn processor_seconds() -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux says what a process has used");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |place: usize| fields[place].parse::<f64>().expect("a number of ticks");
        (ticks(11) + ticks(12)) / 100.0
    }

    pub fn main() {
        let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("'{text}' is not a number"));
        let run = async move {
            match words[..] {
                [broker, "commits", clients, seconds] => {
                    commits(broker.to_owned(), number(clients) as usize, number(seconds)).await;
                }
                [broker, "death", protocol] => death(broker.to_owned(), protocol == "consumer").await,
                [broker, "heartbeats", protocol, groups, seconds] => {
                    let consumer = protocol == "consumer";
                    heartbeats(broker.to_owned(), consumer, number(groups) as usize, number(seconds)).await;
                }
                [broker, "rebalance", protocol] => rebalance(broker.to_owned(), protocol == "consumer").await,
                [broker, "fill", requests] => fill(broker.to_owned(), number(requests) as i64).await,
                [broker, "fetch", offset] => fetch(broker.to_owned(), number(offset) as i64).await,
                _ => panic!(
                    "commits CLIENTS SECONDS | death PROTOCOL | heartbeats PROTOCOL GROUPS SECONDS | rebalance PROTOCOL | fill REQUESTS | fetch OFFSET"
                ),
            }
        };
        real::block_on(2, run).expect("a runtime of two threads");
    }
}
