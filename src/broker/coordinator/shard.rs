//! One coordinator: its load, its task, and those who ask it.
//!
//! Who asks does the work for its request itself, with the desk to itself, and has the answer at once where nothing has to
//! be written: a heartbeat wakes nobody else. The coordinator's task does what nobody asks for: it appends what was
//! gathered, answers what is committed, and does what is due.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::sync::{Notify, oneshot};

use super::{
    Client, load,
    working::{Ended, Working},
};
use crate::{
    base::{LeaderEpoch, Offset, Switches, mark},
    broker::{config::GroupConfig, partition::Partition},
    group::{GroupRequest, Machine, consumer::topics::Topics, offsets::DeletedTopics},
    protocol::{ErrorCode, messages::ResponseKind},
    runtime::{clock, random},
    trace::{Event, Tracer},
};

/// What the cluster's metadata has for a coordinator.
pub(super) enum News {
    /// These topics were deleted.
    Forget(Arc<DeletedTopics>),
    /// The topics are these now.
    Topics(Arc<Topics>),
}

/// A coordinator, in one leadership of its partition.
pub(super) struct Shard {
    pub partition: Arc<Partition>,
    pub leader_epoch: LeaderEpoch,
    pub config: GroupConfig,
    pub switches: Switches,
    pub tracer: Tracer,
    /// Up to where it reads: a planted bug.
    pub until: Option<Offset>,
    /// The end of what it has read and written.
    pub end: AtomicI64,
    /// Whether requests may come.
    loaded: AtomicBool,
    /// Nobody is to be served any more.
    closed: AtomicBool,
    news: Mutex<Vec<News>>,
    /// What it works on; nothing while it loads.
    desk: tokio::sync::Mutex<Option<Working>>,
    /// There is something for its task to do.
    wake: Arc<Notify>,
    /// What was gathered has been appended: there is room for more.
    appended: Notify,
}

impl Shard {
    /// One that is to be loaded, for the leadership of `partition` in `leader_epoch`.
    pub fn new(
        partition: Arc<Partition>,
        leader_epoch: LeaderEpoch,
        config: GroupConfig,
        switches: Switches,
        tracer: Tracer,
        until: Option<Offset>,
    ) -> Self {
        Self {
            partition,
            leader_epoch,
            config,
            switches,
            tracer,
            until,
            end: AtomicI64::new(0),
            loaded: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            news: Mutex::default(),
            desk: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            appended: Notify::new(),
        }
    }

    /// Ends it: who waits is told that the coordinator is elsewhere.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Tells it something before the next request is served.
    pub fn tell(&self, news: News) {
        self.news.lock().expect("no panic while the news are held").push(news);
        self.wake.notify_one();
    }

    fn take_news(&self, working: &mut Working) {
        let news = std::mem::take(&mut *self.news.lock().expect("no panic while the news are held"));
        news.into_iter().for_each(|news| working.hear(self, news));
    }

    /// Begins to serve a request. The answer may be there already.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS, or NOT_COORDINATOR when the leadership is over.
    pub async fn ask(
        &self,
        request: &Arc<GroupRequest>,
        client: &Client,
    ) -> Result<oneshot::Receiver<ResponseKind>, ErrorCode> {
        loop {
            // Nobody waits for the desk while it is loaded, which takes its time.
            if !self.is_closed() && !self.loaded.load(Ordering::SeqCst) {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            let mut desk = self.desk.lock().await;
            let working = match desk.as_mut() {
                _ if self.is_closed() => return Err(ErrorCode::NotCoordinator),
                None => return Err(ErrorCode::CoordinatorLoadInProgress),
                Some(working) => working,
            };
            self.take_news(working);
            let is_taken = working.has_room_for(self, request);
            let answered = is_taken.then(|| working.take(self, request, client));
            if working.due(self) < working.looks_again {
                self.wake.notify_one();
            }
            if let Some(answered) = answered {
                return Ok(answered);
            }
            let appended = self.appended.notified();
            tokio::pin!(appended);
            // Listens before the desk is free, so that no append falls between the two.
            appended.as_mut().enable();
            drop(desk);
            appended.await;
        }
    }

    /// Loads, and coordinates until it is closed or the leadership ends. `topics`: those that there are now.
    pub async fn run(self: Arc<Self>, mut topics: Arc<Topics>) {
        self.partition.observe(self.wake.clone()).await;
        // A batch that was written in part makes the state another than its records tell: it is read anew.
        for attempt in 1.. {
            let Some(working) = self.load(attempt, topics).await else { break };
            *self.desk.lock().await = Some(working);
            let ended = self.work().await;
            self.loaded.store(false, Ordering::SeqCst);
            let working = self.desk.lock().await.take().expect("only its task clears the desk");
            self.tracer.milestone(Event::CoordinatorUnloaded {
                partition: self.partition.id.clone(),
                leader_epoch: self.leader_epoch,
            });
            if ended == Ended::Over {
                break;
            }
            self.appended.notify_waiters();
            topics = working.machine.shard().topics().clone();
        }
        self.closed.store(true, Ordering::SeqCst);
        self.appended.notify_waiters();
    }

    async fn load(&self, attempt: u32, topics: Arc<Topics>) -> Option<Working> {
        let mut machine = Machine::new(self.config.settings.clone(), self.switches);
        machine.set_topics(topics);
        let buffer = self.config.load_buffer_bytes;
        let loading = load::load(&self.partition, self.leader_epoch, &mut machine, buffer, self.switches, self.until);
        let loaded = match loading.await {
            Ok(loaded) => loaded,
            Err(code) => {
                tracing::warn!(partition = %self.partition.id, %code, "a group coordinator could not be loaded");
                return None;
            }
        };
        if self.is_closed() {
            return None;
        }
        self.end.store(loaded.end_offset.0, Ordering::SeqCst);
        if machine.shard().groups().next().is_some() {
            mark::reach("coordinator_moved");
        }
        self.tracer.milestone(Event::CoordinatorLoaded {
            partition: self.partition.id.clone(),
            leader_epoch: self.leader_epoch,
            end_offset: loaded.end_offset,
            records: loaded.records,
            groups: (machine.shard().groups().count() + machine.shard().consumers().count()) as u64,
            offsets: machine.shard().offsets().count() as u64,
            members: machine.shard().members().collect(),
        });
        // Ids of members must not come again.
        let name = format!("group-coordinator-{}-{}-{attempt}", self.partition.id, self.leader_epoch);
        Some(Working::new(machine, random::stream(&name)))
    }

    /// Does what is due until the end.
    async fn work(&self) -> Ended {
        loop {
            let looks_again = {
                let mut desk = self.desk.lock().await;
                let working = desk.as_mut().expect("only its task clears the desk");
                if self.is_closed() {
                    return Ended::Over;
                }
                if !self.loaded.load(Ordering::SeqCst) {
                    working.begin(self);
                }
                self.take_news(working);
                if let Err(ended) = working.advance(self).await {
                    return ended;
                }
                self.loaded.store(true, Ordering::SeqCst);
                working.looks_again = working.due(self);
                working.looks_again
            };
            self.appended.notify_waiters();
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = clock::sleep_until(looks_again) => {}
            }
        }
    }
}
