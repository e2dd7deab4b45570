//! What a leader decides: the high watermark, who is in sync, when acks=all is kept.
//!
//! | input | may change |
//! |---|---|
//! | an append | end, high watermark if nobody else is in sync |
//! | a follower's fetch | what is known of it, high watermark, a proposal to take it into the ISR |
//! | the lag check | a proposal to take followers out |
//! | the controller's answer or a metadata record | committed ISR, partition epoch, replicas, high watermark |
//!
//! The *maximal ISR* is the committed one together with every member of a proposal under way: whatever the controller
//! decides, nobody who may be in the ISR is missed (KIP-497). A refusal does not end that if an earlier attempt at the same
//! proposal was not answered: a request of a connection that was given up may still arrive, for as long as the partition
//! epoch stands. There Kafka counts with the committed ISR again. The high watermark is the smallest end over the maximal
//! ISR; it waits for a follower that is caught up and may join, and it does not move while fewer than
//! `min.insync.replicas` are committed (KAFKA-15583). It never falls while this leader leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::base::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, Switches, Time, mark, switches::IsrChange,
};

/// The brokers that may be in an ISR, each with its incarnation: registered, not fenced, not leaving (KIP-841).
pub type ActiveBrokers = Arc<BTreeMap<NodeId, BrokerEpoch>>;

/// What becoming leader starts from.
#[derive(Clone, Debug)]
pub struct LeaderStart {
    /// This broker.
    pub node: NodeId,
    /// Epoch of the leadership.
    pub epoch: LeaderEpoch,
    /// Epoch of the registration.
    pub partition_epoch: PartitionEpoch,
    /// Everyone who holds the partition.
    pub replicas: Vec<NodeId>,
    /// Of them, those that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// Who is in sync, as the controller committed.
    pub isr: Vec<NodeId>,
    /// End of this broker's log: where the epoch begins.
    pub end: Offset,
    /// High watermark known so far.
    pub high_watermark: Offset,
    /// Who may be in the ISR.
    pub active: ActiveBrokers,
    /// `min.insync.replicas`.
    pub min_insync: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// Behaviour switches.
    pub switches: Switches,
}

/// A leader's view of its partition.
#[derive(Clone, Debug)]
pub struct Leader {
    start: LeaderStart,
    end: Offset,
    high_watermark: Offset,
    partition_epoch: PartitionEpoch,
    isr: BTreeSet<NodeId>,
    /// The ISR that the controller was asked for.
    pending: Option<BTreeSet<NodeId>>,
    /// Members of proposals that were refused, of which an earlier attempt may still be applied in this partition epoch.
    in_doubt: BTreeSet<NodeId>,
    followers: BTreeMap<NodeId, Follower>,
}

/// What a leader knows of a follower, from its fetches in this epoch.
#[derive(Clone, Copy, Debug)]
struct Follower {
    /// End of its log: the offset it fetched from last. Unknown before its first fetch.
    end: Option<Offset>,
    /// When it had everything the last time; never, as far as is known, where a reassignment adds it.
    caught_up: Option<Time>,
    /// When it fetched last, and where this log ended then.
    fetched: Time,
    end_at_fetch: Offset,
    /// Incarnation that fetched, or -1.
    broker_epoch: BrokerEpoch,
    /// First offset of its log; unknown before it has told.
    log_start: Offset,
}

impl Follower {
    /// One that has not fetched yet.
    fn unknown(end: Offset, now: Time, counts_as_caught_up: bool) -> Self {
        Self {
            end: None,
            caught_up: counts_as_caught_up.then_some(now),
            fetched: now,
            end_at_fetch: end,
            broker_epoch: BrokerEpoch(-1),
            log_start: Offset::UNKNOWN,
        }
    }
}

/// An ISR to ask the controller for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// In which leadership.
    pub leader_epoch: LeaderEpoch,
    /// On top of which registration.
    pub partition_epoch: PartitionEpoch,
    /// The new ISR, each with the incarnation that is meant.
    pub isr: Vec<(NodeId, BrokerEpoch)>,
    /// Why, for the journal.
    pub reason: String,
}

