//! Kafka's consumer: it subscribes as a member of a group, or reads assigned partitions, and commits.
//!
//! As in Kafka's client everything that concerns the application happens at its polls: partitions are taken and given
//! up there, listeners are called there, and positions are committed there by themselves (`enable.auto.commit`): those
//! of records that earlier polls have handed out. So who processes what a poll returned before the next poll loses
//! nothing; who hands it to another thread may.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use rand::Rng;
use regex::Regex;
use tokio::sync::{mpsc, oneshot};

use super::{
    GroupConfig, GroupProtocol,
    background::{self, Shared},
    membership::{Demand, Identity, Membership, Topics},
    offsets::{self, Commit, Committed, Offsets, Owner},
    reading::Reading,
};
use crate::{
    base::{LeaderEpoch, Offset, Time, TopicId, TopicPartition},
    client::{
        ClientError, Cluster, Consumer, ConsumerRecord,
        config::OffsetReset,
        consumer::{NOT_ASSIGNED, Seek},
    },
    protocol::ErrorCode,
    runtime::{clock, random, task},
    trace::{Event, Tracer},
};

// Applications hold the consumer across awaits in tasks that may move between threads.
const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<GroupConsumer>();
};

/// What a listener does, as a value.
pub type Reaction<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Is told when partitions come and go. Called within [`GroupConsumer::poll`] and [`GroupConsumer::close`]; it may
/// commit and seek, and must not poll.
pub trait RebalanceListener: Send + Sync {
    /// The consumer has these from now on, besides what it had.
    fn assigned<'a>(&'a mut self, consumer: &'a mut GroupConsumer, partitions: &'a [TopicPartition]) -> Reaction<'a>;

    /// The consumer is about to give up these: the last chance to commit.
    fn revoked<'a>(&'a mut self, consumer: &'a mut GroupConsumer, partitions: &'a [TopicPartition]) -> Reaction<'a>;

    /// The consumer has lost these: others may have them already. As [`RebalanceListener::revoked`] unless written.
    fn lost<'a>(&'a mut self, consumer: &'a mut GroupConsumer, partitions: &'a [TopicPartition]) -> Reaction<'a> {
        self.revoked(consumer, partitions)
    }
}

/// A consumer of a group. Dropping it is a crash: nothing is committed and nobody is told.
pub struct GroupConsumer {
    config: Arc<GroupConfig>,
    owner: Arc<Owner>,
    consumer: Consumer,
    shared: Arc<Shared>,
    listener: Option<Box<dyn RebalanceListener>>,
    reading: Reading,
    commits: mpsc::UnboundedSender<Commit>,
    auto_commit_at: Time,
    /// Committed offsets that are asked for, by round: an answer to an older question counts no more.
    round: u64,
    asking: bool,
    found: mpsc::UnboundedReceiver<(u64, Result<Offsets, ClientError>)>,
    finder: mpsc::UnboundedSender<(u64, Result<Offsets, ClientError>)>,
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.shared.change(|membership, _| membership.end());
    }
}

impl GroupConsumer {
    /// A consumer that reads nothing yet; what it reads goes to `tracer`.
    pub fn new(config: GroupConfig, cluster: Arc<Cluster>, tracer: Tracer) -> Self {
        let config = Arc::new(config);
        let owner = Arc::new(Owner {
            group: config.group_id.clone(),
            instance_id: config.instance_id.clone(),
            is_modern: config.protocol == GroupProtocol::Consumer,
        });
        let member_id = TopicId(random::stream("member id").random()).to_string();
        let membership = Membership::new(config.clone(), member_id.into());
        let shared = Shared::new(cluster.clone(), &config, tracer.clone(), membership);
        let (commits, waiting) = mpsc::unbounded_channel();
        let (finder, found) = mpsc::unbounded_channel();
        if !config.group_id.is_empty() {
            task::spawn(background::run(shared.clone()));
            task::spawn(offsets::run(shared.clone(), owner.clone(), waiting));
        }
        Self {
            consumer: Consumer::new(config.consumer.clone(), cluster, tracer),
            auto_commit_at: clock::now() + config.auto_commit_interval,
            config,
            owner,
            shared,
            listener: None,
            reading: Reading::Nothing,
            commits,
            round: 0,
            asking: false,
            found,
            finder,
        }
    }

