//! From a file and the name of a variant to everything that a run needs, with every name and value checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    action::{Action, check_topic_setting},
    file::{Given, Reading, Scenario, Sending, Settings, Work},
    groups::{Consuming, GIVEN_BY_CONSUME, group_plans},
    source::{Problem, Spot, show_duration, unknown},
    term::{Cast, NAMES},
    variant::{self, Change, overlay, without_steps},
};
use crate::{
    base::{NodeId, Switches, TopicPartition, mark, switches},
    broker::config::{self, NodeConfig, Properties},
    check::{Expected, Plan, ProducerPlan},
    client::{ConfigError, ConsumerConfig, ProducerConfig, group::GroupConfig},
    controller::configs::topic::topic_config,
};

/// Properties that a scenario gives to every node itself.
pub const RESERVED: &[&str] = &[
    "process.roles",
    "node.id",
    "controller.quorum.voters",
    "controller.listener.names",
    "listeners",
    "advertised.listeners",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "log.dirs",
    "log.dir",
    "broker.rack",
];

/// Property of brokers whose default is another in scenarios than in Kafka.
const OFFSETS_PARTITIONS: &str = "offsets.topic.num.partitions";

/// Words of conditions that are no names.
const RESERVED_WORDS: &[&str] = &["and", "or", "not", "in"];

/// A scenario, with a variant applied, ready to run.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The scenario with the variant's changes.
    pub scenario: Scenario,
    /// Name of the variant.
    pub variant: Option<String>,
    /// What the variant changes.
    pub changes: Vec<Change>,
    /// Who takes part.
    pub cast: Cast,
    /// Behaviour switches.
    pub switches: Switches,
    /// Brokers and controllers by host name.
    pub nodes: BTreeMap<String, NodeConfig>,
    /// Producers in the order of the file.
    pub producers: Vec<(String, ProducerConfig, Sending)>,
    /// Consumers in the order of the file.
    pub consumers: Vec<(String, ConsumerConfig, Reading)>,
    /// Members of groups in the order of the file.
    pub members: Vec<(String, GroupConfig, Consuming)>,
    /// What the checkers need to know.
    pub plan: Plan,
    /// When each step fires at the latest, since the story began: where only settings differ from another run, the same
    /// faults come at the same moments. Empty: when its trigger comes true.
    pub latest: Vec<Duration>,
}

impl Resolved {
    /// The scenario as it is played, without other variants: a file of its own.
    pub fn alone(&self) -> Scenario {
        Scenario { variants: Vec::new(), predictions: Vec::new(), ..self.scenario.clone() }
    }

    /// Every setting that the scenario gives, for a manifest.
    pub fn settings(&self) -> serde_json::Value {
        let texts = |settings: &Settings| -> serde_json::Map<String, serde_json::Value> {
            settings.iter().map(|(name, value)| (name.clone(), value.value.clone().into())).collect()
        };
        let topics = self.scenario.topics.iter().map(|topic| {
            let mut fields = texts(&topic.config);
            let replicas = |replicas: &Vec<Spot<String>>| -> serde_json::Value {
                replicas.iter().map(|name| name.value.clone()).collect::<Vec<_>>().into()
            };
            fields.insert("replicas".to_owned(), topic.replicas.iter().map(replicas).collect::<Vec<_>>().into());
            (topic.name.value.clone(), fields.into())
        });
        let clients =
            self.scenario.clients.iter().map(|client| (client.name.value.clone(), texts(&client.config).into()));
        serde_json::json!({
            "cluster": texts(&self.scenario.cluster.config),
            "racks": self.scenario.cluster.racks,
            "topics": topics.collect::<serde_json::Map<_, _>>(),
            "clients": clients.collect::<serde_json::Map<_, _>>(),
            "era": self.scenario.era.as_ref().map(|era| era.value.clone()),
            "switches": texts(&self.scenario.switches),
        })
    }
}

/// Number of the node called `name`: `b3` is 3, `c1` is 101.
pub fn node_id(name: &str) -> NodeId {
    let number: i32 = name[1..].parse().expect("nodes are called b1 or c1");
    NodeId(if name.starts_with('c') { 100 + number } else { number })
}

/// Resolves a scenario.
///
/// # Errors
/// The first problem, with its place.
pub fn resolve(scenario: &Scenario, variant: Option<&Spot<String>>) -> Result<Resolved, Problem> {
    resolve_with(scenario, variant, &BTreeMap::new())
}

