//! A scenario as it is written: header, cluster, topics, clients, steps, expectations, variants. Prints back to a file
//! that reads the same.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    ops::RangeInclusive,
    time::Duration,
};

use super::{
    action::{self, Action},
    condition::{Condition, EventTrigger},
    groups::Consuming,
    predict::{Answer, Prediction},
    source::{Spot, show_duration},
    swarm::Swarm,
};
use crate::check::{Expectation, Expected};

/// Settings by Kafka's names.
pub type Settings = BTreeMap<String, Spot<String>>;

/// Release of Kafka whose defaults and behaviour a scenario has.
pub const KAFKA: &str = "4.1";

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// One line.
    pub title: String,
    /// What somebody learns from it.
    pub teaches: Option<String>,
    /// Where it comes from, what to look at.
    pub note: Option<String>,
    /// Its rows in the catalogue of Kafka's failures.
    pub catalogue: Vec<String>,
    /// Seed of the teaching run.
    pub seed: u64,
    /// How many seeds a sweep explores.
    pub sweep: u64,
    /// Simulated time after which a run is given up.
    pub deadline: Duration,
    /// Marks without which a run proves nothing.
    pub must_reach: Vec<Spot<String>>,
    /// Behaviour as of a release.
    pub era: Option<Spot<String>>,
    /// Single switches.
    pub switches: Settings,
    /// Do not heal at the end.
    pub leave_broken: bool,
    /// The seed draws cluster, topics, clients and steps from these ranges; there are none then.
    pub swarm: Option<Swarm>,
    /// Brokers and controllers.
    pub cluster: Cluster,
    /// Topics.
    pub topics: Vec<Topic>,
    /// Clients.
    pub clients: Vec<Client>,
    /// The story.
    pub steps: Vec<Step>,
    /// What should come of it.
    pub expect: Vec<Expectation>,
    /// The same with a few keys changed.
    pub variants: Vec<Variant>,
    /// Questions to a class.
    pub predictions: Vec<Prediction>,
}

/// Brokers and controllers.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Number of brokers: `b1`, `b2`, ...
    pub brokers: u64,
    /// Number of controllers: `c1`.
    pub controllers: u64,
    /// Rack of each broker, in order; or none.
    pub racks: Vec<String>,
    /// Properties of every broker and controller.
    pub config: Settings,
}

impl Default for Cluster {
    fn default() -> Self {
        Self { brokers: 3, controllers: 1, racks: Vec::new(), config: Settings::new() }
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Spot<String>,
    /// The replicas of each partition, the preferred leader first.
    pub replicas: Vec<Vec<Spot<String>>>,
    /// Its settings.
    pub config: Settings,
}

/// A client.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Name of its host.
    pub name: Spot<String>,
    /// What it does.
    pub work: Work,
    /// Its settings.
    pub config: Settings,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It sends records.
    Send(Sending),
    /// It reads a topic for as long as the run lasts.
    Read(Reading),
    /// It reads a topic as a member of a group and does something with the records.
    Consume(Consuming),
}

impl Work {
    /// The topic that it is about.
    pub fn topic(&self) -> &Spot<String> {
        match self {
            Self::Send(sending) => &sending.topic,
            Self::Read(reading) => &reading.topic,
            Self::Consume(consuming) => &consuming.topic,
        }
    }

    /// What is sent, if anything.
    pub fn sending(&self) -> Option<&Sending> {
        match self {
            Self::Send(sending) => Some(sending),
            Self::Read(_) | Self::Consume(_) => None,
        }
    }
}

/// What a producer sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    /// Where to.
    pub topic: Spot<String>,
    /// Partition; by key or sticky if not given.
    pub partition: Option<u64>,
    /// How many records.
    pub count: u64,
    /// Time between two.
    pub every: Duration,
    /// Key of each, where `{n}` is its number.
    pub key: Option<String>,
    /// Value of each, where `{n}` is its number.
    pub value: String,
    /// Bytes of a header that makes each record larger and says nothing.
    pub padding_bytes: u64,
}

