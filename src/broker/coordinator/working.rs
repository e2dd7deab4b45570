//! A coordinator that has been loaded: takes requests, appends what was decided, answers what is committed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    Client,
    shard::{News, Shard},
};
use crate::{
    base::{ProducerEpoch, ProducerId, Time, random::Random},
    group::{Answers, Context, GroupRequest, Machine, Waiter, machine::Answer, records::Record},
    protocol::{
        ErrorCode,
        messages::ResponseKind,
        records::{BatchBuilder, Codec, estimated_size_bytes},
    },
    runtime::clock,
    trace::Event,
};

/// Records gathered to about so many bytes are appended though more could come.
const GATHERED_BYTES: usize = 64 << 10;
/// At most so many requests are taken before their records are appended.
const GATHERED_REQUESTS: usize = 1024;
/// From so many bytes on a request is large.
const MUCH_BYTES: usize = 64 << 10;

/// What the machine decides with, and who waits for it.
pub(super) struct Working {
    pub machine: Machine,
    random: Random,
    next_waiter: u64,
    waiting: BTreeMap<Waiter, (Arc<GroupRequest>, oneshot::Sender<ResponseKind>)>,
    /// Until when who waits for a commit alone, where others of its kind wait for members; in order.
    limits: VecDeque<(Time, Waiter)>,
    /// Whose limit has passed, as long as the machine does not know.
    refused: BTreeSet<Waiter>,
    /// When the first of the records gathered was decided.
    gathering_since: Option<Time>,
    gathered_requests: usize,
    /// What was gathered must not wait for more.
    is_due: bool,
    /// When the coordinator's task looks again by itself; it is woken for what is due before.
    pub looks_again: Time,
}

/// Why the machine is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The leadership is over.
    Over,
    /// A part of what was decided is in the log, which has to be read anew.
    WrittenInPart,
}

impl Working {
    /// With what `machine` has loaded; `random` gives ids to members.
    pub fn new(machine: Machine, random: Random) -> Self {
        Self {
            machine,
            random,
            next_waiter: 0,
            waiting: BTreeMap::new(),
            limits: VecDeque::new(),
            refused: BTreeSet::new(),
            gathering_since: None,
            gathered_requests: 0,
            is_due: false,
            looks_again: Time(0),
        }
    }

    /// Everything has been loaded.
    pub fn begin(&mut self, shard: &Shard) {
        let answers = self.with_context("", "", 0, |machine, context| machine.loaded(context));
        self.deliver(shard, answers);
    }

    /// Takes what the metadata says.
    pub fn hear(&mut self, shard: &Shard, news: News) {
        match news {
            News::Topics(topics) => self.machine.set_topics(topics),
            News::Forget(deleted) => {
                let answers = self.machine.forget_topics(&deleted);
                self.deliver(shard, answers);
            }
        }
    }

    /// Whether `request` may be taken before what was gathered is appended. A record that is too large must not take
    /// others' along.
    pub fn has_room_for(&mut self, shard: &Shard, request: &GroupRequest) -> bool {
        self.is_due |= self.machine.has_records() && may_be_too_large(request);
        !self.is_full(shard)
    }

    /// Takes a request. The answer comes when it is decided, and what it rests on committed.
    pub fn take(
        &mut self,
        shard: &Shard,
        request: &Arc<GroupRequest>,
        client: &Client,
    ) -> oneshot::Receiver<ResponseKind> {
        let waiter = Waiter(self.next_waiter);
        self.next_waiter += 1;
        let (answer, answered) = oneshot::channel();
        self.waiting.insert(waiter, (request.clone(), answer));
        let answers = self.with_context(&client.id, &client.host, client.version, |machine, context| {
            machine.handle(request, waiter, context)
        });
        if self.waits_for_a_commit(request) {
            self.limits.push_back((clock::now() + shard.config.settings.commit_timeout, waiter));
        }
        self.deliver(shard, answers);
        self.is_due |= self.machine.has_records() && may_be_too_large(request);
        answered
    }

