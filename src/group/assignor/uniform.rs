//! `uniform` where all members subscribe to the same topics: everyone keeps what it has up to its share, and what is left
//! goes to those who have less.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Assignment, Spec,
    java::{hash_of_id, in_order_of_set, in_order_of_table},
    put, take,
};
use crate::base::TopicId;

pub(super) fn assign(spec: &Spec) -> Assignment {
    let Some(first) = spec.members.values().next() else { return Assignment::new() };
    let topics = in_order_of_set(first.topics.iter().copied(), |id| hash_of_id(*id));
    if topics.is_empty() {
        return spec.members.keys().map(|id| (id.clone(), BTreeMap::new())).collect();
    }
    let assigned: BTreeSet<(TopicId, i32)> = spec
        .members
        .values()
        .flat_map(|member| &member.assigned)
        .flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
        .collect();
    let all = topics.iter().flat_map(|topic| (0..spec.partitions_of(*topic)).map(|partition| (*topic, partition)));
    let mut free: Vec<(TopicId, i32)> = all.filter(|partition| !assigned.contains(partition)).collect();

    let total: i32 = topics.iter().map(|topic| spec.partitions_of(*topic)).sum();
    let ids = spec.member_ids();
    let count = ids.len() as i32;
    // So many members get one partition more.
    let mut extra = total % count;
    let mut assignment = Assignment::new();
    let mut hungry: Vec<(&Arc<str>, i32)> = Vec::new();
    for (index, id) in ids.into_iter().enumerate() {
        let mut kept = spec.members[id].assigned.clone();
        let mut has_extra = extra > 0;
        let mut quota = total / count + i32::from(has_extra);
        let before: Vec<TopicId> = in_order_of_table(kept.keys().copied(), |id| hash_of_id(*id));
        for topic in before {
            if !topics.contains(&topic) {
                kept.remove(&topic);
                continue;
            }
            let partitions = &kept[&topic];
            if partitions.len() as i32 <= quota {
                quota -= partitions.len() as i32;
                continue;
            }
            for partition in in_order_of_set(partitions.clone(), |partition| *partition as u32) {
                if quota > 0 {
                    quota -= 1;
                } else {
                    take(&mut kept, topic, partition);
                    free.push((topic, partition));
                }
            }
        }
        // A later member that is full already may keep its partition more, if enough members are left to use up the rest.
        if quota > 0 && has_extra && count - index as i32 > extra {
            quota -= 1;
            has_extra = false;
        }
        if quota > 0 {
            hungry.push((id, quota));
        }
        extra -= i32::from(has_extra);
        assignment.insert(id.clone(), kept);
    }
    let mut free = free.into_iter();
    for (id, quota) in hungry {
        let assigned = assignment.get_mut(id).expect("every member has an entry");
        for (topic, partition) in free.by_ref().take(quota as usize) {
            put(assigned, topic, partition);
        }
    }
    assignment
}
