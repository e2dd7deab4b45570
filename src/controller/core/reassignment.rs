//! Reassignment: other brokers get to hold a partition, while it serves (KIP-455).
//!
//! | the partition | its replicas are | until |
//! |---|---|---|
//! | gets another assignment | those of the target, then those to be removed | everyone of the target is in the ISR |
//! | is complete | those of the target; who leads and is removed is replaced | |
//! | is cancelled | those from before; who leads and was added is replaced | |
//!
//! A partition may be complete at once. Whatever takes a broker out of the replicas begins a leader epoch, so that
//! nothing the broker has asked for counts any more. Before 3.8 those who were added had to be in the ISR, and of those
//! who stay somebody (KAFKA-15665).

use super::{
    Controller, Decided, Decision,
    brokers::note_election,
    elections::{self, Kind, Rules},
    topics::{Refusal, refuse, topic_name},
};
use crate::{
    base::{NodeId, TopicId, mark},
    controller::image::{PartitionRegistration, TopicImage, without},
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
            ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
            alter_partition_reassignments_request::ReassignablePartition,
            alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse},
            list_partition_reassignments_response::{OngoingPartitionReassignment, OngoingTopicReassignment},
        },
        metadata::PartitionChange,
    },
    trace::Election,
};

/// What the registration of a partition is to become.
pub(super) struct Target {
    pub(super) isr: Vec<NodeId>,
    replicas: Vec<NodeId>,
    adding: Vec<NodeId>,
    removing: Vec<NodeId>,
}

impl Target {
    /// As it is, with this ISR.
    pub(super) fn with_isr(registration: &PartitionRegistration, isr: Vec<NodeId>) -> Self {
        Self {
            isr,
            replicas: registration.replicas.clone(),
            adding: registration.adding_replicas.clone(),
            removing: registration.removing_replicas.clone(),
        }
    }

    /// Another assignment. Who is in no ISR yet and was to be added before is an old replica now; a request that removes
    /// (or adds) nobody leaves what was to be removed (or added) before: both as in Kafka.
    fn reassigned(registration: &PartitionRegistration, wanted: &[NodeId]) -> Self {
        let mut target = Self::with_isr(registration, registration.isr.clone());
        let mut removing = without(&registration.replicas, wanted);
        let mut adding = without(wanted, &registration.replicas);
        removing.sort_unstable();
        adding.sort_unstable();
        target.replicas = [wanted, &removing].concat();
        if !removing.is_empty() {
            target.removing = removing;
        }
        if !adding.is_empty() {
            target.adding = adding;
        }
        target
    }

    /// As before the reassignment, and whether that takes an unclean election: nobody is in sync but who was added.
    fn cancelled(registration: &PartitionRegistration) -> (Self, bool) {
        let replicas = registration.replicas_before();
        let isr = without(&registration.isr, &registration.adding_replicas);
        let unclean = isr.is_empty();
        let isr = if unclean { replicas[..1].to_vec() } else { isr };
        (Self { isr, replicas, adding: Vec::new(), removing: Vec::new() }, unclean)
    }

    /// Ends the reassignment if nothing is left to wait for.
    fn complete_if_due(&mut self, needs_all: bool) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let (replicas, isr) = (without(&self.replicas, &self.removing), without(&self.isr, &self.removing));
        let awaited = if needs_all { &replicas } else { &self.adding };
        if !isr.is_empty() && awaited.iter().all(|replica| isr.contains(replica)) {
            mark::reach("reassignment_completed");
            *self = Self { isr, replicas, adding: Vec::new(), removing: Vec::new() };
        }
    }
}

