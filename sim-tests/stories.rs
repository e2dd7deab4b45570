//! The scenarios of the course: what those of the first tour tell with their own seed, and what every variant of it keeps to.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::command::{highwater, left, root, run, scenarios, sweep, sweep_plain};

/// Seeds over which every variant is checked here; sweeps of `.ci/run` take more.
const SEEDS: &str = "1..6";

/// The first tour: what the README promises.
pub const TOUR: &[&str] = &[
    "01-acks-one-leader-crash",
    "02-isr-shrinks-to-one",
    "03-unclean-election",
    "04-truncate-to-high-watermark",
    "05-power-loss-before-flush",
    "06-leader-crash-loop",
];

fn parsed(path: &Path) -> highwater::scenario::Scenario {
    let text = fs::read_to_string(root().join(path)).expect("the file is there");
    highwater::scenario::parse(&text).unwrap_or_else(|problem| panic!("{path:?}: {problem:?}"))
}

/// What a run prints but for where its report is, and the folder with the report.
fn told(path: &Path, variant: Option<&str>) -> (String, tempfile::TempDir) {
    let out = tempfile::tempdir().expect("there is room for a report");
    let mut command = highwater();
    command.arg("run").arg(path).arg("--out").arg(out.path());
    command.args(variant.iter().flat_map(|name| ["--variant", name]));
    let left = left(&mut command);
    assert_eq!(left.exit, 0, "{left:?}");
    let lines: Vec<&str> = left.stdout.lines().filter(|line| !line.starts_with("  report:")).collect();
    (lines.join("\n"), out)
}

/// The milestones of a run without their times.
fn milestones(story: &str) -> String {
    let happened = story.lines().skip_while(|line| *line != "What happened").skip(1);
    let lines = happened.take_while(|line| !line.is_empty());
    let timeless = lines.map(|line| line.trim_start().split_once(' ').expect("a time comes first").1.trim_start());
    timeless.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_scenario_of_the_course_is_there_and_says_what_it_teaches() {
    let files = scenarios("scenarios");
    let names: Vec<&str> = files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(names[..TOUR.len()], *TOUR);
    for path in &files {
        let scenario = parsed(path);
        assert!(scenario.teaches.is_some() && scenario.note.is_some(), "{path:?} teaches and has a note");
        assert!(!scenario.catalogue.is_empty(), "{path:?} says what it shows");
        for variant in &scenario.variants {
            assert!(variant.note.is_some(), "{path:?}: {}", variant.name.value);
        }
    }
}

#[test]
fn each_scenario_of_the_tour_tells_its_story_with_its_own_seed() {
    for path in scenarios("scenarios").iter().take(TOUR.len()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let scenario = parsed(path);
        let (mut text, out) = told(path, None);
        let story = out.path().join(name).join(format!("seed-{}/story.txt", scenario.seed));
        let story = fs::read_to_string(story).expect("the run wrote its story");
        write!(text, "\n\n{}\n", milestones(&story)).unwrap();
        for variant in &scenario.variants {
            write!(text, "\n{}\n", told(path, Some(&variant.name.value)).0).unwrap();
        }
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn every_variant_keeps_to_what_it_expects_and_committed_seeds_go_first() {
    let files = scenarios("scenarios");
    let runs = as_expected(sweep(&files, SEEDS));
    let planned: usize = files.iter().map(|path| 6 * (1 + parsed(path).variants.len())).sum();
    goes_first(&runs, &committed_seeds(&files), planned);
}

#[test]
fn the_swarms_break_nothing_unexcused_and_seeds_that_once_did_go_first() {
    let files = scenarios("scenarios/swarm");
    let runs = as_expected(sweep_plain(&files, SEEDS));
    goes_first(&runs, &committed_seeds(&files), 6 * files.len());
}

/// The runs of a sweep in which everything was as expected.
#[track_caller]
fn as_expected((exit, runs): (i32, Vec<Value>)) -> Vec<Value> {
    let unexpected: Vec<_> = runs.iter().filter(|run| run["exit"] != 0).map(|run| &run["replay"]).collect();
    assert!(exit == 0 && unexpected.is_empty(), "{unexpected:#?}");
    runs
}

#[track_caller]
fn goes_first(runs: &[Value], committed: &[(String, String)], planned: usize) {
    assert_eq!(runs.len(), planned + committed.len(), "none is left out");
    let mut first: Vec<(String, String)> = runs[..committed.len()].iter().map(name_and_seed).collect();
    first.sort();
    assert_eq!(first, committed);
}

#[test]
fn what_clusters_go_through_beyond_the_course_loses_nothing() {
    let files = scenarios("sim-tests/scenarios");
    let runs = as_expected(sweep(&files, SEEDS));
    assert_eq!(runs.len(), 6 * files.len());
}

fn name_and_seed(run: &Value) -> (String, String) {
    let text = |field: &str| run[field].as_str().map(str::to_owned);
    let variant = text("variant").map(|name| format!(" {name}")).unwrap_or_default();
    (text("scenario").expect("a run has a scenario"), format!("{}{variant}", run["seed"]))
}

/// The committed seeds of these scenarios with their variants, each with its scenario's name.
fn committed_seeds(scenarios: &[PathBuf]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in scenarios.iter().map(|path| path.file_stem().expect("a file").to_str().expect("plain letters")) {
        let path = root().join("sim-tests/seeds").join(name).with_extension("txt");
        let text = if path.exists() { fs::read_to_string(&path).expect("it can be read") } else { String::new() };
        let lines = text.lines().map(|line| line.split('#').next().expect("a part").trim());
        found.extend(lines.filter(|line| !line.is_empty()).map(|line| (name.to_owned(), line.to_owned())));
    }
    found.sort();
    found
}

#[test]
fn a_step_that_never_fires_makes_the_run_unknown_and_tells_what_its_trigger_was_worth() {
    let text = fs::read_to_string(root().join("scenarios/01-acks-one-leader-crash.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("never.toml");
    let never = text.replace("when = \"acked(p1) >= 8\"", "when = \"hw(orders-0) >= 1000\"");
    assert_ne!(text, never);
    fs::write(&path, never).unwrap();
    let left = run(["run".as_ref(), path.as_os_str(), "--out".as_ref(), folder.path().as_os_str()]);
    assert_eq!(left.exit, 2, "{left:?}");
    let complaint = "step 2 never fired: `when hw(orders-0) >= 1000`, at last hw(orders-0) = 4";
    assert!(left.stdout.contains(complaint), "{}", left.stdout);
    assert!(left.stdout.contains("  replay: cargo sim replay"), "{}", left.stdout);
}
