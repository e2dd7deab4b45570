//! A lesson: predict, observe, explain. The questions of a scenario with the answers of one run, as data of its
//! manifest, and as text: for a terminal, for print, for the teacher, for the beamer.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{Manifest, PAGE_FILE, Recorded, milestones, shell_word, terminal};
use crate::{
    check::story::{Kind, Line, Moment, Story},
    trace::{Event, EventId, journal::Entry},
};

/// A question with the answer that a run gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Asked before this step.
    pub before: u64,
    /// The event of that step, before which the page stands while it is asked; `None` if the step never fired.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event: Option<EventId>,
    /// The question.
    pub ask: String,
    /// What to choose from; empty: the answer is written.
    pub choices: Vec<Choice>,
    /// The right answer; that of the choices which reads the same.
    pub answer: String,
    /// What was measured, as the scenario writes it; `None`: the answer is fixed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub measured: Option<String>,
    /// Why it is right.
    pub why: String,
}

/// One answer to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The answer.
    pub text: String,
    /// If it is wrong: what speaks against it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub misconception: Option<String>,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its text.
    pub text: String,
    /// Whether it is right.
    pub is_right: bool,
    /// If it is wrong: what speaks against it.
    pub misconception: Option<String>,
}

impl Question {
    /// Reads an answer: the letter of a choice, or its text.
    ///
    /// # Errors
    /// It is none of the choices.
    pub fn given(&self, text: &str) -> Result<Given, String> {
        let text = text.trim();
        let named =
            |(letter, choice): &(char, &Choice)| text.eq_ignore_ascii_case(&letter.to_string()) || choice.text == text;
        let chosen = lettered(&self.choices).find(named).map(|(_, choice)| choice);
        let (text, misconception) = match (chosen, self.choices.is_empty(), text.is_empty()) {
            (Some(choice), ..) => (choice.text.clone(), choice.misconception.clone()),
            (None, true, false) => (text.to_owned(), None),
            (None, true, true) => return Err("expected an answer".into()),
            (None, false, _) => {
                let last = lettered(&self.choices).last().map_or('a', |(letter, _)| letter);
                return Err(format!("expected the letter of an answer, a to {last}, found `{text}`"));
            }
        };
        let is_right = plain(&text) == plain(&self.answer);
        Ok(Given { text, is_right, misconception: misconception.filter(|_| !is_right) })
    }

    /// Letter of the right choice.
    fn right(&self) -> Option<char> {
        lettered(&self.choices).find(|(_, choice)| choice.text == self.answer).map(|(letter, _)| letter)
    }
}

/// The choices by letters, for many a choice is a number.
fn lettered(choices: &[Choice]) -> impl Iterator<Item = (char, &Choice)> {
    ('a'..='z').zip(choices)
}

/// `{b1,b2}`, `[b1, b2]` and `b1 b2` are one answer.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| " ,[]{}".contains(c)).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_lowercase()
}

fn write(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a string does not fail");
    text.push('\n');
}

/// What a class has to know before the first question. A title often says how it ends, so it comes later.
pub fn opening(manifest: &Manifest) -> String {
    let mut text = format!("{}\n", manifest.scenario);
    let settings = settings(manifest);
    if !settings.is_empty() {
        text.push_str("\nWhat the scenario sets:\n");
        settings.iter().for_each(|setting| write(&mut text, format_args!("  {setting}")));
    }
    text
}

/// The settings that the scenario gives, `topic orders: min.insync.replicas = 2`.
fn settings(manifest: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    let config = &manifest.config;
    let mut table = |who: &str, table: &serde_json::Value| {
        for (name, value) in table.as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            lines.push(format!("{who}{name} = {value}"));
        }
    };
    for (kind, one) in [("topics", "topic"), ("clients", "client")] {
        for (name, settings) in config[kind].as_object().into_iter().flatten() {
            table(&format!("{one} {name}: "), settings);
        }
    }
    table("brokers: ", &config["cluster"]);
    table("switch ", &config["switches"]);
    if let Some(era) = config["era"].as_str() {
        lines.push(format!("behaviour as in Kafka {era}"));
    }
    lines
}

/// One question with its choices.
pub fn question_text(number: usize, question: &Question) -> String {
    let mut text = String::new();
    write(&mut text, format_args!("Question {number}, before step {}: {}", question.before, question.ask));
    for (letter, choice) in lettered(&question.choices) {
        write(&mut text, format_args!("  {letter}) {}", choice.text));
    }
    text
}

/// What is told after an answer was given.
pub fn reveal(question: &Question, given: Option<&Given>) -> String {
    let mut text = String::new();
    let answer = match question.right() {
        Some(letter) => format!("{letter}) {}", question.answer),
        None => question.answer.clone(),
    };
    match given {
        Some(given) if given.is_right => write(&mut text, format_args!("Right: {answer}.")),
        Some(given) => {
            write(&mut text, format_args!("You said {}; the run says {answer}.", given.text));
            if let Some(misconception) = &given.misconception {
                write(&mut text, format_args!("  Why not: {misconception}"));
            }
        }
        None => write(&mut text, format_args!("Answer: {answer}.")),
    }
    if let Some(measured) = &question.measured {
        write(&mut text, format_args!("  Measured: {measured} = {}", question.answer));
    }
    write(&mut text, format_args!("  Why: {}", question.why));
    text
}

