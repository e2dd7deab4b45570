//! The simulated disk: the same calls as real files, over the images of the host.
//!
//! A write lands in the page cache at once; `sync` takes a few milliseconds and makes durable what was written before
//! it began; `sync_dir` does that for names. What a dead incarnation asks for never returns. A disk that is
//! [broken](DiskFault) shows it to what writes and to what syncs; reading is served by the page cache, unless nothing
//! of it can be read.

mod images;
mod power;

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
pub(super) use images::Images;

use super::{World, world::Incarnation};
pub use crate::runtime::file::{DiskFault, Entry, Open};

/// A folder of the host's file system; all paths are relative to it, with `/` between names.
#[derive(Clone, Debug)]
pub struct Disk {
    root: String,
    here: Incarnation,
}

/// An open file. Clones share it.
#[derive(Clone, Debug)]
pub struct File {
    here: Incarnation,
    inode: u64,
    _lock: Option<Arc<Locked>>,
}

/// A lock that goes with the last file that holds it.
#[derive(Debug)]
struct Locked {
    here: Incarnation,
    inode: u64,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let world = World::current();
        let mut state = world.lock();
        if self.here.is_alive() {
            state.disks.get_mut(&self.here.host).expect("a host has a disk").unlock(self.inode);
        }
    }
}

impl Disk {
    /// The folder `root` of this host, which need not exist yet.
    ///
    /// # Panics
    /// Outside of a host.
    pub fn at(root: impl AsRef<Path>) -> Self {
        let here = World::current().here().expect("a disk belongs to a host");
        Self { root: root.as_ref().display().to_string(), here }
    }

    fn path(&self, path: &str) -> String {
        let joined = format!("{}/{path}", self.root);
        joined.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// For messages: where `path` is on the host.
    pub fn describe(&self, path: &str) -> String {
        format!("{}:{}", self.here.host, self.path(path))
    }

    /// Runs `act` on the images of the host, if this incarnation lives.
    async fn with<T>(&self, act: impl FnOnce(&mut Images) -> T) -> T {
        on_images(&self.here, act).await
    }

    /// The same for what writes: it waits for the device.
    async fn writing<T>(&self, act: impl FnOnce(&mut Images) -> T) -> T {
        device(&self.here).await;
        self.with(act).await
    }

    /// Makes the folder and those above it.
    ///
    /// # Errors
    /// A file is in the way.
    pub async fn create_dir_all(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        self.writing(|images| images.create_dir_all(&path)).await
    }

    /// What is in the folder, by name.
    ///
    /// # Errors
    /// It does not exist, or the disk is broken.
    pub async fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let path = self.path(path);
        self.with(|images| images.list(&path)).await
    }

    /// Whether there is a file or folder.
    ///
    /// # Errors
    /// None in simulation.
    pub async fn exists(&self, path: &str) -> io::Result<bool> {
        let path = self.path(path);
        Ok(self.with(|images| images.exists(&path)).await)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// It does not exist, or its folder does not.
    pub async fn open(&self, path: &str, how: Open) -> io::Result<File> {
        let path = self.path(path);
        if how != Open::Read {
            device(&self.here).await;
        }
        let inode = self.with(|images| images.open(&path, how)).await?;
        Ok(File { here: self.here.clone(), inode, _lock: None })
    }

    /// Gives the file or folder another name, replacing a file that has it. Durable after `sync_dir` of both folders.
    ///
    /// # Errors
    /// It does not exist.
    pub async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        self.writing(|images| images.rename(&from, &to)).await
    }

    /// Removes a file. Durable after `sync_dir`.
    ///
    /// # Errors
    /// It does not exist.
    pub async fn remove_file(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        self.writing(|images| images.remove_file(&path)).await
    }

    /// Removes a folder and everything in it.
    ///
    /// # Errors
    /// It does not exist.
    pub async fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        self.writing(|images| images.remove_dir_all(&path)).await
    }

    /// Makes the names in the folder durable: new, renamed and removed ones.
    ///
    /// # Errors
    /// It does not exist.
    pub async fn sync_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        let took = self.writing(Images::sync_time).await;
        wait(took).await;
        stall(&self.here).await;
        self.with(|images| images.sync_dir(&path)).await
    }

    /// Takes the lock of this file (made if need be) for as long as the returned file lives.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    pub async fn lock(&self, path: &str) -> io::Result<File> {
        let path = self.path(path);
        let here = self.here.clone();
        let inode = self
            .writing(|images| images.open(&path, Open::Write).and_then(|inode| images.lock(inode, here.number)))
            .await?;
        let lock = Arc::new(Locked { here: self.here.clone(), inode });
        Ok(File { here: self.here.clone(), inode, _lock: Some(lock) })
    }
}

impl File {
    async fn with<T>(&self, act: impl FnOnce(&mut Images) -> T) -> T {
        on_images(&self.here, act).await
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// None in simulation.
    pub async fn len(&self) -> io::Result<u64> {
        Ok(self.with(|images| images.len(self.inode)).await)
    }

    /// Up to `length` bytes from `position`; fewer where the file ends.
    ///
    /// # Errors
    /// The disk is broken.
    pub async fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes> {
        self.with(|images| images.read_at(self.inode, position, length)).await
    }

    /// Writes all of `data` at `position`, to the page cache.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub async fn write_at(&self, position: u64, data: &[u8]) -> io::Result<()> {
        device(&self.here).await;
        self.with(|images| images.write_at(self.inode, position, data)).await
    }

    /// Writes the slices one after the other from `position`, to the page cache.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub async fn write_vectored_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let data: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.write_at(position, &data).await
    }

    /// Cuts the file, or makes it longer with zeros.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        device(&self.here).await;
        self.with(|images| images.set_len(self.inode, length)).await
    }

    /// Makes content and length durable, as they are when the call begins.
    ///
    /// # Errors
    /// The disk is broken; what was to be synced is not, and no later sync makes it so.
    pub async fn sync(&self) -> io::Result<()> {
        device(&self.here).await;
        let (pages, took) = self.with(|images| (images.begin_sync(self.inode), images.sync_time())).await;
        wait(took).await;
        stall(&self.here).await;
        self.with(|images| images.finish_sync(self.inode, pages)).await
    }
}

/// Runs `act` on the images of the host, if this incarnation lives.
async fn on_images<T>(here: &Incarnation, act: impl FnOnce(&mut Images) -> T) -> T {
    let world = World::current();
    world.only_alive(here).await;
    let mut state = world.lock();
    act(state.disks.get_mut(&here.host).expect("a host has a disk"))
}

/// Waits for the device: for as long as it is slow, and until it answers at all.
async fn device(here: &Incarnation) {
    if World::whose_disks_break().is_none() {
        return;
    }
    let delay = on_images(here, |images| images.delay()).await;
    if !delay.is_zero() {
        wait(delay).await;
    }
    stall(here).await;
}

/// Waits until the device answers.
async fn stall(here: &Incarnation) {
    let Some(world) = World::whose_disks_break() else { return };
    loop {
        let changed = world.0.changed.notified();
        if !on_images(here, |images| images.is_stalled()).await {
            return;
        }
        changed.await;
    }
}

async fn wait(took: Duration) {
    madsim::time::sleep(took).await;
}
