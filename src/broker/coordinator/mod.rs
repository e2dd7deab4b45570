//! The group coordinators of a broker: one for each partition of `__consumer_offsets` that it leads.
//!
//! Decisions are those of [`crate::group::Machine`]; here they meet the partition's log, the clock and the requests that
//! wait. A coordinator is loaded in the background when the broker becomes leader, for the leader epoch in which it did,
//! and is gone with that epoch: a later one wins over an earlier one, never the other way round.
//!
//! This file: which coordinators there are, and asking them. [`shard`]: one of them at work. [`load`]: its beginning.
//! [`topics`]: what they know of the cluster.

mod load;
mod shard;
mod topics;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};

use super::{config::GroupConfig, replicas::Replicas};
use crate::{
    base::{LeaderEpoch, NodeId, OFFSETS_TOPIC, Offset, Switches, TopicPartition},
    controller::image::{MetadataDelta, MetadataImage},
    group::{GroupRequest, consumer::topics::Topics, offsets::DeletedTopics},
    protocol::{ErrorCode, messages::ResponseKind},
    runtime::{clock, task},
    trace::{self, EventId, Tracer},
};

/// From so many bytes on a request is large.
const MUCH_BYTES: usize = 64 << 10;

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

/// Something for a coordinator to do.
enum Order {
    /// A client's request.
    Request(Asked),
    /// These topics were deleted.
    ForgetTopics(Arc<DeletedTopics>),
    /// The topics are these now.
    SetTopics(Arc<Topics>),
}

impl Order {
    /// Whether what it writes may be too large to be appended: that of a leader that brings the assignments of its group,
    /// and of a member that has much to say of itself.
    fn may_be_too_large(&self) -> bool {
        let Self::Request(asked) = self else { return false };
        let said: usize = match &*asked.request {
            GroupRequest::Sync(request) => return !request.assignments.is_empty(),
            GroupRequest::Join(request) => request.protocols.iter().map(|protocol| protocol.metadata.len()).sum(),
            GroupRequest::ConsumerHeartbeat(request) => {
                request.subscribed_topic_names.iter().flatten().map(|name| name.len()).sum()
            }
            _ => 0,
        };
        said >= MUCH_BYTES
    }
}

struct Asked {
    request: Arc<GroupRequest>,
    client: Client,
    answer: oneshot::Sender<ResponseKind>,
    cause: Option<EventId>,
}

/// A coordinator at work; it ends when this is dropped.
struct Handle {
    leader_epoch: LeaderEpoch,
    loaded: Arc<AtomicBool>,
    /// The end of what it has read and written.
    end: Arc<AtomicI64>,
    orders: mpsc::UnboundedSender<Order>,
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
                // One that has ended is replaced soon.
                let _ = handle.orders.send(Order::ForgetTopics(deleted.clone()));
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
                let _ = handle.orders.send(Order::SetTopics(topics.clone()));
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
            let end = Offset(handle.end.load(Ordering::SeqCst));
            self.ended.lock().expect("no panic while the ends are held").insert(partition, end);
        }
    }

    fn elect(&self, id: &TopicPartition, leader_epoch: LeaderEpoch) {
        let mut active = self.lock();
        // What an older epoch asked for never wins.
        if active.get(&id.partition).is_some_and(|known| known.leader_epoch >= leader_epoch) {
            return;
        }
        let Some(partition) = self.replicas.find(id) else { return };
        let (orders, receiver) = mpsc::unbounded_channel();
        let (loaded, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let shard = shard::Shard {
            partition,
            leader_epoch,
            config: self.config.clone(),
            switches: self.switches,
            tracer: self.tracer.clone(),
            loaded: loaded.clone(),
            end: end.clone(),
            until: self.ended.lock().expect("no panic while the ends are held").get(&id.partition).copied(),
            topics: self.topics.lock().expect("no panic while the topics are held").clone(),
        };
        task::spawn(shard.run(receiver));
        active.insert(id.partition, Handle { leader_epoch, loaded, end, orders });
    }

    /// Ends all coordinators: the broker stops.
    pub fn close(&self) {
        self.lock().clear();
    }

    /// The partitions coordinated here.
    pub fn partitions(&self) -> Vec<i32> {
        self.lock().keys().copied().collect()
    }

    /// Asks the coordinator of `partition`: at once, so that requests of one client are begun in their order. The future
    /// is the answer. One that waits for records to be committed waits at most for `offsets.commit.timeout.ms` from now
    /// on; one that waits for other members has no limit.
    pub fn ask(
        &self,
        partition: i32,
        request: GroupRequest,
        client: Client,
    ) -> impl Future<Output = ResponseKind> + Send + use<> {
        let request = Arc::new(request);
        let checked = request.check_first(client.version, &self.config.settings);
        let begun = checked.and_then(|()| self.begin(partition, &request, client));
        let until = match &*request {
            GroupRequest::Join(_) | GroupRequest::Sync(_) => None,
            _ => Some(clock::now() + self.config.settings.commit_timeout),
        };
        async move {
            let answered = match begun {
                Ok(answered) => answered,
                Err(code) => return request.refuse(code),
            };
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
        }
    }

    fn begin(
        &self,
        partition: i32,
        request: &Arc<GroupRequest>,
        client: Client,
    ) -> Result<oneshot::Receiver<ResponseKind>, ErrorCode> {
        let active = self.lock();
        let handle = active.get(&partition).filter(|handle| !handle.orders.is_closed());
        let handle = handle.ok_or(ErrorCode::NotCoordinator)?;
        if !handle.loaded.load(Ordering::SeqCst) {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        let (answer, answered) = oneshot::channel();
        let asked = Asked { request: request.clone(), client, answer, cause: trace::current_cause() };
        handle.orders.send(Order::Request(asked)).map_err(|_| ErrorCode::NotCoordinator)?;
        Ok(answered)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, Handle>> {
        self.active.lock().expect("no panic while the coordinators are held")
    }
}
