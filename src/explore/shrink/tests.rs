//! The shrinker over a judge that needs no runs.

use std::time::Duration;

use super::*;
use crate::{
    base::Time,
    check::Claim,
    scenario::{action, file::Step, parse},
    trace::{Event, EventId},
};

/// Whatever crashes b2's host after a cut, with at least three records, breaks something.
struct Fake {
    runs: u64,
    kept: Option<Scenario>,
}

fn does(step: &Step, text: &str) -> bool {
    step.actions.value.iter().any(|action| action.to_string().contains(text))
}

impl Judge for Fake {
    type Error = String;

    fn breaks(&mut self, scenario: &Scenario) -> Result<bool, String> {
        self.runs += 1;
        let cut = scenario.steps.iter().position(|step| does(step, "cut "));
        let crash = scenario.steps.iter().position(|step| does(step, " power"));
        let text = scenario.to_string();
        Ok(matches!((cut, crash), (Some(cut), Some(crash)) if cut < crash)
            && !text.contains("count = 1,")
            && !text.contains("count = 2,")
            && scenario.cluster.brokers >= 2)
    }

    fn events(&mut self, _: &Scenario) -> Result<Vec<Entry>, String> {
        self.runs += 1;
        Ok(Vec::new())
    }

    fn found(&mut self, scenario: &Scenario, _: u64) -> Result<(), String> {
        self.kept = Some(scenario.clone());
        Ok(())
    }
}

const LONG: &str = r#"
kafka = "4.1"
title = "long"
[cluster]
brokers = 5
racks = ["r1", "r2", "r3", "r1", "r2"]
config."num.replica.fetchers" = 2
[[topic]]
name = "bills"
replicas = [["b5", "b3"]]
[[topic]]
name = "orders"
replicas = [["b1", "b2"], ["b4", "b2", "b5"], ["b2", "b1", "b3"]]
config."min.insync.replicas" = 2
[[client]]
name = "p1"
send = { topic = "orders", partition = 2, count = 80, every = "13ms", padding_bytes = 900 }
config = { acks = "all", "linger.ms" = 3 }
[[client]]
name = "p2"
send = { topic = "bills", count = 80 }
[[client]]
name = "r1"
read = { topic = "orders" }
[[client]]
name = "g1"
consume = { topic = "orders", group = "billing", application = "hand-off", processing = "5ms..10ms" }
[[client]]
name = "g2"
consume = { topic = "bills", group = "billing" }
[[step]]
on = "processed(g1)"
do = "crash coordinator(billing) kill"
[[step]]
on = "appended(bills-0)"
optional = true
do = "pause b3"
[[step]]
after = "17ms"
do = "clock b1 +5s; cut b2 | [b1, b4]"
[[step]]
after = "117ms"
optional = true
do = "crash leader(orders-1) kill"
[[step]]
after = "321ms"
optional = true
do = "crash leader(orders-2) power; heal all"
[[step]]
after = "10ms"
do = "restart stopped"
"#;

#[test]
fn what_does_not_matter_goes_and_the_best_so_far_is_kept_all_along() {
    let long = parse(LONG).unwrap();
    let mut judge = Fake { runs: 0, kept: None };
    let (short, runs) = shrink(long.clone(), Keeps::Claim, RUNS_MAX, &mut judge).unwrap();
    assert!(runs == judge.runs && runs <= RUNS_MAX, "{runs} runs counted, {} made", judge.runs);
    assert_eq!(judge.kept.as_ref(), Some(&short));
    let text = short.to_string();
    assert_eq!((short.steps.len(), short.clients.len(), short.topics.len()), (2, 1, 1), "{text}");
    assert_eq!(short.topics[0].replicas.len(), 1, "{text}");
    assert!(short.cluster.brokers == 2 && short.cluster.racks.is_empty(), "{text}");
    assert!(short.cluster.config.is_empty() && short.clients[0].config.is_empty(), "{text}");
    assert!(text.contains("count = 3,") && !text.contains("padding") && !text.contains("optional"), "{text}");
    assert_eq!(short, shrink(long, Keeps::Claim, RUNS_MAX, &mut Fake { runs: 0, kept: None }).unwrap().0);
}

