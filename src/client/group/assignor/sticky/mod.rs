//! What `sticky` and `cooperative-sticky` share (KIP-54, KIP-341, KIP-429): everybody gets the same number of
//! partitions or one more, and keeps of what it had as much as that permits.
//!
//! Where all read the same topics, quotas are enough (`constrained`); otherwise the assignment is made better in small
//! steps (`general`). Both see members and topics as their positions in the order of names.

mod constrained;
mod general;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Assignment, Members, Memory, NO_GENERATION, PartitionCounts, Subscription};
use crate::base::TopicPartition;

/// A topic by its position, and a partition's index in it.
type Part = (usize, i32);
/// A member by its position.
type Member = usize;

/// A group as the two ways to assign see it.
struct Group {
    /// Number of partitions, by topic.
    counts: Vec<i32>,
    /// Topics that each member reads.
    reads: Vec<BTreeSet<usize>>,
    /// What each had before as far as it is still its own, in the order in which it told it.
    owned: Vec<Vec<Part>>,
    /// What each says that it had, and in which generation.
    told: Vec<(Vec<Part>, Option<i32>)>,
    /// Partitions that two members of one generation claim.
    disputed: BTreeSet<Part>,
    /// The newest generation that anybody has told of.
    generation_max: i32,
}

/// Who gets what. Also which partitions move from one member to another, if that is known without looking.
pub(super) fn assign(
    partitions: &PartitionCounts,
    members: &Members,
    memory: fn(&Subscription) -> Memory,
) -> (Assignment, Option<BTreeMap<TopicPartition, Arc<str>>>) {
    let topics: Vec<&Arc<str>> = partitions.keys().collect();
    let names: Vec<&Arc<str>> = members.keys().collect();
    if names.is_empty() {
        return (Assignment::new(), None);
    }
    let group = Group::new(partitions, members, memory);
    let name = |(topic, index): Part| TopicPartition::new(topics[topic].clone(), index);
    let (given, moving) = if group.all_read_the_same(members) {
        let (given, moving) = constrained::assign(&group);
        (given, Some(moving))
    } else {
        (general::assign(&group), None)
    };
    let given = given.into_iter().enumerate();
    let assignment = given.map(|(member, parts)| (names[member].clone(), parts.into_iter().map(name).collect()));
    let moving = moving.map(|all| all.into_iter().map(|(part, to)| (name(part), names[to].clone())).collect());
    (assignment.collect(), moving)
}

impl Group {
    fn new(partitions: &PartitionCounts, members: &Members, memory: fn(&Subscription) -> Memory) -> Self {
        let position: BTreeMap<&str, usize> = partitions.keys().map(|topic| &**topic).zip(0..).collect();
        let reads = members
            .values()
            .map(|said| said.topics.iter().filter_map(|topic| position.get(&**topic).copied()).collect());
        let told = members.values().map(memory).map(|memory| {
            let known = |one: TopicPartition| Some((position.get(&*one.topic).copied()?, one.partition));
            (memory.owned.into_iter().filter_map(known).collect(), memory.generation)
        });
        let mut group = Self {
            counts: partitions.values().copied().collect(),
            reads: reads.collect(),
            owned: vec![Vec::new(); members.len()],
            told: told.collect(),
            disputed: BTreeSet::new(),
            generation_max: NO_GENERATION,
        };
        group.settle_claims(members);
        group
    }

    /// Whom each partition belonged to: of two who claim it the one of the newer generation, and neither where both
    /// are of the same.
    fn settle_claims(&mut self, members: &Members) {
        let stated: Vec<i32> = members.values().map(|said| said.generation.unwrap_or(NO_GENERATION)).collect();
        let mut owner: BTreeMap<Part, Member> = BTreeMap::new();
        for (member, (claimed, generation)) in self.told.iter().enumerate() {
            let generation = generation.unwrap_or(NO_GENERATION);
            self.generation_max = self.generation_max.max(generation);
            for part in claimed {
                let Some(other) = owner.get(part).copied() else {
                    self.owned[member].push(*part);
                    owner.insert(*part, member);
                    continue;
                };
                if generation < stated[other] {
                    continue;
                }
                if generation == stated[other] {
                    self.disputed.insert(*part);
                } else {
                    self.owned[member].push(*part);
                }
                self.owned[other].retain(|owned| owned != part);
                owner.insert(*part, member);
            }
        }
    }

    /// Also of topics that do not exist.
    fn all_read_the_same(&self, members: &Members) -> bool {
        let mut sets = members.values().map(|said| said.topics.iter().collect::<BTreeSet<_>>());
        let first = sets.next();
        sets.all(|set| Some(set) == first)
    }

    fn parts_of(&self, topic: usize) -> impl Iterator<Item = Part> + use<> {
        (0..self.counts[topic]).map(move |index| (topic, index))
    }

    fn parts_count(&self) -> usize {
        self.counts.iter().map(|count| usize::try_from(*count).expect("a topic has partitions")).sum()
    }
}
