//! The shrinker: from a scenario that breaks a claim to the shortest one that still breaks the same claim in the same
//! way, as a person would have written it.
//!
//! It drops and simplifies, largest first, and keeps what still fails: steps, clients, partitions, brokers, settings,
//! records, delays; then it gives each step that waits for a time the state that it was about. [`moves`] says what is
//! tried, [`triggers`] which states stand for a moment, [`tell`] how the result is told. Each try is a run by the same
//! seed; random streams have names, so that dropping one fault leaves the choices of the others as they are.
//!
//! Deterministic: the tries follow from the runs before. Pure: the command line runs them ([`Judge`]).

mod moves;
mod tell;
mod triggers;

use std::collections::BTreeSet;

pub use self::tell::{Broken, Shrunk, tell};
use crate::{
    base::Time,
    scenario::{self, Scenario},
    trace::journal::Entry,
};

/// Most runs if nothing else is said.
pub const RUNS_MAX: u64 = 200;
/// Runs that are left for triggers, so that what was made small is readable too.
const RUNS_FOR_TRIGGERS: u64 = 30;

/// What a shrinker leaves as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// The claim that breaks, and nothing else.
    Claim,
    /// The settings too, and how many brokers and replicas there are: they are what was asked about.
    Settings,
}

/// Runs scenarios for the shrinker.
pub trait Judge {
    /// Why a run could not be made.
    type Error;

    /// Whether the scenario breaks the same claim in the same way.
    ///
    /// # Errors
    /// The run could not be made.
    fn breaks(&mut self, scenario: &Scenario) -> Result<bool, Self::Error>;

    /// The events of a run of it.
    ///
    /// # Errors
    /// The run could not be made.
    fn events(&mut self, scenario: &Scenario) -> Result<Vec<Entry>, Self::Error>;

    /// A smaller scenario was found, after so many runs.
    ///
    /// # Errors
    /// It could not be kept.
    fn found(&mut self, scenario: &Scenario, runs: u64) -> Result<(), Self::Error>;
}

/// Shrinks `scenario`, which breaks a claim, in at most `runs_max` runs. Returns the smallest that was found and how
/// many runs that took.
///
/// # Errors
/// A run could not be made.
pub fn shrink<J: Judge>(
    scenario: Scenario,
    keeps: Keeps,
    runs_max: u64,
    judge: &mut J,
) -> Result<(Scenario, u64), J::Error> {
    let tried = BTreeSet::from([scenario.to_string()]);
    let spared = RUNS_FOR_TRIGGERS.min(runs_max / 4);
    let mut search = Search { best: scenario, runs: 0, runs_max: runs_max - spared, tried, judge };
    loop {
        let before = search.best.clone();
        search.plot_and_cast(keeps)?;
        if keeps == Keeps::Claim {
            search.all_but(moves::settings)?;
        }
        search.each(moves::workload)?;
        search.each(moves::actions)?;
        if search.best == before || search.runs >= search.runs_max {
            break;
        }
    }
    search.runs_max = runs_max;
    search.each(moves::steadiness)?;
    search.state_triggers()?;
    // What only took its time may go now: the steps after it wait for states of their own.
    search.all_but(moves::steps)?;
    search.each(moves::clients)?;
    search.each(moves::delays)?;
    search.each(moves::deadline)?;
    Ok((search.best, search.runs))
}

/// The story of `scenario` without the steps and the actions that it does not need to break, in at most `runs_max` runs;
/// its settings and its clients stay as they are. Returns it, and how many runs that took.
///
/// # Errors
/// A run could not be made.
pub fn shortest_story<J: Judge>(scenario: Scenario, runs_max: u64, judge: &mut J) -> Result<(Scenario, u64), J::Error> {
    let tried = BTreeSet::from([scenario.to_string()]);
    let mut search = Search { best: scenario, runs: 0, runs_max, tried, judge };
    search.all_but(moves::steps)?;
    search.each(moves::actions)?;
    Ok((search.best, search.runs))
}

struct Search<'a, J: Judge> {
    best: Scenario,
    runs: u64,
    runs_max: u64,
    tried: BTreeSet<String>,
    judge: &'a mut J,
}

