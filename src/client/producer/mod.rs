//! The producer: takes records, batches them by partition, sends each batch to the leader, tries again.
//!
//! One task sends; the decisions are the [`accumulator`]'s. Like Kafka's producer it sends only to brokers it has a
//! connection to, keeps at most `max.in.flight.requests.per.connection` requests under way on each, and asks for fresh
//! metadata whenever an answer says that a leader has moved.

pub mod accumulator;
pub mod partitioner;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};

use self::{
    accumulator::{Accumulator, BatchId, Completion, Identity, Outcome, Outgoing, Pending},
    partitioner::Sticky,
};
use super::{
    ClientError, Cluster, ProducerConfig,
    cluster::{Leader, topic_name},
    config::Acks,
};
use crate::{
    base::{
        LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Time, Timestamp, TopicPartition, mark, random::Random,
    },
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, InitProducerIdRequest, ProduceRequest, ProduceResponse, RequestKind, ResponseKind,
            produce_request::{PartitionProduceData, TopicProduceData},
        },
    },
    rpc::{Answer, Connection, RpcError, Shutdown},
    runtime::{clock, random, task},
    trace::{self, Event, Tracer},
};

/// Versions of Produce that we speak.
const PRODUCE: (i16, i16) = (3, 11);
/// Versions of InitProducerId that we speak.
const INIT_PRODUCER_ID: (i16, i16) = (0, 4);

/// A record to send.
#[derive(Clone, Debug, Default)]
pub struct ProducerRecord {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition; by key or in turns if none is given.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Wall-clock time; now if none is given.
    pub timestamp: Option<Timestamp>,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{error}{}", if *.definite { "" } else { " (it may have been stored)" })]
pub struct SendError {
    /// Kafka's name of the error.
    pub error: &'static str,
    /// The record was certainly not stored.
    pub definite: bool,
}

/// Where a record was stored; the offset is [`Offset::UNKNOWN`] with acks=0.
pub type Stored = (TopicPartition, Offset);

/// The answer that a sent record will have.
pub type Receipt = oneshot::Receiver<Result<Stored, SendError>>;

/// Sends records. Dropping it ends its task; records on their way fail.
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    config: ProducerConfig,
    cluster: Arc<Cluster>,
    tracer: Tracer,
    state: Mutex<State>,
    /// Rung when the sending task has something to look at.
    wake: Notify,
    /// Rung when records were acknowledged or failed.
    progress: Notify,
    shutdown: Shutdown,
}

struct State {
    accumulator: Accumulator,
    receipts: BTreeMap<u64, oneshot::Sender<Result<Stored, SendError>>>,
    sticky: BTreeMap<Arc<str>, Sticky>,
    topics: BTreeSet<Arc<str>>,
    random: Random,
    next_record: u64,
}

impl Producer {
    /// A producer into `cluster`; its history goes to `tracer`.
    pub fn new(config: ProducerConfig, cluster: Arc<Cluster>, tracer: Tracer) -> Self {
        let state = State {
            accumulator: Accumulator::new(config.clone()),
            receipts: BTreeMap::new(),
            sticky: BTreeMap::new(),
            topics: BTreeSet::new(),
            random: random::stream("producer"),
            next_record: 0,
        };
        let shared = Arc::new(Shared {
            config,
            cluster,
            tracer,
            state: Mutex::new(state),
            wake: Notify::new(),
            progress: Notify::new(),
            shutdown: Shutdown::default(),
        });
        let (reports, inbox) = mpsc::unbounded_channel();
        let sender = Sender { shared: shared.clone(), reports, links: BTreeMap::new(), busy: BTreeSet::new() };
        task::spawn(sender.run(inbox));
        Self { shared }
    }

    /// The next record goes by this number in the history; without it they are counted from 0.
    pub fn count_from(&self, number: u64) {
        self.shared.lock().next_record = number;
    }

    /// Gives a record to the producer. Waits, at most `max.block.ms`, for metadata of the topic and for room; the
    /// receipt tells later what became of the record.
    ///
    /// # Errors
    /// The topic is not known in time, there is no room, or the record is too large. Nothing was sent.
    pub async fn send(&self, record: ProducerRecord) -> Result<Receipt, SendError> {
        let number = {
            let mut state = self.shared.lock();
            state.next_record += 1;
            state.next_record - 1
        };
        let text = |bytes: &Bytes| Arc::<str>::from(String::from_utf8_lossy(bytes));
        self.shared.tracer.detail(|| Event::RecordSent {
            record: number,
            topic: record.topic.clone(),
            partition: record.partition,
            key: record.key.as_ref().map(text),
            value: record.value.as_ref().map_or_else(|| "".into(), text),
            acks: self.shared.config.acks.code(),
        });
        let accepted = self.accept(number, record).await;
        if let Err(failed) = &accepted {
            let event =
                Event::RecordFailed { record: number, partition: None, error: failed.error.into(), definite: true };
            self.shared.tracer.detail(|| event);
        }
        accepted
    }

