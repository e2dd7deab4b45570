//! Triggers: a condition on the state (`when`), and events to wait for (`on`).
//!
//! ```text
//! condition = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation = [ "not" ] ( comparison | "(" condition ")" )
//! comparison = term [ ( == | != | < | <= | > | >= | "in" | "not in" ) term ]
//! ```

use std::fmt;

use super::{
    source::{Problem, unknown},
    term::{Argument, Cast, Kind, Term},
    words::Words,
};
use crate::protocol::api;

/// How two numbers or nodes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `in`
    In,
    /// `not in`
    NotIn,
}

impl Comparison {
    /// Every comparison with its sign.
    pub const ALL: &[(&'static str, Self)] = &[
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("<", Self::Less),
        (">", Self::More),
        ("in", Self::In),
        ("not in", Self::NotIn),
    ];

    fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).expect("every comparison has a sign").0
    }
}

/// What a `when` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Either is true.
    Or(Box<Condition>, Box<Condition>),
    /// Both are true.
    And(Box<Condition>, Box<Condition>),
    /// It is false.
    Not(Box<Condition>),
    /// Two terms compare so.
    Compare(Term, Comparison, Term),
    /// A term is true.
    Is(Term),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(left, right) => write!(f, "({left} or {right})"),
            Self::And(left, right) => write!(f, "({left} and {right})"),
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::Compare(left, comparison, right) => write!(f, "{left} {} {right}", comparison.sign()),
            Self::Is(term) => write!(f, "{term}"),
        }
    }
}

impl Condition {
    /// Reads a whole text, which stands at byte `at` of its file.
    ///
    /// # Errors
    /// It is no condition.
    pub fn parse(text: &str, at: usize) -> Result<Self, Problem> {
        let mut words = Words::of(text, at)?;
        let condition = Self::read(&mut words)?;
        if words.is_done() { Ok(condition) } else { Err(words.expected("`and`, `or` or the end")) }
    }

    fn read(words: &mut Words) -> Result<Self, Problem> {
        let mut left = Self::read_conjunction(words)?;
        while words.keyword("or") {
            left = Self::Or(Box::new(left), Box::new(Self::read_conjunction(words)?));
        }
        Ok(left)
    }

    fn read_conjunction(words: &mut Words) -> Result<Self, Problem> {
        let mut left = Self::read_negation(words)?;
        while words.keyword("and") {
            left = Self::And(Box::new(left), Box::new(Self::read_negation(words)?));
        }
        Ok(left)
    }

    fn read_negation(words: &mut Words) -> Result<Self, Problem> {
        if words.keyword("not") {
            return Ok(Self::Not(Box::new(Self::read_negation(words)?)));
        }
        if words.sign("(") {
            let inner = Self::read(words)?;
            words.need(")")?;
            return Ok(inner);
        }
        let left = Term::read(words)?;
        let comparison = if words.keyword("not") {
            if !words.keyword("in") {
                return Err(words.expected("`in`"));
            }
            Some(Comparison::NotIn)
        } else if words.keyword("in") {
            Some(Comparison::In)
        } else {
            let signs = words.one_of(&["==", "!=", "<=", ">=", "<", ">"]);
            if signs.is_none() && words.sign("=") {
                return Err(Problem::at(words.at().saturating_sub(1), "to compare, write `==`"));
            }
            let of_sign = |sign| Comparison::ALL.iter().find(|(known, _)| *known == sign).map(|(_, found)| *found);
            signs.and_then(of_sign)
        };
        match comparison {
            Some(comparison) => Ok(Self::Compare(left, comparison, Term::read(words)?)),
            None => Ok(Self::Is(left)),
        }
    }

    /// Checks that it can be evaluated, and can be true, among `cast`.
    ///
    /// # Errors
    /// A name that means nothing, types that do not go together, a count that is never reached.
    pub fn check(&self, cast: &Cast) -> Result<(), Problem> {
        match self {
            Self::Or(left, right) | Self::And(left, right) => {
                left.check(cast)?;
                right.check(cast)
            }
            Self::Not(inner) => inner.check(cast),
            Self::Is(term) => term.expect(Kind::Truth, cast),
            Self::Compare(left, comparison, right) => {
                check_comparison(left, *comparison, right, cast)?;
                check_possible(left, *comparison, right, cast)
            }
        }
    }

    /// The terms that have a value of interest: those which are not written out.
    pub fn symbols(&self) -> Vec<&Term> {
        let terms = match self {
            Self::Or(left, right) | Self::And(left, right) => {
                return left.symbols().into_iter().chain(right.symbols()).collect();
            }
            Self::Not(inner) => return inner.symbols(),
            Self::Compare(left, _, right) => vec![left, right],
            Self::Is(term) => vec![term],
        };
        terms.into_iter().filter(|term| term.changes()).collect()
    }
}

