//! The checkers of consumer groups: each holds on a good journal and fails on a doctored one.

use crate::check::{
    Cause, Claim, Ending, Expectation, Expected, ExpectedLoss, GroupPlan, Plan, Status, Verdict, WorkerPlan,
    fixture::judge,
};

/// Two records, and a group of two members, of whom g1 has the only partition. Events 1 to 9.
const BEGIN: &str = "
    p1 send 0 t v-0 acks=-1
    p1 send 1 t v-1 acks=-1
    p1 acked 0 t-0 0
    p1 acked 1 t-0 1
    b1 joins g m1
    b1 joins g m2
    b1 forms g m1 m2 gen=1
    b1 assigns g gen=1
    g1 gets g m1 gen=1 t-0
";

/// g1 reads from the beginning, does its work and commits. Events 10 to 16.
const WORK: &str = "
    g1 position t-0 0 start
    g1 read t-0 0 v-0
    g1 read t-0 1 v-1
    g1 did g t-0 0 v-0
    g1 did g t-0 1 v-1
    g1 commits g m1 gen=1 t-0 2
    g1 told g sent=15 NONE
";

/// g1 is thrown out, g2 gets the partition and asks where to go on. Events 17 to 21.
const MOVE: &str = "
    b1 out g m1
    b1 forms g m1 m2 gen=2
    b1 assigns g gen=2
    g2 gets g m2 gen=2 t-0
    g2 wonders g t-0
";

const END: &str = "
    g1 loses g m1 t-0
    scenario heal
    scenario settled
    audit position t-0 0 start
    audit read t-0 0 v-0
    audit read t-0 1 v-1
    audit end t-0 2
";

/// A group of two members that read `t-0`.
fn group() -> GroupPlan {
    GroupPlan {
        members: vec!["g1".into(), "g2".into()],
        partitions: vec!["t-0".parse().unwrap()],
        ..GroupPlan::default()
    }
}

fn judged(parts: &[&str], at_least_once: bool, at_most_once: bool) -> Verdict {
    let group = GroupPlan { at_least_once, at_most_once, ..group() };
    let plan = Plan { groups: [("g".into(), group)].into(), ..Plan::default() };
    judge(&parts.concat(), plan, &Ending::default())
}

/// A static member of this name.
fn static_member(instance: &str) -> WorkerPlan {
    WorkerPlan { instance: Some(instance.into()), ..WorkerPlan::default() }
}

#[test]
fn a_static_member_without_a_namesake_is_sent_away_for_nobody() {
    let fenced = "g1 fails FENCED_INSTANCE_ID\n";
    let stale = "b2 loaded __consumer_offsets-0 m1 m2 e1\ng1 wonders g t-0 b1\n";
    let of = |other: &str, parts: &[&str]| {
        let workers = [("g1".into(), static_member("one")), ("g2".into(), static_member(other))].into();
        let plan = Plan { groups: [("g".into(), GroupPlan { workers, ..group() })].into(), ..Plan::default() };
        judge(&parts.concat(), plan, &Ending::default()).finding(Claim::StaticIdsUnique).status
    };
    let named = BEGIN.replace("b1 joins g m1", "b1 joins g m1 one");
    assert_eq!(of("two", &[&named, WORK, fenced, END]), Status::Violated);
    assert_eq!(of("one", &[&named, WORK, fenced, END]), Status::Held);
    assert_eq!(of("two", &[&named, WORK, stale, fenced, END]), Status::Held);
    // Its return is written at once in a group at work, and in a rebalance with the assignment.
    let begin = named.replace("b1 joins g m1 one", "b1 joins g m1 one client=g1");
    let (returns, formed) = ("b1 replaces g m1 m3 one\n", "b1 forms g m2 m3 gen=2\n");
    let moved = "b2 loaded __consumer_offsets-0 m1 m2 e1\n";
    for rebalance in [[returns, formed], [formed, returns]] {
        assert_eq!(of("two", &[&begin, WORK, &rebalance.concat(), moved, fenced, END]), Status::Held);
    }
    assert_eq!(of("two", &[&begin, WORK, returns, moved, fenced, END]), Status::Violated);
    let written = [returns, formed, "b1 assigns g m3 t-0 gen=2\n"].concat();
    assert_eq!(of("two", &[&begin, WORK, &written, moved, fenced, END]), Status::Violated);
}

