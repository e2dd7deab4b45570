//! The `[swarm]` table: ranges and lists from which a seed draws a whole scenario - brokers, racks, topics, settings,
//! clients, faults. What is drawn is an ordinary scenario; the drawing itself is `explore::swarm`.
//!
//! A number is given as `3` or as `"1..5"`, a time as `"10ms"` or as `"1ms..40ms"`, both ends included. A setting is
//! given as the list of its values; a value that is there twice is drawn twice as often.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use super::{
    file::{line, named, quoted, texts},
    source::{self, Keys, Problem, Spot, Table, Value, show_duration, unknown},
};

/// The keys of the table.
pub(super) const SWARM: Keys = Keys {
    table: "[swarm]",
    keys: &[
        "brokers",
        "racks",
        "topics",
        "partitions",
        "replicas",
        "producers",
        "consumers",
        "records",
        "every",
        "padding_bytes",
        "steps",
        "pause",
        "faults",
        "groups",
        "members",
        "processing",
        "cluster",
        "topic",
        "producer",
        "consumer",
        "coordinator",
        "group",
        "member",
    ],
};

/// What a drawn fault plan may be made of: name and meaning.
pub const FAULTS: &[(&str, &str)] = &[
    ("kill", "crashes that keep the page cache"),
    ("power", "crashes that keep what was synced"),
    ("torn", "crashes in the middle of writing, that keep what was synced and shreds of the rest"),
    ("stop", "clean shutdowns"),
    ("pause", "processes without CPU"),
    ("cut", "links cut in both directions"),
    ("cut-one-way", "links cut in one direction"),
    ("slow", "slow links"),
    ("hold", "messages of one API kept back"),
    ("drop", "single messages lost, and their connections with them"),
    ("lose", "links that lose packets"),
    ("bandwidth", "links over which little goes"),
    ("clock", "wall clocks that step, or run fast or slow"),
    ("set", "changes of topics' settings, as `min.insync.replicas`"),
    ("elect-preferred", "elections back to the first replica"),
    ("elect-unclean", "unclean elections by hand"),
    ("disk-slow", "slow disks"),
    ("disk-stall", "disks that do not answer"),
    ("disk-full", "disks without space"),
    ("disk-error", "disks whose writes or syncs fail"),
    ("disk-lost-sync", "disks that say that they have synced, and have not"),
    ("corrupt", "records that rot on a disk"),
    ("blank", "brokers that die, and come back with an empty disk"),
    ("move", "partitions that get other replicas, and moves that are cancelled"),
    ("fence", "brokers that the controller counts out although they run"),
    ("client", "clients in no group that crash, and go on with what is left"),
];

/// Values to choose from, by setting.
pub type Choices = BTreeMap<String, Vec<Spot<String>>>;

/// Ranges of everything that a seed draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Swarm {
    /// Number of brokers.
    pub brokers: RangeInclusive<u64>,
    /// Number of racks, at most one a broker; one is none.
    pub racks: RangeInclusive<u64>,
    /// Number of topics, at most one a producer.
    pub topics: RangeInclusive<u64>,
    /// Partitions of a topic.
    pub partitions: RangeInclusive<u64>,
    /// Replicas of a partition, at most one a broker.
    pub replicas: RangeInclusive<u64>,
    /// Number of producers.
    pub producers: RangeInclusive<u64>,
    /// Number of consumers.
    pub consumers: RangeInclusive<u64>,
    /// Records of a producer.
    pub records: RangeInclusive<u64>,
    /// Time between two of them.
    pub every: RangeInclusive<Duration>,
    /// What makes each larger.
    pub padding_bytes: RangeInclusive<u64>,
    /// Number of steps.
    pub steps: RangeInclusive<u64>,
    /// Time before a step that waits for a time.
    pub pause: RangeInclusive<Duration>,
    /// Names of faults ([`FAULTS`]); a run draws some of them.
    pub faults: Vec<Spot<String>>,
    /// Number of consumer groups.
    pub groups: RangeInclusive<u64>,
    /// Members of a group.
    pub members: RangeInclusive<u64>,
    /// Work that a member's application has with a record; of each member a part of this range.
    pub processing: RangeInclusive<Duration>,
    /// Properties of brokers and controller.
    pub cluster: Choices,
    /// Settings of topics.
    pub topic: Choices,
    /// Settings of producers.
    pub producer: Choices,
    /// Settings of consumers.
    pub consumer: Choices,
    /// Properties of brokers that are of interest where there are groups.
    pub coordinator: Choices,
    /// Settings that all members of a group have.
    pub group: Choices,
    /// Settings of single members.
    pub member: Choices,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Reads the table.
