//! SIGKILL to the leader, again and again, under a producer that may neither lose nor repeat a record.
//!
//! The leader is at times the process that hosts the controller too: then nobody can be elected before that process is
//! back, and everything has to go on once it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use highwater::{
    base::Offset,
    client::{Producer, ProducerConfig, ProducerRecord},
    runtime::{clock, task},
    trace::Tracer,
};

use super::{CONTROLLER, Cluster, QUICK, properties, until};
use crate::block_on_threads;

const PARTITIONS: i32 = 3;
const KILLS: usize = 10;
/// Records that must be acknowledged between one kill and the next.
const PROGRESS: u64 = 200;

/// What a producer under load reports.
#[derive(Default)]
pub(super) struct Load {
    pub(super) stop: AtomicBool,
    pub(super) acknowledged: AtomicU64,
}

/// Sends records to every partition in turn until it is stopped; returns the offset that each was acknowledged at.
pub(super) async fn send_until_stopped(
    producer: Producer,
    load: Arc<Load>,
    partitions: i32,
) -> Vec<Vec<(Offset, String)>> {
    let mut receipts = Vec::new();
    for number in 0.. {
        if load.stop.load(Ordering::Relaxed) {
            break;
        }
        for partition in 0..partitions {
            let value = format!("{partition}-{number}");
            let record = ProducerRecord {
                topic: "orders".into(),
                partition: Some(partition),
                value: Some(Bytes::from(value.clone())),
                ..ProducerRecord::default()
            };
            let receipt = producer.send(record).await.expect("there is room for the record");
            let load = load.clone();
            let answered = task::spawn(async move {
                let answer = receipt.await.expect("the producer lives");
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
                answer
            });
            receipts.push((partition, value, answered));
        }
        clock::sleep(Duration::from_millis(2)).await;
    }
    let mut acknowledged = vec![Vec::new(); partitions as usize];
    for (partition, value, answered) in receipts {
        let answer = answered.await.expect("the task ends");
        let (_, offset) = answer.unwrap_or_else(|error| panic!("record {value} failed: {error}"));
        acknowledged[partition as usize].push((offset, value));
    }
    acknowledged
}

#[test]
fn ten_kills_of_the_leader_lose_nothing_and_repeat_nothing() {
    block_on_threads(async {
        let mut cluster = Cluster::start(3, QUICK).await;
        cluster.create_topic("orders", PARTITIONS, &[("min.insync.replicas", "2")]).await;
        let given = properties(&[("request.timeout.ms", "5000"), ("retry.backoff.max.ms", "200")]);
        let config = ProducerConfig::from_properties(&given).expect("the properties are right");
        assert!(config.idempotent, "idempotence is Kafka's default");
        let load = Arc::new(Load::default());
        let producer = Producer::new(config, cluster.client(), Tracer::off());
        let sending = task::spawn(send_until_stopped(producer, load.clone(), PARTITIONS));
        for kill in 0..KILLS {
            let before = load.acknowledged.load(Ordering::Relaxed);
            let what = format!("{PROGRESS} records are acknowledged before kill {kill}");
            until(&what, async || load.acknowledged.load(Ordering::Relaxed) >= before + PROGRESS).await;
            let mut partition = kill % PARTITIONS as usize;
            let mut leader = cluster.leader("orders", partition).await;
            // The first is the process that hosts the controller: of three partitions it leads one.
            while kill == 0 && leader != CONTROLLER {
                partition += 1;
                assert!(partition < PARTITIONS as usize, "node {CONTROLLER} leads no partition of a new topic");
                leader = cluster.leader("orders", partition).await;
            }
            cluster.node(leader).kill();
            if leader != CONTROLLER {
                let what = format!("another broker than {leader} leads orders-{partition}");
                until(
                    &what,
                    async || !matches!(cluster.leader("orders", partition).await, id if id == leader || id < 0),
                )
                .await;
            }
            cluster.node(leader).start();
            cluster.wait_for_full_isr("orders").await;
        }
        load.stop.store(true, Ordering::Relaxed);
        let acknowledged = sending.await.expect("the producer ends");
        let read = cluster.read_all("orders", PARTITIONS).await;
        for (acknowledged, (partition, read)) in acknowledged.iter().zip(&read) {
            assert_eq!(acknowledged.len(), read.len(), "orders-{partition}: records acknowledged and read");
            let differs = acknowledged.iter().zip(read).find(|(sent, found)| sent != found);
            assert_eq!(differs, None, "orders-{partition}: the first record that is not as it was acknowledged");
        }
    });
}
