//! The vocabulary. Each variant is one kind of line in `events.jsonl`; `snake_case` of its name is its `kind`.
//!
//! Nodes are named as a scenario names them (`b1`, `c1`, `p1`); brokers within ISR sets by number. Offset ranges are
//! half open: `base_offset..end_offset`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::EventId;
use crate::base::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};

/// Epoch of a static member that is away for a while (KIP-848).
pub const AWAY: i32 = -2;

/// Why a group of the consumer protocol rebalances when it has become one of the classic protocol.
pub const DOWNGRADED: &str = "the group goes on in the classic protocol";

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    // ---- the scenario ----
    /// A step fired: its number from 1, its action with symbols resolved, and its note.
    StepFired { step: usize, action: String, note: Option<String> },
    /// The run healed every fault and restarted every node, and now waits for the cluster to settle.
    SettleBegan,
    /// Every partition had a leader and a full ISR and every consumer was at the end.
    Settled,
    /// A fault began (`cut b1 | b2,b3`, `slow b1 > b2 300ms`, ...), its targets resolved.
    FaultBegan { fault: String },
    /// A fault that had begun ended.
    FaultEnded { fault: String },

    // ---- processes ----
    /// A process started; its incarnation counts from 1.
    NodeStarted { incarnation: u32 },
    /// A process ended.
    NodeStopped { how: StopKind },
    /// The process got no CPU from here (its clock went on).
    NodePaused,
    /// The process got CPU again.
    NodeResumed,

    // ---- network ----
    /// A message left: a request or a response of one API.
    MessageSent { to: Arc<str>, api: Arc<str>, request: bool, correlation: i32, bytes: usize },
    /// The message that event `sent` put on the wire arrived at this node.
    MessageDelivered { sent: EventId, from: Arc<str>, api: Arc<str>, request: bool, correlation: i32 },
    /// The message is kept back by a `hold`.
    MessageHeld { sent: EventId, to: Arc<str>, api: Arc<str> },
    /// The message never arrives: its connection died or a `drop` took it.
    MessageLost { sent: EventId, to: Arc<str>, api: Arc<str>, reason: Arc<str> },
    /// A connection attempt failed.
    ConnectFailed { to: Arc<str>, reason: Arc<str> },
    /// An established connection was reset by the peer's host.
    ConnectionReset { to: Arc<str> },

    // ---- disk ----
    /// A power loss took what had not been synced: bytes and directory entries lost, by file.
    UnsyncedLost { files: Vec<Arc<str>>, bytes: u64 },
    /// The node's disk was replaced by an empty one while its process did not run.
    DiskReplaced,
    /// Bytes of a batch changed on the node's disk. Its header is as it was.
    BatchCorrupted { partition: TopicPartition, base_offset: Offset, end_offset: Offset },
    /// They are as they were again, unless the batch was cut off meanwhile.
    BatchMended { partition: TopicPartition, base_offset: Offset },
    /// The node's log directory failed, and with it the node.
    LogDirFailed { reason: Arc<str> },
    /// A batch that was durable once is not sound: the log does not open, or cannot be read from there.
    LogDamaged { partition: TopicPartition, problem: Arc<str> },
    /// An operator took a damaged log away, so that the replica can be copied anew.
    DamagedLogRemoved { partition: TopicPartition },
    /// An operator took a damaged checkpoint of the log directory away, so that the node can start.
    DamagedCheckpointRemoved { checkpoint: Arc<str> },

    // ---- a replica's log ----
    /// A log was opened; `batches` is everything it holds. `recovered`: it was checked after an unclean stop.
    LogLoaded {
        partition: TopicPartition,
        recovered: bool,
        start_offset: Offset,
        end_offset: Offset,
        high_watermark: Offset,
        batches: Vec<BatchInfo>,
    },
    /// Batches were appended, as leader or as follower; `end_offset` is the LEO after it.
    Appended {
        partition: TopicPartition,
        role: Role,
        leader_epoch: LeaderEpoch,
        end_offset: Offset,
        batches: Vec<BatchInfo>,
    },
    /// The log was cut: it ended at `from`, it ends at `to`. `why` is `leader-epoch`, `high-watermark`, `recovery`,
    /// `out-of-range` or `deleted`.
    Truncated { partition: TopicPartition, from: Offset, to: Offset, why: Arc<str> },
    /// The log began at `from`, it begins at `to`: what is before it cannot be read any more. `why` is `retention.ms`,
    /// `retention.bytes`, `delete-records`, or `leader` where a follower takes its leader's begin. Where `to` is
    /// after its end it has no record left: `out-of-range`, a follower that ended before its leader begins, or `recovery`.
    LogStartMoved { partition: TopicPartition, from: Offset, to: Offset, why: Arc<str> },
    /// Everything below `end_offset` is on the platter.
    Flushed { partition: TopicPartition, end_offset: Offset },

    // ---- a replica's roles ----
    /// This broker leads the partition from here.
    BecameLeader {
        partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        start_offset: Offset,
        high_watermark: Offset,
        isr: Vec<NodeId>,
    },
    /// This broker follows `leader` (`-1`: nobody leads) from here.
    BecameFollower {
        partition: TopicPartition,
        leader: NodeId,
        leader_epoch: LeaderEpoch,
        end_offset: Offset,
        high_watermark: Offset,
    },
    /// The high watermark as this replica knows it moved.
    HighWatermark {
        partition: TopicPartition,
        role: Role,
        leader_epoch: LeaderEpoch,
        high_watermark: Offset,
        end_offset: Offset,
    },
    /// The leader learned from a fetch how far a follower's log goes.
    FollowerFetched {
        partition: TopicPartition,
        follower: NodeId,
        leader_epoch: LeaderEpoch,
        fetch_offset: Offset,
        end_offset: Offset,
    },
    /// The leader asks the controller for this ISR.
    IsrProposed {
        partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        isr: Vec<NodeId>,
        reason: Arc<str>,
    },
    /// The controller refused the proposal.
    IsrRefused { partition: TopicPartition, error: Arc<str> },
    /// The leader answered a produce to this partition. `error` is a Kafka error name or `NONE`.
    ProduceAnswered {
        partition: TopicPartition,
        acks: i16,
        error: Arc<str>,
        base_offset: Offset,
        end_offset: Offset,
        leader_epoch: LeaderEpoch,
        isr: Vec<NodeId>,
        high_watermark: Offset,
    },

    // ---- the controller's decisions, when committed ----
    /// A broker registered.
    BrokerRegistered { broker: NodeId, broker_epoch: BrokerEpoch, clean: bool },
    /// A broker was fenced.
    BrokerFenced { broker: NodeId, reason: Arc<str> },
    /// A broker was unfenced.
    BrokerUnfenced { broker: NodeId },
    /// A broker asked for a controlled shutdown.
    ControlledShutdown { broker: NodeId },
    /// A topic was created; each of its partitions follows as a [`Event::PartitionChanged`].
    TopicCreated { topic: Arc<str>, topic_id: TopicId },
    /// A topic was deleted.
    TopicDeleted { topic: Arc<str>, topic_id: TopicId },
    /// A topic's setting changed; `value` is `None` where it was removed.
    ConfigChanged { topic: Arc<str>, name: Arc<str>, value: Option<Arc<str>> },
    /// A partition's registration: created or changed. `leader` is `-1` while nobody leads.
    PartitionChanged {
        partition: TopicPartition,
        leader: NodeId,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        replicas: Vec<NodeId>,
        isr: Vec<NodeId>,
        election: Election,
        reason: Arc<str>,
    },

    // ---- members of a consumer group, as they see it themselves ----
    /// The member may read these partitions from here, beside those it has. `generation` is the member epoch with the
    /// consumer protocol.
    PartitionsAssigned { group: Arc<str>, member: Arc<str>, generation: i32, partitions: Vec<TopicPartition> },
    /// It has given them up, after its application was asked.
    PartitionsRevoked { group: Arc<str>, member: Arc<str>, partitions: Vec<TopicPartition> },
    /// They were taken from it, as it learns only now.
    PartitionsLost { group: Arc<str>, member: Arc<str>, partitions: Vec<TopicPartition> },
    /// It asks for these offsets to be committed; offsets of the records to read next.
    CommitSent { group: Arc<str>, member: Arc<str>, generation: i32, offsets: Vec<(TopicPartition, Offset)> },
    /// What it was told of the commit that event `sent` asked for. `error` is a Kafka error name or `NONE`; `definite`:
    /// the commit stands or is refused for certain.
    CommitAnswered { group: Arc<str>, sent: EventId, error: Arc<str>, definite: bool },
    /// It was to commit these offsets and failed that by itself, as who may not commit now or finds nobody to ask.
    /// `error` is a Kafka error name.
    CommitNotSent { group: Arc<str>, member: Arc<str>, offsets: Vec<(TopicPartition, Offset)>, error: Arc<str> },
    /// Its application has not polled for longer than `max.poll.interval.ms`: it leaves; a static member only falls
    /// silent.
    PollOverdue { group: Arc<str>, member: Arc<str> },
    /// The coordinator told it the committed offset of a partition, asked for by event `asked`; `-1`: there is none.
    CommittedFetched { group: Arc<str>, partition: TopicPartition, offset: Offset, asked: EventId },
    /// It asks for the committed offsets of these partitions.
    CommittedAsked { group: Arc<str>, partitions: Vec<TopicPartition>, coordinator: Arc<str> },
    /// The application has done its work for a record: the effect is in the world and stays there.
    RecordProcessed { group: Arc<str>, partition: TopicPartition, offset: Offset, value: Arc<str> },

    // ---- clients: the history that checkers judge ----
    /// A producer gave a record to the client library. `record` counts the producer's records from 0.
    RecordSent {
        record: u64,
        topic: Arc<str>,
        partition: Option<i32>,
        key: Option<Arc<str>>,
        value: Arc<str>,
        acks: i16,
    },
    /// The producer was told that its record stands at `offset` (`-1` with acks=0).
    RecordAcked { record: u64, partition: TopicPartition, offset: Offset },
    /// The producer was told that its record failed. `definite`: the error proves that it was not appended.
    RecordFailed { record: u64, partition: Option<TopicPartition>, error: Arc<str>, definite: bool },
    /// A consumer got a record.
    RecordRead {
        partition: TopicPartition,
        offset: Offset,
        leader_epoch: LeaderEpoch,
        key: Option<Arc<str>>,
        value: Arc<str>,
    },
    /// A consumer's position was set: begin, or a reset. `why` is `start`, `committed`, `seek`, `out-of-range` or
    /// `truncation`.
    PositionSet { partition: TopicPartition, offset: Offset, why: Arc<str> },
    /// A consumer of the final audit has read `partition` to its end.
    AuditReachedEnd { partition: TopicPartition, end_offset: Offset },
    /// The application got an error that it did not retry.
    ClientError { error: Arc<str> },

    // ---- groups, as their coordinator decides ----
    /// This broker coordinates the groups of a partition of `__consumer_offsets` from here: it has read its records.
    CoordinatorLoaded {
        partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        end_offset: Offset,
        records: u64,
        groups: u64,
        offsets: u64,
        /// Group and id of each member that it counts from now on.
        #[serde(default)]
        members: Vec<(Arc<str>, Arc<str>)>,
    },
    /// It does no longer.
    CoordinatorUnloaded { partition: TopicPartition, leader_epoch: LeaderEpoch },
    /// A member joins a group for the first time; `instance` is the `group.instance.id` of a static one.
    MemberJoined { group: Arc<str>, member: Arc<str>, instance: Option<Arc<str>>, client: Arc<str> },
    /// A static member came back under a new id; whoever has the old one is fenced.
    MemberReplaced { group: Arc<str>, instance: Arc<str>, old: Arc<str>, new: Arc<str> },
    /// A member is no longer part of its group.
    MemberLeft { group: Arc<str>, member: Arc<str>, why: Arc<str> },
    /// The members of `generation` have to join again. In the consumer protocol: the group moves on from this group
    /// epoch, and only who has to give something up stops for it.
    RebalanceBegan { group: Arc<str>, generation: i32, why: Arc<str> },
    /// All who joined form a generation; its leader assigns. Static members that did not come stay in the group. In the
    /// consumer protocol: a group epoch, without a leader.
    GenerationFormed { group: Arc<str>, generation: i32, protocol: Arc<str>, leader: Arc<str>, members: Vec<Arc<str>> },
    /// The assignments of a generation are committed: who owns what. Empty for groups of other than consumers.
    GroupAssigned { group: Arc<str>, generation: i32, owners: Vec<(Arc<str>, Vec<TopicPartition>)> },
    /// A member of a group of the consumer protocol has come to `epoch`. It has these partitions, or may have them until
    /// it has given them up, each since the epoch beside it. In epoch -2, that of a static member which is away for a
    /// while, these are kept for it, and what it had not given up yet is not.
    MemberAdvanced { group: Arc<str>, member: Arc<str>, epoch: i32, partitions: Vec<(TopicPartition, i32)> },
    /// Nobody is left in the group.
    GroupEmptied { group: Arc<str>, generation: i32 },
    /// Offsets that a client committed are committed records, and the client is told so. `generation` is `-1` where a
    /// client commits without a group.
    OffsetsCommitted { group: Arc<str>, member: Arc<str>, generation: i32, offsets: Vec<(TopicPartition, Offset)> },
    /// A commit was refused for what the client said of itself.
    CommitRefused { group: Arc<str>, member: Arc<str>, generation: i32, group_generation: i32, error: Arc<str> },
    /// A coordinator writes that offsets are deleted which had not been committed for too long. Whether that stands, its
    /// successor may be the one to know.
    OffsetsExpiring { group: Arc<str>, partitions: Vec<TopicPartition> },
    /// Offsets were deleted because they had not been committed for too long: the records that say so are committed.
    OffsetsExpired { group: Arc<str>, partitions: Vec<TopicPartition> },

    // ---- reassignment ----
    /// The controller gives a partition other replicas: those of `from` hold it, those of `to` shall.
    ReassignmentBegan { partition: TopicPartition, from: Vec<NodeId>, to: Vec<NodeId> },
    /// A partition has the replicas that it was to get, and nobody else holds it.
    ReassignmentCompleted { partition: TopicPartition, replicas: Vec<NodeId> },
    /// A partition goes back to the replicas that it had.
    ReassignmentCancelled { partition: TopicPartition, replicas: Vec<NodeId> },
    /// This broker holds the partition no more: its log is deleted.
    ReplicaLeft { partition: TopicPartition },
}

