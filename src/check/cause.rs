//! Why an acknowledged record was lost: a closed vocabulary, derived from the record's *decisive* event.
//!
//! The decisive event is the first after which the leader's lineage lacks the record for good: an election, or the
//! restart of a leader whose log came back without it. With `holders` the brokers that had a copy before it:
//!
//! | decisive event | and | cause |
//! |---|---|---|
//! | any | every holder lost power since it got its copy | `power-loss-of-all-copies` |
//! | election of a broker whose copy a power loss took | another holder did not lose power | `elected-after-power-loss` |
//! | election of a broker that had cut its copy to its own high watermark | | `truncated-to-high-watermark` |
//! | unclean election of a broker without a copy | the promise came before it | `leader-elected-without-them` |
//! | any election | the promise came after it, from the leader it replaced | `acknowledged-by-a-stale-leader` |
//! | clean election, the old leader's process ended before it | acks=1 | `leader-crashed-before-replication` |
//! | clean election, the old leader ran on | acks=1 | `leader-moved-before-replication` |
//! | clean election of a broker that never had a copy | acks=all | `acknowledged-too-early` |
//! | none of these, or no decisive event in the journal | | `unknown` |

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::base::suggest;

/// Why an acknowledged record was lost. The table of this module defines each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Every broker with a copy lost power before the record was flushed.
    PowerLossOfAllCopies,
    /// A broker that had lost its copy with its power was still in the ISR, and was elected.
    ElectedAfterPowerLoss,
    /// The new leader had cut its copy off when it met an earlier leader: before KIP-101.
    TruncatedToHighWatermark,
    /// An unclean election: the new leader came from outside the ISR and never had the records.
    LeaderElectedWithoutThem,
    /// A leader that had been replaced did not know it yet, and acknowledged.
    AcknowledgedByAStaleLeader,
    /// acks=1: the leader died before a follower had copied the record.
    LeaderCrashedBeforeReplication,
    /// acks=1: leadership moved in peace to a follower that had not copied the record.
    LeaderMovedBeforeReplication,
    /// acks=all was answered although an ISR member did not have the record: a bug.
    AcknowledgedTooEarly,
    /// The journal does not tell.
    Unknown,
}

impl Cause {
    /// Every cause.
    pub const ALL: &[Self] = &[
        Self::PowerLossOfAllCopies,
        Self::ElectedAfterPowerLoss,
        Self::TruncatedToHighWatermark,
        Self::LeaderElectedWithoutThem,
        Self::AcknowledgedByAStaleLeader,
        Self::LeaderCrashedBeforeReplication,
        Self::LeaderMovedBeforeReplication,
        Self::AcknowledgedTooEarly,
        Self::Unknown,
    ];

    /// Its name in scenarios and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerLossOfAllCopies => "power-loss-of-all-copies",
            Self::ElectedAfterPowerLoss => "elected-after-power-loss",
            Self::TruncatedToHighWatermark => "truncated-to-high-watermark",
            Self::LeaderElectedWithoutThem => "leader-elected-without-them",
            Self::AcknowledgedByAStaleLeader => "acknowledged-by-a-stale-leader",
            Self::LeaderCrashedBeforeReplication => "leader-crashed-before-replication",
            Self::LeaderMovedBeforeReplication => "leader-moved-before-replication",
            Self::AcknowledgedTooEarly => "acknowledged-too-early",
            Self::Unknown => "unknown",
        }
    }

    /// The reason in plain words, after "because".
    pub fn reason(self) -> &'static str {
        match self {
            Self::PowerLossOfAllCopies => "every broker that had them lost power before writing them to disk",
            Self::ElectedAfterPowerLoss => "a broker that had lost them with its power was elected leader",
            Self::TruncatedToHighWatermark => {
                "a follower cut them off at its own high watermark (as before Kafka 0.11) and was then elected leader"
            }
            Self::LeaderElectedWithoutThem => "an unclean election chose a leader that never had them",
            Self::AcknowledgedByAStaleLeader => {
                "a leader that had been replaced did not know it yet and went on acknowledging"
            }
            Self::LeaderCrashedBeforeReplication => {
                "acks=1 asks only for the leader's copy, and the leader died before a follower had copied them"
            }
            Self::LeaderMovedBeforeReplication => {
                "acks=1 asks only for the leader's copy, and leadership moved to a follower that had not copied them"
            }
            Self::AcknowledgedTooEarly => "acks=all was answered although an in-sync replica did not have them",
            Self::Unknown => "the journal does not tell why",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Cause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|cause| cause.name() == text).ok_or_else(|| {
            let nearest = suggest::nearest(text, Self::ALL.iter().map(|cause| cause.name()));
            let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            format!("`{text}` is not a cause of loss{hint}")
        })
    }
}

impl Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
