//! A step's actions with their targets as they are when it fires: what is done, and how it is told.

use std::time::Duration;

use crate::{
    base::{Offset, TopicPartition},
    client::admin::ElectionType,
    runtime::DiskFault,
    scenario::{
        action::{Action, BytesPerSecond, Crash, Link, Percent, no_controller_is_replaced, show_moves},
        term::Term,
        view::View,
    },
};

/// What an operator is asked to do: it takes time, so it does not happen inside an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Set a topic's setting.
    Set(String, String, String),
    /// Elect a leader.
    Elect(ElectionType, TopicPartition),
    /// Give partitions other replicas, or cancel that.
    Reassign(Vec<(TopicPartition, Option<Replicas>)>),
    /// Delete the records before an offset.
    DeleteRecords(TopicPartition, Offset),
    /// Delete a topic.
    DeleteTopic(String),
    /// Make a topic again.
    CreateTopic(String),
}

impl Order {
    /// Whether it decides if a topic is there, or who holds it.
    pub fn is_about_a_topic(&self) -> bool {
        matches!(self, Self::DeleteTopic(_) | Self::CreateTopic(_) | Self::Reassign(_))
    }
}

/// The replicas that a partition shall have, by name, the preferred leader first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas(pub Vec<String>);

impl std::fmt::Display for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.0.join(","))
    }
}

/// Pairs of hosts, from and to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links(pub Vec<(String, String)>);

impl Links {
    /// Calls `act` with each, from and to.
    pub fn each(&self, mut act: impl FnMut(&str, &str)) {
        self.0.iter().for_each(|(from, to)| act(from, to));
    }
}

/// An action whose targets are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Crash(Vec<String>, Crash),
    Stop(Vec<String>),
    Restart(Vec<String>),
    RestartBlank(Vec<String>),
    Pause(Vec<String>),
    Resume(Vec<String>),
    Clock(Vec<String>, i64),
    Drift(Vec<String>, i64),
    Cut(Links),
    Slow(Links, Duration),
    Hold(Links, String),
    Release(Links, String),
    Drop(Links, String, u64),
    Lose(Links, Percent),
    Bandwidth(Links, BytesPerSecond),
    Heal(Links),
    HealAll,
    Settle,
    Disk(Vec<String>, DiskFault),
    Corrupt(Vec<String>, TopicPartition, Offset),
    HealDisk(Vec<String>),
    Fence(Vec<String>),
    Order(Order),
    Nothing,
}

