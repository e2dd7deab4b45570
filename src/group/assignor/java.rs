//! The order in which Java's hash tables give what they hold: by bucket, and in a bucket by arrival.
//!
//! What arrives together is taken to arrive in the order given here.

use std::cmp::Ordering;

use crate::base::TopicId;

/// Java's hash of a string, over its UTF-16 units.
pub(super) fn hash_of_string(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

/// Kafka's hash of an id.
pub(super) fn hash_of_id(id: TopicId) -> u32 {
    let (most, least) = halves(id);
    let mixed = (most ^ least) as u64;
    (mixed >> 32) as u32 ^ mixed as u32
}

/// Kafka's order of ids: of two signed numbers.
pub(super) fn compare_ids(a: TopicId, b: TopicId) -> Ordering {
    halves(a).cmp(&halves(b))
}

fn halves(id: TopicId) -> (i64, i64) {
    let bits = u128::from_be_bytes(id.0);
    ((bits >> 64) as i64, bits as i64)
}

/// Java's order of strings: by UTF-16 units.
pub(super) fn compare_strings(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// The order of a table that grew as these were put in.
pub(super) fn in_order_of_table<T>(items: impl IntoIterator<Item = T>, hash: impl Fn(&T) -> u32) -> Vec<T> {
    let items: Vec<T> = items.into_iter().collect();
    let mut buckets = 16;
    // It doubles when it is more than three quarters full.
    while items.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    by_bucket(items, buckets, hash)
}

/// The order of a set made from all of these at once.
pub(super) fn in_order_of_set<T>(items: impl IntoIterator<Item = T>, hash: impl Fn(&T) -> u32) -> Vec<T> {
    let items: Vec<T> = items.into_iter().collect();
    let room = (items.len() as f32 / 0.75) as usize + 1;
    by_bucket(items, room.max(16).next_power_of_two(), hash)
}

/// The order of a set of strings made from all of these at once.
pub(in crate::group) fn in_order_of_strings<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    in_order_of_set(items, |item| hash_of_string(item.as_ref()))
}

/// The order of a table whose keys are these.
pub(in crate::group) fn in_order_of_ids(ids: impl IntoIterator<Item = TopicId>) -> Vec<TopicId> {
    in_order_of_table(ids, |id| hash_of_id(*id))
}

fn by_bucket<T>(mut items: Vec<T>, buckets: usize, hash: impl Fn(&T) -> u32) -> Vec<T> {
    let bucket = |item: &T| {
        let hash = hash(item);
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    };
    items.sort_by_key(bucket);
    items
}