#[track_caller]
fn check(parts: &[&str], claim: Claim, status: Status, witness: &str) {
    let verdict = judged(parts, true, true);
    let finding = verdict.finding(claim);
    assert_eq!(finding.status, status, "{claim}: {finding:?}");
    let seen: Vec<&str> = finding.witnesses.iter().map(|witness| witness.text.as_str()).collect();
    assert!(witness.is_empty() || seen.contains(&witness), "{claim}: {seen:?}");
}

#[test]
fn a_group_that_works_holds_every_claim() {
    let verdict = judged(&[BEGIN, WORK, MOVE, "g2 finds g t-0 2 asked=21\n", END], true, true);
    for claim in super::super::groups::CLAIMS {
        let expected = if *claim == Claim::CommitsSurvive { Status::NotExercised } else { Status::Held };
        assert_eq!(verdict.finding(*claim).status, expected, "{claim}: {:?}", verdict.finding(*claim));
    }
}

#[test]
fn without_a_group_in_the_plan_nothing_is_exercised() {
    let verdict = judge(&[BEGIN, WORK].concat(), Plan::default(), &Ending::default());
    for claim in super::super::groups::CLAIMS {
        assert_eq!(verdict.finding(*claim).status, Status::NotExercised, "{claim}");
    }
}

#[test]
fn a_record_that_nobody_processed_is_a_violation() {
    let work = WORK.replace("g1 did g t-0 1 v-1", "g1 up 1");
    let witness = "t-0@1 (v-1) was never processed in group g";
    check(&[BEGIN, &work, END], Claim::ProcessedAtLeastOnce, Status::Violated, witness);
    let verdict = judged(&[BEGIN, &work, END], false, true);
    let finding = verdict.finding(Claim::ProcessedAtLeastOnce);
    assert!(
        finding.note.as_ref().is_some_and(|note| note.starts_with("1 records were never processed")),
        "{finding:?}"
    );
}

#[test]
fn a_record_before_the_begin_of_the_group_need_not_be_processed() {
    let work = WORK.replace("position t-0 0", "position t-0 1").replace("g1 did g t-0 0 v-0", "g1 up 1");
    check(&[BEGIN, &work, END], Claim::ProcessedAtLeastOnce, Status::Held, "");
}

#[test]
fn a_record_processed_by_two_members_is_a_violation() {
    let again = "g2 finds g t-0 2 asked=21\ng2 did g t-0 1 v-1\n";
    let witness = "t-0@1 (v-1) was processed by g1 and again by g2 in group g";
    check(&[BEGIN, WORK, MOVE, again, END], Claim::ProcessedAtMostOnce, Status::Violated, witness);
    let verdict = judged(&[BEGIN, WORK, MOVE, again, END], true, false);
    assert_eq!(verdict.finding(Claim::ProcessedAtMostOnce).status, Status::Held);
}

#[test]
fn another_record_at_the_same_offset_is_no_repetition() {
    let other = "g2 did g t-0 1 v-9\n";
    check(&[BEGIN, WORK, MOVE, other, END], Claim::ProcessedAtMostOnce, Status::Held, "");
}

