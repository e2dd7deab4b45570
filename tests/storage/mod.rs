//! Logs on real files: against a model, against what Apache Kafka wrote, and with damaged files.

mod damage;
mod directory;
mod fixtures;
mod model;
mod sequences;

use std::future::Future;

use bytes::Bytes;
use highwater::{
    base::{LeaderEpoch, Offset, Switches, Timestamp, TopicPartition},
    protocol::records::{BatchBuilder, BatchHeader, Codec},
    runtime::{disk::Disk, real},
    storage::{Log, LogConfig, LogDirFailure, LogOptions},
    trace::Tracer,
};

use crate::temporary_folder;

const FOLDER: &str = "orders-0";

fn block_on<F: Future>(future: F) -> F::Output {
    real::block_on(1, future).expect("a runtime for one thread")
}

/// Runs `test` on an empty folder.
fn on_disk<F: Future>(test: impl FnOnce(Disk) -> F) -> F::Output {
    let folder = temporary_folder();
    block_on(test(Disk::at(folder.path())))
}

fn options(config: LogConfig) -> LogOptions {
    LogOptions {
        partition: TopicPartition::new("orders", 0),
        config,
        clean: true,
        recovery_point: Offset::ZERO,
        start_offset: Offset::ZERO,
        high_watermark: Offset::ZERO,
        switches: Switches::NEWEST,
        tracer: Tracer::off(),
        failures: LogDirFailure::default(),
    }
}

fn options_after_kill(config: LogConfig, recovery_point: Offset) -> LogOptions {
    LogOptions { clean: false, recovery_point, ..options(config) }
}

/// A batch of one record for each timestamp.
fn batch(timestamps: &[Timestamp], value_bytes: usize) -> (BatchHeader, Bytes) {
    let mut builder = BatchBuilder::new(Codec::None);
    for timestamp in timestamps {
        builder.push(*timestamp, None, Some(&vec![b'v'; value_bytes]), &[]);
    }
    let bytes = builder.build();
    (BatchHeader::parse(&bytes).expect("a batch just built"), bytes)
}

async fn append(log: &mut Log, timestamps: &[Timestamp], value_bytes: usize, epoch: i32) {
    let (header, bytes) = batch(timestamps, value_bytes);
    log.append_as_leader(&header, &bytes, LeaderEpoch(epoch), timestamps[0]).await.expect("the disk is sound");
}

/// A log of 60 records in some five segments and two epochs.
async fn small_log(disk: &Disk, config: &LogConfig) -> Log {
    let mut log = Log::open(disk, FOLDER, options(config.clone())).await.expect("an empty log opens");
    for index in 0..30 {
        append(&mut log, &[1000 + index * 10, 1005 + index * 10], 60, if index < 12 { 0 } else { 3 }).await;
    }
    log
}

fn small_config() -> LogConfig {
    LogConfig { segment_bytes: 1500, index_interval_bytes: 200, ..LogConfig::default() }
}
