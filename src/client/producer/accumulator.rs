//! The producer's decisions, pure: which records share a batch, what is sent when, what is tried again, what has failed.
//!
//! The life of a batch:
//!
//! | state | leaves it when | to |
//! |---|---|---|
//! | waiting | full, or older than `linger.ms`, and its leader's connection has room | on the wire |
//! | waiting | older than `delivery.timeout.ms` | failed |
//! | on the wire | answered without error | acknowledged |
//! | on the wire | answered with an error that may pass, or not answered | waiting, in the order of sequences |
//! | on the wire | answered with another error, or older than `delivery.timeout.ms` | failed |
//!
//! An idempotent producer gives a batch its sequence number when it is first sent. While an earlier batch is to be tried
//! again, a later one that was refused waits for it (KIP-98). When a batch with a sequence has failed, or a leader does
//! not know the sequence, the producer goes on with the next epoch once nothing of the partition is on the wire
//! (KIP-360); a batch that may have been stored is then not sent again: it has failed, and nobody knows how.
//!
//! A failure is *definite* when no attempt can have stored the batch.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rand::Rng;

use super::{
    super::config::{Acks, ProducerConfig},
    SendError,
};
use crate::{
    base::{NodeId, Offset, ProducerEpoch, ProducerId, Time, Timestamp, TopicPartition, random::Random},
    protocol::{
        ErrorCode,
        records::{BatchBuilder, HEADER_BYTES, estimated_size_bytes},
    },
};

/// Identity of an idempotent producer.
pub type Identity = (ProducerId, ProducerEpoch);

/// Number of a batch, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(u64);

/// A record that waits to be sent.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The producer's number for it.
    pub record: u64,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Pending {
    fn size_bytes(&self) -> usize {
        estimated_size_bytes(self.key.as_deref(), self.value.as_deref(), &self.headers)
    }
}

/// A batch to put on the wire.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its number.
    pub id: BatchId,
    /// Where it goes.
    pub partition: TopicPartition,
    /// The encoded batch.
    pub bytes: Bytes,
    /// Whether it was sent before.
    pub again: bool,
}

/// What became of an attempt to send a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands from this offset on.
    Stored(Offset),
    /// The broker refused it.
    Refused(ErrorCode),
    /// There was no answer: it may have been stored.
    NoAnswer,
    /// It never left.
    NotSent,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The producer's number for it.
    pub record: u64,
    /// Where it went.
    pub partition: TopicPartition,
    /// Its offset ([`Offset::UNKNOWN`] with acks=0), or why it failed.
    pub result: Result<Offset, SendError>,
}

#[derive(Debug)]
struct Batch {
    id: BatchId,
    created: Time,
    records: Vec<Pending>,
    size_bytes: usize,
    /// Takes no more records.
    closed: bool,
    attempts: u32,
    not_before: Time,
    sequence: Option<i32>,
    maybe_stored: bool,
    last_error: &'static str,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Batch>,
    on_wire: BTreeMap<BatchId, Batch>,
    identity: Option<Identity>,
    next_sequence: i32,
    /// Its sequences cannot go on: the next epoch is needed.
    broken: bool,
}

impl Queue {
    fn has_sequences(&self) -> bool {
        self.batches().any(|batch| batch.sequence.is_some())
    }

    fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.on_wire.values().chain(&self.waiting)
    }

    /// Whether a batch with an earlier sequence is still to be answered.
    fn waits_for_earlier(&self, sequence: i32) -> bool {
        // Sequences go from 2^31-1 to 0, so "earlier" is a distance.
        let earlier = |other: i32| other != sequence && sequence.wrapping_sub(other) & i32::MAX < i32::MAX / 2;
        self.batches().filter_map(|batch| batch.sequence).any(earlier)
    }
}

/// Records on their way.
pub struct Accumulator {
    config: ProducerConfig,
    queues: BTreeMap<TopicPartition, Queue>,
    identity: Option<Identity>,
    requests: BTreeMap<NodeId, usize>,
    buffered_bytes: usize,
    last_id: u64,
}

