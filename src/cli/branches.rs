//! The branches of a run: the same seed with each variant, and with each fault left out, a process for each.

use super::{
    exit::Failure,
    files::ScenarioFile,
    one_run::{self, Order},
};
use crate::{report::Branch, scenario::variant::without_steps};

/// Most branches of a run.
const BRANCHES_MAX: usize = 16;

/// Does the runs that stand beside `order`, in the order in which the page lists them: the scenario as written, its
/// variants, then each fault left out.
///
/// # Errors
/// A branch could not be run.
pub fn beside(order: &Order, file: &ScenarioFile) -> Result<Vec<Branch>, Failure> {
    let implied = without_steps(&file.scenario);
    let declared = file.variants().map(str::to_owned);
    let named = declared.chain(implied.iter().map(|variant| variant.name.value.clone())).map(Some);
    let variants = std::iter::once(None).chain(named).filter(|variant| *variant != order.variant);
    let orders: Vec<Order> = variants
        .take(BRANCHES_MAX)
        .map(|variant| Order { variant, out: None, journal: true, branch: true, ..order.clone() })
        .collect();
    one_run::all(&orders).into_iter().map(|told| Ok(told?.branch.expect("a branch tells itself"))).collect()
}
