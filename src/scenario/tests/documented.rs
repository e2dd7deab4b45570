//! `docs/scenario-format.md` and the parser say the same: every word of the one is a word of the other, and every
//! example is one.

use std::fmt::Display;

use super::checked;
use crate::{
    base::{mark, switches},
    check::{Cause, Claim},
    client::{
        config::{Setting, consumer_settings, producer_settings},
        group::config::group_settings,
    },
    scenario::{
        TABLES,
        action::{self, VERBS},
        condition::{Comparison, Condition, EVENTS},
        groups::{APPLICATIONS, Application, GIVEN_BY_CONSUME},
        predict::OUTCOMES,
        swarm::FAULTS,
        term::{FUNCTIONS, NAMES},
    },
};

const REFERENCE: &str = include_str!("../../../docs/scenario-format.md");

/// A table of a scenario as an example needs it: its head, and lines that it cannot be without, each with the keys that
/// take its place.
struct Frame {
    table: &'static str,
    head: &'static str,
    needs: &'static [(&'static [&'static str], &'static str)],
}

const TRIGGERS: &[&str] = &["when", "on", "after", "at"];

#[rustfmt::skip]
const FRAMES: &[Frame] = &[
    Frame { table: "a scenario", head: "", needs: &[] },
    Frame { table: "[swarm]", head: "[swarm]", needs: &[] },
    Frame { table: "[cluster]", head: "[cluster]", needs: &[] },
    Frame { table: "[[topic]]", head: "[[topic]]", needs: &[(&["name"], "name = \"orders\""), (&["replicas"], "replicas = [[\"b1\", \"b2\", \"b3\"]]")] },
    Frame { table: "[[client]]", head: "[[client]]", needs: &[(&["name"], "name = \"p1\""), (&["send", "read", "consume"], "send = { topic = \"orders\", count = 8 }")] },
    Frame { table: "`send`", head: "[[client]]\nname = \"p1\"\n[client.send]", needs: &[(&["topic"], "topic = \"orders\""), (&["count"], "count = 8")] },
    Frame { table: "`read`", head: "[[client]]\nname = \"r1\"\n[client.read]", needs: &[(&["topic"], "topic = \"orders\"")] },
    Frame { table: "`consume`", head: "[[client]]\nname = \"g1\"\n[client.consume]", needs: &[(&["topic"], "topic = \"orders\""), (&["group"], "group = \"billing\"")] },
    Frame { table: "[[step]]", head: "[[step]]", needs: &[(TRIGGERS, "when = \"hw(orders-0) >= 5\""), (&["do"], "do = \"nothing\"")] },
    Frame { table: "[[expect]]", head: "[[expect]]", needs: &[(&["claim"], "claim = \"acked-records-survive\""), (&["value"], "value = \"violated\"")] },
    Frame { table: "`lost`", head: "[[expect]]\nclaim = \"acked-records-survive\"\nvalue = \"violated\"\n[expect.lost]", needs: &[] },
    Frame { table: "[[variant]]", head: "[[variant]]", needs: &[(&["name"], "name = \"other\"")] },
    Frame { table: "a variant's step", head: "[[variant]]\nname = \"other\"\n[variant.steps.1]", needs: &[] },
    Frame { table: "a variant's expectation", head: "[[variant]]\nname = \"other\"\n[variant.expect.acked-records-survive]", needs: &[(&["value"], "value = \"violated\"")] },
    Frame { table: "[[predict]]", head: "[[predict]]", needs: &[(&["before"], "before = \"step 1\""), (&["ask"], "ask = \"How many?\""), (&["options"], "options = [\"8\", \"5\"]"), (&["answer", "value"], "answer = \"5\""), (&["why"], "why = \"So.\"")] },
];

/// What a part of a scenario leaves to others: keys at the top, and tables.
const REST: &[(&str, &str)] = &[
    ("kafka", "kafka = \"4.1\"\n"),
    ("title", "title = \"an example\"\n"),
    ("[cluster]", "[cluster]\nbrokers = 3\nracks = [\"r1\", \"r1\", \"r2\"]\n"),
    ("[[topic]]", "[[topic]]\nname = \"orders\"\nreplicas = [[\"b1\", \"b2\", \"b3\"], [\"b2\", \"b3\", \"b1\"]]\n"),
    ("name = \"p1\"", "[[client]]\nname = \"p1\"\nsend = { topic = \"orders\", count = 8 }\n"),
    ("name = \"r1\"", "[[client]]\nname = \"r1\"\nread = { topic = \"orders\" }\n"),
    ("name = \"g1\"", "[[client]]\nname = \"g1\"\nconsume = { topic = \"orders\", group = \"billing\" }\n"),
    ("[[step]]", "[[step]]\nwhen = \"hw(orders-0) >= 5\"\ndo = \"nothing\"\n"),
];

