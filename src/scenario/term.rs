//! Values of the trigger language: numbers, nodes, sets of nodes, and the symbols that stand for them.
//!
//! A symbol is resolved when it is needed: `leader(orders-0)` is who leads then. What a symbol takes and gives is in
//! [`FUNCTIONS`] and [`NAMES`]; a term that cannot mean anything in its scenario is refused before the run.

use std::{collections::BTreeMap, fmt};

use super::{
    source::{Problem, unknown},
    words::{Token, Words},
};
use crate::base::{OFFSETS_TOPIC, TopicPartition};

/// Type of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Number,
    /// One node, or `none`.
    Node,
    /// A set of nodes.
    Nodes,
    /// True or false.
    Truth,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Node => "a node",
            Self::Nodes => "a set of nodes",
            Self::Truth => "true or false",
        })
    }
}

/// What stands between a function's parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A partition, as `orders-0`.
    Partition,
    /// A broker.
    Node,
    /// A broker, or nothing: the leader.
    NodeOrLeader,
    /// A set of nodes.
    Nodes,
    /// A client by name.
    Client,
    /// A rack by name.
    Rack,
    /// A consumer group by name.
    Group,
}

/// One row of the table of functions.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static [Argument],
    /// What it gives.
    pub gives: Kind,
    /// What it means.
    pub meaning: &'static str,
    /// A line that uses it.
    pub example: &'static str,
}

const fn function(
    name: &'static str,
    takes: &'static [Argument],
    gives: Kind,
    meaning: &'static str,
    example: &'static str,
) -> Function {
    Function { name, takes, gives, meaning, example }
}

use Argument::{Client, Group, Node, NodeOrLeader, Nodes, Partition, Rack};

/// Every function.
pub const FUNCTIONS: &[Function] = &[
    function("leader", &[Partition], Kind::Node, "who leads, as the controller decided", "leader(orders-0) == b1"),
    function("followers", &[Partition], Kind::Nodes, "the replicas but the leader", "followers(orders-0) == [b2, b3]"),
    function("isr", &[Partition], Kind::Nodes, "the in-sync replicas", "isr(orders-0) == [b1]"),
    function("replicas", &[Partition], Kind::Nodes, "all replicas", "b1 in replicas(orders-0)"),
    function(
        "reassigning",
        &[Partition],
        Kind::Truth,
        "the partition is on its way to other replicas",
        "reassigning(orders-0)",
    ),
    function("size", &[Nodes], Kind::Number, "how many nodes a set has", "size(isr(orders-0)) < 3"),
    function("epoch", &[Partition], Kind::Number, "the leader epoch", "epoch(orders-0) > 0"),
    function(
        "partition_epoch",
        &[Partition],
        Kind::Number,
        "how often the leader or the ISR has changed",
        "partition_epoch(orders-0) == 0",
    ),
    function(
        "leader_known",
        &[Partition, Node],
        Kind::Node,
        "who leads, as far as the broker named knows",
        "leader_known(orders-0, b3) == b2",
    ),
    function(
        "hw",
        &[Partition, NodeOrLeader],
        Kind::Number,
        "the high watermark, of the leader or of the broker named",
        "hw(orders-0) >= 5",
    ),
    function(
        "leo",
        &[Partition, NodeOrLeader],
        Kind::Number,
        "the log end offset, of the leader or of the broker named",
        "leo(orders-0, b2) == 3",
    ),
    function(
        "flushed",
        &[Partition, NodeOrLeader],
        Kind::Number,
        "up to which offset the log is on the platter",
        "flushed(orders-0) >= 5",
    ),
    function("sent", &[Client], Kind::Number, "records that the producer's application has sent", "sent(p1) >= 3"),
    function("acked", &[Client], Kind::Number, "records that were acknowledged to the producer", "acked(p1) == 8"),
    function("failed", &[Client], Kind::Number, "records that failed for the producer", "failed(p1) >= 1"),
    function("read", &[Client], Kind::Number, "records that the consumer has read", "read(r1) >= 3"),
    function("running", &[Node], Kind::Truth, "the process runs", "not running(b1)"),
    function("fenced", &[Node], Kind::Truth, "the controller has fenced the broker", "fenced(b1)"),
    function(
        "processed",
        &[Client],
        Kind::Number,
        "records that the member's application has worked through",
        "processed(g1) >= 3",
    ),
    function(
        "coordinator",
        &[Group],
        Kind::Node,
        "the broker that coordinates the group",
        "coordinator(billing) == b1",
    ),
    function("generation", &[Group], Kind::Number, "the group's generation, or its epoch", "generation(billing) >= 2"),
    function(
        "owner",
        &[Group, Partition],
        Kind::Node,
        "the member that was given the partition last and still has it",
        "owner(billing, orders-0) == g1",
    ),
    function(
        "committed",
        &[Group, Partition],
        Kind::Number,
        "the offset that the group has committed",
        "committed(billing, orders-0) >= 5",
    ),
    function("rack", &[Rack], Kind::Nodes, "the brokers of a rack", "size(rack(r1)) == 3"),
];

