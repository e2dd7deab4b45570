//! Opening a log: after a clean stop trust the files, after any other check them.
//!
//! | stop | segments before the recovery point | from the one that holds it on |
//! |---|---|---|
//! | clean | indexes read | indexes read, tail walked |
//! | unclean | indexes read | every batch's CRC and offsets checked, indexes made again; cut at the first bad batch |
//!
//! An index that is missing is made again in either case. Leader epochs are cut to the range of the log; producers'
//! states come from the newest sound snapshot and the batches after it.

use std::collections::BTreeMap;

use super::{
    LeaderEpochs, Log, LogOptions, ProducerStates, StorageError, checkpoint,
    segment::{Segment, stem},
};
use crate::{
    base::{Offset, mark},
    protocol::records::BatchError,
    runtime::disk::Disk,
    trace::{BatchInfo, Event},
};

impl Log {
    /// Opens the log in `folder`, or makes an empty one.
    ///
    /// # Errors
    /// The disk failed, or a file below the recovery point is damaged.
    pub async fn open(disk: &Disk, folder: &str, options: LogOptions) -> Result<Self, StorageError> {
        let bases = existing_segments(disk, folder).await?;
        if bases.is_empty() {
            return Self::create(disk, folder, options).await;
        }
        let epochs_path = format!("{folder}/leader-epoch-checkpoint");
        let epochs = match checkpoint::read_epochs(disk, &epochs_path).await {
            Ok(entries) => LeaderEpochs::new(entries),
            // What it says can be read from the batches; a torn one must not keep the broker down (KAFKA-16541).
            Err(StorageError::Corrupt { problem, .. }) if !options.clean => {
                tracing::warn!(path = epochs_path, problem, "making the leader epochs again from the log");
                LeaderEpochs::default()
            }
            Err(error) => return Err(error),
        };
        let mut log = Self {
            disk: disk.clone(),
            folder: folder.to_owned(),
            partition: options.partition.clone(),
            config: options.config.clone(),
            segments: BTreeMap::new(),
            start: options.start_offset.max(bases[0]),
            end: bases[0],
            recovery_point: options.recovery_point,
            epochs,
            producers: ProducerStates::default(),
            tracer: options.tracer.clone(),
        };
        log.load_segments(&bases, &options).await?;
        log.start = log.start.min(log.end);
        log.recovery_point = log.recovery_point.clamp(log.start, log.end);
        let before = log.epochs.clone();
        log.epochs.truncate_from_end(log.end.next());
        log.epochs.truncate_from_start(log.start);
        if log.epochs != before || !options.clean {
            log.write_epochs().await?;
        }
        log.remove_snapshots_after_end().await?;
        log.rebuild_producers().await?;
        log.report_loaded(&options).await?;
        Ok(log)
    }

    async fn create(disk: &Disk, folder: &str, options: LogOptions) -> Result<Self, StorageError> {
        disk.create_dir_all(folder).await.map_err(StorageError::io(folder))?;
        let start = options.start_offset;
        let (segment, _) = Segment::open(disk, folder, start).await?;
        disk.sync_dir(folder).await.map_err(StorageError::io(folder))?;
        let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
        disk.sync_dir(parent).await.map_err(StorageError::io(parent))?;
        let log = Self {
            disk: disk.clone(),
            folder: folder.to_owned(),
            partition: options.partition.clone(),
            config: options.config.clone(),
            segments: BTreeMap::from([(start, segment)]),
            start,
            end: start,
            recovery_point: start,
            epochs: LeaderEpochs::default(),
            producers: ProducerStates::default(),
            tracer: options.tracer.clone(),
        };
        log.report_loaded(&options).await?;
        Ok(log)
    }

    async fn load_segments(&mut self, bases: &[Offset], options: &LogOptions) -> Result<(), StorageError> {
        let point_holder = bases.iter().rev().find(|base| **base <= options.recovery_point).unwrap_or(&bases[0]);
        for (index, base) in bases.iter().enumerate() {
            let (mut segment, had_indexes) = Segment::open(&self.disk, &self.folder, *base).await?;
            let recover = !options.clean && base >= point_holder;
            let last = index + 1 == bases.len();
            if !recover && had_indexes {
                self.end = if last { segment.load_tail().await? } else { bases[index + 1] };
                self.segments.insert(*base, segment);
                continue;
            }
            if recover {
                mark::reach("recovered_after_unclean_stop");
            }
            let bad = self.rebuild_segment(&mut segment, options, recover).await?;
            self.segments.insert(*base, segment);
            let Some((position, error)) = bad else { continue };
            if !recover {
                let segment = &self.segments[base];
                return Err(segment.corrupt(position, &error));
            }
            mark::reach("recovery_truncated");
            tracing::warn!(log = self.folder, position, %error, "recovery cuts the log");
            let end = self.end;
            let segment = self.segments.get_mut(base).expect("it was inserted above");
            segment.truncate(position, end).await?;
            for later in &bases[index + 1..] {
                Segment::remove(&self.disk, &self.folder, *later).await?;
            }
            return Ok(());
        }
        Ok(())
    }

