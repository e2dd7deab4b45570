//! What a drawn scenario's settings and faults permit to lose: nothing but this is excused.
//!
//! | permitted | because |
//! |---|---|
//! | loss after a crash, a move, a stale leader's promise | a producer asks for acks=1 |
//! | loss by an unclean election, or of what a leader promised that does not know of one | unclean election is allowed or ordered |
//! | loss with the power of a broker | power is lost, and a topic does not flush every record before it is counted; or acks=1 |
//!
//! acks=0 promises nothing, so nothing of it counts as lost. Everything else - what was committed, what logs hold below
//! the high watermark, epochs, order, duplicates, recovery - is judged by checkers that keep their own accounts of what
//! was injected.

use std::collections::BTreeSet;

use crate::{
    check::{Cause, Claim, Expectation, Expected, ExpectedLoss},
    client::admin::ElectionType,
    scenario::{
        Scenario,
        action::{Action, Crash},
        file::Work,
    },
};

const UNCLEAN: &str = "unclean.leader.election.enable";
const FLUSH: &str = "flush.messages";

/// What is expected of the claims that this scenario may break; every other has to hold.
pub fn expectations(scenario: &Scenario) -> Vec<Expectation> {
    let causes: Vec<Cause> = causes(scenario).into_iter().collect();
    if causes.is_empty() {
        return Vec::new();
    }
    let lost = Some(ExpectedLoss { count: None, causes });
    vec![Expectation { claim: Claim::AckedRecordsSurvive, value: Expected::Any, lost }]
}

fn causes(scenario: &Scenario) -> BTreeSet<Cause> {
    let mut causes = BTreeSet::new();
    let is_acks_one = scenario.clients.iter().any(|client| {
        matches!(client.work, Work::Send(_)) && client.config.get("acks").is_some_and(|acks| acks.value == "1")
    });
    if is_acks_one {
        causes.extend([
            Cause::LeaderCrashedBeforeReplication,
            Cause::LeaderMovedBeforeReplication,
            Cause::AcknowledgedByAStaleLeader,
        ]);
    }
    let actions = || scenario.steps.iter().flat_map(|step| &step.actions.value);
    let is_on = |value: &str| value == "true";
    let by_topic = |name: &str, is: &dyn Fn(&str) -> bool| {
        scenario.topics.iter().any(|topic| topic.config.get(name).is_some_and(|value| is(&value.value)))
    };
    let unclean_cluster = scenario.cluster.config.get(UNCLEAN).is_some_and(|value| is_on(&value.value));
    let ordered = actions().any(|action| match action {
        Action::Elect(kind, _) => *kind == ElectionType::Unclean,
        Action::Set(_, name, value) => name == UNCLEAN && is_on(value),
        _ => false,
    });
    if unclean_cluster || ordered || by_topic(UNCLEAN, &is_on) {
        causes.extend([Cause::LeaderElectedWithoutThem, Cause::AcknowledgedByAStaleLeader]);
    }
    let power = actions().any(|action| matches!(action, Action::Crash(_, Crash::Power)));
    let flushes =
        scenario.topics.iter().all(|topic| topic.config.get(FLUSH).is_some_and(|messages| messages.value == "1"));
    let eased = actions().any(|action| matches!(action, Action::Set(_, name, value) if name == FLUSH && value != "1"));
    // With acks=1 a follower may lead that lost its copy before it had flushed it: nobody waited for that one.
    if power && (!flushes || eased || is_acks_one) {
        causes.extend([Cause::PowerLossOfAllCopies, Cause::ElectedAfterPowerLoss]);
    }
    causes
}
