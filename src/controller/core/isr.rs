//! AlterPartition: a leader asks for another ISR (KIP-497).
//!
//! The checks in Kafka's order; each error tells the leader something else. Only INELIGIBLE_REPLICA proves that
//! this request was not applied; after any other the leader waits for the metadata.

use uuid::Uuid;

use super::{Controller, Decided, Decision, reassignment::Target};
use crate::{
    base::{BrokerEpoch, NodeId, TopicId, mark},
    controller::image::{PartitionRegistration, TopicImage},
    protocol::{
        ErrorCode,
        messages::{
            AlterPartitionRequest, AlterPartitionResponse,
            alter_partition_request::PartitionData as Asked,
            alter_partition_response::{PartitionData, TopicData},
        },
        metadata::PartitionChange,
    },
    trace::Election,
};

impl Controller {
    /// Answers an AlterPartition request (versions 2 and 3).
    pub fn alter_partition(&self, request: &AlterPartitionRequest) -> Decision<AlterPartitionResponse> {
        let sender = NodeId(request.broker_id.0);
        let known = self.image.broker(sender);
        if known.is_none_or(|known| known.epoch.0 != request.broker_epoch) {
            let code = ErrorCode::StaleBrokerEpoch.code();
            return Decision::only(AlterPartitionResponse::default().with_error_code(code));
        }
        let mut records = Vec::new();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let id = TopicId(*topic.topic_id.as_bytes());
                let answer = match self.check(sender, id, asked) {
                    Ok((topic, registration, isr)) => {
                        let at = (topic, asked.partition_index);
                        let (answer, decided) = self.take_isr(at, registration, isr, sender);
                        records.extend(decided);
                        answer
                    }
                    Err(code) => {
                        mark::reach("alter_partition_rejected");
                        PartitionData::default()
                            .with_partition_index(asked.partition_index)
                            .with_error_code(code.code())
                    }
                };
                partitions.push(answer);
            }
            topics.push(TopicData::default().with_topic_id(topic.topic_id).with_partitions(partitions));
        }
        Decision { response: AlterPartitionResponse::default().with_topics(topics), records }
    }

    /// What becomes of an ISR that may be, and the answer. It may be what a reassignment waits for: then another broker
    /// may lead, and the one that asked is told so, though it was done.
    fn take_isr(
        &self,
        (topic, partition): (&TopicImage, i32),
        registration: &PartitionRegistration,
        isr: Vec<NodeId>,
        sender: NodeId,
    ) -> (PartitionData, Option<Decided>) {
        note_isr(registration, &isr, registration.leader);
        let changed = if registration.is_reassigning() {
            let target = Target::with_isr(registration, isr);
            self.become_target((topic.id, partition), registration, target, self.election_rules(&topic.name))
        } else {
            let isr = (isr != registration.isr).then_some(isr);
            let change = PartitionChange { partition, topic_id: topic.id, isr, ..PartitionChange::default() };
            change.isr.is_some().then_some((change, Election::None))
        };
        let Some((change, election)) = changed else { return (answer_of(partition, registration), None) };
        let answer = match change.leader {
            Some(leader) if leader != sender => {
                let code = ErrorCode::NewLeaderElected.code();
                PartitionData::default().with_partition_index(partition).with_error_code(code)
            }
            _ => answer_of(partition, &registration.merged(&change)),
        };
        let reason = format!("broker {sender}, the leader, asked for it");
        (answer, Some(self.decided_change(change, election, reason)))
    }

    fn check(
        &self,
        sender: NodeId,
        topic_id: TopicId,
        asked: &Asked,
    ) -> Result<(&TopicImage, &PartitionRegistration, Vec<NodeId>), ErrorCode> {
        let topic = self.image.topic_by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let registration = topic.partitions.get(&asked.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if asked.leader_epoch > registration.leader_epoch.0 || asked.partition_epoch > registration.partition_epoch.0 {
            return Err(ErrorCode::NotController);
        }
        if !self.settings.switches.bug_stale_isr_change_taken {
            if asked.leader_epoch < registration.leader_epoch.0 {
                return Err(ErrorCode::FencedLeaderEpoch);
            }
            if registration.leader != sender {
                return Err(ErrorCode::InvalidRequest);
            }
            if asked.partition_epoch < registration.partition_epoch.0 {
                return Err(ErrorCode::InvalidUpdateVersion);
            }
        }
        let members: Vec<(NodeId, BrokerEpoch)> = match asked.new_isr_with_epochs.is_empty() {
            true => asked.new_isr.iter().map(|id| (NodeId(id.0), BrokerEpoch(-1))).collect(),
            false => {
                let members = asked.new_isr_with_epochs.iter();
                members.map(|state| (NodeId(state.broker_id.0), BrokerEpoch(state.broker_epoch))).collect()
            }
        };
        let isr: Vec<NodeId> = members.iter().map(|(id, _)| *id).collect();
        if !isr.contains(&sender) || isr.iter().any(|member| !registration.replicas.contains(member)) {
            return Err(ErrorCode::InvalidRequest);
        }
        let eligible = |(id, epoch): &(NodeId, BrokerEpoch)| {
            let switches = &self.settings.switches;
            let any_epoch = *epoch == BrokerEpoch(-1) || !switches.isr_checks_broker_epoch;
            self.image.broker(*id).is_some_and(|known| {
                (known.is_active() || !switches.isr_excludes_fenced) && (any_epoch || known.epoch == *epoch)
            })
        };
        if !members.iter().all(eligible) {
            return Err(ErrorCode::IneligibleReplica);
        }
        Ok((topic, registration, isr))
    }
}

fn answer_of(partition: i32, registration: &PartitionRegistration) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_leader_id(registration.leader.0.into())
        .with_leader_epoch(registration.leader_epoch.0)
        .with_isr(registration.isr.iter().map(|id| id.0.into()).collect())
        .with_leader_recovery_state(registration.leader_recovery_state)
        .with_partition_epoch(registration.partition_epoch.0)
}

/// Marks how an ISR changes.
pub(super) fn note_isr(before: &PartitionRegistration, isr: &[NodeId], leader: NodeId) {
    if isr.iter().any(|member| !before.isr.contains(member)) {
        mark::reach("isr_expanded");
    }
    if before.isr.iter().any(|member| !isr.contains(member)) {
        mark::reach("isr_shrunk");
        if isr == [leader] {
            mark::reach("isr_shrunk_to_leader");
        }
    }
}

/// A topic id as the crate for messages has it.
pub(super) fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}