    /// Walks a segment again; `self.end` follows its batches.
    async fn rebuild_segment(
        &mut self,
        segment: &mut Segment,
        options: &LogOptions,
        recover: bool,
    ) -> Result<Option<(u64, BatchError)>, StorageError> {
        let mut end = segment.base;
        let epochs = &mut self.epochs;
        let check_crc = recover && !options.switches.bug_recovery_accepts_torn_batch;
        let config = self.config.clone();
        let bad = segment
            .rebuild(&config, check_crc, |header| {
                if header.base_offset < end {
                    let problem = format!("offset {} after {end}", header.base_offset);
                    return Err(BatchError::Malformed(problem));
                }
                epochs.assign(header.leader_epoch, header.base_offset);
                end = header.end_offset();
                Ok(())
            })
            .await?;
        self.end = end;
        Ok(bad)
    }

    /// Producers' states from the newest sound snapshot and the batches after it.
    pub(super) async fn rebuild_producers(&mut self) -> Result<(), StorageError> {
        let mut from = self.start;
        self.producers = ProducerStates::default();
        for offset in existing_files(&self.disk, &self.folder, ".snapshot").await?.into_iter().rev() {
            let path = format!("{}.snapshot", stem(&self.folder, offset));
            let bytes = checkpoint::read(&self.disk, &path).await?.unwrap_or_default();
            match ProducerStates::from_snapshot(&bytes) {
                Ok(states) => {
                    (self.producers, from) = (states, offset);
                    break;
                }
                Err(problem) => {
                    tracing::warn!(path, problem, "removing a damaged snapshot; an older one or the log will do");
                    self.disk.remove_file(&path).await.map_err(StorageError::io(&path))?;
                }
            }
        }
        let floor = self.segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
        for segment in self.segments.range(floor..).map(|(_, segment)| segment) {
            let Some(position) = segment.position_of(from.max(segment.base)).await? else { continue };
            let mut walk = segment.walk_from(position);
            while let Some(found) = walk.next(false).await.map_err(StorageError::io(&self.folder))? {
                let (_, header) = found.map_err(|error| segment.corrupt(walk.position, &error))?;
                self.producers.update(&header);
            }
        }
        Ok(())
    }

    pub(super) async fn remove_snapshots_after_end(&self) -> Result<(), StorageError> {
        for offset in existing_files(&self.disk, &self.folder, ".snapshot").await? {
            if offset > self.end {
                let path = format!("{}.snapshot", stem(&self.folder, offset));
                self.disk.remove_file(&path).await.map_err(StorageError::io(&path))?;
            }
        }
        Ok(())
    }

    async fn report_loaded(&self, options: &LogOptions) -> Result<(), StorageError> {
        if !self.tracer.wants_detail() {
            return Ok(());
        }
        let batches = self.batch_infos().await?;
        self.tracer.detail(|| Event::LogLoaded {
            partition: self.partition.clone(),
            recovered: !options.clean,
            start_offset: self.start,
            end_offset: self.end,
            high_watermark: options.high_watermark.clamp(self.start, self.end),
            batches,
        });
        Ok(())
    }

    async fn batch_infos(&self) -> Result<Vec<BatchInfo>, StorageError> {
        let mut infos = Vec::new();
        for segment in self.segments.values() {
            let mut walk = segment.walk_from(0);
            while let Some(found) = walk.next(false).await.map_err(StorageError::io(&self.folder))? {
                let (_, header) = found.map_err(|error| segment.corrupt(walk.position, &error))?;
                infos.push(header.info());
            }
        }
        Ok(infos)
    }
}

/// Base offsets of the segments in a folder, rising. Leftovers of an interrupted deletion are removed.
async fn existing_segments(disk: &Disk, folder: &str) -> Result<Vec<Offset>, StorageError> {
    for entry in entries(disk, folder).await? {
        if [".deleted", ".cleaned", ".swap", ".tmp"].iter().any(|ending| entry.ends_with(ending)) {
            let path = format!("{folder}/{entry}");
            disk.remove_file(&path).await.map_err(StorageError::io(&path))?;
        }
    }
    existing_files(disk, folder, ".log").await
}

/// Offsets that name the files with this ending, rising.
async fn existing_files(disk: &Disk, folder: &str, ending: &str) -> Result<Vec<Offset>, StorageError> {
    let names = entries(disk, folder).await?;
    let offset = |name: &String| name.strip_suffix(ending).and_then(|stem| stem.parse().ok()).map(Offset);
    Ok(names.iter().filter_map(offset).collect())
}

async fn entries(disk: &Disk, folder: &str) -> Result<Vec<String>, StorageError> {
    if !disk.exists(folder).await.map_err(StorageError::io(folder))? {
        return Ok(Vec::new());
    }
    let entries = disk.list(folder).await.map_err(StorageError::io(folder))?;
    Ok(entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect())
}