/// A part of a scenario, made whole.
fn completed(part: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    // A seed draws the rest of a scenario with [swarm].
    let rest = REST.iter().filter(|(word, _)| matches!(*word, "kafka" | "title") || !part.contains("[swarm]"));
    let missing = rest.filter(|(word, _)| !part.lines().any(|line| words(line).starts_with(word)));
    let (tables, keys): (Vec<_>, Vec<_>) = missing.map(|(_, lines)| *lines).partition(|lines| lines.starts_with('['));
    format!("{}{part}\n{}", keys.concat(), tables.concat())
}

/// Fails unless `part` is, when made whole, a scenario that `check` has nothing against.
fn check_example(what: &str, part: &str) {
    let text = completed(part);
    if let Err(message) = checked(&text) {
        panic!("an example of {what} is refused: {message}\n{text}");
    }
}

fn check_condition(what: &str, condition: &str) {
    check_example(what, &format!("[[step]]\nwhen = \"{condition}\"\ndo = \"nothing\""));
}

fn check_action(what: &str, actions: &str) {
    check_example(what, &format!("[[step]]\nafter = \"1s\"\ndo = \"{actions}\""));
}

/// The rows of the table below the heading, each with its cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let plain = |text: &str| text.replace('`', "");
    let mut lines = REFERENCE.lines().skip_while(|line| plain(line.trim_start_matches(['#', ' '])) != plain(heading));
    assert!(lines.next().is_some(), "docs/scenario-format.md has no heading `{heading}`");
    let section = lines.take_while(|line| !line.starts_with('#'));
    let table = section.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    // A `|` within a cell is written `\|`.
    let cells = |line: &str| -> Vec<String> {
        let line = line.replace("\\|", "\u{1}");
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    };
    table.skip(2).map(cells).collect()
}

/// Fails unless the table below the heading has exactly these rows.
fn check_rows(heading: &str, expected: &[Vec<String>]) {
    let show = |rows: &[Vec<String>]| -> String {
        let cells = |row: &Vec<String>| row.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | ");
        rows.iter().map(|row| format!("| {} |\n", cells(row))).collect()
    };
    let found = rows(heading);
    assert!(found == expected, "below `{heading}`:\n{}\nexpected:\n{}", show(&found), show(expected));
}

fn code(text: impl Display) -> String {
    format!("`{text}`")
}

