//! What was read prints back to a text that reads the same.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use proptest::{collection, option, prelude::*, sample};

use crate::{
    base::mark,
    check::{Cause, Claim, Expectation, Expected, ExpectedLoss},
    client::admin::ElectionType,
    runtime::DiskFault,
    scenario::{
        Scenario, Spot,
        action::{self, Action, BytesPerSecond, Crash, Link, Percent},
        condition::{Comparison, Condition, EVENTS, EventTrigger},
        file::{Client, Cluster, Given, Reading, Sending, Settings, Step, StepChange, Topic, Variant, WITHIN, Work},
        groups::{APPLICATIONS, Consuming},
        parse,
        predict::{Answer, Measure, Measurement, Moment, Prediction},
        swarm::{Choices, FAULTS, Swarm},
        term::{FUNCTIONS, Term},
    },
};

/// A word that is neither a number nor a word of the language.
fn word() -> impl Strategy<Value = String> {
    let taken = |word: &String| {
        ![
            "and",
            "or",
            "not",
            "in",
            "all",
            "kill",
            "power",
            "torn",
            "blank",
            "api",
            "preferred",
            "unclean",
            "cancel",
            "lost",
            "kept",
            "stored",
            "verdict",
        ]
        .contains(&word.as_str())
    };
    "[a-z][a-z0-9_.-]{0,8}".prop_filter("a word of the language", taken)
}

