//! Goes through the journal once for one record and keeps who has a copy, who leads, and what that decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Life, Line, Moment,
    promise::Promise,
    therefore::{self, Facts},
    words,
};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, TopicPartition},
    check::{Cause, Lost, Plan, model::broker_id},
    trace::{Election, Event, EventId, Role, StopKind, journal::Entry},
};

/// The life of `lost` and its cause.
pub(super) fn tell(entries: &[Entry], plan: &Plan, lost: &Lost) -> (Life, Cause) {
    let Some(promise) = Promise::find(entries, lost) else {
        return (Life::default(), Cause::Unknown);
    };
    let mut walk = Walk::new(lost, &promise);
    for entry in entries {
        walk.observe(entry);
        if walk.is_over() {
            break;
        }
    }
    let cause = walk.cause();
    let facts = Facts {
        plan,
        topic: &lost.partition.topic,
        producer: &lost.producer,
        acks: promise.acks,
        promise_isr: &promise.isr,
        leader: promise.leader,
        isr_before: &walk.isr_before,
        electable: &walk.electable,
        elected: walk.elected,
        replicas: &walk.replicas,
        still_held: walk.held().collect(),
        cause,
    };
    let therefore = therefore::sentences(&facts);
    let lines = walk.finished_lines();
    let life =
        Life { leader_epoch: Some(promise.batch.leader_epoch), key: walk.key, acks: promise.acks, lines, therefore };
    (life, cause)
}

/// What became of one broker's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Held {
        flushed: bool,
    },
    /// Its host lost power while it had a copy that was not flushed; the restart will show.
    InDoubt,
    TakenByPower,
    /// Gone with a disk that was replaced.
    TakenWithDisk,
    /// Cut off by recovery, at a batch that had rotted.
    CutAtRot,
    CutToHighWatermark,
    /// Cut off by a broker that led.
    CutAsLeader,
    Cut,
}

impl Copy {
    fn may_be_there(self) -> bool {
        matches!(self, Self::Held { .. } | Self::InDoubt)
    }
}

struct Walk<'a> {
    lost: &'a Lost,
    promise: &'a Promise,
    key: Option<Arc<str>>,
    lines: Vec<Line>,
    copies: BTreeMap<NodeId, Copy>,
    /// Brokers whose host lost power after they got their copy.
    lost_power: BTreeSet<NodeId>,
    /// Batches that have rotted on brokers' disks: where each begins.
    rotten: BTreeSet<(NodeId, Offset)>,
    stopped: BTreeSet<NodeId>,
    leader: NodeId,
    leader_epoch: LeaderEpoch,
    isr: Vec<NodeId>,
    /// Why a leader asked for another ISR the last time.
    isr_wanted: Option<Arc<str>>,
    replicas: Vec<NodeId>,
    ends: BTreeMap<NodeId, Offset>,
    /// The newest election, whether or not it decided anything.
    last_election: Option<Choice>,
    decisive: Option<Choice>,
    /// What was decisive until the newest leader was elected, which has the record.
    overruled: Option<Choice>,
    /// ISR, or all replicas, at the decisive election: who could be elected.
    electable: Vec<NodeId>,
    /// The ISR just before it.
    isr_before: Vec<NodeId>,
    elected: Option<NodeId>,
    last_copy_gone: Option<EventId>,
    committed: bool,
    read: bool,
}

/// An event that gave the partition a leader, and what was known then.
#[derive(Clone)]
struct Choice {
    event: EventId,
    leader: NodeId,
    election: Election,
    electable: Vec<NodeId>,
    isr_before: Vec<NodeId>,
    copies: BTreeMap<NodeId, Copy>,
    old_leader_stopped: bool,
}

impl<'a> Walk<'a> {
    fn new(lost: &'a Lost, promise: &'a Promise) -> Self {
        Self {
            lost,
            promise,
            key: None,
            lines: Vec::new(),
            copies: BTreeMap::new(),
            lost_power: BTreeSet::new(),
            rotten: BTreeSet::new(),
            stopped: BTreeSet::new(),
            leader: NodeId::NONE,
            leader_epoch: LeaderEpoch::UNKNOWN,
            isr: Vec::new(),
            isr_wanted: None,
            replicas: Vec::new(),
            ends: BTreeMap::new(),
            last_election: None,
            decisive: None,
            overruled: None,
            electable: Vec::new(),
            isr_before: Vec::new(),
            elected: None,
            last_copy_gone: None,
            committed: false,
            read: false,
        }
    }

