//! `uniform` where members subscribe to different topics.
//!
//! 1. Everyone gives up what it does not subscribe to any more.
//! 2. Free partitions go, topic by topic, to the subscribers that have least; first the topics with most partitions for
//!    each subscriber, which leave the least choice.
//! 3. Topic by topic, partitions move from the subscribers that have most to those that have least, until a round over
//!    all topics moves nothing, or after 16 rounds.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{Assignment, Spec, java::compare_ids, put, take};
use crate::base::TopicId;

/// Subscriptions that overlap and differ may take long to balance; a round about halves what is left.
const ROUNDS_MAX: usize = 16;

/// Members are numbers here, in the order in which Kafka walks them.
type Index = usize;

struct Builder<'a> {
    ids: Vec<&'a Arc<str>>,
    subscribers: BTreeMap<TopicId, Vec<Index>>,
    /// Owner of each partition.
    owners: BTreeMap<TopicId, Vec<Option<Index>>>,
    /// How many partitions each member has.
    sizes: Vec<usize>,
    assignment: Assignment,
}

pub(super) fn assign(spec: &Spec) -> Assignment {
    let ids = spec.member_ids();
    let mut subscribers: BTreeMap<TopicId, Vec<Index>> = BTreeMap::new();
    for (index, id) in ids.iter().enumerate() {
        for topic in &spec.members[*id].topics {
            subscribers.entry(*topic).or_default().push(index);
        }
    }
    let owners = subscribers.keys().map(|topic| (*topic, vec![None; spec.partitions_of(*topic).max(0) as usize]));
    let owners = owners.collect();
    let sizes = vec![0; ids.len()];
    let mut builder = Builder { ids, subscribers, owners, sizes, assignment: Assignment::new() };
    builder.keep(spec);
    builder.assign_free();
    builder.balance();
    builder.assignment
}

impl Builder<'_> {
    fn keep(&mut self, spec: &Spec) {
        for (index, id) in self.ids.iter().enumerate() {
            let member = &spec.members[*id];
            let mut kept = member.assigned.clone();
            kept.retain(|topic, _| member.topics.contains(topic));
            for (topic, partitions) in &kept {
                self.sizes[index] += partitions.len();
                let owners = self.owners.get_mut(topic).expect("it is subscribed to");
                for partition in partitions {
                    if let Some(owner) = owners.get_mut(*partition as usize) {
                        *owner = Some(index);
                    }
                }
            }
            self.assignment.insert((*id).clone(), kept);
        }
    }

    /// Those with most partitions for each subscriber come first, then those with fewer subscribers.
    fn sorted(&self, mut topics: Vec<TopicId>) -> Vec<TopicId> {
        let share = |topic: &TopicId| self.owners[topic].len() as f64 / self.subscribers[topic].len() as f64;
        topics.sort_by(|a, b| {
            let by_share = share(b).partial_cmp(&share(a)).unwrap_or(Ordering::Equal);
            let by_subscribers = self.subscribers[a].len().cmp(&self.subscribers[b].len());
            by_share.then(by_subscribers).then_with(|| compare_ids(*a, *b))
        });
        topics
    }

    fn assign_free(&mut self) {
        let has_free = |(_, owners): &(&TopicId, &Vec<Option<Index>>)| owners.contains(&None);
        let topics = self.owners.iter().filter(has_free).map(|(topic, _)| *topic).collect();
        for topic in self.sorted(topics) {
            let mut balance = Balance::new(&self.subscribers[&topic], &self.sizes);
            let partitions = 0..self.owners[&topic].len();
            let free: Vec<usize> = partitions.filter(|partition| self.owners[&topic][*partition].is_none()).collect();
            for partition in free {
                let member = balance.next_least(&self.sizes);
                self.give(topic, partition, member);
            }
        }
    }

    fn balance(&mut self) {
        let shared = self.subscribers.iter().filter(|(_, subscribers)| subscribers.len() >= 2);
        let topics = self.sorted(shared.map(|(topic, _)| *topic).collect());
        // The last topic of which something moved.
        let mut last_moved: Option<usize> = None;
        for _ in 0..ROUNDS_MAX {
            for (index, topic) in topics.iter().enumerate() {
                if last_moved == Some(index) {
                    return;
                }
                if self.balance_topic(*topic) || last_moved.is_none() {
                    last_moved = Some(index);
                }
            }
        }
    }

    /// Whether a partition has moved.
    fn balance_topic(&mut self, topic: TopicId) -> bool {
        let mut balance = Balance::new(&self.subscribers[&topic], &self.sizes);
        if balance.imbalance(&self.sizes) <= 1 {
            return false;
        }
        let mut has: BTreeMap<Index, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in self.owners[&topic].iter().enumerate() {
            has.entry(owner.expect("everything is assigned")).or_default().push(partition);
        }
        let mut has_moved = false;
        while !balance.is_balanced() {
            let Some(partition) = balance.partition_to_move(&mut has, &self.sizes) else { break };
            let to = balance.next_least(&self.sizes);
            if balance.is_balanced() {
                break;
            }
            self.give(topic, partition, to);
            has_moved = true;
        }
        has_moved
    }

    fn give(&mut self, topic: TopicId, partition: usize, to: Index) {
        let owner = &mut self.owners.get_mut(&topic).expect("it is subscribed to")[partition];
        if let Some(from) = owner.replace(to) {
            let assigned = self.assignment.get_mut(self.ids[from]).expect("every member has an entry");
            take(assigned, topic, partition as i32);
            self.sizes[from] -= 1;
        }
        put(self.assignment.get_mut(self.ids[to]).expect("every member has an entry"), topic, partition as i32);
        self.sizes[to] += 1;
    }
}

