//! Fetches: what is asked of the leaders, and what becomes of their answers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    Consumer, ConsumerRecord, Position, Report, Seek,
    list::list_offset,
    validate::{Question, is_doubtful},
};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, Time, TopicPartition},
    client::{
        ClientError,
        cluster::{Leader, topic_name},
    },
    protocol::{
        ErrorCode,
        messages::{
            ApiKey, FetchRequest, RequestKind, ResponseKind,
            fetch_request::{FetchPartition, FetchTopic},
            fetch_response::PartitionData,
        },
        records::{BatchError, BatchHeader, batches, check_crc, decode_records},
    },
    rpc::{Answer, RpcError},
    runtime::{clock, task},
    trace::{self, EventId},
};

/// Versions of Fetch that we speak: those that name topics.
const FETCH: (i16, i16) = (4, 12);
/// Most bytes that a batch may have once decompressed.
const BATCH_BYTES_MAX: usize = 256 << 20;

impl Consumer {
    /// Asks the leaders for what is missing. Returns when to look again without a report; `None`: at a report.
    pub(super) fn ask(&mut self) -> Option<Time> {
        let now = clock::now();
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, Offset, LeaderEpoch, LeaderEpoch)>> = BTreeMap::new();
        let (mut unled, mut next) = (false, None::<Time>);
        let idle = |position: &Position| !position.busy && position.buffered.is_empty();
        let (mut seeks, mut doubts) = (Vec::new(), BTreeMap::<NodeId, Vec<Question>>::new());
        for (partition, position) in self.positions.iter_mut().filter(|(_, position)| idle(position)) {
            let Some(wanted) = position.next else { continue };
            if position.not_before > now {
                next = Some(next.map_or(position.not_before, |next| next.min(position.not_before)));
                continue;
            }
            let Some(leader) = self.cluster.leader(partition) else {
                unled = true;
                continue;
            };
            match wanted {
                Seek::Offset(offset) if self.config.validate_positions && is_doubtful(position, leader) => {
                    let question = Question { partition: partition.clone(), offset, epoch: position.epoch, leader };
                    doubts.entry(leader.node).or_default().push(question);
                }
                Seek::Offset(_) if position.paused || self.fetching.contains(&leader.node) => {}
                Seek::Offset(offset) => {
                    position.validated = leader.epoch;
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
                let _ = reports.send(Report::Listed(partition, seek, listed));
            });
        }
        for (node, questions) in doubts {
            self.validate(node, questions);
        }
        for (node, wanted) in by_leader {
            self.fetch(node, wanted);
        }
        if unled {
            self.refresh();
        }
        next
    }

    pub(super) fn set_busy(&mut self, partition: &TopicPartition) {
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
            partitions.push((partition, offset));
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

    pub(super) fn take_fetched(
        &mut self,
        partitions: &[(TopicPartition, Offset)],
        answer: Result<Answer, RpcError>,
    ) -> Result<(), ClientError> {
        for (partition, _) in partitions {
            if let Some(position) = self.positions.get_mut(partition) {
                position.busy = false;
            }
        }
        let Ok(answer) = answer else {
            partitions.iter().for_each(|(partition, _)| self.put_off(partition));
            return Ok(());
        };
        let ResponseKind::Fetch(response) = answer.body else { unreachable!("Fetch is answered by Fetch") };
        for topic in &response.responses {
            let name: Arc<str> = Arc::from(&**topic.topic);
            for data in &topic.partitions {
                let partition = TopicPartition::new(name.clone(), data.partition_index);
                let mut asked = partitions.iter().filter(|(asked, _)| *asked == partition);
                let Some((_, offset)) = asked.next() else { continue };
                // The position may have been set elsewhere in the meantime.
                let is_current = |position: &Position| position.next == Some(Seek::Offset(*offset));
                if !self.positions.get(&partition).is_some_and(is_current) {
                    continue;
                }
                trace::caused_by_sync(answer.cause, || self.take_partition(&partition, *offset, data, answer.cause))?;
            }
        }
        Ok(())
    }

    fn take_partition(
        &mut self,
        partition: &TopicPartition,
        from: Offset,
        data: &PartitionData,
        cause: Option<EventId>,
    ) -> Result<(), ClientError> {
        let Some(position) = self.positions.get_mut(partition) else { return Ok(()) };
        let diverging = &data.diverging_epoch;
        match ErrorCode::from_i16(data.error_code) {
            ErrorCode::None if diverging.epoch >= 0 || diverging.end_offset >= 0 => {
                let to = (Offset(diverging.end_offset), LeaderEpoch(diverging.epoch));
                return self.truncated(partition, from, to);
            }
            ErrorCode::None => {
                let records = data.records.clone().unwrap_or_default();
                let read = read_batches(partition, &records, from, self.config.check_crcs);
                match read {
                    Ok((records, next, epoch)) => {
                        position.buffered.extend(records.into_iter().map(|record| (cause, record)));
                        position.next = Some(Seek::Offset(next));
                        position.epoch = epoch.unwrap_or(position.epoch);
                    }
                    Err(error) => {
                        tracing::warn!(%partition, offset = from.0, %error, "a fetched batch is damaged");
                        self.put_off(partition);
                    }
                }
            }
            ErrorCode::OffsetOutOfRange => {
                return self.reset(partition, || format!("{partition} has no offset {from}"));
            }
            _ => {
                let current = &data.current_leader;
                if current.leader_id.0 >= 0 {
                    let leader = Leader { node: NodeId(current.leader_id.0), epoch: LeaderEpoch(current.leader_epoch) };
                    self.cluster.learn(partition, leader);
                }
                self.put_off(partition);
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
