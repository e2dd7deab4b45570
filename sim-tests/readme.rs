//! The README tells the truth: what it shows of the first scenario is what the command prints and writes, and its list
//! of scenarios is the first tour.

use std::fs;

use super::{
    command::{root, run, scenarios},
    stories::TOUR,
};

const SCENARIO: &str = "scenarios/01-acks-one-leader-crash.toml";

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("there is a README")
}

#[test]
fn the_readme_shows_what_its_first_command_prints() {
    let out = tempfile::tempdir().expect("there is room for a report");
    let command = format!("cargo sim run {SCENARIO} --seed 7");
    assert!(readme().contains(&format!("    {command}\n")), "README.md does not give `{command}`");
    let left = run(["run", SCENARIO, "--seed", "7", "--out", &out.path().display().to_string()]);
    assert_eq!(left.exit, 0, "{left:?}");
    let printed = left.stdout.replace(&out.path().display().to_string(), "reports");
    assert!(readme().contains(&printed), "README.md does not show what is printed now:\n{printed}");
    let story = fs::read_to_string(out.path().join("01-acks-one-leader-crash/seed-7/story.txt")).expect("a story");
    let readme = readme();
    let block = readme.split("```text\n").find(|block| block.starts_with("LOST")).expect("README.md shows a life");
    let shown = block.split("```").next().expect("the block ends").lines();
    // A change of the broker may well move an event by a millisecond; what happens and why must stay true.
    let timeless = |line: &str| line.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ");
    for line in shown.filter(|line| line.trim() != "...") {
        let is_told = story.lines().any(|told| timeless(told) == timeless(line));
        assert!(is_told, "README.md shows `{line}`, which the story does not tell");
    }
}

/// Whether it is written as `9.091s`.
fn is_time(word: &str) -> bool {
    word.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok())
}

#[test]
fn the_readme_lists_the_scenarios_of_the_first_tour() {
    for path in scenarios("scenarios").iter().take(TOUR.len()) {
        let link = format!("]({})", path.display());
        assert!(readme().contains(&link), "README.md does not list {}", path.display());
    }
}
