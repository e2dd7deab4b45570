//! One set of settings with every budget: what is promised, what was found, as text and as JSON.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Budget, Found, Promise, Settings, Tally, promise, upper_bound};
use crate::{client::config::Acks, report::shell_word};

/// Version of the JSON lines.
const SCHEMA: &str = "highwater/claims/1";

/// Settings, and what became of records under each budget.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The settings.
    pub settings: Settings,
    /// One row a budget.
    pub rows: Vec<Row>,
}

/// One budget of faults under the settings of a cell.
#[derive(Clone, Debug)]
pub struct Row {
    /// The faults.
    pub budget: &'static Budget,
    /// What is documented.
    pub promise: Promise,
    /// What was found.
    pub tally: Tally,
}

/// How a row ended, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Promised, and no run lost anything.
    Kept,
    /// Not promised, and no run lost anything all the same.
    Spared,
    /// Not promised, and lost.
    Lost,
    /// No run struck a loaded partition.
    NotExercised,
    /// Promised, and lost; or a claim broke that no setting touches.
    Broken,
}

impl Row {
    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        let lost = self.tally.lossy > 0;
        match (self.promise.is_kept(), lost) {
            _ if !self.tally.broken.is_empty() => Outcome::Broken,
            (true, true) => Outcome::Broken,
            _ if self.tally.exercised == 0 => Outcome::NotExercised,
            (false, true) => Outcome::Lost,
            (true, false) => Outcome::Kept,
            (false, false) => Outcome::Spared,
        }
    }

    /// Whether something broke that should hold.
    pub fn is_broken(&self) -> bool {
        self.outcome() == Outcome::Broken
    }

    /// What was promised and did not hold.
    fn broken_promise(&self) -> &'static str {
        match self.promise.is_kept() && self.tally.lossy > 0 {
            true => self.promise.reason(),
            false => "no setting and no fault permits it",
        }
    }
}

impl Cell {
    /// A cell without budgets.
    pub fn new(settings: Settings) -> Self {
        Self { settings, rows: Vec::new() }
    }

    /// A cell for each combination of acks, `min.insync.replicas`, unclean election and flush, over the other settings;
    /// with `replicas`, for each of these replication factors.
    ///
    /// # Errors
    /// The settings say one of the axes already, or a replication factor is none or given twice.
    pub fn matrix(settings: &Settings, replicas: &[u64]) -> Result<Vec<Self>, String> {
        if replicas.is_empty() {
            return Self::matrix_of_one_factor(settings);
        }
        let mut cells = Vec::new();
        for (index, factor) in replicas.iter().enumerate() {
            if replicas[..index].contains(factor) {
                return Err(format!("--replicas names {factor} twice"));
            }
            let mut settings = settings.clone();
            settings.set("replication.factor", &factor.to_string())?;
            cells.extend(Self::matrix_of_one_factor(&settings)?);
        }
        Ok(cells)
    }

    fn matrix_of_one_factor(settings: &Settings) -> Result<Vec<Self>, String> {
        let mut cells = Vec::new();
        for acks in ["0", "1", "all"] {
            for min_isr in 1..=settings.replicas().min(3) {
                for unclean in ["false", "true"] {
                    for flush in [None, Some("1")] {
                        let mut settings = settings.clone();
                        settings.set("acks", acks)?;
                        if acks != "all" {
                            settings.set("enable.idempotence", "false")?;
                        }
                        settings.set("min.insync.replicas", &min_isr.to_string())?;
                        settings.set("unclean.leader.election.enable", unclean)?;
                        flush.map_or(Ok(()), |every| settings.set("flush.messages", every))?;
                        cells.push(Self::new(settings));
                    }
                }
            }
        }
        Ok(cells)
    }

    /// Gives it those of `budgets` that mean something with its number of replicas.
    pub fn prepare(&mut self, budgets: &[&'static Budget]) {
        let applicable = budgets.iter().filter(|budget| budget.applies_to(self.settings.replicas()));
        let row = |budget: &&'static Budget| Row {
            budget,
            promise: promise(&self.settings, budget),
            tally: Tally::default(),
        };
        self.rows = applicable.map(row).collect();
    }

    /// The scenario of a run.
    pub fn scenario(&self, row: usize, seed: u64) -> String {
        self.rows[row].budget.scenario(&self.settings, seed)
    }

    /// Whether something broke that should hold.
    pub fn is_broken(&self) -> bool {
        self.rows.iter().any(Row::is_broken)
    }

    /// Whether a budget proved nothing.
    pub fn is_doubtful(&self) -> bool {
        self.rows.iter().any(|row| row.outcome() == Outcome::NotExercised)
    }

    /// The counter-example of each row that has one.
    pub fn counter_examples(&self) -> impl Iterator<Item = (usize, &Found)> {
        self.rows.iter().enumerate().filter_map(|(row, found)| Some((row, found.tally.counter_example.as_ref()?)))
    }

    /// Where the counter-example of a row is written.
    pub fn counter_example_path(&self, out: &Path, row: usize) -> PathBuf {
        out.join("claims").join(self.name()).join(format!("{}.toml", self.rows[row].budget.name))
    }

