//! A broker's life in the cluster: it registers, heartbeats, and asks to leave.
//!
//! | state | heartbeat | goes on when |
//! |---|---|---|
//! | registering | none | the controller accepts the registration |
//! | starting | soon, fenced | the metadata is read up to the registration: unfenced |
//! | running | every `broker.heartbeat.interval.ms` | shutdown is asked for |
//! | leaving | soon, wants to shut down | the controller lets it go, or has not for too long |

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::Rng;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{config::NodeConfig, controller_channel::ControllerChannel, metadata::MetadataCache};
use crate::{
    base::{BrokerEpoch, NodeId, TopicId},
    protocol::{
        ErrorCode, api,
        messages::{
            BrokerHeartbeatRequest, BrokerRegistrationRequest, RequestKind, ResponseKind,
            broker_registration_request::{Feature, Listener},
        },
    },
    rpc::Shutdown,
    runtime::{clock, random},
};

const REGISTRATION_VERSION: i16 = 4;
const HEARTBEAT_VERSION: i16 = 1;
const SOON: Duration = Duration::from_millis(20);
const RETRY_BACKOFF: Duration = Duration::from_millis(200);
/// How long a leaving broker waits for its controller: less than what process supervisors allow before they kill.
const LEAVING_MAX: Duration = Duration::from_secs(8);

/// What the broker knows of its own registration.
pub struct Registration {
    /// This broker.
    pub node: NodeId,
    epoch: AtomicI64,
    accepted: Notify,
    unfenced: AtomicBool,
}

impl Registration {
    /// Not registered yet.
    pub fn new(node: NodeId) -> Self {
        Self { node, epoch: AtomicI64::new(-1), accepted: Notify::new(), unfenced: AtomicBool::new(false) }
    }

    /// Waits until the controller has accepted it; the incarnation as the controller counts.
    pub async fn accepted(&self) -> BrokerEpoch {
        loop {
            let accepted = self.accepted.notified();
            match self.broker_epoch() {
                BrokerEpoch(-1) => accepted.await,
                epoch => return epoch,
            }
        }
    }

    fn accept(&self, epoch: BrokerEpoch) {
        self.epoch.store(epoch.0, Ordering::SeqCst);
        self.accepted.notify_waiters();
    }

    /// The incarnation as the controller counts, -1 before it is registered.
    pub fn broker_epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.epoch.load(Ordering::SeqCst))
    }

    /// Whether the controller has let it take part.
    pub fn is_unfenced(&self) -> bool {
        self.unfenced.load(Ordering::SeqCst)
    }
}

/// Who registers.
pub struct Identity {
    /// Settings.
    pub config: Arc<NodeConfig>,
    /// Id of the cluster.
    pub cluster_id: String,
    /// Id of the log directory.
    pub directory_id: TopicId,
    /// Broker epoch before the last clean stop, else -1.
    pub previous_epoch: BrokerEpoch,
}

/// Why a broker cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The controller refused the registration for good.
    #[error("the controller refused to register broker {broker}: {code}")]
    Refused {
        /// This broker.
        broker: NodeId,
        /// What it said.
        code: ErrorCode,
    },
    /// Another process registered with the same id.
    #[error("another process has registered as broker {broker}; this one stops")]
    Replaced {
        /// This broker.
        broker: NodeId,
    },
}

