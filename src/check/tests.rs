//! Each checker is seen to hold on a good journal and to fail on a doctored one.

mod causes;
mod disks;
mod groups;
mod late_news;
mod moves;
mod restarts;
mod retries;
mod topics;

use super::{
    Cause, Claim, Ending, Expected, Plan, Status, Unfired, Verdict,
    fixture::{expecting, judge, plan},
    story::Moment,
};

/// Three replicas, b1 leads epoch 0.
const BEGIN: &str = "
    b1 up 1
    b2 up 1
    b3 up 1
    c1 chose t-0 leader=1 epoch=0 isr=1,2,3 election=created
    b1 leads t-0 epoch=0 hw=0
    b2 follows t-0 leader=1 epoch=0
    b3 follows t-0 leader=1 epoch=0
";

/// Record 0 with acks=all, replicated and committed.
const COMMIT_0: &str = "
    p1 send 0 t v-0 acks=-1
    b1 append t-0 leader e0 0..1
    b2 append t-0 follower e0 0..1
    b3 append t-0 follower e0 0..1
    b1 hw t-0 leader e0 1
    b1 answer t-0 acks=-1 0..1 e0 isr=1,2,3 hw=1
    p1 acked 0 t-0 0
    b2 hw t-0 follower e0 1
    b3 hw t-0 follower e0 1
";

/// Record 1 with acks=1, on the leader alone, and the leader dies; b2 leads epoch 1.
const LEADER_DIES: &str = "
    p1 send 1 t v-1 acks=1
    b1 append t-0 leader e0 1..2
    b1 answer t-0 acks=1 1..2 e0 isr=1,2,3 hw=1
    p1 acked 1 t-0 1
    b1 kill
    c1 fence 1 session ended
    c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
    b2 leads t-0 epoch=1 hw=1
    b3 follows t-0 leader=2 epoch=1 hw=1
    b1 up 2
    b1 load t-0 hw=1 0..1 1..2
    b1 follows t-0 leader=2 epoch=1 hw=1
    b1 cut t-0 2 1 leader-epoch
";

const AUDIT_V0: &str = "
    audit position t-0 0 start
    audit read t-0 0 v-0
    audit end t-0 1
";

fn good() -> String {
    [BEGIN, COMMIT_0, "scenario heal\nscenario settled", AUDIT_V0].concat()
}

#[track_caller]
fn check(parts: &[&str], claim: Claim, status: Status, witness: &str) -> Verdict {
    let verdict = judge(&parts.concat(), plan(true), &Ending::default());
    let finding = verdict.finding(claim);
    assert_eq!(finding.status, status, "{claim}: {finding:?}");
    let seen = finding.witnesses.iter().map(|w| w.text.as_str()).chain(finding.note.as_deref());
    let seen: Vec<&str> = seen.collect();
    assert!(witness.is_empty() || seen.iter().any(|text| text.contains(witness)), "{claim}: {seen:?}");
    verdict
}

#[track_caller]
fn violated(parts: &[&str], claim: Claim, witness: &str) {
    let verdict = check(parts, claim, Status::Violated, witness);
    assert_eq!(verdict.exit, 1, "{}", verdict.sentence);
}

#[test]
fn a_good_run_holds_every_claim_that_it_exercises() {
    let verdict = judge(&good(), plan(true), &Ending::default());
    assert_eq!(verdict.exit, 0, "{:?}", verdict.complaints);
    assert_eq!(verdict.findings.len(), Claim::ALL.len());
    for finding in &verdict.findings {
        let of_readers = matches!(finding.claim, Claim::ConsumersMissNothing | Claim::PollsGoForward);
        let idle = of_readers || matches!(finding.claim, Claim::OrderKept | Claim::EpochsNeverFall);
        let idle = idle || super::groups::CLAIMS.contains(&finding.claim);
        let expected = if idle { Status::NotExercised } else { Status::Held };
        assert_eq!(finding.status, expected, "{finding:?}");
    }
}

