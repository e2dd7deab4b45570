//! One run in a process of its own: the child that does it, and the parent that starts it and reads what it found.
//!
//! The child prints one line of JSON ([`Told`]) and nothing else on standard output.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    args::RunOptions,
    branches,
    exit::{self, Failure, Outcome as ExitOutcome},
    files::{self, ScenarioFile},
    output::print_line,
};
use crate::{
    base::TopicId,
    check::story::{self, Aftermath, Story},
    engine::{self, Carried, Finished, Keep},
    explore::{Outcome, swarm},
    lesson,
    protocol::{api, frame::PREFIX_BYTES, tell},
    report::{self, Branch, Change, JOURNAL_FILE, MANIFEST_FILE, Manifest, Messages, PERFETTO_FILE, Recorded},
    runtime::sim::child,
    scenario::{Resolved, Spot, resolve::resolve_with, variant::read_set},
    trace::{Event, journal::Entry},
};

/// Real time after which a run is taken to hang.
const WATCHDOG_SECONDS: u32 = 300;

/// Where only settings differ from another run, a step whose trigger does not come true fires this long after it fired
/// there: other settings may take a little longer to the same point.
const GRACE: Duration = Duration::from_millis(100);

/// What a child tells its parent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// For summaries and programs.
    pub outcome: Outcome,
    /// For people.
    pub text: String,
    /// The verdict as `--format json` prints it.
    pub json: serde_json::Value,
    /// When each step fired, since the story began, in nanoseconds.
    pub fired_ns: Vec<u64>,
    /// What became of every record, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aftermath: Option<Aftermath>,
    /// The run as the page of another carries it, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub branch: Option<Branch>,
    /// Why the run's files could not be written; what came of it is told all the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unwritten: Option<String>,
}

/// Which run, and where its report goes.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The scenario file.
    pub scenario: PathBuf,
    /// The seed.
    pub seed: u64,
    /// The variant.
    pub variant: Option<String>,
    /// What is set besides, each `KEY=VALUE`.
    pub set: Vec<String>,
    /// When each step fired under other settings, since the story began, in nanoseconds.
    pub latest_ns: Vec<u64>,
    /// Ask what became of every record.
    pub aftermath: bool,
    /// Folder of reports; `None` writes none.
    pub out: Option<PathBuf>,
    /// Keep the journal.
    pub journal: bool,
    /// Tell the run as the page of another carries it.
    pub branch: bool,
    /// Write what was recorded, and nothing that is made of it.
    pub record: bool,
}

/// Does a run in a child process.
///
/// # Errors
/// The scenario is faulty, the report cannot be written, or the child could not be started.
pub fn in_a_child(order: &Order) -> Result<Told, Failure> {
    match told_by_a_child(order)? {
        Told { unwritten: Some(why), .. } => Err(Failure::cannot_write(why)),
        told => Ok(told),
    }
}

/// The same for who tells what came of the run before saying that its report could not be written.
///
/// # Errors
/// The scenario is faulty, or the child could not be started.
pub fn told_by_a_child(order: &Order) -> Result<Told, Failure> {
    let program = std::env::current_exe().map_err(Failure::failed)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--child").arg(&order.scenario).args(["--seed", &order.seed.to_string()]);
    if let Some(variant) = &order.variant {
        command.args(["--variant", variant]);
    }
    command.args(order.set.iter().flat_map(|set| ["--set", set]));
    if !order.latest_ns.is_empty() {
        let latest: Vec<String> = order.latest_ns.iter().map(u64::to_string).collect();
        command.args(["--latest-ns", &latest.join(",")]);
    }
    if order.aftermath {
        command.arg("--aftermath");
    }
    match &order.out {
        Some(out) => command.arg("--out").arg(out),
        None => command.arg("--no-report"),
    };
    if !order.journal {
        command.arg("--no-journal");
    }
    if order.branch {
        command.arg("--branch");
    }
    if order.record {
        command.arg("--record");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child::without_address_randomisation();
    let output = command.output().map_err(Failure::failed)?;
    if let Ok(told) = serde_json::from_slice(&output.stdout) {
        return Ok(told);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code @ (exit::HARNESS | exit::USAGE | exit::CANNOT_WRITE)) => Err(Failure { code, message: stderr }),
        _ => {
            let message = format!("{stderr}\nthe run ended with {}\n  again: {}", output.status, order.again());
            Err(Failure { code: exit::HARNESS, message: message.trim().to_owned() })
        }
    }
}

