//! How the members of a group name topics on the wire when they commit offsets and ask for them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::command::{files, highwater, left};

/// A group of the consumer protocol; a variant has it in the classic one.
const SCENARIO: &str = "scenarios/116-consumer-protocol.toml";

/// The versions of each request about offsets that the members sent.
fn versions(options: &[&str]) -> BTreeMap<String, BTreeSet<i64>> {
    let out = tempfile::tempdir().unwrap();
    let left = left(highwater().args(["run", SCENARIO, "--out"]).arg(out.path()).args(options));
    assert_eq!(left.exit, 0, "{left:?}");
    let files = files(out.path());
    let file = |name: &str| {
        let (_, bytes) = files.iter().find(|(path, _)| path.ends_with(name)).expect("the run has left it");
        String::from_utf8_lossy(bytes).into_owned()
    };
    let messages: Value = serde_json::from_str(&file("messages.json")).unwrap();
    // The event of the sending, the form, and the numbers in it: a message is told with its version first.
    let messages = messages["sent"].as_array().unwrap().iter();
    let version_of: BTreeMap<i64, i64> =
        messages.map(|message| (message[0].as_i64().unwrap(), message[2].as_i64().unwrap())).collect();
    let mut found: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for line in file("events.jsonl").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let is_member = event["node"].as_str().is_some_and(|node| node.starts_with('g'));
        let api = event["api"].as_str().filter(|api| ["OffsetCommit", "OffsetFetch"].contains(api));
        if let Some(api) = api.filter(|_| is_member && event["kind"] == "message_sent") {
            let version = version_of[&event["id"].as_i64().unwrap()];
            found.entry(api.to_owned()).or_default().insert(version);
        }
    }
    found
}

#[test]
fn what_could_not_be_committed_in_a_rebalance_is_committed_after_it_though_no_record_comes() {
    let scenario = "sim-tests/scenarios/last-commit-in-a-rebalance.toml";
    let out = tempfile::tempdir().unwrap();
    let left = left(highwater().args(["run", scenario, "--out"]).arg(out.path()));
    assert_eq!(left.exit, 0, "{left:?}");
    let files = files(out.path());
    let (_, events) = files.iter().find(|(path, _)| path.ends_with("events.jsonl")).expect("the run has left it");
    let events = String::from_utf8_lossy(events);
    let is_told = |line: &&str| line.contains("commit_not_sent") && line.contains("REBALANCE_IN_PROGRESS");
    assert!(events.lines().any(|line| is_told(&line)), "its commits fell into the rebalance");
    assert!(!events.contains("commit_refused"), "and none was sent");
}

#[test]
fn members_of_the_consumer_protocol_name_topics_by_id_and_classic_ones_by_name() {
    for (options, version) in [(&["--seed", "7"][..], 10), (&["--seed", "7", "--variant", "eager"], 9)] {
        let only = BTreeSet::from([version]);
        let expected = BTreeMap::from([("OffsetCommit".to_owned(), only.clone()), ("OffsetFetch".to_owned(), only)]);
        assert_eq!(versions(options), expected, "{options:?}");
    }
}
