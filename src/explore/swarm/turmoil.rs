//! What goes wrong with the consumer groups of a drawn scenario: faults of members and of their coordinators, as steps
//! between those that are drawn already.
//!
//! A member that is paused or cut off comes back either within its session or long after it: both are drawn, because a
//! time that is drawn from a range seldom comes near the one that matters.

use std::time::Duration;

use rand::{Rng, seq::IndexedRandom, seq::SliceRandom};

use super::{
    faults::{PATIENCE, step},
    rather_few, spot, time,
};
use crate::{
    base::{OFFSETS_TOPIC, java, random::Random},
    scenario::{
        Scenario,
        condition::{Condition, EventTrigger},
        file::{Step, WITHIN, Work},
        source::show_duration,
        swarm::Swarm,
    },
};

/// APIs from a member to its coordinator.
const TO_COORDINATOR: &[&str] = &[
    "JoinGroup",
    "SyncGroup",
    "Heartbeat",
    "ConsumerGroupHeartbeat",
    "OffsetCommit",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "LeaveGroup",
];
/// Sessions that members may have, and what is certainly longer than most of them.
const SHORT: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(1500);
const LONG: std::ops::RangeInclusive<Duration> = Duration::from_millis(2500)..=Duration::from_secs(16);

/// Adds steps about each group of `drawn`, whose groups are drawn.
pub(super) fn add(swarm: &Swarm, drawn: &mut Scenario, mut random: Random) {
    let groups: Vec<Group> = groups(drawn);
    for group in groups {
        let steps = Turmoil { swarm, group, cures: Vec::new(), kinds: Vec::new(), random: &mut random }.draw();
        drawn.steps = merged(std::mem::take(&mut drawn.steps), steps, &mut random);
    }
}

/// Two stories at once, each in its order.
fn merged(one: Vec<Step>, other: Vec<Step>, random: &mut Random) -> Vec<Step> {
    let mut turns = vec![true; one.len()];
    turns.resize(one.len() + other.len(), false);
    turns.shuffle(random);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    turns.into_iter().filter_map(|first| if first { one.next() } else { other.next() }).collect()
}

/// A drawn group.
struct Group {
    name: String,
    members: Vec<String>,
    /// Partitions of the topics that it reads.
    partitions: Vec<String>,
    /// The partition of its offsets.
    offsets: String,
    /// Whether its members are static.
    is_static: bool,
    /// Whether offsets expire soon.
    expires: bool,
}

fn groups(drawn: &Scenario) -> Vec<Group> {
    let given = drawn.cluster.config.get("offsets.topic.num.partitions");
    let offsets_partitions = given.and_then(|given| given.value.parse().ok()).unwrap_or(1);
    let expires = drawn.cluster.config.get("offsets.retention.minutes").is_some_and(|given| given.value == "1");
    let mut groups: Vec<Group> = Vec::new();
    for client in &drawn.clients {
        let Work::Consume(consuming) = &client.work else { continue };
        let name = &consuming.group.value;
        if groups.last().is_none_or(|group| group.name != *name) {
            let number = java::coordinating_partition(name, offsets_partitions);
            let offsets = format!("{OFFSETS_TOPIC}-{number}");
            let is_static = client.config.contains_key("group.instance.id");
            let (members, partitions) = (Vec::new(), Vec::new());
            groups.push(Group { name: name.clone(), members, partitions, offsets, is_static, expires });
        }
        let group = groups.last_mut().expect("it was added just now");
        group.members.push(client.name.value.clone());
        let topic = drawn.topics.iter().find(|topic| topic.name == consuming.topic).expect("a member reads a topic");
        for partition in (0..topic.replicas.len()).map(|number| format!("{}-{number}", topic.name)) {
            if !group.partitions.contains(&partition) {
                group.partitions.push(partition);
            }
        }
    }
    groups
}

struct Turmoil<'a> {
    swarm: &'a Swarm,
    group: Group,
    /// The kinds of faults that this plan is made of.
    kinds: Vec<&'a str>,
    /// What would end the faults that are not ended yet.
    cures: Vec<String>,
    random: &'a mut Random,
}

