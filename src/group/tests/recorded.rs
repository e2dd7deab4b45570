//! `__consumer_offsets` as Apache Kafka wrote it: read, and written again byte for byte.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;

use super::*;
use crate::{
    base::{LeaderEpoch, TopicId, TopicPartition},
    group::{
        log::{Damage, LogReader},
        records::{Names, OffsetAndMetadata},
    },
    protocol::records::{BatchBuilder, BatchHeader, Codec, batches, decode_records},
};

fn folder(era: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/groups").join(era)
}

/// The segments of one era, by partition and base offset.
fn segments(era: &str) -> BTreeMap<String, Vec<Bytes>> {
    let mut by_partition: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    let mut paths: Vec<PathBuf> = fs::read_dir(folder(era)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let partition = name.split('-').next().unwrap().to_owned();
        by_partition.entry(partition).or_default().push(fs::read(path).unwrap().into());
    }
    by_partition
}

fn load(segments: &[Bytes], switches: Switches) -> (Machine, Vec<Damage>) {
    let (mut machine, mut reader, mut damage) = (Machine::new(settings(), switches), LogReader::new(switches), vec![]);
    for found in segments.iter().flat_map(batches) {
        let (header, batch) = found.expect("the recording is sound");
        let records = reader.read(&header, &batch, &mut damage);
        machine.load(records, header.end_offset(), header.end_offset());
    }
    (machine, damage)
}

/// The offsets of a group as the facts have them.
fn offsets(machine: &Machine, group: &str) -> Value {
    let offsets = machine.shard().offsets().of(group).into_iter().flatten();
    let offsets = offsets.map(|(partition, value)| {
        let value = serde_json::json!({
            "offset": value.offset.0, "leader_epoch": value.leader_epoch.0, "metadata": &*value.metadata,
        });
        (partition.to_string(), value)
    });
    Value::Object(offsets.collect())
}

#[test]
fn every_group_and_offset_of_a_recording_is_found() {
    for era in ["kafka-4.3", "kafka-2.8"] {
        let facts: Value = serde_json::from_slice(&fs::read(folder(era).join("groups.json")).unwrap()).unwrap();
        let mut found = BTreeSet::new();
        for segments in segments(era).values() {
            let (machine, damage) = load(segments, Switches::NEWEST);
            assert_eq!(damage, []);
            for group in machine.shard().groups() {
                let told = &facts[&*group.id];
                if told.is_null() {
                    // Its offsets were deleted, and 2.8 wrote no record of its own: the next look for expired ones ends it.
                    assert!(group.is_simple() && machine.shard().offsets().of(&group.id).is_none(), "{}", group.id);
                    continue;
                }
                // Groups of the newer protocols have records of other types.
                if told["type"] == "Classic" {
                    assert_eq!(told["state"], group.state().to_string(), "{era} {}", group.id);
                    let members = told["members"].as_array().map_or(0, Vec::len);
                    assert_eq!(group.members.len(), members, "{era} {}", group.id);
                }
                assert_eq!(told["offsets"], offsets(&machine, &group.id), "{era} {}", group.id);
                found.insert(group.id.to_string());
            }
            for group in machine.shard().consumers() {
                let told = &facts[&*group.id];
                let state = (group.state().to_string(), "Consumer");
                assert_eq!((told["state"].to_string(), &told["type"]), (format!("\"{}\"", state.0), &state.1.into()));
                assert_eq!(told["offsets"], offsets(&machine, &group.id), "{era} {}", group.id);
                found.insert(group.id.to_string());
            }
        }
        let told: BTreeSet<String> = facts.as_object().unwrap().keys().cloned().collect();
        assert_eq!(found, told, "{era}");
    }
}