    fn has_group(&self) -> Result<(), ClientError> {
        match self.config.group_id.is_empty() {
            false => Ok(()),
            true => {
                let message = Some("this needs group.id".to_owned());
                Err(ClientError::Kafka { code: ErrorCode::InvalidGroupId, message })
            }
        }
    }

    /// Reads `topics` as a member of the group, instead of the topics before; without any it unsubscribes.
    ///
    /// # Errors
    /// There is no `group.id`, a topic has no name, or it reads in another way until it unsubscribes.
    pub async fn subscribe(&mut self, topics: &[&str]) -> Result<(), ClientError> {
        self.has_group()?;
        if topics.iter().any(|topic| topic.trim().is_empty()) {
            return Err(ClientError::Misused("a topic to subscribe to has no name"));
        }
        if topics.is_empty() {
            self.unsubscribe().await;
            return Ok(());
        }
        self.reading.begin(Reading::Topics)?;
        let topics = Topics::Named(topics.iter().map(|topic| Arc::from(*topic)).collect());
        self.shared.change(|membership, now| membership.subscribe(now, topics));
        Ok(())
    }

    /// Reads all topics whose whole name matches. In the consumer protocol the coordinator matches (KIP-848).
    ///
    /// # Errors
    /// There is no `group.id`, nothing can match, or it reads in another way until it unsubscribes.
    pub fn subscribe_pattern(&mut self, pattern: Regex) -> Result<(), ClientError> {
        self.has_group()?;
        if pattern.as_str().is_empty() {
            return Err(ClientError::Misused("the pattern to subscribe to is empty"));
        }
        self.reading.begin(Reading::Pattern)?;
        self.shared.change(|membership, now| membership.subscribe(now, Topics::Matching(pattern)));
        Ok(())
    }

    /// Is told of partitions that come and go.
    pub fn set_listener(&mut self, listener: Box<dyn RebalanceListener>) {
        self.listener = Some(listener);
    }

