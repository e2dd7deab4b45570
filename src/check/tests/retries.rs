//! A retry may leave two copies of a record: which of them may stand where, and which may go.

use super::{BEGIN, COMMIT_0};
use crate::check::{
    Claim, Ending, Status,
    fixture::{judge, plan},
};

#[test]
fn a_first_batch_that_comes_again_may_stand_behind_the_second() {
    let log = |places: &str| {
        let sent =
            "p1 send 0 t v-0 acks=-1\np1 send 1 t v-1 acks=-1\np1 send 2 t v-2 acks=-1\naudit position t-0 0 start\n";
        let ends = "audit end t-0 3\nscenario heal\nscenario settled\n";
        let acked = |(offset, record): (usize, char)| {
            format!("audit read t-0 {offset} v-{record}\np1 acked {record} t-0 {offset}\n")
        };
        let places: String = places.chars().enumerate().map(acked).collect();
        format!("{sent}{places}{ends}")
    };
    let retried = Ending { marks: vec!["producer_retried".into()], ..Ending::default() };
    for (places, ending, expected) in [
        ("120", &retried, Status::Held),
        ("120", &Ending::default(), Status::Violated),
        ("021", &retried, Status::Violated),
    ] {
        let verdict = judge(&log(places), plan(true), ending);
        assert_eq!(verdict.finding(Claim::OrderKept).status, expected, "{places}: {:?}", verdict.complaints);
    }
}

#[test]
fn a_duplicate_by_a_retry_without_idempotence_is_permitted() {
    let twice = [BEGIN, COMMIT_0, "\naudit read t-0 0 v-0\naudit read t-0 1 v-0\naudit end t-0 2"].concat();
    let retried = Ending { marks: vec!["producer_retried".into()], ..Ending::default() };
    let status =
        |idempotent, ending: &Ending| judge(&twice, plan(idempotent), ending).finding(Claim::NoDuplicates).status;
    assert_eq!(status(false, &retried), Status::Held);
    assert_eq!(status(true, &retried), Status::Violated);
    assert_eq!(status(false, &Ending::default()), Status::Violated);
}

#[test]
fn of_two_copies_of_a_retry_the_acknowledged_one_may_be_lost_alone() {
    let twice = "
        p1 send 1 t v-1 acks=-1
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b1 append t-0 leader e0 2..3
        c1 chose t-0 leader=1 epoch=0 pe=1 isr=1
        b1 hw t-0 leader e0 3
        b1 answer t-0 acks=-1 2..3 e0 isr=1 hw=3
        p1 acked 1 t-0 2
        b1 kill
        c1 chose t-0 leader=2 epoch=1 pe=2 isr=2 election=unclean
        b2 leads t-0 epoch=1 hw=1
        audit position t-0 0 start
        audit read t-0 0 v-0
        audit read t-0 1 v-1
        audit end t-0 2";
    let text = [BEGIN, COMMIT_0, twice].concat();
    for (idempotent, status) in [(false, Status::Held), (true, Status::Violated)] {
        let ending = Ending { marks: vec!["producer_retried".into()], ..Ending::default() };
        let verdict = judge(&text, plan(idempotent), &ending);
        assert_eq!(verdict.finding(Claim::OffsetsAgree).status, status, "idempotent: {idempotent}");
    }
}

#[test]
fn of_two_copies_with_acks_one_a_clean_election_may_take_the_acknowledged_one() {
    let twice = |acks: &str, audit: &str| {
        let story = "
            p1 send 1 t v-1 acks=ACKS
            b1 append t-0 leader e0 1..2
            b2 append t-0 follower e0 1..2
            b3 append t-0 follower e0 1..2
            b1 hw t-0 leader e0 2
            b1 append t-0 leader e0 2..3
            b1 answer t-0 acks=ACKS 2..3 e0 isr=1,2,3 hw=2
            p1 acked 1 t-0 2
            b1 kill
            c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
            b2 leads t-0 epoch=1 hw=2
            audit position t-0 0 start
            audit read t-0 0 v-0
            AUDIT";
        [BEGIN, COMMIT_0, &story.replace("ACKS", acks).replace("AUDIT", audit)].concat()
    };
    let one_is_left = "audit read t-0 1 v-1\naudit end t-0 2";
    let none_is_left = "audit end t-0 1";
    let retried = || Ending { marks: vec!["producer_retried".into()], ..Ending::default() };
    for (acks, idempotent, ending, audit, claim, status) in [
        ("1", false, retried(), one_is_left, Claim::OffsetsAgree, Status::Held),
        ("1", false, retried(), one_is_left, Claim::AckedRecordsSurvive, Status::Held),
        // Who is idempotent leaves one copy, who has not retried has sent one, and acks=all waits for both.
        ("1", true, retried(), one_is_left, Claim::OffsetsAgree, Status::Violated),
        ("1", false, Ending::default(), one_is_left, Claim::OffsetsAgree, Status::Violated),
        ("-1", false, retried(), one_is_left, Claim::OffsetsAgree, Status::Violated),
        // Without any copy it is lost.
        ("1", false, retried(), none_is_left, Claim::AckedRecordsSurvive, Status::Violated),
    ] {
        let verdict = judge(&twice(acks, audit), plan(idempotent), &ending);
        let finding = verdict.finding(claim);
        assert_eq!(finding.status, status, "acks={acks}, idempotent: {idempotent}, {ending:?}: {finding:?}");
    }
}
