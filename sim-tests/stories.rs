//! The scenarios of the course: what each tells with its own seed, and what every variant of it keeps to.

use std::{fmt::Write, fs, path::Path};

use super::command::{highwater, left, root, run, scenarios, sweep};

/// Seeds over which every variant is checked here; sweeps of `.ci/run` take more.
const SEEDS: &str = "1..6";

/// The names that the course promises.
const COURSE: &[&str] = &[
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
    assert_eq!(names, COURSE);
    for path in &files {
        let scenario = parsed(path);
        assert!(scenario.teaches.is_some() && scenario.note.is_some(), "{path:?} teaches and has a note");
        assert!(!scenario.catalogue.is_empty() && !scenario.must_reach.is_empty(), "{path:?} says what it shows");
        assert!(!scenario.expect.is_empty(), "{path:?} expects something");
        for variant in &scenario.variants {
            assert!(variant.note.is_some() && !variant.expect.is_empty(), "{path:?}: {}", variant.name.value);
        }
    }
}

#[test]
fn each_scenario_tells_its_story_with_its_own_seed() {
    for path in scenarios("scenarios") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let scenario = parsed(&path);
        let (mut text, out) = told(&path, None);
        let story = out.path().join(name).join(format!("seed-{}/story.txt", scenario.seed));
        let story = fs::read_to_string(story).expect("the run wrote its story");
        write!(text, "\n\n{}\n", milestones(&story)).unwrap();
        for variant in &scenario.variants {
            write!(text, "\n{}\n", told(&path, Some(&variant.name.value)).0).unwrap();
        }
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn every_variant_keeps_to_what_it_expects_and_committed_seeds_go_first() {
    let files = scenarios("scenarios");
    let (exit, summary) = sweep(&files, SEEDS, &["--variants"]);
    assert_eq!(exit, 0, "{summary:#}");
    let runs: usize = files.iter().map(|path| 6 * (1 + parsed(path).variants.len())).sum();
    let committed: usize = scenarios_with_seeds().iter().map(|(_, seeds)| seeds.len()).sum();
    assert_eq!(summary["runs"], runs + committed, "none is left out");
}

/// The committed seeds, by the scenario's name.
fn scenarios_with_seeds() -> Vec<(String, Vec<String>)> {
    let files = fs::read_dir(root().join("sim-tests/seeds")).expect("the folder is there");
    let mut found: Vec<(String, Vec<String>)> = files
        .map(|entry| {
            let path = entry.expect("it can be read").path();
            let text = fs::read_to_string(&path).expect("it can be read");
            let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, lines.map(str::to_owned).collect())
        })
        .collect();
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