pub(super) fn swarm(value: Value<'_>) -> Result<Swarm, Problem> {
    let mut table = Table::from_value(&SWARM, value)?;
    let table = &mut table;
    Ok(Swarm {
        brokers: numbers(table, "brokers", 3..=3, 1..=9)?,
        racks: numbers(table, "racks", 1..=1, 1..=9)?,
        topics: numbers(table, "topics", 1..=1, 1..=4)?,
        partitions: numbers(table, "partitions", 1..=1, 1..=64)?,
        replicas: numbers(table, "replicas", 3..=3, 1..=9)?,
        producers: numbers(table, "producers", 1..=1, 1..=9)?,
        consumers: numbers(table, "consumers", 0..=1, 0..=9)?,
        records: numbers(table, "records", 20..=60, 1..=100_000)?,
        every: times(table, "every", ms(10)..=ms(50))?,
        padding_bytes: numbers(table, "padding_bytes", 0..=0, 0..=1_000_000)?,
        steps: numbers(table, "steps", 1..=8, 0..=100)?,
        pause: times(table, "pause", ms(10)..=ms(1000))?,
        faults: faults(table)?,
        groups: numbers(table, "groups", 0..=0, 0..=2)?,
        members: numbers(table, "members", 1..=3, 1..=9)?,
        processing: times(table, "processing", ms(0)..=ms(0))?,
        cluster: choices(table.take("cluster"))?,
        topic: choices(table.take("topic"))?,
        producer: choices(table.take("producer"))?,
        consumer: choices(table.take("consumer"))?,
        coordinator: choices(table.take("coordinator"))?,
        group: choices(table.take("group"))?,
        member: choices(table.take("member"))?,
    })
}

