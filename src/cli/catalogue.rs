//! `catalogue`: runs every scenario with every variant, and writes the page that lists them.

use super::{
    args::CatalogueOptions,
    exit::{self, Outcome},
    files::{self, ScenarioFile},
    one_run::{self, Order},
    output::print_line,
    simulate::worse,
};
use crate::report::{self, CATALOGUE_FILE, Listed, ListedRun, PAGE_FILE};

/// Runs the scenarios of a folder and writes `index.html`; with `--pages` also the report of each as written.
pub fn catalogue(options: &CatalogueOptions) -> Outcome {
    let mut scenarios = Vec::new();
    for path in files::in_folder(&options.folder)? {
        let file = ScenarioFile::read(&path)?;
        let variants = std::iter::once(None).chain(file.variants().map(|name| Some(name.to_owned())));
        let seed = file.scenario.seed;
        let orders: Vec<Order> = variants
            .map(|variant| Order {
                scenario: path.clone(),
                seed,
                out: (options.pages && variant.is_none()).then(|| options.out.clone()),
                journal: options.pages && variant.is_none(),
                variant,
                ..Order::default()
            })
            .collect();
        scenarios.push((file, orders));
    }
    let (mut worst, mut listed) = (exit::OK, Vec::new());
    for (file, orders) in scenarios {
        let mut runs = Vec::new();
        for (order, told) in orders.iter().zip(one_run::all(&orders)) {
            let outcome = told?.outcome;
            if outcome.exit != exit::OK {
                eprintln!("{}\n  {}\n  replay: {}", file.name, outcome.verdict, outcome.replay);
            }
            worst = worse(worst, outcome.exit);
            let resolved = file.resolve(order.variant.as_deref())?;
            let folder = one_run::folder(&options.out, &file.name, order.seed, order.variant.as_deref());
            let page = folder.join(PAGE_FILE);
            let beside = page.strip_prefix(&options.out).ok().filter(|_| page.exists());
            let broken = outcome.claims.iter().filter(|(_, status)| status.starts_with("violated"));
            let broken = broken.map(|(claim, _)| claim.clone()).collect();
            runs.push(ListedRun {
                variant: order.variant.clone(),
                era: resolved.scenario.era.map(|era| era.value),
                seed: order.seed,
                verdict: outcome.verdict,
                broken,
                exit: outcome.exit,
                page: beside.map(|page| page.display().to_string()),
                command: order.again(),
            });
        }
        let scenario = file.scenario;
        listed.push(Listed {
            name: file.name,
            title: scenario.title,
            teaches: scenario.teaches,
            ids: scenario.catalogue,
            questions: scenario.predictions.len(),
            runs,
        });
    }
    let page = report::File { name: CATALOGUE_FILE, bytes: report::catalogue(&listed).into_bytes() };
    for path in files::write(&options.out, &[page])? {
        print_line(&path.display().to_string())?;
    }
    Ok(worst)
}