/// Resolves a scenario with further keys set. What it expects is what it expects as it stands: with `set` every claim
/// has to hold.
///
/// # Errors
/// The first problem, with its place.
pub fn resolve_with(
    scenario: &Scenario,
    variant: Option<&Spot<String>>,
    set: &BTreeMap<String, Spot<Given>>,
) -> Result<Resolved, Problem> {
    let moved = moved(scenario);
    let (mut scenario, mut changes) = match variant {
        None => (scenario.clone(), Vec::new()),
        Some(name) => {
            let known = scenario.variants.iter().map(|variant| variant.name.value.as_str());
            let implied = without_steps(scenario);
            let found = scenario.variants.iter().chain(&implied).find(|variant| variant.name == *name);
            let found = found.ok_or_else(|| Problem::at(name.at, unknown("a variant", &name.value, known)))?;
            overlay(scenario, found)?
        }
    };
    if !set.is_empty() {
        changes.extend(variant::set_all(&mut scenario, set)?);
        (scenario.expect, scenario.must_reach) = (Vec::new(), Vec::new());
    }
    check_variants(&scenario)?;
    let mut cast = cast(&scenario)?;
    cast.replicas.retain(|partition, _| !moved.contains(&partition.to_string()));
    let switches = behaviour(&scenario)?;
    check_marks(&scenario)?;
    check_steps(&scenario, &cast)?;
    let nodes = nodes(&scenario, &cast)?;
    let (mut producers, mut consumers, mut members) = (Vec::new(), Vec::new(), Vec::new());
    for client in &scenario.clients {
        let name = client.name.value.clone();
        let mut given: BTreeMap<String, String> =
            client.config.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect();
        given.entry("client.id".to_owned()).or_insert_with(|| name.clone());
        let faulty = |error: ConfigError| {
            let at = client.config.get(&error.name).map_or(client.name.at, |value| value.at);
            match error.problem.starts_with("is not") {
                true => Problem::at(at, format!("`{}` {}", error.name, error.problem)),
                false => Problem::at(at, error.to_string()),
            }
        };
        match &client.work {
            Work::Send(sending) => {
                if !switches.idempotence_default {
                    given.entry("acks".to_owned()).or_insert_with(|| "1".to_owned());
                    given.entry("enable.idempotence".to_owned()).or_insert_with(|| "false".to_owned());
                }
                let config = ProducerConfig::from_properties(&given).map_err(faulty)?;
                producers.push((name, config, sending.clone()));
            }
            Work::Read(reading) => {
                let mut config = ConsumerConfig::from_properties(&given).map_err(faulty)?;
                config.truncation_check = switches.consumer_truncation_check;
                consumers.push((name, config, reading.clone()));
            }
            Work::Consume(consuming) => {
                if let Some(name) = GIVEN_BY_CONSUME.iter().find(|name| given.contains_key(**name)) {
                    let at = client.config.get(*name).map_or(client.name.at, |value| value.at);
                    return Err(Problem::at(at, format!("`{name}` is set by `consume`: by its group and application")));
                }
                given.insert("group.id".to_owned(), consuming.group.value.clone());
                given.insert("enable.auto.commit".to_owned(), consuming.application.auto_commits().to_string());
                let mut config = GroupConfig::from_properties(&given).map_err(faulty)?;
                config.consumer.truncation_check = switches.consumer_truncation_check;
                config.older_claims_count = switches.older_claims_count;
                config.join_version_max = consuming.join_group;
                if let Some(at) = client.config.get("group.instance.id").filter(|_| !consuming.knows_instance_ids()) {
                    let version = consuming.join_group;
                    return Err(Problem::at(at.at, format!("JoinGroup {version} has no `group.instance.id`")));
                }
                members.push((name, config, consuming.clone()));
            }
        }
    }
    let plan = Plan { groups: group_plans(&members, &cast), ..plan(&scenario, &switches, &producers, &consumers) };
    check_group_claims(&scenario, &plan)?;
    Ok(Resolved {
        variant: variant.map(|name| name.value.clone()),
        scenario,
        changes,
        cast,
        switches,
        nodes,
        producers,
        consumers,
        members,
        plan,
        latest: Vec::new(),
    })
}

