//! A map by number whose numbers come one after the other, as records of a producer and offsets of a log do: a list, in
//! which a number mostly stands as far from the first as it is greater. A tree of them takes longer to build, and to ask,
//! than all else that a checker does.

use std::ops::Range;

/// Values by number, in the order of the numbers.
pub(super) struct Ascending<T>(Vec<(i64, T)>);

impl<T> Default for Ascending<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Ascending<T> {
    /// Sets the value of `number`. Only one that is less than another moves anything.
    pub(super) fn insert(&mut self, number: i64, value: T) {
        match self.place(number) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (number, value)),
        }
    }

    /// The value of `number`.
    pub(super) fn get(&self, number: i64) -> Option<&T> {
        self.place(number).ok().map(|place| &self.0[place].1)
    }

    /// The value of `number`, to be changed.
    pub(super) fn get_mut(&mut self, number: i64) -> Option<&mut T> {
        self.place(number).ok().map(|place| &mut self.0[place].1)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The numbers, each with its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &T)> {
        self.0.iter().map(|(number, value)| (*number, value))
    }

    /// Those of the numbers that are in `range`.
    pub(super) fn range(&self, range: Range<i64>) -> impl Iterator<Item = (i64, &T)> {
        let from = self.place(range.start).unwrap_or_else(|place| place);
        self.0[from..].iter().map(|(number, value)| (*number, value)).take_while(move |(number, _)| *number < range.end)
    }

    /// Where `number` stands, or where it would.
    fn place(&self, number: i64) -> Result<usize, usize> {
        let (Some((first, _)), Some((last, _))) = (self.0.first(), self.0.last()) else { return Err(0) };
        if number > *last {
            return Err(self.0.len());
        }
        let guess = number.checked_sub(*first).and_then(|far| usize::try_from(far).ok());
        match guess.and_then(|guess| Some((guess, self.0.get(guess)?.0))) {
            Some((guess, found)) if found == number => Ok(guess),
            _ => self.0.binary_search_by_key(&number, |(number, _)| *number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_whatever_is_missing_between_them_and_however_they_came() {
        for came in [vec![5, 6, 7, 9, 12], vec![12, 5, 9, 6, 7, 9], vec![-3, 0, 1, 40]] {
            let mut map = Ascending::default();
            came.iter().for_each(|number| map.insert(*number, number * 10));
            let mut sorted = came.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(map.iter().map(|(number, _)| number).collect::<Vec<_>>(), sorted);
            for number in -5..45 {
                let known = came.contains(&number).then_some(number * 10);
                assert_eq!(map.get(number).copied(), known, "{number} of {came:?}");
                let behind: Vec<i64> = map.range(number..10).map(|(number, _)| number).collect();
                let expected: Vec<i64> = sorted.iter().copied().filter(|one| (number..10).contains(one)).collect();
                assert_eq!(behind, expected, "{number}..10 of {came:?}");
            }
        }
        assert_eq!(Ascending::<i64>::default().get(0), None);
    }
}
