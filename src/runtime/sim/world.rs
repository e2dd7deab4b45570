//! The simulated world: hosts with one process each, what lies between them, and the faults that a scenario injects.
//!
//! Every method is synchronous and may be called from anywhere, also from inside a sink that takes an event - that is,
//! from inside any task. So no lock is held while an event is reported, and a process that is killed from inside its
//! own task has no effect on anything from then on: its calls never return.
//!
//! | what ends | page cache | peers learn |
//! |---|---|---|
//! | `stop`: the process returns | kept | connections are closed |
//! | `crash Kill` | kept | connections are reset, after the latency of the link |
//! | `crash Power` | lost but for what was synced and a seeded part of the rest | nothing, until the host is back |
//! | `crash Torn` | the same, but that the rest is torn into sectors | the same |

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use madsim::{runtime::Handle, task::NodeId, time::TimeHandle};
use tokio::sync::Notify;

use super::{clock::Drift, disk::Images, net::Network};
use crate::{
    runtime::DiskFault,
    trace::{Event, EventId, Sink, StopKind, Tracer},
};

/// What a world is made with.
#[derive(Clone, Copy, Debug)]
pub struct WorldConfig {
    /// The seed of everything.
    pub seed: u64,
    /// Simulated time after which the run is given up with a panic.
    pub time_limit: Duration,
}

/// The world of this process.
#[derive(Clone)]
pub struct World(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub seed: u64,
    sink: Arc<dyn Sink>,
    state: Mutex<State>,
    clock: TimeHandle,
    /// Some clock runs fast or slow or was stepped: only then does asking for the time need to know who asks.
    clocks_differ: AtomicBool,
    /// Some disk was broken: only then does writing need to ask whether it answers.
    disks_break: AtomicBool,
    /// Rung at every change of links and hosts: those who wait for one look again.
    pub changed: Notify,
}

pub(super) struct State {
    pub hosts: BTreeMap<Arc<str>, Host>,
    names: BTreeMap<NodeId, Arc<str>>,
    pub network: Network,
    pub disks: BTreeMap<Arc<str>, Images>,
    /// How often each stream of random numbers was asked for.
    pub streams: BTreeMap<String, u64>,
}

/// A host and the process on it.
pub(super) struct Host {
    node: NodeId,
    /// Its process: the one that runs (it may be paused), or the last that did.
    pub incarnation: Incarnation,
    /// The host answers: it has power.
    pub powered: bool,
    paused: bool,
    pub wall_offset_ms: i64,
    pub drift: Option<Drift>,
    pub stop: Arc<Stop>,
}

/// The request to a process to end.
#[derive(Default)]
pub(super) struct Stop {
    asked: AtomicBool,
    waiting: Notify,
}

impl Stop {
    /// Waits for the request.
    pub async fn asked(&self) {
        while !self.asked.load(Ordering::Relaxed) {
            self.waiting.notified().await;
        }
    }
}

/// One incarnation of the process on one host.
#[derive(Clone, Debug)]
pub(super) struct Incarnation {
    pub host: Arc<str>,
    pub number: u32,
    /// It is the one that runs: shared by all copies.
    alive: Arc<AtomicBool>,
}

impl Incarnation {
    fn begin(host: &Arc<str>, number: u32) -> Self {
        Self { host: host.clone(), number, alive: Arc::new(AtomicBool::new(true)) }
    }

    /// It runs no more. Whether it did until now.
    fn end(&self) -> bool {
        self.alive.swap(false, Ordering::Relaxed)
    }

    /// Whether it is the one that runs.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }
}

static WORLD: OnceLock<World> = OnceLock::new();