/// Names with a fixed meaning: name, type, meaning, a line that uses it.
pub const NAMES: &[(&str, Kind, &str, &str)] = &[
    ("none", Kind::Node, "no node: nobody leads", "leader(orders-0) == none"),
    ("controller", Kind::Node, "the active controller", "cut b1 | controller"),
    ("brokers", Kind::Nodes, "every broker", "crash brokers power"),
    ("clients", Kind::Nodes, "every client's host", "slow clients > b1 300ms"),
    ("all", Kind::Nodes, "every node", "slow all | all 50ms"),
    ("stopped", Kind::Nodes, "the nodes whose process does not run", "restart stopped"),
    ("settled", Kind::Truth, "every partition is led, all its replicas are in sync and have the same", "settled"),
];

/// A value, written.
#[derive(Clone, Debug)]
pub enum Term {
    /// A number.
    Number(i64),
    /// A node, a fixed name, or an argument that is no value (a partition, a client, a rack).
    Name(usize, String),
    /// A set, written out.
    List(Vec<Term>),
    /// A function's value.
    Call(usize, &'static Function, Vec<Term>),
}

/// Terms are equal when they read the same, wherever they stand.
impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::Name(_, a), Self::Name(_, b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Call(_, f, a), Self::Call(_, g, b)) => f.name == g.name && a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(_, name) => f.write_str(name),
            Self::List(terms) => write!(f, "[{}]", join(terms)),
            Self::Call(_, function, terms) => write!(f, "{}({})", function.name, join(terms)),
        }
    }
}

fn join(terms: &[Term]) -> String {
    terms.iter().map(Term::to_string).collect::<Vec<_>>().join(", ")
}

impl Term {
    /// Reads a term.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn read(words: &mut Words) -> Result<Self, Problem> {
        if words.sign("[") {
            return Ok(Self::List(read_list(words, "]")?));
        }
        let (at, word) = words.word("a number, a node, a set as [b1, b2], or a function")?;
        if let Ok(number) = word.parse() {
            return Ok(Self::Number(number));
        }
        if !words.sign("(") {
            return Ok(Self::Name(at, word));
        }
        let function = FUNCTIONS.iter().find(|function| function.name == word).ok_or_else(|| {
            Problem::at(at, unknown("a function", &word, FUNCTIONS.iter().map(|function| function.name)))
        })?;
        let arguments = read_list(words, ")")?;
        let least = function.takes.iter().filter(|argument| **argument != NodeOrLeader).count();
        if arguments.len() < least || arguments.len() > function.takes.len() {
            let (most, found) = (function.takes.len(), arguments.len());
            let takes = match (least, most) {
                (1, 1) => "1 argument".to_owned(),
                (least, most) if least == most => format!("{most} arguments"),
                (least, most) => format!("{least} or {most} arguments"),
            };
            let message = format!("`{word}` takes {takes}, found {found}; as in `{}`", function.example);
            return Err(Problem::at(at, message));
        }
        Ok(Self::Call(at, function, arguments))
    }

    /// Whether it may be worth something else later in the run.
    pub fn changes(&self) -> bool {
        match self {
            Self::Call(..) => true,
            Self::Name(_, name) => ["controller", "stopped", "settled"].contains(&name.as_str()),
            Self::Number(_) | Self::List(_) => false,
        }
    }

    /// Its type among `cast`.
    ///
    /// # Errors
    /// A name that means nothing here, or an argument of the wrong type.
    pub fn kind(&self, cast: &Cast) -> Result<Kind, Problem> {
        match self {
            Self::Number(_) => Ok(Kind::Number),
            Self::Name(at, name) => cast.name(*at, name),
            Self::List(terms) => {
                terms.iter().try_for_each(|term| term.expect(Kind::Node, cast))?;
                Ok(Kind::Nodes)
            }
            Self::Call(_, function, terms) => {
                for (argument, term) in function.takes.iter().zip(terms) {
                    cast.argument(*argument, term)?;
                }
                Ok(function.gives)
            }
        }
    }

    /// Demands a type.
    ///
    /// # Errors
    /// It has another.
    pub fn expect(&self, kind: Kind, cast: &Cast) -> Result<(), Problem> {
        let found = self.kind(cast)?;
        let fits = found == kind;
        if fits { Ok(()) } else { Err(Problem::at(self.at(), format!("expected {kind}; `{self}` is {found}"))) }
    }

    /// Demands a node or a set of nodes: what an action works on.
    ///
    /// # Errors
    /// It is something else.
    pub fn expect_target(&self, cast: &Cast) -> Result<(), Problem> {
        match self.kind(cast)? {
            Kind::Node | Kind::Nodes => Ok(()),
            found => Err(Problem::at(self.at(), format!("expected nodes; `{self}` is {found}"))),
        }
    }

    /// Where it stands, as far as is known.
    pub fn at(&self) -> usize {
        match self {
            Self::Name(at, _) | Self::Call(at, ..) => *at,
            Self::Number(_) => 0,
            Self::List(terms) => terms.first().map_or(0, Self::at),
        }
    }

    /// The partition that this argument names.
    ///
    /// # Panics
    /// The term was not checked before.
    pub fn partition(&self) -> TopicPartition {
        match self {
            Self::Name(_, name) => name.parse().expect("arguments are checked before the run"),
            other => panic!("`{other}` was checked to be a partition"),
        }
    }

    /// The name that this argument is.
    ///
    /// # Panics
    /// The term was not checked before.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(_, name) => name,
            other => panic!("`{other}` was checked to be a name"),
        }
    }
}