/// What happened before the first question, from the first step on.
pub fn so_far(run: &Recorded) -> String {
    let end = run.manifest.lesson.iter().filter_map(|question| question.event).min();
    let is_step = |entry: &&Entry| matches!(entry.event, Event::StepFired { .. });
    let begin = run.entries.iter().find(is_step).map(|entry| entry.id);
    match (begin, end) {
        (Some(begin), Some(end)) => happened(run, begin, Some(end)),
        _ => String::new(),
    }
}

/// The milestones from `begin` up to `end`.
fn happened(run: &Recorded, begin: EventId, end: Option<EventId>) -> String {
    let within = |id: EventId| id >= begin && end.is_none_or(|end| id < end);
    let lines = milestones::told(&run.entries).into_iter().filter(|(entry, _)| within(entry.id));
    lines.map(|(entry, words)| format!("  {:>9}  {:<9} {words}\n", entry.time, entry.node)).collect()
}

/// What happened from the step that `question` stands before up to the next question, or to the end.
pub fn observed(run: &Recorded, number: usize) -> String {
    let questions = &run.manifest.lesson;
    let begin = questions[number - 1].event;
    let later = questions[number..].iter().filter_map(|question| question.event);
    let end = later.filter(|event| Some(*event) > begin).min();
    let Some(begin) = begin else { return "  The step never fired.\n".into() };
    let next_shares = questions[number..].iter().any(|question| question.event == Some(begin));
    if next_shares {
        return String::new();
    }
    happened(run, begin, end)
}

/// What to print for a class: no answer, no verdict, room to write.
pub fn handout(run: &Recorded) -> String {
    let manifest = &run.manifest;
    let mut text = head(manifest, &manifest.scenario);
    text.push_str("\n## The story\n\n");
    steps(run).iter().for_each(|(number, action, _)| write(&mut text, format_args!("{number}. {action}")));
    text.push_str("\n## Predict\n\nChoose before you look at the run, and say why.\n");
    for (index, question) in manifest.lesson.iter().enumerate() {
        write(&mut text, format_args!("\n### {}. Before step {}\n\n{}\n", index + 1, question.before, question.ask));
        for (letter, choice) in lettered(&question.choices) {
            write(&mut text, format_args!("- [ ] {letter}) {}", choice.text));
        }
        if question.choices.is_empty() {
            text.push_str("Answer: ____________________\n");
        }
        text.push_str("\nBecause: ______________________________________________________________\n");
    }
    text.push_str("\n## Observe\n\n");
    write(&mut text, format_args!("    {}", lesson_command(manifest)));
    text.push_str("\n## Explain\n\nWhere did you and the run differ? Which belief of yours was it?\n\n");
    text.push_str("______________________________________________________________________\n");
    text
}

/// Two labs on paper, for after the lesson: put the life of a record in order that was lost, or that a group passed over;
/// find the decisive moment. `None`: there is none.
pub fn labs(run: &Recorded) -> Option<String> {
    let story = lost_story(run)?;
    let mut text = head(&run.manifest, &run.manifest.scenario);
    text.push_str("\n## Put the story in order\n\n");
    write(
        &mut text,
        format_args!("{} {}: write the letters in the order of time.\n", story.kind.word(), story.subject),
    );
    shuffled(story)
        .iter()
        .for_each(|(letter, line)| write(&mut text, format_args!("{letter}. {}: {}", line.node, line.text)));
    text.push_str("\nOrder: ____________________\n");
    text.push_str("\n## Find the decisive moment\n\nAfter which line can the loss no longer be helped?\n\n");
    for (index, (entry, words)) in milestones::told(&run.entries).into_iter().enumerate() {
        let without_note = words.split(" - ").next().unwrap_or(&words);
        write(&mut text, format_args!("{}. {} {}: {without_note}", index + 1, entry.time, entry.node));
    }
    text.push_str("\nLine: ____, because ______________________________________________________\n");
    Some(text)
}

