//! Fetch sessions (KIP-227): a client names its partitions once and then only what changes.
//!
//! | id | epoch | meaning |
//! |---|---|---|
//! | any | -1 | no session; one that is named ends |
//! | any | 0 | a new session with the partitions given; one that is named ends |
//! | known | the one expected | the session's partitions, with changes |
//! | known | another | INVALID_FETCH_SESSION_EPOCH |
//! | unknown | above 0 | FETCH_SESSION_ID_NOT_FOUND |
//!
//! An incremental answer has the partitions with records, an error, or another high watermark or log start than told
//! last. Pure: ids are drawn by the caller.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;

use crate::{
    base::{LeaderEpoch, Offset, TopicId},
    protocol::ErrorCode,
};

/// How a client names a partition: by topic name, or by id in newer versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Named {
    /// Name of the topic, empty where it is named by id.
    pub topic: String,
    /// Id of the topic, zero where it is named by name.
    pub topic_id: TopicId,
    /// Index of the partition.
    pub partition: i32,
}

/// What a client wants of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// First offset.
    pub offset: Offset,
    /// The client's idea of the leader epoch.
    pub current_leader_epoch: LeaderEpoch,
    /// Epoch of its last record.
    pub last_fetched_epoch: LeaderEpoch,
    /// First offset of a follower's log.
    pub log_start: Offset,
    /// About how much.
    pub max_bytes: i32,
}

/// What a client was told last of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// High watermark.
    pub high_watermark: Offset,
    /// First offset.
    pub log_start: Offset,
}

impl Told {
    /// Nothing yet, or nothing that counts.
    pub const NOTHING: Self = Self { high_watermark: Offset(i64::MIN), log_start: Offset(i64::MIN) };
}

/// Partitions in the order in which they are served.
pub type Partitions = IndexMap<Named, (Wanted, Told)>;

/// What the answer has to do with sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answering {
    /// Everything is told, and no session is kept.
    Sessionless,
    /// Everything is told, with the id of the new session.
    New(i32),
    /// Only what changed is told.
    Incremental(i32),
}

struct Session {
    by_id: bool,
    next_epoch: i32,
    /// Shared with the fetches of the session that are under way: there is one, and nothing is copied.
    partitions: Arc<Partitions>,
    /// Rises with each use: the session used longest ago goes when there is no room.
    last_used: u64,
}

/// The sessions of a broker.
pub struct FetchSessions {
    slots: usize,
    uses: u64,
    sessions: BTreeMap<i32, Session>,
}

impl FetchSessions {
    /// Room for `slots` sessions.
    pub fn new(slots: usize) -> Self {
        Self { slots, uses: 0, sessions: BTreeMap::new() }
    }

    /// What a request asks for, and how to answer. `fresh_id` names a new session.
    ///
    /// # Errors
    /// The code of the whole response.
    pub fn resolve(
        &mut self,
        (id, epoch): (i32, i32),
        given: Partitions,
        forgotten: &[Named],
        by_id: bool,
        fresh_id: impl FnMut() -> i32,
    ) -> Result<(Arc<Partitions>, Answering), ErrorCode> {
        match epoch {
            -1 => {
                self.sessions.remove(&id);
                Ok((Arc::new(given), Answering::Sessionless))
            }
            0 => {
                self.sessions.remove(&id);
                let given = Arc::new(given);
                let answering = match self.open(&given, by_id, fresh_id) {
                    Some(id) => Answering::New(id),
                    None => Answering::Sessionless,
                };
                Ok((given, answering))
            }
            epoch => {
                self.uses += 1;
                let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
                if session.next_epoch != epoch {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                if session.by_id != by_id {
                    return Err(ErrorCode::FetchSessionTopicIdError);
                }
                session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
                session.last_used = self.uses;
                if !given.is_empty() || !forgotten.is_empty() {
                    let partitions = Arc::make_mut(&mut session.partitions);
                    for (named, (wanted, _)) in given {
                        let (known, told) = partitions.entry(named).or_insert((wanted, Told::NOTHING));
                        if known.current_leader_epoch != wanted.current_leader_epoch {
                            // What it was told in the epoch before it may have ignored.
                            *told = Told::NOTHING;
                        }
                        *known = wanted;
                    }
                    for named in forgotten {
                        partitions.shift_remove(named);
                    }
                }
                Ok((session.partitions.clone(), Answering::Incremental(id)))
            }
        }
    }

    fn open(&mut self, given: &Arc<Partitions>, by_id: bool, mut fresh_id: impl FnMut() -> i32) -> Option<i32> {
        if given.is_empty() || self.slots == 0 {
            return None;
        }
        if self.sessions.len() >= self.slots {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used).map(|(id, _)| *id);
            self.sessions.remove(&oldest.expect("there is at least one session"));
        }
        let id = std::iter::repeat_with(&mut fresh_id).find(|id| *id > 0 && !self.sessions.contains_key(id))?;
        self.uses += 1;
        let partitions = given.clone();
        self.sessions.insert(id, Session { by_id, next_epoch: 1, partitions, last_used: self.uses });
        Some(id)
    }