/// Whether a record up to some offset is acknowledged under acks=all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Not everyone in the ISR has it yet.
    Wait,
    /// Everyone in the ISR has it, and they are enough.
    Done,
    /// Everyone in the ISR has it, but they are fewer than `min.insync.replicas`.
    NotEnoughReplicas,
}

impl Leader {
    /// Begins a leadership at `now`. Followers count as caught up from then on.
    pub fn new(start: LeaderStart, now: Time) -> Self {
        let follower = |replica: &NodeId| {
            let is_new = start.adding.contains(replica) && !start.isr.contains(replica);
            (*replica, Follower::unknown(start.end, now, !is_new))
        };
        let others = start.replicas.iter().filter(|replica| **replica != start.node);
        let mut leader = Self {
            end: start.end,
            high_watermark: start.high_watermark.min(start.end),
            partition_epoch: start.partition_epoch,
            isr: start.isr.iter().copied().collect(),
            pending: None,
            in_doubt: BTreeSet::new(),
            followers: others.map(follower).collect(),
            start,
        };
        leader.advance(now);
        leader
    }

    /// Epoch of this leadership.
    pub fn epoch(&self) -> LeaderEpoch {
        self.start.epoch
    }

    /// Offset at which the epoch began.
    pub fn epoch_start(&self) -> Offset {
        self.start.end
    }

    /// Epoch of the registration known.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// The high watermark.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The ISR that the controller committed.
    pub fn isr(&self) -> Vec<NodeId> {
        self.isr.iter().copied().collect()
    }

    /// Whether acks=all may be appended at all.
    pub fn has_enough_replicas(&self) -> bool {
        self.isr.len() >= self.effective_min_insync()
    }

    /// Takes who may be in the ISR, before a change of the ISR that comes with it.
    pub fn set_active(&mut self, active: ActiveBrokers) {
        self.start.active = active;
    }

    /// Whether the controller would take the incarnation of `follower` that fetched (KIP-841, KIP-903).
    fn is_eligible(&self, follower: NodeId) -> bool {
        let switches = &self.start.switches;
        let Some(fetched) = self.followers.get(&follower).map(|known| known.broker_epoch) else { return false };
        match self.start.active.get(&follower) {
            None => !switches.isr_excludes_fenced,
            Some(_) if !switches.isr_checks_broker_epoch => true,
            Some(registered) => fetched == BrokerEpoch(-1) || fetched == *registered,
        }
    }

    /// Others hold the partition now. Who is new among them has never been caught up.
    pub fn set_replicas(&mut self, replicas: &[NodeId], now: Time) {
        if self.start.replicas == replicas {
            return;
        }
        self.start.replicas = replicas.to_vec();
        let others: BTreeSet<NodeId> = replicas.iter().copied().filter(|replica| *replica != self.start.node).collect();
        self.followers.retain(|follower, _| others.contains(follower));
        for replica in others {
            self.followers.entry(replica).or_insert_with(|| Follower::unknown(self.end, now, false));
        }
    }

    /// Takes a new `min.insync.replicas`.
    pub fn set_min_insync(&mut self, min_insync: usize) {
        self.start.min_insync = min_insync;
    }

    /// More copies than there are replicas cannot be asked for. Before KAFKA-15583 they were.
    fn effective_min_insync(&self) -> usize {
        if self.start.switches.bug_min_isr_ignored {
            return 0;
        }
        match self.start.switches.hw_strict_min_isr {
            true => self.start.min_insync.min(self.start.replicas.len()),
            false => self.start.min_insync,
        }
    }

    fn maximal_isr(&self) -> BTreeSet<NodeId> {
        if self.start.switches.isr_change == IsrChange::Committed {
            return self.isr.clone();
        }
        self.isr.iter().chain(self.pending.iter().flatten()).chain(&self.in_doubt).copied().collect()
    }

    /// The log was appended to, up to `end`.
    pub fn appended(&mut self, end: Offset, now: Time) {
        assert!(end >= self.end, "the end of a leader's log fell from {} to {end}", self.end);
        self.end = end;
        self.advance(now);
    }

