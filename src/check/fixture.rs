//! Journals for tests, written as text: one event a line, `[TIME] NODE VERB WORDS`, the time in ms or the one before
//! plus 1.
//!
//! ```text
//! c1 chose orders-0 leader=1 epoch=0 isr=1,2,3 election=created why=created
//! b1 leads orders-0 epoch=0 hw=0                 b2 follows orders-0 leader=1 epoch=0 hw=0
//! b1 append orders-0 leader e0 0..2 2..3:x       a batch is BASE..END, `:x` gives it another content
//! b1 load orders-0 hw=1 0..2/0 2..3/1            and /1 another epoch than 0
//! b1 hw orders-0 leader e0 3                     b1 fetched orders-0 by=2 e0 at=3
//! b1 asks orders-0 e0 pe=0 isr=1                 and pe= of `chose`: the epoch of the registration
//! b1 cut orders-0 8 5 leader-epoch               b1 flush orders-0 3
//! b1 replaced                                    (its disk, by an empty one)
//! b1 rots orders-0 5..8                          b1 mends orders-0 5..8
//! b1 left orders-0                               (its log is deleted: others hold the partition)
//! b1 removed orders-0                            (its log, by an operator: it was damaged)
//! b1 answer orders-0 acks=1 0..2 e0 isr=1,2,3 hw=0
//! p1 send 0 orders v-0 acks=1                    p1 acked 0 orders-0 0
//! p1 refused 0 NOT_ENOUGH_REPLICAS               p1 timeout 0
//! audit position orders-0 0 start                audit read orders-0 0 v-0
//! audit end orders-0 3                           b1 up 1; b1 kill; b1 power; b1 stop; b1 pause; b1 resume
//! b1 joins g m1                                  b1 out g m1; b1 forms g m1 m2 gen=2; b1 assigns g gen=2
//! b1 forms g - m1 gen=2 (without a leader)       b1 expiring g orders-0; b1 expires g orders-0
//! g1 gets g m1 gen=1 orders-0                    g1 gives g m1 orders-0; g1 loses g m1 orders-0; g1 did g orders-0 5 v-5
//! g1 commits g m1 gen=1 orders-0 5               g1 told g sent=12 NONE (or an error, `open`: nobody knows)
//! b1 refuses g m1 gen=1 in=2 ILLEGAL_GENERATION  b1 rebalances g gen=1
//! b1 committed g m1 gen=1 orders-0 5             (the coordinator has written it)
//! g1 wonders g orders-0 b2                       g1 finds g orders-0 5 asked=14
//! b1 tells p1                                    the answer to a Produce leaves
//! p1 acked 0 orders-0 0 cause=7                  a line, any, that happened because of the seventh
//! c1 creates orders 1; c1 deletes orders 1       a topic by its name and its id
//! c1 fence 1 session                             scenario step 1 cut b1 | b2,b3; scenario heal; scenario settled
//! scenario fault disk b1 lost-sync
//! ```

use std::{collections::BTreeMap, sync::Arc};

use super::{Cause, Claim, Ending, Expectation, Expected, ExpectedLoss, Oracle, Plan, ProducerPlan, Verdict};
use crate::{
    base::{LeaderEpoch, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId, Time, TopicId, TopicPartition},
    trace::{BatchInfo, DOWNGRADED, Election, Event, EventId, Role, StopKind, journal::Entry},
};

/// The journal that `text` writes.
pub(crate) fn journal(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut time_ms = 0;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for (index, line) in lines.enumerate() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        match words[0].parse::<u64>() {
            Ok(time) => {
                time_ms = time;
                words.remove(0);
            }
            Err(_) => time_ms += 1,
        }
        let event = event(words[1], &words[2..]);
        let cause = words.iter().find_map(|word| word.strip_prefix("cause=")?.parse().ok().map(EventId));
        let time = Time(time_ms * 1_000_000);
        entries.push(Entry { id: EventId(index as u64 + 1), time, node: words[0].into(), cause, event });
    }
    entries
}

/// What the oracle says of the journal that `text` writes.
pub(crate) fn judge(text: &str, plan: Plan, ending: &Ending) -> Verdict {
    let mut oracle = Oracle::new(plan);
    journal(text).into_iter().for_each(|entry| oracle.observe(entry));
    oracle.finish(ending)
}

/// A plan in which `p1` is (not) idempotent.
pub(crate) fn plan(idempotent: bool) -> Plan {
    let producer = ProducerPlan { idempotent, max_in_flight: 5 };
    Plan { producers: [("p1".into(), producer)].into(), ..Plan::default() }
}

