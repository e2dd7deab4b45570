//! A consumer of assigned partitions: positions, fetches from the leaders, resets.
//!
//! One fetch is under way for each leader, for the partitions of which nothing is buffered. Each fetch names the leader
//! epoch and the epoch of the last record read, so that a log that was truncated under the consumer is noticed
//! (KIP-320). Not here: groups and commits.
//!
//! | position | leaves it when | to |
//! |---|---|---|
//! | unset | the leader told the first or last offset | set |
//! | set | OFFSET_OUT_OF_RANGE | unset, by `auto.offset.reset` |
//! | set | the leader's log diverges before it | set to where it diverges |

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    ClientError, Cluster, ConsumerConfig,
    cluster::{Leader, topic_name},
    config::OffsetReset,
};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, Time, Timestamp, TopicPartition},
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, FetchRequest, ListOffsetsRequest, RequestKind, ResponseKind,
            fetch_request::{FetchPartition, FetchTopic},
            fetch_response::PartitionData,
            list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        },
        records::{BatchError, BatchHeader, batches, check_crc, decode_records},
    },
    rpc::{Answer, RpcError},
    runtime::{clock, task},
    trace::{self, Event, EventId, Tracer},
};

/// Versions of Fetch that we speak: those that name topics.
const FETCH: (i16, i16) = (4, 12);
/// Versions of ListOffsets that we speak.
const LIST_OFFSETS: (i16, i16) = (1, 8);
/// Most bytes that a batch may have once decompressed.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Where from.
    pub partition: TopicPartition,
    /// At which offset.
    pub offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Its time.
    pub timestamp: Timestamp,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Where in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// At the first record there is.
    Beginning,
    /// Behind the last record that everybody may read.
    End,
    /// At this offset.
    Offset(Offset),
}

/// Where the consumer is in one partition.
struct Position {
    next: Seek,
    /// Why the position was or will be set, for the history.
    why: &'static str,
    /// Epoch of the last record read.
    epoch: LeaderEpoch,
    /// Something is asked of the leader.
    busy: bool,
    not_before: Time,
    buffered: VecDeque<(Option<EventId>, ConsumerRecord)>,
}

/// Reads assigned partitions. Dropping it ends its requests.
pub struct Consumer {
    config: ConsumerConfig,
    cluster: Arc<Cluster>,
    tracer: Tracer,
    positions: BTreeMap<TopicPartition, Position>,
    fetching: BTreeSet<NodeId>,
    refreshing: bool,
    reports: mpsc::UnboundedSender<Report>,
    inbox: mpsc::UnboundedReceiver<Report>,
}

/// What happened to something that the consumer asked for.
enum Report {
    Fetched(NodeId, Vec<TopicPartition>, Result<Answer, RpcError>),
    Listed(TopicPartition, Result<Offset, ClientError>),
    Refreshed,
}

impl Consumer {
    /// A consumer without partitions; its history goes to `tracer`.
    pub fn new(config: ConsumerConfig, cluster: Arc<Cluster>, tracer: Tracer) -> Self {
        let (reports, inbox) = mpsc::unbounded_channel();
        Self {
            config,
            cluster,
            tracer,
            positions: BTreeMap::new(),
            fetching: BTreeSet::new(),
            refreshing: false,
            reports,
            inbox,
        }
    }

    /// Reads `partition`, from `from` on.
    pub fn assign(&mut self, partition: TopicPartition, from: Seek) {
        let position = Position {
            next: from,
            why: "start",
            epoch: LeaderEpoch::UNKNOWN,
            busy: false,
            not_before: Time::ZERO,
            buffered: VecDeque::new(),
        };
        if let Seek::Offset(offset) = from {
            self.tracer.detail(|| Event::PositionSet { partition: partition.clone(), offset, why: "start".into() });
        }
        self.positions.insert(partition, position);
    }

