//! A topic that is deleted and made again: what belongs to the one is not asked of the other.

use super::{judge, violated};
use crate::check::{
    Claim, Ending, GroupPlan, Plan, Status,
    fixture::{self, plan},
    story,
};

/// A topic with two committed records.
const FIRST: &str = "
    b1 up 1
    b2 up 1
    c1 creates t 1
    c1 chose t-0 leader=1 epoch=0 isr=1,2 election=created
    b1 load t-0 hw=0
    b1 leads t-0 epoch=0 hw=0
    b2 load t-0 hw=0
    b2 follows t-0 leader=1 epoch=0
    p1 send 0 t v-0 acks=-1
    p1 send 1 t v-1 acks=-1
    b1 append t-0 leader e0 0..2
    b2 append t-0 follower e0 0..2
    b1 hw t-0 leader e0 2
    b1 answer t-0 acks=-1 0..2 e0 isr=1,2 hw=2
    p1 acked 0 t-0 0
    p1 acked 1 t-0 1
";

/// It is deleted, and made again; b2 hears late of both.
const AGAIN: &str = "
    c1 deletes t 1
    c1 creates t 2
    c1 chose t-0 leader=1 epoch=0 isr=1,2 election=created
    b2 hw t-0 follower e0 2
    b1 load t-0 hw=0
    b1 leads t-0 epoch=0 hw=0
    b2 load t-0 hw=0
    b2 follows t-0 leader=1 epoch=0
    p1 send 2 t w-0 acks=-1
    b1 append t-0 leader e0 0..1:w
    b2 append t-0 follower e0 0..1:w
    b1 hw t-0 leader e0 1
    b1 answer t-0 acks=-1 0..1 e0 isr=1,2 hw=1
    p1 acked 2 t-0 0
";

const AUDIT: &str = "
    audit position t-0 0 start
    audit read t-0 0 w-0
    audit end t-0 1
";

/// A consumer reads the first topic and, once it is told to, the second.
const READS: &str = "
    r1 position t-0 0 start
    r1 read t-0 0 v-0
    r1 read t-0 1 v-1
";
const READS_ON: &str = "
    r1 position t-0 0 out-of-range
    r1 read t-0 0 w-0
";

#[test]
fn what_went_with_its_topic_is_not_lost_and_breaks_nothing() {
    let journal = [FIRST, READS, AGAIN, READS_ON, AUDIT].concat();
    let verdict = judge(&journal, plan(true), &Ending::default());
    assert_eq!(verdict.exit, 0, "{:?}", verdict.complaints);
    assert_eq!((verdict.acked, verdict.lost.len()), (3, 0));
    let note = verdict.finding(Claim::AckedRecordsSurvive).note.clone();
    assert_eq!(note.as_deref(), Some("2 acknowledged records were deleted, by retention or on request"));
    let stories = story::every(&fixture::journal(&journal), &plan(true), &verdict);
    assert_eq!(stories, [], "it is no story that it is not there any more");
    for claim in [Claim::HwMonotonic, Claim::CommittedPrefixKept, Claim::NoPhantomReads, Claim::ConsumersMissNothing] {
        assert_eq!(verdict.finding(claim).status, Status::Held, "{claim}");
    }
}

#[test]
fn a_record_of_the_new_topic_can_be_lost_and_missed() {
    let nothing = "audit position t-0 0 start\n audit end t-0 0";
    violated(&[FIRST, AGAIN, nothing], Claim::AckedRecordsSurvive, "t-0@0 (w-0)");
    violated(&[FIRST, READS, AGAIN, AUDIT], Claim::ConsumersMissNothing, "without reading w-0");
}

