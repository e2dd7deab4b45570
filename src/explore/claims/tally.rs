//! What the runs of one budget found: in how many acknowledged records were lost, and how sure that makes us.

use std::collections::BTreeMap;

/// Outcome of one run, as far as a promise is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its seed.
    pub seed: u64,
    /// The faults struck a loaded partition, and every acknowledged record was looked for.
    pub exercised: bool,
    /// Acknowledged records that are gone.
    pub lost: u64,
    /// Events of the run: of two counter-examples the shorter tells more.
    pub events: u64,
    /// Other claims that broke: nothing in these settings permits it.
    pub broken: Vec<String>,
}

/// All runs of one budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub runs: u64,
    /// How many of them count.
    pub exercised: u64,
    /// In how many records were lost.
    pub lossy: u64,
    /// Fewest and most records lost in one.
    pub lost: Option<(u64, u64)>,
    /// The run to look at: one that broke another claim before one that lost records, then the one with the fewest
    /// records lost, the fewest events, the lowest seed.
    pub counter_example: Option<Found>,
    /// Other claims that broke, with the first seed of each.
    pub broken: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds a run; the order does not matter.
    pub fn add(&mut self, found: Found) {
        self.runs += 1;
        for claim in &found.broken {
            let seed = self.broken.entry(claim.clone()).or_insert(found.seed);
            *seed = found.seed.min(*seed);
        }
        let is_lossy = found.exercised && found.lost > 0;
        self.exercised += u64::from(found.exercised);
        self.lossy += u64::from(is_lossy);
        if is_lossy {
            let (least, most) = self.lost.unwrap_or((found.lost, found.lost));
            self.lost = Some((least.min(found.lost), most.max(found.lost)));
        }
        if !is_lossy && found.broken.is_empty() {
            return;
        }
        let rank = |found: &Found| (found.broken.is_empty(), found.lost, found.events, found.seed);
        if self.counter_example.as_ref().is_none_or(|kept| rank(&found) < rank(kept)) {
            self.counter_example = Some(found);
        }
    }

    /// The result in words: `held in 200 of 200, loss in at most 1.5 % of such runs (95 %)`.
    pub fn words(&self) -> String {
        let Self { exercised, lossy, .. } = self;
        let others = self.broken.iter().map(|(claim, seed)| format!("; {claim} BROKE, first with seed {seed}"));
        let survival = match (exercised, self.lost) {
            (0, _) => "not exercised".to_owned(),
            (_, None) => {
                let bound = 100.0 * upper_bound(*exercised);
                format!("held in {exercised} of {exercised}, loss in at most {bound:.1} % of such runs (95 %)")
            }
            (_, Some((least, most))) if least == most => {
                format!("lost {least} record{} in {lossy} of {exercised}", if least == 1 { "" } else { "s" })
            }
            (_, Some((least, most))) => format!("lost {least} to {most} records in {lossy} of {exercised}"),
        };
        survival + &others.collect::<String>()
    }
}

/// How often something may happen that was not seen in `runs` independent runs, at most, with 95 % confidence: the exact
/// binomial bound, about 3 / `runs`.
pub fn upper_bound(runs: u64) -> f64 {
    1.0 - 0.05_f64.powf(1.0 / runs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(seed: u64, lost: u64, events: u64) -> Found {
        Found { seed, exercised: true, lost, events, broken: Vec::new() }
    }

    #[test]
    fn the_order_of_runs_does_not_matter_and_the_shortest_counter_example_is_kept() {
        let mut all = vec![found(1, 0, 50), found(2, 3, 90), found(3, 1, 80), found(4, 1, 70)];
        let tally = |all: &[Found]| {
            let mut tally = Tally::default();
            all.iter().for_each(|found| tally.add(found.clone()));
            tally
        };
        let forwards = tally(&all);
        all.reverse();
        assert_eq!(forwards, tally(&all));
        assert_eq!(forwards.words(), "lost 1 to 3 records in 3 of 4");
        assert_eq!(forwards.counter_example.map(|found| found.seed), Some(4));
    }

    #[test]
    fn a_run_that_broke_another_claim_is_the_one_to_look_at() {
        let mut tally = Tally::default();
        tally.add(found(1, 2, 50));
        tally.add(Found { broken: vec!["order-kept".to_owned()], ..found(7, 0, 90) });
        assert_eq!(tally.words(), "lost 2 records in 1 of 2; order-kept BROKE, first with seed 7");
        assert_eq!(tally.counter_example.map(|found| found.seed), Some(7));
    }

    #[test]
    fn what_never_bit_is_not_held() {
        let mut tally = Tally::default();
        assert_eq!(tally.words(), "not exercised");
        tally.add(Found { exercised: false, ..found(1, 0, 10) });
        assert_eq!(tally.words(), "not exercised");
        (1..=200).for_each(|seed| tally.add(found(seed, 0, 10)));
        assert_eq!(tally.words(), "held in 200 of 200, loss in at most 1.5 % of such runs (95 %)");
    }
}
