//! Kafka's text checkpoints: version, number of entries, one entry a line. Replaced as a whole: written aside, synced,
//! renamed, and the folder synced.

use std::{collections::BTreeMap, fmt::Write};

use super::StorageError;
use crate::{
    base::{LeaderEpoch, Offset, TopicPartition},
    runtime::disk::{Disk, Open},
};

/// Writes `bytes` as the whole content of `path`, so that a crash leaves the old or the new.
pub async fn replace(disk: &Disk, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = format!("{path}.tmp");
    let file = disk.open(&temporary, Open::Truncate).await.map_err(StorageError::io(&temporary))?;
    file.write_at(0, bytes).await.map_err(StorageError::io(&temporary))?;
    file.sync().await.map_err(StorageError::io(&temporary))?;
    disk.rename(&temporary, path).await.map_err(StorageError::io(path))?;
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    disk.sync_dir(folder).await.map_err(StorageError::io(folder))
}

/// The whole content of `path`, or `None` where it does not exist.
pub async fn read(disk: &Disk, path: &str) -> Result<Option<bytes::Bytes>, StorageError> {
    if !disk.exists(path).await.map_err(StorageError::io(path))? {
        return Ok(None);
    }
    let file = disk.open(path, Open::Read).await.map_err(StorageError::io(path))?;
    let length = file.len().await.map_err(StorageError::io(path))?;
    Ok(Some(file.read_at(0, length as usize).await.map_err(StorageError::io(path))?))
}

/// An offset of each partition: recovery points, high watermarks, log starts.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// Reads a checkpoint of offsets; a missing file has none, nor has one that ends before it says how many.
pub async fn read_offsets(disk: &Disk, path: &str) -> Result<Offsets, StorageError> {
    let parse = |fields: &[&str]| {
        let [topic, partition, offset] = fields else { return None };
        Some((TopicPartition::new(*topic, partition.parse().ok()?), Offset(offset.parse().ok()?)))
    };
    Ok(read_entries(disk, path, "`topic partition offset`", parse).await?.into_iter().collect())
}

/// Writes a checkpoint of offsets.
pub async fn write_offsets(disk: &Disk, path: &str, offsets: &Offsets) -> Result<(), StorageError> {
    let entries = offsets.iter().map(|(of, offset)| format!("{} {} {offset}", of.topic, of.partition));
    replace(disk, path, render(entries).as_bytes()).await
}

/// Reads `leader-epoch-checkpoint`.
pub async fn read_epochs(disk: &Disk, path: &str) -> Result<Vec<(LeaderEpoch, Offset)>, StorageError> {
    let parse = |fields: &[&str]| {
        let [epoch, offset] = fields else { return None };
        Some((LeaderEpoch(epoch.parse().ok()?), Offset(offset.parse().ok()?)))
    };
    read_entries(disk, path, "`epoch offset`", parse).await
}

/// Writes `leader-epoch-checkpoint`.
pub async fn write_epochs(disk: &Disk, path: &str, epochs: &[(LeaderEpoch, Offset)]) -> Result<(), StorageError> {
    replace(disk, path, render(epochs.iter().map(|(epoch, start)| format!("{epoch} {start}"))).as_bytes()).await
}

fn render(entries: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        let _ = writeln!(text, "{entry}");
    }
    text
}

async fn read_entries<T>(
    disk: &Disk,
    path: &str,
    form: &str,
    parse: impl Fn(&[&str]) -> Option<T>,
) -> Result<Vec<T>, StorageError> {
    let Some(bytes) = read(disk, path).await? else { return Ok(Vec::new()) };
    let corrupt = |line: usize, problem: String| StorageError::Corrupt {
        path: disk.describe(path),
        place: format!("line {line}"),
        problem: format!("{problem}. The file can be made again from the log: remove it"),
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| corrupt(1, error.to_string()))?;
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut header = |what: &str, wanted: Option<usize>| {
        let Some((number, line)) = lines.next() else { return Ok(None) };
        let found = line.parse::<usize>().ok().filter(|found| wanted.is_none_or(|wanted| wanted == *found));
        found.map(Some).ok_or_else(|| corrupt(number, format!("expected {what}, found `{line}`")))
    };
    header("version 0", Some(0))?;
    // A file that ends here has no entries, as Kafka reads it: its name was on the disk before its content.
    let Some(count) = header("the number of entries", None)? else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        entries.push(parse(&fields).ok_or_else(|| corrupt(number, format!("expected {form}, found `{line}`")))?);
    }
    if entries.len() == count {
        return Ok(entries);
    }
    Err(corrupt(2, format!("{count} entries announced, {} found", entries.len())))
}
