//! What a step does: faults, their end, and orders of an operator. `;` separates several.

use std::{fmt, time::Duration};

use super::{
    condition::check_api,
    source::{Problem, duration, show_duration, unknown},
    term::{Argument, Cast, Term},
    words::Words,
};
use crate::{
    base::suggest,
    client::admin::ElectionType,
    controller::configs::topic::{TOPIC, topic_config},
    runtime::DiskFault,
};

/// The two ends of a link. In both directions where it is written `A | B`, in one where it is `A > B`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// From whom.
    pub from: Term,
    /// To whom.
    pub to: Term,
    /// Also the way back.
    pub two_way: bool,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.from, if self.two_way { "|" } else { ">" }, self.to)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `crash X kill`, `crash X power`.
    Crash(Term, Crash),
    /// `stop X`
    Stop(Term),
    /// `restart X`
    Restart(Term),
    /// `pause X`
    Pause(Term),
    /// `resume X`
    Resume(Term),
    /// `cut A | B`, `cut A > B`
    Cut(Link),
    /// `slow A > B 300ms`
    Slow(Link, Duration),
    /// `hold A > B api=Fetch`
    Hold(Link, Term),
    /// `release A > B api=Fetch`
    Release(Link, Term),
    /// `drop A > B api=Fetch n=3`
    Drop(Link, Term, u64),
    /// `lose A > B 5%`
    Lose(Link, Percent),
    /// `bandwidth A > B 1MB/s`
    Bandwidth(Link, BytesPerSecond),
    /// `heal A | B`
    Heal(Link),
    /// `heal all`
    HealAll,
    /// `disk X stall`, `disk X slow 50ms`
    Disk(Term, DiskFault),
    /// `disk X heal`
    HealDisk(Term),
    /// `clock X +5s`
    Clock(Term, i64),
    /// `clock X drift 200ppm`
    Drift(Term, i64),
    /// `set orders.min.insync.replicas=2`
    Set(String, String, String),
    /// `elect preferred orders-0`, `elect unclean orders-0`
    Elect(ElectionType, Term),
    /// `delete orders-0 before 10`
    Delete(Term, i64),
    /// `delete topic orders`
    DeleteTopic(String),
    /// `create topic orders`
    CreateTopic(String),
    /// `nothing`
    Nothing,
}

/// A part of all, in whole hundredths from 1 to 99.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// How much goes over a link; at least one byte a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytesPerSecond(pub u64);

impl BytesPerSecond {
    const UNITS: &[(&str, u64)] = &[("MB/s", 1_000_000), ("kB/s", 1_000), ("B/s", 1)];
}

impl fmt::Display for BytesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = Self::UNITS.iter().find(|(_, size)| self.0.is_multiple_of(*size)).expect("one is 1");
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// How a process is crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// SIGKILL: the page cache stays.
    Kill,
    /// The host loses power.
    Power,
}

