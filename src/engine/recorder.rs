//! Takes every event of a run: into the journal, the view, the checkers - and fires the steps that it makes true, at
//! that very instant, before the code that reported it goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::{
    Missing,
    deed::{Deed, Links, Order},
    rot::{Place, place},
    script::Script,
};
use crate::{
    base::{Offset, TopicPartition, mark},
    broker::node::EndedSessions,
    check::{Ending, Oracle, Verdict},
    runtime::{clock, sim::World},
    scenario::{
        action::Action,
        file::Step,
        resolve::{Resolved, node_id},
        view::View,
    },
    trace::{
        self, Event, EventId, Sink,
        journal::{Entry, Journal},
    },
};

/// What is kept of a run beside its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Every event.
    Events,
    /// Every event, and the bytes of every message.
    Messages,
}

/// The bytes of a message.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The event that put it on the wire.
    pub sent: EventId,
    /// Its version.
    pub version: i16,
    /// The frame with its length prefix.
    pub frame: Vec<Bytes>,
}

/// Node name of the scenario's own events.
pub const SCENARIO: &str = "scenario";

/// Takes every event of a run.
pub struct Recorder {
    state: Mutex<State>,
    world: OnceLock<World>,
    orders: mpsc::UnboundedSender<Order>,
    /// How many orders about whole topics have not been carried out.
    topic_orders: AtomicUsize,
    /// Whose sessions the controller is to end.
    pub ended_sessions: EndedSessions,
    /// Rung at every event that the view may show.
    pub happened: Notify,
    /// Rung when another step is next, or none any more.
    pub turned: Notify,
}

struct State {
    journal: Journal,
    /// What was on the wire, if that is kept.
    carried: Option<Vec<Carried>>,
    view: View,
    oracle: Oracle,
    /// The run was judged: what happens now is of no interest.
    ended: bool,
    script: Script,
    faults: u64,
    /// Faults of links that have not ended, as they were written, with the links they concern.
    open_faults: BTreeMap<String, Vec<(String, String)>>,
    /// Faults of disks that have not ended, with the hosts they concern.
    open_disk_faults: BTreeMap<String, Vec<String>>,
    /// Corrupt batches: on which host, of which partition, from where on.
    corrupt: Vec<(String, TopicPartition, Offset)>,
}

impl Recorder {
    /// A recorder for a run of `resolved`, and the orders that its steps will give.
    pub fn new(resolved: &Resolved, keep: Keep) -> (Arc<Self>, mpsc::UnboundedReceiver<Order>) {
        let (orders, inbox) = mpsc::unbounded_channel();
        let state = State {
            journal: Journal::new(keep != Keep::Nothing),
            carried: (keep == Keep::Messages).then(Vec::new),
            view: View::new(resolved.cast.clone()),
            oracle: Oracle::new(resolved.plan.clone()),
            ended: false,
            script: Script::new(resolved.scenario.steps.clone(), resolved.latest.clone()),
            faults: 0,
            open_faults: BTreeMap::new(),
            open_disk_faults: BTreeMap::new(),
            corrupt: Vec::new(),
        };
        let recorder = Self {
            state: Mutex::new(state),
            world: OnceLock::new(),
            orders,
            topic_orders: AtomicUsize::new(0),
            ended_sessions: EndedSessions::default(),
            happened: Notify::new(),
            turned: Notify::new(),
        };
        (Arc::new(recorder), inbox)
    }

    /// The world that steps act on.
    pub fn set_world(&self, world: World) {
        assert!(self.world.set(world).is_ok(), "a recorder has one world");
    }

    fn world(&self) -> &World {
        self.world.get().expect("the world is set before the story begins")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the record is held")
    }

    /// Asks the view.
    pub fn look<T>(&self, question: impl FnOnce(&View) -> T) -> T {
        question(&self.lock().view)
    }

    /// An order was carried out, or could not be.
    pub fn order_ended(&self, order: &Order) {
        if order.is_about_a_topic() {
            self.topic_orders.fetch_sub(1, Ordering::Relaxed);
            // Nothing else may happen any more that would make anybody look.
            self.happened.notify_waiters();
        }
    }

