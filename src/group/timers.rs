//! What is due at which time. Timers produce writes and answers, never state of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::base::Time;

/// What a timer is for. Setting it again moves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey {
    pub group: Arc<str>,
    pub kind: TimerKind,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKind {
    /// The members have had their time to join.
    Join,
    /// The members have had their time to ask for their assignment.
    Sync,
    /// A member has had its time to give up partitions.
    Revocation(Arc<str>),
    /// A member of the classic protocol in a group of the consumer protocol has had its time to join again.
    Rejoin(Arc<str>),
    /// It has had its time to ask for its assignment.
    Resync(Arc<str>),
    /// The topics are to be searched for regular expressions.
    Regex,
    /// What the group has agreed has had its time to be committed.
    Commit,
    /// A member has been silent for its session, or a joining one for too long.
    Session(Arc<str>),
}

/// What is due, and when.
#[derive(Debug)]
pub(super) struct Timer {
    pub at: Time,
    pub key: TimerKey,
}

/// All timers of a shard.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<TimerKey, Time>,
    by_time: BTreeSet<(Time, TimerKey)>,
}

impl Timers {
    pub fn set(&mut self, group: &Arc<str>, kind: TimerKind, at: Time) {
        let key = TimerKey { group: group.clone(), kind };
        if let Some(before) = self.due.insert(key.clone(), at) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    pub fn set_if_absent(&mut self, group: &Arc<str>, kind: TimerKind, at: Time) {
        if !self.due.contains_key(&TimerKey { group: group.clone(), kind: kind.clone() }) {
            self.set(group, kind, at);
        }
    }

    pub fn cancel(&mut self, group: &Arc<str>, kind: TimerKind) {
        self.take(group, kind);
    }

    fn take(&mut self, group: &Arc<str>, kind: TimerKind) -> Option<Timer> {
        let key = TimerKey { group: group.clone(), kind };
        let at = self.due.remove(&key)?;
        self.by_time.remove(&(at, key.clone()));
        Some(Timer { at, key })
    }

    /// Nothing is due for a member of a group of the consumer protocol any more. Gives what was.
    pub fn take_all_of(&mut self, group: &Arc<str>, member: &Arc<str>) -> Vec<Timer> {
        let kinds = [TimerKind::Session, TimerKind::Revocation, TimerKind::Rejoin, TimerKind::Resync];
        kinds.into_iter().filter_map(|kind| self.take(group, kind(member.clone()))).collect()
    }

    /// It is due again after all.
    pub fn put_back(&mut self, timer: Timer) {
        self.set(&timer.key.group.clone(), timer.key.kind, timer.at);
    }

    pub fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The earliest timer that is due at `now`; it is gone then.
    pub fn pop(&mut self, now: Time) -> Option<TimerKey> {
        self.by_time.first().filter(|(at, _)| *at <= now)?;
        let (_, key) = self.by_time.pop_first()?;
        self.due.remove(&key);
        Some(key)
    }
}
