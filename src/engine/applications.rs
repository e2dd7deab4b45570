//! The simulated applications: what runs on the hosts of a scenario's clients, and the two of the engine itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    deed::{Order, Replicas},
    recorder::Recorder,
};
use crate::{
    base::TopicPartition,
    check::{AUDIT_NODE, GroupPlan},
    client::{
        Admin, Cluster, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord,
        admin::NewTopic,
        config::ClusterConfig,
        consumer::Seek,
        group::{GroupConfig, GroupConsumer},
    },
    runtime::{clock, sim::World},
    scenario::{
        file::{Reading, Sending, Topic},
        outbox::Outbox,
        resolve::node_id,
    },
    trace::Event,
};

/// Host of the operator who creates topics and carries out orders.
pub const ADMIN: &str = "admin";
/// Longest wait of one poll.
const POLL: Duration = Duration::from_secs(1);
/// Time between two attempts of the audit.
const AGAIN: Duration = Duration::from_millis(100);

/// Sends what is left of what the scenario says, without waiting for answers, and stays alive.
pub async fn produce(name: String, bootstrap: Vec<String>, config: ProducerConfig, sending: Sending, outbox: Outbox) {
    let cluster = Cluster::new(config.cluster.clone(), bootstrap);
    let producer = Producer::new(config, cluster, World::current().tracer(&name));
    let padding = match sending.padding_bytes {
        0 => Vec::new(),
        bytes => vec![("padding".to_owned(), Some(Bytes::from(vec![b'.'; bytes as usize])))],
    };
    let topic: Arc<str> = sending.topic.value.as_str().into();
    let parts = |template: &str| template.split("{n}").map(str::to_owned).collect::<Vec<_>>();
    let (keys, values) = (sending.key.as_deref().map(parts), parts(&sending.value));
    for (n, number) in outbox.left() {
        producer.count_from(number);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(n);
        let text = |parts: &Vec<String>| Bytes::from(parts.join(digits));
        let record = ProducerRecord {
            topic: topic.clone(),
            partition: sending.partition.and_then(|partition| i32::try_from(partition).ok()),
            key: keys.as_ref().map(text),
            value: Some(text(&values)),
            headers: padding.clone(),
            ..ProducerRecord::default()
        };
        // What becomes of the record is in the history.
        drop(producer.send(record).await);
        clock::sleep(sending.every).await;
    }
    producer.flush().await;
    std::future::pending().await
}

/// Reads a topic for as long as the run lasts.
pub async fn consume(
    name: String,
    bootstrap: Vec<String>,
    config: ConsumerConfig,
    reading: Reading,
    partitions: Vec<TopicPartition>,
) {
    let tracer = World::current().tracer(&name);
    let mut consumer = Consumer::new(config.clone(), Cluster::new(config.cluster, bootstrap), tracer.clone());
    let from = if reading.from_end { Seek::End } else { Seek::Beginning };
    partitions.into_iter().for_each(|partition| consumer.assign(partition, from));
    loop {
        if let Err(error) = consumer.poll(POLL).await {
            tracer.milestone(Event::ClientError { error: error.name().into() });
            return std::future::pending().await;
        }
    }
}

/// The final audit: a new consumer reads every partition from begin to end.
pub async fn audit(bootstrap: Vec<String>, partitions: Vec<TopicPartition>) {
    let tracer = World::current().tracer(AUDIT_NODE);
    let config = ConsumerConfig { cluster: operator(AUDIT_NODE), ..ConsumerConfig::default() };
    for partition in partitions {
        let cluster = Cluster::new(config.cluster.clone(), bootstrap.clone());
        let mut consumer = Consumer::new(config.clone(), cluster, tracer.clone());
        let end_offset = loop {
            match consumer.offset_of(&partition, Seek::End).await {
                Ok(end_offset) => break end_offset,
                Err(_) => clock::sleep(config.cluster.retry_backoff).await,
            }
        };
        consumer.assign(partition.clone(), Seek::Beginning);
        while consumer.position(&partition).is_none_or(|position| position < end_offset) {
            if let Err(error) = consumer.poll(POLL).await {
                tracer.milestone(Event::ClientError { error: error.name().into() });
            }
        }
        tracer.milestone(Event::AuditReachedEnd { partition, end_offset });
    }
    std::future::pending().await
}

