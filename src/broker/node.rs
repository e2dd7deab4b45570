//! The process of a node: a broker, a controller, or both, over one log directory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use thiserror::Error;
use tokio::sync::{Notify, mpsc};

use super::{
    config::{Endpoint, NodeConfig},
    controller_channel::ControllerChannel,
    coordinator::GroupCoordinators,
    fetcher::{Changed, Fetcher},
    isr_changes,
    lifecycle::{self, Identity, LifecycleError, Registration},
    metadata::{self, Apply, FETCH_WAIT, MetadataCache},
    partition::PartitionContext,
    replicas::Replicas,
    requests::Broker,
    settings,
};
pub use crate::controller::node::{EndedSessions, Told};
use crate::{
    base::{NodeId, Offset, Switches},
    controller::{
        configs::group,
        core::ControllerSettings,
        image::{MetadataDelta, MetadataImage},
        node::{ControllerConfig, ControllerError},
    },
    rpc::{self, Options, Shutdown},
    runtime::{clock, disk::Disk, net::Listener, task},
    storage::{LogDirectory, StorageError},
    trace::{Event, Tracer},
};

/// Why a node ended or did not start.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Its log directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its log directory failed while it ran.
    #[error("the log directory failed: {0}")]
    LogDirFailed(String),
    /// Its listener.
    #[error("cannot listen on {address}: {problem}")]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        problem: String,
    },
    /// Its controller.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// Its place in the cluster.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
}

impl NodeError {
    /// Whether it is the log directory that failed: the node has ended without closing anything, as Kafka's halts when
    /// its last log directory goes offline.
    pub fn is_log_dir_failure(&self) -> bool {
        match self {
            Self::LogDirFailed(_) => true,
            Self::Storage(error) | Self::Controller(ControllerError::Storage(error)) => error.is_of_disk(),
            _ => false,
        }
    }

    /// The checkpoint of its log directory that keeps it from starting: it can be made again from the logs, once it is
    /// removed.
    pub fn damaged_checkpoint(&self) -> Option<&'static str> {
        match self {
            Self::Storage(error) => error.damaged_checkpoint(),
            _ => None,
        }
    }
}

/// What a node is started with.
pub struct NodeOptions {
    /// Settings.
    pub config: NodeConfig,
    /// The log directory.
    pub disk: Disk,
    /// Behaviour switches.
    pub switches: Switches,
    /// Where events go.
    pub tracer: Tracer,
    /// What its controller's events have told of its log.
    pub told: Told,
    /// Whose sessions its controller is to end.
    pub ended_sessions: EndedSessions,
    /// When to stop, cleanly.
    pub shutdown: Shutdown,
    /// Rung once the broker is unfenced and serves.
    pub ready: Arc<Notify>,
}

/// Runs a node until its shutdown.
///
/// # Errors
/// See [`NodeError`].
pub async fn run(options: NodeOptions) -> Result<(), NodeError> {
    let tracer = options.tracer.clone();
    let ended = run_roles(options).await;
    if let Err(error) = &ended
        && error.is_log_dir_failure()
    {
        tracer.milestone(Event::LogDirFailed { reason: error.to_string().into() });
    }
    ended
}

async fn run_roles(options: NodeOptions) -> Result<(), NodeError> {
    let NodeOptions { config, disk, switches, tracer, told, ended_sessions, shutdown, ready } = options;
    let config = Arc::new(config);
    let directory = LogDirectory::open(disk.clone(), config.node_id, switches, tracer.clone()).await?;
    let controller_listener = match &config.controller_listener {
        Some(endpoint) if config.is_controller => Some(listen(endpoint).await?),
        _ => None,
    };
    // The controller stops after the broker, which asks it for leave.
    let controller_shutdown = if config.is_broker { Shutdown::default() } else { shutdown.clone() };
    let settings = controller_config(&config, &directory.meta().cluster_id, switches);
    let controller = controller_listener.map(|listener| {
        let shutdown = controller_shutdown.clone();
        let kept = (told, ended_sessions);
        let run = crate::controller::node::run(settings, disk, listener, tracer.clone(), kept, shutdown);
        async { task::spawn(run).await.unwrap_or_else(|error| panic!("the controller's task ended: {error}")) }
    });
    if !config.is_broker {
        if let Some(controller) = controller {
            controller.await?;
        }
        return Ok(());
    }
    let broker = run_broker(config, directory, switches, tracer, shutdown, ready);
    let Some(controller) = controller else { return broker.await };
    tokio::pin!(controller);
    let outcome = tokio::select! {
        biased;
        // Without its controller, whose log has failed, the process cannot go on.
        ended = &mut controller => return Ok(ended?),
        outcome = broker => outcome,
    };
    if outcome.as_ref().is_err_and(NodeError::is_log_dir_failure) {
        return outcome;
    }
    controller_shutdown.trigger();
    controller.await?;
    outcome
}

async fn listen(endpoint: &Endpoint) -> Result<Listener, NodeError> {
    let address = endpoint.address();
    Listener::bind(&address).await.map_err(|error| NodeError::Listen { address, problem: error.to_string() })
}

fn limits(config: &NodeConfig) -> Options {
    Options { request_bytes_max: config.socket_request_max_bytes, idle_max: config.connections_max_idle }
}

fn controller_config(config: &NodeConfig, cluster_id: &str, switches: Switches) -> ControllerConfig {
    ControllerConfig {
        settings: ControllerSettings {
            node: config.node_id,
            cluster_id: cluster_id.to_owned(),
            session_timeout: config.broker_session_timeout,
            num_partitions: config.num_partitions,
            default_replication_factor: config.default_replication_factor,
            topic_defaults: settings::topic_defaults(config),
            group_defaults: group::defaults(|name| config.properties.value(name)),
            switches,
        },
        rebalance_interval: config.auto_leader_rebalance_enable.then_some(config.leader_imbalance_check_interval),
        unclean_interval: config.unclean_election_interval,
        options: limits(config),
    }
}

