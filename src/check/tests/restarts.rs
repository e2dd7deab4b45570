//! Clients that are started again: what their application sends once more, and where their readers begin.

use super::{BEGIN, COMMIT_0, check};
use crate::check::{
    Claim, Ending, Expected, Status,
    fixture::{expecting, journal, judge, plan},
    story::{self, Kind},
};

/// p1 is told nothing of its record, dies, and sends it again.
const AGAIN: &str = "
    p1 send 1 t v-1 acks=-1
    b1 append t-0 leader e0 1..2
    b2 append t-0 follower e0 1..2
    b3 append t-0 follower e0 1..2
    b1 hw t-0 leader e0 2
    p1 kill
    p1 up 2
    p1 send 11 t v-1 acks=-1
    b1 append t-0 leader e0 2..3
    b2 append t-0 follower e0 2..3
    b3 append t-0 follower e0 2..3
    b1 hw t-0 leader e0 3
    b1 answer t-0 acks=-1 2..3 e0 isr=1,2,3 hw=3
    p1 acked 11 t-0 2
";
const TWICE: &str = "
    audit position t-0 0 start
    audit read t-0 0 v-0
    audit read t-0 1 v-1
    audit read t-0 2 v-1
    audit end t-0 3
";

#[test]
fn what_another_process_sent_again_may_be_there_twice_and_is_a_duplicate_where_that_is_taught() {
    let text = [BEGIN, COMMIT_0, AGAIN, TWICE].concat();
    let verdict = judge(&text, plan(true), &Ending::default());
    let finding = verdict.finding(Claim::NoDuplicates);
    let note = "1 records are there twice: their application was started again, and sent them again";
    assert_eq!((finding.status, finding.note.as_deref()), (Status::Held, Some(note)));
    let taught = expecting(Claim::NoDuplicates, Expected::Violated, None);
    let verdict = judge(&text, taught.clone(), &Ending::default());
    assert_eq!(verdict.finding(Claim::NoDuplicates).status, Status::ViolatedAsExpected);
    // One process that sends the same twice means two.
    let one = text.replace("p1 up 2", "p1 pause").replace("p1 kill", "p1 resume");
    let verdict = judge(&one, taught, &Ending::default());
    assert_eq!(verdict.finding(Claim::NoDuplicates).status, Status::Held);
}

#[test]
fn a_record_that_another_process_sent_again_has_a_story_of_both_processes() {
    let text = [BEGIN, COMMIT_0, AGAIN, TWICE].concat();
    let verdict = judge(&text, plan(true), &Ending::default());
    let stories = story::every(&journal(&text), &plan(true), &verdict);
    let [story] = &stories[..] else { panic!("one story, not {stories:?}") };
    assert_eq!((story.kind, story.records.len()), (Kind::Duplicate, 1));
    let told: Vec<&str> = story.lines.iter().filter(|line| &*line.node == "p1").map(|line| &*line.text).collect();
    assert_eq!(told[0], "sent it with acks=all");
    assert_eq!(told[2..], ["started again", "sent it with acks=all", "was told that it stands at t-0@2"]);
    assert!(story.therefore[0].text.contains("end with their process"), "{:?}", story.therefore);
}

#[test]
fn a_reader_that_is_started_again_has_to_read_from_where_it_begins_then() {
    let reads = "r1 position t-0 0 start\nr1 read t-0 0 v-0\n";
    let begins = |offset: u64, read: &str| format!("r1 kill\nr1 up 2\nr1 position t-0 {offset} start\n{read}\n");
    let goes_on = "r1 read t-0 2 v-1";
    let claim = Claim::ConsumersMissNothing;
    check(&[BEGIN, COMMIT_0, AGAIN, reads, &begins(2, goes_on), TWICE], claim, Status::Held, "");
    let missed = "r1 has passed t-0@1 without reading v-1";
    check(&[BEGIN, COMMIT_0, AGAIN, reads, &begins(1, goes_on), TWICE], claim, Status::Violated, missed);
}
