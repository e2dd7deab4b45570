//! Reassignment: begin, completion, cancellation, refusals.

use super::*;
use crate::protocol::messages::{
    AlterPartitionReassignmentsRequest, IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    create_topics_request::CreatableReplicaAssignment,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

impl Harness {
    /// Four brokers, and a topic with one partition on `replicas`.
    fn four_brokers_and_a_partition(replicas: &[i32]) -> Self {
        let mut harness = Self::new();
        for id in 1..=4 {
            harness.register(id, 1);
            harness.beat(id, false);
        }
        let ids = replicas.iter().map(|id| (*id).into()).collect();
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![CreatableReplicaAssignment::default().with_broker_ids(ids)]);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let decision = harness.controller.create_topics(&request, 7, &mut random::stream(1, "topics"));
        harness.commit(decision.records);
        harness
    }

    fn reassign(&mut self, replicas: Option<&[i32]>) -> ErrorCode {
        self.reassign_partition(0, replicas, true)
    }

    fn reassign_partition(&mut self, index: i32, replicas: Option<&[i32]>, changes_factor: bool) -> ErrorCode {
        let ids = replicas.map(|ids| ids.iter().map(|id| (*id).into()).collect());
        let partition = ReassignablePartition::default().with_partition_index(index).with_replicas(ids);
        let topic = ReassignableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default()
            .with_allow_replication_factor_change(changes_factor)
            .with_topics(vec![topic]);
        let decision = self.controller.alter_partition_reassignments(&request);
        let code = ErrorCode::from_i16(decision.response.responses[0].partitions[0].error_code);
        assert!(code == ErrorCode::None || decision.records.is_empty(), "a refusal changes nothing");
        self.commit(decision.records);
        code
    }

    /// The leader asks for this ISR and gets it.
    fn leader_wants(&mut self, isr: &[i32]) -> ErrorCode {
        let registration = self.partition(0);
        let members = isr.iter().map(|id| {
            let epoch = self.controller.image().broker(NodeId(*id)).unwrap().epoch;
            crate::protocol::messages::alter_partition_request::BrokerState::default()
                .with_broker_id((*id).into())
                .with_broker_epoch(epoch.0)
        });
        let partition = PartitionData::default()
            .with_leader_epoch(registration.leader_epoch.0)
            .with_partition_epoch(registration.partition_epoch.0)
            .with_new_isr_with_epochs(members.collect());
        let topic_id = self.controller.image().topic("t").unwrap().id;
        let topic =
            TopicData::default().with_topic_id(uuid::Uuid::from_bytes(topic_id.0)).with_partitions(vec![partition]);
        let request = AlterPartitionRequest::default()
            .with_broker_id(registration.leader.0.into())
            .with_broker_epoch(self.controller.image().broker(registration.leader).unwrap().epoch.0)
            .with_topics(vec![topic]);
        let decision = self.controller.alter_partition(&request);
        self.commit(decision.records);
        ErrorCode::from_i16(decision.response.topics[0].partitions[0].error_code)
    }

    /// Adding, removing and all replicas of what is listed as under way.
    fn listed(&self) -> Vec<(Vec<i32>, Vec<i32>, Vec<i32>)> {
        let request = ListPartitionReassignmentsRequest::default().with_topics(None);
        let response = self.controller.list_partition_reassignments(&request);
        let ids = |ids: &[crate::protocol::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|one| (ids(&one.adding_replicas), ids(&one.removing_replicas), ids(&one.replicas))).collect()
    }

    fn epochs(&self) -> (i32, i32) {
        let registration = self.partition(0);
        (registration.leader_epoch.0, registration.partition_epoch.0)
    }
}

#[test]
fn a_partition_moves_when_all_of_the_target_are_in_sync_and_its_leader_with_it() {
    let mut harness = Harness::four_brokers_and_a_partition(&[1, 2]);
    assert_eq!(harness.reassign(Some(&[3, 4])), ErrorCode::None);
    assert_eq!(harness.listed(), [(vec![3, 4], vec![1, 2], vec![3, 4, 1, 2])]);
    assert_eq!((harness.epochs(), harness.partition(0).leader), ((0, 1), NodeId(1)));
    assert_eq!(harness.leader_wants(&[1, 2, 3]), ErrorCode::None);
    assert_eq!(harness.listed().len(), 1, "4 is not in sync yet");
    assert_eq!(harness.leader_wants(&[1, 2, 3, 4]), ErrorCode::NewLeaderElected);
    let moved = harness.partition(0);
    assert_eq!((moved.replicas, moved.isr, moved.leader), (nodes(&[3, 4]), nodes(&[3, 4]), NodeId(3)));
    assert_eq!((harness.epochs(), harness.listed()), ((1, 3), vec![]));
    assert_eq!(harness.reassign(None), ErrorCode::NoReassignmentInProgress);
}