#[test]
fn a_partition_taken_from_a_member_that_still_counts_is_a_violation() {
    let witness = "g2 took t-0 in group g while g1 had it";
    let still = MOVE.replace("b1 out g m1", "b1 up 1");
    check(&[BEGIN, WORK, &still, END], Claim::OneOwnerPerPartition, Status::Violated, witness);
    let given = MOVE.replace("b1 out g m1", "g1 gives g m1 t-0");
    check(&[BEGIN, WORK, &given, END], Claim::OneOwnerPerPartition, Status::Held, "");
    // A static member that goes away for a while keeps what it had, and has let go what it was asked to give up.
    let modern = MOVE.replace("forms g m1", "forms g - m1");
    let away = modern.replace("b1 out g m1", "b1 advances g m1 gen=-2 since=0");
    check(&[BEGIN, WORK, &away, END], Claim::OneOwnerPerPartition, Status::Held, "");
    let kept = modern.replace("b1 out g m1", "b1 advances g m1 t-0 gen=-2 since=0");
    check(&[BEGIN, WORK, &kept, END], Claim::OneOwnerPerPartition, Status::Violated, witness);
    let dead = MOVE.replace("b1 out g m1", "g1 kill");
    check(&[BEGIN, WORK, &dead, END], Claim::OneOwnerPerPartition, Status::Held, "");
}

#[test]
fn a_commit_of_an_older_generation_that_is_taken_is_a_violation() {
    let zombie = "g1 commits g m1 gen=1 t-0 1\ng1 told g sent=22 NONE\n";
    let witness = "a commit of g1 was taken by group g, sent in generation 1 when the group was in generation 2";
    check(&[BEGIN, WORK, MOVE, zombie, END], Claim::OnlyMembersCommit, Status::Violated, witness);
    let refused = zombie.replace("NONE", "ILLEGAL_GENERATION");
    check(&[BEGIN, WORK, MOVE, &refused, END], Claim::OnlyMembersCommit, Status::Held, "");
}

#[test]
fn a_generation_that_was_never_assigned_is_forgotten_with_its_coordinator() {
    let failover = "b1 forms g m1 m2 gen=2\nb2 loaded __consumer_offsets-0 m1 m2 e1\n";
    let commit = "g1 commits g m1 gen=1 t-0 2\ng1 told g sent=19 NONE\n";
    check(&[BEGIN, WORK, failover, commit, END], Claim::OnlyMembersCommit, Status::Held, "");
}

#[test]
fn a_member_may_commit_what_it_has_had_since_an_epoch_though_the_group_and_it_have_moved_on() {
    let moved = "b1 advances g m1 t-0 gen=1 since=1\nb1 forms g - m1 m2 gen=2\n";
    let commit = "g1 commits g m1 gen=1 t-0 2\ng1 told g sent=SENT NONE\n";
    let lags = [moved, &commit.replace("SENT", "19")].concat();
    check(&[BEGIN, WORK, &lags, END], Claim::OnlyMembersCommit, Status::Held, "");
    let kept = [moved, "b1 advances g m1 t-0 gen=2 since=1\n", &commit.replace("SENT", "20")].concat();
    check(&[BEGIN, WORK, &kept, END], Claim::OnlyMembersCommit, Status::Held, "");
    let again = [moved, "b1 advances g m1 t-0 gen=2 since=2\n", &commit.replace("SENT", "20")].concat();
    let witness = "a commit of g1 was taken by group g, sent in epoch 1 of what is its own since epoch 2";
    check(&[BEGIN, WORK, &again, END], Claim::OnlyMembersCommit, Status::Violated, witness);
    let other = [moved, "b1 advances g m2 t-0 gen=2 since=2\nb1 out g m1\n", &commit.replace("SENT", "21")].concat();
    let witness = "a commit of g1 was taken by group g, of one that was no member";
    check(&[BEGIN, WORK, &other, END], Claim::OnlyMembersCommit, Status::Violated, witness);
}

#[test]
fn in_a_group_without_a_leader_the_epoch_of_the_member_counts() {
    let commit = "g1 commits g m1 gen=1 t-0 1\ng1 told g sent=18 NONE\n";
    for (forms, status) in
        [("b1 forms g m1 m2 gen=2\n", Status::Violated), ("b1 forms g - m1 m2 gen=2\n", Status::Held)]
    {
        check(&[BEGIN, WORK, forms, commit, END], Claim::OnlyMembersCommit, status, "");
    }
}

