//! Commands and options.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args as Options, Parser, Subcommand, ValueEnum};

use crate::explore::{SeedRange, plan::Shard, shrink::RUNS_MAX};

/// What `--version` says.
const VERSION: &str = if cfg!(madsim) {
    concat!(env!("CARGO_PKG_VERSION"), " (simulation build)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (deployment build)")
};

/// Below the list of commands in `--help`.
const BUILDS: &str = "\
Two builds share these commands. `run`, `replay`, `sweep`, `shrink`, `claims`, `bugs` and `lesson` simulate a cluster:
start them with `cargo sim COMMAND`.
`serve`, `storage`, `topics`, `groups`, `produce` and `consume` work with a real one: start them with `cargo run --release -- COMMAND`.
`list`, `check`, `explain`, `diff`, `report` and `completions` are in both.

Exit codes: 0 all as expected, 1 a claim broke or a command failed, 2 unknown or nothing proved, 3 the harness is at fault,
64 wrong usage or a faulty file, 74 a result cannot be written. docs/commands.md tells more.";

/// Kafka-style replication under deterministic simulation, and the same broker for real clients.
#[derive(Debug, Parser)]
#[command(name = "highwater", version = VERSION, max_term_width = 100, after_help = BUILDS)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run scenarios by seed and say what became of every acknowledged record
    Run(RunOptions),
    /// Run again and demand the same trace hash
    Replay(ReplayOptions),
    /// Run scenarios over many seeds
    Sweep(SweepOptions),
    /// The smallest scenario that still breaks the same claim, as a new file
    Shrink(ShrinkOptions),
    /// The scenarios and what they teach
    List(ListOptions),
    /// Check scenario files without running them
    Check(CheckOptions),
    /// The stories of a run, or the life of one record, as text
    Explain(ExplainOptions),
    /// Two runs of a scenario beside each other: settings, the first event that differs, milestones
    Diff(DiffOptions),
    /// Run every scenario with every variant, and write the page that lists them
    Catalogue(CatalogueOptions),
    /// What settings promise under faults, and what became of acknowledged records by seed
    Claims(ClaimsOptions),
    /// Write the report of a recorded run again, from its journal
    Report(ReportOptions),
    /// Predict, observe, explain: the questions of a scenario, answered by its run
    Lesson(LessonOptions),
    /// Plant each bug in turn and count the seeds until a checker sees it
    Bugs(BugsOptions),
    /// A real broker for Kafka clients
    Serve(ServeOptions),
    /// Format a log directory
    Storage(StorageOptions),
    /// Create, list, describe and delete topics of a real cluster
    Topics(TopicsOptions),
    /// List, describe, reset and delete consumer groups of a real cluster
    Groups(GroupsOptions),
    /// Write lines from standard input to a topic of a real cluster
    Produce(ProduceOptions),
    /// Print the records of a topic of a real cluster
    Consume(ConsumeOptions),
    /// Print a completion script for a shell
    Completions(CompletionsOptions),
}