/// The first half of the audit: what every group has committed, as a member of it would be told.
pub async fn audit_groups(bootstrap: &[String], groups: &BTreeMap<Arc<str>, GroupPlan>) {
    for (group, plan) in groups {
        let given = BTreeMap::from([
            ("group.id".to_owned(), group.to_string()),
            ("enable.auto.commit".to_owned(), "false".to_owned()),
        ]);
        let mut config = GroupConfig::from_properties(&given).expect("these are settings of a group's consumer");
        config.consumer.cluster = operator(AUDIT_NODE);
        let cluster = Cluster::new(config.consumer.cluster.clone(), bootstrap.to_vec());
        let consumer = GroupConsumer::new(config, cluster, World::current().tracer(AUDIT_NODE));
        while consumer.committed(&plan.partitions).await.is_err() {
            clock::sleep(AGAIN).await;
        }
    }
}

/// Creates the topics, then carries out orders.
pub async fn administrate(
    bootstrap: Vec<String>,
    topics: Vec<Topic>,
    orders: Arc<Mutex<Option<mpsc::UnboundedReceiver<Order>>>>,
    recorder: Arc<Recorder>,
) {
    let tracer = World::current().tracer(ADMIN);
    let failed = |error: crate::client::ClientError| {
        tracer.milestone(Event::ClientError { error: error.to_string().into() });
    };
    let admin = Admin::new(Cluster::new(operator(ADMIN), bootstrap));
    for topic in &topics {
        if let Err(error) = admin.create_topic(&described(topic)).await {
            failed(error);
        }
    }
    let taken = orders.lock().expect("no panic while orders are held").take();
    let mut orders = taken.expect("the operator starts once");
    while let Some(order) = orders.recv().await {
        let done = match &order {
            Order::Set(topic, name, value) => admin.set_topic_config(topic, name, Some(value)).await,
            Order::DeleteRecords(partition, before) => admin.delete_records(partition, Some(*before)).await.map(drop),
            Order::Elect(kind, partition) => admin.elect_leader(partition, *kind).await,
            Order::Reassign(moves) => {
                let ids = |Replicas(names): &Replicas| names.iter().map(|name| node_id(name)).collect();
                let wanted = moves.iter().map(|(partition, replicas)| (partition.clone(), replicas.as_ref().map(ids)));
                admin.reassign(&wanted.collect::<Vec<_>>()).await
            }
            Order::DeleteTopic(topic) => admin.delete_topic(topic).await,
            Order::CreateTopic(topic) => {
                let wanted = topics.iter().find(|known| known.name.value == *topic);
                admin.create_topic(&described(wanted.expect("a step names a topic of its scenario"))).await
            }
        };
        if let Err(error) = done {
            failed(error);
        }
        recorder.order_ended(&order);
    }
    std::future::pending().await
}

/// A topic as its scenario describes it.
fn described(topic: &Topic) -> NewTopic {
    let assignment = topic.replicas.iter().map(|replicas| replicas.iter().map(|name| node_id(&name.value)).collect());
    let configs = topic.config.iter().map(|(name, value)| (name.clone(), value.value.clone()));
    NewTopic {
        name: topic.name.value.clone(),
        assignment: assignment.collect(),
        configs: configs.collect(),
        ..NewTopic::default()
    }
}

/// Settings of the engine's own clients: they give up early, so that one silent broker does not stop them.
fn operator(name: &str) -> ClusterConfig {
    let default = ConsumerConfig::default().cluster;
    ClusterConfig {
        client_id: name.to_owned(),
        request_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(1),
        ..default
    }
}
