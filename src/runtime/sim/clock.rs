//! Simulated time: one monotonic clock for all, a wall clock for each host.

use std::time::Duration;

use super::World;
use crate::base::{Time, Timestamp};

/// Wall clocks begin here: the first of January 2026.
const WALL_BEGIN_MS: i64 = 1_767_225_600_000;
/// The executor cannot wait for ever; a year is as good.
const SLEEP_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Monotonic time since the world began.
pub fn now() -> Time {
    Time(u64::try_from(World::time().elapsed().as_nanos()).expect("a run is shorter than 500 years"))
}

/// Wall-clock milliseconds since 1970, as the host of the running task has them.
pub fn wall_ms() -> Timestamp {
    let world = World::current();
    let offset_ms = world.here().map_or(0, |here| world.lock().hosts[&here.host].wall_offset_ms);
    WALL_BEGIN_MS + offset_ms + i64::try_from(now().as_millis()).expect("a run is short")
}

/// Waits for `duration`, at least for a millisecond.
pub async fn sleep(duration: Duration) {
    madsim::time::sleep(duration.min(SLEEP_MAX)).await;
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