impl Command {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Replay(_) => "replay",
            Self::Sweep(_) => "sweep",
            Self::Shrink(_) => "shrink",
            Self::List(_) => "list",
            Self::Check(_) => "check",
            Self::Explain(_) => "explain",
            Self::Diff(_) => "diff",
            Self::Catalogue(_) => "catalogue",
            Self::Claims(_) => "claims",
            Self::Report(_) => "report",
            Self::Lesson(_) => "lesson",
            Self::Bugs(_) => "bugs",
            Self::Serve(_) => "serve",
            Self::Storage(_) => "storage",
            Self::Topics(_) => "topics",
            Self::Groups(_) => "groups",
            Self::Produce(_) => "produce",
            Self::Consume(_) => "consume",
            Self::Completions(_) => "completions",
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Options)]
pub struct RunOptions {
    /// Scenario files
    #[arg(required = true)]
    pub scenarios: Vec<PathBuf>,
    /// Seed; the scenario's own if not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// A variant of the scenario, by name
    #[arg(long)]
    pub variant: Option<String>,
    /// Another setting, as topic.orders.min.insync.replicas=2, under the same faults; every claim then has to hold
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where reports go
    #[arg(long, default_value = "reports")]
    pub out: PathBuf,
    /// Keep no journal: no events.jsonl and no life stories, the same hash
    #[arg(long)]
    pub no_journal: bool,
    /// Write no report
    #[arg(long)]
    pub no_report: bool,
    /// How results are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// One process for one run: print the outcome as JSON and nothing else
    #[arg(long, hide = true)]
    pub child: bool,
    /// With --set: when each step fired without it, in nanoseconds
    #[arg(long, hide = true, value_delimiter = ',')]
    pub latest_ns: Vec<u64>,
    /// Print what became of every record too
    #[arg(long, hide = true)]
    pub aftermath: bool,
    /// Of such a run: print the milestones too, for the page of another
    #[arg(long, hide = true)]
    pub branch: bool,
    /// Of such a run: write what was recorded, and nothing that is made of it
    #[arg(long, hide = true)]
    pub record: bool,
}

#[derive(Debug, Options)]
pub struct ReplayOptions {
    /// A scenario file, or the run.json of a run
    pub run: PathBuf,
    /// Seed; the scenario's own if not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// A variant of the scenario, by name
    #[arg(long)]
    pub variant: Option<String>,
    /// Another setting, as it was given to run
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where reports are
    #[arg(long, default_value = "reports")]
    pub out: PathBuf,
    /// How results are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Options)]
pub struct SweepOptions {
    /// Scenario files
    #[arg(required_unless_present = "merge")]
    pub scenarios: Vec<PathBuf>,
    /// Seeds, both included, as 1..100; each scenario's own count if not given
    #[arg(long)]
    pub seeds: Option<SeedRange>,
    /// Processes at a time; the number of cores if not given
    #[arg(long)]
    pub jobs: Option<NonZeroUsize>,
    /// Stop after so many seconds, as 60s
    #[arg(long = "for", value_parser = seconds)]
    pub time_limit_seconds: Option<u64>,
    /// This machine's share, as 1/4
    #[arg(long, default_value = "1/1")]
    pub shard: Shard,
    /// Go on after an unexpected result
    #[arg(long)]
    pub keep_going: bool,
    /// Run the variants too
    #[arg(long)]
    pub variants: bool,
    /// Keep the results in this file; a sweep that was stopped goes on from there
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// Write failing seeds behind the committed ones, sim-tests/seeds
    #[arg(long)]
    pub remember: bool,
    /// Run nothing: the summary of these files of results, as of one sweep
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["scenarios", "results", "seeds", "time_limit_seconds"])]
    pub merge: Vec<PathBuf>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Options)]
pub struct ShrinkOptions {
    /// A scenario file
    pub scenario: PathBuf,
    /// The seed that breaks a claim; the scenario's own if not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// A variant of the scenario, by name
    #[arg(long)]
    pub variant: Option<String>,
    /// The new file; below reports/shrunk if not given
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Most runs
    #[arg(long, default_value_t = RUNS_MAX, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub runs: u64,
}

#[derive(Debug, Options)]
pub struct ListOptions {
    /// Folder with scenario files
    #[arg(default_value = "scenarios")]
    pub folder: PathBuf,
    /// How results are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Options)]
pub struct CheckOptions {
    /// Scenario files
    #[arg(required = true)]
    pub scenarios: Vec<PathBuf>,
}

#[derive(Debug, Options)]
pub struct ExplainOptions {
    /// Folder of a run, as reports/01-acks-one-leader-crash/seed-7, or its run.json
    pub run: PathBuf,
    /// One record, as orders-0@5
    #[arg(long)]
    pub record: Option<String>,
}

#[derive(Debug, Options)]
pub struct DiffOptions {
    /// Folder of a run, or its run.json
    pub run_a: PathBuf,
    /// Folder of another run of the same scenario: another seed, another variant, another version of the file
    pub run_b: PathBuf,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Options)]