    /// Reads these partitions and no others, without being a member: from what the group has committed. Those that it
    /// reads already go on where they are; without any it unsubscribes.
    ///
    /// # Errors
    /// It is subscribed.
    pub async fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        if partitions.is_empty() {
            self.unsubscribe().await;
            return Ok(());
        }
        self.reading.begin(Reading::Partitions)?;
        self.commit_if_due();
        let before = self.assignment();
        before.iter().filter(|one| !partitions.contains(one)).for_each(|one| self.consumer.unassign(one));
        for partition in partitions.iter().filter(|one| !before.contains(one)) {
            match self.config.group_id.is_empty() {
                false => self.consumer.assign_awaiting(partition.clone()),
                true => self.consumer.assign(partition.clone(), reset(&self.config).unwrap_or(Seek::Beginning)),
            }
        }
        self.ask_anew();
        Ok(())
    }

    /// Of other partitions: answers to what was asked before count no more.
    fn ask_anew(&mut self) {
        self.round += 1;
        self.asking = false;
    }

    fn drop_all(&mut self) {
        self.assignment().iter().for_each(|partition| self.consumer.unassign(partition));
        self.ask_anew();
    }

    /// Leaves the group, and reads nothing any more. Nothing is committed by itself.
    pub async fn unsubscribe(&mut self) {
        if std::mem::replace(&mut self.reading, Reading::Nothing).is_as_member() {
            self.give_up_to_leave().await;
            let deadline = clock::now() + self.config.api_timeout;
            self.shared.wait(deadline, |membership| membership.has_left()).await;
        }
        self.drop_all();
    }

    /// The partitions it has.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.consumer.assigned().cloned().collect()
    }

    /// By which its commits are known; the member id is empty and the epoch -1 outside the group.
    pub fn identity(&self) -> Identity {
        self.shared.look(|membership| membership.identity())
    }

    /// Records, after at most `limit`; none when nothing came.
    ///
    /// # Errors
    /// The group does not take this member, or a position is not valid and `auto.offset.reset` is `none`; or there is
    /// nothing to read.
    pub async fn poll(&mut self, limit: Duration) -> Result<Vec<ConsumerRecord>, ClientError> {
        if self.reading == Reading::Nothing {
            return Err(ClientError::Misused(
                "the consumer is not subscribed to topics and has no partitions assigned",
            ));
        }
        let deadline = clock::now() + limit;
        loop {
            self.shared.change(|membership, now| membership.polled(now));
            self.attend().await?;
            self.commit_if_due();
            self.find_positions();
            let left = deadline.since(clock::now());
            let shared = self.shared.clone();
            let (mut found, mut records) = (None, None);
            tokio::select! {
                biased;
                () = shared.demanded.notified() => {}
                answer = self.found.recv() => found = answer,
                read = self.consumer.poll(left) => records = Some(read?),
            }
            if let Some((round, answer)) = found {
                self.begin(round, answer)?;
            }
            match records {
                Some(records) if !records.is_empty() || clock::now() >= deadline => return Ok(records),
                None if clock::now() >= deadline => return self.consumer.poll(Duration::ZERO).await,
                _ => {}
            }
        }
    }

    /// Does what the membership demands of the application.
    async fn attend(&mut self) -> Result<(), ClientError> {
        while let Some(demand) = self.shared.look(|membership| membership.demand()) {
            match demand {
                Demand::Fail(error) => return Err(error),
                Demand::GiveUp { partitions, lost } => {
                    self.give_up(partitions, lost, true).await;
                    let owned = self.assignment();
                    self.shared.change(|membership, now| membership.given_up(now, owned));
                }
                Demand::Apply(target) => self.apply(target).await,
            }
        }
        Ok(())
    }

    /// `commit`: as far as that is done by itself, all positions are committed before.
    async fn give_up(&mut self, partitions: Vec<TopicPartition>, lost: bool, commit: bool) {
        if commit && !lost {
            self.commit_before_rebalance().await;
        }
        if partitions.is_empty() {
            return;
        }
        let (group, member) = (self.config.group_id.clone(), self.identity().member_id);
        if lost {
            let event = Event::PartitionsLost { group, member, partitions: partitions.clone() };
            self.shared.tracer.milestone(event);
            self.tell(&partitions, News::Lost).await;
        } else {
            self.tell(&partitions, News::Revoked).await;
            let event = Event::PartitionsRevoked { group, member, partitions: partitions.clone() };
            self.shared.tracer.milestone(event);
        }
        partitions.iter().for_each(|partition| self.consumer.unassign(partition));
    }

    /// What a rebalance may have given to others is lost, as far as it knows.
    async fn give_up_to_leave(&mut self) {
        let lost = self.shared.look(|membership| membership.commits_as()).is_err();
        self.give_up(self.assignment(), lost, false).await;
        self.shared.change(|membership, now| membership.leave(now));
    }

    async fn apply(&mut self, target: Vec<TopicPartition>) {
        let owned: BTreeSet<TopicPartition> = self.consumer.assigned().cloned().collect();
        let revoked: Vec<_> = owned.iter().filter(|one| !target.contains(one)).cloned().collect();
        let added: Vec<_> = target.iter().filter(|one| !owned.contains(one)).cloned().collect();
        let gives_up = !revoked.is_empty();
        if gives_up {
            self.give_up(revoked, false, true).await;
        }
        added.iter().for_each(|partition| self.consumer.assign_awaiting(partition.clone()));
        if !added.is_empty() {
            self.ask_anew();
        }
        let Identity { member_id: member, epoch: generation } = self.identity();
        let (group, partitions) = (self.config.group_id.clone(), added.clone());
        self.shared.tracer.milestone(Event::PartitionsAssigned { group, member, generation, partitions });
        self.tell(&added, News::Assigned).await;
        self.shared.change(|membership, now| membership.applied(now, target, gives_up));
    }

    async fn tell(&mut self, partitions: &[TopicPartition], news: News) {
        let Some(mut listener) = self.listener.take() else { return };
        match news {
            News::Assigned => listener.assigned(self, partitions).await,
            News::Revoked => listener.revoked(self, partitions).await,
            News::Lost => listener.lost(self, partitions).await,
        }
        self.listener.get_or_insert(listener);
    }

    /// Asks where the group goes on in partitions that have no position.
    fn find_positions(&mut self) {
        let awaiting: Vec<TopicPartition> = self.consumer.awaiting().cloned().collect();
        if awaiting.is_empty() || std::mem::replace(&mut self.asking, true) {
            return;
        }
        let (shared, owner, finder, round) = (self.shared.clone(), self.owner.clone(), self.finder.clone(), self.round);
        let until = clock::now() + self.config.api_timeout;
        task::spawn(async move {
            let committed = offsets::committed(&shared, &owner, &awaiting, until).await;
            let _ = finder.send((round, committed));
        });
    }

    fn begin(&mut self, round: u64, found: Result<Offsets, ClientError>) -> Result<(), ClientError> {
        if round != self.round {
            return Ok(());
        }
        self.asking = false;
        let found = match found {
            // Tried again at the next poll, for as long as the application wants.
            Err(ClientError::TimedOut(_)) => return Ok(()),
            found => found?,
        };
        let awaiting: Vec<TopicPartition> = self.consumer.awaiting().cloned().collect();
        for partition in awaiting {
            match found.get(&partition) {
                Some(committed) => {
                    let to = Seek::Offset(committed.offset);
                    self.consumer.seek(&partition, to, committed.leader_epoch, "committed")?;
                }
                None => {
                    let from = reset(&self.config).ok_or_else(|| {
                        let message = Some(format!("{partition} has no committed offset"));
                        ClientError::Kafka { code: ErrorCode::OffsetOutOfRange, message }
                    })?;
                    self.consumer.seek(&partition, from, LeaderEpoch::UNKNOWN, "start")?;
                }
            }
        }
        Ok(())
    }

    /// Goes on from `to` in `partition`.
    ///
    /// # Errors
    /// The partition is not assigned.
    pub fn seek(&mut self, partition: &TopicPartition, to: Seek) -> Result<(), ClientError> {
        self.consumer.seek(partition, to, LeaderEpoch::UNKNOWN, "seek")
    }

    /// Hands out nothing of `partition` until it is resumed.
    ///
    /// # Errors
    /// The partition is not assigned.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), ClientError> {
        self.consumer.pause(partition)
    }

    /// Undoes [`GroupConsumer::pause`].
    ///
    /// # Errors
    /// The partition is not assigned.
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), ClientError> {
        self.consumer.resume(partition)
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.consumer.paused().cloned().collect()
    }

    /// Offset of the record of `partition` that the application gets next.
    ///
    /// # Errors
    /// It is not assigned, or does not become known within `default.api.timeout.ms`.
    pub async fn position(&mut self, partition: &TopicPartition) -> Result<Offset, ClientError> {
        let deadline = clock::now() + self.config.api_timeout;
        while self.consumer.assigned().any(|one| one == partition) {
            if let Some(offset) = self.consumer.position(partition) {
                return Ok(offset);
            }
            if clock::now() >= deadline {
                return Err(ClientError::TimedOut(format!("the position of {partition} is not known")));
            }
            self.find_positions();
            let left = deadline.since(clock::now());
            let mut found = None;
            tokio::select! {
                biased;
                answer = self.found.recv() => found = answer,
                advanced = self.consumer.advance(left) => advanced?,
            }
            if let Some((round, answer)) = found {
                self.begin(round, answer)?;
            }
        }
        Err(NOT_ASSIGNED)
    }

    /// Where records begin, end, or are of a time.
    ///
    /// # Errors
    /// As [`Consumer::offset_of`].
    pub async fn offset_of(&self, partition: &TopicPartition, seek: Seek) -> Result<Offset, ClientError> {
        self.consumer.offset_of(partition, seek).await
    }

    /// What the group has committed for `partitions`; nothing is said of those without a commit.
    ///
    /// # Errors
    /// There is no `group.id`, or no answer within `default.api.timeout.ms`, or Kafka's error.
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<Offsets, ClientError> {
        self.has_group()?;
        offsets::committed(&self.shared, &self.owner, partitions, clock::now() + self.config.api_timeout).await
    }

    /// Where it would go on: the positions of all it has.
    pub fn consumed(&self) -> Offsets {
        let of = |partition: &TopicPartition| {
            let (offset, leader_epoch) = self.consumer.consumed(partition)?;
            Some((partition.clone(), Committed { offset, leader_epoch, metadata: String::new() }))
        };
        self.consumer.assigned().filter_map(of).collect()
    }

    /// Commits `offsets`, or with `None` all positions, and waits until they are, at most `default.api.timeout.ms`.
    ///
    /// # Errors
    /// Kafka's: with ILLEGAL_GENERATION and UNKNOWN_MEMBER_ID others may have the partitions; with REBALANCE_IN_PROGRESS
    /// who polls on may try again, as far as it still has them.
    pub async fn commit_sync(&mut self, offsets: Option<Offsets>) -> Result<(), ClientError> {
        let until = clock::now() + self.config.api_timeout;
        self.commit(offsets, until, true).await.unwrap_or_else(|_| unreachable!("a commit is always answered"))
    }

    /// Commits `offsets`, or with `None` all positions; what becomes of that, the receiver tells. Not tried again.
    pub fn commit_async(&mut self, offsets: Option<Offsets>) -> oneshot::Receiver<Result<(), ClientError>> {
        let until = clock::now() + self.shared.cluster.config().request_timeout;
        self.commit(offsets, until, false)
    }

    fn commit(
        &mut self,
        offsets: Option<Offsets>,
        until: Time,
        retries: bool,
    ) -> oneshot::Receiver<Result<(), ClientError>> {
        let (outcome, receiver) = oneshot::channel();
        let offsets = offsets.unwrap_or_else(|| self.consumed());
        match self.has_group() {
            Err(error) => drop(outcome.send(Err(error))),
            Ok(()) if offsets.is_empty() => drop(outcome.send(Ok(()))),
            Ok(()) => {
                let commit = Commit { offsets, until, retries, subscribed: self.reading.is_as_member(), outcome };
                drop(self.commits.send(commit));
            }
        }
        receiver
    }

    fn commits_by_itself(&self) -> bool {
        self.config.auto_commit && !self.config.group_id.is_empty()
    }

    fn commit_if_due(&mut self) {
        let now = clock::now();
        if self.commits_by_itself() && now >= self.auto_commit_at {
            self.auto_commit_at = now + self.config.auto_commit_interval;
            drop(self.commit_async(None));
        }
    }

    /// What no commit can save now is processed again by whoever gets the partition.
    async fn commit_before_rebalance(&mut self) {
        if self.commits_by_itself() {
            let until = clock::now() + self.config.poll_interval_max.min(self.config.api_timeout);
            let outcome = self.commit(None, until, true).await;
            if let Ok(Err(error)) = outcome {
                tracing::warn!(group = %self.config.group_id, %error, "positions were not committed");
            }
        }
    }

    /// Commits what it commits by itself, gives up its partitions, and leaves the group - a static member stays, for its
    /// restart - within `limit`. There is no consumer afterwards: nobody can close it twice.
    ///
    /// # Errors
    /// The last commit failed.
    pub async fn close(mut self, limit: Duration) -> Result<(), ClientError> {
        let deadline = clock::now() + limit;
        let mut outcome = Ok(());
        if self.commits_by_itself() {
            outcome = self.commit(None, deadline, true).await.unwrap_or(Ok(()));
        }
        if self.reading.is_as_member() {
            self.give_up_to_leave().await;
            self.shared.wait(deadline, |membership| membership.has_left()).await;
        }
        outcome
    }
}

enum News {
    Assigned,
    Revoked,
    Lost,
}

/// Where to begin without a commit, by `auto.offset.reset`.
fn reset(config: &GroupConfig) -> Option<Seek> {
    match config.consumer.reset {
        OffsetReset::Earliest => Some(Seek::Beginning),
        OffsetReset::Latest => Some(Seek::End),
        OffsetReset::None => None,
    }
}