#[test]
fn a_clean_election_after_a_crash_breaks_no_invariant_and_loses_only_acks_one() {
    let journal = [BEGIN, COMMIT_0, LEADER_DIES, AUDIT_V0].concat();
    let verdict = judge(&journal, plan(true), &Ending::default());
    let broken: Vec<Claim> =
        verdict.findings.iter().filter(|f| f.status == Status::Violated).map(|finding| finding.claim).collect();
    assert_eq!(broken, [Claim::AckedRecordsSurvive]);
    assert_eq!((verdict.acked, verdict.lost.len()), (2, 1));
    assert_eq!(verdict.lost[0].cause, Cause::LeaderCrashedBeforeReplication);
    assert_eq!(verdict.exit, 1);
}

#[test]
fn an_expected_loss_is_as_expected_only_with_its_count_and_cause() {
    let journal = [BEGIN, COMMIT_0, LEADER_DIES, AUDIT_V0].concat();
    let exit = |value, count, cause| {
        let plan = expecting(Claim::AckedRecordsSurvive, value, Some((count, cause)));
        judge(&journal, plan, &Ending::default()).exit
    };
    assert_eq!(exit(Expected::Violated, 1, Cause::LeaderCrashedBeforeReplication), 0);
    assert_eq!(exit(Expected::Violated, 2, Cause::LeaderCrashedBeforeReplication), 1);
    assert_eq!(exit(Expected::Violated, 1, Cause::PowerLossOfAllCopies), 1);
    assert_eq!(exit(Expected::Held, 1, Cause::LeaderCrashedBeforeReplication), 1);
}

#[test]
fn an_expected_violation_that_does_not_happen_is_unexpected() {
    for value in [Expected::Violated, Expected::Held, Expected::Any] {
        let plan = expecting(Claim::AckedRecordsSurvive, value, None);
        let verdict = judge(&good(), plan, &Ending::default());
        assert_eq!(verdict.exit, u8::from(value == Expected::Violated), "{}", verdict.sentence);
    }
}

#[test]
fn a_run_that_proves_nothing_is_unknown() {
    let mark = Plan { must_reach: vec!["unclean_election".into()], ..plan(true) };
    assert_eq!(judge(&good(), mark.clone(), &Ending::default()).exit, 2);
    let reached = Ending { marks: vec!["unclean_election".into()], ..Ending::default() };
    assert_eq!(judge(&good(), mark, &reached).exit, 0);
    let unfired = Unfired { step: 2, trigger: "acked(p1) == 8".into(), last_value: "acked(p1) = 1".into() };
    let ending = Ending { unfired: vec![unfired], ..Ending::default() };
    for plan in [plan(true), expecting(Claim::AckedRecordsSurvive, Expected::Violated, None)] {
        let verdict = judge(&good(), plan, &ending);
        assert_eq!(verdict.exit, 2, "an expected loss cannot be missed in a story that was not told");
        assert!(verdict.sentence.contains("acked(p1) = 1"), "{}", verdict.sentence);
    }
    let order = expecting(Claim::OrderKept, Expected::Held, None);
    assert_eq!(judge(&good(), order, &Ending::default()).exit, 2, "an expected claim that was not exercised");
    let fault = Ending { harness_fault: Some("the trace hash differs".into()), ..Ending::default() };
    assert_eq!(judge(&good(), plan(true), &fault).exit, 3);
}

#[test]
fn a_committed_record_that_a_cleanly_elected_leader_lacks_is_a_violation() {
    let loses = "
        b1 kill
        b2 cut t-0 1 0 leader-epoch
        c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
        b2 leads t-0 epoch=1 hw=0";
    let unclean = loses.replace("election=clean", "election=unclean");
    violated(&[BEGIN, COMMIT_0, loses], Claim::CommittedPrefixKept, "without the committed records [0, 1)");
    check(&[BEGIN, COMMIT_0, &unclean], Claim::CommittedPrefixKept, Status::Held, "an unclean election took 1");
    let changed = loses.replace("0 leader-epoch", "0 leader-epoch\n b2 append t-0 follower e0 0..1:x");
    violated(&[BEGIN, COMMIT_0, &changed], Claim::CommittedPrefixKept, "at 0 it has batch [0, 1)");
}

