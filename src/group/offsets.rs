//! Committed offsets: commit, fetch, delete, expire.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    classic::{ClassicGroup, State},
    consumer::{self, ConsumerGroup, Decided, records::Change},
    machine::{Context, Outcome, Then, Waiter},
    records::{OffsetAndMetadata, Record},
    shard::{Shard, Undo},
};
use crate::{
    base::{LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition, mark},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchResponse,
            ResponseKind,
            offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
            offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
            offset_fetch_request::OffsetFetchRequestGroup,
            offset_fetch_response::{
                OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
            },
        },
    },
    trace::Event,
};

/// Topics that were deleted: their names, and under each the ids of those that were called so.
pub type DeletedTopics = BTreeMap<Arc<str>, Vec<TopicId>>;
/// The offsets of one group.
pub type GroupOffsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// The offsets of all groups of a shard. A group without offsets has no entry.
#[derive(Debug, Default)]
pub struct Offsets(BTreeMap<Arc<str>, GroupOffsets>);

impl Offsets {
    /// Those of `group`.
    pub fn of(&self, group: &str) -> Option<&GroupOffsets> {
        self.0.get(group)
    }

    /// Sets or removes one; gives what was there.
    pub(super) fn set(
        &mut self,
        group: &Arc<str>,
        partition: &TopicPartition,
        value: Option<OffsetAndMetadata>,
    ) -> Option<OffsetAndMetadata> {
        match value {
            Some(value) => self.0.entry(group.clone()).or_default().insert(partition.clone(), value),
            None => {
                let offsets = self.0.get_mut(&**group)?;
                let before = offsets.remove(partition);
                if offsets.is_empty() {
                    self.0.remove(&**group);
                }
                before
            }
        }
    }

    /// The one of `partition`, if there is one.
    pub(super) fn get_mut(&mut self, group: &str, partition: &TopicPartition) -> Option<&mut OffsetAndMetadata> {
        self.0.get_mut(group)?.get_mut(partition)
    }

    /// Number of offsets of all groups.
    pub fn count(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

impl Shard {
    /// Commits offsets, of a member or of a client without a group.
    pub(super) fn commit_offsets(
        &mut self,
        request: &OffsetCommitRequest,
        waiter: Waiter,
        context: &Context<'_>,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let group_id: Arc<str> = request.group_id.as_str().into();
        let (member, generation) = (request.member_id.as_str(), request.generation_id_or_member_epoch);
        self.check_committer(request, context.version).inspect_err(|code| {
            mark::reach("commit_refused");
            let classic = self.groups.get(&*group_id).map(ClassicGroup::generation);
            if let Some(group_generation) = classic.or(self.consumers.get(&*group_id).map(ConsumerGroup::epoch)) {
                out.events.push(Event::CommitRefused {
                    group: group_id.clone(),
                    member: member.into(),
                    generation,
                    group_generation,
                    error: code.name().into(),
                });
            }
        })?;
        if let Some(group) = self.groups.get(&*group_id)
            && matches!(group.state(), State::Stable | State::PreparingRebalance)
        {
            group.extend_session(member, &mut self.timers, context.now);
        }
        let expire_ms =
            (request.retention_time_ms != -1).then(|| context.wall_ms.saturating_add(request.retention_time_ms));
        let (mut topics, mut records) = (Vec::new(), Vec::new());
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                let answer = OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
                let metadata = partition.committed_metadata.as_ref().map_or("", StrBytes::as_str);
                if metadata.encode_utf16().count() > self.settings.offset_metadata_max_bytes {
                    partitions.push(answer.with_error_code(ErrorCode::OffsetMetadataTooLarge.code()));
                    continue;
                }
                partitions.push(answer);
                let value = OffsetAndMetadata {
                    offset: Offset(partition.committed_offset),
                    leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                    metadata: metadata.into(),
                    commit_ms: context.wall_ms,
                    expire_ms,
                    topic_id: TopicId(*topic.topic_id.as_bytes()),
                };
                let partition = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                records.push(Record::Offset { group: group_id.clone(), partition, value: Some(value) });
            }
            let answer =
                OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
            topics.push(answer.with_partitions(partitions));
        }
        let response = OffsetCommitResponse::default().with_topics(topics);
        let told = records.iter().filter_map(|record| match record {
            Record::Offset { partition, value: Some(value), .. } => Some((partition.clone(), value.offset)),
            _ => None,
        });
        let event =
            Event::OffsetsCommitted { group: group_id, member: member.into(), generation, offsets: told.collect() };
        out.write(records, Then::Answer(waiter, Box::new(response.into()), Some(Box::new(event))));
        Ok(())
    }