    async fn accept(&self, number: u64, record: ProducerRecord) -> Result<Receipt, SendError> {
        let shared = &self.shared;
        let deadline = clock::now() + shared.config.block_max;
        let late = || SendError { error: ErrorCode::RequestTimedOut.name(), definite: true };
        let partitions = loop {
            let known = shared.cluster.partitions(&record.topic);
            match known.filter(|known| record.partition.is_none_or(|given| known.contains(&given))) {
                Some(known) => break known,
                None if clock::now() >= deadline => return Err(late()),
                None => {
                    let _ = shared.cluster.refresh(std::slice::from_ref(&record.topic)).await;
                    if shared.cluster.partitions(&record.topic).is_none() {
                        clock::sleep(shared.config.cluster.retry_backoff).await;
                    }
                }
            }
        };
        while !shared.lock().accumulator.has_room() {
            let waited = clock::timeout(deadline.since(clock::now()), shared.progress.notified()).await;
            waited.map_err(|_| late())?;
        }
        let mut state = shared.lock();
        let (sender, receipt) = oneshot::channel();
        let partition = record.partition.unwrap_or_else(|| state.choose(&record, &partitions, &shared.config));
        let partition = TopicPartition::new(record.topic.clone(), partition);
        let pending = Pending {
            record: number,
            timestamp: record.timestamp.unwrap_or_else(clock::wall_ms),
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        state.accumulator.append(clock::now(), &partition, pending)?;
        state.topics.insert(record.topic);
        state.receipts.insert(number, sender);
        drop(state);
        shared.wake.notify_one();
        Ok(receipt)
    }

    /// Waits until every record given so far was acknowledged or has failed.
    pub async fn flush(&self) {
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.shared.lock().receipts.is_empty() {
                return;
            }
            progress.await;
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.shutdown.trigger();
    }
}

impl State {
    fn choose(&mut self, record: &ProducerRecord, partitions: &[i32], config: &ProducerConfig) -> i32 {
        let index = match &record.key {
            Some(key) => partitioner::of_key(key, partitions.len()),
            None => {
                let size_bytes = record.value.as_ref().map_or(0, Bytes::len);
                let sticky = self.sticky.entry(record.topic.clone()).or_default();
                sticky.choose(partitions.len(), size_bytes, config.batch_bytes, &mut self.random)
            }
        };
        partitions[index]
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while a producer's records are held")
    }

    /// Tells the application what became of its records.
    fn complete(&self, completions: Vec<Completion>) {
        for Completion { record, partition, result } in completions {
            self.tracer.detail(|| match &result {
                Ok(offset) => Event::RecordAcked { record, partition: partition.clone(), offset: *offset },
                Err(failed) => Event::RecordFailed {
                    record,
                    partition: Some(partition.clone()),
                    error: failed.error.into(),
                    definite: failed.definite,
                },
            });
            let receipt = self.lock().receipts.remove(&record);
            if let Some(receipt) = receipt {
                let _ = receipt.send(result.map(|offset| (partition, offset)));
            }
        }
        self.progress.notify_waiters();
    }
}

/// What happened to something that the sending task started.
enum Report {
    /// A connection was made, or not.
    Connected(NodeId, Result<Arc<Connection>, RpcError>),
    /// A request was answered, or not.
    Answered(NodeId, Vec<(TopicPartition, BatchId)>, Box<Result<Answer, RpcError>>),
    /// Metadata was asked for.
    Refreshed,
    /// An identity was asked for.
    Identified(Result<Identity, ClientError>),
}

/// Things of which one is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Busy {
    Connecting(NodeId),
    Refreshing,
    Identifying,
}

/// The sending task.
struct Sender {
    shared: Arc<Shared>,
    reports: mpsc::UnboundedSender<Report>,
    links: BTreeMap<NodeId, Arc<Connection>>,
    busy: BTreeSet<Busy>,
}

