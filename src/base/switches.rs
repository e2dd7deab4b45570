//! The table of behaviour switches: each fix in the history of Kafka's replication, and each planted bug.
//!
//! A scenario pins an `era` or single `switch.*` values; the default is the newest behaviour. The deployment refuses
//! anything else unless it is started with `--teaching`. Planted bugs are marked as such, belong to no era and exist
//! only so that checkers can be seen to fail.

use std::fmt;

/// Where a follower cuts its log when it meets a new leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    /// To its own high watermark, at once on becoming follower. Loses acknowledged records (KIP-101).
    HighWatermark,
    /// Where the leader says that the follower's last epoch ends, asked once before fetching (KIP-101). The leader does
    /// not say whether it knows that epoch at all, so logs may diverge for good (KIP-279).
    OneRound,
    /// As before, and the leader names the epoch it speaks of: the follower asks until both know it (KIP-279).
    Iterative,
    /// Where the leader's epochs diverge from its own, told in the Fetch response (KAFKA-10487).
    LeaderEpoch,
}

/// Which ISR a leader counts with while a change that it asked for is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsrChange {
    /// The committed one. A follower that the controller has taken already is missed when the answer is lost.
    Committed,
    /// The committed one and everyone who may have been added to it (KIP-497).
    Maximal,
}

/// Whom a change of the ISR names when it is sent again, after a first time that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsrSentAgain {
    /// The members that the leader proposes, as the first time.
    Whole,
    /// Nobody: writing the first request without broker epochs had emptied the list (KAFKA-15353).
    Emptied,
}

/// A release of Kafka, with the old `0.x` scheme kept: 0.11.0 is before 1.0.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32, pub u32);

/// Before every release that an era may name.
const FIRST: Release = Release(0, 0, 0);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(major, minor, 0) => write!(f, "{major}.{minor}"),
            Self(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

/// The eras a scenario may pin, oldest first.
pub const ERAS: &[(&str, Release)] = &[
    ("0.8", Release(0, 8, 0)),
    ("0.10", Release(0, 10, 0)),
    ("0.11", Release(0, 11, 0)),
    ("1.1", Release(1, 1, 0)),
    ("2.0", Release(2, 0, 0)),
    ("2.8", Release(2, 8, 0)),
    ("3.3", Release(3, 3, 0)),
    ("3.6", Release(3, 6, 0)),
    ("4.1", Release(4, 1, 0)),
    ("4.3", Release(4, 3, 0)),
];

/// One row of the table of switches.
pub struct Switch {
    /// Its name in `switch.NAME = VALUE`.
    pub name: &'static str,
    /// Accepted values, the oldest first, the newest (the default) last.
    pub values: &'static [&'static str],
    /// First release with each value; empty for a planted bug.
    pub since: &'static [Release],
    /// What it changes and which KIP or JIRA fixed it.
    pub meaning: &'static str,
    set: fn(&mut Switches, usize),
}

impl Switch {
    /// Whether this is a planted bug rather than a behaviour that a release of Kafka had.
    pub fn is_planted_bug(&self) -> bool {
        self.since.is_empty()
    }
}

const fn last<T: Copy, const N: usize>(values: [T; N]) -> T {
    values[N - 1]
}