    /// Whether the group takes a commit of whoever sends it.
    fn check_committer(&self, request: &OffsetCommitRequest, version: i16) -> Result<(), ErrorCode> {
        let (id, generation) = (request.group_id.as_str(), request.generation_id_or_member_epoch);
        match (self.groups.get(id), self.consumers.get(id)) {
            (None, None) if generation < 0 => Ok(()),
            (None, None) if version >= 9 => Err(ErrorCode::GroupIdNotFound),
            (None, None) => Err(ErrorCode::IllegalGeneration),
            _ if self.switches.bug_commit_from_old_generation => Ok(()),
            (Some(group), _) => {
                group.check_commit(&request.member_id, request.group_instance_id.as_deref(), generation)
            }
            (None, Some(group)) => group.check_commit(request, version, self.switches.commit_by_assignment_epoch),
        }
    }

    /// The offsets of a group; `uncommitted` takes back what is not to be seen.
    pub(super) fn fetch_offsets<'u>(
        &self,
        asked: &OffsetFetchRequestGroup,
        uncommitted: impl Iterator<Item = &'u Undo>,
    ) -> OffsetFetchResponse {
        let group = asked.group_id.as_str();
        let mut replaced: BTreeMap<&TopicPartition, Option<&OffsetAndMetadata>> = BTreeMap::new();
        let mut member_before = None;
        for undo in uncommitted {
            // The newest come first, so that the oldest has the last word.
            match undo {
                Undo::Offset { group: of, partition, before, .. } if **of == *group => {
                    replaced.insert(partition, before.as_ref());
                }
                Undo::Consumer { group: of, before, .. } if **of == *group => {
                    if let Change::Current(member, before) = &**before
                        && Some(&**member) == asked.member_id.as_deref()
                    {
                        member_before = Some(before);
                    }
                }
                _ => {}
            }
        }
        if let Some(group) = self.consumers.get(group)
            && let Err(code) = group.check_fetch(asked.member_id.as_deref(), asked.member_epoch, member_before)
        {
            let answer = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone());
            return OffsetFetchResponse::default().with_groups(vec![answer.with_error_code(code.code())]);
        }
        let offsets = self.offsets.of(group);
        let find = |partition: &TopicPartition| match replaced.get(partition) {
            Some(before) => *before,
            None => offsets.and_then(|offsets| offsets.get(partition)),
        };
        let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
        match &asked.topics {
            Some(wanted) => {
                for topic in wanted {
                    let id = TopicId(*topic.topic_id.as_bytes());
                    let partitions = topic.partition_indexes.iter().map(|index| {
                        let partition = TopicPartition::new(topic.name.as_str(), *index);
                        fetched(*index, find(&partition).filter(|value| value.is_of(id)))
                    });
                    let answer = OffsetFetchResponseTopics::default()
                        .with_name(topic.name.clone())
                        .with_topic_id(topic.topic_id);
                    topics.push(answer.with_partitions(partitions.collect()));
                }
            }
            None => {
                let deleted =
                    replaced.keys().copied().filter(|key| offsets.is_none_or(|known| !known.contains_key(*key)));
                let mut all: Vec<&TopicPartition> =
                    offsets.into_iter().flat_map(BTreeMap::keys).chain(deleted).collect();
                all.sort();
                for partition in all {
                    let Some(value) = find(partition) else { continue };
                    let answer = fetched(partition.partition, Some(value));
                    match topics.last_mut().filter(|last| last.name.as_str() == &*partition.topic) {
                        Some(last) => last.partitions.push(answer),
                        None => topics.push(
                            OffsetFetchResponseTopics::default()
                                .with_name(StrBytes::from_string(partition.topic.to_string()).into())
                                .with_partitions(vec![answer]),
                        ),
                    }
                }
            }
        }
        let answer = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone()).with_topics(topics);
        OffsetFetchResponse::default().with_groups(vec![answer])
    }

    /// Deletes offsets that an administrator names.
    pub(super) fn delete_offsets(
        &mut self,
        request: &OffsetDeleteRequest,
        waiter: Waiter,
        out: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        let group_id: Arc<str> = request.group_id.as_str().into();
        let is_subscribed = |topic: &str| {
            self.groups.get(&*group_id).is_some_and(|group| group.is_subscribed_to(topic))
                || self.consumers.get(&*group_id).is_some_and(|group| group.is_subscribed_to(topic))
        };
        match self.groups.get(&*group_id) {
            Some(group) if group.state() != State::Empty && !group.is_of_consumers() => {
                return Err(ErrorCode::NonEmptyGroup);
            }
            None if !self.consumers.contains_key(&*group_id) => return Err(ErrorCode::GroupIdNotFound),
            _ => {}
        }
        let (mut topics, mut records) = (Vec::new(), Vec::new());
        for topic in &request.topics {
            let subscribed = is_subscribed(topic.name.as_str());
            let code = if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let answer = OffsetDeleteResponsePartition::default().with_partition_index(asked.partition_index);
                partitions.push(answer.with_error_code(code.code()));
                let partition = TopicPartition::new(topic.name.as_str(), asked.partition_index);
                if !subscribed && self.offsets.of(&group_id).is_some_and(|known| known.contains_key(&partition)) {
                    records.push(Record::Offset { group: group_id.clone(), partition, value: None });
                }
            }
            let answer = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
            topics.push(answer.with_partitions(partitions));
        }
        let response: ResponseKind = OffsetDeleteResponse::default().with_topics(topics).into();
        out.write(records, Then::Answer(waiter, Box::new(response), None));
        Ok(())
    }

    /// Tombstones for every offset of a group.
    pub(super) fn tombstones_of_offsets(&self, group: &Arc<str>) -> Vec<Record> {
        let partitions = self.offsets.of(group).into_iter().flat_map(BTreeMap::keys);
        let tombstone = |partition: &TopicPartition| Record::Offset {
            group: group.clone(),
            partition: partition.clone(),
            value: None,
        };
        partitions.map(tombstone).collect()
    }

    /// Tombstones for the offsets of topics that were deleted; of one that was made anew since they stay.
    pub(super) fn forget_topics(&self, deleted: &DeletedTopics, out: &mut Outcome) {
        let is_deleted = |(partition, value): &(&TopicPartition, &OffsetAndMetadata)| {
            deleted.get(&partition.topic).is_some_and(|ids| ids.iter().any(|id| value.is_of(*id)))
        };
        let mut records = Vec::new();
        for (group, offsets) in &self.offsets.0 {
            for (partition, _) in offsets.iter().filter(is_deleted) {
                records.push(Record::Offset { group: group.clone(), partition: partition.clone(), value: None });
            }
        }
        if !records.is_empty() {
            out.write(records, Then::Nothing);
        }
    }

    /// Tombstones for offsets that have expired, and for groups that have nothing left.
    pub(super) fn expire_offsets(&self, wall_ms: Timestamp, out: &mut Outcome) {
        for group in self.groups.values() {
            let expired = self.expired_of(group, wall_ms);
            let kept = self.offsets.of(&group.id).map_or(0, BTreeMap::len) - expired.len();
            let told = told_expired(&group.id, &expired, out);
            let tombstone = |partition| Record::Offset { group: group.id.clone(), partition, value: None };
            let mut records: Vec<Record> = expired.into_iter().map(tombstone).collect();
            // A group whose state says that nothing may expire keeps its last offset, and so stays.
            if kept == 0 && group.state() == State::Empty {
                records.push(Record::Group { group: group.id.clone(), value: None });
            }
            if !records.is_empty() {
                out.write(records, told);
            }
        }
        self.expire_offsets_of_consumers(wall_ms, out);
    }

    /// The same for groups of the consumer protocol: an offset expires when no member subscribes to its topic, and it was
    /// committed long ago.
    fn expire_offsets_of_consumers(&self, wall_ms: Timestamp, out: &mut Outcome) {
        let retention_ms = millis(self.settings.offsets_retention);
        for group in self.consumers.values() {
            let is_old = |value: &OffsetAndMetadata| match value.expire_ms {
                Some(expire_ms) => wall_ms >= expire_ms,
                None => wall_ms.saturating_sub(value.commit_ms) >= retention_ms,
            };
            let offsets = self.offsets.of(&group.id).into_iter().flatten();
            let is_expired = |(partition, value): &(&TopicPartition, &OffsetAndMetadata)| {
                is_old(value) && !group.is_subscribed_to(&partition.topic)
            };
            let expired: Vec<TopicPartition> =
                offsets.filter(is_expired).map(|(partition, _)| partition.clone()).collect();
            let kept = self.offsets.of(&group.id).map_or(0, BTreeMap::len) - expired.len();
            let told = told_expired(&group.id, &expired, out);
            let tombstone = |partition| Record::Offset { group: group.id.clone(), partition, value: None };
            let mut records: Vec<Record> = expired.into_iter().map(tombstone).collect();
            if kept == 0 && group.state() == consumer::State::Empty {
                records.extend(Self::tombstones_of_consumers(group));
            }
            if !records.is_empty() {
                out.write(records, told);
            }
        }
    }

    /// The offsets of `group` that have expired at `wall_ms` (KIP-211): since the group became empty; of a topic that
    /// no member of a stable group subscribes to since it was committed; of a client without a group likewise.
    fn expired_of(&self, group: &ClassicGroup, wall_ms: Timestamp) -> Vec<TopicPartition> {
        let Some(offsets) = self.offsets.of(&group.id) else { return Vec::new() };
        let of_live_groups = self.switches.bug_live_offsets_expire;
        let since = match (group.protocol_type(), group.state()) {
            (None, _) => None,
            (Some(_), State::Empty) => group.state_since_ms(),
            (Some(_), State::Stable) if group.knows_subscriptions() || of_live_groups => None,
            (Some(_), _) if of_live_groups => None,
            (Some(_), _) => return Vec::new(),
        };
        let retention_ms = millis(self.settings.offsets_retention);
        let is_expired = |value: &OffsetAndMetadata| match value.expire_ms {
            Some(expire_ms) => wall_ms >= expire_ms,
            None => wall_ms.saturating_sub(since.unwrap_or(value.commit_ms)) >= retention_ms,
        };
        let may_expire = |partition: &TopicPartition| of_live_groups || !group.is_subscribed_to(&partition.topic);
        let expired = offsets.iter().filter(|(partition, value)| may_expire(partition) && is_expired(value));
        expired.map(|(partition, _)| partition.clone()).collect()
    }
}

/// Tells that tombstones are written, and what is told when they are committed.
fn told_expired(group: &Arc<str>, partitions: &[TopicPartition], out: &mut Outcome) -> Then {
    if partitions.is_empty() {
        return Then::Nothing;
    }
    mark::reach("offsets_expired");
    out.events.push(Event::OffsetsExpiring { group: group.clone(), partitions: partitions.to_vec() });
    let event = Event::OffsetsExpired { group: group.clone(), partitions: partitions.to_vec() };
    Then::Decided(Box::new(Decided { events: vec![event], ..Decided::default() }))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn fetched(index: i32, value: Option<&OffsetAndMetadata>) -> OffsetFetchResponsePartitions {
    let answer = OffsetFetchResponsePartitions::default().with_partition_index(index);
    match value {
        Some(value) => answer
            .with_committed_offset(value.offset.0)
            .with_committed_leader_epoch(value.leader_epoch.0)
            .with_metadata(Some(StrBytes::from_string(value.metadata.to_string()))),
        None => answer
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::from_static_str(""))),
    }
}
