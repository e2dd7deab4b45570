//! The controller core: registration, elections, ISR changes, topics.

mod reassignment;

use std::{collections::BTreeMap, time::Duration};

use super::{
    elections::{Kind, Rules},
    *,
};
use crate::{
    base::{BrokerEpoch, PartitionEpoch, TopicId, random},
    controller::{configs::group, image::PartitionRegistration},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            AlterPartitionRequest, BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest, TopicName,
            alter_partition_request::{PartitionData, TopicData},
            create_topics_request::CreatableTopic,
        },
    },
};

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

#[test]
fn elections_follow_the_table() {
    // replicas, ISR, leader, alive, kind, unclean allowed -> new ISR, new leader, election
    type Case<'a> = (&'a [i32], i32, &'a [i32], Kind, bool, Option<&'a [i32]>, Option<i32>, Option<Election>);
    let cases: &[Case<'_>] = &[
        (&[1, 2, 3], 1, &[1, 2, 3], Kind::Online, false, None, None, None),
        (&[1, 2, 3], 1, &[2, 3], Kind::Online, false, Some(&[2, 3]), Some(2), Some(Election::Clean)),
        (&[1, 2, 3], 1, &[1, 3], Kind::Online, false, Some(&[1, 3]), None, Some(Election::None)),
        (&[1], 1, &[2, 3], Kind::Online, false, None, Some(-1), Some(Election::Offline)),
        (&[1], 1, &[2, 3], Kind::Online, true, Some(&[2]), Some(2), Some(Election::Unclean)),
        (&[1], 1, &[], Kind::Online, true, None, Some(-1), Some(Election::Offline)),
        (&[1], -1, &[3], Kind::Unclean, false, Some(&[3]), Some(3), Some(Election::Unclean)),
        (&[1], -1, &[1, 2], Kind::Online, true, None, Some(1), Some(Election::Clean)),
        (&[1, 2], 2, &[1, 2], Kind::Preferred, false, None, Some(1), Some(Election::Preferred)),
        (&[2, 3], 2, &[1, 2, 3], Kind::Preferred, false, None, None, None),
        (&[1, 2], 2, &[], Kind::Online, false, Some(&[2]), Some(-1), Some(Election::Offline)),
    ];
    for case @ (isr, leader, alive, kind, unclean, new_isr, new_leader, election) in cases {
        let registration = PartitionRegistration {
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(isr),
            leader: NodeId(*leader),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(7),
            leader_recovery_state: 0,
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
        };
        let is_alive = |node: NodeId| alive.contains(&node.0);
        let rules = Rules { unclean: *unclean, anyone: false };
        let found = elections::elect((TopicId([1; 16]), 0), &registration, *kind, rules, is_alive);
        let expected = election.map(|election| (new_isr.map(nodes), new_leader.map(NodeId), election));
        assert_eq!(found.map(|(change, election)| (change.isr, change.leader, election)), expected, "{case:?}");
    }
}

/// A controller whose records are committed at once.
struct Harness {
    controller: Controller,
    next: Offset,
    now: Time,
}

impl Harness {
    fn new() -> Self {
        let settings = ControllerSettings {
            node: NodeId(9),
            cluster_id: "c".to_owned(),
            session_timeout: Duration::from_millis(9000),
            num_partitions: 1,
            default_replication_factor: 1,
            topic_defaults: BTreeMap::new(),
            group_defaults: group::defaults(|_| None),
            switches: Switches::NEWEST,
        };
        Self { controller: Controller::new(settings), next: Offset(0), now: Time::ZERO }
    }

    fn commit(&mut self, records: Vec<Decided>) {
        for decided in records {
            let decoded = MetadataRecord::decode(&decided.record.encode()).unwrap();
            assert_eq!(decoded, decided.record);
            self.controller.replay(&decoded, &mut MetadataDelta::default(), self.now);
            self.next = self.next.next();
        }
        for topic in self.controller.image().topics() {
            for registration in topic.partitions.values() {
                let PartitionRegistration { replicas, isr, leader, .. } = registration;
                assert!(!isr.is_empty() && isr.iter().all(|member| replicas.contains(member)), "{registration:?}");
                assert!(*leader == NodeId::NONE || isr.contains(leader), "{registration:?}");
            }
        }
    }

    fn register(&mut self, id: i32, incarnation: u8) -> (ErrorCode, i64) {
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(id.into())
            .with_cluster_id(StrBytes::from_static_str("c"))
            .with_incarnation_id(uuid::Uuid::from_bytes([incarnation; 16]));
        let decision = self.controller.register_broker(&request, self.next, self.now);
        self.commit(decision.records);
        (ErrorCode::from_i16(decision.response.error_code), decision.response.broker_epoch)
    }

    fn beat(&mut self, id: i32, want_shut_down: bool) -> (bool, bool) {
        let epoch = self.controller.image().broker(NodeId(id)).unwrap().epoch.0;
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(id.into())
            .with_broker_epoch(epoch)
            .with_current_metadata_offset(self.next.0)
            .with_want_shut_down(want_shut_down);
        self.controller.note_contact(NodeId(id), self.next, self.now);
        let decision = self.controller.heartbeat(&request);
        let began_leaving = decision.records.iter().any(|decided| {
            matches!(decided.record, MetadataRecord::BrokerRegistrationChange { in_controlled_shutdown: true, .. })
        });
        self.commit(decision.records);
        if began_leaving {
            self.controller.note_shutdown(NodeId(id), self.next);
        }
        (decision.response.is_fenced, decision.response.should_shut_down)
    }

