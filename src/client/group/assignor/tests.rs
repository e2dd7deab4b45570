//! The assignors beside Apache Kafka's, on the table that `tests/fixtures/assignors/record` made.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::client::group::subscription::{decode_assignment, decode_sticky, encode_assignment};

const TABLE: &str = include_str!("../../../../tests/fixtures/assignors/kafka-4.3.1.jsonl");

struct Row {
    assignor: Assignor,
    topics: PartitionCounts,
    members: Members,
    said: BTreeMap<Arc<str>, Bytes>,
    answer: Assignment,
    answered: BTreeMap<Arc<str>, Bytes>,
}

fn bytes(hex: &Value) -> Bytes {
    let hex = hex.as_str().expect("bytes in hexadecimal");
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("two digits")).collect()
}

fn object(value: &Value) -> impl Iterator<Item = (Arc<str>, &Value)> {
    value.as_object().expect("an object").iter().map(|(name, value)| (Arc::from(name.as_str()), value))
}

fn row(line: &str) -> Row {
    let row: Value = serde_json::from_str(line).expect("a line is JSON");
    let said: BTreeMap<_, _> = object(&row["members"]).map(|(id, member)| (id, bytes(&member["said"]))).collect();
    let member = |(id, member): (Arc<str>, &Value)| {
        let instance_id = member["instance"].as_str().map(Arc::from);
        (id.clone(), Subscription { instance_id, ..Subscription::decode(&said[&id]).expect("Kafka's bytes") })
    };
    let answered: BTreeMap<_, _> = object(&row["answer"]).map(|(id, given)| (id, bytes(given))).collect();
    let decoded = |(id, given): (&Arc<str>, &Bytes)| (id.clone(), decode_assignment(given).expect("Kafka's bytes"));
    Row {
        assignor: row["assignor"].as_str().expect("a name").parse().expect("one of ours"),
        topics: object(&row["topics"]).map(|(name, count)| (name, count.as_i64().expect("a count") as i32)).collect(),
        members: object(&row["members"]).map(member).collect(),
        answer: answered.iter().map(decoded).collect(),
        said,
        answered,
    }
}

fn sets(assignment: &Assignment) -> BTreeMap<Arc<str>, BTreeSet<TopicPartition>> {
    assignment.iter().map(|(id, given)| (id.clone(), given.iter().cloned().collect())).collect()
}

/// How many partitions each member has, and how many partitions stay with whom had them.
fn measures(row: &Row, assignment: &Assignment) -> (Vec<usize>, usize) {
    let mut sizes: Vec<usize> = assignment.values().map(Vec::len).collect();
    sizes.sort_unstable();
    let had = |id: &Arc<str>| match row.assignor {
        Assignor::Sticky => sticky_memory(&row.members[id]).owned,
        _ => row.members[id].owned.clone(),
    };
    let kept = assignment.iter().map(|(id, given)| had(id).iter().filter(|one| given.contains(one)).count());
    (sizes, kept.sum())
}

#[test]
fn what_is_assigned_is_what_kafka_assigns() {
    let (mut rows, mut by_chance) = (0, 0);
    for (number, line) in TABLE.lines().enumerate() {
        let row = row(line);
        let ours = row.assignor.assign(&row.topics, &row.members);
        rows += 1;
        if sets(&ours) == sets(&row.answer) {
            continue;
        }
        // Kafka took one of several answers that are as good, by the order of a hash table.
        by_chance += 1;
        let place = format!("line {}: {line}\n{ours:?}\n{:?}", number + 1, row.answer);
        assert!(matches!(row.assignor, Assignor::Sticky | Assignor::CooperativeSticky), "{place}");
        assert_eq!(measures(&row, &ours), measures(&row, &row.answer), "{place}");
    }
    assert!(rows == 240 && by_chance <= 12, "{by_chance} of {rows} rows differ by more than chance");
}

#[test]
fn the_bytes_are_kafkas() {
    for line in TABLE.lines() {
        let row = row(line);
        for (id, said) in &row.said {
            let mut member = row.members[id].clone();
            if let Some(data) = member.user_data.as_ref().filter(|_| row.assignor == Assignor::Sticky) {
                // Topics stand in the order of a hash table in Kafka's user data.
                let (partitions, generation) = decode_sticky(data).expect("Kafka's bytes");
                let ours = row.assignor.user_data(Some(&partitions), generation.expect("a generation"));
                let sorted =
                    |data: &Bytes| decode_sticky(data).map(|(all, _)| all.into_iter().collect::<BTreeSet<_>>());
                assert_eq!(sorted(&ours.clone().expect("it writes one")), sorted(data), "{line}");
                assert_eq!(ours.map(|ours| ours.len()), Some(data.len()), "{line}");
            }
            member.instance_id = None;
            let again = Subscription::decode(&member.encode()).expect("our own bytes");
            assert_eq!((again, member.encode().len()), (member, said.len()), "{line}");
        }
        for (id, given) in &row.answered {
            assert_eq!(encode_assignment(&row.answer[id]).len(), given.len(), "{line}");
        }
    }
}

#[test]
fn a_cooperative_member_gets_nothing_that_another_still_has() {
    for line in TABLE.lines() {
        let row = row(line);
        if row.assignor != Assignor::CooperativeSticky {
            continue;
        }
        for (id, given) in row.assignor.assign(&row.topics, &row.members) {
            let others = row.members.iter().filter(|(other, _)| **other != id);
            let owned: Vec<_> = others.flat_map(|(_, said)| &said.owned).collect();
            assert!(given.iter().all(|one| !owned.contains(&one)), "{line}");
        }
    }
}

#[test]
fn before_3_4_1_a_member_that_missed_a_generation_claims_nothing() {
    let owned = vec!["t-0".parse().expect("topic-number")];
    let said = |generation| Subscription {
        user_data: Assignor::CooperativeSticky.user_data(None, generation),
        owned: owned.clone(),
        ..Subscription::default()
    };
    let mut members: Members = [("old".into(), said(4)), ("new".into(), said(5))].into();
    forget_older_claims(&mut members);
    assert_eq!((members["old"].owned.len(), &members["new"].owned), (0, &owned));
}

#[test]
fn members_that_say_nonsense_or_nothing_at_all_are_served_too() {
    let odd =
        Subscription { topics: vec!["t".into()], user_data: Some(Bytes::from_static(&[9])), ..Subscription::default() };
    let idle = Subscription::default();
    let members: Members = [("a", odd), ("b", idle)].map(|(id, said)| (Arc::from(id), said)).into();
    let topics: PartitionCounts = [(Arc::from("t"), 3), (Arc::from("unread"), 2), (Arc::from("empty"), 0)].into();
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
        let given = assignor.assign(&topics, &members);
        assert_eq!((given["a"].len(), given["b"].len()), (3, 0), "{}", assignor.name());
        assert!(assignor.assign(&topics, &Members::new()).is_empty(), "{}", assignor.name());
    }
}
