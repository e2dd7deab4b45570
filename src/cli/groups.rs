//! `groups`: list, describe, reset, delete groups of a real cluster. Tables have the columns of Kafka's
//! `kafka-consumer-groups`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    args::{Bootstrap, GroupsCommand, GroupsOptions, ResetOptions},
    cluster::{self, failed},
    exit::{self, Failure, Outcome},
    output::{print, print_line},
};
use crate::{
    base::{Offset, TopicPartition, suggest},
    client::{
        ClientError, Cluster, Consumer, ConsumerConfig,
        consumer::Seek,
        group::offsets::{Committed, Offsets},
        groups::{Description, Groups, Member},
    },
    protocol::ErrorCode,
    report::shell_word,
    runtime::clock,
    trace::Tracer,
};

/// What stands where there is nothing to say.
const NONE: &str = "-";
/// What a group of consumers may be in, of either protocol.
const STATES: [&str; 7] =
    ["Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"];
const KINDS: [&str; 2] = ["classic", "consumer"];

/// Runs one of the commands.
pub fn groups(options: &GroupsOptions) -> Outcome {
    cluster::block_on(async {
        let config = ConsumerConfig::default();
        let reached = cluster::reach(&options.cluster, config.cluster.clone()).await?;
        let shown = Shown {
            groups: Groups::new(reached.clone()),
            consumer: Consumer::new(config, reached.clone(), Tracer::off()),
            cluster: reached,
            bootstrap: &options.cluster,
        };
        match &options.command {
            GroupsCommand::List { state, kind } => shown.list(state.as_deref(), kind.as_deref()).await,
            GroupsCommand::Describe { group, members, state, verbose } => {
                let all = match group {
                    Some(group) => vec![group.clone()],
                    None => shown.groups.list().await.map_err(failed)?.into_iter().map(|one| one.group).collect(),
                };
                for group in all {
                    let found = shown.groups.describe(&group).await;
                    let found = match found {
                        Ok(found) => found,
                        Err(error) => return Err(shown.refused(&group, error).await),
                    };
                    note(&found);
                    match (members, state) {
                        (true, _) => print(&members_table(&found, *verbose))?,
                        (_, true) => print(&state_table(&found, *verbose))?,
                        _ => shown.offsets(&found, *verbose).await?,
                    }
                }
                Ok(exit::OK)
            }
            GroupsCommand::ResetOffsets(reset) => shown.reset(reset).await,
            GroupsCommand::DeleteOffsets { group, topics } => shown.delete_offsets(group, topics).await,
            GroupsCommand::Delete { groups } => {
                for group in groups {
                    match shown.groups.delete(group).await {
                        Ok(()) => print_line(&format!("deleted {group}"))?,
                        Err(error) => return Err(shown.refused(group, error).await),
                    }
                }
                Ok(exit::OK)
            }
        }
    })
}

