//! What needs no cluster: the catalogue of scenarios, the check of their files, the story of a recorded run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    args::{CheckOptions, DiffOptions, ExplainOptions, Format, ListOptions, ReportOptions},
    exit::{self, Failure, Outcome},
    files::{self, ScenarioFile},
    output::{print, print_line},
};
use crate::{
    check::{Expectation, Expected},
    report::{
        self, BRANCHES_FILE, JOURNAL_FILE, MANIFEST_FILE, MESSAGES_FILE, Messages, PAGE_FILE, PERFETTO_FILE, Recorded,
        STORY_FILE,
    },
    scenario,
};

/// Version of what `list --format json` prints.
const LIST_SCHEMA: &str = "highwater/scenario/1";

/// Of a scenario with `[swarm]` so many seeds are drawn and checked.
const DRAWN: u64 = 200;

/// Prints the scenarios of a folder: what each teaches, and what is expected of it and of its variants.
pub fn list(options: &ListOptions) -> Outcome {
    let mut worst = exit::OK;
    for path in files::in_folder(&options.folder)? {
        match ScenarioFile::read(&path) {
            Ok(file) if options.format == Format::Text => print(&catalogue_text(&file))?,
            Ok(file) => print_line(&catalogue_json(&file).to_string())?,
            Err(failure) => {
                eprintln!("{}", failure.message);
                worst = failure.code;
            }
        }
    }
    Ok(worst)
}

fn catalogue_text(file: &ScenarioFile) -> String {
    let scenario = &file.scenario;
    let mut lines = vec![format!("{}  {}", file.name, scenario.title)];
    lines.extend(scenario.teaches.as_ref().map(|teaches| format!("    teaches  {teaches}")));
    let expected = |expectations: &[Expectation]| match expectations.is_empty() {
        true => "nothing else".to_owned(),
        false => expectations.iter().map(expectation_text).collect::<Vec<_>>().join(", "),
    };
    lines.push(format!("    expects  {}", expected(&scenario.expect)));
    for variant in &scenario.variants {
        lines.push(format!("    variant  {}: {}", variant.name, expected(&variant.expect)));
    }
    lines.join("\n") + "\n"
}

/// `acked-records-survive violated (1..8 lost: leader-crashed-before-replication)`.
fn expectation_text(expectation: &Expectation) -> String {
    let value = value_text(expectation.value);
    let lost = expectation.lost.as_ref().map(|lost| {
        let count = lost.count.as_ref().map(|count| match count.start() == count.end() {
            true => format!("{} lost", count.start()),
            false => format!("{}..{} lost", count.start(), count.end()),
        });
        let count = count.unwrap_or_else(|| "lost".to_owned());
        let causes: Vec<&str> = lost.causes.iter().map(|cause| cause.name()).collect();
        let cause = if causes.is_empty() { String::new() } else { format!(": {}", causes.join(" or ")) };
        format!(" ({count}{cause})")
    });
    format!("{} {value}{}", expectation.claim, lost.unwrap_or_default())
}

fn value_text(value: Expected) -> &'static str {
    match value {
        Expected::Held => "held",
        Expected::Violated => "violated",
        Expected::Any => "any",
    }
}

fn catalogue_json(file: &ScenarioFile) -> serde_json::Value {
    let scenario = &file.scenario;
    let variants = scenario.variants.iter().map(
        |variant| serde_json::json!({ "name": variant.name.value, "note": variant.note, "expect": variant.expect }),
    );
    serde_json::json!({
        "schema": LIST_SCHEMA,
        "id": file.name,
        "path": file.path,
        "title": scenario.title,
        "teaches": scenario.teaches,
        "catalogue": scenario.catalogue,
        "seed": scenario.seed,
        "sweep": scenario.sweep,
        "expect": scenario.expect,
        "variants": variants.collect::<Vec<_>>(),
    })
}

/// Reads scenario files, each as it stands and with each of its variants, and says what is wrong or brittle.
pub fn check(options: &CheckOptions) -> Outcome {
    let mut worst = exit::OK;
    for path in &options.scenarios {
        match checked(path) {
            Ok(ok) => print_line(&ok)?,
            Err(failure) => {
                eprintln!("{}", failure.message);
                worst = failure.code;
            }
        }
    }
    Ok(worst)
}

