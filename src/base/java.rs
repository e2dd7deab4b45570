//! What Kafka takes from Java.

/// `String.hashCode()`.
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The partition of an internal topic with `partitions` that coordinates `id`, as Kafka chooses it.
pub fn coordinating_partition(id: &str, partitions: i32) -> i32 {
    // Kafka's absolute value of the least number is 0.
    string_hash(id).checked_abs().unwrap_or(0) % partitions.max(1)
}
