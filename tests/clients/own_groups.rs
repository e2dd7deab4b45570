//! Highwater's group consumer against a running cluster of three brokers: Apache Kafka's or Highwater's own.
//!
//! `tests/clients/own-groups` starts the cluster and runs these. The environment says where it is: `BOOTSTRAP` holds its
//! addresses, `CLUSTER` is its folder, with the pid of node i in `node-i/pid`; `PROTOCOLS` are the ways to rebalance that
//! it knows.
#![cfg(not(madsim))]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use highwater::{
    base::{NodeId, Offset, TopicPartition},
    client::{
        Admin, ClientError, Cluster, Consumer, ConsumerConfig, GroupConfig, GroupConsumer, Producer, ProducerConfig,
        ProducerRecord,
        admin::NewTopic,
        consumer::Seek,
        group::{Committed, RebalanceListener, consumer::Reaction},
        groups::Groups,
    },
    protocol::ErrorCode,
    runtime::{clock, real},
    trace::Tracer,
};

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Those of these ways for a group to rebalance that the cluster knows; each is an assignor, or `consumer`.
fn protocols<const N: usize>(all: [&'static str; N]) -> impl Iterator<Item = &'static str> {
    let known = env::var("PROTOCOLS").unwrap_or("consumer".to_owned());
    all.into_iter().filter(move |protocol| *protocol != "consumer" || known.contains("consumer"))
}

fn block_on<F: Future>(future: F) -> F::Output {
    real::block_on(2, future).expect("a runtime of two threads")
}

/// A name that no other run of these tests has used.
fn own(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn cluster() -> Arc<Cluster> {
    let given = env::var("BOOTSTRAP").expect("BOOTSTRAP is not set; run tests/clients/own-groups");
    Cluster::new(ProducerConfig::default().cluster, given.split(',').map(str::to_owned).collect())
}

/// A member of `group` that reads from the beginning.
fn member(group: &str, protocol: &str, more: &[(&str, &str)]) -> GroupConsumer {
    let mut properties: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| properties.insert(name.to_owned(), value.to_owned());
    set("group.id", group);
    set("auto.offset.reset", "earliest");
    if protocol == "consumer" {
        set("group.protocol", "consumer");
    } else {
        set("partition.assignment.strategy", protocol);
        set("session.timeout.ms", "6000");
        set("heartbeat.interval.ms", "500");
    }
    more.iter().for_each(|(name, value)| drop(set(name, value)));
    let config = GroupConfig::from_properties(&properties).expect("the properties are right");
    GroupConsumer::new(config, cluster(), Tracer::off())
}

/// Creates a topic and writes records `0..count` into it, in turns to its partitions.
async fn topic(name: &str, partitions: i32, count: usize) {
    let topic = NewTopic { name: name.to_owned(), partitions, replication_factor: 3, ..NewTopic::default() };
    Admin::new(cluster()).create_topic(&topic).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let consumer = Consumer::new(ConsumerConfig::default(), cluster(), Tracer::off());
    let deadline = clock::now() + PATIENCE;
    for index in 0..partitions {
        while consumer.offset_of(&TopicPartition::new(name, index), Seek::End).await != Ok(Offset::ZERO) {
            assert!(clock::now() < deadline, "nobody leads {name}-{index}");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }
    write(name, partitions, 0..count).await;
}

async fn write(topic: &str, partitions: i32, numbers: std::ops::Range<usize>) {
    let producer = Producer::new(ProducerConfig::default(), cluster(), Tracer::off());
    let mut receipts = Vec::new();
    for number in numbers {
        let record = ProducerRecord {
            topic: topic.into(),
            partition: Some(i32::try_from(number).expect("a small number") % partitions),
            value: Some(Bytes::from(number.to_string())),
            ..ProducerRecord::default()
        };
        receipts.push(producer.send(record).await.expect("the record can be sent"));
    }
    for receipt in receipts {
        receipt.await.expect("the producer lives").expect("the record is acknowledged");
    }
}

/// Polls all members in turns until `is_done`, and adds what they read.
async fn poll_until(
    members: &mut [GroupConsumer],
    read: &mut Vec<usize>,
    is_done: impl Fn(&[GroupConsumer], &[usize]) -> bool,
) {
    let deadline = clock::now() + PATIENCE;
    while !is_done(members, read) {
        let had: Vec<_> = members.iter().map(GroupConsumer::assignment).collect();
        assert!(clock::now() < deadline, "not done within {PATIENCE:?}: {had:?}, {} records", read.len());
        for at in 0..members.len() {
            for record in members[at].poll(POLL).await.expect("a member reads") {
                let value = record.value.expect("each record has a value");
                read.push(std::str::from_utf8(&value).expect("a number").parse().expect("a number"));
            }
            one_owner_each(members);
        }
    }
}

fn one_owner_each(members: &[GroupConsumer]) {
    let mut owned: Vec<TopicPartition> = members.iter().flat_map(GroupConsumer::assignment).collect();
    let count = owned.len();
    owned.sort();
    owned.dedup();
    assert_eq!(owned.len(), count, "a partition has two owners");
}

fn is_shared(members: &[GroupConsumer], partitions: usize) -> bool {
    let sizes: Vec<usize> = members.iter().map(|member| member.assignment().len()).collect();
    sizes.iter().sum::<usize>() == partitions && sizes.iter().all(|size| *size >= partitions / members.len())
}

fn distinct(read: &[usize]) -> usize {
    read.iter().collect::<BTreeSet<_>>().len()
}

fn kafka_code<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> ErrorCode {
    match outcome {
        Err(ClientError::Kafka { code, .. }) => code,
        other => panic!("expected an error of Kafka's, found {other:?}"),
    }
}

#[test]
fn members_join_and_leave_and_every_record_is_read_once_in_each_protocol() {
    block_on(async {
        for protocol in protocols(["range", "roundrobin", "sticky", "cooperative-sticky", "consumer"]) {
            let (name, group) = (own(&format!("shared-{protocol}")), own(&format!("group-{protocol}")));
            topic(&name, 6, 600).await;
            let (mut members, mut read) = (Vec::new(), Vec::new());
            for count in 1..=3 {
                let mut one = member(&group, protocol, &[]);
                one.subscribe(&[&name]).await.expect("there is a group");
                members.push(one);
                poll_until(&mut members, &mut read, |members, _| is_shared(members, 6)).await;
                assert_eq!(members.len(), count);
            }
            poll_until(&mut members, &mut read, |_, read| distinct(read) == 600).await;
            members.remove(0).close(PATIENCE).await.expect("it commits and leaves");
            write(&name, 6, 600..1200).await;
            poll_until(&mut members, &mut read, |members, read| is_shared(members, 6) && distinct(read) == 1200).await;
            assert_eq!(read.len(), 1200, "{protocol}: everybody commits before giving up, so nothing comes twice");
            for member in members {
                member.close(PATIENCE).await.expect("it commits and leaves");
            }
            let all: Vec<_> = (0..6).map(|index| TopicPartition::new(name.as_str(), index)).collect();
            let committed = member(&group, protocol, &[]).committed(&all).await.expect("the group has commits");
            let offsets: Vec<i64> = committed.values().map(|committed| committed.offset.0).collect();
            assert_eq!(offsets, [200; 6], "{protocol}");
        }
    });
}

#[test]
fn a_member_that_dies_is_replaced_and_a_static_one_comes_back_to_what_it_had() {
    block_on(async {
        for protocol in protocols(["range", "cooperative-sticky", "consumer"]) {
            let (name, group) = (own(&format!("dying-{protocol}")), own(&format!("dying-group-{protocol}")));
            topic(&name, 4, 40).await;
            let mut read = Vec::new();
            let start = async |instance: &str| {
                let mut one = member(&group, protocol, &[("group.instance.id", instance)]);
                one.subscribe(&[&name]).await.expect("there is a group");
                one
            };
            let mut members = vec![start("a").await, start("b").await];
            poll_until(&mut members, &mut read, |members, read| is_shared(members, 4) && read.len() == 40).await;
            let (first, second) = (members[0].assignment(), members[1].assignment());
            members.remove(0).close(PATIENCE).await.expect("it commits");
            members.insert(0, start("a").await);
            poll_until(&mut members, &mut read, |members, _| is_shared(members, 4)).await;
            assert_eq!((members[0].assignment(), members[1].assignment()), (first, second), "{protocol}");
            assert_eq!(read.len(), 40, "{protocol}: it goes on at its commit");

            let mut other = member(&group, protocol, &[]);
            other.subscribe(&[&name]).await.expect("there is a group");
            members.push(other);
            poll_until(&mut members, &mut read, |members, _| is_shared(members, 4)).await;
            let dead = members.pop().expect("three members");
            let had = dead.assignment();
            assert!(!had.is_empty(), "{protocol}");
            drop(dead);
            if protocol != "consumer" {
                // Its session ends after six seconds; the consumer protocol's is the coordinator's setting.
                poll_until(&mut members, &mut read, |members, _| is_shared(members, 4)).await;
            }
        }
    });
}

#[test]
fn who_does_not_poll_loses_its_partitions_and_its_commits_are_refused() {
    block_on(async {
        for protocol in protocols(["range", "cooperative-sticky", "consumer"]) {
            let (name, group) = (own(&format!("silent-{protocol}")), own(&format!("silent-group-{protocol}")));
            topic(&name, 2, 20).await;
            let more = [("max.poll.interval.ms", "6000"), ("enable.auto.commit", "false")];
            let mut silent = member(&group, protocol, &more);
            let told = Arc::new(Mutex::new(Vec::new()));
            silent.set_listener(Box::new(Notes(told.clone())));
            silent.subscribe(&[&name]).await.expect("there is a group");
            let mut silent = vec![silent];
            let mut read = Vec::new();
            poll_until(&mut silent, &mut read, |_, read| read.len() == 20).await;
            let identity = silent[0].identity();
            let mut eager = member(&group, protocol, &more);
            eager.subscribe(&[&name]).await.expect("there is a group");
            let mut eager = vec![eager];
            let mut again = Vec::new();
            poll_until(&mut eager, &mut again, |members, read| is_shared(members, 2) && read.len() == 20).await;
            assert_eq!(again.len(), 20, "{protocol}: nothing was committed");
            assert_ne!(silent[0].identity(), identity, "{protocol}: it has left");
            let refused = silent[0].commit_sync(None).await;
            let code = kafka_code(refused);
            let fenced = [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration, ErrorCode::StaleMemberEpoch];
            assert!(fenced.contains(&code), "{protocol}: {code}");
            // Both poll from now on.
            silent.append(&mut eager);
            poll_until(&mut silent, &mut read, |members, _| is_shared(members, 2)).await;
            let told = told.lock().expect("no panic").clone();
            assert_eq!(told[..2], ["assigned 2", "lost 2"], "{protocol}: {told:?}");
        }
    });
}

/// Writes down what it is told.
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, news: &str, partitions: &[TopicPartition]) {
        self.0.lock().expect("no panic").push(format!("{news} {}", partitions.len()));
    }
}

impl RebalanceListener for Notes {
    fn assigned<'a>(&'a mut self, _: &'a mut GroupConsumer, partitions: &'a [TopicPartition]) -> Reaction<'a> {
        self.note("assigned", partitions);
        Box::pin(async {})
    }

    fn revoked<'a>(&'a mut self, consumer: &'a mut GroupConsumer, partitions: &'a [TopicPartition]) -> Reaction<'a> {
        self.note("revoked", partitions);
        Box::pin(async { consumer.commit_sync(None).await.expect("still its own to commit") })
    }

    fn lost<'a>(&'a mut self, _: &'a mut GroupConsumer, partitions: &'a [TopicPartition]) -> Reaction<'a> {
        self.note("lost", partitions);
        Box::pin(async {})
    }
}

