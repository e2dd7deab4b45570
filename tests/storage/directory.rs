//! The log directory of a node: identity, checkpoints, clean and unclean stops, logs that cannot be used.

use std::collections::BTreeMap;

use highwater::{
    base::{BrokerEpoch, NodeId, Offset, Switches, TopicId, TopicPartition},
    runtime::disk::{Disk, Open},
    storage::{LogConfig, LogDirectory, MetaProperties, Opened, StorageError},
    trace::Tracer,
};

use super::{
    append,
    damage::{Damage, damage},
    on_disk,
};

const TOPIC: TopicId = TopicId([1; 16]);
const LOG: &str = "orders-0/00000000000000000000.log";

fn orders(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

async fn open_directory(disk: &Disk, node: i32) -> Result<LogDirectory, StorageError> {
    LogDirectory::open(disk.clone(), NodeId(node), Switches::NEWEST, Tracer::off()).await
}

async fn format(disk: &Disk) {
    let meta = MetaProperties { cluster_id: "cluster".into(), node_id: NodeId(1), directory_id: TopicId([9; 16]) };
    meta.write(disk).await.unwrap();
}

#[test]
fn a_directory_that_cannot_be_used_says_why() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("meta.properties", "version=1\nnode.id=x\ncluster.id=c\n", &["line 2", "node.id `x`"]),
        ("meta.properties", "version=7\nnode.id=1\ncluster.id=c\n", &["line 1", "version 7"]),
        ("meta.properties", "version=1\nnode.id=1\n", &["cluster.id", "missing"]),
        ("meta.properties", "version=1\nnode.id 1\n", &["line 2", "name=value"]),
        ("meta.properties", "version=1\nnode.id=1\ncluster.id=c\ndirectory.id=short\n", &["line 4", "22"]),
        ("recovery-point-offset-checkpoint", "0\n1\norders 0\n", &["line 3", "`orders 0`"]),
        ("replication-offset-checkpoint", "0\nmany\n", &["line 2", "`many`"]),
        ("log-start-offset-checkpoint", "0\n2\norders 0 5\n", &["line 2", "2 entries"]),
    ];
    for (file, text, words) in cases {
        on_disk(|disk| async move {
            format(&disk).await;
            disk.open(file, Open::Write).await.unwrap();
            damage(&disk, file, Damage::Text(text)).await;
            let error = open_directory(&disk, 1).await.err().expect("refused").to_string();
            for word in words.iter().chain([file]) {
                assert!(error.contains(word), "{text:?}: `{error}` does not say `{word}`");
            }
        });
    }
    on_disk(|disk| async move {
        assert!(open_directory(&disk, 1).await.err().expect("refused").to_string().contains("storage format"));
        format(&disk).await;
        assert!(open_directory(&disk, 2).await.err().expect("refused").to_string().contains("node 1"));
        let held = open_directory(&disk, 1).await.unwrap();
        assert!(open_directory(&disk, 1).await.err().expect("refused").to_string().contains("another process"));
        drop(held);
    });
}

#[test]
fn a_checkpoint_that_ends_before_it_says_how_many_says_nothing() {
    for text in ["", "0\n"] {
        for file in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint"]
        {
            on_disk(|disk| async move {
                format(&disk).await;
                disk.open(file, Open::Write).await.unwrap();
                damage(&disk, file, Damage::Text(text)).await;
                let opened = open_directory(&disk, 1).await;
                assert!(opened.is_ok(), "{file} {text:?}: {:?}", opened.err());
            });
        }
    }
}

