//! A member's next step towards its target assignment.
//!
//! ```text
//! Stable -- something is to be given up --> UnrevokedPartitions -- given up --.
//!   ^  '--- others have what is to be its own --> UnreleasedPartitions        |
//!   '------------------- nobody has it any more ----------'-------------------'
//! ```
//!
//! While it has to give something up it stays in its epoch. What others have is handed to it when they have given it up.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Refusal,
    records::{Current, Epochs, MemberState},
};
use crate::{base::TopicId, group::assignor::Partitions, protocol::ErrorCode};

/// What a member is reconciled by.
pub(super) struct Goal<'a> {
    /// Epoch of the target assignment.
    pub epoch: i32,
    /// What the member is to have.
    pub target: &'a Partitions,
    /// The topics that it subscribes to and that exist.
    pub topics: &'a BTreeSet<TopicId>,
    /// Whether it has just subscribed to others.
    pub resubscribed: bool,
    /// What it says that it has; `None`: the same as before.
    pub owned: Option<&'a BTreeSet<(TopicId, i32)>>,
    /// Whether another member has a partition or still may have it.
    pub is_taken: &'a dyn Fn(TopicId, i32) -> bool,
}

impl Goal<'_> {
    /// The member's next state, which may be the one it is in.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH where a newer broker left the member in a state that is not known here.
    pub fn next(&self, current: &Current) -> Result<Current, Refusal> {
        match current.state {
            MemberState::Stable if current.epoch != self.epoch => Ok(self.advance(current, current.epoch)),
            MemberState::Stable if self.resubscribed => Ok(self.give_up(current)),
            MemberState::Stable => Ok(current.clone()),
            MemberState::UnrevokedPartitions if self.has_any_of(&current.revoking) => match self.resubscribed {
                true => Ok(self.give_up(current)),
                false => Ok(current.clone()),
            },
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.advance(current, current.epoch))
            }
            MemberState::Unknown(_) if self.owned.is_some_and(BTreeSet::is_empty) => {
                Ok(self.advance(current, self.epoch))
            }
            MemberState::Unknown(_) => {
                let message = "The consumer group member is in a unknown state. The member must abandon all its \
                               partitions and rejoin.";
                Err((ErrorCode::FencedMemberEpoch, message.to_owned()))
            }
        }
    }

    /// Whether it says that it has one of these, or says nothing.
    fn has_any_of(&self, partitions: &Epochs) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(topic, partition)| partitions.get(topic).is_some_and(|of| of.contains_key(partition)))
    }

    /// A member without a new target gives up what it does not subscribe to any more.
    fn give_up(&self, current: &Current) -> Current {
        let mut next = current.clone();
        next.assigned.retain(|topic, _| self.topics.contains(topic));
        let subscribes_to_nothing = self.topics.is_empty() && current.revoking.is_empty();
        if next.assigned.len() == current.assigned.len() && !subscribes_to_nothing {
            return next;
        }
        for (topic, partitions) in current.assigned.iter().filter(|(topic, _)| !self.topics.contains(topic)) {
            next.revoking.entry(*topic).or_default().extend(partitions);
        }
        next.previous_epoch = current.epoch;
        match !next.revoking.is_empty() && self.has_any_of(&next.revoking) {
            true => next.state = MemberState::UnrevokedPartitions,
            false => next.revoking.clone_from(&current.revoking),
        }
        next
    }

    fn advance(&self, current: &Current, epoch: i32) -> Current {
        let (mut assigned, mut revoking) = (Epochs::new(), Epochs::new());
        for (topic, partitions) in &current.assigned {
            let target = self.target.get(topic).filter(|_| self.topics.contains(topic));
            for (partition, since) in partitions {
                let kept = target.is_some_and(|target| target.contains(partition));
                let place = if kept { &mut assigned } else { &mut revoking };
                place.entry(*topic).or_default().insert(*partition, *since);
            }
        }
        if !revoking.is_empty() && self.has_any_of(&revoking) {
            let state = MemberState::UnrevokedPartitions;
            return Current { epoch, previous_epoch: current.epoch, state, assigned, revoking };
        }
        let mut state = MemberState::Stable;
        for (topic, partitions) in self.target.iter().filter(|(topic, _)| self.topics.contains(topic)) {
            let had = |partition: &i32| assigned_has(&current.assigned, *topic, *partition);
            for partition in partitions.iter().filter(|partition| !had(partition)) {
                let own = assigned_has(&current.revoking, *topic, *partition);
                if !own && (self.is_taken)(*topic, *partition) {
                    state = MemberState::UnreleasedPartitions;
                } else {
                    assigned.entry(*topic).or_default().insert(*partition, self.epoch);
                }
            }
        }
        Current { epoch: self.epoch, previous_epoch: current.epoch, state, assigned, revoking: BTreeMap::new() }
    }
}

fn assigned_has(epochs: &Epochs, topic: TopicId, partition: i32) -> bool {
    epochs.get(&topic).is_some_and(|partitions| partitions.contains_key(&partition))
}
