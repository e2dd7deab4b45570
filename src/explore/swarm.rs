//! Draws a scenario from the ranges of `[swarm]`, by seed: what comes out is an ordinary scenario, with steps that the
//! story can do without where their moment does not come, and with the losses that its own settings and faults permit.
//!
//! Topology, settings, workload and faults have random streams of their own: another range of the one leaves the others
//! as they are. Of the kinds of faults each run takes a part, so that some runs have nothing but crashes and others
//! nothing but links.

use std::{ops::RangeInclusive, time::Duration};

use rand::{Rng, seq::IndexedRandom, seq::SliceRandom};

use super::excuse;
use crate::{
    base::random::{Random, stream},
    scenario::{
        Scenario, Spot, action,
        condition::{Condition, EventTrigger},
        file::{Client, Cluster, Reading, Sending, Settings, Step, Topic, WITHIN, Work},
        source::show_duration,
        swarm::{Choices, Swarm},
    },
};

/// How long a drawn step waits for an event or a condition.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names of topics, in order.
const TOPICS: &[&str] = &["orders", "bills", "clicks", "users"];
/// APIs whose messages a fault may hold.
const APIS: &[&str] = &["Fetch", "Produce", "AlterPartition", "BrokerHeartbeat", "Metadata"];

/// The scenario that `seed` draws from a scenario with `[swarm]`; any other as it is.
pub fn draw(scenario: &Scenario, seed: u64) -> Scenario {
    let Some(swarm) = &scenario.swarm else { return scenario.clone() };
    let mut drawn = Scenario { swarm: None, seed, ..scenario.clone() };
    let mut random = stream(seed, "swarm topology");
    topology(swarm, &mut random, &mut drawn);
    let mut random = stream(seed, "swarm workload");
    workload(swarm, &mut random, &mut drawn);
    let mut random = stream(seed, "swarm settings");
    settings(swarm, &mut random, &mut drawn);
    let random = stream(seed, "swarm faults");
    drawn.steps = Plan { swarm, scenario: &drawn, random, open: Open::default(), focus: None }.steps();
    let permitted = excuse::expectations(&drawn);
    let unsaid = |one: &crate::check::Expectation| !scenario.expect.iter().any(|given| given.claim == one.claim);
    drawn.expect.extend(permitted.into_iter().filter(unsaid));
    drawn
}

fn spot<T>(value: T) -> Spot<T> {
    Spot::new(value, 0)
}

fn name(prefix: &str, index: u64) -> String {
    format!("{prefix}{}", index + 1)
}

/// Of a range of times: short ones as likely as long ones.
fn time(random: &mut Random, range: &RangeInclusive<Duration>) -> Duration {
    let ms = |duration: &Duration| duration.as_millis() as f64 + 1.0;
    let (low, high) = (ms(range.start()).ln(), ms(range.end()).ln());
    Duration::from_millis((random.random_range(low..=high).exp() - 1.0).round() as u64)
}

/// Of a range of numbers: large ones more often, since one broker or replica has nobody to disagree with.
fn rather_many(random: &mut Random, range: &RangeInclusive<u64>) -> u64 {
    random.random_range(range.clone()).max(random.random_range(range.clone()))
}

fn topology(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario) {
    let brokers = rather_many(random, &swarm.brokers);
    let racks = random.random_range(swarm.racks.clone()).min(brokers);
    let rack = |broker: u64| name("r", broker % racks);
    let racks = if racks > 1 { (0..brokers).map(rack).collect() } else { Vec::new() };
    drawn.cluster = Cluster { brokers, racks, ..Cluster::default() };
    let topics = random.random_range(swarm.topics.clone()) as usize;
    for topic in &TOPICS[..topics] {
        let partitions = random.random_range(swarm.partitions.clone());
        let count = rather_many(random, &swarm.replicas).min(brokers) as usize;
        let mut assign = |_| -> Vec<Spot<String>> {
            let mut all: Vec<Spot<String>> = (0..brokers).map(|broker| spot(name("b", broker))).collect();
            all.shuffle(random);
            all.truncate(count);
            all
        };
        let replicas = (0..partitions).map(&mut assign).collect();
        drawn.topics.push(Topic { name: spot((*topic).to_owned()), replicas, config: Settings::new() });
    }
}