#[test]
fn listeners_commit_what_they_give_up() {
    block_on(async {
        for protocol in protocols(["range", "cooperative-sticky", "consumer"]) {
            let expected = match protocol {
                "range" => &["assigned 4", "revoked 4", "assigned 2", "revoked 2"][..],
                _ => &["assigned 4", "revoked 2", "revoked 2"],
            };
            let (name, group) = (own(&format!("told-{protocol}")), own(&format!("told-group-{protocol}")));
            topic(&name, 4, 40).await;
            let told = Arc::new(Mutex::new(Vec::new()));
            let start = async |listener: Option<Notes>| {
                let mut one = member(&group, protocol, &[("enable.auto.commit", "false")]);
                if let Some(listener) = listener {
                    one.set_listener(Box::new(listener));
                }
                one.subscribe(&[&name]).await.expect("there is a group");
                one
            };
            let mut members = vec![start(Some(Notes(told.clone()))).await];
            let mut read = Vec::new();
            poll_until(&mut members, &mut read, |_, read| read.len() == 40).await;
            members.push(start(None).await);
            poll_until(&mut members, &mut read, |members, _| is_shared(members, 2 * 2)).await;
            for _ in 0..5 {
                poll_until(&mut members, &mut read, |_, _| true).await;
                clock::sleep(POLL).await;
            }
            assert_eq!(read.len(), 40, "{protocol}: the new member goes on at the commit");
            members.remove(0).close(PATIENCE).await.expect("it leaves");
            let told = told.lock().expect("no panic").clone();
            // A member hears of every round, also of those in which it gets nothing.
            let told: Vec<_> = told.iter().filter(|line| *line != "assigned 0").collect();
            assert_eq!(told, expected, "{protocol}");
        }
    });
}

