//! An election is decided before its leader has heard of it: what the leader before it does meanwhile.

use super::*;

/// b1 leads alone, b2 lacks record 1, and an unclean election makes b2 the leader.
const UNCLEAN: &str = "
    c1 chose t-0 leader=1 epoch=0 isr=1 election=none
    b1 append t-0 leader e0 1..2
    c1 chose t-0 leader=2 epoch=1 isr=2 election=unclean
";

#[test]
fn what_an_unclean_election_takes_is_told_once_its_leader_begins() {
    let before = "b1 hw t-0 leader e0 2\n";
    let begins = "b2 leads t-0 epoch=1 hw=1\n";
    check(&[BEGIN, COMMIT_0, UNCLEAN, before, begins], Claim::IsrHasCommitted, Status::Held, "");
    // A clean election takes nothing, and permits nothing.
    let clean = UNCLEAN.replace("election=unclean", "election=clean");
    let lacks = "covers batch [1, 2) of epoch 0 with CRC 00000000; ISR member b2 has nothing";
    check(&[BEGIN, COMMIT_0, &clean, before, begins], Claim::IsrHasCommitted, Status::Violated, lacks);
}

#[test]
fn a_log_that_lost_its_end_is_whole_again_only_when_the_chosen_leader_has_it() {
    let alone = "
        b1 up 1
        c1 chose t-0 leader=1 epoch=0 isr=1 election=created
        b1 leads t-0 epoch=0 hw=0
        p1 send 0 t v-0 acks=-1
        b1 append t-0 leader e0 0..1
        b1 hw t-0 leader e0 1
        b1 answer t-0 acks=-1 0..1 e0 isr=1 hw=1
        p1 acked 0 t-0 0
        b1 power
        b1 up 2
        b1 load t-0 hw=0
        c1 chose t-0 leader=1 epoch=2 isr=1 election=clean
        c1 chose t-0 leader=-1 epoch=3 isr=1 election=offline
        c1 chose t-0 leader=1 epoch=4 isr=1 election=clean
        b1 leads t-0 epoch=2 hw=0
        b1 append t-0 leader e2 0..1:x
        b1 hw t-0 leader e2 1
        b1 leads t-0 epoch=4 hw=1
    ";
    check(&[alone], Claim::CommittedPrefixKept, Status::Held, "");
}
