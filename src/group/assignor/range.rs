//! `range`: each topic is cut into ranges, one for each of its subscribers in the order of their ids.
//!
//! Static members come first, by `group.instance.id`: they keep their ranges when they come back under another member
//! id. A topic's first subscribers get one partition more where they do not divide evenly.

use std::{collections::BTreeMap, sync::Arc};

use super::{Assignment, Spec, java::compare_strings};
use crate::base::TopicId;

/// A topic while its ranges are handed out.
struct Topic {
    partitions: i32,
    quota: i32,
    extra: i32,
    next: i32,
}

pub(super) fn assign(spec: &Spec) -> Assignment {
    let mut ids: Vec<&Arc<str>> = spec.members.keys().collect();
    ids.sort_by(|a, b| match (&spec.members[*a].instance, &spec.members[*b].instance) {
        (Some(a), Some(b)) => compare_strings(a, b),
        (None, None) => compare_strings(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    let mut subscribers: BTreeMap<TopicId, i32> = BTreeMap::new();
    for topic in spec.members.values().flat_map(|member| &member.topics) {
        *subscribers.entry(*topic).or_default() += 1;
    }
    let topic = |(id, subscribers): (TopicId, i32)| {
        let partitions = spec.partitions_of(id);
        (id, Topic { partitions, quota: partitions / subscribers, extra: partitions % subscribers, next: 0 })
    };
    let mut topics: BTreeMap<TopicId, Topic> = subscribers.into_iter().map(topic).collect();
    let mut assignment = Assignment::new();
    for id in ids {
        let assigned = assignment.entry(id.clone()).or_default();
        for topic_id in &spec.members[id].topics {
            let topic = topics.get_mut(topic_id).expect("its subscribers were counted");
            let quota = topic.quota + i32::from(topic.extra > 0);
            topic.extra -= i32::from(topic.extra > 0);
            let end = (topic.next + quota).min(topic.partitions);
            if topic.next < end {
                assigned.insert(*topic_id, (topic.next..end).collect());
            }
            topic.next = end;
        }
    }
    assignment
}
