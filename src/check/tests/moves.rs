//! Partitions that move: who leaves deletes its log, and is asked for nothing any more.

use super::{BEGIN, COMMIT_0, check, violated};
use crate::check::{Claim, Status};

/// b3 is a replica no more, and has deleted its log.
const B3_LEAVES: &str = "
    c1 chose t-0 leader=1 epoch=1 pe=1 replicas=1,2 isr=1,2
    b3 left t-0
";

#[test]
fn who_has_left_is_no_member_even_where_its_old_leader_has_not_heard_of_it() {
    let copied = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b3 append t-0 follower e0 1..2
    ";
    let answered = "b1 answer t-0 acks=-1 1..2 e0 hw=2";
    check(&[BEGIN, COMMIT_0, copied, B3_LEAVES, answered], Claim::OwnIsrHasCommitted, Status::Held, "");
    let too_early = "b3 left t-0\n";
    violated(&[BEGIN, COMMIT_0, copied, too_early, answered], Claim::OwnIsrHasCommitted, "ISR member b3 has nothing");
}

#[test]
fn who_comes_back_has_nothing_of_what_it_had_and_must_not_lead_without_it() {
    let leads = "
        c1 chose t-0 leader=3 epoch=2 pe=2 isr=3 election=clean
        b3 leads t-0 epoch=2 hw=0
    ";
    let without = "b3 leads epoch 2 without the committed records [0, 1)";
    violated(&[BEGIN, COMMIT_0, B3_LEAVES, leads], Claim::CommittedPrefixKept, without);
}

#[test]
fn an_isr_that_completes_a_move_is_the_one_that_was_asked_for_without_those_who_leave() {
    let alone = "
        b1 asks t-0 e0 pe=0 isr=1,2
        c1 chose t-0 leader=1 epoch=0 pe=1 isr=1
        b1 asks t-0 e0 pe=1 isr=1,2,3
    ";
    let completed = "c1 chose t-0 leader=1 epoch=1 pe=2 replicas=1,2 isr=1,2";
    check(&[BEGIN, alone, completed], Claim::EpochsNeverFall, Status::Held, "");
    let later = completed.replace("pe=2", "pe=3");
    violated(
        &[BEGIN, alone, &later],
        Claim::EpochsNeverFall,
        "was asked for in leader epoch 0 on top of registration 1",
    );
}
