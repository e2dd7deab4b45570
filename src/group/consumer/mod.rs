//! One group of the consumer protocol (KIP-848): the coordinator assigns, and each member reconciles at its own pace.
//!
//! ```text
//! group epoch       counts changes of members, subscriptions and topics
//! assignment epoch  the group epoch for which the target assignment was computed
//! member epoch      the assignment epoch that a member has come to
//! ```
//!
//! A heartbeat is the whole protocol: epoch 0 joins, -1 leaves, -2 leaves for a while (a static member). A member comes
//! to a newer epoch when it has given up what is not to be its own any more; a partition is handed to it when nobody else
//! has it. Everything is in records: the group is a value for each of them, and handlers change nothing but by records.
//!
//! | module | is |
//! |---|---|
//! | [`records`] | the values and their bytes |
//! | [`topics`] | the topics of the cluster |
//! | [`heartbeat`] | heartbeats: join, reconcile, leave |
//! | [`reconcile`] | a member's next step towards its target |
//! | [`target`] | epochs and target assignments |
//! | [`membership`] | who leaves and why: sessions, revocations that take too long |
//! | [`regex`] | regular expressions |
//! | [`re2`] | what of them is written otherwise here |
//! | [`classic`] | members of the classic protocol in such a group |
//! | [`migration`] | from a classic group, and to one |
//! | [`offsets`] | who may commit and fetch offsets |
//! | [`describe`] | what administrators see |

mod classic;
mod describe;
mod heartbeat;
mod membership;
mod migration;
mod offsets;
mod re2;
mod reconcile;
pub mod records;
mod regex;
mod target;
pub mod topics;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

pub use self::heartbeat::refuse_heartbeat;
use self::records::{Change, Current, Epochs, GroupEpoch, MemberState, Resolved, Subscription, TargetEpoch};
use super::{
    assignor::{Assignor, Partitions},
    machine::{Then, Waiter},
    records::Record,
    timers::Timer,
};
use crate::{
    base::TopicId,
    protocol::{ErrorCode, messages::ResponseKind},
    trace::Event,
};

/// Epoch of a group that has no record of it: the target assignment, at 0, is behind.
const FIRST_EPOCH: i32 = 1;
/// A member that leaves.
const LEAVE: i32 = -1;

/// What groups of the consumer protocol are bounded by. The fields are named after the broker's properties.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`.
    pub max_size: usize,
    /// `group.consumer.migration.policy`.
    pub migration_policy: MigrationPolicy,
    /// `group.consumer.assignors`; the first is the default.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.assignment.interval.ms`.
    pub assignment_interval_ms: i64,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub regex_refresh_interval_ms: i64,
}

/// Whether a group with members may go on in the other protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// No.
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl FromStr for MigrationPolicy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "disabled" => Ok(Self::Disabled),
            "upgrade" => Ok(Self::Upgrade),
            "downgrade" => Ok(Self::Downgrade),
            "bidirectional" => Ok(Self::Bidirectional),
            _ => Err(format!("expected disabled, upgrade, downgrade or bidirectional, found `{name}`")),
        }
    }
}

/// Kafka's defaults.
impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval_ms: 5_000,
            max_size: i32::MAX as usize,
            migration_policy: MigrationPolicy::Bidirectional,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            assignment_interval_ms: 1_000,
            regex_refresh_interval_ms: 600_000,
        }
    }
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody is in it.
    Empty,
    /// The target assignment is older than the group.
    Assigning,
    /// Members have not come to the target assignment yet.
    Reconciling,
    /// All have what they are to have.
    Stable,
}

/// Kafka's name, as tools print it.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        })
    }
}

/// A refusal: the code, and what the client is told beside it.
pub(super) type Refusal = (ErrorCode, String);

/// A group: a value for each of its records, and what follows from them.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    pub(super) id: Arc<str>,
    epoch: Option<GroupEpoch>,
    target_epoch: Option<TargetEpoch>,
    subscriptions: BTreeMap<Arc<str>, Arc<Subscription>>,
    targets: BTreeMap<Arc<str>, Arc<Partitions>>,
    currents: BTreeMap<Arc<str>, Arc<Current>>,
    regexes: BTreeMap<Arc<str>, Arc<Resolved>>,
    /// Member ids by `group.instance.id`.
    statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Who has each partition, or still may have it.
    owners: BTreeMap<(TopicId, i32), Arc<str>>,
    /// Version of the topics that the group has taken account of, and the group's epoch then. In no record.
    checked: Option<(i64, i32)>,
}

/// A member: what it says and what it has.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    id: Arc<str>,
    subscription: Arc<Subscription>,
    current: Arc<Current>,
}

impl Member {
    fn new(id: Arc<str>) -> Self {
        let subscription = Subscription { rebalance_timeout_ms: -1, regex: Some("".into()), ..Subscription::default() };
        Self { id, subscription: Arc::new(subscription), current: Arc::default() }
    }

    fn regex(&self) -> Option<&Arc<str>> {
        self.subscription.regex.as_ref().filter(|regex| !regex.is_empty())
    }

    fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == epoch
    }
}

