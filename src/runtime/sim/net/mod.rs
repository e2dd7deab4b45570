//! The simulated TCP: connections over links that have latency, lose packets, and can be cut, slowed and held.
//!
//! Bytes of a connection that stands are never lost and never reordered: a cut link is a black hole, in which nothing
//! arrives and nothing is refused, and what was sent comes after healing, with the delay of a retransmission. A message
//! travels as a whole. A lost packet costs the time of its retransmission; a message is lost for good only with its
//! connection, as by a middlebox that gives it up. The sender may have [`WINDOW_BYTES`] under way or unread; the
//! receiver's acknowledgements need the way back.
//!
//! | the peer | connecting | an open connection |
//! |---|---|---|
//! | process dead, host alive | refused after a round trip | reset |
//! | host dead, or link cut | no answer | no answer; reset once the host is back |
//! | paused | accepted | bytes wait |

mod link;
mod network;

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use bytes::BytesMut;
pub(super) use network::Network;
use network::{Due, Outcome};
use tokio::sync::Notify;

use super::{super::Message, World, world::Incarnation};
use crate::{
    base::Time,
    runtime::clock,
    trace::{self, Event, EventId},
};

/// Bytes that a sender may have under way or unread at the receiver.
const WINDOW_BYTES: usize = 256 * 1024;

/// Accepts connections on one address.
pub struct Listener {
    here: Incarnation,
    address: String,
}

impl Listener {
    /// Listens on `address`, `host:port` with this host's name.
    ///
    /// # Errors
    /// The address is taken, or not of this host.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let world = World::current();
        let here = world.here().expect("a listener belongs to a host");
        world.only_alive(&here).await;
        if address.split(':').next() != Some(&*here.host) {
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, format!("{address} is not of {}", here.host)));
        }
        world.lock().network.listen(address, &here)?;
        Ok(Self { here, address: address.to_owned() })
    }

    /// The address listened on.
    ///
    /// # Errors
    /// None in simulation.
    pub fn local_address(&self) -> io::Result<String> {
        Ok(self.address.clone())
    }

    /// Waits for the next connection; gives its halves and the peer's address.
    ///
    /// # Errors
    /// None in simulation.
    pub async fn accept(&self) -> io::Result<(Reader, Writer, String)> {
        let world = World::current();
        world.only_alive(&self.here).await;
        let (connection, peer) =
            std::future::poll_fn(|context| world.lock().network.poll_accept(&self.address, context)).await;
        Ok((Reader::new(connection, 1, &self.here), Writer { connection, side: 1, here: self.here.clone() }, peer))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let world = World::current();
        let mut state = world.lock();
        if self.here.is_alive() {
            state.network.unlisten(&self.address);
        }
    }
}

/// Connects to `address` (`host:port`). Has no time limit of its own.
///
/// # Errors
/// Refused: nobody listens there.
pub async fn connect(address: &str) -> io::Result<(Reader, Writer)> {
    let world = World::current();
    let here = world.here().expect("a connection begins at a host");
    let peer: Arc<str> = address.split(':').next().unwrap_or(address).into();
    if !world.lock().hosts.contains_key(&peer) {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no host is called {peer}")));
    }
    cross(&world, &here.host, &peer).await;
    let accepted = loop {
        world.only_alive(&here).await;
        let changed = world.0.changed.notified();
        match attempt(&world, address, &here, &peer) {
            Some(accepted) => break accepted,
            None => changed.await,
        }
    };
    cross(&world, &peer, &here.host).await;
    world.only_alive(&here).await;
    match accepted {
        Some(connection) => Ok((Reader::new(connection, 0, &here), Writer { connection, side: 0, here })),
        None => {
            let reason: Arc<str> = "refused".into();
            world.report(&here.host, trace::current_cause(), Event::ConnectFailed { to: peer, reason });
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }
}

/// The peer's answer to a connection attempt that has reached it: a connection, or a refusal; `None`: no answer, since
/// the host has no power.
fn attempt(world: &World, address: &str, here: &Incarnation, peer: &Arc<str>) -> Option<Option<u64>> {
    let mut guard = world.lock();
    let state = &mut *guard;
    let host = &state.hosts[peer];
    host.powered.then(|| state.network.open(address, here, &host.incarnation))
}

/// Waits until a packet has gone from `from` to `to`.
async fn cross(world: &World, from: &Arc<str>, to: &Arc<str>) {
    loop {
        let changed = world.0.changed.notified();
        let delay = world.lock().network.delay(from, to);
        match delay {
            Some(delay) => return madsim::time::sleep(delay).await,
            None => changed.await,
        }
    }
}

/// The receiving half.
pub struct Reader {
    connection: u64,
    side: usize,
    here: Incarnation,
    cause: Option<EventId>,
}

impl Reader {
    fn new(connection: u64, side: usize, here: &Incarnation) -> Self {
        Self { connection, side, here: here.clone(), cause: None }
    }

    /// Appends the next message to `buffer`, waiting for it. 0: the peer closed.
    ///
    /// # Errors
    /// The connection was reset.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let world = World::current();
        world.only_alive(&self.here).await;
        let polled = std::future::poll_fn(|context| {
            let mut state = world.lock();
            if !self.here.is_alive() {
                return Poll::Pending;
            }
            state.network.poll_read(self.connection, self.side, context)
        });
        let Some((chunks, cause)) = polled.await? else { return Ok(0) };
        self.cause = cause;
        let before = buffer.len();
        chunks.iter().for_each(|chunk| buffer.extend_from_slice(chunk));
        Ok(buffer.len() - before)
    }

    /// The event that put the latest bytes read on the wire.
    pub fn cause(&self) -> Option<EventId> {
        self.cause
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let world = World::current();
        let mut state = world.lock();
        if self.here.is_alive() {
            state.network.stop_reading(self.connection, self.side);
        }
    }
}

