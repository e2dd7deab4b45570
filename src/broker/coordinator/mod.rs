//! The group coordinators of a broker: one for each partition of `__consumer_offsets` that it leads.
//!
//! Decisions are those of [`crate::group::Machine`]; here they meet the partition's log, the clock and the requests that
//! wait. A coordinator is loaded in the background when the broker becomes leader, for the leader epoch in which it did,
//! and is gone with that epoch: a later one wins over an earlier one, never the other way round.
//!
//! This file: which coordinators there are, and asking them. [`shard`]: one of them. [`load`]: its beginning.
//! [`working`]: its work. [`topics`]: what they know of the cluster.

mod load;
mod shard;
mod topics;
mod working;

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering},
};

use shard::{News, Shard};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{config::GroupConfig, replicas::Replicas};
use crate::{
    base::{LeaderEpoch, NodeId, OFFSETS_TOPIC, Offset, Switches, TopicPartition},
    controller::image::{MetadataDelta, MetadataImage},
    group::{GroupRequest, consumer::topics::Topics, offsets::DeletedTopics},
    protocol::{ErrorCode, messages::ResponseKind},
    rpc::Reply,
    runtime::{clock, task},
    trace::Tracer,
};

/// Who asks, and in which version.
#[derive(Clone, Debug)]
pub struct Client {
    /// `client.id`.
    pub id: String,
    /// Its address, as Kafka shows it.
    pub host: String,
    /// Version of the request.
    pub version: i16,
}

/// What became of a request: its answer, or the wait for it.
pub enum Asked {
    /// The answer.
    Answered(Box<ResponseKind>),
    /// It comes later.
    Waits(Pin<Box<dyn Future<Output = ResponseKind> + Send>>),
}

impl Asked {
    /// The answer, when it comes.
    pub async fn answer(self) -> ResponseKind {
        match self {
            Self::Answered(response) => *response,
            Self::Waits(answer) => answer.await,
        }
    }

    /// With the answer as `finish` leaves it.
    pub fn map(self, finish: impl FnOnce(ResponseKind) -> ResponseKind + Send + 'static) -> Self {
        match self {
            Self::Answered(response) => Self::Answered(Box::new(finish(*response))),
            Self::Waits(answer) => Self::Waits(Box::pin(async move { finish(answer.await) })),
        }
    }

    /// The reply to the client.
    pub fn reply(self) -> Reply {
        match self {
            Self::Answered(response) => Reply::Now(response),
            Self::Waits(answer) => Reply::Later(answer),
        }
    }
}