impl<J: Judge> Search<'_, J> {
    /// Leaves out steps, and clients and brokers, until neither makes the other fewer. Steps come before settings: they
    /// are what a reader has to follow.
    fn plot_and_cast(&mut self, keeps: Keeps) -> Result<(), J::Error> {
        loop {
            let before = self.best.clone();
            self.what_fired()?;
            self.all_but(moves::steps)?;
            self.in_time()?;
            self.each(moves::groups)?;
            self.each(moves::clients)?;
            self.each(moves::partitions)?;
            if keeps == Keeps::Claim {
                self.each(moves::brokers)?;
            }
            if self.best == before || self.runs >= self.runs_max {
                return Ok(());
            }
        }
    }

    /// When each step of the best comes; nothing where there are too few runs left.
    fn times(&mut self) -> Result<Vec<Option<Time>>, J::Error> {
        if self.runs >= self.runs_max {
            return Ok(vec![None; self.best.steps.len()]);
        }
        self.runs += 1;
        let events = self.judge.events(&self.best)?;
        Ok(moves::times(&self.best, &events))
    }

    /// Leaves out the optional steps that did not come.
    fn what_fired(&mut self) -> Result<(), J::Error> {
        if self.best.steps.iter().any(|step| step.optional) {
            let times = self.times()?;
            for candidate in moves::fired(&self.best, &times) {
                if self.attempt(candidate)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Leaves out steps that matter by the time that they take: what is behind them comes when it came before.
    fn in_time(&mut self) -> Result<(), J::Error> {
        if self.best.steps.len() > 1 {
            let mut times = self.times()?;
            for index in (0..self.best.steps.len()).rev() {
                let candidate = moves::in_time(&self.best, &times, index);
                if let Some(candidate) = candidate
                    && self.attempt(candidate)?
                {
                    times.remove(index);
                }
            }
        }
        Ok(())
    }

    /// Runs a candidate that has not been tried; it becomes the best if it breaks.
    fn attempt(&mut self, candidate: Scenario) -> Result<bool, J::Error> {
        if self.runs >= self.runs_max || scenario::resolve(&candidate, None).is_err() {
            return Ok(false);
        }
        if !self.tried.insert(candidate.to_string()) {
            return Ok(false);
        }
        self.runs += 1;
        if !self.judge.breaks(&candidate)? {
            return Ok(false);
        }
        self.best = candidate;
        self.judge.found(&self.best, self.runs)?;
        Ok(true)
    }

    /// Tries each candidate that `moves` makes of the best, and begins again with what it makes of a better one.
    fn each(&mut self, moves: impl Fn(&Scenario) -> Vec<Scenario>) -> Result<(), J::Error> {
        loop {
            let mut found = false;
            for candidate in moves(&self.best) {
                if self.attempt(candidate)? {
                    found = true;
                    break;
                }
            }
            if !found || self.runs >= self.runs_max {
                return Ok(());
            }
        }
    }

    /// Leaves out as many parts as it can: all of them, then halves, quarters, single ones (ddmin). `without` names how
    /// many parts there are, and gives the scenario without some of them.
    fn all_but(&mut self, without: impl Fn(&Scenario, &BTreeSet<usize>) -> (usize, Scenario)) -> Result<(), J::Error> {
        let count = |best: &Scenario| without(best, &BTreeSet::new()).0;
        let mut size = count(&self.best);
        while size > 0 {
            let mut begin = 0;
            while begin < count(&self.best) {
                let end = (begin + size).min(count(&self.best));
                let (_, candidate) = without(&self.best, &(begin..end).collect());
                if !self.attempt(candidate)? {
                    begin = end;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2).min(count(&self.best)) };
        }
        Ok(())
    }

    /// Gives steps that wait for a time the state that came about last before they fired.
    fn state_triggers(&mut self) -> Result<(), J::Error> {
        for index in 0..self.best.steps.len() {
            let step = &self.best.steps[index];
            let waits_for_a_time = step.after.is_some() || step.at.is_some();
            if !waits_for_a_time || self.runs >= self.runs_max {
                continue;
            }
            self.runs += 1;
            let events = self.judge.events(&self.best)?;
            for condition in triggers::before_step(&self.best, &events, index) {
                if self.attempt(moves::with_condition(&self.best, index, condition))? {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
