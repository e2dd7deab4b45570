//! `roundrobin`: all partitions in order, one to each member in turns; a member is passed over where it does not read
//! the topic.

use super::{Assignment, Members, PartitionCounts, in_turn, nothing};
use crate::base::TopicPartition;

/// Who gets what.
pub(super) fn assign(partitions: &PartitionCounts, members: &Members) -> Assignment {
    let mut assignment = nothing(members);
    let mut turns = in_turn(members.iter()).into_iter().cycle().peekable();
    for (topic, count) in partitions {
        for index in 0..*count {
            // Ends: a topic is only there if somebody reads it.
            while turns.next_if(|member| !members[*member].topics.contains(topic)).is_some() {}
            let Some(member) = turns.next() else { return assignment };
            let given = assignment.get_mut(member).expect("each member has an entry");
            given.push(TopicPartition::new(topic.clone(), index));
        }
    }
    assignment
}