/// For the teacher: every answer, why, and what the wrong ones show.
pub fn key(run: &Recorded) -> String {
    let manifest = &run.manifest;
    let mut text = head(manifest, &manifest.title);
    if let Some(teaches) = &manifest.teaches {
        write(&mut text, format_args!("\nTo take home: {teaches}"));
    }
    text.push_str("\n## Answers\n");
    for (index, question) in manifest.lesson.iter().enumerate() {
        write(&mut text, format_args!("\n### {}. {}\n", index + 1, question.ask));
        for (letter, choice) in lettered(&question.choices) {
            let mark = if choice.text == question.answer { "x" } else { " " };
            let behind = choice.misconception.as_ref().filter(|_| choice.text != question.answer);
            let behind = behind.map(|behind| format!(" - {behind}")).unwrap_or_default();
            write(&mut text, format_args!("- [{mark}] {letter}) {}{behind}", choice.text));
        }
        if question.choices.is_empty() {
            write(&mut text, format_args!("Answer: {}", question.answer));
        }
        let measured = question.measured.as_ref().map(|measured| format!(" (measured: `{measured}`)"));
        write(&mut text, format_args!("\nWhy: {}{}", question.why, measured.unwrap_or_default()));
    }
    text.push_str("\n## What happens\n\n");
    steps(run).iter().for_each(|(number, action, note)| {
        let note = note.as_ref().map(|note| format!(" - {note}")).unwrap_or_default();
        write(&mut text, format_args!("{number}. {action}{note}"));
    });
    write(&mut text, format_args!("\n{}", manifest.verdict.sentence));
    if let Some(story) = lost_story(run) {
        let mut in_order = shuffled(story);
        in_order.sort_by_key(|(_, line)| line.event);
        let letters: String = in_order.iter().map(|(letter, _)| *letter).collect();
        write(&mut text, format_args!("\n## Labs\n\nThe story in order: {letters}"));
        let decisive = story.lines.iter().find(|line| line.moment == Some(Moment::Decisive));
        let told = milestones::told(&run.entries);
        let number = decisive.and_then(|line| told.iter().position(|(entry, _)| entry.id == line.event));
        if let (Some(line), Some(number)) = (decisive, number) {
            write(&mut text, format_args!("\nThe decisive moment: line {}: {}", number + 1, line.text));
        }
        text.push_str("\nTherefore:\n\n");
        story.therefore.iter().for_each(|sentence| write(&mut text, format_args!("- {sentence}")));
    }
    write(&mut text, format_args!("\n    {}", terminal::run_command(manifest)));
    text
}

/// The story that the labs are about.
fn lost_story(run: &Recorded) -> Option<&Story> {
    run.manifest.stories.iter().find(|story| matches!(story.kind, Kind::Lost | Kind::Unprocessed))
}

/// The lines of a story but its steps, in the order of the alphabet, each with a letter.
fn shuffled(story: &Story) -> Vec<(char, &Line)> {
    let mut lines: Vec<&Line> = story.lines.iter().filter(|line| !line.text.starts_with("step ")).collect();
    lines.sort_by_key(|line| (&line.text, line.event));
    ('A'..='Z').zip(lines).collect()
}

/// Deep links into the page of the run, by number: every step, every question before it, and the verdict. Until the step of
/// the last question the page hides what came of the run. `folder` is where the page lies.
pub fn slides(run: &Recorded, folder: &str) -> String {
    let mut text = head(&run.manifest, &run.manifest.scenario);
    text.push('\n');
    let mut number = 0;
    let last_asked = run.manifest.lesson.iter().filter_map(|question| question.event).max();
    let mut slide = |what: &str, event: EventId, hidden: bool| {
        number += 1;
        let hidden = if last_asked.is_some() { format!("&l={}", u8::from(hidden)) } else { String::new() };
        write(&mut text, format_args!("{number}. [{what}]({folder}/{PAGE_FILE}#e={}{hidden})", event.0));
    };
    for entry in &run.entries {
        let Event::StepFired { step, action, .. } = &entry.event else { continue };
        for question in run.manifest.lesson.iter().filter(|question| question.event == Some(entry.id)) {
            // One event earlier nothing of the step is to be seen.
            slide(&format!("Predict: {}", question.ask), EventId(entry.id.0.saturating_sub(1)), true);
        }
        slide(&format!("Observe: step {step}, {action}"), entry.id, Some(entry.id) < last_asked);
    }
    if let Some(last) = run.entries.last() {
        slide("Explain: the verdict", last.id, false);
    }
    text
}

/// Heading and settings of a sheet.
fn head(manifest: &Manifest, heading: &str) -> String {
    let mut text = format!("# {heading}\n\n");
    let variant = manifest.variant.as_ref().map(|name| format!(", variant `{name}`")).unwrap_or_default();
    write(&mut text, format_args!("`{}`, seed {}{variant}", manifest.path, manifest.seed));
    let settings = settings(manifest);
    if !settings.is_empty() {
        text.push_str("\nWhat the scenario sets:\n\n");
        settings.iter().for_each(|setting| write(&mut text, format_args!("- `{setting}`")));
    }
    text
}

/// The steps that fired: number, action, note. In a step that does nothing there is something to look at.
fn steps(run: &Recorded) -> Vec<(usize, String, Option<String>)> {
    let step = |entry: &Entry| match &entry.event {
        Event::StepFired { step, action, note } => {
            let action = if action == "nothing" { "look" } else { action };
            Some((*step, action.to_owned(), note.clone()))
        }
        _ => None,
    };
    run.entries.iter().filter_map(step).collect()
}

fn lesson_command(manifest: &Manifest) -> String {
    let variant = manifest.variant.as_ref().map(|variant| format!(" --variant {}", shell_word(variant)));
    format!("cargo sim lesson {} --seed {}{}", shell_word(&manifest.path), manifest.seed, variant.unwrap_or_default())
}
