//! On which settings the truth of a claim rests, as a run has them.

use std::collections::BTreeMap;

use crate::{
    check::{Claim, Finding, Status},
    report::{Manifest, Recorded},
    trace::Event,
};

/// The settings that the claim of `finding` rests on, each `setting=value`; of one that broke also the switches.
pub(super) fn settings(run: &Recorded, finding: &Finding) -> Vec<String> {
    let manifest = &run.manifest;
    let mut settings = match finding.claim {
        Claim::AckedRecordsSurvive => {
            let mut settings = acks(run);
            settings.push(of_topics(manifest, "min.insync.replicas"));
            settings.push(of_topics(manifest, "unclean.leader.election.enable"));
            settings
        }
        Claim::NoDuplicates | Claim::OrderKept => {
            let producers = manifest.plan.producers.iter();
            producers.map(|(name, producer)| format!("{name} enable.idempotence={}", producer.idempotent)).collect()
        }
        Claim::AcksAllMeansCommitted => vec![of_topics(manifest, "min.insync.replicas")],
        Claim::CommittedPrefixKept | Claim::NoPhantomReads | Claim::ClusterRecovers => {
            vec![of_topics(manifest, "unclean.leader.election.enable"), of_topics(manifest, "flush.messages")]
        }
        Claim::ProcessedAtLeastOnce | Claim::ProcessedAtMostOnce => {
            let mut settings = of_members(manifest, "application");
            settings.extend(of_members(manifest, "auto.offset.reset"));
            settings.extend(given(manifest, &["offsets.retention.minutes", "offsets.topic.replication.factor"]));
            settings
        }
        Claim::CommitsSurvive | Claim::CommitsNeverGoBack => {
            given(manifest, &["offsets.retention.minutes", "offsets.topic.replication.factor"])
        }
        Claim::OneOwnerPerPartition | Claim::OnlyMembersCommit | Claim::GroupConverges => {
            let mut settings = of_members(manifest, "group.protocol");
            settings.extend(of_members(manifest, "session.timeout.ms"));
            settings
        }
        Claim::StaticIdsUnique => of_members(manifest, "group.instance.id"),
        Claim::OffsetsAgree
        | Claim::ConsumersReachTheEnd
        | Claim::ConsumersMissNothing
        | Claim::PollsGoForward
        | Claim::LogsAgreeBelowHw
        | Claim::HwWithinIsr
        | Claim::HwMonotonic
        | Claim::OneLeaderPerEpoch
        | Claim::OwnIsrHasCommitted
        | Claim::IsrHasCommitted
        | Claim::ReadsAreCommitted
        | Claim::EpochsNeverFall
        | Claim::IsrWithinReplicas => Vec::new(),
    };
    if matches!(finding.status, Status::Violated | Status::ViolatedAsExpected) {
        settings.extend(manifest.plan.switches.iter().map(|(name, value)| format!("switch {name}={value}")));
    }
    settings
}

/// With which acks each producer sent.
fn acks(run: &Recorded) -> Vec<String> {
    let mut acks = BTreeMap::new();
    for entry in &run.entries {
        if let Event::RecordSent { acks: asked, .. } = &entry.event {
            acks.entry(&entry.node).or_insert(*asked);
        }
    }
    let word = |asked: i16| if asked == -1 { "all".to_owned() } else { asked.to_string() };
    acks.into_iter().map(|(name, asked)| format!("{name} acks={}", word(asked))).collect()
}

/// A setting of the topics: once where there is one topic, else with their names.
fn of_topics(manifest: &Manifest, name: &str) -> String {
    let topics = manifest.plan.topics.iter();
    let values: Vec<(String, &str)> =
        topics.filter_map(|(topic, settings)| Some((topic.to_string(), &**settings.get(name)?))).collect();
    let values = match values.as_slice() {
        [(_, only)] => (*only).to_owned(),
        many => many.iter().map(|(topic, value)| format!("{topic}: {value}")).collect::<Vec<_>>().join(", "),
    };
    format!("{name}={values}")
}

/// A setting of the members of groups: once where they agree, else with their names; of a member only where it has it.
fn of_members(manifest: &Manifest, name: &str) -> Vec<String> {
    let workers = manifest.plan.groups.values().flat_map(|group| &group.workers);
    let mut values: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (member, worker) in workers.clone() {
        let value = match name {
            "application" => Some(worker.application.to_string()),
            "auto.offset.reset" => Some(worker.reset.to_string()),
            "group.protocol" => Some(if worker.modern { "consumer" } else { "classic" }.to_owned()),
            // Who speaks the consumer protocol is given its session by the brokers.
            "session.timeout.ms" => (!worker.modern).then(|| worker.session_timeout_ms.to_string()),
            other => manifest.config["clients"][&**member][other].as_str().map(str::to_owned),
        };
        if let Some(value) = value {
            values.entry(value).or_default().push(member);
        }
    }
    let all = workers.count();
    let told = values.into_iter().map(|(value, members)| match members.len() == all {
        true => format!("{name}={value}"),
        false => format!("{} {name}={value}", members.join(", ")),
    });
    told.collect()
}

/// Settings of the brokers that the scenario gives.
fn given(manifest: &Manifest, names: &[&str]) -> Vec<String> {
    let cluster = &manifest.config["cluster"];
    names.iter().filter_map(|name| Some(format!("{name}={}", cluster[*name].as_str()?))).collect()
}