#[test]
fn a_power_loss_is_excused_only_if_nobody_else_is_in_sync() {
    let returns = "
        b2 up 2
        b2 load t-0 hw=0
        c1 chose t-0 leader=2 epoch=1 isr=2 election=clean
        b2 leads t-0 epoch=1 hw=0";
    let all = "
        b1 power
        b2 power
        b3 power";
    check(&[BEGIN, COMMIT_0, all, returns], Claim::CommittedPrefixKept, Status::Held, "a power loss of every");
    let some = "
        b2 power
        b1 kill";
    check(&[BEGIN, COMMIT_0, some, returns], Claim::CommittedPrefixKept, Status::Held, "a power loss of every");
    let with_others = returns.replace("isr=2 ", "isr=2,3 ");
    violated(&[BEGIN, COMMIT_0, some, &with_others], Claim::CommittedPrefixKept, "b2 leads epoch 1");
}

#[test]
fn a_member_of_the_isr_that_is_behind_the_high_watermark_is_a_violation() {
    let ahead = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b1 hw t-0 leader e0 2";
    violated(&[BEGIN, COMMIT_0, ahead], Claim::HwWithinIsr, "is 2, the log of ISR member b3 ends at 1");
    let shrunk = "c1 chose t-0 leader=1 epoch=0 isr=1,2";
    check(&[BEGIN, COMMIT_0, shrunk, ahead], Claim::HwWithinIsr, Status::Held, "");
    let expanded = "\nc1 chose t-0 leader=1 epoch=0 isr=1,2,3";
    violated(&[BEGIN, COMMIT_0, shrunk, ahead, expanded], Claim::HwWithinIsr, "b3");
    let power = "
        b3 power
        b3 up 2
        b3 load t-0 hw=0";
    check(&[BEGIN, COMMIT_0, power, "\nb1 hw t-0 leader e0 1"], Claim::HwWithinIsr, Status::Held, "");
}

#[test]
fn logs_that_differ_below_the_high_watermark_are_a_violation() {
    let diverges = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b3 append t-0 follower e0 1..2:x
        b1 hw t-0 leader e0 2
        b3 hw t-0 follower e0 2";
    violated(&[BEGIN, COMMIT_0, diverges], Claim::LogsAgreeBelowHw, "at offset 1, b3 has batch");
}

#[test]
fn a_tail_that_a_follower_kept_is_found_when_it_goes_on_copying() {
    let kept = "
        b1 append t-0 leader e0 1..2
        b1 kill
        c1 chose t-0 leader=2 epoch=1 isr=2,3 election=clean
        b2 leads t-0 epoch=1 hw=1
        b3 follows t-0 leader=2 epoch=1 hw=1
        b2 append t-0 leader e1 1..2 2..3
        b3 append t-0 follower e1 1..2 2..3
        b2 hw t-0 leader e1 3
        b1 up 2
        b1 load t-0 hw=1 0..1 1..2
        b1 follows t-0 leader=2 epoch=1 hw=1";
    let truncates = "
        b1 cut t-0 2 1 leader-epoch
        b1 append t-0 follower e1 1..2 2..3
        b1 hw t-0 follower e1 3";
    let keeps = "
        b1 append t-0 follower e1 2..3
        b1 hw t-0 follower e1 3";
    check(&[BEGIN, COMMIT_0, kept, truncates], Claim::LogsAgreeBelowHw, Status::Held, "");
    violated(&[BEGIN, COMMIT_0, kept, keeps], Claim::LogsAgreeBelowHw, "offset 1, b1 has batch [1, 2) of epoch 0");
}