pub struct CatalogueOptions {
    /// Folder with scenario files
    #[arg(default_value = "scenarios")]
    pub folder: PathBuf,
    /// Where the page goes; it links to the reports that lie there
    #[arg(long, default_value = "reports")]
    pub out: PathBuf,
    /// Write the report of each scenario too
    #[arg(long)]
    pub pages: bool,
}

#[derive(Debug, Options)]
pub struct ClaimsOptions {
    /// A scenario, whose first topic and producer say the settings
    #[arg(conflicts_with_all = ["config", "producer"])]
    pub scenario: Option<PathBuf>,
    /// A setting of topic, producer or brokers, as min.insync.replicas=2
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// Brokers' settings: Kafka's server.properties
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// A producer's settings: its properties file
    #[arg(long)]
    pub producer: Option<PathBuf>,
    /// Every combination of acks, min.insync.replicas, unclean election and flush, and a page of what was found
    #[arg(long)]
    pub matrix: bool,
    /// Replication factors of the matrix, as 1,2,3; what the settings say if not given
    #[arg(long, value_name = "N,N", requires = "matrix", value_delimiter = ',')]
    pub replicas: Vec<u64>,
    /// Seeds of each budget of faults
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub seeds: u64,
    /// Only this budget of faults, as power-all; all if not given
    #[arg(long = "budget", value_name = "NAME")]
    pub budgets: Vec<String>,
    /// Processes at a time; the number of cores if not given
    #[arg(long)]
    pub jobs: Option<NonZeroUsize>,
    /// Most runs to shrink each counter-example; 60 if not given, with --matrix none
    #[arg(long, value_name = "RUNS", value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub shrink: Option<u64>,
    /// Where counter-examples and the page go
    #[arg(long, default_value = "reports")]
    pub out: PathBuf,
    /// How results are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Options)]
pub struct ReportOptions {
    /// Folder of a run, as reports/01-acks-one-leader-crash/seed-7, or its run.json
    pub run: PathBuf,
    /// The page, report.html; without any of these, all of them
    #[arg(long)]
    pub html: bool,
    /// The text, story.txt
    #[arg(long)]
    pub text: bool,
    /// The manifest, run.json
    #[arg(long)]
    pub json: bool,
    /// The timeline, trace.perfetto.json
    #[arg(long)]
    pub perfetto: bool,
}

#[derive(Debug, Options)]
pub struct LessonOptions {
    /// Scenario file
    pub scenario: PathBuf,
    /// Seed; the scenario's own if not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// A variant of the scenario, by name
    #[arg(long)]
    pub variant: Option<String>,
    /// Where the report goes
    #[arg(long, default_value = "reports")]
    pub out: PathBuf,
    /// The answers, as b,a; without them they are read from standard input
    #[arg(long, value_delimiter = ',')]
    pub answers: Vec<String>,
    /// Print what to hand out: the questions with room to write, and no answer
    #[arg(long, group = "sheet")]
    pub handout: bool,
    /// Print the teacher's key: every answer, why, and what the wrong ones show
    #[arg(long, group = "sheet")]
    pub key: bool,
    /// Print two labs for after the lesson: put a story in order, find the decisive moment
    #[arg(long, group = "sheet")]
    pub labs: bool,
    /// Print links into the page of the run, by number
    #[arg(long, group = "sheet")]
    pub slides: bool,
    /// Judge this scenario of yours: the settings of the lesson, a story in which an acknowledged record is lost
    #[arg(long = "break", value_name = "FILE", conflicts_with_all = ["sheet", "answers", "variant"])]
    pub broken: Option<PathBuf>,
}

#[derive(Debug, Options)]
pub struct BugsOptions {
    /// Scenarios with a variant for each planted bug
    #[arg(default_values = ["scenarios/swarm/everything.toml", "scenarios/swarm/groups.toml"])]
    pub scenarios: Vec<PathBuf>,
    /// Only this bug, as bug_no_truncation; all if not given
    #[arg(long = "bug", value_name = "NAME")]
    pub bugs: Vec<String>,
    /// From how many seeds each search begins anew
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub starts: u64,
    /// Most seeds of one search
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Shrink each run in which a bug was seen, and tell how many steps are left
    #[arg(long)]
    pub shrink: bool,
    /// Where the shrunk scenarios go
    #[arg(long, default_value = "reports/shrunk")]
    pub out: PathBuf,
    /// Processes at a time; the number of cores if not given
    #[arg(long)]
    pub jobs: Option<NonZeroUsize>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Options)]
