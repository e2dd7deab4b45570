//! The branches of a run: the same seed with each variant, and with each fault left out, a process for each.

use super::{files::ScenarioFile, one_run::Order};
use crate::scenario::variant::without_steps;

/// Most branches of a run.
const BRANCHES_MAX: usize = 16;

/// The runs that stand beside `order`, in the order in which the page lists them: without what the command line sets, the
/// scenario as written, its variants, then each fault left out. What is set is set in all but the first.
pub fn beside(order: &Order, file: &ScenarioFile) -> Vec<Order> {
    let implied = without_steps(&file.scenario);
    let declared = file.variants().map(str::to_owned);
    let named = declared.chain(implied.iter().map(|variant| variant.name.value.clone())).map(Some);
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
    unset.into_iter().chain(variants.map(|variant| branch(variant, order.set.clone()))).take(BRANCHES_MAX).collect()
}
