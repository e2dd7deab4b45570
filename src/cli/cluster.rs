//! How client commands reach a real cluster: within a few seconds, or with what to do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    args::Bootstrap,
    exit::{Failure, Outcome},
};
use crate::{
    base::suggest,
    client::{Admin, ClientError, Cluster, config::ClusterConfig},
    protocol::{ErrorCode, messages::metadata_response::MetadataResponseTopic},
    report::shell_word,
    runtime::{clock, real},
};

/// Longest wait for the first answer of a broker.
const REACH: Duration = Duration::from_secs(5);
/// Longest wait for a new topic to be known and led.
const TOPIC_READY: Duration = Duration::from_secs(10);
/// Time between two looks for what the brokers learn from the controller.
const NEWS: Duration = Duration::from_millis(20);

/// Runs a command to its end.
pub fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    real::block_on(1, command).map_err(Failure::failed)?
}

/// Properties given as `name=value`.
///
/// # Errors
/// One that is not.
pub fn properties(option: &str, given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let split = |given: &String| match given.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
        None => Err(Failure::usage(format!("{option} takes name=value, not `{given}`"))),
    };
    given.iter().map(split).collect()
}

/// The cluster that the command was pointed at; a broker of it has answered.
///
/// # Errors
/// An address that is none, or nobody answers.
pub async fn reach(bootstrap: &Bootstrap, config: ClusterConfig) -> Result<Arc<Cluster>, Failure> {
    let addresses: Vec<String> =
        bootstrap.bootstrap_server.split(',').map(|address| address.trim().to_owned()).collect();
    for address in &addresses {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(Failure::usage(format!(
                "--bootstrap-server takes HOST:PORT, as 127.0.0.1:9092, not `{address}`"
            )));
        }
    }
    let cluster = Cluster::new(config, addresses);
    is_there(&cluster, bootstrap).await?;
    Ok(cluster)
}

/// Whether a broker answers, in bounded time.
///
/// # Errors
/// Nobody does.
pub async fn is_there(cluster: &Cluster, bootstrap: &Bootstrap) -> Result<(), Failure> {
    let problem = match clock::timeout(REACH, cluster.metadata(Some(Vec::new()), false)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("nothing came within {} s", REACH.as_secs()),
    };
    let asked = &bootstrap.bootstrap_server;
    Err(Failure::failed(format!(
        "no broker answers at {asked}: {problem}\n  name another with --bootstrap-server, or start one:\n    \
         cargo run --release -- serve --dev --listen {}",
        asked.split(',').next().unwrap_or(asked)
    )))
}

/// The topic called `name`. With `create` it is made where the brokers do that by themselves, and waited for.
///
/// # Errors
/// There is none.
pub async fn topic(
    cluster: &Arc<Cluster>,
    bootstrap: &Bootstrap,
    name: &str,
    create: bool,
) -> Result<MetadataResponseTopic, Failure> {
    let admin = Admin::new(cluster.clone());
    let deadline = clock::now() + TOPIC_READY;
    loop {
        if create {
            cluster.refresh(&[name.into()]).await.map_err(failed)?;
        }
        let found = admin.describe_topics(Some(&[name])).await.map_err(failed)?.pop();
        let code = found.as_ref().map_or(ErrorCode::UnknownTopicOrPartition, |it| ErrorCode::from_i16(it.error_code));
        let led = |topic: &MetadataResponseTopic| topic.partitions.iter().all(|partition| partition.leader_id.0 >= 0);
        match (found, code) {
            (Some(topic), ErrorCode::None) if led(&topic) || clock::now() >= deadline => return Ok(topic),
            (Some(_), code) if !code.is_retriable() && code != ErrorCode::None => {
                return Err(Failure::failed(format!("topic `{name}`: {code}")));
            }
            (_, ErrorCode::UnknownTopicOrPartition) if !create || clock::now() >= deadline => {
                return Err(missing(&admin, bootstrap, name).await);
            }
            (_, code) if clock::now() >= deadline => return Err(Failure::failed(format!("topic `{name}`: {code}"))),
            _ => clock::sleep(cluster.config().retry_backoff).await,
        }
    }
}

/// Waits until the brokers tell of a topic that was created, or no more of one that was deleted: they learn it from the
/// controller a moment after it has decided. Gives up after a while: it is decided all the same.
///
/// # Errors
/// No broker answers.
pub async fn is_told(admin: &Admin, name: &str, there: bool) -> Result<(), Failure> {
    let deadline = clock::now() + TOPIC_READY;
    while clock::now() < deadline {
        let found = admin.describe_topics(Some(&[name])).await.map_err(failed)?.pop();
        let code = found.map_or(ErrorCode::UnknownTopicOrPartition, |topic| ErrorCode::from_i16(topic.error_code));
        if there != (code == ErrorCode::UnknownTopicOrPartition) {
            return Ok(());
        }
        clock::sleep(NEWS).await;
    }
    Ok(())
}

/// What to say of a topic that is not there: a name that is nearly the same, and how to make it.
pub async fn missing(admin: &Admin, bootstrap: &Bootstrap, name: &str) -> Failure {
    let all = admin.describe_topics(None).await.unwrap_or_default();
    let names: Vec<String> = all.iter().filter_map(|topic| topic.name.as_ref().map(|name| name.to_string())).collect();
    let near = suggest::nearest(name, names.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::failed(format!(
        "there is no topic `{name}`{near}\n  make it with\n    \
         cargo run --release -- topics create {} --bootstrap-server {}",
        shell_word(name),
        bootstrap.bootstrap_server
    ))
}

/// Refuses a partition that the topic does not have.
///
/// # Errors
/// Which partitions there are.
pub fn partitions(topic: &MetadataResponseTopic, wanted: Option<i32>) -> Result<Vec<i32>, Failure> {
    let mut all: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
    all.sort_unstable();
    match wanted {
        None => Ok(all),
        Some(wanted) if all.contains(&wanted) => Ok(vec![wanted]),
        Some(wanted) => {
            let (name, last) = (topic.name.as_ref().map_or("", |name| name.as_str()), all.len().saturating_sub(1));
            Err(Failure::usage(format!("topic `{name}` has no partition {wanted}; it has 0 to {last}")))
        }
    }
}

/// A call of a client that failed.
pub fn failed(error: ClientError) -> Failure {
    Failure::failed(error)
}
