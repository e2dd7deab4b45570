//! What a sweep found: counts by verdict, the failing runs with their replay commands, marks reached and never reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde::{Deserialize, Serialize};

use super::Run;
use crate::base::mark;

/// The outcome of one run, as its process prints it in one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of this form.
    pub schema: u32,
    /// Path of the scenario file.
    pub scenario: String,
    /// Seed.
    pub seed: u64,
    /// Variant, or none.
    pub variant: Option<String>,
    /// Exit code that the run alone would have.
    pub exit: u8,
    /// The verdict as a sentence.
    pub verdict: String,
    /// Claims that decided it: `claim: value`.
    pub claims: BTreeMap<String, String>,
    /// Hash over all events.
    pub trace_hash: String,
    /// Simulated time in nanoseconds.
    pub simulated_ns: u64,
    /// Number of events.
    pub events: u64,
    /// Faults injected.
    pub faults: u64,
    /// Marks reached.
    pub marks: Vec<String>,
    /// The command that repeats it.
    pub replay: String,
}

impl Outcome {
    /// The run this is the outcome of.
    pub fn run(&self) -> Run {
        Run { scenario: self.scenario.clone(), seed: self.seed, variant: self.variant.clone() }
    }
}

/// Outcomes of many runs together. The order of adding does not matter.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    counted: BTreeSet<Run>,
    runs: u64,
    repeated: u64,
    simulated_ns: u128,
    by_exit: BTreeMap<u8, u64>,
    failing: BTreeMap<Run, Outcome>,
    reached: BTreeSet<String>,
}

impl Summary {
    /// Counts one run, unless it is counted already; `twice`: it was done twice and gave the same hash both times.
    pub fn add(&mut self, outcome: Outcome, twice: bool) {
        if !self.counted.insert(outcome.run()) {
            return;
        }
        self.runs += 1;
        self.repeated += u64::from(twice);
        self.simulated_ns += u128::from(outcome.simulated_ns);
        *self.by_exit.entry(outcome.exit).or_default() += 1;
        self.reached.extend(outcome.marks.iter().cloned());
        if outcome.exit != 0 {
            self.failing.insert(outcome.run(), outcome);
        }
    }

    /// Number of runs.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Number of runs that were not as expected.
    pub fn failures(&self) -> u64 {
        self.failing.len() as u64
    }

    /// Runs that were not as expected, in order.
    pub fn failing(&self) -> impl Iterator<Item = &Outcome> {
        self.failing.values()
    }

    /// The exit code of the sweep: unexpected violation, then a fault of the harness, then unknown, then all well.
    pub fn exit(&self) -> u8 {
        [1, 3, 2].into_iter().find(|exit| self.by_exit.contains_key(exit)).unwrap_or(0)
    }

    /// The summary as one JSON object; `wall_seconds` is how long the sweep took, if it was one.
    pub fn json(&self, wall_seconds: Option<f64>) -> serde_json::Value {
        serde_json::json!({
            "schema": "highwater/sweep/1",
            "runs": self.runs,
            "as_expected": self.by_exit.get(&0).copied().unwrap_or(0),
            "done_twice": self.repeated,
            "exit": self.exit(),
            "simulated_seconds": self.simulated_ns as f64 / 1e9,
            "wall_seconds": wall_seconds,
            "marks_reached": self.reached,
            "marks_never_reached": self.never_reached(),
            "failing": self.failing().collect::<Vec<_>>(),
        })
    }

    fn never_reached(&self) -> Vec<&'static str> {
        mark::ALL.iter().map(|(name, _)| *name).filter(|name| !self.reached.contains(*name)).collect()
    }

    /// The summary as text; `wall_seconds` is how long the sweep took, and how many of its runs that was for.
    pub fn render(&self, wall: Option<(f64, u64)>) -> String {
        let mut text = String::new();
        let simulated_seconds = self.simulated_ns as f64 / 1e9;
        let good = self.by_exit.get(&0).copied().unwrap_or(0);
        let _ = writeln!(
            text,
            "{} runs, {good} as expected, {} not; {} done twice with the same trace hash",
            self.runs,
            self.failures(),
            self.repeated
        );
        let _ = writeln!(text, "{simulated_seconds:.0} simulated seconds");
        if let Some((wall_seconds, runs)) = wall {
            let rate = runs as f64 / wall_seconds.max(1e-9);
            let speed = simulated_seconds * rate / (self.runs as f64).max(1.0);
            let _ = writeln!(text, "{rate:.1} runs/s, {speed:.0} simulated seconds per second, in {wall_seconds:.1} s");
        }
        let reached: Vec<&str> = self.reached.iter().map(String::as_str).collect();
        let _ = writeln!(text, "marks reached: {}", list(&reached));
        let _ = writeln!(text, "marks never reached: {}", list(&self.never_reached()));
        for outcome in self.failing() {
            let _ = writeln!(text, "exit {}: {}\n    {}", outcome.exit, outcome.verdict, outcome.replay);
        }
        text
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seed: u64, exit: u8) -> Outcome {
        Outcome {
            schema: 1,
            scenario: "scenarios/x.toml".to_owned(),
            seed,
            variant: None,
            exit,
            verdict: format!("verdict of {seed}"),
            claims: BTreeMap::new(),
            trace_hash: "00".to_owned(),
            simulated_ns: 2_000_000_000,
            events: 1,
            faults: 0,
            marks: vec!["isr_shrunk".to_owned()],
            replay: format!("cargo sim replay scenarios/x.toml --seed {seed}"),
        }
    }

    #[test]
    fn the_worst_exit_code_wins_and_every_failure_ends_with_its_command() {
        let mut summary = Summary::default();
        assert_eq!(summary.exit(), 0);
        for (seed, exit, expected) in [(1, 0, 0), (2, 2, 2), (3, 3, 3), (4, 1, 1)] {
            summary.add(outcome(seed, exit), seed == 1);
            summary.add(outcome(seed, exit), seed == 1);
            assert_eq!(summary.exit(), expected);
        }
        let text = summary.render(Some((4.0, 4)));
        assert!(text.starts_with("4 runs, 1 as expected, 3 not"), "{text}");
        assert!(text.contains("; 1 done twice"), "{text}");
        assert!(text.contains("1.0 runs/s, 2 simulated seconds per second"), "{text}");
        assert!(!summary.render(None).contains("runs/s"), "what was merged took no time of its own");
        assert!(text.contains("marks reached: isr_shrunk\n"), "{text}");
        assert!(text.ends_with("cargo sim replay scenarios/x.toml --seed 4\n"), "{text}");
    }
}
