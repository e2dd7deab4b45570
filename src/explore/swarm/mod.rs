//! Draws a scenario from the ranges of `[swarm]`, by seed: what comes out is an ordinary scenario, with steps
//! ([`faults`]) that the story can do without where their moment does not come, and with the losses that its own
//! settings and faults permit.
//!
//! Topology, settings, workload and faults have random streams of their own: another range of the one leaves the others
//! as they are. Of the kinds of faults each run takes a part, so that some runs have nothing but crashes and others
//! nothing but links. Consumer groups ([`groups`]) and what happens to them ([`turmoil`]) have streams of their own too,
//! and are drawn last: with and without them the rest of a seed is the same.

mod faults;
mod groups;
mod turmoil;

use std::{ops::RangeInclusive, time::Duration};

use rand::{Rng, seq::IndexedRandom, seq::SliceRandom};

use super::excuse;
use crate::{
    base::random::{Random, stream},
    client::config::{Setting, consumer_settings, producer_settings},
    controller::configs::{broker, topic},
    scenario::{
        Scenario, Spot,
        file::{Client, Cluster, Reading, Sending, Settings, Topic, Work},
        swarm::{Choices, Swarm},
    },
};

/// Names of topics, in order.
const TOPICS: &[&str] = &["orders", "bills", "clicks", "users"];
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
    drawn.steps = faults::steps(swarm, &drawn, random);
    let mut random = stream(seed, "swarm groups");
    groups::draw(swarm, &mut random, &mut drawn);
    let random = stream(seed, "swarm turmoil");
    turmoil::add(swarm, &mut drawn, random);
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

/// Of a range of numbers: small ones more often.
fn rather_few(random: &mut Random, range: &RangeInclusive<u64>) -> u64 {
    random.random_range(range.clone()).min(random.random_range(range.clone()))
}

fn topology(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario) {
    let brokers = rather_many(random, &swarm.brokers);
    let racks = random.random_range(swarm.racks.clone()).min(brokers);
    let rack = |broker: u64| name("r", broker % racks);
    let racks = if racks > 1 { (0..brokers).map(rack).collect() } else { Vec::new() };
    drawn.cluster = Cluster { brokers, racks, ..Cluster::default() };
    let topics = random.random_range(swarm.topics.clone()) as usize;
    for topic in &TOPICS[..topics] {
        // Where there are many, each has little to do.
        let partitions = rather_few(random, &swarm.partitions);
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
            partition: random.random_bool(0.5).then(|| random.random_range(0..partitions)),
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

/// Draws a value for each setting. Those that `default` gives anyway are left out.
fn choose(choices: &Choices, random: &mut Random, default: impl Fn(&str) -> Option<&'static str>) -> Settings {
    let one = |(name, values): (&String, &Vec<Spot<String>>)| {
        let value = values.choose(random).expect("a choice has values").value.clone();
        (default(name) != Some(value.as_str())).then(|| (name.clone(), spot(value)))
    };
    choices.iter().filter_map(one).collect()
}

fn default_of(mut settings: impl Iterator<Item = &'static Setting>, name: &str) -> Option<&'static str> {
    settings.find(|(known, ..)| *known == name).map(|(_, default, _)| *default)
}

fn settings(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario) {
    let of_node = |name: &str| broker::definition(name)?.default;
    drawn.cluster.config = choose(&swarm.cluster, random, of_node);
    for topic in &mut drawn.topics {
        topic.config = choose(&swarm.topic, random, |name| Some(topic::topic_config(name)?.default));
    }
    for client in &mut drawn.clients {
        client.config = match client.work {
            Work::Send(_) => agreeing(choose(&swarm.producer, random, |name| default_of(producer_settings(), name))),
            Work::Read(_) => choose(&swarm.consumer, random, |name| default_of(consumer_settings(), name)),
            Work::Consume(_) => unreachable!("groups are drawn later"),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::{action::VERBS, file::Step, parse, resolve};

    const EVERYTHING: &str = include_str!("../../../scenarios/swarm/everything.toml");
    const ROUGH: &str = include_str!("../../../scenarios/swarm/rough.toml");

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
    fn everything_that_a_step_can_do_is_drawn() {
        let rough = parse(ROUGH).unwrap();
        let steps: Vec<Step> = (1..=300).flat_map(|seed| draw(&rough, seed).steps).collect();
        let actions = steps.iter().flat_map(|step| &step.actions.value).map(ToString::to_string);
        let verbs: BTreeSet<String> = actions.filter_map(|text| Some(text.split(' ').next()?.to_owned())).collect();
        // What is deleted on request has no part in what may be lost, nor has a topic that is made again. `settle` does
        // what others do one by one.
        let is_drawn = |verb: &str| !matches!(verb, "nothing" | "delete-records" | "delete" | "create" | "settle");
        for (verb, ..) in VERBS.iter().filter(|(verb, ..)| is_drawn(verb)) {
            assert!(verbs.contains(*verb), "{verb} is not among {verbs:?}");
        }
    }
}