impl Sender {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Report>) {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let next = self.step();
            let event = async {
                tokio::select! {
                    biased;
                    report = inbox.recv() => report,
                    () = self.shared.wake.notified() => None,
                    () = wait_until(next) => None,
                }
            };
            match shutdown.or(event).await {
                None => return,
                Some(None) => {}
                Some(Some(report)) => self.take(report),
            }
            while let Ok(report) = inbox.try_recv() {
                self.take(report);
            }
        }
    }

    /// Does all that can be done now; returns when to look again at the latest.
    fn step(&mut self) -> Option<Time> {
        let now = clock::now();
        let completions = self.shared.lock().accumulator.tick(now);
        if !completions.is_empty() {
            self.shared.complete(completions);
        }
        if self.shared.lock().accumulator.needs_identity() {
            self.identify();
        }
        let age_max = self.shared.config.cluster.metadata_age_max;
        if self.shared.cluster.updated().is_some_and(|updated| now.since(updated) >= age_max) {
            self.refresh();
        }
        let ready = self.shared.lock().accumulator.ready(now);
        let mut by_leader: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        let mut unled = false;
        for partition in ready {
            match self.shared.cluster.leader(&partition) {
                Some(leader) => by_leader.entry(leader.node).or_default().push(partition),
                None => unled = true,
            }
        }
        if unled {
            self.refresh();
        }
        for (node, partitions) in by_leader {
            match self.links.get(&node).filter(|link| !link.is_closed()).cloned() {
                Some(link) => self.send_to(node, &link, &partitions),
                None => self.connect(node),
            }
        }
        let next = self.shared.lock().accumulator.next_time();
        // What is ready and could not be sent waits for a report, not for a time.
        next.map(|next| if next <= now { now + self.shared.config.cluster.retry_backoff } else { next })
    }

    fn send_to(&self, node: NodeId, link: &Arc<Connection>, partitions: &[TopicPartition]) {
        loop {
            let batches = self.shared.lock().accumulator.drain(clock::now(), node, partitions);
            if batches.is_empty() {
                return;
            }
            if batches.iter().any(|batch| batch.again) {
                mark::reach("producer_retried");
            }
            let ids = batches.iter().map(|batch| (batch.partition.clone(), batch.id)).collect();
            let request = RequestKind::Produce(produce_request(&self.shared.config, batches));
            let timeout = self.shared.config.cluster.request_timeout;
            let sent =
                link.version_for(ApiKey::Produce, PRODUCE).and_then(|version| link.send(&request, version, timeout));
            match sent {
                Ok(answer) => {
                    let (reports, address) = (self.reports.clone(), link.address().to_owned());
                    task::spawn(async move {
                        let answer = answer.await.unwrap_or(Err(RpcError::Disconnected { address }));
                        let _ = reports.send(Report::Answered(node, ids, Box::new(answer)));
                    });
                }
                Err(error) => {
                    let never = RpcError::Connect { address: link.address().to_owned(), problem: error.to_string() };
                    let _ = self.reports.send(Report::Answered(node, ids, Box::new(Err(never))));
                    return;
                }
            }
        }
    }

    fn start(&mut self, busy: Busy, work: impl Future<Output = Report> + Send + 'static) {
        if self.busy.insert(busy) {
            let reports = self.reports.clone();
            task::spawn(async move {
                let _ = reports.send(work.await);
            });
        }
    }

    fn connect(&mut self, node: NodeId) {
        let cluster = self.shared.cluster.clone();
        self.start(Busy::Connecting(node), async move { Report::Connected(node, cluster.connection_to(node).await) });
    }

    fn refresh(&mut self) {
        let shared = self.shared.clone();
        self.start(Busy::Refreshing, async move {
            let topics: Vec<Arc<str>> = shared.lock().topics.iter().cloned().collect();
            let begun = clock::now();
            let _ = shared.cluster.refresh(&topics).await;
            clock::sleep_until(begun + shared.config.cluster.retry_backoff).await;
            Report::Refreshed
        });
    }

    fn identify(&mut self) {
        let shared = self.shared.clone();
        self.start(Busy::Identifying, async move {
            let identity = identify(&shared.cluster).await;
            if identity.is_err() {
                clock::sleep(shared.config.cluster.retry_backoff).await;
            }
            Report::Identified(identity)
        });
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Connected(node, made) => {
                self.busy.remove(&Busy::Connecting(node));
                match made {
                    Ok(link) => {
                        self.links.insert(node, link);
                    }
                    Err(_) => self.refresh(),
                }
            }
            Report::Refreshed => {
                self.busy.remove(&Busy::Refreshing);
            }
            Report::Identified(identity) => {
                self.busy.remove(&Busy::Identifying);
                if let Ok(identity) = identity {
                    self.shared.lock().accumulator.set_identity(identity);
                }
            }
            Report::Answered(node, ids, answer) => self.take_answer(node, ids, *answer),
        }
    }

    fn take_answer(&mut self, node: NodeId, ids: Vec<(TopicPartition, BatchId)>, answer: Result<Answer, RpcError>) {
        self.shared.lock().accumulator.request_ended(node);
        let (cause, outcomes) = match answer {
            Ok(answer) => {
                let ResponseKind::Produce(response) = answer.body else {
                    unreachable!("Produce is answered by Produce")
                };
                (answer.cause, self.outcomes(&response))
            }
            Err(RpcError::Connect { .. }) => (None, Outcomes::All(Outcome::NotSent)),
            Err(_) => (None, Outcomes::All(Outcome::NoAnswer)),
        };
        let mut stale = false;
        let mut completions = Vec::new();
        for (partition, id) in ids {
            let outcome = outcomes.of(&partition, self.shared.config.acks);
            stale |= !matches!(outcome, Outcome::Stored(_));
            let mut state = self.shared.lock();
            let State { accumulator, random, .. } = &mut *state;
            completions.extend(accumulator.attempted(clock::now(), &partition, id, outcome, random));
        }
        if !completions.is_empty() {
            trace::caused_by_sync(cause, || self.shared.complete(completions));
        }
        if stale {
            self.refresh();
        }
    }

    fn outcomes(&self, response: &ProduceResponse) -> Outcomes {
        let mut outcomes = BTreeMap::new();
        for topic in &response.responses {
            let name: Arc<str> = Arc::from(&**topic.name);
            for answer in &topic.partition_responses {
                let partition = TopicPartition::new(name.clone(), answer.index);
                let current = &answer.current_leader;
                if current.leader_id.0 >= 0 {
                    let leader = Leader { node: NodeId(current.leader_id.0), epoch: LeaderEpoch(current.leader_epoch) };
                    self.shared.cluster.learn(&partition, leader);
                }
                let outcome = match ErrorCode::from_i16(answer.error_code) {
                    ErrorCode::None => Outcome::Stored(Offset(answer.base_offset)),
                    code => Outcome::Refused(code),
                };
                outcomes.insert(partition, outcome);
            }
        }
        Outcomes::Each(outcomes)
    }
}

