//! Variants are overlays: they change a few keys of a scenario, and the report prints exactly those.

use std::collections::BTreeMap;

use super::{
    action::Action,
    file::{Given, Scenario, Settings, Step, StepChange, Variant, Work},
    parse::{self, check_count},
    source::{Problem, Spot, duration, show_duration, unknown},
};
use crate::check::{Claim, Expectation, Expected};

/// A key that a variant changes: its value without the variant, if it had one, and with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key as the variant writes it.
    pub key: String,
    /// Without the variant.
    pub from: Option<String>,
    /// With it.
    pub to: String,
}

/// Variants that every scenario has without declaring them: for each step that breaks something, the story in which
/// it still waits for its moment and then does nothing. They expect nothing: what comes of them is what one wants to see.
pub fn without_steps(scenario: &Scenario) -> Vec<Variant> {
    let breaks = |action: &Action| {
        !matches!(
            action,
            Action::Restart(_)
                | Action::RestartBlank(_)
                | Action::Resume(_)
                | Action::Release(..)
                | Action::Heal(_)
                | Action::HealAll
                | Action::Settle
                | Action::HealDisk(_)
                | Action::Nothing
        )
    };
    let steps = scenario.steps.iter().enumerate().filter(|(_, step)| step.actions.value.iter().any(breaks));
    let variant = |number: usize, at: usize| Variant {
        name: Spot::new(format!("without step {number}"), at),
        note: None,
        set: BTreeMap::new(),
        steps: BTreeMap::from([(
            number,
            Spot::new(StepChange { actions: Some(Spot::new(vec![Action::Nothing], at)), ..StepChange::default() }, at),
        )]),
        expect: Claim::ALL.iter().map(|&claim| Expectation { claim, value: Expected::Any, lost: None }).collect(),
        must_reach: Some(Vec::new()),
    };
    steps.map(|(index, step)| variant(index + 1, step.place.at)).collect()
}

/// The scenario with the variant's changes, and what they are.
///
/// # Errors
/// A key or a step that the scenario does not have, or a value that the key cannot have.
pub fn overlay(scenario: &Scenario, variant: &Variant) -> Result<(Scenario, Vec<Change>), Problem> {
    let mut changed = scenario.clone();
    let mut changes = set_all(&mut changed, &variant.set)?;
    let mut off = Vec::new();
    for (number, change) in &variant.steps {
        let count = changed.steps.len();
        let Some(step) = changed.steps.get_mut(number - 1) else {
            return Err(Problem::at(change.at, format!("there is no step {number}; the scenario has {count}")));
        };
        let change = &change.value;
        let is_rebound = change.within.is_some_and(|within| within != step.within);
        let told = |step: &Step| {
            let within = if is_rebound { format!(" within {}", show_duration(step.within)) } else { String::new() };
            format!("{}{within}: {}", step.trigger(), super::action::show(&step.actions.value))
        };
        let from = told(step);
        if change.off {
            off.push(number - 1);
        }
        if change.when.is_some() || change.on.is_some() || change.after.is_some() {
            (step.at, step.after) = (None, change.after);
            (step.when, step.on) = (change.when.clone(), change.on.clone());
        }
        step.actions = change.actions.clone().unwrap_or_else(|| step.actions.clone());
        step.within = change.within.unwrap_or(step.within);
        step.note = change.note.clone().or_else(|| step.note.take());
        let to = match change.off {
            true => "left out".to_owned(),
            false => told(step),
        };
        // Another note alone changes nothing.
        if from != to {
            changes.push(Change { key: format!("step {number}"), from: Some(from), to });
        }
    }
    for index in off.into_iter().rev() {
        changed.steps.remove(index);
    }
    for expectation in &variant.expect {
        changed.expect.retain(|other| other.claim != expectation.claim);
        changed.expect.push(expectation.clone());
    }
    if let Some(marks) = &variant.must_reach {
        changed.must_reach = marks.clone();
    }
    Ok((changed, changes))
}