    /// The story is told: the loss is decided and nobody has a copy.
    fn is_over(&self) -> bool {
        self.decisive.is_some() && self.last_copy_gone.is_some()
    }

    fn held(&self) -> impl Iterator<Item = NodeId> {
        self.copies.iter().filter(|(_, copy)| copy.may_be_there()).map(|(node, _)| *node)
    }

    fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            // A step that only waits is nothing that happened to the record.
            Event::StepFired { action, .. } if action == "nothing" => {}
            Event::StepFired { step, action, .. } => self.line(entry, format!("step {step}: {action}"), false),
            Event::NodeStarted { incarnation } => self.node_started(entry, *incarnation),
            Event::NodeStopped { how } => self.node_stopped(entry, *how),
            Event::DiskReplaced => self.disk_replaced(entry),
            Event::BrokerFenced { broker, reason } if self.copies.contains_key(broker) => {
                self.line(entry, format!("fenced b{broker}: {reason}"), false);
            }
            Event::RecordSent { record, key, acks, .. }
                if entry.node == self.lost.producer && *record == self.lost.record =>
            {
                self.key = key.clone();
                self.line(entry, format!("sent it with {}", words::acks(*acks)), false);
            }
            Event::RecordRead { partition, offset, value, .. }
                if !self.read && self.is_it(partition, *offset) && **value == *self.lost.value =>
            {
                self.read = true;
                self.line(entry, "read it".into(), false);
            }
            event => {
                if words::partition_of(event) == Some(&self.lost.partition) {
                    self.partition_event(entry);
                }
            }
        }
    }

    fn is_it(&self, partition: &TopicPartition, offset: Offset) -> bool {
        *partition == self.lost.partition && offset == self.lost.offset
    }

    fn partition_event(&mut self, entry: &Entry) {
        if let Event::PartitionChanged { .. } = &entry.event {
            self.partition_changed(entry);
            return;
        }
        if let Event::IsrProposed { reason, .. } = &entry.event {
            self.isr_wanted = Some(reason.clone());
            return;
        }
        if let Some(text) = words::moved(&entry.event) {
            self.line(entry, text, false);
            return;
        }
        let Some(node) = broker_id(&entry.node) else { return };
        let batch = &self.promise.batch;
        match &entry.event {
            Event::ReplicaLeft { .. } => {
                self.ends.remove(&node);
                self.lost_power.remove(&node);
                if self.copies.remove(&node).is_some_and(Copy::may_be_there) {
                    self.line(entry, words::LEFT.into(), true);
                    self.note_copy_gone(entry.id);
                }
            }
            Event::Appended { role, end_offset, batches, .. } => {
                self.ends.insert(node, *end_offset);
                if batches.contains(batch) {
                    self.appended(entry, node, *role, *end_offset);
                }
            }
            Event::LogLoaded { end_offset, batches, recovered, .. } => {
                self.ends.insert(node, *end_offset);
                let present = batches.contains(batch);
                self.loaded(entry, node, present, *end_offset, *recovered);
            }
            Event::Truncated { from, to, why, .. } => {
                self.ends.insert(node, *to);
                if *to < batch.end_offset {
                    self.truncated(entry, node, *from, *to, why);
                }
            }
            Event::BatchCorrupted { base_offset, end_offset, .. } => {
                self.rotten.insert((node, *base_offset));
                if *base_offset < batch.end_offset && self.copies.contains_key(&node) {
                    self.line(entry, format!("its batch [{base_offset}, {end_offset}) rots on its disk"), false);
                }
            }
            Event::BatchMended { base_offset, .. } => {
                self.rotten.remove(&(node, *base_offset));
            }
            Event::Flushed { end_offset, .. } if *end_offset >= batch.end_offset => {
                if let Some(copy @ Copy::Held { flushed: false }) = self.copies.get_mut(&node) {
                    *copy = Copy::Held { flushed: true };
                    self.line(entry, "flushed it to disk".into(), true);
                }
            }
            Event::HighWatermark { role: Role::Leader, high_watermark, leader_epoch, .. }
                if !self.committed && *high_watermark >= batch.end_offset && self.copies.contains_key(&node) =>
            {
                self.committed = *leader_epoch >= batch.leader_epoch;
                let isr = words::brokers(&self.isr);
                self.line(entry, format!("high watermark {high_watermark}: committed by the ISR {isr}"), false);
            }
            Event::ProduceAnswered { acks, isr, .. } if entry.id == self.promise.event => {
                self.line(entry, words::promise(*acks, isr), false);
                self.mark_last(Moment::Promise);
            }
            _ => {}
        }
    }

    fn appended(&mut self, entry: &Entry, node: NodeId, role: Role, end: Offset) {
        self.copies.insert(node, Copy::Held { flushed: false });
        self.lost_power.remove(&node);
        let offset = self.lost.offset;
        match role {
            Role::Leader => {
                let epoch = self.promise.batch.leader_epoch;
                self.line(entry, format!("appended it at offset {offset} as leader of epoch {epoch}; LEO {end}"), true);
                let deposed = self.leader != node || self.leader_epoch > epoch;
                // Where nobody was elected in its place, whoever leads next decides.
                if deposed && let Some(choice) = self.last_election.clone().filter(|choice| choice.leader != node) {
                    self.decide(choice);
                }
            }
            Role::Follower => {
                self.line(entry, format!("copied it; LEO {end}"), true);
                // Whoever was elected without it has it after all; who leads by now may not.
                if self.decisive.as_ref().is_some_and(|choice| choice.leader == node) {
                    self.decisive = None;
                    let holds = |leader| self.copies.get(&leader).is_some_and(|copy| copy.may_be_there());
                    if let Some(choice) = self.last_election.clone().filter(|choice| !holds(choice.leader)) {
                        self.decide(choice);
                    }
                }
            }
        }
    }

    fn loaded(&mut self, entry: &Entry, node: NodeId, present: bool, end: Offset, recovered: bool) {
        // An append that the process did not live to report shows at its next start.
        let known = self.copies.get(&node).copied();
        let Some(copy) = known.or(present.then_some(Copy::Held { flushed: false })) else { return };
        let checked = if recovered { ", checked after the unclean stop," } else { "" };
        let gone = copy.may_be_there() && !present;
        let after = match (copy, present) {
            (Copy::InDoubt, true) => Copy::Held { flushed: true },
            (copy, true) => copy,
            (Copy::TakenWithDisk | Copy::CutAtRot, false) => copy,
            (_, false) if self.lost_power.contains(&node) => Copy::TakenByPower,
            (Copy::Held { .. }, false) => Copy::Cut,
            (copy, false) => copy,
        };
        self.copies.insert(node, after);
        if gone {
            self.line(entry, format!("opened its log{checked} and it ends at {end}: the record is not in it"), true);
            self.note_copy_gone(entry.id);
            self.leader_lost_it(entry.id, node);
        } else if copy.may_be_there() {
            self.line(entry, format!("opened its log{checked} and the record is in it; LEO {end}"), true);
        }
    }

    fn truncated(&mut self, entry: &Entry, node: NodeId, from: Offset, to: Offset, why: &str) {
        let Some(copy) = self.copies.get(&node).copied().filter(|copy| copy.may_be_there()) else { return };
        let at_rot = self.rotten.contains(&(node, to));
        let after = match why {
            "recovery" if at_rot => Copy::CutAtRot,
            "high-watermark" => Copy::CutToHighWatermark,
            "recovery" if self.lost_power.contains(&node) || copy == Copy::InDoubt => Copy::TakenByPower,
            "recovery" => Copy::Cut,
            _ if self.leader == node => Copy::CutAsLeader,
            _ => Copy::Cut,
        };
        self.copies.insert(node, after);
        let text = match why {
            "recovery" if at_rot => {
                format!("checked its log after the unclean stop and cut it at {to}: the batch there is corrupt")
            }
            "recovery" => format!("checked its log after the unclean stop and cut it at {to}: nothing sound follows"),
            _ if self.leader == node => {
                format!(
                    "truncated [{to}, {from}) although it leads: it obeyed an answer that it had asked for as a follower"
                )
            }
            why => format!("truncated [{to}, {from}): {}", words::truncation(why, self.leader, to)),
        };
        self.line(entry, text, true);
        self.note_copy_gone(entry.id);
        self.leader_lost_it(entry.id, node);
    }

    fn node_started(&mut self, entry: &Entry, incarnation: u32) {
        let Some(node) = broker_id(&entry.node) else { return };
        self.stopped.remove(&node);
        if self.copies.contains_key(&node) && incarnation > 1 {
            self.line(entry, "started again".into(), false);
        }
    }

    fn node_stopped(&mut self, entry: &Entry, how: StopKind) {
        let Some(node) = broker_id(&entry.node) else { return };
        self.stopped.insert(node);
        let Some(copy) = self.copies.get_mut(&node).filter(|copy| copy.may_be_there()) else { return };
        if how.lost_power() {
            self.lost_power.insert(node);
            if *copy == (Copy::Held { flushed: false }) {
                *copy = Copy::InDoubt;
            }
        }
        self.line(entry, words::stopped(how).into(), true);
    }

    fn disk_replaced(&mut self, entry: &Entry) {
        let Some(node) = broker_id(&entry.node) else { return };
        self.rotten.retain(|(rotten, _)| *rotten != node);
        self.ends.remove(&node);
        let Some(copy) = self.copies.get_mut(&node).filter(|copy| copy.may_be_there()) else { return };
        *copy = Copy::TakenWithDisk;
        self.line(entry, "its disk was replaced by an empty one".into(), true);
        self.note_copy_gone(entry.id);
        self.leader_lost_it(entry.id, node);
    }

    fn partition_changed(&mut self, entry: &Entry) {
        let Event::PartitionChanged { leader, leader_epoch, replicas, isr, election, reason, .. } = &entry.event else {
            return;
        };
        let electable = if *election == Election::Unclean { replicas.clone() } else { self.isr.clone() };
        let isr_before = self.isr.clone();
        let begins = *leader != NodeId::NONE && *leader_epoch > self.leader_epoch;
        let shrank = isr.len() < self.isr.len();
        let reason = match self.isr_wanted.take() {
            Some(wanted) if reason.ends_with("asked for it") => wanted,
            _ => reason.clone(),
        };
        let end = self.ends.get(leader).copied().unwrap_or(Offset::ZERO);
        let text = if begins {
            words::elected(*election, *leader, *leader_epoch, end, &reason)
        } else if *leader == NodeId::NONE {
            format!("nobody leads: {reason}")
        } else if shrank {
            format!("the ISR shrank from {} to {}: {reason}", words::brokers(&self.isr), words::brokers(isr))
        } else {
            format!("the ISR became {}: {reason}", words::brokers(isr))
        };
        // What becomes of its replicas alone is told for itself.
        let is_told = begins || (leader, isr) != (&self.leader, &self.isr);
        if *election != Election::Created && is_told {
            self.line(entry, text, false);
        }
        let old_leader_stopped = self.stopped.contains(&self.promise.leader);
        (self.leader, self.leader_epoch) = (*leader, *leader_epoch);
        (self.isr, self.replicas) = (isr.clone(), replicas.clone());
        if begins {
            let (event, leader, election) = (entry.id, *leader, *election);
            let copies = self.copies.clone();
            let choice = Choice { event, leader, election, electable, isr_before, copies, old_leader_stopped };
            self.last_election = Some(choice.clone());
            match self.copies.get(&leader).copied().is_some_and(Copy::may_be_there) {
                true => self.overruled = self.decisive.take(),
                false if self.decisive.is_none() && !self.copies.is_empty() => self.decide(choice),
                false => {}
            }
        }
    }

    fn decide(&mut self, choice: Choice) {
        self.electable = choice.electable.clone();
        self.isr_before = choice.isr_before.clone();
        self.elected = Some(choice.leader);
        self.decisive = Some(choice);
    }

    /// The log of the leader itself came back, or was cut, without the record.
    fn leader_lost_it(&mut self, event: EventId, node: NodeId) {
        if self.decisive.is_none() && self.leader == node {
            // It still did what the leader before had answered.
            if matches!(self.copies.get(&node), Some(Copy::Cut | Copy::CutAsLeader))
                && let Some(choice) = self.overruled.take()
            {
                return self.decide(choice);
            }
            let (election, electable, copies) = (Election::None, self.isr.clone(), self.copies.clone());
            let isr_before = electable.clone();
            self.decide(Choice {
                event,
                leader: node,
                election,
                electable,
                isr_before,
                copies,
                old_leader_stopped: true,
            });
        }
    }

    fn note_copy_gone(&mut self, event: EventId) {
        if self.held().next().is_none() {
            self.last_copy_gone = Some(event);
        }
    }

    /// Names the cause by the table in [`crate::check::Cause`]'s module.
    fn cause(&self) -> Cause {
        let Some(choice) = &self.decisive else { return Cause::Unknown };
        let others_lost_power = choice.copies.keys().all(|node| self.lost_power.contains(node));
        let clean = matches!(choice.election, Election::Clean | Election::Preferred);
        match choice.copies.get(&choice.leader) {
            Some(Copy::TakenByPower) if others_lost_power => Cause::PowerLossOfAllCopies,
            Some(Copy::TakenByPower) => Cause::ElectedAfterPowerLoss,
            Some(Copy::TakenWithDisk) => Cause::LostWithADisk,
            Some(Copy::CutAtRot) => Cause::CutAtACorruptBatch,
            Some(Copy::CutToHighWatermark) => Cause::TruncatedToHighWatermark,
            Some(Copy::CutAsLeader) => Cause::TruncatedByTheLeader,
            Some(_) => Cause::Unknown,
            None if choice.event < self.promise.event => Cause::AcknowledgedByAStaleLeader,
            None if choice.election == Election::Unclean => Cause::LeaderElectedWithoutThem,
            None if !clean => Cause::Unknown,
            None if self.promise.acks != -1 && choice.old_leader_stopped => Cause::LeaderCrashedBeforeReplication,
            None if self.promise.acks != -1 => Cause::LeaderMovedBeforeReplication,
            None if self.promise.isr.contains(&choice.leader) => Cause::AcknowledgedTooEarly,
            None => Cause::JoinedIsrTooEarly,
        }
    }

    fn line(&mut self, entry: &Entry, text: String, copies_changed: bool) {
        let copies = copies_changed.then(|| self.copies_text());
        let (event, time, node) = (entry.id, entry.time, entry.node.clone());
        self.lines.push(Line { event, time, node, text, copies, moment: None });
    }

    fn mark_last(&mut self, moment: Moment) {
        if let Some(line) = self.lines.last_mut() {
            line.moment = Some(moment);
        }
    }

    fn copies_text(&self) -> String {
        let names: Vec<String> = self
            .copies
            .iter()
            .filter(|(_, copy)| copy.may_be_there())
            .map(|(node, copy)| {
                let mark = match copy {
                    Copy::InDoubt => "?",
                    Copy::Held { flushed: false } => "~",
                    _ => "",
                };
                let down = if self.stopped.contains(node) { " down" } else { "" };
                format!("b{node}{mark}{down}")
            })
            .collect();
        format!("{{{}}}", names.join(", "))
    }

    /// The lines with their moments; elections before the record's time are left out unless one was decisive.
    fn finished_lines(&mut self) -> Vec<Line> {
        let decisive = self.decisive.as_ref().map(|choice| choice.event);
        let sent = self.lines.iter().find(|line| line.node == self.lost.producer).map(|line| line.event);
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain(|line| {
            let early = sent.is_some_and(|sent| line.event < sent);
            !early || Some(line.event) == decisive || line.text.starts_with("step ")
        });
        for line in &mut lines {
            if Some(line.event) == self.last_copy_gone {
                line.moment = Some(Moment::LastCopyGone);
            }
            if Some(line.event) == decisive {
                line.moment = Some(Moment::Decisive);
            }
        }
        lines
    }
}
