//! What a step does: faults, their end, and orders of an operator. `;` separates several.

mod read;

use std::{fmt, time::Duration};

pub use self::read::parse;
use super::{
    condition::check_api,
    source::{Problem, show_duration, unknown},
    term::{Argument, Cast, Term},
};
use crate::{
    base::suggest,
    client::admin::ElectionType,
    controller::configs::topic::{TOPIC, topic_config},
    runtime::DiskFault,
    trace::StopKind,
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
    /// `crash X kill`, `crash X power`, `crash X torn`.
    Crash(Term, Crash),
    /// `stop X`
    Stop(Term),
    /// `restart X`
    Restart(Term),
    /// `restart X blank`
    RestartBlank(Term),
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
    /// `settle`
    Settle,
    /// `disk X stall`, `disk X slow 50ms`
    Disk(Term, DiskFault),
    /// `disk X corrupt orders-0@10`
    Corrupt(Term, Term, i64),
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
    /// `move orders-0 to [b2, b3]`; several, or with `None` to cancel: `reassign orders-0 to [b2, b3], cancel orders-1`
    Reassign(Vec<(Term, Option<Term>)>),
    /// `fence X`
    Fence(Term),
    /// `delete-records orders-0 before 10`
    DeleteRecords(Term, i64),
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
    /// The host loses power in the middle of writing.
    Torn,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Power => "power",
            Self::Torn => "torn",
        })
    }
}

impl From<Crash> for StopKind {
    fn from(crash: Crash) -> Self {
        match crash {
            Crash::Kill => Self::Kill,
            Crash::Power => Self::Power,
            Crash::Torn => Self::Torn,
        }
    }
}