/// Rows under their heads, columns apart by a blank, each at least so wide as said.
struct Table {
    heads: Vec<(&'static str, usize)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn text(&self) -> String {
        let heads = self.heads.iter().map(|(head, _)| (*head).to_owned()).collect();
        let mut text = String::from("\n");
        for row in std::iter::once(&heads).chain(&self.rows) {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let widest = self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
                format!("{cell:<width$}", width = self.heads[column].1.max(widest))
            });
            text.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// What a reader has to know before the table.
fn note(found: &Description) {
    match found.state.as_str() {
        "Empty" => eprintln!("\nConsumer group '{}' has no active members.", found.group),
        "Stable" => {}
        _ => eprintln!("\nWarning: Consumer group '{}' is rebalancing.", found.group),
    }
}

fn members_table(found: &Description, verbose: bool) -> String {
    let has_static = found.members.iter().any(|member| member.instance_id.is_some());
    let mut heads = vec![("GROUP", 15), ("CONSUMER-ID", 15)];
    heads.extend(has_static.then_some(("GROUP-INSTANCE-ID", 17)));
    heads.extend([("HOST", 15), ("CLIENT-ID", 15), ("#PARTITIONS", 15)]);
    let more = [("CURRENT-EPOCH", 15), ("CURRENT-ASSIGNMENT", 20), ("TARGET-EPOCH", 15), ("TARGET-ASSIGNMENT", 20)];
    heads.extend(more.into_iter().filter(|_| verbose));
    // Only while the group is on its way from one protocol to the other, as Kafka's tool.
    let has = |upgraded| found.members.iter().any(|member| member.upgraded == Some(upgraded));
    let is_mixed = verbose && has(false) && has(true);
    heads.extend(is_mixed.then_some(("UPGRADED", 0)));
    let row = |member: &Member| {
        let mut row = vec![found.group.clone(), member.id.clone()];
        row.extend(has_static.then(|| member.instance_id.clone().unwrap_or_default()));
        row.extend([member.host.clone(), member.client_id.clone(), member.assignment.len().to_string()]);
        if verbose {
            let epoch = member.target.as_ref().map_or(NONE.to_owned(), |(epoch, _)| epoch.to_string());
            let target_epoch = found.epochs.map_or(NONE.to_owned(), |(_, target)| target.to_string());
            let target = member.target.as_ref().map_or(NONE.to_owned(), |(_, target)| by_topic(target));
            row.extend([epoch, by_topic(&member.assignment), target_epoch, target]);
        }
        row.extend(is_mixed.then(|| member.upgraded.map_or(NONE.to_owned(), |upgraded| upgraded.to_string())));
        row
    };
    Table { heads, rows: found.members.iter().map(row).collect() }.text()
}

/// `orders:0,1;payments:0`.
fn by_topic(partitions: &[TopicPartition]) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in partitions {
        topics.entry(&one.topic).or_default().push(one.partition.to_string());
    }
    let topics: Vec<String> = topics.iter().map(|(topic, indexes)| format!("{topic}:{}", indexes.join(","))).collect();
    if topics.is_empty() { NONE.to_owned() } else { topics.join(";") }
}

fn state_table(found: &Description, verbose: bool) -> String {
    let mut heads = vec![("GROUP", 15), ("COORDINATOR (ID)", 25), ("ASSIGNMENT-STRATEGY", 20), ("STATE", 20)];
    heads.extend([("GROUP-EPOCH", 15), ("TARGET-ASSIGNMENT-EPOCH", 25)].into_iter().filter(|_| verbose));
    heads.push(("#MEMBERS", 0));
    let assignor = if found.assignor.is_empty() { NONE } else { &found.assignor };
    let coordinator = format!("{}  ({})", found.coordinator.0, found.coordinator.1);
    let mut row = vec![found.group.clone(), coordinator, assignor.to_owned(), found.state.clone()];
    if verbose {
        let epoch = |pick: fn((i32, i32)) -> i32| found.epochs.map_or(NONE.to_owned(), |both| pick(both).to_string());
        row.extend([epoch(|(group, _)| group), epoch(|(_, target)| target)]);
    }
    row.push(found.members.len().to_string());
    Table { heads, rows: vec![row] }.text()
}

/// The cluster, and what shows its groups.
struct Shown<'a> {
    groups: Groups,
    consumer: Consumer,
    cluster: Arc<Cluster>,
    bootstrap: &'a Bootstrap,
}

