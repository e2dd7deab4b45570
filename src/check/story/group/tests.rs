//! Journals by hand, and the stories that they have.

use crate::check::{
    GroupPlan, Plan, WorkerPlan,
    fixture::journal,
    story::{Kind, Moment, Story},
};

/// Four records, and g1 that has their only partition. Events 1 to 11.
const BEGIN: &str = "
    p1 send 0 t v-0 acks=-1
    p1 send 1 t v-1 acks=-1
    p1 acked 0 t-0 0
    p1 acked 1 t-0 1
    b1 joins g m1
    b1 forms g m1 m2 gen=1
    b1 assigns g gen=1
    g1 gets g m1 gen=1 t-0
    g1 position t-0 0 start
    g1 read t-0 0 v-0
    g1 read t-0 1 v-1
";

const AUDIT: &str = "
    scenario heal
    audit position t-0 0 start
    audit read t-0 0 v-0
    audit read t-0 1 v-1
    audit end t-0 2
";

/// The stories of a journal whose members work as `application` says.
fn stories(application: &str, parts: &[&str]) -> Vec<Story> {
    let worker = WorkerPlan {
        application: application.into(),
        reset: "latest".into(),
        session_timeout_ms: 45_000,
        ..WorkerPlan::default()
    };
    let group = GroupPlan {
        members: vec!["g1".into(), "g2".into()],
        partitions: vec!["t-0".parse().unwrap()],
        workers: [("g1".into(), worker.clone()), ("g2".into(), worker)].into(),
        ..GroupPlan::default()
    };
    super::stories(&journal(&parts.concat()), &Plan { groups: [("g".into(), group)].into(), ..Plan::default() })
}

/// The journal has one story of `kind`, with this subject, a moment in this line, and these words in its conclusion.
#[track_caller]
fn check(application: &str, parts: &[&str], kind: Kind, subject: &str, moment: (Moment, &str), therefore: &[&str]) {
    let all = stories(application, parts);
    let of_kind: Vec<&Story> = all.iter().filter(|story| story.kind == kind).collect();
    let [story] = of_kind.as_slice() else { panic!("{} stories of {kind:?}: {all:#?}", of_kind.len()) };
    assert_eq!(story.subject, subject);
    let line = story.lines.iter().find(|line| line.moment == Some(moment.0));
    let line = line.unwrap_or_else(|| panic!("no {:?} in {:#?}", moment.0, story.lines));
    assert!(line.text.contains(moment.1), "`{}` is not in `{}`", moment.1, line.text);
    let said: String = story.therefore.iter().map(|sentence| format!("{sentence}\n")).collect();
    therefore.iter().for_each(|words| assert!(said.contains(words), "`{words}` is not in `{said}`"));
}

#[test]
fn a_group_that_works_through_everything_once_has_no_story() {
    let work = "g1 did g t-0 0 v-0\n g1 did g t-0 1 v-1\n g1 commits g m1 gen=1 t-0 2";
    assert_eq!(stories("at-least-once", &[BEGIN, work, AUDIT]), []);
}

#[test]
fn records_that_were_committed_and_not_processed_are_told_from_their_commit_to_whoever_goes_on_behind_them() {
    let dies = "
        g1 commits g m1 gen=1 t-0 2
        g1 did g t-0 0 v-0
        g1 kill
        g2 gets g m2 gen=2 t-0
        g2 position t-0 2 committed
    ";
    let moment = (Moment::Committed, "commits 2, with 0 records worked through");
    let therefore = ["g1 had committed 2 before its work for 1 record", "g2 went on at 2", "application at-least-once"];
    check("at-most-once", &[BEGIN, dies, AUDIT], Kind::Unprocessed, "t-0@1  value=v-1  group g", moment, &therefore);
    let decisive = (Moment::Decisive, "died");
    check("at-most-once", &[BEGIN, dies, AUDIT], Kind::Unprocessed, "t-0@1  value=v-1  group g", decisive, &[]);
    let hand_off = ["application auto-commit", "auto.commit.interval.ms=100) would NOT have helped"];
    check("hand-off", &[BEGIN, dies, AUDIT], Kind::Unprocessed, "t-0@1  value=v-1  group g", moment, &hand_off);
}

