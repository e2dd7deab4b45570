//! The broker's copy of the metadata: follows the controller's log with Fetch and replays it.
//!
//! Nothing is done about it before the broker has registered and has read its own registration. Until then the metadata
//! speaks of the incarnation before: a leader that lost its tail with its power would lead on in the same epoch.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{controller_channel::ControllerChannel, lifecycle::Registration};
use crate::{
    base::{NodeId, Offset, TopicId},
    controller::{
        self,
        image::{MetadataDelta, MetadataImage},
    },
    protocol::{
        ErrorCode,
        messages::{
            FetchRequest, RequestKind, ResponseKind,
            fetch_request::{FetchPartition, FetchTopic, ReplicaState},
        },
    },
    rpc::Shutdown,
    runtime::clock,
    trace,
};

const FETCH_VERSION: i16 = 17;
/// How long the controller may wait for records before it answers with none.
pub const FETCH_WAIT: Duration = Duration::from_millis(500);
const RETRY_BACKOFF: Duration = Duration::from_millis(50);

/// The newest image, for everyone in the broker.
#[derive(Default)]
pub struct MetadataCache {
    current: RwLock<Current>,
    changed: Notify,
}

#[derive(Clone, Default)]
struct Current {
    image: Arc<MetadataImage>,
    end: Offset,
}

impl MetadataCache {
    /// The image as of the latest records read.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.current.read().expect("no panic while the image is held").image.clone()
    }

    /// Offset of the last record read, -1 before the first.
    pub fn last_offset(&self) -> Offset {
        self.current.read().expect("no panic while the image is held").end.plus(-1)
    }

    /// Waits for more records, at most `limit`.
    pub async fn changed(&self, limit: Duration) {
        // Either is a reason to look again.
        let _ = clock::timeout(limit, self.changed.notified()).await;
    }

    /// Waits until there is an image that this incarnation is part of.
    pub async fn caught_up(&self) {
        loop {
            let changed = self.changed.notified();
            if self.last_offset() >= Offset::ZERO {
                return;
            }
            changed.await;
        }
    }

    fn publish(&self, image: MetadataImage, end: Offset) {
        *self.current.write().expect("no panic while the image is held") = Current { image: Arc::new(image), end };
        self.changed.notify_waiters();
    }
}

/// What is done with each batch of new records, before it is published.
pub trait Apply: Send + Sync {
    /// Does what the metadata up to `end` asks for.
    fn apply(&self, image: &MetadataImage, delta: &MetadataDelta, end: Offset) -> impl Future<Output = ()> + Send;
}

/// Follows the metadata log from the registration until `shutdown`.
pub async fn follow<A: Apply>(
    registration: Arc<Registration>,
    channel: ControllerChannel,
    cache: Arc<MetadataCache>,
    apply: Arc<A>,
    shutdown: Shutdown,
) {
    let (mut image, mut delta) = (MetadataImage::default(), MetadataDelta::default());
    let mut from = Offset::ZERO;
    let Some(broker_epoch) = shutdown.or(registration.accepted()).await else { return };
    while !shutdown.is_triggered() {
        let request = fetch_request(registration.node, from);
        let Some(answer) = shutdown.or(channel.call(request, FETCH_VERSION)).await else { return };
        let (records, cause) = match answer {
            Ok(answer) => (records_of(answer.body), answer.cause),
            Err(error) => {
                tracing::debug!(%error, "the controller did not answer; asking again");
                (None, None)
            }
        };
        let Some(records) = records else {
            shutdown.or(clock::sleep(RETRY_BACKOFF)).await;
            continue;
        };
        let Some(end) = controller::end_of(&records) else { continue };
        replay(&records, from, &mut image, &mut delta);
        from = end;
        // The broker epoch is the offset of the registration's record.
        if end.0 > broker_epoch.0 {
            trace::caused_by(cause, apply.apply(&image, &std::mem::take(&mut delta), end)).await;
            cache.publish(image.clone(), end);
        }
    }
}

/// Replays the records from `from` on, and notes in `delta` what they change.
///
/// # Panics
/// On a record that cannot be read: a broker that skipped it would act on wrong metadata.
fn replay(records: &bytes::Bytes, from: Offset, image: &mut MetadataImage, delta: &mut MetadataDelta) {
    let decoded = controller::decode_batches(records)
        .unwrap_or_else(|problem| panic!("the metadata log cannot be read from {from} on: {problem}"));
    for (end, record) in decoded {
        // A batch that was fetched from its middle begins before `from`.
        if end > from {
            image.replay(&record, delta);
        }
    }
}

fn fetch_request(node: NodeId, from: Offset) -> RequestKind {
    let partition = FetchPartition::default()
        .with_fetch_offset(from.0)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic =
        FetchTopic::default().with_topic_id(Uuid::from_bytes(TopicId::METADATA.0)).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_state(ReplicaState::default().with_replica_id(node.0.into()))
        .with_max_wait_ms(FETCH_WAIT.as_millis() as i32)
        .with_min_bytes(1)
        .with_topics(vec![topic]);
    RequestKind::Fetch(request)
}

/// The records of a response, or `None` where there is an error in it.
fn records_of(response: ResponseKind) -> Option<bytes::Bytes> {
    let ResponseKind::Fetch(response) = response else { return None };
    let partition = response.responses.first()?.partitions.first()?;
    match ErrorCode::from_i16(partition.error_code) {
        ErrorCode::None => Some(partition.records.clone().unwrap_or_default()),
        code => {
            tracing::warn!(%code, "the controller refused a fetch of the metadata");
            None
        }
    }
}
