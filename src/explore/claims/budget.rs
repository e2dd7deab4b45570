//! Budgets of faults: what may go wrong while records are acknowledged, as a scenario that a seed draws.
//!
//! A budget is one fault or a pair. The first strikes a loaded partition: after so many acknowledgements, at one of five
//! instants of a produce, both drawn from the seed. The second follows after a drawn time, before anything is healed.
//! Then the world stays broken for another drawn time, long enough for the ISR to shrink and for a leader to be fenced,
//! or not; the end of every run heals it.

use std::fmt::Write;

use rand::Rng;

use super::Settings;
use crate::base::random::{Random, stream};

/// Records that the producer sends.
const RECORDS: u64 = 60;

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Its name in files and options.
    pub name: &'static str,
    /// What it is, in words.
    pub title: &'static str,
    /// The faults, in their order.
    faults: &'static [Fault],
}

/// One kind of fault. `b1` leads when the story begins; the others follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A controlled shutdown of the leader, and its start.
    StopLeader,
    CrashLeader,
    CrashFollower,
    CrashInTurn,
    CrashAll,
    PowerLeader,
    PowerFollower,
    PowerInTurn,
    PowerAll,
    CutFollowers,
    CutController,
    CutClients,
    DeafLeader,
    MuteLeader,
    PauseLeader,
}

use Fault::*;

const fn budget(name: &'static str, title: &'static str, faults: &'static [Fault]) -> Budget {
    Budget { name, title, faults }
}

/// Every budget, the mildest first.
#[rustfmt::skip]
pub const BUDGETS: &[Budget] = &[
    budget("none", "nothing goes wrong", &[]),
    budget("planned-move", "the leader is shut down cleanly and started again", &[StopLeader]),
    budget("crash-leader", "the leader's process is killed", &[CrashLeader]),
    budget("crash-in-turn", "each broker's process is killed, one after the other", &[CrashInTurn]),
    budget("crash-all", "every broker's process is killed at once", &[CrashAll]),
    budget("power-leader", "the leader's host loses power", &[PowerLeader]),
    budget("power-in-turn", "each broker's host loses power, one after the other", &[PowerInTurn]),
    budget("power-all", "every broker's host loses power at once", &[PowerAll]),
    budget("cut-followers", "the leader is cut off from its followers", &[CutFollowers]),
    budget("cut-controller", "the leader is cut off from the controller", &[CutController]),
    budget("cut-clients", "the leader is cut off from the clients", &[CutClients]),
    budget("deaf-leader", "nothing of the followers reaches the leader, one way", &[DeafLeader]),
    budget("mute-leader", "nothing of the leader reaches the controller, one way", &[MuteLeader]),
    budget("pause-leader", "the leader gets no CPU for a while", &[PauseLeader]),
    budget("move-crash", "planned move, and the next leader is killed", &[StopLeader, CrashLeader]),
    budget("move-power", "planned move, and the next leader's host loses power", &[StopLeader, PowerLeader]),
    budget("crash-crash", "a follower is killed, then the leader", &[CrashFollower, CrashLeader]),
    budget("crash-power", "a follower is killed, then the leader's host loses power", &[CrashFollower, PowerLeader]),
    budget("power-power", "a follower's host loses power, then the leader's", &[PowerFollower, PowerLeader]),
    budget("cut-crash", "the leader is cut off from its followers, then killed", &[CutFollowers, CrashLeader]),
    budget("cut-power", "the leader is cut off from its followers, then loses power", &[CutFollowers, PowerLeader]),
    budget("cut-crash-all", "the leader is cut off from its followers, then all are killed", &[CutFollowers, CrashAll]),
    budget("cut-power-all", "the leader is cut off from its followers, then all lose power", &[CutFollowers, PowerAll]),
    budget("split-crash", "the leader is cut off from the controller, then killed", &[CutController, CrashLeader]),
    budget("split-power", "the leader is cut off from the controller, then loses power", &[CutController, PowerLeader]),
    budget("pause-power", "the leader gets no CPU, then its host loses power", &[PauseLeader, PowerLeader]),
];

/// What the faults of a budget can do to a partition, as far as a promise depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Another broker may come to lead.
    pub leader_moves: bool,
    /// The ISR may shrink to the leader alone though the others live.
    pub isr_shrinks: bool,
    /// Replicas whose process is gone at the same time, with what they had written.
    pub crashed: u64,
    /// Replicas that lose what they had not synced, at the same time.
    pub powered: u64,
}

