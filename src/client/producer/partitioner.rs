//! Which partition a record goes to: the one given, the one of its key, or one for a while.

use rand::Rng;

use crate::base::random::Random;

/// Kafka's murmur2 of a key, as the Java client computes it.
pub fn murmur2(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a key among `count`.
pub fn of_key(key: &[u8], count: usize) -> usize {
    (murmur2(key) & i32::MAX) as usize % count
}

/// Chooses for records without a key: one partition until a batch's worth of bytes went there (KIP-794).
#[derive(Debug, Default)]
pub struct Sticky {
    current: Option<usize>,
    bytes: usize,
}

impl Sticky {
    /// The partition, among `count`, of a record of `size_bytes`.
    pub fn choose(&mut self, count: usize, size_bytes: usize, batch_bytes: usize, random: &mut Random) -> usize {
        let current = self.current.filter(|current| *current < count && self.bytes < batch_bytes);
        let chosen = current.unwrap_or_else(|| {
            self.bytes = 0;
            random.random_range(0..count)
        });
        self.bytes += size_bytes;
        self.current = Some(chosen);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn records_without_a_key_stay_together_for_one_batch() {
        let (mut sticky, mut random) = (Sticky::default(), random::stream(1, "test"));
        let chosen: Vec<usize> = (0..60).map(|_| sticky.choose(6, 10, 100, &mut random)).collect();
        for batch in chosen.chunks(10) {
            assert!(batch.iter().all(|partition| partition == &batch[0]), "{chosen:?}");
        }
        assert!(chosen.iter().any(|partition| partition != &chosen[0]), "{chosen:?}");
    }
}