/// What became of the batches of one request.
enum Outcomes {
    All(Outcome),
    Each(BTreeMap<TopicPartition, Outcome>),
}

impl Outcomes {
    fn of(&self, partition: &TopicPartition, acks: Acks) -> Outcome {
        match self {
            Self::All(outcome) => outcome.clone(),
            Self::Each(_) if acks == Acks::None => Outcome::Stored(Offset::UNKNOWN),
            // A broker that leaves a partition out says nothing about it.
            Self::Each(outcomes) => outcomes.get(partition).cloned().unwrap_or(Outcome::NoAnswer),
        }
    }
}

async fn wait_until(time: Option<Time>) {
    match time {
        Some(time) => clock::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn identify(cluster: &Cluster) -> Result<Identity, ClientError> {
    let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(i32::MAX);
    let request = request.with_producer_id((-1).into()).with_producer_epoch(-1);
    let answer =
        cluster.call_any(RequestKind::InitProducerId(request), ApiKey::InitProducerId, INIT_PRODUCER_ID).await?;
    let ResponseKind::InitProducerId(response) = answer.body else {
        unreachable!("InitProducerId is answered by InitProducerId")
    };
    ClientError::check(response.error_code, None)?;
    Ok((ProducerId(response.producer_id.0), ProducerEpoch(response.producer_epoch)))
}

fn produce_request(config: &ProducerConfig, batches: Vec<Outgoing>) -> ProduceRequest {
    let mut topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
    for batch in batches {
        let data =
            PartitionProduceData::default().with_index(batch.partition.partition).with_records(Some(batch.bytes));
        topics.entry(batch.partition.topic).or_default().push(data);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TopicProduceData::default().with_name(topic_name(&topic)).with_partition_data(partitions)
    });
    let timeout_ms = i32::try_from(config.cluster.request_timeout.as_millis()).unwrap_or(i32::MAX);
    ProduceRequest::default()
        .with_acks(config.acks.code())
        .with_timeout_ms(timeout_ms)
        .with_topic_data(topics.collect())
}