impl Budget {
    /// The budget called `name`.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        BUDGETS.iter().find(|budget| budget.name == name)
    }

    /// Whether it means something with so many replicas.
    pub fn applies_to(&self, replicas: u64) -> bool {
        let needs_others =
            |fault: &Fault| matches!(fault, CrashFollower | PowerFollower | CutFollowers | DeafLeader | CutController);
        replicas > 1 || !(self.faults.iter().any(needs_others) || self.faults.len() > 1)
    }

    pub(super) fn damage(&self, replicas: u64) -> Damage {
        let mut damage = Damage::default();
        for fault in self.faults {
            damage.leader_moves |=
                !matches!(fault, CrashFollower | PowerFollower | CutFollowers | CutClients | DeafLeader);
            // Of two replicas the one that is away leaves the other alone.
            damage.isr_shrinks |= matches!(fault, CutFollowers | DeafLeader)
                || replicas == 2 && matches!(fault, StopLeader | CrashFollower | PowerFollower);
            match fault {
                CrashLeader | CrashFollower | CrashInTurn => damage.crashed += 1,
                CrashAll => damage.crashed = replicas,
                PowerLeader | PowerFollower | PowerInTurn => damage.powered += 1,
                PowerAll => damage.powered = replicas,
                _ => {}
            }
        }
        damage.leader_moves &= replicas > 1;
        damage
    }

    /// The scenario of this budget under `settings` that `seed` draws.
    pub fn scenario(&self, settings: &Settings, seed: u64) -> String {
        let mut random = stream(seed, &format!("claims:{}", self.name));
        let mut text = String::new();
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut line = |content: &str| writeln!(text, "{content}").expect("writing to a string does not fail");
        line("kafka    = \"4.1\"");
        line(&format!("title    = \"What becomes of acknowledged records: {}\"", self.title));
        line(&format!("note     = \"Settings: {}.\"", settings.line()));
        line(&format!("seed     = {seed}"));
        line("deadline = \"300s\"");
        settings.behaviour.iter().for_each(|(name, value)| line(&format!("{name} = {}", quoted(value))));
        line(&format!("\n[cluster]\nbrokers = {}\n[cluster.config]", settings.replicas()));
        let mut broker = settings.broker.clone();
        // Shorter than by default, so that a run is: what is waited for stays the same.
        for (name, value) in [
            ("broker.session.timeout.ms", "3000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("replica.lag.time.max.ms", "2000"),
        ] {
            broker.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        broker.iter().for_each(|(name, value)| line(&format!("{} = {}", quoted(name), quoted(value))));
        let names: Vec<String> = (1..=settings.replicas()).map(|number| format!("\"b{number}\"")).collect();
        line(&format!("\n[[topic]]\nname     = \"orders\"\nreplicas = [[{}]]\n[topic.config]", names.join(", ")));
        settings.topic.iter().for_each(|(name, value)| line(&format!("{} = {}", quoted(name), quoted(value))));
        line("\n[[client]]\nname = \"p1\"");
        let every_ms = [2, 5, 20][random.random_range(0..3)];
        line(&format!(
            "send = {{ topic = \"orders\", count = {RECORDS}, every = \"{every_ms}ms\", value = \"o-{{n}}\" }}"
        ));
        line("[client.config]");
        let mut producer = settings.producer.clone();
        if !producer.contains_key("delivery.timeout.ms") {
            producer.entry("request.timeout.ms".to_owned()).or_insert_with(|| "3000".to_owned());
        }
        producer.iter().for_each(|(name, value)| line(&format!("{} = {}", quoted(name), quoted(value))));
        line("\n[[client]]\nname   = \"r1\"\nread   = { topic = \"orders\" }");
        line("config = { \"auto.offset.reset\" = \"earliest\" }");
        line("\n[[expect]]\nclaim = \"acked-records-survive\"\nvalue = \"any\"");
        for step in self.steps(settings.replicas(), &mut random) {
            line(&format!("\n[[step]]\n{step}"));
        }
        text
    }

    fn steps(&self, replicas: u64, random: &mut Random) -> Vec<String> {
        let acked = random.random_range(5..RECORDS / 2);
        let instant = [
            "",
            "on   = \"appended(orders-0, leader(orders-0))\"\n",
            "on   = \"hw_moved(orders-0, leader(orders-0))\"\n",
            "on   = \"answered(orders-0)\"\n",
            "on   = \"acked(p1)\"\n",
        ][random.random_range(0..5)];
        let mut trigger = format!("{instant}when = \"acked(p1) >= {acked}\"");
        let mut steps = Vec::new();
        for fault in self.faults {
            steps.extend(fault.steps(&trigger, replicas));
            trigger = match steps.last().is_some_and(|step: &String| step.contains("restart")) {
                true => "when = \"leader(orders-0) not in stopped and leader(orders-0) != none\"".to_owned(),
                false => format!("after = \"{}ms\"", random.random_range(20..4000)),
            };
        }
        let patience =
            if self.faults.is_empty() { trigger } else { format!("after = \"{}ms\"", random.random_range(20..6000)) };
        steps.push(format!("{patience}\ndo   = \"nothing\""));
        steps
    }
}

impl Fault {
    /// The steps of the fault, the first with this trigger.
    fn steps(self, trigger: &str, replicas: u64) -> Vec<String> {
        let step = |trigger: &str, action: &str| format!("{trigger}\ndo   = \"{action}\"");
        // After a planned move another broker leads.
        let leader = if trigger.contains("not in stopped") { "leader(orders-0)" } else { "b1" };
        let in_turn = |how: &str| {
            let mut steps = Vec::new();
            let mut trigger = trigger.to_owned();
            for broker in 1..=replicas {
                steps.push(step(&trigger, &format!("crash b{broker} {how}")));
                // Started sooner it would still count as in sync: the controller would not know yet that it had gone.
                steps.push(step(&format!("when = \"fenced(b{broker})\""), &format!("restart b{broker}")));
                trigger = format!("when = \"size(isr(orders-0)) == {replicas} and not fenced(b{broker})\"");
            }
            steps
        };
        match self {
            StopLeader => vec![step(trigger, "stop b1"), step("when = \"not running(b1)\"", "restart b1")],
            CrashLeader => vec![step(trigger, &format!("crash {leader} kill"))],
            CrashFollower => vec![step(trigger, "crash b2 kill")],
            CrashAll => vec![step(trigger, "crash brokers kill")],
            PowerLeader => vec![step(trigger, &format!("crash {leader} power"))],
            PowerFollower => vec![step(trigger, "crash b2 power")],
            PowerAll => vec![step(trigger, "crash brokers power")],
            CrashInTurn => in_turn("kill"),
            PowerInTurn => in_turn("power"),
            CutFollowers => vec![step(trigger, "cut b1 | replicas(orders-0)")],
            CutController => vec![step(trigger, "cut b1 | controller")],
            CutClients => vec![step(trigger, "cut b1 | clients")],
            DeafLeader => vec![step(trigger, "cut replicas(orders-0) > b1")],
            MuteLeader => vec![step(trigger, "cut b1 > controller")],
            PauseLeader => vec![step(trigger, "pause b1")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn every_budget_is_a_sound_scenario_under_all_settings() {
        for replicas in ["1", "2", "3"] {
            for acks in ["0", "1", "all"] {
                let mut settings = Settings::default();
                for (name, value) in [("replication.factor", replicas), ("acks", acks), ("enable.idempotence", "false")]
                {
                    settings.set(name, value).unwrap();
                }
                for budget in BUDGETS.iter().filter(|budget| budget.applies_to(settings.replicas())) {
                    for seed in 1..20 {
                        let text = budget.scenario(&settings, seed);
                        let read = scenario::parse(&text).and_then(|read| scenario::resolve(&read, None));
                        read.unwrap_or_else(|problem| {
                            panic!("{}: {}\n{text}", budget.name, problem.in_file("it", &text))
                        });
                    }
                }
            }
        }
    }

    #[test]
    fn a_seed_draws_the_same_scenario_each_time_and_another_another() {
        let settings = Settings::default();
        let cut_crash = Budget::by_name("cut-crash").unwrap();
        assert_eq!(cut_crash.scenario(&settings, 7), cut_crash.scenario(&settings, 7));
        assert_ne!(cut_crash.scenario(&settings, 7), cut_crash.scenario(&settings, 8));
    }
}
