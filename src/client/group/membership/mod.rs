//! Membership of a group: what to ask the coordinator next, what its answers mean, what the application has to do. Pure:
//! time is an argument, requests and answers are values.
//!
//! Two sides drive it. The background ([`super::background`]) does one [`Step`] after the other and hands in the
//! answers; the application does at its polls what [`Membership::demand`] says, since partitions are given up and taken
//! where records are processed, and nowhere else. [`classic`] speaks JoinGroup, SyncGroup and Heartbeat, [`modern`]
//! ConsumerGroupHeartbeat (KIP-848).

mod classic;
mod modern;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use regex::Regex;

use super::{
    assignor::PartitionCounts,
    config::{GroupConfig, GroupProtocol},
};
use crate::{
    base::{Time, TopicId, TopicPartition},
    client::ClientError,
    protocol::{
        ErrorCode, StrBytes,
        messages::{ApiKey, FindCoordinatorRequest, GroupId, RequestKind, ResponseKind},
    },
};

/// What the background does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Asks any broker.
    Find(Box<RequestKind>),
    /// Asks the coordinator, at this address. `None`: as long as requests may take.
    Call(Arc<str>, ApiKey, Box<RequestKind>, Option<Duration>),
    /// Learns how many partitions these topics have; `None`: all topics.
    Topics(Option<Vec<Arc<str>>>),
    /// Learns what these topics are called.
    Names(Vec<TopicId>),
    /// Tells that this member's application has not polled for longer than `max.poll.interval.ms`; what follows from that
    /// comes next.
    Overdue(Identity),
    /// Waits, until then or for ever, or until something changes.
    Wait(Option<Time>),
    /// Nothing more.
    End,
}

/// What the application has to do at its next poll.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// Gives up these partitions; `lost`: they may belong to others already. Then [`Membership::given_up`].
    GiveUp {
        /// Which; may be none.
        partitions: Vec<TopicPartition>,
        /// Nothing of theirs can be committed any more.
        lost: bool,
    },
    /// Has these partitions and no others from now on. Then [`Membership::applied`].
    Apply(Vec<TopicPartition>),
    /// Learns that it is not in the group.
    Fail(ClientError),
}

/// What a member wants to read.
#[derive(Clone, Debug)]
pub enum Topics {
    /// These topics.
    Named(Vec<Arc<str>>),
    /// Those whose whole name matches.
    Matching(Regex),
}

/// By which commits are known to be a member's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The member.
    pub member_id: Arc<str>,
    /// Generation, or member epoch; `-1` outside the group.
    pub epoch: i32,
}

impl Identity {
    /// Of who is in no group.
    pub fn outside() -> Self {
        Self { member_id: "".into(), epoch: -1 }
    }
}

/// A consumer's membership, or wish for it.
pub struct Membership {
    /// Where the coordinator is.
    pub coordinator: Coordinator,
    member: Member,
    is_over: bool,
}

enum Member {
    Classic(classic::ClassicMember),
    Modern(modern::ModernMember),
}

/// Calls the method on whichever member it is.
macro_rules! member {
    ($self:ident, $member:ident => $call:expr) => {
        match &mut $self.member {
            Member::Classic($member) => $call,
            Member::Modern($member) => $call,
        }
    };
}

impl Membership {
    /// Of nothing yet. `member_id` is used where members name themselves (KIP-848).
    pub fn new(config: Arc<GroupConfig>, member_id: Arc<str>) -> Self {
        let coordinator = Coordinator::new(config.group_id.clone(), config.consumer.cluster.retry_backoff);
        let member = match config.protocol {
            GroupProtocol::Classic => Member::Classic(classic::ClassicMember::new(config)),
            GroupProtocol::Consumer => Member::Modern(modern::ModernMember::new(config, member_id)),
        };
        Self { coordinator, member, is_over: false }
    }

    /// Wants to read `topics`.
    pub fn subscribe(&mut self, now: Time, topics: Topics) {
        member!(self, member => member.subscribe(now, topics));
    }

    /// The application has polled: it is alive.
    pub fn polled(&mut self, now: Time) {
        member!(self, member => member.polled(now));
    }

    /// What the background does next.
    pub fn next(&mut self, now: Time) -> Step {
        if self.is_over {
            return Step::End;
        }
        member!(self, member => member.next(now, &mut self.coordinator))
    }

    /// The coordinator, or in answer to [`Step::Find`] any broker, has answered, or has not.
    pub fn answered(&mut self, now: Time, answer: Result<ResponseKind, ClientError>) {
        match answer {
            Ok(ResponseKind::FindCoordinator(response)) => {
                if let Err(error) = self.coordinator.found(now, &response) {
                    member!(self, member => member.fail(error));
                }
            }
            Err(_) if self.coordinator.address.is_none() => self.coordinator.lost(now),
            answer => member!(self, member => member.answered(now, answer, &mut self.coordinator)),
        }
    }

