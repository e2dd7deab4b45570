//! Highwater's clients against a running cluster of three brokers: Apache Kafka's or Highwater's own.
//!
//! `tests/clients/own-clients` starts the cluster and runs these. The environment says where it is: `BOOTSTRAP` holds
//! its addresses; `CLUSTER` is its folder, with the pid of node i in `node-i/pid`. The topic `keyed` of seven partitions
//! has been written by the Java client: a thousand records, each with its key as value.
#![cfg(not(madsim))]

use std::{collections::BTreeMap, env, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use highwater::{
    base::{NodeId, Offset, TopicPartition},
    client::{
        Admin, ClientError, Cluster, Consumer, ConsumerConfig, ConsumerRecord, Producer, ProducerConfig,
        ProducerRecord,
        admin::NewTopic,
        consumer::Seek,
        producer::{Receipt, partitioner::of_key},
    },
    protocol::ErrorCode,
    runtime::{clock, real},
    trace::Tracer,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn block_on<F: Future>(future: F) -> F::Output {
    real::block_on(2, future).expect("a runtime of two threads")
}

fn given(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run tests/clients/own-clients"))
}

fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn cluster() -> Arc<Cluster> {
    let addresses = given("BOOTSTRAP").split(',').map(str::to_owned).collect();
    Cluster::new(ProducerConfig::default().cluster, addresses)
}

fn producer(given: &[(&str, &str)]) -> Producer {
    let config = ProducerConfig::from_properties(&properties(given)).expect("the properties are right");
    Producer::new(config, cluster(), Tracer::off())
}

fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, replication_factor: 3, ..NewTopic::default() }
}

