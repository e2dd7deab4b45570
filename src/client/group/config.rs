//! Settings of a group's consumer: those of a consumer, and what membership needs. Kafka's names, defaults and units.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::assignor::Assignor;
use crate::client::config::{ConfigError, ConsumerConfig, Setting, Values, consumer_settings};

/// What a group's consumer takes besides a consumer's settings.
const GROUP: &[Setting] = &[
    ("auto.commit.interval.ms", "5000", "how often positions are committed by themselves"),
    ("default.api.timeout.ms", "60000", "longest wait of a call that asks the cluster"),
    ("enable.auto.commit", "true", "commit positions at polls, before partitions are given up, and at the end"),
    ("exclude.internal.topics", "true", "a pattern does not match the brokers' own topics"),
    ("group.id", "", "the group"),
    ("group.instance.id", "", "name of a static member: it may restart without a rebalance (KIP-345)"),
    ("group.protocol", "classic", "classic, or consumer for the protocol of KIP-848"),
    ("group.remote.assignor", "", "consumer protocol: the coordinator's assignor, uniform or range"),
    ("heartbeat.interval.ms", "3000", "classic: time between two heartbeats"),
    ("max.poll.interval.ms", "300000", "a member that does not poll for so long leaves"),
    ("partition.assignment.strategy", "range,cooperative-sticky", "classic: assignors, the preferred one first"),
    ("session.timeout.ms", "45000", "classic: a member not heard of for so long is dead"),
];

/// The newest version of JoinGroup that is spoken.
pub const JOIN_VERSION_MAX: i16 = 9;

/// Which protocol a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// JoinGroup and SyncGroup; a member assigns.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848); the coordinator assigns.
    Consumer,
}