#[test]
fn the_small_invariants_fail_on_what_they_forbid() {
    let cases = [
        ("c1 chose t-0 leader=1 epoch=0 isr=1,4", Claim::IsrWithinReplicas, "b4 is in the ISR"),
        ("c1 chose t-0 leader=1 epoch=0 isr=2,3", Claim::IsrWithinReplicas, "b1 leads, the ISR is {b2, b3}"),
        ("c1 chose t-0 leader=2 epoch=0 isr=1,2,3", Claim::OneLeaderPerEpoch, "b1 and b2 both lead epoch 0"),
        ("b2 append t-0 leader e0 1..2", Claim::OneLeaderPerEpoch, "b1 and b2 both lead epoch 0"),
        ("b1 hw t-0 leader e0 0", Claim::HwMonotonic, "fell from 1 to 0"),
        ("b1 answer t-0 acks=-1 1..2 e0 hw=1", Claim::AcksAllMeansCommitted, "up to 2 while its high watermark was 1"),
        ("b1 answer t-0 acks=-1 1..2 e0 hw=2", Claim::AcksAllMeansCommitted, "ISR member b2 ended at 1"),
    ];
    for (doctored, claim, witness) in cases {
        check(&[BEGIN, COMMIT_0], claim, Status::Held, "");
        violated(&[BEGIN, COMMIT_0, doctored], claim, witness);
    }
    let epochs = "
        c1 chose t-0 leader=2 epoch=2 isr=1,2,3 election=clean
        c1 chose t-0 leader=2 epoch=1 isr=1,2,3";
    violated(&[BEGIN, epochs], Claim::OneLeaderPerEpoch, "fell from 2 to 1");
}

#[test]
fn a_member_that_holds_other_records_than_the_leader_shows_is_a_violation() {
    let other = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2:x
        b3 append t-0 follower e0 1..2
    ";
    let shown = "b1 hw t-0 leader e0 2";
    violated(&[BEGIN, COMMIT_0, other, shown], Claim::IsrHasCommitted, "ISR member b2 has batch [1, 2)");
    let answered = "b1 answer t-0 acks=-1 1..2 e0 hw=2";
    violated(&[BEGIN, COMMIT_0, other, answered], Claim::OwnIsrHasCommitted, "ISR member b2 has batch [1, 2)");
    let alone = "b1 answer t-0 acks=-1 1..2 e0 hw=2 isr=1,3";
    check(&[BEGIN, COMMIT_0, other, alone], Claim::OwnIsrHasCommitted, Status::Held, "");
    let excused = judge(&[BEGIN, COMMIT_0, "b2 power\n", other, shown].concat(), plan(true), &Ending::default());
    assert_eq!(excused.finding(Claim::IsrHasCommitted).violations, 0);
}

#[test]
fn a_read_above_every_high_watermark_is_a_violation() {
    check(&[BEGIN, COMMIT_0, "r1 read t-0 0 v-0"], Claim::ReadsAreCommitted, Status::Held, "");
    let read = "b1 append t-0 leader e0 1..2\nr1 read t-0 1 v-1";
    violated(&[BEGIN, COMMIT_0, read], Claim::ReadsAreCommitted, "r1 was given offset 1");
}

#[test]
fn an_answer_by_fewer_than_min_isr_is_a_violation() {
    let answer = "b1 answer t-0 acks=-1 0..1 e0 hw=1 isr=1,2";
    let judged = |min_isr: &str| {
        let settings = [("min.insync.replicas".into(), min_isr.into())].into();
        let plan = Plan { topics: [("t".into(), settings)].into(), ..plan(true) };
        let verdict = judge(&[BEGIN, COMMIT_0, answer].concat(), plan, &Ending::default());
        verdict.finding(Claim::AcksAllMeansCommitted).clone()
    };
    assert_eq!(judged("2").status, Status::Held);
    let found = judged("3");
    assert_eq!(found.status, Status::Violated);
    assert!(found.witnesses[0].text.contains("with the ISR {b1, b2}, and min.insync.replicas is 3"), "{found:?}");
}

#[test]
fn an_isr_that_was_asked_for_on_top_of_an_older_registration_is_a_violation() {
    let asked = "
        c1 chose t-0 leader=1 epoch=0 pe=1 isr=1,2
        b1 asks t-0 e0 pe=1 isr=1,2,3
    ";
    let taken = "c1 chose t-0 leader=1 epoch=0 pe=2 isr=1,2,3";
    check(&[BEGIN, asked, taken], Claim::EpochsNeverFall, Status::Held, "");
    let late = "
        c1 chose t-0 leader=2 epoch=1 pe=2 isr=2 election=clean
        c1 chose t-0 leader=2 epoch=1 pe=3 isr=1,2,3";
    let witness = "was asked for in leader epoch 0 on top of registration 1, and was committed in leader epoch 1";
    violated(&[BEGIN, asked, late], Claim::EpochsNeverFall, witness);
    let back = "b1 follows t-0 leader=2 epoch=-1";
    violated(&[BEGIN, back], Claim::EpochsNeverFall, "b1 went from leader epoch 0 to -1");
}

