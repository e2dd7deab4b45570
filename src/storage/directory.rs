//! A broker's log directory: identity, lock, shutdown marker, checkpoints, and one folder for each partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use serde::{Deserialize, Serialize};

use super::{Log, LogConfig, LogDirFailure, LogOptions, MetaProperties, StorageError, checkpoint};
use crate::{
    base::{BrokerEpoch, NodeId, Offset, Switches, TopicId, TopicPartition},
    runtime::disk::{Disk, File},
    trace::Tracer,
};

const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const START_OFFSETS: &str = "log-start-offset-checkpoint";
/// What can be made again from the logs.
pub(super) const CHECKPOINTS: &[&str] = &[RECOVERY_POINTS, HIGH_WATERMARKS, START_OFFSETS];
const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// The open log directory of a node.
pub struct LogDirectory {
    disk: Disk,
    meta: MetaProperties,
    clean: bool,
    previous_broker_epoch: BrokerEpoch,
    known: Mutex<Known>,
    /// Held while checkpoints are written: the one of a clean stop may come in the middle of one whose time has come, and
    /// both are written aside under one name.
    writing: tokio::sync::Mutex<()>,
    switches: Switches,
    tracer: Tracer,
    failures: LogDirFailure,
    /// Held for as long as the directory is in use.
    _lock: File,
}

/// What the checkpoints say, as last read or written. Partitions that nobody has asked for yet stay in them: losing a
/// high watermark here would lose records with `truncate = high-watermark` (KAFKA-1647).
#[derive(Default)]
struct Known {
    recovery_points: checkpoint::Offsets,
    high_watermarks: checkpoint::Offsets,
    start_offsets: checkpoint::Offsets,
    /// Partitions that this process has opened: a clean stop of the one before says nothing of them any more.
    opened: BTreeSet<TopicPartition>,
    /// Those of them that could not be opened.
    damaged: BTreeSet<TopicPartition>,
}

impl Known {
    fn retain(&mut self, mut keep: impl FnMut(&TopicPartition) -> bool) {
        for offsets in [&mut self.recovery_points, &mut self.high_watermarks, &mut self.start_offsets] {
            offsets.retain(|partition, _| keep(partition));
        }
        self.opened.retain(|partition| keep(partition));
        self.damaged.retain(|partition| keep(partition));
    }
}

/// A log that was found in the directory or made in it.
pub struct Opened {
    /// Id of its topic.
    pub topic_id: TopicId,
    /// The log.
    pub log: Log,
    /// High watermark of the checkpoint, within the log.
    pub high_watermark: Offset,
}

#[derive(Serialize, Deserialize)]
struct CleanShutdown {
    version: i32,
    #[serde(rename = "brokerEpoch")]
    broker_epoch: i64,
}