impl Deed {
    /// # Errors
    /// A target is nobody.
    pub fn of(action: &Action, view: &View) -> Result<Self, String> {
        let nodes = |target: &Term| {
            let nodes = view.nodes(target);
            if nodes.is_empty() { Err(format!("`{action}` has no target: `{target}` is nobody")) } else { Ok(nodes) }
        };
        let brokers = |target: &Term| {
            let nodes = nodes(target)?;
            let other = nodes.iter().find(|node| !view.cast().brokers.iter().any(|(broker, _)| broker == *node));
            match other {
                Some(other) => Err(format!("`{action}` is about brokers: {other} is none")),
                None => Ok(nodes),
            }
        };
        let links = |link: &Link| {
            let (from, to) = (nodes(&link.from)?, nodes(&link.to)?);
            let mut links = Vec::new();
            for a in &from {
                for b in to.iter().filter(|b| *b != a) {
                    links.push((a.clone(), b.clone()));
                    if link.two_way {
                        links.push((b.clone(), a.clone()));
                    }
                }
            }
            Ok::<_, String>(Links(links))
        };
        Ok(match action {
            Action::Crash(target, how) => Self::Crash(nodes(target)?, *how),
            Action::Stop(target) => Self::Stop(nodes(target)?),
            Action::Restart(target) => Self::Restart(nodes(target)?),
            Action::RestartBlank(target) => {
                let nodes = nodes(target)?;
                let is_broker = |node: &String| view.cast().brokers.iter().any(|(broker, _)| broker == node);
                if let Some(node) = nodes.iter().find(|node| !is_broker(node)) {
                    return Err(no_controller_is_replaced(node));
                }
                Self::RestartBlank(nodes)
            }
            Action::Pause(target) => Self::Pause(nodes(target)?),
            Action::Resume(target) => Self::Resume(nodes(target)?),
            Action::Clock(target, offset_ms) => Self::Clock(nodes(target)?, *offset_ms),
            Action::Cut(link) => Self::Cut(links(link)?),
            Action::Slow(link, delay) => Self::Slow(links(link)?, *delay),
            Action::Hold(link, api) => Self::Hold(links(link)?, api.to_string()),
            Action::Release(link, api) => Self::Release(links(link)?, api.to_string()),
            Action::Drop(link, api, count) => Self::Drop(links(link)?, api.to_string(), *count),
            Action::Lose(link, part) => Self::Lose(links(link)?, *part),
            Action::Bandwidth(link, rate) => Self::Bandwidth(links(link)?, *rate),
            Action::Heal(link) => Self::Heal(links(link)?),
            Action::HealAll => Self::HealAll,
            Action::Settle => Self::Settle,
            Action::Disk(target, fault) => Self::Disk(nodes(target)?, *fault),
            Action::Corrupt(target, partition, offset) => {
                let (nodes, partition) = (nodes(target)?, partition.partition());
                let without = |node: &&String| !view.has_record(&partition, node, Offset(*offset));
                if let Some(node) = nodes.iter().find(without) {
                    return Err(format!(
                        "`{action}` has nothing to corrupt: {node} has no record {partition}@{offset}"
                    ));
                }
                Self::Corrupt(nodes, partition, Offset(*offset))
            }
            Action::HealDisk(target) => Self::HealDisk(nodes(target)?),
            Action::Drift(target, ppm) => Self::Drift(nodes(target)?, *ppm),
            Action::Set(topic, name, value) => Self::Order(Order::Set(topic.clone(), name.clone(), value.clone())),
            Action::Elect(kind, partition) => Self::Order(Order::Elect(*kind, partition.partition())),
            Action::Reassign(moves) => {
                let resolved = moves.iter().map(|(partition, replicas)| {
                    let replicas = replicas.as_ref().map(brokers).transpose()?;
                    Ok((partition.partition(), replicas.map(Replicas)))
                });
                Self::Order(Order::Reassign(resolved.collect::<Result<_, String>>()?))
            }
            Action::Fence(target) => Self::Fence(brokers(target)?),
            Action::DeleteRecords(partition, before) => {
                Self::Order(Order::DeleteRecords(partition.partition(), Offset(*before)))
            }
            Action::DeleteTopic(topic) => Self::Order(Order::DeleteTopic(topic.clone())),
            Action::CreateTopic(topic) => Self::Order(Order::CreateTopic(topic.clone())),
            Action::Nothing => Self::Nothing,
        })
    }
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |nodes: &[String]| nodes.join(",");
        match self {
            Self::Crash(nodes, how) => write!(f, "crash {} {how}", list(nodes)),
            Self::Stop(nodes) => write!(f, "stop {}", list(nodes)),
            Self::Restart(nodes) => write!(f, "restart {}", list(nodes)),
            Self::RestartBlank(nodes) => write!(f, "restart {} blank", list(nodes)),
            Self::Pause(nodes) => write!(f, "pause {}", list(nodes)),
            Self::Resume(nodes) => write!(f, "resume {}", list(nodes)),
            Self::Clock(nodes, offset_ms) => write!(f, "clock {} {offset_ms:+}ms", list(nodes)),
            Self::Drift(nodes, ppm) => write!(f, "clock {} drift {ppm}ppm", list(nodes)),
            Self::Cut(links) => write!(f, "cut {links}"),
            Self::Slow(links, delay) => write!(f, "slow {links} {}ms", delay.as_millis()),
            Self::Hold(links, api) => write!(f, "hold {links} api={api}"),
            Self::Release(links, api) => write!(f, "release {links} api={api}"),
            Self::Drop(links, api, count) => write!(f, "drop {links} api={api} n={count}"),
            Self::Lose(links, part) => write!(f, "lose {links} {part}"),
            Self::Bandwidth(links, rate) => write!(f, "bandwidth {links} {rate}"),
            Self::Heal(links) => write!(f, "heal {links}"),
            Self::HealAll => f.write_str("heal all"),
            Self::Settle => f.write_str("settle"),
            Self::Disk(nodes, fault) => write!(f, "disk {} {fault}", list(nodes)),
            Self::Corrupt(nodes, partition, offset) => write!(f, "disk {} corrupt {partition}@{offset}", list(nodes)),
            Self::HealDisk(nodes) => write!(f, "disk {} heal", list(nodes)),
            Self::Order(Order::Set(topic, name, value)) => write!(f, "set {topic}.{name}={value}"),
            Self::Order(Order::Elect(ElectionType::Preferred, partition)) => write!(f, "elect preferred {partition}"),
            Self::Order(Order::Elect(ElectionType::Unclean, partition)) => write!(f, "elect unclean {partition}"),
            Self::Fence(nodes) => write!(f, "fence {}", list(nodes)),
            Self::Order(Order::Reassign(moves)) => f.write_str(&show_moves(moves)),
            Self::Order(Order::DeleteRecords(partition, before)) => {
                write!(f, "delete-records {partition} before {before}")
            }
            Self::Order(Order::DeleteTopic(topic)) => write!(f, "delete topic {topic}"),
            Self::Order(Order::CreateTopic(topic)) => write!(f, "create topic {topic}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// `b1 | b2,b3` where every link goes both ways, else each way on its own.
impl std::fmt::Display for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let two_way = |link: &(String, String)| self.0.contains(&(link.1.clone(), link.0.clone()));
        let sign = if self.0.iter().all(two_way) { "|" } else { ">" };
        let mut left = Vec::new();
        let mut right = Vec::new();
        for (index, (from, to)) in self.0.iter().enumerate() {
            // The way back of a two-way link says nothing new.
            if sign == "|" && self.0[..index].contains(&(to.clone(), from.clone())) {
                continue;
            }
            if !left.contains(from) {
                left.push(from.clone());
            }
            if !right.contains(to) {
                right.push(to.clone());
            }
        }
        write!(f, "{} {sign} {}", left.join(","), right.join(","))
    }
}