/// What a consumer reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// All partitions of this topic.
    pub topic: Spot<String>,
    /// Begins behind the last record rather than at the first.
    pub from_end: bool,
}

/// One step of the story.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where it begins in the file.
    pub place: Spot<()>,
    /// Time since the story began.
    pub at: Option<Duration>,
    /// Time since the step before.
    pub after: Option<Duration>,
    /// An event to wait for.
    pub on: Option<Spot<EventTrigger>>,
    /// A condition to wait for; with `on`: that has to hold at the event.
    pub when: Option<Spot<Condition>>,
    /// How long to wait.
    pub within: Duration,
    /// The story goes on without it if it does not come in time or has no target.
    pub optional: bool,
    /// What to do.
    pub actions: Spot<Vec<Action>>,
    /// What to tell the reader.
    pub note: Option<String>,
}

/// Simulated time after which a run is given up, if the file does not say.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Seeds of a sweep, if the file does not say.
pub const SWEEP: u64 = 100;
/// How long a step waits if it does not say.
pub const WITHIN: Duration = Duration::from_secs(30);

/// The same scenario with a few keys changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: Spot<String>,
    /// What it shows.
    pub note: Option<String>,
    /// Keys with their values.
    pub set: BTreeMap<String, Spot<Given>>,
    /// Changes of steps, by number from 1.
    pub steps: BTreeMap<usize, Spot<StepChange>>,
    /// Expectations that replace those of the same claims.
    pub expect: Vec<Expectation>,
    /// Marks that replace the scenario's.
    pub must_reach: Option<Vec<Spot<String>>>,
}

/// A value that a variant gives to a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A text, a number, true or false.
    Text(String),
    /// A list.
    List(Vec<Spot<Given>>),
}

/// A change of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepChange {
    /// The step is left out.
    pub off: bool,
    /// Another condition.
    pub when: Option<Spot<Condition>>,
    /// Another event.
    pub on: Option<Spot<EventTrigger>>,
    /// So long after the step before.
    pub after: Option<Duration>,
    /// Other actions.
    pub actions: Option<Spot<Vec<Action>>>,
    /// Another bound.
    pub within: Option<Duration>,
    /// Another note.
    pub note: Option<String>,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_toml().fmt(f)
    }
}

