//! The state of all links and connections, without time of its own: every method is told the time and says what came
//! of it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use rand::Rng;
use tokio::sync::Notify;

use super::{
    super::world::Incarnation,
    Message, WINDOW_BYTES,
    link::{Link, RETRANSMIT_MS},
};
use crate::{
    base::{Time, random},
    trace::{Event, EventId},
};

/// Everything between the hosts.
pub struct Network {
    seed: u64,
    links: Vec<Link>,
    /// Which is which, by where from, then where to.
    link_numbers: BTreeMap<Arc<str>, BTreeMap<Arc<str>, usize>>,
    listeners: BTreeMap<String, Accepting>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    queue: BinaryHeap<Reverse<Due>>,
    next_due: u64,
    bell: Arc<Notify>,
}

struct Accepting {
    owner: Incarnation,
    waiting: VecDeque<(u64, String)>,
    waker: Option<Waker>,
}

/// A connection: side 0 connected, side 1 accepted.
struct Connection {
    ends: [Incarnation; 2],
    /// What side `n` sends, and the number of its link.
    directions: [Direction; 2],
    links: [usize; 2],
    /// A cut link swallowed the reset that side `n` sent; it is sent again after healing.
    swallowed_reset: [bool; 2],
}

#[derive(Default)]
struct Direction {
    under_way: VecDeque<Segment>,
    arrived: VecDeque<Segment>,
    /// Bytes that count against the window.
    unacknowledged: usize,
    /// Bytes read whose acknowledgement could not cross a cut link.
    read_unacknowledged: usize,
    /// The head has a timer.
    scheduled: bool,
    /// Arrival of the segment before: a connection keeps its order.
    last_arrival: Time,
    reset: bool,
    nobody_reads: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One message under way, or the end of a direction.
pub struct Segment {
    message: Option<Message>,
    sent: Option<EventId>,
    arrival: Time,
    reported_held: bool,
}

impl Segment {
    /// A message that event `sent` put on the wire.
    pub fn message(message: Message, sent: Option<EventId>) -> Self {
        Self { message: Some(message), sent, arrival: Time::ZERO, reported_held: false }
    }

    /// The end of the direction.
    pub fn end() -> Self {
        Self { message: None, sent: None, arrival: Time::ZERO, reported_held: false }
    }

    fn bytes(&self) -> usize {
        self.message.as_ref().map_or(0, Message::len)
    }

