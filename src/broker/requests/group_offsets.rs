//! OffsetCommit, OffsetFetch, OffsetDelete: what groups have consumed.

use std::sync::Arc;

use super::{Broker, groups::all, topic_name, uuid_of};
use crate::{
    base::TopicId,
    broker::coordinator::{Asked, Client},
    controller::image::MetadataImage,
    group::GroupRequest,
    protocol::{
        ErrorCode,
        messages::{
            OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse,
            ResponseKind,
            offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
            offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
            offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
            offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
            offset_fetch_response::{
                OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
                OffsetFetchResponseTopic, OffsetFetchResponseTopics,
            },
        },
    },
    rpc::Reply,
};

/// From this version on topics are named by their ids (KIP-848).
const TOPIC_IDS_VERSION: i16 = 10;
/// From this version on OffsetFetch asks for several groups (KIP-709).
const GROUPS_VERSION: i16 = 8;

impl Broker {
    pub(super) async fn offset_commit(&self, mut request: OffsetCommitRequest, client: Client) -> Reply {
        let image = self.cache.image();
        let by_id = client.version >= TOPIC_IDS_VERSION;
        let (mut known, mut refused) = (Vec::new(), Vec::new());
        for topic in std::mem::take(&mut request.topics) {
            let (good, bad) = split(&image, topic, by_id);
            known.extend(good);
            refused.extend(bad);
        }
        if known.is_empty() {
            return Reply::now(OffsetCommitResponse::default().with_topics(refused));
        }
        request.topics = known;
        let group = request.group_id.clone();
        let asked = self.ask_coordinator(&group, GroupRequest::OffsetCommit(request), &client).await;
        let asked = asked.map(move |answer| {
            let ResponseKind::OffsetCommit(mut response) = answer else { unreachable!("a commit is answered as one") };
            for topic in refused {
                let same = |known: &&mut OffsetCommitResponseTopic| match by_id {
                    true => known.topic_id == topic.topic_id,
                    false => known.name == topic.name,
                };
                match response.topics.iter_mut().find(same) {
                    Some(known) => known.partitions.extend(topic.partitions),
                    None => response.topics.push(topic),
                }
            }
            for topic in &mut response.topics {
                match by_id {
                    true => topic.name = topic_name(""),
                    false => topic.topic_id = uuid_of(TopicId::ZERO),
                }
            }
            response.into()
        });
        asked.reply()
    }

