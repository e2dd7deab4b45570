//! The journal of a run: its events in order, each with id, time, node and cause, and the rolling hash over them.
//!
//! The hash is taken over every event whether or not the journal keeps it, so a run with the journal off has the same.

use std::sync::Arc;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Event, EventId};
use crate::base::Time;

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Number of the event, from 1.
    pub id: EventId,
    /// When, in nanoseconds of simulated time.
    pub time: Time,
    /// Who.
    pub node: Arc<str>,
    /// The event that made this one happen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<EventId>,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Collects the events of a run.
pub struct Journal {
    keep: bool,
    count: u64,
    hash: RollingHash,
    entries: Vec<Entry>,
}

impl Journal {
    /// An empty journal; with `keep` false it only counts and hashes.
    pub fn new(keep: bool) -> Self {
        Self { keep, count: 0, hash: RollingHash::default(), entries: Vec::new() }
    }

    /// Adds an event and returns its entry.
    pub fn push(&mut self, time: Time, node: &Arc<str>, cause: Option<EventId>, event: Event) -> Entry {
        self.count += 1;
        let entry = Entry { id: EventId(self.count), time, node: node.clone(), cause, event };
        self.hash.add(&entry);
        if self.keep {
            self.entries.push(entry.clone());
        }
        entry
    }

    /// Number of events so far.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The events kept.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Hash over all events so far: 64 hexadecimal digits.
    pub fn hash(&self) -> String {
        self.hash.digits()
    }
}

/// Hash over events that were recorded: that of the run, if they are all of its events and none was changed.
pub fn hash_of(entries: &[Entry]) -> String {
    let mut hash = RollingHash::default();
    entries.iter().for_each(|entry| hash.add(entry));
    hash.digits()
}

/// SHA-256 over events in a compact binary form: that of JSON would take longer than all the rest of a run.
struct RollingHash {
    sha: Sha256,
    /// What is not in the hash yet: it takes many events at once sooner than one by one.
    waiting: Box<[u8; CHUNK_BYTES]>,
    waiting_bytes: usize,
}

/// What the hash takes at once.
const CHUNK_BYTES: usize = 16 * 1024;

impl Default for RollingHash {
    fn default() -> Self {
        Self { sha: Sha256::new(), waiting: Box::new([0; CHUNK_BYTES]), waiting_bytes: 0 }
    }
}

impl RollingHash {
    fn add(&mut self, entry: &Entry) {
        let Entry { id, time, node, cause, event } = entry;
        let fields = (id, time, node, cause, event);
        postcard::serialize_with_flavor(&fields, Writing(self)).expect("an event is plain data");
    }

    fn digits(&self) -> String {
        let sha = self.sha.clone().chain_update(&self.waiting[..self.waiting_bytes]);
        sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Takes the bytes of an event.
struct Writing<'a>(&'a mut RollingHash);

impl Flavor for Writing<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let RollingHash { sha, waiting, waiting_bytes } = &mut *self.0;
        if waiting.len() - *waiting_bytes < bytes.len() {
            sha.update(&waiting[..*waiting_bytes]);
            *waiting_bytes = 0;
            if bytes.len() > waiting.len() {
                sha.update(bytes);
                return Ok(());
            }
        }
        copy_short(&mut waiting[*waiting_bytes..][..bytes.len()], bytes);
        *waiting_bytes += bytes.len();
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Copies to `to`, which is as long: nearly all that an event has are a few bytes, for which a call would take longer.
#[inline]
fn copy_short(to: &mut [u8], from: &[u8]) {
    /// The first bytes and the last, which may be the same in part.
    #[inline]
    fn ends<const N: usize>(to: &mut [u8], from: &[u8]) {
        if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
            *to = *from;
        }
        if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
            *to = *from;
        }
    }
    match from.len() {
        1 => to[0] = from[0],
        2..4 => ends::<2>(to, from),
        4..8 => ends::<4>(to, from),
        8..=16 => ends::<8>(to, from),
        _ => to.copy_from_slice(from),
    }
}