    /// It never arrives.
    fn lost(&self, from: &Arc<str>, to: &Arc<str>, reason: &str) -> Option<Outcome> {
        let (message, sent) = (self.message.as_ref()?, self.sent?);
        let event = Event::MessageLost { sent, to: to.clone(), api: message.label.api.into(), reason: reason.into() };
        Some(Outcome::Event { host: from.clone(), cause: Some(sent), event })
    }
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    at: Time,
    number: u64,
    connection: u64,
    side: usize,
    reset: bool,
}

/// What came of something: to be reported, or looked at again later.
pub enum Outcome {
    /// Tell the journal.
    Event {
        /// Whose event.
        host: Arc<str>,
        /// Why.
        cause: Option<EventId>,
        /// What.
        event: Event,
    },
    /// Look at what is due then.
    Timer(Time),
}

impl Network {
    /// No hosts, no links.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            links: Vec::new(),
            link_numbers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 1,
            queue: BinaryHeap::new(),
            next_due: 0,
            bell: Arc::default(),
        }
    }

    /// Rung when something is due.
    pub fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }

    fn link_number(&mut self, from: &str, to: &str) -> usize {
        if let Some(number) = self.link_numbers.get(from).and_then(|numbers| numbers.get(to)) {
            return *number;
        }
        let random = random::stream(self.seed, &format!("net:{from}>{to}"));
        self.links.push(Link::new(random));
        self.link_numbers.entry(from.into()).or_default().insert(to.into(), self.links.len() - 1);
        self.links.len() - 1
    }

    fn link(&mut self, from: &str, to: &str) -> &mut Link {
        let number = self.link_number(from, to);
        &mut self.links[number]
    }

    /// How long a packet takes now, `None` on a cut link.
    pub fn delay(&mut self, from: &str, to: &str) -> Option<Duration> {
        let link = self.link(from, to);
        (!link.cut).then(|| link.delay())
    }

    pub fn listen(&mut self, address: &str, owner: &Incarnation) -> io::Result<()> {
        if self.listeners.contains_key(address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let accepting = Accepting { owner: owner.clone(), waiting: VecDeque::new(), waker: None };
        self.listeners.insert(address.to_owned(), accepting);
        Ok(())
    }

    pub fn unlisten(&mut self, address: &str) {
        self.listeners.remove(address);
    }

    /// The process of `host` is gone, and its listeners with it.
    pub fn forget_listeners(&mut self, host: &str) {
        self.listeners.retain(|_, accepting| &*accepting.owner.host != host);
    }

    /// Makes a connection to whoever listens on `address` in incarnation `there`; `None`: nobody does.
    pub fn open(&mut self, address: &str, here: &Incarnation, there: &Incarnation) -> Option<u64> {
        let accepting = self.listeners.get_mut(address).filter(|accepting| accepting.owner.number == there.number)?;
        let id = self.next_connection;
        self.next_connection += 1;
        accepting.waiting.push_back((id, format!("{}:{}", here.host, 30_000 + id)));
        accepting.waker.take().into_iter().for_each(Waker::wake);
        let links = [self.link_number(&here.host, &there.host), self.link_number(&there.host, &here.host)];
        let (ends, directions) = ([here.clone(), there.clone()], Default::default());
        self.connections.insert(id, Connection { ends, directions, links, swallowed_reset: [false; 2] });
        Some(id)
    }

    pub fn poll_accept(&mut self, address: &str, context: &mut Context<'_>) -> Poll<(u64, String)> {
        let Some(accepting) = self.listeners.get_mut(address) else { return Poll::Pending };
        match accepting.waiting.pop_front() {
            Some(accepted) => Poll::Ready(accepted),
            None => {
                accepting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    pub fn peer_of(&self, connection: u64, side: usize) -> Arc<str> {
        self.connections.get(&connection).map_or_else(|| "".into(), |known| known.ends[1 - side].host.clone())
    }

    /// Ready when there is room for another message.
    pub fn poll_room(&mut self, connection: u64, side: usize, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(known) = self.connections.get_mut(&connection) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let direction = &mut known.directions[side];
        if direction.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if direction.unacknowledged < WINDOW_BYTES {
            return Poll::Ready(Ok(()));
        }
        direction.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Puts a segment on the wire.
    pub fn send(&mut self, connection: u64, side: usize, mut segment: Segment, now: Time) -> Vec<Outcome> {
        let Some(known) = self.connections.get_mut(&connection) else { return Vec::new() };
        let link = &mut self.links[known.links[side]];
        let gone = link.transmit(segment.bytes(), now);
        let delay = link.delay();
        let direction = &mut known.directions[side];
        segment.arrival = (gone + delay).max(direction.last_arrival);
        direction.last_arrival = segment.arrival;
        direction.unacknowledged += segment.bytes();
        direction.under_way.push_back(segment);
        self.schedule(connection, side, now)
    }

    /// Sets a timer for the head of a direction, if it may go and has none.
    fn schedule(&mut self, connection: u64, side: usize, now: Time) -> Vec<Outcome> {
        let Some(known) = self.connections.get_mut(&connection) else { return Vec::new() };
        let (link, direction) = (&self.links[known.links[side]], &mut known.directions[side]);
        let Some(head) = direction.under_way.front_mut().filter(|_| !direction.scheduled && !link.cut) else {
            return Vec::new();
        };
        let api = head.message.as_ref().map(|message| message.label.api);
        if let Some(api) = api.filter(|api| link.held.contains(*api)) {
            if std::mem::replace(&mut head.reported_held, true) {
                return Vec::new();
            }
            let Some(sent) = head.sent else { return Vec::new() };
            let (from, to) = (known.ends[side].host.clone(), known.ends[1 - side].host.clone());
            let event = Event::MessageHeld { sent, to, api: api.into() };
            return vec![Outcome::Event { host: from, cause: Some(sent), event }];
        }
        direction.scheduled = true;
        // The executor's timers wait at least a millisecond.
        let at = head.arrival.max(now + Duration::from_millis(1));
        self.push(at, connection, side, false)
    }

    fn push(&mut self, at: Time, connection: u64, side: usize, reset: bool) -> Vec<Outcome> {
        self.next_due += 1;
        self.queue.push(Reverse(Due { at, number: self.next_due, connection, side, reset }));
        vec![Outcome::Timer(at)]
    }

    /// Takes the next thing that is due.
    pub fn next_due(&mut self, now: Time) -> Option<Due> {
        match self.queue.peek() {
            Some(Reverse(due)) if due.at <= now => self.queue.pop().map(|Reverse(due)| due),
            _ => None,
        }
    }

    /// A segment, or a reset, reaches its end of the link. `powered` tells whether a host has power.
    pub fn deliver(&mut self, due: &Due, powered: impl Fn(&Arc<str>) -> bool, now: Time) -> Vec<Outcome> {
        let Some(known) = self.connections.get_mut(&due.connection) else { return Vec::new() };
        let (sender, receiver) = (known.ends[due.side].clone(), known.ends[1 - due.side].clone());
        let is_cut = self.links[known.links[due.side]].cut;
        if due.reset {
            // A host without power resets nothing: it does so once it is back.
            let powered = powered(&sender.host);
            known.swallowed_reset[due.side] = is_cut && powered;
            return match !is_cut && powered {
                true => self.reset_arrived(due.connection, due.side),
                false => Vec::new(),
            };
        }
        let direction = &mut known.directions[due.side];
        direction.scheduled = false;
        if is_cut || direction.under_way.front().is_none_or(|head| head.arrival > now + Duration::from_millis(1)) {
            return self.schedule(due.connection, due.side, now);
        }
        match receiver.is_alive() {
            true => {}
            // Nothing answers: the segment waits, and so does its sender.
            false if !powered(&receiver.host) => return Vec::new(),
            // The host answers that nobody is there.
            false => {
                let delay = self.links[known.links[1 - due.side]].delay();
                return self.push(now + delay, due.connection, 1 - due.side, true);
            }
        }
        let head = direction.under_way.front().expect("the head was looked at");
        if head.message.as_ref().is_some_and(|head| self.links[known.links[due.side]].drops(head.label.api)) {
            return self.give_up(due.connection, due.side);
        }
        let direction = &mut known.directions[due.side];
        let segment = direction.under_way.pop_front().expect("the head was looked at");
        let mut outcomes = Vec::new();
        if let (Some(message), Some(sent)) = (&segment.message, segment.sent) {
            let event = Event::MessageDelivered {
                sent,
                from: sender.host,
                api: message.label.api.into(),
                request: message.label.request,
                correlation: message.label.correlation,
            };
            outcomes.push(Outcome::Event { host: receiver.host, cause: Some(sent), event });
        }
        if direction.nobody_reads {
            direction.unacknowledged = direction.unacknowledged.saturating_sub(segment.bytes());
        } else {
            direction.arrived.push_back(segment);
        }
        direction.reader.take().into_iter().for_each(Waker::wake);
        outcomes.extend(self.schedule(due.connection, due.side, now));
        outcomes
    }

    /// A middlebox drops the head of what side `from` sends, and ends the connection at both sides.
    fn give_up(&mut self, connection: u64, from: usize) -> Vec<Outcome> {
        let known = self.connections.get_mut(&connection).expect("its head was looked at");
        let (sender, receiver) = (known.ends[from].clone(), known.ends[1 - from].host.clone());
        let head = known.directions[from].under_way.pop_front().expect("it was looked at");
        let mut outcomes: Vec<Outcome> = head.lost(&sender.host, &receiver, "dropped").into_iter().collect();
        outcomes.extend(self.reset_arrived(connection, from));
        if sender.is_alive() {
            let event = Event::ConnectionReset { to: receiver };
            outcomes.push(Outcome::Event { host: sender.host, cause: None, event });
        }
        outcomes
    }

    /// A reset from side `from` arrives at the other side: the connection is over there.
    fn reset_arrived(&mut self, connection: u64, from: usize) -> Vec<Outcome> {
        let Some(mut known) = self.connections.remove(&connection) else { return Vec::new() };
        let (dead, told) = (known.ends[from].clone(), known.ends[1 - from].clone());
        let mut outcomes = Vec::new();
        for (side, direction) in known.directions.iter_mut().enumerate() {
            let (from, to) = (&known.ends[side].host, &known.ends[1 - side].host);
            let lost = direction.under_way.drain(..).filter_map(|segment| segment.lost(from, to, "connection reset"));
            outcomes.extend(lost);
            direction.reader.take().into_iter().for_each(Waker::wake);
            direction.writer.take().into_iter().for_each(Waker::wake);
        }
        if told.is_alive() {
            let event = Event::ConnectionReset { to: dead.host };
            outcomes.push(Outcome::Event { host: told.host, cause: None, event });
        }
        outcomes
    }

    /// The next message for side `side`, or `None` at the end.
    #[expect(clippy::type_complexity, reason = "a poll of a result of what a reader gets")]
    pub fn poll_read(
        &mut self,
        connection: u64,
        side: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(Vec<Bytes>, Option<EventId>)>>> {
        let Some(known) = self.connections.get_mut(&connection) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let direction = &mut known.directions[1 - side];
        let Some(segment) = direction.arrived.pop_front() else {
            direction.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let bytes = segment.bytes();
        let Some(message) = segment.message else {
            // Every later read sees the end too.
            direction.arrived.push_back(Segment::end());
            return Poll::Ready(Ok(None));
        };
        if !self.links[known.links[side]].cut {
            direction.unacknowledged = direction.unacknowledged.saturating_sub(bytes);
            direction.writer.take().into_iter().for_each(Waker::wake);
        } else {
            direction.read_unacknowledged += bytes;
        }
        Poll::Ready(Ok(Some((message.chunks, segment.sent))))
    }

    /// Side `side` reads no more.
    pub fn stop_reading(&mut self, connection: u64, side: usize) {
        if let Some(known) = self.connections.get_mut(&connection) {
            let direction = &mut known.directions[1 - side];
            direction.nobody_reads = true;
            direction.unacknowledged = direction.under_way.iter().map(Segment::bytes).sum();
            direction.arrived.clear();
            direction.writer.take().into_iter().for_each(Waker::wake);
        }
    }

    pub fn cut(&mut self, from: &str, to: &str) {
        self.link(from, to).cut = true;
    }

    /// What waited is sent again - by those that still live: nobody does it for a dead process.
    pub fn heal(&mut self, from: &str, to: &str, now: Time) -> Vec<Outcome> {
        if !std::mem::replace(&mut self.link(from, to).cut, false) {
            return Vec::new();
        }
        let mut outcomes = Vec::new();
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            for side in 0..2 {
                let known = &self.connections[&id];
                let (sender, receiver) = (known.ends[side].host.clone(), known.ends[1 - side].host.clone());
                if &*sender == from && &*receiver == to {
                    let sends_again = known.ends[side].is_alive();
                    let link = self.link(from, to);
                    let wait = Duration::from_millis(link.random.random_range(0..RETRANSMIT_MS)) + link.delay();
                    let direction = &mut self.connections.get_mut(&id).expect("it was listed").directions[side];
                    if let Some(head) = direction.under_way.front_mut() {
                        head.arrival = head.arrival.max(now + wait);
                    }
                    if !sends_again {
                        let gone = std::mem::take(&mut direction.under_way);
                        outcomes
                            .extend(gone.iter().filter_map(|segment| segment.lost(&sender, &receiver, "sender died")));
                    }
                    outcomes.extend(self.schedule(id, side, now));
                } else if &*sender == to && &*receiver == from {
                    // Acknowledgements that waited.
                    let direction = &mut self.connections.get_mut(&id).expect("it was listed").directions[side];
                    let read = std::mem::take(&mut direction.read_unacknowledged);
                    direction.unacknowledged = direction.unacknowledged.saturating_sub(read);
                    direction.writer.take().into_iter().for_each(Waker::wake);
                }
            }
        }
        outcomes.extend(self.retry_resets(from, to, now));
        outcomes
    }

    pub fn slow(&mut self, from: &str, to: &str, delay: Duration) {
        self.link(from, to).slow = delay;
    }

    pub fn drop_next(&mut self, from: &str, to: &str, api: &str, count: u64) {
        self.link(from, to).dropped.insert(api.to_owned(), count);
    }

    pub fn drop_nothing(&mut self, from: &str, to: &str) {
        self.link(from, to).dropped.clear();
    }

    pub fn lose(&mut self, from: &str, to: &str, percent: u8) {
        self.link(from, to).loss_percent = percent;
    }

    pub fn limit(&mut self, from: &str, to: &str, bytes_per_second: Option<u64>) {
        let link = self.link(from, to);
        link.bytes_per_second = bytes_per_second;
        link.busy_until = Time::ZERO;
    }

    pub fn hold(&mut self, from: &str, to: &str, api: &str) {
        self.link(from, to).held.insert(api.to_owned());
    }

    pub fn release(&mut self, from: &str, to: &str, api: Option<&str>, now: Time) -> Vec<Outcome> {
        let link = self.link(from, to);
        match api {
            Some(api) => {
                link.held.remove(api);
            }
            None => link.held.clear(),
        }
        let of_link =
            |known: &Connection, side: usize| &*known.ends[side].host == from && &*known.ends[1 - side].host == to;
        let waiting: Vec<(u64, usize)> = self
            .connections
            .iter()
            .flat_map(|(id, known)| (0..2).filter(|side| of_link(known, *side)).map(|side| (*id, side)))
            .collect();
        waiting.into_iter().flat_map(|(id, side)| self.schedule(id, side, now)).collect()
    }

    /// Tells the peers of the processes of `host` that run no more.
    pub fn reset_old(&mut self, host: &Arc<str>, now: Time) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let gone = |end: &Incarnation| end.host == *host && !end.is_alive();
        let ids: Vec<(u64, usize)> =
            self.connections.iter().filter_map(|(id, known)| Some((*id, known.ends.iter().position(gone)?))).collect();
        for (id, side) in ids {
            let (dead, peer) = (host.clone(), self.connections[&id].ends[1 - side].host.clone());
            let delay = self.link(&dead, &peer).delay();
            outcomes.extend(self.push(now + delay.max(Duration::from_millis(1)), id, side, true));
        }
        outcomes
    }

    /// Resets that a cut link swallowed are sent again once it is healed, when the peer's next segment asks for them;
    /// for peers that only wait, as a keep-alive would.
    fn retry_resets(&mut self, from: &str, to: &str, now: Time) -> Vec<Outcome> {
        let swallowed = |known: &Connection, side: usize| {
            known.swallowed_reset[side] && &*known.ends[side].host == from && &*known.ends[1 - side].host == to
        };
        let waiting: Vec<(u64, usize)> = self
            .connections
            .iter()
            .filter_map(|(id, known)| Some((*id, (0..2).find(|side| swallowed(known, *side))?)))
            .collect();
        let mut outcomes = Vec::new();
        for (id, side) in waiting {
            let delay = self.link(from, to).delay() + Duration::from_millis(RETRANSMIT_MS);
            outcomes.extend(self.push(now + delay, id, side, true));
        }
        outcomes
    }
}