fn checked(path: &Path) -> Result<String, Failure> {
    let file = ScenarioFile::read(path)?;
    file.resolve(None)?;
    if file.scenario.swarm.is_some() {
        (1..=DRAWN).try_for_each(|seed| file.resolve_at(None, seed).map(drop))?;
    }
    for variant in file.variants() {
        file.resolve(Some(variant)).map_err(|failure| Failure {
            message: format!("{} (in variant `{variant}`)", failure.message),
            ..failure
        })?;
    }
    let warnings = scenario::resolve::lint(&file.scenario);
    for warning in &warnings {
        let fault = warning.clone().in_file(&file.given, &file.text);
        eprintln!("{}:{}:{}: warning: {}", fault.file, fault.line, fault.column, fault.message);
    }
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let steps = counted(file.scenario.steps.len(), "step");
    let told = if warnings.is_empty() { String::new() } else { format!(", {}", counted(warnings.len(), "warning")) };
    let variants = counted(file.scenario.variants.len(), "variant");
    Ok(format!("{}: ok ({steps}, {variants}{told})", file.given))
}

/// Tells the life of each lost record of a recorded run, or of the one record asked for.
pub fn explain(options: &ExplainOptions) -> Outcome {
    let (folder, run) = read_run(&options.run)?;
    let told = report::explain(&run, options.record.as_deref());
    print(&told.map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?)?;
    Ok(exit::OK)
}

/// Writes the files of a recorded run again: those asked for, or all.
pub fn report(options: &ReportOptions) -> Outcome {
    let (folder, run) = read_run(&options.run)?;
    let asked = [
        (options.html, PAGE_FILE),
        (options.text, STORY_FILE),
        (options.json, MANIFEST_FILE),
        (options.perfetto, PERFETTO_FILE),
    ];
    let all = asked.iter().all(|(asked, _)| !asked);
    let wanted = |name: &&'static str| match all {
        // The journal is what everything else is drawn from.
        true => ![JOURNAL_FILE, MESSAGES_FILE, BRANCHES_FILE].contains(name),
        false => asked.contains(&(true, *name)),
    };
    let files: Vec<report::File> =
        report::names(&run).into_iter().filter(wanted).map(|name| report::file(&run, name)).collect();
    if files.iter().any(|file| file.name == PAGE_FILE) {
        for (name, what) in report::missing(&run) {
            let again = report::run_command(&run.manifest);
            eprintln!(
                "warning: {}: there is no {name}: the page lacks {what}; run it anew with\n    {again}",
                folder.display()
            );
        }
    }
    for path in files::write(&folder, &files)? {
        print_line(&path.display().to_string())?;
    }
    Ok(exit::OK)
}

/// Puts two runs of one scenario beside each other.
pub fn diff(options: &DiffOptions) -> Outcome {
    let (_, a) = read_run(&options.run_a)?;
    let (_, b) = read_run(&options.run_b)?;
    let diff = report::Diff::of(&a, &b).map_err(|error| {
        Failure::usage(format!("{} and {}: {error}", options.run_a.display(), options.run_b.display()))
    })?;
    match options.format {
        Format::Text => print(&diff.text())?,
        Format::Json => print_line(&diff.json())?,
    }
    Ok(exit::OK)
}

/// The folder of a run, and the run as its files tell it.
pub fn read_run(given: &Path) -> Result<(PathBuf, Recorded), Failure> {
    let folder = folder_of_run(given);
    let manifest = read_part(&folder, MANIFEST_FILE, "a folder as `run` writes it, reports/SCENARIO/seed-N")?;
    let journal = read_part(&folder, JOURNAL_FILE, "a run whose journal was kept (without --no-journal)")?;
    let run = report::load(&manifest, &journal);
    let mut run = run.map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
    let path = folder.join(MESSAGES_FILE);
    if path.exists() {
        let messages = read_part(&folder, MESSAGES_FILE, "what `run` wrote")?;
        let read = serde_json::from_str(&messages).map_err(|error| error.to_string());
        run.messages = read
            .and_then(|messages: Messages| messages.check().map(|()| messages))
            .map_err(|error| Failure::usage(format!("{}: {error}; run it anew", path.display())))?;
    }
    let path = folder.join(BRANCHES_FILE);
    if path.exists() {
        let branches = read_part(&folder, BRANCHES_FILE, "what `run` wrote")?;
        run.branches = serde_json::from_str(&branches)
            .map_err(|error| Failure::usage(format!("{}: {error}; run it anew", path.display())))?;
    }
    Ok((folder, run))
}

/// The folder itself, or that of the manifest or the journal that was named instead.
fn folder_of_run(given: &Path) -> PathBuf {
    match given.parent().filter(|_| given.is_file()) {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) => folder.to_path_buf(),
        None => given.to_path_buf(),
    }
}

fn read_part(folder: &Path, name: &str, expected: &str) -> Result<String, Failure> {
    let path = folder.join(name);
    let bytes =
        fs::read(&path).map_err(|error| Failure::usage(format!("{}: {error}; expected {expected}", path.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        let problem = "a byte that belongs to no text";
        Failure::usage(format!("{}:{line}: {problem}; expected {expected}", path.display()))
    })
}