fn workload(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario) {
    let producers = random.random_range(swarm.producers.clone());
    // A topic that nobody uses is none.
    drawn.topics.truncate(producers as usize);
    let topics = drawn.topics.clone();
    for index in 0..producers {
        let topic = topics.get(index as usize).unwrap_or_else(|| topics.choose(random).expect("there is a topic"));
        let partitions = topic.replicas.len() as u64;
        let client = name("p", index);
        let sending = Sending {
            topic: topic.name.clone(),
            partition: random.random_bool(0.3).then(|| random.random_range(0..partitions)),
            count: random.random_range(swarm.records.clone()),
            every: time(random, &swarm.every),
            key: random.random_bool(0.3).then(|| "k-{n}".to_owned()),
            value: format!("{client}-{{n}}"),
            padding_bytes: if random.random_bool(0.5) { random.random_range(swarm.padding_bytes.clone()) } else { 0 },
        };
        drawn.clients.push(Client { name: spot(client), work: Work::Send(sending), config: Settings::new() });
    }
    for index in 0..random.random_range(swarm.consumers.clone()) {
        let topic = topics.choose(random).expect("there is a topic").name.clone();
        let work = Work::Read(Reading { topic, from_end: random.random_bool(0.2) });
        drawn.clients.push(Client { name: spot(name("r", index)), work, config: Settings::new() });
    }
}

fn choose(choices: &Choices, random: &mut Random) -> Settings {
    let one = |(name, values): (&String, &Vec<Spot<String>>)| {
        let value = values.choose(random).expect("a choice has values").value.clone();
        (name.clone(), spot(value))
    };
    choices.iter().map(one).collect()
}

fn settings(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario) {
    drawn.cluster.config = choose(&swarm.cluster, random);
    for topic in &mut drawn.topics {
        topic.config = choose(&swarm.topic, random);
    }
    for client in &mut drawn.clients {
        client.config = match client.work {
            Work::Send(_) => agreeing(choose(&swarm.producer, random)),
            Work::Read(_) | Work::Consume(_) => choose(&swarm.consumer, random),
        };
    }
}

/// A producer's settings, changed where they contradict each other.
fn agreeing(mut config: Settings) -> Settings {
    let number = |config: &Settings, name: &str, default: u64| -> u64 {
        config.get(name).and_then(|value| value.value.parse().ok()).unwrap_or(default)
    };
    let acks_all = config.get("acks").is_none_or(|acks| acks.value == "all" || acks.value == "-1");
    let in_flight = number(&config, "max.in.flight.requests.per.connection", 5);
    if !acks_all || in_flight > 5 || number(&config, "retries", 1) == 0 {
        config.insert("enable.idempotence".to_owned(), spot("false".to_owned()));
    }
    let least = number(&config, "linger.ms", 5) + number(&config, "request.timeout.ms", 30_000);
    if number(&config, "delivery.timeout.ms", 120_000) < least {
        config.insert("delivery.timeout.ms".to_owned(), spot(least.to_string()));
    }
    config
}

/// What was done and not undone.
#[derive(Default)]
struct Open {
    stopped: bool,
    links: bool,
    paused: Vec<String>,
}

/// Draws the steps.
struct Plan<'a> {
    swarm: &'a Swarm,
    scenario: &'a Scenario,
    random: Random,
    open: Open,
    /// The partition that most steps are about: faults that meet at one place find more than scattered ones.
    focus: Option<String>,
}

