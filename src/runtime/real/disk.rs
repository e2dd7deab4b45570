//! Real files. Writes go to the page cache inline; a sync runs on a thread of its own.

use std::{
    fs,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

pub use crate::runtime::file::{Entry, Open};

/// A folder of the host's file system; all paths are relative to it, with `/` between names.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

/// An open file. Clones share it.
#[derive(Clone, Debug)]
pub struct File {
    file: Arc<fs::File>,
}

impl Disk {
    /// The folder `root`, which need not exist yet.
    pub fn at(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_path_buf() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// For messages: where `path` is on the host.
    pub fn describe(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }

    /// Makes the folder and those above it.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn create_dir_all(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(path))
    }

    /// What is in the folder, by name.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub async fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(path))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// Whether there is a file or folder.
    ///
    /// # Errors
    /// The folder above cannot be read.
    pub async fn exists(&self, path: &str) -> io::Result<bool> {
        self.path(path).try_exists()
    }

    /// Opens a file.
    ///
    /// # Errors
    /// It does not exist, or as the operating system says.
    pub async fn open(&self, path: &str, how: Open) -> io::Result<File> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true).create(true).truncate(false);
            }
            Open::Truncate => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(File { file: Arc::new(options.open(self.path(path))?) })
    }

    /// Gives the file or folder another name, replacing a file that has it. Durable after `sync_dir` of both folders.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    /// Removes a file. Durable after `sync_dir`.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn remove_file(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    /// Removes a folder and everything in it.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        fs::remove_dir_all(self.path(path))
    }

    /// Makes the names in the folder durable: new, renamed and removed ones.
    ///
    /// # Errors
    /// The device failed.
    pub async fn sync_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        off_the_reactor(move || fs::File::open(path)?.sync_all()).await
    }

    /// Takes the lock of this file (made if need be) for as long as the returned file lives.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    pub async fn lock(&self, path: &str) -> io::Result<File> {
        let file = self.open(path, Open::Write).await?;
        match file.file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl File {
    /// Length in bytes.
    ///
    /// # Errors
    /// The device failed.
    pub async fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Up to `length` bytes from `position`; fewer where the file ends.
    ///
    /// # Errors
    /// The device failed.
    pub async fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed(length);
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        Ok(buffer.freeze())
    }

    /// Writes all of `data` at `position`, to the page cache.
    ///
    /// # Errors
    /// No space, or the device failed; a part may have been written.
    pub async fn write_at(&self, position: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, position)
    }

    /// Writes the slices one after the other from `position`, to the page cache.
    ///
    /// # Errors
    /// No space, or the device failed; a part may have been written.
    pub async fn write_vectored_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = rustix::io::pwritev(&*self.file, slices, position)?;
        if written == total {
            return Ok(());
        }
        let mut rest = Vec::with_capacity(total);
        slices.iter().for_each(|slice| rest.extend_from_slice(slice));
        self.file.write_all_at(&rest[written..], position + written as u64)
    }

    /// Cuts the file, or makes it longer with zeros.
    ///
    /// # Errors
    /// The device failed.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    /// Makes content and length durable.
    ///
    /// # Errors
    /// The device failed: what was written since the last sync may be lost, also if a later sync succeeds.
    pub async fn sync(&self) -> io::Result<()> {
        let file = self.file.clone();
        off_the_reactor(move || file.sync_data()).await
    }
}

async fn off_the_reactor(sync: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(sync).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