pub struct ServeOptions {
    /// Kafka's server.properties
    #[arg(long, conflicts_with = "dev", required_unless_present = "dev")]
    pub config: Option<PathBuf>,
    /// One combined node with nothing to set up
    #[arg(long)]
    pub dev: bool,
    /// Log directory of --dev; a fresh temporary one if not given
    #[arg(long, requires = "dev")]
    pub data: Option<PathBuf>,
    /// Where --dev listens
    #[arg(long, requires = "dev", default_value = "127.0.0.1:9092")]
    pub listen: String,
    /// One property more, as name=value; wins over the file
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
    /// Allow old behaviour for teaching: an era, as 0.10, or single switches, as truncate=high-watermark
    #[arg(long, value_name = "ERA|SWITCH=VALUE")]
    pub teaching: Vec<String>,
    /// How the log is written
    #[arg(long, value_enum, default_value_t)]
    pub log_format: Format,
}

#[derive(Debug, Options)]
pub struct StorageOptions {
    #[command(subcommand)]
    pub command: StorageCommand,
}

#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Write meta.properties into the log directory of a node
    Format {
        /// Kafka's server.properties
        #[arg(long, short)]
        config: PathBuf,
        /// Id of the cluster, the same on all its nodes; a fresh one if not given
        #[arg(long, short = 't')]
        cluster_id: Option<String>,
        /// Do nothing where the directory is formatted already
        #[arg(long, short = 'g')]
        ignore_formatted: bool,
    },
    /// Print a fresh id
    RandomUuid,
}

#[derive(Debug, Options)]
pub struct Bootstrap {
    /// A broker of the cluster, or several with commas between them
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap_server: String,
}

#[derive(Debug, Options)]
pub struct TopicsOptions {
    #[command(flatten)]
    pub cluster: Bootstrap,
    #[command(subcommand)]
    pub command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Create a topic
    Create {
        /// Its name
        topic: String,
        /// Number of partitions; the cluster's default if not given
        #[arg(long, default_value_t = -1)]
        partitions: i32,
        /// Replicas of each partition; the cluster's default if not given
        #[arg(long, default_value_t = -1)]
        replication_factor: i16,
        /// A setting, as min.insync.replicas=2
        #[arg(long = "config", value_name = "NAME=VALUE")]
        configs: Vec<String>,
    },
    /// The topics of the cluster
    List,
    /// Leader, replicas and ISR of each partition
    Describe {
        /// Its name; all topics if not given
        topic: Option<String>,
    },
    /// Delete a topic
    Delete {
        /// Its name
        topic: String,
    },
}

#[derive(Debug, Options)]
pub struct GroupsOptions {
    #[command(flatten)]
    pub cluster: Bootstrap,
    #[command(subcommand)]
    pub command: GroupsCommand,
}

