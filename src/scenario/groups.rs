//! `consume`: a member of a consumer group and the application behind it.
//!
//! The applications differ in one thing: when they commit, seen from when they do their work. That decides whether a
//! crash loses records or repeats them, not the broker.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    file::quoted,
    source::{self, Keys, Problem, Spot, Table, unknown},
    swarm::{show_times, times},
    term::Cast,
};
use crate::{
    check::{GroupPlan, WorkerPlan},
    client::{
        config::OffsetReset,
        group::{GroupConfig, GroupProtocol, config::JOIN_VERSION_MAX},
    },
};

/// Keys of `consume`.
pub(super) const CONSUME: Keys =
    Keys { table: "`consume`", keys: &["topic", "group", "application", "processing", "join_group"] };

/// Settings that `consume` itself gives.
pub const GIVEN_BY_CONSUME: &[&str] = &["group.id", "enable.auto.commit"];

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq)]
pub struct Consuming {
    /// The topic that it subscribes to.
    pub topic: Spot<String>,
    /// `group.id`.
    pub group: Spot<String>,
    /// When it commits.
    pub application: Application,
    /// How long the work for a record takes, drawn for each.
    pub processing: RangeInclusive<Duration>,
    /// The newest version of JoinGroup that its client speaks.
    pub join_group: i16,
}

/// What an application does with a poll's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// Its work, record by record; Kafka's consumer commits by itself at later polls (`enable.auto.commit`).
    AutoCommit,
    /// Its work, then a commit of all of the poll.
    AtLeastOnce,
    /// A commit of all of the poll, then its work.
    AtMostOnce,
    /// Its work for one record and a commit, then the next.
    CommitPerRecord,
    /// Its work and a commit that it does not wait for; one that it waits for before it gives partitions up.
    CommitOnRevocation,
    /// Hands them to another thread and polls on; Kafka's consumer commits by itself, done or not.
    HandOff,
    /// Its work, and a commit of all when [`COMMIT_AFTER`] records are done; none when it gives partitions up.
    CommitNowAndThen,
    /// Takes every partition without joining, as a consumer with `assign` does; its work, then a commit in the group's name.
    Assign,
}

/// After how many records [`Application::CommitNowAndThen`] commits.
pub const COMMIT_AFTER: usize = 20;

/// Every application: name, what it does, whether it means to do its work at least once, and at most once.
pub const APPLICATIONS: &[(&str, Application, &str, bool, bool)] = &[
    ("auto-commit", Application::AutoCommit, "works; the consumer commits by itself at later polls", true, false),
    ("at-least-once", Application::AtLeastOnce, "works, then commits all of the poll", true, false),
    ("at-most-once", Application::AtMostOnce, "commits all of the poll, then works", false, true),
    ("commit-per-record", Application::CommitPerRecord, "works for one record and commits, then the next", true, false),
    (
        "commit-on-revocation",
        Application::CommitOnRevocation,
        "works and commits without waiting; waits for a commit before it gives partitions up",
        true,
        false,
    ),
    (
        "hand-off",
        Application::HandOff,
        "hands records to another thread and polls on; the consumer commits by itself, done or not",
        true,
        false,
    ),
    (
        "commit-now-and-then",
        Application::CommitNowAndThen,
        "works, and commits when 20 records are done or a poll brought none; not when it gives partitions up",
        true,
        false,
    ),
    (
        "assign",
        Application::Assign,
        "takes every partition without joining the group; works, then commits all of the poll in the group's name",
        true,
        false,
    ),
];

impl Application {
    /// Its row in [`APPLICATIONS`].
    fn row(self) -> &'static (&'static str, Self, &'static str, bool, bool) {
        APPLICATIONS.iter().find(|(_, application, ..)| *application == self).expect("every application has a row")
    }

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Whether it means to do its work for each record at least once.
    pub fn at_least_once(self) -> bool {
        self.row().3
    }

    /// Whether it means to do it at most once.
    pub fn at_most_once(self) -> bool {
        self.row().4
    }

    /// Whether it leaves commits to the consumer.
    pub fn auto_commits(self) -> bool {
        matches!(self, Self::AutoCommit | Self::HandOff)
    }

    /// The application called so.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn parse(name: &Spot<String>) -> Result<Self, Problem> {
        let found = APPLICATIONS.iter().find(|(known, ..)| *known == name.value);
        let names = APPLICATIONS.iter().map(|(name, ..)| *name);
        found
            .map(|(_, application, ..)| *application)
            .ok_or_else(|| Problem::at(name.at, unknown("an application", &name.value, names)))
    }
}