impl Given {
    fn as_toml(&self) -> toml::Value {
        match self {
            Self::Text(text) => toml::Value::String(text.clone()),
            Self::List(list) => toml::Value::Array(list.iter().map(|given| given.value.as_toml()).collect()),
        }
    }
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A line with a key that may be any text.
pub(super) fn named(out: &mut String, name: &str, value: toml::Value) {
    out.push_str(&toml::Table::from_iter([(name.to_owned(), value)]).to_string());
}

pub(super) fn line(out: &mut String, key: &str, value: impl fmt::Display) {
    writeln!(out, "{key} = {value}").expect("writing to a string does not fail");
}

fn optional(out: &mut String, key: &str, text: Option<&String>) {
    if let Some(text) = text {
        line(out, key, quoted(text));
    }
}

pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", texts.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

fn time(duration: Duration) -> String {
    quoted(&show_duration(duration))
}

fn settings(out: &mut String, head: &str, settings: &Settings) {
    if settings.is_empty() {
        return;
    }
    writeln!(out, "[{head}]").expect("writing to a string does not fail");
    for (name, value) in settings {
        named(out, name, toml::Value::String(value.value.clone()));
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        line(&mut out, "kafka", quoted(KAFKA));
        line(&mut out, "title", quoted(&self.title));
        optional(&mut out, "teaches", self.teaches.as_ref());
        optional(&mut out, "note", self.note.as_ref());
        if !self.catalogue.is_empty() {
            line(&mut out, "catalogue", texts(self.catalogue.iter().map(String::as_str)));
        }
        line(&mut out, "seed", self.seed);
        if self.sweep != SWEEP {
            line(&mut out, "sweep", self.sweep);
        }
        if self.deadline != DEADLINE {
            line(&mut out, "deadline", time(self.deadline));
        }
        if !self.must_reach.is_empty() {
            line(&mut out, "must_reach", texts(self.must_reach.iter().map(|mark| mark.value.as_str())));
        }
        optional(&mut out, "era", self.era.as_ref().map(|era| &era.value));
        if self.leave_broken {
            line(&mut out, "leave_broken", true);
        }
        settings(&mut out, "switch", &self.switches);
        match &self.swarm {
            Some(swarm) => swarm.print(&mut out),
            None => self.cluster.print(&mut out),
        }
        self.topics.iter().for_each(|topic| topic.print(&mut out));
        self.clients.iter().for_each(|client| client.print(&mut out));
        self.steps.iter().for_each(|step| step.print(&mut out));
        for expectation in &self.expect {
            out.push_str("\n[[expect]]\n");
            line(&mut out, "claim", quoted(expectation.claim.name()));
            print_expectation(&mut out, expectation);
        }
        self.variants.iter().for_each(|variant| variant.print(&mut out));
        self.predictions.iter().for_each(|prediction| prediction.print(&mut out));
        f.write_str(&out)
    }
}

impl Cluster {
    fn print(&self, out: &mut String) {
        out.push_str("\n[cluster]\n");
        line(out, "brokers", self.brokers);
        if self.controllers != 1 {
            line(out, "controllers", self.controllers);
        }
        if !self.racks.is_empty() {
            line(out, "racks", texts(self.racks.iter().map(String::as_str)));
        }
        settings(out, "cluster.config", &self.config);
    }
}

impl Topic {
    fn print(&self, out: &mut String) {
        out.push_str("\n[[topic]]\n");
        line(out, "name", quoted(&self.name.value));
        let partitions: Vec<String> =
            self.replicas.iter().map(|replicas| texts(replicas.iter().map(|name| name.value.as_str()))).collect();
        line(out, "replicas", format!("[{}]", partitions.join(", ")));
        settings(out, "topic.config", &self.config);
    }
}

impl Client {
    fn print(&self, out: &mut String) {
        out.push_str("\n[[client]]\n");
        line(out, "name", quoted(&self.name.value));
        match &self.work {
            Work::Send(sending) => {
                let mut fields = vec![format!("topic = {}", quoted(&sending.topic.value))];
                fields.extend(sending.partition.map(|partition| format!("partition = {partition}")));
                fields.push(format!("count = {}", sending.count));
                fields.push(format!("every = {}", time(sending.every)));
                fields.extend(sending.key.as_ref().map(|key| format!("key = {}", quoted(key))));
                fields.push(format!("value = {}", quoted(&sending.value)));
                fields
                    .extend((sending.padding_bytes > 0).then(|| format!("padding_bytes = {}", sending.padding_bytes)));
                line(out, "send", format!("{{ {} }}", fields.join(", ")));
            }
            Work::Read(reading) => {
                let from = if reading.from_end { "end" } else { "beginning" };
                line(out, "read", format!("{{ topic = {}, from = {} }}", quoted(&reading.topic.value), quoted(from)));
            }
            Work::Consume(consuming) => line(out, "consume", consuming.print()),
        }
        settings(out, "client.config", &self.config);
    }
}

impl Step {
    fn print(&self, out: &mut String) {
        out.push_str("\n[[step]]\n");
        if let Some(at) = self.at {
            line(out, "at", time(at));
        }
        if let Some(after) = self.after {
            line(out, "after", time(after));
        }
        if let Some(on) = &self.on {
            line(out, "on", quoted(&on.to_string()));
        }
        if let Some(when) = &self.when {
            line(out, "when", quoted(&when.to_string()));
        }
        if (self.on.is_some() || self.when.is_some()) && self.within != WITHIN {
            line(out, "within", time(self.within));
        }
        if self.optional {
            line(out, "optional", true);
        }
        line(out, "do", quoted(&action::show(&self.actions.value)));
        optional(out, "note", self.note.as_ref());
    }

