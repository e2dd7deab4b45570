//! The settings that a promise rests on, by Kafka's names, each where Kafka looks for it: topic, broker or producer.

use std::collections::{BTreeMap, btree_map::Entry};

use super::BUDGETS;
use crate::{
    base::suggest::nearest,
    broker::config::Properties,
    client::{ProducerConfig, config::Acks, config::producer_settings},
    controller::configs::topic::{TOPIC, topic_config},
    scenario::{self, Resolved, action::check_topic_setting},
};

/// Replicas of a partition, if nothing says: what the examples of Kafka's documents have.
const REPLICAS: u64 = 3;
/// Most replicas: a scenario has at most so many brokers.
const REPLICAS_MAX: u64 = 9;

/// Settings of a topic, its brokers and its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `replication.factor`, if something says it.
    replicas: Option<u64>,
    /// The topic's.
    pub topic: BTreeMap<String, String>,
    /// The brokers'.
    pub broker: BTreeMap<String, String>,
    /// The producer's.
    pub producer: BTreeMap<String, String>,
    /// Behaviour of older releases: `era` and `switch.NAME`, as in a scenario.
    pub behaviour: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let none = BTreeMap::new;
        Self { replicas: None, topic: none(), broker: none(), producer: none(), behaviour: none() }
    }
}