/// A range of what `read` reads, as text `A..B` or as one value.
fn range<T: PartialOrd + Copy>(
    value: Option<Value<'_>>,
    default: RangeInclusive<T>,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<(RangeInclusive<T>, usize), Problem> {
    let Some(value) = value else { return Ok((default, 0)) };
    let given = source::scalar(&value)?;
    let (first, last) = given.value.split_once("..").unwrap_or((&given.value, &given.value));
    match (read(first.trim()), read(last.trim())) {
        (Some(first), Some(last)) if first <= last => Ok((first..=last, given.at)),
        _ => Err(Problem::at(given.at, format!("expected {what}, found `{given}`"))),
    }
}

fn numbers(
    table: &mut Table<'_>,
    key: &'static str,
    default: RangeInclusive<u64>,
    within: RangeInclusive<u64>,
) -> Result<RangeInclusive<u64>, Problem> {
    let what = "a number, or a range as \"1..5\"";
    let (found, at) = range(table.take(key), default, what, |text| text.parse::<u64>().ok())?;
    match within.contains(found.start()) && within.contains(found.end()) {
        true => Ok(found),
        false => {
            let message =
                format!("expected `{key}` within {}..{}, found {}", within.start(), within.end(), show(&found));
            Err(Problem::at(at, message))
        }
    }
}

/// A time, or a range of times.
pub(super) fn times(
    table: &mut Table<'_>,
    key: &'static str,
    default: RangeInclusive<Duration>,
) -> Result<RangeInclusive<Duration>, Problem> {
    let what = "a time, or a range as \"10ms..1s\"";
    Ok(range(table.take(key), default, what, |text| source::duration(text).ok())?.0)
}

fn faults(table: &mut Table<'_>) -> Result<Vec<Spot<String>>, Problem> {
    let all = || FAULTS.iter().map(|(name, _)| *name);
    let Some(value) = table.take("faults") else {
        return Ok(all().map(|name| Spot::new(name.to_owned(), 0)).collect());
    };
    let given: Vec<Spot<String>> = source::list(value)?.into_iter().map(source::text).collect::<Result<_, _>>()?;
    match given.iter().find(|fault| !all().any(|name| name == fault.value)) {
        Some(wrong) => Err(Problem::at(wrong.at, unknown("a kind of fault", &wrong.value, all()))),
        None => Ok(given),
    }
}

fn choices(value: Option<Value<'_>>) -> Result<Choices, Problem> {
    let mut choices = Choices::new();
    if let Some(value) = value {
        flatten("", value, &mut choices)?;
    }
    Ok(choices)
}

fn flatten(prefix: &str, value: Value<'_>, choices: &mut Choices) -> Result<(), Problem> {
    for (key, value) in source::entries("name = [values]", value)? {
        let name = format!("{prefix}{key}");
        if value.get_ref().is_table() {
            flatten(&format!("{name}."), value, choices)?;
            continue;
        }
        let given: Vec<Spot<String>> = source::list(value)?.iter().map(source::scalar).collect::<Result<_, _>>()?;
        if given.is_empty() {
            return Err(Problem::at(key.at, format!("`{name}` has no value to choose from")));
        }
        if choices.insert(name.clone(), given).is_some() {
            return Err(Problem::at(key.at, format!("`{name}` is there twice")));
        }
    }
    Ok(())
}

fn show<T: fmt::Display + PartialEq>(range: &RangeInclusive<T>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => quoted(&format!("{}..{}", range.start(), range.end())),
    }
}

/// As [`times`] reads it.
pub(super) fn show_times(range: &RangeInclusive<Duration>) -> String {
    quoted(&format!("{}..{}", show_duration(*range.start()), show_duration(*range.end())))
}

impl Swarm {
    pub(super) fn print(&self, out: &mut String) {
        out.push_str("\n[swarm]\n");
        line(out, "brokers", show(&self.brokers));
        line(out, "racks", show(&self.racks));
        line(out, "topics", show(&self.topics));
        line(out, "partitions", show(&self.partitions));
        line(out, "replicas", show(&self.replicas));
        line(out, "producers", show(&self.producers));
        line(out, "consumers", show(&self.consumers));
        line(out, "records", show(&self.records));
        line(out, "every", show_times(&self.every));
        line(out, "padding_bytes", show(&self.padding_bytes));
        line(out, "steps", show(&self.steps));
        line(out, "pause", show_times(&self.pause));
        line(out, "faults", texts(self.faults.iter().map(|fault| fault.value.as_str())));
        line(out, "groups", show(&self.groups));
        line(out, "members", show(&self.members));
        line(out, "processing", show_times(&self.processing));
        let choices = [
            ("cluster", &self.cluster),
            ("topic", &self.topic),
            ("producer", &self.producer),
            ("consumer", &self.consumer),
            ("coordinator", &self.coordinator),
            ("group", &self.group),
            ("member", &self.member),
        ];
        for (name, choices) in choices.into_iter().filter(|(_, choices)| !choices.is_empty()) {
            out.push_str(&format!("[swarm.{name}]\n"));
            for (setting, values) in choices {
                let values = values.iter().map(|value| toml::Value::String(value.value.clone())).collect();
                named(out, setting, toml::Value::Array(values));
            }
        }
    }
}
