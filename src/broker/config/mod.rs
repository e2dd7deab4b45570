//! A node's configuration: Kafka's property names outside, typed fields inside, checked once.
//!
//! Not here: topic configs, which are records of the metadata log (their defaults come from here by their synonyms).

mod groups;
mod properties;

use std::{fmt, str::FromStr, time::Duration};

pub use groups::GroupConfig;
pub use properties::{Properties, Property};
use thiserror::Error;

use crate::{base::NodeId, controller::configs::broker as table};

/// A property that cannot be accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{origin}: {message}")]
pub struct ConfigError {
    /// `file:line`, or the name of the property where it was not given.
    pub origin: String,
    /// What is wrong and what is expected.
    pub message: String,
}

/// A name, host and port from `listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener, as `PLAINTEXT`.
    pub listener: String,
    /// Host; empty: all interfaces.
    pub host: String,
    /// Port; 0: the system chooses.
    pub port: u16,
}

impl Endpoint {
    /// `host:port`, as the network seam takes it.
    pub fn address(&self) -> String {
        if self.host.is_empty() { format!("0.0.0.0:{}", self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.listener, self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected `LISTENER://host:port`, found `{text}`");
        let (listener, address) = text.trim().split_once("://").ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        Ok(Self { listener: listener.to_owned(), host: host.to_owned(), port })
    }
}

/// Everything a node acts on, resolved. The fields are named after their properties.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// `node.id`.
    pub node_id: NodeId,
    /// `process.roles` has `broker`.
    pub is_broker: bool,
    /// `process.roles` has `controller`.
    pub is_controller: bool,
    /// Where clients and brokers connect (`listeners` without the controller's).
    pub listeners: Vec<Endpoint>,
    /// What clients are told (`advertised.listeners`).
    pub advertised_listeners: Vec<Endpoint>,
    /// Where the controller listens, if this node is one.
    pub controller_listener: Option<Endpoint>,
    /// `controller.quorum.voters`: id and address of each.
    pub quorum_voters: Vec<(NodeId, String)>,
    /// Name of the listener that brokers use among themselves.
    pub inter_broker_listener: String,
    /// First of `log.dirs`.
    pub log_dir: String,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `num.network.threads`: at most so many threads serve requests, and at most one for two processors of the host.
    pub num_network_threads: usize,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: usize,
    /// `connections.max.idle.ms`.
    pub connections_max_idle: Duration,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_session_slots: usize,
    /// `broker.heartbeat.interval.ms`.
    pub broker_heartbeat_interval: Duration,
    /// `broker.session.timeout.ms`.
    pub broker_session_timeout: Duration,
    /// `initial.broker.registration.timeout.ms`.
    pub initial_registration_timeout: Duration,
    /// `controlled.shutdown.enable`.
    pub controlled_shutdown_enable: bool,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max: Duration,
    /// `replica.fetch.wait.max.ms`.
    pub replica_fetch_wait_max: Duration,
    /// `replica.fetch.min.bytes`.
    pub replica_fetch_min_bytes: i32,
    /// `replica.fetch.max.bytes`, for each partition.
    pub replica_fetch_max_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub replica_fetch_response_max_bytes: i32,
    /// `replica.fetch.backoff.ms`.
    pub replica_fetch_backoff: Duration,
    /// `replica.socket.timeout.ms`.
    pub replica_socket_timeout: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_checkpoint_interval: Duration,
    /// `log.retention.ms`, or `.minutes`, or `.hours`; -1: for ever.
    pub retention_ms: i64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_point_checkpoint_interval: Duration,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub leader_imbalance_check_interval: Duration,
    /// `unclean.leader.election.interval.ms`, internal in Kafka.
    pub unclean_election_interval: Duration,
    /// What the group coordinators act on.
    pub groups: GroupConfig,
    /// All properties as given, for DescribeConfigs and the defaults of topics.
    pub properties: Properties,
}

impl NodeConfig {
    /// Checks and resolves `properties`. Names that Kafka does not have are left alone; see [`unknown_names`].
    ///
    /// # Errors
    /// A missing or contradictory property, or a value that is not of its type.
    pub fn resolve(properties: Properties) -> Result<Self, ConfigError> {
        let read = Reading { properties: &properties };
        let roles = read.list("process.roles");
        if let Some(unknown) = roles.iter().find(|role| !matches!(role.as_str(), "broker" | "controller")) {
            return Err(read.error("process.roles", format!("expected broker and/or controller, found `{unknown}`")));
        }
        if roles.is_empty() {
            return Err(read.error("process.roles", "expected broker, controller or both; it is not set".to_owned()));
        }
        let (is_broker, is_controller) =
            (roles.iter().any(|role| role == "broker"), roles.iter().any(|role| role == "controller"));
        let node_id = NodeId(read.number("node.id", 0)?);
        let controller_names = read.list("controller.listener.names");
        let (controller_listeners, listeners): (Vec<_>, Vec<_>) = read
            .endpoints("listeners")?
            .into_iter()
            .partition(|endpoint| controller_names.contains(&endpoint.listener));
        if is_broker && listeners.is_empty() {
            return Err(read.error("listeners", "a broker needs a listener besides the controller's".to_owned()));
        }
        if is_controller && controller_listeners.is_empty() {
            let names = controller_names.join(",");
            let message = format!("a controller needs a listener of controller.listener.names (`{names}`)");
            return Err(read.error("listeners", message));
        }
        let mut advertised = read.endpoints("advertised.listeners")?;
        advertised.retain(|endpoint| !controller_names.contains(&endpoint.listener));
        if advertised.is_empty() {
            advertised.clone_from(&listeners);
        }
        let inter_broker_listener = match properties.value("inter.broker.listener.name") {
            Some(name) => name.to_owned(),
            None => listeners.first().map_or_else(String::new, |endpoint| endpoint.listener.clone()),
        };
        if is_broker && !advertised.iter().any(|endpoint| endpoint.listener == inter_broker_listener) {
            let message = format!("no advertised listener is called `{inter_broker_listener}`");
            return Err(read.error("inter.broker.listener.name", message));
        }
        Ok(Self {
            node_id,
            is_broker,
            is_controller,
            listeners,
            advertised_listeners: advertised,
            controller_listener: controller_listeners.into_iter().next(),
            quorum_voters: read.voters()?,
            inter_broker_listener,
            log_dir: read.log_dir(),
            rack: properties.value("broker.rack").map(str::to_owned),
            num_network_threads: read.number("num.network.threads", 1)?,
            socket_request_max_bytes: read.number("socket.request.max.bytes", 1)?,
            connections_max_idle: read.millis("connections.max.idle.ms")?,
            request_timeout: read.millis("request.timeout.ms")?,
            auto_create_topics_enable: read.boolean("auto.create.topics.enable")?,
            num_partitions: read.number("num.partitions", 1)?,
            default_replication_factor: read.number("default.replication.factor", 1)?,
            fetch_max_bytes: read.number("fetch.max.bytes", 1024)?,
            fetch_session_slots: read.number("max.incremental.fetch.session.cache.slots", 0)?,
            broker_heartbeat_interval: read.millis("broker.heartbeat.interval.ms")?,
            broker_session_timeout: read.millis("broker.session.timeout.ms")?,
            initial_registration_timeout: read.millis("initial.broker.registration.timeout.ms")?,
            controlled_shutdown_enable: read.boolean("controlled.shutdown.enable")?,
            replica_lag_time_max: read.millis("replica.lag.time.max.ms")?,
            replica_fetch_wait_max: read.millis("replica.fetch.wait.max.ms")?,
            replica_fetch_min_bytes: read.number("replica.fetch.min.bytes", 0)?,
            replica_fetch_max_bytes: read.number("replica.fetch.max.bytes", 0)?,
            replica_fetch_response_max_bytes: read.number("replica.fetch.response.max.bytes", 0)?,
            replica_fetch_backoff: read.millis("replica.fetch.backoff.ms")?,
            replica_socket_timeout: read.millis("replica.socket.timeout.ms")?,
            high_watermark_checkpoint_interval: read.millis("replica.high.watermark.checkpoint.interval.ms")?,
            retention_ms: read.retention_ms()?,
            retention_check_interval: Duration::from_millis(read.number("log.retention.check.interval.ms", 1)?),
            producer_id_expiration: read.millis("producer.id.expiration.ms")?,
            recovery_point_checkpoint_interval: read.millis("log.flush.offset.checkpoint.interval.ms")?,
            auto_leader_rebalance_enable: read.boolean("auto.leader.rebalance.enable")?,
            leader_imbalance_check_interval: Duration::from_secs(
                read.number("leader.imbalance.check.interval.seconds", 1)?,
            ),
            unclean_election_interval: read.millis("unclean.leader.election.interval.ms")?,
            groups: GroupConfig::read(&read)?,
            properties,
        })
    }