/// A plan that expects `claim` to be `value`.
pub(crate) fn expecting(claim: Claim, value: Expected, lost: Option<(u64, Cause)>) -> Plan {
    let lost = lost.map(|(count, cause)| ExpectedLoss { count: Some(count..=count), causes: vec![cause] });
    Plan { expectations: vec![Expectation { claim, value, lost }], ..plan(true) }
}

struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(words: &[&'a str]) -> Self {
        let (named, plain): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.contains('='));
        Self { plain, named: named.iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn number(&self, name: &str) -> i64 {
        self.named.get(name).map_or(0, |value| value.parse().expect("a number after ="))
    }

    fn epoch(&self) -> LeaderEpoch {
        let named = self.named.get("epoch").map(|epoch| epoch.parse().expect("an epoch is a number"));
        let short = || self.plain.iter().find_map(|word| word.strip_prefix('e')?.parse().ok());
        LeaderEpoch(named.or_else(short).unwrap_or(0))
    }

    fn nodes(&self, name: &str) -> Vec<NodeId> {
        let list = self.named.get(name).copied().unwrap_or("1,2,3");
        list.split(',').filter(|id| !id.is_empty()).map(|id| NodeId(id.parse().expect("an id is a number"))).collect()
    }

    fn offset(&self, index: usize) -> Offset {
        Offset(self.plain[index].parse().expect("an offset is a number"))
    }

    fn text(&self, name: &str) -> Arc<str> {
        self.named.get(name).copied().unwrap_or(name).into()
    }

    fn partition(&self) -> TopicPartition {
        self.plain[0].parse().expect("topic-number")
    }

    fn partitions(&self, from: usize) -> Vec<TopicPartition> {
        self.plain[from..].iter().map(|word| word.parse().expect("topic-number")).collect()
    }

    fn role(&self) -> Role {
        if self.plain[1] == "leader" { Role::Leader } else { Role::Follower }
    }

    fn batches(&self) -> Vec<BatchInfo> {
        self.plain.iter().filter(|word| word.contains("..")).map(|word| batch(word, self.epoch())).collect()
    }
}

/// `5..8`, `5..8:x`, `5..8/1`.
fn batch(word: &str, epoch: LeaderEpoch) -> BatchInfo {
    let (range, rest) = word.split_at(word.find([':', '/']).unwrap_or(word.len()));
    let (base, end) = range.split_once("..").expect("BASE..END");
    let leader_epoch = rest.split_once('/').map_or(epoch, |(_, own)| LeaderEpoch(own.parse().expect("an epoch")));
    let content = rest.split('/').next().unwrap_or_default();
    let crc = content.bytes().fold(0, |sum: u32, byte| sum * 31 + u32::from(byte));
    BatchInfo {
        base_offset: Offset(base.parse().expect("an offset")),
        end_offset: Offset(end.parse().expect("an offset")),
        leader_epoch,
        crc,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
    }
}

fn event(verb: &str, rest: &[&str]) -> Event {
    let words = Words::new(rest);
    match verb {
        "step" => Event::StepFired {
            step: words.plain[0].parse().expect("a step is a number"),
            action: rest[1..].join(" "),
            note: None,
        },
        "up" => Event::NodeStarted { incarnation: words.plain[0].parse().expect("a number") },
        "kill" => Event::NodeStopped { how: StopKind::Kill },
        "power" => Event::NodeStopped { how: StopKind::Power },
        "torn" => Event::NodeStopped { how: StopKind::Torn },
        "fault" => Event::FaultBegan { fault: rest.join(" ") },
        "replaced" => Event::DiskReplaced,
        "heal" => Event::SettleBegan,
        "settled" => Event::Settled,
        "stop" => Event::NodeStopped { how: StopKind::Clean },
        "pause" => Event::NodePaused,
        "resume" => Event::NodeResumed,
        "fence" => Event::BrokerFenced {
            broker: NodeId(words.plain[0].parse().expect("a number")),
            reason: rest[1..].join(" ").into(),
        },
        "send" | "acked" | "refused" | "timeout" | "position" | "read" | "end" => client_event(verb, &words),
        "joins" | "replaces" | "out" | "forms" | "assigns" | "advances" | "expiring" | "expires" | "loaded"
        | "refuses" | "rebalances" | "committed" => coordinator_event(verb, &words),
        "gets" | "gives" | "loses" | "commits" | "keeps" | "overdue" | "told" | "wonders" | "finds" | "did" => {
            member_event(verb, &words)
        }
        "fails" => Event::ClientError { error: words.plain[0].into() },
        "tells" => Event::MessageSent {
            to: words.plain[0].into(),
            api: "Produce".into(),
            request: false,
            correlation: 0,
            bytes: 0,
        },
        "creates" | "deletes" => {
            let (topic, number) = (words.plain[0].into(), words.plain[1].parse().expect("an id is a number"));
            let topic_id = TopicId(u128::to_be_bytes(number));
            match verb {
                "creates" => Event::TopicCreated { topic, topic_id },
                _ => Event::TopicDeleted { topic, topic_id },
            }
        }
        "chose" => chosen(&words),
        _ => replica_event(verb, &words),
    }
}

fn client_event(verb: &str, words: &Words<'_>) -> Event {
    let record = || words.plain[0].parse().expect("a record is a number");
    match verb {
        "send" => Event::RecordSent {
            record: record(),
            topic: words.plain[1].into(),
            partition: None,
            key: words.named.get("key").map(|key| (*key).into()),
            value: words.plain[2].into(),
            acks: words.number("acks") as i16,
        },
        "acked" => Event::RecordAcked {
            record: record(),
            partition: words.plain[1].parse().expect("topic-number"),
            offset: words.offset(2),
        },
        "refused" => {
            Event::RecordFailed { record: record(), partition: None, error: words.plain[1].into(), definite: true }
        }
        "timeout" => Event::RecordFailed {
            record: record(),
            partition: None,
            error: "REQUEST_TIMED_OUT".into(),
            definite: false,
        },
        "position" => {
            Event::PositionSet { partition: words.partition(), offset: words.offset(1), why: words.plain[2].into() }
        }
        "read" => Event::RecordRead {
            partition: words.partition(),
            offset: words.offset(1),
            leader_epoch: LeaderEpoch(0),
            key: None,
            value: words.plain[2].into(),
        },
        _ => Event::AuditReachedEnd { partition: words.partition(), end_offset: words.offset(1) },
    }
}

fn coordinator_event(verb: &str, words: &Words<'_>) -> Event {
    let group = || Arc::from(words.plain[0]);
    let member = || Arc::from(words.plain[1]);
    let generation = words.number("gen") as i32;
    match verb {
        "joins" => Event::MemberJoined {
            group: group(),
            member: member(),
            instance: words.plain.get(2).map(|instance| Arc::from(*instance)),
            client: words.named.get("client").copied().unwrap_or_default().into(),
        },
        "replaces" => Event::MemberReplaced {
            group: group(),
            instance: words.plain[3].into(),
            old: member(),
            new: words.plain[2].into(),
        },
        "rebalances" => {
            let why = if words.plain.contains(&"downgraded") { DOWNGRADED } else { "a member joins" };
            Event::RebalanceBegan { group: group(), generation, why: why.into() }
        }
        "refuses" => Event::CommitRefused {
            group: group(),
            member: member(),
            generation,
            group_generation: words.number("in") as i32,
            error: words.plain[2].into(),
        },
        "committed" => Event::OffsetsCommitted {
            group: group(),
            member: member(),
            generation,
            offsets: vec![(words.plain[2].parse().expect("topic-number"), words.offset(3))],
        },
        "out" => Event::MemberLeft { group: group(), member: member(), why: "".into() },
        "forms" => Event::GenerationFormed {
            group: group(),
            generation,
            protocol: "".into(),
            leader: words.plain[1].trim_matches('-').into(),
            members: words.plain[1..].iter().map(|member| Arc::from(*member)).collect(),
        },
        "advances" => Event::MemberAdvanced {
            group: group(),
            member: member(),
            epoch: generation,
            partitions: words
                .partitions(2)
                .into_iter()
                .map(|partition| (partition, words.number("since") as i32))
                .collect(),
        },
        "assigns" => {
            let owner = words.plain.get(1).map(|member| (Arc::from(*member), words.partitions(2)));
            Event::GroupAssigned { group: group(), generation, owners: owner.into_iter().collect() }
        }
        "expiring" => Event::OffsetsExpiring { group: group(), partitions: words.partitions(1) },
        "expires" => Event::OffsetsExpired { group: group(), partitions: words.partitions(1) },
        _ => Event::CoordinatorLoaded {
            partition: words.partition(),
            leader_epoch: words.epoch(),
            end_offset: Offset(0),
            records: 0,
            groups: 0,
            offsets: 0,
            members: words.plain[1..]
                .iter()
                .filter(|word| word.starts_with('m'))
                .map(|member| ("g".into(), (*member).into()))
                .collect(),
        },
    }
}

fn member_event(verb: &str, words: &Words<'_>) -> Event {
    let group = Arc::from(words.plain[0]);
    let member = || Arc::from(words.plain[1]);
    let partition = |index: usize| words.plain[index].parse().expect("topic-number");
    let generation = words.number("gen") as i32;
    match verb {
        "gets" => Event::PartitionsAssigned { group, member: member(), generation, partitions: words.partitions(2) },
        "gives" => Event::PartitionsRevoked { group, member: member(), partitions: words.partitions(2) },
        "loses" => Event::PartitionsLost { group, member: member(), partitions: words.partitions(2) },
        "commits" => {
            Event::CommitSent { group, member: member(), generation, offsets: vec![(partition(2), words.offset(3))] }
        }
        "keeps" => Event::CommitNotSent {
            group,
            member: member(),
            offsets: vec![(partition(2), words.offset(3))],
            error: words.plain[4].into(),
        },
        "overdue" => Event::PollOverdue { group, member: member() },
        "told" => Event::CommitAnswered {
            group,
            sent: EventId(words.number("sent") as u64),
            error: words.plain[1].into(),
            definite: words.plain[1] != "open",
        },
        "wonders" => Event::CommittedAsked {
            group,
            partitions: vec![partition(1)],
            coordinator: format!("{}:9092", words.plain.get(2).unwrap_or(&"b1")).into(),
        },
        "finds" => Event::CommittedFetched {
            group,
            partition: partition(1),
            offset: words.offset(2),
            asked: EventId(words.number("asked") as u64),
        },
        _ => Event::RecordProcessed {
            group,
            partition: partition(1),
            offset: words.offset(2),
            value: words.plain[3].into(),
        },
    }
}

fn chosen(words: &Words<'_>) -> Event {
    let election = match words.named.get("election").copied() {
        Some("created") => Election::Created,
        Some("clean") => Election::Clean,
        Some("unclean") => Election::Unclean,
        Some("preferred") => Election::Preferred,
        Some("offline") => Election::Offline,
        _ => Election::None,
    };
    Event::PartitionChanged {
        partition: words.partition(),
        leader: NodeId(words.number("leader") as i32),
        leader_epoch: words.epoch(),
        partition_epoch: PartitionEpoch(words.number("pe") as i32),
        replicas: words.nodes("replicas"),
        isr: words.nodes("isr"),
        election,
        reason: words.text("why"),
    }
}

fn replica_event(verb: &str, words: &Words<'_>) -> Event {
    let (partition, leader_epoch) = (words.partition(), words.epoch());
    let high_watermark = Offset(words.number("hw"));
    let batches = words.batches();
    let end_offset = batches.last().map_or(Offset(0), |batch| batch.end_offset);
    match verb {
        "leads" => Event::BecameLeader {
            partition,
            leader_epoch,
            start_offset: Offset(0),
            high_watermark,
            isr: words.nodes("isr"),
        },
        "follows" => Event::BecameFollower {
            partition,
            leader: NodeId(words.number("leader") as i32),
            leader_epoch,
            end_offset: Offset(0),
            high_watermark,
        },
        "append" => Event::Appended { partition, role: words.role(), leader_epoch, end_offset, batches },
        "load" => Event::LogLoaded {
            partition,
            recovered: true,
            start_offset: Offset(0),
            end_offset,
            high_watermark,
            batches,
        },
        "cut" => Event::Truncated { partition, from: words.offset(1), to: words.offset(2), why: words.plain[3].into() },
        "removed" => Event::DamagedLogRemoved { partition },
        "left" => Event::ReplicaLeft { partition },
        "rots" => Event::BatchCorrupted { partition, base_offset: batches[0].base_offset, end_offset },
        "mends" => Event::BatchMended { partition, base_offset: batches[0].base_offset },
        "flush" => Event::Flushed { partition, end_offset: words.offset(1) },
        "hw" => Event::HighWatermark {
            partition,
            role: words.role(),
            leader_epoch,
            high_watermark: words.offset(3),
            end_offset: words.offset(3),
        },
        "asks" => Event::IsrProposed {
            partition,
            leader_epoch,
            partition_epoch: PartitionEpoch(words.number("pe") as i32),
            isr: words.nodes("isr"),
            reason: "".into(),
        },
        "fetched" => Event::FollowerFetched {
            partition,
            follower: NodeId(words.number("by") as i32),
            leader_epoch,
            fetch_offset: Offset(words.number("at")),
            end_offset: Offset(words.number("at")),
        },
        "answer" => Event::ProduceAnswered {
            partition,
            acks: words.number("acks") as i16,
            error: "NONE".into(),
            base_offset: batches[0].base_offset,
            end_offset,
            leader_epoch,
            isr: words.nodes("isr"),
            high_watermark,
        },
        other => panic!("`{other}` is no verb of a journal"),
    }
}
