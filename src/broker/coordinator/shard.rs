//! One coordinator at work: takes orders, appends what was decided, answers what is committed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Asked, Order, load};
use crate::{
    base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Switches, Time, mark, random::Random},
    broker::{config::GroupConfig, partition::Partition},
    group::{
        Answers, Context, GroupRequest, Machine, Waiter, consumer::topics::Topics, machine::Answer, records::Record,
    },
    protocol::{
        ErrorCode,
        messages::ResponseKind,
        records::{BatchBuilder, Codec, estimated_size_bytes},
    },
    runtime::{clock, random},
    trace::{self, Event, Tracer},
};

/// Records gathered to about so many bytes are appended though more could come.
const GATHERED_BYTES: usize = 64 << 10;
/// At most so many orders are taken before their records are appended.
const GATHERED_ORDERS: usize = 1024;

/// What a coordinator is started with.
pub struct Shard {
    pub partition: Arc<Partition>,
    pub leader_epoch: LeaderEpoch,
    pub config: GroupConfig,
    pub switches: Switches,
    pub tracer: Tracer,
    /// Set once requests may come.
    pub loaded: Arc<AtomicBool>,
    /// The end of what it has read and written.
    pub end: Arc<AtomicI64>,
    /// Up to where it reads: a planted bug.
    pub until: Option<Offset>,
    /// The topics when it is started.
    pub topics: Arc<Topics>,
}

/// A coordinator that has been loaded.
struct Working<'a> {
    shard: &'a Shard,
    machine: Machine,
    random: Random,
    next_waiter: u64,
    waiting: BTreeMap<Waiter, (Arc<GroupRequest>, oneshot::Sender<ResponseKind>)>,
    /// Until when who waits for a commit alone, where others of its kind wait for members; in order.
    limits: VecDeque<(Time, Waiter)>,
    /// Whose limit has passed, as long as the machine does not know.
    refused: BTreeSet<Waiter>,
    /// When the first of the records gathered was decided.
    gathering_since: Option<Time>,
    gathered_orders: usize,
    /// What was gathered must not wait for more.
    is_due: bool,
}

/// The leadership is over.
struct Over;

impl Shard {
    /// Loads, and coordinates until `orders` ends or the leadership does.
    pub async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let changed = Arc::new(Notify::new());
        self.partition.observe(changed.clone()).await;
        // A batch that was written in part makes the state another than its records tell: it is read anew.
        let mut topics = self.topics.clone();
        for attempt in 1.. {
            let Some(mut working) = self.begin(&mut orders, attempt, topics).await else { return };
            let again = working.work(&mut orders, &changed).await;
            self.tracer.milestone(Event::CoordinatorUnloaded {
                partition: self.partition.id.clone(),
                leader_epoch: self.leader_epoch,
            });
            if !again {
                return;
            }
            self.loaded.store(false, Ordering::SeqCst);
            topics = working.machine.shard().topics().clone();
        }
    }

    async fn begin(
        &self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        attempt: u32,
        topics: Arc<Topics>,
    ) -> Option<Working<'_>> {
        let mut machine = Machine::new(self.config.settings.clone(), self.switches);
        machine.set_topics(topics);
        let buffer = self.config.load_buffer_bytes;
        let loading = load::load(&self.partition, self.leader_epoch, &mut machine, buffer, self.switches, self.until);
        let loaded = match loading.await {
            Ok(loaded) => loaded,
            Err(code) => {
                tracing::warn!(partition = %self.partition.id, %code, "a group coordinator could not be loaded");
                return None;
            }
        };
        if orders.is_closed() {
            return None;
        }
        self.end.store(loaded.end_offset.0, Ordering::SeqCst);
        if machine.shard().groups().next().is_some() {
            mark::reach("coordinator_moved");
        }
        self.tracer.milestone(Event::CoordinatorLoaded {
            partition: self.partition.id.clone(),
            leader_epoch: self.leader_epoch,
            end_offset: loaded.end_offset,
            records: loaded.records,
            groups: (machine.shard().groups().count() + machine.shard().consumers().count()) as u64,
            offsets: machine.shard().offsets().count() as u64,
            members: machine.shard().members().collect(),
        });
        // Ids of members must not come again.
        let name = format!("group-coordinator-{}-{}-{attempt}", self.partition.id, self.leader_epoch);
        Some(Working {
            shard: self,
            machine,
            random: random::stream(&name),
            next_waiter: 0,
            waiting: BTreeMap::new(),
            limits: VecDeque::new(),
            refused: BTreeSet::new(),
            gathering_since: None,
            gathered_orders: 0,
            is_due: false,
        })
    }
}