/// Sets keys, and says what that changes.
///
/// # Errors
/// A key that the scenario does not have, or a value that the key cannot have.
pub fn set_all(scenario: &mut Scenario, given: &BTreeMap<String, Spot<Given>>) -> Result<Vec<Change>, Problem> {
    let change = |(key, given): (&String, &Spot<Given>)| {
        let from = set(scenario, key, given)?;
        let to = match &given.value {
            Given::Text(text) => text.clone(),
            list @ Given::List(_) => list.to_string(),
        };
        Ok(Change { key: key.clone(), from, to })
    };
    given.iter().map(change).collect()
}

/// A key and its value as the command line has them: `topic.orders.min.insync.replicas=2`.
///
/// # Errors
/// There is no `=`, or a list that cannot be read.
pub fn read_set(text: &str) -> Result<(String, Spot<Given>), String> {
    let wrong = || format!("expected KEY=VALUE, as topic.orders.min.insync.replicas=2, found `{text}`");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let given = match value.starts_with('[') {
        true => parse::list_given(value).map_err(|problem| format!("{key}: {}", problem.message))?,
        false => Given::Text(value.to_owned()),
    };
    Ok((key.to_owned(), Spot::new(given, 0)))
}

/// Sets one key; returns what it was.
fn set(scenario: &mut Scenario, key: &str, given: &Spot<Given>) -> Result<Option<String>, Problem> {
    let at = given.at;
    if key == "era" {
        let old = scenario.era.take().map(|era| era.value);
        scenario.era = Some(text(given)?);
        return Ok(old);
    }
    if let Some(name) = key.strip_prefix("switch.") {
        return put(&mut scenario.switches, name, given);
    }
    if key == "cluster.racks" {
        let racks = texts(given)?.into_iter().map(|rack| rack.value).collect::<Vec<_>>();
        if racks.len() as u64 != scenario.cluster.brokers {
            let message = format!("expected a rack for each of {} brokers", scenario.cluster.brokers);
            return Err(Problem::at(at, message));
        }
        let old = std::mem::replace(&mut scenario.cluster.racks, racks);
        return Ok((!old.is_empty()).then(|| old.join(", ")));
    }
    if let Some(name @ ("brokers" | "controllers")) = key.strip_prefix("cluster.") {
        return Err(Problem::at(
            at,
            format!("a variant cannot change the number of {name}; it may set `cluster.racks`"),
        ));
    }
    if let Some(name) = key.strip_prefix("cluster.") {
        return put(&mut scenario.cluster.config, name, given);
    }
    if let Some(rest) = key.strip_prefix("topic.") {
        let names: Vec<String> = scenario.topics.iter().map(|topic| topic.name.value.clone()).collect();
        let found = scenario.topics.iter_mut().find_map(|topic| {
            let name = rest.strip_prefix(topic.name.value.as_str())?.strip_prefix('.')?;
            Some((topic, name))
        });
        let Some((topic, name)) = found else {
            let word = rest.split('.').next().unwrap_or(rest);
            return Err(Problem::at(at, unknown("a topic", word, names.iter().map(String::as_str))));
        };
        if name != "replicas" {
            return put(&mut topic.config, name, given);
        }
        let partitions = match &given.value {
            Given::List(partitions) => partitions.iter().map(texts).collect::<Result<Vec<_>, _>>()?,
            Given::Text(_) => return Err(Problem::at(at, "expected a list of replicas for each partition")),
        };
        let show = |partitions: &[Vec<Spot<String>>]| {
            let one = |replicas: &Vec<Spot<String>>| {
                replicas.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(" ")
            };
            partitions.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let old = std::mem::replace(&mut topic.replicas, partitions);
        return Ok(Some(show(&old)));
    }
    if let Some(rest) = key.strip_prefix("client.") {
        let (word, name) = rest.split_once('.').unwrap_or((rest, ""));
        let names: Vec<String> = scenario.clients.iter().map(|client| client.name.value.clone()).collect();
        let Some(client) = scenario.clients.iter_mut().find(|client| client.name.value == word) else {
            return Err(Problem::at(at, unknown("a client", word, names.iter().map(String::as_str))));
        };
        if let (Some(field), Work::Consume(consuming)) = (name.strip_prefix("consume."), &mut client.work) {
            return consuming.change(field, &text(given)?).map(Some);
        }
        return match (name.strip_prefix("send."), &mut client.work) {
            (None, _) if name.is_empty() => {
                Err(Problem::at(at, format!("expected a setting of `{word}`, as `client.{word}.client.id`")))
            }
            (None, _) => put(&mut client.config, name, given),
            (Some("count"), Work::Send(sending)) => {
                let count = text(given)?;
                let wrong = || Problem::at(at, format!("expected a number of records, found `{count}`"));
                let parsed = count.value.parse().map_err(|_| wrong())?;
                check_count(parsed).map_err(|message| Problem::at(at, message))?;
                Ok(Some(std::mem::replace(&mut sending.count, parsed).to_string()))
            }
            (Some("every"), Work::Send(sending)) => {
                let parsed = duration(&text(given)?.value).map_err(|message| Problem::at(at, message))?;
                let old = std::mem::replace(&mut sending.every, parsed);
                Ok(Some(show_duration(old)))
            }
            (Some(field), Work::Send(_)) => {
                Err(Problem::at(at, unknown("a key of `send` that a variant may set", field, ["count", "every"])))
            }
            (Some(_), Work::Read(_) | Work::Consume(_)) => Err(Problem::at(at, format!("`{word}` does not send"))),
        };
    }
    let known = ["era", "switch", "cluster", "topic", "client"];
    let word = key.split('.').next().unwrap_or(key);
    Err(Problem::at(at, unknown("what a variant may set", word, known)))
}

fn put(settings: &mut Settings, name: &str, given: &Spot<Given>) -> Result<Option<String>, Problem> {
    Ok(settings.insert(name.to_owned(), text(given)?).map(|old| old.value))
}

fn text(given: &Spot<Given>) -> Result<Spot<String>, Problem> {
    match &given.value {
        Given::Text(text) => Ok(Spot::new(text.clone(), given.at)),
        Given::List(_) => Err(Problem::at(given.at, "expected a text, a number, true or false, found a list")),
    }
}

fn texts(given: &Spot<Given>) -> Result<Vec<Spot<String>>, Problem> {
    match &given.value {
        Given::List(list) => list.iter().map(text).collect(),
        Given::Text(text) => Err(Problem::at(given.at, format!("expected a list, found `{text}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_step_says_what_became_different_and_no_more() {
        let story = "
            kafka = \"4.1\"
            title = \"a story\"
            cluster.brokers = 1
            [[topic]]
            name = \"t\"
            replicas = [[\"b1\"]]
            [[step]]
            when = \"hw(t-0) >= 1\"
            do = \"nothing\"
        ";
        let told = |change: &str| {
            let text = format!("{story}\n[[variant]]\nname = \"v\"\n[variant.steps.1]\n{change}\n");
            let scenario = parse::parse(&text).unwrap_or_else(|problem| panic!("{change}: {problem:?}"));
            let (_, changes) = overlay(&scenario, &scenario.variants[0]).expect("the step is there");
            changes.into_iter().map(|change| (change.from.expect("it was something"), change.to)).collect::<Vec<_>>()
        };
        let was = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
        let bound = was("when hw(t-0) >= 1 within 30s: nothing", "when hw(t-0) >= 1 within 60s: nothing");
        assert_eq!(told("within = \"60s\""), bound);
        assert_eq!(told("do = \"stop b1\""), was("when hw(t-0) >= 1: nothing", "when hw(t-0) >= 1: stop b1"));
        assert_eq!(told("note = \"Look.\""), []);
    }
}