#[test]
fn a_leader_that_stays_leads_on_in_another_epoch_and_order_alone_changes_at_once() {
    let mut harness = Harness::four_brokers_and_a_partition(&[1, 2]);
    assert_eq!(harness.reassign(Some(&[2, 1])), ErrorCode::None);
    assert_eq!((harness.partition(0).replicas, harness.epochs()), (nodes(&[2, 1]), (0, 1)));
    assert_eq!(harness.reassign(Some(&[1])), ErrorCode::None);
    let shrunk = harness.partition(0);
    assert_eq!((shrunk.replicas, shrunk.isr, shrunk.leader), (nodes(&[1]), nodes(&[1]), NodeId(1)));
    assert_eq!(harness.epochs(), (1, 2));
    assert_eq!(harness.reassign(Some(&[1, 3])), ErrorCode::None);
    assert_eq!(harness.leader_wants(&[1, 3]), ErrorCode::None);
    assert_eq!((harness.partition(0).isr, harness.epochs()), (nodes(&[1, 3]), (1, 4)));
}

#[test]
fn a_cancelled_partition_goes_back_to_the_replicas_it_had() {
    let mut harness = Harness::four_brokers_and_a_partition(&[1, 2]);
    harness.reassign(Some(&[2, 3, 4]));
    harness.leader_wants(&[1, 2, 3]);
    assert_eq!(harness.reassign(None), ErrorCode::None);
    // Their order is what the target left of it, as in Kafka.
    let back = harness.partition(0);
    assert_eq!((back.replicas, back.isr, back.leader), (nodes(&[2, 1]), nodes(&[1, 2]), NodeId(1)));
    assert_eq!((harness.epochs().0, harness.listed()), (1, vec![]));
}

#[test]
fn what_cannot_be_is_refused_with_kafkas_errors() {
    let mut harness = Harness::four_brokers_and_a_partition(&[1, 2]);
    assert_eq!(harness.reassign(None), ErrorCode::NoReassignmentInProgress);
    for wrong in [&[][..], &[1, 1], &[1, 9], &[1, -2]] {
        assert_eq!(harness.reassign(Some(wrong)), ErrorCode::InvalidReplicaAssignment, "{wrong:?}");
    }
    assert_eq!(harness.reassign_partition(1, Some(&[1]), true), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(harness.reassign_partition(0, Some(&[1]), false), ErrorCode::InvalidReplicationFactor);
    assert_eq!(harness.reassign_partition(0, Some(&[3, 4]), false), ErrorCode::None);
    assert_eq!(harness.reassign_partition(0, Some(&[3, 2]), false), ErrorCode::None, "it has two before and after");
    // Whoever is in sync was added: to go back would be an unclean election.
    let mut harness = Harness::four_brokers_and_a_partition(&[1]);
    harness.reassign(Some(&[3, 4]));
    harness.leader_wants(&[1, 3]);
    let fenced = harness.controller.fence(NodeId(1), "a test");
    harness.commit(fenced);
    assert_eq!(harness.partition(0).leader, NodeId(3));
    assert_eq!(harness.reassign(None), ErrorCode::InvalidReplicaAssignment);
}

#[test]
fn before_3_8_those_who_were_added_were_enough() {
    for (needs_all, replicas) in [(true, nodes(&[2, 3, 4, 1])), (false, nodes(&[2, 3, 4]))] {
        let mut harness = Harness::four_brokers_and_a_partition(&[1, 2, 3]);
        harness.controller.settings.switches.reassignment_needs_all = needs_all;
        harness.leader_wants(&[1]);
        harness.reassign(Some(&[2, 3, 4]));
        harness.leader_wants(&[1, 4]);
        assert_eq!(harness.partition(0).replicas, replicas, "needs all: {needs_all}");
    }
}

#[test]
fn throttles_of_replication_are_taken_and_given_up_as_the_tools_do_that_move_partitions() {
    let harness = Harness::four_brokers_and_a_partition(&[1, 2]);
    let (set, delete) = (0, 1);
    let code = |operation: i8, value: Option<&'static str>| {
        let config = AlterableConfig::default()
            .with_name(StrBytes::from_static_str("leader.replication.throttled.rate"))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str));
        let broker = AlterConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(StrBytes::from_static_str("1"))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![broker]);
        let response = harness.controller.incremental_alter_configs(&request).response;
        ErrorCode::from_i16(response.responses[0].error_code)
    };
    assert_eq!(code(set, Some("1000000")), ErrorCode::None);
    assert_eq!(code(delete, None), ErrorCode::None);
    assert_eq!(code(set, Some("fast")), ErrorCode::InvalidRequest);
}
