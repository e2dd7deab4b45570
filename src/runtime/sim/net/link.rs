//! One direction between two hosts: how long a packet takes over it, and what may not pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::Rng;

use crate::base::{Time, random::Random};

/// Latency of a link that nothing slows, in microseconds.
const LATENCY_US: std::ops::Range<u64> = 1_000..3_000;
/// How long a retransmission may wait after healing.
pub const RETRANSMIT_MS: u64 = 200;
/// The longest wait for one retransmission.
const RETRANSMIT_MAX: Duration = Duration::from_secs(10);

/// One direction between two hosts.
pub struct Link {
    pub random: Random,
    pub cut: bool,
    pub slow: Duration,
    pub held: BTreeSet<String>,
    /// How many messages of an API are still to be dropped.
    pub dropped: BTreeMap<String, u64>,
    /// Of a hundred packets so many are lost.
    pub loss_percent: u8,
    pub bytes_per_second: Option<u64>,
    /// When the last of what was sent so far has gone over a link of limited bandwidth.
    pub busy_until: Time,
}

impl Link {
    pub fn new(random: Random) -> Self {
        Self {
            random,
            cut: false,
            slow: Duration::ZERO,
            held: BTreeSet::new(),
            dropped: BTreeMap::new(),
            loss_percent: 0,
            bytes_per_second: None,
            busy_until: Time::ZERO,
        }
    }

    /// How long a packet takes, lost ones and all: each is sent again when it was waited for, twice as long each time.
    pub fn delay(&mut self) -> Duration {
        let mut delay = Duration::from_micros(self.random.random_range(LATENCY_US)) + self.slow;
        let mut wait = Duration::from_millis(RETRANSMIT_MS);
        while self.loss_percent > 0 && self.random.random_range(0..100) < self.loss_percent {
            delay += wait;
            wait = (wait * 2).min(RETRANSMIT_MAX);
        }
        delay
    }

    /// When so many bytes have left, after those that were sent before.
    pub fn transmit(&mut self, bytes: usize, now: Time) -> Time {
        let Some(rate) = self.bytes_per_second else { return now };
        let takes = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate);
        self.busy_until = self.busy_until.max(now) + takes;
        self.busy_until
    }

    /// Whether a message of this API is dropped: counts it.
    pub fn drops(&mut self, api: &str) -> bool {
        let Some(left) = self.dropped.get_mut(api) else { return false };
        *left -= 1;
        if *left == 0 {
            self.dropped.remove(api);
        }
        true
    }
}
