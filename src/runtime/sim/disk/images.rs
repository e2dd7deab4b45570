//! Two images of a host's disk: what the page cache shows, and what is on the platter.
//!
//! A loss of power makes the platter the truth, after a seeded part of what was not synced has reached it, and changes of
//! names, each as a whole: see [`super::power`].

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    time::Duration,
};

use bytes::Bytes;
use rand::Rng;

use super::{
    Entry, Open,
    power::{Inode, PAGE_BYTES, lose_pages, tear},
};
use crate::{
    base::random::{self, Random},
    runtime::DiskFault,
    trace::StopKind,
};

/// The disk of one host.
pub struct Images {
    random: Random,
    /// For what is torn as the power goes.
    torn: Random,
    /// For what rots, and what has.
    rot: Random,
    rotten: Vec<Rotten>,
    /// How often it was replaced.
    pub replaced: u32,
    next_inode: u64,
    inodes: BTreeMap<u64, Inode>,
    /// Names as the page cache has them: a file's inode, or a folder.
    names: BTreeMap<String, Option<u64>>,
    /// Names on the platter.
    durable_names: BTreeMap<String, Option<u64>>,
    /// Changes of names that are not on the platter yet, oldest first.
    changes: Vec<Change>,
    locks: BTreeMap<u64, u32>,
    /// What is wrong with it.
    faults: BTreeSet<DiskFault>,
}

/// Bytes that have rotted: where, what they were, and what they are.
struct Rotten {
    inode: u64,
    at: usize,
    was: Vec<u8>,
    is: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Set(String, Option<u64>),
    Remove(String),
    Rename(String, String),
}

/// What a sync that is under way will have made durable.
pub struct Syncing {
    writes: u64,
    content: Vec<u8>,
    /// Pages of it that it does not write.
    forsaken: BTreeSet<usize>,
}