impl Event {
    /// Hosts whose disks begin to lose what they say they have synced: at once, or in the syncs after one that failed.
    pub fn disks_that_lie(&self) -> impl Iterator<Item = &str> {
        let fault = if let Self::FaultBegan { fault } = self { fault.as_str() } else { "" };
        let what = fault.strip_prefix("disk ");
        let hosts = what.and_then(|what| what.strip_suffix(" lost-sync").or_else(|| what.strip_suffix(" sync-eio")));
        hosts.into_iter().flat_map(|hosts| hosts.split(','))
    }

    /// Whether it is the leaving of an answer to a producer.
    pub fn answers_produce(&self) -> bool {
        matches!(self, Self::MessageSent { api, request: false, .. } if **api == *"Produce")
    }

    /// Whether it is about bytes under way, which no checker reads.
    pub fn is_message(&self) -> bool {
        matches!(
            self,
            Self::MessageSent { .. }
                | Self::MessageDelivered { .. }
                | Self::MessageHeld { .. }
                | Self::MessageLost { .. }
                | Self::ConnectFailed { .. }
                | Self::ConnectionReset { .. }
        )
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// Controlled shutdown: everything flushed.
    Clean,
    /// SIGKILL: the page cache of its host stays.
    Kill,
    /// Its host lost power: what was synced stays, and a seeded part of the rest.
    Power,
    /// Its host lost power in the middle of writing: of the rest, some sectors stay, in no order.
    Torn,
}

impl StopKind {
    /// Whether its host lost power.
    pub fn lost_power(self) -> bool {
        matches!(self, Self::Power | Self::Torn)
    }
}

/// In which role a replica acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It leads the partition.
    Leader,
    /// It copies from the leader.
    Follower,
}

/// What a change of a partition's registration did to its leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Election {
    /// The partition was created.
    Created,
    /// The leader stayed: the ISR or the replicas changed.
    None,
    /// Another leader from the ISR.
    Clean,
    /// A leader from outside the ISR.
    Unclean,
    /// Back to the preferred replica.
    Preferred,
    /// Nobody could be elected.
    Offline,
}

/// One batch of a log, as a checker needs it: two logs agree on it iff all of this is equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchInfo {
    /// First offset.
    pub base_offset: Offset,
    /// Offset after the last.
    pub end_offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of its content (offset and epoch are not part of it).
    pub crc: u32,
    /// Producer, or `-1`.
    pub producer_id: ProducerId,
    /// Producer epoch, or `-1`.
    pub producer_epoch: ProducerEpoch,
    /// First sequence number, or `-1`.
    pub base_sequence: i32,
}