fn check_comparison(left: &Term, comparison: Comparison, right: &Term, cast: &Cast) -> Result<(), Problem> {
    let (l, r) = (left.kind(cast)?, right.kind(cast)?);
    let fits = match comparison {
        Comparison::Equal | Comparison::NotEqual => l == r && l != Kind::Truth,
        Comparison::In | Comparison::NotIn => l == Kind::Node && r == Kind::Nodes,
        _ => l == Kind::Number && r == Kind::Number,
    };
    if fits {
        return Ok(());
    }
    let sign = comparison.sign();
    Err(Problem::at(left.at(), format!("`{left}` is {l} and `{right}` is {r}: `{sign}` cannot compare them")))
}

/// Refuses what no run brings about: more records than the client sends, a broker that is no replica, more nodes than
/// there are replicas.
fn check_possible(left: &Term, comparison: Comparison, right: &Term, cast: &Cast) -> Result<(), Problem> {
    let Term::Call(at, function, arguments) = left else { return Ok(()) };
    let refuse = |why: String| {
        let sign = comparison.sign();
        Err(Problem::at(*at, format!("{why}, so `{left} {sign} {right}` never comes true")))
    };
    let is_more_than = |most: usize| {
        let Term::Number(number) = right else { return false };
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        match comparison {
            Comparison::Equal | Comparison::AtLeast => *number > most,
            Comparison::More => *number >= most,
            _ => false,
        }
    };
    // Of the brokers' own topic they are known when it is made; of a partition that moves, when it does.
    let replicas = |partition: &Term| cast.replicas.get(&partition.partition());
    match function.name {
        "sent" | "acked" | "failed" => {
            let client = arguments[0].name();
            match cast.clients.iter().find(|(name, _)| name == client).and_then(|(_, count)| *count) {
                None => Err(Problem::at(*at, format!("`{client}` sends nothing, so `{left}` stays 0"))),
                Some(count) if is_more_than(usize::try_from(count).unwrap_or(usize::MAX)) => {
                    refuse(format!("`{client}` sends {count} records"))
                }
                Some(_) => Ok(()),
            }
        }
        "size" => match &arguments[0] {
            Term::Call(_, of, inner) if ["isr", "followers", "replicas"].contains(&of.name) => {
                let Some(known) = replicas(&inner[0]) else { return Ok(()) };
                let most = known.len() - usize::from(of.name == "followers");
                if is_more_than(most) { refuse(format!("`{}` has at most {most} nodes", arguments[0])) } else { Ok(()) }
            }
            _ => Ok(()),
        },
        "leader" | "leader_known" | "isr" | "followers" => {
            let partition = &arguments[0];
            let Some(known) = replicas(partition) else { return Ok(()) };
            // Only names of brokers are known to be no replica: `none` is nobody, symbols are resolved later.
            let stranger = |term: &&Term| match term {
                Term::Name(_, name) => cast.nodes().any(|node| node == name) && !known.contains(name),
                _ => false,
            };
            let strange = match (comparison, right) {
                (Comparison::Equal, Term::List(terms)) => terms.iter().find(stranger),
                (Comparison::In, Term::List(terms)) if terms.iter().all(|term| stranger(&term)) => terms.first(),
                (Comparison::Equal, name) => Some(name).filter(stranger),
                _ => None,
            };
            match strange {
                Some(name) => refuse(format!("`{name}` is no replica of {partition}")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// One row of the table of events.
#[derive(Debug)]
pub struct EventKind {
    /// Its name in `on`.
    pub name: &'static str,
    /// What it takes; those in [`EventKind::least`] must be given.
    pub takes: &'static [EventArgument],
    /// How many arguments must be given.
    pub least: usize,
    /// When it happens.
    pub meaning: &'static str,
    /// A line that uses it.
    pub example: &'static str,
}

/// What stands between an event's parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventArgument {
    /// A partition.
    Partition,
    /// The node at which it happens, or a set that has it; any if not given.
    At,
    /// A client.
    Client,
    /// An API by Kafka's name.
    Api,
    /// A consumer group.
    Group,
}

use EventArgument::{Api, At, Client, Group, Partition};

const fn event(
    name: &'static str,
    takes: &'static [EventArgument],
    least: usize,
    meaning: &'static str,
    example: &'static str,
) -> EventKind {
    EventKind { name, takes, least, meaning, example }
}

/// Every event that a step can wait for.
pub const EVENTS: &[EventKind] = &[
    event(
        "appended",
        &[Partition, At],
        1,
        "a replica appended records; nobody has been answered yet",
        "appended(orders-0, leader(orders-0))",
    ),
    event(
        "fetched",
        &[Partition, At],
        1,
        "the leader learned how far the follower named has copied",
        "fetched(orders-0, b2)",
    ),
    event("hw_moved", &[Partition, At], 1, "a replica's high watermark moved", "hw_moved(orders-0, b2)"),
    event("flushed", &[Partition, At], 1, "a replica's log was synced", "flushed(orders-0)"),
    event("truncated", &[Partition, At], 1, "a replica cut its log", "truncated(orders-0, b1)"),
    event("became_leader", &[Partition, At], 1, "a broker began to lead", "became_leader(orders-0)"),
    event("became_follower", &[Partition, At], 1, "a broker began to follow", "became_follower(orders-0, b1)"),
    event("answered", &[Partition, At], 1, "a leader answered a produce", "answered(orders-0)"),
    event(
        "isr_proposed",
        &[Partition, At],
        1,
        "a leader asked the controller for another ISR",
        "isr_proposed(orders-0)",
    ),
    event(
        "alter_partition_committed",
        &[Partition],
        1,
        "the controller committed a change of the ISR or the leader",
        "alter_partition_committed(orders-0)",
    ),
    event("elected", &[Partition], 1, "the controller committed another leader", "elected(orders-0)"),
    event("acked", &[Client], 1, "a producer was told that a record is stored", "acked(p1)"),
    event("read", &[Client], 1, "a consumer got a record", "read(r1)"),
    event("assigned", &[Client], 1, "a member of a group got partitions", "assigned(g1)"),
    event("revoked", &[Client], 1, "a member of a group gave partitions up, or lost them", "revoked(g1)"),
    event("processed", &[Client], 1, "a member's application has worked through a record", "processed(g1)"),
    event("commit_sent", &[Client], 1, "a member asked for offsets to be committed", "commit_sent(g1)"),
    event("committed", &[Client], 1, "a member was told that its commit stands", "committed(g1)"),
    event(
        "rebalance",
        &[Group],
        1,
        "members of a group have to join again; in the consumer protocol its epoch goes on",
        "rebalance(billing)",
    ),
    event("fenced", &[At], 1, "the controller fenced a broker", "fenced(b1)"),
    event("stopped", &[At], 1, "a process ended", "stopped(b1)"),
    event("started", &[At], 1, "a process started", "started(b1)"),
    event("request", &[Api, At], 1, "a request of this API left the node", "request(AlterPartition, b1)"),
    event("response", &[Api, At], 1, "a response of this API left the node", "response(Produce, b1)"),
];

/// What an `on` says.
#[derive(Clone, Debug)]
pub struct EventTrigger {
    /// The row of the table.
    pub kind: &'static EventKind,
    /// Its arguments.
    pub arguments: Vec<Term>,
}

impl PartialEq for EventTrigger {
    fn eq(&self, other: &Self) -> bool {
        self.kind.name == other.kind.name && self.arguments == other.arguments
    }
}

impl fmt::Display for EventTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> = self.arguments.iter().map(Term::to_string).collect();
        write!(f, "{}({})", self.kind.name, arguments.join(", "))
    }
}

impl EventTrigger {
    /// Reads a whole text, which stands at byte `at` of its file.
    ///
    /// # Errors
    /// It names no event.
    pub fn parse(text: &str, at: usize) -> Result<Self, Problem> {
        let mut words = Words::of(text, at)?;
        let (at, name) = words.word("an event, as `elected(orders-0)`")?;
        let kind = EVENTS
            .iter()
            .find(|kind| kind.name == name)
            .ok_or_else(|| Problem::at(at, unknown("an event", &name, EVENTS.iter().map(|kind| kind.name))))?;
        words.need("(")?;
        let mut arguments = vec![Term::read(&mut words)?];
        while words.sign(",") {
            arguments.push(Term::read(&mut words)?);
        }
        words.need(")")?;
        if !words.is_done() {
            return Err(words.expected("the end"));
        }
        if !(kind.least..=kind.takes.len()).contains(&arguments.len()) {
            return Err(Problem::at(at, format!("`{name}` is used as in `{}`", kind.example)));
        }
        Ok(Self { kind, arguments })
    }

    /// Checks that it can happen among `cast`.
    ///
    /// # Errors
    /// A name that means nothing.
    pub fn check(&self, cast: &Cast) -> Result<(), Problem> {
        for (takes, term) in self.kind.takes.iter().zip(&self.arguments) {
            match takes {
                Partition => cast.argument(Argument::Partition, term)?,
                Client => cast.argument(Argument::Client, term)?,
                Group => cast.argument(Argument::Group, term)?,
                At => term.expect_target(cast)?,
                Api => check_api(term)?,
            }
        }
        Ok(())
    }
}

/// Demands the name of an API.
///
/// # Errors
/// It names none.
pub fn check_api(term: &Term) -> Result<(), Problem> {
    let known = || api::BROKER.iter().chain(api::CONTROLLER).map(|row| api::name(row.key));
    match term {
        Term::Name(_, name) if api::by_name(name).is_some() => Ok(()),
        other => Err(Problem::at(other.at(), unknown("an API", &other.to_string(), known()))),
    }
}
