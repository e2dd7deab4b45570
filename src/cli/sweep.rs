//! `sweep`: scenarios over many seeds, several processes at a time.
//!
//! Every twentieth run is done twice, and its trace hashes have to be equal. Results do not depend on the number of
//! processes, only their order on the progress bar does.

use std::{
    collections::VecDeque,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    args::{Format, SweepOptions},
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
};
use crate::explore::{Plan, Run, Summary};

/// Of so many runs one is done twice.
const REPEATED: usize = 20;
/// Folder with the seeds that failed once, one file a scenario.
const CORPUS: &str = "sim-tests/seeds";

/// What came of one run.
type Done = (Run, Result<Told, Failure>, bool);

/// Runs scenarios over seeds.
pub fn sweep(options: &SweepOptions) -> Outcome {
    let mut plan = Plan { scenarios: Vec::new(), seeds: options.seeds, shard: options.shard, corpus: Vec::new() };
    for path in &options.scenarios {
        let file = ScenarioFile::read(path)?;
        let mut variants = vec![None];
        if options.variants {
            variants.extend(file.variants().map(|name| Some(name.to_owned())));
        }
        for variant in &variants {
            file.resolve(variant.as_deref())?;
        }
        let given = path.display().to_string();
        plan.corpus.extend(corpus(&file.name, &given, options.variants)?);
        plan.scenarios.push((given, variants, file.scenario.sweep));
    }
    let runs = plan.runs();
    let begun = Instant::now();
    let (summary, failed) = run_all(runs, options, begun);
    match options.format {
        Format::Text => print!("{}", summary.render(begun.elapsed().as_secs_f64())),
        Format::Json => println!("{}", summary.json(begun.elapsed().as_secs_f64())),
    }
    match failed {
        Some(failure) => Err(failure),
        None => Ok(summary.exit()),
    }
}

/// The committed seeds of a scenario: a line each, `SEED` or `SEED VARIANT`; `#` begins a comment.
fn corpus(name: &str, scenario: &str, variants: bool) -> Result<Vec<Run>, Failure> {
    let path = Path::new(CORPUS).join(format!("{name}.txt"));
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(Vec::new()) };
    let mut runs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let (seed, variant) = line.split_once(' ').map_or((line, None), |(seed, name)| (seed, Some(name.trim())));
        let wrong = || Failure::usage(format!("{}:{}: expected a seed, found `{seed}`", path.display(), index + 1));
        let seed = seed.parse().map_err(|_| wrong())?;
        if variant.is_none() || variants {
            runs.push(Run { scenario: scenario.to_owned(), seed, variant: variant.map(str::to_owned) });
        }
    }
    Ok(runs)
}

/// Does the runs; stops early at a failure unless told to keep going, or when time is over.
fn run_all(runs: Vec<Run>, options: &SweepOptions, begun: Instant) -> (Summary, Option<Failure>) {
    let total = runs.len();
    let queue: Mutex<VecDeque<(usize, Run)>> = Mutex::new(runs.into_iter().enumerate().collect());
    let jobs = options.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into)).max(1);
    let time_limit = options.time_limit_seconds.map(Duration::from_secs);
    let next = || {
        let over = time_limit.is_some_and(|limit| begun.elapsed() >= limit);
        if over { None } else { queue.lock().expect("no panic while the queue is held").pop_front() }
    };
    let stop = || queue.lock().expect("no panic while the queue is held").clear();
    let (results, inbox) = mpsc::channel::<Done>();
    let (mut summary, mut failure) = (Summary::default(), None);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (results, next) = (results.clone(), &next);
            scope.spawn(move || {
                while let Some((index, run)) = next() {
                    let (told, repeated) = run_one(index, &run);
                    if results.send((run, told, repeated)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let bar = progress(total);
        for (_, told, repeated) in inbox {
            match told {
                Ok(told) => {
                    let unexpected = told.outcome.exit != exit::OK;
                    if unexpected {
                        bar.suspend(|| eprint!("{}", told.text));
                    }
                    summary.add(told.outcome);
                    if repeated {
                        summary.add_repeated();
                    }
                    if unexpected && !options.keep_going {
                        stop();
                    }
                }
                Err(failed) => {
                    stop();
                    failure = Some(failed);
                }
            }
            bar.set_message(format!("{} not as expected", summary.failures()));
            bar.inc(1);
        }
        bar.finish_and_clear();
    });
    (summary, failure)
}

/// One run, twice if it is its turn.
fn run_one(index: usize, run: &Run) -> (Result<Told, Failure>, bool) {
    let order = Order {
        scenario: PathBuf::from(&run.scenario),
        seed: run.seed,
        variant: run.variant.clone(),
        out: None,
        journal: false,
    };
    let first = one_run::in_a_child(&order);
    if !index.is_multiple_of(REPEATED) {
        return (first, false);
    }
    let checked = first.and_then(|first| {
        let second = one_run::in_a_child(&order)?;
        if first.outcome.trace_hash == second.outcome.trace_hash {
            return Ok(first);
        }
        let (one, two, replay) = (&first.outcome.trace_hash, &second.outcome.trace_hash, &first.outcome.replay);
        let message = format!("two runs of one seed differ: {one} and {two}\n  again: {replay}");
        Err(Failure { code: exit::HARNESS, message })
    });
    (checked, true)
}

/// A bar on a terminal, nothing elsewhere.
fn progress(total: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:30} {pos}/{len} runs, {per_sec}, {msg}, {eta} left";
    ProgressBar::new(total as u64).with_style(ProgressStyle::with_template(style).expect("the template is right"))
}