#[test]
fn a_commit_for_the_topic_that_was_there_before_is_told_as_one_of_another_log() {
    let again = "
        c1 deletes t 1
        c1 creates t 2
        g1 did g t-0 0 v-0
        g1 commits g m1 gen=1 t-0 2
        g1 kill
        g2 gets g m2 gen=2 t-0
        g2 position t-0 2 committed
    ";
    let new = AUDIT.replace("v-0", "w-0").replace("v-1", "w-1");
    let moment = (Moment::Committed, "commits 2, to where it has come in the log that is gone");
    let therefore =
        ["2 is a place in the log of the topic that was deleted", "g2 went on at 2", "With group.protocol=consumer"];
    let subject = "t-0@0..1  value=w-0  group g";
    check("at-least-once", &[BEGIN, again, &new], Kind::Unprocessed, subject, moment, &therefore);
    let of_kind = stories("at-least-once", &[BEGIN, again, &new]);
    let story = of_kind.iter().find(|story| story.kind == Kind::Unprocessed).expect("it was just seen");
    assert_eq!(story.lines[0].text, "t is deleted, and all its records with it");
}

#[test]
fn no_story_proposes_the_application_that_there_is() {
    let dies = "
        g1 commits g m1 gen=1 t-0 2
        g1 did g t-0 0 v-0
        g1 kill
        g2 gets g m2 gen=2 t-0
    ";
    let (skips, repeats) = ("g2 position t-0 2 committed\n", "g2 position t-0 0 committed\n g2 did g t-0 0 v-0\n");
    for application in ["auto-commit", "at-least-once", "at-most-once", "commit-per-record", "commit-on-revocation"] {
        for then in [skips, repeats] {
            let all = stories(application, &[BEGIN, dies, then, AUDIT]);
            let said: Vec<_> =
                all.iter().flat_map(|story| &story.therefore).filter_map(|one| one.what_if.as_ref()).collect();
            let own = format!("client.g1.consume.application={application}");
            assert!(said.iter().all(|what_if| !what_if.set.contains(&own)), "{application}: {said:#?}");
        }
    }
}

#[test]
fn records_behind_a_begin_at_the_end_are_told_with_what_became_of_the_committed_offset() {
    let away = "
        g1 stop
        b1 expires g t-0
        g2 gets g m2 gen=2 t-0
        g2 position t-0 2 start
    ";
    let therefore = ["auto.offset.reset of g2 decided, and that was latest", "offsets.retention.minutes=10080"];
    let moment = (Moment::Skipped, "begins at 2");
    check(
        "at-least-once",
        &[BEGIN, away, AUDIT],
        Kind::Unprocessed,
        "t-0@0..1  value=v-0  group g",
        moment,
        &therefore,
    );
}

#[test]
fn work_that_is_done_twice_is_told_with_what_came_between_it_and_its_commit() {
    let again = "
        g2 gets g m2 gen=2 t-0
        g2 position t-0 0 committed
        g2 did g t-0 0 v-0
        g2 did g t-0 1 v-1
    ";
    let moment = (Moment::ProcessedAgain, "works through 0 again");
    let subject = "t-0@0  value=v-0  group g";
    for (between, words) in [
        ("g1 kill", "g1 died between its work and the commit of it"),
        ("g1 gives g m1 t-0", "g1 gave the partition up without a commit"),
        ("g1 pause", "one of them stood still"),
        ("b1 expires g t-0", "the committed offset was deleted"),
    ] {
        let work = format!("g1 did g t-0 0 v-0\n {between}");
        check("at-least-once", &[BEGIN, &work, again, AUDIT], Kind::ProcessedTwice, subject, moment, &[words]);
    }
}

#[test]
fn work_that_was_committed_and_is_done_again_is_told_with_what_became_of_the_commit() {
    let (kind, moment, subject) =
        (Kind::ProcessedTwice, (Moment::ProcessedAgain, "again"), "t-0@0  value=v-0  group g");
    let done = "g1 did g t-0 0 v-0\n b1 committed g m1 gen=1 t-0 1\n g1 kill\n g2 gets g m2 gen=2 t-0\n";
    for (position, words) in [
        ("g2 position t-0 0 start", "the group had committed 1, and its coordinator had lost that. g2 began at 0"),
        ("g2 position t-0 0 out-of-range", "the log had become shorter than where the group stood. g2 began at 0"),
        (
            "b2 loaded __consumer_offsets-0 m1 e1\n g2 position t-0 0 committed",
            "the group had committed 1, and the coordinator that came next did not know that. g2 began at 0",
        ),
    ] {
        let again = format!("{position}\n g2 did g t-0 0 v-0\n");
        check("at-least-once", &[BEGIN, done, &again, AUDIT], kind, subject, moment, &[words]);
    }
}

