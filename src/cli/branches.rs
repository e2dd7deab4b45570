//! The branches of a run: the same seed with each variant, and with each fault left out, a process for each.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

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
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, order)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, orders.get(index)?)))
        {
            done.push((index, one_run::in_a_child(order)));
        }
        done
    };
    let jobs = thread::available_parallelism().map_or(1, Into::into).min(orders.len());
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, told)| Ok(told?.branch.expect("a branch tells itself"))).collect()
}
