//! A commit that was refused: who asked for it, in the name of which generation, and which generation the group was in.

use std::sync::Arc;

use super::{Scene, all_set, epoch_word, with_newer_behaviour};
use crate::{
    base::TopicPartition,
    check::{
        GroupPlan, Plan,
        story::{Effect, Kind, Moment, Sentence, Story, scene::client_set},
    },
    trace::{Event, EventId, journal::Entry},
};

/// A commit, and how it was refused.
#[derive(Clone, Copy)]
struct Refusal<'a> {
    event: EventId,
    group: &'a Arc<str>,
    /// Who asked, and when; and for which partition among others.
    client: &'a Arc<str>,
    sent: EventId,
    partition: &'a TopicPartition,
    generation: i32,
    group_generation: i32,
    error: &'a Arc<str>,
}

/// The first refusal of each client with each error.
pub(super) fn stories(entries: &[Entry], plan: &Plan) -> Vec<Story> {
    let mut first: Vec<Refusal<'_>> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Event::CommitRefused { group, generation, group_generation, error, member } = &entry.event else {
            continue;
        };
        // The newest commit that says of itself what was refused, and is not answered yet.
        let asked = entries[..index].iter().rev().find_map(|sent| match &sent.event {
            Event::CommitSent { group: g, member: m, generation: of, offsets }
                if (g, m, of) == (group, member, generation) =>
            {
                Some((sent, &offsets.first()?.0))
            }
            _ => None,
        });
        let Some((sent, partition)) = asked else { continue };
        let known = |other: &Refusal<'_>| (other.group, other.client, other.error) == (group, &sent.node, error);
        if !first.iter().any(known) {
            let (event, client, sent, generation) = (entry.id, &sent.node, sent.id, *generation);
            let group_generation = *group_generation;
            first.push(Refusal { event, group, client, sent, partition, generation, group_generation, error });
        }
    }
    first.iter().filter_map(|refusal| Some(story(entries, plan, plan.groups.get(refusal.group)?, refusal))).collect()
}

fn story(entries: &[Entry], plan: &Plan, of_group: &GroupPlan, refusal: &Refusal<'_>) -> Story {
    let Refusal { event, group, client, sent, partition, generation, group_generation, error } = *refusal;
    let mut scene = Scene::new(group, partition, of_group);
    let word = epoch_word(of_group);
    // From where it was given its last partition, or stood still.
    let (mut begin, mut end, mut paused, mut owner) = (sent, event, false, None);
    for entry in entries {
        scene.observe(entry);
        let is_client = entry.node == *client;
        match &entry.event {
            Event::PartitionsAssigned { partitions, .. } if partitions.contains(partition) && entry.id < event => {
                owner = Some(&entry.node);
                if is_client {
                    (begin, paused) = (entry.id, false);
                }
            }
            Event::NodePaused if is_client && entry.id < event => (begin, paused) = (entry.id, true),
            Event::CommitSent { offsets, .. } if entry.id == sent => {
                let offset =
                    offsets.iter().find(|(p, _)| p == partition).map_or_else(String::new, |(_, o)| o.to_string());
                let (text, outside) = (format!("asks for {offset} of {partition} to be committed"), generation < 0);
                let name = if outside { "as no member".into() } else { format!("in {word} {generation}") };
                scene.say(entry, format!("{text}, {name}"));
            }
            Event::CommitRefused { .. } if entry.id == event => {
                let text = match generation {
                    ..0 => format!("refuses the commit with {error}: the group has members"),
                    _ => format!("refuses the commit with {error}: the group is in {word} {group_generation}"),
                };
                scene.say_moment(entry, text, Moment::Refused);
            }
            Event::CommitAnswered { sent: of, .. } if *of == sent => end = entry.id,
            Event::PartitionsLost { partitions, .. }
                if is_client && entry.id > end && partitions.contains(partition) =>
            {
                end = entry.id;
                break;
            }
            // What it does next, whatever that is.
            Event::CommitSent { .. } if is_client && entry.id > end && end > event => break,
            _ => {}
        }
    }
    let owner = owner.filter(|owner| *owner != client);
    Story {
        kind: Kind::CommitRefused,
        partition: partition.clone(),
        subject: format!("{partition}  {client}  {error}  group {group}"),
        records: Vec::new(),
        lines: scene.between(begin, end),
        therefore: therefore(plan, of_group, refusal, paused, owner),
        untold: 0,
    }
}