fn read_list(words: &mut Words, end: &str) -> Result<Vec<Term>, Problem> {
    let mut terms = Vec::new();
    while !words.sign(end) {
        if !terms.is_empty() {
            if !matches!(words.peek(), Some(Token::Sign(","))) {
                return Err(words.expected(&format!("`,` or `{end}`")));
            }
            words.need(",")?;
        }
        terms.push(Term::read(words)?);
    }
    Ok(terms)
}

/// Who and what takes part in a scenario: what names may mean.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// Brokers `b1`, `b2`, ... and the rack of each, if they have racks.
    pub brokers: Vec<(String, Option<String>)>,
    /// Controllers.
    pub controllers: Vec<String>,
    /// Clients with how many records each sends; `None`: it sends none.
    pub clients: Vec<(String, Option<u64>)>,
    /// Partitions.
    pub partitions: Vec<TopicPartition>,
    /// The replicas of each that no step moves.
    pub replicas: BTreeMap<TopicPartition, Vec<String>>,
    /// Consumer groups.
    pub groups: Vec<String>,
    /// Clients that are members of groups.
    pub members: Vec<String>,
    /// Partitions of `__consumer_offsets`.
    pub offsets_partitions: i32,
}

impl Cast {
    /// Names of every host.
    pub fn nodes(&self) -> impl Iterator<Item = &str> + Clone {
        let brokers = self.brokers.iter().map(|(name, _)| name.as_str());
        let clients = self.clients.iter().map(|(name, _)| name.as_str());
        brokers.chain(self.controllers.iter().map(String::as_str)).chain(clients)
    }

    /// Whether this is a client, of a group or not.
    pub fn is_client(&self, name: &str) -> bool {
        self.clients.iter().any(|(client, _)| client == name)
    }

    /// Whether this is a client that is no member of a group.
    pub fn is_lone_client(&self, name: &str) -> bool {
        !self.members.iter().any(|member| member == name) && self.is_client(name)
    }

    fn name(&self, at: usize, name: &str) -> Result<Kind, Problem> {
        if self.nodes().any(|node| node == name) {
            return Ok(Kind::Node);
        }
        if let Some((_, kind, ..)) = NAMES.iter().find(|(known, ..)| *known == name) {
            return Ok(*kind);
        }
        if FUNCTIONS.iter().any(|function| function.name == name) {
            return Err(Problem::at(at, format!("`{name}` needs parentheses, as `{name}(...)`")));
        }
        let known = self.nodes().chain(NAMES.iter().map(|(name, ..)| *name));
        Err(Problem::at(at, unknown("a node", name, known)))
    }

    /// Checks an argument.
    pub fn argument(&self, argument: Argument, term: &Term) -> Result<(), Problem> {
        let one_of = |kind: &str, known: Vec<String>| match term {
            Term::Name(_, name) if known.contains(name) => Ok(()),
            Term::Name(at, name) => Err(Problem::at(*at, unknown(kind, name, known.iter().map(String::as_str)))),
            other => Err(Problem::at(other.at(), format!("expected {kind}, found `{other}`"))),
        };
        match argument {
            Argument::Partition => {
                let of_groups = if self.groups.is_empty() { 0 } else { self.offsets_partitions };
                let of_groups = (0..of_groups).map(|number| TopicPartition::new(OFFSETS_TOPIC, number));
                let known = self.partitions.iter().cloned().chain(of_groups);
                one_of("a partition", known.map(|partition| partition.to_string()).collect())
            }
            Argument::Node | Argument::NodeOrLeader => term.expect(Kind::Node, self),
            Argument::Nodes => term.expect(Kind::Nodes, self),
            Argument::Client => one_of("a client", self.clients.iter().map(|(name, _)| name.clone()).collect()),
            Argument::Group => one_of("a group", self.groups.clone()),
            Argument::Rack => {
                let mut racks: Vec<String> = self.brokers.iter().filter_map(|(_, rack)| rack.clone()).collect();
                racks.dedup();
                one_of("a rack", racks)
            }
        }
    }
}