    /// The log was cut under the leader by an answer to a fetch from the time before: until KAFKA-13207.
    pub fn truncated(&mut self, end: Offset) {
        self.end = end;
        self.start.end = self.start.end.min(end);
        self.high_watermark = self.high_watermark.min(end);
    }

    /// A follower asked for records from `offset` on, in this epoch. Returns an ISR to propose, if it may join.
    pub fn fetched(
        &mut self,
        follower: NodeId,
        offset: Offset,
        broker_epoch: BrokerEpoch,
        now: Time,
    ) -> Option<Proposal> {
        let state = self.followers.get_mut(&follower)?;
        if offset >= self.end {
            state.caught_up = Some(now);
        } else if offset >= state.end_at_fetch {
            // It has everything that was there when it fetched before.
            state.caught_up = state.caught_up.max(Some(state.fetched));
        }
        *state = Follower { end: Some(offset), fetched: now, end_at_fetch: self.end, broker_epoch, ..*state };
        self.advance(now);
        self.propose_join(follower, offset)
    }

    /// A follower told where its log begins. Returns whether that is news.
    pub fn told_log_start(&mut self, follower: NodeId, log_start: Offset) -> bool {
        let Some(state) = self.followers.get_mut(&follower) else { return false };
        std::mem::replace(&mut state.log_start, log_start) != log_start
    }

    /// Before it no replica that lives has records any more: the smallest begin of their logs. `own` is this broker's.
    pub fn low_watermark(&self, own: Offset) -> Offset {
        let live = self.followers.iter().filter(|(id, _)| self.start.active.contains_key(id));
        live.map(|(_, follower)| follower.log_start).fold(own, Offset::min)
    }

    fn propose_join(&mut self, follower: NodeId, offset: Offset) -> Option<Proposal> {
        if self.isr.contains(&follower) || self.pending.is_some() || !self.is_eligible(follower) {
            return None;
        }
        let switches = &self.start.switches;
        let at_epoch_start = offset >= self.start.end || !switches.isr_join_needs_leso;
        let caught_up = offset >= self.high_watermark && at_epoch_start;
        if !caught_up && !switches.bug_isr_expands_early {
            return None;
        }
        let mut isr = self.isr.clone();
        isr.insert(follower);
        Some(self.propose(isr, format!("broker {follower} has caught up at {offset}")))
    }

    /// Looks for followers that have not been caught up for too long. Returns an ISR without them to propose.
    pub fn check_lag(&mut self, now: Time) -> Option<Proposal> {
        if self.pending.is_some() {
            return None;
        }
        let lags = |member: &NodeId| {
            self.followers.get(member).is_some_and(|follower| {
                let has_everything = follower.end == Some(self.end) && self.start.switches.idle_followers_stay;
                !has_everything && !self.was_caught_up(follower, now)
            })
        };
        let lagging: Vec<NodeId> = self.isr.iter().copied().filter(lags).collect();
        if lagging.is_empty() {
            return None;
        }
        let isr: BTreeSet<NodeId> = self.isr.iter().copied().filter(|member| !lagging.contains(member)).collect();
        if self.start.switches.bug_shrinks_before_commit {
            self.isr = isr.clone();
            self.advance(now);
        }
        let names: Vec<String> = lagging.iter().map(NodeId::to_string).collect();
        let word = if names.len() == 1 { "broker" } else { "brokers" };
        let lag_max_ms = self.start.lag_max.as_millis();
        let reason = format!("{word} {} lagged for more than {lag_max_ms} ms", names.join(" and "));
        Some(self.propose(isr, reason))
    }

    fn propose(&mut self, isr: BTreeSet<NodeId>, reason: String) -> Proposal {
        let with_epoch = |member: &NodeId| {
            let epoch = self.followers.get(member).map_or(BrokerEpoch(-1), |follower| follower.broker_epoch);
            (*member, epoch)
        };
        let proposal = Proposal {
            leader_epoch: self.start.epoch,
            partition_epoch: self.partition_epoch,
            isr: isr.iter().map(with_epoch).collect(),
            reason,
        };
        self.pending = Some(isr);
        proposal
    }

    /// Whether it waits for an answer to this proposal.
    pub fn awaits(&self, proposal: &Proposal) -> bool {
        let made_in = (proposal.leader_epoch, proposal.partition_epoch);
        self.pending.is_some() && made_in == (self.start.epoch, self.partition_epoch)
    }