impl Plan<'_> {
    fn steps(mut self) -> Vec<Step> {
        self.focus = Some(self.any_partition());
        let mut kinds: Vec<&str> = self.swarm.faults.iter().map(|fault| fault.value.as_str()).collect();
        kinds.shuffle(&mut self.random);
        let share = self.random.random_range(1..=kinds.len().max(1));
        kinds.truncate(share);
        let count = if kinds.is_empty() { 0 } else { self.random.random_range(self.swarm.steps.clone()) };
        (0..count).map(|_| self.step(&kinds)).collect()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.random).expect("there is something to choose from")
    }

    fn step(&mut self, kinds: &[&str]) -> Step {
        let mut actions = self.action(kinds);
        if self.random.random_bool(0.15) {
            actions = format!("{actions}; {}", self.action(kinds));
        }
        let actions = action::parse(&actions, 0).expect("what is drawn is an action");
        let mut step = Step {
            place: spot(()),
            at: None,
            after: None,
            on: None,
            when: None,
            within: PATIENCE,
            optional: true,
            actions: spot(actions),
            note: None,
        };
        match self.random.random_range(0..10) {
            0..4 => {
                step.after = Some(time(&mut self.random, &self.swarm.pause));
                step.within = WITHIN;
            }
            4..7 => step.on = Some(spot(EventTrigger::parse(&self.event(), 0).expect("what is drawn is an event"))),
            _ => step.when = Some(spot(Condition::parse(&self.condition(), 0).expect("what is drawn is a condition"))),
        }
        step
    }

    fn action(&mut self, kinds: &[&str]) -> String {
        let something_open = self.open.stopped || self.open.links || !self.open.paused.is_empty();
        if something_open && self.random.random_bool(0.45) {
            return self.cure();
        }
        let kind = self.one_of(kinds);
        self.fault(kind)
    }

    fn cure(&mut self) -> String {
        let mut cures = Vec::new();
        if self.open.stopped {
            cures.push("restart stopped".to_owned());
        }
        if self.open.links {
            cures.push("heal all".to_owned());
        }
        cures.extend(self.open.paused.iter().map(|target| format!("resume {target}")));
        let cure = cures.choose(&mut self.random).expect("something is open").clone();
        match cure.strip_prefix("resume ") {
            Some(target) => self.open.paused.retain(|paused| paused != target),
            None if cure == "heal all" => self.open.links = false,
            None => self.open.stopped = false,
        }
        cure
    }

    fn fault(&mut self, kind: &str) -> String {
        match kind {
            "kill" | "power" => {
                self.open.stopped = true;
                format!("crash {} {kind}", self.victim())
            }
            "stop" => {
                self.open.stopped = true;
                format!("stop {}", self.one_broker())
            }
            "pause" => {
                let target = self.broker();
                self.open.paused.push(target.clone());
                format!("pause {target}")
            }
            "cut" | "cut-one-way" => {
                self.open.links = true;
                let (from, to) = self.link();
                format!("cut {from} {} {to}", if kind == "cut" { "|" } else { ">" })
            }
            "slow" => {
                self.open.links = true;
                let (from, to) = self.link();
                let delay = time(&mut self.random, &(Duration::from_millis(5)..=Duration::from_millis(800)));
                format!("slow {from} > {to} {}", show_duration(delay))
            }
            "hold" => {
                self.open.links = true;
                let (from, to) = self.link();
                format!("hold {from} > {to} api={}", self.one_of(APIS))
            }
            "clock" => {
                if self.random.random_bool(0.3) {
                    let ppm = self.random.random_range(-50_000..=50_000);
                    return format!("clock {} drift {ppm}ppm", self.broker());
                }
                let step_ms = self.random.random_range(-20_000..=20_000);
                format!("clock {} {step_ms:+}ms", self.broker())
            }
            "set" => {
                let topic = self.one_of(&self.topics());
                match self.random.random_bool(0.7) {
                    true => format!("set {topic}.min.insync.replicas={}", self.random.random_range(1..=3)),
                    false => format!("set {topic}.unclean.leader.election.enable={}", self.random.random_bool(0.5)),
                }
            }
            "elect-preferred" => format!("elect preferred {}", self.partition()),
            "elect-unclean" => format!("elect unclean {}", self.partition()),
            other => unreachable!("`{other}` was refused when the scenario was read"),
        }
    }

    fn topics(&self) -> Vec<&'static str> {
        TOPICS[..self.scenario.topics.len()].to_vec()
    }

    fn partition(&mut self) -> String {
        match self.focus.clone().filter(|_| self.random.random_bool(0.8)) {
            Some(focus) => focus,
            None => self.any_partition(),
        }
    }

    fn any_partition(&mut self) -> String {
        let topic = self.scenario.topics.choose(&mut self.random).expect("there is a topic");
        format!("{}-{}", topic.name, self.random.random_range(0..topic.replicas.len()))
    }

    /// One broker: by number, or by the part that it plays.
    fn one_broker(&mut self) -> String {
        match self.random.random_bool(0.5) {
            true => format!("leader({})", self.partition()),
            false => name("b", self.random.random_range(0..self.scenario.cluster.brokers)),
        }
    }

    /// One broker, or seldom the controller.
    fn broker(&mut self) -> String {
        if self.random.random_bool(0.1) { "controller".to_owned() } else { self.one_broker() }
    }

    /// Who crashes: one broker, or several at once.
    fn victim(&mut self) -> String {
        match self.random.random_range(0..10) {
            0 => format!("isr({})", self.partition()),
            1 => format!("followers({})", self.partition()),
            2 => "brokers".to_owned(),
            3 if !self.scenario.cluster.racks.is_empty() => {
                let rack = self.scenario.cluster.racks.choose(&mut self.random).expect("there is a rack");
                format!("rack({rack})")
            }
            _ => self.broker(),
        }
    }

    /// Two ends of a link that are not the same node.
    fn link(&mut self) -> (String, String) {
        let partition = self.partition();
        let leader = format!("leader({partition})");
        let (from, to) = match self.random.random_range(0..6) {
            0 | 1 => (leader, format!("followers({partition})")),
            2 => (leader, "controller".to_owned()),
            3 => (leader, "clients".to_owned()),
            4 => (self.one_broker(), "controller".to_owned()),
            _ => {
                let broker = name("b", self.random.random_range(0..self.scenario.cluster.brokers));
                (broker, "brokers".to_owned())
            }
        };
        if self.random.random_bool(0.5) { (from, to) } else { (to, from) }
    }

    fn producer(&mut self) -> (String, u64) {
        let counts: Vec<(&str, u64)> = self
            .scenario
            .clients
            .iter()
            .filter_map(|client| Some((client.name.value.as_str(), client.work.sending()?.count)))
            .collect();
        let (client, count) = self.one_of(&counts);
        (client.to_owned(), count)
    }

    fn event(&mut self) -> String {
        let partition = self.partition();
        let leader = format!("leader({partition})");
        match self.random.random_range(0..12) {
            0 | 1 => format!("appended({partition}, {leader})"),
            2 => format!("fetched({partition})"),
            3 => format!("hw_moved({partition}, {leader})"),
            4 => format!("answered({partition})"),
            5 => format!("isr_proposed({partition})"),
            6 => format!("alter_partition_committed({partition})"),
            7 => format!("elected({partition})"),
            8 => format!("acked({})", self.producer().0),
            9 => format!("became_leader({partition})"),
            10 => format!("truncated({partition})"),
            _ => format!("appended({partition})"),
        }
    }

    fn condition(&mut self) -> String {
        let partition = self.partition();
        match self.random.random_range(0..6) {
            0 | 1 => {
                let (producer, count) = self.producer();
                format!("sent({producer}) >= {}", self.random.random_range(1..=count))
            }
            2 => format!("leo({partition}) > hw({partition})"),
            3 => format!("size(isr({partition})) == 1"),
            4 => format!("size(isr({partition})) < size(replicas({partition}))"),
            _ => format!("hw({partition}) >= {}", self.random.random_range(1..=10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::{parse, resolve};

    const EVERYTHING: &str = include_str!("../../scenarios/swarm/everything.toml");

    #[test]
    fn what_a_seed_draws_is_a_scenario_and_prints_to_the_same() {
        let everything = parse(EVERYTHING).unwrap();
        for seed in 1..=500 {
            let drawn = draw(&everything, seed);
            assert_eq!(drawn, draw(&everything, seed), "seed {seed}");
            let printed = drawn.to_string();
            assert_eq!(parse(&printed).as_ref(), Ok(&drawn), "{printed}");
            if let Err(problem) = resolve(&drawn, None) {
                panic!("seed {seed}: {}\n{printed}", problem.in_file("drawn", &printed));
            }
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let everything = parse(EVERYTHING).unwrap();
        let steps: Vec<Step> = (1..=300).flat_map(|seed| draw(&everything, seed).steps).collect();
        let actions = steps.iter().flat_map(|step| &step.actions.value).map(ToString::to_string);
        let verbs: BTreeSet<String> = actions.filter_map(|text| Some(text.split(' ').next()?.to_owned())).collect();
        let expected = ["crash", "stop", "pause", "resume", "restart", "cut", "slow", "hold", "heal", "clock", "set"];
        for verb in expected.into_iter().chain(["elect"]) {
            assert!(verbs.contains(verb), "{verb} is not among {verbs:?}");
        }
    }
}
