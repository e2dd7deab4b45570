//! Named random streams: one for each concern, link, disk or node, all derived from the run's seed.
//!
//! Removing the use of one stream never shifts another, so that a scenario with one fault less still has the same
//! network delays.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use sha2::{Digest, Sha256};

/// One deterministic stream of random numbers. Use it through [`rand::Rng`].
pub type Random = Xoshiro256PlusPlus;

/// The stream called `name` of the run with this `seed`.
pub fn stream(seed: u64, name: &str) -> Random {
    let digest = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(name.as_bytes()).finalize();
    Xoshiro256PlusPlus::from_seed(digest.into())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_differ_by_name_and_by_seed_and_repeat() {
        let draw = |seed, name| stream(seed, name).random::<u64>();
        assert_eq!(draw(7, "net"), draw(7, "net"));
        assert_ne!(draw(7, "net"), draw(7, "disk"));
        assert_ne!(draw(7, "net"), draw(8, "net"));
    }
}