    /// Offset of the record of `partition` that the application gets next; `None` while it is not known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        let position = self.positions.get(partition)?;
        match (position.buffered.front(), position.next) {
            (Some((_, record)), _) => Some(record.offset),
            (None, Seek::Offset(offset)) => Some(offset),
            (None, _) => None,
        }
    }

    /// Waits for records, at most for `limit`; none when nothing came.
    ///
    /// # Errors
    /// A position is out of range and `auto.offset.reset` is `none`.
    pub async fn poll(&mut self, limit: Duration) -> Result<Vec<ConsumerRecord>, ClientError> {
        let deadline = clock::now() + limit;
        loop {
            while let Ok(report) = self.inbox.try_recv() {
                self.take(report)?;
            }
            let records = self.deliver();
            let next = self.ask();
            if !records.is_empty() || clock::now() >= deadline {
                return Ok(records);
            }
            let until = next.map_or(deadline, |next| next.min(deadline));
            let report = tokio::select! {
                biased;
                report = self.inbox.recv() => report,
                () = clock::sleep_until(until) => None,
            };
            if let Some(report) = report {
                self.take(report)?;
            }
        }
    }

    /// Where the records end that everybody may read, or where they begin.
    ///
    /// # Errors
    /// Nobody leads the partition, or its leader does not answer.
    pub async fn offset_of(&self, partition: &TopicPartition, seek: Seek) -> Result<Offset, ClientError> {
        let found = list_offset(self.cluster.clone(), partition.clone(), seek).await;
        if found.is_err() {
            // Another broker may lead by now: who asks again has to ask that one.
            let _ = self.cluster.refresh(std::slice::from_ref(&partition.topic)).await;
        }
        found
    }

    /// Hands out what is buffered, in the order of partitions.
    fn deliver(&mut self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for position in self.positions.values_mut() {
            let room = self.config.poll_records_max - records.len();
            let count = room.min(position.buffered.len());
            for (cause, record) in position.buffered.drain(..count) {
                let text = |bytes: &Bytes| Arc::<str>::from(String::from_utf8_lossy(bytes));
                self.tracer.detail_caused(cause, || Event::RecordRead {
                    partition: record.partition.clone(),
                    offset: record.offset,
                    leader_epoch: record.leader_epoch,
                    key: record.key.as_ref().map(text),
                    value: record.value.as_ref().map_or_else(|| "".into(), text),
                });
                records.push(record);
            }
        }
        records
    }

    /// Asks the leaders for what is missing. Returns when to look again without a report; `None`: at a report.
    fn ask(&mut self) -> Option<Time> {
        let now = clock::now();
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, Offset, LeaderEpoch, LeaderEpoch)>> = BTreeMap::new();
        let (mut unled, mut next) = (false, None::<Time>);
        let idle = |position: &Position| !position.busy && position.buffered.is_empty();
        let mut seeks = Vec::new();
        for (partition, position) in self.positions.iter().filter(|(_, position)| idle(position)) {
            if position.not_before > now {
                next = Some(next.map_or(position.not_before, |next| next.min(position.not_before)));
                continue;
            }
            let Some(leader) = self.cluster.leader(partition) else {
                unled = true;
                continue;
            };
            match position.next {
                Seek::Offset(_) if self.fetching.contains(&leader.node) => {}
                Seek::Offset(offset) => {
                    let wanted = (partition.clone(), offset, position.epoch, leader.epoch);
                    by_leader.entry(leader.node).or_default().push(wanted);
                }
                seek => seeks.push((partition.clone(), seek)),
            }
        }
        for (partition, seek) in seeks {
            self.set_busy(&partition);
            let (cluster, reports) = (self.cluster.clone(), self.reports.clone());
            task::spawn(async move {
                let listed = list_offset(cluster, partition.clone(), seek).await;
                let _ = reports.send(Report::Listed(partition, listed));
            });
        }
        for (node, wanted) in by_leader {
            self.fetch(node, wanted);
        }
        if unled {
            self.refresh();
        }
        next
    }

    fn set_busy(&mut self, partition: &TopicPartition) {
        self.positions.get_mut(partition).expect("it was just seen").busy = true;
    }

    fn fetch(&mut self, node: NodeId, wanted: Vec<(TopicPartition, Offset, LeaderEpoch, LeaderEpoch)>) {
        let mut topics: BTreeMap<Arc<str>, Vec<FetchPartition>> = BTreeMap::new();
        let mut partitions = Vec::new();
        for (partition, offset, read_epoch, leader_epoch) in wanted {
            self.set_busy(&partition);
            let told = |epoch| if self.config.truncation_check { epoch } else { LeaderEpoch::UNKNOWN };
            let (read_epoch, leader_epoch) = (told(read_epoch), told(leader_epoch));
            let one = FetchPartition::default()
                .with_partition(partition.partition)
                .with_current_leader_epoch(leader_epoch.0)
                .with_fetch_offset(offset.0)
                .with_last_fetched_epoch(read_epoch.0)
                .with_partition_max_bytes(self.config.partition_bytes_max);
            topics.entry(partition.topic.clone()).or_default().push(one);
            partitions.push(partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            FetchTopic::default().with_topic(topic_name(&topic)).with_partitions(partitions)
        });
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(i32::try_from(self.config.fetch_wait_max.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.config.fetch_bytes_min)
            .with_max_bytes(self.config.fetch_bytes_max)
            .with_session_epoch(-1)
            .with_topics(topics.collect());
        self.fetching.insert(node);
        let (cluster, reports) = (self.cluster.clone(), self.reports.clone());
        task::spawn(async move {
            let asked = async {
                let link = cluster.connection_to(node).await?;
                let version = link.version_for(ApiKey::Fetch, FETCH)?;
                link.call(RequestKind::Fetch(request), version, cluster.config().request_timeout).await
            };
            let answer = asked.await;
            let _ = reports.send(Report::Fetched(node, partitions, answer));
        });
    }

    fn refresh(&mut self) {
        if std::mem::replace(&mut self.refreshing, true) {
            return;
        }
        let topics: BTreeSet<Arc<str>> = self.positions.keys().map(|partition| partition.topic.clone()).collect();
        let (cluster, reports) = (self.cluster.clone(), self.reports.clone());
        task::spawn(async move {
            let begun = clock::now();
            let _ = cluster.refresh(&topics.into_iter().collect::<Vec<_>>()).await;
            clock::sleep_until(begun + cluster.config().retry_backoff).await;
            let _ = reports.send(Report::Refreshed);
        });
    }

    fn take(&mut self, report: Report) -> Result<(), ClientError> {
        match report {
            Report::Refreshed => self.refreshing = false,
            Report::Listed(partition, listed) => self.take_listed(&partition, listed),
            Report::Fetched(node, partitions, answer) => {
                self.fetching.remove(&node);
                return self.take_fetched(&partitions, answer);
            }
        }
        Ok(())
    }

    fn take_listed(&mut self, partition: &TopicPartition, listed: Result<Offset, ClientError>) {
        let Some(position) = self.positions.get_mut(partition) else { return };
        position.busy = false;
        match listed {
            Ok(offset) => {
                (position.next, position.epoch) = (Seek::Offset(offset), LeaderEpoch::UNKNOWN);
                let why = position.why.into();
                self.tracer.detail(|| Event::PositionSet { partition: partition.clone(), offset, why });
            }
            Err(_) => self.pause(partition),
        }
    }

    /// Something went wrong with `partition`: try again later, with fresh metadata.
    fn pause(&mut self, partition: &TopicPartition) {
        if let Some(position) = self.positions.get_mut(partition) {
            position.not_before = clock::now() + self.cluster.config().retry_backoff;
        }
        self.refresh();
    }

    fn take_fetched(
        &mut self,
        partitions: &[TopicPartition],
        answer: Result<Answer, RpcError>,
    ) -> Result<(), ClientError> {
        for partition in partitions {
            if let Some(position) = self.positions.get_mut(partition) {
                position.busy = false;
            }
        }
        let Ok(answer) = answer else {
            partitions.iter().for_each(|partition| self.pause(partition));
            return Ok(());
        };
        let ResponseKind::Fetch(response) = answer.body else { unreachable!("Fetch is answered by Fetch") };
        for topic in &response.responses {
            let name: Arc<str> = Arc::from(&**topic.topic);
            for data in &topic.partitions {
                let partition = TopicPartition::new(name.clone(), data.partition_index);
                trace::caused_by_sync(answer.cause, || self.take_partition(&partition, data, answer.cause))?;
            }
        }
        Ok(())
    }

    fn take_partition(
        &mut self,
        partition: &TopicPartition,
        data: &PartitionData,
        cause: Option<EventId>,
    ) -> Result<(), ClientError> {
        let Some(position) = self.positions.get_mut(partition) else { return Ok(()) };
        let Seek::Offset(from) = position.next else { return Ok(()) };
        let diverging = &data.diverging_epoch;
        match ErrorCode::from_i16(data.error_code) {
            ErrorCode::None if diverging.epoch >= 0 || diverging.end_offset >= 0 => {
                let offset = Offset(diverging.end_offset).min(from);
                if self.config.reset == OffsetReset::None {
                    // The application said that it wants to decide by itself (LogTruncationException, KIP-320).
                    let message = Some(format!("{partition} was truncated to {offset}, and {from} was read before"));
                    return Err(ClientError::Kafka { code: ErrorCode::OffsetOutOfRange, message });
                }
                (position.next, position.epoch) = (Seek::Offset(offset), LeaderEpoch(diverging.epoch));
                let why = "truncation".into();
                self.tracer.detail(|| Event::PositionSet { partition: partition.clone(), offset, why });
            }
            ErrorCode::None => {
                let records = data.records.clone().unwrap_or_default();
                let read = read_batches(partition, &records, from, self.config.check_crcs);
                match read {
                    Ok((records, next, epoch)) => {
                        position.buffered.extend(records.into_iter().map(|record| (cause, record)));
                        position.next = Seek::Offset(next);
                        position.epoch = epoch.unwrap_or(position.epoch);
                    }
                    Err(error) => {
                        tracing::warn!(%partition, offset = from.0, %error, "a fetched batch is damaged");
                        self.pause(partition);
                    }
                }
            }
            ErrorCode::OffsetOutOfRange => {
                position.next = match self.config.reset {
                    OffsetReset::Earliest => Seek::Beginning,
                    OffsetReset::Latest => Seek::End,
                    OffsetReset::None => {
                        let message = Some(format!("{partition} has no offset {from}"));
                        return Err(ClientError::Kafka { code: ErrorCode::OffsetOutOfRange, message });
                    }
                };
                position.why = "out-of-range";
            }
            _ => {
                let current = &data.current_leader;
                if current.leader_id.0 >= 0 {
                    let leader = Leader { node: NodeId(current.leader_id.0), epoch: LeaderEpoch(current.leader_epoch) };
                    self.cluster.learn(partition, leader);
                }
                self.pause(partition);
            }
        }
        Ok(())
    }
}

