//! Compares findings with expectations.

use super::{Cause, Claim, Ending, Expectation, Expected, ExpectedLoss, Finding, Lost, Plan, Status, Verdict};

/// The verdict over these findings.
pub(super) fn judge(plan: &Plan, ending: &Ending, mut findings: Vec<Finding>, fate: Fate) -> Verdict {
    let Fate { acked, unpromised, lost } = fate;
    let mut found = Found { doubts: not_exercised(plan, ending), ..Found::default() };
    for finding in &mut findings {
        let expectation = plan.expectations.iter().find(|expectation| expectation.claim == finding.claim);
        finding.expected = expectation.map(|expectation| expectation.value);
        compare(finding, expectation, &lost, &mut found);
    }
    // What should have happened and did not proves something only if the story was told to its end.
    let Found { mut broken, mut doubts, absent } = found;
    match doubts.is_empty() {
        true => broken.extend(absent),
        false => doubts.extend(absent),
    }
    let exit = match (&ending.harness_fault, broken.is_empty(), doubts.is_empty()) {
        (Some(_), _, _) => 3,
        (None, false, _) => 1,
        (None, true, false) => 2,
        (None, true, true) => 0,
    };
    let fault = ending.harness_fault.iter().map(|fault| format!("the harness is at fault: {fault}"));
    let complaints: Vec<String> = fault.chain(broken).chain(doubts).collect();
    let sentence = sentence(exit, &findings, &complaints, acked, &lost);
    Verdict { exit, sentence, complaints, findings, acked, unpromised, lost }
}

/// What became of the records.
#[derive(Default)]
pub(super) struct Fate {
    /// How many were acknowledged.
    pub(super) acked: u64,
    /// How many were sent with acks=0 and are not there.
    pub(super) unpromised: u64,
    /// Those that were acknowledged and are gone.
    pub(super) lost: Vec<Lost>,
}

/// What is not as expected.
#[derive(Default)]
struct Found {
    /// A claim broke that should hold, or otherwise than described.
    broken: Vec<String>,
    /// Nobody can tell.
    doubts: Vec<String>,
    /// A violation that was expected and did not happen.
    absent: Vec<String>,
}

/// Sets the status of a violation that was expected; collects what is not as expected.
fn compare(finding: &mut Finding, expectation: Option<&Expectation>, lost: &[Lost], found: &mut Found) {
    let claim = finding.claim;
    let expected = expectation.map(|expectation| expectation.value);
    let loss = expectation.and_then(|expectation| expectation.lost.as_ref());
    match (finding.status, expected) {
        // What the causes permit is not counted as a violation.
        (Status::Violated, Some(Expected::Any)) if claim == Claim::ProcessedAtLeastOnce && loss.is_some() => {
            found.broken.push(finding.complaint());
        }
        (Status::Violated, Some(Expected::Violated | Expected::Any)) => {
            finding.status = Status::ViolatedAsExpected;
            if claim == Claim::AckedRecordsSurvive {
                found.broken.extend(loss.and_then(|loss| wrong_loss(loss, lost)));
            }
        }
        (Status::Violated, _) => found.broken.push(finding.complaint()),
        (Status::Held | Status::NotExercised, Some(Expected::Violated)) => {
            let exercised = if finding.status == Status::Held { "it held" } else { "it was not exercised" };
            found.absent.push(format!("{claim} should have been violated, and {exercised}"));
        }
        (Status::Unknown, Some(Expected::Any)) => {}
        (Status::Unknown, _) => {
            let why = finding.note.as_deref().unwrap_or("nobody can tell");
            found.doubts.push(format!("{claim} is unknown: {why}"));
        }
        (Status::NotExercised, Some(Expected::Held)) => {
            found.doubts.push(format!("{claim} should hold, and nothing happened that could have broken it"));
        }
        _ => {}
    }
}

/// How the losses differ from those expected.
fn wrong_loss(expected: &ExpectedLoss, lost: &[Lost]) -> Option<String> {
    let count = lost.len() as u64;
    if let Some(range) = expected.count.as_ref().filter(|range| !range.contains(&count)) {
        let (from, to) = range.clone().into_inner();
        let wanted = if from == to { from.to_string() } else { format!("{from} to {to}") };
        return Some(format!("{count} acknowledged records were lost, and {wanted} should have been"));
    }
    if expected.causes.is_empty() {
        return None;
    }
    let other = lost.iter().find(|record| !expected.causes.contains(&record.cause))?;
    let (partition, offset, found) = (&other.partition, other.offset, other.cause);
    let causes: Vec<String> = expected.causes.iter().map(|cause| format!("`{cause}`")).collect();
    let causes = causes.join(" or ");
    Some(format!("{partition}@{offset} was lost by `{found}`, and {causes} was expected"))
}

/// Why the run proves nothing: steps, marks, an end that never came.
fn not_exercised(plan: &Plan, ending: &Ending) -> Vec<String> {
    let mut doubts: Vec<String> =
        ending.unfinished.iter().map(|why| format!("the run did not finish: {why}")).collect();
    doubts.extend(ending.unfired.iter().map(|unfired| {
        let (step, trigger, last_value) = (unfired.step, &unfired.trigger, &unfired.last_value);
        format!("step {step} never fired: `{trigger}`, at last {last_value}")
    }));
    let missing = plan.must_reach.iter().filter(|mark| !ending.marks.contains(mark));
    doubts.extend(missing.map(|mark| format!("mark `{mark}` was not reached")));
    doubts
}

/// The verdict in one sentence.
fn sentence(exit: u8, findings: &[Finding], complaints: &[String], acked: u64, lost: &[Lost]) -> String {
    let records = fate(findings, acked, lost);
    match (exit, complaints.first()) {
        (0, _) if lost.is_empty() => {
            let held = findings.iter().filter(|finding| finding.status == Status::Held).count();
            let violated = findings.iter().filter(|finding| finding.status == Status::ViolatedAsExpected).count();
            match violated {
                0 => format!("{records} {held} claims held."),
                _ => format!("{records} {held} claims held, {violated} broke as expected."),
            }
        }
        (0, _) => format!("{records} This is what the scenario expects."),
        (1, Some(complaint)) => format!("UNEXPECTED: {complaint}. {records}"),
        (2, Some(complaint)) => format!("UNKNOWN: {complaint}. {records}"),
        (_, Some(complaint)) => format!("NO VERDICT: {complaint}."),
        (_, None) => records,
    }
}

/// What became of the acknowledged records.
fn fate(findings: &[Finding], acked: u64, lost: &[Lost]) -> String {
    let survival = findings.iter().find(|finding| finding.claim == Claim::AckedRecordsSurvive);
    let Some(first) = lost.first() else {
        return match (acked, survival.map(|finding| finding.status)) {
            (0, _) => "No record was acknowledged.".into(),
            (_, Some(Status::Unknown)) => format!("Whether any of {acked} acknowledged records was lost is unknown."),
            (_, _) => format!("None of {acked} acknowledged records was lost."),
        };
    };
    let mut causes: Vec<Cause> = lost.iter().map(|record| record.cause).collect();
    causes.sort();
    causes.dedup();
    let reason = match causes.as_slice() {
        [_] => first.cause.reason().to_owned(),
        many => many.iter().map(|cause| cause.reason()).collect::<Vec<_>>().join("; or "),
    };
    format!("LOST {} of {acked} acknowledged records: {reason}.", lost.len())
}
