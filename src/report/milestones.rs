//! The run in its rare events: steps, faults, processes, elections, ISR changes, truncations, client errors.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    base::{NodeId, TopicPartition},
    check::{invariants::Brokers, story::count},
    trace::{AWAY, Election, Event, StopKind, journal::Entry},
};

/// Most lines shown; the rest is counted.
const LINES_MAX: usize = 200;

/// What earlier events have told that a milestone does not say itself.
#[derive(Default)]
struct Known<'a> {
    /// Why a leader asked for another ISR: the controller only knows that it did.
    wanted: BTreeMap<&'a TopicPartition, &'a str>,
    /// What the epochs of each group are called: nobody leads those of the consumer protocol.
    epochs: BTreeMap<&'a Arc<str>, &'static str>,
}

impl<'a> Known<'a> {
    fn take(&mut self, event: &'a Event) {
        match event {
            Event::IsrProposed { partition, reason, .. } => drop(self.wanted.insert(partition, reason)),
            Event::GenerationFormed { group, leader, .. } => {
                self.epochs.insert(group, if leader.is_empty() { "epoch" } else { "generation" });
            }
            _ => {}
        }
    }

    fn epoch(&self, group: &Arc<str>) -> &'static str {
        self.epochs.get(group).copied().unwrap_or("generation")
    }
}

/// The milestones with what each says, in order.
pub(super) fn told(entries: &[Entry]) -> Vec<(&Entry, String)> {
    let mut known = Known::default();
    // What a group is before its first epoch it becomes with that.
    entries.iter().rev().for_each(|entry| known.take(&entry.event));
    known.wanted.clear();
    let milestones = entries.iter().filter_map(|entry| {
        known.take(&entry.event);
        Some((entry, words(&entry.event, &known)?))
    });
    milestones.collect()
}

/// One line for each milestone, in order.
pub(super) fn lines(entries: &[Entry]) -> Vec<String> {
    let told = told(entries);
    let line = |(entry, words): &(&Entry, String)| format!("{:>9}  {:<9} {words}", entry.time, entry.node);
    let mut lines: Vec<String> = told.iter().take(LINES_MAX).map(line).collect();
    if told.len() > LINES_MAX {
        lines.push(format!("showing {LINES_MAX} of {}; the rest is in events.jsonl", told.len()));
    }
    lines
}

/// Partitions, one after the other.
struct Partitions<'a>(&'a [TopicPartition]);