/// What a loss of power took.
#[derive(Debug, Default)]
pub struct Lost {
    /// Files of which something was lost.
    pub files: Vec<String>,
    /// Bytes lost.
    pub bytes: u64,
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or folder: {path}"))
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Images {
    /// An empty disk.
    pub fn new(seed: u64, host: &str) -> Self {
        Self {
            random: random::stream(seed, &format!("disk:{host}")),
            torn: random::stream(seed, &format!("torn:{host}")),
            rot: random::stream(seed, &format!("rot:{host}")),
            rotten: Vec::new(),
            replaced: 0,
            next_inode: 1,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            locks: BTreeMap::new(),
            faults: BTreeSet::new(),
        }
    }

    /// Something is wrong from here on. A disk that is slow is as slow as was said last.
    pub fn break_by(&mut self, fault: DiskFault) {
        if let DiskFault::Slow(_) = fault {
            self.faults.retain(|other| !matches!(other, DiskFault::Slow(_)));
        }
        self.faults.insert(fault);
    }

    /// Nothing is wrong any more. What has rotted, and was not written over since, is as it was.
    pub fn heal(&mut self) {
        self.faults.clear();
        for Rotten { inode, at, was, is } in std::mem::take(&mut self.rotten) {
            if let Some(file) = self.inodes.get_mut(&inode) {
                file.swap(at, &is, &was);
            }
        }
    }

    /// Lets a few bytes rot, in the page cache and on the platter: of a file in `folder` those that `which` picks, by
    /// its name and content. Whether it picked some that have not rotted yet.
    pub fn rot(&mut self, folder: &str, mut which: impl FnMut(&str, &[u8]) -> Option<Range<usize>>) -> bool {
        let files = self.names.iter().filter(|(name, _)| folder_of(name) == folder);
        let picked = files.filter_map(|(name, inode)| {
            let inode = (*inode)?;
            Some((inode, which(&name[folder.len() + 1..], &self.inodes[&inode].cached)?))
        });
        let Some((inode, range)) = picked.into_iter().next() else { return false };
        if self.rotten.iter().any(|rotten| rotten.inode == inode && range.contains(&rotten.at)) {
            return false;
        }
        // Not more than a CRC is sure to notice.
        let at = self.rot.random_range(range.clone());
        let length = self.rot.random_range(1..=4).min(range.end - at);
        let file = self.inodes.get_mut(&inode).expect("a name has an inode");
        let was = file.cached[at..at + length].to_vec();
        let is: Vec<u8> = was.iter().map(|byte| byte ^ self.rot.random_range(1..=255u8)).collect();
        file.swap(at, &was, &is);
        self.rotten.push(Rotten { inode, at, was, is });
        true
    }

    /// What stands at `range` of a file is another thing now.
    fn written(&mut self, inode: u64, range: Range<usize>) {
        self.rotten.retain(|rotten| {
            rotten.inode != inode || rotten.at + rotten.was.len() <= range.start || range.end <= rotten.at
        });
    }

    /// Another disk is in its place, with nothing on it and nothing wrong with it.
    pub fn replace(&mut self) {
        self.replaced += 1;
        self.inodes.clear();
        self.names.clear();
        self.durable_names.clear();
        self.changes.clear();
        self.locks.clear();
        self.faults.clear();
        self.rotten.clear();
    }

    /// Whether nothing that writes or syncs returns.
    pub fn is_stalled(&self) -> bool {
        self.faults.contains(&DiskFault::Stall)
    }

    /// How much longer a write or a sync takes.
    pub fn delay(&self) -> Duration {
        let delays = self.faults.iter().filter_map(|fault| match fault {
            DiskFault::Slow(delay) => Some(*delay),
            _ => None,
        });
        delays.sum()
    }

    /// Whether something can be read.
    fn reads(&self) -> io::Result<()> {
        match self.faults.contains(&DiskFault::Eio) {
            true => Err(io::Error::other("Input/output error")),
            false => Ok(()),
        }
    }

    /// Whether something can be written; if it `grows`, also something new or longer.
    fn writes(&self, grows: bool) -> io::Result<()> {
        self.reads()?;
        match grows && self.faults.contains(&DiskFault::Full) {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "No space left on device")),
            false => Ok(()),
        }
    }

    /// Whether a sync does what it says, or says that it did not.
    fn syncs(&self) -> io::Result<bool> {
        match self.faults.contains(&DiskFault::SyncEio) {
            true => Err(io::Error::other("Input/output error")),
            false => Ok(!self.faults.contains(&DiskFault::LostSync)),
        }
    }

    /// How long the next sync takes.
    pub fn sync_time(&mut self) -> Duration {
        Duration::from_micros(self.random.random_range(1_000..5_000))
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    pub fn create_dir_all(&mut self, path: &str) -> io::Result<()> {
        let mut folder = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            folder = if folder.is_empty() { part.to_owned() } else { format!("{folder}/{part}") };
            match self.names.get(&folder) {
                Some(None) => {}
                Some(Some(_)) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, folder)),
                None => {
                    self.writes(true)?;
                    self.change(Change::Set(folder.clone(), None));
                }
            }
        }
        Ok(())
    }

    fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.names.get(path) == Some(&None)
    }

    pub fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.reads()?;
        if !self.is_dir(path) {
            return Err(missing(path));
        }
        let inside = self.names.iter().filter(|(name, _)| folder_of(name) == path);
        let entry = |(name, inode): (&String, &Option<u64>)| Entry {
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            is_dir: inode.is_none(),
        };
        let mut entries: Vec<Entry> = inside.map(entry).collect();
        entries.sort();
        Ok(entries)
    }

    pub fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.names.contains_key(path)
    }

    pub fn open(&mut self, path: &str, how: Open) -> io::Result<u64> {
        match (self.names.get(path).copied(), how) {
            (Some(Some(inode)), Open::Read | Open::Write) => Ok(inode),
            (Some(Some(inode)), Open::Truncate) => {
                self.set_len(inode, 0)?;
                Ok(inode)
            }
            (Some(None), _) => Err(io::Error::new(io::ErrorKind::IsADirectory, path.to_owned())),
            (None, Open::Read) => Err(missing(path)),
            (None, Open::Write | Open::Truncate) => {
                if !self.is_dir(folder_of(path)) {
                    return Err(missing(folder_of(path)));
                }
                self.writes(true)?;
                let inode = self.next_inode;
                self.next_inode += 1;
                self.inodes.insert(inode, Inode::default());
                self.change(Change::Set(path.to_owned(), Some(inode)));
                Ok(inode)
            }
        }
    }

    pub fn lock(&mut self, inode: u64, incarnation: u32) -> io::Result<u64> {
        match self.locks.get(&inode) {
            // A lock dies with the process that held it.
            Some(holder) if *holder == incarnation => Err(io::ErrorKind::WouldBlock.into()),
            _ => {
                self.locks.insert(inode, incarnation);
                Ok(inode)
            }
        }
    }

    pub fn unlock(&mut self, inode: u64) {
        self.locks.remove(&inode);
    }

    pub fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        if !self.names.contains_key(from) {
            return Err(missing(from));
        }
        self.writes(false)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub fn remove_file(&mut self, path: &str) -> io::Result<()> {
        match self.names.get(path) {
            Some(Some(_)) => {
                self.writes(false)?;
                self.change(Change::Remove(path.to_owned()));
                Ok(())
            }
            _ => Err(missing(path)),
        }
    }

    pub fn remove_dir_all(&mut self, path: &str) -> io::Result<()> {
        if !self.is_dir(path) || path.is_empty() {
            return Err(missing(path));
        }
        self.writes(false)?;
        let inside = format!("{path}/");
        let doomed: Vec<String> =
            self.names.keys().filter(|name| *name == path || name.starts_with(&inside)).cloned().collect();
        doomed.into_iter().rev().for_each(|name| self.change(Change::Remove(name)));
        Ok(())
    }

    /// Removes a folder and everything in it from both images.
    pub fn remove_for_good(&mut self, path: &str) {
        let path = path.trim_matches('/');
        let inside = format!("{path}/");
        let stays = |name: &str| name != path && !name.starts_with(&inside);
        self.names.retain(|name, _| stays(name));
        self.durable_names.retain(|name, _| stays(name));
        self.changes.retain(|change| match change {
            Change::Set(name, _) | Change::Remove(name) | Change::Rename(name, _) => stays(name),
        });
    }

    pub fn sync_dir(&mut self, path: &str) -> io::Result<()> {
        if !self.is_dir(path) {
            return Err(missing(path));
        }
        if !self.syncs()? {
            return Ok(());
        }
        let concerns = |change: &Change| match change {
            Change::Set(name, _) | Change::Remove(name) => folder_of(name) == path,
            Change::Rename(from, to) => folder_of(from) == path || folder_of(to) == path,
        };
        let (now, later): (Vec<Change>, Vec<Change>) =
            std::mem::take(&mut self.changes).into_iter().partition(concerns);
        now.iter().for_each(|change| apply(&mut self.durable_names, change));
        self.changes = later;
        Ok(())
    }

    fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes.get_mut(&inode).expect("an open file has an inode")
    }

    pub fn len(&self, inode: u64) -> u64 {
        self.inodes[&inode].cached.len() as u64
    }

    pub fn read_at(&self, inode: u64, position: u64, length: usize) -> io::Result<Bytes> {
        self.reads()?;
        let cached = &self.inodes[&inode].cached;
        let from = (position as usize).min(cached.len());
        Ok(Bytes::copy_from_slice(&cached[from..(from + length).min(cached.len())]))
    }

    pub fn write_at(&mut self, inode: u64, position: u64, data: &[u8]) -> io::Result<()> {
        let (from, to) = (position as usize, position as usize + data.len());
        self.writes(to as u64 > self.len(inode))?;
        self.written(inode, from..to);
        let file = self.inode(inode);
        file.writes += 1;
        let number = file.writes;
        if file.cached.len() < to {
            file.cached.resize(to, 0);
            file.lengths.push((number, to));
        }
        file.cached[from..to].copy_from_slice(data);
        if !data.is_empty() {
            (from / PAGE_BYTES..=(to - 1) / PAGE_BYTES).for_each(|page| {
                file.dirty.insert(page, number);
                file.forsaken.remove(&page);
            });
        }
        Ok(())
    }

    pub fn set_len(&mut self, inode: u64, length: u64) -> io::Result<()> {
        self.writes(length > self.len(inode))?;
        self.written(inode, length as usize..usize::MAX);
        let file = self.inode(inode);
        file.writes += 1;
        file.cached.resize(length as usize, 0);
        file.lengths.push((file.writes, length as usize));
        let pages = file.cached.len().div_ceil(PAGE_BYTES);
        file.dirty.retain(|page, _| *page < pages);
        file.forsaken.retain(|page| *page < pages);
        Ok(())
    }

    pub fn begin_sync(&mut self, inode: u64) -> Syncing {
        let file = self.inode(inode);
        Syncing { writes: file.writes, content: file.cached.clone(), forsaken: file.forsaken.clone() }
    }

    /// One that fails forsakes what it was for, as Linux does: see [`Inode::forsaken`].
    pub fn finish_sync(&mut self, inode: u64, mut syncing: Syncing) -> io::Result<()> {
        let syncs = self.syncs();
        let file = self.inode(inode);
        match syncs {
            Ok(true) => {
                file.keep_forsaken(&syncing.forsaken, &mut syncing.content);
                file.durable = syncing.content;
                file.dirty.retain(|_, number| *number > syncing.writes);
                file.lengths.retain(|(number, _)| *number > syncing.writes);
            }
            Ok(false) => {}
            Err(_) => file.forsake(syncing.writes),
        }
        syncs.map(drop)
    }

    /// The platter becomes the truth, after a part of what was not synced has reached it.
    pub fn lose_power(&mut self, how: StopKind) -> Lost {
        let mut lost = Lost::default();
        let torn = how == StopKind::Torn;
        let random = if torn { &mut self.torn } else { &mut self.random };
        for change in std::mem::take(&mut self.changes) {
            if random.random() {
                apply(&mut self.durable_names, &change);
            }
        }
        // A file whose folder did not survive is gone with it.
        let folders: BTreeSet<String> =
            self.durable_names.iter().filter(|(_, inode)| inode.is_none()).map(|(name, _)| name.clone()).collect();
        self.durable_names.retain(|name, _| {
            let mut folder = folder_of(name);
            while !folder.is_empty() && folders.contains(folder) {
                folder = folder_of(folder);
            }
            folder.is_empty()
        });
        let paths: BTreeMap<u64, String> =
            self.names.iter().filter_map(|(name, inode)| Some(((*inode)?, name.clone()))).collect();
        for (inode, file) in &mut self.inodes {
            let bytes = if torn { tear(file, random) } else { lose_pages(file, random) };
            if bytes > 0 {
                lost.bytes += bytes;
                lost.files.extend(paths.get(inode).cloned());
            }
        }
        for name in self.names.keys().filter(|name| !self.durable_names.contains_key(*name)) {
            if !lost.files.contains(name) {
                lost.files.push(name.clone());
            }
        }
        lost.files.sort();
        self.names = self.durable_names.clone();
        let live: BTreeSet<u64> = self.names.values().flatten().copied().collect();
        self.inodes.retain(|inode, _| live.contains(inode));
        self.locks.clear();
        lost
    }
}

fn apply(names: &mut BTreeMap<String, Option<u64>>, change: &Change) {
    match change {
        Change::Set(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
            let inside = format!("{from}/");
            let moved: Vec<String> = names.keys().filter(|name| name.starts_with(&inside)).cloned().collect();
            for name in moved {
                let inode = names.remove(&name).expect("it was listed");
                names.insert(format!("{to}/{}", &name[inside.len()..]), inode);
            }
        }
    }
}