/// Does runs, each in a process of its own and under the faults of its scenario, as many at a time as there are cores;
/// what each told, in their order.
pub fn all(orders: &[Order]) -> Vec<Result<Told, Failure>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(order) = orders.get(index) else { return done };
            done.push((index, order.clone().under_the_same_faults().and_then(|order| in_a_child(&order))));
        }
    };
    let jobs = thread::available_parallelism().map_or(1, Into::into).min(orders.len());
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, told)| told).collect()
}

impl Order {
    /// The command that repeats the run.
    pub fn again(&self) -> String {
        let variant = self.variant.as_deref().map(|name| format!(" --variant {}", report::shell_word(name)));
        let scenario = report::shell_word(&self.scenario.display().to_string());
        let set: String = self.set.iter().map(|set| format!(" --set {}", report::shell_word(set))).collect();
        format!("cargo sim run {scenario} --seed {}{}{set}", self.seed, variant.unwrap_or_default())
    }

    /// The order with the moments at which the steps fire without what is set, if it does not name them: the same faults
    /// for other settings.
    ///
    /// # Errors
    /// As [`in_a_child`].
    pub fn under_the_same_faults(self) -> Result<Self, Failure> {
        if self.set.is_empty() || !self.latest_ns.is_empty() {
            return Ok(self);
        }
        let base = Self { set: Vec::new(), out: None, journal: false, aftermath: false, branch: false, ..self.clone() };
        Ok(Self { latest_ns: in_a_child(&base)?.fired_ns, ..self })
    }
}

/// The child: one run, then one line.
pub fn child(options: &RunOptions) -> ExitOutcome {
    let [path] = &options.scenarios[..] else { return Err(Failure::usage("--child runs one scenario")) };
    let file = ScenarioFile::read(path)?;
    let seed = options.seed.unwrap_or(file.scenario.seed);
    let mut resolved = resolve(&file, options.variant.as_deref(), &options.set, seed)?;
    resolved.latest = options.latest_ns.iter().map(|ns| Duration::from_nanos(*ns) + GRACE).collect();
    let order = Order {
        scenario: path.clone(),
        seed,
        variant: options.variant.clone(),
        set: options.set.clone(),
        latest_ns: options.latest_ns.clone(),
        branch: options.branch,
        ..Order::default()
    };
    let again = order.again();
    let hung = format!("{} did not end within {WATCHDOG_SECONDS} s\n  again: {again}\n", file.name);
    child::watchdog(WATCHDOG_SECONDS, &hung, i32::from(exit::HARNESS));
    let keep = match options.no_journal {
        false if !options.no_report && !options.record => Keep::Messages,
        false if !options.no_report || options.aftermath || options.branch => Keep::Events,
        _ => Keep::Nothing,
    };
    let finished = catch_unwind(AssertUnwindSafe(|| engine::run(&resolved, seed, keep))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without a message");
        Failure { code: exit::HARNESS, message: format!("{}: {text}\n  again: {again}", file.name) }
    })?;
    let faults = finished.faults;
    let fired_ns: Vec<u64> = finished.fired.iter().map(|fired| fired.as_nanos() as u64).collect();
    let mut recorded = record(&file, &resolved, &order, finished);
    let mut written = Ok(());
    if options.record {
        let names = report::names(&recorded).into_iter().filter(|name| [MANIFEST_FILE, JOURNAL_FILE].contains(name));
        let files: Vec<report::File> = names.map(|name| report::file(&recorded, name)).collect();
        written = files::write(&place(&options.out, &recorded.manifest), &files).map(drop);
    } else if !options.no_report {
        let drawn = with_runs_beside(&order, &file, &fired_ns, &mut recorded)?;
        written = write(&options.out, &recorded, drawn);
    }
    let told = Told {
        outcome: outcome(&recorded.manifest, faults),
        text: report::run_lines(&recorded.manifest),
        json: serde_json::from_str(&report::run_json(&recorded.manifest)).expect("it was just written"),
        aftermath: options.aftermath.then(|| {
            let Manifest { verdict, ending, plan, .. } = &recorded.manifest;
            Aftermath::of(&recorded.entries, verdict, ending, &story::every(&recorded.entries, plan, verdict))
        }),
        fired_ns,
        branch: options.branch.then(|| Branch::of(&recorded)),
        unwritten: written.err().map(|failure| failure.message),
    };
    print_line(&serde_json::to_string(&told).expect("it is plain data"))?;
    Ok(recorded.manifest.verdict.exit)
}

