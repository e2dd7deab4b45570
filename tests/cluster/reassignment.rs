//! A partition moves to other brokers, and its leader with it, under a producer that may neither lose nor repeat a record.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use highwater::{
    base::{NodeId, TopicPartition},
    client::{Admin, ClientError, Producer, ProducerConfig, admin::NewTopic},
    protocol::ErrorCode,
    runtime::task,
    trace::Tracer,
};

use super::{
    Cluster, QUICK,
    kills::{Load, send_until_stopped},
    properties, until,
};
use crate::block_on_threads;

/// Records that must be acknowledged between one move and the next.
const PROGRESS: u64 = 200;

#[test]
fn a_partition_that_moves_around_loses_nothing_and_leaves_no_log_behind() {
    block_on_threads(async {
        let mut cluster = Cluster::start(3, QUICK).await;
        let orders = TopicPartition::new("orders", 0);
        let nodes = |ids: &[i32]| ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>();
        let admin = Admin::new(cluster.client());
        let topic = NewTopic { name: "orders".to_owned(), assignment: vec![nodes(&[1, 2])], ..NewTopic::default() };
        admin.create_topic(&topic).await.expect("the topic is created");
        cluster.wait_for_full_isr("orders").await;
        let given = properties(&[("request.timeout.ms", "5000"), ("retry.backoff.max.ms", "200")]);
        let config = ProducerConfig::from_properties(&given).expect("the properties are right");
        let load = Arc::new(Load::default());
        let producer = Producer::new(config, cluster.client(), Tracer::off());
        let sending = task::spawn(send_until_stopped(producer, load.clone(), 1));
        for to in [[2, 3], [3, 1], [1, 2], [2, 1]] {
            let before = load.acknowledged.load(Ordering::Relaxed);
            let what = format!("{PROGRESS} records are acknowledged before the move to {to:?}");
            until(&what, async || load.acknowledged.load(Ordering::Relaxed) >= before + PROGRESS).await;
            admin.reassign(&[(orders.clone(), Some(nodes(&to)))]).await.expect("the reassignment begins");
            until(&format!("orders-0 is on {to:?}"), async || {
                let described = cluster.describe("orders").await;
                let replicas = described[0].replica_nodes.iter().map(|id| id.0).collect::<Vec<_>>();
                replicas == to && described[0].isr_nodes.len() == to.len() && to.contains(&described[0].leader_id.0)
            })
            .await;
            let elsewhere = 6 - to[0] - to[1];
            let log = cluster.node(elsewhere).log_dir().join("orders-0");
            until(&format!("{} is gone", log.display()), async || !log.exists()).await;
        }
        let refused = admin.reassign(&[(orders.clone(), None)]).await;
        let code = ErrorCode::NoReassignmentInProgress;
        assert!(matches!(&refused, Err(ClientError::Kafka { code: found, .. }) if *found == code), "{refused:?}");
        load.stop.store(true, Ordering::Relaxed);
        let acknowledged = sending.await.expect("the producer ends");
        let read = cluster.read_all("orders", 1).await;
        assert_eq!(acknowledged[0].len(), read[&0].len(), "records acknowledged and read");
        let differs = acknowledged[0].iter().zip(&read[&0]).find(|(sent, found)| sent != found);
        assert_eq!(differs, None, "the first record that is not as it was acknowledged");
    });
}

#[test]
fn a_move_to_a_broker_that_is_down_waits_and_can_be_cancelled() {
    block_on_threads(async {
        let mut cluster = Cluster::start(3, QUICK).await;
        let orders = TopicPartition::new("orders", 0);
        let admin = Admin::new(cluster.client());
        let topic =
            NewTopic { name: "orders".to_owned(), assignment: vec![vec![NodeId(1), NodeId(2)]], ..NewTopic::default() };
        admin.create_topic(&topic).await.expect("the topic is created");
        cluster.wait_for_full_isr("orders").await;
        cluster.node(3).kill();
        admin.reassign(&[(orders.clone(), Some(vec![NodeId(1), NodeId(3)]))]).await.expect("the reassignment begins");
        let replicas = async |expected: &[i32]| {
            let described = cluster.describe("orders").await;
            described[0].replica_nodes.iter().map(|id| id.0).eq(expected.iter().copied())
        };
        until("all three hold orders-0", async || replicas(&[1, 3, 2]).await).await;
        highwater::runtime::clock::sleep(Duration::from_millis(500)).await;
        assert!(replicas(&[1, 3, 2]).await, "it waits for node 3");
        admin.reassign(&[(orders.clone(), None)]).await.expect("the reassignment is cancelled");
        until("orders-0 stays where it was", async || replicas(&[1, 2]).await).await;
        cluster.node(3).start();
        cluster.wait_for_full_isr("orders").await;
    });
}
