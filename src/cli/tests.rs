//! `docs/commands.md` and the command line say the same: commands, options, exit codes, and examples that parse.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use clap::{CommandFactory, Parser};

use super::{
    args::{Args, Command},
    exit,
};
use crate::scenario::{self, Scenario};

const REFERENCE: &str = include_str!("../../docs/commands.md");

/// The sections about commands, by the command's name: `topics create`.
fn sections() -> BTreeMap<String, Vec<&'static str>> {
    let mut sections: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut current = None;
    for line in REFERENCE.lines() {
        if line.starts_with('#') {
            let name = line.trim_start_matches('#').trim().strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            current = name.map(|name| sections.entry(name.to_owned()).or_default());
        } else if let Some(lines) = &mut current {
            lines.push(line);
        }
    }
    sections
}

/// First words of the rows of tables: `--seed`.
fn first_words<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let cell = |line: &'a str| line.strip_prefix("| `")?.split(['`', ' ']).next();
    lines.into_iter().filter_map(cell).map(str::to_owned).collect()
}

/// Every command below `command` with what it takes.
fn commands(prefix: &str, command: &clap::Command, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for command in command.get_subcommands() {
        let name = format!("{prefix}{}", command.get_name());
        let options = command.get_arguments().filter(|argument| !argument.is_hide_set());
        let option = |argument: &clap::Arg| match argument.get_long() {
            Some(long) => format!("--{long}"),
            None => argument.get_id().as_str().to_uppercase(),
        };
        found.insert(name.clone(), options.map(option).collect());
        commands(&format!("{name} "), command, found);
    }
}

#[test]
fn every_command_and_option_is_documented_and_no_other() {
    let mut expected = BTreeMap::new();
    commands("", &Args::command(), &mut expected);
    let documented: BTreeMap<String, BTreeSet<String>> =
        sections().into_iter().map(|(name, lines)| (name, first_words(lines))).collect();
    assert_eq!(documented, expected, "docs/commands.md (left) and the command line (right)");
}

#[test]
fn every_example_is_a_command_line_of_its_section() {
    for (name, lines) in sections() {
        let has_commands = matches!(name.as_str(), "storage" | "topics" | "groups");
        let examples: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("    ")).collect();
        assert!(has_commands != examples.iter().any(|_| true), "`{name}` has an example, or commands that have");
        for example in examples {
            let arguments = ["cargo sim ", "cargo run --release -- "].iter().find_map(|how| example.strip_prefix(how));
            let arguments = arguments.unwrap_or_else(|| panic!("`{example}` starts one of the builds"));
            assert!(arguments.starts_with(&name), "`{example}` is an example of `{name}`");
            parsed(example, arguments);
        }
    }
}

/// What a command line of the documentation means.
fn parsed(example: &str, arguments: &str) -> Args {
    // Quotes keep words together.
    let words = arguments.split('"').enumerate().flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().collect::<Vec<_>>(),
        _ => vec![part],
    });
    Args::try_parse_from(["highwater"].into_iter().chain(words)).unwrap_or_else(|error| panic!("`{example}`: {error}"))
}

const COURSE: &str = include_str!("../../docs/course.md");

/// The scenario at `path`, which has to have the variant.
fn scenario_at(example: &str, path: &Path, variant: Option<&String>) -> Scenario {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(whole).unwrap_or_else(|error| panic!("`{example}`: {}: {error}", path.display()));
    let scenario = scenario::parse(&text).unwrap_or_else(|problem| panic!("{}: {}", path.display(), problem.message));
    let has = |name: &&String| scenario.variants.iter().any(|variant| variant.name.value == **name);
    assert!(variant.iter().all(has), "`{example}`: {} has no such variant", path.display());
    scenario
}

#[test]
fn every_command_of_the_course_is_one_and_every_scenario_of_it_is_there_and_asks() {
    let mut lessons = Vec::new();
    for example in COURSE.lines().filter_map(|line| line.strip_prefix("    ")) {
        let arguments = example.strip_prefix("cargo sim ").unwrap_or_else(|| panic!("`{example}` is a command"));
        match parsed(example, arguments).command {
            Command::Lesson(options) => {
                let scenario = scenario_at(example, &options.scenario, options.variant.as_ref());
                assert!(!scenario.predictions.is_empty(), "`{example}`: the scenario asks nothing");
                lessons.push(options.scenario);
            }
            Command::Run(options) => {
                for path in &options.scenarios {
                    scenario_at(example, path, options.variant.as_ref());
                }
            }
            Command::Explain(_) | Command::Diff(_) => {}
            other => panic!("`{example}`: the course does not introduce `{}`", other.name()),
        }
    }
    lessons.sort();
    lessons.dedup();
    assert!(lessons.len() >= 12, "the course has {} lessons", lessons.len());
}

#[test]
fn every_lesson_of_the_course_says_level_time_goal_misconception_and_has_a_lab() {
    let table: Vec<&str> = COURSE.lines().filter(|line| line.starts_with("| ") && line.contains("](#")).collect();
    let sections: Vec<&str> = COURSE.split("\n## ").filter(|part| part.starts_with(char::is_numeric)).collect();
    assert_eq!(table.len(), sections.len(), "the table lists every lesson");
    for (row, section) in table.iter().zip(sections) {
        let title = section.lines().next().unwrap_or_default();
        let name = row.rsplit('|').nth(1).unwrap_or_default().trim();
        assert!(section.contains(&format!("cargo sim lesson scenarios/{name}.toml")), "{title}: {name}");
        for word in [" minutes.*", "**Goal:**", "**Misconception:**", "**Shows:**"] {
            assert!(section.replace('\n', " ").contains(word), "{title} says {word}");
        }
        assert!(["**Repair.**", "**Break.**", "**Explain.**", "**Diagnose.**"].iter().any(|lab| section.contains(lab)));
    }
    for lab in ["**Repair.**", "**Break.**", "**Explain.**", "**Diagnose.**"] {
        assert!(COURSE.contains(lab), "the course has {lab}");
    }
}

#[test]
fn exit_codes_are_those_that_commands_end_with() {
    let all: BTreeSet<String> = exit::ALL.iter().map(u8::to_string).collect();
    let table = REFERENCE.lines().skip_while(|line| *line != "## Exit codes").take_while(|line| *line != "## `run`");
    assert_eq!(first_words(table), all);
    for (name, lines) in sections() {
        let Some(line) = lines.iter().find(|line| line.starts_with("Exit codes:")) else {
            assert!(matches!(name.as_str(), "storage" | "topics" | "groups"), "`{name}` has exit codes");
            continue;
        };
        let numbers = line.split(|char: char| !char.is_ascii_digit()).filter(|number| !number.is_empty());
        for number in numbers {
            assert!(all.contains(number), "`{name}` ends with {number}");
        }
    }
}