#[test]
fn a_pattern_finds_topics_that_come_later() {
    block_on(async {
        for protocol in protocols(["range", "consumer"]) {
            let group = own(&format!("pattern-group-{protocol}"));
            let name = own(&format!("pattern-{protocol}"));
            topic(&format!("{name}-1"), 2, 20).await;
            topic(&format!("no-{name}-1"), 2, 20).await;
            let mut one = member(&group, protocol, &[("metadata.max.age.ms", "1000")]);
            let pattern = format!("{name}-.*").parse().expect("a regular expression");
            one.subscribe_pattern(pattern).expect("there is a group");
            let (mut members, mut read) = (vec![one], Vec::new());
            poll_until(&mut members, &mut read, |_, read| read.len() == 20).await;
            topic(&format!("{name}-2"), 3, 30).await;
            poll_until(&mut members, &mut read, |members, read| is_shared(members, 5) && read.len() == 50).await;
        }
    });
}

#[test]
fn positions_seeks_pauses_and_commits_by_hand() {
    block_on(async {
        let name = own("by-hand");
        topic(&name, 2, 200).await;
        let partitions = [TopicPartition::new(name.as_str(), 0), TopicPartition::new(name.as_str(), 1)];
        let [first, second] = &partitions;
        let mut one = member(&own("by-hand-group"), "range", &[("enable.auto.commit", "false")]);
        assert!(matches!(one.position(first).await, Err(ClientError::Misused(_))), "it has no partition yet");
        one.assign(&partitions).await.expect("it is not subscribed");
        assert_eq!(one.position(first).await, Ok(Offset::ZERO));
        one.pause(second).expect("it has the partition");
        assert_eq!(one.paused(), [second.clone()]);
        let mut records = Vec::new();
        while records.len() < 100 {
            records.extend(one.poll(PATIENCE).await.expect("it reads"));
        }
        assert!(records.iter().all(|record| record.partition == *first), "the other partition is paused");
        assert_eq!(one.position(first).await, Ok(Offset(100)));
        one.seek(first, Seek::Offset(Offset(98))).expect("it has the partition");
        assert_eq!(one.poll(PATIENCE).await.expect("it reads").len(), 2);
        let offsets =
            BTreeMap::from([(first.clone(), Committed { metadata: "a note".to_owned(), ..Committed::at(Offset(42)) })]);
        one.commit_sync(Some(offsets.clone())).await.expect("nobody else is in the group");
        assert_eq!(one.committed(&partitions).await, Ok(offsets));
        one.commit_async(None).await.expect("it is answered").expect("it is committed");
        let committed = one.committed(&partitions).await.expect("there are commits");
        assert_eq!(committed.values().map(|one| one.offset.0).collect::<Vec<_>>(), [100, 0]);
        one.resume(second).expect("it has the partition");
        one.seek(second, Seek::End).expect("it has the partition");
        assert_eq!(one.position(second).await, Ok(Offset(100)));

        let mut none = member(&own("fresh-group"), "range", &[("auto.offset.reset", "none")]);
        none.assign(&partitions).await.expect("it is not subscribed");
        assert_eq!(kafka_code(none.poll(PATIENCE).await), ErrorCode::OffsetOutOfRange);
        let mut without = member("", "range", &[]);
        assert_eq!(kafka_code(without.subscribe(&[&name]).await), ErrorCode::InvalidGroupId);
        assert_eq!(kafka_code(without.commit_sync(None).await), ErrorCode::InvalidGroupId);
        without.assign(&partitions).await.expect("it is not subscribed");
        assert!(!without.poll(PATIENCE).await.expect("it reads").is_empty());
    });
}

