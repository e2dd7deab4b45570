//! `lesson`: a scenario's questions in the terminal - predict, observe, explain - and the sheets that go with them; and
//! the judge of *break* labs.

use std::{
    io::{self, BufRead, IsTerminal},
    path::Path,
};

use super::{
    args::LessonOptions,
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    inspect,
    one_run::{self, Order},
    output::print,
    shrink::WorkFolder,
};
use crate::{
    check::story::count,
    explore::shrink::{Judge, shortest_story},
    report::{
        PAGE_FILE, Recorded,
        lesson::{self, Given, Question},
    },
    scenario::{Problem, Scenario, action},
    trace::journal::Entry,
};

/// Most runs that say what of somebody's story is not needed: a few seconds.
const JUDGED_RUNS_MAX: u64 = 60;

/// Holds the lesson of a scenario, prints one of its sheets, or judges somebody's scenario.
pub fn lesson(options: &LessonOptions) -> Outcome {
    let file = ScenarioFile::read(&options.scenario)?;
    if let Some(path) = &options.broken {
        return judge_break(options, &file, path);
    }
    if file.scenario.predictions.is_empty() {
        let message =
            "this scenario asks nothing: a lesson needs a [[predict]], which docs/scenario-format.md describes";
        return Err(Failure::usage(Problem::at(0, message).in_file(&file.given, &file.text)));
    }
    file.resolve(options.variant.as_deref())?;
    let seed = options.seed.unwrap_or(file.scenario.seed);
    let variant = options.variant.as_deref();
    one_run::in_a_child(&Order {
        scenario: options.scenario.clone(),
        seed,
        variant: options.variant.clone(),
        out: Some(options.out.clone()),
        journal: true,
        ..Order::default()
    })?;
    let folder = one_run::folder(&options.out, &file.name, seed, variant);
    let (_, run) = inspect::read_run(&folder)?;
    if run.manifest.lesson.is_empty() {
        let message = "no question is asked in this run: each names other `variants`, or its moment never came";
        return Err(Failure::usage(format!("{}: {message}", file.given)));
    }
    if options.handout {
        print(&lesson::handout(&run))?;
    } else if options.key {
        print(&lesson::key(&run))?;
    } else if options.labs {
        let nothing =
            || Failure::usage(format!("{}: this run lost nothing: there is no life to put in order", file.given));
        print(&lesson::labs(&run).ok_or_else(nothing)?)?;
    } else if options.slides {
        print(&lesson::slides(&run, &folder.display().to_string()))?;
    } else {
        hold(options, &file.given, &run, &folder)?;
    }
    Ok(exit::OK)
}

/// Asks, shows what happened, and says why.
fn hold(options: &LessonOptions, file: &str, run: &Recorded, folder: &Path) -> Result<(), Failure> {
    let questions = &run.manifest.lesson;
    let mut answers = Answers::of(options, file, questions)?;
    print(&lesson::opening(&run.manifest))?;
    let so_far = lesson::so_far(run);
    if !so_far.is_empty() {
        print(&format!("\nSo far:\n{so_far}"))?;
    }
    let mut right = 0;
    for (index, question) in questions.iter().enumerate() {
        print(&format!("\n{}", lesson::question_text(index + 1, question)))?;
        let Some(given) = answers.next(question)? else { continue };
        right += usize::from(given.is_right);
        let observed = lesson::observed(run, index + 1);
        let heading = if observed.is_empty() { "" } else { "\nWhat happens:\n" };
        print(&format!("{heading}{observed}\n{}", lesson::reveal(question, Some(&given))))?;
    }
    if answers.given == 0 {
        eprintln!("--answers a,b answers the questions; --key prints the answers");
        return Ok(());
    }
    let verdict = &run.manifest.verdict;
    let mut text = format!("\n{}\n{}\n", run.manifest.title, verdict.sentence);
    text.extend(run.manifest.teaches.iter().map(|teaches| format!("To take home: {teaches}\n")));
    text.push_str(&format!("\n{right} of {} right. The run: {}\n", answers.given, folder.join(PAGE_FILE).display()));
    print(&text)
}

/// Where answers come from.
struct Answers {
    given: usize,
    source: Source,
}

enum Source {
    /// A person, who is asked again after an answer that is none.
    Terminal,
    /// A list: of the command line, or of another program.
    List(std::vec::IntoIter<Given>),
}

impl Answers {
    fn of(options: &LessonOptions, file: &str, questions: &[Question]) -> Result<Self, Failure> {
        if options.answers.is_empty() && io::stdin().is_terminal() {
            return Ok(Self { given: 0, source: Source::Terminal });
        }
        let texts = match options.answers.is_empty() {
            false => options.answers.clone(),
            true => {
                let lines: Result<Vec<String>, io::Error> = io::stdin().lock().lines().take(questions.len()).collect();
                lines.map_err(|error| Failure::usage(format!("standard input: {error}")))?
            }
        };
        if texts.len() > questions.len() {
            let message = format!("{file}: {} answers for {} questions", texts.len(), questions.len());
            return Err(Failure::usage(message));
        }
        let given = |(index, (text, question)): (usize, (&String, &Question))| {
            let wrong = |error| Failure::usage(format!("{file}: answer {}: {error}", index + 1));
            question.given(text).map_err(wrong)
        };
        let given: Vec<Given> = texts.iter().zip(questions).enumerate().map(given).collect::<Result<_, _>>()?;
        Ok(Self { given: 0, source: Source::List(given.into_iter()) })
    }