impl ConsumerGroup {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: None,
            target_epoch: None,
            subscriptions: BTreeMap::new(),
            targets: BTreeMap::new(),
            currents: BTreeMap::new(),
            regexes: BTreeMap::new(),
            statics: BTreeMap::new(),
            owners: BTreeMap::new(),
            checked: None,
        }
    }

    /// Applies a record; gives the record that takes it back.
    pub(super) fn apply(&mut self, change: &Change) -> Change {
        match change {
            Change::Epoch(value) => Change::Epoch(std::mem::replace(&mut self.epoch, *value)),
            Change::OldTopics => Change::OldTopics,
            Change::TargetEpoch(value) => Change::TargetEpoch(std::mem::replace(&mut self.target_epoch, *value)),
            Change::Subscription(member, value) => {
                let before = replace(&mut self.subscriptions, member, value);
                if let Some(instance) = before.as_ref().and_then(|before| before.instance.as_ref())
                    && self.statics.get(instance) == Some(member)
                {
                    self.statics.remove(instance);
                }
                if let Some(instance) = value.as_ref().and_then(|value| value.instance.as_ref()) {
                    self.statics.insert(instance.clone(), member.clone());
                }
                Change::Subscription(member.clone(), before)
            }
            Change::Target(member, value) => Change::Target(member.clone(), replace(&mut self.targets, member, value)),
            Change::Current(member, value) => {
                let before = replace(&mut self.currents, member, value);
                for partition in before.iter().flat_map(|before| partitions_of(before)) {
                    if self.owners.get(&partition) == Some(member) {
                        self.owners.remove(&partition);
                    }
                }
                for partition in value.iter().flat_map(|value| partitions_of(value)) {
                    self.owners.insert(partition, member.clone());
                }
                Change::Current(member.clone(), before)
            }
            Change::Regex(text, value) => Change::Regex(text.clone(), replace(&mut self.regexes, text, value)),
        }
    }

    /// Whether no record tells of it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.epoch.is_none()
            && self.target_epoch.is_none()
            && self.subscriptions.is_empty()
            && self.targets.is_empty()
            && self.currents.is_empty()
            && self.regexes.is_empty()
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        let reconciled = |member: &Member| member.is_reconciled_to(self.assignment_epoch());
        match () {
            () if self.subscriptions.is_empty() => State::Empty,
            () if self.epoch() > self.assignment_epoch() => State::Assigning,
            () if !self.members().all(|member| reconciled(&member)) => State::Reconciling,
            () => State::Stable,
        }
    }

    /// Counts the changes of members, subscriptions and topics.
    pub fn epoch(&self) -> i32 {
        self.epoch.map_or(FIRST_EPOCH, |epoch| epoch.epoch)
    }

    fn metadata_hash(&self) -> i64 {
        self.epoch.map_or(0, |epoch| epoch.metadata_hash)
    }

    /// The group epoch for which the target assignment was computed.
    fn assignment_epoch(&self) -> i32 {
        self.target_epoch.map_or(0, |target| target.epoch)
    }

    fn member(&self, id: &str) -> Option<Member> {
        let (id, subscription) = self.subscriptions.get_key_value(id)?;
        let current = self.currents.get(id).cloned().unwrap_or_default();
        Some(Member { id: id.clone(), subscription: subscription.clone(), current })
    }

    /// The ids of its members.
    pub(super) fn member_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.subscriptions.keys()
    }

    fn members(&self) -> impl Iterator<Item = Member> {
        self.subscriptions.iter().map(|(id, subscription)| {
            let current = self.currents.get(id).cloned().unwrap_or_default();
            Member { id: id.clone(), subscription: subscription.clone(), current }
        })
    }

    /// The member that has this `group.instance.id`.
    fn static_member(&self, instance: &str) -> Option<Member> {
        self.statics.get(instance).and_then(|id| self.member(id))
    }

    /// The topics that `member` subscribes to, by name and by its regular expression as far as that is resolved.
    fn topics_of(&self, member: &Member) -> BTreeSet<Arc<str>> {
        let resolved = member.regex().and_then(|regex| self.regexes.get(regex));
        let matched = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        member.subscription.topics.iter().chain(matched).cloned().collect()
    }

    /// Whether a member subscribes to `topic`.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        let by_name = self.subscriptions.values().any(|subscription| subscription.topics.contains(topic));
        by_name || self.regexes.values().any(|resolved| resolved.topics.contains(topic))
    }

    fn record(&self, change: Change) -> Record {
        Record::Consumer { group: self.id.clone(), change: Box::new(change) }
    }
}

fn replace<V: Clone>(map: &mut BTreeMap<Arc<str>, V>, key: &Arc<str>, value: &Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    }
}

/// What a member has or may still have.
fn partitions_of(current: &Current) -> impl Iterator<Item = (TopicId, i32)> {
    let all = |epochs: &'_ Epochs| -> Vec<(TopicId, i32)> {
        epochs.iter().flat_map(|(topic, partitions)| partitions.keys().map(|partition| (*topic, *partition))).collect()
    };
    all(&current.assigned).into_iter().chain(all(&current.revoking))
}

/// Told once the records of a decision are committed.
#[derive(Debug, Default)]
pub struct Decided {
    /// Who gets which answer.
    pub(super) answer: Option<(Waiter, Box<ResponseKind>)>,
    /// What happened.
    pub(super) events: Vec<Event>,
    /// What is due again if the records cannot be written.
    pub(super) undone: Vec<Timer>,
}

impl From<Decided> for Then {
    fn from(decided: Decided) -> Self {
        Self::Decided(Box::new(decided))
    }
}