impl LogDirectory {
    /// Opens the directory of `node_id`: takes the lock, checks the identity, removes the marker of a clean stop.
    ///
    /// # Errors
    /// Not formatted, another node's, in use by another process, or damaged.
    pub async fn open(disk: Disk, node_id: NodeId, switches: Switches, tracer: Tracer) -> Result<Self, StorageError> {
        let place = disk.describe("");
        let Some(meta) = MetaProperties::read(&disk).await? else {
            let hint = "format it first: highwater storage format --config server.properties";
            return Err(StorageError::Directory(format!("{place} is not formatted; {hint}")));
        };
        if meta.node_id != node_id {
            let problem = format!("{place} belongs to node {}, this is node {node_id}", meta.node_id);
            return Err(StorageError::Directory(problem));
        }
        let lock = disk.lock(LOCK).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => StorageError::Directory(format!("{place} is in use by another process")),
            _ => StorageError::io(LOCK)(error),
        })?;
        let marker = checkpoint::read(&disk, CLEAN_SHUTDOWN).await?;
        let epoch = marker.as_ref().and_then(|bytes| serde_json::from_slice::<CleanShutdown>(bytes).ok());
        let known = Known {
            recovery_points: checkpoint::read_offsets(&disk, RECOVERY_POINTS).await?,
            high_watermarks: checkpoint::read_offsets(&disk, HIGH_WATERMARKS).await?,
            start_offsets: checkpoint::read_offsets(&disk, START_OFFSETS).await?,
            ..Known::default()
        };
        let directory = Self {
            meta,
            clean: marker.is_some(),
            previous_broker_epoch: BrokerEpoch(epoch.map_or(-1, |marker| marker.broker_epoch)),
            known: Mutex::new(known),
            writing: tokio::sync::Mutex::new(()),
            disk,
            switches,
            tracer,
            failures: LogDirFailure::default(),
            _lock: lock,
        };
        if directory.clean {
            // Gone before anything is loaded: a crash while loading is not a clean stop (KAFKA-10471).
            directory.disk.remove_file(CLEAN_SHUTDOWN).await.map_err(StorageError::io(CLEAN_SHUTDOWN))?;
            directory.disk.sync_dir("").await.map_err(StorageError::io(""))?;
        }
        Ok(directory)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while the checkpoints are held")
    }

    /// What tells that it has failed.
    pub fn failures(&self) -> &LogDirFailure {
        &self.failures
    }

    /// Whose directory it is.
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Whether the process before stopped cleanly.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// Broker epoch of the process before if it stopped cleanly, else -1 (KIP-966).
    pub fn previous_broker_epoch(&self) -> BrokerEpoch {
        self.previous_broker_epoch
    }

    /// Opens every partition's log in the directory. One that is damaged is left out and left as it is: the others go
    /// on, and [`LogDirectory::create`] says what is wrong with it.
    ///
    /// # Errors
    /// The directory cannot be read, or the disk failed.
    pub async fn load(&self) -> Result<BTreeMap<TopicPartition, Opened>, StorageError> {
        let mut logs = BTreeMap::new();
        let entries = self.disk.list("").await.map_err(StorageError::io(""))?;
        let folders: BTreeSet<&str> = entries.iter().map(|entry| &*entry.name).collect();
        self.known().retain(|partition| folders.contains(&*partition.to_string()));
        for entry in &entries {
            if !entry.is_dir || entry.name == METADATA_FOLDER {
                continue;
            }
            if entry.name.ends_with("-delete") {
                self.disk.remove_dir_all(&entry.name).await.map_err(StorageError::io(&entry.name))?;
                continue;
            }
            let Ok(partition) = entry.name.parse::<TopicPartition>() else { continue };
            match self.load_log(&partition).await {
                Ok(Some(opened)) => {
                    logs.insert(partition, opened);
                }
                Ok(None) => tracing::warn!(folder = entry.name, "no partition.metadata: left alone"),
                Err(error) if error.is_of_disk() => return Err(error),
                Err(error) => tracing::error!(folder = entry.name, %error, "this log is offline"),
            }
        }
        if !logs.is_empty() {
            let stop = if self.clean { "a clean stop" } else { "an unclean stop: their tails were checked" };
            tracing::info!("loaded {} logs after {stop}", logs.len());
        }
        Ok(logs)
    }

    async fn load_log(&self, partition: &TopicPartition) -> Result<Option<Opened>, StorageError> {
        match self.read_topic_id(&partition.to_string()).await? {
            Some(topic_id) => self.open_log(partition, topic_id, LogConfig::default()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes the log of a new partition, or opens the one that is there.
    ///
    /// # Errors
    /// The disk failed, the log that is there is damaged or belongs to an earlier topic of the same name.
    pub async fn create(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
    ) -> Result<Opened, StorageError> {
        let folder = partition.to_string();
        self.disk.create_dir_all(&folder).await.map_err(StorageError::io(&folder))?;
        match self.read_topic_id(&folder).await? {
            Some(found) if found == topic_id => {}
            Some(found) => {
                let path = self.disk.describe(&folder);
                return Err(StorageError::InconsistentTopicId { path, found, expected: topic_id });
            }
            None => {
                let metadata = format!("version: 0\ntopic_id: {topic_id}");
                checkpoint::replace(&self.disk, &format!("{folder}/partition.metadata"), metadata.as_bytes()).await?;
            }
        }
        self.open_log(partition, topic_id, config).await
    }

    async fn open_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
    ) -> Result<Opened, StorageError> {
        let options = {
            let known = self.known();
            let of = |offsets: &checkpoint::Offsets| offsets.get(partition).copied().unwrap_or(Offset::ZERO);
            LogOptions {
                partition: partition.clone(),
                config,
                recovery_point: of(&known.recovery_points),
                start_offset: of(&known.start_offsets),
                high_watermark: of(&known.high_watermarks),
                clean: self.clean && !known.opened.contains(partition),
                switches: self.switches,
                tracer: self.tracer.clone(),
                failures: self.failures.clone(),
            }
        };
        let high_watermark = options.high_watermark;
        let log = Log::open(&self.disk, &partition.to_string(), options).await;
        let mut known = self.known();
        if log.is_ok() {
            known.opened.insert(partition.clone());
            known.damaged.remove(partition);
        } else {
            known.damaged.insert(partition.clone());
        }
        drop(known);
        let log = log?;
        let high_watermark = high_watermark.clamp(log.start_offset(), log.end_offset());
        Ok(Opened { topic_id, log, high_watermark })
    }

    async fn read_topic_id(&self, folder: &str) -> Result<Option<TopicId>, StorageError> {
        let path = format!("{folder}/partition.metadata");
        let Some(bytes) = checkpoint::read(&self.disk, &path).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().map(str::trim);
        let id = match (lines.next(), lines.next().and_then(|line| line.strip_prefix("topic_id: "))) {
            (Some("version: 0"), Some(id)) => id.parse().map_err(|problem| (2, problem)),
            _ => Err((1, "expected `version: 0` and `topic_id: ...`".to_owned())),
        };
        id.map(Some).map_err(|(line, problem)| StorageError::Corrupt {
            path: self.disk.describe(&path),
            place: format!("line {line}"),
            problem,
        })
    }

    /// Removes a partition's log: first out of the way by a rename, so that a crash does not leave half of it.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn delete(&self, partition: &TopicPartition, topic_id: TopicId) -> Result<(), StorageError> {
        let folder = partition.to_string();
        self.known().retain(|known| known != partition);
        let hex: String = topic_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let doomed = format!("{folder}.{hex}-delete");
        self.disk.rename(&folder, &doomed).await.map_err(StorageError::io(&folder))?;
        self.disk.sync_dir("").await.map_err(StorageError::io(""))?;
        self.disk.remove_dir_all(&doomed).await.map_err(StorageError::io(&doomed))
    }

    /// Writes the high watermarks. Partitions that are not named keep theirs.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn checkpoint_high_watermarks(&self, offsets: &checkpoint::Offsets) -> Result<(), StorageError> {
        let _writing = self.writing.lock().await;
        let all = merge(&mut self.known().high_watermarks, offsets);
        checkpoint::write_offsets(&self.disk, HIGH_WATERMARKS, &all).await
    }

    /// Writes the recovery points and the log starts. Partitions that are not named keep theirs; a start of `None` is
    /// told by the log's files.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn checkpoint_logs(
        &self,
        recovery_points: &checkpoint::Offsets,
        start_offsets: &BTreeMap<TopicPartition, Option<Offset>>,
    ) -> Result<(), StorageError> {
        let _writing = self.writing.lock().await;
        let recovery_points = merge(&mut self.known().recovery_points, recovery_points);
        checkpoint::write_offsets(&self.disk, RECOVERY_POINTS, &recovery_points).await?;
        let start_offsets = {
            let known = &mut self.known().start_offsets;
            known.retain(|partition, _| start_offsets.get(partition).is_none_or(Option::is_some));
            let told = start_offsets.iter().filter_map(|(partition, start)| Some((partition.clone(), (*start)?)));
            known.extend(told);
            known.clone()
        };
        checkpoint::write_offsets(&self.disk, START_OFFSETS, &start_offsets).await
    }

    /// Leaves the marker of a clean stop. Every log has been closed before; a directory with one that could not be
    /// opened is not marked, so that its tail is not trusted unchecked.
    ///
    /// # Errors
    /// The disk failed; the next start will check the logs.
    pub async fn mark_clean(&self, broker_epoch: BrokerEpoch) -> Result<(), StorageError> {
        let damaged = self.known().damaged.clone();
        if !damaged.is_empty() {
            tracing::warn!(?damaged, "not marked as stopped cleanly: these logs are offline");
            return Ok(());
        }
        let marker = CleanShutdown { version: 0, broker_epoch: broker_epoch.0 };
        let bytes = serde_json::to_vec(&marker).expect("two numbers are JSON");
        checkpoint::replace(&self.disk, CLEAN_SHUTDOWN, &bytes).await
    }
}

/// Takes newer offsets over; returns a copy of all.
fn merge(known: &mut checkpoint::Offsets, newer: &checkpoint::Offsets) -> checkpoint::Offsets {
    known.extend(newer.iter().map(|(partition, offset)| (partition.clone(), *offset)));
    known.clone()
}