/// A row of a table.
fn one_of<T: std::fmt::Debug>(table: &'static [T]) -> impl Strategy<Value = &'static T> {
    (0..table.len()).prop_map(|index| &table[index])
}

fn term() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![any::<i64>().prop_map(Term::Number), word().prop_map(|name| Term::Name(0, name))];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let call = (one_of(FUNCTIONS), collection::vec(inner.clone(), 2));
        let call = call.prop_map(|(function, mut terms)| {
            terms.truncate(function.takes.len());
            Term::Call(0, function, terms)
        });
        prop_oneof![collection::vec(inner, 0..3).prop_map(Term::List), call]
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let compare = (term(), sample::select(Comparison::ALL), term());
    let compare = compare.prop_map(|(left, (_, comparison), right)| Condition::Compare(left, comparison, right));
    prop_oneof![compare, term().prop_map(Condition::Is)].prop_recursive(4, 12, 2, |inner| {
        let two = || (inner.clone(), inner.clone()).prop_map(|(left, right)| (Box::new(left), Box::new(right)));
        prop_oneof![
            two().prop_map(|(left, right)| Condition::And(left, right)),
            two().prop_map(|(left, right)| Condition::Or(left, right)),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn event() -> impl Strategy<Value = EventTrigger> {
    (one_of(EVENTS), collection::vec(term(), 2)).prop_map(|(kind, mut arguments)| {
        arguments.truncate(kind.takes.len());
        EventTrigger { kind, arguments }
    })
}

fn link() -> impl Strategy<Value = Link> {
    (term(), term(), any::<bool>()).prop_map(|(from, to, two_way)| Link { from, to, two_way })
}

fn time() -> impl Strategy<Value = Duration> {
    (0..86_400_000u64).prop_map(Duration::from_millis)
}

fn disk_fault() -> impl Strategy<Value = DiskFault> {
    let plain = [DiskFault::Stall, DiskFault::Full, DiskFault::Eio, DiskFault::SyncEio, DiskFault::LostSync];
    prop_oneof![time().prop_map(DiskFault::Slow), sample::select(plain.to_vec())]
}

fn one_action() -> impl Strategy<Value = Action> {
    let election = prop_oneof![Just(ElectionType::Preferred), Just(ElectionType::Unclean)];
    prop_oneof![
        (term(), sample::select(vec![Crash::Kill, Crash::Power, Crash::Torn]))
            .prop_map(|(on, how)| Action::Crash(on, how)),
        term().prop_map(Action::Stop),
        term().prop_map(Action::Restart),
        term().prop_map(Action::RestartBlank),
        term().prop_map(Action::Pause),
        term().prop_map(Action::Resume),
        link().prop_map(Action::Cut),
        (link(), time()).prop_map(|(link, delay)| Action::Slow(link, delay)),
        (link(), term()).prop_map(|(link, api)| Action::Hold(link, api)),
        (link(), term()).prop_map(|(link, api)| Action::Release(link, api)),
        (link(), term(), 1..=1_000_000u64).prop_map(|(link, api, count)| Action::Drop(link, api, count)),
        (link(), 1..=99u8).prop_map(|(link, part)| Action::Lose(link, Percent(part))),
        (link(), 1..u64::MAX).prop_map(|(link, rate)| Action::Bandwidth(link, BytesPerSecond(rate))),
        link().prop_map(Action::Heal),
        Just(Action::HealAll),
        Just(Action::Settle),
        (term(), disk_fault()).prop_map(|(on, fault)| Action::Disk(on, fault)),
        (term(), 0..i64::MAX)
            .prop_map(|(on, offset)| { Action::Corrupt(on, Term::Name(0, "orders-0".to_owned()), offset) }),
        term().prop_map(Action::HealDisk),
        (term(), -86_400_000..86_400_000i64).prop_map(|(on, step_ms)| Action::Clock(on, step_ms)),
        (term(), -900_000..9_000_000i64).prop_map(|(on, ppm)| Action::Drift(on, ppm)),
        ("[a-z0-9_-]{1,5}", word(), word()).prop_map(|(topic, name, value)| Action::Set(topic, name, value)),
        (election, term()).prop_map(|(kind, partition)| Action::Elect(kind, partition)),
        collection::vec((term(), option::of(term())), 1..3).prop_map(Action::Reassign),
        term().prop_map(Action::Fence),
        (term(), 0..i64::MAX).prop_map(|(partition, before)| Action::DeleteRecords(partition, before)),
        "[a-z0-9_-]{1,5}".prop_map(Action::DeleteTopic),
        "[a-z0-9_-]{1,5}".prop_map(Action::CreateTopic),
        Just(Action::Nothing),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    collection::vec(one_action(), 1..4)
}

fn spot<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Spot<T>> {
    of.prop_map(|value| Spot::new(value, 0))
}

/// Any text, with what TOML has to escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "[\"'\\\\\\n\\r\\t\u{0}\u{7f}\u{e9}#=]{0,6}"]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    collection::vec(text(), 0..3)
}

fn settings() -> impl Strategy<Value = Settings> {
    collection::btree_map(text(), spot(text()), 0..3)
}

fn marks() -> impl Strategy<Value = Vec<Spot<String>>> {
    let names: Vec<String> = mark::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    collection::vec(spot(sample::select(names)), 0..3)
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let brokers = (1..=9u64).prop_flat_map(|brokers| {
        let racks = prop_oneof![Just(Vec::new()), collection::vec(text(), brokers as usize)];
        (Just(brokers), racks)
    });
    let cluster = |((brokers, racks), config)| Cluster { brokers, controllers: 1, racks, config };
    (brokers, settings()).prop_map(cluster)
}

fn topic() -> impl Strategy<Value = Topic> {
    let replicas = collection::vec(collection::vec(spot(text()), 0..3), 0..3);
    (spot(text()), replicas, settings()).prop_map(|(name, replicas, config)| Topic { name, replicas, config })
}

fn client() -> impl Strategy<Value = Client> {
    let value = text().prop_map(|text| text + "{n}");
    let partition = option::of(0..10u64);
    let send = (spot(text()), partition, 1..=1_000_000u64, time(), option::of(text()), value, 0..=1_000_000u64);
    let send = send.prop_map(|(topic, partition, count, every, key, value, padding_bytes)| {
        Work::Send(Sending { topic, partition, count, every, key, value, padding_bytes })
    });
    let read = (spot(text()), any::<bool>()).prop_map(|(topic, from_end)| Work::Read(Reading { topic, from_end }));
    let application = sample::select(APPLICATIONS).prop_map(|(_, application, ..)| application);
    let consume = (spot(text()), spot("[a-z]{1,5}".prop_map(String::from)), application, time(), time());
    let consume = consume.prop_map(|(topic, group, application, one, other)| {
        Work::Consume(Consuming {
            topic,
            group,
            application,
            processing: one.min(other)..=one.max(other),
            join_group: 9,
        })
    });
    (spot(text()), prop_oneof![send, read, consume], settings()).prop_map(|(name, work, config)| Client {
        name,
        work,
        config,
    })
}

/// `at`, `after`, `on` and `when`: one trigger.
type Trigger = (Option<Duration>, Option<Duration>, Option<Spot<EventTrigger>>, Option<Spot<Condition>>);

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![
        time().prop_map(|at| (Some(at), None, None, None)),
        time().prop_map(|after| (None, Some(after), None, None)),
        (spot(event()), option::of(spot(condition()))).prop_map(|(on, when)| (None, None, Some(on), when)),
        spot(condition()).prop_map(|when| (None, None, None, Some(when))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // How long a step waits is said only of one that waits for something.
    let patience = |waits, within| if waits { within } else { WITHIN };
    let step = move |((at, after, on, when), within, optional, actions, note): (Trigger, _, _, _, _)| Step {
        within: patience(on.is_some() || when.is_some(), within),
        place: Spot::default(),
        at,
        after,
        on,
        when,
        optional,
        actions,
        note,
    };
    (trigger(), time(), any::<bool>(), spot(actions()), option::of(text())).prop_map(step)
}

fn expectation(claim: Claim) -> impl Strategy<Value = Expectation> {
    let count = option::of((0..9u64, 0..9u64).prop_map(|(first, more)| first..=first + more));
    let causes = sample::subsequence(Cause::ALL, 0..3);
    let lost = (count, causes).prop_map(|(count, causes)| ExpectedLoss { count, causes });
    let lossy = (prop_oneof![Just(Expected::Violated), Just(Expected::Any)], option::of(lost));
    let lossy = lossy.prop_map(move |(value, lost)| Expectation { claim, value, lost });
    let other = prop_oneof![Just(Expected::Held), Just(Expected::Violated), Just(Expected::Any)];
    let other = other.prop_map(move |value| Expectation { claim, value, lost: None });
    match claim {
        Claim::AckedRecordsSurvive => prop_oneof![lossy, other].boxed(),
        _ => other.boxed(),
    }
}

/// Expectations of different claims, in any order.
fn expectations() -> impl Strategy<Value = Vec<Expectation>> {
    sample::subsequence(Claim::ALL, 0..4)
        .prop_shuffle()
        .prop_flat_map(|claims| claims.into_iter().map(expectation).collect::<Vec<_>>())
}

fn given() -> impl Strategy<Value = Given> {
    text()
        .prop_map(Given::Text)
        .prop_recursive(2, 6, 3, |inner| collection::vec(spot(inner), 0..3).prop_map(Given::List))
}

fn change() -> impl Strategy<Value = StepChange> {
    let state = (option::of(spot(condition())), option::of(spot(event()))).prop_map(|(when, on)| (when, on, None));
    let trigger = prop_oneof![state, option::of(time()).prop_map(|after| (None, None, after))];
    let rest = (option::of(spot(actions())), option::of(time()), option::of(text()));
    (any::<bool>(), trigger, rest).prop_map(|(off, (when, on, after), (actions, within, note))| StepChange {
        off,
        when,
        on,
        after,
        actions,
        within,
        note,
    })
}

fn variant() -> impl Strategy<Value = Variant> {
    let set = collection::btree_map(text(), spot(given()), 0..3);
    let steps = collection::btree_map(1..9usize, spot(change()), 0..3);
    let names = (spot(text()), option::of(text()));
    (names, set, steps, expectations(), option::of(marks())).prop_map(
        |((name, note), set, steps, expect, must_reach): (_, BTreeMap<_, _>, BTreeMap<_, _>, _, _)| Variant {
            name,
            note,
            set,
            steps,
            expect,
            must_reach,
        },
    )
}

fn measured() -> impl Strategy<Value = Answer> {
    let outcome = (sample::select(vec!["lost", "kept", "stored"]), word())
        .prop_map(|(name, partition)| Measure::Outcome(name, Term::Name(0, partition)));
    let verdict = sample::select(Claim::ALL.to_vec()).prop_map(Measure::Verdict);
    let value = prop_oneof![term().prop_map(Measure::Term), outcome, verdict];
    let at = prop_oneof![Just(Moment::End), spot(1..9u64).prop_map(Moment::Step)];
    spot((value, at).prop_map(|(value, at)| Measurement { value, at })).prop_map(Answer::Measured)
}

fn range(most: u64) -> impl Strategy<Value = RangeInclusive<u64>> {
    (1..=most, 1..=most).prop_map(|(a, b)| a.min(b)..=a.max(b))
}

fn choices() -> impl Strategy<Value = Choices> {
    collection::btree_map(text(), collection::vec(spot(text()), 1..3), 0..3)
}

fn swarm() -> impl Strategy<Value = Swarm> {
    let times = || (time(), time()).prop_map(|(a, b)| a.min(b)..=a.max(b));
    let topology = (range(9), range(9), range(4), range(64), range(9));
    let work = (range(9), range(9), range(100_000), times(), range(1_000_000));
    let faults = sample::subsequence(FAULTS, 0..FAULTS.len());
    let story = (range(100), times(), faults);
    let settings = (choices(), choices(), choices(), choices());
    let groups = (range(2), range(9), times(), choices(), choices(), choices());
    (topology, work, story, settings, groups).prop_map(
        |(
            (brokers, racks, topics, partitions, replicas),
            (producers, consumers, records, every, padding_bytes),
            (steps, pause, faults),
            (cluster, topic, producer, consumer),
            (groups, members, processing, coordinator, group, member),
        )| Swarm {
            brokers,
            racks,
            topics,
            partitions,
            replicas,
            producers,
            consumers,
            records,
            every,
            padding_bytes,
            steps,
            pause,
            faults: faults.into_iter().map(|(name, _)| Spot::new((*name).to_owned(), 0)).collect(),
            groups,
            members,
            processing,
            cluster,
            topic,
            producer,
            consumer,
            coordinator,
            group,
            member,
        },
    )
}

fn prediction() -> impl Strategy<Value = Prediction> {
    let options = collection::vec(text(), 1..4).prop_flat_map(|options| {
        let answer = prop_oneof![spot(sample::select(options.clone())).prop_map(Answer::Fixed), measured()];
        let wrong = collection::btree_map(sample::select(options.clone()), spot(text()), 0..2);
        (Just(options), answer, wrong)
    });
    let made = |(before, ask, (options, answer, wrong), why, variants)| Prediction {
        before,
        ask,
        options,
        answer,
        wrong,
        why,
        variants,
    };
    (spot(1..9u64), text(), options, text(), collection::vec(spot(text()), 0..2)).prop_map(made)
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let deadline = (1..86_400_000u64).prop_map(Duration::from_millis);
    let head = (text(), option::of(text()), option::of(text()), texts());
    let numbers = (0..=i64::MAX as u64, 1..=1_000_000u64, deadline, any::<bool>());
    let behaviour = (marks(), option::of(spot(text())), settings());
    let cast = (cluster(), collection::vec(topic(), 0..3), collection::vec(client(), 0..3));
    let story = (collection::vec(step(), 0..3), expectations());
    let rest = (collection::vec(variant(), 0..3), collection::vec(prediction(), 0..2));
    (head, numbers, behaviour, cast, story, rest).prop_map(
        |(
            (title, teaches, note, catalogue),
            (seed, sweep, deadline, leave_broken),
            (must_reach, era, switches),
            (cluster, topics, clients),
            (steps, expect),
            (variants, predictions),
        )| Scenario {
            title,
            teaches,
            note,
            catalogue,
            seed,
            sweep,
            deadline,
            must_reach,
            era,
            switches,
            leave_broken,
            swarm: None,
            cluster,
            topics,
            clients,
            steps,
            expect,
            variants,
            predictions,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_condition_prints_to_what_reads_the_same(condition in condition()) {
        prop_assert_eq!(Condition::parse(&condition.to_string(), 0), Ok(condition));
    }

    #[test]
    fn an_event_prints_to_what_reads_the_same(event in event()) {
        prop_assert_eq!(EventTrigger::parse(&event.to_string(), 0), Ok(event));
    }

    #[test]
    fn actions_print_to_what_reads_the_same(actions in actions()) {
        prop_assert_eq!(action::parse(&action::show(&actions), 0), Ok(actions));
    }

    #[test]
    fn a_set_reads_as_runs_print_it(names in prop::collection::vec("b[1-9]", 2..4)) {
        let (listed, printed) = (names.join(", "), names.join(","));
        for verb in ["crash _ kill", "stop _", "cut _ | c1", "slow c1 > _ 5ms", "clock _ +5s"] {
            let [listed, printed] = [verb.replace('_', &format!("[{listed}]")), verb.replace('_', &printed)];
            prop_assert_eq!(action::parse(&printed, 0), action::parse(&listed, 0));
        }
    }

    #[test]
    fn a_swarm_prints_to_what_reads_the_same(swarm in swarm(), scenario in scenario()) {
        let none = Scenario { cluster: Cluster::default(), topics: Vec::new(), clients: Vec::new(), ..scenario };
        let swarm = Scenario { swarm: Some(swarm), steps: Vec::new(), predictions: Vec::new(), ..none };
        let printed = swarm.to_string();
        prop_assert_eq!(parse(&printed), Ok(swarm), "{}", printed);
    }

    #[test]
    fn a_scenario_prints_to_what_reads_the_same(scenario in scenario()) {
        let printed = scenario.to_string();
        prop_assert_eq!(parse(&printed), Ok(scenario), "{}", printed);
    }
}