#[test]
fn a_refused_commit_is_told_with_the_generation_of_it_and_of_the_group() {
    let refused = "
        g1 pause
        b1 out g m1
        b1 forms g m1 m2 gen=2
        g2 gets g m2 gen=2 t-0
        g1 resume
        g1 commits g m1 gen=1 t-0 2
        b1 refuses g m1 gen=1 in=2 ILLEGAL_GENERATION
        g1 told g sent=17 ILLEGAL_GENERATION
    ";
    let moment = (Moment::Refused, "the group is in generation 2");
    let therefore =
        ["the commit is of generation 1", "and g2 has the partition", "group.instance.id would NOT have helped"];
    let subject = "t-0  g1  ILLEGAL_GENERATION  group g";
    check("at-least-once", &[BEGIN, refused, AUDIT], Kind::CommitRefused, subject, moment, &therefore);
}

#[test]
fn a_commit_that_was_not_sent_is_told_with_why_and_with_what_became_of_it() {
    let joins = "
        b1 rebalances g gen=1
        g1 did g t-0 0 v-0
        g1 keeps g m1 t-0 1 REBALANCE_IN_PROGRESS
        g1 keeps g m1 t-0 1 REBALANCE_IN_PROGRESS
    ";
    let taken = "g1 commits g m1 gen=2 t-0 1\n g1 told g sent=16 NONE\n";
    let moved = "g1 gives g m1 t-0\n g2 gets g m2 gen=2 t-0\n";
    let subject = "t-0  g1  REBALANCE_IN_PROGRESS  group g";
    let moment = (Moment::Refused, "was to commit 1 of t-0, and sends nothing");
    for (then, words) in [
        (taken, "later g1 committed it all the same"),
        (moved, "then g2 got t-0"),
        ("g1 gives g m1 t-0\n", "then g1 gave t-0 up"),
        ("g1 kill\n", "then g1 ended"),
        ("", "g1 did not try again"),
    ] {
        let therefore = ["had not heard yet what it has in it", words];
        let parts = [BEGIN, joins, then, AUDIT];
        check("at-least-once", &parts, Kind::CommitNotSent, subject, moment, &therefore);
    }
    let late = "
        g1 overdue g m1
        b1 out g m1
        g1 keeps g m1 t-0 2 UNKNOWN_MEMBER_ID
        g1 loses g m1 t-0
    ";
    let therefore = ["had not polled for longer than max.poll.interval.ms, so its own heartbeat thread had left"];
    let subject = "t-0  g1  UNKNOWN_MEMBER_ID  group g";
    let moment = (Moment::Refused, "was to commit 2 of t-0");
    check("at-least-once", &[BEGIN, late, AUDIT], Kind::CommitNotSent, subject, moment, &therefore);
}

#[test]
fn who_leaves_because_it_does_not_poll_is_told_as_such() {
    let late = "
        1000 g1 overdue g m1
        1100 b1 out g m1
        3000 g1 loses g m1 t-0
        4000 g1 gets g m3 gen=2 t-0
    ";
    let subject = "t-0  without an owner for 1.000 s  group g";
    let therefore = [
        "out of the group: g1 (it did not poll for longer than max.poll.interval.ms, so its own heartbeat thread left)",
    ];
    let moment = (Moment::OwnedAgain, "gets t-0");
    check("at-least-once", &[BEGIN, late, AUDIT], Kind::Rebalance, subject, moment, &therefore);
}

#[test]
fn a_partition_that_nobody_had_is_told_with_who_left_and_for_how_long() {
    let dies = "
        1000 g1 kill
        7000 b1 out g m1
        7100 g2 gets g m2 gen=2 t-0
    ";
    let moment = (Moment::Unowned, "died");
    let therefore = ["nobody worked on t-0 for 6.100 s: g1 died without a word", "6.000 s later", "then g2 got it"];
    let subject = "t-0  without an owner for 6.100 s  group g";
    check("at-least-once", &[BEGIN, dies, AUDIT], Kind::Rebalance, subject, moment, &therefore);

    let eager = "
        1000 b1 rebalances g gen=1
        1100 g1 gives g m1 t-0
        1400 g1 gets g m1 gen=2 t-0
    ";
    let therefore = ["g1 was asked to give it up", "nobody left the group; g1 got it again", "With cooperative-sticky"];
    let subject = "t-0  without an owner for 0.300 s  group g";
    check(
        "at-least-once",
        &[BEGIN, eager, AUDIT],
        Kind::Rebalance,
        subject,
        (Moment::OwnedAgain, "gets t-0"),
        &therefore,
    );
}

