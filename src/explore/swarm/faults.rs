//! The plan of faults of a drawn scenario: what goes wrong, and when.
//!
//! Most steps are about one partition, and a fault is often followed by its cure: what finds bugs is less the number of
//! faults than that they meet. A message is held where messages of its API go; a cluster that was struck is often made
//! whole again and its leaders moved back, so that what a replica has kept is what clients are given.

use std::time::Duration;

use rand::{Rng, seq::IndexedRandom, seq::SliceRandom};

use super::{name, rather_few, rather_many, spot, time};
use crate::{
    base::random::Random,
    scenario::{
        Scenario, action,
        condition::{Condition, EventTrigger},
        file::{Step, WITHIN, Work},
        source::show_duration,
        swarm::Swarm,
    },
};

/// How long a drawn step waits for an event or a condition.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// APIs between a broker and the controller; the one that changes ISRs more often.
const TO_CONTROLLER: &[&str] = &["AlterPartition", "AlterPartition", "BrokerHeartbeat", "Fetch"];
/// APIs between brokers.
const TO_LEADER: &[&str] = &["Fetch"];
/// APIs between clients and brokers.
const TO_BROKER: &[&str] = &["Produce", "Produce", "Fetch", "Metadata", "InitProducerId", "ListOffsets"];

/// Draws the steps of `scenario`, whose cluster, topics and clients are drawn.
pub(super) fn steps(swarm: &Swarm, scenario: &Scenario, random: Random) -> Vec<Step> {
    Plan { swarm, scenario, random, focus: String::new(), kinds: Vec::new(), cures: Vec::new() }.draw()
}

struct Plan<'a> {
    swarm: &'a Swarm,
    scenario: &'a Scenario,
    random: Random,
    /// The partition that most steps are about.
    focus: String,
    /// The kinds of faults that this plan is made of.
    kinds: Vec<&'a str>,
    /// What would end the faults that are not ended yet.
    cures: Vec<String>,
}

/// A way that messages take, in one direction.
struct Way {
    from: String,
    to: String,
    apis: &'static [&'static str],
}