#[test]
fn steps_that_did_not_come_go_while_the_time_that_they_took_stays() {
    let long = parse(LONG).unwrap();
    let fired = |(step, ms): (usize, u64)| Entry {
        id: EventId(step as u64),
        time: Time::ZERO + Duration::from_millis(ms),
        node: "scenario".into(),
        cause: None,
        event: Event::StepFired { step, action: String::new(), note: None },
    };
    let times = |came: &[(usize, u64)]| moves::times(&long, &came.iter().copied().map(fired).collect::<Vec<_>>());
    let some = times(&[(1, 1000), (3, 31_017), (4, 31_134)]);
    let candidates = moves::fired(&long, &some);
    let told = |scenario: &Scenario| -> Vec<String> {
        scenario.steps.iter().map(|step| format!("{}: {}", step.trigger(), action::show(&step.actions.value))).collect()
    };
    let plain =
        ["on processed(g1): crash coordinator(billing) kill", "after 17ms: clock b1 +5000ms; cut b2 | [b1, b4]"];
    let last = "after 117ms: crash leader(orders-1) kill";
    assert_eq!(
        candidates.iter().map(told).collect::<Vec<_>>(),
        [
            vec![plain[0], plain[1], last],
            vec![plain[0], "after 30017ms: clock b1 +5000ms; cut b2 | [b1, b4]", last, "after 60s: nothing"],
        ]
    );
    let all = times(&[(1, 1000), (2, 1500), (3, 1517), (4, 1634), (5, 1955), (6, 1965)]);
    assert!(moves::fired(&long, &all).is_empty(), "all of them came");
    assert!(moves::fired(&long, &times(&[])).is_empty(), "without a journal nothing is known");

    let without = |times: &[Option<Time>], index| moves::in_time(&long, times, index).as_ref().map(told);
    assert_eq!(without(&all, 1).unwrap()[..2], [plain[0], "after 517ms: clock b1 +5000ms; cut b2 | [b1, b4]"]);
    assert_eq!(without(&all, 2).unwrap()[2], "after 134ms: crash leader(orders-1) kill");
    assert_eq!(without(&some, 3), None, "the next did not come");
    assert_eq!(without(&all, 5), None, "there is no next");
    assert_eq!(without(&all, 0), None, "the first waits for what happens");
}

#[test]
fn settings_that_were_asked_about_stay() {
    let long = parse(LONG).unwrap();
    let (short, _) = shrink(long.clone(), Keeps::Settings, RUNS_MAX, &mut Fake { runs: 0, kept: None }).unwrap();
    assert_eq!((short.steps.len(), short.clients.len(), short.topics.len()), (2, 1, 1), "{short}");
    assert_eq!(short.cluster, long.cluster, "{short}");
    assert!(short.topics[0].config == long.topics[1].config && short.clients[0].config == long.clients[0].config);
}

#[test]
fn no_broker_is_left_with_a_session_shorter_than_the_default_time_between_heartbeats() {
    let config = "config.\"broker.heartbeat.interval.ms\" = 500\nconfig.\"broker.session.timeout.ms\" = 1500\n";
    let long = parse(&LONG.replace("config.\"num.replica.fetchers\" = 2\n", config)).unwrap();
    let left = |without| moves::settings(&long, &BTreeSet::from([without])).1.cluster.config;
    assert!(left(0).is_empty());
    assert_eq!(left(1).keys().collect::<Vec<_>>(), ["broker.heartbeat.interval.ms"]);
}

#[test]
fn a_budget_of_runs_is_kept() {
    for runs_max in [0, 1, 7, 30] {
        let mut judge = Fake { runs: 0, kept: None };
        let (_, runs) = shrink(parse(LONG).unwrap(), Keeps::Claim, runs_max, &mut judge).unwrap();
        assert!(runs <= runs_max && runs == judge.runs);
    }
}

#[test]
fn what_was_found_is_told_with_a_variant_that_breaks() {
    let text = LONG.replace("title = \"long\"", "title = \"long\"\nswitch.bug_no_truncation = true");
    let shrunk = Shrunk {
        from: "scenarios/swarm/everything.toml",
        seed: 7,
        variant: Some("bug_no_truncation"),
        broken: Broken::Claim(Claim::ClusterRecovers, None),
        how: "It does not settle.",
        beside: &[Claim::ClusterRecovers, Claim::OrderKept],
    };
    let told = tell(&parse(&text).unwrap(), &shrunk);
    let printed = told.to_string();
    assert_eq!(parse(&printed), Ok(told.clone()), "{printed}");
    assert!(told.switches.is_empty() && told.variants.len() == 1, "{printed}");
    let broken: Vec<Claim> = told.variants[0].expect.iter().map(|expected| expected.claim).collect();
    assert_eq!(broken, [Claim::ClusterRecovers, Claim::OrderKept], "{printed}");
    assert!(crate::scenario::resolve(&told, Some(&told.variants[0].name)).is_ok(), "{printed}");
    assert!(told.steps.iter().all(|step| step.note.is_some()), "{printed}");
}

#[test]
fn a_group_goes_as_a_whole_or_does_plainer_work() {
    let long = parse(LONG).unwrap();
    let candidates = moves::groups(&long);
    let without = &candidates[0];
    assert_eq!((without.clients.len(), without.steps.len()), (3, long.steps.len() - 1), "{without}");
    let texts: Vec<String> = candidates[1..].iter().map(ToString::to_string).collect();
    for plain in [
        r#"group = "billing", application = "hand-off" }"#,
        r#"application = "hand-off", processing = "10ms..10ms""#,
        r#"application = "at-least-once", processing = "5ms..10ms""#,
    ] {
        assert!(texts.iter().any(|text| text.contains(plain)), "{plain} is not tried: {texts:?}");
    }
}
