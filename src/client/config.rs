//! Settings of clients: Kafka's names, defaults and units; a name or value that means nothing is refused.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use thiserror::Error;

use crate::{base::suggest, protocol::records::Codec};

/// A setting that cannot be taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{name}: {problem}")]
pub struct ConfigError {
    /// The setting.
    pub name: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// One row of a table of settings: name, default, meaning.
pub type Setting = (&'static str, &'static str, &'static str);

/// What producers and consumers both take.
const COMMON: &[Setting] = &[
    ("client.id", "", "name of the client in requests"),
    ("metadata.max.age.ms", "300000", "metadata older than this is asked for again"),
    ("reconnect.backoff.ms", "50", "wait after a failed connection"),
    ("request.timeout.ms", "30000", "a request not answered for so long ends its connection"),
    ("retry.backoff.max.ms", "1000", "longest wait before trying again"),
    ("retry.backoff.ms", "100", "wait before trying again; doubles with each failure"),
    ("socket.connection.setup.timeout.ms", "10000", "longest wait for a connection"),
];

/// What a producer takes besides [`COMMON`].
const PRODUCER: &[Setting] = &[
    ("acks", "all", "who must have a record before it counts as sent: 0, 1 or all"),
    ("batch.size", "16384", "largest batch, in bytes"),
    ("buffer.memory", "33554432", "most bytes that wait to be sent"),
    ("compression.type", "none", "none, gzip, snappy, lz4 or zstd"),
    ("delivery.timeout.ms", "120000", "a record not acknowledged for so long has failed"),
    ("enable.idempotence", "true", "brokers recognise repeated batches"),
    ("linger.ms", "5", "wait for more records before a batch is sent"),
    ("max.in.flight.requests.per.connection", "5", "requests to one broker that wait for their answers"),
    ("max.block.ms", "60000", "longest wait of a send for metadata or for room in the buffer"),
    ("max.request.size", "1048576", "largest request, in bytes"),
    ("retries", "2147483647", "how often a batch is tried again"),
];

/// What a consumer takes besides [`COMMON`].
const CONSUMER: &[Setting] = &[
    ("auto.offset.reset", "latest", "where to begin without a valid position: earliest, latest or none"),
    ("check.crcs", "true", "check that records were not damaged on their way"),
    ("fetch.max.bytes", "52428800", "most bytes of one fetch"),
    ("fetch.max.wait.ms", "500", "how long a broker waits for fetch.min.bytes"),
    ("fetch.min.bytes", "1", "fewest bytes that end the wait"),
    ("max.partition.fetch.bytes", "1048576", "most bytes of one partition in one fetch"),
    ("max.poll.records", "500", "most records of one poll"),
];

/// Every setting that a producer takes.
pub fn producer_settings() -> impl Iterator<Item = &'static Setting> + Clone {
    COMMON.iter().chain(PRODUCER)
}

/// Every setting that a consumer takes.
pub fn consumer_settings() -> impl Iterator<Item = &'static Setting> + Clone {
    COMMON.iter().chain(CONSUMER)
}

/// Who must have a record before the producer counts it as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody; there is no answer.
    None,
    /// The leader.
    Leader,
    /// The whole ISR.
    All,
}

impl Acks {
    /// As on the wire.
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Where a consumer begins when it has no valid position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record there is.
    Earliest,
    /// Behind the last.
    Latest,
    /// Nowhere: the application gets an error.
    None,
}

/// What every client needs to know of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// `client.id`.
    pub client_id: String,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connect_timeout: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_age_max: Duration,
}

