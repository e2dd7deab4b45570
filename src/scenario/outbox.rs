//! What an application of a producer has written down of its records, as one with an outbox does: of which it has been
//! told what became of them. It outlives the process: the next one sends what is left, again what the one before had sent
//! and was told nothing of. In the history its records go by numbers of their own.

use std::collections::BTreeSet;

/// The outbox of one producer's application.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// How many records there are to send.
    count: u64,
    /// How many processes were there before this one.
    process: u64,
    /// Everything is known of records before this one.
    settled: u64,
    /// And of these, which come later.
    settled_beyond: BTreeSet<u64>,
}

impl Outbox {
    /// One with `count` records to send.
    pub fn new(count: u64) -> Self {
        Self { count, process: 0, settled: 0, settled_beyond: BTreeSet::new() }
    }

    /// A process begins, after `process` others.
    pub(super) fn begin(&mut self, process: u64) {
        self.process = process;
    }

    /// The application was told what became of it.
    pub(super) fn take_settled(&mut self, number: u64) {
        self.settled_beyond.insert(number % self.count);
        while self.settled_beyond.remove(&self.settled) {
            self.settled += 1;
        }
    }

    /// What there is to send: which of the application's records, and the number that it goes by.
    pub fn left(self) -> impl Iterator<Item = (u64, u64)> {
        let first = self.process * self.count;
        let open = (self.settled..self.count).filter(move |n| !self.settled_beyond.contains(n));
        open.map(move |n| (n, first + n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(outbox: &Outbox) -> Vec<(u64, u64)> {
        outbox.clone().left().collect()
    }

    #[test]
    fn the_next_process_sends_again_what_nothing_is_known_of_and_goes_on() {
        let mut outbox = Outbox::new(6);
        assert_eq!(left(&Outbox::new(3)), [(0, 0), (1, 1), (2, 2)]);
        [0, 2].into_iter().for_each(|number| outbox.take_settled(number));
        outbox.begin(1);
        assert_eq!(left(&outbox), [(1, 7), (3, 9), (4, 10), (5, 11)]);
        [7, 9].into_iter().for_each(|number| outbox.take_settled(number));
        outbox.begin(2);
        assert_eq!(left(&outbox), [(4, 16), (5, 17)]);
    }
}
