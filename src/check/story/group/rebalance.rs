//! A partition that nobody had for a while: who left and why, and how long it took until somebody had it again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Scene, all_set};
use crate::{
    base::{Time, TopicPartition},
    check::{
        GroupPlan,
        story::{Effect, Kind, Moment, Sentence, Story},
    },
    trace::{Event, EventId, journal::Entry},
};

/// A time in which nobody worked on a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap<'a> {
    partition: &'a TopicPartition,
    /// Who had it, since when nobody has, and why.
    owner: &'a Arc<str>,
    from: (EventId, Time),
    why: Why,
    /// Who has it then; `None`: nobody to the end.
    to: Option<(EventId, Time, &'a Arc<str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its process ended by itself.
    Stopped,
    /// It died.
    Died,
    /// It stood still.
    Paused,
    /// It was asked to give it up.
    GaveUp,
    /// It learned that it was put out.
    Lost,
}

impl Gap<'_> {
    fn length_ns(&self) -> u64 {
        self.to.as_ref().map_or(u64::MAX, |(_, time, _)| time.0.saturating_sub(self.from.1.0))
    }
}

/// Before everything is healed: for each time in which partitions were without an owner, the story of one of them - one
/// that came back to whom it had, which an eager protocol costs, else the one that waited longest.
pub(super) fn stories(entries: &[Entry], group: &Arc<str>, plan: &GroupPlan) -> Vec<Story> {
    let mut gaps: Vec<Gap<'_>> =
        plan.partitions.iter().flat_map(|partition| gaps(entries, group, plan, partition)).collect();
    gaps.sort_by_key(|gap| gap.from);
    let mut together: Vec<Vec<Gap<'_>>> = Vec::new();
    for gap in gaps {
        let overlaps = |one: &Gap<'_>| one.to.as_ref().is_none_or(|(end, ..)| *end >= gap.from.0);
        match together.last_mut() {
            Some(lot) if lot.iter().any(overlaps) => lot.push(gap),
            _ => together.push(vec![gap]),
        }
    }
    let told = together.iter().filter_map(|lot| {
        let is_eager = lot.iter().all(|gap| gap.why == Why::GaveUp);
        let came_back =
            lot.iter().find(|gap| is_eager && gap.to.as_ref().is_some_and(|(.., successor)| *successor == gap.owner));
        let chosen = came_back.or_else(|| lot.iter().max_by_key(|gap| gap.length_ns()))?;
        Some(story(entries, group, plan, chosen, lot.len()))
    });
    told.collect()
}

fn gaps<'a>(entries: &'a [Entry], group: &Arc<str>, plan: &GroupPlan, partition: &'a TopicPartition) -> Vec<Gap<'a>> {
    let mut gaps: Vec<Gap<'a>> = Vec::new();
    let mut owner: Option<&'a Arc<str>> = None;
    let mut open: Option<Gap<'a>> = None;
    let mut healed = false;
    for entry in entries {
        let node = &entry.node;
        let mut leave = |why: Why, open: &mut Option<Gap<'a>>| {
            if owner == Some(node) {
                owner = None;
                *open = Some(Gap { partition, owner: node, from: (entry.id, entry.time), why, to: None });
            }
        };
        match &entry.event {
            Event::SettleBegan => healed = true,
            // What healing itself does is no part of the story.
            _ if healed && open.is_none() => break,
            Event::NodeStopped { how } if plan.members.contains(node) => {
                let is_clean = *how == crate::trace::StopKind::Clean;
                leave(if is_clean { Why::Stopped } else { Why::Died }, &mut open);
                // Who ends in peace gives up first.
                let gave_up = |gap: &&mut Gap<'_>| gap.owner == node && gap.why == Why::GaveUp;
                if let Some(gap) = open.as_mut().filter(gave_up).filter(|_| is_clean) {
                    gap.why = Why::Stopped;
                }
            }
            Event::NodePaused => leave(Why::Paused, &mut open),
            Event::PartitionsRevoked { group: g, partitions, .. } if g == group && partitions.contains(partition) => {
                leave(Why::GaveUp, &mut open);
            }
            Event::PartitionsLost { group: g, partitions, .. } if g == group && partitions.contains(partition) => {
                leave(Why::Lost, &mut open);
            }
            // It is there again before anybody missed it.
            Event::NodeResumed if open.as_ref().is_some_and(|gap| gap.owner == node && gap.why == Why::Paused) => {
                owner = Some(node);
                open = None;
            }
            Event::PartitionsAssigned { group: g, partitions, .. } if g == group && partitions.contains(partition) => {
                owner = Some(node);
                gaps.extend(open.take().map(|gap| Gap { to: Some((entry.id, entry.time, node)), ..gap }));
            }
            _ => {}
        }
    }
    gaps.extend(open);
    gaps
}

