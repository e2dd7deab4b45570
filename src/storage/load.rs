//! Opening a log: after a clean stop trust the files, after any other check them.
//!
//! | stop | segments before the recovery point | from the one that holds it on |
//! |---|---|---|
//! | clean | indexes read | indexes read, tail walked |
//! | unclean | indexes read | every batch's CRC and offsets checked, indexes made again; cut at the first bad batch |
//!
//! An index that is missing or damaged is made again in either case. Leader epochs are cut to the range of the log;
//! producers' states come from the newest sound snapshot and the batches after it. The recovery point does not move:
//! what was found may be in the page cache only (KAFKA-10101).

use std::collections::BTreeMap;

use super::{
    LeaderEpochs, Log, LogOptions, ProducerStates, StorageError, checkpoint,
    segment::{Segment, stem},
};
use crate::{
    base::{Offset, mark},
    protocol::records::BatchError,
    runtime::disk::Disk,
    trace::Event,
};

impl Log {
    /// Opens the log in `folder`, or makes an empty one.
    ///
    /// # Errors
    /// The disk failed, or a file below the recovery point is damaged.
    pub async fn open(disk: &Disk, folder: &str, options: LogOptions) -> Result<Self, StorageError> {
        let bases = existing_segments(disk, folder).await?;
        let mut log = Self {
            disk: disk.clone(),
            folder: folder.to_owned(),
            partition: options.partition.clone(),
            config: options.config.clone(),
            switches: options.switches,
            segments: BTreeMap::new(),
            start: options.start_offset,
            end: options.start_offset,
            recovery_point: options.recovery_point,
            epochs: LeaderEpochs::default(),
            producers: ProducerStates::default(),
            tracer: options.tracer.clone(),
            epochs_dirty: false,
            failure: None,
            failures: options.failures.clone(),
            is_closed: false,
        };
        if bases.is_empty() {
            log.create().await?;
        } else {
            log.load(&bases, &options).await?;
        }
        log.report_loaded(&options).await?;
        Ok(log)
    }

    async fn create(&mut self) -> Result<(), StorageError> {
        let (disk, folder) = (&self.disk, &self.folder);
        disk.create_dir_all(folder).await.map_err(StorageError::io(folder))?;
        let segment = Segment::create(disk, folder, self.start).await?;
        disk.sync_dir(folder).await.map_err(StorageError::io(folder))?;
        let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
        disk.sync_dir(parent).await.map_err(StorageError::io(parent))?;
        self.segments.insert(self.start, segment);
        self.recovery_point = self.start;
        // What an interrupted truncation may have left.
        let epochs = format!("{}/leader-epoch-checkpoint", self.folder);
        self.epochs_dirty = self.disk.exists(&epochs).await.map_err(StorageError::io(&epochs))?;
        self.write_epochs().await?;
        self.remove_snapshots_after(Offset(-1)).await
    }

    async fn load(&mut self, bases: &[Offset], options: &LogOptions) -> Result<(), StorageError> {
        self.start = options.start_offset.max(bases[0]);
        // Walked and checked from here on.
        let unsynced = bases.iter().rev().find(|base| **base <= options.recovery_point).copied().unwrap_or(bases[0]);
        if !options.clean {
            mark::reach("recovered_after_unclean_stop");
            self.remove_snapshots_after(unsynced).await?;
        }
        let epochs_known = self.load_epochs(options, unsynced).await?;
        self.load_segments(bases, options, unsynced).await?;
        if !epochs_known {
            self.rebuild_epochs().await?;
        }
        if self.end < self.start {
            // What was lost had been deleted before: nothing that is left may be read (as Kafka does).
            let start = self.start;
            self.start_again_at(start, "recovery").await?;
        }
        self.recovery_point = self.recovery_point.clamp(bases[0].min(self.end), self.end);
        self.epochs_dirty |= self.epochs.truncate_from_end(self.end);
        self.epochs_dirty |= self.epochs.truncate_from_start(self.start);
        // Written when the next leadership or batch changes them: the next start would cut them the same way.
        self.remove_snapshots_after(self.end).await?;
        self.rebuild_producers().await?;
        self.expire_producers();
        Ok(())
    }

