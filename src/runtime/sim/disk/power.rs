//! What of a file reaches the platter as the power goes.
//!
//! | loss | of what was not synced there is |
//! |---|---|
//! | `Power` | pages of 4 KiB, some of them up to a sector of 512 bytes |
//! | `Torn` | sectors up to some point, then each by itself, and the length by itself: holes, and an end of zeros |
//!
//! What a sync that failed was for goes with the power in any case ("fsyncgate", 2018): Linux marks such pages clean,
//! so the next sync has nothing to write of them and says that all is well.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, seq::IndexedRandom};

use crate::base::random::Random;

pub const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;

/// A file, by whatever names.
#[derive(Default)]
pub struct Inode {
    /// As the page cache has it.
    pub cached: Vec<u8>,
    /// As it is on the platter.
    pub durable: Vec<u8>,
    /// Pages written since they were synced, each with the number of the write.
    pub dirty: BTreeMap<usize, u64>,
    /// Pages that a failed sync has left: the page cache shows them and takes them for synced. They are not on the
    /// platter, and no later sync writes them; who writes there again makes them dirty.
    pub forsaken: BTreeSet<usize>,
    /// Lengths that it has come to since they were synced, each with the number of the write.
    pub lengths: Vec<(u64, usize)>,
    /// Number of the newest write.
    pub writes: u64,
}

impl Inode {
    /// A sync of what was written up to this write has failed.
    pub fn forsake(&mut self, writes: u64) {
        let left = self.dirty.iter().filter(|(_, number)| **number <= writes);
        self.forsaken.extend(left.map(|(page, _)| page));
        self.dirty.retain(|_, number| *number > writes);
    }

    /// Leaves in `content`, which is to be written, these pages as the platter has them.
    pub fn keep_forsaken(&self, pages: &BTreeSet<usize>, content: &mut [u8]) {
        for page in pages {
            let from = (page * PAGE_BYTES).min(content.len());
            let to = (from + PAGE_BYTES).min(content.len());
            let durable = self.durable.get(from..).unwrap_or_default();
            let known = durable.len().min(to - from);
            content[from..from + known].copy_from_slice(&durable[..known]);
            content[from + known..to].fill(0);
        }
    }

    fn bytes_forsaken(&self) -> u64 {
        let bytes = |page: &usize| self.cached.len().saturating_sub(page * PAGE_BYTES).min(PAGE_BYTES) as u64;
        self.forsaken.iter().map(bytes).sum()
    }

    /// Changes bytes where they stand, as nobody who writes does.
    pub fn swap(&mut self, at: usize, from: &[u8], to: &[u8]) {
        for image in [&mut self.cached, &mut self.durable] {
            if let Some(place) = image.get_mut(at..at + from.len()).filter(|place| *place == from) {
                place.copy_from_slice(to);
            }
        }
    }
}

/// Lets a part of the dirty pages reach the platter; returns how many bytes did not.
pub fn lose_pages(file: &mut Inode, random: &mut Random) -> u64 {
    let mut lost = file.bytes_forsaken();
    file.forsaken.clear();
    if !file.lengths.is_empty() && file.cached.len() < file.durable.len() && random.random() {
        file.durable.truncate(file.cached.len());
    }
    for page in std::mem::take(&mut file.dirty).into_keys() {
        let from = page * PAGE_BYTES;
        let to = (from + PAGE_BYTES).min(file.cached.len());
        let whole = to - from;
        let kept = match random.random_range(0..10) {
            0..=3 => 0,
            // Torn: the sectors up to some point.
            4 => (random.random_range(0..=PAGE_BYTES / SECTOR_BYTES) * SECTOR_BYTES).min(whole),
            _ => whole,
        };
        lost += (whole - kept) as u64;
        if kept > 0 {
            if file.durable.len() < from + kept {
                file.durable.resize(from + kept, 0);
            }
            file.durable[from..from + kept].copy_from_slice(&file.cached[from..from + kept]);
        }
    }
    file.lengths.clear();
    file.cached.clone_from(&file.durable);
    lost
}

/// Lets sectors of the dirty pages reach the platter, and one of the lengths; returns how many bytes did not.
pub fn tear(file: &mut Inode, random: &mut Random) -> u64 {
    if file.dirty.is_empty() && file.lengths.is_empty() && file.forsaken.is_empty() {
        return 0;
    }
    file.forsaken.clear();
    let mut lengths = vec![file.durable.len()];
    lengths.extend(std::mem::take(&mut file.lengths).into_iter().map(|(_, length)| length));
    let sectors = std::mem::take(&mut file.dirty).into_keys().flat_map(|page| {
        let first = page * PAGE_BYTES;
        (first..first + PAGE_BYTES).step_by(SECTOR_BYTES)
    });
    let sectors: Vec<usize> = sectors.filter(|from| *from < file.cached.len()).collect();
    let (done, share) = (random.random_range(0..=sectors.len()), random.random_range(0.1..0.9));
    for (number, from) in sectors.into_iter().enumerate() {
        if number < done || random.random_bool(share) {
            let to = (from + SECTOR_BYTES).min(file.cached.len());
            file.durable.resize(file.durable.len().max(to), 0);
            file.durable[from..to].copy_from_slice(&file.cached[from..to]);
        }
    }
    file.durable.resize(*lengths.choose(random).expect("there is the one on the platter"), 0);
    let differs = |(at, byte): (usize, &u8)| file.durable.get(at) != Some(byte);
    let lost = file.cached.iter().enumerate().filter(|one| differs(*one)).count();
    file.cached.clone_from(&file.durable);
    lost as u64
}