impl Consuming {
    /// Reads the table.
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, Problem> {
        let topic = table.need("topic").and_then(source::text)?;
        let group = table.need("group").and_then(source::text)?;
        if group.value.is_empty() {
            return Err(Problem::at(group.at, "a group needs a name"));
        }
        let application = match table.text("application")? {
            Some(name) => Application::parse(&name)?,
            None => Application::AutoCommit,
        };
        let processing = times(&mut table, "processing", Duration::ZERO..=Duration::ZERO)?;
        let join_group = match table.number("join_group")? {
            None => JOIN_VERSION_MAX,
            Some(version) => join_version(version.at, i16::try_from(version.value).ok())?,
        };
        Ok(Self { topic, group, application, processing, join_group })
    }

    /// Whether its client's JoinGroup has a `group.instance.id` (KIP-345).
    pub(super) fn knows_instance_ids(&self) -> bool {
        self.join_group >= 5
    }

    /// A variant's change of one key; returns the value before.
    pub(super) fn change(&mut self, key: &str, given: &Spot<String>) -> Result<String, Problem> {
        match key {
            "application" => Ok(std::mem::replace(&mut self.application, Application::parse(given)?).name().to_owned()),
            "group" if given.value.is_empty() => Err(Problem::at(given.at, "a group needs a name")),
            "group" => Ok(std::mem::replace(&mut self.group, given.clone()).value),
            "join_group" => {
                let version = join_version(given.at, given.value.parse().ok())?;
                Ok(std::mem::replace(&mut self.join_group, version).to_string())
            }
            other => {
                let known = ["application", "group", "join_group"];
                Err(Problem::at(given.at, unknown("a key of `consume` that a variant may set", other, known)))
            }
        }
    }

    /// As a file has it.
    pub(super) fn print(&self) -> String {
        let mut fields = vec![
            format!("topic = {}", quoted(&self.topic.value)),
            format!("group = {}", quoted(&self.group.value)),
            format!("application = {}", quoted(self.application.name())),
        ];
        if *self.processing.end() > Duration::ZERO {
            fields.push(format!("processing = {}", show_times(&self.processing)));
        }
        if self.join_group != JOIN_VERSION_MAX {
            fields.push(format!("join_group = {}", self.join_group));
        }
        format!("{{ {} }}", fields.join(", "))
    }
}

/// A version of JoinGroup that a client may speak at most. The first has no `rebalance_timeout_ms`.
fn join_version(at: usize, given: Option<i16>) -> Result<i16, Problem> {
    let expected = || Problem::at(at, format!("expected a version of JoinGroup from 1 to {JOIN_VERSION_MAX}"));
    given.filter(|version| (1..=JOIN_VERSION_MAX).contains(version)).ok_or_else(expected)
}

/// Who is in each group, and what its applications mean to promise: what all of its members do.
pub(super) fn group_plans(members: &[(String, GroupConfig, Consuming)], cast: &Cast) -> BTreeMap<Arc<str>, GroupPlan> {
    let mut plans: BTreeMap<Arc<str>, GroupPlan> = BTreeMap::new();
    for (name, config, consuming) in members {
        let application = consuming.application;
        let plan = plans.entry(config.group_id.clone()).or_insert_with(|| GroupPlan {
            at_least_once: true,
            at_most_once: true,
            assigned_by_hand: true,
            ..GroupPlan::default()
        });
        plan.members.push(name.as_str().into());
        plan.workers.insert(name.as_str().into(), worker_plan(config, application));
        plan.at_least_once &= application.at_least_once();
        plan.at_most_once &= application.at_most_once();
        plan.assigned_by_hand &= application == Application::Assign;
        let of_topic = cast.partitions.iter().filter(|partition| *partition.topic == *consuming.topic.value);
        for partition in of_topic {
            if !plan.partitions.contains(partition) {
                plan.partitions.push(partition.clone());
            }
        }
    }
    plans
}

fn worker_plan(config: &GroupConfig, application: Application) -> WorkerPlan {
    let reset = match config.consumer.reset {
        OffsetReset::Earliest => "earliest",
        OffsetReset::Latest => "latest",
        OffsetReset::None => "none",
    };
    WorkerPlan {
        application: application.name().into(),
        reset: reset.into(),
        modern: config.protocol == GroupProtocol::Consumer,
        instance: config.instance_id.clone(),
        cooperative: config.assignors.iter().all(|assignor| assignor.is_cooperative()),
        session_timeout_ms: u64::try_from(config.session_timeout.as_millis()).unwrap_or(u64::MAX),
    }
}