impl Settings {
    /// Settings by name, wherever they belong: the topic's first, then the producer's, then the brokers'.
    ///
    /// # Errors
    /// A name that Kafka does not have, a value that it refuses, or a second value for the same name; said with the
    /// name and the nearest right one.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if name == "replication.factor" || name == "default.replication.factor" {
            let factor = replication_factor(name, value)?;
            return match self.replicas.replace(factor) {
                Some(given) if given != factor => Err(format!("{name} is given twice, as `{given}` and as `{factor}`")),
                _ => Ok(()),
            };
        }
        let settings = if name == "era" || name.starts_with("switch.") {
            &mut self.behaviour
        } else if topic_config(name).is_some() {
            check_topic_setting(name, value).map_err(|problem| format!("{name}={value}: {problem}"))?;
            &mut self.topic
        } else if producer_settings().any(|(known, ..)| *known == name) {
            &mut self.producer
        } else if is_brokers(name) {
            &mut self.broker
        } else {
            let all = TOPIC.iter().map(|config| config.name).chain(producer_settings().map(|(known, ..)| *known));
            let near = nearest(name, all.chain(["replication.factor"]));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("`{name}` is no setting of a topic, a producer or a broker{hint}"));
        };
        once(settings, name, value)
    }

    /// A broker's `server.properties`. Who a node is and where it listens and writes promises nothing and is left out.
    ///
    /// # Errors
    /// A name that Kafka does not have, a value that it refuses or a number of replicas that is none, with file and line.
    pub fn set_brokers(&mut self, properties: &Properties) -> Result<(), String> {
        for (name, property) in properties.iter() {
            let faulty = |problem: String| format!("{}: {problem}", property.origin);
            if name == "default.replication.factor" {
                // As a topic's settings: what `--set` says wins.
                let default = replication_factor(name, &property.value).map_err(faulty)?;
                self.replicas.get_or_insert(default);
            } else if let Some(config) = TOPIC.iter().find(|config| config.synonym == Some(name)) {
                // As the default of the topic: what `--set` says of the topic wins, as in Kafka.
                check_topic_setting(config.name, &property.value).map_err(faulty)?;
                self.topic.entry(config.name.to_owned()).or_insert_with(|| property.value.clone());
            } else if !is_brokers(name) {
                let near = nearest(name, TOPIC.iter().filter_map(|config| config.synonym));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(faulty(format!("`{name}` is no property of a broker{hint}")));
            } else if !is_of_one_node(name) {
                once(&mut self.broker, name, &property.value).map_err(faulty)?;
            }
        }
        let brokers = Self { broker: self.broker.clone(), ..Self::default() };
        brokers.check().map_err(|problem| placed(&problem, properties))
    }

    /// A producer's properties.
    ///
    /// # Errors
    /// A name that a producer does not have, with file and line.
    pub fn set_producer(&mut self, properties: &Properties) -> Result<(), String> {
        for (name, property) in properties.iter().filter(|(name, _)| *name != "bootstrap.servers") {
            let faulty = |problem: String| format!("{}: {problem}", property.origin);
            if !producer_settings().any(|(known, ..)| *known == name) {
                let near = nearest(name, producer_settings().map(|(known, ..)| *known));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(faulty(format!("`{name}` is no property of a producer{hint}")));
            }
            once(&mut self.producer, name, &property.value).map_err(faulty)?;
        }
        // What contradicts is told with the line of the property that asks for more.
        let read = ProducerConfig::from_properties(&self.producer);
        read.map(|_| ()).map_err(|error| placed(&error.to_string(), properties))
    }

    /// The settings of a scenario: of its first topic, its brokers, and its first producer.
    ///
    /// # Errors
    /// It has no topic or no producer, so that it promises nothing.
    pub fn of_scenario(resolved: &Resolved) -> Result<Self, String> {
        let scenario = &resolved.scenario;
        let topic = scenario.topics.first().ok_or("it has no topic, so nothing is promised")?;
        let producer = scenario
            .clients
            .iter()
            .find(|client| resolved.producers.iter().any(|(name, ..)| *name == client.name.value))
            .ok_or("it has no producer, so nothing is promised to anybody")?;
        let texts = |settings: &crate::scenario::file::Settings| -> BTreeMap<String, String> {
            settings.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect()
        };
        Ok(Self {
            replicas: topic.replicas.first().map(|replicas| replicas.len() as u64),
            topic: texts(&topic.config),
            broker: texts(&scenario.cluster.config),
            producer: texts(&producer.config),
            behaviour: scenario
                .era
                .iter()
                .map(|era| ("era".to_owned(), era.value.clone()))
                .chain(texts(&scenario.switches).into_iter().map(|(name, value)| (format!("switch.{name}"), value)))
                .collect(),
        })
    }

    /// What is set for `name`, wherever it belongs.
    pub fn value(&self, name: &str) -> Option<&str> {
        let places = [&self.topic, &self.broker, &self.producer, &self.behaviour];
        places.into_iter().find_map(|settings| settings.get(name)).map(String::as_str)
    }

    /// Whether the settings mean something and agree with each other.
    ///
    /// # Errors
    /// Those that do not, as Kafka says it, and sessions too short for any broker to stay in.
    pub fn check(&self) -> Result<(), String> {
        ProducerConfig::from_properties(&self.producer).map_err(|error| error.to_string())?;
        // Brokers and old behaviour are checked as a scenario is that has them.
        let text = BUDGETS[0].scenario(self, 1);
        let read = scenario::parse(&text).and_then(|read| scenario::resolve(&read, None));
        read.map(|_| ()).map_err(|problem| problem.message)?;
        let ms =
            |name: &str, default: u64| self.broker.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
        let session = ms("broker.session.timeout.ms", 9000);
        let heartbeat = ms("broker.heartbeat.interval.ms", 2000);
        if session < 2 * heartbeat {
            // Kafka starts with it, and writes an error into its log.
            return Err(format!(
                "broker.session.timeout.ms: {session} is less than twice broker.heartbeat.interval.ms={heartbeat}: \
                 brokers that live are fenced between two heartbeats"
            ));
        }
        Ok(())
    }

    /// `replication.factor`.
    pub fn replicas(&self) -> u64 {
        self.replicas.unwrap_or(REPLICAS)
    }

    /// `acks`.
    pub fn acks(&self) -> Acks {
        match self.producer.get("acks").map(String::as_str) {
            Some("0") => Acks::None,
            Some("1") => Acks::Leader,
            _ => Acks::All,
        }
    }

    /// `min.insync.replicas`, at most the number of replicas (KAFKA-15583).
    pub fn min_isr(&self) -> u64 {
        self.topic_value("min.insync.replicas").parse().unwrap_or(1).min(self.replicas())
    }

    /// `unclean.leader.election.enable`.
    pub fn is_unclean(&self) -> bool {
        self.topic_value("unclean.leader.election.enable") == "true"
    }

    /// Whether a record is on the platter before anybody is told of it: `flush.messages=1`.
    pub fn flushes_each_message(&self) -> bool {
        self.topic_value("flush.messages") == "1"
    }

    fn topic_value(&self, name: &str) -> &str {
        let config = topic_config(name).expect("a topic's setting of Kafka's");
        let given = self.topic.get(name).or_else(|| self.broker.get(config.synonym?));
        given.map_or(config.default, String::as_str)
    }

    /// The settings in one line, the ones that promises rest on first.
    pub fn line(&self) -> String {
        let acks = self.producer.get("acks").map_or("all", String::as_str);
        let is_capped = self.topic_value("min.insync.replicas").parse() != Ok(self.min_isr());
        let capped = if is_capped { format!(" (counts as {})", self.min_isr()) } else { String::new() };
        let mut parts = vec![
            format!("replication.factor={}", self.replicas()),
            format!("acks={acks}"),
            format!("min.insync.replicas={}{capped}", self.topic_value("min.insync.replicas")),
            format!("unclean.leader.election.enable={}", self.is_unclean()),
        ];
        if self.flushes_each_message() {
            parts.push("flush.messages=1".to_owned());
        }
        let said = ["acks", "min.insync.replicas", "unclean.leader.election.enable", "flush.messages"];
        let all = self.topic.iter().chain(&self.broker).chain(&self.producer).chain(&self.behaviour);
        let more = all.filter(|(name, _)| !said.contains(&name.as_str()));
        parts.extend(more.map(|(name, value)| format!("{name}={value}")));
        parts.join(" ")
    }
}