#[test]
fn history_checkers_fail_on_what_they_forbid() {
    let send = "
        p1 send 1 t v-1 acks=-1
        p1 acked 1 t-0 1";
    let ends = |records: &str, end: u64| format!("\naudit position t-0 0 start\n{records}\naudit end t-0 {end}");
    let both = "audit read t-0 0 v-0\naudit read t-0 1 v-1";
    let sent = [BEGIN, COMMIT_0, send].concat();
    let cases = [
        (ends("audit read t-0 0 v-0", 1), Claim::AckedRecordsSurvive, "t-0@1 (v-1)"),
        (ends(&format!("{both}\naudit read t-0 2 v-1"), 3), Claim::NoDuplicates, "t-0@1 and t-0@2"),
        (ends(&format!("{both}\naudit read t-0 2 v-9"), 3), Claim::NoPhantomReads, "which nobody sent"),
        (format!("\nc read t-0 1 v-0{}", ends(both, 2)), Claim::OffsetsAgree, "read as v-0 and as v-1"),
        (ends("audit read t-0 0 v-0\naudit read t-0 2 v-1", 3), Claim::OffsetsAgree, "acknowledged at t-0@1"),
        (format!("\nscenario heal{}", ends(both, 2)), Claim::ClusterRecovers, "did not settle"),
        (format!("\nc position t-0 0 start{}", ends(both, 2)), Claim::ConsumersReachTheEnd, "c stands at t-0@0"),
        (
            format!("\nc position t-0 0 start\nc read t-0 1 v-1{}", ends(both, 2)),
            Claim::ConsumersMissNothing,
            "c has passed t-0@0 without reading v-0",
        ),
        (
            format!("\nc position t-0 0 start\nc read t-0 0 v-0\nc read t-0 0 v-0{}", ends(both, 2)),
            Claim::PollsGoForward,
            "c stood at t-0@1 and was handed v-0 at 0",
        ),
        (
            format!("\np1 send 2 t v-2 acks=-1\np1 refused 2 X{}", ends(&format!("{both}\naudit read t-0 2 v-2"), 3)),
            Claim::NoPhantomReads,
            "refused with X",
        ),
    ];
    let sent_back = "\nc position t-0 1 start\nc read t-0 1 v-1\nc position t-0 0 truncation\nc read t-0 0 v-0";
    check(&[&sent, sent_back, &ends(both, 2)], Claim::PollsGoForward, Status::Held, "");
    check(&[&sent, &ends(both, 2)], Claim::OrderKept, Status::Held, "");
    let swapped = sent.replace("acked 1 t-0 1", "acked 1 t-0 2") + "\np1 send 2 t v-2 acks=-1\np1 acked 2 t-0 1";
    let log = ends("audit read t-0 0 v-0\naudit read t-0 1 v-2\naudit read t-0 2 v-1", 3);
    violated(&[&swapped, &log], Claim::OrderKept, "v-1 before v-2");
    for (doctored, claim, witness) in cases {
        violated(&[&sent, &doctored], claim, witness);
    }
}

#[test]
fn what_timed_out_may_be_there_or_not_and_what_the_audit_did_not_see_is_unknown() {
    let open = "
        p1 send 1 t v-1 acks=-1
        p1 timeout 1";
    let there = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b3 append t-0 follower e0 1..2
        b1 hw t-0 leader e0 2
        audit read t-0 0 v-0
        audit read t-0 1 v-1
        audit end t-0 2";
    for records in ["audit read t-0 0 v-0\naudit end t-0 1", there] {
        let journal = [BEGIN, COMMIT_0, open, "\naudit position t-0 0 start\n", records].concat();
        let verdict = judge(&journal, plan(true), &Ending::default());
        assert_eq!(verdict.exit, 0, "{:?}", verdict.complaints);
    }
    let blind = "\naudit position t-0 0 start\n";
    let verdict = check(&[BEGIN, COMMIT_0, blind], Claim::AckedRecordsSurvive, Status::Unknown, "1 of t-0");
    assert!(verdict.sentence.contains("Whether any of 1 acknowledged records was lost is unknown"), "{verdict:?}");
}

