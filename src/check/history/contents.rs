//! What is known of records by their content: a sorted list, because a map of 20,000 contents takes longer to build than
//! the questions to it.

use super::Content;

/// A content in a topic.
pub(super) type Key<'a> = (&'a Content, &'a str);

/// Values by content and topic; those of one key in the order in which they came.
pub(super) struct ByContent<'a, T>(Vec<(Key<'a>, T)>);

impl<'a, T> ByContent<'a, T> {
    /// The values of `pairs`.
    pub(super) fn new(pairs: impl Iterator<Item = (Key<'a>, T)>) -> Self {
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by_key(|(key, _)| *key);
        Self(pairs)
    }

    /// The values of one key.
    pub(super) fn get(&self, key: &Key<'a>) -> &[(Key<'a>, T)] {
        let begin = self.0.partition_point(|(known, _)| known < key);
        let rest = &self.0[begin..];
        &rest[..rest.iter().take_while(|(known, _)| known == key).count()]
    }

    /// The keys in order, each with its values.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[(Key<'a>, T)]> {
        self.0.chunk_by(|a, b| a.0 == b.0)
    }
}