/// A producer's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// Of its cluster.
    pub cluster: ClusterConfig,
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`.
    pub idempotent: bool,
    /// `linger.ms`.
    pub linger: Duration,
    /// `batch.size`.
    pub batch_bytes: usize,
    /// `buffer.memory`.
    pub buffer_bytes: usize,
    /// `max.block.ms`.
    pub block_max: Duration,
    /// `max.request.size`.
    pub request_bytes_max: usize,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `retries`.
    pub retries: u32,
    /// `max.in.flight.requests.per.connection`.
    pub in_flight_max: usize,
    /// `compression.type`.
    pub codec: Codec,
}

/// A consumer's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// Of its cluster.
    pub cluster: ClusterConfig,
    /// `auto.offset.reset`.
    pub reset: OffsetReset,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `fetch.max.wait.ms`.
    pub fetch_wait_max: Duration,
    /// `fetch.min.bytes`.
    pub fetch_bytes_min: i32,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_bytes_max: i32,
    /// `max.poll.records`.
    pub poll_records_max: usize,
    /// Tell brokers the epoch of what was read, so that a truncation is noticed (KIP-320). No setting of Kafka's.
    pub truncation_check: bool,
    /// Ask a new leader about a position before reading on from it (KIP-320), as a group's consumer does. No setting
    /// of Kafka's.
    pub validate_positions: bool,
}

impl ProducerConfig {
    /// From Kafka's properties.
    ///
    /// # Errors
    /// An unknown name, a value that does not parse, or settings that contradict each other, as Kafka's producer
    /// refuses them.
    pub fn from_properties(given: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let values = Values::new(producer_settings(), given)?;
        let acks = match values.text("acks") {
            "0" => Acks::None,
            "1" => Acks::Leader,
            "all" | "-1" => Acks::All,
            other => return Err(values.refuse("acks", &format!("expected 0, 1 or all, found `{other}`"))),
        };
        let in_flight_max = values.at_least("max.in.flight.requests.per.connection", 1)?;
        let asked: bool = values.parse("enable.idempotence", "true or false")?;
        let retries: u32 = values.parse("retries", "a number")?;
        let conflict = match () {
            () if acks != Acks::All => Some("acks=all"),
            () if in_flight_max > 5 => Some("max.in.flight.requests.per.connection at most 5"),
            () if retries == 0 => Some("retries above 0"),
            () => None,
        };
        if let Some(needed) = conflict.filter(|_| asked && given.contains_key("enable.idempotence")) {
            return Err(values.refuse("enable.idempotence", &format!("needs {needed}")));
        }
        let cluster = values.cluster()?;
        let (linger, delivery_timeout) = (values.ms("linger.ms")?, values.ms("delivery.timeout.ms")?);
        if delivery_timeout < linger + cluster.request_timeout && given.contains_key("delivery.timeout.ms") {
            let problem = "must be at least linger.ms + request.timeout.ms";
            return Err(values.refuse("delivery.timeout.ms", problem));
        }
        let compression = values.text("compression.type");
        let codec = Codec::by_name(compression).ok_or_else(|| {
            let problem = format!("expected none, gzip, snappy, lz4 or zstd, found `{compression}`");
            values.refuse("compression.type", &problem)
        })?;
        Ok(Self {
            acks,
            idempotent: asked && conflict.is_none(),
            linger,
            batch_bytes: values.at_least("batch.size", 0)?,
            buffer_bytes: values.at_least("buffer.memory", 0)?,
            block_max: values.ms("max.block.ms")?,
            request_bytes_max: values.at_least("max.request.size", 0)?,
            delivery_timeout: delivery_timeout.max(linger + cluster.request_timeout),
            retries,
            in_flight_max,
            codec,
            cluster,
        })
    }
}

impl ConsumerConfig {
    /// From Kafka's properties.
    ///
    /// # Errors
    /// An unknown name or a value that does not parse.
    pub fn from_properties(given: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let values = Values::new(consumer_settings(), given)?;
        let reset = match values.text("auto.offset.reset") {
            "earliest" => OffsetReset::Earliest,
            "latest" => OffsetReset::Latest,
            "none" => OffsetReset::None,
            other => {
                let problem = format!("expected earliest, latest or none, found `{other}`");
                return Err(values.refuse("auto.offset.reset", &problem));
            }
        };
        Ok(Self {
            reset,
            check_crcs: values.parse("check.crcs", "true or false")?,
            fetch_wait_max: values.ms("fetch.max.wait.ms")?,
            fetch_bytes_min: values.parse("fetch.min.bytes", "a number of bytes")?,
            fetch_bytes_max: values.parse("fetch.max.bytes", "a number of bytes")?,
            partition_bytes_max: values.parse("max.partition.fetch.bytes", "a number of bytes")?,
            poll_records_max: values.at_least("max.poll.records", 1)?,
            truncation_check: true,
            validate_positions: false,
            cluster: values.cluster()?,
        })
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self::from_properties(&BTreeMap::new()).expect("the defaults are right")
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self::from_properties(&BTreeMap::new()).expect("the defaults are right")
    }
}

/// Given values over the defaults of a table.
pub(super) struct Values<'a>(BTreeMap<&'static str, &'a str>);

impl<'a> Values<'a> {
    pub(super) fn new(
        table: impl Iterator<Item = &'static Setting> + Clone,
        given: &'a BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut values: BTreeMap<&'static str, &'a str> =
            table.clone().map(|(name, default, _)| (*name, *default)).collect();
        for (name, value) in given {
            let Some((known, _, _)) = table.clone().find(|(known, _, _)| known == name) else {
                let nearest = suggest::nearest(name, table.map(|(known, _, _)| *known));
                let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
                return Err(ConfigError { name: name.clone(), problem: format!("is not a setting{hint}") });
            };
            values.insert(known, value.trim());
        }
        Ok(Self(values))
    }

    pub(super) fn text(&self, name: &'static str) -> &'a str {
        self.0.get(name).copied().expect("the setting is in the table")
    }

    pub(super) fn refuse(&self, name: &str, problem: &str) -> ConfigError {
        ConfigError { name: name.to_owned(), problem: problem.to_owned() }
    }

    pub(super) fn parse<T: FromStr>(&self, name: &'static str, what: &str) -> Result<T, ConfigError> {
        let text = self.text(name);
        text.parse().map_err(|_| self.refuse(name, &format!("expected {what}, found `{text}`")))
    }

    pub(super) fn at_least(&self, name: &'static str, least: usize) -> Result<usize, ConfigError> {
        let number = self.parse(name, "a number")?;
        if number >= least { Ok(number) } else { Err(self.refuse(name, &format!("must be at least {least}"))) }
    }

    pub(super) fn ms(&self, name: &'static str) -> Result<Duration, ConfigError> {
        self.parse(name, "a number of milliseconds").map(Duration::from_millis)
    }

    fn cluster(&self) -> Result<ClusterConfig, ConfigError> {
        Ok(ClusterConfig {
            client_id: self.text("client.id").to_owned(),
            request_timeout: self.ms("request.timeout.ms")?,
            connect_timeout: self.ms("socket.connection.setup.timeout.ms")?,
            reconnect_backoff: self.ms("reconnect.backoff.ms")?,
            retry_backoff: self.ms("retry.backoff.ms")?,
            retry_backoff_max: self.ms("retry.backoff.max.ms")?,
            metadata_age_max: self.ms("metadata.max.age.ms")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(given: &[(&str, &str)]) -> Result<ProducerConfig, String> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ProducerConfig::from_properties(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn a_producer_is_idempotent_unless_its_settings_contradict_that() {
        assert!(producer(&[]).unwrap().idempotent);
        assert!(!producer(&[("acks", "1")]).unwrap().idempotent);
        assert!(!producer(&[("retries", "0")]).unwrap().idempotent);
        let refused = producer(&[("acks", "1"), ("enable.idempotence", "true")]).unwrap_err();
        assert_eq!(refused, "enable.idempotence: needs acks=all");
    }

    #[test]
    fn faulty_settings_are_named_with_what_was_expected() {
        for (given, expected) in [
            (("ack", "1"), "ack: is not a setting; did you mean `acks`?"),
            (("acks", "2"), "acks: expected 0, 1 or all, found `2`"),
            (("linger.ms", "soon"), "linger.ms: expected a number of milliseconds, found `soon`"),
            (("delivery.timeout.ms", "10"), "delivery.timeout.ms: must be at least linger.ms + request.timeout.ms"),
            (("compression.type", "zip"), "compression.type: expected none, gzip, snappy, lz4 or zstd, found `zip`"),
        ] {
            assert_eq!(producer(&[given]).unwrap_err(), expected);
        }
    }
}
