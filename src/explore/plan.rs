//! The runs of a sweep, in a fixed order: committed failing seeds first, then seed by seed over all scenarios.

use std::str::FromStr;

/// Most seeds of one sweep: every run of it is held in memory until it is done.
pub const SEEDS_MAX: u64 = 1_000_000;

/// A closed range of seeds, written `1..100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedRange {
    /// First seed.
    pub first: u64,
    /// Last seed, included.
    pub last: u64,
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected seeds as `1..100`, both included, found `{text}`");
        let (first, last) = match text.split_once("..") {
            Some((first, last)) => (first, last.strip_prefix('=').unwrap_or(last)),
            None => (text, text),
        };
        let range = Self { first: first.parse().map_err(|_| wrong())?, last: last.parse().map_err(|_| wrong())? };
        match range.last.checked_sub(range.first) {
            None => Err(wrong()),
            Some(more) if more >= SEEDS_MAX => Err(format!("expected at most {SEEDS_MAX} seeds, found `{text}`")),
            Some(_) => Ok(range),
        }
    }
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// Path of the scenario file.
    pub scenario: String,
    /// Seed.
    pub seed: u64,
    /// Variant, or the scenario as it stands.
    pub variant: Option<String>,
}

/// Which of the runs this process does: `I/N` is every N-th from the I-th, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub index: u64,
    /// How many there are.
    pub count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(index, count)| {
            let shard = Self { index: index.parse().ok()?, count: count.parse().ok()? };
            (1..=shard.count).contains(&shard.index).then_some(shard)
        });
        parsed.ok_or_else(|| format!("expected a shard as `1/4`, from 1, found `{text}`"))
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Scenario files with the variants to run of each (`None`: as it stands), and how many seeds it asks for itself.
    pub scenarios: Vec<(String, Vec<Option<String>>, u64)>,
    /// Seeds given on the command line; otherwise each scenario's own `sweep`, from 1.
    pub seeds: Option<SeedRange>,
    /// This process's share.
    pub shard: Shard,
    /// Runs that failed once and were committed: they go first.
    pub corpus: Vec<Run>,
}

impl Plan {
    /// The runs of this share in order, each with its number in the whole plan.
    pub fn runs(&self) -> Vec<(usize, Run)> {
        let own_last = self.scenarios.iter().map(|(_, _, sweep)| *sweep).max().unwrap_or(0);
        let SeedRange { first, last } = self.seeds.unwrap_or(SeedRange { first: 1, last: own_last });
        let of_seed = |seed: u64| {
            let asked = move |sweep: &u64| self.seeds.is_some() || seed <= *sweep;
            self.scenarios.iter().filter(move |(_, _, sweep)| asked(sweep)).flat_map(move |(scenario, variants, _)| {
                variants.iter().map(move |variant| Run { scenario: scenario.clone(), seed, variant: variant.clone() })
            })
        };
        let planned = (first..=last).flat_map(of_seed);
        let fresh: Vec<Run> = planned.filter(|run| !self.corpus.contains(run)).collect();
        let all = self.corpus.iter().cloned().chain(fresh);
        let mine = |(index, _): &(usize, Run)| *index as u64 % self.shard.count == self.shard.index - 1;
        all.enumerate().filter(mine).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scenario: &str, seed: u64) -> Run {
        Run { scenario: scenario.to_owned(), seed, variant: None }
    }

    fn plan(seeds: Option<&str>, shard: &str) -> Plan {
        Plan {
            scenarios: vec![("a".to_owned(), vec![None], 1), ("b".to_owned(), vec![None], 2)],
            seeds: seeds.map(|text| text.parse().unwrap()),
            shard: shard.parse().unwrap(),
            corpus: vec![run("b", 9)],
        }
    }

    #[test]
    fn committed_seeds_go_first_and_each_scenario_has_its_own_count() {
        let runs = |plan: Plan| plan.runs().into_iter().map(|(_, run)| run).collect::<Vec<_>>();
        assert_eq!(runs(plan(None, "1/1")), [run("b", 9), run("a", 1), run("b", 1), run("b", 2)]);
        assert_eq!(runs(plan(Some("9..9"), "1/1")), [run("b", 9), run("a", 9)]);
    }

    #[test]
    fn shards_together_do_every_run_once() {
        let mut all: Vec<(usize, Run)> =
            (1..=3).flat_map(|shard| plan(Some("1..10"), &format!("{shard}/3")).runs()).collect();
        all.sort();
        let mut whole = plan(Some("1..10"), "1/1").runs();
        whole.sort();
        assert_eq!(all, whole);
    }

    #[test]
    fn wrong_ranges_are_refused_with_the_form_expected() {
        for text in ["5..1", "a..b", "..", ""] {
            assert!(text.parse::<SeedRange>().unwrap_err().contains("1..100"), "{text}");
        }
        let most = format!("5..{}", 4 + SEEDS_MAX);
        assert_eq!(most.parse(), Ok(SeedRange { first: 5, last: 4 + SEEDS_MAX }));
        for text in ["5..1000005", "0..18446744073709551615"] {
            assert!(text.parse::<SeedRange>().unwrap_err().contains("at most 1000000 seeds"), "{text}");
        }
        for text in ["0/3", "4/3", "1", "1/0"] {
            assert!(text.parse::<Shard>().unwrap_err().contains("1/4"), "{text}");
        }
    }
}
