//! `sweep`: scenarios over many seeds, several processes at a time.
//!
//! Every twentieth run is done twice, and its trace hashes have to be equal. Results do not depend on the number of
//! processes, only their order on the progress bar does.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    args::{Format, SweepOptions},
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
    output::{print, print_line},
    pool,
    progress::Progress,
    results::{self, Results, Share},
};
use crate::explore::{Plan, Run, SeedRange, Summary};

/// Of so many runs one is done twice.
const REPEATED: usize = 20;
/// Seeds of a sweep that has a time limit and no other.
const SEEDS_FOR_TIME: u64 = 100_000;

/// What came of a run: its number in the queue, what it found, whether it was done twice.
type Done = (usize, Result<Told, Failure>, bool);

/// Runs scenarios over seeds, or merges the results of several sweeps.
pub fn sweep(options: &SweepOptions) -> Outcome {
    if !options.merge.is_empty() {
        let (summary, missing) = results::merge(&options.merge)?;
        let exit = show(&summary, None, options.format)?;
        missing.iter().for_each(|what| eprintln!("{what}: these files are not the whole sweep"));
        return Ok(if missing.is_empty() || exit != exit::OK { exit } else { exit::UNKNOWN });
    }
    let (plan, paths) = plan(options)?;
    let runs = plan.runs();
    let what = told(&plan, &runs, options);
    if runs.is_empty() {
        return Err(Failure::usage("there is nothing to run: no seed of this share; try `--seeds 1..100`"));
    }
    let mut summary = Summary::default();
    let all = if options.time_limit_seconds.is_some() { 0 } else { runs.len() as u64 };
    let share = Share { index: options.shard.index, count: options.shard.count, runs: all };
    let results = options.results.as_ref().map(|path| Results::open(path, share, &mut summary)).transpose()?;
    let known = |run: &Run| {
        let recorded = Run { scenario: paths[&run.scenario].clone(), ..run.clone() };
        results.as_ref().is_some_and(|results| results.has(&recorded))
    };
    let (done, runs): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(_, run)| known(run));
    let jobs = pool::jobs(options.jobs, runs.len());
    let before = if done.is_empty() { String::new() } else { format!(", {} done before", done.len()) };
    let amount = match options.time_limit_seconds {
        Some(limit) => format!("runs for {limit} s, at most {} of them", runs.len()),
        None => format!("{} runs", runs.len()),
    };
    eprintln!("{amount}, {what}, {jobs} at a time{before}");
    let (begun, already) = (Instant::now(), summary.runs());
    let failed = run_all(runs, jobs, options, begun, &mut summary, results)?;
    let wall = (begun.elapsed().as_secs_f64(), summary.runs() - already);
    let exit = show(&summary, Some(wall), options.format)?;
    failed.map_or(Ok(exit), Err)
}

fn show(summary: &Summary, wall: Option<(f64, u64)>, format: Format) -> Outcome {
    match format {
        Format::Text => print(&summary.render(wall))?,
        Format::Json => print_line(&summary.json(wall.map(|(seconds, _)| seconds)).to_string())?,
    }
    Ok(summary.exit())
}

/// Which seeds are run: those that failed once and are remembered, and a range, or of each scenario as many as it asks for.
fn told(plan: &Plan, runs: &[(usize, Run)], options: &SweepOptions) -> String {
    let remembered = runs.iter().filter(|(_, run)| plan.corpus.contains(run)).count();
    let seeds = match plan.seeds {
        // The time ends it, not the last seed.
        Some(SeedRange { first, .. }) if options.seeds.is_none() => format!("seeds from {first} on"),
        Some(SeedRange { first, last }) => format!("seeds {first}..{last}"),
        None => {
            let most = plan.scenarios.iter().map(|(_, _, sweep)| *sweep).max().unwrap_or(0);
            let fewest = plan.scenarios.iter().map(|(_, _, sweep)| *sweep).min().unwrap_or(0);
            match most == fewest {
                true => format!("seeds 1..{most}"),
                false => format!("seeds 1..{fewest} to 1..{most}, as each scenario asks"),
            }
        }
    };
    match remembered {
        0 => seeds,
        more => format!("{seeds} and {more} remembered"),
    }
}

/// What is to be run, and the path that each scenario has in results.
fn plan(options: &SweepOptions) -> Result<(Plan, BTreeMap<String, String>), Failure> {
    let mut paths = BTreeMap::new();
    let seeds = match (options.seeds, options.time_limit_seconds) {
        (None, Some(_)) => Some(SeedRange { first: 1, last: SEEDS_FOR_TIME }),
        (seeds, _) => seeds,
    };
    let mut plan = Plan { scenarios: Vec::new(), seeds, shard: options.shard, corpus: Vec::new() };
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
        plan.corpus.extend(results::corpus(path, &file.name, &given, options.variants)?);
        paths.insert(given.clone(), file.path.clone());
        plan.scenarios.push((given, variants, file.scenario.sweep));
    }
    Ok((plan, paths))
}

/// Does the runs; stops early at a failure unless told to keep going, or when time is over.
fn run_all(
    runs: Vec<(usize, Run)>,
    jobs: usize,
    options: &SweepOptions,
    begun: Instant,
    summary: &mut Summary,
    mut results: Option<Results>,
) -> Result<Option<Failure>, Failure> {
    let time_limit = options.time_limit_seconds.map(Duration::from_secs);
    let mut progress = Progress::new(runs.len(), begun, time_limit);
    let (mut failure, mut lines) = (None, InOrder::default());
    let work = |(index, (number, run)): (usize, (usize, Run))| -> Done {
        let (told, twice) = run_one(number, &run);
        (index, told, twice)
    };
    let take = |(index, told, twice): Done, progress: &mut Progress| {
        let told = match told {
            Ok(told) => told,
            Err(failed) => {
                // A run that panicked says nothing of the others.
                let goes_on = options.keep_going && failed.code == exit::HARNESS;
                if goes_on {
                    progress.aside(|| eprintln!("{}", failed.message));
                }
                failure.get_or_insert(failed);
                return Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
            }
        };
        let unexpected = told.outcome.exit != exit::OK;
        if unexpected {
            progress.aside(|| eprint!("{}", told.text));
        }
        if options.format == Format::Json {
            let ready = lines.take(index, told.json.to_string());
            progress.aside(|| ready.iter().try_for_each(|line| print_line(line)))?;
        }
        results.as_mut().map_or(Ok(()), |results| results.add(&told.outcome, twice))?;
        if unexpected && options.remember {
            results::remember(&told.outcome)?;
        }
        summary.add(told.outcome, twice);
        progress.done(summary.failures());
        let stops = unexpected && !options.keep_going;
        Ok(if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    pool::each(runs.into_iter().enumerate().collect(), jobs, &mut progress, work, take)?;
    lines.rest().iter().try_for_each(|line| print_line(line))?;
    Ok(failure)
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
fn run_one(number: usize, run: &Run) -> (Result<Told, Failure>, bool) {
    let order = Order {
        scenario: PathBuf::from(&run.scenario),
        seed: run.seed,
        variant: run.variant.clone(),
        ..Order::default()
    };
    let first = one_run::in_a_child(&order);
    if !number.is_multiple_of(REPEATED) {
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
