//! Why a record is gone, told from how it went.

use super::*;

fn story(parts: &[&str], cause: Cause, moments: &[Moment]) {
    let verdict = judge(&parts.concat(), plan(true), &Ending::default());
    let lost = verdict.lost.last().expect("a record is lost");
    assert_eq!(lost.cause, cause, "{:#?}", lost.life);
    let found: Vec<Moment> = lost.life.lines.iter().filter_map(|line| line.moment).collect();
    assert_eq!(found, moments, "{:#?}", lost.life);
    assert!(!lost.life.therefore.is_empty());
}

#[test]
fn causes_of_a_leader_without_a_copy_are_told_from_its_election() {
    use Moment::{Decisive, LastCopyGone, Promise};
    story(
        &[BEGIN, COMMIT_0, LEADER_DIES, AUDIT_V0],
        Cause::LeaderCrashedBeforeReplication,
        &[Promise, Decisive, LastCopyGone],
    );
    let moved =
        LEADER_DIES.replace("b1 kill", "").replace("b1 up 2", "").replace("election=clean", "election=preferred");
    let moved = moved.replace("b1 load t-0 hw=1 0..1 1..2", "");
    story(
        &[BEGIN, COMMIT_0, &moved, AUDIT_V0],
        Cause::LeaderMovedBeforeReplication,
        &[Promise, Decisive, LastCopyGone],
    );
    let unclean = LEADER_DIES.replace("election=clean", "election=unclean");
    story(&[BEGIN, COMMIT_0, &unclean, AUDIT_V0], Cause::LeaderElectedWithoutThem, &[Promise, Decisive, LastCopyGone]);
    let early = LEADER_DIES.replace("acks=1", "acks=-1");
    story(&[BEGIN, COMMIT_0, &early, AUDIT_V0], Cause::AcknowledgedTooEarly, &[Promise, Decisive, LastCopyGone]);
    let joined = early.replace("isr=1,2,3", "isr=1,3");
    story(&[BEGIN, COMMIT_0, &joined, AUDIT_V0], Cause::JoinedIsrTooEarly, &[Promise, Decisive, LastCopyGone]);
    let stale = "
        c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
        p1 send 1 t v-1 acks=1
        b1 append t-0 leader e0 1..2
        b1 answer t-0 acks=1 1..2 e0 isr=1,2,3 hw=1
        p1 acked 1 t-0 1
        b1 cut t-0 2 1 leader-epoch";
    story(&[BEGIN, COMMIT_0, stale, AUDIT_V0], Cause::AcknowledgedByAStaleLeader, &[Decisive, Promise, LastCopyGone]);
}

#[test]
fn a_promise_that_came_late_is_not_taken_for_that_of_the_next_leader_at_the_same_offset() {
    let replaced = "
        c1 chose t-0 leader=2 epoch=1 isr=2 election=clean
        p1 send 1 t v-1 acks=1
        b1 append t-0 leader e0 1..2
        b1 answer t-0 acks=1 1..2 e0 isr=1,2,3 hw=1
        b1 cut t-0 2 1 leader-epoch
        b2 leads t-0 epoch=1 hw=1
        p2 send 0 t w-0 acks=1
        b2 append t-0 leader e1 1..2:x
        b2 answer t-0 acks=1 1..2 e1 isr=2 hw=2
        p2 acked 0 t-0 1";
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
    let answered = [BEGIN, COMMIT_0, replaced.split("b1 cut").next().expect("a part before")].concat();
    let left = lines(&answered);
    let under_way = format!("\np1 acked 1 t-0 1 cause={left}\n");
    let left = lines(&[BEGIN, COMMIT_0, replaced, "\nb1 tells p1"].concat());
    let held = format!("\nb1 tells p1\np1 acked 1 t-0 1 cause={left}\n");
    let audit = "
        audit position t-0 0 start
        audit read t-0 0 v-0
        audit read t-0 1 w-0
        audit end t-0 2";
    for late in [under_way, held] {
        story(
            &[BEGIN, COMMIT_0, replaced, &late, audit],
            Cause::AcknowledgedByAStaleLeader,
            &[Moment::Decisive, Moment::Promise, Moment::LastCopyGone],
        );
    }
}

