//! Simulated time: one true time that the network and the story have, and a clock for each host, which shows that time
//! until a scenario makes it run fast or slow or steps its wall clock.

use std::time::Duration;

use super::World;
use crate::base::{Time, Timestamp};

/// Wall clocks begin here: the first of January 2026.
const WALL_BEGIN_MS: i64 = 1_767_225_600_000;
/// The executor cannot wait for ever; a year is as good.
const SLEEP_MAX: Duration = Duration::from_secs(365 * 86_400);

/// True time since the world began.
pub fn world_now() -> Time {
    Time(u64::try_from(World::time().elapsed().as_nanos()).expect("a run is shorter than 500 years"))
}

/// Monotonic time, as the host of the running task has it.
pub fn now() -> Time {
    match drift() {
        None => world_now(),
        Some(drift) => drift.local(world_now()),
    }
}

fn drift() -> Option<Drift> {
    let world = World::whose_clocks_differ()?;
    let here = world.here()?;
    world.lock().hosts[&here.host].drift
}

/// A clock that runs fast or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Since when, in true time, and what the clock showed then.
    since: (Time, Time),
    /// How much it gains, in millionths.
    ppm: i64,
}

impl Drift {
    /// A clock that shows `local` at `now` and gains `ppm` millionths from then on.
    pub fn new(now: Time, local: Time, ppm: i64) -> Self {
        Self { since: (now, local), ppm }
    }

    /// What the clock shows at the true time `now`.
    pub fn local(&self, now: Time) -> Time {
        let (since, local) = self.since;
        local + now.since(since).mul_f64(self.rate())
    }

    fn rate(&self) -> f64 {
        1.0 + self.ppm as f64 / 1e6
    }
}

/// Wall-clock milliseconds since 1970, as the host of the running task has them.
pub fn wall_ms() -> Timestamp {
    WALL_BEGIN_MS + wall_offset_ms().unwrap_or(0) + i64::try_from(now().as_millis()).expect("a run is short")
}

fn wall_offset_ms() -> Option<Timestamp> {
    let world = World::whose_clocks_differ()?;
    let here = world.here()?;
    Some(world.lock().hosts[&here.host].wall_offset_ms)
}

/// Waits for `duration`, at least for a millisecond.
pub async fn sleep(duration: Duration) {
    let duration = duration.min(SLEEP_MAX);
    let true_duration = drift().map_or(duration, |drift| duration.div_f64(drift.rate()));
    World::time().sleep(true_duration).await;
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Time) {
    sleep(deadline.since(now())).await;
}

/// The time limit passed before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for `future`, at most for `limit`.
///
/// # Errors
/// [`Elapsed`] when the limit passed first; the future is dropped.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep(limit) => Err(Elapsed),
    }
}