    /// An order that decides which topics there are or who holds them, and is not carried out yet.
    pub fn unfinished_order(&self) -> Option<String> {
        let left = self.topic_orders.load(Ordering::Relaxed);
        (left > 0).then(|| format!("the operator has {left} orders about topics left"))
    }

    /// Reports an event of the scenario itself.
    pub fn report(&self, event: Event) -> Option<EventId> {
        self.record(&SCENARIO.into(), trace::current_cause(), event)
    }

    /// The story begins: steps may fire.
    pub fn begin(&self) {
        self.lock().script.begin(clock::world_now());
        self.fire(self.due());
    }

    /// Does what time asks for; returns when to look again at the latest.
    pub fn tick(&self) -> Option<crate::base::Time> {
        loop {
            self.fire(self.due());
            let mut state = self.lock();
            let State { script, view, .. } = &mut *state;
            if !script.give_up(clock::world_now(), view) {
                return script.next_time();
            }
        }
    }

    /// Whether every step fired, or one never will.
    pub fn story_is_over(&self) -> bool {
        self.lock().script.is_over()
    }

    /// The step that fires now although nothing happens.
    fn due(&self) -> Option<(usize, Step)> {
        let mut state = self.lock();
        let State { script, view, .. } = &mut *state;
        script.fire(clock::world_now(), view, None)
    }

    /// Fires a step that is due, and steps for as long as another is.
    fn fire(&self, mut due: Option<(usize, Step)>) {
        while let Some((number, step)) = due {
            match self.resolve(&step.actions.value) {
                Ok(deeds) => {
                    self.perform(number, &step, deeds);
                    self.lock().script.done(clock::world_now());
                }
                Err(problem) => self.lock().script.fail(problem, clock::world_now()),
            }
            self.turned.notify_waiters();
            due = self.due();
        }
    }

    /// The actions with their targets as they are now.
    fn resolve(&self, actions: &[Action]) -> Result<Vec<Deed>, String> {
        let state = self.lock();
        actions.iter().map(|action| Deed::of(action, &state.view)).collect()
    }

    fn perform(&self, number: usize, step: &Step, deeds: Vec<Deed>) {
        let action = deeds.iter().map(Deed::to_string).collect::<Vec<_>>().join("; ");
        let fired = self.report(Event::StepFired { step: number, action, note: step.note.clone() });
        trace::caused_by_sync(fired, || deeds.into_iter().for_each(|deed| self.enact(deed)));
    }