impl Shown<'_> {
    /// All groups, or those that are asked for; with their states and types where these are spoken of.
    async fn list(&self, states: Option<&[String]>, kinds: Option<&[String]>) -> Outcome {
        check_names("--state", states, &STATES)?;
        check_names("--type", kinds, &KINDS)?;
        let (state, kind) = (states.is_some(), kinds.is_some());
        let mut all = self.groups.list().await.map_err(failed)?;
        all.retain(|one| is_wanted(states, &one.state) && is_wanted(kinds, &one.kind));
        if !state && !kind {
            all.iter().try_for_each(|one| print_line(&one.group))?;
            return Ok(exit::OK);
        }
        // Ten more than the widest, as Kafka's tool.
        let widest = all.iter().map(|one| one.group.len()).max().unwrap_or(0).max(15) + 10;
        let mut heads = vec![("GROUP", widest)];
        heads.extend([("TYPE", 20)].into_iter().filter(|_| kind));
        heads.extend([("STATE", 20)].into_iter().filter(|_| state));
        let rows = all.iter().map(|one| {
            let mut row = vec![one.group.clone()];
            let mut name = one.kind.clone();
            name[..1].make_ascii_uppercase();
            row.extend([name].into_iter().filter(|_| kind));
            row.extend([one.state.clone()].into_iter().filter(|_| state));
            row
        });
        print(Table { heads, rows: rows.collect() }.text().trim_start_matches('\n'))?;
        Ok(exit::OK)
    }

    /// How far the group is: what its members have, then what nobody has.
    async fn offsets(&self, found: &Description, verbose: bool) -> Result<(), Failure> {
        let committed = self.groups.offsets(&found.group).await.map_err(failed)?;
        let mut members: Vec<&Member> = found.members.iter().collect();
        members.sort_by_key(|member| (std::cmp::Reverse(member.assignment.len()), member.id.clone()));
        let owned: BTreeSet<&TopicPartition> = members.iter().flat_map(|member| &member.assignment).collect();
        let mut rows = Vec::new();
        let of_members = members.iter().flat_map(|member| {
            let who = [member.id.clone(), member.host.clone(), member.client_id.clone()];
            member.assignment.iter().map(move |one| (one, who.clone()))
        });
        let free = committed.keys().filter(|one| !owned.contains(one));
        let of_nobody = free.map(|one| (one, [NONE, NONE, NONE].map(str::to_owned)));
        for (partition, who) in of_members.chain(of_nobody) {
            let at = committed.get(partition);
            let end = self.offset(partition, Seek::End).await.ok();
            let text = |offset: Option<i64>| offset.map_or(NONE.to_owned(), |offset| offset.to_string());
            let lag = at.zip(end).map(|(at, end)| end.0 - at.offset.0);
            let mut row = vec![found.group.clone(), partition.topic.to_string(), partition.partition.to_string()];
            if verbose {
                row.push(text(at.map(|at| i64::from(at.leader_epoch.0)).filter(|epoch| *epoch >= 0)));
            }
            row.extend([text(at.map(|at| at.offset.0)), text(end.map(|end| end.0)), text(lag)]);
            row.extend(who);
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut heads = vec![("GROUP", 15), ("TOPIC", 15), ("PARTITION", 10)];
        heads.extend([("LEADER-EPOCH", 15)].into_iter().filter(|_| verbose));
        heads.extend([("CURRENT-OFFSET", 15), ("LOG-END-OFFSET", 15), ("LAG", 15)]);
        heads.extend([("CONSUMER-ID", 15), ("HOST", 15), ("CLIENT-ID", 0)]);
        print(&Table { heads, rows }.text())
    }

    async fn offset(&self, partition: &TopicPartition, seek: Seek) -> Result<Offset, ClientError> {
        match self.consumer.offset_of(partition, seek).await {
            // The first failure has asked for news of the leader.
            Err(_) => self.consumer.offset_of(partition, seek).await,
            found => found,
        }
    }

    /// The partitions that `orders` or `orders:0,1` names.
    async fn partitions(&self, named: &[String]) -> Result<Vec<TopicPartition>, Failure> {
        let mut all = Vec::new();
        for name in named {
            let (topic, indexes) =
                name.split_once(':').map_or((name.as_str(), None), |(topic, rest)| (topic, Some(rest)));
            let found = cluster::topic(&self.cluster, self.bootstrap, topic, false).await?;
            match indexes {
                None => {
                    let there = cluster::partitions(&found, None)?;
                    all.extend(there.into_iter().map(|index| TopicPartition::new(topic, index)));
                }
                Some(indexes) => {
                    for index in indexes.split(',') {
                        let index = index
                            .trim()
                            .parse()
                            .map_err(|_| Failure::usage(format!("--topic takes TOPIC or TOPIC:N,N, not `{name}`")))?;
                        cluster::partitions(&found, Some(index))?;
                        all.push(TopicPartition::new(topic, index));
                    }
                }
            }
        }
        Ok(all)
    }

    async fn reset(&self, options: &ResetOptions) -> Outcome {
        let group = &options.group;
        match self.groups.describe(group).await {
            Ok(found) if found.state != "Empty" => {
                return Err(Failure::failed(format!(
                    "offsets can only be reset while group `{group}` has no members, but it is {}\n  see who they are with\n    \
                     cargo run --release -- groups describe {} --members --bootstrap-server {}",
                    found.state,
                    shell_word(group),
                    self.bootstrap.bootstrap_server
                )));
            }
            Ok(_) | Err(ClientError::Kafka { code: ErrorCode::GroupIdNotFound, .. }) => {}
            Err(error) => return Err(self.refused(group, error).await),
        }
        let committed = self.groups.offsets(group).await.map_err(failed)?;
        let partitions = match options.all_topics {
            true => committed.keys().cloned().collect(),
            false => self.partitions(&options.topics).await?,
        };
        let mut plan = Offsets::new();
        for partition in partitions {
            let to = self.target(options, &partition, committed.get(&partition)).await?;
            plan.insert(partition, Committed::at(to));
        }
        if options.execute {
            self.groups.set_offsets(group, &plan).await.map_err(failed)?;
        } else {
            eprintln!("nothing was changed; add --execute to do it");
        }
        let heads = vec![("GROUP", 15), ("TOPIC", 15), ("PARTITION", 10), ("NEW-OFFSET", 0)];
        let row = |(partition, to): (&TopicPartition, &Committed)| {
            let (topic, index) = (partition.topic.to_string(), partition.partition.to_string());
            vec![group.clone(), topic, index, to.offset.to_string()]
        };
        print(&Table { heads, rows: plan.iter().map(row).collect() }.text())?;
        Ok(exit::OK)
    }

    /// Where one partition is reset to; never outside its log.
    async fn target(
        &self,
        options: &ResetOptions,
        partition: &TopicPartition,
        committed: Option<&Committed>,
    ) -> Result<Offset, Failure> {
        let to = &options.to;
        let first = self.offset(partition, Seek::Beginning).await.map_err(failed)?;
        let end = self.offset(partition, Seek::End).await.map_err(failed)?;
        let wanted = match (to.to_offset, to.shift_by, &to.to_datetime, &to.by_duration) {
            (Some(offset), ..) => Offset(offset),
            (_, Some(count), ..) => {
                let problem = || format!("{partition} has no offset to shift; --to-offset sets one");
                let at = committed.ok_or_else(|| Failure::failed(problem()))?.offset;
                Offset(at.0.saturating_add(count))
            }
            (_, _, Some(time), _) => self.at_time(partition, datetime_ms(time)?, end).await?,
            (.., Some(duration)) => {
                self.at_time(partition, clock::wall_ms().saturating_sub(duration_ms(duration)?), end).await?
            }
            _ if to.to_earliest => first,
            _ if to.to_current => committed.map_or(end, |committed| committed.offset),
            _ => end,
        };
        Ok(wanted.clamp(first, end))
    }

    async fn at_time(&self, partition: &TopicPartition, time_ms: i64, end: Offset) -> Result<Offset, Failure> {
        let found = self.offset(partition, Seek::Timestamp(time_ms.max(0))).await.map_err(failed)?;
        Ok(if found == Offset::UNKNOWN { end } else { found })
    }

    async fn delete_offsets(&self, group: &str, topics: &[String]) -> Outcome {
        let partitions = self.partitions(topics).await?;
        let outcomes = match self.groups.delete_offsets(group, &partitions).await {
            Ok(outcomes) => outcomes,
            Err(error) => return Err(self.refused(group, error).await),
        };
        let row = |(partition, code): (&TopicPartition, &ErrorCode)| {
            let status = if *code == ErrorCode::None { "Successful".to_owned() } else { format!("Error: {code}") };
            vec![partition.topic.to_string(), partition.partition.to_string(), status]
        };
        let heads = vec![("TOPIC", 15), ("PARTITION", 10), ("STATUS", 15)];
        print(&Table { heads, rows: outcomes.iter().map(row).collect() }.text())?;
        let refused = outcomes.values().find(|code| **code != ErrorCode::None);
        Ok(if refused.is_some() { exit::VIOLATED } else { exit::OK })
    }

    /// Why nothing came of a command, and what to do.
    async fn refused(&self, group: &str, error: ClientError) -> Failure {
        let (word, bootstrap) = (shell_word(group), &self.bootstrap.bootstrap_server);
        match error {
            ClientError::Kafka { code: ErrorCode::GroupIdNotFound, .. } => {
                let all = self.groups.list().await.unwrap_or_default();
                let near = suggest::nearest(group, all.iter().map(|one| one.group.as_str()));
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                Failure::failed(format!(
                    "there is no group `{group}`{near}\n  see all with\n    \
                     cargo run --release -- groups list --bootstrap-server {bootstrap}"
                ))
            }
            ClientError::Kafka { code: ErrorCode::NonEmptyGroup, .. } => Failure::failed(format!(
                "group `{group}` has members\n  see who they are with\n    \
                 cargo run --release -- groups describe {word} --members --bootstrap-server {bootstrap}"
            )),
            error => failed(error),
        }
    }
}