#[test]
fn what_is_acknowledged_behind_the_end_of_an_audit_that_goes_on_is_unknown() {
    let end = AUDIT_V0.lines().filter(|line| line.contains("end")).collect::<String>();
    let begin = AUDIT_V0.replace(&end, "");
    let late = "
        p1 send 1 t v-1 acks=-1
        p1 acked 1 t-0 1
        r1 read t-0 1 v-1\n";
    check(&[BEGIN, COMMIT_0, &begin, late, &end], Claim::AckedRecordsSurvive, Status::Unknown, "1 records were");
    check(&[BEGIN, COMMIT_0, &begin, late, &end], Claim::NoPhantomReads, Status::Held, "");
    violated(&[BEGIN, COMMIT_0, late, &begin, &end], Claim::AckedRecordsSurvive, "t-0@1 (v-1)");
}

#[test]
fn a_cluster_that_does_not_settle_is_told_with_what_it_lacks() {
    let ending = Ending { unsettled: Some("nobody leads t-0".into()), ..Ending::default() };
    let verdict = judge(&[BEGIN, COMMIT_0, "scenario heal", AUDIT_V0].concat(), plan(true), &ending);
    let finding = verdict.finding(Claim::ClusterRecovers);
    assert_eq!(finding.status, Status::Violated);
    assert!(finding.witnesses[0].text.ends_with("nobody leads t-0"), "{finding:?}");
}

#[test]
fn what_vanishes_by_a_permitted_loss_is_no_phantom() {
    let reads = "\nc read t-0 0 v-0";
    let lost = "
        b1 kill
        b2 cut t-0 1 0 leader-epoch
        c1 chose t-0 leader=2 epoch=1 isr=2 election=unclean
        b2 leads t-0 epoch=1 hw=0
        b2 append t-0 leader e1 0..1
        p2 send 0 t w-0 acks=-1
        audit position t-0 0 start
        audit read t-0 0 w-0
        audit end t-0 1";
    check(
        &[BEGIN, COMMIT_0, reads, lost],
        Claim::NoPhantomReads,
        Status::Held,
        "1 reads were of records that were lost",
    );
    check(&[BEGIN, COMMIT_0, reads, lost], Claim::OffsetsAgree, Status::Held, "");
    check(&[BEGIN, COMMIT_0, reads, lost], Claim::AckedRecordsSurvive, Status::Violated, "t-0@0");
}

#[test]
fn a_checker_that_panics_makes_its_claims_unknown() {
    let verdict = super::judge::judge(
        &plan(true),
        &Ending::default(),
        super::history::unknown("index"),
        super::judge::Fate::default(),
    );
    assert_eq!(verdict.exit, 2);
    assert!(
        verdict.complaints.iter().all(|complaint| complaint.contains("gave up: index")),
        "{:?}",
        verdict.complaints
    );
    let mut oracle = super::Oracle::new(plan(true));
    oracle.gave_up = Some("at event 3: boom".into());
    let verdict = oracle.finish(&Ending::default());
    assert_eq!(verdict.finding(Claim::HwMonotonic).status, Status::Unknown);
    assert_eq!(verdict.exit, 2);
}

#[test]
fn names_of_claims_and_causes_read_back_and_a_misspelt_one_is_corrected() {
    for claim in Claim::ALL {
        assert_eq!(claim.name().parse(), Ok(*claim));
    }
    for cause in Cause::ALL {
        assert_eq!(cause.name().parse(), Ok(*cause));
    }
    assert!("order-keept".parse::<Claim>().unwrap_err().contains("did you mean `order-kept`"));
    assert!("leader-elected-with-them".parse::<Cause>().unwrap_err().contains("leader-elected-without-them"));
}