impl Accumulator {
    /// Nothing on its way.
    pub fn new(config: ProducerConfig) -> Self {
        Self {
            config,
            queues: BTreeMap::new(),
            identity: None,
            requests: BTreeMap::new(),
            buffered_bytes: 0,
            last_id: 0,
        }
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.queues.values().all(|queue| queue.waiting.is_empty() && queue.on_wire.is_empty())
    }

    /// Whether there is room for another record.
    pub fn has_room(&self) -> bool {
        self.buffered_bytes < self.config.buffer_bytes
    }

    /// Whether an identity has to be asked for before anything can be sent.
    pub fn needs_identity(&self) -> bool {
        self.config.idempotent && self.identity.is_none() && !self.is_empty()
    }

    /// Takes the identity that a broker gave.
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    /// Takes a record.
    ///
    /// # Errors
    /// It is larger than a request may be.
    pub fn append(&mut self, now: Time, partition: &TopicPartition, record: Pending) -> Result<(), SendError> {
        let size_bytes = record.size_bytes();
        if HEADER_BYTES + size_bytes > self.config.request_bytes_max {
            return Err(SendError { error: ErrorCode::MessageTooLarge.name(), definite: true });
        }
        self.buffered_bytes += size_bytes;
        let batch_bytes = self.config.batch_bytes;
        let queue = self.queues.entry(partition.clone()).or_default();
        if let Some(open) = queue.waiting.back_mut().filter(|batch| !batch.closed) {
            if open.size_bytes + size_bytes <= batch_bytes {
                open.size_bytes += size_bytes;
                open.records.push(record);
                return Ok(());
            }
            open.closed = true;
        }
        self.last_id += 1;
        queue.waiting.push_back(Batch {
            id: BatchId(self.last_id),
            created: now,
            records: vec![record],
            size_bytes: HEADER_BYTES + size_bytes,
            closed: HEADER_BYTES + size_bytes >= batch_bytes,
            attempts: 0,
            not_before: now,
            sequence: None,
            maybe_stored: false,
            last_error: ErrorCode::RequestTimedOut.name(),
        });
        Ok(())
    }

    /// The partitions with a batch that is ready to be sent.
    pub fn ready(&self, now: Time) -> Vec<TopicPartition> {
        let ready =
            |(partition, queue): (&TopicPartition, &Queue)| self.may_send(now, queue).then(|| partition.clone());
        self.queues.iter().filter_map(ready).collect()
    }

    fn may_send(&self, now: Time, queue: &Queue) -> bool {
        let Some(front) = queue.waiting.front() else { return false };
        if self.send_time(queue, front) > now || queue.broken {
            return false;
        }
        let Some(identity) = self.identity.filter(|_| self.config.idempotent) else {
            // With one request at a time nothing may overtake a batch that is tried again.
            return !self.config.idempotent && (self.config.in_flight_max > 1 || queue.on_wire.is_empty());
        };
        match front.sequence {
            Some(sequence) => !queue.waits_for_earlier(sequence),
            None => {
                let same_identity = queue.identity == Some(identity) || !queue.has_sequences();
                same_identity && queue.on_wire.len() < self.config.in_flight_max
            }
        }
    }

    fn send_time(&self, queue: &Queue, front: &Batch) -> Time {
        let full = front.closed || queue.waiting.len() > 1 || front.attempts > 0 || !self.has_room();
        if full { front.not_before } else { front.not_before.max(front.created + self.config.linger) }
    }