/// Every verb: its name, its meaning, a line that uses it.
pub const VERBS: &[(&str, &str, &str)] = &[
    (
        "crash",
        "the process dies: `kill` keeps the page cache, `power` keeps what was synced",
        "crash leader(orders-0) kill",
    ),
    ("stop", "a clean shutdown", "stop b1"),
    ("restart", "the process starts again with what its disk holds", "restart b1"),
    ("pause", "the process gets no CPU; its clock and the network go on", "pause b1"),
    ("resume", "the process gets CPU again", "resume b1"),
    ("cut", "nothing arrives any more: `|` in both directions, `>` in one", "cut b1 | [b2, b3]"),
    ("slow", "everything takes longer to arrive", "slow b1 > b2 300ms"),
    ("hold", "messages of one API are kept back, everything else arrives", "hold b1 > controller api=AlterPartition"),
    ("release", "what was held arrives", "release b1 > controller api=AlterPartition"),
    (
        "drop",
        "the next `n` messages of one API, one without `n`, are lost on each link, and their connections with them",
        "drop leader(orders-0) > p1 api=Produce n=2",
    ),
    ("lose", "packets are lost: what was in them arrives a retransmission later", "lose b1 | b2 5%"),
    ("bandwidth", "no more than so many bytes a second go over each link", "bandwidth b1 > b2 100kB/s"),
    ("heal", "ends what was done to links, or with `all` to the whole network and to every disk", "heal all"),
    (
        "disk",
        "a disk breaks: `stall`, `slow` and a time, `full`, `eio`, `sync-eio`, `lost-sync`; `heal` ends that",
        "disk b1 slow 50ms",
    ),
    (
        "clock",
        "steps the wall clock; or makes the clock run fast or slow, as `clock b1 drift -500ppm`: by millionths",
        "clock b1 +5s",
    ),
    ("set", "an operator sets a topic's setting", "set orders.min.insync.replicas=2"),
    ("elect", "an operator asks for an election, `preferred` or `unclean`", "elect preferred orders-0"),
    (
        "delete",
        "an operator deletes a partition's records before an offset, as DeleteRecords does; or, as `delete topic orders`, a topic",
        "delete orders-0 before 10",
    ),
    ("create", "an operator makes a topic again that was deleted, as the scenario describes it", "create topic orders"),
    ("nothing", "only waits for its trigger", "nothing"),
];

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(target, Crash::Kill) => write!(f, "crash {target} kill"),
            Self::Crash(target, Crash::Power) => write!(f, "crash {target} power"),
            Self::Stop(target) => write!(f, "stop {target}"),
            Self::Restart(target) => write!(f, "restart {target}"),
            Self::Pause(target) => write!(f, "pause {target}"),
            Self::Resume(target) => write!(f, "resume {target}"),
            Self::Cut(link) => write!(f, "cut {link}"),
            Self::Slow(link, delay) => write!(f, "slow {link} {}", show_duration(*delay)),
            Self::Hold(link, api) => write!(f, "hold {link} api={api}"),
            Self::Release(link, api) => write!(f, "release {link} api={api}"),
            Self::Drop(link, api, count) => write!(f, "drop {link} api={api} n={count}"),
            Self::Lose(link, part) => write!(f, "lose {link} {part}"),
            Self::Bandwidth(link, rate) => write!(f, "bandwidth {link} {rate}"),
            Self::Heal(link) => write!(f, "heal {link}"),
            Self::HealAll => f.write_str("heal all"),
            Self::Disk(target, fault) => write!(f, "disk {target} {fault}"),
            Self::HealDisk(target) => write!(f, "disk {target} heal"),
            Self::Clock(target, offset_ms) => write!(f, "clock {target} {offset_ms:+}ms"),
            Self::Drift(target, ppm) => write!(f, "clock {target} drift {ppm}ppm"),
            Self::Set(topic, name, value) => write!(f, "set {topic}.{name}={value}"),
            Self::Elect(ElectionType::Preferred, partition) => write!(f, "elect preferred {partition}"),
            Self::Elect(ElectionType::Unclean, partition) => write!(f, "elect unclean {partition}"),
            Self::Delete(partition, before) => write!(f, "delete {partition} before {before}"),
            Self::DeleteTopic(topic) => write!(f, "delete topic {topic}"),
            Self::CreateTopic(topic) => write!(f, "create topic {topic}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// Actions as they are written, with `;` between them.
pub fn show(actions: &[Action]) -> String {
    actions.iter().map(Action::to_string).collect::<Vec<_>>().join("; ")
}

/// Reads a whole text, which stands at byte `at` of its file.
///
/// # Errors
/// It is no list of actions.
pub fn parse(text: &str, at: usize) -> Result<Vec<Action>, Problem> {
    let mut words = Words::of(text, at)?;
    let mut actions = vec![Action::read(&mut words)?];
    while words.sign(";") {
        actions.push(Action::read(&mut words)?);
    }
    if words.is_done() { Ok(actions) } else { Err(words.expected("`;` or the end")) }
}

impl Action {
    fn read(words: &mut Words) -> Result<Self, Problem> {
        let (at, verb) = words.word("an action, as `crash b1 kill`")?;
        match verb.as_str() {
            "crash" => {
                let target = read_nodes(words)?;
                match () {
                    () if words.keyword("kill") => Ok(Self::Crash(target, Crash::Kill)),
                    () if words.keyword("power") => Ok(Self::Crash(target, Crash::Power)),
                    () => Err(words.expected("`kill` (the page cache stays) or `power` (only what was synced stays)")),
                }
            }
            "stop" => read_nodes(words).map(Self::Stop),
            "restart" => read_nodes(words).map(Self::Restart),
            "pause" => read_nodes(words).map(Self::Pause),
            "resume" => read_nodes(words).map(Self::Resume),
            "cut" => read_link(words).map(Self::Cut),
            "slow" => {
                let link = read_link(words)?;
                let (at, delay) = words.word("a time, as 300ms")?;
                Ok(Self::Slow(link, duration(&delay).map_err(|message| Problem::at(at, message))?))
            }
            "hold" => Ok(Self::Hold(read_link(words)?, read_api(words)?)),
            "release" => Ok(Self::Release(read_link(words)?, read_api(words)?)),
            "drop" => Ok(Self::Drop(read_link(words)?, read_api(words)?, read_count(words)?)),
            "lose" => Ok(Self::Lose(read_link(words)?, read_percent(words)?)),
            "bandwidth" => Ok(Self::Bandwidth(read_link(words)?, read_rate(words)?)),
            "heal" if words.keyword("all") => Ok(Self::HealAll),
            "heal" => read_link(words).map(Self::Heal),
            "disk" => {
                let target = read_nodes(words)?;
                if words.keyword("heal") {
                    Ok(Self::HealDisk(target))
                } else {
                    Ok(Self::Disk(target, read_disk(words)?))
                }
            }
            "clock" => {
                let target = read_nodes(words)?;
                if words.keyword("drift") {
                    return read_drift(words).map(|ppm| Self::Drift(target, ppm));
                }
                let (at, step) = words.word("a step of the clock, as +5s")?;
                let (negative, size) = match step.strip_prefix('-') {
                    Some(size) => (true, size),
                    None => (false, step.strip_prefix('+').unwrap_or(&step)),
                };
                let size = duration(size).map_err(|message| Problem::at(at, message))?;
                let ms = i64::try_from(size.as_millis()).unwrap_or(i64::MAX);
                Ok(Self::Clock(target, if negative { -ms } else { ms }))
            }
            "set" => {
                let (at, name) = words.word("a topic's setting, as `orders.min.insync.replicas=2`")?;
                let (topic, setting) = name
                    .split_once('.')
                    .ok_or_else(|| Problem::at(at, format!("expected `topic.setting=value`, found `{name}`")))?;
                words.need("=")?;
                let (_, value) = words.word("a value")?;
                Ok(Self::Set(topic.to_owned(), setting.to_owned(), value))
            }
            "elect" => {
                let kind = match () {
                    () if words.keyword("preferred") => ElectionType::Preferred,
                    () if words.keyword("unclean") => ElectionType::Unclean,
                    () => return Err(words.expected("`preferred` or `unclean`")),
                };
                Ok(Self::Elect(kind, Term::read(words)?))
            }
            "delete" if words.keyword("topic") => read_topic(words).map(Self::DeleteTopic),
            "create" if words.keyword("topic") => read_topic(words).map(Self::CreateTopic),
            "create" => Err(words.expected("`topic` and its name, as `create topic orders`")),
            "delete" => {
                let partition = Term::read(words)?;
                if !words.keyword("before") {
                    return Err(words.expected("`before` and an offset, as `delete orders-0 before 10`"));
                }
                let (at, offset) = words.word("an offset, as 10")?;
                let before = offset.parse().ok().filter(|before| *before >= 0);
                let before = before.ok_or_else(|| Problem::at(at, format!("expected an offset, found `{offset}`")))?;
                Ok(Self::Delete(partition, before))
            }
            "nothing" => Ok(Self::Nothing),
            _ => Err(Problem::at(at, unknown("an action", &verb, VERBS.iter().map(|(verb, _, _)| *verb)))),
        }
    }

    /// Checks that it can be done among `cast`. `at` is where the text begins.
    ///
    /// # Errors
    /// A name that means nothing here, or a setting that is none.
    pub fn check(&self, cast: &Cast, at: usize) -> Result<(), Problem> {
        let link = |link: &Link| {
            link.from.expect_target(cast)?;
            link.to.expect_target(cast)
        };
        match self {
            Self::Crash(target, _)
            | Self::Stop(target)
            | Self::Restart(target)
            | Self::Pause(target)
            | Self::Resume(target)
            | Self::Clock(target, _)
            | Self::Drift(target, _) => {
                target.expect_target(cast)?;
                match target {
                    Term::Name(at, name) if cast.is_lone_client(name) => {
                        let expected = "expected a broker, a controller or a member of a group";
                        Err(Problem::at(*at, format!("`{name}` is a client in no group; {expected}")))
                    }
                    _ => Ok(()),
                }
            }
            Self::Disk(target, _) | Self::HealDisk(target) => {
                target.expect_target(cast)?;
                match target {
                    Term::Name(at, name) if cast.is_client(name) => {
                        let expected = "expected a broker or a controller";
                        Err(Problem::at(*at, format!("`{name}` is a client, and has nothing on its disk; {expected}")))
                    }
                    _ => Ok(()),
                }
            }
            Self::Cut(ends)
            | Self::Slow(ends, _)
            | Self::Lose(ends, _)
            | Self::Bandwidth(ends, _)
            | Self::Heal(ends) => link(ends),
            Self::Hold(ends, api) | Self::Release(ends, api) | Self::Drop(ends, api, _) => {
                link(ends)?;
                check_api(api)
            }
            Self::Elect(_, partition) | Self::Delete(partition, _) => cast.argument(Argument::Partition, partition),
            Self::Set(topic, name, value) => {
                check_topic(topic, cast, at)?;
                check_topic_setting(name, value).map_err(|message| Problem::at(at, message))
            }
            Self::DeleteTopic(topic) | Self::CreateTopic(topic) => check_topic(topic, cast, at),
            Self::HealAll | Self::Nothing => Ok(()),
        }
    }
}

fn check_topic(topic: &str, cast: &Cast, at: usize) -> Result<(), Problem> {
    let topics = cast.partitions.iter().map(|partition| &*partition.topic);
    match topics.clone().any(|known| known == topic) {
        true => Ok(()),
        false => Err(Problem::at(at, unknown("a topic", topic, topics))),
    }
}

/// Checks a topic's setting.
///
/// # Errors
/// Kafka has none of this name, or refuses the value.
pub fn check_topic_setting(name: &str, value: &str) -> Result<(), String> {
    let Some(config) = topic_config(name) else {
        let near = suggest::nearest(name, TOPIC.iter().map(|config| config.name));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(format!("`{name}` is not a topic's setting{hint}"));
    };
    config.check(value)
}

/// A node or a set of them; runs print `b1,b2`, and that is read like `[b1, b2]`.
fn read_nodes(words: &mut Words) -> Result<Term, Problem> {
    let first = Term::read(words)?;
    let mut all = vec![first];
    while words.sign(",") {
        all.push(Term::read(words)?);
    }
    Ok(if all.len() == 1 { all.remove(0) } else { Term::List(all) })
}

fn read_topic(words: &mut Words) -> Result<String, Problem> {
    words.word("a topic's name").map(|(_, topic)| topic)
}

fn read_link(words: &mut Words) -> Result<Link, Problem> {
    let from = read_nodes(words)?;
    let two_way = match words.one_of(&["|", ">"]) {
        Some(sign) => sign == "|",
        None => return Err(words.expected("`|` (both directions) or `>` (one)")),
    };
    Ok(Link { from, to: read_nodes(words)?, two_way })
}

fn read_disk(words: &mut Words) -> Result<DiskFault, Problem> {
    let (at, fault) = words.word("what is wrong with the disk, as `stall`, or `heal`")?;
    Ok(match fault.as_str() {
        "stall" => DiskFault::Stall,
        "slow" => {
            let (at, delay) = words.word("a time, as 50ms")?;
            DiskFault::Slow(duration(&delay).map_err(|message| Problem::at(at, message))?)
        }
        "full" => DiskFault::Full,
        "eio" => DiskFault::Eio,
        "sync-eio" => DiskFault::SyncEio,
        "lost-sync" => DiskFault::LostSync,
        _ => {
            let known = ["stall", "slow", "full", "eio", "sync-eio", "lost-sync", "heal"];
            return Err(Problem::at(at, unknown("what can be wrong with a disk", &fault, known)));
        }
    })
}

fn read_drift(words: &mut Words) -> Result<i64, Problem> {
    let (at, text) = words.word("how much the clock gains, as 200ppm")?;
    let ppm = text.strip_suffix("ppm").and_then(|number| number.parse().ok());
    // Up to ten times as fast, down to a tenth.
    ppm.filter(|ppm| (-900_000..=9_000_000).contains(ppm))
        .ok_or_else(|| Problem::at(at, format!("expected millionths from -900000ppm to 9000000ppm, found `{text}`")))
}

fn read_api(words: &mut Words) -> Result<Term, Problem> {
    if !words.keyword("api") {
        return Err(words.expected("`api=NAME`, as `api=Fetch`"));
    }
    words.need("=")?;
    Term::read(words)
}

/// How many messages are dropped: one where nothing is said.
fn read_count(words: &mut Words) -> Result<u64, Problem> {
    if !words.keyword("n") {
        return Ok(1);
    }
    words.need("=")?;
    let (at, text) = words.word("a number, as n=3")?;
    let count = text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
    count.ok_or_else(|| Problem::at(at, format!("expected a number from 1 to 1000000, found `{text}`")))
}

fn read_percent(words: &mut Words) -> Result<Percent, Problem> {
    let (at, text) = words.word("how many of a hundred packets are lost, as 5%")?;
    let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let percent = percent.filter(|percent| (1..=99).contains(percent)).map(Percent);
    percent.ok_or_else(|| Problem::at(at, format!("expected 1% to 99%, found `{text}`; `cut` loses everything")))
}

fn read_rate(words: &mut Words) -> Result<BytesPerSecond, Problem> {
    let (at, text) = words.word("bytes a second, as 1MB/s")?;
    let rate = BytesPerSecond::UNITS.iter().find_map(|(unit, size)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*size)
    });
    let rate = rate.filter(|rate| *rate > 0).map(BytesPerSecond);
    rate.ok_or_else(|| Problem::at(at, format!("expected bytes a second as 500B/s, 64kB/s or 1MB/s, found `{text}`")))
}
