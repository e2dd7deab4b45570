//! What disks do to records: what was injected is excused, and nothing beyond it.

use super::{BEGIN, COMMIT_0, check, judge, violated};
use crate::check::{Cause, Claim, Ending, Status, fixture::plan};

#[test]
fn a_power_loss_while_writing_is_excused_as_any_other_and_a_killed_process_is_not() {
    let returns = "
        b2 up 2
        b2 load t-0 hw=0
        c1 chose t-0 leader=2 epoch=1 isr=2 election=clean
        b2 leads t-0 epoch=1 hw=0";
    let torn = "
        b1 torn
        b2 torn
        b3 power";
    check(&[BEGIN, COMMIT_0, torn, returns], Claim::CommittedPrefixKept, Status::Held, "a power loss of every");
    let killed = torn.replace("b2 torn", "b2 kill");
    violated(&[BEGIN, COMMIT_0, &killed, returns], Claim::CommittedPrefixKept, "without the committed records [0, 1)");
    let with_others = returns.replace("isr=2 ", "isr=2,3 ");
    let one = torn.replace("b3 power", "");
    violated(&[BEGIN, COMMIT_0, &one, &with_others], Claim::CommittedPrefixKept, "b2 leads epoch 1");
}

/// The only member of the ISR is killed and started again, and cuts its log to nothing.
const CUT_ALONE: &str = "
    c1 chose t-0 leader=1 epoch=0 isr=1 pe=1
    b1 kill
    c1 chose t-0 leader=-1 epoch=1 isr=1 election=offline pe=2
    b1 up 2
    b1 cut t-0 1 0 recovery
    b1 load t-0 hw=0
    c1 chose t-0 leader=1 epoch=2 isr=1 election=clean pe=3
    b1 leads t-0 epoch=2 hw=0
";

#[test]
fn a_recovery_that_cuts_at_a_corrupt_batch_is_excused_and_one_that_cuts_elsewhere_is_not() {
    let rots = "b1 rots t-0 0..1\n";
    check(&[BEGIN, COMMIT_0, rots, CUT_ALONE], Claim::CommittedPrefixKept, Status::Held, "a corrupt batch");
    let lost = "without the committed records [0, 1)";
    violated(&[BEGIN, COMMIT_0, CUT_ALONE], Claim::CommittedPrefixKept, lost);
    violated(&[BEGIN, COMMIT_0, "b2 rots t-0 0..1\n", CUT_ALONE], Claim::CommittedPrefixKept, lost);
    violated(&[BEGIN, COMMIT_0, rots, "b1 mends t-0 0..1\n", CUT_ALONE], Claim::CommittedPrefixKept, lost);
    // Nothing before the corrupt batch may go with it.
    let more = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b3 append t-0 follower e0 1..2
        b1 hw t-0 leader e0 2
        b1 rots t-0 1..2
    ";
    violated(&[BEGIN, COMMIT_0, more, CUT_ALONE], Claim::CommittedPrefixKept, "without the committed records [0, 2)");
}

#[test]
fn a_corrupt_batch_of_one_member_excuses_no_loss_in_an_isr_with_others() {
    let with_others = CUT_ALONE.replace("isr=1 ", "isr=1,2 ");
    let rots = "b1 rots t-0 0..1\n";
    violated(
        &[BEGIN, COMMIT_0, rots, &with_others],
        Claim::CommittedPrefixKept,
        "without the committed records [0, 1)",
    );
}

#[test]
fn what_recovery_cut_at_a_corrupt_batch_is_a_cause_of_its_own() {
    let gone = "
        audit position t-0 0 start
        audit end t-0 0";
    let of = |rots: &str| {
        let verdict = judge(&[BEGIN, COMMIT_0, rots, CUT_ALONE, gone].concat(), plan(true), &Ending::default());
        verdict.lost.iter().map(|lost| lost.cause).collect::<Vec<_>>()
    };
    assert_eq!(of("b1 rots t-0 0..1\n"), [Cause::CutAtACorruptBatch]);
    assert_eq!(of("b1 power\nb1 up 2\nb1 load t-0 hw=0 0..1\nb1 rots t-0 0..1\n"), [Cause::CutAtACorruptBatch]);
    assert_eq!(of(""), [Cause::Unknown]);
}