fn check_variants(scenario: &Scenario) -> Result<(), Problem> {
    for (index, variant) in scenario.variants.iter().enumerate() {
        if scenario.variants[..index].iter().any(|other| other.name == variant.name) {
            return Err(Problem::at(variant.name.at, format!("there are two variants `{}`", variant.name)));
        }
    }
    Ok(())
}

/// The partitions that a step moves, here or in a variant: what waits for that is written for both.
fn moved(scenario: &Scenario) -> BTreeSet<String> {
    let of_variants = scenario.variants.iter().flat_map(|variant| variant.steps.values());
    let of_variants = of_variants.filter_map(|change| change.value.actions.as_ref());
    let actions = scenario.steps.iter().map(|step| &step.actions).chain(of_variants).flat_map(|of| &of.value);
    actions.filter_map(Action::moves).flatten().map(|(partition, _)| partition.to_string()).collect()
}

fn cast(scenario: &Scenario) -> Result<Cast, Problem> {
    let racks = &scenario.cluster.racks;
    let broker = |index: usize| (format!("b{}", index + 1), racks.get(index).cloned());
    let mut cast = Cast {
        brokers: (0..scenario.cluster.brokers as usize).map(broker).collect(),
        controllers: (1..=scenario.cluster.controllers).map(|number| format!("c{number}")).collect(),
        ..Cast::default()
    };
    let offsets_partitions = scenario.cluster.config.get(OFFSETS_PARTITIONS);
    // A number that is none is refused with the brokers' properties.
    cast.offsets_partitions = offsets_partitions.and_then(|given| given.value.parse().ok()).unwrap_or(1);
    let brokers: Vec<String> = cast.brokers.iter().map(|(name, _)| name.clone()).collect();
    let word = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    for topic in &scenario.topics {
        let name = &topic.name;
        if cast.partitions.iter().any(|partition| *partition.topic == *name.value) {
            return Err(Problem::at(name.at, format!("there are two topics `{name}`")));
        }
        if name.value.is_empty() || !name.value.chars().all(word) {
            return Err(Problem::at(
                name.at,
                format!("`{name}` is not a topic's name: letters, digits, `.`, `_`, `-`"),
            ));
        }
        if topic.replicas.is_empty() {
            return Err(Problem::at(
                name.at,
                format!("`{name}` has no partition; write replicas = [[\"b1\", \"b2\"]]"),
            ));
        }
        for (replicas, index) in topic.replicas.iter().zip(0..) {
            for (position, replica) in replicas.iter().enumerate() {
                if !brokers.contains(&replica.value) {
                    let message = unknown("a broker", &replica.value, brokers.iter().map(String::as_str));
                    return Err(Problem::at(replica.at, message));
                }
                if replicas[..position].contains(replica) {
                    return Err(Problem::at(replica.at, format!("`{replica}` is named twice")));
                }
            }
            if replicas.is_empty() {
                return Err(Problem::at(name.at, format!("partition {index} of `{name}` has no replica")));
            }
            let partition = TopicPartition::new(name.value.as_str(), index);
            let names = replicas.iter().map(|replica| replica.value.clone()).collect();
            cast.replicas.insert(partition.clone(), names);
            cast.partitions.push(partition);
        }
        for (setting, value) in &topic.config {
            check_topic_setting(setting, &value.value).map_err(|message| Problem::at(value.at, message))?;
        }
    }
    for client in &scenario.clients {
        let name = &client.name;
        if cast.nodes().any(|other| other == name.value)
            || ["admin", "audit", "scenario"].contains(&name.value.as_str())
        {
            return Err(Problem::at(name.at, format!("the name `{name}` is taken")));
        }
        let is_taken = NAMES.iter().any(|(word, ..)| *word == name.value) || RESERVED_WORDS.contains(&&*name.value);
        let is_word = name.value.chars().all(word) && name.value.starts_with(|char: char| char.is_ascii_alphabetic());
        if is_taken || !is_word {
            let message = format!("`{name}` is not a client's name: a letter, then letters, digits, `.`, `_`, `-`");
            let taken = format!("`{name}` means something in triggers and actions; choose another name");
            return Err(Problem::at(name.at, if is_taken { taken } else { message }));
        }
        let (topic, sending) = (client.work.topic(), client.work.sending());
        let names = scenario.topics.iter().map(|topic| topic.name.value.as_str());
        let Some(found) = scenario.topics.iter().find(|known| known.name == *topic) else {
            return Err(Problem::at(topic.at, unknown("a topic", &topic.value, names)));
        };
        let partition = sending.and_then(|sending| sending.partition);
        if partition.is_some_and(|partition| partition >= found.replicas.len() as u64) {
            let last = found.replicas.len() - 1;
            let message = format!("`{topic}` has no partition {}; it has 0 to {last}", partition.unwrap_or_default());
            return Err(Problem::at(topic.at, message));
        }
        cast.clients.push((name.value.clone(), sending.map(|sending| sending.count)));
        if let Work::Consume(Consuming { group, .. }) = &client.work {
            cast.members.push(name.value.clone());
            if !cast.groups.contains(&group.value) {
                cast.groups.push(group.value.clone());
            }
        }
    }
    for topic in &scenario.topics {
        if !scenario.clients.iter().any(|client| *client.work.topic() == topic.name) {
            return Err(Problem::at(topic.name.at, format!("no client uses the topic `{}`", topic.name)));
        }
    }
    Ok(cast)
}