/// The sending half. Dropping it closes the direction.
pub struct Writer {
    connection: u64,
    side: usize,
    here: Incarnation,
}

impl Writer {
    /// Sends a message as a whole. Waits while the peer does not read.
    ///
    /// # Errors
    /// The connection is closed or was reset.
    pub async fn write(&mut self, message: Message) -> io::Result<()> {
        let world = World::current();
        world.only_alive(&self.here).await;
        std::future::poll_fn(|context| world.lock().network.poll_room(self.connection, self.side, context)).await?;
        let (label, bytes) = (message.label, message.len());
        let to = world.lock().network.peer_of(self.connection, self.side);
        let event = Event::MessageSent {
            to,
            api: label.api.into(),
            request: label.request,
            correlation: label.correlation,
            bytes,
        };
        let sent = world.report(&self.here.host, label.cause.or_else(trace::current_cause), event);
        if let Some(sent) = sent {
            world.carried(sent, label.version, &message.chunks);
        }
        // The event may have ended this process, or cut the link.
        world.only_alive(&self.here).await;
        let held = {
            let mut state = world.lock();
            let segment = network::Segment::message(message, sent);
            state.network.send(self.connection, self.side, segment, clock::world_now())
        };
        report(&world, held);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let world = World::current();
        let mut state = world.lock();
        if self.here.is_alive() {
            let due = state.network.send(self.connection, self.side, network::Segment::end(), clock::world_now());
            drop(state);
            report(&world, due);
        }
    }
}

/// Acts on what the network says came of something: reports events and sets timers. Nothing is locked.
fn report(world: &World, outcomes: Vec<Outcome>) {
    for outcome in outcomes {
        match outcome {
            Outcome::Event { host, cause, event } => {
                world.report(&host, cause, event);
            }
            Outcome::Timer(at) => set_timer(world, at),
        }
    }
}

/// Has the pump look at what is due at `at`. One timer, no task: the executor's timer wakes the pump itself.
fn set_timer(world: &World, at: Time) {
    let bell = world.lock().network.bell();
    let waker = Waker::from(Arc::new(Ring(bell)));
    let sleep = World::time().sleep(at.since(clock::world_now()));
    tokio::pin!(sleep);
    // The first poll registers the timer, which outlives the future.
    let _ = sleep.as_mut().poll(&mut Context::from_waker(&waker));
}

struct Ring(Arc<Notify>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Delivers what is due, for as long as the world lasts.
pub(super) async fn pump(world: World) {
    let bell = world.lock().network.bell();
    loop {
        bell.notified().await;
        while let Some(due) = {
            let mut state = world.lock();
            state.network.next_due(clock::world_now())
        } {
            deliver(&world, &due);
        }
    }
}

fn deliver(world: &World, due: &Due) {
    let outcomes = {
        let mut guard = world.lock();
        let state = &mut *guard;
        let hosts = &state.hosts;
        let powered = |host: &Arc<str>| hosts[host].powered;
        state.network.deliver(due, powered, clock::world_now())
    };
    report(world, outcomes);
}

impl World {
    /// Cuts the way from `from` to `to`: nothing that is sent arrives, until it is healed.
    pub fn cut(&self, from: &str, to: &str) {
        self.lock().network.cut(from, to);
    }

    /// Heals the way from `from` to `to`: what waited comes after a retransmission.
    pub fn heal(&self, from: &str, to: &str) {
        let outcomes = self.lock().network.heal(from, to, clock::world_now());
        report(self, outcomes);
        self.0.changed.notify_waiters();
    }

    /// Adds `delay` to everything sent from `from` to `to`; zero ends that.
    pub fn slow(&self, from: &str, to: &str, delay: std::time::Duration) {
        self.lock().network.slow(from, to, delay);
    }

    /// Keeps back messages of `api` from `from` to `to`, and what follows them on the same connections.
    pub fn hold(&self, from: &str, to: &str, api: &str) {
        self.lock().network.hold(from, to, api);
    }

    /// The next `count` messages of `api` from `from` to `to` are lost, and their connections are reset.
    pub fn drop_next(&self, from: &str, to: &str, api: &str, count: u64) {
        self.lock().network.drop_next(from, to, api, count);
    }

    /// What was still to be dropped from `from` to `to` will arrive.
    pub fn drop_nothing(&self, from: &str, to: &str) {
        self.lock().network.drop_nothing(from, to);
    }

    /// Of a hundred packets from `from` to `to` so many are lost and sent again; zero ends that.
    pub fn lose(&self, from: &str, to: &str, percent: u8) {
        assert!(percent < 100, "a link that loses everything is cut");
        self.lock().network.lose(from, to, percent);
    }

    /// No more than `bytes_per_second` go from `from` to `to`; `None` ends that.
    pub fn limit(&self, from: &str, to: &str, bytes_per_second: Option<u64>) {
        self.lock().network.limit(from, to, bytes_per_second);
    }

    /// Lets go what was kept back: of `api`, or of every API.
    pub fn release(&self, from: &str, to: &str, api: Option<&str>) {
        let outcomes = self.lock().network.release(from, to, api, clock::world_now());
        report(self, outcomes);
    }

    /// Peers of `host` learn that the process they were connected to is gone.
    pub(super) fn reset_connections_of(&self, host: &Arc<str>) {
        let outcomes = {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.network.forget_listeners(host);
            state.network.reset_old(host, clock::world_now())
        };
        report(self, outcomes);
    }
}
