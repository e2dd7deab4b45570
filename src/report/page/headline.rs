//! The verdict as a headline: a run in which work was lost, doubled or left undone says so before all that held.

use crate::check::{Claim, Finding, Status, Verdict};

/// The class that colours the headline, the headline, and what stands below it.
pub(super) fn of(verdict: &Verdict) -> (&'static str, String, String) {
    let broken: Vec<String> =
        verdict.findings.iter().filter(|finding| finding.status == Status::ViolatedAsExpected).map(broken).collect();
    if verdict.exit == 0 && verdict.lost.is_empty() && !broken.is_empty() {
        return ("lost", capital(&broken.join(", and ")), verdict.sentence.clone());
    }
    let (head, rest) = verdict.sentence.split_once(": ").unwrap_or((verdict.sentence.trim_end_matches('.'), ""));
    let class = match (verdict.exit, verdict.lost.is_empty()) {
        (0, true) => "held",
        (2, _) => "unknown",
        _ => "lost",
    };
    (class, head.to_owned(), capital(rest))
}

/// What it means that a claim broke, with its number.
fn broken(finding: &Finding) -> String {
    let Finding { claim, violations, .. } = finding;
    let counted = |one: &str, many: &str| format!("{violations} {}", if *violations == 1 { one } else { many });
    match claim {
        Claim::NoDuplicates => counted("record stands in the log twice", "records stand in the log twice"),
        Claim::ProcessedAtLeastOnce => counted("record was never processed", "records were never processed"),
        Claim::ProcessedAtMostOnce => counted("record was processed twice", "records were processed twice"),
        Claim::GroupConverges => "the group did not come together again".into(),
        Claim::ClusterRecovers => "the cluster never recovered".into(),
        Claim::OrderKept => "records stand in another order than they were sent".into(),
        other => match violations {
            1 => format!("{other} broke"),
            more => format!("{other} broke {more} times"),
        },
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