    /// When something is to be done that nobody asks for.
    pub fn due(&self, shard: &Shard) -> Time {
        let due = self.machine.next_due();
        let due = self.limits.front().map_or(due, |(limit, _)| due.min(*limit));
        match self.gathering_since {
            Some(since) if self.is_full(shard) => due.min(since),
            Some(since) => due.min(since + shard.config.append_linger.unwrap_or_default()),
            None => due,
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The machine is of no use any more.
    pub async fn advance(&mut self, shard: &Shard) -> Result<(), Ended> {
        self.refuse_late();
        let answers = self.with_context("", "", 0, |machine, context| machine.fire(context));
        self.deliver(shard, answers);
        // What is committed may decide more, as a rebalance that goes on.
        loop {
            if self.gathering_since.is_some() && self.due(shard) <= clock::now() {
                self.append(shard).await?;
            }
            let had_records = self.machine.has_records();
            self.commit(shard).await?;
            if had_records || !self.machine.has_records() {
                return Ok(());
            }
        }
    }

    fn is_full(&self, shard: &Shard) -> bool {
        let at_once = self.is_due || shard.config.append_linger == Some(Duration::ZERO);
        self.machine.has_records() && (at_once || self.gathered_requests >= GATHERED_REQUESTS)
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

    fn deliver(&mut self, shard: &Shard, answers: Answers) {
        for event in answers.events {
            match event {
                Event::OffsetsCommitted { .. } => drop(shard.tracer.detail(|| event)),
                event => drop(shard.tracer.milestone(event)),
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
            let partition = &shard.partition.id;
            tracing::warn!(%partition, %code, "records of a group coordinator could not be written");
        }
        if self.machine.has_records() {
            self.gathering_since.get_or_insert_with(clock::now);
            self.gathered_requests += 1;
        }
    }

    /// Appends what was decided. An error: a part of it is in the log.
    async fn append(&mut self, shard: &Shard) -> Result<(), Ended> {
        (self.gathering_since, self.gathered_requests, self.is_due) = (None, 0, false);
        let records = self.machine.take_records();
        let batches = batches(shard, &records).await;
        let mut end = None;
        for batch in batches {
            match shard.partition.append_in(shard.leader_epoch, &batch).await {
                Ok(offset) => end = Some(offset),
                Err(_) if end.is_some() => return Err(Ended::WrittenInPart),
                Err(code) => {
                    let answers = self.with_context("", "", 0, |machine, context| machine.failed(code, context));
                    self.deliver(shard, answers);
                    return Ok(());
                }
            }
        }
        if let Some(end) = end {
            self.machine.written(end);
            shard.end.store(end.0, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Answers what the high watermark has passed.
    async fn commit(&mut self, shard: &Shard) -> Result<(), Ended> {
        let committed = shard.partition.committed_in(shard.leader_epoch).await.map_err(|_| Ended::Over)?;
        let answers = self.with_context("", "", 0, |machine, context| machine.committed(committed, context));
        self.deliver(shard, answers);
        Ok(())
    }
}

/// The records in batches as large as the topic permits. Kafka's coordinators begin sequences at 0 without being
/// producers.
async fn batches(shard: &Shard, records: &[Record]) -> Vec<Bytes> {
    let limit = shard.partition.batch_bytes_max().await;
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

/// Whether what it writes may be too large to be appended: that of a leader that brings the assignments of its group, and
/// of a member that has much to say of itself.
fn may_be_too_large(request: &GroupRequest) -> bool {
    let said: usize = match request {
        GroupRequest::Sync(request) => return !request.assignments.is_empty(),
        GroupRequest::Join(request) => request.protocols.iter().map(|protocol| protocol.metadata.len()).sum(),
        GroupRequest::ConsumerHeartbeat(request) => {
            request.subscribed_topic_names.iter().flatten().map(|name| name.len()).sum()
        }
        _ => 0,
    };
    said >= MUCH_BYTES
}