    /// The advertised endpoint that other brokers use.
    pub fn inter_broker_endpoint(&self) -> Option<&Endpoint> {
        self.advertised_listeners.iter().find(|endpoint| endpoint.listener == self.inter_broker_listener)
    }
}

/// Names in `properties` that Kafka does not have, each with the nearest that it has.
pub fn unknown_names(properties: &Properties) -> Vec<(String, Option<&'static str>)> {
    let known = |name: &str| table::definition(name).is_some() || INTERNAL.iter().any(|(known, _)| *known == name);
    properties
        .iter()
        .filter(|(name, _)| !known(name))
        .map(|(name, _)| {
            (name.to_owned(), crate::base::suggest::nearest(name, table::TABLE.iter().map(|row| row.name)))
        })
        .collect()
}

/// Configs that Kafka keeps to itself: accepted, but not listed by DescribeConfigs.
const INTERNAL: &[(&str, &str)] =
    &[("group.consumer.regex.refresh.interval.ms", "600000"), ("unclean.leader.election.interval.ms", "300000")];

/// Reads typed values; a property that was not given has the default of the table.
struct Reading<'a> {
    properties: &'a Properties,
}

impl Reading<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.properties.value(name).or_else(|| {
            let internal = INTERNAL.iter().find(|(known, _)| *known == name).map(|(_, default)| *default);
            internal.or_else(|| table::definition(name).and_then(|row| row.default))
        })
    }

    fn error(&self, name: &str, message: String) -> ConfigError {
        let origin = self.properties.find(name).map_or("configuration", |property| &property.origin);
        ConfigError { origin: origin.to_owned(), message: format!("{name}: {message}") }
    }

    fn number<T: FromStr + PartialOrd + fmt::Display>(&self, name: &str, least: T) -> Result<T, ConfigError> {
        let Some(text) = self.text(name) else {
            return Err(self.error(name, "expected a number; it is not set".to_owned()));
        };
        match text.trim().parse() {
            Ok(number) if number >= least => Ok(number),
            Ok(number) => Err(self.error(name, format!("{number} is below the least value, {least}"))),
            Err(_) => Err(self.error(name, format!("expected a number, found `{text}`"))),
        }
    }

    fn millis(&self, name: &str) -> Result<Duration, ConfigError> {
        self.number(name, 0).map(Duration::from_millis)
    }

    /// The finest unit that is set counts.
    fn retention_ms(&self) -> Result<i64, ConfigError> {
        let units = [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)];
        let (name, unit_ms) = units.into_iter().find(|(name, _)| self.text(name).is_some()).unwrap_or(units[2]);
        let number: i64 = self.number(name, -1)?;
        Ok(if number < 0 { -1 } else { number.saturating_mul(unit_ms) })
    }

    fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        match self.text(name).map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            other => Err(self.error(name, format!("expected true or false, found `{}`", other.unwrap_or("")))),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or("");
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    }

    fn endpoints(&self, name: &str) -> Result<Vec<Endpoint>, ConfigError> {
        self.list(name).iter().map(|text| text.parse().map_err(|message| self.error(name, message))).collect()
    }

    fn voters(&self) -> Result<Vec<(NodeId, String)>, ConfigError> {
        let name = "controller.quorum.voters";
        let voter = |text: &String| {
            let (id, address) = text.split_once('@')?;
            Some((NodeId(id.parse().ok()?), address.to_owned()))
        };
        self.list(name)
            .iter()
            .map(|text| voter(text).ok_or_else(|| self.error(name, format!("expected `id@host:port`, found `{text}`"))))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|voters| match voters.len() {
                0 => Err(self.error(name, "expected `id@host:port`; it is not set".to_owned())),
                1 => Ok(voters),
                many => Err(self.error(name, format!("one voter is supported so far, found {many}"))),
            })
    }

    fn log_dir(&self) -> String {
        let dirs = self.list("log.dirs");
        let dir = dirs.into_iter().next().or_else(|| self.list("log.dir").into_iter().next());
        dir.unwrap_or_else(|| "kafka-logs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMBINED: &str = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@h:9093\n\
        controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://h:9092,CONTROLLER://h:9093\nlog.dirs=/d\n";

    fn resolve(text: &str) -> Result<NodeConfig, ConfigError> {
        NodeConfig::resolve(Properties::parse(text, "f").expect("the text is well formed"))
    }

    #[test]
    fn a_combined_node_has_both_listeners_and_kafkas_defaults() {
        let config = resolve(COMBINED).unwrap();
        assert!(config.is_broker && config.is_controller);
        assert_eq!(config.listeners, config.advertised_listeners);
        assert_eq!(config.controller_listener.unwrap().address(), "h:9093");
        assert_eq!(config.quorum_voters, [(NodeId(1), "h:9093".to_owned())]);
        assert_eq!(config.replica_lag_time_max, Duration::from_secs(30));
        assert_eq!(config.log_dir, "/d");
    }

    #[test]
    fn how_long_records_stay_is_told_in_three_units() {
        let cases = [
            ("", 604_800_000),
            ("log.retention.hours=1", 3_600_000),
            ("log.retention.hours=-1", -1),
            ("log.retention.hours=1\nlog.retention.minutes=2", 120_000),
            ("log.retention.minutes=2\nlog.retention.ms=3", 3),
        ];
        for (lines, retention_ms) in cases {
            assert_eq!(resolve(&format!("{COMBINED}{lines}\n")).unwrap().retention_ms, retention_ms, "{lines}");
        }
    }

    #[test]
    fn a_wrong_value_is_named_by_file_line_and_property() {
        let cases = [
            ("num.partitions=0", "f:7: num.partitions: 0 is below the least value, 1"),
            ("num.partitions=x", "f:7: num.partitions: expected a number, found `x`"),
            ("process.roles=zoo", "f:7: process.roles: expected broker and/or controller, found `zoo`"),
            ("auto.create.topics.enable=yes", "f:7: auto.create.topics.enable: expected true or false, found `yes`"),
            ("listeners=h:1", "f:7: listeners: expected `LISTENER://host:port`, found `h:1`"),
            ("controller.quorum.voters=1", "f:7: controller.quorum.voters: expected `id@host:port`, found `1`"),
        ];
        for (line, message) in cases {
            assert_eq!(resolve(&format!("{COMBINED}{line}\n")).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_nearest_right_one() {
        let properties = Properties::parse("replica.lag.tme.max.ms=1\nnode.id=1", "f").unwrap();
        let unknown = unknown_names(&properties);
        assert_eq!(unknown, [("replica.lag.tme.max.ms".to_owned(), Some("replica.lag.time.max.ms"))]);
    }
}
