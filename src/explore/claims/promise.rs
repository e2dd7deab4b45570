//! What Kafka's documents promise of settings under a budget of faults.
//!
//! | acks | survives | documented in |
//! |---|---|---|
//! | 0 | nothing is promised | ProducerConfig `acks` |
//! | 1 | whatever leaves the leader in place and its log whole | ProducerConfig `acks` |
//! | all | whatever leaves one in-sync replica alive with its log, while only such a replica may be elected | ProducerConfig `acks`, design 4.7, TopicConfig `unclean.leader.election.enable` |
//!
//! "In sync" means the ISR as it is at that moment, and the ISR may be the leader alone: `min.insync.replicas` then
//! stops further promises, and takes back none. A record is not flushed when it is acknowledged unless
//! `flush.messages=1`, so a host that loses power is a replica that lost its log's end.

use super::{Budget, Settings};
use crate::client::config::Acks;

/// Whether acknowledged records are promised to survive, and by which words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// They are.
    Kept(&'static str),
    /// They are not.
    NotGiven(&'static str),
}

impl Promise {
    /// Whether a loss breaks it.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// Why.
    pub fn reason(self) -> &'static str {
        let (Self::Kept(reason) | Self::NotGiven(reason)) = self;
        reason
    }
}

/// What is promised of `settings` under `budget`.
pub fn promise(settings: &Settings, budget: &Budget) -> Promise {
    let damage = budget.damage(settings.replicas());
    let power = damage.powered > 0 && !settings.flushes_each_message();
    match settings.acks() {
        Acks::None => Promise::NotGiven("acks=0: a record counts as sent once it is in the socket buffer"),
        Acks::Leader if damage.leader_moves => Promise::NotGiven(
            "acks=1: the leader answers for itself alone, and another may come to lead without the record",
        ),
        Acks::Leader if power => Promise::NotGiven("acks=1: the leader's log is not flushed when it answers"),
        Acks::Leader => Promise::Kept("acks=1: the leader wrote it and goes on leading"),
        Acks::All if settings.is_unclean() => with_unclean_election(settings, damage, power),
        Acks::All if !power => {
            Promise::Kept("acks=all: every in-sync replica wrote it, and only an in-sync replica may be elected")
        }
        Acks::All if damage.isr_shrinks => {
            Promise::NotGiven("no flush: the ISR may have been the one host that lost power")
        }
        Acks::All if damage.crashed + damage.powered < settings.replicas() => {
            Promise::Kept("acks=all: an in-sync replica kept its log, and replication needs no flush")
        }
        Acks::All => Promise::NotGiven("no flush: no in-sync replica is left that kept its log"),
    }
}

/// With `unclean.leader.election.enable=true` any replica may be elected once no in-sync one lives.
fn with_unclean_election(settings: &Settings, damage: super::budget::Damage, power: bool) -> Promise {
    let gone = damage.crashed + damage.powered;
    if gone == 0 {
        return Promise::Kept("acks=all: every in-sync replica wrote it, and one of them is always alive");
    }
    if damage.isr_shrinks {
        // Whoever is elected has it only if every replica had to.
        return match settings.min_isr() == settings.replicas() && !power {
            true => Promise::Kept("acks=all with min.insync.replicas of all replicas: each of them wrote it"),
            false => {
                Promise::NotGiven("unclean election: a replica from outside the ISR may lead once the ISR is dead")
            }
        };
    }
    match (power, gone < settings.replicas()) {
        (_, true) => Promise::Kept("acks=all: every in-sync replica wrote it, and one of them is always alive"),
        (false, false) => Promise::Kept("acks=all: every replica was in sync and kept its log"),
        (true, false) => Promise::NotGiven("no flush: no in-sync replica is left that kept its log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(given: &[(&str, &str)], budget: &str) -> bool {
        let mut settings = Settings::default();
        given.iter().for_each(|(name, value)| settings.set(name, value).unwrap());
        promise(&settings, Budget::by_name(budget).unwrap()).is_kept()
    }

    #[test]
    fn promises_are_those_of_the_documents() {
        let unclean = ("unclean.leader.election.enable", "true");
        let (two, three, flush) = (("min.insync.replicas", "2"), ("min.insync.replicas", "3"), ("flush.messages", "1"));
        for (given, budget, expected) in [
            (&[("acks", "0")][..], "none", false),
            (&[("acks", "1")], "none", true),
            (&[("acks", "1")], "cut-clients", true),
            (&[("acks", "1")], "planned-move", false),
            (&[("acks", "1")], "crash-leader", false),
            (&[("acks", "1"), flush], "power-all", false),
            (&[("acks", "1"), ("replication.factor", "1")], "crash-leader", true),
            (&[("acks", "1"), ("replication.factor", "1")], "power-leader", false),
            (&[("acks", "1"), ("replication.factor", "1"), flush], "power-leader", true),
            (&[], "crash-all", true),
            (&[], "cut-crash", true),
            (&[], "power-in-turn", true),
            (&[], "power-all", false),
            (&[flush], "power-all", true),
            (&[two], "cut-power", false),
            (&[two, flush], "cut-power", true),
            (&[("replication.factor", "2")], "crash-power", false),
            (&[("replication.factor", "2")], "move-power", false),
            (&[("replication.factor", "2"), unclean], "planned-move", true),
            (&[("replication.factor", "2"), unclean], "move-crash", false),
            (&[("replication.factor", "2"), unclean], "crash-crash", false),
            (&[("replication.factor", "2"), unclean, two], "move-crash", true),
            (&[unclean], "move-crash", true),
            (&[], "crash-power", true),
            (&[unclean], "crash-leader", true),
            (&[unclean], "cut-crash", false),
            (&[unclean, two], "cut-crash", false),
            (&[unclean, three], "cut-crash", true),
            (&[unclean], "power-all", false),
        ] {
            assert_eq!(kept(given, budget), expected, "{given:?} under {budget}");
        }
    }
}