#[test]
fn who_reads_late_what_the_first_topic_had_misses_what_stands_there_now_and_no_more() {
    let late = "
        r1 read t-0 0 v-0
        r1 read t-0 1 v-1
        r1 position t-0 2 out-of-range
    ";
    let audit = "
        audit position t-0 0 start
        audit read t-0 0 w-0
        audit end t-0 1
    ";
    let begins = "r1 position t-0 0 start\n";
    let verdict = |parts: &[&str]| judge(&parts.concat(), plan(true), &Ending::default());
    let status = |parts: &[&str]| verdict(parts).finding(Claim::ConsumersMissNothing).status;
    assert_eq!(status(&[FIRST, begins, AGAIN, late, audit]), Status::Held, "read when the topic was another");
    let passes = |read: &str| format!("{read}\n r1 position t-0 2 out-of-range\n");
    let missed = "r1 has passed t-0@0 without reading w-0";
    // What was read before the topic was deleted excuses nothing, and one record does not excuse the next.
    violated(&[FIRST, begins, "r1 read t-0 0 v-0\n", AGAIN, &passes(""), audit], Claim::ConsumersMissNothing, missed);
    violated(&[FIRST, begins, AGAIN, &passes("r1 read t-0 1 v-1"), audit], Claim::ConsumersMissNothing, missed);
    // Nor does a record of the new topic at another's place.
    violated(&[FIRST, begins, AGAIN, &passes("r1 read t-0 1 w-0"), audit], Claim::ConsumersMissNothing, missed);
}

#[test]
fn a_topic_that_is_deleted_and_not_made_again_is_asked_for_nothing() {
    let deleted = "
        c1 deletes t 1
        scenario heal
        scenario settled
    ";
    let joins = "g1 gets g m1 gen=1 t-0\n";
    let gives = "g1 gives g m1 t-0\n";
    let group =
        GroupPlan { partitions: vec!["t-0".parse().unwrap()], members: vec!["g1".into()], ..GroupPlan::default() };
    let plan = Plan { groups: [("g".into(), group)].into(), ..plan(true) };
    let exit = |parts: &[&str]| judge(&parts.concat(), plan.clone(), &Ending::default());
    let verdict = exit(&[FIRST, READS, joins, deleted, gives]);
    assert_eq!((verdict.exit, verdict.lost.len()), (0, 0), "{:?}", verdict.complaints);
    // One that is there has to have its audit and its owner.
    let verdict = exit(&[FIRST, READS, joins, gives, "scenario heal\nscenario settled\n"]);
    for claim in [Claim::GroupConverges, Claim::ConsumersReachTheEnd] {
        assert_eq!(verdict.finding(claim).status, Status::Violated, "{claim}");
    }
}

#[test]
fn what_was_committed_for_the_first_topic_need_not_survive_and_what_was_for_the_second_must() {
    let group = || GroupPlan { partitions: vec!["t-0".parse().unwrap()], ..GroupPlan::default() };
    let plan = Plan { groups: [("g".into(), group())].into(), ..plan(true) };
    let commit = "
        g1 commits g - gen=-1 t-0 2
        g1 told g sent=LAST NONE
    ";
    let audit = "
        audit wonders g t-0 b1
        audit finds g t-0 -1 asked=LAST
    ";
    let (deleted, created) = AGAIN.split_at(AGAIN.find("c1 creates").expect("a line"));
    for (parts, status) in [
        ([FIRST, commit, AGAIN, "", audit], Status::Held),
        ([FIRST, deleted, commit, created, audit], Status::Held),
        ([FIRST, deleted, commit, "", audit], Status::Held),
        ([FIRST, AGAIN, commit, "", audit], Status::Violated),
        ([FIRST, commit, "", "", audit], Status::Violated),
    ] {
        // `LAST` is the event of the line before.
        let text = parts.concat();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let numbered = lines.iter().enumerate().map(|(before, line)| line.replace("LAST", &before.to_string()));
        let verdict = judge(&numbered.collect::<Vec<_>>().join("\n"), plan.clone(), &Ending::default());
        assert_eq!(verdict.finding(Claim::CommitsSurvive).status, status, "{:?}", verdict.complaints);
    }
}
