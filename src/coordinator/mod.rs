//! What every coordinator is: a state that is what the records of one partition replay to.
//!
//! A handler reads the state and gives an answer and records; only replaying a record changes what the records tell.
//! Records are replayed the moment they are decided, so that the next handler sees them, and the answer waits until the
//! high watermark has passed them. Each replay gives what takes it back: an append that fails is rolled back by undoing
//! the newest records first, and a read of committed state alone looks at what the uncommitted records replaced. Kafka
//! keeps snapshots by offset for both (its timeline structures); here the records of a partition are keyed, so that the
//! value before is all that a snapshot could tell.
//!
//! Not here: what the records mean, the log, clocks. One value of [`Coordinator`] belongs to one leadership of one
//! partition.

use std::collections::VecDeque;

use crate::base::Offset;

/// A state that records replay to.
pub trait Replayed {
    /// A record, decoded.
    type Record;
    /// What takes a replayed record back.
    type Undo;

    /// Applies a record that was decided here or read from the log.
    fn replay(&mut self, record: &Self::Record) -> Self::Undo;

    /// Applies a record that will never be taken back.
    fn apply(&mut self, record: Self::Record) {
        self.replay(&record);
    }

    /// Takes back the newest record that has not been taken back.
    fn undo(&mut self, undo: Self::Undo);
}

/// Records that were decided or loaded together and are not committed yet.
struct Batch<U, T> {
    /// Offset after its last record; `None` while it is not in the log.
    end_offset: Option<Offset>,
    undos: Vec<U>,
    tickets: Vec<T>,
}

/// A state with its uncommitted records. `T` is a ticket: what is to be done when records are committed or lost.
pub struct Coordinator<S: Replayed, T> {
    state: S,
    /// In the order of the log; only the last may have no end offset yet.
    batches: VecDeque<Batch<S::Undo, T>>,
    /// End of what was read from the log when the coordinator was loaded.
    loaded_end: Offset,
    committed: Offset,
}

impl<S: Replayed, T> Coordinator<S, T> {
    /// A coordinator without records.
    pub fn new(state: S) -> Self {
        Self { state, batches: VecDeque::new(), loaded_end: Offset::ZERO, committed: Offset::ZERO }
    }

    /// The state with all records, committed or not.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// For what no record tells: who waits, and until when.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Replays records read from the log, which end at `end_offset`.
    pub fn load(&mut self, records: impl IntoIterator<Item = S::Record>, end_offset: Offset) {
        self.loaded_end = end_offset;
        if end_offset > self.committed {
            let undos = records.into_iter().map(|record| self.state.replay(&record)).collect();
            self.batches.push_back(Batch { end_offset: Some(end_offset), undos, tickets: Vec::new() });
        } else {
            records.into_iter().for_each(|record| self.state.apply(record));
        }
    }

    /// Whether all that was loaded is committed. Before it, what is committed may be older than what the leader before
    /// has answered: its high watermark comes to the new leader late.
    pub fn has_caught_up(&self) -> bool {
        self.committed >= self.loaded_end
    }

    /// Replays records that were just decided. They wait for [`Coordinator::written`] or [`Coordinator::failed`].
    pub fn decide(&mut self, records: &[S::Record], ticket: T) {
        let undos: Vec<S::Undo> = records.iter().map(|record| self.state.replay(record)).collect();
        match self.batches.back_mut().filter(|last| last.end_offset.is_none()) {
            Some(last) => {
                last.undos.extend(undos);
                last.tickets.push(ticket);
            }
            None => self.batches.push_back(Batch { end_offset: None, undos, tickets: vec![ticket] }),
        }
    }

    /// Has `ticket` wait for everything there is; gives it back if all is committed already.
    pub fn wait(&mut self, ticket: T) -> Option<T> {
        match self.batches.back_mut() {
            Some(last) => {
                last.tickets.push(ticket);
                None
            }
            None => Some(ticket),
        }
    }

    /// The records decided since the last call are in the log, which ends at `end_offset` now.
    ///
    /// # Panics
    /// If the log's end did not move, or nothing was decided.
    pub fn written(&mut self, end_offset: Offset) {
        let before = self.batches.iter().rev().find_map(|batch| batch.end_offset).unwrap_or(self.committed);
        assert!(end_offset > before, "a batch that ends at {end_offset} was written to a log that ended at {before}");
        let last = self.batches.back_mut().expect("something was decided");
        assert!(last.end_offset.is_none(), "the batch that ends at {:?} was written before", last.end_offset);
        last.end_offset = Some(end_offset);
    }

    /// The records decided since the last call could not be written: they are taken back. Gives their tickets.
    pub fn failed(&mut self) -> Vec<T> {
        match self.batches.back() {
            Some(last) if last.end_offset.is_none() => {
                let batch = self.batches.pop_back().expect("there is a last");
                batch.undos.into_iter().rev().for_each(|undo| self.state.undo(undo));
                batch.tickets
            }
            _ => Vec::new(),
        }
    }