/// Most settings that are tried for the stories of one run, so that a run takes less than a second.
const TRIED_MAX: usize = 12;

/// Does the runs beside a run: its branches, and the settings that its stories speak of, with the same seed and the same
/// faults; the stories learn what came of them. Meanwhile it draws what needs none of them, and returns that. A setting that
/// cannot be run here (another one forbids it) is not confirmed.
fn with_runs_beside(
    order: &Order,
    file: &ScenarioFile,
    fired_ns: &[u64],
    recorded: &mut Recorded,
) -> Result<Vec<report::File>, Failure> {
    let mut sets: Vec<Vec<String>> = Vec::new();
    for set in recorded.manifest.stories.iter().flat_map(Story::sets).filter(|_| order.set.is_empty()) {
        if !sets.iter().any(|known| known == set) && sets.len() < TRIED_MAX {
            sets.push(set.to_vec());
        }
    }
    let tried = sets.iter().map(|set| Order {
        set: set.clone(),
        latest_ns: fired_ns.to_vec(),
        aftermath: true,
        out: None,
        journal: true,
        ..order.clone()
    });
    let kept = !recorded.entries.is_empty();
    let (branches, left_out) = if kept { branches::beside(order, file) } else { Default::default() };
    recorded.manifest.branches_left_out = left_out;
    let orders: Vec<Order> = tried.chain(branches).collect();
    let (told, drawn) = thread::scope(|scope| {
        let early = if kept { &[JOURNAL_FILE, PERFETTO_FILE][..] } else { &[] };
        let run = &*recorded;
        let drawing = scope.spawn(|| early.iter().map(|name| report::file(run, name)).collect());
        (all(&orders), drawing.join().expect("drawing does not panic"))
    });
    let mut told = told.into_iter();
    for (set, told) in sets.iter().zip(told.by_ref()) {
        let Some(aftermath) = told.ok().and_then(|told| told.aftermath) else { continue };
        recorded.manifest.stories.iter_mut().for_each(|story| story.learn(set, &aftermath));
    }
    recorded.manifest.stories.iter_mut().for_each(Story::tell_only_what_was_tried);
    story::remember(&recorded.manifest.stories, &mut recorded.manifest.verdict.lost);
    for told in told {
        match told {
            Ok(told) => recorded.branches.push(told.branch.expect("a branch tells itself")),
            // What is set may contradict a variant.
            Err(failure) if failure.code == exit::USAGE && !order.set.is_empty() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(drawn)
}

fn record(file: &ScenarioFile, resolved: &Resolved, order: &Order, finished: Finished) -> Recorded {
    let change = |change: &crate::scenario::variant::Change| Change {
        key: change.key.clone(),
        from: change.from.clone(),
        to: change.to.clone(),
    };
    let told = match finished.entries.is_empty() {
        true => Vec::new(),
        false => story::told(story::every(&finished.entries, &resolved.plan, &finished.verdict)),
    };
    // What a question says is right for the settings of its scenario or variant.
    let lesson = match order.set.is_empty() {
        true => lesson::questions(resolved, &finished.entries, &finished.verdict),
        false => Vec::new(),
    };
    let manifest = Manifest {
        schema: report::SCHEMA.into(),
        highwater: env!("CARGO_PKG_VERSION").into(),
        scenario: file.name.clone(),
        path: file.path.clone(),
        title: file.scenario.title.clone(),
        teaches: file.scenario.teaches.clone(),
        variant: resolved.variant.clone(),
        set: order.set.clone(),
        latest_ns: order.latest_ns.clone(),
        changes: resolved.changes.iter().map(change).collect(),
        seed: order.seed,
        verdict: finished.verdict,
        trace_hash: finished.trace_hash,
        events: finished.events,
        simulated_ns: finished.simulated,
        ending: finished.ending,
        stories: told,
        branches_left_out: 0,
        lesson,
        plan: resolved.plan.clone(),
        config: resolved.settings(),
        scenario_text: file.text.clone(),
        drawn: file.scenario.swarm.is_some().then(|| resolved.alone().to_string()),
    };
    let messages = told_messages(&finished.entries, &finished.carried);
    Recorded { manifest, entries: finished.entries, messages, branches: Vec::new() }
}

/// What the messages of a run said.
fn told_messages(entries: &[Entry], carried: &[Carried]) -> Messages {
    let created = entries.iter().filter_map(|entry| match &entry.event {
        Event::TopicCreated { topic, topic_id } => Some((*topic_id, topic.clone())),
        _ => None,
    });
    let topics: tell::Topics = created.chain([(TopicId::METADATA, "__cluster_metadata".into())]).collect();
    let mut messages = Messages::default();
    for Carried { sent, version, frame } in carried {
        let Event::MessageSent { api, request, .. } = &entries[sent.0 as usize - 1].event else {
            panic!("event {} sent no message", sent.0)
        };
        let api = api::by_name(api).expect("it was sent by its name");
        let frame = frame.concat();
        messages.add(*sent, &tell::message(api, *version, *request, &frame[PREFIX_BYTES..], &topics));
    }
    messages
}

/// The scenario as `seed` plays it, with one of its variants and with keys from the command line, each `KEY=VALUE`.
///
/// # Errors
/// As [`ScenarioFile::resolve`], or a key or a value that means nothing here.
pub fn resolve(file: &ScenarioFile, variant: Option<&str>, set: &[String], seed: u64) -> Result<Resolved, Failure> {
    let resolved = file.resolve_at(variant, seed)?;
    if set.is_empty() {
        return Ok(resolved);
    }
    let wrong = |message: String| Failure::usage(format!("{}: --set: {message}", file.given));
    let set = set.iter().map(|text| read_set(text)).collect::<Result<_, _>>().map_err(wrong)?;
    let variant = variant.map(|name| Spot::new(name.to_owned(), 0));
    resolve_with(&swarm::draw(&file.scenario, seed), variant.as_ref(), &set).map_err(|problem| wrong(problem.message))
}

/// What a run is called besides its scenario and seed: its variant, and what was set.
pub fn label(variant: Option<&str>, set: &[String]) -> Option<String> {
    let parts: Vec<&str> = variant.into_iter().chain(set.iter().map(String::as_str)).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// Folder of a run: `OUT/scenario/seed-7`, with the variant's name behind it.
pub fn folder(out: &Path, scenario: &str, seed: u64, variant: Option<&str>) -> PathBuf {
    let plain = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' };
    let variant = variant.map(|name| {
        let words: Vec<String> = name.chars().map(plain).collect::<String>().split('-').map(str::to_owned).collect();
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        format!("-{}", words.join("-"))
    });
    out.join(scenario).join(format!("seed-{seed}{}", variant.unwrap_or_default()))
}

/// Where the files of a run go.
fn place(out: &Path, manifest: &Manifest) -> PathBuf {
    let name = label(manifest.variant.as_deref(), &manifest.set);
    folder(out, &manifest.scenario, manifest.seed, name.as_deref())
}

/// Writes the files of a run, some of which were drawn before.
fn write(out: &Path, recorded: &Recorded, drawn: Vec<report::File>) -> Result<(), Failure> {
    let rest = report::names(recorded).into_iter().filter(|name| drawn.iter().all(|file| file.name != *name));
    let files: Vec<report::File> = rest.map(|name| report::file(recorded, name)).chain(drawn.iter().cloned()).collect();
    files::write(&place(out, &recorded.manifest), &files).map(|_| ())
}

fn outcome(manifest: &Manifest, faults: u64) -> Outcome {
    let verdict = &manifest.verdict;
    let claims = verdict.findings.iter().map(|found| (found.claim.name().to_owned(), found.status.name().to_owned()));
    Outcome {
        schema: 1,
        scenario: manifest.path.clone(),
        seed: manifest.seed,
        variant: manifest.variant.clone(),
        exit: verdict.exit,
        verdict: verdict.sentence.clone(),
        claims: claims.collect(),
        trace_hash: manifest.trace_hash.clone(),
        simulated_ns: manifest.simulated_ns.0,
        events: manifest.events,
        faults,
        marks: manifest.ending.marks.iter().map(|mark| mark.to_string()).collect(),
        replay: report::replay_command(manifest),
    }
}