#[test]
fn what_kafkas_consumer_refuses_is_refused() {
    block_on(async {
        let name = own("exclusive");
        topic(&name, 2, 10).await;
        let partitions = [TopicPartition::new(name.as_str(), 0), TopicPartition::new(name.as_str(), 1)];
        let misused = |outcome| matches!(outcome, Err(ClientError::Misused(_)));
        let mut one = member(&own("exclusive-group"), "range", &[]);
        assert!(misused(one.poll(PATIENCE).await.map(drop)), "there is nothing to read");
        assert!(misused(one.subscribe(&["t", " "]).await), "a topic has a name");
        one.subscribe(&[&name]).await.expect("there is a group");
        assert!(misused(one.assign(&partitions).await));
        assert!(misused(one.subscribe_pattern("t".parse().expect("a regular expression"))));
        while one.assignment().len() < 2 {
            one.poll(PATIENCE).await.expect("it reads");
        }
        one.subscribe(&[]).await.expect("it unsubscribes");
        assert_eq!((one.assignment(), one.identity().epoch), (vec![], -1));
        one.assign(&partitions[..1]).await.expect("it is not subscribed any more");
        assert!(misused(one.subscribe(&[&name]).await));
        one.seek(&partitions[0], Seek::Offset(Offset(3))).expect("it has the partition");
        let other = &partitions[1];
        assert!(misused(one.seek(other, Seek::End)), "it does not have the other partition");
        assert!(misused(one.pause(other)) && misused(one.resume(other)));
        one.assign(&partitions).await.expect("it is assigned");
        assert_eq!(one.position(&partitions[0]).await, Ok(Offset(3)), "what it had goes on where it was");
        one.assign(&[]).await.expect("it unsubscribes");
        assert!(misused(one.poll(PATIENCE).await.map(drop)));
    });
}

