//! What must be true at every moment of a run; one file each, each with its source.
//!
//! The ids S1-S44 are those of the catalogue of Kafka's invariants, most of them named first in the TLA+ models of
//! hachikuji and Vanlightly. An invariant sees the [`Cluster`] *after* the event.

mod acks_all_means_committed;
mod committed_prefix_kept;
mod epochs_never_fall;
mod hw_monotonic;
mod hw_within_isr;
mod isr_has_committed;
mod isr_within_replicas;
mod ledger;
mod logs_agree_below_hw;
mod one_leader_per_epoch;
mod reads_are_committed;
mod violation;

use std::collections::BTreeMap;

pub(crate) use self::violation::Brokers;
use self::{
    acks_all_means_committed::AcksAllMeansCommitted, committed_prefix_kept::CommittedPrefixKept,
    epochs_never_fall::EpochsNeverFall, hw_monotonic::HwMonotonic, isr_has_committed::IsrHasCommitted,
    logs_agree_below_hw::LogsAgreeBelowHw, one_leader_per_epoch::OneLeaderPerEpoch,
    reads_are_committed::ReadsAreCommitted,
};
pub use self::{
    ledger::{Ledger, Permit, PermittedLoss},
    violation::{Broken, Violation},
};
use super::{Claim, Finding, Plan, Status, WITNESSES_MAX, Witness, model::Cluster};
use crate::trace::{Event, journal::Entry};

/// The claims checked here.
pub const CLAIMS: &[Claim] = &[
    Claim::CommittedPrefixKept,
    Claim::LogsAgreeBelowHw,
    Claim::AcksAllMeansCommitted,
    Claim::HwWithinIsr,
    Claim::HwMonotonic,
    Claim::OneLeaderPerEpoch,
    Claim::OwnIsrHasCommitted,
    Claim::IsrHasCommitted,
    Claim::ReadsAreCommitted,
    Claim::EpochsNeverFall,
    Claim::IsrWithinReplicas,
];

/// Every invariant, with what each has counted.
#[derive(Default)]
pub struct Invariants {
    cluster: Cluster,
    committed_prefix_kept: CommittedPrefixKept,
    logs_agree_below_hw: LogsAgreeBelowHw,
    hw_monotonic: HwMonotonic,
    one_leader_per_epoch: OneLeaderPerEpoch,
    acks_all_means_committed: AcksAllMeansCommitted,
    isr_has_committed: IsrHasCommitted,
    reads_are_committed: ReadsAreCommitted,
    epochs_never_fall: EpochsNeverFall,
    tally: Tally,
}

impl Invariants {
    /// Those of a run of this plan.
    pub fn of(plan: &Plan) -> Self {
        Self { acks_all_means_committed: AcksAllMeansCommitted::of(plan), ..Self::default() }
    }

    /// Takes the next event and checks what it may have broken.
    pub fn observe(&mut self, entry: &Entry) {
        // No invariant asks what producers do and are told, which is most of many a run.
        if matches!(entry.event, Event::RecordSent { .. } | Event::RecordAcked { .. }) {
            return;
        }
        self.cluster.observe(entry);
        let (cluster, tally) = (&self.cluster, &mut self.tally);
        self.committed_prefix_kept.observe(cluster, entry, tally);
        self.logs_agree_below_hw.observe(cluster, &self.committed_prefix_kept.ledger, entry, tally);
        self.hw_monotonic.observe(entry, tally);
        self.one_leader_per_epoch.observe(entry, tally);
        hw_within_isr::observe(cluster, entry, tally);
        self.acks_all_means_committed.observe(cluster, entry, tally);
        self.isr_has_committed.observe(cluster, &self.committed_prefix_kept.ledger, entry, tally);
        self.reads_are_committed.observe(entry, tally);
        self.epochs_never_fall.observe(entry, tally);
        isr_within_replicas::observe(entry, tally);
    }

    /// The run is over: checks what can only be asked then.
    pub fn finish(&mut self) {
        self.logs_agree_below_hw.finish(&self.cluster, &mut self.tally);
    }

    /// Every violation whose evidence was kept, in the order of happening.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.tally.counts.values().flat_map(|count| &count.kept)
    }

    /// What was committed, and which losses of it were permitted.
    pub fn ledger(&self) -> &Ledger {
        &self.committed_prefix_kept.ledger
    }

    /// What became of each claim in [`CLAIMS`]. `gave_up`: why the checkers could not go on.
    pub(super) fn findings(&self, gave_up: Option<&str>) -> Vec<Finding> {
        CLAIMS.iter().map(|claim| self.finding(*claim, gave_up)).collect()
    }

    fn finding(&self, claim: Claim, gave_up: Option<&str>) -> Finding {
        let nothing = Count::default();
        let count = self.tally.counts.get(&claim).unwrap_or(&nothing);
        let status = match (count.violations, gave_up, count.checks) {
            (1.., _, _) => Status::Violated,
            (0, Some(_), _) => Status::Unknown,
            (0, None, 0) => Status::NotExercised,
            (0, None, _) => Status::Held,
        };
        let permitted = (claim == Claim::CommittedPrefixKept).then(|| self.ledger().summary()).flatten();
        Finding {
            claim,
            status,
            expected: None,
            checks: count.checks,
            violations: count.violations,
            note: gave_up.map(|why| format!("the checker gave up {why}")).or(permitted),
            witnesses: count.kept.iter().map(Witness::from).collect(),
        }
    }
}

impl From<&Violation> for Witness {
    fn from(violation: &Violation) -> Self {
        Self { text: violation.broken.to_string(), events: violation.events.clone() }
    }
}

/// Counts checks and violations, and keeps the first few violations of each claim.
#[derive(Default)]
pub(crate) struct Tally {
    counts: BTreeMap<Claim, Count>,
}

#[derive(Default)]
struct Count {
    checks: u64,
    violations: u64,
    kept: Vec<Violation>,
}

impl Tally {
    /// Counts one check of `claim` and the violation it found, if any.
    pub(crate) fn check(&mut self, claim: Claim, found: Option<Violation>) {
        let count = self.counts.entry(claim).or_default();
        count.checks += 1;
        if let Some(violation) = found {
            count.violations += 1;
            if count.kept.len() < WITNESSES_MAX {
                count.kept.push(violation);
            }
        }
    }
}
