//! What keeps a run that has healed from being whole: asked again and again, each answer says what is missing.

use std::{collections::BTreeMap, sync::Arc};

use super::View;
use crate::{base::TopicPartition, check::GroupPlan};

impl View {
    /// The partitions of the scenario, without those that were deleted and not made again.
    pub fn standing(&self) -> impl Iterator<Item = &TopicPartition> {
        self.cast.partitions.iter().filter(|partition| !self.is_gone(partition))
    }

    fn is_gone(&self, partition: &TopicPartition) -> bool {
        self.deleted.contains(&partition.topic) && !self.partitions.contains_key(partition)
    }

    /// Whether every broker has registered and is not fenced.
    pub fn brokers_serve(&self) -> bool {
        let mut brokers = self.cast.brokers.iter();
        brokers.all(|(name, _)| self.registered.contains(name) && !self.fenced.contains(name))
    }

    /// What keeps the cluster from being whole: every partition with a leader, a full ISR, followers that copy, and
    /// equal logs.
    pub fn unsettled(&self) -> Option<String> {
        if let Some((name, _)) = self.cast.brokers.iter().find(|(name, _)| self.fenced.contains(name)) {
            return Some(format!("{name} is fenced"));
        }
        self.standing().find_map(|partition| {
            let Some(registration) = self.partitions.get(partition) else {
                return Some(format!("{partition} does not exist"));
            };
            let Some(leader) = &registration.leader else { return Some(format!("nobody leads {partition}")) };
            if self.moving.contains(partition) {
                let replicas = registration.replicas.join(", ");
                return Some(format!("{partition} has not moved yet, its replicas are [{replicas}]"));
            }
            if registration.isr.len() < registration.replicas.len() {
                return Some(format!("the ISR of {partition} is [{}]", registration.isr.join(", ")));
            }
            let replica = |name: &str| self.replicas.get(&(partition.clone(), name.into()));
            let leads = replica(leader).filter(|leads| leads.end == leads.high_watermark);
            let leads = leads.filter(|leads| leads.leader.as_ref() == Some(leader));
            let copies = |name: &str| replica(name).is_some_and(|r| r.fetched_in == Some(registration.epoch));
            let whole = |name: &str| {
                let equal = leads.zip(replica(name)).is_some_and(|(leads, r)| leads.end == r.end);
                equal && (name == leader || copies(name))
            };
            let behind = registration.replicas.iter().find(|name| !whole(name));
            behind.map(|name| format!("{name} has not all of {partition}, or does not copy from {leader} yet"))
        })
    }

    /// A producer with records under way, of these: their names, how many records each sends, and to which topic. What
    /// is sent to a topic that was deleted nobody waits for.
    pub fn unfinished_producer<'a>(
        &self,
        mut producers: impl Iterator<Item = (&'a str, u64, &'a str)>,
    ) -> Option<String> {
        producers.find_map(|(name, count, topic)| {
            self.running.get(name)?;
            self.standing().find(|partition| *partition.topic == *topic)?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let counts = self.clients.get(name).copied().unwrap_or_default();
            let done = counts.acked + counts.failed;
            (done < count).then(|| format!("{name} knows of {done} of its {count} records what became of them"))
        })
    }

    /// A consumer of one of `topics` (by its name) that has not read to the end.
    pub fn unread(&self, consumers: &[(String, String)]) -> Option<String> {
        let behind = |(consumer, at, end, partition): (&str, i64, i64, &TopicPartition)| {
            (at < end).then(|| format!("{consumer} is at {at} of {end} in {partition}"))
        };
        self.positions_of(consumers).find_map(behind)
    }

    /// A consumer that stands where the log did not reach when its leader began: it has not noticed that it was cut.
    pub fn beyond(&self, consumers: &[(String, String)]) -> Option<String> {
        let beyond = |(consumer, at, end, partition): (&str, i64, i64, &TopicPartition)| {
            let is_overtaken = self.overtaken.contains(&(consumer.into(), partition.clone()));
            (at > end || is_overtaken).then(|| format!("{consumer} is at {at}, and {partition} ended before"))
        };
        self.positions_of(consumers).find_map(beyond)
    }

    /// Where each consumer stands in the partitions of its topic that have a leader, and where those end.
    fn positions_of<'a>(
        &'a self,
        consumers: &'a [(String, String)],
    ) -> impl Iterator<Item = (&'a str, i64, i64, &'a TopicPartition)> {
        consumers.iter().flat_map(move |(consumer, topic)| {
            let of_topic = self.cast.partitions.iter().filter(move |partition| *partition.topic == **topic);
            of_topic.filter_map(move |partition| {
                let leader = self.partitions.get(partition)?.leader.clone()?;
                let end = self.replicas.get(&(partition.clone(), leader.into()))?.high_watermark?;
                let position = self.positions.get(&(consumer.as_str().into(), partition.clone()));
                Some((consumer.as_str(), position.map_or(-1, |position| position.0), end, partition))
            })
        })
    }

    /// A partition of a group that not exactly one of its members has.
    pub fn misowned(&self, groups: &BTreeMap<Arc<str>, GroupPlan>) -> Option<String> {
        let mut joined = groups.iter().filter(|(_, plan)| !plan.assigned_by_hand);
        joined.find_map(|(group, plan)| {
            let mut standing = plan.partitions.iter().filter(|partition| !self.is_gone(partition));
            standing.find_map(|partition| self.groups.misowned(group, partition))
        })
    }

    /// A group with records that are committed and not worked through by a member: its committed offset is behind.
    pub fn uncommitted(&self, groups: &BTreeMap<Arc<str>, GroupPlan>) -> Option<String> {
        groups.iter().find_map(|(group, plan)| {
            plan.partitions.iter().find_map(|partition| {
                let leader = self.partitions.get(partition)?.leader.clone()?;
                let end = self.replicas.get(&(partition.clone(), leader.into()))?.high_watermark?;
                let at = self.groups.committed(group, partition).unwrap_or_default();
                (at < end).then(|| format!("group {group} has committed {at} of {end} in {partition}"))
            })
        })
    }

    /// A member whose application holds records that it has not worked through.
    pub fn unprocessed(&self) -> Option<String> {
        self.groups.unprocessed()
    }

    /// A group whose members have been asked to join again and have not been given anything since.
    pub fn rebalancing(&self) -> Option<String> {
        self.groups.rebalancing()
    }

    /// A group whose committed offsets the audit has not asked for.
    pub fn unaudited_group(&self) -> Option<String> {
        let missing = self.cast.groups.iter().find(|group| !self.audited_groups.contains(group.as_str()));
        missing.map(|group| format!("the audit does not know what group {group} has committed"))
    }

    /// A partition that the audit has not read to its end.
    pub fn unaudited(&self) -> Option<String> {
        let missing = self.standing().find(|partition| !self.audited.contains(*partition));
        missing.map(|partition| format!("the audit has not read {partition} to its end"))
    }
}