#[test]
fn what_expired_between_its_commit_and_its_work_may_be_processed_again() {
    // The application commits first. It has the record in its hands when the offset expires, or gets it later.
    let work = "g1 position t-0 0 start\nBEFORE\ng1 read t-0 0 v-0\nAFTER\ng1 did g t-0 0 v-0\ng2 did g t-0 0 v-0\n";
    let (expires, nothing) = ("b1 expires g t-0", "g1 up 1");
    for (before, after, status) in [(nothing, expires, Status::Held), (expires, nothing, Status::Violated)] {
        let work = work.replace("BEFORE", before).replace("AFTER", after);
        check(&[BEGIN, &work, END], Claim::ProcessedAtMostOnce, status, "");
    }
}

#[test]
fn a_member_that_joins_before_its_commit_arrives_is_one() {
    let out = "b1 forms g - m1 m2 gen=1\nb1 advances g m2 gen=1 since=1\nb1 out g m1\n";
    let commit =
        ["g1 commits g m1 gen=1 t-0 1\n", "b1 joins g m1\nb1 advances g m1 t-0 gen=EPOCH since=EPOCH\n"].concat();
    for (epoch, status) in [("1", Status::Held), ("2", Status::Violated)] {
        let commit = commit.replace("EPOCH", epoch);
        let told = "g1 told g sent=20 NONE\n";
        check(&[BEGIN, WORK, out, &commit, told, END], Claim::OnlyMembersCommit, status, "");
    }
}

#[test]
fn a_commit_from_outside_is_for_groups_without_members() {
    let outside = "g3 commits g  gen=-1 t-0 1\ng3 told g sent=17 NONE\n".replace("g  gen", "g - gen");
    let witness = "a commit of g3 was taken by group g, from outside while it had members";
    check(&[BEGIN, WORK, &outside, END], Claim::OnlyMembersCommit, Status::Violated, witness);
}

#[test]
fn a_committed_offset_that_goes_back_is_a_violation() {
    for (found, name) in [("0", "0"), ("-1", "none")] {
        let finds = format!("g2 finds g t-0 {found} asked=21\n");
        let witness = format!("group g had committed 2 in t-0, and g2 found {name}");
        check(&[BEGIN, WORK, MOVE, &finds, END], Claim::CommitsNeverGoBack, Status::Violated, &witness);
    }
}

#[test]
fn a_coordinator_that_was_replaced_and_does_not_know_it_may_answer_from_what_it_has() {
    for (asked, status) in [("b1", Status::Held), ("b2", Status::Violated)] {
        let late =
            format!("b2 loaded __consumer_offsets-0 m2 e1\ng2 wonders g t-0 {asked}\ng2 finds g t-0 0 asked=23\n");
        check(&[BEGIN, WORK, MOVE, &late, END], Claim::CommitsNeverGoBack, status, "");
    }
}

#[test]
fn a_commit_that_nobody_knows_of_may_be_found_or_not() {
    let open = WORK.replace("g1 told g sent=15 NONE", "g1 told g sent=15 open");
    let second = "g1 commits g m1 gen=1 t-0 1\ng1 told g sent=17 NONE\ng2 wonders g t-0\n";
    for found in ["1", "2"] {
        let finds = format!("g2 finds g t-0 {found} asked=19\n");
        check(&[BEGIN, &open, second, &finds, END], Claim::CommitsNeverGoBack, Status::Held, "");
    }
    let older = "g2 finds g t-0 2 asked=19\n";
    check(&[BEGIN, WORK, second, older, END], Claim::CommitsNeverGoBack, Status::Violated, "");
}

#[test]
fn offsets_that_expired_need_not_be_found() {
    for verb in ["expiring", "expires"] {
        let expired = format!("b1 {verb} g t-0\ng2 wonders g t-0\ng2 finds g t-0 -1 asked=23\n");
        check(&[BEGIN, WORK, MOVE, &expired, END], Claim::CommitsNeverGoBack, Status::Held, "");
    }
}

