//! The scoreboard of planted bugs: how many seeds of a swarm it takes until a checker sees each.
//!
//! A bug is searched from several starts, so that one lucky seed does not make the score. Pure: the command line runs
//! the searches.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};

/// Seeds that a bug may need, as the median over its starts.
pub const MEDIAN_MAX: u64 = 50;
/// Steps that a run in which a bug was seen may have when it has been shrunk.
pub const STEPS_MAX: u64 = 10;
/// Seeds between two starts.
const APART: u64 = 1000;

/// One search for one bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Name of the bug: its switch and the variant that plants it.
    pub bug: String,
    /// The first seed.
    pub start: u64,
    /// What was found, if anything was.
    pub found: Option<Found>,
}

/// A run in which a bug was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many seeds were run, this one included.
    pub seeds: u64,
    /// The seed that shows it.
    pub seed: u64,
    /// The claims that broke; or that a process panicked.
    pub by: Vec<String>,
    /// What it was shrunk to, if that was asked for.
    pub shrunk: Option<Shrunk>,
}

/// A run in which a bug was seen, made small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// Steps left.
    pub steps: u64,
    /// Runs that took.
    pub runs: u64,
    /// The file.
    pub file: String,
}

/// The first seed of each of so many starts.
pub fn starts(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|start| start * APART + 1)
}

/// Every bug with its searches.
#[derive(Clone, Debug, Default)]
pub struct Scoreboard {
    bugs: BTreeMap<String, Vec<Search>>,
}

impl Scoreboard {
    /// Notes what a search found. The order does not matter.
    pub fn add(&mut self, search: Search) {
        let searches = self.bugs.entry(search.bug.clone()).or_default();
        searches.push(search);
        searches.sort_by_key(|search| search.start);
    }

    /// Whether every bug was found, within [`MEDIAN_MAX`] seeds in the median, and shrunk to [`STEPS_MAX`] steps.
    pub fn is_good(&self) -> bool {
        let found = |searches: &Vec<Search>| median(searches).is_some_and(|seeds| seeds <= MEDIAN_MAX);
        self.bugs.values().all(found) && self.shrunk().all(|shrunk| shrunk.steps <= STEPS_MAX)
    }

    fn shrunk(&self) -> impl Iterator<Item = &Shrunk> {
        self.bugs.values().flatten().filter_map(|search| search.found.as_ref()?.shrunk.as_ref())
    }

    /// A line a bug.
    pub fn render(&self) -> String {
        let width = self.bugs.keys().map(String::len).max().unwrap_or(0).max(3);
        let mut text = format!("{:width$}  median  worst  seeds from each start       seen by\n", "bug");
        for (bug, searches) in &self.bugs {
            let each: Vec<String> = searches.iter().map(|search| shown(seeds(search))).collect();
            let (median, worst) = (shown(median(searches)), shown(worst(searches)));
            let by = seen_by(searches).into_iter().map(|(claim, times)| format!("{claim} ({times})"));
            let by = by.collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "{bug:width$}  {median:>6}  {worst:>5}  {:26}  {by}", each.join(", "));
            for search in searches {
                let Some(Shrunk { steps, runs, file }) = search.found.as_ref().and_then(|found| found.shrunk.as_ref())
                else {
                    continue;
                };
                let _ = writeln!(text, "{:width$}  {steps:>6} steps left after {runs:>3} runs: {file}", "");
            }
        }
        let good = self.bugs.values().filter(|searches| median(searches).is_some_and(|seeds| seeds <= MEDIAN_MAX));
        let (good, all) = (good.count(), self.bugs.len());
        let _ = writeln!(text, "{good} of {all} bugs found within {MEDIAN_MAX} seeds in the median");
        let most = |of: fn(&Shrunk) -> u64| self.shrunk().map(of).max();
        if let (Some(steps), Some(runs)) = (most(|shrunk| shrunk.steps), most(|shrunk| shrunk.runs)) {
            let (count, small) = (self.shrunk().count(), self.shrunk().filter(|shrunk| shrunk.steps <= STEPS_MAX));
            let small = small.count();
            let _ = writeln!(
                text,
                "{small} of {count} shrunk to at most {STEPS_MAX} steps; at most {steps} steps left, at most {runs} runs"
            );
        }
        text
    }

    /// The same as JSON, one object a bug.
    pub fn json(&self) -> Vec<Value> {
        let found = |search: &Search| {
            let found = search.found.as_ref();
            json!({
                "start": search.start,
                "seeds": found.map(|found| found.seeds),
                "seed": found.map(|found| found.seed),
                "seen_by": found.map(|found| &found.by),
                "shrunk": found.and_then(|found| found.shrunk.as_ref()).map(|shrunk| {
                    json!({ "steps": shrunk.steps, "runs": shrunk.runs, "file": shrunk.file })
                }),
            })
        };
        let bug = |(bug, searches): (&String, &Vec<Search>)| {
            json!({
                "schema": "highwater/bug/1",
                "bug": bug,
                "median": median(searches),
                "worst": worst(searches),
                "seen_by": seen_by(searches).into_iter().map(|(claim, _)| claim).collect::<Vec<_>>(),
                "searches": searches.iter().map(found).collect::<Vec<_>>(),
            })
        };
        self.bugs.iter().map(bug).collect()
    }
}

