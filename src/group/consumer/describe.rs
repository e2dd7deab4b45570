//! What administrators see of a group of the consumer protocol.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{ConsumerGroup, Member, records::Change};
use crate::{
    base::TopicId,
    group::{
        assignor::Partitions,
        shard::{Shard, Undo},
    },
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            ConsumerGroupDescribeResponse, GroupId, TopicName,
            consumer_group_describe_response::{
                Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
            },
            list_groups_response::ListedGroup,
        },
    },
};

impl Shard {
    /// ConsumerGroupDescribe; `uncommitted` takes back what is not to be seen, the newest first.
    pub(in crate::group) fn describe_consumers<'u>(
        &self,
        asked: &[GroupId],
        uncommitted: impl Iterator<Item = &'u Undo>,
    ) -> ConsumerGroupDescribeResponse {
        let mut before: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for undo in uncommitted {
            if let Undo::Consumer { group, before: change, .. } = undo {
                before.entry(group).or_default().push(change);
            }
        }
        let groups = asked.iter().map(|id| {
            let answer = DescribedGroup::default().with_group_id(id.clone());
            let mut group = self.consumers.get(id.as_str()).cloned();
            if let Some(changes) = before.get(id.as_str()) {
                let group = group.get_or_insert_with(|| ConsumerGroup::new(id.as_str().into()));
                changes.iter().for_each(|change| drop(group.apply(change)));
            }
            if let Some(group) = group.filter(|group| !group.is_gone()) {
                return self.described(&group, answer);
            }
            let is = if self.groups.contains_key(id.as_str()) { "is not a consumer group" } else { "not found" };
            let message = StrBytes::from_string(format!("Group {} {is}.", id.as_str()));
            answer.with_error_code(ErrorCode::GroupIdNotFound.code()).with_error_message(Some(message))
        });
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    }

    fn described(&self, group: &ConsumerGroup, answer: DescribedGroup) -> DescribedGroup {
        let members: Vec<Member> = group.members().collect();
        let member = |member: &Member| {
            let (subscription, current) = (&member.subscription, &member.current);
            let mut has: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
            for (topic, partitions) in current.assigned.iter().chain(&current.revoking) {
                has.entry(*topic).or_default().extend(partitions.keys());
            }
            let target = group.targets.get(&member.id).cloned().unwrap_or_default();
            DescribedMember::default()
                .with_member_id(string(&member.id))
                .with_instance_id(subscription.instance.as_deref().map(string))
                .with_rack_id(subscription.rack.as_deref().map(string))
                .with_member_epoch(current.epoch)
                .with_client_id(string(&subscription.client_id))
                .with_client_host(string(&subscription.client_host))
                .with_subscribed_topic_names(subscription.topics.iter().map(|name| topic_name(name)).collect())
                .with_subscribed_topic_regex(subscription.regex.as_deref().map(string))
                .with_assignment(self.described_assignment(&has))
                .with_target_assignment(self.described_assignment(&target))
                .with_member_type(i8::from(subscription.classic.is_none()))
        };
        answer
            .with_group_state(StrBytes::from_string(group.state().to_string()))
            .with_group_epoch(group.epoch())
            .with_assignment_epoch(group.assignment_epoch())
            .with_assignor_name(StrBytes::from_string(self.preferred_assignor(&members, None).to_string()))
            .with_members(members.iter().map(member).collect())
    }

    fn described_assignment(&self, partitions: &Partitions) -> Assignment {
        let topic = |(id, partitions): (&TopicId, &BTreeSet<i32>)| {
            let name: &Arc<str> = self.topics.name_of(*id)?;
            let topic = TopicPartitions::default()
                .with_topic_id(uuid::Uuid::from_bytes(id.0))
                .with_topic_name(topic_name(name));
            Some(topic.with_partitions(partitions.iter().copied().collect()))
        };
        Assignment::default().with_topic_partitions(partitions.iter().filter_map(topic).collect())
    }

    /// ListGroups: those whose state is asked for; none asked for means all.
    pub(in crate::group) fn list_consumers(&self, states: &BTreeSet<String>) -> Vec<ListedGroup> {
        let wanted =
            |group: &&ConsumerGroup| states.is_empty() || states.contains(&group.state().to_string().to_lowercase());
        let listed = |group: &ConsumerGroup| {
            ListedGroup::default()
                .with_group_id(GroupId(string(&group.id)))
                .with_protocol_type(StrBytes::from_static_str("consumer"))
                .with_group_state(StrBytes::from_string(group.state().to_string()))
                .with_group_type(StrBytes::from_static_str("consumer"))
        };
        self.consumers.values().filter(wanted).map(listed).collect()
    }
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(string(name))
}