    /// The answer to [`Step::Topics`]: those that exist.
    pub fn topics(&mut self, now: Time, counts: PartitionCounts) {
        if let Member::Classic(member) = &mut self.member {
            member.topics(now, counts);
        }
    }

    /// The answer to [`Step::Names`].
    pub fn names(&mut self, now: Time, names: BTreeMap<TopicId, Arc<str>>) {
        if let Member::Modern(member) = &mut self.member {
            member.names(now, names);
        }
    }

    /// What the application has to do.
    pub fn demand(&mut self) -> Option<Demand> {
        member!(self, member => member.demand())
    }

    /// The application has given up what it had to; it still has `owned`.
    pub fn given_up(&mut self, now: Time, owned: Vec<TopicPartition>) {
        member!(self, member => member.given_up(now, owned));
    }

    /// The application has `owned` now. `gave_up`: for that it gave up something.
    pub fn applied(&mut self, now: Time, owned: Vec<TopicPartition>, gave_up: bool) {
        member!(self, member => member.applied(now, owned, gave_up));
    }

    /// By which commits are known to be this member's.
    pub fn identity(&mut self) -> Identity {
        member!(self, member => member.identity())
    }

    /// As whom a member commits now.
    ///
    /// # Errors
    /// It is none, or its rebalance is under way: then nothing is to be sent.
    pub fn commits_as(&mut self) -> Result<Identity, ClientError> {
        member!(self, member => member.commits_as())
    }

    /// A commit of `identity` was refused.
    pub fn commit_refused(&mut self, code: ErrorCode, identity: &Identity) {
        if self.identity() == *identity {
            member!(self, member => member.commit_refused(code));
        }
    }

    /// Leaves the group, as far as a member does: a static one stays for its restart.
    pub fn leave(&mut self, now: Time) {
        member!(self, member => member.leave(now, &self.coordinator));
    }

    /// Whether it is in no group and wants to be in none.
    pub fn has_left(&mut self) -> bool {
        member!(self, member => member.has_left())
    }

    /// Nothing more is to be done.
    pub fn end(&mut self) {
        self.is_over = true;
    }
}

/// Where the coordinator of the group is.
#[derive(Debug)]
pub struct Coordinator {
    group: Arc<str>,
    address: Option<Arc<str>>,
    backoff: Duration,
    not_before: Time,
    /// Somebody has something to ask of it though there is no member.
    wanted: bool,
}

impl Coordinator {
    fn new(group: Arc<str>, backoff: Duration) -> Self {
        Self { group, address: None, backoff, not_before: Time::ZERO, wanted: false }
    }

    /// Its address, if it is known.
    pub fn address(&self) -> Option<Arc<str>> {
        self.address.clone()
    }

    /// Somebody waits for it.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// It is not there, or not the coordinator any more: whoever asked `address` says so.
    pub fn lost_at(&mut self, now: Time, address: &str) {
        if self.address.as_deref() == Some(address) {
            self.lost(now);
        }
    }

    fn lost(&mut self, now: Time) {
        self.address = None;
        self.not_before = now + self.backoff;
    }

    /// The way to find it.
    fn find(&self, now: Time) -> Step {
        if now < self.not_before {
            return Step::Wait(Some(self.not_before));
        }
        let keys = vec![StrBytes::from_string(self.group.to_string())];
        let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
        Step::Find(Box::new(RequestKind::FindCoordinator(request)))
    }

    /// What there is to do for it where there is no member.
    fn idle(&self, now: Time) -> Step {
        if self.wanted && self.address.is_none() { self.find(now) } else { Step::Wait(None) }
    }

    fn found(
        &mut self,
        now: Time,
        response: &crate::protocol::messages::FindCoordinatorResponse,
    ) -> Result<(), ClientError> {
        let found = response.coordinators.first();
        match found.map_or(ErrorCode::CoordinatorNotAvailable, |found| ErrorCode::from_i16(found.error_code)) {
            ErrorCode::None => {
                let found = found.expect("it was just seen");
                self.address = Some(format!("{}:{}", &*found.host, found.port).into());
                self.wanted = false;
                Ok(())
            }
            code => {
                self.lost(now);
                if code.is_retriable() { Ok(()) } else { Err(ClientError::Kafka { code, message: None }) }
            }
        }
    }
}

/// Others may have the partitions by now, and have committed them: Kafka's `CommitFailedException`.
fn no_member() -> ClientError {
    let message = Some("the consumer is not part of an active group".to_owned());
    ClientError::Kafka { code: ErrorCode::UnknownMemberId, message }
}

/// A group's id as requests carry it.
pub(super) fn group_id(id: &str) -> GroupId {
    GroupId(text(id))
}

/// Text as requests carry it.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

#[cfg(test)]
mod tests;
