//! Where members read different topics: everything that has no owner goes to whoever has least, then single partitions
//! move from members with more to members with less, as long as that makes the assignment more even.

use std::collections::{BTreeMap, BTreeSet};

use super::{Group, Member, Part};

/// The partitions of each member.
pub(super) fn assign(group: &Group) -> Vec<Vec<Part>> {
    let mut readers = vec![Vec::new(); group.counts.len()];
    for (member, topics) in group.reads.iter().enumerate() {
        topics.iter().for_each(|topic| readers[*topic].push(member));
    }
    let most = group.reads.iter().map(|topics| topics.iter().flat_map(|topic| group.parts_of(*topic)).count());
    let mut builder = Builder {
        group,
        most: most.collect(),
        previous: previous(group),
        state: State { given: vec![Vec::new(); group.owned.len()], owner: BTreeMap::new() },
        by_size: BTreeSet::new(),
        movements: Movements::default(),
        readers,
    };
    builder.build();
    builder.state.given
}

/// Who had a partition in the last generation but the newest, so far as that is told.
fn previous(group: &Group) -> BTreeMap<Part, Member> {
    let mut newest: BTreeMap<Part, (i32, Member)> = BTreeMap::new();
    for (member, (told, generation)) in group.told.iter().enumerate() {
        let generation = generation.unwrap_or(super::NO_GENERATION);
        if generation >= group.generation_max {
            continue;
        }
        for part in told {
            let old = newest.entry(*part).or_insert((generation, member));
            if generation > old.0 {
                *old = (generation, member);
            }
        }
    }
    newest.into_iter().map(|(part, (_, member))| (part, member)).collect()
}

#[derive(Clone)]
struct State {
    given: Vec<Vec<Part>>,
    owner: BTreeMap<Part, Member>,
}

struct Builder<'a> {
    group: &'a Group,
    /// Members that read each topic.
    readers: Vec<Vec<Member>>,
    /// Number of partitions that each member could have.
    most: Vec<usize>,
    previous: BTreeMap<Part, Member>,
    state: State,
    /// Members that may get or give, those with the fewest partitions first.
    by_size: BTreeSet<(usize, Member)>,
    movements: Movements,
}

