//! `topics`: create, list, describe and delete topics of a real cluster.

use super::{
    args::{TopicsCommand, TopicsOptions},
    cluster::{self, failed},
    exit::{self, Failure, Outcome},
    output::{print, print_line},
};
use crate::{
    client::{Admin, ClientError, ProducerConfig, admin::NewTopic},
    protocol::{
        ErrorCode,
        messages::{BrokerId, metadata_response::MetadataResponseTopic},
    },
};

/// Runs one of the commands.
pub fn topics(options: &TopicsOptions) -> Outcome {
    cluster::block_on(async {
        let config = ProducerConfig::default().cluster;
        let reached = cluster::reach(&options.cluster, config).await?;
        let admin = Admin::new(reached.clone());
        match &options.command {
            TopicsCommand::Create { topic, partitions, replication_factor, configs } => {
                let wanted = NewTopic {
                    name: topic.clone(),
                    partitions: *partitions,
                    replication_factor: *replication_factor,
                    assignment: Vec::new(),
                    configs: cluster::properties("--config", configs)?,
                };
                admin.create_topic(&wanted).await.map_err(failed)?;
                cluster::is_told(&admin, topic, true).await?;
                print_line(&format!("created {topic}"))?;
            }
            TopicsCommand::List => {
                let mut names = names(&admin.describe_topics(None).await.map_err(failed)?);
                names.sort();
                names.iter().try_for_each(|name| print_line(name))?;
            }
            TopicsCommand::Describe { topic: Some(name) } => {
                let topic = cluster::topic(&reached, &options.cluster, name, false).await?;
                print(&description(&topic))?;
            }
            TopicsCommand::Describe { topic: None } => {
                let mut all = admin.describe_topics(None).await.map_err(failed)?;
                all.sort_by(|a, b| a.name.cmp(&b.name));
                all.iter().try_for_each(|topic| print(&description(topic)))?;
            }
            TopicsCommand::Delete { topic } => match admin.delete_topic(topic).await {
                Ok(()) => {
                    cluster::is_told(&admin, topic, false).await?;
                    print_line(&format!("deleted {topic}"))?;
                }
                Err(ClientError::Kafka { code: ErrorCode::UnknownTopicOrPartition, .. }) => {
                    return Err(cluster::missing(&admin, &options.cluster, topic).await);
                }
                Err(error) => return Err(Failure::failed(error)),
            },
        }
        Ok(exit::OK)
    })
}

fn names(topics: &[MetadataResponseTopic]) -> Vec<String> {
    topics.iter().filter_map(|topic| topic.name.as_ref().map(|name| name.to_string())).collect()
}

/// A line for the topic and one for each partition.
fn description(topic: &MetadataResponseTopic) -> String {
    let name = topic.name.as_ref().map_or("", |name| name.as_str());
    let mut partitions: Vec<_> = topic.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    let count = partitions.len();
    let mut text = format!("{name}  {count} {}\n", if count == 1 { "partition" } else { "partitions" });
    for partition in partitions {
        let leader = match partition.leader_id.0 {
            -1 => "none".to_owned(),
            leader => format!("{leader} (epoch {})", partition.leader_epoch),
        };
        let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",");
        let (replicas, isr) = (ids(&partition.replica_nodes), ids(&partition.isr_nodes));
        let index = partition.partition_index;
        text.push_str(&format!("  {name}-{index}  leader {leader}  replicas {replicas}  isr {isr}\n"));
    }
    text
}