#[test]
fn one_damaged_log_leaves_the_others_in_use_and_is_not_made_anew() {
    on_disk(|disk| async move {
        format(&disk).await;
        let directory = open_directory(&disk, 1).await.unwrap();
        for partition in [0, 1] {
            create(&directory, partition).await.log.close().await.unwrap();
        }
        directory.checkpoint_logs(&BTreeMap::new(), &BTreeMap::new()).await.unwrap();
        directory.mark_clean(BrokerEpoch(5)).await.unwrap();
        drop(directory);
        damage(&disk, LOG, Damage::Flip(16)).await;

        let directory = open_directory(&disk, 1).await.unwrap();
        let loaded = directory.load().await.unwrap();
        assert_eq!(loaded.keys().collect::<Vec<_>>(), [&orders(1)]);
        let again = directory.create(&orders(0), TOPIC, LogConfig::default()).await;
        assert!(matches!(again, Err(StorageError::Corrupt { .. })), "a damaged log was opened");
        let other = directory.create(&orders(1), TopicId([2; 16]), LogConfig::default()).await;
        assert!(matches!(other, Err(StorageError::InconsistentTopicId { .. })), "another topic's log was opened");

        directory.mark_clean(BrokerEpoch(6)).await.unwrap();
        drop(directory);
        assert!(!open_directory(&disk, 1).await.unwrap().is_clean(), "the tail of the damaged log would be trusted");
    });
}

/// A log with one record.
async fn create(directory: &LogDirectory, partition: i32) -> Opened {
    let mut opened = directory.create(&orders(partition), TOPIC, LogConfig::default()).await.unwrap();
    append(&mut opened.log, &[1000], 10, 0).await;
    opened
}

#[test]
fn a_checkpoint_waits_for_the_one_that_is_being_written() {
    on_disk(|disk| async move {
        format(&disk).await;
        let directory = open_directory(&disk, 1).await.unwrap();
        let (first, second) = ([(orders(0), Offset(1))].into(), [(orders(0), Offset(2))].into());
        let both = futures_util::future::join(
            directory.checkpoint_high_watermarks(&first),
            directory.checkpoint_high_watermarks(&second),
        );
        assert!(matches!(both.await, (Ok(()), Ok(()))));
        let (logs, nothing) = ([(orders(0), Offset(1))].into(), BTreeMap::new());
        let both = futures_util::future::join(
            directory.checkpoint_logs(&logs, &nothing),
            directory.checkpoint_logs(&logs, &nothing),
        );
        assert!(matches!(both.await, (Ok(()), Ok(()))));
    });
}

#[test]
fn a_checkpoint_keeps_the_partitions_it_is_not_told_of_until_they_are_deleted() {
    on_disk(|disk| async move {
        format(&disk).await;
        let directory = open_directory(&disk, 1).await.unwrap();
        for partition in [0, 1] {
            create(&directory, partition).await;
        }
        let marks = [(orders(0), Offset(1)), (orders(1), Offset(1))].into();
        directory.checkpoint_high_watermarks(&marks).await.unwrap();
        drop(directory);

        let directory = open_directory(&disk, 1).await.unwrap();
        directory.checkpoint_high_watermarks(&BTreeMap::new()).await.unwrap();
        drop(directory);

        let directory = open_directory(&disk, 1).await.unwrap();
        let loaded = directory.load().await.unwrap();
        assert!(loaded.values().all(|found| found.high_watermark == Offset(1)));
        directory.delete(&orders(0), TOPIC).await.unwrap();
        assert_eq!(create(&directory, 0).await.high_watermark, Offset(0));
    });
}

#[test]
fn a_log_that_is_opened_again_by_the_same_process_is_checked() {
    on_disk(|disk| async move {
        format(&disk).await;
        let directory = open_directory(&disk, 1).await.unwrap();
        create(&directory, 0).await.log.close().await.unwrap();
        directory.mark_clean(BrokerEpoch(5)).await.unwrap();
        drop(directory);

        let directory = open_directory(&disk, 1).await.unwrap();
        assert_eq!((directory.is_clean(), directory.previous_broker_epoch()), (true, BrokerEpoch(5)));
        let mut opened = directory.create(&orders(0), TOPIC, LogConfig::default()).await.unwrap();
        append(&mut opened.log, &[1001], 10, 0).await;
        drop(opened);
        damage(&disk, LOG, Damage::Flip(-1)).await;
        let again = directory.create(&orders(0), TOPIC, LogConfig::default()).await.unwrap();
        assert_eq!(again.log.end_offset(), Offset(1));
    });
}