impl Builder<'_> {
    fn build(&mut self) {
        let mut revoked = false;
        for (member, owned) in self.group.owned.iter().enumerate() {
            for part in owned {
                // As in Kafka, who has lost a topic counts as its owner until somebody else gets it.
                self.state.owner.insert(*part, member);
                if self.group.reads[member].contains(&part.0) {
                    self.state.given[member].push(*part);
                } else {
                    revoked = true;
                }
            }
        }
        self.by_size = self.state.given.iter().map(Vec::len).zip(0..).collect();
        let kept: BTreeSet<Part> = self.state.given.iter().flatten().copied().collect();
        let mut topics: Vec<usize> = (0..self.group.counts.len()).collect();
        topics.sort_by_key(|topic| (self.readers[*topic].len(), *topic));
        let all: Vec<Part> = topics.iter().flat_map(|topic| self.group.parts_of(*topic)).collect();
        let free: Vec<Part> = all.iter().filter(|part| !kept.contains(part)).copied().collect();
        self.balance(&all, &free, revoked);
    }

    fn balance(&mut self, all: &[Part], free: &[Part], revoked: bool) {
        let fresh = self.by_size.last().is_none_or(|(size, _)| *size == 0);
        free.iter().for_each(|part| self.give_to_smallest(*part));
        let may_move = |part: &&Part| self.readers[part.0].len() >= 2;
        let all: Vec<Part> = all.iter().filter(may_move).copied().collect();
        let free: Vec<Part> = free.iter().filter(may_move).copied().collect();
        let fixed: Vec<_> = self.by_size.iter().filter(|(_, member)| !self.takes_part(*member)).copied().collect();
        self.by_size.retain(|entry| !fixed.contains(entry));
        let before = self.state.clone();
        if !revoked {
            self.reassign(&free);
        }
        let moved = self.reassign(&all);
        if !fresh && moved && self.score(&self.state) >= self.score(&before) {
            self.state = before;
        }
    }

    fn give_to_smallest(&mut self, part: Part) {
        let reader = self.by_size.iter().find(|(_, member)| self.group.reads[*member].contains(&part.0)).copied();
        let Some((size, member)) = reader else { return };
        self.by_size.remove(&(size, member));
        self.state.given[member].push(part);
        self.state.owner.insert(part, member);
        self.by_size.insert((size + 1, member));
    }

    /// Whether a member could get more, or has something that another could.
    fn takes_part(&self, member: Member) -> bool {
        let given = &self.state.given[member];
        given.len() < self.most[member] || given.iter().any(|part| self.readers[part.0].len() >= 2)
    }

    /// Members that may still change; the others' partitions are nobody's to move.
    fn is_open(&self, member: Member) -> bool {
        self.by_size.contains(&(self.size(member), member))
    }

    fn size(&self, member: Member) -> usize {
        self.state.given[member].len()
    }

    /// Nobody could get a partition from somebody who has two more.
    fn is_balanced(&self) -> bool {
        let (Some((fewest, _)), Some((most, _))) = (self.by_size.first(), self.by_size.last()) else { return true };
        if fewest + 1 >= *most {
            return true;
        }
        self.by_size.iter().filter(|(size, member)| *size < self.most[*member]).all(|(size, member)| {
            let could = self.group.reads[*member].iter().flat_map(|topic| self.group.parts_of(*topic));
            could.filter_map(|part| self.state.owner.get(&part)).all(|owner| size + 1 >= self.size(*owner))
        })
    }

    fn reassign(&mut self, parts: &[Part]) -> bool {
        let mut ever = false;
        loop {
            let mut moved = false;
            for part in parts {
                if self.is_balanced() {
                    break;
                }
                let Some(owner) = self.state.owner.get(part).copied() else { continue };
                let has_two_more = |other: Member| self.size(owner) > self.size(other) + 1;
                let before = self.previous.get(part).copied();
                let back = before.filter(|before| self.is_open(*before) && has_two_more(*before));
                let to = match back {
                    Some(before) => Some(before),
                    None if self.readers[part.0].iter().any(|other| has_two_more(*other)) => self.smallest(part.0),
                    None => None,
                };
                if let Some(to) = to {
                    self.move_one(*part, owner, to);
                    moved = true;
                }
            }
            if !moved {
                return ever;
            }
            ever = true;
        }
    }

    fn smallest(&self, topic: usize) -> Option<Member> {
        let mut readers = self.by_size.iter().filter(|(_, member)| self.group.reads[*member].contains(&topic));
        readers.next().map(|(_, member)| *member)
    }

    /// Moves `part`, or another of its topic that is on its way from `to` to `from` already.
    fn move_one(&mut self, part: Part, from: Member, to: Member) {
        let part = self.movements.instead_of(part, from, to);
        let from = self.state.owner.insert(part, to).expect("a partition that moves has an owner");
        self.by_size.remove(&(self.size(from), from));
        self.by_size.remove(&(self.size(to), to));
        self.movements.add(part, from, to);
        self.state.given[from].retain(|other| *other != part);
        self.state.given[to].push(part);
        self.by_size.insert((self.size(from), from));
        self.by_size.insert((self.size(to), to));
    }

    /// How uneven an assignment is: the differences of all pairs of members that take part.
    fn score(&self, state: &State) -> usize {
        let sizes: Vec<usize> = self.by_size.iter().map(|(_, member)| state.given[*member].len()).collect();
        let pairs = sizes.iter().enumerate().flat_map(|(at, a)| sizes[at + 1..].iter().map(move |b| a.abs_diff(*b)));
        pairs.sum()
    }
}

/// What has moved so far, so that no two partitions of a topic change places.
#[derive(Default)]
struct Movements {
    of: BTreeMap<Part, (Member, Member)>,
}

impl Movements {
    fn instead_of(&self, part: Part, from: Member, to: Member) -> Part {
        let from = self.of.get(&part).map_or(from, |(origin, _)| *origin);
        let of_topic = self.of.range((part.0, i32::MIN)..=(part.0, i32::MAX));
        let mut opposite = of_topic.filter(|(_, way)| **way == (to, from));
        opposite.next().map_or(part, |(other, _)| *other)
    }

    fn add(&mut self, part: Part, from: Member, to: Member) {
        let origin = self.of.remove(&part).map_or(from, |(origin, _)| origin);
        if origin != to {
            self.of.insert(part, (origin, to));
        }
    }
}
