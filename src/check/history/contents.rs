//! What is known of records by their content: a map that goes by the digest which each content has, since one that
//! compares them takes longer to build than all the questions to it. Its order is that in which they came.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use indexmap::{IndexMap, map::Entry};

use super::Content;

/// A content in a topic.
pub(super) type Key<'a> = (&'a Content, &'a str);

/// Values by content and topic; those of one key in the order in which they came.
pub(super) struct ByContent<'a, T>(IndexMap<Keyed<'a>, Values<T>, BuildHasherDefault<Digest>>);

/// At least one value: mostly one, which needs no list.
pub(super) struct Values<T> {
    first: T,
    others: Vec<T>,
}

impl<T> Values<T> {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl<'a, T> ByContent<'a, T> {
    /// The values of `pairs`, which are about `count`.
    pub(super) fn new(count: usize, pairs: impl Iterator<Item = (Key<'a>, T)>) -> Self {
        let mut map: IndexMap<Keyed<'a>, Values<T>, _> =
            IndexMap::with_capacity_and_hasher(count, BuildHasherDefault::default());
        for (key, value) in pairs {
            match map.entry(Keyed(key)) {
                Entry::Occupied(mut known) => known.get_mut().others.push(value),
                Entry::Vacant(unknown) => {
                    unknown.insert(Values { first: value, others: Vec::new() });
                }
            }
        }
        Self(map)
    }

    /// The values of one key.
    pub(super) fn get(&self, key: Key<'a>) -> Option<&Values<T>> {
        self.0.get(&Keyed(key))
    }

    /// The keys, each with its values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<'a>, &Values<T>)> {
        self.0.iter().map(|(key, values)| (key.0, values))
    }
}

#[derive(PartialEq, Eq)]
struct Keyed<'a>(Key<'a>);

/// By the digest alone: one content is rarely sent to two topics.
impl Hash for Keyed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.0.digest);
    }
}

/// The hash of a digest is itself.
#[derive(Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a key hashes its digest only");
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
