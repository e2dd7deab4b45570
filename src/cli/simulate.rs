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
    let label = one_run::label(variant, &options.set);
    let mut files = Vec::new();
    for path in &options.scenarios {
        let file = ScenarioFile::read(path)?;
        one_run::resolve(&file, variant, &options.set, options.seed.unwrap_or(file.scenario.seed))?;
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
            set: options.set.clone(),
            out: (!options.no_report).then(|| options.out.clone()),
            journal: !options.no_journal,
            ..Order::default()
        };
        let told = one_run::told_by_a_child(&order.under_the_same_faults()?)?;
        show(&told, options.format)?;
        if let Some(why) = told.unwritten {
            return Err(Failure::cannot_write(why));
        }
        if options.format == Format::Text && !options.no_report {
            let folder = one_run::folder(&options.out, &file.name, seed, label.as_deref());
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
    let (order, recorded) = match is_manifest {
        true => {
            if options.seed.is_some() || options.variant.is_some() || !options.set.is_empty() {
                let message = "it names seed, variant and settings itself; leave --seed, --variant and --set out, or name the \
                     scenario file";
                return Err(Failure::usage(format!("{}: {message}", options.run.display())));
            }
            let manifest = read_manifest(&options.run)?;
            let order = Order {
                scenario: scenario_of(&manifest, &options.run)?,
                seed: manifest.seed,
                variant: manifest.variant.clone(),
                set: manifest.set.clone(),
                latest_ns: manifest.latest_ns.clone(),
                ..Order::default()
            };
            (order, Some(manifest))
        }
        false => {
            let file = ScenarioFile::read(&options.run)?;
            let seed = options.seed.unwrap_or(file.scenario.seed);
            one_run::resolve(&file, options.variant.as_deref(), &options.set, seed)?;
            let label = one_run::label(options.variant.as_deref(), &options.set);
            let folder = one_run::folder(&options.out, &file.name, seed, label.as_deref());
            let path = folder.join(MANIFEST_FILE);
            let recorded = if path.exists() { Some(read_manifest(&path)?) } else { None };
            let same = recorded.filter(|manifest| manifest.scenario_text == file.text);
            let (scenario, variant, set) = (options.run.clone(), options.variant.clone(), options.set.clone());
            let order = Order { scenario, seed, variant, set, ..Order::default() };
            (order.under_the_same_faults()?, same)
        }
    };
    announce(&order.scenario.display().to_string(), order.seed, order.variant.as_deref());
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