    pub(super) fn offset_fetch(self: Arc<Self>, request: OffsetFetchRequest, client: Client) -> Reply {
        let version = client.version;
        let groups = match version >= GROUPS_VERSION {
            true => request.groups,
            false => {
                let topics = request.topics.map(|topics| {
                    let topic = |topic: crate::protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
                        OffsetFetchRequestTopics::default()
                            .with_name(topic.name)
                            .with_partition_indexes(topic.partition_indexes)
                    };
                    topics.into_iter().map(topic).collect()
                });
                vec![OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(topics)]
            }
        };
        let require_stable = request.require_stable;
        Reply::later(async move {
            let fetch = |group| self.fetch_of(group, require_stable, &client);
            let answers = all(groups.into_iter().map(fetch)).await.into_iter().flat_map(groups_of);
            let mut answers: Vec<OffsetFetchResponseGroup> = answers.collect();
            if version >= GROUPS_VERSION {
                return OffsetFetchResponse::default().with_groups(answers).into();
            }
            single(answers.pop().expect("there is one group"), version).into()
        })
    }

    /// Asks for the offsets of one group.
    async fn fetch_of(&self, mut group: OffsetFetchRequestGroup, require_stable: bool, client: &Client) -> Asked {
        let image = self.cache.image();
        let by_id = client.version >= TOPIC_IDS_VERSION;
        let mut refused = Vec::new();
        if by_id && let Some(topics) = group.topics.take() {
            let mut known = Vec::new();
            for topic in topics {
                match image.topic_by_id(TopicId(*topic.topic_id.as_bytes())) {
                    Some(found) => known.push(topic.with_name(topic_name(&found.name))),
                    None => {
                        let partition = |index: &i32| {
                            OffsetFetchResponsePartitions::default()
                                .with_partition_index(*index)
                                .with_committed_offset(-1)
                                .with_committed_leader_epoch(-1)
                                .with_error_code(ErrorCode::UnknownTopicId.code())
                        };
                        let partitions = topic.partition_indexes.iter().map(partition).collect();
                        let answer = OffsetFetchResponseTopics::default().with_topic_id(topic.topic_id);
                        refused.push(answer.with_partitions(partitions));
                    }
                }
            }
            group.topics = Some(known);
        }
        let id = group.group_id.clone();
        let asked = GroupRequest::OffsetFetch { group, require_stable };
        let asked = self.ask_coordinator(&id, asked, client).await;
        asked.map(move |answer| {
            let mut answer = groups_of(answer).pop().expect("one group was asked for");
            if by_id {
                // Offsets of topics that are gone have no id to tell.
                let mut told = Vec::new();
                for topic in std::mem::take(&mut answer.topics) {
                    if let Some(found) = image.topic(topic.name.as_str()) {
                        told.push(topic.with_topic_id(uuid_of(found.id)).with_name(topic_name("")));
                    }
                }
                answer.topics = told;
            }
            if answer.error_code == 0 {
                answer.topics.extend(refused);
            }
            OffsetFetchResponse::default().with_groups(vec![answer]).into()
        })
    }

    pub(super) fn offset_delete(self: Arc<Self>, mut request: OffsetDeleteRequest, client: Client) -> Reply {
        let image = self.cache.image();
        let mut refused = Vec::new();
        for topic in &mut request.topics {
            let found = image.topic(topic.name.as_str());
            let is_known = |index: i32| found.is_some_and(|found| found.partitions.contains_key(&index));
            let mut bad = Vec::new();
            topic.partitions.retain(|partition| {
                let known = is_known(partition.partition_index);
                if !known {
                    let answer =
                        OffsetDeleteResponsePartition::default().with_partition_index(partition.partition_index);
                    bad.push(answer.with_error_code(ErrorCode::UnknownTopicOrPartition.code()));
                }
                known
            });
            if !bad.is_empty() {
                refused.push(OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(bad));
            }
        }
        request.topics.retain(|topic| !topic.partitions.is_empty());
        Reply::later(async move {
            let group = request.group_id.clone();
            let asked = GroupRequest::OffsetDelete(request);
            let ResponseKind::OffsetDelete(mut response) =
                self.ask_coordinator(&group, asked, &client).await.answer().await
            else {
                unreachable!("a deletion is answered as one")
            };
            if response.error_code == 0 {
                for topic in refused {
                    match response.topics.iter_mut().find(|known| known.name == topic.name) {
                        Some(known) => known.partitions.extend(topic.partitions),
                        None => response.topics.push(topic),
                    }
                }
            }
            response.into()
        })
    }
}

/// The partitions of a commit that exist, with name and id of their topic; and the refusals of those that do not.
fn split(
    image: &MetadataImage,
    topic: OffsetCommitRequestTopic,
    by_id: bool,
) -> (Option<OffsetCommitRequestTopic>, Option<OffsetCommitResponseTopic>) {
    let found = match by_id {
        true => image.topic_by_id(TopicId(*topic.topic_id.as_bytes())),
        false => image.topic(topic.name.as_str()),
    };
    let code = match found {
        None if by_id => ErrorCode::UnknownTopicId,
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    let exists = |partition: &OffsetCommitRequestPartition| {
        found.is_some_and(|found| found.partitions.contains_key(&partition.partition_index))
    };
    let (good, bad): (Vec<_>, Vec<_>) = topic.partitions.into_iter().partition(exists);
    let refused = |partition: &OffsetCommitRequestPartition| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(code.code())
    };
    let refusal = OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
    let refusal = (!bad.is_empty()).then(|| refusal.with_partitions(bad.iter().map(refused).collect()));
    let known = found.filter(|_| !good.is_empty()).map(|found| {
        let topic = OffsetCommitRequestTopic::default().with_name(topic_name(&found.name));
        topic.with_topic_id(uuid_of(found.id)).with_partitions(good)
    });
    (known, refusal)
}

/// The groups of an answer to OffsetFetch.
fn groups_of(answer: ResponseKind) -> Vec<OffsetFetchResponseGroup> {
    let ResponseKind::OffsetFetch(response) = answer else { unreachable!("a fetch is answered as one") };
    response.groups
}

/// The answer for one group, as it was until version 7.
fn single(group: OffsetFetchResponseGroup, version: i16) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| {
        let partition = |partition: OffsetFetchResponsePartitions| {
            let answer = OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_metadata(partition.metadata)
                .with_error_code(partition.error_code);
            match version >= 5 {
                true => answer.with_committed_leader_epoch(partition.committed_leader_epoch),
                false => answer,
            }
        };
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(topic.partitions.into_iter().map(partition).collect())
    });
    let response = OffsetFetchResponse::default().with_topics(topics.collect());
    if version >= 2 { response.with_error_code(group.error_code) } else { response }
}
