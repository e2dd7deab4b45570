//! The life of the process.

use super::World;

/// Waits until the scenario asks the process to stop.
pub async fn shutdown_requested() {
    let world = World::current();
    let Some(here) = world.here() else { return std::future::pending().await };
    let stop = world.lock().hosts[&here.host].stop.clone();
    stop.asked().await;
}