/// The subscribers of a topic in the order of how much they have: a range at the lower end that grows to the right, one at
/// the upper end that grows to the left. In each all begin with as many partitions, and give or take one in turn.
struct Balance {
    members: Vec<Index>,
    /// End of the range of those who have least, what they have, and who is next.
    least: (usize, i64, usize),
    /// The range of those who have most; those above it have nothing to give.
    most: std::ops::Range<usize>,
    most_size: i64,
    /// The next in that range; -1 before the first.
    most_next: i64,
}

impl Balance {
    fn new(subscribers: &[Index], sizes: &[usize]) -> Self {
        let mut members = subscribers.to_vec();
        members.sort_by_key(|member| (sizes[*member], *member));
        let count = members.len();
        let least = sizes[members[0]] as i64 - 1;
        let most_size = sizes[members[count - 1]] as i64 + 1;
        Self { members, least: (0, least, 0), most: count..count, most_size, most_next: count as i64 - 1 }
    }

    fn imbalance(&self, sizes: &[usize]) -> usize {
        sizes[*self.members.last().expect("a topic has subscribers")] - sizes[self.members[0]]
    }

    fn is_balanced(&self) -> bool {
        self.most_size - self.least.1 <= 1
    }

    fn next_least(&mut self, sizes: &[usize]) -> Index {
        let (end, size, next) = &mut self.least;
        if *next >= *end {
            *size += 1;
            while *end < self.members.len() && sizes[self.members[*end]] as i64 == *size {
                *end += 1;
            }
            *next = 0;
        }
        *next += 1;
        self.members[*next - 1]
    }

    fn next_most(&mut self, sizes: &[usize]) -> Option<Index> {
        if self.most_next < self.most.start as i64 {
            match self.most.end <= self.most.start && self.most.start > 0 {
                true => self.most_size = sizes[self.members[self.most.start - 1]] as i64,
                false => self.most_size -= 1,
            }
            while self.most.start > 0 && sizes[self.members[self.most.start - 1]] as i64 == self.most_size {
                self.most.start -= 1;
            }
            self.most_next = self.most.end as i64 - 1;
        }
        let index = usize::try_from(self.most_next).ok()?;
        self.most_next -= 1;
        Some(self.members[index])
    }

    /// The last partition of a subscriber that has most; those who have none of this topic are passed over from now on.
    fn partition_to_move(&mut self, has: &mut BTreeMap<Index, Vec<usize>>, sizes: &[usize]) -> Option<usize> {
        loop {
            let member = self.next_most(sizes)?;
            if let Some(partition) = has.get_mut(&member).and_then(Vec::pop) {
                return Some(partition);
            }
            self.members.swap((self.most_next + 1) as usize, self.most.end - 1);
            self.most.end -= 1;
        }
    }
}
