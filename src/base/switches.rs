//! The table of behaviour switches: each fix in the history of Kafka's replication, and each planted bug.
//!
//! A scenario pins an `era` or single `switch.*` values; the default is the newest behaviour. The deployment refuses
//! anything else unless it is started with `--teaching`. Planted bugs are marked as such, belong to no era and exist
//! only so that checkers can be seen to fail.

use std::fmt;

/// Where a follower cuts its log when it meets a new leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    /// To its own high watermark, at once on becoming follower: before 0.11. Loses acknowledged records (KIP-101).
    HighWatermark,
    /// Where the leader's epochs diverge from its own, told in the Fetch response (KIP-101, KIP-279, KAFKA-10487).
    LeaderEpoch,
}

/// Resolved switches of one run. Cheap to copy; passed to every core that has a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// `truncate`.
    pub truncate: Truncate,
    /// `unclean_default`: the default of `unclean.leader.election.enable` (KIP-106 made it false).
    pub unclean_default: bool,
    /// Planted bug: acks=all is answered as soon as the leader has appended.
    pub bug_ack_before_isr: bool,
    /// Planted bug: the high watermark leaves out the ISR member with the highest id.
    pub bug_hw_ignores_one_isr_member: bool,
    /// Planted bug: a follower ignores the diverging epoch and keeps its tail.
    pub bug_no_truncation: bool,
    /// Planted bug: recovery takes a batch whose CRC does not match.
    pub bug_recovery_accepts_torn_batch: bool,
    /// Planted bug: a follower joins the ISR on its first fetch, however far behind it is.
    pub bug_isr_expands_early: bool,
}

impl Switches {
    /// The newest behaviour, no planted bug.
    pub const NEWEST: Self = Self {
        truncate: Truncate::LeaderEpoch,
        unclean_default: false,
        bug_ack_before_isr: false,
        bug_hw_ignores_one_isr_member: false,
        bug_no_truncation: false,
        bug_recovery_accepts_torn_batch: false,
        bug_isr_expands_early: false,
    };
}

impl Default for Switches {
    fn default() -> Self {
        Self::NEWEST
    }
}

/// One row of the table of switches.
pub struct Switch {
    /// Its name in `switch.NAME = VALUE`.
    pub name: &'static str,
    /// Accepted values, the oldest first, the newest (the default) last.
    pub values: &'static [&'static str],
    /// First release with the newest value, `None` for a planted bug.
    pub fixed_in: Option<Release>,
    /// What it changes and which KIP or JIRA fixed it.
    pub meaning: &'static str,
    set: fn(&mut Switches, usize),
}

impl Switch {
    /// Whether this is a planted bug rather than a behaviour that a release of Kafka had.
    pub fn is_planted_bug(&self) -> bool {
        self.fixed_in.is_none()
    }
}

/// A release of Kafka, `major.minor` with the old `0.x` scheme kept: (0, 11) is before (1, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The eras a scenario may pin, oldest first.
pub const ERAS: &[(&str, Release)] = &[
    ("0.8", Release(0, 8)),
    ("0.10", Release(0, 10)),
    ("0.11", Release(0, 11)),
    ("2.8", Release(2, 8)),
    ("4.1", Release(4, 1)),
];

/// Every switch.
pub const TABLE: &[Switch] = &[
    Switch {
        name: "truncate",
        values: &["high-watermark", "leader-epoch"],
        fixed_in: Some(Release(0, 11)),
        meaning: "where a follower cuts its log when it meets a new leader (KIP-101, KAFKA-1211)",
        set: |switches, value| {
            switches.truncate = [Truncate::HighWatermark, Truncate::LeaderEpoch][value];
        },
    },
    Switch {
        name: "unclean_default",
        values: &["true", "false"],
        fixed_in: Some(Release(0, 11)),
        meaning: "default of unclean.leader.election.enable (KIP-106, KAFKA-4623)",
        set: |switches, value| switches.unclean_default = value == 0,
    },
    bug("bug_ack_before_isr", "acks=all is answered before the ISR has the records", |s, v| {
        s.bug_ack_before_isr = v == 0;
    }),
    bug("bug_hw_ignores_one_isr_member", "the high watermark leaves out one ISR member", |s, v| {
        s.bug_hw_ignores_one_isr_member = v == 0;
    }),
    bug("bug_no_truncation", "a follower does not truncate a diverging tail", |s, v| {
        s.bug_no_truncation = v == 0;
    }),
    bug("bug_recovery_accepts_torn_batch", "recovery accepts a torn batch", |s, v| {
        s.bug_recovery_accepts_torn_batch = v == 0;
    }),
    bug("bug_isr_expands_early", "a follower joins the ISR before it has caught up", |s, v| {
        s.bug_isr_expands_early = v == 0;
    }),
];

const fn bug(name: &'static str, meaning: &'static str, set: fn(&mut Switches, usize)) -> Switch {
    Switch { name, values: &["true", "false"], fixed_in: None, meaning, set }
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
            if switch.fixed_in.is_some_and(|fixed| *release < fixed) {
                (switch.set)(&mut switches, 0);
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
        let old = Switches::of_era("0.10").unwrap();
        assert_eq!(old, Switches { truncate: Truncate::HighWatermark, unclean_default: true, ..Switches::NEWEST });
        assert_eq!(Switches::of_era("0.11").unwrap(), Switches::NEWEST);
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
}
