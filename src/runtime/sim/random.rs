//! Named streams derived from the seed, the host, its incarnation and how often the name was asked for.

use super::World;
use crate::base::random::{self, Random};

/// A fresh stream for the concern `name`.
pub fn stream(name: &str) -> Random {
    let world = World::current();
    let host = world.here().map_or_else(|| "world".to_owned(), |here| format!("{}.{}", here.host, here.number));
    let name = format!("{host}:{name}");
    let mut state = world.lock();
    let asked = state.streams.entry(name.clone()).or_default();
    *asked += 1;
    random::stream(world.0.seed, &format!("{name}:{asked}"))
}