/// Registers and heartbeats until `leave`, then asks to leave. Returns when the broker may go.
///
/// # Errors
/// See [`LifecycleError`].
pub async fn live(
    identity: Identity,
    channel: Arc<ControllerChannel>,
    registration: Arc<Registration>,
    cache: Arc<MetadataCache>,
    leave: Shutdown,
) -> Result<(), LifecycleError> {
    register(&identity, &channel, &registration, &leave).await?;
    let interval = identity.config.broker_heartbeat_interval;
    let mut leaving_since = None;
    while registration.broker_epoch() != BrokerEpoch(-1) {
        let want_shut_down = leave.is_triggered() && identity.config.controlled_shutdown_enable;
        if leave.is_triggered() && !want_shut_down {
            return Ok(());
        }
        let answer = channel.call(heartbeat(&registration, &cache, want_shut_down), HEARTBEAT_VERSION).await;
        match answer.map(|answer| answer.body) {
            Ok(ResponseKind::BrokerHeartbeat(answer)) => match ErrorCode::from_i16(answer.error_code) {
                ErrorCode::None if answer.should_shut_down => return Ok(()),
                ErrorCode::None => registration.unfenced.store(!answer.is_fenced, Ordering::SeqCst),
                _ => return Err(LifecycleError::Replaced { broker: registration.node }),
            },
            outcome => tracing::debug!(?outcome, "a heartbeat was not answered"),
        }
        if want_shut_down {
            let since = *leaving_since.get_or_insert(clock::now());
            if clock::now().since(since) > LEAVING_MAX {
                tracing::warn!("the controller does not let this broker go; it goes");
                return Ok(());
            }
            clock::sleep(SOON).await;
        } else if registration.is_unfenced() {
            leave.or(clock::sleep(interval)).await;
        } else {
            // Unfenced as soon as the metadata is read up to the registration.
            leave.or(cache.changed(SOON * 5)).await;
        }
    }
    Ok(())
}

async fn register(
    identity: &Identity,
    channel: &ControllerChannel,
    registration: &Registration,
    leave: &Shutdown,
) -> Result<(), LifecycleError> {
    let incarnation: [u8; 16] = random::stream("incarnation").random();
    let listener = |endpoint: &super::config::Endpoint| {
        Listener::default()
            .with_name(endpoint.listener.clone().into())
            .with_host(endpoint.host.clone().into())
            .with_port(endpoint.port)
    };
    let feature = Feature::default()
        .with_name("metadata.version".into())
        .with_min_supported_version(api::METADATA_VERSIONS.0)
        .with_max_supported_version(api::METADATA_VERSIONS.1);
    let request = BrokerRegistrationRequest::default()
        .with_broker_id(registration.node.0.into())
        .with_cluster_id(identity.cluster_id.clone().into())
        .with_incarnation_id(Uuid::from_bytes(incarnation))
        .with_listeners(identity.config.advertised_listeners.iter().map(listener).collect())
        .with_features(vec![feature])
        .with_rack(identity.config.rack.clone().map(Into::into))
        .with_log_dirs(vec![Uuid::from_bytes(identity.directory_id.0)])
        .with_previous_broker_epoch(identity.previous_epoch.0);
    while !leave.is_triggered() {
        let call = channel.call(RequestKind::BrokerRegistration(request.clone()), REGISTRATION_VERSION);
        match leave.or(call).await.map(|answer| answer.map(|answer| answer.body)) {
            Some(Ok(ResponseKind::BrokerRegistration(answer))) => match ErrorCode::from_i16(answer.error_code) {
                ErrorCode::None => {
                    registration.accept(BrokerEpoch(answer.broker_epoch));
                    return Ok(());
                }
                // The session of the incarnation before has to end first.
                ErrorCode::DuplicateBrokerRegistration => {}
                code if code.is_retriable() => {}
                code => return Err(LifecycleError::Refused { broker: registration.node, code }),
            },
            outcome => tracing::debug!(?outcome, "the registration was not answered"),
        }
        leave.or(clock::sleep(RETRY_BACKOFF)).await;
    }
    Ok(())
}

fn heartbeat(registration: &Registration, cache: &MetadataCache, want_shut_down: bool) -> RequestKind {
    let request = BrokerHeartbeatRequest::default()
        .with_broker_id(registration.node.0.into())
        .with_broker_epoch(registration.broker_epoch().0)
        .with_current_metadata_offset(cache.last_offset().0)
        .with_want_shut_down(want_shut_down);
    RequestKind::BrokerHeartbeat(request)
}
