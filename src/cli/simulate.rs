//! `run` and `replay`: single runs by seed.

use std::{fs, path::PathBuf};

use super::{
    args::{Format, ReplayOptions, RunOptions},
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
};
use crate::report::{MANIFEST_FILE, Manifest};

/// Runs scenarios, each once, and tells what became of every acknowledged record.
pub fn run(options: &RunOptions) -> Outcome {
    if options.child {
        return one_run::child(options);
    }
    let mut worst = exit::OK;
    for path in &options.scenarios {
        let file = ScenarioFile::read(path)?;
        file.resolve(options.variant.as_deref())?;
        let seed = options.seed.unwrap_or(file.scenario.seed);
        eprintln!("{}: seed {seed}", file.name);
        let order = Order {
            scenario: path.clone(),
            seed,
            variant: options.variant.clone(),
            out: Some(options.out.clone()),
            journal: !options.no_journal,
        };
        let told = one_run::in_a_child(&order)?;
        show(&told, options.format);
        if options.format == Format::Text {
            let folder = one_run::folder(&options.out, &file.name, seed, options.variant.as_deref());
            println!("  report: {}", folder.join(crate::report::STORY_FILE).display());
        }
        worst = worse(worst, told.outcome.exit);
    }
    Ok(worst)
}

fn show(told: &Told, format: Format) {
    match format {
        Format::Text => print!("{}", told.text),
        Format::Json => println!("{}", told.json),
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
            let manifest = read_manifest(&options.run)?;
            (PathBuf::from(&manifest.path), manifest.seed, manifest.variant.clone(), Some(manifest))
        }
        false => {
            let file = ScenarioFile::read(&options.run)?;
            let seed = options.seed.unwrap_or(file.scenario.seed);
            let folder = one_run::folder(&options.out, &file.name, seed, options.variant.as_deref());
            let path = folder.join(MANIFEST_FILE);
            let recorded = if path.exists() { Some(read_manifest(&path)?) } else { None };
            let same = recorded.filter(|manifest| manifest.scenario_text == file.text);
            (options.run.clone(), seed, options.variant.clone(), same)
        }
    };
    eprintln!("{}: seed {seed}", scenario.display());
    let order = Order { scenario, seed, variant, out: None, journal: false };
    let told = one_run::in_a_child(&order)?;
    show(&told, options.format);
    let (before, what) = match recorded {
        Some(manifest) => (manifest.trace_hash, "the recorded run"),
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

fn read_manifest(path: &std::path::Path) -> Result<Manifest, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{name}: not a run's manifest: {error}")))
}