#[test]
fn a_commit_that_the_audit_does_not_find_is_a_violation() {
    let asks = "audit wonders g t-0\n";
    check(&[BEGIN, WORK, asks, "audit finds g t-0 2 asked=17\n", END], Claim::CommitsSurvive, Status::Held, "");
    let witness = "group g had committed 2 in t-0, and audit found none";
    let lost = "audit finds g t-0 -1 asked=17\n";
    check(&[BEGIN, WORK, asks, lost, END], Claim::CommitsSurvive, Status::Violated, witness);
}

#[test]
fn a_partition_without_an_owner_at_the_end_is_a_violation() {
    let witness = "nobody in group g has t-0";
    check(&[BEGIN, WORK, END], Claim::GroupConverges, Status::Violated, witness);
    // A join of before g1's own comes late, and its member is fenced.
    let join = "b1 joins g m1 client=g1\n";
    let fenced = |sent| format!("{join}b1 replaces g m1 m3 i cause={sent}\ng1 fails FENCED_INSTANCE_ID\n");
    let begin = BEGIN.replace("b1 assigns g gen=1", "b1 assigns g m1 t-0 gen=1");
    check(&[&begin, WORK, &fenced(1), END], Claim::GroupConverges, Status::Held, "");
    check(&[&begin, WORK, &fenced(17), END], Claim::GroupConverges, Status::Violated, witness);
    let both = END.replace("g1 loses g m1 t-0", "g1 up 1");
    let witness = "g1, g2 of group g all have t-0";
    check(&[BEGIN, WORK, MOVE, &both], Claim::GroupConverges, Status::Violated, witness);
}

#[test]
fn a_member_answers_for_what_it_passed_while_a_partition_was_its_own() {
    let skips = WORK.replace("g1 read t-0 0 v-0", "g1 up 1");
    let witness = "g1 has passed t-0@0 without reading v-0";
    check(&[BEGIN, &skips, MOVE, END], Claim::ConsumersMissNothing, Status::Violated, witness);
    let later = "g2 position t-0 2 committed\n";
    check(&[BEGIN, WORK, MOVE, later, END], Claim::ConsumersMissNothing, Status::Held, "");
    check(&[BEGIN, WORK, MOVE, later, END], Claim::ConsumersReachTheEnd, Status::Held, "");
}

/// What becomes of `processed-at-least-once` where these causes are permitted.
fn permitting(parts: &[&str], causes: &[Cause]) -> Status {
    let lost = Some(ExpectedLoss { count: None, causes: causes.to_vec() });
    let expected = Expectation { claim: Claim::ProcessedAtLeastOnce, value: Expected::Any, lost };
    let group = GroupPlan { at_least_once: true, ..group() };
    let plan = Plan { groups: [("g".into(), group)].into(), expectations: vec![expected], ..Plan::default() };
    let verdict = judge(&parts.concat(), plan, &Ending::default());
    let finding = verdict.finding(Claim::ProcessedAtLeastOnce);
    assert_eq!(verdict.complaints.iter().any(|text| text.contains("at-least-once")), finding.violations > 0);
    finding.status
}