/// A coordinator; it is closed when this is dropped.
struct Handle(Arc<Shard>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The coordinators of this broker.
pub struct GroupCoordinators {
    node: NodeId,
    config: GroupConfig,
    switches: Switches,
    tracer: Tracer,
    replicas: Arc<Replicas>,
    active: Mutex<BTreeMap<i32, Handle>>,
    /// How far coordinators had come that are none any more; kept for a planted bug.
    ended: Mutex<BTreeMap<i32, Offset>>,
    topics: Mutex<Arc<Topics>>,
}

impl GroupCoordinators {
    /// None yet.
    pub fn new(node: NodeId, config: GroupConfig, switches: Switches, tracer: Tracer, replicas: Arc<Replicas>) -> Self {
        Self {
            node,
            config,
            switches,
            tracer,
            replicas,
            active: Mutex::default(),
            ended: Mutex::default(),
            topics: Mutex::default(),
        }
    }

    /// Takes what the controller committed up to `end`, after the partitions have their roles.
    pub fn apply(&self, image: &MetadataImage, delta: &MetadataDelta, end: Offset) {
        let topics = self.update_topics(image, delta, end);
        let mut deleted = DeletedTopics::new();
        for (id, partitions) in &delta.deleted {
            if let Some(partition) = partitions.first() {
                deleted.entry(partition.topic.clone()).or_default().push(*id);
            }
        }
        if deleted.contains_key(OFFSETS_TOPIC) {
            self.lock().clear();
        } else if !deleted.is_empty() {
            let deleted = Arc::new(deleted);
            for handle in self.lock().values() {
                handle.0.tell(News::Forget(deleted.clone()));
            }
        }
        for id in delta.partitions.iter().filter(|id| &*id.topic == OFFSETS_TOPIC) {
            let Some(registration) = image.partition(id) else { continue };
            match registration.leader == self.node {
                true => self.elect(id, registration.leader_epoch),
                false => self.resign(id.partition),
            }
        }
        if let Some(topics) = topics {
            for handle in self.lock().values() {
                handle.0.tell(News::Topics(topics.clone()));
            }
        }
    }

    /// Notes topics that came, changed or went; `None`: there are none.
    fn update_topics(&self, image: &MetadataImage, delta: &MetadataDelta, end: Offset) -> Option<Arc<Topics>> {
        let mut known = self.topics.lock().expect("no panic while the topics are held");
        let mut next = (**known).clone();
        topics::update(&mut next, self.node, image, delta, end, &self.config.bounds).then(|| {
            *known = Arc::new(next);
            known.clone()
        })
    }

    fn resign(&self, partition: i32) {
        let Some(handle) = self.lock().remove(&partition) else { return };
        if self.switches.bug_old_load_wins {
            let end = Offset(handle.0.end.load(Ordering::SeqCst));
            self.ended.lock().expect("no panic while the ends are held").insert(partition, end);
        }
    }

    fn elect(&self, id: &TopicPartition, leader_epoch: LeaderEpoch) {
        let mut active = self.lock();
        // What an older epoch asked for never wins.
        if active.get(&id.partition).is_some_and(|known| known.0.leader_epoch >= leader_epoch) {
            return;
        }
        let Some(partition) = self.replicas.find(id) else { return };
        let until = self.ended.lock().expect("no panic while the ends are held").get(&id.partition).copied();
        let (config, tracer) = (self.config.clone(), self.tracer.clone());
        let shard = Arc::new(Shard::new(partition, leader_epoch, config, self.switches, tracer, until));
        let topics = self.topics.lock().expect("no panic while the topics are held").clone();
        task::spawn(shard.clone().run(topics));
        active.insert(id.partition, Handle(shard));
    }

    /// Ends all coordinators: the broker stops.
    pub fn close(&self) {
        self.lock().clear();
    }

    /// The partitions coordinated here.
    pub fn partitions(&self) -> Vec<i32> {
        self.lock().keys().copied().collect()
    }

    /// Asks the coordinator of `partition`, which has begun with it when this returns: requests of one client are begun in
    /// their order. One that waits for records to be committed waits at most for `offsets.commit.timeout.ms` from now
    /// on; one that waits for other members has no limit.
    pub async fn ask(&self, partition: i32, request: GroupRequest, client: &Client) -> Asked {
        let request = Arc::new(request);
        let shard = self.lock().get(&partition).map(|handle| handle.0.clone());
        let begun = match (request.check_first(client.version, &self.config.settings), shard) {
            (Err(code), _) => Err(code),
            (Ok(()), Some(shard)) => shard.ask(&request, client).await,
            (Ok(()), None) => Err(ErrorCode::NotCoordinator),
        };
        let answered = begun.and_then(|mut answered| match answered.try_recv() {
            Ok(response) => Ok(Asked::Answered(Box::new(response))),
            Err(TryRecvError::Empty) => Ok(self.wait_for(answered, request.clone())),
            Err(TryRecvError::Closed) => Err(ErrorCode::NotCoordinator),
        });
        answered.unwrap_or_else(|code| Asked::Answered(Box::new(request.refuse(code))))
    }

    fn wait_for(&self, answered: oneshot::Receiver<ResponseKind>, request: Arc<GroupRequest>) -> Asked {
        let until = match &*request {
            GroupRequest::Join(_) | GroupRequest::Sync(_) => None,
            _ => Some(clock::now() + self.config.settings.commit_timeout),
        };
        Asked::Waits(Box::pin(async move {
            let answered = match until {
                Some(until) => clock::timeout(until.since(clock::now()), answered).await,
                None => Ok(answered.await),
            };
            match answered {
                Ok(Ok(response)) => response,
                // The coordinator has ended with the request in it.
                Ok(Err(_)) => request.refuse(ErrorCode::NotCoordinator),
                Err(_) => request.refuse(request.code_of_failed_write(ErrorCode::RequestTimedOut)),
            }
        }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, Handle>> {
        self.active.lock().expect("no panic while the coordinators are held")
    }
}
