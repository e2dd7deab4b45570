//! `sweep`: scenarios over many seeds, several processes at a time.
//!
//! Every twentieth run is done twice, and its trace hashes have to be equal. Results do not depend on the number of
//! processes, only their order on the progress bar does.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    args::{Format, SweepOptions},
    exit::{self, Failure, Outcome},
    files::{self, ScenarioFile},
    one_run::{self, Order, Told},
    output::{print, print_line},
    progress::Progress,
};
use crate::explore::{Plan, Run, Summary};

/// Of so many runs one is done twice.
const REPEATED: usize = 20;
/// Folder with the seeds that failed once, one file a scenario.
const CORPUS: &str = "sim-tests/seeds";

/// What came of a run: its number in the plan, what it found, whether it was done twice.
type Done = (usize, Result<Told, Failure>, bool);

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
        plan.corpus.extend(corpus(path, &file.name, &given, options.variants)?);
        plan.scenarios.push((given, variants, file.scenario.sweep));
    }
    let runs = plan.runs();
    let (Some(first), Some(last)) = (runs.iter().map(|run| run.seed).min(), runs.iter().map(|run| run.seed).max())
    else {
        return Err(Failure::usage("there is nothing to run: no seed of this share; try `--seeds 1..100`"));
    };
    let jobs = options.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let jobs = jobs.clamp(1, runs.len());
    eprintln!("{} runs, seeds {first}..{last}, {jobs} at a time", runs.len());
    let begun = Instant::now();
    let (summary, failed) = run_all(runs, jobs, options, begun)?;
    match options.format {
        Format::Text => print(&summary.render(begun.elapsed().as_secs_f64()))?,
        Format::Json => print_line(&summary.json(begun.elapsed().as_secs_f64()).to_string())?,
    }
    match failed {
        Some(failure) => Err(failure),
        None => Ok(summary.exit()),
    }
}

/// The committed seeds of a scenario: a line each, `SEED` or `SEED VARIANT`; `#` begins a comment.
fn corpus(file: &Path, name: &str, scenario: &str, variants: bool) -> Result<Vec<Run>, Failure> {
    let whole = std::fs::canonicalize(file).unwrap_or_default();
    let Some(project) = files::project_of(&whole) else { return Ok(Vec::new()) };
    let path = project.join(CORPUS).join(format!("{name}.txt"));
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
fn run_all(
    runs: Vec<Run>,
    jobs: usize,
    options: &SweepOptions,
    begun: Instant,
) -> Result<(Summary, Option<Failure>), Failure> {
    let time_limit = options.time_limit_seconds.map(Duration::from_secs);
    let mut progress = Progress::new(runs.len(), begun, time_limit);
    let queue: Mutex<VecDeque<(usize, Run)>> = Mutex::new(runs.into_iter().enumerate().collect());
    let next = || {
        let over = time_limit.is_some_and(|limit| begun.elapsed() >= limit);
        if over { None } else { queue.lock().expect("no panic while the queue is held").pop_front() }
    };
    let stop = || queue.lock().expect("no panic while the queue is held").clear();
    let (results, inbox) = mpsc::channel::<Done>();
    let (mut summary, mut failure, mut lines) = (Summary::default(), None, InOrder::default());
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (results, next) = (results.clone(), &next);
            scope.spawn(move || {
                while let Some((index, run)) = next() {
                    let (told, repeated) = run_one(index, &run);
                    if results.send((index, told, repeated)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        while let Some((index, told, repeated)) = progress.receive(&inbox) {
            match told {
                Ok(told) => {
                    let unexpected = told.outcome.exit != exit::OK;
                    if unexpected {
                        progress.aside(|| eprint!("{}", told.text));
                    }
                    if options.format == Format::Json {
                        let ready = lines.take(index, told.json.to_string());
                        progress
                            .aside(|| ready.iter().try_for_each(|line| print_line(line)))
                            .inspect_err(|_| stop())?;
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
            progress.done(summary.failures());
        }
        progress.end();
        lines.rest().iter().try_for_each(|line| print_line(line))
    })?;
    Ok((summary, failure))
}

/// Lines of runs that end in any order, handed out in the order of the runs.
#[derive(Default)]
struct InOrder {
    next: usize,
    waiting: BTreeMap<usize, String>,
}

impl InOrder {
    /// Takes the line of a run; returns those whose turn has come.
    fn take(&mut self, index: usize, line: String) -> Vec<String> {
        self.waiting.insert(index, line);
        let mut ready = Vec::new();
        while let Some(line) = self.waiting.remove(&self.next) {
            self.next += 1;
            ready.push(line);
        }
        ready
    }

    /// What waits for runs that were never done.
    fn rest(self) -> Vec<String> {
        self.waiting.into_values().collect()
    }
}

/// One run, twice if it is its turn.
fn run_one(index: usize, run: &Run) -> (Result<Told, Failure>, bool) {
    let order = Order {
        scenario: PathBuf::from(&run.scenario),
        seed: run.seed,
        variant: run.variant.clone(),
        ..Order::default()
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
