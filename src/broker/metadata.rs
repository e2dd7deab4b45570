//! The broker's copy of the metadata: follows the controller's log with Fetch and replays it.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::sync::Notify;
use uuid::Uuid;

use super::controller_channel::ControllerChannel;
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
    trace::{self, EventId},
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

    fn publish(&self, image: MetadataImage, end: Offset) {
        *self.current.write().expect("no panic while the image is held") = Current { image: Arc::new(image), end };
        self.changed.notify_waiters();
    }
}

/// What is done with each batch of new records, before it is published.
pub trait Apply: Send + Sync {
    /// Does what the metadata asks for.
    fn apply(&self, image: &MetadataImage, delta: &MetadataDelta) -> impl Future<Output = ()> + Send;
}

/// Follows the metadata log until `shutdown`.
pub async fn follow<A: Apply>(
    node: NodeId,
    channel: ControllerChannel,
    cache: Arc<MetadataCache>,
    apply: Arc<A>,
    shutdown: Shutdown,
) {
    let mut image = MetadataImage::default();
    let mut from = Offset::ZERO;
    while !shutdown.is_triggered() {
        let Some(answer) = shutdown.or(channel.call(fetch_request(node, from), FETCH_VERSION)).await else { return };
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
        let delta = replay(&records, from, &mut image);
        apply_caused_by(cause, &*apply, &image, &delta).await;
        from = end;
        cache.publish(image.clone(), end);
    }
}

async fn apply_caused_by<A: Apply>(cause: Option<EventId>, apply: &A, image: &MetadataImage, delta: &MetadataDelta) {
    trace::caused_by(cause, apply.apply(image, delta)).await;
}

/// Replays the records from `from` on.
///
/// # Panics
/// On a record that cannot be read: a broker that skipped it would act on wrong metadata.
fn replay(records: &bytes::Bytes, from: Offset, image: &mut MetadataImage) -> MetadataDelta {
    let mut delta = MetadataDelta::default();
    let decoded = controller::decode_batches(records)
        .unwrap_or_else(|problem| panic!("the metadata log cannot be read from {from} on: {problem}"));
    for (end, record) in decoded {
        // A batch that was fetched from its middle begins before `from`.
        if end > from {
            image.replay(&record, &mut delta);
        }
    }
    delta
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
