//! `claims`: what settings promise under each budget of faults, and what runs by seed found, each in a process of its
//! own. The results do not depend on the number of processes.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    args::{ClaimsOptions, Format},
    exit::{self, Failure, Outcome},
    files::ScenarioFile,
    one_run::{self, Order, Told},
    output::{print, print_line},
    pool,
    progress::Progress,
    shrink::{self, Origin},
    way::Way,
};
use crate::{
    base::suggest::nearest,
    broker::config::Properties,
    explore::{
        claims::{BUDGETS, Budget, Cell, Found, Settings, page},
        shrink::Keeps,
    },
    scenario,
};

/// The page of all combinations, below the folder of reports.
const PAGE_FILE: &str = "claims.html";

/// A run: the number of its cell, of its row there, and its seed.
type Item = (usize, usize, u64);

/// Tells what settings promise, and finds out what they keep.
pub fn claims(options: &ClaimsOptions) -> Outcome {
    let settings = settings(options)?;
    let budgets = budgets(&options.budgets)?;
    let mut cells = match options.matrix {
        true => Cell::matrix(&settings, &options.replicas).map_err(Failure::usage)?,
        false => vec![Cell::new(settings)],
    };
    cells.iter_mut().for_each(|cell| cell.prepare(&budgets));
    let work = WorkFolder::make()?;
    search(&mut cells, options, &work)?;
    keep_counter_examples(&cells, options, &work)?;
    match options.format {
        Format::Json => cells.iter().flat_map(|cell| cell.json(&options.out)).try_for_each(|line| print_line(&line))?,
        Format::Text if options.matrix => print(&Cell::table(&cells))?,
        Format::Text => cells.iter().try_for_each(|cell| print(&cell.text(&options.out)))?,
    }
    if options.matrix {
        let path = options.out.join(PAGE_FILE);
        write(&path, page(&cells, options.seeds).as_bytes())?;
        if options.format == Format::Text {
            print_line(&format!("page: {}", path.display()))?;
        }
    }
    Ok(exit_code(&cells))
}

fn exit_code(cells: &[Cell]) -> u8 {
    if cells.iter().any(Cell::is_broken) {
        exit::VIOLATED
    } else if cells.iter().any(Cell::is_doubtful) {
        exit::UNKNOWN
    } else {
        exit::OK
    }
}

/// The settings that the options name, each said once and agreeing with the others.
fn settings(options: &ClaimsOptions) -> Result<Settings, Failure> {
    let mut settings = match &options.scenario {
        Some(path) => {
            let file = ScenarioFile::read(path)?;
            let faulty = |problem: String| Failure::usage(format!("{}: {problem}", path.display()));
            if file.scenario.swarm.is_some() {
                return Err(faulty(
                    "it draws its settings anew for each seed; claims judges those of one cluster".into(),
                ));
            }
            let resolved = file.resolve(None)?;
            Settings::of_scenario(&resolved).map_err(faulty)?
        }
        None => Settings::default(),
    };
    let of_scenario = settings.clone();
    for given in &options.settings {
        let Some((name, value)) = given.split_once('=') else {
            return Err(Failure::usage(format!("--set takes name=value, not `{given}`")));
        };
        let (name, value) = (name.trim(), value.trim());
        settings.set(name, value).map_err(|problem| {
            let from = options.scenario.as_ref().zip(of_scenario.value(name));
            let already = from.map(|(path, value)| format!("; {} says {name}={value}", path.display()));
            Failure::usage(format!("--set: {problem}{}", already.unwrap_or_default()))
        })?;
    }
    if let Some(path) = &options.producer {
        settings.set_producer(&properties(path)?).map_err(Failure::usage)?;
    }
    if let Some(path) = &options.config {
        settings.set_brokers(&properties(path)?).map_err(Failure::usage)?;
    }
    settings.check().map_err(Failure::usage)?;
    Ok(settings)
}

fn properties(path: &Path) -> Result<Properties, Failure> {
    let given = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Failure::usage(format!("{given}: {error}")))?;
    let properties = Properties::parse(&text, &given).map_err(Failure::usage)?;
    // A node takes the last value. Who asks what settings promise should know which they are.
    for (name, property) in properties.iter() {
        if let Some((value, origin)) = &property.replaced {
            let now = format!("{}: `{name}={}`", property.origin, property.value);
            return Err(Failure::usage(format!(
                "{now} contradicts `{name}={value}` in {origin}; leave one of them out"
            )));
        }
    }
    Ok(properties)
}

