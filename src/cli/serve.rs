//! `serve` and `storage`: a real node.

use std::{io::IsTerminal, path::Path, sync::Arc};

use rand::Rng;
use tokio::sync::Notify;

use super::{
    args::{Format, ServeOptions, StorageCommand, StorageOptions},
    exit::{self, Failure, Outcome},
    output::print_line,
};
use crate::{
    base::{NodeId, Switches, TopicId},
    broker::{
        config::{self, Endpoint, NodeConfig, Properties},
        node::{self, EndedSessions, NodeError, NodeOptions, Told},
    },
    rpc::Shutdown,
    runtime::{disk::Disk, process, random, real, task},
    storage::{MetaProperties, StorageError},
    trace::{Tracer, log_sink::LogSink},
};

/// Serves clients until SIGTERM or SIGINT.
pub fn serve(options: ServeOptions) -> Outcome {
    start_log(options.log_format)?;
    let switches = switches(&options.teaching)?;
    let (mut properties, data) = properties(&options)?;
    for given in &options.properties {
        let (name, value) =
            given.split_once('=').ok_or_else(|| Failure::usage(format!("--set takes name=value, not `{given}`")))?;
        properties.set(name, value, "--set");
    }
    for (name, nearest) in config::unknown_names(&properties) {
        let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        tracing::warn!("property {name} is not known{hint}");
    }
    let config = NodeConfig::resolve(properties).map_err(Failure::usage)?;
    // On a host of few processors a second thread costs more than it brings: the two wake each other for every request.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = config.num_network_threads.min(processors.div_ceil(2));
    let run = async {
        let disk = Disk::at(&config.log_dir);
        if options.dev {
            format_if_new(&disk, config.node_id, None).await?;
        }
        let shutdown = Shutdown::default();
        let asked = shutdown.clone();
        task::spawn(async move {
            process::shutdown_requested().await;
            tracing::info!("shutting down");
            asked.trigger();
        });
        let ready = Arc::new(Notify::new());
        task::spawn(announce(ready.clone(), &config, options.dev));
        let (tracer, log_dir) = (Tracer::new(config.node_id.to_string(), Arc::new(LogSink)), config.log_dir.clone());
        let (told, ended_sessions) = (Told::everything(), EndedSessions::default());
        let node = NodeOptions { config, disk, switches, tracer, told, ended_sessions, shutdown, ready };
        node::run(node).await.map_err(|error| explain(&error, &log_dir))
    };
    let outcome = real::block_on(threads, run).map_err(Failure::failed)?;
    drop(data);
    outcome.map(|()| exit::OK)
}

/// Says where the node serves, once it does.
fn announce(ready: Arc<Notify>, config: &NodeConfig, dev: bool) -> impl Future<Output = ()> + use<> {
    let listen = config.listeners.iter().map(|endpoint| endpoint.address()).collect::<Vec<_>>().join(",");
    let log_dir = config.log_dir.clone();
    async move {
        ready.notified().await;
        // A reader that has gone takes nothing from the node.
        let _ = print_line(&format!("serving Kafka clients on {listen}, data in {log_dir}"));
        if dev {
            let _ = print_line(&format!(
                "try:  kcat -b {listen} -t greetings -P    (or kafka-topics, kafka-python, librdkafka)"
            ));
        }
    }
}

/// What ended the node, and what to do about it.
fn explain(error: &NodeError, log_dir: &str) -> Failure {
    let hint = match error {
        NodeError::Listen { .. } => "; choose another address with --listen, or with listeners in the properties",
        NodeError::Storage(StorageError::Io { .. }) => "; the log directory must be a folder that can be written",
        _ => "",
    };
    let place = match error {
        NodeError::Storage(StorageError::Io { .. }) => format!("log directory {log_dir}: "),
        _ => String::new(),
    };
    Failure::failed(format!("{place}{error}{hint}"))
}