    fn three_brokers_and_a_topic(&mut self) {
        for id in 1..=3 {
            assert_eq!(self.register(id, 1).0, ErrorCode::None);
            assert_eq!(self.beat(id, false), (false, false));
        }
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_num_partitions(3)
            .with_replication_factor(3);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let decision = self.controller.create_topics(&request, 7, &mut random::stream(1, "topics"));
        assert_eq!(decision.response.topics[0].error_code, 0, "{:?}", decision.response);
        self.commit(decision.records);
    }

    fn partition(&self, index: i32) -> PartitionRegistration {
        self.controller.image().partition(&TopicPartition::new("t", index)).unwrap().clone()
    }
}

#[test]
fn a_new_incarnation_waits_for_the_session_of_the_old_one() {
    let mut harness = Harness::new();
    let (_, first) = harness.register(1, 1);
    harness.beat(1, false);
    assert_eq!(harness.register(1, 1), (ErrorCode::None, first), "the same incarnation again");
    assert_eq!(harness.register(1, 2).0, ErrorCode::DuplicateBrokerRegistration);
    harness.now = Time(9_001_000_000);
    let (broker, records) = harness.controller.expired_session(harness.now).unwrap();
    assert_eq!(broker, NodeId(1));
    harness.commit(records);
    let (code, second) = harness.register(1, 2);
    assert!(code == ErrorCode::None && second > first);
}

#[test]
fn a_broker_that_falls_silent_loses_its_leaderships_and_leaves_every_isr() {
    let mut harness = Harness::new();
    harness.three_brokers_and_a_topic();
    harness.now = Time(9_001_000_000);
    for id in [2, 3] {
        harness.beat(id, false);
    }
    let (broker, records) = harness.controller.expired_session(harness.now).unwrap();
    assert_eq!(broker, NodeId(1));
    harness.commit(records);
    for index in 0..3 {
        let registration = harness.partition(index);
        assert!(!registration.isr.contains(&NodeId(1)) && registration.leader != NodeId(1), "{registration:?}");
    }
    assert_eq!(harness.controller.expired_session(harness.now), None);
}

#[test]
fn a_controlled_shutdown_moves_leaderships_before_the_broker_may_go() {
    let mut harness = Harness::new();
    harness.three_brokers_and_a_topic();
    assert_eq!(harness.beat(1, true), (false, false));
    assert!((0..3).all(|index| harness.partition(index).leader != NodeId(1)));
    assert_eq!(harness.beat(1, true), (false, false), "the others have not read that yet");
    harness.beat(2, false);
    harness.beat(3, false);
    assert_eq!(harness.beat(1, true), (true, true));
}

#[test]
fn alter_partition_is_checked_in_kafkas_order() {
    let mut harness = Harness::new();
    harness.three_brokers_and_a_topic();
    let before = harness.partition(0);
    let topic_id = harness.controller.image().topic("t").unwrap().id;
    let leader = before.leader;
    let epoch_of = |harness: &Harness, id: NodeId| harness.controller.image().broker(id).unwrap().epoch;
    let ask = |harness: &Harness, sender: NodeId, epochs: (i32, i32), isr: &[NodeId], stale: bool| {
        let members = isr.iter().map(|id| {
            let epoch = if stale { BrokerEpoch(0).0 + 999 } else { epoch_of(harness, *id).0 };
            crate::protocol::messages::alter_partition_request::BrokerState::default()
                .with_broker_id(id.0.into())
                .with_broker_epoch(epoch)
        });
        let partition = PartitionData::default()
            .with_leader_epoch(epochs.0)
            .with_partition_epoch(epochs.1)
            .with_new_isr_with_epochs(members.collect());
        let topic =
            TopicData::default().with_topic_id(uuid::Uuid::from_bytes(topic_id.0)).with_partitions(vec![partition]);
        let request = AlterPartitionRequest::default()
            .with_broker_id(sender.0.into())
            .with_broker_epoch(epoch_of(harness, sender).0)
            .with_topics(vec![topic]);
        let decision = harness.controller.alter_partition(&request);
        (ErrorCode::from_i16(decision.response.topics[0].partitions[0].error_code), decision.records)
    };
    let other = before.isr.iter().copied().find(|member| *member != leader).unwrap();
    let cases = [
        (leader, (1, 0), ErrorCode::NotController),
        (leader, (0, 1), ErrorCode::NotController),
        (leader, (-1, 0), ErrorCode::FencedLeaderEpoch),
        (other, (0, 0), ErrorCode::InvalidRequest),
        (leader, (0, -1), ErrorCode::InvalidUpdateVersion),
    ];
    for (sender, epochs, code) in cases {
        assert_eq!(ask(&harness, sender, epochs, &[leader], false).0, code, "{sender} {epochs:?}");
    }
    assert_eq!(ask(&harness, leader, (0, 0), &[other], false).0, ErrorCode::InvalidRequest);
    assert_eq!(ask(&harness, leader, (0, 0), &[leader, other], true).0, ErrorCode::IneligibleReplica);
    let (code, records) = ask(&harness, leader, (0, 0), &[leader], false);
    assert_eq!(code, ErrorCode::None);
    harness.commit(records);
    assert_eq!((harness.partition(0).isr, harness.partition(0).partition_epoch), (vec![leader], PartitionEpoch(1)));
}
