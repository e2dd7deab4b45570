//! `run` and `replay`: single runs by seed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    args::{Format, ReplayOptions, RunOptions},
    exit::{self, Failure, Outcome},
    files::{self, ScenarioFile},
    one_run::{self, Order, Told},
    output::{print, print_line},
};
use crate::report::{self, MANIFEST_FILE, Manifest, PAGE_FILE, STORY_FILE};

/// Runs scenarios, each once, and tells what became of every acknowledged record.
pub fn run(options: &RunOptions) -> Outcome {
    if options.child {
        return one_run::child(options);
    }
    let variant = options.variant.as_deref();
    let mut files = Vec::new();
    for path in &options.scenarios {
        let file = ScenarioFile::read(path)?;
        file.resolve(variant)?;
        files.push((path, file));
    }
    let mut worst = exit::OK;
    for (path, file) in files {
        let seed = options.seed.unwrap_or(file.scenario.seed);
        announce(&file.given, seed, variant);
        let order = Order {
            scenario: path.clone(),
            seed,
            variant: options.variant.clone(),
            out: (!options.no_report).then(|| options.out.clone()),
            journal: !options.no_journal,
        };
        let told = one_run::in_a_child(&order)?;
        show(&told, options.format)?;
        if options.format == Format::Text && !options.no_report {
            let folder = one_run::folder(&options.out, &file.name, seed, variant);
            let file = if options.no_journal { STORY_FILE } else { PAGE_FILE };
            print_line(&format!("  report: {}", folder.join(file).display()))?;
        }
        worst = worse(worst, told.outcome.exit);
    }
    Ok(worst)
}

/// Says which run begins, before it does: a run that hangs can be repeated too.
fn announce(scenario: &str, seed: u64, variant: Option<&str>) {
    let variant = variant.map(|name| format!(", variant {name}")).unwrap_or_default();
    eprintln!("{scenario}: seed {seed}{variant}");
}

fn show(told: &Told, format: Format) -> Result<(), Failure> {
    match format {
        Format::Text => print(&told.text),
        Format::Json => print_line(&told.json.to_string()),
    }
}

/// The graver of two exit codes: a violation, a fault of the harness, then unknown.
pub fn worse(a: u8, b: u8) -> u8 {
    [exit::VIOLATED, exit::HARNESS, exit::UNKNOWN].into_iter().find(|code| *code == a || *code == b).unwrap_or(exit::OK)
}

/// Runs again and demands the hash that was recorded; where nothing was recorded, that of a second run.
pub fn replay(options: &ReplayOptions) -> Outcome {
    let is_manifest = options.run.extension().is_some_and(|extension| extension == "json");
    let (scenario, seed, variant, recorded) = match is_manifest {
        true => {
            if options.seed.is_some() || options.variant.is_some() {
                let message =
                    "it names seed and variant itself; leave --seed and --variant out, or name the scenario file";
                return Err(Failure::usage(format!("{}: {message}", options.run.display())));
            }
            let manifest = read_manifest(&options.run)?;
            let scenario = scenario_of(&manifest, &options.run)?;
            (scenario, manifest.seed, manifest.variant.clone(), Some(manifest))
        }
        false => {
            let file = ScenarioFile::read(&options.run)?;
            file.resolve(options.variant.as_deref())?;
            let seed = options.seed.unwrap_or(file.scenario.seed);
            let folder = one_run::folder(&options.out, &file.name, seed, options.variant.as_deref());
            let path = folder.join(MANIFEST_FILE);
            let recorded = if path.exists() { Some(read_manifest(&path)?) } else { None };
            let same = recorded.filter(|manifest| manifest.scenario_text == file.text);
            (options.run.clone(), seed, options.variant.clone(), same)
        }
    };
    announce(&scenario.display().to_string(), seed, variant.as_deref());
    let order = Order { scenario, seed, variant, out: None, journal: false };
    let told = one_run::in_a_child(&order)?;
    show(&told, options.format)?;
    let (before, what) = match &recorded {
        Some(manifest) => (manifest.trace_hash.clone(), "the recorded run"),
        None => (one_run::in_a_child(&order)?.outcome.trace_hash, "a second run"),
    };
    if before == told.outcome.trace_hash {
        eprintln!("same trace hash as {what}: {before}");
        return Ok(told.outcome.exit);
    }
    let message = format!(
        "the trace hash differs from {what}: {before} before, {} now\n  again: {}",
        told.outcome.trace_hash, told.outcome.replay
    );
    Err(Failure { code: exit::HARNESS, message })
}

fn read_manifest(path: &Path) -> Result<Manifest, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    report::read_manifest(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

/// The scenario file of a recorded run: its path counts from the project that the record lies in, or from here.
fn scenario_of(manifest: &Manifest, record: &Path) -> Result<PathBuf, Failure> {
    let whole = fs::canonicalize(record).map_err(|error| Failure::usage(format!("{}: {error}", record.display())))?;
    let of_record = files::project_of(&whole).map(|root| root.join(&manifest.path)).filter(|path| path.exists());
    let path = of_record.unwrap_or_else(|| PathBuf::from(&manifest.path));
    let file = ScenarioFile::read(&path)?;
    match file.text == manifest.scenario_text {
        true => Ok(path),
        false => Err(Failure::usage(format!(
            "{}: {} is not what it was when this run was recorded; run it anew with\n    cargo sim run {} --seed {}",
            record.display(),
            path.display(),
            report::shell_word(&path.display().to_string()),
            manifest.seed
        ))),
    }
}
