//! Applications of consumer groups: they differ in when they commit, seen from when they do their work.
//!
//! The work for a record takes a time drawn for it; then its effect is in the world ([`Event::RecordProcessed`]) and a
//! crash does not undo it. A crash takes everything else that the application knows.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use rand::Rng;
use tokio::sync::mpsc;

use crate::{
    base::{TopicPartition, random::Random},
    client::{
        ClientError, Cluster, ConsumerRecord,
        group::{
            GroupConfig, GroupConsumer, RebalanceListener,
            consumer::Reaction,
            offsets::{Committed, Offsets},
        },
    },
    protocol::ErrorCode,
    runtime::{clock, process, random, sim::World, task},
    scenario::groups::{Application, COMMIT_AFTER, Consuming},
    trace::{Event, Tracer},
};

/// Longest wait of one poll.
const POLL: Duration = Duration::from_secs(1);
/// Longest time that a clean end may take.
const CLOSE: Duration = Duration::from_secs(30);
/// Time until an application that ended with an error begins anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads as a member of a group until the process is asked to stop; then leaves the group. After an error it begins
/// anew, as one that is supervised; one whose `group.instance.id` another has taken stays away. `partitions` are those of
/// its topic.
pub async fn consume_in_group(
    name: String,
    bootstrap: Vec<String>,
    config: GroupConfig,
    consuming: Consuming,
    partitions: Vec<TopicPartition>,
) {
    let tracer = World::current().tracer(&name);
    loop {
        match be_a_member(&tracer, bootstrap.clone(), config.clone(), &consuming, &partitions).await {
            Ok(()) => return,
            Err(error) => {
                tracer.milestone(Event::ClientError { error: error.to_string().into() });
                if error.name() == ErrorCode::FencedInstanceId.name() {
                    return std::future::pending().await;
                }
            }
        }
        clock::sleep(AGAIN).await;
    }
}

/// Polls and works until the process is asked to stop.
async fn be_a_member(
    tracer: &Tracer,
    bootstrap: Vec<String>,
    config: GroupConfig,
    consuming: &Consuming,
    partitions: &[TopicPartition],
) -> Result<(), ClientError> {
    let cluster = Cluster::new(config.consumer.cluster.clone(), bootstrap);
    let mut worker = Worker {
        group: config.group_id.clone(),
        processing: consuming.processing.clone(),
        random: random::stream("processing"),
        tracer: tracer.clone(),
    };
    let mut consumer = GroupConsumer::new(config, cluster, tracer.clone());
    if consuming.application == Application::CommitOnRevocation {
        consumer.set_listener(Box::new(CommitBeforeRevocation));
    }
    let hand_off = (consuming.application == Application::HandOff).then(|| worker.clone().in_a_task());
    if consuming.application == Application::Assign {
        consumer.assign(partitions).await?;
    } else {
        consumer.subscribe(&[consuming.topic.value.as_str()]).await?;
    }
    let mut uncommitted = 0;
    let asked_to_stop = process::shutdown_requested();
    tokio::pin!(asked_to_stop);
    loop {
        let polled = tokio::select! {
            biased;
            polled = consumer.poll(POLL) => polled,
            () = &mut asked_to_stop => break,
        };
        let records = match polled {
            Ok(records) => records,
            Err(error) => {
                let _ = consumer.close(CLOSE).await;
                return Err(error);
            }
        };
        match (consuming.application, &hand_off) {
            (Application::HandOff, Some(tasks)) => records.into_iter().for_each(|record| {
                let _ = tasks.send(record);
            }),
            (Application::AtMostOnce, _) => {
                // Without the commit somebody else may do the work.
                if consumer.commit_sync(None).await.is_ok() {
                    worker.work(&records).await;
                }
            }
            (Application::CommitPerRecord, _) => {
                let owed = std::mem::take(&mut uncommitted);
                for record in &records {
                    worker.work(std::slice::from_ref(record)).await;
                    uncommitted += usize::from(consumer.commit_sync(Some(behind(record))).await.is_err());
                }
                // No later record may come to carry what was refused in a rebalance.
                if owed > 0 && consumer.commit_sync(None).await.is_err() {
                    uncommitted += owed;
                }
            }
            (Application::CommitNowAndThen, _) => {
                worker.work(&records).await;
                uncommitted += records.len();
                let is_due = uncommitted >= COMMIT_AFTER || (records.is_empty() && uncommitted > 0);
                // What was refused in a rebalance is tried again after it.
                if is_due && consumer.commit_sync(None).await.is_ok() {
                    uncommitted = 0;
                }
            }
            (Application::AtLeastOnce | Application::Assign, _) => {
                worker.work(&records).await;
                let _ = consumer.commit_sync(None).await;
            }
            (Application::CommitOnRevocation, _) => {
                worker.work(&records).await;
                drop(consumer.commit_async(None));
            }
            (Application::AutoCommit | Application::HandOff, _) => worker.work(&records).await,
        }
    }
    let _ = consumer.close(CLOSE).await;
    Ok(())
}

/// The offset to commit when `record` is done.
fn behind(record: &ConsumerRecord) -> Offsets {
    [(record.partition.clone(), Committed::at(record.offset.next()))].into()
}

/// Waits for a commit of all positions before partitions are given up.
struct CommitBeforeRevocation;

impl RebalanceListener for CommitBeforeRevocation {
    fn assigned<'a>(&'a mut self, _: &'a mut GroupConsumer, _: &'a [TopicPartition]) -> Reaction<'a> {
        Box::pin(async {})
    }

    fn revoked<'a>(&'a mut self, consumer: &'a mut GroupConsumer, _: &'a [TopicPartition]) -> Reaction<'a> {
        Box::pin(async {
            let _ = consumer.commit_sync(None).await;
        })
    }

    fn lost<'a>(&'a mut self, _: &'a mut GroupConsumer, _: &'a [TopicPartition]) -> Reaction<'a> {
        Box::pin(async {})
    }
}

/// Does the work for records, one after the other.
#[derive(Clone)]
struct Worker {
    group: Arc<str>,
    processing: RangeInclusive<Duration>,
    random: Random,
    tracer: Tracer,
}

impl Worker {
    async fn work(&mut self, records: &[ConsumerRecord]) {
        for record in records {
            if *self.processing.end() > Duration::ZERO {
                clock::sleep(self.random.random_range(self.processing.clone())).await;
            }
            let value = record.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            self.tracer.detail(|| Event::RecordProcessed {
                group: self.group.clone(),
                partition: record.partition.clone(),
                offset: record.offset,
                value: value.into(),
            });
        }
    }

    /// Works in a task of its own, on what is sent to it.
    fn in_a_task(mut self) -> mpsc::UnboundedSender<ConsumerRecord> {
        let (tasks, mut waiting) = mpsc::unbounded_channel();
        task::spawn(async move {
            while let Some(record) = waiting.recv().await {
                self.work(&[record]).await;
            }
        });
        tasks
    }
}