fn therefore(
    plan: &Plan,
    of_group: &GroupPlan,
    refusal: &Refusal<'_>,
    paused: bool,
    owner: Option<&Arc<str>>,
) -> Vec<Sentence> {
    let Refusal { group, client, generation, group_generation, error, .. } = *refusal;
    if of_group.workers.get(client).is_some_and(|worker| &*worker.application == "assign") {
        return vec![
            Sentence::plain(format!(
                "{client} is no member of {group}, and as long as there are members they alone say where the group goes \
                 on: an offset from outside could send them back, or past what they have not done."
            )),
            Sentence::about(
                &[client_set(client, "consume.group", "another-group")],
                Effect::Helps,
                format!("With a group of its own, which has no members, {client} would not have been refused."),
            ),
        ];
    }
    if **error == *"STALE_MEMBER_EPOCH" {
        let mut therefore = vec![Sentence::plain(format!(
            "{client} lives and is a member: its epoch had moved from {generation} to {group_generation} on the way. It \
             hears of that with its next heartbeat, and asks again."
        ))];
        if plan.switches.contains_key("commit_by_assignment_epoch") || plan.switches.contains_key("era") {
            therefore.push(Sentence::about(
                &["switch.commit_by_assignment_epoch=true".to_owned()],
                Effect::Helps,
                "Since Kafka 4.3 it would have been taken: nobody else can have had the partition since that epoch \
                 (KIP-1251).",
            ));
        }
        return therefore;
    }
    if **error == *"REBALANCE_IN_PROGRESS" {
        return vec![Sentence::plain(format!(
            "the members had joined generation {group_generation} and waited to hear what each has in it: no commit is taken \
             in between. Who polls on and commits again is heard, as far as the partition is still its own."
        ))];
    }
    if **error == *"FENCED_INSTANCE_ID" {
        let now = owner.map_or_else(String::new, |owner| format!(", and {owner} has the partition"));
        let mut therefore = vec![Sentence::plain(format!(
            "by what the coordinator knows, the group.instance.id of {client} is another member's{now}. Of two that claim \
             to be the same member one is fenced: the one with the older member id."
        ))];
        if let Some(owner) = owner {
            therefore.push(Sentence::about(
                &[client_set(owner, "group.instance.id", owner)],
                Effect::Helps,
                format!("With a group.instance.id of its own {owner} would have been a member beside {client}."),
            ));
        }
        therefore.extend(with_newer_behaviour(plan));
        return therefore;
    }
    let now = owner.map_or_else(String::new, |owner| format!(", and {owner} has the partition"));
    let word = epoch_word(of_group);
    let of = match generation {
        ..0 => format!("{client} had been told that it is no member any more"),
        _ => format!("the commit is of {word} {generation}"),
    };
    let mut therefore = vec![Sentence::plain(format!(
        "{of}; the group is in {word} {group_generation}{now}. Taking the commit could send the group back. The work \
         that it was for is in the world all the same, and whoever has the partition does it again unless it was \
         committed before."
    ))];
    let is_dynamic = of_group.workers.get(client).is_some_and(|worker| worker.instance.is_none() && !worker.modern);
    if paused && is_dynamic {
        therefore.push(Sentence::about(
            &all_set([client], "group.instance.id", client),
            Effect::DoesNotHelp,
            "group.instance.id would NOT have helped: a static member's session ends as well.",
        ));
    }
    therefore
}