/// Records read, the position after them, and the epoch of the last.
type Read = (Vec<ConsumerRecord>, Offset, Option<LeaderEpoch>);

/// The records from `from` on in what a fetch returned; the last batch may be cut.
fn read_batches(partition: &TopicPartition, bytes: &Bytes, from: Offset, check_crcs: bool) -> Result<Read, BatchError> {
    let (mut records, mut next, mut epoch) = (Vec::new(), from, None);
    for batch in batches(bytes) {
        let (header, batch): (BatchHeader, Bytes) = match batch {
            Err(BatchError::Incomplete { .. }) => break,
            other => other?,
        };
        if check_crcs {
            check_crc(&header, &batch)?;
        }
        if header.end_offset() <= from {
            continue;
        }
        (next, epoch) = (header.end_offset(), Some(header.leader_epoch));
        if header.is_control() {
            continue;
        }
        let decoded = decode_records(&header, &batch, BATCH_BYTES_MAX)?;
        records.extend(decoded.into_iter().filter(|record| record.offset >= from).map(|record| ConsumerRecord {
            partition: partition.clone(),
            offset: record.offset,
            leader_epoch: header.leader_epoch,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        }));
    }
    Ok((records, next, epoch))
}

async fn list_offset(cluster: Arc<Cluster>, partition: TopicPartition, seek: Seek) -> Result<Offset, ClientError> {
    let timestamp = match seek {
        Seek::Beginning => -2,
        Seek::End => -1,
        Seek::Offset(offset) => return Ok(offset),
    };
    if cluster.leader(&partition).is_none() {
        cluster.refresh(std::slice::from_ref(&partition.topic)).await?;
    }
    let nobody = || ClientError::Kafka { code: ErrorCode::LeaderNotAvailable, message: None };
    let leader = cluster.leader(&partition).ok_or_else(nobody)?;
    let wanted = ListOffsetsPartition::default()
        .with_partition_index(partition.partition)
        .with_current_leader_epoch(leader.epoch.0)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(topic_name(&partition.topic)).with_partitions(vec![wanted]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let link = cluster.connection_to(leader.node).await?;
    let version = link.version_for(ApiKey::ListOffsets, LIST_OFFSETS)?;
    let answer = link.call(RequestKind::ListOffsets(request), version, cluster.config().request_timeout).await?;
    let ResponseKind::ListOffsets(response) = answer.body else { unreachable!("answered by its own kind") };
    let found = response.topics.first().and_then(|topic| topic.partitions.first()).ok_or_else(nobody)?;
    ClientError::check(found.error_code, None)?;
    Ok(Offset(found.offset))
}
