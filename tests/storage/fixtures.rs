//! Log directories that Apache Kafka 4.3.1 wrote, opened and compared with what its clients were told.

use std::{
    fs,
    path::{Path, PathBuf},
};

use highwater::{
    base::{BrokerEpoch, NodeId, Offset, ProducerId, Switches, TopicPartition},
    protocol::records::{batches, decode_records},
    runtime::disk::Disk,
    storage::{Log, LogDirectory},
    trace::Tracer,
};
use serde_json::Value;

use super::{block_on, temporary_folder};

/// Copies a recorded directory to where it may be written to.
fn copy(state: &str) -> (tempfile::TempDir, Value) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3").join(state);
    let target = temporary_folder();
    copy_folder(&fixture.join("data"), target.path().to_path_buf());
    let facts = fs::read(fixture.join("facts.json")).expect("the fixture has facts");
    (target, serde_json::from_slice(&facts).expect("facts are JSON"))
}

fn copy_folder(from: &Path, to: PathBuf) {
    fs::create_dir_all(&to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the fixture can be listed") {
        let path = entry.expect("the fixture can be listed").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_folder(&path, target);
        } else {
            fs::write(target, fs::read(&path).expect("the fixture can be read")).expect("a copy can be written");
        }
    }
}

async fn open(folder: &Path) -> LogDirectory {
    LogDirectory::open(Disk::at(folder), NodeId(1), Switches::NEWEST, Tracer::off()).await.expect("Kafka's directory")
}

/// Offsets of the data records in the log.
async fn offsets(log: &Log) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let records = log.read(from, log.end_offset(), 1000, true).await.expect("a sound log");
        assert!(!records.is_empty(), "nothing at {from} of {}", log.end_offset());
        for found in batches(&records) {
            let (header, batch) = found.expect("a sound batch");
            let records = decode_records(&header, &batch, 1 << 20).expect("sound records");
            offsets.extend(records.iter().filter(|_| !header.is_control()).map(|record| record.offset.0));
            from = header.end_offset();
        }
    }
    offsets
}

/// The offsets of ranges as `0-12,14`.
fn parse_ranges(text: &str) -> Vec<i64> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<i64>().expect("a number")..=last.parse().expect("a number")
    };
    text.split(',').flat_map(range).collect()
}

async fn check_log(topic: &str, log: &Log, facts: &Value) {
    let number = |value: &Value| value.as_i64().expect("a number");
    assert_eq!(log.end_offset().0, number(&facts["high_watermark"]), "{topic}");
    assert_eq!(i64::from(log.latest_epoch().0), number(&facts["leader_epoch"]), "{topic}");
    let read: Vec<i64> = parse_ranges(facts["read_uncommitted"].as_str().expect("ranges"));
    let mut found = offsets(log).await;
    found.retain(|offset| *offset >= read[0]);
    assert_eq!(found, read, "{topic}");
    let greatest = log.max_timestamp().await.expect("a sound log").expect("it has records");
    let expected = &facts["max_timestamp"];
    assert_eq!(
        (greatest.offset.0, greatest.timestamp, i64::from(greatest.leader_epoch.0)),
        (number(&expected["offset"]), number(&expected["timestamp"]), number(&expected["leader_epoch"])),
        "{topic}"
    );
    for asked in facts["offsets_for_times"].as_array().expect("a list") {
        let found = log.offset_for_timestamp(number(&asked["asked"])).await.expect("a sound log").expect("found");
        if log.start_offset().0 < read[0] && number(&asked["offset"]) == read[0] {
            // DeleteRecords had moved the start within a segment, and was not checkpointed before the kill.
            assert!(found.offset.0 <= read[0], "{topic}: {asked}");
            continue;
        }
        assert_eq!(
            (found.offset.0, found.timestamp, i64::from(found.leader_epoch.0)),
            (number(&asked["offset"]), number(&asked["timestamp"]), number(&asked["leader_epoch"])),
            "{topic}: {asked}"
        );
    }
    check_producers(topic, log, facts);
}

fn check_producers(topic: &str, log: &Log, facts: &Value) {
    let producers = facts["producers"].as_array().expect("a list");
    assert_eq!(log.producers().len(), producers.len(), "{topic}");
    for producer in producers {
        let id = ProducerId(producer["producer_id"].as_i64().expect("a number"));
        let last = log.producers().last_batch(id).unwrap_or_else(|| panic!("{topic}: {producer} is not known"));
        let found = serde_json::json!([last.last_sequence, last.timestamp]);
        assert_eq!(found, serde_json::json!([producer["last_sequence"], producer["last_timestamp"]]), "{topic}");
    }
}

/// Opens the recorded directory, compares each log, stops cleanly and opens again: nothing changes.
fn check_directory(state: &str, clean: bool, broker_epoch: i64, logs: usize) {
    let (folder, facts) = copy(state);
    block_on(async {
        let directory = open(folder.path()).await;
        assert_eq!((directory.is_clean(), directory.previous_broker_epoch().0), (clean, broker_epoch));
        let mut opened = directory.load().await.expect("the directory can be listed");
        assert_eq!(opened.len(), logs);
        let mut recovery_points = std::collections::BTreeMap::new();
        for (partition, found) in &mut opened {
            let facts = &facts[&*partition.topic];
            assert_eq!(found.topic_id.to_string(), facts["id"].as_str().expect("an id"));
            check_log(&partition.topic, &found.log, facts).await;
            found.log.close().await.expect("the disk is sound");
            recovery_points.insert(partition.clone(), found.log.recovery_point());
        }
        let starts =
            opened.iter().map(|(partition, found)| (partition.clone(), found.log.start_to_checkpoint())).collect();
        directory.checkpoint_logs(&recovery_points, &starts).await.expect("the disk is sound");
        directory.mark_clean(BrokerEpoch(900)).await.expect("the disk is sound");
        drop(directory);

        let directory = open(folder.path()).await;
        assert_eq!((directory.is_clean(), directory.previous_broker_epoch().0), (true, 900));
        let again = directory.load().await.expect("the directory can be listed");
        assert_eq!(again.len(), logs);
        for (partition, found) in &again {
            check_log(&partition.topic, &found.log, &facts[&*partition.topic]).await;
        }
    });
}

#[test]
fn a_directory_after_sigterm_holds_what_kafka_told_its_clients() {
    check_directory("clean", true, 216, 4);
}

#[test]
fn a_directory_after_sigkill_is_recovered_to_what_kafka_told_its_clients() {
    check_directory("killed", false, -1, 6);
}

#[test]
fn a_log_start_within_a_segment_is_kept_from_the_checkpoint() {
    let (folder, _) = copy("clean");
    block_on(async {
        let opened = open(folder.path()).await.load().await.expect("the directory can be listed");
        let log = &opened[&TopicPartition::new("trimmed", 0)].log;
        assert_eq!(log.start_offset(), Offset(83));
        assert!(log.read(Offset(82), log.end_offset(), 1000, true).await.is_err());
    });
}