    /// Its settings as the name of a folder.
    fn name(&self) -> String {
        let settings = &self.settings;
        let acks = match settings.acks() {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        };
        let unclean = if settings.is_unclean() { "unclean" } else { "clean" };
        let flush = if settings.flushes_each_message() { "-flush" } else { "" };
        format!("rf{}-acks-{acks}-min-isr-{}-{unclean}{flush}", settings.replicas(), settings.min_isr())
    }

    fn replay(&self, out: &Path, row: usize) -> String {
        format!("cargo sim run {}", shell_word(&self.counter_example_path(out, row).display().to_string()))
    }

    /// The result for people.
    pub fn text(&self, out: &Path) -> String {
        let mut text = format!("{}\n", self.settings.line());
        let widest = self.rows.iter().map(|row| row.budget.title.len()).max().unwrap_or(0);
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = |content: String| writeln!(text, "{content}").expect("writing to a string does not fail");
            let promised = if row.promise.is_kept() { "promised    " } else { "not promised" };
            line(format!("  {promised}  {:widest$}  {}", row.budget.title, row.tally.words()));
            let indent = " ".repeat(16);
            match row.outcome() {
                Outcome::Kept | Outcome::Spared => {}
                Outcome::NotExercised => {
                    line(format!("{indent}no fault struck a loaded partition, so nothing is proved"))
                }
                Outcome::Lost => line(format!("{indent}{}", row.promise.reason())),
                Outcome::Broken => line(format!("{indent}BROKEN: {}", row.broken_promise())),
            }
            if row.tally.counter_example.is_some() {
                line(format!("{indent}counter-example: {}", self.replay(out, index)));
            }
        }
        let count = |outcome| self.rows.iter().filter(|row| row.outcome() == outcome).count();
        let promised = self.rows.iter().filter(|row| row.promise.is_kept()).count();
        let lost = self.rows.iter().filter(|row| !row.promise.is_kept() && row.tally.lossy > 0).count();
        let broke = match count(Outcome::Broken) {
            0 => "no promise broke".to_owned(),
            broken => format!("{broken} BROKE"),
        };
        writeln!(
            text,
            "survival is promised under {promised} of {} budgets of faults; {lost} of the others lost records; {broke}",
            self.rows.len()
        )
        .expect("writing to a string does not fail");
        text
    }

    /// The result for programs, a line for each budget.
    pub fn json(&self, out: &Path) -> Vec<String> {
        let line = |(index, row): (usize, &Row)| {
            let counter_example = row.tally.counter_example.as_ref().map(|found| {
                json!({
                    "seed": found.seed,
                    "lost": found.lost,
                    "scenario": self.counter_example_path(out, index).display().to_string(),
                    "replay": self.replay(out, index),
                })
            });
            json!({
                "schema": SCHEMA,
                "settings": self.settings.line(),
                "budget": row.budget.name,
                "title": row.budget.title,
                "promised": row.promise.is_kept(),
                "reason": row.promise.reason(),
                "outcome": row.outcome().name(),
                "runs": row.tally.runs,
                "exercised": row.tally.exercised,
                "lossy": row.tally.lossy,
                "lost": row.tally.lost.map(|(least, most)| [least, most]),
                "upper_bound": (row.tally.exercised > 0 && row.tally.lossy == 0)
                    .then(|| upper_bound(row.tally.exercised)),
                "broken": row.tally.broken,
                "counter_example": counter_example.unwrap_or(Value::Null),
            })
            .to_string()
        };
        self.rows.iter().enumerate().map(line).collect()
    }

    /// All cells in a table, a line each.
    pub fn table(cells: &[Self]) -> String {
        let mut text = String::from(
            "replicas  acks  min ISR  unclean  flush   kept  spared  lost  unproved  broken  lost under\n",
        );
        for cell in cells {
            let count = |outcome| cell.rows.iter().filter(|row| row.outcome() == outcome).count();
            let lossy = cell.rows.iter().filter(|row| row.tally.lossy > 0);
            let names: Vec<&str> = lossy.map(|row| row.budget.name).collect();
            let settings = &cell.settings;
            let acks = settings.acks().code();
            writeln!(
                text,
                "{:8}  {:4}  {:7}  {:7}  {:6}  {:4}  {:6}  {:4}  {:8}  {:6}  {}",
                settings.replicas(),
                if acks < 0 { "all".to_owned() } else { acks.to_string() },
                settings.min_isr(),
                if settings.is_unclean() { "yes" } else { "no" },
                if settings.flushes_each_message() { "each" } else { "never" },
                count(Outcome::Kept),
                count(Outcome::Spared),
                count(Outcome::Lost),
                count(Outcome::NotExercised),
                count(Outcome::Broken),
                names.join(" ")
            )
            .expect("writing to a string does not fail");
        }
        text
    }
}

impl Outcome {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Spared => "spared",
            Self::Lost => "lost",
            Self::NotExercised => "not-exercised",
            Self::Broken => "broken",
        }
    }
}
