//! `range`: the partitions of each topic in order, cut into as many runs as there are members that read it. The first
//! members get one more where it does not come out even.

use super::{Assignment, Members, PartitionCounts, in_turn, nothing};
use crate::base::TopicPartition;

/// Who gets what.
pub(super) fn assign(partitions: &PartitionCounts, members: &Members) -> Assignment {
    let mut assignment = nothing(members);
    for (topic, count) in partitions {
        let readers = in_turn(members.iter().filter(|(_, member)| member.topics.contains(topic)));
        let readers_count = i32::try_from(readers.len()).expect("a group has fewer than 2^31 members");
        let mut indexes = 0..*count;
        for (turn, reader) in (0..).zip(readers) {
            let length = count / readers_count + i32::from(turn < count % readers_count);
            let run = indexes.by_ref().take(usize::try_from(length).expect("a part of a count"));
            let run = run.map(|index| TopicPartition::new(topic.clone(), index));
            assignment.get_mut(reader).expect("each member has an entry").extend(run);
        }
    }
    assignment
}