    fn enact(&self, deed: Deed) {
        let world = self.world();
        match &deed {
            Deed::Crash(nodes, how) => {
                self.lock().faults += nodes.len() as u64;
                nodes.iter().for_each(|node| world.crash(node, (*how).into()));
            }
            Deed::Stop(nodes) => nodes.iter().for_each(|node| world.stop(node)),
            Deed::Restart(nodes) => nodes.iter().for_each(|node| world.restart(node)),
            Deed::RestartBlank(nodes) => {
                for node in nodes.iter().filter(|node| !world.is_running(node)) {
                    self.lock().faults += 1;
                    self.heal_disks(std::slice::from_ref(node));
                    world.replace_disk(node);
                    world.restart(node);
                }
            }
            Deed::Pause(nodes) => {
                self.lock().faults += nodes.len() as u64;
                nodes.iter().for_each(|node| world.pause(node));
            }
            Deed::Resume(nodes) => nodes.iter().for_each(|node| world.resume(node)),
            Deed::Clock(nodes, offset_ms) => {
                self.lock().faults += nodes.len() as u64;
                nodes.iter().for_each(|node| world.step_wall_clock(node, *offset_ms));
                self.report(Event::FaultBegan { fault: deed.to_string() });
            }
            Deed::Drift(nodes, ppm) => {
                self.lock().faults += nodes.len() as u64;
                nodes.iter().for_each(|node| world.drift(node, *ppm));
                self.report(Event::FaultBegan { fault: deed.to_string() });
            }
            Deed::Cut(links) => {
                self.begin_fault(&deed, links);
                links.each(|from, to| world.cut(from, to));
            }
            Deed::Slow(links, delay) => {
                self.begin_fault(&deed, links);
                links.each(|from, to| world.slow(from, to, *delay));
            }
            Deed::Hold(links, api) => {
                self.begin_fault(&deed, links);
                links.each(|from, to| world.hold(from, to, api));
            }
            Deed::Drop(links, api, count) => {
                self.begin_fault(&deed, links);
                links.each(|from, to| world.drop_next(from, to, api, *count));
            }
            Deed::Lose(links, part) => {
                self.begin_fault(&deed, links);
                links.each(|from, to| world.lose(from, to, part.0));
            }
            Deed::Bandwidth(links, rate) => {
                self.begin_fault(&deed, links);
                links.each(|from, to| world.limit(from, to, Some(rate.0)));
            }
            Deed::Release(links, api) => {
                links.each(|from, to| world.release(from, to, Some(api)));
                // Links that are cut besides stay cut.
                let holds = format!("api={api}");
                self.end_faults(links, |fault| fault.starts_with("hold") && fault.ends_with(&holds));
            }
            Deed::Heal(links) => {
                links.each(|from, to| heal(world, from, to));
                self.end_faults(links, |_| true);
            }
            Deed::HealAll => self.heal_all(),
            Deed::Settle => {
                self.heal_all();
                for host in self.hosts() {
                    world.resume(&host);
                    world.restart(&host);
                }
            }
            Deed::Disk(nodes, fault) => {
                self.begin_disk_fault(&deed, nodes);
                nodes.iter().for_each(|node| world.break_disk(node, *fault));
            }
            Deed::Corrupt(nodes, partition, offset) => {
                self.begin_disk_fault(&deed, nodes);
                nodes.iter().for_each(|node| self.corrupt(node, partition, *offset));
            }
            Deed::HealDisk(nodes) => self.heal_disks(nodes),
            Deed::Fence(nodes) => {
                self.lock().faults += nodes.len() as u64;
                nodes.iter().for_each(|node| self.ended_sessions.end(node_id(node)));
            }
            Deed::Order(order) => {
                self.topic_orders.fetch_add(order.is_about_a_topic().into(), Ordering::Relaxed);
                let _ = self.orders.send(order.clone());
            }
            Deed::Nothing => {}
        }
    }

    fn begin_fault(&self, deed: &Deed, links: &Links) {
        let fault = deed.to_string();
        let mut state = self.lock();
        state.faults += 1;
        state.open_faults.insert(fault.clone(), links.0.clone());
        drop(state);
        self.report(Event::FaultBegan { fault });
    }

    fn begin_disk_fault(&self, deed: &Deed, nodes: &[String]) {
        let fault = deed.to_string();
        let mut state = self.lock();
        state.faults += 1;
        state.open_disk_faults.insert(fault.clone(), nodes.to_vec());
        drop(state);
        self.report(Event::FaultBegan { fault });
    }

    /// Lets the batch rot that holds `offset`, on the disk of `node`.
    fn corrupt(&self, node: &str, partition: &TopicPartition, offset: Offset) {
        let mut found = None;
        let has_rotted = self.world().rot(node, &partition.to_string(), |file, content| {
            found = place(file, content, offset);
            Some(found.as_ref()?.records.clone())
        });
        if let Some(Place { base_offset, end_offset, .. }) = found.filter(|_| has_rotted) {
            self.lock().corrupt.push((node.to_owned(), partition.clone(), base_offset));
            let partition = partition.clone();
            let event = Event::BatchCorrupted { partition, base_offset, end_offset };
            self.record(&node.into(), trace::current_cause(), event);
        }
    }

    /// Ends those of the faults `which` of which no link is left.
    fn end_faults(&self, links: &Links, which: impl Fn(&str) -> bool) {
        let ended = take_ended(&mut self.lock().open_faults, &links.0, which);
        self.report_ended(ended);
    }

    fn report_ended(&self, ended: Vec<String>) {
        ended.into_iter().for_each(|fault| {
            self.report(Event::FaultEnded { fault });
        });
    }

    fn heal_disks(&self, nodes: &[String]) {
        nodes.iter().for_each(|node| self.world().heal_disk(node));
        let is_healed = |(node, ..): &mut (String, TopicPartition, Offset)| nodes.contains(node);
        let mended: Vec<_> = self.lock().corrupt.extract_if(.., is_healed).collect();
        for (node, partition, base_offset) in mended {
            self.record(&node.as_str().into(), trace::current_cause(), Event::BatchMended { partition, base_offset });
        }
        let ended = take_ended(&mut self.lock().open_disk_faults, nodes, |_| true);
        self.report_ended(ended);
    }

