//! Who may commit and fetch offsets of a group of the consumer protocol: members, by their epochs.

use std::sync::Arc;

use super::{ConsumerGroup, Member, records::Current};
use crate::{
    base::TopicId,
    protocol::{ErrorCode, messages::OffsetCommitRequest},
};

/// From this version on OffsetCommit knows member epochs.
const MEMBER_EPOCH_VERSION: i16 = 9;

impl ConsumerGroup {
    /// Whether offsets may be committed as `request` asks.
    ///
    /// A member whose epoch has moved on since it sent the request may still commit what it has had since that epoch or
    /// longer: nobody else can have had it meanwhile (KIP-1251). Not without `by_assignment_epoch`.
    pub(in crate::group) fn check_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        by_assignment_epoch: bool,
    ) -> Result<(), ErrorCode> {
        let epoch = request.generation_id_or_member_epoch;
        if epoch < 0 && self.subscriptions.is_empty() {
            return Ok(());
        }
        let Some(member) = self.member(&request.member_id) else {
            return Err(ErrorCode::UnknownMemberId);
        };
        if version < MEMBER_EPOCH_VERSION && member.subscription.classic.is_none() {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let current = &member.current;
        let had_since = |topic: TopicId, partition: i32| {
            let find = |epochs: &super::Epochs| epochs.get(&topic).and_then(|of| of.get(&partition)).copied();
            find(&current.assigned).or_else(|| find(&current.revoking))
        };
        let has_all = request.topics.iter().all(|topic| {
            let id = TopicId(*topic.topic_id.as_bytes());
            let mut partitions = topic.partitions.iter();
            partitions.all(|partition| had_since(id, partition.partition_index).is_some_and(|since| epoch >= since))
        });
        let is_older = by_assignment_epoch && epoch < current.epoch;
        if epoch == current.epoch || (is_older && has_all) { Ok(()) } else { Err(member.stale()) }
    }

    /// Whether a member may fetch offsets; without an id anyone may. `committed` is what the member had as of what is
    /// committed, where that is not what it has now.
    pub(in crate::group) fn check_fetch(
        &self,
        member: Option<&str>,
        epoch: i32,
        committed: Option<&Option<Arc<Current>>>,
    ) -> Result<(), ErrorCode> {
        let Some(id) = member else {
            return if epoch < 0 { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        let member = self.member(id).ok_or(ErrorCode::UnknownMemberId)?;
        let stale = member.stale();
        let current = committed.map_or(member.current, |committed| committed.clone().unwrap_or_default());
        if current.epoch == epoch { Ok(()) } else { Err(stale) }
    }
}

impl Member {
    /// The code for another epoch than its own.
    fn stale(&self) -> ErrorCode {
        match self.subscription.classic {
            Some(_) => ErrorCode::IllegalGeneration,
            None => ErrorCode::StaleMemberEpoch,
        }
    }
}