async fn run_broker(
    config: Arc<NodeConfig>,
    directory: LogDirectory,
    switches: Switches,
    tracer: Tracer,
    shutdown: Shutdown,
    ready: Arc<Notify>,
) -> Result<(), NodeError> {
    let (node, meta) = (config.node_id, directory.meta().clone());
    let failures = directory.failures().clone();
    let previous_epoch = directory.previous_broker_epoch();
    let (isr_changes, proposals) = mpsc::unbounded_channel();
    let context =
        PartitionContext { node, lag_max: config.replica_lag_time_max, switches, tracer: tracer.clone(), isr_changes };
    let replicas = Arc::new(Replicas::load(directory, config.clone(), context).await?);
    let (_, controller_address) = config.quorum_voters.first().expect("the configuration has a voter").clone();
    let channel = |name: &str, timeout: Duration| {
        ControllerChannel::new(&controller_address, &format!("broker-{node}-{name}"), timeout)
    };
    let calls = Arc::new(channel("calls", config.broker_session_timeout / 2));
    let (cache, registration) = (Arc::new(MetadataCache::default()), Arc::new(Registration::new(node)));
    // What runs beside the requests stops after the broker has left the cluster.
    let background = Shutdown::default();
    let coordinators =
        Arc::new(GroupCoordinators::new(node, config.groups.clone(), switches, tracer.clone(), replicas.clone()));
    let applied = Arc::new(Applied {
        config: config.clone(),
        replicas: replicas.clone(),
        coordinators: coordinators.clone(),
        cache: cache.clone(),
        registration: registration.clone(),
        shutdown: background.clone(),
        fetchers: Mutex::default(),
        switches,
    });
    let follower_channel = channel("metadata", FETCH_WAIT + config.broker_session_timeout / 4);
    task::spawn(metadata::follow(registration.clone(), follower_channel, cache.clone(), applied, background.clone()));
    // On a connection of its own: a heartbeat must not wait behind a change of an ISR.
    let alter_partition = Arc::new(channel("alter-partition", config.broker_session_timeout / 2));
    let registered = registration.clone();
    task::spawn(isr_changes::send_all(proposals, alter_partition, registered, switches, background.clone()));
    task::spawn(replicas.clone().watch_lag(background.clone()));
    task::spawn(replicas.clone().watch_age(background.clone()));
    task::spawn(replicas.clone().write_checkpoints(background.clone()));
    let service = Arc::new(Broker::new(
        config.clone(),
        meta.cluster_id.clone(),
        cache.clone(),
        replicas.clone(),
        calls.clone(),
        registration.clone(),
        coordinators.clone(),
    ));
    let serving = Shutdown::default();
    // Who does not know the cluster yet would tell clients that there is nothing in it.
    let serve = async {
        cache.caught_up().await;
        for endpoint in &config.listeners {
            let listener = listen(endpoint).await?;
            task::spawn(rpc::serve(listener, service.clone(), limits(&config), serving.clone()));
        }
        task::spawn(announce(registration.clone(), ready, background.clone()));
        std::future::pending::<Result<(), NodeError>>().await
    };
    let identity = Identity {
        config: config.clone(),
        cluster_id: meta.cluster_id,
        directory_id: meta.directory_id,
        previous_epoch,
    };
    let ended = tokio::select! {
        biased;
        // Nothing is closed: what cannot be written cannot be closed either.
        reason = failures.failed() => return Err(NodeError::LogDirFailed(reason)),
        lived = lifecycle::live(identity, calls, registration.clone(), cache.clone(), shutdown) => lived.map_err(Into::into),
        failed = serve => failed,
    };
    serving.trigger();
    background.trigger();
    coordinators.close();
    replicas.close(registration.broker_epoch()).await?;
    ended
}

/// Rings `ready` once the broker takes part.
async fn announce(registration: Arc<Registration>, ready: Arc<Notify>, background: Shutdown) {
    while !registration.is_unfenced() {
        if background.or(clock::sleep(Duration::from_millis(5))).await.is_none() {
            return;
        }
    }
    ready.notify_one();
}

/// Does what new metadata asks for: roles of partitions, and a fetcher for each leader that is followed.
struct Applied {
    config: Arc<NodeConfig>,
    replicas: Arc<Replicas>,
    coordinators: Arc<GroupCoordinators>,
    cache: Arc<MetadataCache>,
    registration: Arc<Registration>,
    shutdown: Shutdown,
    fetchers: Mutex<BTreeMap<NodeId, Arc<Changed>>>,
    switches: Switches,
}

impl Apply for Applied {
    async fn apply(&self, image: &MetadataImage, delta: &MetadataDelta, end: Offset) {
        let leaders = self.replicas.apply(image, delta).await;
        self.coordinators.apply(image, delta, end);
        let mut fetchers = self.fetchers.lock().expect("no panic while the fetchers are held");
        for leader in leaders {
            fetchers.entry(leader).or_insert_with(|| {
                let changed = Arc::new(Changed::default());
                let fetcher = Fetcher {
                    leader,
                    config: self.config.clone(),
                    replicas: self.replicas.clone(),
                    cache: self.cache.clone(),
                    registration: self.registration.clone(),
                    changed: changed.clone(),
                    shutdown: self.shutdown.clone(),
                    switches: self.switches,
                };
                task::spawn(fetcher.run());
                changed
            });
        }
        fetchers.values().for_each(|changed| changed.ring());
    }
}