    /// Heals every link and every disk.
    pub fn heal_all(&self) {
        let open: BTreeSet<(String, String)> = self.lock().open_faults.values().flatten().cloned().collect();
        let links = Links(open.into_iter().collect());
        links.each(|from, to| heal(self.world(), from, to));
        self.end_faults(&links, |_| true);
        let broken: BTreeSet<String> = self.lock().open_disk_faults.values().flatten().cloned().collect();
        self.heal_disks(&broken.into_iter().collect::<Vec<_>>());
    }

    /// Every host of the scenario.
    pub fn hosts(&self) -> Vec<String> {
        self.look(|view| view.cast().nodes().map(str::to_owned).collect())
    }

    /// Ends the recording and judges the run.
    pub(super) fn finish(&self, missing: Missing) -> Finished {
        let mut state = self.lock();
        let ending = Ending {
            unfired: state.script.unfired(),
            marks: mark::reached().into_iter().map(Arc::from).collect(),
            unfinished: missing.unfinished,
            unsettled: missing.unsettled,
            harness_fault: None,
        };
        assert!(!std::mem::replace(&mut state.ended, true), "a recording ends once");
        Finished {
            verdict: state.oracle.finish(&ending),
            ending,
            trace_hash: state.journal.hash(),
            events: state.journal.len(),
            entries: state.journal.entries().to_vec(),
            carried: state.carried.take().unwrap_or_default(),
            faults: state.faults,
            fired: state.script.fired().to_vec(),
            simulated: clock::world_now(),
        }
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Finished {
    /// The judgement.
    pub verdict: Verdict,
    /// How it ended.
    pub ending: Ending,
    /// Hash over every event.
    pub trace_hash: String,
    /// Number of events.
    pub events: u64,
    /// The events, if the journal was kept.
    pub entries: Vec<Entry>,
    /// The messages, if they were kept.
    pub carried: Vec<Carried>,
    /// Number of faults injected.
    pub faults: u64,
    /// When the steps fired, since the story began.
    pub fired: Vec<std::time::Duration>,
    /// Simulated time at the end.
    pub simulated: crate::base::Time,
}

impl Sink for Recorder {
    fn record(&self, node: &Arc<str>, cause: Option<EventId>, event: Event) -> Option<EventId> {
        let mut state = self.lock();
        let State { journal, view, oracle, script, ended, .. } = &mut *state;
        if *ended {
            return None;
        }
        let now = clock::world_now();
        let entry = journal.push(now, node, cause, event);
        view.take(&entry);
        let id = entry.id;
        let is_seen = !matches!(entry.event, Event::MessageSent { .. } | Event::MessageDelivered { .. });
        let due = script.fire(now, view, Some(&entry));
        oracle.observe(entry);
        drop(state);
        if is_seen {
            self.happened.notify_waiters();
        }
        self.fire(due);
        Some(id)
    }

    fn wants_detail(&self) -> bool {
        true
    }

    fn carried(&self, sent: EventId, version: i16, frame: &[Bytes]) {
        if let Some(carried) = &mut self.lock().carried {
            carried.push(Carried { sent, version, frame: frame.to_vec() });
        }
    }
}

fn heal(world: &World, from: &str, to: &str) {
    world.heal(from, to);
    world.slow(from, to, std::time::Duration::ZERO);
    world.release(from, to, None);
    world.drop_nothing(from, to);
    world.lose(from, to, 0);
    world.limit(from, to, None);
}

/// Takes out those of the faults `which` that concern nothing any more but what is `healed`.
fn take_ended<T: PartialEq>(
    open: &mut BTreeMap<String, Vec<T>>,
    healed: &[T],
    which: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut ended = Vec::new();
    open.retain(|fault, concerned| {
        if !which(fault) {
            return true;
        }
        concerned.retain(|one| !healed.contains(one));
        if concerned.is_empty() {
            ended.push(fault.clone());
        }
        !concerned.is_empty()
    });
    ended
}