impl Controller {
    /// Gives partitions other replicas, or cancels that. Each entry succeeds or fails for itself.
    pub fn alter_partition_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Decision<AlterPartitionReassignmentsResponse> {
        let (mut responses, mut records) = (Vec::new(), Vec::new());
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                let altered = self.reassign(topic.name.as_str(), asked, request.allow_replication_factor_change);
                let answer = ReassignablePartitionResponse::default().with_partition_index(asked.partition_index);
                partitions.push(match altered {
                    Ok(decided) => {
                        records.extend(decided);
                        answer.with_error_message(None)
                    }
                    Err((code, message)) => {
                        let message = Some(message.into()).filter(|message: &StrBytes| !message.is_empty());
                        answer.with_error_code(code.code()).with_error_message(message)
                    }
                });
            }
            responses
                .push(ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
        }
        let response = AlterPartitionReassignmentsResponse::default()
            .with_allow_replication_factor_change(request.allow_replication_factor_change)
            .with_responses(responses);
        Decision { response, records }
    }

    fn reassign(
        &self,
        topic: &str,
        asked: &ReassignablePartition,
        allows_factor_change: bool,
    ) -> Result<Option<Decided>, Refusal> {
        let unknown = |message: String| (ErrorCode::UnknownTopicOrPartition, message);
        let named = self.image.topic(topic);
        let found = named.ok_or_else(|| unknown(format!("Unable to find a topic named {topic}.")))?;
        let registration = found.partitions.get(&asked.partition_index);
        let registration = registration
            .ok_or_else(|| unknown(format!("Unable to find partition {topic}:{}.", asked.partition_index)))?;
        let rules = self.election_rules(topic);
        let (target, rules, reason) = match &asked.replicas {
            None => {
                if !registration.is_reassigning() {
                    // Kafka says no more than the code to that.
                    return refuse(ErrorCode::NoReassignmentInProgress, "");
                }
                let (target, unclean) = Target::cancelled(registration);
                if unclean && !rules.unclean {
                    let message = format!(
                        "Unable to revert partition assignment for {topic}:{} because it would require an unclean \
                         leader election.",
                        asked.partition_index
                    );
                    return refuse(ErrorCode::InvalidReplicaAssignment, message);
                }
                mark::reach("reassignment_cancelled");
                (target, rules, "the reassignment was cancelled")
            }
            Some(wanted) => {
                let wanted: Vec<NodeId> = wanted.iter().map(|id| NodeId(id.0)).collect();
                self.check_assignment(&wanted, None)?;
                let factor = registration.replicas_after().len();
                if !allows_factor_change && wanted.len() != factor {
                    let message = format!("The replication factor is changed from {factor} to {}", wanted.len());
                    return refuse(ErrorCode::InvalidReplicationFactor, message);
                }
                let target = Target::reassigned(registration, &wanted);
                (target, Rules { unclean: false, ..rules }, "its replicas were reassigned")
            }
        };
        let changed = self.become_target((found.id, asked.partition_index), registration, target, rules);
        Ok(changed.map(|(change, election)| self.decided_change(change, election, reason.to_owned())))
    }

    /// The change that makes `registration` what `target` says, or what that leads to at once.
    pub(super) fn become_target(
        &self,
        (topic_id, partition): (TopicId, i32),
        registration: &PartitionRegistration,
        mut target: Target,
        rules: Rules,
    ) -> Option<(PartitionChange, Election)> {
        target.complete_if_due(self.settings.switches.reassignment_needs_all);
        let next = PartitionRegistration {
            replicas: target.replicas.clone(),
            isr: target.isr.clone(),
            ..registration.clone()
        };
        let elected = elections::elect((topic_id, partition), &next, Kind::Online, rules, |node| self.is_active(node));
        let (elected, election) = elected.unwrap_or((PartitionChange::default(), Election::None));
        note_election(election);
        let loses_somebody = registration.replicas.iter().any(|replica| !target.replicas.contains(replica));
        let changed = |now: Vec<NodeId>, before: &[NodeId]| (now != before).then_some(now);
        let change = PartitionChange {
            partition,
            topic_id,
            isr: changed(elected.isr.unwrap_or(target.isr), &registration.isr),
            leader: elected.leader.or_else(|| loses_somebody.then_some(registration.leader)),
            replicas: changed(target.replicas, &registration.replicas),
            removing_replicas: changed(target.removing, &registration.removing_replicas),
            adding_replicas: changed(target.adding, &registration.adding_replicas),
            leader_recovery_state: None,
        };
        let nothing = PartitionChange { partition, topic_id, ..PartitionChange::default() };
        (change != nothing).then_some((change, election))
    }

    /// The reassignments under way: of the partitions asked for, or all.
    pub fn list_partition_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let topics = match &request.topics {
            None => self.image.topics().filter_map(|topic| ongoing(topic, topic.partitions.keys())).collect(),
            Some(asked) => {
                let known = |name: &str| self.image.topic(name);
                asked
                    .iter()
                    .filter_map(|asked| ongoing(known(asked.name.as_str())?, asked.partition_indexes.iter()))
                    .collect()
            }
        };
        ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics)
    }
}

/// The reassignments of a topic's partitions, if there is one.
fn ongoing<'a>(topic: &TopicImage, indexes: impl Iterator<Item = &'a i32>) -> Option<OngoingTopicReassignment> {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|id| BrokerId(id.0)).collect();
    let partitions: Vec<OngoingPartitionReassignment> = indexes
        .filter_map(|index| Some((*index, topic.partitions.get(index)?)))
        .filter(|(_, registration)| registration.is_reassigning())
        .map(|(index, registration)| {
            OngoingPartitionReassignment::default()
                .with_partition_index(index)
                .with_replicas(ids(&registration.replicas))
                .with_adding_replicas(ids(&registration.adding_replicas))
                .with_removing_replicas(ids(&registration.removing_replicas))
        })
        .collect();
    let named = OngoingTopicReassignment::default().with_name(topic_name(&topic.name));
    (!partitions.is_empty()).then(|| named.with_partitions(partitions))
}
