//! Each planted bug is found by a sweep, by the claims that it breaks; the same sweep without it is clean.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use highwater::base::switches::TABLE;
use serde_json::Value;

use super::command::{highwater, left, root, run, scenarios, sweep};

/// Most seeds that a sweep may need to find a planted bug.
const SEEDS: &str = "1..30";

/// A swarm whose variants plant bugs.
const SWARM: &str = "scenarios/swarm/everything.toml";

/// What planted bugs break that have a story of their own, whatever else they do.
const BREAKS: &[(&str, &[&str])] = &[
    ("bug_ack_before_isr", &["acked-records-survive", "acks-all-means-committed"]),
    ("bug_hw_ignores_one_isr_member", &["acked-records-survive", "committed-prefix-kept", "hw-within-isr"]),
    ("bug_no_truncation", &["cluster-recovers"]),
    ("bug_recovery_accepts_torn_batch", &["consumers-reach-the-end"]),
    ("bug_returning_broker_not_fenced", &["acked-records-survive", "committed-prefix-kept"]),
    ("bug_consumers_read_to_the_end", &["no-phantom-reads"]),
    ("bug_isr_expands_early", &["acked-records-survive", "committed-prefix-kept", "hw-within-isr"]),
];

/// The variants of these files that plant bugs, by the names of their switches.
fn planting_variants(files: &[PathBuf]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let scenario = highwater::scenario::parse(&text).unwrap_or_else(|problem| panic!("{path:?}: {problem:?}"));
        for variant in scenario.variants {
            for key in variant.set.keys().filter_map(|key| key.strip_prefix("switch.")) {
                let before = found.insert(key.to_owned(), variant.name.value.clone());
                assert_eq!(before, None, "{key} is planted twice");
            }
        }
    }
    found
}

#[test]
fn the_swarms_have_a_variant_for_each_planted_bug() {
    let variants = planting_variants(&scenarios("scenarios/swarm"));
    let planted: BTreeSet<&str> = variants
        .iter()
        .map(|(bug, variant)| {
            assert_eq!(bug, variant, "the variant has the name of the bug");
            bug.as_str()
        })
        .collect();
    let in_table = TABLE.iter().filter(|switch| switch.is_planted_bug());
    let in_table = in_table.map(|switch| switch.name);
    assert_eq!(planted, in_table.collect(), "each planted bug of the table has a variant");
}

#[test]
fn a_sweep_finds_each_planted_bug_and_nothing_without_one() {
    let variants = planting_variants(&scenarios("sim-tests/scenarios/planted"));
    let planted: BTreeSet<&str> = variants.keys().map(String::as_str).collect();
    assert_eq!(planted, BREAKS.iter().map(|(bug, _)| *bug).collect());

    let (exit, runs) = sweep(&scenarios("sim-tests/scenarios/planted"), SEEDS);
    assert_eq!(exit, 1);
    let sound = runs.iter().filter(|run| run["variant"].is_null() && run["exit"] != 0);
    let sound: Vec<&Value> = sound.map(|run| &run["replay"]).collect();
    assert!(sound.is_empty(), "without a bug everything is as expected: {sound:#?}");
    for (bug, claims) in BREAKS {
        let planted = || runs.iter().filter(|run| run["variant"] == *variants[*bug]);
        assert!(planted().any(|run| run["exit"] == 1), "{bug} was not found");
        for claim in *claims {
            assert!(planted().any(|run| run["claims"][*claim] == "violated"), "{bug} does not break {claim}");
        }
    }
}

#[test]
fn the_run_in_which_a_planted_bug_is_seen_becomes_a_short_story() {
    let folder = tempfile::tempdir().unwrap();
    let bugs = ["bug_no_truncation", "bug_min_isr_ignored", "bug_stale_isr_change_taken"];
    let mut command = highwater();
    command.args(["bugs", SWARM, "--starts", "1", "--shrink", "--format", "json", "--out"]).arg(folder.path());
    let left = left(command.args(bugs.iter().flat_map(|bug| ["--bug", bug])));
    assert_eq!(left.exit, 0, "{}", left.stderr);
    let told: Vec<Value> = left.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), bugs.len(), "{}", left.stdout);
    for bug in told {
        let shrunk = &bug["searches"][0]["shrunk"];
        let (steps, runs) = (shrunk["steps"].as_u64().unwrap(), shrunk["runs"].as_u64().unwrap());
        assert!(steps <= 10 && runs <= 200, "{bug}");
        let file = shrunk["file"].as_str().unwrap();
        let name = bug["bug"].as_str().unwrap();
        // Without the bug its story may not come to its end.
        assert_ne!(run(["run", file, "--no-report"]).exit, 1, "without the bug nothing breaks in {file}");
        let left = run(["run", file, "--no-report", "--variant", name, "--format", "json"]);
        let told: Value = serde_json::from_str(&left.stdout).unwrap();
        let claims = told["claims"].as_object().unwrap();
        assert!(
            claims.values().any(|status| status == "violated-as-expected"),
            "{file} expects what {name} breaks: {told}"
        );
        assert!(claims.values().all(|status| status != "violated"), "{file} expects all that {name} breaks: {told}");
    }
}