    /// The controller's answer, or a metadata record: the registration now has this ISR and epoch. Older news change
    /// nothing. Returns whether it was news.
    pub fn committed(&mut self, isr: &[NodeId], partition_epoch: PartitionEpoch, now: Time) -> bool {
        if partition_epoch <= self.partition_epoch {
            return false;
        }
        self.partition_epoch = partition_epoch;
        self.isr = isr.iter().copied().collect();
        self.pending = None;
        self.in_doubt.clear();
        if self.start.switches.hw_after_alter_partition {
            self.advance(now);
        }
        true
    }

    /// The controller proved that it did not apply this attempt at the proposal (INELIGIBLE_REPLICA,
    /// OPERATION_NOT_ATTEMPTED). Its members still count if an earlier attempt is `in_doubt`. After any other outcome
    /// the proposal stays, since it may have been applied.
    pub fn refused(&mut self, in_doubt: bool, now: Time) {
        let proposed = self.pending.take();
        if in_doubt {
            self.in_doubt.extend(proposed.into_iter().flatten());
        }
        self.advance(now);
    }

    /// Whether everything before `end` may be acknowledged under acks=all.
    pub fn ack(&self, end: Offset) -> Ack {
        if self.start.switches.bug_ack_before_isr {
            return Ack::Done;
        }
        match self.high_watermark >= end {
            false => Ack::Wait,
            true if self.has_enough_replicas() => Ack::Done,
            true => Ack::NotEnoughReplicas,
        }
    }

    fn advance(&mut self, now: Time) {
        if self.isr.len() < self.effective_min_insync() && self.start.switches.hw_strict_min_isr {
            return;
        }
        let maximal = self.maximal_isr();
        let ignored = match self.start.switches.bug_hw_ignores_one_isr_member {
            true => maximal.iter().rev().find(|member| **member != self.start.node).copied(),
            false => None,
        };
        let mut lowest = self.end;
        for (id, follower) in &self.followers {
            let member = maximal.contains(id) && Some(*id) != ignored;
            let counts = self.is_eligible(*id) || !self.start.switches.hw_skips_ineligible;
            let joining = !maximal.contains(id) && counts && self.is_caught_up(follower, now);
            if !member && !joining {
                continue;
            }
            let end = follower.end.unwrap_or(Offset::UNKNOWN);
            if self.pending.as_ref().is_some_and(|pending| pending.contains(id))
                && !self.isr.contains(id)
                && end < lowest
            {
                mark::reach("maximal_isr_held_hw");
            }
            lowest = lowest.min(end);
        }
        self.high_watermark = match self.start.switches.bug_hw_falls {
            true => lowest.max(Offset::ZERO),
            false => self.high_watermark.max(lowest),
        };
        self.validate();
    }

    fn is_caught_up(&self, follower: &Follower, now: Time) -> bool {
        follower.end == Some(self.end) || (follower.end.is_some() && self.was_caught_up(follower, now))
    }

    /// Whether it had everything no longer ago than `replica.lag.time.max.ms`.
    fn was_caught_up(&self, follower: &Follower, now: Time) -> bool {
        follower.caught_up.is_some_and(|caught_up| now.since(caught_up) <= self.start.lag_max)
    }

    fn validate(&self) {
        assert!(
            self.high_watermark <= self.end && self.start.end <= self.end,
            "start {} and high watermark {} lie within the log, which ends at {}",
            self.start.end,
            self.high_watermark,
            self.end
        );
    }
}

/// What a leader answers to a fetch from `fetch_offset` by someone whose record before that has epoch `last_epoch`:
/// `Some` where the logs diverge. `own` is the leader's greatest epoch up to that one and where it ends (KIP-279).
pub fn diverging_epoch(
    last_epoch: LeaderEpoch,
    fetch_offset: Offset,
    own: (LeaderEpoch, Offset),
) -> Option<(LeaderEpoch, Offset)> {
    let (own_epoch, own_end) = own;
    (own_epoch < last_epoch || own_end < fetch_offset).then_some(own)
}