/// Every verb: its name, its meaning, a line that uses it.
pub const VERBS: &[(&str, &str, &str)] = &[
    (
        "crash",
        "the process dies: `kill` keeps the page cache, `power` what was synced, `torn` that and shreds of the rest",
        "crash leader(orders-0) kill",
    ),
    ("stop", "a clean shutdown", "stop b1"),
    (
        "restart",
        "the process starts again with what its disk holds; `blank`: with an empty disk, formatted anew",
        "restart b1",
    ),
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
    ("settle", "everything is healed, resumed and started again, as at the end of every story", "settle"),
    (
        "disk",
        "a disk breaks: `stall`, `slow` and a time, `full`, `eio`, `sync-eio`, `lost-sync`, `corrupt` and a record; `heal` ends that",
        "disk b1 slow 50ms",
    ),
    (
        "clock",
        "steps the wall clock; or makes the clock run fast or slow, as `clock b1 drift -500ppm`: by millionths",
        "clock b1 +5s",
    ),
    ("set", "an operator sets a topic's setting", "set orders.min.insync.replicas=2"),
    ("elect", "an operator asks for an election, `preferred` or `unclean`", "elect preferred orders-0"),
    ("move", "an operator gives a partition other replicas, the preferred leader first", "move orders-0 to [b2, b3]"),
    (
        "reassign",
        "the same for several partitions in one request; `cancel` and a partition ends what is under way for it",
        "reassign orders-0 to [b2, b3], cancel orders-1",
    ),
    (
        "fence",
        "the controller counts a broker out, as if it had long heard nothing of it; the next heartbeat brings it back",
        "fence b1",
    ),
    (
        "delete-records",
        "an operator deletes a partition's records before an offset",
        "delete-records orders-0 before 10",
    ),
    ("delete", "an operator deletes a topic", "delete topic orders"),
    ("create", "an operator makes a topic again that was deleted, as the scenario describes it", "create topic orders"),
    ("nothing", "only waits for its trigger", "nothing"),
];

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(target, how) => write!(f, "crash {target} {how}"),
            Self::Stop(target) => write!(f, "stop {target}"),
            Self::Restart(target) => write!(f, "restart {target}"),
            Self::RestartBlank(target) => write!(f, "restart {target} blank"),
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
            Self::Settle => f.write_str("settle"),
            Self::Disk(target, fault) => write!(f, "disk {target} {fault}"),
            Self::Corrupt(target, partition, offset) => write!(f, "disk {target} corrupt {partition}@{offset}"),
            Self::HealDisk(target) => write!(f, "disk {target} heal"),
            Self::Clock(target, offset_ms) => write!(f, "clock {target} {offset_ms:+}ms"),
            Self::Drift(target, ppm) => write!(f, "clock {target} drift {ppm}ppm"),
            Self::Set(topic, name, value) => write!(f, "set {topic}.{name}={value}"),
            Self::Elect(ElectionType::Preferred, partition) => write!(f, "elect preferred {partition}"),
            Self::Elect(ElectionType::Unclean, partition) => write!(f, "elect unclean {partition}"),
            Self::Reassign(moves) => f.write_str(&show_moves(moves)),
            Self::Fence(target) => write!(f, "fence {target}"),
            Self::DeleteRecords(partition, before) => write!(f, "delete-records {partition} before {before}"),
            Self::DeleteTopic(topic) => write!(f, "delete topic {topic}"),
            Self::CreateTopic(topic) => write!(f, "create topic {topic}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// `move` for one partition that gets other replicas, else `reassign`.
pub fn show_moves<P: fmt::Display, R: fmt::Display>(moves: &[(P, Option<R>)]) -> String {
    let show = |(partition, replicas): &(P, Option<R>)| match replicas {
        Some(replicas) => format!("{partition} to {replicas}"),
        None => format!("cancel {partition}"),
    };
    let verb = if matches!(moves, [(_, Some(_))]) { "move" } else { "reassign" };
    format!("{verb} {}", moves.iter().map(show).collect::<Vec<_>>().join(", "))
}

/// Actions as they are written, with `;` between them.
pub fn show(actions: &[Action]) -> String {
    actions.iter().map(Action::to_string).collect::<Vec<_>>().join("; ")
}

impl Action {
    /// The partitions that get other replicas, if it is about that, each with whom it gets.
    pub fn moves(&self) -> Option<&[(Term, Option<Term>)]> {
        if let Self::Reassign(moves) = self { Some(moves) } else { None }
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
            | Self::Restart(target)
            | Self::Pause(target)
            | Self::Resume(target)
            | Self::Clock(target, _)
            | Self::Drift(target, _) => target.expect_target(cast),
            Self::Stop(target) => {
                target.expect_target(cast)?;
                match target {
                    Term::Name(at, name) if cast.is_lone_client(name) => {
                        let expected = "has nothing to finish in an orderly way; it can crash: `crash";
                        Err(Problem::at(*at, format!("`{name}` is a client in no group, and {expected} {name} kill`")))
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
            Self::RestartBlank(target) => {
                target.expect_target(cast)?;
                check_replaced(target, cast)
            }
            Self::Corrupt(target, partition, _) => {
                target.expect_target(cast)?;
                cast.argument(Argument::Partition, partition)?;
                match target {
                    Term::Name(at, name)
                        if !cast.brokers.iter().any(|(broker, _)| broker == name)
                            && cast.nodes().any(|node| node == name) =>
                    {
                        Err(Problem::at(*at, format!("`{name}` has no copy of {partition}; expected a broker")))
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
            Self::Elect(_, partition) | Self::DeleteRecords(partition, _) => {
                cast.argument(Argument::Partition, partition)
            }
            Self::Reassign(moves) => {
                for (index, (partition, replicas)) in moves.iter().enumerate() {
                    cast.argument(Argument::Partition, partition)?;
                    replicas.iter().try_for_each(|replicas| expect_brokers(replicas, cast, at))?;
                    if moves[..index].iter().any(|(before, _)| before == partition) {
                        return Err(Problem::at(partition.at(), format!("`{partition}` stands here twice")));
                    }
                }
                Ok(())
            }
            Self::Fence(target) => expect_brokers(target, cast, at),
            Self::Set(topic, name, value) => {
                check_topic(topic, cast, at)?;
                check_topic_setting(name, value).map_err(|message| Problem::at(at, message))
            }
            Self::DeleteTopic(topic) | Self::CreateTopic(topic) => check_topic(topic, cast, at),
            Self::HealAll | Self::Settle | Self::Nothing => Ok(()),
        }
    }
}

/// Checks whose disk may be replaced: that of brokers.
fn check_replaced(target: &Term, cast: &Cast) -> Result<(), Problem> {
    let Term::Name(at, name) = target else { return Ok(()) };
    match name.as_str() {
        "controller" | "all" => Err(Problem::at(*at, no_controller_is_replaced(name))),
        name if cast.controllers.iter().any(|known| known == name) => {
            Err(Problem::at(*at, no_controller_is_replaced(name)))
        }
        name if cast.is_client(name) => {
            let expected = "expected a broker";
            Err(Problem::at(*at, format!("`{name}` is a client, and has nothing on its disk; {expected}")))
        }
        _ => Ok(()),
    }
}

/// Why the disk of these nodes, with the controller among them, is not replaced.
pub fn no_controller_is_replaced(target: &str) -> String {
    format!("`{target}`: the controller is the only one, and without its log there is no cluster; expected brokers")
}

/// Demands brokers: nobody else holds partitions, or has a session with the controller.
fn expect_brokers(target: &Term, cast: &Cast, at: usize) -> Result<(), Problem> {
    target.expect_target(cast)?;
    let named = if let Term::List(terms) = target { terms } else { std::slice::from_ref(target) };
    let is_other = |name: &str| name != "brokers" && !cast.brokers.iter().any(|(broker, _)| broker == name);
    let other = named.iter().find_map(|term| match term {
        Term::Name(at, name) if is_other(name) => Some(Problem::at(*at, format!("expected a broker, found `{name}`"))),
        _ => None,
    });
    match (other, named) {
        (Some(problem), _) => Err(problem),
        (None, []) => Err(Problem::at(at, "expected at least one broker, as [b1]")),
        (None, _) => Ok(()),
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
