//! The admin: topics, their settings, elections, who holds a partition. Each call goes to any broker (to the leader,
//! where records are deleted) and is tried again while the error may
//! pass, for at most `request.timeout.ms`.

use std::{collections::BTreeMap, sync::Arc};

use super::{ClientError, Cluster, cluster::topic_name};
use crate::{
    base::{NodeId, Offset, TopicPartition},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            AlterPartitionReassignmentsRequest, ApiKey, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
            ElectLeadersRequest, IncrementalAlterConfigsRequest, RequestKind, ResponseKind,
            alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
            create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
            delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
            elect_leaders_request::TopicPartitions,
            incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
            metadata_request::MetadataRequestTopic,
            metadata_response::MetadataResponseTopic,
        },
    },
    runtime::clock,
};

/// Resource type of topics in configuration requests.
const TOPIC_RESOURCE: i8 = 2;

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `-1` for the cluster's default. Not used with `assignment`.
    pub partitions: i32,
    /// Replicas of each; `-1` for the cluster's default. Not used with `assignment`.
    pub replication_factor: i16,
    /// The replicas of each partition, the preferred leader first; empty: the controller decides.
    pub assignment: Vec<Vec<NodeId>>,
    /// Settings.
    pub configs: BTreeMap<String, String>,
}

/// Which kind of election is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica, if it is in the ISR.
    Preferred = 0,
    /// Any replica that lives, if nobody leads.
    Unclean = 1,
}