    /// Takes the batches of one request to `node` out of `partitions`, which it leads; none where the connection has no
    /// room.
    pub fn drain(&mut self, now: Time, node: NodeId, partitions: &[TopicPartition]) -> Vec<Outgoing> {
        let mut batches = Vec::new();
        let under_way = self.requests.get(&node).copied().unwrap_or(0);
        if under_way >= self.config.in_flight_max {
            return batches;
        }
        let mut request_bytes = 0;
        for partition in partitions {
            let Some(queue) = self.queues.get(partition).filter(|queue| self.may_send(now, queue)) else { continue };
            let size_bytes = queue.waiting.front().map_or(0, |batch| batch.size_bytes);
            if request_bytes > 0 && request_bytes + size_bytes > self.config.request_bytes_max {
                continue;
            }
            request_bytes += size_bytes;
            batches.push(self.take(partition));
        }
        if !batches.is_empty() {
            self.requests.insert(node, under_way + 1);
        }
        batches
    }

    /// Moves the first waiting batch of `partition` to the wire.
    fn take(&mut self, partition: &TopicPartition) -> Outgoing {
        let queue = self.queues.get_mut(partition).expect("the partition has a batch");
        let mut batch = queue.waiting.pop_front().expect("the partition has a batch");
        batch.closed = true;
        let again = batch.attempts > 0;
        batch.attempts += 1;
        let mut builder = BatchBuilder::new(self.config.codec);
        if let Some(identity) = self.identity.filter(|_| self.config.idempotent) {
            if batch.sequence.is_none() {
                if queue.identity != Some(identity) {
                    (queue.identity, queue.next_sequence) = (Some(identity), 0);
                }
                batch.sequence = Some(queue.next_sequence);
                queue.next_sequence = queue.next_sequence.wrapping_add(batch.records.len() as i32) & i32::MAX;
            }
            let (id, epoch) = queue.identity.expect("a batch with a sequence has an identity");
            builder = builder.producer(id, epoch, batch.sequence.expect("it was just given"));
        }
        for record in &batch.records {
            builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        }
        let outgoing = Outgoing { id: batch.id, partition: partition.clone(), bytes: builder.build(), again };
        queue.on_wire.insert(batch.id, batch);
        outgoing
    }

    /// A request to `node` has been answered or has failed.
    pub fn request_ended(&mut self, node: NodeId) {
        let under_way = self.requests.get_mut(&node).expect("a request that ended was sent");
        *under_way -= 1;
    }

    /// Takes what became of an attempt. Unknown batches have failed before.
    pub fn attempted(
        &mut self,
        now: Time,
        partition: &TopicPartition,
        id: BatchId,
        outcome: Outcome,
        random: &mut Random,
    ) -> Vec<Completion> {
        let queue = self.queues.get_mut(partition).expect("a batch that was sent has a queue");
        let Some(mut batch) = queue.on_wire.remove(&id) else { return Vec::new() };
        let code = match outcome {
            Outcome::Stored(base) => return self.complete(partition, batch, Ok(base)),
            // The leader has it already, but no longer knows where.
            Outcome::Refused(ErrorCode::DuplicateSequenceNumber) => {
                return self.complete(partition, batch, Ok(Offset::UNKNOWN));
            }
            Outcome::Refused(code) => code,
            Outcome::NoAnswer | Outcome::NotSent => ErrorCode::NetworkException,
        };
        batch.maybe_stored |= outcome == Outcome::NoAnswer || may_be_stored(code, self.config.acks);
        batch.last_error = code.name();
        let lost_sequence = matches!(
            code,
            ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch
        ) && batch.sequence.is_some();
        if lost_sequence && !batch.sequence.is_some_and(|sequence| queue.waits_for_earlier(sequence)) {
            queue.broken = true;
        }
        let in_time = now < batch.created + self.config.delivery_timeout;
        let again = (code.is_retriable() || lost_sequence) && batch.attempts <= self.config.retries && in_time;
        if !again {
            queue.broken |= batch.sequence.is_some();
            return self.fail(partition, batch, code.name());
        }
        batch.not_before = now + self.backoff(batch.attempts, random);
        let queue = self.queues.get_mut(partition).expect("a batch that was sent has a queue");
        let at = queue.waiting.iter().position(|other| other.attempts == 0 || other.id > batch.id);
        queue.waiting.insert(at.unwrap_or(queue.waiting.len()), batch);
        Vec::new()
    }