#[test]
fn positions_are_committed_at_polls_and_a_crash_repeats_no_more_than_one_interval() {
    block_on(async {
        let (name, group) = (own("auto"), own("auto-group"));
        topic(&name, 1, 10).await;
        let start = async || {
            let mut one =
                member(&group, "range", &[("auto.commit.interval.ms", "200"), ("session.timeout.ms", "6000")]);
            one.subscribe(&[&name]).await.expect("there is a group");
            vec![one]
        };
        let (mut first, mut read) = (start().await, Vec::new());
        poll_until(&mut first, &mut read, |_, read| read.len() == 10).await;
        let deadline = clock::now() + Duration::from_secs(1);
        while clock::now() < deadline {
            first[0].poll(POLL).await.expect("a member polls");
        }
        drop(first);
        write(&name, 1, 10..15).await;
        let (mut second, mut again) = (start().await, Vec::new());
        poll_until(&mut second, &mut again, |_, read| !read.is_empty()).await;
        assert_eq!(again, [10, 11, 12, 13, 14]);
    });
}

/// The last to run: node 2 stays down. It leads the topic, and coordinates one of the groups.
#[test]
fn the_death_of_coordinator_and_leader_loses_nothing_and_commits_survive() {
    block_on(async {
        let name = own("survivor");
        let replicas = vec![[2, 3, 1].map(NodeId).to_vec(); 2];
        let wanted = NewTopic { name: name.clone(), assignment: replicas, ..NewTopic::default() };
        Admin::new(cluster()).create_topic(&wanted).await.expect("the topic is new");
        let mut groups = Vec::new();
        for protocol in protocols(["range", "cooperative-sticky", "consumer"]) {
            for number in 0.. {
                let group = own(&format!("survivor-{protocol}-{number}"));
                let start = async || {
                    let mut one = member(&group, protocol, &[("auto.commit.interval.ms", "100")]);
                    one.subscribe(&[&name]).await.expect("there is a group");
                    one
                };
                let (mut members, mut read) = (vec![start().await, start().await], Vec::new());
                poll_until(&mut members, &mut read, |members, _| is_shared(members, 2)).await;
                let coordinator = Groups::new(cluster()).describe(&group).await.expect("it has members").coordinator.1;
                if coordinator == NodeId(2) || number == 20 {
                    assert_eq!(coordinator, NodeId(2), "none of twenty groups is coordinated by node 2");
                    groups.push((protocol, members, read));
                    break;
                }
            }
        }
        write(&name, 2, 0..1000).await;
        for (_, members, read) in &mut groups {
            poll_until(members, read, |_, read| distinct(read) == 1000).await;
        }
        let folder = env::var("CLUSTER").expect("CLUSTER is not set; run tests/clients/own-groups");
        let pid = fs::read_to_string(format!("{folder}/node-2/pid")).expect("node 2 runs");
        let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a process of ours");
        let deadline = clock::now() + PATIENCE;
        let admin = Admin::new(cluster());
        while admin
            .describe_topics(Some(&[&name]))
            .await
            .is_ok_and(|topics| topics[0].partitions.iter().any(|partition| matches!(partition.leader_id.0, -1 | 2)))
        {
            assert!(clock::now() < deadline, "node 2 still leads");
            clock::sleep(POLL).await;
        }
        write(&name, 2, 1000..2000).await;
        for (protocol, members, read) in &mut groups {
            poll_until(members, read, |_, read| distinct(read) == 2000).await;
            // What comes twice was read after the last commit before a rebalance.
            assert!(read.len() < 3000, "{protocol}: {} records for 2000", read.len());
            for member in members.iter_mut() {
                member.commit_sync(None).await.unwrap_or_else(|error| panic!("{protocol}: {error}"));
            }
            let all = [0, 1].map(|index| TopicPartition::new(name.as_str(), index));
            let committed = members[0].committed(&all).await.expect("there are commits");
            assert_eq!(committed.values().map(|one| one.offset.0).collect::<Vec<_>>(), [1000, 1000], "{protocol}");
        }
    });
}