/// A group consumer's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How it reads.
    pub consumer: ConsumerConfig,
    /// `group.id`; without one nothing can be committed.
    pub group_id: Arc<str>,
    /// `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// `group.protocol`.
    pub protocol: GroupProtocol,
    /// `group.remote.assignor`.
    pub remote_assignor: Option<Arc<str>>,
    /// `partition.assignment.strategy`.
    pub assignors: Vec<Assignor>,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`.
    pub poll_interval_max: Duration,
    /// `enable.auto.commit`.
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// `default.api.timeout.ms`.
    pub api_timeout: Duration,
    /// `exclude.internal.topics`.
    pub exclude_internal: bool,
    /// No setting of Kafka's: the newest version of JoinGroup that it speaks, as an older client does.
    pub join_version_max: i16,
    /// No setting of Kafka's: `cooperative-sticky` believes a member that claims partitions of a generation before the
    /// newest, as since Kafka 3.4.1.
    pub older_claims_count: bool,
}

/// How many members of this process have got a name of their own.
static NAMED: AtomicU64 = AtomicU64::new(0);

/// The `client.id` of a consumer that was given none, as Kafka's consumer takes it: a static member is called as its
/// instance, others are numbered in their process. Coordinators show it, and begin member ids with it.
fn own_client_id(group: &str, instance_id: Option<&str>) -> String {
    let number = || (NAMED.fetch_add(1, Ordering::Relaxed) + 1).to_string();
    format!("consumer-{group}-{}", instance_id.map_or_else(number, str::to_owned))
}

/// Every setting that a group's consumer takes.
pub fn group_settings() -> impl Iterator<Item = &'static Setting> + Clone {
    consumer_settings().chain(GROUP)
}

impl GroupConfig {
    /// From Kafka's properties.
    ///
    /// # Errors
    /// An unknown name, a value that does not parse, or settings that contradict each other, as Kafka's consumer
    /// refuses them.
    pub fn from_properties(given: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let values = Values::new(group_settings(), given)?;
        let of_consumer = given.iter().filter(|(name, _)| consumer_settings().any(|(known, _, _)| known == name));
        let of_consumer = of_consumer.map(|(name, value)| (name.clone(), value.clone())).collect();
        let optional = |name| Some(values.text(name)).filter(|text| !text.is_empty()).map(Arc::from);
        let protocol = match values.text("group.protocol").to_ascii_lowercase().as_str() {
            "classic" => GroupProtocol::Classic,
            "consumer" => GroupProtocol::Consumer,
            other => {
                return Err(values.refuse("group.protocol", &format!("expected classic or consumer, found `{other}`")));
            }
        };
        let names = values.text("partition.assignment.strategy").split(',').map(str::trim);
        let assignors = names.map(|name| {
            name.parse().map_err(|problem: String| values.refuse("partition.assignment.strategy", &problem))
        });
        let flag = |name| values.parse(name, "true or false");
        let mut config = Self {
            consumer: ConsumerConfig { validate_positions: true, ..ConsumerConfig::from_properties(&of_consumer)? },
            group_id: values.text("group.id").into(),
            instance_id: optional("group.instance.id"),
            protocol,
            remote_assignor: optional("group.remote.assignor"),
            assignors: assignors.collect::<Result<_, _>>()?,
            session_timeout: values.ms("session.timeout.ms")?,
            heartbeat_interval: values.ms("heartbeat.interval.ms")?,
            poll_interval_max: values.ms("max.poll.interval.ms")?,
            auto_commit: flag("enable.auto.commit")?,
            auto_commit_interval: values.ms("auto.commit.interval.ms")?,
            api_timeout: values.ms("default.api.timeout.ms")?,
            exclude_internal: flag("exclude.internal.topics")?,
            join_version_max: JOIN_VERSION_MAX,
            older_claims_count: true,
        };
        if config.group_id.is_empty() && config.auto_commit && given.contains_key("enable.auto.commit") {
            return Err(values.refuse("enable.auto.commit", "needs group.id"));
        }
        if config.heartbeat_interval >= config.session_timeout && protocol == GroupProtocol::Classic {
            return Err(values.refuse("heartbeat.interval.ms", "must be less than session.timeout.ms"));
        }
        // The coordinator decides these in the consumer protocol (KIP-848).
        let classic_only = ["heartbeat.interval.ms", "partition.assignment.strategy", "session.timeout.ms"];
        let misplaced = classic_only.iter().find(|name| given.contains_key(**name));
        if let Some(name) = misplaced.filter(|_| protocol == GroupProtocol::Consumer) {
            return Err(values.refuse(name, "cannot be set with group.protocol=consumer"));
        }
        if config.remote_assignor.is_some() && protocol == GroupProtocol::Classic {
            return Err(values.refuse("group.remote.assignor", "needs group.protocol=consumer"));
        }
        if config.consumer.cluster.client_id.is_empty() && !config.group_id.is_empty() {
            config.consumer.cluster.client_id = own_client_id(&config.group_id, config.instance_id.as_deref());
        }
        Ok(config)
    }

    /// `max.poll.interval.ms` on the wire.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        i32::try_from(self.poll_interval_max.as_millis()).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(given: &[(&str, &str)]) -> Result<GroupConfig, String> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        GroupConfig::from_properties(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_kafkas() {
        let config = group(&[("group.id", "g"), ("max.poll.records", "7")]).unwrap();
        assert_eq!(config.assignors, [Assignor::Range, Assignor::CooperativeSticky]);
        assert_eq!((config.rebalance_timeout_ms(), config.auto_commit), (300_000, true));
        assert_eq!((config.consumer.poll_records_max, config.instance_id), (7, None));
    }

    #[test]
    fn a_member_without_a_client_id_has_one_of_its_own() {
        let name = |given: &[(&str, &str)]| group(given).unwrap().consumer.cluster.client_id;
        let numbers = [(); 2].map(|()| name(&[("group.id", "g")]).strip_prefix("consumer-g-").unwrap().parse::<u64>());
        assert!(numbers[0].clone().unwrap() < numbers[1].clone().unwrap(), "{numbers:?}");
        assert_eq!(name(&[("group.id", "g"), ("group.instance.id", "i")]), "consumer-g-i");
        assert_eq!(name(&[("group.id", "g"), ("client.id", "c")]), "c");
    }

    #[test]
    fn faulty_settings_are_named_with_what_was_expected() {
        let strategy = "partition.assignment.strategy";
        for (given, expected) in [
            (("group.ids", "g"), "group.ids: is not a setting; did you mean `group.id`?"),
            (("group.protocol", "new"), "group.protocol: expected classic or consumer, found `new`"),
            (("enable.auto.commit", "true"), "enable.auto.commit: needs group.id"),
            (("heartbeat.interval.ms", "45000"), "heartbeat.interval.ms: must be less than session.timeout.ms"),
            (("group.remote.assignor", "range"), "group.remote.assignor: needs group.protocol=consumer"),
            (
                (strategy, "best"),
                "partition.assignment.strategy: expected range, roundrobin, sticky or cooperative-sticky, found `best`",
            ),
        ] {
            assert_eq!(group(&[given]).unwrap_err(), expected);
        }
        let refused = group(&[("group.protocol", "consumer"), ("session.timeout.ms", "6000")]).unwrap_err();
        assert_eq!(refused, "session.timeout.ms: cannot be set with group.protocol=consumer");
    }
}
