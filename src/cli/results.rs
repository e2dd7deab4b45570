//! The results of a sweep in a file, a line of JSON a run: what a sweep that was stopped goes on from, and what the
//! shares of several machines are merged from. And the failing seeds, which are committed and run first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{exit::Failure, files};
use crate::explore::{Outcome, Run, Summary};

/// Version of a line.
const SCHEMA: &str = "highwater/sweep-run/2";
/// Folder with the seeds that failed once, one file a scenario.
const CORPUS: &str = "sim-tests/seeds";

/// A line: one run.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    schema: String,
    /// Whether it was done twice, with the same trace hash.
    twice: bool,
    outcome: Outcome,
    share: Share,
}

/// The share of a sweep that a run belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which share, from 1.
    pub index: u64,
    /// Of how many.
    pub count: u64,
    /// How many runs it has; 0 if the time ends it.
    pub runs: u64,
}

/// Results that are appended to a file while a sweep goes on.
pub struct Results {
    path: PathBuf,
    file: File,
    share: Share,
    done: BTreeSet<Run>,
}

impl Results {
    /// Opens the file of a share, and counts in `summary` what stands in it. A last line that is not whole, as of a sweep that was
    /// killed, is cut off.
    ///
    /// # Errors
    /// It cannot be read or written, or is something else.
    pub fn open(path: &Path, share: Share, summary: &mut Summary) -> Result<Self, Failure> {
        let unwritable = |error: std::io::Error| Failure::cannot_write(format!("{}: {error}", path.display()));
        let mut text = if path.exists() { read(path)? } else { String::new() };
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        let mut done = BTreeSet::new();
        each_line(path, &text, |line| {
            if done.insert(line.outcome.run()) {
                summary.add(line.outcome, line.twice);
            }
        })?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unwritable)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(unwritable)?;
        file.set_len(text.len() as u64).map_err(unwritable)?;
        Ok(Self { path: path.to_owned(), file, share, done })
    }

    /// Whether this run has been done.
    pub fn has(&self, run: &Run) -> bool {
        self.done.contains(run)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, outcome: &Outcome, twice: bool) -> Result<(), Failure> {
        let line = Line { schema: SCHEMA.to_owned(), twice, outcome: outcome.clone(), share: self.share };
        let text = serde_json::to_string(&line).expect("it is plain data") + "\n";
        let unwritable = |error| Failure::cannot_write(format!("{}: {error}", self.path.display()));
        self.file.write_all(text.as_bytes()).map_err(unwritable)
    }
}

/// The summary of several result files, each run counted once, and what is missing of their shares.
///
/// # Errors
/// One cannot be read.
pub fn merge(paths: &[PathBuf]) -> Result<(Summary, Vec<String>), Failure> {
    let (mut summary, mut done) = (Summary::default(), BTreeSet::new());
    // By the number of shares: of each share how many runs it has, and how many are there.
    let mut shares: BTreeMap<u64, BTreeMap<u64, (u64, u64)>> = BTreeMap::new();
    for path in paths {
        each_line(path, &read(path)?, |line| {
            if done.insert(line.outcome.run()) {
                let share = shares.entry(line.share.count).or_default().entry(line.share.index).or_default();
                *share = (line.share.runs, share.1 + 1);
                summary.add(line.outcome, line.twice);
            }
        })?;
    }
    let mut missing = Vec::new();
    for (count, found) in shares {
        for index in 1..=count {
            match found.get(&index) {
                None => missing.push(format!("share {index}/{count} is missing")),
                Some((runs, done)) if done < runs => {
                    missing.push(format!("of share {index}/{count} {done} of {runs} runs are done"));
                }
                Some(_) => {}
            }
        }
    }
    Ok((summary, missing))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Reads every line.
fn each_line(path: &Path, text: &str, mut each: impl FnMut(Line)) -> Result<(), Failure> {
    for (index, text) in text.lines().enumerate() {
        let line = serde_json::from_str(text).map_err(|error| {
            let message = format!("expected a run as `sweep --results` writes it: {error}");
            Failure::usage(format!("{}:{}: {message}", path.display(), index + 1))
        })?;
        each(line);
    }
    Ok(())
}

/// The committed seeds of a scenario: a line each, `SEED` or `SEED VARIANT`; `#` begins a comment.
///
/// # Errors
/// A line is something else.
pub fn corpus(file: &Path, name: &str, scenario: &str, variants: bool) -> Result<Vec<Run>, Failure> {
    let Some(path) = corpus_path(file, name) else { return Ok(Vec::new()) };
    let Ok(text) = fs::read_to_string(&path) else { return Ok(Vec::new()) };
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

fn corpus_path(file: &Path, name: &str) -> Option<PathBuf> {
    let whole = fs::canonicalize(file).ok()?;
    Some(files::project_of(&whole)?.join(CORPUS).join(format!("{name}.txt")))
}

/// Writes a failing run behind the committed seeds of its scenario, unless it is there.
///
/// # Errors
/// The file cannot be written.
pub fn remember(outcome: &Outcome) -> Result<(), Failure> {
    let file = Path::new(&outcome.scenario);
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let Some(path) = corpus_path(file, &name) else { return Ok(()) };
    if corpus(file, &name, &outcome.scenario, true)?.contains(&outcome.run()) {
        return Ok(());
    }
    let variant = outcome.variant.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let line = format!("# {}\n{}{variant}\n", outcome.verdict, outcome.seed);
    let unwritable = |error: std::io::Error| Failure::cannot_write(format!("{}: {error}", path.display()));
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(unwritable)?;
    file.write_all(line.as_bytes()).map_err(unwritable)
}
