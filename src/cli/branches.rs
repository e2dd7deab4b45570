//! The branches of a run: the same seed with each variant, and with each fault left out, a process for each.

use super::{files::ScenarioFile, one_run::Order};
use crate::{base::switches::TABLE, explore::swarm, scenario::variant::without_steps};

/// Most branches of a run.
const BRANCHES_MAX: usize = 16;

/// The runs that stand beside `order`, in the order in which the page lists them: without what the command line sets, the
/// scenario as written, its variants, each fault left out, and last the planted bugs. What is set is set in all but the
/// first. With them, how many more there would be.
pub fn beside(order: &Order, file: &ScenarioFile) -> (Vec<Order>, usize) {
    // With `[swarm]` the faults are those that the seed draws.
    let implied = without_steps(&swarm::draw(&file.scenario, order.seed));
    let is_bug = |name: &&str| TABLE.iter().any(|switch| switch.is_planted_bug() && switch.name == *name);
    let (bugs, declared): (Vec<&str>, Vec<&str>) = file.variants().partition(is_bug);
    let implied = implied.iter().map(|variant| &*variant.name.value);
    let named = declared.into_iter().chain(implied).chain(bugs).map(|name| Some(name.to_owned()));
    let variants = std::iter::once(None).chain(named).filter(|variant| *variant != order.variant);
    let branch = |variant, set| Order {
        variant,
        set,
        latest_ns: Vec::new(),
        out: None,
        journal: true,
        branch: true,
        ..order.clone()
    };
    let unset = (!order.set.is_empty()).then(|| branch(order.variant.clone(), Vec::new()));
    let mut all: Vec<Order> =
        unset.into_iter().chain(variants.map(|variant| branch(variant, order.set.clone()))).collect();
    let left_out = all.len().saturating_sub(BRANCHES_MAX);
    all.truncate(BRANCHES_MAX);
    (all, left_out)
}