/// Creates a topic and waits until each leader knows that it leads: a record sent with acks=0 before that is lost.
async fn create(topic: &NewTopic) {
    Admin::new(cluster()).create_topic(topic).await.unwrap_or_else(|error| panic!("{}: {error}", topic.name));
    let consumer = Consumer::new(ConsumerConfig::default(), cluster(), Tracer::off());
    let deadline = clock::now() + PATIENCE;
    for index in 0..topic.partitions {
        let partition = TopicPartition::new(topic.name.as_str(), index);
        while consumer.offset_of(&partition, Seek::End).await != Ok(Offset::ZERO) {
            assert!(clock::now() < deadline, "nobody leads {partition}");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn send(producer: &Producer, record: ProducerRecord) -> Receipt {
    producer.send(record).await.expect("the record can be sent")
}

/// Waits for the answer, which must be good; the place that it names.
async fn stored(receipt: Receipt) -> (TopicPartition, Offset) {
    receipt.await.expect("the producer lives").expect("the record is acknowledged")
}

/// The records of the first `partitions` partitions of `topic`, `count` in all, by partition.
async fn read(topic: &str, partitions: i32, count: usize) -> BTreeMap<i32, Vec<ConsumerRecord>> {
    let mut consumer = Consumer::new(ConsumerConfig::default(), cluster(), Tracer::off());
    (0..partitions).for_each(|index| consumer.assign(TopicPartition::new(topic, index), Seek::Beginning));
    let (mut read, mut left) = (BTreeMap::<i32, Vec<ConsumerRecord>>::new(), count);
    let deadline = clock::now() + PATIENCE;
    while left > 0 {
        assert!(clock::now() < deadline, "{topic}: {left} of {count} records did not come within {PATIENCE:?}");
        for record in consumer.poll(Duration::from_millis(500)).await.expect("the position is in range") {
            read.entry(record.partition.partition).or_default().push(record);
            left = left.saturating_sub(1);
        }
    }
    read
}

fn kafka_code<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> ErrorCode {
    match outcome {
        Err(ClientError::Kafka { code, .. }) => code,
        other => panic!("expected an error of Kafka's, found {other:?}"),
    }
}

#[test]
fn records_come_back_as_they_were_sent() {
    block_on(async {
        for (acks, idempotent) in [("0", "false"), ("1", "false"), ("all", "false"), ("all", "true")] {
            for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
                let topic = format!("back-{acks}-{codec}-{idempotent}");
                create(&new_topic(&topic, 1)).await;
                let settings = [("acks", acks), ("compression.type", codec), ("enable.idempotence", idempotent)];
                let producer = producer(&settings);
                let (mut sent, mut receipts) = (Vec::new(), Vec::new());
                for number in 0..300_i64 {
                    let value =
                        [Some(Bytes::new()), Some(Bytes::from(vec![7; 2000])), None][number as usize % 3].clone();
                    let headers =
                        vec![("origin".to_owned(), Some(Bytes::from_static(b"test"))), ("none".to_owned(), None)];
                    let record = ProducerRecord {
                        topic: topic.as_str().into(),
                        partition: Some(0),
                        key: (number % 2 == 0).then(|| Bytes::from(format!("key {number}"))),
                        value,
                        headers: if number % 5 == 0 { headers } else { vec![] },
                        timestamp: Some(1_700_000_000_000 + number),
                    };
                    receipts.push(send(&producer, record.clone()).await);
                    sent.push(record);
                }
                for (number, receipt) in receipts.into_iter().enumerate() {
                    let (_, offset) = stored(receipt).await;
                    let expected = if acks == "0" { Offset::UNKNOWN } else { Offset(number as i64) };
                    assert_eq!(offset, expected, "{topic}");
                }
                let back = read(&topic, 1, sent.len()).await.remove(&0).expect("partition 0 has records");
                assert_eq!(back.len(), sent.len(), "{topic}");
                for (offset, (sent, back)) in sent.into_iter().zip(back).enumerate() {
                    let found = ProducerRecord {
                        topic: sent.topic.clone(),
                        partition: Some(back.partition.partition),
                        key: back.key,
                        value: back.value,
                        headers: back.headers,
                        timestamp: Some(back.timestamp),
                    };
                    assert_eq!((back.offset, format!("{found:?}")), (Offset(offset as i64), format!("{sent:?}")));
                }
            }
        }
    });
}

#[test]
fn the_admin_changes_topics_and_tells_kafkas_errors() {
    block_on(async {
        let admin = Admin::new(cluster());
        let configs = properties(&[("min.insync.replicas", "2")]);
        let topic = NewTopic { configs, ..new_topic("administered", 2) };
        create(&topic).await;
        assert_eq!(kafka_code(admin.create_topic(&topic).await), ErrorCode::TopicAlreadyExists);
        let too_many = NewTopic { replication_factor: 4, ..new_topic("four-copies", 1) };
        assert_eq!(kafka_code(admin.create_topic(&too_many).await), ErrorCode::InvalidReplicationFactor);
        assert_eq!(kafka_code(admin.delete_topic("no-such-topic").await), ErrorCode::UnknownTopicOrPartition);
        admin.set_topic_config("administered", "retention.ms", Some("60000")).await.expect("the setting is taken");
        let wrong = admin.set_topic_config("administered", "retention.ms", Some("long")).await;
        assert_eq!(kafka_code(wrong), ErrorCode::InvalidConfig);

        let listed = async |name: &str| {
            let topics = admin.describe_topics(None).await.expect("the topics can be listed");
            topics.into_iter().find(|topic| topic.name.as_ref().is_some_and(|found| found.as_str() == name))
        };
        let deadline = clock::now() + PATIENCE;
        while listed("administered").await.is_none_or(|topic| topic.partitions.len() != 2) {
            assert!(clock::now() < deadline, "the topic is not listed");
        }
        admin.delete_topic("administered").await.expect("the topic can be deleted");
        while listed("administered").await.is_some() {
            assert!(clock::now() < deadline, "the topic is still listed");
        }
    });
}

#[test]
fn the_partition_of_a_key_is_the_java_clients() {
    block_on(async {
        let by_java = read("keyed", 7, 1000).await;
        assert!(by_java.len() == 7, "a thousand keys reach seven partitions");
        create(&new_topic("keyed-here", 7)).await;
        let producer = producer(&[]);
        let mut receipts = Vec::new();
        for (partition, record) in
            by_java.iter().flat_map(|(partition, records)| records.iter().map(move |record| (partition, record)))
        {
            let key = record.key.clone().expect("a record with a key");
            assert_eq!(of_key(&key, 7) as i32, *partition, "partition of key {key:?}");
            let record = ProducerRecord { topic: "keyed-here".into(), key: Some(key), ..ProducerRecord::default() };
            receipts.push((*partition, send(&producer, record).await));
        }
        for (partition, receipt) in receipts {
            assert_eq!(stored(receipt).await.0.partition, partition);
        }
    });
}

#[test]
fn records_without_a_key_reach_every_partition_in_batches() {
    block_on(async {
        create(&new_topic("keyless", 3)).await;
        let producer = producer(&[("batch.size", "4096"), ("linger.ms", "20")]);
        let mut receipts = Vec::new();
        for _ in 0..3000 {
            let value = Some(Bytes::from_static(&[1; 100]));
            receipts.push(
                send(&producer, ProducerRecord { topic: "keyless".into(), value, ..ProducerRecord::default() }).await,
            );
        }
        let mut places = Vec::new();
        for receipt in receipts {
            places.push(stored(receipt).await.0.partition);
        }
        let changes = places.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((0..3).all(|partition| places.contains(&partition)), "of 3000 records one partition got none");
        assert!(changes < 150, "the partition changed {changes} times: not in batches");
    });
}

#[test]
fn a_position_out_of_range_is_reset() {
    block_on(async {
        create(&new_topic("reset", 1)).await;
        let producer = producer(&[]);
        let record = ProducerRecord {
            topic: "reset".into(),
            value: Some(Bytes::from_static(b"first")),
            ..ProducerRecord::default()
        };
        stored(send(&producer, record).await).await;
        let partition = TopicPartition::new("reset", 0);
        let poll = async |reset: &str| {
            let config =
                ConsumerConfig::from_properties(&properties(&[("auto.offset.reset", reset)])).expect("it is right");
            let mut consumer = Consumer::new(config, cluster(), Tracer::off());
            consumer.assign(partition.clone(), Seek::Offset(Offset(100)));
            consumer.poll(Duration::from_secs(10)).await
        };
        assert_eq!(poll("earliest").await.expect("the position is reset").len(), 1);
        assert_eq!(kafka_code(poll("none").await), ErrorCode::OffsetOutOfRange);
        let consumer = Consumer::new(ConsumerConfig::default(), cluster(), Tracer::off());
        assert_eq!(consumer.offset_of(&partition, Seek::End).await, Ok(Offset(1)));
    });
}

/// The last to run: node 2 stays down.
#[test]
fn the_death_of_the_leader_loses_and_repeats_nothing() {
    block_on(async {
        let replicas = vec![[2, 3, 1].map(NodeId).to_vec()];
        let configs = properties(&[("min.insync.replicas", "2")]);
        create(&NewTopic { assignment: replicas, configs, ..new_topic("survivor", 1) }).await;
        let producer = producer(&[("request.timeout.ms", "5000")]);
        let (mut values, mut receipts) = (Vec::new(), Vec::new());
        for number in 0..3000 {
            if number == 1000 {
                let pid = fs::read_to_string(format!("{}/node-2/pid", given("CLUSTER"))).expect("node 2 runs");
                let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a process of ours");
            }
            values.push(Bytes::from(format!("{number}")));
            let value = values.last().cloned();
            let record =
                ProducerRecord { topic: "survivor".into(), partition: Some(0), value, ..ProducerRecord::default() };
            receipts.push(send(&producer, record).await);
            clock::sleep(Duration::from_millis(1)).await;
        }
        for (number, receipt) in receipts.into_iter().enumerate() {
            assert_eq!(stored(receipt).await.1, Offset(number as i64));
        }
        let back = read("survivor", 1, values.len()).await.remove(&0).expect("partition 0 has records");
        let back: Vec<Bytes> = back.into_iter().filter_map(|record| record.value).collect();
        assert!(back == values, "what came back differs from what was sent");
        assert!(
            Admin::new(cluster())
                .describe_topics(Some(&["survivor"]))
                .await
                .is_ok_and(|topics| { topics[0].partitions[0].leader_id.0 != 2 })
        );
    });
}
