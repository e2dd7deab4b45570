//! Randomness from the operating system.

use std::hash::{BuildHasher, RandomState};

use crate::base::random::{self, Random};

/// A fresh stream. `name` is its concern; in the deployment it only keeps two calls apart.
pub fn stream(name: &str) -> Random {
    // `RandomState` is keyed from the operating system's entropy once a thread and differs at each call.
    let entropy = RandomState::new().hash_one((name, std::process::id(), super::clock::wall_ms()));
    random::stream(entropy, name)
}
