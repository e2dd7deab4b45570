//! What is known of records by their content: a sorted list, because a map of 20,000 contents takes longer to build than
//! the questions to it.

use super::Content;

/// A content in a topic.
pub(super) type Key<'a> = (&'a Content, &'a str);

/// Values by content and topic; those of one key in the order in which they came.
pub(super) struct ByContent<'a, T>(Vec<Entry<'a, T>>);

/// A key with its digest beside it, so that the search mostly does not go where the key is, and a value.
pub(super) type Entry<'a, T> = (u64, Key<'a>, T);

impl<'a, T> ByContent<'a, T> {
    /// The values of `pairs`.
    pub(super) fn new(pairs: impl Iterator<Item = (Key<'a>, T)>) -> Self {
        let mut entries: Vec<_> = pairs.map(|(key, value)| (key.0.digest, key, value)).collect();
        entries.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        Self(entries)
    }

    /// The entries of one key.
    pub(super) fn get(&self, key: &Key<'a>) -> &[Entry<'a, T>] {
        let wanted = (key.0.digest, *key);
        let begin = self.0.partition_point(|entry| (entry.0, entry.1) < wanted);
        let rest = &self.0[begin..];
        &rest[..rest.iter().take_while(|entry| (entry.0, entry.1) == wanted).count()]
    }

    /// The keys in order, each with its entries.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[Entry<'a, T>]> {
        self.0.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
    }
}