impl World {
    /// Runs `body` in a new world whose events go to `sink`. Once a process.
    ///
    /// # Panics
    /// In a process that has run a world already; when simulated time passes the limit; when nothing can ever happen.
    pub fn run<F, T>(config: &WorldConfig, sink: Arc<dyn Sink>, body: impl FnOnce(Self) -> F) -> T
    where
        F: Future<Output = T>,
    {
        let mut runtime = madsim::runtime::Runtime::with_seed_and_config(config.seed, madsim::Config::default());
        runtime.set_time_limit(config.time_limit);
        let state = State {
            hosts: BTreeMap::new(),
            names: BTreeMap::new(),
            network: Network::new(config.seed),
            disks: BTreeMap::new(),
            streams: BTreeMap::new(),
        };
        let (seed, state) = (config.seed, Mutex::new(state));
        runtime.block_on(async {
            let clock = TimeHandle::current();
            let (clocks_differ, disks_break) = <(AtomicBool, AtomicBool)>::default();
            let inner = Inner { seed, sink, state, clock, clocks_differ, disks_break, changed: Notify::new() };
            let world = Self(Arc::new(inner));
            assert!(WORLD.set(world.clone()).is_ok(), "one process runs one world");
            madsim::task::spawn(super::net::pump(world.clone()));
            body(world).await
        })
    }

    /// The world of this process.
    ///
    /// # Panics
    /// Outside of [`World::run`].
    pub fn current() -> Self {
        WORLD.get().expect("the simulation runs inside a world").clone()
    }