fn behaviour(scenario: &Scenario) -> Result<Switches, Problem> {
    let mut behaviour = match &scenario.era {
        Some(era) => Switches::of_era(&era.value).map_err(|message| Problem::at(era.at, message))?,
        None => Switches::NEWEST,
    };
    for (name, value) in &scenario.switches {
        if !switches::TABLE.iter().any(|switch| switch.name == name) {
            let names = switches::TABLE.iter().map(|switch| switch.name);
            return Err(Problem::at(value.at, unknown("a switch", name, names)));
        }
        behaviour.set(name, &value.value).map_err(|message| Problem::at(value.at, message))?;
    }
    Ok(behaviour)
}

fn check_marks(scenario: &Scenario) -> Result<(), Problem> {
    let names = mark::ALL.iter().map(|(name, _)| *name);
    match scenario.must_reach.iter().find(|mark| !names.clone().any(|name| name == mark.value)) {
        Some(mark) => Err(Problem::at(mark.at, unknown("a mark", &mark.value, names))),
        None => Ok(()),
    }
}

fn check_steps(scenario: &Scenario, cast: &Cast) -> Result<(), Problem> {
    for step in &scenario.steps {
        if let Some(late) = [step.at, step.after].into_iter().flatten().find(|time| *time >= scenario.deadline) {
            let (late, deadline) = (show_duration(late), show_duration(scenario.deadline));
            let message = format!("this step waits for {late}, and the run is given up after {deadline} (`deadline`)");
            return Err(Problem::at(step.place.at, message));
        }
        if let Some(condition) = &step.when {
            condition.value.check(cast).map_err(|problem| at_least(problem, condition.at))?;
        }
        if let Some(event) = &step.on {
            event.value.check(cast).map_err(|problem| at_least(problem, event.at))?;
        }
        for action in &step.actions.value {
            action.check(cast, step.actions.at).map_err(|problem| at_least(problem, step.actions.at))?;
        }
    }
    scenario.predictions.iter().try_for_each(|prediction| prediction.check(scenario, cast))
}

/// A term that knows no place stands somewhere in its text.
fn at_least(problem: Problem, at: usize) -> Problem {
    Problem { at: problem.at.max(at), message: problem.message }
}