/// A problem with the line of the property that it begins with, if that is one of these.
fn placed(problem: &str, properties: &Properties) -> String {
    let at = properties.iter().find(|(name, _)| problem.starts_with(&format!("{name}:")));
    at.map_or_else(|| problem.to_owned(), |(_, property)| format!("{}: {problem}", property.origin))
}

fn replication_factor(name: &str, value: &str) -> Result<u64, String> {
    let count = value.parse().ok().filter(|count| (1..=REPLICAS_MAX).contains(count));
    count.ok_or_else(|| format!("{name}: expected 1 to {REPLICAS_MAX}, found `{value}`"))
}

fn once(settings: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<(), String> {
    match settings.entry(name.to_owned()) {
        Entry::Occupied(given) if given.get() != value => {
            Err(format!("{name} is given twice, as `{}` and as `{value}`", given.get()))
        }
        Entry::Occupied(_) => Ok(()),
        Entry::Vacant(free) => {
            free.insert(value.to_owned());
            Ok(())
        }
    }
}

fn is_brokers(name: &str) -> bool {
    let mut properties = Properties::default();
    properties.set(name, "", name);
    crate::broker::config::unknown_names(&properties).is_empty()
}

/// Whether a broker's property says who and where it is, which a scenario decides.
fn is_of_one_node(name: &str) -> bool {
    name == "broker.id" || crate::scenario::RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &[(&str, &str)]) -> Result<Settings, String> {
        let mut settings = Settings::default();
        given.iter().try_for_each(|(name, value)| settings.set(name, value))?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn each_name_goes_where_kafka_looks_for_it() {
        let found = settings(&[
            ("acks", "1"),
            ("enable.idempotence", "false"),
            ("min.insync.replicas", "2"),
            ("replication.factor", "5"),
            ("replica.lag.time.max.ms", "1000"),
        ])
        .unwrap();
        assert_eq!((found.acks(), found.min_isr(), found.replicas()), (Acks::Leader, 2, 5));
        assert_eq!(found.broker.keys().collect::<Vec<_>>(), ["replica.lag.time.max.ms"]);
        assert_eq!(
            found.line(),
            "replication.factor=5 acks=1 min.insync.replicas=2 unclean.leader.election.enable=false \
             replica.lag.time.max.ms=1000 enable.idempotence=false"
        );
    }

    #[test]
    fn what_contradicts_or_means_nothing_is_told() {
        for (given, words) in [
            (&[("min.insync.replica", "2")][..], "did you mean `min.insync.replicas`?"),
            (&[("min.insync.replicas", "0")], "min.insync.replicas=0"),
            (&[("replication.factor", "2"), ("replication.factor", "3")], "given twice, as `2` and as `3`"),
            (&[("replication.factor", "0")], "expected 1 to 9, found `0`"),
            (&[("acks", "1"), ("acks", "all")], "acks is given twice, as `1` and as `all`"),
            (&[("acks", "1"), ("enable.idempotence", "true")], "idempotence"),
            (&[("acks", "2")], "acks"),
            (&[("broker.session.timeout.ms", "100")], "100 is less than twice broker.heartbeat.interval.ms=2000"),
        ] {
            let problem = settings(given).unwrap_err();
            assert!(problem.contains(words), "{given:?}: {problem}");
        }
    }

    #[test]
    fn files_are_read_with_the_line_of_what_is_wrong() {
        let broker = "broker.id=1\nlisteners=PLAINTEXT://:9092\nmin.insync.replicas=2\ndefault.replication.factor=3\n";
        let mut found = Settings::default();
        found.set_brokers(&Properties::parse(broker, "server.properties").unwrap()).unwrap();
        assert_eq!((found.min_isr(), found.replicas(), found.broker.len()), (2, 3, 0));

        let wrong = Properties::parse("acks=all\n\nretrys=3\n", "producer.properties").unwrap();
        let problem = Settings::default().set_producer(&wrong).unwrap_err();
        assert_eq!(problem, "producer.properties:3: `retrys` is no property of a producer; did you mean `retries`?");
        let torn = Properties::parse("acks=1\nenable.idempotence=true\n", "producer.properties").unwrap();
        let problem = Settings::default().set_producer(&torn).unwrap_err();
        assert_eq!(problem, "producer.properties:2: enable.idempotence: needs acks=all");
        let wrong = Properties::parse("min.insync.replica=2\n", "server.properties").unwrap();
        let problem = Settings::default().set_brokers(&wrong).unwrap_err();
        assert!(problem.starts_with("server.properties:1: `min.insync.replica` is no property"), "{problem}");
        let wrong = Properties::parse("broker.id=1\nnum.partitions=abc\n", "server.properties").unwrap();
        let problem = Settings::default().set_brokers(&wrong).unwrap_err();
        assert_eq!(problem, "server.properties:2: num.partitions: expected a number, found `abc`");
    }
}