    /// Its trigger, for people.
    pub fn trigger(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.at.map(|at| format!("at {}", show_duration(at))));
        parts.extend(self.after.map(|after| format!("after {}", show_duration(after))));
        parts.extend(self.on.as_ref().map(|on| format!("on {on}")));
        parts.extend(self.when.as_ref().map(|when| format!("when {when}")));
        parts.join(", ")
    }
}

impl Variant {
    fn print(&self, out: &mut String) {
        out.push_str("\n[[variant]]\n");
        line(out, "name", quoted(&self.name.value));
        optional(out, "note", self.note.as_ref());
        if let Some(marks) = &self.must_reach {
            line(out, "must_reach", texts(marks.iter().map(|mark| mark.value.as_str())));
        }
        if !self.set.is_empty() {
            out.push_str("[variant.set]\n");
            self.set.iter().for_each(|(key, given)| named(out, key, given.value.as_toml()));
        }
        for (number, change) in &self.steps {
            match change.value.off {
                true => writeln!(out, "[variant.steps.{number}]\noff = true"),
                false => writeln!(out, "[variant.steps.{number}]"),
            }
            .expect("writing to a string does not fail");
            change.value.print(out);
        }
        for expectation in &self.expect {
            writeln!(out, "[variant.expect.{}]", expectation.claim.name()).expect("writing to a string does not fail");
            print_expectation(out, expectation);
        }
    }
}

impl StepChange {
    fn print(&self, out: &mut String) {
        if let Some(on) = &self.on {
            line(out, "on", quoted(&on.to_string()));
        }
        if let Some(when) = &self.when {
            line(out, "when", quoted(&when.to_string()));
        }
        if let Some(after) = self.after {
            line(out, "after", time(after));
        }
        if let Some(actions) = &self.actions {
            line(out, "do", quoted(&action::show(&actions.value)));
        }
        if let Some(within) = self.within {
            line(out, "within", time(within));
        }
        optional(out, "note", self.note.as_ref());
    }
}

impl Prediction {
    fn print(&self, out: &mut String) {
        out.push_str("\n[[predict]]\n");
        line(out, "before", quoted(&format!("step {}", self.before.value)));
        line(out, "ask", quoted(&self.ask));
        if !self.options.is_empty() {
            line(out, "options", texts(self.options.iter().map(String::as_str)));
        }
        match &self.answer {
            Answer::Fixed(answer) => line(out, "answer", quoted(&answer.value)),
            Answer::Measured(measured) => line(out, "value", quoted(&measured.value.to_string())),
        }
        line(out, "why", quoted(&self.why));
        if !self.variants.is_empty() {
            line(out, "variants", texts(self.variants.iter().map(|name| name.value.as_str())));
        }
        settings(out, "predict.wrong", &self.wrong);
    }
}

fn print_expectation(out: &mut String, expectation: &Expectation) {
    let value = match expectation.value {
        Expected::Held => "held",
        Expected::Violated => "violated",
        Expected::Any => "any",
    };
    line(out, "value", quoted(value));
    if let Some(lost) = &expectation.lost {
        let count = lost.count.as_ref().map(|count: &RangeInclusive<u64>| match count.start() == count.end() {
            true => format!("count = {}", count.start()),
            false => format!("count = {}", quoted(&format!("{}..{}", count.start(), count.end()))),
        });
        let causes = match lost.causes.as_slice() {
            [] => None,
            [cause] => Some(format!("cause = {}", quoted(cause.name()))),
            many => Some(format!("cause = {}", texts(many.iter().map(|cause| cause.name())))),
        };
        let fields: Vec<String> = count.into_iter().chain(causes).collect();
        line(out, "lost", format!("{{ {} }}", fields.join(", ")));
    }
}