/// Changes a cluster.
pub struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    /// An admin of `cluster`.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Kafka's, such as TOPIC_ALREADY_EXISTS; or no broker answers.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), ClientError> {
        let assignment = topic.assignment.iter().zip(0..).map(|(replicas, index)| {
            let ids = replicas.iter().map(|node| node.0.into()).collect();
            CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(ids)
        });
        let config = |(name, value): (&String, &String)| {
            let value = Some(StrBytes::from_string(value.clone()));
            CreatableTopicConfig::default().with_name(StrBytes::from_string(name.clone())).with_value(value)
        };
        let (partitions, factor) = match topic.assignment.is_empty() {
            true => (topic.partitions, topic.replication_factor),
            false => (-1, -1),
        };
        let wanted = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
            .with_assignments(assignment.collect())
            .with_configs(topic.configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(self.timeout_ms());
        self.retried(RequestKind::CreateTopics(request), ApiKey::CreateTopics, (2, 7), |body| {
            let ResponseKind::CreateTopics(response) = body else { unreachable!("answered by its own kind") };
            let result = response.topics.first();
            result.map_or(Ok(()), |topic| ClientError::check(topic.error_code, topic.error_message.as_deref()))
        })
        .await
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// Kafka's, such as UNKNOWN_TOPIC_OR_PARTITION; or no broker answers.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![topic_name(name)]).with_timeout_ms(self.timeout_ms());
        self.retried(RequestKind::DeleteTopics(request), ApiKey::DeleteTopics, (1, 5), |body| {
            let ResponseKind::DeleteTopics(response) = body else { unreachable!("answered by its own kind") };
            let result = response.responses.first();
            result.map_or(Ok(()), |topic| ClientError::check(topic.error_code, topic.error_message.as_deref()))
        })
        .await
    }

    /// The topics called `names`, or all, as a broker knows them.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_topics(&self, names: Option<&[&str]>) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let wanted = names.map(|names| {
            names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).collect()
        });
        Ok(self.cluster.metadata(wanted, false).await?.topics)
    }

    /// Sets (or with `None` removes) one setting of a topic.
    ///
    /// # Errors
    /// Kafka's, such as INVALID_CONFIG; or no broker answers.
    pub async fn set_topic_config(&self, topic: &str, name: &str, value: Option<&str>) -> Result<(), ClientError> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let change = AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(i8::from(value.is_none()))
            .with_value(value.map(text));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configs(vec![change]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let api = ApiKey::IncrementalAlterConfigs;
        self.retried(RequestKind::IncrementalAlterConfigs(request), api, (0, 1), |body| {
            let ResponseKind::IncrementalAlterConfigs(response) = body else {
                unreachable!("answered by its own kind")
            };
            let result = response.responses.first();
            result.map_or(Ok(()), |one| ClientError::check(one.error_code, one.error_message.as_deref()))
        })
        .await
    }

    /// Elects a leader of `partition`.
    ///
    /// # Errors
    /// Kafka's, such as ELECTION_NOT_NEEDED; or no broker answers.
    pub async fn elect_leader(&self, partition: &TopicPartition, kind: ElectionType) -> Result<(), ClientError> {
        let wanted = TopicPartitions::default()
            .with_topic(topic_name(&partition.topic))
            .with_partitions(vec![partition.partition]);
        let request = ElectLeadersRequest::default()
            .with_election_type(kind as i8)
            .with_topic_partitions(Some(vec![wanted]))
            .with_timeout_ms(self.timeout_ms());
        self.retried(RequestKind::ElectLeaders(request), ApiKey::ElectLeaders, (1, 2), |body| {
            let ResponseKind::ElectLeaders(response) = body else { unreachable!("answered by its own kind") };
            ClientError::check(response.error_code, None)?;
            let result = response.replica_election_results.first().and_then(|topic| topic.partition_result.first());
            result.map_or(Ok(()), |one| ClientError::check(one.error_code, one.error_message.as_deref()))
        })
        .await
    }

    /// Gives partitions other replicas, the preferred leader first; one with `None` goes back to those that it had. It is
    /// done when the reassignments have begun.
    ///
    /// # Errors
    /// Kafka's, such as NO_REASSIGNMENT_IN_PROGRESS, of the first that is refused; or no broker answers.
    pub async fn reassign(&self, wanted: &[(TopicPartition, Option<Vec<NodeId>>)]) -> Result<(), ClientError> {
        let topics = wanted.iter().map(|(partition, replicas)| {
            let ids = replicas.as_ref().map(|replicas| replicas.iter().map(|node| node.0.into()).collect());
            let wanted = ReassignablePartition::default().with_partition_index(partition.partition).with_replicas(ids);
            ReassignableTopic::default().with_name(topic_name(&partition.topic)).with_partitions(vec![wanted])
        });
        let request = AlterPartitionReassignmentsRequest::default().with_timeout_ms(self.timeout_ms());
        let request = request.with_topics(topics.collect());
        let api = ApiKey::AlterPartitionReassignments;
        self.retried(RequestKind::AlterPartitionReassignments(request), api, (0, 1), |body| {
            let ResponseKind::AlterPartitionReassignments(response) = body else {
                unreachable!("answered by its own kind")
            };
            ClientError::check(response.error_code, response.error_message.as_deref())?;
            let mut results = response.responses.iter().flat_map(|topic| &topic.partitions);
            results.try_for_each(|one| ClientError::check(one.error_code, one.error_message.as_deref()))
        })
        .await
    }

    /// Deletes the records of `partition` before the offset `before`; the high watermark, where it is `None`. Returns once
    /// every replica that lives has: the first offset that stays.
    ///
    /// # Errors
    /// Kafka's, such as OFFSET_OUT_OF_RANGE; or nobody leads, or the leader does not answer.
    pub async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Option<Offset>,
    ) -> Result<Offset, ClientError> {
        let wanted = DeleteRecordsPartition::default()
            .with_partition_index(partition.partition)
            .with_offset(before.unwrap_or(Offset::UNKNOWN).0);
        let topic = DeleteRecordsTopic::default().with_name(topic_name(&partition.topic)).with_partitions(vec![wanted]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(self.timeout_ms());
        let deadline = clock::now() + self.cluster.config().request_timeout;
        loop {
            let outcome = self.ask_leader(partition, request.clone()).await;
            let may_pass = match &outcome {
                Ok(_) => false,
                Err(ClientError::Kafka { code, .. }) => {
                    code.is_retriable() && !matches!(code, ErrorCode::UnknownTopicOrPartition)
                }
                Err(_) => true,
            };
            if !may_pass || clock::now() >= deadline {
                return outcome;
            }
            clock::sleep(self.cluster.config().retry_backoff).await;
        }
    }

    async fn ask_leader(
        &self,
        partition: &TopicPartition,
        request: DeleteRecordsRequest,
    ) -> Result<Offset, ClientError> {
        let cluster = &self.cluster;
        cluster.refresh(std::slice::from_ref(&partition.topic)).await?;
        let nobody = || ClientError::Kafka { code: ErrorCode::LeaderNotAvailable, message: None };
        let leader = cluster.leader(partition).ok_or_else(nobody)?;
        let link = cluster.connection_to(leader.node).await?;
        let version = link.version_for(ApiKey::DeleteRecords, (0, 2))?;
        let answer = link.call(RequestKind::DeleteRecords(request), version, cluster.config().request_timeout).await?;
        let ResponseKind::DeleteRecords(response) = answer.body else { unreachable!("answered by its own kind") };
        let found = response.topics.first().and_then(|topic| topic.partitions.first()).ok_or_else(nobody)?;
        ClientError::check(found.error_code, None)?;
        Ok(Offset(found.low_watermark))
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }

    async fn retried(
        &self,
        request: RequestKind,
        api: ApiKey,
        ours: (i16, i16),
        read: impl Fn(ResponseKind) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let deadline = clock::now() + self.cluster.config().request_timeout;
        loop {
            let outcome = match self.cluster.call_any(request.clone(), api, ours).await {
                Ok(answer) => read(answer.body),
                Err(error) => Err(error),
            };
            let may_pass = match &outcome {
                Ok(()) => false,
                // An election that is not needed has its outcome already, and so has a change of what is not there.
                Err(ClientError::Kafka { code: ErrorCode::UnknownTopicOrPartition, .. }) => false,
                Err(ClientError::Kafka { code, .. }) => code.is_retriable() && api != ApiKey::ElectLeaders,
                Err(_) => true,
            };
            if !may_pass || clock::now() >= deadline {
                return outcome;
            }
            clock::sleep(self.cluster.config().retry_backoff).await;
        }
    }
}