fn budgets(names: &[String]) -> Result<Vec<&'static Budget>, Failure> {
    if names.is_empty() {
        return Ok(BUDGETS.iter().collect());
    }
    let find = |name: &String| {
        Budget::by_name(name).ok_or_else(|| {
            let all = BUDGETS.iter().map(|budget| budget.name);
            let near = nearest(name, all.clone());
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let all: Vec<&str> = all.collect();
            Failure::usage(format!("--budget: there is no `{name}`{hint}\n  there are {}", all.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// Runs every budget of every cell with every seed.
fn search(cells: &mut [Cell], options: &ClaimsOptions, work: &WorkFolder) -> Result<(), Failure> {
    let items: Vec<Item> = (0..cells.len())
        .flat_map(|cell| {
            let rows = cells[cell].rows.len();
            (0..rows).flat_map(move |row| (1..=options.seeds).map(move |seed| (cell, row, seed)))
        })
        .collect();
    let jobs = pool::jobs(options.jobs, items.len());
    eprintln!("{} runs, {} seeds of each budget, {jobs} at a time", items.len(), options.seeds);
    let mut progress = Progress::new(items.len(), Instant::now(), None);
    let (mut found, mut broken) = (Vec::new(), 0);
    let run = |item: Item| {
        let told = work.run(&cells[item.0].scenario(item.1, item.2), item);
        (item, told.map(|told| what_was_found(&told, item.2)))
    };
    pool::each(items, jobs, &mut progress, run, |(item, told), progress| {
        let told = told?;
        let promised = cells[item.0].rows[item.1].promise.is_kept();
        broken += u64::from(!told.broken.is_empty() || promised && told.lost > 0);
        found.push((item, told));
        progress.done(broken);
        Ok(ControlFlow::Continue(()))
    })?;
    found.into_iter().for_each(|((cell, row, _), told)| cells[cell].rows[row].tally.add(told));
    Ok(())
}

fn what_was_found(told: &Told, seed: u64) -> Found {
    let status = |claim: &str| told.outcome.claims.get(claim).map(String::as_str);
    let broken = told.outcome.claims.iter().filter(|(_, status)| *status == "violated").map(|(claim, _)| claim.clone());
    let lost = told.json["lost"].as_array().map_or(0, |lost| lost.len() as u64);
    let unpromised = told.json["unpromised"].as_u64().unwrap_or(0);
    let judged = !matches!(status("acked-records-survive"), Some("unknown") | None);
    Found {
        seed,
        // Every fault struck, at a partition under load, and the audit read what became of every record.
        exercised: told.outcome.exit != exit::UNKNOWN && judged,
        lost: lost + unpromised,
        events: told.outcome.events,
        broken: broken.collect(),
    }
}

/// Runs to shrink each counter-example, if nothing else is said. A matrix has hundreds of them.
const SHRINK_RUNS: u64 = 60;

/// Writes the counter-example of each budget as a scenario of its own, and makes it smaller.
fn keep_counter_examples(cells: &[Cell], options: &ClaimsOptions, work: &WorkFolder) -> Result<(), Failure> {
    let runs_max = options.shrink.unwrap_or(if options.matrix { 0 } else { SHRINK_RUNS });
    let mut items: Vec<Item> = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        for (row, found) in cell.counter_examples() {
            let text = cell.scenario(row, found.seed);
            write(&cell.counter_example_path(&options.out, row), text.as_bytes())?;
            items.push((index, row, found.seed));
        }
    }
    if runs_max == 0 || items.is_empty() {
        return Ok(());
    }
    eprintln!("shrinking {} counter-examples, at most {runs_max} runs each", items.len());
    let mut progress = Progress::new(items.len(), Instant::now(), None);
    let jobs = pool::jobs(options.jobs, items.len());
    let shrink = |item: Item| shrink_one(&cells[item.0], item, runs_max, &options.out, work);
    pool::each(items, jobs, &mut progress, shrink, |shrunk, progress| {
        progress.done(0);
        shrunk.map(ControlFlow::Continue)
    })
}

/// Makes the counter-example of a budget smaller, as long as it loses records, or breaks a claim, in the same way.
fn shrink_one(cell: &Cell, item: Item, runs_max: u64, out: &Path, work: &WorkFolder) -> Result<(), Failure> {
    let (_, row, seed) = item;
    let found = &cell.rows[row];
    let mut begin = scenario::parse(&cell.scenario(row, seed)).expect("it was run just now");
    let is_promised = found.promise.is_kept();
    if is_promised {
        begin.expect.clear();
    }
    let told = work.run(&begin.to_string(), item)?;
    let way = if found.is_broken() { Way::of(Ok(told))? } else { Way::of_loss(&told) };
    let from = format!("the budget `{}` of claims", found.budget.name);
    let origin = Origin { from: &from, variant: None, keeps: Keeps::Settings };
    let path = cell.counter_example_path(out, row);
    way.map_or(Ok(()), |way| shrink::smallest(begin, &origin, &way, runs_max, &path, None).map(|_| ()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::cannot_write(format!("{}: {error}", path.display()));
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
    fs::write(path, bytes).map_err(failed)
}

/// A folder for the scenarios of the runs, gone when the search is.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("highwater-claims-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| Failure::cannot_write(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// Runs a scenario in a process of its own.
    fn run(&self, scenario: &str, (cell, row, seed): Item) -> Result<Told, Failure> {
        let path = self.0.join(format!("{cell}-{row}-{seed}.toml"));
        write(&path, scenario.as_bytes())?;
        let order = Order { scenario: path.clone(), seed, ..Order::default() };
        let told = one_run::in_a_child(&order)?;
        let _ = fs::remove_file(&path);
        Ok(told)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