fn story(entries: &[Entry], group: &Arc<str>, plan: &GroupPlan, gap: &Gap<'_>, partitions: usize) -> Story {
    let mut scene = Scene::new(group, gap.partition, plan);
    let last = entries.last().map_or(gap.from.0, |entry| entry.id);
    let end = gap.to.as_ref().map_or(last, |(event, ..)| *event);
    let mut out: BTreeSet<String> = BTreeSet::new();
    let mut put_out = None;
    // What led to it came before: the members were asked to join again.
    let mut begin = gap.from.0;
    let mut asked = None;
    // Or its owner was out already, and had not heard of it.
    let mut out_before = None;
    for entry in entries {
        scene.observe(entry);
        if let Some(line) = scene.lines.last_mut().filter(|line| line.event == entry.id) {
            match entry.id {
                id if id == gap.from.0 => line.moment = Some(Moment::Unowned),
                id if id == end && gap.to.is_some() => line.moment = Some(Moment::OwnedAgain),
                _ => {}
            }
        }
        match &entry.event {
            Event::RebalanceBegan { group: g, .. } if g == group && entry.id < gap.from.0 => asked = Some(entry.id),
            Event::GroupAssigned { group: g, .. } if g == group && entry.id < gap.from.0 => asked = None,
            Event::PartitionsAssigned { group: g, partitions, .. }
                if g == group && entry.id < gap.from.0 && partitions.contains(gap.partition) =>
            {
                out_before = None;
            }
            Event::MemberLeft { group: g, member, why }
                if g == group && entry.id < gap.from.0 && scene.name(member) == **gap.owner =>
            {
                out_before = Some((entry.id, format!("{} ({})", gap.owner, scene.why_out(member, why))));
            }
            Event::MemberLeft { group: g, member, why } if g == group && gap.from.0 < entry.id && entry.id <= end => {
                out.insert(format!("{} ({})", scene.name(member), scene.why_out(member, why)));
                if scene.name(member) == **gap.owner {
                    put_out = Some(entry.time);
                }
            }
            _ => {}
        }
    }
    match (gap.why, out_before) {
        (Why::GaveUp, _) => begin = asked.unwrap_or(begin),
        (Why::Lost, Some((event, left))) => {
            begin = event;
            out.insert(left);
        }
        _ => {}
    }
    let length = match &gap.to {
        Some((_, time, _)) => format!("for {:.3} s", time.since(gap.from.1).as_secs_f64()),
        None => "to the end".to_owned(),
    };
    Story {
        kind: Kind::Rebalance,
        partition: gap.partition.clone(),
        subject: format!("{}  without an owner {length}  group {group}", gap.partition),
        records: Vec::new(),
        lines: scene.between(begin, end),
        therefore: therefore(plan, gap, partitions, &length, &out, put_out),
        untold: 0,
    }
}