#[test]
fn a_record_may_stay_unprocessed_by_the_causes_that_are_permitted_and_no_other() {
    use Cause::{LeftInDeadHands, SkippedByReset, SkippedByTruncation};
    let undone = WORK.replace("g1 did g t-0 1 v-1", "g1 up 1");
    let died = [BEGIN, &undone, "g1 kill\n", MOVE, END];
    assert_eq!(permitting(&died, &[LeftInDeadHands]), Status::Held);
    assert_eq!(permitting(&died, &[SkippedByReset]), Status::Violated);
    // Who reads for another purpose and dies explains nothing.
    let another = [BEGIN, &undone.replace("g1 read", "r1 read"), "r1 kill\n", MOVE, END];
    assert_eq!(permitting(&another, &[LeftInDeadHands]), Status::Violated);
    // It had not committed what was in its hands: another should have got it.
    let uncommitted = undone.replace("t-0 2", "t-0 1");
    assert_eq!(permitting(&[BEGIN, &uncommitted, "g1 kill\n", MOVE, END], &[LeftInDeadHands]), Status::Violated);
    let skips = "g2 position t-0 2 start\n";
    assert_eq!(permitting(&[BEGIN, &undone, MOVE, skips, END], &[SkippedByReset]), Status::Held);
    // A power loss that might have taken what stood there explains it only where nobody was seen to skip it.
    let power = "
        b1 up 1
        c1 chose t-0 leader=1 epoch=0 isr=1 election=created
        b1 leads t-0 epoch=0 hw=0
        b1 append t-0 leader e0 0..2
        b1 hw t-0 leader e0 2
        b1 power
        b1 up 2
        b1 load t-0 hw=0
        c1 chose t-0 leader=1 epoch=1 isr=1 election=clean
        b1 leads t-0 epoch=1 hw=0
    ";
    assert_eq!(permitting(&[BEGIN, &undone, MOVE, skips, power, END], &[SkippedByReset]), Status::Held);
    assert_eq!(permitting(&[BEGIN, &undone, MOVE, skips, power, END], &[SkippedByTruncation]), Status::Violated);
    let committed = "g2 position t-0 2 committed\n";
    assert_eq!(permitting(&[BEGIN, &undone, MOVE, committed, END], &[SkippedByReset]), Status::Violated);
    assert_eq!(permitting(&[BEGIN, &undone, MOVE, committed, power, END], &[SkippedByTruncation]), Status::Held);
}

#[test]
fn who_hears_late_of_an_assignment_and_is_no_member_any_more_breaks_nothing() {
    let late = MOVE.replace("b1 forms g m1 m2 gen=2", "b1 out g m2");
    let late = late.replace("b1 out g m1", "b1 up 1");
    check(&[BEGIN, WORK, &late, END], Claim::OneOwnerPerPartition, Status::Held, "");
}

#[test]
fn a_static_member_that_did_not_come_gives_nothing_up() {
    for (forms, status) in [("m1 m2", Status::Violated), ("m2", Status::Held)] {
        let given = format!("b1 forms g {forms} gen=2\nb1 assigns g gen=2\ng2 gets g m2 gen=2 t-0\n");
        check(&[BEGIN, WORK, &given, END], Claim::OneOwnerPerPartition, status, "");
    }
}

#[test]
fn a_static_member_that_is_handed_its_assignment_again_may_leave_a_partition_to_nobody() {
    let gives = "g1 gives g m1 t-0\n";
    let back = "b1 replaces g m2 m3 two\n";
    for (assigns, back, status) in [
        ("b1 assigns g gen=2\n", back, Status::Held),
        ("b1 assigns g gen=2\n", "", Status::Violated),
        ("b1 assigns g m3 t-0 gen=2\n", back, Status::Violated),
    ] {
        check(&[BEGIN, WORK, gives, assigns, back, END], Claim::GroupConverges, status, "");
    }
}

#[test]
fn a_static_member_at_a_coordinator_that_is_none_any_more_may_be_sent_away() {
    let loaded = "b2 loaded __consumer_offsets-0 m1 m2 e1\n";
    for (broker, status) in [("b1", Status::Held), ("b2", Status::Violated)] {
        let comes_back = format!("g1 loses g m1 t-0\n{broker} joins g m3 one client=g1\n");
        let goes_on = format!("g1 wonders g t-0 {broker}\ng1 loses g m1 t-0\n");
        for before in [comes_back, goes_on] {
            let fenced = "g1 fails FENCED_INSTANCE_ID\n";
            check(&[BEGIN, WORK, loaded, &before, fenced, END], Claim::GroupConverges, status, "");
        }
    }
}

