//! `bugs`: plants each bug in turn and sweeps a swarm until a checker sees it; with `--shrink` it makes each such run
//! small.

use std::{ops::ControlFlow, path::Path, time::Instant};

use super::{
    args::{BugsOptions, Format},
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
    output::{print, print_line},
    pool,
    progress::Progress,
    shrink,
};
use crate::{
    base::{suggest::nearest, switches::TABLE},
    explore::{
        scoreboard::{Found, Scoreboard, Search, Shrunk, starts},
        shrink::RUNS_MAX,
    },
};

/// Counts the seeds that find each planted bug.
pub fn bugs(options: &BugsOptions) -> Outcome {
    let files: Vec<ScenarioFile> =
        options.scenarios.iter().map(|path| ScenarioFile::read(path)).collect::<Result<_, _>>()?;
    let planted = planted(&files, &options.bugs)?;
    for (file, bug) in &planted {
        file.resolve(Some(bug))?;
    }
    let searches = planted.iter().flat_map(|(file, bug)| starts(options.starts).map(move |start| (*file, *bug, start)));
    let searches: Vec<(&ScenarioFile, &str, u64)> = searches.collect();
    eprintln!("{} bugs, {} starts each, at most {} seeds a start", planted.len(), options.starts, options.seeds);
    let mut progress = Progress::new(searches.len(), Instant::now(), None);
    let (mut board, mut missed) = (Scoreboard::default(), 0);
    let jobs = pool::jobs(options.jobs, searches.len());
    let work = |(file, bug, start): (&ScenarioFile, &str, u64)| search(file, bug.to_owned(), start, options);
    pool::each(searches, jobs, &mut progress, work, |search, progress| {
        let search = search?;
        missed += u64::from(search.found.is_none());
        board.add(search);
        progress.done(missed);
        Ok(ControlFlow::Continue(()))
    })?;
    match options.format {
        Format::Text => print(&board.render())?,
        Format::Json => board.json().iter().try_for_each(|bug| print_line(&bug.to_string()))?,
    }
    Ok(if board.is_good() { exit::OK } else { exit::VIOLATED })
}

/// The bugs that were asked for, or all that the scenarios plant by variants of their names.
fn planted<'f>(files: &'f [ScenarioFile], names: &[String]) -> Result<Vec<(&'f ScenarioFile, &'static str)>, Failure> {
    let bugs = || TABLE.iter().filter(|switch| switch.is_planted_bug()).map(|switch| switch.name);
    let of_file = |file: &'f ScenarioFile| {
        let has = |bug: &&str| file.scenario.variants.iter().any(|variant| variant.name.value == **bug);
        bugs().filter(has).map(move |bug| (file, bug)).collect::<Vec<_>>()
    };
    let all: Vec<(&ScenarioFile, &str)> = files.iter().flat_map(of_file).collect();
    let find = |name: &String| {
        all.iter().copied().find(|(_, known)| known == name).ok_or_else(|| {
            let hint = nearest(name, all.iter().map(|(_, bug)| *bug)).map(|near| format!("; did you mean `{near}`?"));
            Failure::usage(format!("--bug: there is no planted bug `{name}`{}", hint.unwrap_or_default()))
        })
    };
    if names.is_empty() { Ok(all) } else { names.iter().map(find).collect() }
}

/// Runs seeds from `start` on until one shows the bug.
fn search(file: &ScenarioFile, bug: String, start: u64, options: &BugsOptions) -> Result<Search, Failure> {
    for seeds in 1..=options.seeds {
        let seed = start + seeds - 1;
        let order = Order { scenario: file.given.clone().into(), seed, variant: Some(bug.clone()), ..Order::default() };
        let by = match one_run::in_a_child(&order) {
            Ok(told) if told.outcome.exit == exit::VIOLATED => broken(&told),
            Ok(_) => continue,
            Err(failure) if failure.code == exit::HARNESS => vec!["an assertion".to_owned()],
            Err(failure) => return Err(failure),
        };
        let shrunk = if options.shrink { Some(small(file, &bug, seed, &options.out)?) } else { None };
        return Ok(Search { bug, start, found: Some(Found { seeds, seed, by, shrunk }) });
    }
    Ok(Search { bug, start, found: None })
}

/// Shrinks the run of `seed` that shows the bug.
fn small(file: &ScenarioFile, bug: &str, seed: u64, out: &Path) -> Result<Shrunk, Failure> {
    let out = out.join(format!("{bug}-seed-{seed}.toml"));
    let small = shrink::of_file(file, seed, Some(bug), RUNS_MAX, &out, None)?;
    let small = small.expect("the same run broke a claim just now");
    Ok(Shrunk { steps: small.told.steps.len() as u64, runs: small.runs, file: out.display().to_string() })
}

/// The claims that broke unexpectedly: `violated as expected` is another word.
fn broken(told: &Told) -> Vec<String> {
    let claims = told.outcome.claims.iter();
    let broken: Vec<String> =
        claims.filter(|(_, status)| *status == "violated").map(|(claim, _)| claim.clone()).collect();
    // Of a loss that is permitted by another cause only the verdict speaks.
    if broken.is_empty() { vec!["acked-records-survive".to_owned()] } else { broken }
}
