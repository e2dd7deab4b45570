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

#[test]
fn a_consumer_that_noticed_a_truncation_answers_only_for_what_it_was_not_sent_past() {
    // It reads b1's record at 1 and 2; b2 leads without them, with another at 1 that b1 never had.
    let read = "
        c position t-0 0 start
        c read t-0 0 v-0
        c read t-0 1 v-1
        b1 kill
        c1 chose t-0 leader=2 epoch=1 isr=2 election=unclean
        b2 leads t-0 epoch=1 hw=1";
    let replaced = "
        p2 send 0 t w-0 acks=-1
        audit position t-0 0 start
        audit read t-0 0 v-0
        audit read t-0 1 w-0
        audit end t-0 2";
    let lost = LEADER_DIES.split("b1 kill").next().expect("a part before");
    for (noticed, status) in [("", Status::Violated), ("\nc position t-0 2 truncation", Status::Held)] {
        let plan = Plan { consumers: vec!["c".into()], ..plan(true) };
        let verdict = judge(&[BEGIN, COMMIT_0, lost, read, noticed, replaced].concat(), plan, &Ending::default());
        assert_eq!(verdict.finding(Claim::ConsumersMissNothing).status, status, "noticed: {noticed}");
    }
}