    /// Notes what an answer of session `id` tells.
    pub fn tell(&mut self, id: i32, news: Vec<(Named, Told)>) {
        let Some(session) = self.sessions.get_mut(&id).filter(|_| !news.is_empty()) else { return };
        let partitions = Arc::make_mut(&mut session.partitions);
        for (named, now) in news {
            if let Some((_, told)) = partitions.get_mut(&named) {
                *told = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(partition: i32) -> Named {
        Named { topic: "t".to_owned(), topic_id: TopicId::ZERO, partition }
    }

    fn wanted(offset: i64) -> Wanted {
        let epoch = LeaderEpoch::UNKNOWN;
        Wanted {
            offset: Offset(offset),
            current_leader_epoch: epoch,
            last_fetched_epoch: epoch,
            log_start: Offset::UNKNOWN,
            max_bytes: 1,
        }
    }

    fn given(partitions: &[(i32, i64)]) -> Partitions {
        partitions.iter().map(|(partition, offset)| (named(*partition), (wanted(*offset), Told::NOTHING))).collect()
    }

    #[test]
    fn a_session_remembers_partitions_and_what_was_told_of_them() {
        let mut sessions = FetchSessions::new(2);
        let (_, answering) = sessions.resolve((0, 0), given(&[(0, 5), (1, 6), (2, 7)]), &[], false, || 7).unwrap();
        assert_eq!(answering, Answering::New(7));
        let now = Told { high_watermark: Offset(9), log_start: Offset(0) };
        sessions.tell(7, vec![(named(0), now), (named(1), now), (named(2), now)]);
        let (partitions, answering) = sessions.resolve((7, 1), given(&[(0, 8)]), &[named(1)], false, || 8).unwrap();
        let known = Partitions::from([(named(0), (wanted(8), now)), (named(2), (wanted(7), now))]);
        assert_eq!((&*partitions, answering), (&known, Answering::Incremental(7)));
        let newer = Wanted { current_leader_epoch: LeaderEpoch(3), ..wanted(8) };
        let moved = Partitions::from([(named(0), (newer, Told::NOTHING))]);
        let (partitions, _) = sessions.resolve((7, 2), moved, &[], false, || 8).unwrap();
        assert_eq!(partitions[&named(0)], (newer, Told::NOTHING), "of another leader epoch it is told anew");
        assert_eq!(partitions[&named(2)], (wanted(7), now));
    }

    #[test]
    fn wrong_epochs_and_unknown_sessions_are_told() {
        let mut sessions = FetchSessions::new(1);
        sessions.resolve((0, 0), given(&[(0, 0)]), &[], false, || 7).unwrap();
        let mut ask = |id, epoch, by_id| sessions.resolve((id, epoch), given(&[]), &[], by_id, || 9).map(|(_, a)| a);
        assert_eq!(ask(7, 2, false), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(ask(8, 1, false), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(ask(7, 1, true), Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(ask(7, 1, false), Ok(Answering::Incremental(7)));
        assert_eq!(ask(7, -1, false), Ok(Answering::Sessionless));
        assert_eq!(ask(7, 2, false), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn the_session_used_longest_ago_makes_room() {
        let mut sessions = FetchSessions::new(2);
        let mut open = |id| sessions.resolve((0, 0), given(&[(0, 0)]), &[], false, || id).map(|_| ());
        open(1).unwrap();
        open(2).unwrap();
        sessions.resolve((1, 1), given(&[]), &[], false, || 9).unwrap();
        sessions.resolve((0, 0), given(&[(0, 0)]), &[], false, || 3).unwrap();
        assert_eq!(sessions.sessions.keys().copied().collect::<Vec<_>>(), [1, 3]);
    }
}
