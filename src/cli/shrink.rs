//! `shrink`: the smallest scenario that still breaks the same claim, in a file of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    args::ShrinkOptions,
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
    output::print_line,
    progress::Progress,
};
use crate::{
    check::Claim,
    explore::shrink::{Judge, Shrunk, shrink as search, tell},
    report::{self, JOURNAL_FILE, MANIFEST_FILE, shell_word},
    scenario::Scenario,
    trace::journal::Entry,
};

/// Shrinks a run that breaks a claim.
pub fn shrink(options: &ShrinkOptions) -> Outcome {
    let file = ScenarioFile::read(&options.scenario)?;
    let seed = options.seed.unwrap_or(file.scenario.seed);
    let variant = options.variant.as_deref();
    let begin = Scenario { seed, ..file.resolve_at(variant, seed)?.alone() };
    let order =
        Order { scenario: options.scenario.clone(), seed, variant: options.variant.clone(), ..Order::default() };
    let Some(way) = Way::of(one_run::in_a_child(&order))? else {
        let message = "this run breaks no claim, so there is nothing to shrink";
        return Err(Failure::usage(format!("{}: seed {seed}: {message}", file.given)));
    };
    eprintln!("{}: seed {seed}: {}", file.given, way.how);
    let name = one_run::folder(Path::new(""), &file.name, seed, variant).display().to_string().replace('/', "-");
    let out = options.out.clone().unwrap_or_else(|| Path::new("reports/shrunk").join(format!("{name}.toml")));
    let shrunk = Shrunk { from: &file.path, seed, variant, claim: way.claim, how: &way.how };
    let progress = Progress::new(options.runs as usize, Instant::now(), None);
    let mut runs = Runs { work: WorkFolder::make()?, way: &way, shrunk: &shrunk, out: &out, progress };
    runs.found(&begin, 0)?;
    let (best, count) = search(begin, options.runs, &mut runs)?;
    runs.progress.end();
    let told = tell(&best, &shrunk);
    let (steps, brokers, clients) = (told.steps.len(), told.cluster.brokers, told.clients.len());
    print_line(&format!("{}: {steps} steps, {brokers} brokers, {clients} clients, in {count} runs", out.display()))?;
    let variant = told.variants.first().map(|variant| format!(" --variant {}", shell_word(&variant.name.value)));
    print_line(&format!("  cargo sim run {}{}", shell_word(&out.display().to_string()), variant.unwrap_or_default()))?;
    Ok(exit::OK)
}

/// How a run fails: what has to stay the same.
#[derive(Clone, Debug)]
struct Way {
    /// The claim; `None`: a process panicked.
    claim: Option<Claim>,
    /// Why records are lost; or the assertion, without its numbers.
    cause: Option<String>,
    /// The same in a sentence.
    how: String,
}

impl Way {
    /// How this run fails; `None` if it does not.
    fn of(told: Result<Told, Failure>) -> Result<Option<Self>, Failure> {
        match told {
            Ok(told) if told.outcome.exit == exit::VIOLATED => Ok(Self::broken(&told)),
            Ok(_) => Ok(None),
            Err(failure) if failure.code == exit::HARNESS => {
                let plain: String = failure.message.chars().filter(|char| !char.is_ascii_digit()).collect();
                let first = plain.lines().next().unwrap_or_default();
                let assertion = first.split_once(": ").map_or(first, |(_, rest)| rest);
                Ok(Some(Self { claim: None, cause: Some(assertion.to_owned()), how: format!("Panic: {assertion}.") }))
            }
            Err(failure) => Err(failure),
        }
    }

    fn broken(told: &Told) -> Option<Self> {
        let status = |claim: &Claim| told.outcome.claims.get(claim.name()).map(String::as_str);
        let claim = Claim::ALL.iter().copied().find(|claim| status(claim) == Some("violated"));
        // A loss that another cause would have permitted is told by the verdict alone.
        let claim = claim.unwrap_or(Claim::AckedRecordsSurvive);
        let cause = told.json["lost"][0]["cause"].as_str().filter(|_| claim == Claim::AckedRecordsSurvive);
        let complaints = told.json["complaints"].as_array().into_iter().flatten().filter_map(|text| text.as_str());
        let own = complaints.clone().find(|text| text.starts_with(claim.name()));
        let how = own.or(complaints.clone().next()).unwrap_or(&told.outcome.verdict);
        let how = format!("{}.", how.trim_end_matches('.'));
        Some(Self { claim: Some(claim), cause: cause.map(str::to_owned), how })
    }

    /// Whether `other` is the same way to fail. Whoever breaks several claims breaks this one too.
    fn is_in(&self, told: Result<Told, Failure>) -> Result<bool, Failure> {
        let Some(claim) = self.claim else {
            return Ok(Self::of(told)?.is_some_and(|way| way.claim.is_none() && way.cause == self.cause));
        };
        match told {
            Ok(told) if claim == Claim::AckedRecordsSurvive => {
                let lost = told.json["lost"].as_array().into_iter().flatten();
                let mut causes = lost.filter_map(|lost| lost["cause"].as_str());
                let same = self.cause.as_deref().is_none_or(|cause| causes.any(|other| other == cause));
                Ok(told.outcome.exit == exit::VIOLATED && same)
            }
            Ok(told) => Ok(told.outcome.claims.get(claim.name()).is_some_and(|status| status == "violated")),
            Err(failure) if failure.code == exit::HARNESS => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

/// Runs candidates, and keeps the best on disk.
struct Runs<'a> {
    work: WorkFolder,
    way: &'a Way,
    shrunk: &'a Shrunk<'a>,
    out: &'a Path,
    progress: Progress,
}

impl Judge for Runs<'_> {
    type Error = Failure;

    fn breaks(&mut self, scenario: &Scenario) -> Result<bool, Failure> {
        let told = self.work.run(scenario, false);
        self.progress.done(0);
        self.way.is_in(told)
    }

    fn events(&mut self, scenario: &Scenario) -> Result<Vec<Entry>, Failure> {
        match self.work.run(scenario, true) {
            Ok(_) => self.work.events(scenario.seed),
            // What panics leaves no journal.
            Err(failure) if failure.code == exit::HARNESS => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    fn found(&mut self, scenario: &Scenario, runs: u64) -> Result<(), Failure> {
        let text = tell(scenario, self.shrunk).to_string();
        write(self.out, &text)?;
        let (steps, brokers, clients) = (scenario.steps.len(), scenario.cluster.brokers, scenario.clients.len());
        self.progress.aside(|| eprintln!("run {runs}: {steps} steps, {brokers} brokers, {clients} clients"));
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::cannot_write(format!("{}: {error}", path.display()));
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

/// A folder for candidates, gone when the search is.
pub(super) struct WorkFolder(PathBuf);

impl WorkFolder {
    pub(super) fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("highwater-shrink-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| Failure::cannot_write(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn run(&self, scenario: &Scenario, journal: bool) -> Result<Told, Failure> {
        let path = self.0.join("candidate.toml");
        write(&path, &scenario.to_string())?;
        let out = journal.then(|| self.0.clone());
        one_run::in_a_child(&Order { scenario: path, seed: scenario.seed, out, journal, ..Order::default() })
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
