//! `meta.properties`: whose log directory this is. Written by `storage format`, checked at every start.

use std::{collections::BTreeMap, fmt::Write};

use super::{StorageError, checkpoint};
use crate::{base::NodeId, base::TopicId, runtime::disk::Disk};

const PATH: &str = "meta.properties";

/// Identity of a log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: NodeId,
    /// `directory.id`.
    pub directory_id: TopicId,
}

impl MetaProperties {
    /// Reads the file; `None` where the directory is not formatted.
    ///
    /// # Errors
    /// A line or value that makes no sense, by name of file and line.
    pub async fn read(disk: &Disk) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = checkpoint::read(disk, PATH).await? else { return Ok(None) };
        let corrupt =
            |place: String, problem: String| StorageError::Corrupt { path: disk.describe(PATH), place, problem };
        let text = String::from_utf8_lossy(&bytes);
        let mut found = BTreeMap::new();
        for (index, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                corrupt(format!("line {}", index + 1), format!("expected `name=value`, found `{line}`"))
            })?;
            found.insert(name.trim().to_owned(), (index + 1, value.trim().to_owned()));
        }
        let field = |name: &str| {
            let missing = || corrupt("end of file".to_owned(), format!("`{name}` is missing"));
            found.get(name).cloned().ok_or_else(missing)
        };
        let (line, version) = field("version")?;
        if version != "1" {
            return Err(corrupt(format!("line {line}"), format!("version {version}, expected 1")));
        }
        let (line, node_id) = field("node.id")?;
        let number = node_id.parse();
        let node_id =
            number.map_err(|_| corrupt(format!("line {line}"), format!("node.id `{node_id}` is no number")))?;
        let directory_id = match found.get("directory.id") {
            Some((line, id)) => id.parse().map_err(|problem| corrupt(format!("line {line}"), problem))?,
            None => TopicId::ZERO,
        };
        Ok(Some(Self { cluster_id: field("cluster.id")?.1, node_id: NodeId(node_id), directory_id }))
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn write(&self, disk: &Disk) -> Result<(), StorageError> {
        let mut text = String::from("#\n");
        let _ = writeln!(text, "cluster.id={}", self.cluster_id);
        let _ = writeln!(text, "directory.id={}", self.directory_id);
        let _ = writeln!(text, "node.id={}", self.node_id);
        text.push_str("version=1\n");
        disk.create_dir_all("").await.map_err(StorageError::io(""))?;
        checkpoint::replace(disk, PATH, text.as_bytes()).await
    }
}
