//! `shrink`: the smallest scenario that still breaks the same claim, in a file of its own. `bugs` and `claims` shrink
//! what they find in the same way.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use super::{
    args::ShrinkOptions,
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
    output::print_line,
    progress::Progress,
    way::Way,
};
use crate::{
    explore::shrink::{Broken, Judge, Keeps, Shrunk, shrink as search, tell},
    report::{self, JOURNAL_FILE, MANIFEST_FILE, shell_word},
    scenario::Scenario,
    trace::journal::Entry,
};

/// Shrinks a run that breaks a claim.
pub fn shrink(options: &ShrinkOptions) -> Outcome {
    let file = ScenarioFile::read(&options.scenario)?;
    let seed = options.seed.unwrap_or(file.scenario.seed);
    let variant = options.variant.as_deref();
    let name = one_run::folder(Path::new(""), &file.name, seed, variant).display().to_string().replace('/', "-");
    let out = options.out.clone().unwrap_or_else(|| Path::new("reports/shrunk").join(format!("{name}.toml")));
    let mut progress = Progress::new(options.runs as usize, Instant::now(), None);
    let small = of_file(&file, seed, variant, options.runs, &out, Some(&mut progress))?;
    progress.end();
    let Some(Small { told, runs }) = small else {
        let message = "this run breaks no claim and loses nothing, so there is nothing to shrink";
        return Err(Failure::usage(format!("{}: seed {seed}: {message}", file.given)));
    };
    let size = size(&told);
    print_line(&format!("{}: {size}, in {runs} runs", out.display()))?;
    let variant = told.variants.first().map(|variant| format!(" --variant {}", shell_word(&variant.name.value)));
    print_line(&format!("  cargo sim run {}{}", shell_word(&out.display().to_string()), variant.unwrap_or_default()))?;
    Ok(exit::OK)
}

/// The smallest scenario that was found, as it is told to people, and how many runs that took.
#[derive(Clone, Debug)]
pub struct Small {
    /// What stands in the file.
    pub told: Scenario,
    /// How many runs.
    pub runs: u64,
}

/// Shrinks a run of a scenario file into `out`. `None`: it breaks no claim.
///
/// # Errors
/// A run could not be made, or the file not be written.
pub fn of_file(
    file: &ScenarioFile,
    seed: u64,
    variant: Option<&str>,
    runs_max: u64,
    out: &Path,
    progress: Option<&mut Progress>,
) -> Result<Option<Small>, Failure> {
    let begin = Scenario { seed, ..file.resolve_at(variant, seed)?.alone() };
    let order =
        Order { scenario: file.given.clone().into(), seed, variant: variant.map(str::to_owned), ..Order::default() };
    let told = one_run::in_a_child(&order);
    let expected = told.as_ref().ok().and_then(Way::of_expected);
    let Some(way) = Way::of(told)?.or(expected) else { return Ok(None) };
    if progress.is_some() {
        eprintln!("{}: seed {seed}: {}", file.given, way.how);
    }
    // The run that showed how it fails counts too.
    let origin = Origin { from: &file.path, variant, keeps: Keeps::Claim };
    let small = smallest(begin, &origin, &way, runs_max.saturating_sub(1), out, progress)?;
    Ok(Some(Small { runs: small.runs + 1, ..small }))
}

/// Where a scenario that is shrunk comes from, and what of it stays.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its path, or another name.
    pub from: &'a str,
    /// The variant.
    pub variant: Option<&'a str>,
    /// What stays as it is.
    pub keeps: Keeps,
}

/// Shrinks `begin`, which fails in this way, into `out`.
///
/// # Errors
/// A run could not be made, or the file not be written.
pub fn smallest(
    begin: Scenario,
    origin: &Origin<'_>,
    way: &Way,
    runs_max: u64,
    out: &Path,
    progress: Option<&mut Progress>,
) -> Result<Small, Failure> {
    let Origin { from, variant, keeps } = *origin;
    let shrunk = Shrunk { from, seed: begin.seed, variant, broken: way.broken, how: &way.how, beside: &[] };
    let mut runs = Runs { work: WorkFolder::make()?, way, shrunk: &shrunk, out, progress };
    runs.found(&begin, 0)?;
    let (best, count) = search(begin, keeps, runs_max.saturating_sub(1), &mut runs)?;
    // It breaks in the same way, but with other words: of other partitions and records.
    let last = runs.run(&best, false);
    let beside = match way.broken {
        Broken::Expected(_) => last.as_ref().map(Way::broken),
        _ => last.as_ref().map(Way::violated),
    };
    let beside = beside.unwrap_or_default();
    let how = way.told_by(last)?;
    let told = tell(&best, &Shrunk { how: &how, beside: &beside, ..shrunk.clone() });
    write(out, &told.to_string())?;
    Ok(Small { told, runs: count + 1 })
}

/// Runs candidates, and keeps the best on disk.
struct Runs<'a> {
    work: WorkFolder,
    way: &'a Way,
    shrunk: &'a Shrunk<'a>,
    out: &'a Path,
    progress: Option<&'a mut Progress>,
}

impl Runs<'_> {
    fn run(&mut self, scenario: &Scenario, journal: bool) -> Result<Told, Failure> {
        let told = self.work.run(scenario, journal);
        self.progress.iter_mut().for_each(|progress| progress.done(0));
        told
    }
}

impl Judge for Runs<'_> {
    type Error = Failure;

    fn breaks(&mut self, scenario: &Scenario) -> Result<bool, Failure> {
        let told = self.run(scenario, false);
        self.way.is_in(told)
    }

    fn events(&mut self, scenario: &Scenario) -> Result<Vec<Entry>, Failure> {
        match self.run(scenario, true) {
            Ok(_) => self.work.events(scenario.seed),
            // What panics leaves no journal.
            Err(failure) if failure.code == exit::HARNESS => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    fn found(&mut self, scenario: &Scenario, runs: u64) -> Result<(), Failure> {
        let text = tell(scenario, self.shrunk).to_string();
        write(self.out, &text)?;
        if let Some(progress) = &self.progress {
            progress.aside(|| eprintln!("run {runs}: {}", size(scenario)));
        }
        Ok(())
    }
}

/// How much of a story it is.
fn size(scenario: &Scenario) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let brokers = scenario.cluster.brokers as usize;
    [count(scenario.steps.len(), "step"), count(brokers, "broker"), count(scenario.clients.len(), "client")].join(", ")
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::cannot_write(format!("{}: {error}", path.display()));
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

/// Number of the next work folder of this process: several searches may go on at a time.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A folder for candidates, gone when the search is.
pub(super) struct WorkFolder(PathBuf);

impl WorkFolder {
    pub(super) fn make() -> Result<Self, Failure> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("highwater-shrink-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| Failure::cannot_write(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn run(&self, scenario: &Scenario, journal: bool) -> Result<Told, Failure> {
        let path = self.0.join("candidate.toml");
        write(&path, &scenario.to_string())?;
        let out = journal.then(|| self.0.clone());
        let (seed, record) = (scenario.seed, journal);
        one_run::in_a_child(&Order { scenario: path, seed, out, journal, record, ..Order::default() })
    }

    fn events(&self, seed: u64) -> Result<Vec<Entry>, Failure> {
        let folder = one_run::folder(&self.0, "candidate", seed, None);
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
        };
        let run = report::load(&read(MANIFEST_FILE)?, &read(JOURNAL_FILE)?).map_err(Failure::failed)?;
        Ok(run.entries)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
