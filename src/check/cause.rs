//! Why an acknowledged record was lost: a closed vocabulary, derived from the record's *decisive* event.
//!
//! The decisive event is the first after which the leader's lineage lacks the record for good: an election, or the
//! restart of a leader whose log came back without it. The first row that applies names the cause:
//!
//! | copy of the broker that leads after it | and | cause |
//! |---|---|---|
//! | lost with its power | so was every other copy, or its host lost power too | `power-loss-of-all-copies` |
//! | lost with its power | another broker with a copy did not lose power | `elected-after-power-loss` |
//! | gone with its disk, which was replaced by an empty one | | `lost-with-a-disk` |
//! | cut off by its recovery, at a batch that had rotted on its disk | | `cut-at-a-corrupt-batch` |
//! | cut off at its own high watermark | | `truncated-to-high-watermark` |
//! | cut off while it led: it obeyed an answer to what it had asked as a follower | | `truncated-by-the-leader` |
//! | never had one | it was elected before the promise | `acknowledged-by-a-stale-leader` |
//! | never had one | unclean election | `leader-elected-without-them` |
//! | never had one | clean election, acks=1, the old leader had stopped | `leader-crashed-before-replication` |
//! | never had one | clean election, acks=1, the old leader ran on | `leader-moved-before-replication` |
//! | never had one | clean election, acks=all, it was in the ISR at the promise | `acknowledged-too-early` |
//! | never had one | clean election, acks=all, it came into the ISR later | `joined-isr-too-early` |
//! | anything else, or no decisive event in the journal | | `unknown` |
//!
//! The last three say why a record that is in the log was never processed by a group, whose applications mean to process
//! each at least once:
//!
//! | what became of it | cause |
//! |---|---|
//! | a process died that had it in its hands and had committed beyond it | `left-in-dead-hands` |
//! | a member without a commit began behind it: `auto.offset.reset` | `skipped-by-reset` |
//! | it came to stand where committed records had been lost, below where the group was | `skipped-by-truncation` |

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
    /// The disk of a broker was replaced by an empty one, and it led without what had been there.
    LostWithADisk,
    /// A broker had to cut its log at a batch that had rotted on its disk, and led without what followed.
    CutAtACorruptBatch,
    /// The new leader had cut its copy off when it met an earlier leader: before KIP-101.
    TruncatedToHighWatermark,
    /// The leader cut its own log: it obeyed an answer to what it had asked as a follower, before Kafka 3.0.
    TruncatedByTheLeader,
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
    /// A follower was taken into the ISR before it had caught up, and elected: a bug.
    JoinedIsrTooEarly,
    /// Of a record that was never processed: a process had committed it, and died before its work was done.
    LeftInDeadHands,
    /// Of a record that was never processed: there was no commit, and the group began behind it.
    SkippedByReset,
    /// Of a record that was never processed: it stands where records were lost that the group had read.
    SkippedByTruncation,
    /// The journal does not tell.
    Unknown,
}

impl Cause {
    /// Every cause.
    pub const ALL: &[Self] = &[
        Self::PowerLossOfAllCopies,
        Self::ElectedAfterPowerLoss,
        Self::LostWithADisk,
        Self::CutAtACorruptBatch,
        Self::TruncatedToHighWatermark,
        Self::TruncatedByTheLeader,
        Self::LeaderElectedWithoutThem,
        Self::AcknowledgedByAStaleLeader,
        Self::LeaderCrashedBeforeReplication,
        Self::LeaderMovedBeforeReplication,
        Self::AcknowledgedTooEarly,
        Self::JoinedIsrTooEarly,
        Self::LeftInDeadHands,
        Self::SkippedByReset,
        Self::SkippedByTruncation,
        Self::Unknown,
    ];

    /// Its name in scenarios and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerLossOfAllCopies => "power-loss-of-all-copies",
            Self::ElectedAfterPowerLoss => "elected-after-power-loss",
            Self::LostWithADisk => "lost-with-a-disk",
            Self::CutAtACorruptBatch => "cut-at-a-corrupt-batch",
            Self::TruncatedToHighWatermark => "truncated-to-high-watermark",
            Self::TruncatedByTheLeader => "truncated-by-the-leader",
            Self::LeaderElectedWithoutThem => "leader-elected-without-them",
            Self::AcknowledgedByAStaleLeader => "acknowledged-by-a-stale-leader",
            Self::LeaderCrashedBeforeReplication => "leader-crashed-before-replication",
            Self::LeaderMovedBeforeReplication => "leader-moved-before-replication",
            Self::AcknowledgedTooEarly => "acknowledged-too-early",
            Self::JoinedIsrTooEarly => "joined-isr-too-early",
            Self::LeftInDeadHands => "left-in-dead-hands",
            Self::SkippedByReset => "skipped-by-reset",
            Self::SkippedByTruncation => "skipped-by-truncation",
            Self::Unknown => "unknown",
        }
    }

    /// The reason in plain words, after "because".
    pub fn reason(self) -> &'static str {
        match self {
            Self::PowerLossOfAllCopies => "every broker that had them lost power before writing them to disk",
            Self::ElectedAfterPowerLoss => "a broker that had lost them with its power was elected leader",
            Self::LostWithADisk => "a broker whose disk had been replaced by an empty one led without them",
            Self::CutAtACorruptBatch => {
                "a broker that checked its log after an unclean stop cut it at a corrupt batch, and led without what followed"
            }
            Self::TruncatedToHighWatermark => {
                "a follower cut them off at its own high watermark (as before Kafka 0.11) and was then elected leader"
            }
            Self::TruncatedByTheLeader => {
                "the leader cut them off: it obeyed an answer that it had asked for as a follower (as before Kafka 3.0)"
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
            Self::JoinedIsrTooEarly => "a follower was counted as in-sync before it had them, and was elected leader",
            Self::LeftInDeadHands => "a process had committed them and died before their work was done",
            Self::SkippedByReset => "the group had no commit and began behind them",
            Self::SkippedByTruncation => "they stand where records were lost that the group had read",
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