#[test]
fn what_is_read_is_written_again_byte_for_byte() {
    let mut written = 0;
    for found in segments("kafka-4.3").values().flatten().flat_map(batches) {
        let (header, batch) = found.unwrap();
        if header.is_control() {
            continue;
        }
        for record in decode_records(&header, &batch, 1 << 20).unwrap() {
            let Some(parsed) =
                Record::parse(record.key.as_deref(), record.value.as_deref(), &mut Names::default()).unwrap()
            else {
                continue;
            };
            assert_eq!((Some(parsed.key()), parsed.value()), (record.key, record.value));
            written += 1;
        }
    }
    assert!(written > 20, "only {written} records");
}

fn offset_record(topic: &str) -> Record {
    let value = OffsetAndMetadata {
        offset: Offset(9),
        leader_epoch: LeaderEpoch::UNKNOWN,
        metadata: "".into(),
        commit_ms: 0,
        expire_ms: None,
        topic_id: TopicId::ZERO,
    };
    Record::Offset { group: "g".into(), partition: TopicPartition::new(topic, 0), value: Some(value) }
}

/// The planted bug is seen: what follows a tombstone is not there.
#[test]
fn a_load_ends_at_the_first_tombstone_with_the_planted_bug() {
    let mut builder = BatchBuilder::new(Codec::None);
    for (topic, value) in [("a", true), ("a", false), ("b", true)] {
        let record = offset_record(topic);
        builder.push(0, Some(&record.key()), record.value().filter(|_| value).as_deref(), &[]);
    }
    let log = [builder.build()];
    let offsets = |switches| load(&log, switches).0.shard().offsets().count();
    assert_eq!((offsets(Switches::NEWEST), offsets(with_bug("bug_load_stops_at_tombstone"))), (1, 0));
}

#[test]
fn damaged_records_are_named_and_the_rest_is_loaded() {
    let sound = [offset_record("a"), offset_record("b")];
    let mut builder = BatchBuilder::new(Codec::None);
    let mut push = |key: &[u8], value: Option<&[u8]>| builder.push(0, Some(key), value, &[]);
    push(&sound[0].key(), sound[0].value().as_deref());
    push(&sound[0].key(), Some(&[0, 9]));
    push(&sound[0].key()[..5], sound[0].value().as_deref());
    push(&[0, 77, 1, 2, 3], Some(&[1]));
    push(&[0, 2, 0, 1, b'g'], Some(&[0, 3, 0x7f, 0xff]));
    push(&sound[1].key(), sound[1].value().as_deref());
    let batch = builder.build();
    let header = BatchHeader::parse(&batch).unwrap();
    let mut damage = Vec::new();
    let records = LogReader::new(Switches::NEWEST).read(&header, &batch, &mut damage);
    assert_eq!(records, sound);
    let named: Vec<String> = damage.iter().map(|damage| format!("{} {}", damage.offset, damage.problem)).collect();
    assert_eq!(
        named,
        ["1 an offset in version 9", "2 2 bytes expected, 0 are left", "4 32767 bytes expected, 0 are left",]
    );
}

/// Any bytes are read or named, and nothing is reserved for them.
#[test]
fn no_bytes_bring_a_load_down() {
    use rand::Rng;
    let originals: Vec<Record> = {
        let segments = segments("kafka-4.3");
        let mut reader = LogReader::new(Switches::NEWEST);
        let batches = segments.values().flatten().flat_map(batches).map(Result::unwrap);
        batches.flat_map(|(header, batch)| reader.read(&header, &batch, &mut Vec::new())).collect()
    };
    let mut chance = Random::seed_from_u64(1);
    for _ in 0..20_000 {
        let record = &originals[chance.random_range(0..originals.len())];
        let (mut key, mut value) = (record.key().to_vec(), record.value().unwrap_or_default().to_vec());
        for bytes in [&mut key, &mut value] {
            if let Some(at) = (!bytes.is_empty()).then(|| chance.random_range(0..bytes.len())) {
                match chance.random_range(0..3) {
                    0 => bytes[at] = chance.random(),
                    1 => bytes.truncate(at),
                    _ => {}
                }
            }
        }
        // Sound or not, it is an answer.
        let _ = Record::parse(Some(&key), Some(&value), &mut Names::default())
            .map(|parsed| parsed.map(|parsed| parsed.key()));
    }
}
