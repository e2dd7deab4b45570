//! `bugs`: plants each bug in turn and sweeps a swarm until a checker sees it.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, mpsc},
    thread,
    time::Instant,
};

use super::{
    args::{BugsOptions, Format},
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
    output::{print, print_line},
    progress::Progress,
};
use crate::{
    base::{suggest::nearest, switches::TABLE},
    explore::scoreboard::{Found, Scoreboard, Search, starts},
};

/// Counts the seeds that find each planted bug.
pub fn bugs(options: &BugsOptions) -> Outcome {
    let file = ScenarioFile::read(&options.scenario)?;
    let planted = planted(&options.bugs)?;
    for bug in &planted {
        file.resolve(Some(bug))?;
    }
    let searches = planted.iter().flat_map(|bug| starts(options.starts).map(|start| ((*bug).to_owned(), start)));
    let searches: VecDeque<(String, u64)> = searches.collect();
    let count = searches.len();
    let jobs = options.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into)).clamp(1, count);
    eprintln!("{} bugs, {} starts each, at most {} seeds a start", planted.len(), options.starts, options.seeds);
    let queue = Mutex::new(searches);
    let (results, inbox) = mpsc::channel();
    let mut progress = Progress::new(count, Instant::now(), None);
    let (mut board, mut failure, mut missed) = (Scoreboard::default(), None, 0);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (results, queue) = (results.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().expect("no panic while the queue is held").pop_front();
                while let Some((bug, start)) = next() {
                    if results.send(search(&options.scenario, bug, start, options.seeds)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        while let Some(searched) = progress.receive(&inbox) {
            match searched {
                Ok(search) => {
                    missed += u64::from(search.found.is_none());
                    board.add(search);
                }
                Err(problem) => {
                    queue.lock().expect("no panic while the queue is held").clear();
                    failure = Some(problem);
                }
            }
            progress.done(missed);
        }
        progress.end();
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    match options.format {
        Format::Text => print(&board.render())?,
        Format::Json => board.json().iter().try_for_each(|bug| print_line(&bug.to_string()))?,
    }
    Ok(if board.is_good() { exit::OK } else { exit::VIOLATED })
}

/// The bugs that were asked for, or all.
fn planted(names: &[String]) -> Result<Vec<&'static str>, Failure> {
    let all: Vec<&'static str> =
        TABLE.iter().filter(|switch| switch.is_planted_bug() && switch.in_swarm).map(|switch| switch.name).collect();
    let find = |name: &String| {
        all.iter().copied().find(|known| known == name).ok_or_else(|| {
            let hint = nearest(name, all.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            Failure::usage(format!("--bug: there is no planted bug `{name}`{}", hint.unwrap_or_default()))
        })
    };
    if names.is_empty() { Ok(all) } else { names.iter().map(find).collect() }
}

/// Runs seeds from `start` on until one shows the bug.
fn search(scenario: &Path, bug: String, start: u64, seeds_max: u64) -> Result<Search, Failure> {
    for seeds in 1..=seeds_max {
        let seed = start + seeds - 1;
        let order = Order { scenario: scenario.to_path_buf(), seed, variant: Some(bug.clone()), ..Order::default() };
        let by = match one_run::in_a_child(&order) {
            Ok(told) if told.outcome.exit == exit::VIOLATED => broken(&told),
            Ok(_) => continue,
            Err(failure) if failure.code == exit::HARNESS => vec!["an assertion".to_owned()],
            Err(failure) => return Err(failure),
        };
        return Ok(Search { bug, start, found: Some(Found { seeds, seed, by }) });
    }
    Ok(Search { bug, start, found: None })
}

/// The claims that broke unexpectedly: `violated as expected` is another word.
fn broken(told: &Told) -> Vec<String> {
    let claims = told.outcome.claims.iter();
    let broken: Vec<String> =
        claims.filter(|(_, status)| *status == "violated").map(|(claim, _)| claim.clone()).collect();
    // Of a loss that is permitted by another cause only the verdict speaks.
    if broken.is_empty() { vec!["acked-records-survive".to_owned()] } else { broken }
}