    /// The executor's clock.
    pub(super) fn time() -> &'static TimeHandle {
        &WORLD.get().expect("the simulation runs inside a world").0.clock
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic while the world is held")
    }

    /// Reports an event of `host`. Nothing may be locked.
    pub fn report(&self, host: &Arc<str>, cause: Option<EventId>, event: Event) -> Option<EventId> {
        self.0.sink.record(host, cause, event)
    }

    /// Shows the bytes of a message whose sending was reported.
    pub(super) fn carried(&self, sent: EventId, version: i16, frame: &[Bytes]) {
        self.0.sink.carried(sent, version, frame);
    }

    /// Adds a host and starts its process: `boot` is run at each start.
    pub fn add_host<F>(&self, name: &str, boot: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let name: Arc<str> = name.into();
        let (world, host) = (self.clone(), name.clone());
        let process = move || {
            let (world, host) = (world.clone(), host.clone());
            let run = Box::pin(boot());
            async move {
                let incarnation = world.incarnation(&host);
                run.await;
                world.ended(&incarnation);
            }
        };
        let node = Handle::current().create_node().name(&*name).init(process).build().id();
        let fresh = Host {
            node,
            incarnation: Incarnation::begin(&name, 1),
            powered: true,
            paused: false,
            wall_offset_ms: 0,
            drift: None,
            stop: Arc::default(),
        };
        let mut state = self.lock();
        state.names.insert(node, name.clone());
        state.disks.insert(name.clone(), Images::new(self.0.seed, &name));
        state.hosts.insert(name.clone(), fresh);
        drop(state);
        self.report(&name, None, Event::NodeStarted { incarnation: 1 });
    }

    /// A tracer of the process that runs on `host` now; once it is dead its events are dropped.
    pub fn tracer(&self, host: &str) -> Tracer {
        let incarnation = self.incarnation(host);
        Tracer::new(host, Arc::new(LiveSink { world: self.clone(), incarnation }))
    }

    fn incarnation(&self, host: &str) -> Incarnation {
        self.lock().hosts.get(host).expect("the host exists").incarnation.clone()
    }

    /// The incarnation in which the running task is; `None` outside of hosts.
    pub(super) fn here(&self) -> Option<Incarnation> {
        let state = self.lock();
        let host = state.names.get(&madsim::plugin::node())?;
        Some(state.hosts[host].incarnation.clone())
    }

    /// Waits for ever if this incarnation is dead: nothing that it asks for happens any more.
    pub(super) async fn only_alive(&self, incarnation: &Incarnation) {
        if !incarnation.is_alive() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the process on `host` runs.
    pub fn is_running(&self, host: &str) -> bool {
        self.lock().hosts.get(host).is_some_and(|known| known.incarnation.is_alive())
    }

    /// Whether the process on `host` was asked to shut down and has not ended yet.
    pub fn is_stopping(&self, host: &str) -> bool {
        let state = self.lock();
        let known = state.hosts.get(host);
        known.is_some_and(|known| known.incarnation.is_alive() && known.stop.asked.load(Ordering::Relaxed))
    }

    /// Ends the process on `host` at once. Nothing happens where none runs, but that a killed process's host can lose
    /// its power afterwards.
    pub fn crash(&self, host: &str, how: StopKind) {
        let name: Arc<str> = host.into();
        let mut state = self.lock();
        let known = state.hosts.get_mut(&name).expect("the host exists");
        let node = known.node;
        let was_running = known.incarnation.end();
        known.paused = false;
        if how.lost_power() {
            known.powered = false;
        }
        drop(state);
        // A host loses its power whether or not a process runs on it.
        if was_running || how.lost_power() {
            self.report(&name, None, Event::NodeStopped { how });
        }
        // Whoever heard of it may have started it again, and has killed what was left of it then.
        if was_running && !self.incarnation(&name).is_alive() {
            Handle::current().kill(node);
        }
        match how {
            StopKind::Power | StopKind::Torn => self.lose_power(&name, how),
            StopKind::Clean | StopKind::Kill => self.reset_connections_of(&name),
        }
        self.0.changed.notify_waiters();
    }

    /// The process returned by itself.
    fn ended(&self, incarnation: &Incarnation) {
        if !incarnation.end() {
            return;
        }
        self.report(&incarnation.host, None, Event::NodeStopped { how: StopKind::Clean });
        self.reset_connections_of(&incarnation.host);
        self.0.changed.notify_waiters();
    }

    /// Asks the process on `host` to shut down cleanly.
    pub fn stop(&self, host: &str) {
        let stop = self.lock().hosts.get(host).expect("the host exists").stop.clone();
        stop.asked.store(true, Ordering::Relaxed);
        stop.waiting.notify_waiters();
    }

    /// Starts the process on `host` again, with what its disk holds. Nothing happens where one runs.
    pub fn restart(&self, host: &str) {
        let name: Arc<str> = host.into();
        let mut state = self.lock();
        let known = state.hosts.get_mut(&name).expect("the host exists");
        if known.incarnation.is_alive() {
            return;
        }
        let (node, incarnation) = (known.node, known.incarnation.number + 1);
        known.incarnation = Incarnation::begin(&name, incarnation);
        (known.powered, known.paused, known.stop) = (true, false, Arc::default());
        drop(state);
        self.report(&name, None, Event::NodeStarted { incarnation });
        // Peers that still wait for the process before learn now that it is gone.
        self.reset_connections_of(&name);
        Handle::current().kill(node);
        Handle::current().restart(node);
        self.0.changed.notify_waiters();
    }

    /// Takes the CPU from the process on `host`; its clock and the network go on.
    pub fn pause(&self, host: &str) {
        self.set_paused(host, true);
    }

    /// Gives the CPU back.
    pub fn resume(&self, host: &str) {
        self.set_paused(host, false);
    }

    fn set_paused(&self, host: &str, paused: bool) {
        let name: Arc<str> = host.into();
        let mut state = self.lock();
        let known = state.hosts.get_mut(&name).expect("the host exists");
        if !known.incarnation.is_alive() || known.paused == paused {
            return;
        }
        known.paused = paused;
        let node = known.node;
        drop(state);
        if paused {
            self.report(&name, None, Event::NodePaused);
            Handle::current().pause(node);
        } else {
            self.report(&name, None, Event::NodeResumed);
            Handle::current().resume(node);
        }
    }

    /// Breaks the disk of `host`, beside what is wrong with it already.
    pub fn break_disk(&self, host: &str, fault: DiskFault) {
        self.0.disks_break.store(true, Ordering::Relaxed);
        self.lock().disks.get_mut(host).expect("a host has a disk").break_by(fault);
    }

    /// Lets a few bytes rot on the disk of `host`: of a file in `folder` those that `which` picks, by its name and
    /// content. Whether it picked some that have not rotted yet.
    pub fn rot(&self, host: &str, folder: &str, which: impl FnMut(&str, &[u8]) -> Option<Range<usize>>) -> bool {
        self.lock().disks.get_mut(host).expect("a host has a disk").rot(folder, which)
    }

    /// Ends everything that is wrong with the disk of `host`. What was lost stays lost.
    pub fn heal_disk(&self, host: &str) {
        self.lock().disks.get_mut(host).expect("a host has a disk").heal();
        self.0.changed.notify_waiters();
    }

    /// Puts an empty disk in the place of that of `host`.
    ///
    /// # Panics
    /// Its process runs.
    pub fn replace_disk(&self, host: &str) {
        assert!(!self.is_running(host), "{host} runs on the disk that is to be replaced");
        self.lock().disks.get_mut(host).expect("a host has a disk").replace();
        self.report(&host.into(), None, Event::DiskReplaced);
    }

    /// How many disks `host` had before the one that it has.
    pub fn disks_before(&self, host: &str) -> u32 {
        self.lock().disks[host].replaced
    }

    /// Steps the wall clock of `host` by `offset_ms`.
    pub fn step_wall_clock(&self, host: &str, offset_ms: i64) {
        self.0.clocks_differ.store(true, Ordering::Relaxed);
        self.lock().hosts.get_mut(host).expect("the host exists").wall_offset_ms += offset_ms;
    }

    /// Makes the clock of `host` gain `ppm` millionths from now on; less than none is a clock that loses.
    ///
    /// # Panics
    /// A clock that stands still or runs backwards: 1,000,000 ppm and more are lost.
    pub fn drift(&self, host: &str, ppm: i64) {
        assert!(ppm > -1_000_000, "a clock that loses {ppm} ppm does not go on");
        self.0.clocks_differ.store(true, Ordering::Relaxed);
        let now = super::clock::world_now();
        let mut state = self.lock();
        let known = state.hosts.get_mut(host).expect("the host exists");
        let local = known.drift.map_or(now, |drift| drift.local(now));
        known.drift = Some(Drift::new(now, local, ppm));
    }

    /// This world, if some disk in it was broken.
    pub(super) fn whose_disks_break() -> Option<&'static Self> {
        WORLD.get().filter(|world| world.0.disks_break.load(Ordering::Relaxed))
    }

    /// This world, if some clock in it is not the true one.
    pub(super) fn whose_clocks_differ() -> Option<&'static Self> {
        WORLD.get().filter(|world| world.0.clocks_differ.load(Ordering::Relaxed))
    }

    /// Takes a folder of a host away, as somebody who has the disk in hand.
    pub fn remove_folder(&self, host: &str, path: &str) {
        self.lock().disks.get_mut(host).expect("a host has a disk").remove_for_good(path);
    }

    fn lose_power(&self, host: &Arc<str>, how: StopKind) {
        let lost = self.lock().disks.get_mut(host).expect("a host has a disk").lose_power(how);
        self.lock().network.forget_listeners(host);
        if !lost.files.is_empty() {
            crate::base::mark::reach("unsynced_pages_lost");
            let files = lost.files.into_iter().map(Into::into).collect();
            self.report(host, None, Event::UnsyncedLost { files, bytes: lost.bytes });
        }
    }
}

/// Passes on the events of one incarnation for as long as it lives.
struct LiveSink {
    world: World,
    incarnation: Incarnation,
}

impl Sink for LiveSink {
    fn record(&self, node: &Arc<str>, cause: Option<EventId>, event: Event) -> Option<EventId> {
        if self.incarnation.is_alive() { self.world.report(node, cause, event) } else { None }
    }

    fn wants_detail(&self) -> bool {
        self.world.0.sink.wants_detail()
    }
}