impl Turmoil<'_> {
    fn draw(mut self) -> Vec<Step> {
        self.kinds = self.swarm.faults.iter().map(|fault| fault.value.as_str()).collect();
        self.kinds.shuffle(self.random);
        let share = self.random.random_range(1..=self.kinds.len().max(1));
        self.kinds.truncate(share);
        let mut steps = Vec::new();
        if self.kinds.is_empty() {
            return steps;
        }
        for _ in 0..rather_few(self.random, &self.swarm.steps) {
            self.extend(&mut steps);
        }
        let may = |fault: &str| self.swarm.faults.iter().any(|known| known.value == fault);
        let (kills, cuts, clocks) = (may("kill"), may("cut"), may("clock"));
        if self.group.is_static && kills && self.random.random_bool(0.8) {
            // After the others its member is often past reading: they would hide what it is to show.
            let at = if self.random.random_bool(0.6) { 0 } else { steps.len() };
            steps.splice(at..at, self.bounce());
        }
        if kills && cuts && self.random.random_bool(0.5) {
            steps.extend(self.handover());
        }
        if self.group.expires && clocks && self.random.random_bool(0.6) {
            steps.push(self.time_passes());
        }
        steps
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(self.random).expect("there is something to choose from")
    }

    fn member(&mut self) -> String {
        self.group.members.choose(self.random).expect("a group has members").clone()
    }

    fn coordinator(&self) -> String {
        format!("coordinator({})", self.group.name)
    }

    /// The next fault with what ends it, or the end of an earlier one.
    fn extend(&mut self, steps: &mut Vec<Step>) {
        if !self.cures.is_empty() && self.random.random_bool(0.35) {
            let cure = self.cures.swap_remove(self.random.random_range(0..self.cures.len()));
            return steps.push(self.triggered(&cure));
        }
        let kind = self.one_of(&self.kinds.clone());
        let Some((fault, cure)) = self.fault(kind) else { return };
        steps.push(self.triggered(&fault));
        let Some(cure) = cure else { return };
        match self.random.random_range(0..10) {
            0..3 => steps.push(self.later(&cure, &SHORT)),
            3..6 => steps.push(self.later(&cure, &LONG)),
            _ => self.cures.push(cure),
        }
    }

    fn later(&mut self, actions: &str, after: &std::ops::RangeInclusive<Duration>) -> Step {
        let mut later = step(actions);
        later.after = Some(time(self.random, after));
        later.within = WITHIN;
        later
    }

    fn triggered(&mut self, actions: &str) -> Step {
        let mut step = step(actions);
        match self.random.random_range(0..10) {
            0..3 => return self.later(actions, &self.swarm.pause.clone()),
            3..7 => step.on = Some(spot(EventTrigger::parse(&self.event(), 0).expect("what is drawn is an event"))),
            _ => step.when = Some(spot(Condition::parse(&self.condition(), 0).expect("what is drawn is a condition"))),
        }
        step
    }

    /// A fault of this kind, and what ends it.
    fn fault(&mut self, kind: &str) -> Option<(String, Option<String>)> {
        let of_member = self.random.random_bool(0.6);
        let (member, coordinator) = (self.member(), self.coordinator());
        let both = |fault: String, cure: &str| Some((fault, Some(cure.to_owned())));
        match kind {
            "kill" | "power" | "torn" if of_member => {
                both(format!("crash {member} kill"), &format!("restart {member}"))
            }
            "kill" | "power" | "torn" => both(format!("crash {coordinator} {kind}"), "restart stopped"),
            "stop" if of_member => both(format!("stop {member}"), &format!("restart {member}")),
            "stop" => both(format!("stop {coordinator}"), "restart stopped"),
            "pause" if of_member => both(format!("pause {member}"), &format!("resume {member}")),
            "pause" => both(format!("pause {coordinator}"), "resume brokers"),
            "cut" | "cut-one-way" => {
                let (from, to) = self.way();
                let sign = if kind == "cut" { "|" } else { ">" };
                both(format!("cut {from} {sign} {to}"), "heal all")
            }
            "slow" => {
                let (from, to) = self.way();
                let delay = time(self.random, &(Duration::from_millis(5)..=Duration::from_millis(800)));
                both(format!("slow {from} | {to} {}", show_duration(delay)), "heal all")
            }
            "lose" | "bandwidth" => {
                let (from, to) = self.way();
                let what = if kind == "lose" { "20%" } else { "10kB/s" };
                both(format!("{kind} {from} | {to} {what}"), "heal all")
            }
            "hold" | "drop" => {
                let api = self.one_of(TO_COORDINATOR);
                let (from, to) = match self.random.random_bool(0.5) {
                    true => (member, "brokers".to_owned()),
                    false => ("brokers".to_owned(), member),
                };
                let end =
                    if kind == "hold" { format!("release {from} > {to} api={api}") } else { "heal all".to_owned() };
                both(format!("{kind} {from} > {to} api={api}"), &end)
            }
            // Offsets may expire after a minute.
            "clock" if of_member => {
                Some((format!("clock {coordinator} +{}s", self.random.random_range(50..150)), None))
            }
            "clock" => Some((format!("clock brokers +{}s", self.random.random_range(50..150)), None)),
            "elect-preferred" => Some((format!("elect preferred {}", self.group.offsets), None)),
            "elect-unclean" => Some((format!("elect unclean {}", self.group.offsets), None)),
            "fence" => Some((format!("fence {coordinator}"), None)),
            "move" => {
                let (offsets, holders) = (self.group.offsets.clone(), self.one_of(&["brokers", "b1"]));
                both(format!("move {offsets} to {holders}"), &format!("reassign cancel {offsets}"))
            }
            _ => None,
        }
    }

    /// A way between a member and its coordinator, or between the coordinator and those that it needs.
    fn way(&mut self) -> (String, String) {
        let (member, coordinator) = (self.member(), self.coordinator());
        let (from, to) = match self.random.random_range(0..7) {
            0 | 1 => (member, coordinator),
            2 => (member, "brokers".to_owned()),
            3 => (coordinator, "clients".to_owned()),
            4 => (coordinator, "controller".to_owned()),
            _ => (coordinator, format!("followers({})", self.group.offsets)),
        };
        if self.random.random_bool(0.5) { (from, to) } else { (to, from) }
    }

    /// The coordinator is cut off until another takes its place, and gets it back: it has been one before.
    fn handover(&mut self) -> Vec<Step> {
        let offsets = self.group.offsets.clone();
        let first = match self.random.random_range(0..5) {
            0..2 => format!("cut {} | controller", self.coordinator()),
            2 | 3 => format!("pause {}", self.coordinator()),
            _ => format!("crash {} kill", self.coordinator()),
        };
        let first = self.triggered(&first);
        let moved = Condition::parse(&format!("epoch({offsets}) >= 1"), 0).expect("this is a condition");
        let mut second = step("heal all; resume brokers; restart stopped");
        (second.when, second.within) = (Some(spot(moved)), PATIENCE * 5);
        let whole = format!("size(isr({offsets})) == size(replicas({offsets}))");
        let mut third = step(&format!("elect preferred {offsets}"));
        third.when = Some(spot(Condition::parse(&whole, 0).expect("this is a condition")));
        third.within = PATIENCE * 5;
        vec![first, second, third]
    }

    /// A static member comes back within its session; then its coordinator goes, and another has to know its new id.
    fn bounce(&mut self) -> Vec<Step> {
        let (member, coordinator) = (self.member(), self.coordinator());
        let on = |actions: &str, event: &str| {
            let mut step = step(actions);
            step.on = Some(spot(EventTrigger::parse(event, 0).expect("this is an event")));
            step.within = PATIENCE * 3;
            step
        };
        let first = on(&format!("crash {member} kill; restart {member}"), &format!("processed({member})"));
        let gone = if self.random.random_bool(0.8) { "kill" } else { "power" };
        let second = on(&format!("crash {coordinator} {gone}"), &format!("assigned({member})"));
        let third = self.later("restart stopped", &LONG);
        vec![first, second, third]
    }

    /// So much time passes for the coordinator that offsets expire, if nobody needs them.
    fn time_passes(&mut self) -> Step {
        let seconds = self.random.random_range(60..150);
        let actions = format!("clock {} +{seconds}s", self.coordinator());
        self.later(&actions, &LONG)
    }

    fn event(&mut self) -> String {
        let (member, group, offsets) = (self.member(), self.group.name.clone(), self.group.offsets.clone());
        match self.random.random_range(0..16) {
            0 | 1 => format!("assigned({member})"),
            2 => format!("revoked({member})"),
            3 | 4 => format!("processed({member})"),
            5 | 6 => format!("commit_sent({member})"),
            7 | 8 => format!("committed({member})"),
            9 => format!("rebalance({group})"),
            10 => format!("appended({offsets})"),
            11 => format!("became_leader({offsets})"),
            12 => format!("hw_moved({offsets})"),
            13 => format!("read({member})"),
            14 => format!("request({}, {member})", self.one_of(TO_COORDINATOR)),
            _ => format!("response({}, {})", self.one_of(TO_COORDINATOR), self.coordinator()),
        }
    }

    fn condition(&mut self) -> String {
        let (member, group, offsets) = (self.member(), self.group.name.clone(), self.group.offsets.clone());
        let partition = self.group.partitions.choose(self.random).expect("a group reads partitions").clone();
        match self.random.random_range(0..8) {
            0 | 1 => format!("processed({member}) >= {}", self.random.random_range(1..=20)),
            2 => format!("generation({group}) >= {}", self.random.random_range(1..=6)),
            3 | 4 => format!("owner({group}, {partition}) == {member}"),
            5 => format!("committed({group}, {partition}) >= {}", self.random.random_range(1..=15)),
            6 => format!("leo({offsets}) > hw({offsets})"),
            _ => format!("epoch({offsets}) >= {}", self.random.random_range(1..=3)),
        }
    }
}
