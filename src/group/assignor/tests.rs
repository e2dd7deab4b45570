//! The same input gives the same assignment as with Apache Kafka.

use std::{collections::BTreeMap, sync::Arc};

use super::{Assignment, Assignor, Partitions, Spec, Subscriber};
use crate::base::TopicId;

/// What Apache Kafka 4.3.1 answered; its README says how it was made.
const RECORDED: &str = include_str!("../../../tests/fixtures/kafka-4.3/assignors/recorded.txt");

struct Case {
    assignor: Assignor,
    spec: Spec,
    expected: Assignment,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut topics: BTreeMap<&str, TopicId> = BTreeMap::new();
    for line in RECORDED.lines() {
        let mut words = line.split(' ');
        let kind = words.next().unwrap();
        if kind == "case" {
            let assignor = words.next().unwrap().parse().unwrap();
            let homogeneous = words.next() == Some("same");
            let spec = Spec { members: BTreeMap::new(), topics: BTreeMap::new(), homogeneous };
            cases.push(Case { assignor, spec, expected: Assignment::new() });
            topics.clear();
            continue;
        }
        let case = cases.last_mut().unwrap();
        let name = words.next().unwrap();
        match kind {
            "topic" => {
                let id = TopicId(u128::from_str_radix(words.next().unwrap(), 16).unwrap().to_be_bytes());
                topics.insert(name, id);
                case.spec.topics.insert(id, words.next().unwrap().parse().unwrap());
            }
            "member" => {
                let instance = words.next().filter(|instance| *instance != "-").map(Arc::from);
                let subscribed = words.next().unwrap().split('+').filter_map(|letter| topics.get(letter)).copied();
                let subscriber =
                    Subscriber { instance, topics: subscribed.collect(), assigned: partitions(words, &topics) };
                case.spec.members.insert(name.into(), subscriber);
            }
            "gets" => drop(case.expected.insert(name.into(), partitions(words, &topics))),
            other => panic!("a line begins with {other}"),
        }
    }
    cases
}

fn partitions<'a>(words: impl Iterator<Item = &'a str>, topics: &BTreeMap<&str, TopicId>) -> Partitions {
    let topic = |word: &str| {
        let (letter, partitions) = word.split_once(':').unwrap();
        (topics[letter], partitions.split('.').map(|partition| partition.parse().unwrap()).collect())
    };
    words.map(topic).collect()
}

#[test]
fn the_same_input_gives_the_assignment_that_apache_kafka_gave() {
    let cases = cases();
    assert!(cases.len() > 100, "{} cases", cases.len());
    for (index, Case { assignor, spec, expected }) in cases.iter().enumerate() {
        let found = assignor.assign(spec);
        assert_eq!(found, *expected, "case {index} of recorded.txt: {assignor}, {spec:#?}");
    }
}