macro_rules! switches {
    (
        choices { $($choice:ident: $type:ty = [$($text:literal $value:expr, $since:expr;)+] $choice_meaning:literal;)* }
        fixes { $($fix:ident = $release:expr, $fix_meaning:literal;)* }
        bugs { $($bug:ident, $bug_meaning:literal;)* }
    ) => {
        /// Resolved switches of one run. Cheap to copy; passed to every core that has a switch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Switches {
            $(#[doc = $choice_meaning] pub $choice: $type,)*
            $(#[doc = $fix_meaning] pub $fix: bool,)*
            $(#[doc = concat!("Planted bug: ", $bug_meaning)] pub $bug: bool,)*
        }

        impl Switches {
            /// The newest behaviour, no planted bug.
            pub const NEWEST: Self = Self {
                $($choice: last([$($value),+]),)*
                $($fix: true,)*
                $($bug: false,)*
            };
        }

        /// Every switch.
        pub const TABLE: &[Switch] = &[
            $(Switch {
                name: stringify!($choice),
                values: &[$($text),+],
                since: &[$($since),+],
                meaning: $choice_meaning,
                set: |switches, value| switches.$choice = [$($value),+][value],
            },)*
            $(Switch {
                name: stringify!($fix),
                values: &["false", "true"],
                since: &[FIRST, $release],
                meaning: $fix_meaning,
                set: |switches, value| switches.$fix = value == 1,
            },)*
            $(Switch {
                name: stringify!($bug),
                values: &["true", "false"],
                since: &[],
                meaning: $bug_meaning,
                set: |switches, value| switches.$bug = value == 0,
            },)*
        ];
    };
}

switches! {
    choices {
        truncate: Truncate = [
            "high-watermark" Truncate::HighWatermark, FIRST;
            "one-round" Truncate::OneRound, Release(0, 11, 0);
            "iterative" Truncate::Iterative, Release(2, 0, 0);
            "leader-epoch" Truncate::LeaderEpoch, Release(2, 7, 0);
        ] "where a follower cuts its log when it meets a new leader (KIP-101, KIP-279, KAFKA-10487)";
        unclean_default: bool = [
            "true" true, FIRST;
            "false" false, Release(0, 11, 0);
        ] "default of unclean.leader.election.enable (KIP-106, KAFKA-4623)";
        isr_change: IsrChange = [
            "committed" IsrChange::Committed, FIRST;
            "maximal" IsrChange::Maximal, Release(2, 7, 0);
        ] "which ISR the leader counts with while a change is under way (KIP-497, KAFKA-8836)";
        hw_update_before_truncate: bool = [
            "true" true, FIRST;
            "false" false, Release(3, 4, 1);
        ] "a follower takes the high watermark of an answer that tells it to truncate (KAFKA-14704)";
        isr_sent_again: IsrSentAgain = [
            "as-it-was" IsrSentAgain::Whole, FIRST;
            "emptied" IsrSentAgain::Emptied, Release(3, 5, 0);
            "built-anew" IsrSentAgain::Whole, Release(3, 5, 2);
        ] "whom a change of the ISR names when it is sent again because nobody answered (KAFKA-15353)";
    }
    fixes {
        truncate_on_every_epoch = Release(2, 0, 1),
            "a follower asks where to truncate after each new epoch, also of the same leader (KAFKA-7164)";
        fetch_epoch_fencing = Release(2, 1, 0),
            "a follower tells its leader epoch, and an older or newer one is refused (KIP-320, KAFKA-7395)";
        consumer_truncation_check = Release(2, 3, 0),
            "a consumer tells the epoch of what it has read, and notices a truncation (KIP-320, KAFKA-7747)";
        list_offsets_needs_leso = Release(2, 2, 0),
            "the end of the log is told when the high watermark has reached the leader's epoch (KIP-207, KAFKA-2334)";
        truncate_cleans_epochs = Release(2, 6, 1),
            "a truncation to the end of the log drops epochs without records (KAFKA-10706)";
        idempotence_default = Release(3, 0, 0),
            "producers are idempotent and wait for all replicas unless they are told otherwise (KIP-679)";
        late_answers_ignored = Release(3, 0, 0),
            "an answer that comes after the partition has another leader truncates nothing (KAFKA-13207)";
        leaving_brokers_step_down = Release(3, 3, 2),
            "a broker in controlled shutdown gives up its leaderships (KAFKA-14296)";
        isr_join_needs_leso = Release(2, 0, 1),
            "a follower joins the ISR only at the begin of the leader's epoch (KAFKA-7128)";
        idle_followers_stay = Release(2, 1, 0),
            "a follower that has everything stays in the ISR without fetching (KAFKA-7152)";
        ignore_fetch_offset_when_diverging = Release(3, 0, 0),
            "the fetch offset of a diverging follower counts for nothing (KAFKA-13141)";
        hw_after_alter_partition = Release(3, 1, 0),
            "a committed ISR moves the high watermark at once (KAFKA-13091)";
        isr_excludes_fenced = Release(3, 3, 0),
            "a fenced or leaving broker may not join the ISR (KIP-841, KAFKA-13916)";
        isr_checks_broker_epoch = Release(3, 5, 0),
            "only the registered incarnation of a broker may join the ISR (KIP-903, KAFKA-14617)";
        hw_skips_ineligible = Release(3, 6, 0),
            "the high watermark does not wait for a follower that may not join the ISR (KAFKA-15021)";
        hw_strict_min_isr = Release(3, 7, 0),
            "the high watermark stays while the ISR is below min.insync.replicas (KAFKA-15583)";
        reassignment_needs_all = Release(3, 8, 0),
            "a reassignment is complete when all who stay are in the ISR, not those alone who were added (KAFKA-15665)";
        static_member_persisted = Release(2, 6, 1),
            "the new id of a static member that comes back is written, for the coordinator after this one (KAFKA-10284)";
        instance_ids_left_out = Release(3, 3, 2),
            "an answer to JoinGroup 4 or older leaves out the instance ids that it cannot carry (KAFKA-14422)";
        older_claims_count = Release(3, 4, 1),
            "cooperative-sticky believes a member that missed a generation and claims what nobody else does (KAFKA-14639)";
        commit_by_assignment_epoch = Release(4, 3, 0),
            "a member may commit with an older epoch what it has had since then (KIP-1251)";
    }
    bugs {
        bug_ack_before_isr, "acks=all is answered before the ISR has the records";
        bug_hw_ignores_one_isr_member, "the high watermark leaves out one ISR member";
        bug_no_truncation, "a follower does not truncate a diverging tail";
        bug_recovery_accepts_torn_batch, "recovery accepts a torn batch";
        bug_returning_broker_not_fenced,
            "a broker that comes back within its session keeps its leaderships and its place in the ISR";
        bug_consumers_read_to_the_end, "a consumer reads beyond the high watermark";
        bug_isr_expands_early, "a follower joins the ISR before it has caught up";
        bug_elects_outside_isr, "the controller elects the first live replica, in the ISR or not";
        bug_keeps_diverging_tail, "a follower whose log diverges keeps its tail and copies on";
        bug_serves_diverging_followers, "a leader does not notice that a follower's log diverges";
        bug_shrinks_before_commit, "a leader counts with a smaller ISR before the controller has committed it";
        bug_old_leader_leads_on, "a leader takes the epoch of the leader after it and leads on";
        bug_hw_falls, "the high watermark falls to the end of the slowest member";
        bug_min_isr_ignored, "acks=all is taken and answered below min.insync.replicas";
        bug_stale_isr_change_taken, "the controller takes a change of the ISR from a leader that was replaced";
        bug_retry_gets_new_offset, "a retry that is recognised is answered with the end of the log";
        bug_duplicates_taken, "a retry of an idempotent producer is appended again";
        bug_batches_overtake, "a producer's batch may overtake the one before it";
        bug_commit_from_old_generation, "a coordinator takes commits of members of an old generation";
        bug_static_rejoin_not_persisted, "a static member's new id is known to its coordinator alone";
        bug_live_offsets_expire, "offsets expire though the group lives and subscribes to the topic";
        bug_load_stops_at_tombstone, "a coordinator reads its records up to the first tombstone";
        bug_coordinator_answers_early, "a coordinator answers before its records are committed";
        bug_assigns_before_revoked, "a partition is handed out though the member that has it has not given it up";
        bug_fenced_heartbeat_accepted, "a coordinator takes heartbeats of members that it has put out";
        bug_old_load_wins, "a coordinator has what its broker had loaded in an older epoch, and nothing that came since";
    }
}

impl Default for Switches {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl Switches {
    /// Every behaviour as the release called `era` had it.
    ///
    /// # Errors
    /// An era that is not in [`ERAS`], with those that are.
    pub fn of_era(era: &str) -> Result<Self, String> {
        let known = || ERAS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let (_, release) = ERAS
            .iter()
            .find(|(name, _)| *name == era)
            .ok_or_else(|| format!("era `{era}` is not known; known eras: {}", known()))?;
        let mut switches = Self::NEWEST;
        for switch in TABLE {
            if let Some(value) = switch.since.iter().rposition(|since| since <= release) {
                (switch.set)(&mut switches, value);
            }
        }
        Ok(switches)
    }

    /// Sets one switch by name.
    ///
    /// # Errors
    /// A name or a value that is not in [`TABLE`], with those that are.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let switch =
            TABLE.iter().find(|switch| switch.name == name).ok_or_else(|| format!("switch `{name}` is not known"))?;
        let index = switch
            .values
            .iter()
            .position(|known| *known == value)
            .ok_or_else(|| format!("switch `{name}` takes {}, not `{value}`", switch.values.join(" or ")))?;
        (switch.set)(self, index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_has_every_older_behaviour_and_no_planted_bug() {
        let truncates = |era| Switches::of_era(era).unwrap().truncate;
        assert_eq!(truncates("0.10"), Truncate::HighWatermark);
        assert_eq!(truncates("1.1"), Truncate::OneRound);
        assert_eq!(truncates("2.0"), Truncate::Iterative);
        assert_eq!(truncates("2.8"), Truncate::LeaderEpoch);
        let at_2_8 = Switches::of_era("2.8").unwrap();
        assert!(at_2_8.isr_join_needs_leso && !at_2_8.isr_excludes_fenced && !at_2_8.bug_no_truncation);
        assert_eq!(Switches::of_era("4.3").unwrap(), Switches::NEWEST);
        assert!(Switches::of_era("0.12").unwrap_err().contains("0.11"));
    }

    #[test]
    fn setting_every_switch_to_its_newest_value_changes_nothing() {
        let mut switches = Switches::NEWEST;
        for switch in TABLE {
            switches.set(switch.name, switch.values.last().unwrap()).unwrap();
            assert_eq!(switches, Switches::NEWEST, "{}", switch.name);
        }
        assert!(switches.set("truncate", "never").unwrap_err().contains("leader-epoch"));
    }

    #[test]
    fn the_values_of_a_switch_stand_in_the_order_of_their_releases() {
        for switch in TABLE.iter().filter(|switch| !switch.is_planted_bug()) {
            assert_eq!(switch.values.len(), switch.since.len(), "{}", switch.name);
            assert!(switch.since.is_sorted() && switch.since[0] == FIRST, "{}", switch.name);
        }
    }
}