#[test]
fn causes_that_need_a_lost_copy_are_told_from_how_it_went() {
    use Moment::{Decisive, LastCopyGone, Promise};
    let gone = "\naudit position t-0 0 start\naudit end t-0 0";
    let elects_2 = "
        b2 up 2
        b2 load t-0 hw=0
        c1 chose t-0 leader=2 epoch=1 isr=2 election=clean
        b2 leads t-0 epoch=1 hw=0
        b1 up 2";
    let all = "
        b1 power
        b2 power
        b3 power";
    let rest = "
        b1 load t-0 hw=0
        b3 up 2
        b3 load t-0 hw=0";
    story(
        &[BEGIN, COMMIT_0, all, elects_2, rest, gone],
        Cause::PowerLossOfAllCopies,
        &[Promise, Decisive, LastCopyGone],
    );
    let some = "
        b2 power
        b1 kill";
    let cut = "
        b1 load t-0 hw=0 0..1
        b1 cut t-0 1 0 leader-epoch
        b3 cut t-0 1 0 leader-epoch";
    story(
        &[BEGIN, COMMIT_0, some, elects_2, cut, gone],
        Cause::ElectedAfterPowerLoss,
        &[Promise, Decisive, LastCopyGone],
    );
    let to_hw = "
        b2 cut t-0 1 0 high-watermark
        b1 kill
        c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
        b2 leads t-0 epoch=1 hw=0
        b1 cut t-0 1 0 high-watermark
        b3 cut t-0 1 0 high-watermark";
    story(&[BEGIN, COMMIT_0, to_hw, gone], Cause::TruncatedToHighWatermark, &[Promise, Decisive, LastCopyGone]);
}

#[test]
fn a_record_that_its_only_holder_brings_back_as_leader_is_not_lost_by_the_leader_between() {
    let back = "
        c1 chose t-0 leader=1 epoch=2 isr=1,2,3 election=clean
        b1 leads t-0 epoch=2 hw=1
        b1 kill
        c1 chose t-0 leader=3 epoch=3 isr=2,3 election=unclean
        b3 leads t-0 epoch=3 hw=1";
    let dies = LEADER_DIES.replace("b1 cut t-0 2 1 leader-epoch", "");
    story(
        &[BEGIN, COMMIT_0, &dies, back, AUDIT_V0],
        Cause::LeaderElectedWithoutThem,
        &[Moment::Promise, Moment::Decisive],
    );
}

#[test]
fn a_retry_that_the_next_leader_answers_promises_what_the_leader_before_appended() {
    let answered_by_2 = "
        p1 send 0 t v-0 acks=-1
        b1 append t-0 leader e0 0..1
        b2 append t-0 follower e0 0..1
        b3 append t-0 follower e0 0..1
        b1 kill
        c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
        b2 leads t-0 epoch=1 hw=0
        b3 follows t-0 leader=2 epoch=1 hw=0
        b2 hw t-0 leader e1 1
        b2 answer t-0 acks=-1 0..1 e1 isr=2,3 hw=1
        p1 acked 0 t-0 0
        b2 power
        b3 power
        b2 up 2
        b2 load t-0 hw=0
        c1 chose t-0 leader=2 epoch=2 isr=2 election=clean
        b2 leads t-0 epoch=2 hw=0
        b3 up 2
        b3 load t-0 hw=0
        b1 up 2
        b1 load t-0 hw=0 0..1
        b1 cut t-0 1 0 leader-epoch
        audit position t-0 0 start
        audit end t-0 0";
    story(
        &[BEGIN, answered_by_2],
        Cause::ElectedAfterPowerLoss,
        &[Moment::Promise, Moment::Decisive, Moment::LastCopyGone],
    );
}