fn plain(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn every_key_is_documented_with_an_example_that_is_accepted() {
    for (keys, frame) in TABLES.iter().zip(FRAMES) {
        assert_eq!(keys.table, frame.table, "the frames of examples are those of the parser's tables, in order");
        let rows = rows(&format!("Keys of {}", keys.table));
        let documented: Vec<&str> = rows.iter().map(|row| plain(&row[0])).collect();
        assert_eq!(documented, keys.keys, "keys of {}", keys.table);
        for (row, key) in rows.iter().zip(keys.keys) {
            let example = plain(row.last().expect("a row has cells"));
            assert!(
                example.split([' ', '.']).next() == Some(key) || example.trim_matches(['[', ']']) == *key,
                "the example of {key} begins with it: {example}"
            );
            // A head stands for a table of its own, with what that needs.
            let head = FRAMES.iter().find(|other| other.head == example);
            let needs = head.unwrap_or(frame).needs.iter().filter(|(keys, _)| head.is_some() || !keys.contains(key));
            let lines: Vec<&str> = match head {
                Some(_) => [example].into_iter().chain(needs.map(|(_, line)| *line)).collect(),
                None => [frame.head].into_iter().chain(needs.map(|(_, line)| *line)).chain([example]).collect(),
            };
            check_example(&format!("{key} of {}", keys.table), &lines.join("\n"));
        }
    }
    assert_eq!(TABLES.len(), FRAMES.len());
}

#[test]
fn what_a_question_can_measure_is_documented_with_an_example_that_is_accepted() {
    let expected: Vec<Vec<String>> =
        OUTCOMES.iter().map(|(name, meaning, example)| vec![code(name), (*meaning).into(), code(example)]).collect();
    check_rows("What a question can measure", &expected);
    for (name, _, example) in OUTCOMES {
        let question = "[[predict]]\nbefore = \"step 1\"\nask = \"How many?\"\nwhy = \"So.\"";
        check_example(name, &format!("{question}\n{example}"));
    }
}

#[test]
fn every_fenced_example_is_accepted() {
    let fences: Vec<&str> = REFERENCE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(fences.len() >= 5, "found {} examples", fences.len());
    fences.iter().for_each(|example| check_example("docs/scenario-format.md", example));
}

#[test]
fn every_word_of_triggers_and_actions_is_documented_with_an_example_that_is_accepted() {
    let kind = |kind: &dyn Display| kind.to_string();
    let functions = FUNCTIONS.iter().map(|f| vec![code(f.name), kind(&f.gives), f.meaning.into(), code(f.example)]);
    check_rows("Functions", &functions.collect::<Vec<_>>());
    FUNCTIONS.iter().for_each(|function| check_condition(function.name, function.example));

    let names =
        NAMES.iter().map(|(name, of, meaning, example)| vec![code(name), kind(of), (*meaning).into(), code(example)]);
    check_rows("Names", &names.collect::<Vec<_>>());
    for (name, _, _, example) in NAMES {
        match Condition::parse(example, 0) {
            Ok(_) => check_condition(name, example),
            Err(_) => check_action(name, example),
        }
    }

    let comparisons = rows("Comparisons");
    let signs: Vec<&str> = comparisons.iter().map(|row| plain(&row[0])).collect();
    assert_eq!(signs, Comparison::ALL.iter().map(|(sign, _)| *sign).collect::<Vec<_>>());
    comparisons.iter().for_each(|row| check_condition(&row[0], plain(&row[2])));

    let events = EVENTS.iter().map(|event| vec![code(event.name), event.meaning.into(), code(event.example)]);
    check_rows("Events", &events.collect::<Vec<_>>());
    for event in EVENTS {
        check_example(event.name, &format!("[[step]]\non = \"{}\"\ndo = \"nothing\"", event.example));
    }

    let verbs = VERBS.iter().map(|(verb, meaning, example)| vec![code(verb), (*meaning).into(), code(example)]);
    check_rows("Actions", &verbs.collect::<Vec<_>>());
    for (verb, _, example) in VERBS {
        let read = action::parse(example, 0).unwrap_or_else(|problem| panic!("{}", problem.message));
        assert_eq!(action::show(&read).split(' ').next(), Some(*verb));
        check_action(verb, example);
    }
}

#[test]
fn every_setting_of_a_client_is_documented() {
    let check = |who: &str, settings: &mut dyn Iterator<Item = &Setting>| {
        let names: Vec<String> = settings.map(|(name, ..)| code(name)).collect();
        let line = format!("- {who}: {}", names.join(", "));
        assert!(REFERENCE.lines().any(|found| found == line), "docs/scenario-format.md lacks the line\n{line}");
    };
    check("producers", &mut producer_settings());
    check("consumers", &mut consumer_settings());
    let others: Vec<&Setting> = consumer_settings().collect();
    let own =
        |(name, ..): &&Setting| !GIVEN_BY_CONSUME.contains(name) && !others.iter().any(|(other, ..)| other == name);
    check("members of groups, besides", &mut group_settings().filter(own));
}

#[test]
fn every_application_of_a_group_is_documented() {
    let row = |(name, _, meaning, least, most): &(&str, Application, &str, bool, bool)| {
        let promise = match (least, most) {
            (true, true) => "once",
            (true, false) => "at least once",
            (false, true) => "at most once",
            (false, false) => "nothing",
        };
        vec![code(name), (*meaning).to_owned(), promise.to_owned()]
    };
    check_rows("Applications", &APPLICATIONS.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn every_claim_cause_mark_switch_and_era_is_documented() {
    let claim_line = |claim: &Claim| format!("expect = {{ {claim} = \"held\" }}");
    let claims =
        Claim::ALL.iter().map(|claim| vec![code(claim.name()), claim.meaning().into(), code(claim_line(claim))]);
    check_rows("Claims", &claims.collect::<Vec<_>>());
    for claim in Claim::ALL {
        check_example(claim.name(), &format!("[[variant]]\nname = \"other\"\n{}", claim_line(claim)));
        check_example(claim.name(), &format!("[[expect]]\nclaim = \"{claim}\"\nvalue = \"held\""));
    }
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| vec![code(cause.name()), cause.reason().into()]).collect();
    check_rows("Causes", &causes);
    let mark_line = |name: &str| format!("must_reach = [\"{name}\"]");
    let marks = mark::ALL.iter().map(|(name, meaning)| vec![code(name), (*meaning).into(), code(mark_line(name))]);
    check_rows("Marks", &marks.collect::<Vec<_>>());
    mark::ALL.iter().for_each(|(name, _)| check_example(name, &mark_line(name)));
    let (bugs, behaviours): (Vec<_>, Vec<_>) = switches::TABLE.iter().partition(|switch| switch.is_planted_bug());
    let row = |switch: &&switches::Switch| {
        let values = switch.values.iter().map(code).collect::<Vec<_>>().join(", ");
        let fixed = (!switch.is_planted_bug()).then(|| {
            let since = switch.since[1..].iter().map(ToString::to_string);
            since.collect::<Vec<_>>().join(", ")
        });
        [Some(code(switch.name)), Some(values), fixed, Some(switch.meaning.to_owned())].into_iter().flatten().collect()
    };
    check_rows("Switches", &behaviours.iter().map(row).collect::<Vec<_>>());
    check_rows("Planted bugs", &bugs.iter().map(row).collect::<Vec<_>>());
    for switch in switches::TABLE {
        for value in switch.values {
            check_example(switch.name, &format!("switch.{} = \"{value}\"", switch.name));
        }
    }
    let faults: Vec<_> = FAULTS.iter().map(|(name, meaning)| vec![code(name), (*meaning).into()]).collect();
    check_rows("Kinds of faults", &faults);
    let eras: Vec<&str> = switches::ERAS.iter().map(|(era, _)| *era).collect();
    let documented = rows("Eras");
    assert_eq!(documented.iter().map(|row| plain(&row[0])).collect::<Vec<_>>(), eras);
    eras.iter().for_each(|era| check_example(era, &format!("era = \"{era}\"")));
}