    /// Reads the checkpoint of leader epochs. False where it has to be made again from the batches.
    async fn load_epochs(&mut self, options: &LogOptions, unsynced: Offset) -> Result<bool, StorageError> {
        let path = format!("{}/leader-epoch-checkpoint", self.folder);
        match checkpoint::read_epochs(&self.disk, &path).await {
            Ok(entries) => {
                let known = !entries.is_empty();
                self.epochs = LeaderEpochs::new(entries);
                if !options.clean {
                    // What it says of batches that may be lost, the walk through them says again.
                    self.epochs_dirty |= self.epochs.truncate_from_end(unsynced);
                }
                Ok(known)
            }
            // A torn one must not keep the broker down (KAFKA-16541).
            Err(StorageError::Corrupt { problem, .. }) if !options.clean => {
                tracing::warn!(path, problem, "making the leader epochs again from the log");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn rebuild_epochs(&mut self) -> Result<(), StorageError> {
        self.epochs = LeaderEpochs::default();
        for segment in self.segments.values() {
            let mut walk = segment.walk_from(0);
            while let Some(found) = walk.next(false).await.map_err(StorageError::io(&self.folder))? {
                let (_, header) = found.map_err(|error| segment.corrupt(walk.position, &error))?;
                self.epochs.assign(header.leader_epoch, header.base_offset);
            }
        }
        self.epochs_dirty = true;
        Ok(())
    }

    async fn load_segments(
        &mut self,
        bases: &[Offset],
        options: &LogOptions,
        unsynced: Offset,
    ) -> Result<(), StorageError> {
        for (index, base) in bases.iter().enumerate() {
            let (mut segment, indexes_sound) = Segment::open(&self.disk, &self.folder, *base).await?;
            let recover = !options.clean && *base >= unsynced;
            let next = bases.get(index + 1);
            if !recover && indexes_sound {
                let end = match next {
                    Some(next) => Ok(*next),
                    None => segment.load_tail().await,
                };
                match end {
                    Ok(end) => {
                        self.end = end;
                        self.segments.insert(*base, segment);
                        continue;
                    }
                    Err(StorageError::Corrupt { place, problem, .. }) => {
                        tracing::warn!(log = self.folder, place, problem, "making the indexes of a segment again");
                    }
                    Err(error) => return Err(error),
                }
            }
            let bad = self.rebuild_segment(&mut segment, options, recover).await?;
            if let Some((position, error)) = bad {
                if !recover {
                    return Err(segment.corrupt(position, &error));
                }
                return self.recover_to(segment, position, &error, &bases[index + 1..]).await;
            }
            if !recover {
                segment.finish(&self.disk).await?;
            }
            self.segments.insert(*base, segment);
        }
        Ok(())
    }

    /// Cuts the log at the first batch that is not sound: byte `position` of `segment`. The segments `later` go.
    async fn recover_to(
        &mut self,
        mut segment: Segment,
        position: u64,
        error: &BatchError,
        later: &[Offset],
    ) -> Result<(), StorageError> {
        mark::reach("recovery_truncated");
        tracing::warn!(log = self.folder, position, %error, "recovery cuts the log");
        for base in later.iter().rev() {
            Segment::remove(&self.disk, &self.folder, *base).await?;
            self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
        }
        let (partition, to) = (self.partition.clone(), self.end);
        // How far the log went before is not known any more; it did go as far as was synced, or as the last segment.
        let from = later.last().copied().unwrap_or(to).max(self.recovery_point).max(to);
        segment.truncate(position, to).await?;
        self.segments.insert(segment.base, segment);
        self.tracer.detail(|| Event::Truncated { partition, from, to, why: "recovery".into() });
        Ok(())
    }

    /// Walks a segment again; `self.end` follows its batches.
    async fn rebuild_segment(
        &mut self,
        segment: &mut Segment,
        options: &LogOptions,
        recover: bool,
    ) -> Result<Option<(u64, BatchError)>, StorageError> {
        let (base, mut end) = (segment.base, segment.base);
        let (epochs, mut epochs_changed) = (&mut self.epochs, false);
        let check_crc = recover && !options.switches.bug_recovery_accepts_torn_batch;
        let bad = segment
            .rebuild(&self.config, check_crc, |header| {
                // The CRC leaves out the offset; at least it lies within what a segment can hold.
                if header.base_offset < end || header.end_offset().0 - 1 - base.0 > i64::from(i32::MAX) {
                    let problem = format!("offset {} after {end}", header.base_offset);
                    return Err(BatchError::Malformed(problem));
                }
                epochs_changed |= epochs.assign(header.leader_epoch, header.base_offset);
                end = header.end_offset();
                Ok(())
            })
            .await?;
        self.epochs_dirty |= epochs_changed;
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

    /// Removes the producers' snapshots of offsets after `end`, durably: the log may reach them again with other
    /// batches.
    pub(super) async fn remove_snapshots_after(&self, end: Offset) -> Result<(), StorageError> {
        let mut removed = false;
        for offset in existing_files(&self.disk, &self.folder, ".snapshot").await? {
            if offset > end {
                let path = format!("{}.snapshot", stem(&self.folder, offset));
                self.disk.remove_file(&path).await.map_err(StorageError::io(&path))?;
                removed = true;
            }
        }
        if removed {
            self.disk.sync_dir(&self.folder).await.map_err(StorageError::io(&self.folder))?;
        }
        Ok(())
    }

    /// Tells what the log holds. Damage that nothing but this walk would find is left to whoever reads there.
    async fn report_loaded(&self, options: &LogOptions) -> Result<(), StorageError> {
        if !self.tracer.wants_detail() {
            return Ok(());
        }
        let mut batches = Vec::new();
        for segment in self.segments.values() {
            let mut walk = segment.walk_from(0);
            while let Some(Ok((_, header))) = walk.next(false).await.map_err(StorageError::io(&self.folder))? {
                batches.push(header.info());
            }
        }
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
}

/// Base offsets of the segments in a folder, rising. Leftovers of an interrupted deletion are removed.
async fn existing_segments(disk: &Disk, folder: &str) -> Result<Vec<Offset>, StorageError> {
    let entries = entries(disk, folder).await?;
    if let Some(swap) = entries.iter().find(|entry| entry.ends_with(".swap")) {
        return Err(StorageError::Corrupt {
            path: disk.describe(&format!("{folder}/{swap}")),
            place: "file name".to_owned(),
            problem:
                "a compaction was interrupted while it replaced segments; start Apache Kafka on the directory once \
                      to finish it"
                    .to_owned(),
        });
    }
    for entry in entries {
        if [".deleted", ".cleaned", ".tmp"].iter().any(|ending| entry.ends_with(ending)) {
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