impl Plan<'_> {
    fn draw(mut self) -> Vec<Step> {
        self.focus = self.loaded_partition();
        self.kinds = self.swarm.faults.iter().map(|fault| fault.value.as_str()).collect();
        self.kinds.shuffle(&mut self.random);
        let share = self.random.random_range(1..=self.kinds.len().max(1));
        self.kinds.truncate(share);
        if self.kinds.is_empty() {
            return Vec::new();
        }
        let count = self.random.random_range(self.swarm.steps.clone());
        let mut steps: Vec<Step> = (0..count).map(|_| self.step()).collect();
        let may_move = self.swarm.faults.iter().any(|fault| fault.value == "elect-preferred");
        if may_move && !steps.is_empty() && self.random.random_bool(0.4) {
            steps.extend(self.rounds());
        }
        steps
    }

    /// What an operator does after a bad night: everything is started and healed, and leaders go where they belong.
    fn rounds(&mut self) -> Vec<Step> {
        let mut whole = vec!["restart stopped".to_owned(), "heal all".to_owned()];
        if self.kinds.iter().any(|kind| kind.starts_with("disk")) {
            // Who halted over its disk would halt again.
            whole.reverse();
        }
        whole.extend(self.cures.drain(..).filter(|cure| cure.starts_with("resume")));
        let mut first = step(&whole.join("; "));
        first.after = Some(time(&mut self.random, &self.swarm.pause));
        first.within = WITHIN;
        let focus = self.focus.clone();
        let mut second = step(&format!("elect preferred {focus}"));
        let is_whole = format!("size(isr({focus})) == size(replicas({focus}))");
        second.when = Some(spot(Condition::parse(&is_whole, 0).expect("what is drawn is a condition")));
        second.within = PATIENCE * 5;
        vec![first, second]
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.random).expect("there is something to choose from")
    }

    fn step(&mut self) -> Step {
        let mut actions = self.action();
        if self.random.random_bool(0.15) {
            actions = format!("{actions}; {}", self.action());
        }
        let mut step = step(&actions);
        match self.random.random_range(0..10) {
            0..4 => {
                step.after = Some(time(&mut self.random, &self.swarm.pause));
                step.within = WITHIN;
            }
            4..7 => step.on = Some(spot(EventTrigger::parse(&self.event(), 0).expect("what is drawn is an event"))),
            7 => {
                step.on = Some(spot(EventTrigger::parse(&self.event(), 0).expect("what is drawn is an event")));
                step.when = Some(spot(Condition::parse(&self.progress(), 0).expect("what is drawn is a condition")));
            }
            _ => step.when = Some(spot(Condition::parse(&self.condition(), 0).expect("what is drawn is a condition"))),
        }
        step
    }

    fn action(&mut self) -> String {
        if !self.cures.is_empty() && self.random.random_bool(0.45) {
            return self.cure();
        }
        let kinds = self.kinds.clone();
        let kind = self.one_of(&kinds);
        self.fault(kind)
    }

    fn cure(&mut self) -> String {
        let cure = self.cures.swap_remove(self.random.random_range(0..self.cures.len()));
        let ends: &[&str] = match cure.as_str() {
            "heal all" => &["heal", "release", "disk"],
            "disk brokers heal" => &["disk"],
            "restart stopped" => &["restart"],
            _ => &[],
        };
        self.cures.retain(|other| *other != cure && !ends.iter().any(|verb| other.starts_with(verb)));
        cure
    }

    /// Notes how to end a fault: by itself, or with all of its kind.
    fn open(&mut self, alone: String, all: &str) {
        let cure = if self.random.random_bool(0.5) { alone } else { all.to_owned() };
        self.cures.push(cure);
    }

    fn fault(&mut self, kind: &str) -> String {
        match kind {
            "kill" | "power" | "torn" => {
                let victim = if kind == "kill" { self.victim() } else { self.outage() };
                self.stopped(&victim);
                format!("crash {victim} {kind}")
            }
            "stop" => {
                let victim = self.broker();
                self.stopped(&victim);
                format!("stop {victim}")
            }
            "client" => {
                let victim = self.lone_client();
                self.open(format!("restart {victim}"), "restart stopped");
                format!("crash {victim} kill")
            }
            "pause" => {
                let target = self.broker();
                self.cures.push(format!("resume {target}"));
                format!("pause {target}")
            }
            "cut" | "cut-one-way" => {
                let Way { from, to, .. } = self.way();
                let sign = if kind == "cut" { "|" } else { ">" };
                self.open(format!("heal {from} {sign} {to}"), "heal all");
                format!("cut {from} {sign} {to}")
            }
            "slow" => {
                let Way { from, to, .. } = self.way();
                let sign = self.one_of(&["|", ">"]);
                self.open(format!("heal {from} {sign} {to}"), "heal all");
                let delay = time(&mut self.random, &(Duration::from_millis(5)..=Duration::from_millis(800)));
                format!("slow {from} {sign} {to} {}", show_duration(delay))
            }
            "hold" => {
                let Way { from, to, apis } = self.way();
                let api = self.one_of(apis);
                self.open(format!("release {from} > {to} api={api}"), "heal all");
                format!("hold {from} > {to} api={api}")
            }
            "drop" => {
                let Way { from, to, apis } = self.way();
                let api = self.one_of(apis);
                self.open(format!("heal {from} > {to}"), "heal all");
                format!("drop {from} > {to} api={api} n={}", self.random.random_range(1..=3))
            }
            "lose" | "bandwidth" => {
                let Way { from, to, .. } = self.way();
                let sign = self.one_of(&["|", ">"]);
                self.open(format!("heal {from} {sign} {to}"), "heal all");
                let what = match kind {
                    "lose" => format!("{}%", self.random.random_range(1..=40)),
                    _ => self.one_of(&["2kB/s", "20kB/s", "200kB/s"]).to_owned(),
                };
                format!("{kind} {from} {sign} {to} {what}")
            }
            "disk-slow" | "disk-stall" | "disk-full" | "disk-error" | "disk-lost-sync" => self.disk(kind),
            "corrupt" => self.corrupt(),
            "blank" => {
                let victim = self.one_broker();
                if self.random.random_bool(0.5) || victim.contains('(') {
                    return format!("crash {victim} kill; restart {victim} blank");
                }
                self.cures.push(format!("restart {victim} blank"));
                format!("crash {victim} kill")
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
                let topics: Vec<&str> = self.scenario.topics.iter().map(|topic| topic.name.value.as_str()).collect();
                let topic = self.one_of(&topics);
                match self.random.random_range(0..10) {
                    0..6 => format!("set {topic}.min.insync.replicas={}", self.random.random_range(1..=3)),
                    6..8 => format!("set {topic}.unclean.leader.election.enable={}", self.random.random_bool(0.5)),
                    8 => format!("set {topic}.flush.messages={}", self.one_of(&["1", "20", "9223372036854775807"])),
                    _ => format!("set {topic}.max.message.bytes={}", self.one_of(&["1048588", "1000"])),
                }
            }
            "move" => self.relocation(),
            "fence" => format!("fence {}", self.one_broker()),
            "elect-preferred" => format!("elect preferred {}", self.partition()),
            "elect-unclean" => format!("elect unclean {}", self.partition()),
            other => unreachable!("`{other}` was refused when the scenario was read"),
        }
    }

    /// Other replicas for one partition, or seldom for two in one request.
    fn relocation(&mut self) -> String {
        let first = self.partition();
        self.cures.push(format!("reassign cancel {first}"));
        let second = self.any_partition();
        let moved = format!("{first} to {}", self.some_replicas());
        if second == first || self.random.random_bool(0.7) {
            return format!("move {moved}");
        }
        format!("reassign {moved}, {second} to {}", self.some_replicas())
    }

    fn some_replicas(&mut self) -> String {
        let brokers = self.scenario.cluster.brokers;
        let mut names: Vec<String> = (0..brokers).map(|index| name("b", index)).collect();
        names.shuffle(&mut self.random);
        names.truncate(rather_many(&mut self.random, &self.swarm.replicas).min(brokers) as usize);
        format!("[{}]", names.join(", "))
    }

    /// A broken disk. A node that halts over it can come back once it is whole.
    fn disk(&mut self, kind: &str) -> String {
        // What its controller forgets, a cluster has no other copy of.
        let target = if kind == "disk-lost-sync" { self.one_broker() } else { self.broker() };
        let fault = match kind {
            "disk-slow" => {
                let delay = time(&mut self.random, &(Duration::from_millis(5)..=Duration::from_millis(800)));
                format!("slow {}", show_duration(delay))
            }
            "disk-stall" => "stall".to_owned(),
            "disk-full" => "full".to_owned(),
            "disk-error" => match self.one_of(&["eio", "sync-eio"]) {
                "sync-eio" if target == "controller" => "eio".to_owned(),
                fault => fault.to_owned(),
            },
            _ => "lost-sync".to_owned(),
        };
        let whose = if target.contains('(') { "brokers" } else { &target };
        self.open(format!("disk {whose} heal"), "heal all");
        if matches!(kind, "disk-full" | "disk-error") {
            self.stopped(&target);
        }
        format!("disk {target} {fault}")
    }

    /// A record rots where it is led or followed; most often one of the first, which every run comes to. It matters to
    /// who has to check his log.
    fn corrupt(&mut self) -> String {
        let partition = self.partition();
        let target = match self.random.random_range(0..5) {
            0..3 => format!("leader({partition})"),
            3 => format!("followers({partition})"),
            _ => self.numbered_broker(),
        };
        let whose = if target.contains('(') { "brokers" } else { &target };
        self.open(format!("disk {whose} heal"), "heal all");
        let offset = rather_few(&mut self.random, &(0..=40));
        let fault = format!("disk {target} corrupt {partition}@{offset}");
        if self.random.random_bool(0.5) {
            return fault;
        }
        self.stopped(&target);
        format!("{fault}; crash {target} kill")
    }

    /// Notes that a process does not run: one called by its number can be started again alone.
    fn stopped(&mut self, victim: &str) {
        let alone = if victim.starts_with('b') && victim != "brokers" { victim } else { "stopped" };
        self.open(format!("restart {alone}"), "restart stopped");
    }

    /// A partition: most often the one that the plan is about.
    fn partition(&mut self) -> String {
        if self.random.random_bool(0.8) { self.focus.clone() } else { self.any_partition() }
    }

    fn any_partition(&mut self) -> String {
        let topic = self.scenario.topics.choose(&mut self.random).expect("there is a topic");
        format!("{}-{}", topic.name, self.random.random_range(0..topic.replicas.len()))
    }

    /// A partition that a producer sends to, if one of them has its own.
    fn loaded_partition(&mut self) -> String {
        let sendings = self.scenario.clients.iter().filter_map(|client| client.work.sending());
        let own = sendings.filter_map(|sending| Some(format!("{}-{}", sending.topic.value, sending.partition?)));
        let own: Vec<String> = own.collect();
        own.choose(&mut self.random).cloned().unwrap_or_else(|| self.any_partition())
    }

    /// One broker: by number, or by the part that it plays.
    fn one_broker(&mut self) -> String {
        if self.random.random_bool(0.5) { format!("leader({})", self.partition()) } else { self.numbered_broker() }
    }

    fn numbered_broker(&mut self) -> String {
        name("b", self.random.random_range(0..self.scenario.cluster.brokers))
    }

    /// One broker, or seldom the controller.
    fn broker(&mut self) -> String {
        if self.random.random_bool(0.1) { "controller".to_owned() } else { self.one_broker() }
    }

    fn rack(&mut self) -> Option<String> {
        let rack = self.scenario.cluster.racks.choose(&mut self.random)?;
        Some(format!("rack({rack})"))
    }

    /// Who crashes: one broker, or several at once.
    fn victim(&mut self) -> String {
        match self.random.random_range(0..10) {
            0 => format!("isr({})", self.partition()),
            1 => format!("followers({})", self.partition()),
            2 => "brokers".to_owned(),
            3 => self.rack().unwrap_or_else(|| self.broker()),
            _ => self.broker(),
        }
    }

    /// Who loses power: more often several at once, as those that hang on one line.
    fn outage(&mut self) -> String {
        match self.random.random_range(0..10) {
            0..2 => format!("isr({})", self.partition()),
            2..4 => "brokers".to_owned(),
            4 => self.rack().unwrap_or_else(|| self.broker()),
            _ => self.broker(),
        }
    }

    /// A way between two ends that are not the same node.
    fn way(&mut self) -> Way {
        let partition = self.partition();
        let leader = format!("leader({partition})");
        let (from, to, apis) = match self.random.random_range(0..8) {
            0 | 1 => (leader, format!("followers({partition})"), TO_LEADER),
            2 | 3 => (leader, "controller".to_owned(), TO_CONTROLLER),
            4 => (self.client(), leader, TO_BROKER),
            5 => (self.numbered_broker(), "controller".to_owned(), TO_CONTROLLER),
            6 => (self.numbered_broker(), "brokers".to_owned(), TO_LEADER),
            _ => {
                let broker = self.numbered_broker();
                let side = self.rack().unwrap_or(broker);
                let (rest, apis) = match self.random.random_range(0..3) {
                    0 => ("brokers", TO_LEADER),
                    1 => ("controller", TO_CONTROLLER),
                    _ => ("clients", TO_BROKER),
                };
                (side, rest.to_owned(), apis)
            }
        };
        if self.random.random_bool(0.5) { Way { from, to, apis } } else { Way { from: to, to: from, apis } }
    }

    /// One client's host, or those of all.
    fn client(&mut self) -> String {
        if self.random.random_bool(0.5) {
            return "clients".to_owned();
        }
        self.scenario.clients.choose(&mut self.random).expect("there is a client").name.value.clone()
    }

    /// One client that is in no group.
    fn lone_client(&mut self) -> String {
        let clients = self.scenario.clients.iter().filter(|client| !matches!(client.work, Work::Consume(_)));
        let alone: Vec<&str> = clients.map(|client| client.name.value.as_str()).collect();
        self.one_of(&alone).to_owned()
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

    fn consumer(&mut self) -> Option<String> {
        let readers = self.scenario.clients.iter().filter(|client| matches!(client.work, Work::Read(_)));
        let names: Vec<&str> = readers.map(|client| client.name.value.as_str()).collect();
        Some((*names.choose(&mut self.random)?).to_owned())
    }

    fn event(&mut self) -> String {
        let partition = self.partition();
        let leader = format!("leader({partition})");
        match self.random.random_range(0..20) {
            0 | 1 => format!("appended({partition}, {leader})"),
            2 | 3 => format!("fetched({partition})"),
            4 => format!("hw_moved({partition}, {leader})"),
            5 => format!("answered({partition})"),
            6 | 7 => format!("isr_proposed({partition})"),
            8 => format!("alter_partition_committed({partition})"),
            9 => format!("elected({partition})"),
            10 => format!("acked({})", self.producer().0),
            11 => format!("became_leader({partition})"),
            12 => format!("became_follower({partition})"),
            13 => format!("truncated({partition})"),
            14 => format!("flushed({partition})"),
            15 => self.consumer().map_or_else(|| format!("hw_moved({partition})"), |name| format!("read({name})")),
            16 => self.one_of(&["fenced(brokers)", "started(brokers)", "stopped(brokers)"]).to_owned(),
            17 => format!("request({}, brokers)", self.one_of(TO_CONTROLLER)),
            18 => format!("response({}, {leader})", self.one_of(TO_BROKER)),
            _ => format!("appended({partition})"),
        }
    }

    /// How far things have come: what every loaded run reaches.
    fn progress(&mut self) -> String {
        let (producer, count) = self.producer();
        let number = self.random.random_range(1..=count);
        let function = self.one_of(&["sent", "sent", "acked"]);
        format!("{function}({producer}) >= {number}")
    }

    fn condition(&mut self) -> String {
        let partition = self.partition();
        match self.random.random_range(0..16) {
            0..3 => self.progress(),
            3 | 4 => format!("leo({partition}) > hw({partition})"),
            5 | 14 => format!("size(isr({partition})) == 1"),
            6 | 7 | 15 => format!("size(isr({partition})) < size(replicas({partition}))"),
            8 => format!("epoch({partition}) >= {}", self.random.random_range(1..=3)),
            9 => format!("leader({partition}) == none"),
            10 => format!("fenced({})", self.numbered_broker()),
            11 => match self.consumer() {
                Some(consumer) => format!("read({consumer}) >= {}", self.random.random_range(1..=20)),
                None => format!("failed({}) >= 1", self.producer().0),
            },
            12 => format!("leo({partition}) > flushed({partition})"),
            _ => format!("hw({partition}) >= {}", self.random.random_range(1..=10)),
        }
    }
}

/// A step that the story can do without, without a trigger.
pub(super) fn step(actions: &str) -> Step {
    Step {
        place: spot(()),
        at: None,
        after: None,
        on: None,
        when: None,
        within: PATIENCE,
        optional: true,
        actions: spot(action::parse(actions, 0).expect("what is drawn is an action")),
        note: None,
    }
}
