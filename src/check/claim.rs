//! The claims a run is judged by, what became of each, and what a scenario expects of it.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Cause;
use crate::base::suggest;

macro_rules! claims {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $meaning:literal;)*) => {
        /// A sentence about a run that is true or false.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Claim {
            $($(#[$doc])* $name,)*
        }

        impl Claim {
            /// Every claim: those a user cares about first.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in scenarios and reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What it says, for somebody new.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),* }
            }
        }
    };
}

claims! {
    /// S1 `NoAckedLoss`, Jepsen `lost-write`; acks=0 acknowledges nothing.
    AckedRecordsSurvive = "acked-records-survive",
        "every record whose producer was told \"stored\" is in the log at the end";
    /// S26, Jepsen `duplicate`; a producer without idempotence may duplicate by a retry.
    NoDuplicates = "no-duplicates", "no record is in the log twice";
    /// S27, Jepsen `nonmonotonic-send`; a producer without idempotence may reorder by a retry.
    OrderKept = "order-kept", "the records of one producer stand in a partition in the order they were sent";
    /// S13 `ConsistentRead`, Jepsen `G1a`.
    NoPhantomReads = "no-phantom-reads",
        "what a consumer read was sent, was not refused, and is still in the log at the end";
    /// S17, Jepsen `inconsistent-offsets`.
    OffsetsAgree = "offsets-agree", "one offset shows one record, to everybody and for ever";
    /// L-consume, Jepsen `unseen`.
    ConsumersReachTheEnd = "consumers-reach-the-end", "after everything healed, every consumer read to the end";
    /// S37 `ConsumeCoverage`, Jepsen `poll-skip`.
    ConsumersMissNothing = "consumers-miss-nothing",
        "a consumer has read every record between where it began and where it stands";
    /// Jepsen `nonmonotonic-poll`.
    PollsGoForward = "polls-go-forward",
        "a consumer that was not told to go back is handed no record from before where it stands";
    /// S37 `ConsumeCoverage` of a whole group.
    ProcessedAtLeastOnce = "processed-at-least-once",
        "every record from where a group began to the end was processed by one of its members";
    /// Design 4.6, "message delivery semantics".
    ProcessedAtMostOnce = "processed-at-most-once", "no record was processed twice in a group";
    /// S34 `NoDoubleClientAssignment`.
    OneOwnerPerPartition = "one-owner-per-partition",
        "no member of a group takes a partition that another member, still counted as one, believes to have";
    /// S35 `CommitFencing`.
    OnlyMembersCommit = "only-members-commit", "a commit from an older generation than the group is in is refused";
    /// S36 `OffsetDurability`.
    CommitsSurvive = "commits-survive", "at the end a group stands where its last acknowledged commit says, or later";
    /// S36, as a member sees it while the run goes.
    CommitsNeverGoBack = "commits-never-go-back",
        "who asks for a committed offset is told the newest that was acknowledged before, or one committed after it";
    /// S38 `StaticIdUnique`.
    StaticIdsUnique = "static-ids-unique",
        "of those who claim to be the same static member one gets on, and none is sent away for one who never came";
    /// L-group `EventuallyConverges`.
    GroupConverges = "group-converges",
        "after everything healed, each partition that a group reads belongs to one running member";
    /// L-elect, L-isr.
    ClusterRecovers = "cluster-recovers",
        "after everything healed, every partition got a leader and all its in-sync replicas back";
    /// S1, S3 `LeaderCompleteness`.
    CommittedPrefixKept = "committed-prefix-kept",
        "a new leader has every record that was committed, unless an unclean election or a power loss took it";
    /// S4 `LogMatching`.
    LogsAgreeBelowHw = "logs-agree-below-hw", "below the high watermark all replicas hold the same records";
    /// S15 `MinIsrAck`.
    AcksAllMeansCommitted = "acks-all-means-committed",
        "a produce with acks=all is answered only when every ISR member has its records";
    /// S7 `ValidHighWatermark`.
    HwWithinIsr = "hw-within-isr", "the high watermark never passes the log end of an ISR member";
    /// S14.
    HwMonotonic = "hw-monotonic", "the high watermark of a leader never goes back";
    /// S10 `SingleLeaderPerEpoch`, S16.
    OneLeaderPerEpoch = "one-leader-per-epoch", "a leader epoch has one leader";
    /// S5 `WeakIsr`.
    OwnIsrHasCommitted = "own-isr-has-committed",
        "each member of the ISR that a leader goes by holds what that leader answers as committed";
    /// S6 `StrongIsr`.
    IsrHasCommitted = "isr-has-committed",
        "each member of the controller's ISR holds what any leader shows as committed, even one that was replaced";
    /// S13 `CommittedReadsOnly`.
    ReadsAreCommitted = "reads-are-committed", "a consumer is given only what a leader's high watermark covers";
    /// S16 `EpochMonotonic`.
    EpochsNeverFall = "epochs-never-fall",
        "no broker goes back to an older leader epoch, and no change of the ISR is based on an older registration";
    /// S11, S12 `ValidControllerState`.
    IsrWithinReplicas = "isr-within-replicas", "the ISR is part of the replicas, and the leader is part of the ISR";
}

impl Claim {
    /// Whether it speaks of consumer groups: of no interest where there are none.
    pub fn is_of_groups(self) -> bool {
        super::groups::CLAIMS.contains(&self)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|claim| claim.name() == text).ok_or_else(|| {
            let nearest = suggest::nearest(text, Self::ALL.iter().map(|claim| claim.name()));
            let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            format!("`{text}` is not a claim{hint}")
        })
    }
}

impl Serialize for Claim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What became of a claim in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It was checked and found true.
    Held,
    /// It was found false.
    Violated,
    /// It was found false, and the scenario says so: the run shows what it was written to show.
    ViolatedAsExpected,
    /// Nothing happened that could have made it false.
    NotExercised,
    /// Nobody can tell: the audit did not end, or a checker gave up.
    Unknown,
}

impl Status {
    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Violated => "violated",
            Self::ViolatedAsExpected => "violated-as-expected",
            Self::NotExercised => "not-exercised",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Held => "held",
            Self::Violated => "VIOLATED",
            Self::ViolatedAsExpected => "violated as expected",
            Self::NotExercised => "not exercised",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// What a scenario expects of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It holds, and is exercised.
    Held,
    /// It is violated: the run teaches that.
    Violated,
    /// It may be violated or not, by the seed.
    Any,
}

/// One `[[expect]]` of a scenario. Claims without one have to hold or stay unexercised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The claim.
    pub claim: Claim,
    /// What should become of it.
    pub value: Expected,
    /// Of `acked-records-survive`: how many acknowledged records are lost, by what.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<ExpectedLoss>,
}

/// How many records a scenario expects to lose, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedLoss {
    /// Smallest and largest number of lost records, both included; `None`: any number above zero.
    pub count: Option<RangeInclusive<u64>>,
    /// The causes that a loss may have; none: any.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub causes: Vec<Cause>,
}