fn therefore(
    plan: &GroupPlan,
    gap: &Gap<'_>,
    partitions: usize,
    length: &str,
    out: &BTreeSet<String>,
    put_out: Option<Time>,
) -> Vec<Sentence> {
    let Gap { owner, why, .. } = gap;
    let mut all = format!("nobody worked on {} {length}", gap.partition);
    if partitions > 1 {
        all.push_str(&format!(", and on {} more of the group's partitions for a part of that", partitions - 1));
    }
    let because = match (why, put_out) {
        (Why::Died | Why::Paused, Some(time)) => format!(
            "{owner} {} without a word, and the coordinator put it out {:.3} s later",
            if *why == Why::Died { "died" } else { "stood still" },
            time.since(gap.from.1).as_secs_f64()
        ),
        (Why::Died, None) => format!("{owner} died, and was back before anybody missed it"),
        (Why::Paused, None) => format!("{owner} stood still, and nobody missed it"),
        (Why::Stopped, _) => format!("{owner} ended"),
        (Why::Lost, _) => format!("{owner} learned that it was no longer a member"),
        (Why::GaveUp, _) => format!("{owner} was asked to give it up, for the group rebalanced"),
    };
    let left = match out.is_empty() {
        true => "nobody left the group".to_owned(),
        false => format!("out of the group: {}", out.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    let then = match &gap.to {
        Some((_, _, successor)) if successor == owner => format!("{owner} got it again"),
        Some((_, _, successor)) => format!("then {successor} got it"),
        None => "nobody got it any more".to_owned(),
    };
    let mut therefore = vec![Sentence::plain(format!("{all}: {because}; {left}; {then}."))];
    let Some(worker) = plan.workers.get(*owner) else { return therefore };
    let is_classic = plan.workers.values().all(|worker| !worker.modern);
    match why {
        Why::Died if is_classic && worker.instance.is_none() && put_out.is_some() => {
            let id = all_set([*owner], "group.instance.id", owner);
            therefore.push(Sentence::about(
                &id,
                Effect::Helps,
                format!(
                    "With group.instance.id, {owner} would have been known when it was back: no rebalance, and nobody \
                     waits for a session to end."
                ),
            ));
        }
        Why::GaveUp if is_classic && !worker.cooperative && gap.to.as_ref().is_some_and(|(.., next)| next == owner) => {
            therefore.push(Sentence::about(
                &all_set(&plan.members, "partition.assignment.strategy", "cooperative-sticky"),
                Effect::Helps,
                format!("With cooperative-sticky {owner} would have kept it: only what moves is given up (KIP-429)."),
            ));
        }
        _ => {}
    }
    let silent = matches!(why, Why::Died | Why::Paused).then_some(put_out).flatten();
    if silent.is_some_and(|time| time.since(gap.from.1) > SHORT_SESSION + SHORT_SESSION / 2) {
        therefore.push(with_short_session(plan, worker.modern, *why == Why::Died));
    }
    therefore
}

/// The shortest session that brokers allow, unless they are told otherwise.
const SHORT_SESSION: Duration = Duration::from_secs(6);

/// A sentence about missing sooner who is silent.
fn with_short_session(plan: &GroupPlan, modern: bool, died: bool) -> Sentence {
    let (name, set) = match modern {
        false => {
            let mut set = all_set(&plan.members, "session.timeout.ms", "6000");
            set.extend(all_set(&plan.members, "heartbeat.interval.ms", "1000"));
            ("session.timeout.ms", set)
        }
        true => {
            let set = [("session.timeout.ms", 6000), ("heartbeat.interval.ms", 1000)].map(|(name, ms)| {
                [format!("cluster.group.consumer.{name}={ms}"), format!("cluster.group.consumer.min.{name}={ms}")]
            });
            ("group.consumer.session.timeout.ms", set.concat())
        }
    };
    let too = if died { "; a member that only stands still, too" } else { "" };
    Sentence::about(&set, Effect::Helps, format!("With {name}=6000 it would have been missed sooner{too}."))
}