/// Whether it is asked for; without names all are.
fn is_wanted(names: Option<&[String]>, name: &str) -> bool {
    let names = names.unwrap_or_default();
    names.is_empty() || names.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
}

fn check_names(option: &str, names: Option<&[String]>, known: &[&str]) -> Result<(), Failure> {
    let is_known = |name: &str| known.iter().any(|known| known.eq_ignore_ascii_case(name.trim()));
    match names.unwrap_or_default().iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!("{option} takes {}, not `{name}`", known.join(", ")))),
    }
}

fn datetime_ms(text: &str) -> Result<i64, Failure> {
    let wrong = |problem: jiff::Error| {
        Failure::usage(format!("--to-datetime takes a time as 2026-01-31T12:30:00.000, not `{text}`: {problem}"))
    };
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let time: jiff::civil::DateTime = text.parse().map_err(wrong)?;
    Ok(time.to_zoned(jiff::tz::TimeZone::UTC).map_err(wrong)?.timestamp().as_millisecond())
}

fn duration_ms(text: &str) -> Result<i64, Failure> {
    let wrong = |problem: jiff::Error| {
        Failure::usage(format!("--by-duration takes a duration as PT1H30M or P2D, not `{text}`: {problem}"))
    };
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(days).map_err(wrong)?;
    Ok(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;

    #[test]
    fn times_and_durations_are_read_as_kafkas_tool_reads_them() {
        for (text, ms) in [
            ("2026-01-31T12:30:00.250", 1_769_862_600_250),
            ("2026-01-31T12:30:00.250Z", 1_769_862_600_250),
            ("2026-01-31T12:30:00.250+01:00", 1_769_859_000_250),
        ] {
            assert_eq!(datetime_ms(text), Ok(ms), "{text}");
        }
        assert_eq!((duration_ms("PT1H30M"), duration_ms("P2D")), (Ok(5_400_000), Ok(172_800_000)));
        assert!(datetime_ms("yesterday").unwrap_err().message.starts_with("--to-datetime takes a time as"));
        assert!(duration_ms("1 year").unwrap_err().message.starts_with("--by-duration takes a duration as"));
    }

    #[test]
    fn assignments_are_written_by_topic() {
        let partitions = [("b", 1), ("a", 0), ("b", 2)].map(|(topic, index)| TopicPartition::new(topic, index));
        assert_eq!((by_topic(&partitions), by_topic(&[])), ("a:0;b:1,2".to_owned(), "-".to_owned()));
    }

    #[test]
    fn who_speaks_the_consumer_protocol_is_told_of_a_mixed_group_alone() {
        let last_column = |members: &[Option<bool>], verbose| {
            let member = |upgraded: &Option<bool>| Member {
                id: "m".to_owned(),
                instance_id: None,
                client_id: "c".to_owned(),
                host: "/127.0.0.1".to_owned(),
                assignment: Vec::new(),
                target: Some((3, Vec::new())),
                upgraded: *upgraded,
            };
            let found = Description {
                group: "g".to_owned(),
                state: "Stable".to_owned(),
                assignor: "uniform".to_owned(),
                coordinator: ("127.0.0.1:9092".to_owned(), NodeId(1)),
                epochs: Some((3, 3)),
                members: members.iter().map(member).collect(),
            };
            let table = members_table(&found, verbose);
            let last = table.lines().filter_map(|line| line.split_whitespace().next_back());
            last.collect::<Vec<_>>().join(" ")
        };
        for (members, verbose, expected) in [
            (&[Some(false), Some(true), None][..], true, "UPGRADED false true -"),
            (&[Some(false), Some(true)], false, "#PARTITIONS 0 0"),
            (&[Some(true), Some(true)], true, "TARGET-ASSIGNMENT - -"),
            (&[Some(false), None], true, "TARGET-ASSIGNMENT - -"),
        ] {
            assert_eq!(last_column(members, verbose), expected, "{members:?}");
        }
    }
}
