//! Where all members read the same topics: each keeps up to its quota, and what is left over goes round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Group, Member, Part};

/// The partitions of each member, and those that move to a member from another.
pub(super) fn assign(group: &Group) -> (Vec<Vec<Part>>, BTreeMap<Part, Member>) {
    let (members, parts) = (group.owned.len(), group.parts_count());
    let mut builder = Builder {
        group,
        quota_min: parts / members,
        quota_max: parts.div_ceil(members),
        over_min_expected: parts % members,
        over_min: 0,
        given: vec![Vec::new(); members],
        under: Vec::new(),
        exactly: VecDeque::new(),
        given_up: BTreeMap::new(),
        moving: BTreeMap::new(),
    };
    builder.keep_owned();
    builder.go_round();
    (builder.given, builder.moving)
}

struct Builder<'a> {
    group: &'a Group,
    quota_min: usize,
    quota_max: usize,
    /// How many members have to get more than the lower quota, and how many do.
    over_min_expected: usize,
    over_min: usize,
    given: Vec<Vec<Part>>,
    /// Members below the lower quota.
    under: Vec<Member>,
    /// Members that have the lower quota and may get one more.
    exactly: VecDeque<Member>,
    /// What was above a member's quota.
    given_up: BTreeMap<Part, Member>,
    moving: BTreeMap<Part, Member>,
}

impl Builder<'_> {
    fn keep_owned(&mut self) {
        for (member, owned) in self.group.owned.iter().enumerate() {
            let mut owned: Vec<Part> =
                owned.iter().filter(|part| !self.group.disputed.contains(part)).copied().collect();
            owned.sort_by_key(|(topic, index)| (*index, *topic));
            let kept = if owned.len() < self.quota_min {
                self.under.push(member);
                owned.len()
            } else if owned.len() >= self.quota_max && self.over_min < self.over_min_expected {
                self.over_min += 1;
                if self.over_min == self.over_min_expected {
                    self.exactly.clear();
                }
                self.quota_max
            } else {
                if self.over_min < self.over_min_expected {
                    self.exactly.push_back(member);
                }
                self.quota_min
            };
            self.given_up.extend(owned.split_off(kept).into_iter().map(|part| (part, member)));
            self.given[member] = owned;
        }
    }

    /// One partition to each member below the lower quota in turns; then one to each that may have one more.
    fn go_round(&mut self) {
        let kept: BTreeSet<Part> = self.given.iter().flatten().copied().collect();
        let all = (0..self.group.counts.len()).flat_map(|topic| self.group.parts_of(topic));
        let mut next = 0;
        for part in all.filter(|part| !kept.contains(part)) {
            if next == self.under.len() {
                next = 0;
            }
            let Some(member) = self.under.get(next).copied() else {
                let member = self.exactly.pop_front().expect("the quotas add up to all partitions");
                self.give(part, member);
                continue;
            };
            self.give(part, member);
            if self.given[member].len() == self.quota_min {
                self.under.remove(next);
                self.exactly.push_back(member);
            } else {
                next += 1;
            }
        }
    }

    fn give(&mut self, part: Part, member: Member) {
        self.given[member].push(part);
        let from_another = self.given_up.get(&part).is_some_and(|from| *from != member);
        if from_another || self.group.disputed.contains(&part) {
            self.moving.insert(part, member);
        }
    }
}