impl Working<'_> {
    /// Works until the end; `true`: the records have to be read anew.
    async fn work(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>, changed: &Notify) -> bool {
        let answers = self.with_context("", "", 0, |machine, context| machine.loaded(context));
        self.deliver(answers);
        if self.commit().await.is_err() {
            return false;
        }
        self.shard.loaded.store(true, Ordering::SeqCst);
        let mut held: Option<Order> = None;
        loop {
            self.refuse_late();
            let mut next = match held.take() {
                Some(order) => Some(order),
                None => {
                    let due = self.due();
                    tokio::select! {
                        biased;
                        order = orders.recv() => match order {
                            Some(order) => Some(order),
                            None => return false,
                        },
                        () = changed.notified() => None,
                        () = clock::sleep_until(due) => None,
                    }
                }
            };
            while let Some(order) = next.take() {
                // A record that is too large must not take others' along.
                let goes_alone = order.may_be_too_large();
                if goes_alone && self.machine.has_records() {
                    held = Some(order);
                    self.is_due = true;
                    break;
                }
                self.take(order);
                self.is_due |= goes_alone && self.machine.has_records();
                if self.is_full() {
                    break;
                }
                next = orders.try_recv().ok();
            }
            let answers = self.with_context("", "", 0, |machine, context| machine.fire(context));
            self.deliver(answers);
            // What is committed may decide more, as a rebalance that goes on.
            loop {
                if self.should_append() && self.append().await.is_err() {
                    return true;
                }
                let had_records = self.machine.has_records();
                if self.commit().await.is_err() {
                    return false;
                }
                if had_records || !self.machine.has_records() {
                    break;
                }
            }
        }
    }

    fn due(&self) -> Time {
        let due = self.machine.next_due();
        let due = self.limits.front().map_or(due, |(limit, _)| due.min(*limit));
        match (self.gathering_since, self.shard.config.append_linger) {
            (Some(since), Some(linger)) => due.min(since + linger),
            (Some(since), None) => since,
            (None, _) => due,
        }
    }

    fn is_full(&self) -> bool {
        let at_once = self.is_due || self.shard.config.append_linger == Some(Duration::ZERO);
        self.machine.has_records() && (at_once || self.gathered_orders >= GATHERED_ORDERS)
    }

    fn should_append(&self) -> bool {
        let Some(since) = self.gathering_since else { return false };
        let lingered = match self.shard.config.append_linger {
            None => true,
            Some(linger) => clock::now() >= since + linger,
        };
        lingered || self.is_full()
    }

    fn take(&mut self, order: Order) {
        let answers = match order {
            Order::SetTopics(topics) => return self.machine.set_topics(topics),
            Order::ForgetTopics(deleted) => self.machine.forget_topics(&deleted),
            Order::Request(Asked { request, client, answer, cause }) => {
                let waiter = Waiter(self.next_waiter);
                self.next_waiter += 1;
                self.waiting.insert(waiter, (request.clone(), answer));
                let answers = self.with_context(&client.id, &client.host, client.version, |machine, context| {
                    machine.handle(&request, waiter, context)
                });
                if self.waits_for_a_commit(&request) {
                    self.limits.push_back((clock::now() + self.shard.config.settings.commit_timeout, waiter));
                }
                return trace::caused_by_sync(cause, || self.deliver(answers));
            }
        };
        self.deliver(answers);
    }

    /// Whether it is of a member of the classic protocol in a group of the consumer protocol, where nobody waits for others.
    fn waits_for_a_commit(&self, request: &GroupRequest) -> bool {
        let group = match request {
            GroupRequest::Join(request) => &request.group_id,
            GroupRequest::Sync(request) => &request.group_id,
            _ => return false,
        };
        self.machine.shard().is_of_consumer_protocol(group)
    }

    /// Refuses who has waited for a commit for too long: this may be a leader that others have replaced already.
    fn refuse_late(&mut self) {
        while let Some((limit, waiter)) = self.limits.front().copied() {
            if self.waiting.contains_key(&waiter) && limit > clock::now() {
                return;
            }
            self.limits.pop_front();
            if let Some((request, sender)) = self.waiting.remove(&waiter) {
                self.refused.insert(waiter);
                let _ = sender.send(request.refuse(request.code_of_failed_write(ErrorCode::RequestTimedOut)));
            }
        }
    }

    fn with_context(
        &mut self,
        client_id: &str,
        client_host: &str,
        version: i16,
        run: impl FnOnce(&mut Machine, &mut Context<'_>) -> Answers,
    ) -> Answers {
        let (now, wall_ms) = (clock::now(), clock::wall_ms());
        let mut context = Context { now, wall_ms, random: &mut self.random, client_id, client_host, version };
        run(&mut self.machine, &mut context)
    }

    fn deliver(&mut self, answers: Answers) {
        for event in answers.events {
            match event {
                Event::OffsetsCommitted { .. } => drop(self.shard.tracer.detail(|| event)),
                event => drop(self.shard.tracer.milestone(event)),
            }
        }
        for (waiter, answer) in answers.answers {
            if self.refused.remove(&waiter) {
                continue;
            }
            let (request, sender) = self.waiting.remove(&waiter).expect("a request is answered once");
            let response = match answer {
                Answer::Response(response) => *response,
                Answer::Refused(code) => request.refuse(code),
                Answer::NotWritten(code) => request.refuse(request.code_of_failed_write(code)),
            };
            // The client may have given up.
            let _ = sender.send(response);
        }
        for code in answers.lost {
            let partition = &self.shard.partition.id;
            tracing::warn!(%partition, %code, "records of a group coordinator could not be written");
        }
        if self.machine.has_records() {
            self.gathering_since.get_or_insert_with(clock::now);
            self.gathered_orders += 1;
        }
    }

    /// Appends what was decided. An error: a part of it is in the log.
    async fn append(&mut self) -> Result<(), Over> {
        (self.gathering_since, self.gathered_orders, self.is_due) = (None, 0, false);
        let records = self.machine.take_records();
        let batches = self.batches(&records).await;
        let mut end = None;
        for batch in batches {
            match self.shard.partition.append_in(self.shard.leader_epoch, &batch).await {
                Ok(offset) => end = Some(offset),
                Err(_) if end.is_some() => return Err(Over),
                Err(code) => {
                    let answers = self.with_context("", "", 0, |machine, context| machine.failed(code, context));
                    self.deliver(answers);
                    return Ok(());
                }
            }
        }
        if let Some(end) = end {
            self.machine.written(end);
            self.shard.end.store(end.0, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The records in batches as large as the topic permits. Kafka's coordinators begin sequences at 0 without being
    /// producers.
    async fn batches(&self, records: &[Record]) -> Vec<Bytes> {
        let limit = self.shard.partition.batch_bytes_max().await;
        let now = clock::wall_ms();
        let begin = || BatchBuilder::new(Codec::None).producer(ProducerId::NONE, ProducerEpoch::NONE, 0);
        let (mut batches, mut building) = (Vec::new(), begin());
        for record in records {
            let (key, value) = (record.key(), record.value());
            let size = estimated_size_bytes(Some(&key), value.as_deref(), &[]);
            if building.count() > 0 && building.size_bytes() + size > limit.min(GATHERED_BYTES) {
                batches.push(std::mem::replace(&mut building, begin()).build());
            }
            building.push(now, Some(&key), value.as_deref(), &[]);
        }
        if building.count() > 0 {
            batches.push(building.build());
        }
        batches
    }

    /// Answers what the high watermark has passed.
    async fn commit(&mut self) -> Result<(), Over> {
        let committed = self.shard.partition.committed_in(self.shard.leader_epoch).await;
        let committed: Offset = match committed {
            Ok(committed) => committed,
            Err(_) => return Err(Over),
        };
        let answers = self.with_context("", "", 0, |machine, context| machine.committed(committed, context));
        self.deliver(answers);
        Ok(())
    }
}
