//! SIGTERM: a node hands over its leaderships, marks its log directory as closed, and ends.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use highwater::{
    client::{Producer, ProducerConfig, ProducerRecord},
    runtime::clock,
    trace::Tracer,
};

use super::{CONTROLLER, Cluster, QUICK, properties, until};
use crate::block_on_threads;

fn record(value: &str) -> ProducerRecord {
    let value = Some(Bytes::from(value.to_owned()));
    ProducerRecord { topic: "orders".into(), partition: Some(0), value, ..ProducerRecord::default() }
}

#[test]
fn sigterm_moves_leadership_and_leaves_a_log_that_needs_no_recovery() {
    block_on_threads(async {
        // No time-out may be what moves the leadership here.
        let patient = [("broker.session.timeout.ms", "60000"), ("broker.heartbeat.interval.ms", "200")];
        let mut cluster = Cluster::start(3, &patient).await;
        cluster.create_topic("orders", 1, &[("min.insync.replicas", "2")]).await;
        // The process that stops is not the controller's.
        while cluster.leader("orders", 0).await == CONTROLLER {
            assert!(cluster.node(CONTROLLER).terminate().await.success());
            cluster.node(CONTROLLER).start();
            cluster.wait_for_full_isr("orders").await;
        }
        let config = ProducerConfig::from_properties(&properties(&[("linger.ms", "0")])).expect("they are right");
        let producer = Arc::new(Producer::new(config, cluster.client(), Tracer::off()));
        let mut receipts = Vec::new();
        let mut values = Vec::new();
        let leader = cluster.leader("orders", 0).await;
        for number in 0..600 {
            if number == 200 {
                let begun = clock::now();
                let status = cluster.node(leader).terminate().await;
                assert_eq!(status.code(), Some(0), "node {leader} ended with {status}");
                let took = clock::now().since(begun);
                assert!(took < Duration::from_secs(5), "the shutdown took {took:?}");
                let marker = cluster.node(leader).log_dir().join(".kafka_cleanshutdown");
                assert!(marker.exists(), "node {leader} left no {}", marker.display());
                let next = cluster.leader("orders", 0).await;
                assert!(next > 0 && next != leader, "{next} leads after {leader} has left");
            }
            if number == 400 {
                cluster.node(leader).start();
            }
            let value = format!("{number}");
            receipts.push(producer.send(record(&value)).await.expect("there is room for the record"));
            values.push(value);
            clock::sleep(Duration::from_millis(1)).await;
        }
        for (receipt, value) in receipts.into_iter().zip(&values) {
            let answer = receipt.await.expect("the producer lives");
            assert!(answer.is_ok(), "record {value}: {answer:?}");
        }
        cluster.wait_for_full_isr("orders").await;
        let read: Vec<String> =
            cluster.read_all("orders", 1).await[&0].iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(read, values);
        let log = cluster.node(leader).log();
        assert!(log.contains("loaded 1 logs after a clean stop"), "node {leader} did not come back from a clean stop");
    });
}

#[test]
fn a_node_alone_stops_at_once_and_keeps_what_it_has() {
    block_on_threads(async {
        let mut cluster = Cluster::start(1, QUICK).await;
        cluster.create_topic("orders", 1, &[]).await;
        let producer = Producer::new(ProducerConfig::default(), cluster.client(), Tracer::off());
        let receipt = producer.send(record("kept")).await.expect("there is room for the record");
        receipt.await.expect("the producer lives").expect("the record is stored");
        let begun = clock::now();
        assert_eq!(cluster.node(1).terminate().await.code(), Some(0));
        assert!(clock::now().since(begun) < Duration::from_secs(3), "it took {:?}", clock::now().since(begun));
        cluster.node(1).start();
        until("the topic is back", async || cluster.leader("orders", 0).await == 1).await;
        let read = cluster.read_all("orders", 1).await;
        assert_eq!(read[&0].iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["kept"]);
    });
}