fn seeds(search: &Search) -> Option<u64> {
    search.found.as_ref().map(|found| found.seeds)
}

fn shown(seeds: Option<u64>) -> String {
    seeds.map_or_else(|| "never".to_owned(), |seeds| seeds.to_string())
}

/// What was never found comes behind everything.
fn ranked(searches: &[Search]) -> Vec<Option<u64>> {
    let mut all: Vec<Option<u64>> = searches.iter().map(seeds).collect();
    all.sort_by_key(|seeds| seeds.unwrap_or(u64::MAX));
    all
}

fn median(searches: &[Search]) -> Option<u64> {
    let all = ranked(searches);
    *all.get(all.len() / 2)?
}

fn worst(searches: &[Search]) -> Option<u64> {
    *ranked(searches).last()?
}

/// Who saw it and how often, the most frequent first.
fn seen_by(searches: &[Search]) -> Vec<(&str, usize)> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for claim in searches.iter().filter_map(|search| search.found.as_ref()).flat_map(|found| &found.by) {
        *times.entry(claim).or_default() += 1;
    }
    let mut times: Vec<(&str, usize)> = times.into_iter().collect();
    times.sort_by_key(|(claim, times)| (std::cmp::Reverse(*times), *claim));
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(bug: &str, start: u64, seeds: Option<u64>) -> Search {
        let by = vec!["order-kept".to_owned()];
        let found = seeds.map(|seeds| Found { seeds, seed: start + seeds - 1, by, shrunk: None });
        Search { bug: bug.to_owned(), start, found }
    }

    #[test]
    fn a_bug_that_cannot_be_shrunk_is_not_well_found() {
        for (steps, good) in [(10, true), (11, false)] {
            let mut found = search("bug_a", 1, Some(3));
            let shrunk = Shrunk { steps, runs: 120, file: "bug_a.toml".to_owned() };
            found.found.as_mut().unwrap().shrunk = Some(shrunk);
            let mut board = Scoreboard::default();
            board.add(found);
            assert_eq!(board.is_good(), good);
            let text = board.render();
            let counted = format!("{} of 1 shrunk to at most 10 steps; at most {steps} steps left", u64::from(good));
            assert!(text.contains(&counted) && text.contains("steps left after 120 runs: bug_a.toml"), "{text}");
        }
    }

    #[test]
    fn the_median_decides_and_what_was_never_found_is_the_worst() {
        let mut board = Scoreboard::default();
        for (start, seeds) in starts(3).zip([Some(50), None, Some(2)]) {
            board.add(search("bug_a", start, seeds));
        }
        assert!(board.is_good());
        let text = board.render();
        assert!(text.contains("bug_a      50  never  50, never, 2"), "{text}");
        assert!(text.contains("order-kept (2)"), "{text}");
        assert!(text.ends_with("1 of 1 bugs found within 50 seeds in the median\n"), "{text}");
        board.add(search("bug_b", 1, Some(51)));
        assert!(!board.is_good());
        assert_eq!(board.json()[1]["searches"][0]["seed"], 51);
    }
}
