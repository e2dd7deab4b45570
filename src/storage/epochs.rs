//! At which offset each leader epoch began: what KIP-101 truncates by.

use crate::base::{LeaderEpoch, Offset};

/// Leader epochs with their start offsets, both rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs(Vec<(LeaderEpoch, Offset)>);

impl LeaderEpochs {
    /// From a checkpoint; entries that do not rise are dropped as Kafka does.
    pub fn new(entries: Vec<(LeaderEpoch, Offset)>) -> Self {
        let mut epochs = Self::default();
        for (epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        epochs
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.0
    }

    /// The newest epoch.
    pub fn latest(&self) -> LeaderEpoch {
        self.0.last().map_or(LeaderEpoch::UNKNOWN, |(epoch, _)| *epoch)
    }

    /// Notes that `epoch` begins at `start`; entries that contradict it go. Returns whether anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch(0) || self.0.iter().any(|(known, _)| *known == epoch) {
            return false;
        }
        self.0.retain(|(known, offset)| *known < epoch && *offset < start);
        self.0.push((epoch, start));
        true
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let found = self.0.iter().rev().find(|(_, start)| *start <= offset);
        found.map_or(LeaderEpoch::UNKNOWN, |(epoch, _)| *epoch)
    }

    /// The greatest epoch up to `asked` and where it ends (KIP-279); both unknown when `asked` is newer than all.
    /// `end` is the end of the log.
    pub fn end_offset_for(&self, asked: LeaderEpoch, end: Offset) -> (LeaderEpoch, Offset) {
        if asked == LeaderEpoch::UNKNOWN {
            return (LeaderEpoch::UNKNOWN, Offset::UNKNOWN);
        }
        if asked == self.latest() {
            return (asked, end);
        }
        match self.0.iter().position(|(epoch, _)| *epoch > asked) {
            None => (LeaderEpoch::UNKNOWN, Offset::UNKNOWN),
            Some(0) => (asked, self.0[0].1),
            Some(next) => (self.0[next - 1].0, self.0[next].1),
        }
    }

    /// Drops epochs that begin at or after `end`. Returns whether anything changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, start)| *start < end);
        self.0.len() != before
    }

    /// Moves the begin to `start`: older epochs go, the one in force there begins there. Returns whether anything
    /// changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let epoch = self.epoch_at(start);
        let before = self.0.clone();
        self.0.retain(|(_, offset)| *offset > start);
        if epoch != LeaderEpoch::UNKNOWN {
            self.0.insert(0, (epoch, start));
        }
        self.0 != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs::new(entries.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start))).collect())
    }

    #[test]
    fn the_end_of_an_epoch_is_the_begin_of_the_next_known_one() {
        let known = epochs(&[(1, 0), (3, 10), (4, 15)]);
        let cases =
            [(0, (0, 0)), (1, (1, 10)), (2, (1, 10)), (3, (3, 15)), (4, (4, 20)), (5, (-1, -1)), (-1, (-1, -1))];
        for (asked, (epoch, end)) in cases {
            let found = known.end_offset_for(LeaderEpoch(asked), Offset(20));
            assert_eq!(found, (LeaderEpoch(epoch), Offset(end)), "epoch {asked}");
        }
    }

    #[test]
    fn assigning_drops_what_contradicts_it_and_cutting_keeps_the_epoch_in_force() {
        let mut known = epochs(&[(1, 0), (3, 10), (4, 15)]);
        assert!(!known.assign(LeaderEpoch(3), Offset(12)));
        assert!(known.assign(LeaderEpoch(5), Offset(10)));
        assert_eq!(known, epochs(&[(1, 0), (5, 10)]));
        assert!(known.truncate_from_start(Offset(4)));
        assert_eq!(known, epochs(&[(1, 4), (5, 10)]));
        assert!(known.truncate_from_end(Offset(10)));
        assert_eq!((known.latest(), known.epoch_at(Offset(7))), (LeaderEpoch(1), LeaderEpoch(1)));
    }
}