    /// The next answer; `None` where no more are given.
    fn next(&mut self, question: &Question) -> Result<Option<Given>, Failure> {
        let given = match &mut self.source {
            Source::List(answers) => answers.next(),
            Source::Terminal => asked(question)?,
        };
        self.given += usize::from(given.is_some());
        Ok(given)
    }
}

/// Asks until there is an answer; `None` at the end of the input.
fn asked(question: &Question) -> Result<Option<Given>, Failure> {
    loop {
        print("> ")?;
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        if read.map_err(|error| Failure::usage(format!("standard input: {error}")))? == 0 {
            print("\n")?;
            return Ok(None);
        }
        match question.given(&line) {
            Ok(given) => return Ok(Some(given)),
            Err(error) => print(&format!("{error}\n"))?,
        }
    }
}

/// Judges a *break* lab: somebody's scenario has the settings of the lesson and loses an acknowledged record.
fn judge_break(options: &LessonOptions, lesson: &ScenarioFile, path: &Path) -> Outcome {
    let file = ScenarioFile::read(path)?;
    file.resolve(None)?;
    if let Some(what) = other_settings(&lesson.scenario, &file.scenario) {
        let message = format!("{}: {what} of {}; a break lab keeps the settings", file.given, lesson.given);
        return Err(Failure::usage(message));
    }
    let seed = options.seed.unwrap_or(file.scenario.seed);
    let (scenario, out) = (path.to_path_buf(), Some(options.out.clone()));
    let order = Order { scenario, seed, out, journal: true, ..Order::default() };
    one_run::in_a_child(&order)?;
    let (folder, run) = inspect::read_run(&one_run::folder(&options.out, &file.name, seed, None))?;
    let verdict = &run.manifest.verdict;
    let (steps, actions) = size(&file.scenario);
    let mut text = match verdict.lost.first() {
        Some(first) => format!(
            "BROKEN: {} of {} acknowledged records lost in {} with {} ({}).\n",
            verdict.lost.len(),
            verdict.acked,
            count(steps, "step"),
            count(actions, "action"),
            first.cause
        ),
        None => format!("HELD: none of {} acknowledged records was lost.\n", verdict.acked),
    };
    if !verdict.lost.is_empty() {
        text.push_str(&needed(&file, seed, (steps, actions))?);
    }
    for unfired in &run.manifest.ending.unfired {
        let (step, trigger, last) = (unfired.step, &unfired.trigger, &unfired.last_value);
        text.push_str(&format!("  step {step} never fired: {trigger}; at last {last}\n"));
    }
    text.push_str(&format!("  the run: {}\n", folder.join(PAGE_FILE).display()));
    print(&text)?;
    Ok(if verdict.lost.is_empty() { exit::VIOLATED } else { exit::OK })
}

/// What of somebody's story is needed, found by leaving the rest out.
fn needed(file: &ScenarioFile, seed: u64, whole: (usize, usize)) -> Result<String, Failure> {
    let begin = Scenario { seed, ..file.resolve(None)?.alone() };
    let (best, runs) = shortest_story(begin, JUDGED_RUNS_MAX, &mut Loses(WorkFolder::make()?))?;
    let (steps, actions) = size(&best);
    if (steps, actions) == whole {
        return Ok(format!("  every step and action is needed, as {} showed\n", count(runs as usize, "run")));
    }
    let (runs, steps, actions) = (count(runs as usize, "run"), count(steps, "step"), count(actions, "action"));
    let mut text = format!("  fewer are enough, as {runs} showed: {steps} with {actions}\n");
    for step in &best.steps {
        text.push_str(&format!("    {}: {}\n", step.trigger(), action::show(&step.actions.value)));
    }
    Ok(text)
}

/// How many steps a story has, and how many actions.
fn size(scenario: &Scenario) -> (usize, usize) {
    (scenario.steps.len(), scenario.steps.iter().map(|step| step.actions.value.len()).sum())
}

/// Runs in which a record has to be lost.
struct Loses(WorkFolder);

impl Judge for Loses {
    type Error = Failure;

    fn breaks(&mut self, scenario: &Scenario) -> Result<bool, Failure> {
        match self.0.run(scenario, false) {
            Ok(told) => Ok(told.json["lost"].as_array().is_some_and(|lost| !lost.is_empty())),
            Err(failure) if failure.code == exit::HARNESS => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn events(&mut self, _scenario: &Scenario) -> Result<Vec<Entry>, Failure> {
        Ok(Vec::new())
    }

    fn found(&mut self, _scenario: &Scenario, _runs: u64) -> Result<(), Failure> {
        Ok(())
    }
}

/// Which settings of `other` are not those of `lesson`: only the story and the load are free.
fn other_settings(lesson: &Scenario, other: &Scenario) -> Option<String> {
    if lesson.cluster != other.cluster {
        return Some("its [cluster] is not that".into());
    }
    if (&lesson.era, &lesson.switches) != (&other.era, &other.switches) {
        return Some("its era and switches are not those".into());
    }
    for topic in &lesson.topics {
        if !other.topics.contains(topic) {
            return Some(format!("its topic `{}` is not that", topic.name));
        }
    }
    for client in &other.clients {
        match lesson.clients.iter().find(|known| known.name == client.name) {
            Some(known) if known.config == client.config => {}
            Some(_) => return Some(format!("the settings of its client `{}` are not those", client.name)),
            None => return Some(format!("its client `{}` is none", client.name)),
        }
    }
    (other.topics.len() > lesson.topics.len()).then(|| "it has a topic that is none".into())
}