#[test]
fn a_hole_is_excused_where_a_disk_lied_before_the_power_went_and_nowhere_else() {
    let lie = "
        scenario fault disk b3 lost-sync";
    let returns = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b3 append t-0 follower e0 1..2
        b1 hw t-0 leader e0 2
        b3 power
        c1 chose t-0 leader=1 epoch=0 isr=1,2 election=none
        b3 up 2
        b3 load t-0 hw=2 1..2
        b3 follows t-0 leader=1 epoch=0 hw=2
        b3 hw t-0 follower e0 2";
    let (agree, kept) = (Claim::LogsAgreeBelowHw, Claim::CommittedPrefixKept);
    check(&[BEGIN, COMMIT_0, lie, returns], agree, Status::Held, "");
    let failed = lie.replace("lost-sync", "sync-eio");
    // Syncs after one that failed lie too.
    check(&[BEGIN, COMMIT_0, &failed, returns], agree, Status::Held, "");
    violated(&[BEGIN, COMMIT_0, returns], agree, "at offset 0, b3 has nothing");
    let other = returns.replace("hw=2 1..2", "hw=2 0..1:x 1..2");
    violated(&[BEGIN, COMMIT_0, lie, &other], agree, "at offset 0, b3 has batch");

    let leads = "
        c1 chose t-0 leader=3 epoch=1 isr=3 election=clean
        b3 leads t-0 epoch=1 hw=2";
    check(&[BEGIN, COMMIT_0, lie, returns, leads], kept, Status::Held, "");
    violated(&[BEGIN, COMMIT_0, returns, leads], kept, "b3 leads epoch 1");
}

#[test]
fn a_damaged_log_that_an_operator_takes_away_is_excused_only_if_nobody_else_is_in_sync() {
    let alone = "
        c1 chose t-0 leader=1 epoch=0 isr=1 pe=1
        b1 kill
        b1 removed t-0
        b1 up 2
        c1 chose t-0 leader=-1 epoch=1 isr=1 election=offline pe=2
        c1 chose t-0 leader=1 epoch=2 isr=1 election=clean pe=3
        b1 load t-0 hw=0
        b1 leads t-0 epoch=2 hw=0";
    check(&[BEGIN, COMMIT_0, alone], Claim::CommittedPrefixKept, Status::Held, "");
    let lost = "without the committed records [0, 1)";
    violated(&[BEGIN, COMMIT_0, &alone.replace("b1 removed t-0", "")], Claim::CommittedPrefixKept, lost);
    violated(&[BEGIN, COMMIT_0, &alone.replace("isr=1 ", "isr=1,2 ")], Claim::CommittedPrefixKept, lost);
}

#[test]
fn a_disk_that_was_replaced_is_excused_only_if_nobody_else_is_in_sync() {
    let alone = "
        c1 chose t-0 leader=1 epoch=0 isr=1 pe=1
        b1 kill
        c1 chose t-0 leader=-1 epoch=1 isr=1 election=offline pe=2
        b1 replaced
        b1 up 2
        c1 chose t-0 leader=1 epoch=2 isr=1 election=clean pe=3
        b1 load t-0 hw=0
        b1 leads t-0 epoch=2 hw=0";
    check(&[BEGIN, COMMIT_0, alone], Claim::CommittedPrefixKept, Status::Held, "an empty disk in place");
    let lost = "without the committed records [0, 1)";
    let another = alone.replace("b1 replaced", "b2 replaced");
    violated(&[BEGIN, COMMIT_0, &another], Claim::CommittedPrefixKept, lost);
    let with_others = alone.replace("isr=1 ", "isr=1,2 ");
    violated(&[BEGIN, COMMIT_0, &with_others], Claim::CommittedPrefixKept, lost);
    // Once it has caught up it has no excuse any more.
    let again = "
        b1 append t-0 leader e2 0..1
        b1 hw t-0 leader e2 1
        b1 kill
        b1 up 3
        b1 load t-0 hw=0
        c1 chose t-0 leader=1 epoch=3 isr=1 election=clean pe=4
        b1 leads t-0 epoch=3 hw=0";
    violated(&[BEGIN, COMMIT_0, alone, again], Claim::CommittedPrefixKept, lost);
    let gone = "
        audit position t-0 0 start
        audit end t-0 0";
    for stops in ["b1 kill", "b1 torn"] {
        let alone = alone.replace("b1 kill", stops);
        let verdict = judge(&[BEGIN, COMMIT_0, &alone, gone].concat(), plan(true), &Ending::default());
        assert_eq!(verdict.lost.iter().map(|lost| lost.cause).collect::<Vec<_>>(), [Cause::LostWithADisk], "{stops}");
    }
}