impl fmt::Display for Partitions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(TopicPartition::to_string).collect();
        f.write_str(if names.is_empty() { "nothing" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

/// What a milestone says; `None` for everything frequent.
fn words(event: &Event, known: &Known<'_>) -> Option<String> {
    Some(match event {
        Event::StepFired { step, action, note: Some(note) } if action == "nothing" => format!("step {step}: {note}"),
        Event::StepFired { step, action, note: Some(note) } => format!("step {step}: {action} - {note}"),
        Event::StepFired { step, action, note: None } => format!("step {step}: {action}"),
        Event::SettleBegan => "everything is healed and restarted; waiting for the cluster to settle".into(),
        Event::Settled => "settled".into(),
        Event::FaultEnded { fault } => format!("fault ends: {fault}"),
        Event::NodeStarted { incarnation: 1 } => return None,
        Event::NodeStarted { .. } => "started again".into(),
        Event::NodeStopped { how: StopKind::Clean } => "stopped".into(),
        Event::NodeStopped { how: StopKind::Kill } => "killed".into(),
        Event::NodeStopped { how: StopKind::Power } => "lost power".into(),
        Event::NodeStopped { how: StopKind::Torn } => "lost power in the middle of writing".into(),
        Event::NodePaused => "paused".into(),
        Event::NodeResumed => "resumed".into(),
        Event::UnsyncedLost { files, bytes } => {
            format!("lost {bytes} bytes of {} files that were not synced", files.len())
        }
        Event::LogDamaged { partition, problem } => format!("its log of {partition} is damaged: {problem}"),
        Event::DamagedLogRemoved { partition } => format!("an operator removes its damaged log of {partition}"),
        Event::DamagedCheckpointRemoved { checkpoint } => format!("an operator removes its damaged {checkpoint}"),
        Event::DiskReplaced => "its disk was replaced by an empty one".into(),
        Event::BatchCorrupted { partition, base_offset, end_offset } => {
            format!("{partition}: the batch [{base_offset}, {end_offset}) rots on its disk")
        }
        Event::LogDirFailed { reason } => format!("its log directory failed, and it ends: {reason}"),
        Event::Truncated { partition, to, why, .. } if **why == *"recovery" => {
            format!("{partition}: checked after the unclean stop and cut at {to}, where nothing sound follows")
        }
        Event::Truncated { partition, from, to, why } => format!("{partition}: truncated [{to}, {from}), {why}"),
        Event::LogStartMoved { partition, to, why, .. } if **why == *"out-of-range" => {
            format!("{partition}: ended before its leader begins, starts anew at {to}")
        }
        Event::LogStartMoved { partition, from, to, why } => {
            format!("{partition}: deleted [{from}, {to}), {why}")
        }
        Event::IsrRefused { partition, error } => {
            format!("{partition}: the controller refused the new ISR with {error}")
        }
        Event::BrokerFenced { broker, reason } => format!("fenced b{broker}: {reason}"),
        Event::BrokerUnfenced { broker } => format!("unfenced b{broker}"),
        Event::ControlledShutdown { broker } => format!("b{broker} asks for a controlled shutdown"),
        Event::TopicCreated { topic, .. } => format!("topic {topic} created"),
        Event::TopicDeleted { topic, .. } => format!("topic {topic} deleted"),
        Event::ConfigChanged { topic, name, value } => {
            format!("{topic}: {name} = {}", value.as_deref().unwrap_or("default"))
        }
        Event::PartitionChanged { partition, leader, leader_epoch, isr, election, reason, .. } => {
            let isr = Brokers(isr);
            let wanted = known.wanted.get(partition).filter(|_| reason.ends_with("asked for it"));
            let reason = wanted.copied().unwrap_or(reason);
            match election {
                Election::None => format!("{partition}: ISR {isr} ({reason})"),
                Election::Offline => format!("{partition}: nobody leads, ISR {isr} ({reason})"),
                _ if *leader == NodeId::NONE => format!("{partition}: nobody leads, ISR {isr} ({reason})"),
                election => {
                    let kind = match election {
                        Election::Unclean => " by an unclean election",
                        Election::Preferred => " as the preferred replica",
                        _ => "",
                    };
                    format!("{partition}: b{leader} leads epoch {leader_epoch}{kind}, ISR {isr} ({reason})")
                }
            }
        }
        Event::ReassignmentBegan { partition, from, to } => {
            format!("{partition}: moves from {} to {}", Brokers(from), Brokers(to))
        }
        Event::ReassignmentCompleted { partition, replicas } => {
            format!("{partition}: has moved, its replicas are {}", Brokers(replicas))
        }
        Event::ReassignmentCancelled { partition, replicas } => {
            format!("{partition}: stays with {}, the move is cancelled", Brokers(replicas))
        }
        Event::ReplicaLeft { partition } => format!("{partition}: deletes its log, others hold the partition"),
        Event::PositionSet { partition, offset, why } if **why != *"start" => {
            format!("{partition}: position set to {offset}, {why}")
        }
        Event::PartitionsAssigned { group, generation, partitions, .. } => {
            format!("group {group}: gets {} in {} {generation}", Partitions(partitions), known.epoch(group))
        }
        Event::PartitionsRevoked { group, partitions, .. } => {
            format!("group {group}: gives up {}", Partitions(partitions))
        }
        Event::PartitionsLost { group, partitions, .. } => format!("group {group}: lost {}", Partitions(partitions)),
        Event::CommitAnswered { group, error, .. } if **error != *"NONE" => {
            format!("group {group}: its commit failed with {error}")
        }
        Event::CommitNotSent { group, error, .. } => format!("group {group}: its commit was not sent, {error}"),
        Event::PollOverdue { group, .. } => {
            format!("group {group}: has not polled for longer than max.poll.interval.ms")
        }
        Event::AuditReachedEnd { partition, end_offset } => format!("{partition}: read to the end, {end_offset}"),
        Event::CoordinatorLoaded { partition, leader_epoch, groups, offsets, .. } => {
            let (groups, offsets) = (count(*groups as usize, "group"), count(*offsets as usize, "offset"));
            format!("{partition}: coordinates in epoch {leader_epoch}, {groups}, {offsets}")
        }
        Event::CoordinatorUnloaded { partition, leader_epoch } => {
            format!("{partition}: no longer coordinates in epoch {leader_epoch}")
        }
        Event::MemberJoined { group, member, .. } => format!("group {group}: {member} joins"),
        Event::MemberReplaced { group, instance, new, .. } => format!("group {group}: {instance} is back as {new}"),
        Event::MemberLeft { group, member, why } => format!("group {group}: {member} is out, {why}"),
        Event::RebalanceBegan { group, generation: 0, why } => format!("group {group}: begins, {why}"),
        Event::RebalanceBegan { group, generation, why } => {
            format!("group {group}: {} {generation} ends, {why}", known.epoch(group))
        }
        Event::GenerationFormed { group, generation, members, leader, .. } => {
            let leader = if leader.is_empty() { "the coordinator" } else { leader };
            let (word, members) = (known.epoch(group), count(members.len(), "member"));
            format!("group {group}: {word} {generation} of {members}, {leader} assigns")
        }
        Event::MemberAdvanced { group, member, epoch: AWAY, partitions } => {
            let kept = count(partitions.len(), "partition");
            format!("group {group}: {member} is away for a while, {kept} kept for it")
        }
        Event::MemberAdvanced { group, member, epoch, partitions } => {
            let partitions = count(partitions.len(), "partition");
            format!("group {group}: {member} comes to epoch {epoch} with {partitions}")
        }
        Event::GroupAssigned { group, generation, owners } => {
            let partitions: usize = owners.iter().map(|(_, owned)| owned.len()).sum();
            let (word, partitions) = (known.epoch(group), count(partitions, "partition"));
            format!("group {group}: {word} {generation} is assigned, {partitions}")
        }
        Event::GroupEmptied { group, generation } => {
            format!("group {group}: nobody is left, {} {generation}", known.epoch(group))
        }
        Event::CommitRefused { group, generation: ..0, error, .. } => {
            format!("group {group}: a commit from outside is refused with {error}")
        }
        Event::CommitRefused { group, member, generation, error, .. } => {
            let word = known.epoch(group);
            format!("group {group}: a commit of {member} in {word} {generation} is refused with {error}")
        }
        Event::OffsetsExpired { group, partitions } => {
            format!("group {group}: the offsets of {} expire", count(partitions.len(), "partition"))
        }
        Event::ClientError { error } => format!("got an error: {error}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::journal;

    #[test]
    fn a_group_is_told_in_the_words_of_its_protocol_and_things_are_counted() {
        let text = "
            b1 rebalances g gen=0
            b1 forms g - m1 gen=1
            b1 rebalances g gen=1
            b1 rebalances h gen=1
            b1 forms h m1 m2 gen=2
            b1 refuses h - gen=-1 in=2 UNKNOWN_MEMBER_ID
        ";
        let entries = journal(text);
        let told: Vec<String> = told(&entries).into_iter().map(|(_, words)| words).collect();
        let expected = [
            "group g: begins, a member joins",
            "group g: epoch 1 of 2 members, the coordinator assigns",
            "group g: epoch 1 ends, a member joins",
            "group h: generation 1 ends, a member joins",
            "group h: generation 2 of 2 members, m1 assigns",
            "group h: a commit from outside is refused with UNKNOWN_MEMBER_ID",
        ];
        assert_eq!(told, expected);
    }
}