#[test]
fn a_fenced_leader_that_nobody_replaced_loses_by_its_power_and_not_by_being_stale() {
    let alone = "
        b1 up 1
        c1 chose t-0 leader=1 epoch=0 isr=1 election=created
        b1 leads t-0 epoch=0 hw=0
        c1 chose t-0 leader=-1 epoch=1 isr=1 election=offline
        p1 send 0 t v-0 acks=-1
        b1 append t-0 leader e0 0..1
        b1 answer t-0 acks=-1 0..1 e0 isr=1 hw=1
        p1 acked 0 t-0 0
        b1 power
        b1 up 2
        b1 load t-0 hw=0
        c1 chose t-0 leader=1 epoch=2 isr=1 election=clean
        b1 leads t-0 epoch=2 hw=0
        audit position t-0 0 start
        audit end t-0 0";
    story(&[alone], Cause::PowerLossOfAllCopies, &[Moment::Promise, Moment::LastCopyGone, Moment::Decisive]);
}

#[test]
fn whoever_was_elected_without_a_record_and_copies_it_after_all_is_not_what_lost_it() {
    let copied = "
        p1 send 0 t v-0 acks=-1
        c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
        b1 append t-0 leader e0 0..1
        b2 append t-0 follower e0 0..1
        b3 append t-0 follower e0 0..1
        b1 hw t-0 leader e0 1
        b1 answer t-0 acks=-1 0..1 e0 isr=1,2,3 hw=1
        p1 acked 0 t-0 0
        b2 leads t-0 epoch=1 hw=0
        b3 follows t-0 leader=2 epoch=1 hw=0
        b1 power
        b2 power
        b3 power
        b2 up 2
        b2 load t-0 hw=0
        c1 chose t-0 leader=2 epoch=2 isr=2 election=clean
        b2 leads t-0 epoch=2 hw=0
        b1 up 2
        b1 load t-0 hw=0
        b3 up 2
        b3 load t-0 hw=0
        audit position t-0 0 start
        audit end t-0 0";
    story(&[BEGIN, copied], Cause::PowerLossOfAllCopies, &[Moment::Promise, Moment::Decisive, Moment::LastCopyGone]);
}

#[test]
fn of_two_elections_the_later_decides_when_the_leader_between_copied_the_record_after_all() {
    use Moment::{Decisive, LastCopyGone, Promise};
    let twice = "
        p1 send 1 t v-1 acks=1
        b1 append t-0 leader e0 1..2
        c1 chose t-0 leader=3 epoch=1 isr=2,3 election=clean
        c1 chose t-0 leader=2 epoch=2 isr=2 election=clean
        b1 answer t-0 acks=1 1..2 e0 isr=1,2,3 hw=1
        p1 acked 1 t-0 1
        b3 append t-0 follower e0 1..2
        b1 cut t-0 2 1 leader-epoch
        b3 cut t-0 2 1 leader-epoch";
    story(&[BEGIN, COMMIT_0, twice, AUDIT_V0], Cause::AcknowledgedByAStaleLeader, &[Decisive, Promise, LastCopyGone]);
}

#[test]
fn a_leader_that_still_does_what_the_one_before_had_answered_decides_nothing() {
    use Moment::{Decisive, LastCopyGone, Promise};
    let late = LEADER_DIES.replace("election=clean", "election=unclean").replace(
        "b1 cut t-0 2 1 leader-epoch",
        "c1 chose t-0 leader=1 epoch=2 isr=1 election=unclean
        b1 cut t-0 2 1 leader-epoch",
    );
    story(&[BEGIN, COMMIT_0, &late, AUDIT_V0], Cause::LeaderElectedWithoutThem, &[Promise, Decisive, LastCopyGone]);
}