    fn backoff(&self, attempts: u32, random: &mut Random) -> std::time::Duration {
        let cluster = &self.config.cluster;
        let doubled = cluster.retry_backoff.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        doubled.min(cluster.retry_backoff_max).mul_f64(random.random_range(0.8..1.2))
    }

    /// Fails what is too old, and goes on with the next epoch where sequences are broken.
    pub fn tick(&mut self, now: Time) -> Vec<Completion> {
        let mut completions = Vec::new();
        let too_old = |batch: &Batch| now >= batch.created + self.config.delivery_timeout;
        let mut failed = Vec::new();
        for (partition, queue) in &mut self.queues {
            let ids: Vec<BatchId> =
                queue.on_wire.values().filter(|batch| too_old(batch)).map(|batch| batch.id).collect();
            for id in ids {
                let mut batch = queue.on_wire.remove(&id).expect("it was just seen");
                batch.maybe_stored = true;
                queue.broken |= batch.sequence.is_some();
                failed.push((partition.clone(), batch));
            }
            while queue.waiting.front().is_some_and(too_old) {
                let batch = queue.waiting.pop_front().expect("it was just seen");
                queue.broken |= batch.sequence.is_some();
                failed.push((partition.clone(), batch));
            }
            if queue.broken && queue.on_wire.is_empty() {
                queue.broken = false;
                // The next epoch; when there is none, another producer id is asked for.
                let next = |(id, epoch): Identity| epoch.0.checked_add(1).map(|epoch| (id, ProducerEpoch(epoch)));
                self.identity = self.identity.and_then(next);
                queue.identity = None;
                let (gone, mut kept): (VecDeque<Batch>, VecDeque<Batch>) =
                    queue.waiting.drain(..).partition(|batch| batch.maybe_stored);
                kept.iter_mut().for_each(|batch| batch.sequence = None);
                queue.waiting = kept;
                failed.extend(gone.into_iter().map(|batch| (partition.clone(), batch)));
            }
        }
        for (partition, batch) in failed {
            let error = if batch.attempts > 0 { batch.last_error } else { ErrorCode::RequestTimedOut.name() };
            completions.extend(self.fail(&partition, batch, error));
        }
        completions
    }

    /// When something has to be done at the latest without anything happening before; `None` while nothing waits.
    pub fn next_time(&self) -> Option<Time> {
        let of_queue = |queue: &Queue| {
            let send = queue.waiting.front().map(|front| self.send_time(queue, front));
            let expiry = queue.batches().map(|batch| batch.created + self.config.delivery_timeout).min();
            send.into_iter().chain(expiry).min()
        };
        self.queues.values().filter_map(of_queue).min()
    }

    fn complete(
        &mut self,
        partition: &TopicPartition,
        batch: Batch,
        base: Result<Offset, SendError>,
    ) -> Vec<Completion> {
        self.buffered_bytes -= batch.records.iter().map(Pending::size_bytes).sum::<usize>();
        let at = |index: usize| {
            let offset = |base: Offset| if base == Offset::UNKNOWN { base } else { base.plus(index as i64) };
            base.clone().map(offset)
        };
        let completion = |(index, record): (usize, Pending)| Completion {
            record: record.record,
            partition: partition.clone(),
            result: at(index),
        };
        batch.records.into_iter().enumerate().map(completion).collect()
    }

    fn fail(&mut self, partition: &TopicPartition, batch: Batch, error: &'static str) -> Vec<Completion> {
        let definite = !batch.maybe_stored;
        self.complete(partition, batch, Err(SendError { error, definite }))
    }
}

/// Whether a leader that answers `code` may have appended the batch before.
fn may_be_stored(code: ErrorCode, acks: Acks) -> bool {
    match code {
        ErrorCode::RequestTimedOut
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::KafkaStorageError
        | ErrorCode::UnknownServerError => true,
        // Leadership may have moved between the append and the answer.
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch | ErrorCode::UnknownTopicOrPartition => {
            acks == Acks::All
        }
        _ => false,
    }
}