    /// Everything below `high_watermark` is committed. Gives the tickets that waited for it, in order.
    pub fn committed(&mut self, high_watermark: Offset) -> Vec<T> {
        self.committed = self.committed.max(high_watermark);
        let mut tickets = Vec::new();
        let is_committed = |batch: &Batch<S::Undo, T>| batch.end_offset.is_some_and(|end| end <= high_watermark);
        while self.batches.front().is_some_and(is_committed) {
            tickets.extend(self.batches.pop_front().into_iter().flat_map(|batch| batch.tickets));
        }
        tickets
    }

    /// What takes back the uncommitted records, the newest first. Whoever applies them to a copy sees what is committed.
    pub fn uncommitted(&self) -> impl Iterator<Item = &S::Undo> {
        self.batches.iter().rev().flat_map(|batch| batch.undos.iter().rev())
    }

    /// All tickets, in order: the leadership is over, and nobody knows whether their records stand.
    pub fn abandon(self) -> Vec<T> {
        self.batches.into_iter().flat_map(|batch| batch.tickets).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A map: the simplest state that keyed records replay to.
    impl Replayed for BTreeMap<&'static str, i32> {
        type Record = (&'static str, Option<i32>);
        type Undo = (&'static str, Option<i32>);

        fn replay(&mut self, (key, value): &Self::Record) -> Self::Undo {
            let before = match value {
                Some(value) => self.insert(key, *value),
                None => self.remove(key),
            };
            (key, before)
        }

        fn undo(&mut self, (key, before): Self::Undo) {
            match before {
                Some(value) => self.insert(key, value),
                None => self.remove(key),
            };
        }
    }

    type Map = Coordinator<BTreeMap<&'static str, i32>, u32>;

    fn committed_view(map: &Map) -> BTreeMap<&'static str, i32> {
        let mut view = map.state().clone();
        map.uncommitted().for_each(|undo| view.undo(*undo));
        view
    }

    #[test]
    fn an_answer_waits_until_its_records_are_committed() {
        let mut map = Map::new(BTreeMap::new());
        map.decide(&[("a", Some(1))], 1);
        map.decide(&[("a", Some(2)), ("b", Some(3))], 2);
        map.written(Offset(3));
        map.decide(&[("a", None)], 3);
        map.written(Offset(4));
        assert_eq!(*map.state(), BTreeMap::from([("b", 3)]));
        assert_eq!(committed_view(&map), BTreeMap::new());
        assert_eq!(map.committed(Offset(2)), [0u32; 0], "half of a batch commits nothing");
        assert_eq!(map.committed(Offset(3)), [1, 2]);
        assert_eq!(committed_view(&map), BTreeMap::from([("a", 2), ("b", 3)]));
        assert_eq!(map.committed(Offset(9)), [3]);
        assert_eq!(committed_view(&map), *map.state());
    }

    #[test]
    fn a_failed_append_takes_back_its_records_and_no_others() {
        let mut map = Map::new(BTreeMap::from([("a", 1)]));
        map.decide(&[("a", Some(2))], 1);
        map.written(Offset(1));
        map.decide(&[("a", Some(3)), ("b", Some(4))], 2);
        map.decide(&[("a", None), ("b", Some(5))], 3);
        assert_eq!(map.failed(), [2, 3]);
        assert_eq!(*map.state(), BTreeMap::from([("a", 2)]));
        assert_eq!(map.failed(), [0u32; 0], "what is in the log is not taken back");
        assert_eq!(map.committed(Offset(1)), [1]);
    }

    #[test]
    fn a_ticket_without_records_waits_for_what_it_saw() {
        let mut map = Map::new(BTreeMap::new());
        assert_eq!(map.wait(1), Some(1), "there is nothing to wait for");
        map.decide(&[("a", Some(1))], 2);
        map.written(Offset(1));
        assert_eq!(map.wait(3), None);
        map.decide(&[("b", Some(1))], 4);
        assert_eq!(map.committed(Offset(1)), [2, 3]);
        assert_eq!(map.abandon(), [4]);
    }

    #[test]
    fn what_is_loaded_above_the_high_watermark_is_not_committed_yet() {
        let mut map = Map::new(BTreeMap::new());
        map.committed(Offset(2));
        map.load([("a", Some(1)), ("b", Some(1))], Offset(2));
        map.load([("a", Some(2))], Offset(3));
        assert!(!map.has_caught_up());
        assert_eq!(committed_view(&map), BTreeMap::from([("a", 1), ("b", 1)]));
        assert_eq!(map.committed(Offset(3)), [0u32; 0]);
        assert!(map.has_caught_up());
        assert_eq!(committed_view(&map), BTreeMap::from([("a", 2), ("b", 1)]));
    }
}
