//! The consumer groups of a drawn scenario: who is in them, what their applications do, and their settings.
//!
//! Members of a group mostly agree: in their protocol, in their application, in being static or not. Some groups are
//! mixed, as they are while somebody moves to another protocol; some have two processes that claim to be the same static
//! member.

use std::time::Duration;

use rand::{Rng, seq::IndexedRandom};

use super::{choose, default_of, name, rather_few, spot, time};
use crate::{
    base::random::Random,
    client::group::config::{JOIN_VERSION_MAX, group_settings},
    controller::configs::broker,
    scenario::{
        Scenario,
        file::{Client, Settings, Work},
        groups::{APPLICATIONS, Application, Consuming},
        swarm::Swarm,
    },
};

/// Names of groups, and how their members begin.
const GROUPS: &[(&str, &str)] = &[("billing", "g"), ("shipping", "h")];
/// Number of copies of the offsets.
const REPLICATION_FACTOR: &str = "offsets.topic.replication.factor";
/// Settings of one protocol, which the other refuses.
const CLASSIC_ONLY: &[&str] = &["heartbeat.interval.ms", "partition.assignment.strategy", "session.timeout.ms"];
const CONSUMER_ONLY: &str = "group.remote.assignor";
/// A member that works for longer between two polls is put out, again and again.
const POLL_INTERVAL: &str = "max.poll.interval.ms";

/// Adds groups to `drawn`, which has its cluster, topics and other clients.
pub(super) fn draw(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario) {
    let count = rather_few(random, &swarm.groups) as usize;
    for (group, letter) in &GROUPS[..count] {
        members(swarm, random, drawn, group, letter);
    }
    if count > 0 {
        coordinators(swarm, random, drawn);
    }
}

fn members(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario, group: &str, letter: &str) {
    let shared = choose(&swarm.group, random, |_| None);
    let (is_static, is_mixed) = (random.random_bool(0.5), random.random_bool(0.15));
    let topic = drawn.topics.choose(random).expect("there is a topic").name.clone();
    let application = application(random);
    for index in 0..random.random_range(swarm.members.clone()) {
        let member = name(letter, index);
        let differs = is_mixed && random.random_bool(0.5);
        // Of two that claim to be the same one stays away in the end: the other has to read what it read.
        let is_namesake = is_static && index > 0 && random.random_bool(0.1);
        let topic = match (is_namesake, drawn.clients.last().map(|before| before.work.topic())) {
            (true, Some(same)) => same.clone(),
            _ if differs && random.random_bool(0.4) => {
                drawn.topics.choose(random).expect("there is a topic").name.clone()
            }
            _ => topic.clone(),
        };
        let application = if differs { self::application(random) } else { application };
        let processing = processing(swarm, random);
        let mut config = shared.clone();
        if differs {
            config.extend(choose(&swarm.group, random, |_| None).remove_entry("group.protocol"));
        }
        config.extend(choose(&swarm.member, random, |_| None));
        if is_static {
            let id = if is_namesake { name(letter, index - 1) } else { member.clone() };
            config.insert("group.instance.id".to_owned(), spot(id));
        }
        let consuming =
            Consuming { topic, group: spot(group.to_owned()), application, processing, join_group: JOIN_VERSION_MAX };
        let config = agreeing(config, &consuming);
        drawn.clients.push(Client { name: spot(member), work: Work::Consume(consuming), config });
    }
}

fn application(random: &mut Random) -> Application {
    let all = APPLICATIONS.iter().map(|(_, application, ..)| *application);
    let joining: Vec<Application> = all.filter(|application| *application != Application::Assign).collect();
    *joining.choose(random).expect("there are applications")
}

fn processing(swarm: &Swarm, random: &mut Random) -> std::ops::RangeInclusive<Duration> {
    let (one, other) = (time(random, &swarm.processing), time(random, &swarm.processing));
    one.min(other)..=one.max(other)
}

/// A member's settings without those that its protocol refuses, and without those that are the default anyway.
fn agreeing(mut config: Settings, consuming: &Consuming) -> Settings {
    let is = |config: &Settings, name: &str, value: &str| config.get(name).is_some_and(|given| given.value == value);
    match is(&config, "group.protocol", "consumer") {
        true => CLASSIC_ONLY.iter().for_each(|name| drop(config.remove(*name))),
        false => drop(config.remove(CONSUMER_ONLY)),
    }
    let number = |name: &str, default: u128| -> u128 {
        config.get(name).and_then(|value| value.value.parse().ok()).unwrap_or(default)
    };
    let longest_work_ms = number("max.poll.records", 500) * consuming.processing.end().as_millis();
    if longest_work_ms * 2 > number(POLL_INTERVAL, 300_000) {
        config.remove(POLL_INTERVAL);
    }
    config.retain(|name, value| default_of(group_settings(), name) != Some(value.value.as_str()));
    config
}

/// What the brokers do with groups, and how many keep their offsets: at most as many as there are.
fn coordinators(swarm: &Swarm, random: &mut Random, drawn: &mut Scenario) {
    let mut config = choose(&swarm.coordinator, random, |_| None);
    let copies = config.get(REPLICATION_FACTOR).and_then(|given| given.value.parse().ok()).unwrap_or(3);
    config.insert(REPLICATION_FACTOR.to_owned(), spot(copies.min(drawn.cluster.brokers).to_string()));
    config.retain(|name, value| broker::definition(name).and_then(|known| known.default) != Some(&*value.value));
    drawn.cluster.config.extend(config);
}
