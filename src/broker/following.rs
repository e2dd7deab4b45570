//! What a follower and its leader have agreed on: the follower's half of a fetch session (KIP-227).
//!
//! The first fetch on a connection names every partition that follows the leader; later ones name those that have moved
//! or are new, and those that do not follow any more. The leader then answers with what has changed. Not here: the
//! fetches themselves, nor what the answers do.

use std::{collections::BTreeMap, sync::Arc};

use super::partition::{FollowerPosition, Partition};
use crate::base::TopicId;

/// How fetches name a partition: id of the topic, and index.
pub type Key = (TopicId, i32);

/// A partition and where it stands.
#[derive(Clone)]
pub struct Followed {
    /// The partition.
    pub partition: Arc<Partition>,
    /// As last looked at.
    pub position: FollowerPosition,
    /// Whether the leader knows it.
    told: bool,
}

/// The partitions that follow one leader.
#[derive(Default)]
pub struct Following {
    partitions: BTreeMap<Key, Followed>,
    /// In the session, and followed no more.
    forgotten: Vec<Key>,
    id: i32,
    epoch: i32,
}

impl Following {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// All partitions.
    pub fn all(&self) -> impl Iterator<Item = &Followed> {
        self.partitions.values()
    }

    /// One of them.
    pub fn find(&self, key: &Key) -> Option<&Followed> {
        self.partitions.get(key)
    }

    /// These follow now, and no others.
    pub fn set_all(&mut self, now: Vec<(Arc<Partition>, FollowerPosition)>) {
        let mut before = std::mem::take(&mut self.partitions);
        for (partition, position) in now {
            let key = (partition.topic_id, partition.id.partition);
            let told = before.remove(&key).is_some_and(|known| known.told && known.position == position);
            self.partitions.insert(key, Followed { partition, position, told });
        }
        self.forgotten.extend(before.into_keys());
    }

    /// A partition has another position now, or follows no more.
    pub fn set(&mut self, key: Key, position: Option<FollowerPosition>) {
        match (self.partitions.get_mut(&key), position) {
            (Some(known), Some(position)) => {
                known.told &= known.position == position;
                known.position = position;
            }
            (Some(_), None) => {
                self.partitions.remove(&key);
                self.forgotten.push(key);
            }
            (None, _) => {}
        }
    }

    /// There is no session: on another connection, or because the leader says so.
    pub fn begin_anew(&mut self) {
        (self.id, self.epoch) = (0, 0);
        self.forgotten.clear();
        self.partitions.values_mut().for_each(|followed| followed.told = false);
    }

    /// Id and epoch of the session for the next fetch.
    pub fn session(&self) -> (i32, i32) {
        (self.id, self.epoch)
    }

    /// What the next fetch has to name: partitions, and those to forget.
    pub fn news(&mut self) -> (Vec<Followed>, Vec<Key>) {
        let mut news = Vec::new();
        for followed in self.partitions.values_mut().filter(|followed| !followed.told) {
            followed.told = true;
            news.push(followed.clone());
        }
        // One that came back was named.
        let mut forgotten = std::mem::take(&mut self.forgotten);
        forgotten.retain(|key| !self.partitions.contains_key(key));
        (news, forgotten)
    }

    /// The leader has answered, in the session `id`; 0: it keeps none.
    pub fn answered(&mut self, id: i32) {
        match (id, self.epoch) {
            (0, _) => self.begin_anew(),
            (_, i32::MAX) => self.epoch = 1,
            (_, epoch) => (self.id, self.epoch) = (id, epoch + 1),
        }
    }
}