/// The properties of the file, or of a development node; and its temporary folder, which goes when it is dropped.
fn properties(options: &ServeOptions) -> Result<(Properties, Option<tempfile::TempDir>), Failure> {
    if let Some(path) = &options.config {
        return Ok((read_properties(path)?, None));
    }
    let (folder, data) = match &options.data {
        Some(folder) => (folder.clone(), None),
        None => {
            let folder = tempfile::Builder::new().prefix("highwater-").tempdir().map_err(Failure::failed)?;
            (folder.path().to_path_buf(), Some(folder))
        }
    };
    let controller = free_address().map_err(Failure::failed)?;
    let listen = match format!("PLAINTEXT://{}", options.listen).parse::<Endpoint>() {
        Ok(Endpoint { port: 0, .. }) => free_address().map_err(Failure::failed)?,
        Ok(endpoint) => endpoint.address(),
        Err(_) => return Err(Failure::usage(format!("--listen takes host:port, not `{}`", options.listen))),
    };
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
         controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://{listen},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{listen}\ninter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={data}\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
         auto.create.topics.enable=true\n",
        data = folder.display(),
    );
    let properties = Properties::parse(&text, "--dev").map_err(Failure::usage)?;
    Ok((properties, data))
}

/// An address of this host that nobody listens on.
fn free_address() -> std::io::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn read_properties(path: &Path) -> Result<Properties, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Properties::parse(&text, &name).map_err(Failure::usage)
}

fn switches(teaching: &[String]) -> Result<Switches, Failure> {
    let mut switches = Switches::NEWEST;
    for given in teaching {
        match given.split_once('=') {
            Some((name, value)) => switches.set(name, value).map_err(Failure::usage)?,
            None => switches = Switches::of_era(given).map_err(Failure::usage)?,
        }
    }
    Ok(switches)
}

async fn format_if_new(disk: &Disk, node_id: NodeId, cluster_id: Option<String>) -> Result<bool, Failure> {
    let failed = |error: StorageError| explain(&error.into(), &disk.describe(""));
    if MetaProperties::read(disk).await.map_err(failed)?.is_some() {
        return Ok(false);
    }
    let fresh = |name: &str| TopicId(random::stream(name).random());
    let cluster_id = cluster_id.unwrap_or_else(|| fresh("cluster-id").to_string());
    let meta = MetaProperties { cluster_id, node_id, directory_id: fresh("directory-id") };
    meta.write(disk).await.map_err(failed)?;
    Ok(true)
}

/// Formats a log directory, or prints a fresh id.
pub fn storage(options: StorageOptions) -> Outcome {
    match options.command {
        StorageCommand::RandomUuid => {
            print_line(&TopicId(random::stream("random-uuid").random()).to_string())?;
            Ok(exit::OK)
        }
        StorageCommand::Format { config, cluster_id, ignore_formatted } => {
            let config = NodeConfig::resolve(read_properties(&config)?).map_err(Failure::usage)?;
            let run = async {
                let disk = Disk::at(&config.log_dir);
                let place = disk.describe("");
                if format_if_new(&disk, config.node_id, cluster_id).await? {
                    print_line(&format!("formatted {place} for node {}", config.node_id))?;
                    return Ok(exit::OK);
                }
                match ignore_formatted {
                    true => Ok(exit::OK),
                    false => {
                        Err(Failure::failed(format!("{place} is formatted already; --ignore-formatted accepts that")))
                    }
                }
            };
            real::block_on(1, run).map_err(Failure::failed)?
        }
    }
}

fn start_log(format: Format) -> Result<(), Failure> {
    use tracing_subscriber::{EnvFilter, fmt};
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&wanted)
        .map_err(|error| Failure::usage(format!("RUST_LOG: {error} in `{wanted}`; try RUST_LOG=debug")))?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr);
    match format {
        Format::Text => log.init(),
        Format::Json => log.json().init(),
    }
    Ok(())
}