#[derive(Debug, Subcommand)]
pub enum GroupsCommand {
    /// The groups of the cluster
    List {
        /// Their states too; with some, those groups only that are in one of them
        #[arg(long, value_name = "STATE,STATE", num_args = 0..=1, value_delimiter = ',')]
        state: Option<Vec<String>>,
        /// Their types too; with one, classic or consumer, those groups only that are of it
        #[arg(long = "type", value_name = "TYPE,TYPE", num_args = 0..=1, value_delimiter = ',')]
        kind: Option<Vec<String>>,
    },
    /// How far a group is in each partition, or who is in it
    Describe {
        /// Its id; all groups if not given
        group: Option<String>,
        /// Its members
        #[arg(long, conflicts_with = "state")]
        members: bool,
        /// Its state and its coordinator
        #[arg(long)]
        state: bool,
        /// Epochs and assignments too
        #[arg(long)]
        verbose: bool,
    },
    /// Set the offsets of a group without members; only prints them without --execute
    ResetOffsets(ResetOptions),
    /// Remove offsets of a group in topics that no member reads
    DeleteOffsets {
        /// Its id
        group: String,
        /// A topic, or some of its partitions as orders:0,1
        #[arg(long = "topic", required = true, value_name = "TOPIC[:N,N]")]
        topics: Vec<String>,
    },
    /// Delete groups without members
    Delete {
        /// Their ids
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

#[derive(Debug, Options)]
pub struct ResetOptions {
    /// Id of the group
    pub group: String,
    /// A topic, or some of its partitions as orders:0,1
    #[arg(long = "topic", value_name = "TOPIC[:N,N]", required_unless_present = "all_topics")]
    pub topics: Vec<String>,
    /// All topics that it has offsets of
    #[arg(long, conflicts_with = "topics")]
    pub all_topics: bool,
    #[command(flatten)]
    pub to: ResetTo,
    /// Do it
    #[arg(long)]
    pub execute: bool,
}

#[derive(Debug, Options)]
#[group(required = true, multiple = false)]
pub struct ResetTo {
    /// To the first record there is
    #[arg(long)]
    pub to_earliest: bool,
    /// Behind the last record
    #[arg(long)]
    pub to_latest: bool,
    /// To where it is; behind the last record where it has no offset
    #[arg(long)]
    pub to_current: bool,
    /// To this offset, or the nearest that there is
    #[arg(long, value_name = "OFFSET")]
    pub to_offset: Option<i64>,
    /// By so many records, forward or back
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub shift_by: Option<i64>,
    /// To the first record of this time or later, in UTC, as 2026-01-31T12:30:00.000
    #[arg(long, value_name = "TIME")]
    pub to_datetime: Option<String>,
    /// To the first record of so long ago or later, as PT1H30M
    #[arg(long, value_name = "DURATION")]
    pub by_duration: Option<String>,
}

#[derive(Debug, Options)]
pub struct ProduceOptions {
    #[command(flatten)]
    pub cluster: Bootstrap,
    /// The topic
    pub topic: String,
    /// The partition; by key or in turns if not given
    #[arg(long)]
    pub partition: Option<i32>,
    /// What stands between key and value of a line; without it a line is a value
    #[arg(long)]
    pub key_separator: Option<String>,
    /// A producer's property, as acks=1
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
}

#[derive(Debug, Options)]
pub struct ConsumeOptions {
    #[command(flatten)]
    pub cluster: Bootstrap,
    /// The topic
    pub topic: String,
    /// The partition; all if not given
    #[arg(long)]
    pub partition: Option<i32>,
    /// Read as a member of this group: from where it is, and commit
    #[arg(long, conflicts_with = "partition")]
    pub group: Option<String>,
    /// From the first record on, a group from where it is; only new records if not given
    #[arg(long)]
    pub from_beginning: bool,
    /// Stop after so many records
    #[arg(long)]
    pub max_messages: Option<u64>,
    /// Stop when every partition has been read to its end
    #[arg(long)]
    pub exit_at_end: bool,
    /// How records are printed: values, or one JSON object each
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// A consumer's property, as fetch.max.wait.ms=100
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
}

#[derive(Debug, Options)]
pub struct CompletionsOptions {
    /// The shell
    pub shell: clap_complete::Shell,
}

fn seconds(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let some = seconds.filter(|seconds| *seconds > 0);
    some.ok_or_else(|| format!("expected a time as 60s or 10m, at least 1s, found `{text}`"))
}
