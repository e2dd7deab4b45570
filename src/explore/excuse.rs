//! What a drawn scenario's settings and faults permit to lose: nothing but this is excused.
//!
//! | permitted | because |
//! |---|---|
//! | loss after a crash, a move, a stale leader's promise | a producer asks for acks=1 |
//! | loss by an unclean election, or of what a leader promised that does not know of one | unclean election is allowed or ordered |
//! | loss with the disk of a broker | a broker is started again with an empty disk |
//! | loss by a recovery that cut a log at a corrupt batch | a batch rots on a disk |
//! | loss with the power of a broker | power is lost, and a topic does not flush every record before it is counted, or a disk loses syncs or fails one; or acks=1 |
//!
//! acks=0 promises nothing, so nothing of it counts as lost.
//!
//! Of a group whose applications process each record at least once, these are never processed:
//!
//! | permitted | because |
//! |---|---|
//! | what a process had in its hands when it died | the application is `hand-off`, which commits what is not done |
//! | what a member without a commit skipped | `auto.offset.reset` is `latest` |
//! | what stands where records were lost | such a loss is permitted, see above |
//!
//! Everything else - what was committed, what logs hold below the high watermark, epochs, order, duplicates, recovery - is
//! judged by checkers that keep their own accounts of what was injected.

use std::collections::BTreeSet;

use crate::{
    base::OFFSETS_TOPIC,
    check::{Cause, Claim, Expectation, Expected, ExpectedLoss},
    client::admin::ElectionType,
    runtime::DiskFault,
    scenario::{
        Scenario,
        action::{Action, Crash},
        file::Work,
        groups::Application,
        term::Term,
    },
};

const UNCLEAN: &str = "unclean.leader.election.enable";
const FLUSH: &str = "flush.messages";

/// What is expected of the claims that this scenario may break; every other has to hold.
pub fn expectations(scenario: &Scenario) -> Vec<Expectation> {
    let lost = causes(scenario);
    let unprocessed = causes_of_groups(scenario, lost.iter().any(|cause| takes_committed_records(*cause)));
    let permitted = [(Claim::AckedRecordsSurvive, lost), (Claim::ProcessedAtLeastOnce, unprocessed)];
    let expected = permitted.into_iter().filter(|(_, causes)| !causes.is_empty()).map(|(claim, causes)| {
        let lost = Some(ExpectedLoss { count: None, causes: causes.into_iter().collect() });
        Expectation { claim, value: Expected::Any, lost }
    });
    expected.collect()
}

fn takes_committed_records(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::LeaderElectedWithoutThem
            | Cause::PowerLossOfAllCopies
            | Cause::ElectedAfterPowerLoss
            | Cause::CutAtACorruptBatch
            | Cause::LostWithADisk
    )
}

fn causes_of_groups(scenario: &Scenario, records_may_be_lost: bool) -> BTreeSet<Cause> {
    let mut causes = BTreeSet::new();
    let actions = || scenario.steps.iter().flat_map(|step| &step.actions.value);
    let ends = |name: &str| {
        actions().any(|action| match action {
            Action::Crash(target, _) | Action::Stop(target) => target.to_string() == name,
            _ => false,
        })
    };
    for client in &scenario.clients {
        let Work::Consume(consuming) = &client.work else { continue };
        if consuming.application == Application::HandOff && ends(&client.name.value) {
            causes.insert(Cause::LeftInDeadHands);
        }
        if client.config.get("auto.offset.reset").is_none_or(|reset| reset.value == "latest") {
            causes.insert(Cause::SkippedByReset);
        }
        if records_may_be_lost {
            causes.insert(Cause::SkippedByTruncation);
        }
    }
    causes
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
        Action::Elect(kind, partition) => *kind == ElectionType::Unclean && !is_of_offsets(partition),
        Action::Set(_, name, value) => name == UNCLEAN && is_on(value),
        _ => false,
    });
    if unclean_cluster || ordered || by_topic(UNCLEAN, &is_on) {
        causes.extend([Cause::LeaderElectedWithoutThem, Cause::AcknowledgedByAStaleLeader]);
    }
    let power = actions().any(|action| matches!(action, Action::Crash(_, Crash::Power | Crash::Torn)));
    let flushes =
        scenario.topics.iter().all(|topic| topic.config.get(FLUSH).is_some_and(|messages| messages.value == "1"));
    let eased = actions().any(|action| matches!(action, Action::Set(_, name, value) if name == FLUSH && value != "1"));
    let lies = actions().any(|action| matches!(action, Action::Disk(_, DiskFault::LostSync | DiskFault::SyncEio)));
    // With acks=1 a follower may lead that lost its copy before it had flushed it: nobody waited for that one.
    if power && (!flushes || eased || lies || is_acks_one) {
        causes.extend([Cause::PowerLossOfAllCopies, Cause::ElectedAfterPowerLoss]);
    }
    if actions().any(|action| matches!(action, Action::RestartBlank(_))) {
        causes.insert(Cause::LostWithADisk);
    }
    if actions().any(|action| matches!(action, Action::Corrupt(..))) {
        causes.insert(Cause::CutAtACorruptBatch);
    }
    causes
}

/// What is lost there are commits, of which the checkers keep account themselves.
fn is_of_offsets(partition: &Term) -> bool {
    *partition.partition().topic == *OFFSETS_TOPIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;

    /// The causes by which acknowledged records may be lost where `action` is done.
    fn permitted(action: &str) -> Vec<Cause> {
        let text = format!(
            "kafka = \"4.1\"\ntitle = \"t\"\n[cluster]\nbrokers = 3\n[[topic]]\nname = \"t\"\n\
             replicas = [[\"b1\", \"b2\", \"b3\"]]\n[[client]]\nname = \"p1\"\n\
             send = {{ topic = \"t\", count = 3 }}\n[[step]]\nafter = \"1s\"\ndo = \"{action}\"\n"
        );
        let scenario = parse(&text).unwrap_or_else(|problem| panic!("{}", problem.in_file("it", &text)));
        expectations(&scenario).into_iter().flat_map(|expected| expected.lost).flat_map(|lost| lost.causes).collect()
    }

    #[test]
    fn a_fault_of_a_disk_excuses_its_own_cause_of_loss_and_no_other() {
        assert_eq!(permitted("disk b1 corrupt t-0@1"), [Cause::CutAtACorruptBatch]);
        assert_eq!(permitted("restart b1 blank"), [Cause::LostWithADisk]);
        assert_eq!(permitted("crash b1 torn"), [Cause::PowerLossOfAllCopies, Cause::ElectedAfterPowerLoss]);
        assert_eq!(permitted("crash b1 kill; disk b1 full; restart b1"), []);
    }
}
