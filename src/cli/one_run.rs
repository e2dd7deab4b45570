//! One run in a process of its own: the child that does it, and the parent that starts it and reads what it found.
//!
//! The child prints one line of JSON ([`Told`]) and nothing else on standard output.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{
    args::RunOptions,
    exit::{self, Failure, Outcome as ExitOutcome},
    files::{self, ScenarioFile},
    output::print_line,
};
use crate::{
    engine::{self, Finished},
    explore::Outcome,
    report::{self, Change, Manifest, Recorded},
    runtime::sim::child,
    scenario::Resolved,
};

/// Real time after which a run is taken to hang.
const WATCHDOG_SECONDS: u32 = 300;

/// What a child tells its parent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// For summaries and programs.
    pub outcome: Outcome,
    /// For people.
    pub text: String,
    /// The verdict as `--format json` prints it.
    pub json: serde_json::Value,
}

/// Which run, and where its report goes.
#[derive(Clone, Debug)]
pub struct Order {
    /// The scenario file.
    pub scenario: PathBuf,
    /// The seed.
    pub seed: u64,
    /// The variant.
    pub variant: Option<String>,
    /// Folder of reports; `None` writes none.
    pub out: Option<PathBuf>,
    /// Keep the journal.
    pub journal: bool,
}

/// Does a run in a child process.
///
/// # Errors
/// The scenario is faulty, the report cannot be written, or the child could not be started.
pub fn in_a_child(order: &Order) -> Result<Told, Failure> {
    let program = std::env::current_exe().map_err(Failure::failed)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--child").arg(&order.scenario).args(["--seed", &order.seed.to_string()]);
    if let Some(variant) = &order.variant {
        command.args(["--variant", variant]);
    }
    match &order.out {
        Some(out) => command.arg("--out").arg(out),
        None => command.arg("--no-report"),
    };
    if !order.journal {
        command.arg("--no-journal");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child::without_address_randomisation(&mut command);
    let output = command.output().map_err(Failure::failed)?;
    if let Ok(told) = serde_json::from_slice(&output.stdout) {
        return Ok(told);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code @ (exit::HARNESS | exit::USAGE | exit::CANNOT_WRITE)) => Err(Failure { code, message: stderr }),
        _ => {
            let message = format!("{stderr}\nthe run ended with {}\n  again: {}", output.status, order.again());
            Err(Failure { code: exit::HARNESS, message: message.trim().to_owned() })
        }
    }
}

impl Order {
    /// The command that repeats the run.
    fn again(&self) -> String {
        let variant = self.variant.as_deref().map(|name| format!(" --variant {}", report::shell_word(name)));
        let scenario = report::shell_word(&self.scenario.display().to_string());
        format!("cargo sim run {scenario} --seed {}{}", self.seed, variant.unwrap_or_default())
    }
}

/// The child: one run, then one line.
pub fn child(options: &RunOptions) -> ExitOutcome {
    let [path] = &options.scenarios[..] else { return Err(Failure::usage("--child runs one scenario")) };
    let file = ScenarioFile::read(path)?;
    let resolved = file.resolve(options.variant.as_deref())?;
    let seed = options.seed.unwrap_or(file.scenario.seed);
    let order = Order {
        scenario: path.clone(),
        seed,
        variant: options.variant.clone(),
        out: None,
        journal: !options.no_journal,
    };
    let again = order.again();
    let hung = format!("{} did not end within {WATCHDOG_SECONDS} s\n  again: {again}\n", file.name);
    child::watchdog(WATCHDOG_SECONDS, &hung, i32::from(exit::HARNESS));
    let keep = !options.no_journal && !options.no_report;
    let finished = catch_unwind(AssertUnwindSafe(|| engine::run(&resolved, seed, keep))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without a message");
        Failure { code: exit::HARNESS, message: format!("{}: {text}\n  again: {again}", file.name) }
    })?;
    let faults = finished.faults;
    let recorded = record(&file, &resolved, seed, finished);
    if !options.no_report {
        write(&options.out, &recorded)?;
    }
    let told = Told {
        outcome: outcome(&recorded.manifest, faults),
        text: report::run_lines(&recorded.manifest),
        json: serde_json::from_str(&report::run_json(&recorded.manifest)).expect("it was just written"),
    };
    print_line(&serde_json::to_string(&told).expect("it is plain data"))?;
    Ok(recorded.manifest.verdict.exit)
}

fn record(file: &ScenarioFile, resolved: &Resolved, seed: u64, finished: Finished) -> Recorded {
    let change = |change: &crate::scenario::variant::Change| Change {
        key: change.key.clone(),
        from: change.from.clone(),
        to: change.to.clone(),
    };
    let manifest = Manifest {
        schema: report::SCHEMA.into(),
        highwater: env!("CARGO_PKG_VERSION").into(),
        scenario: file.name.clone(),
        path: file.path.clone(),
        title: file.scenario.title.clone(),
        teaches: file.scenario.teaches.clone(),
        variant: resolved.variant.clone(),
        changes: resolved.changes.iter().map(change).collect(),
        seed,
        verdict: finished.verdict,
        trace_hash: finished.trace_hash,
        events: finished.events,
        simulated_ns: finished.simulated,
        ending: finished.ending,
        plan: resolved.plan.clone(),
        config: resolved.settings(),
        scenario_text: file.text.clone(),
    };
    Recorded { manifest, entries: finished.entries }
}

/// Folder of a run: `OUT/scenario/seed-7`, with the variant's name behind it.
pub fn folder(out: &Path, scenario: &str, seed: u64, variant: Option<&str>) -> PathBuf {
    let plain = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' };
    let variant = variant.map(|name| {
        let words: Vec<String> = name.chars().map(plain).collect::<String>().split('-').map(str::to_owned).collect();
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        format!("-{}", words.join("-"))
    });
    out.join(scenario).join(format!("seed-{seed}{}", variant.unwrap_or_default()))
}

fn write(out: &Path, recorded: &Recorded) -> Result<(), Failure> {
    let manifest = &recorded.manifest;
    let folder = folder(out, &manifest.scenario, manifest.seed, manifest.variant.as_deref());
    files::write(&folder, &report::files(recorded)).map(|_| ())
}

fn outcome(manifest: &Manifest, faults: u64) -> Outcome {
    let verdict = &manifest.verdict;
    let claims = verdict.findings.iter().map(|found| (found.claim.name().to_owned(), found.status.to_string()));
    Outcome {
        schema: 1,
        scenario: manifest.path.clone(),
        seed: manifest.seed,
        variant: manifest.variant.clone(),
        exit: verdict.exit,
        verdict: verdict.sentence.clone(),
        claims: claims.collect(),
        trace_hash: manifest.trace_hash.clone(),
        simulated_ns: manifest.simulated_ns.0,
        events: manifest.events,
        faults,
        marks: manifest.ending.marks.iter().map(|mark| mark.to_string()).collect(),
        replay: report::replay_command(manifest),
    }
}
