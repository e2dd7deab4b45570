//! Coverage marks: a line in production code that a scenario can demand to be reached (`must_reach`).
//!
//! One process is one run, so the set of reached marks belongs to the process.

use std::{collections::BTreeSet, sync::Mutex};

static REACHED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Notes that the branch called `name` was taken. `name` must stand in [`ALL`].
pub fn reach(name: &'static str) {
    assert!(ALL.iter().any(|(known, _)| *known == name), "mark `{name}` is not in the table of marks");
    REACHED.lock().expect("no panic while the set of marks is held").insert(name);
}

/// The marks reached so far, in order.
pub fn reached() -> Vec<&'static str> {
    REACHED.lock().expect("no panic while the set of marks is held").iter().copied().collect()
}

/// Every mark with its meaning: what `must_reach` may name.
pub const ALL: &[(&str, &str)] = &[
    ("isr_shrunk", "a leader took a follower out of the ISR"),
    ("isr_shrunk_to_leader", "the ISR became the leader alone"),
    ("isr_expanded", "a follower came back into the ISR"),
    ("clean_election", "the controller elected a leader from the ISR"),
    ("unclean_election", "the controller elected a leader from outside the ISR"),
    ("preferred_election", "leadership went back to the first replica"),
    ("partition_offline", "a partition had no leader"),
    ("broker_fenced", "the controller fenced a broker whose session had ended"),
    ("controlled_shutdown", "a broker asked to leave and its leaderships were moved first"),
    ("follower_truncated_to_leader_epoch", "a follower cut its log where the leader's epochs diverge"),
    ("follower_truncated_to_high_watermark", "a follower cut its log to its own high watermark (before 0.11)"),
    ("not_enough_replicas", "a produce was refused before append: ISR below min.insync.replicas"),
    ("not_enough_replicas_after_append", "a produce was refused after append: the ISR had shrunk meanwhile"),
    ("duplicate_batch", "a leader recognised a retry of an idempotent producer"),
    ("out_of_order_sequence", "a leader refused a gap in an idempotent producer's sequence"),
    ("recovered_after_unclean_stop", "a log was checked and rebuilt after an unclean stop"),
    ("recovery_truncated", "recovery cut a torn or lost tail"),
    ("fenced_leader_epoch", "a request with an old leader epoch was refused"),
    ("producer_retried", "a producer sent a batch again"),
    ("alter_partition_rejected", "the controller refused a change of the ISR"),
    ("maximal_isr_held_hw", "a pending ISR member kept the high watermark back"),
    ("segment_rolled", "a log went on in a new segment"),
    ("segments_deleted", "old segments of a log were deleted"),
    ("follower_behind_log_start", "a follower that ended before its leader's log begins began anew there"),
    ("coordinator_moved", "a coordinator was loaded with groups of the one before it"),
    ("coordinator_write_failed", "records of a coordinator could not be written and were taken back"),
    ("fetch_waited_for_load", "a fetch of offsets waited until what a coordinator had loaded was committed"),
    ("commit_refused", "a commit was refused for what the client said of itself"),
    ("member_session_over", "a member of a group was put out after its session"),
    ("static_member_replaced", "a static member came back and kept its place"),
    ("join_could_not_be_answered", "a coordinator could not write its answer to the leader of a group (before 3.3.2)"),
    ("offsets_expired", "offsets were deleted because they had not been committed for too long"),
    ("unsynced_pages_lost", "a power loss took pages that had not been synced"),
    ("reassignment_completed", "a partition got the replicas that it was reassigned to"),
    ("reassignment_cancelled", "a reassignment was cancelled"),
    ("replica_left", "a broker deleted its log of a partition that others hold now"),
];