#[test]
fn who_ends_in_peace_and_who_was_out_before_are_told_as_such() {
    let ends = "
        b1 rebalances g gen=1
        1000 g1 gives g m1 t-0
        1100 b1 out g m1
        1200 g1 stop
        2000 g2 gets g m2 gen=2 t-0
    ";
    let (moment, subject) = ((Moment::OwnedAgain, "gets t-0"), "t-0  without an owner for 1.000 s  group g");
    check(
        "at-least-once",
        &[BEGIN, ends, AUDIT],
        Kind::Rebalance,
        subject,
        moment,
        &["g1 ended; out of the group: g1"],
    );
    let out = "
        1000 b1 out g m1
        3000 g1 loses g m1 t-0
        4000 g1 gets g m3 gen=2 t-0
    ";
    let therefore = ["g1 learned that it was no longer a member; out of the group: g1"];
    check("at-least-once", &[BEGIN, out, AUDIT], Kind::Rebalance, subject, moment, &therefore);
}

#[test]
fn two_that_take_a_partition_for_their_own_are_told_as_such_and_a_commit_after_a_skip_hides_nothing() {
    let both = "
        g2 gets g m2 gen=2 t-0
        g2 position t-0 0 committed
        g1 did g t-0 0 v-0
        g2 did g t-0 0 v-0
    ";
    let moment = (Moment::ProcessedAgain, "works through 0 again");
    let therefore = ["g1 and g2 both took the partition for their own. g1 had done 1 record of these when g2 came"];
    let subject = "t-0@0  value=v-0  group g";
    check("at-least-once", &[BEGIN, both, AUDIT], Kind::ProcessedTwice, subject, moment, &therefore);
    // Once g1 is out there is one.
    let after =
        both.replace("g1 did g t-0 0 v-0\n", "").replacen("g2 gets", "g1 did g t-0 0 v-0\n b1 out g m1\n g2 gets", 1);
    let therefore = ["g1 had lost the partition before the commit of what it had done was taken. g2 began at 0"];
    check("at-least-once", &[BEGIN, &after, AUDIT], Kind::ProcessedTwice, subject, moment, &therefore);
    let later = "
        g1 stop
        b1 expires g t-0
        g2 gets g m2 gen=2 t-0
        g2 position t-0 2 start
        g2 commits g m2 gen=2 t-0 3
    ";
    let (moment, subject) = ((Moment::Skipped, "begins at 2"), "t-0@0..1  value=v-0  group g");
    let begin = BEGIN.replace("g1 read t-0 0 v-0", "b1 up 1").replace("g1 read t-0 1 v-1", "b1 up 1");
    check("at-least-once", &[&begin, later, AUDIT], Kind::Unprocessed, subject, moment, &["that was latest"]);
}

#[test]
fn what_is_told_again_and_again_is_told_once() {
    let fails = "g1 told g sent=12 NETWORK_EXCEPTION open\n".repeat(3);
    let gap = ["1000 g1 gives g m1 t-0\n", &fails, "2000 g2 gets g m2 gen=2 t-0\n"].concat();
    let subject = "t-0  without an owner for 1.000 s  group g";
    let moment = (Moment::Unowned, "gives t-0 up");
    check("at-least-once", &[BEGIN, &gap, AUDIT], Kind::Rebalance, subject, moment, &[]);
    let all = stories("at-least-once", &[BEGIN, &gap, AUDIT]);
    let lines: Vec<&str> = all.iter().flat_map(|story| &story.lines).map(|line| &*line.text).collect();
    assert!(lines.contains(&"is told of its commit: NETWORK_EXCEPTION, 3 times"), "{lines:?}");
}

#[test]
fn a_member_that_is_back_before_it_is_missed_has_left_nobody_waiting() {
    assert_eq!(stories("at-least-once", &[BEGIN, "g1 pause\n g1 resume"]).len(), 0);
}