#[test]
fn what_a_member_was_to_give_up_when_the_group_became_a_classic_one_nobody_waits_for() {
    let begin = "b1 forms g - m1 m2 gen=1\nb1 advances g m1 t-0 gen=1 since=1\nb1 assigns g m2 t-0 gen=2\n";
    let again = "b1 advances g m2 t-0 gen=2 since=2\ng2 gets g m2 gen=2 t-0\n";
    let (downgrades, committed) = ("b1 rebalances g downgraded gen=2\n", "b1 assigns g m2 t-0 gen=2\n");
    let loaded = "b2 loaded __consumer_offsets-0 m1 m2 e1\nb2 assigns g m2 t-0 gen=3\n";
    for (then, status) in [
        (&[downgrades, committed][..], Status::Held),
        (&[committed], Status::Violated),
        (&[downgrades], Status::Violated),
        (&[downgrades, loaded], Status::Violated),
        // Once all have joined again, or it is the member's again, it counts.
        (&[downgrades, "b1 forms g m1 m2 gen=3\n", committed], Status::Violated),
        (&[downgrades, committed, "b1 forms g m1 m2 gen=3\n"], Status::Violated),
        (&[downgrades, committed, "b1 advances g m1 t-0 gen=3 since=3\n"], Status::Violated),
    ] {
        let again = if then.contains(&loaded) { again.replace("b1", "b2") } else { again.to_owned() };
        let then = then.concat();
        check(&[BEGIN, WORK, begin, &then, &again, END], Claim::OneOwnerPerPartition, status, "");
    }
}

#[test]
fn a_broker_that_coordinates_no_more_says_nothing_that_counts() {
    let loaded = "b2 loaded __consumer_offsets-0 m1 m2 e1\n";
    let outside = "g3 commits g - gen=-1 t-0 1\ng3 told g sent=19 NONE\n";
    let stale = [loaded, "b1 out g m1\n", outside].concat();
    check(&[BEGIN, WORK, &stale, END], Claim::OnlyMembersCommit, Status::Violated, "");
    let emptied = [loaded, "b2 out g m1\nb2 out g m2\n", &outside.replace("19", "20")].concat();
    check(&[BEGIN, WORK, &emptied, END], Claim::OnlyMembersCommit, Status::Held, "");
}

#[test]
fn an_offset_that_expires_while_a_member_has_the_partition_is_a_violation() {
    let begin = BEGIN.replace("b1 assigns g gen=1", "b1 assigns g m1 t-0 gen=1");
    let witness = "the offset of t-0 expired in group g, of which a member has it";
    check(&[&begin, WORK, "b1 expires g t-0\n", END], Claim::CommitsSurvive, Status::Violated, witness);
    check(&[&begin, WORK, "b1 out g m1\nb1 expires g t-0\n", END], Claim::CommitsSurvive, Status::NotExercised, "");
}

#[test]
fn of_two_with_one_instance_id_only_one_gets_on() {
    let replaced = "b1 replaces g m1 m3 one\ng2 gets g m3 t-0 gen=1\n";
    let late = "g1 commits g m1 gen=1 t-0 2\ng1 told g sent=19 NONE\n";
    let witness = "a commit of m1, which had been replaced, was taken by group g";
    check(&[BEGIN, WORK, replaced, late, END], Claim::StaticIdsUnique, Status::Violated, witness);
    let refused = late.replace("NONE", "FENCED_INSTANCE_ID");
    check(&[BEGIN, WORK, replaced, &refused, END], Claim::StaticIdsUnique, Status::Held, "");
    let fenced = "g1 fails FENCED_INSTANCE_ID\n";
    check(&[BEGIN, WORK, replaced, fenced, END], Claim::StaticIdsUnique, Status::Held, "");
    let named = BEGIN.replace("b1 joins g m1", "b1 joins g m1 one");
    let both = END.replace("g1 loses g m1 t-0", "g1 up 1");
    let witness = "g1 and g2 both go on as one in group g";
    check(&[&named, WORK, replaced, &both], Claim::StaticIdsUnique, Status::Violated, witness);
}