fn nodes(scenario: &Scenario, cast: &Cast) -> Result<BTreeMap<String, NodeConfig>, Problem> {
    let given = &scenario.cluster.config;
    for (name, value) in given {
        if RESERVED.contains(&name.as_str()) {
            return Err(Problem::at(value.at, format!("`{name}` is set by the scenario itself")));
        }
        let mut alone = Properties::parse("", "the scenario").expect("nothing is right");
        alone.set(name.clone(), value.value.clone(), name);
        if let Some((_, nearest)) = config::unknown_names(&alone).first() {
            let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
            return Err(Problem::at(value.at, format!("`{name}` is not a property of brokers{hint}")));
        }
        if let Some(topic) = crate::controller::configs::topic::TOPIC.iter().find(|c| c.synonym == Some(name.as_str()))
        {
            topic.check(&value.value).map_err(|message| Problem::at(value.at, message))?;
        }
    }
    let voters: Vec<String> = cast.controllers.iter().map(|name| format!("{}@{name}:9093", node_id(name))).collect();
    let mut nodes = BTreeMap::new();
    let brokers = cast.brokers.iter().map(|(name, rack)| (name, rack.as_deref()));
    for (name, rack) in brokers.chain(cast.controllers.iter().map(|name| (name, None))) {
        let is_controller = cast.controllers.contains(name);
        let mut properties = Properties::parse("", "the scenario").expect("nothing is right");
        let mut set = |name: &str, value: String| properties.set(name, value, name);
        set("process.roles", if is_controller { "controller" } else { "broker" }.to_owned());
        set("node.id", node_id(name).to_string());
        set("controller.quorum.voters", voters.join(","));
        set("controller.listener.names", "CONTROLLER".to_owned());
        set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned());
        match is_controller {
            true => set("listeners", format!("CONTROLLER://{name}:9093")),
            false => set("listeners", format!("PLAINTEXT://{name}:9092")),
        }
        // A file system of its own, made before the node was.
        set("log.dirs", "/".to_owned());
        if let Some(rack) = rack {
            set("broker.rack", rack.to_owned());
        }
        // Kafka's default is 50 partitions: a class sees one coordinator, not fifty.
        set(OFFSETS_PARTITIONS, "1".to_owned());
        for (name, value) in given {
            set(name, value.value.clone());
        }
        let resolved = NodeConfig::resolve(properties).map_err(|error| {
            let at =
                given.iter().find(|(name, _)| error.origin.contains(name.as_str())).map_or(0, |(_, value)| value.at);
            Problem::at(at, error.message)
        })?;
        nodes.insert(name.clone(), resolved);
    }
    Ok(nodes)
}

fn plan(
    scenario: &Scenario,
    switches: &Switches,
    producers: &[(String, ProducerConfig, Sending)],
    consumers: &[(String, ConsumerConfig, Reading)],
) -> Plan {
    let producer = |(name, config, _): &(String, ProducerConfig, Sending)| {
        let plan = ProducerPlan { idempotent: config.idempotent, max_in_flight: config.in_flight_max as u32 };
        (name.as_str().into(), plan)
    };
    let topic = |topic: &super::file::Topic| {
        let named = ["min.insync.replicas", "unclean.leader.election.enable", "flush.messages"].into_iter();
        let names = named.chain(topic.config.keys().map(String::as_str));
        let settings =
            names.map(|name| (name.into(), topic_setting(name, &topic.config, &scenario.cluster.config, switches)));
        (topic.name.value.as_str().into(), settings.collect())
    };
    let mut changed: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    changed.extend(scenario.era.as_ref().map(|era| ("era".into(), era.value.as_str().into())));
    changed.extend(scenario.switches.iter().map(|(name, value)| (name.as_str().into(), value.value.as_str().into())));
    Plan {
        producers: producers.iter().map(producer).collect(),
        consumers: consumers.iter().map(|(name, _, _)| name.as_str().into()).collect(),
        groups: BTreeMap::new(),
        topics: scenario.topics.iter().map(topic).collect(),
        switches: changed,
        expectations: scenario.expect.clone(),
        must_reach: scenario.must_reach.iter().map(|mark| mark.value.as_str().into()).collect(),
        leave_broken: scenario.leave_broken,
    }
}

/// Without groups nothing can become of claims of groups.
fn check_group_claims(scenario: &Scenario, plan: &Plan) -> Result<(), Problem> {
    let named = scenario.expect.iter().find(|expectation| expectation.claim.is_of_groups());
    match named.filter(|expectation| plan.groups.is_empty() && expectation.value != Expected::Any) {
        Some(expectation) => {
            let message = format!("`{}` is about consumer groups, and no client has `consume`", expectation.claim);
            Err(Problem::at(0, message))
        }
        None => Ok(()),
    }
}

/// The value in force: the topic's, else the cluster's, else the default.
fn topic_setting(name: &str, topic: &Settings, cluster: &Settings, switches: &Switches) -> Arc<str> {
    let config = topic_config(name).expect("a topic's settings were checked");
    let synonym = config.synonym.and_then(|synonym| cluster.get(synonym));
    match topic.get(name).or(synonym) {
        Some(value) => value.value.as_str().into(),
        None if name == "unclean.leader.election.enable" => switches.unclean_default.to_string().into(),
        None => config.default.into(),
    }
}

/// What is legal and brittle: steps that wait for a time.
pub fn lint(scenario: &Scenario) -> Vec<Problem> {
    let brittle = scenario.steps.iter().filter(|step| step.at.is_some());
    let message = "`at` is brittle: another seed may be slower; a condition (`when`) says what the step waits for";
    brittle.map(|step| Problem::at(step.place.at, message)).collect()
}
