//! Which states stand for a moment: conditions that were false when the step before had fired and true when this one
//! fired, the one that came true last first.

use crate::{
    scenario::{
        Scenario,
        condition::Condition,
        file::Work,
        resolve,
        view::{Value, View},
    },
    trace::{Event, EventId, journal::Entry},
};

/// Most conditions that are tried for one step.
const TRIED: usize = 4;

/// Conditions that may take the place of the trigger of step `index` (from 0), as a run of `scenario` shows them.
pub fn before_step(scenario: &Scenario, events: &[Entry], index: usize) -> Vec<Condition> {
    let Ok(resolved) = resolve(scenario, None) else { return Vec::new() };
    let fired = |number: usize| {
        let is_it = move |entry: &&Entry| matches!(entry.event, Event::StepFired { step, .. } if step == number);
        events.iter().find(is_it).map(|entry| entry.id)
    };
    let Some(end) = fired(index + 1) else { return Vec::new() };
    let begin = if index == 0 { None } else { fired(index) };
    let view_at = |end: Option<EventId>| {
        let mut view = View::new(resolved.cast.clone());
        events.iter().take_while(|entry| end.is_some_and(|end| entry.id < end)).for_each(|entry| view.take(entry));
        view
    };
    let (before, now) = (view_at(begin), view_at(Some(end)));
    let fresh: Vec<Condition> = states(scenario, &now)
        .iter()
        .filter_map(|text| Condition::parse(text, 0).ok())
        .filter(|condition| condition.check(&resolved.cast).is_ok() && now.holds(condition) && !before.holds(condition))
        .collect();
    let mut view = View::new(resolved.cast.clone());
    let mut since: Vec<Option<EventId>> = vec![None; fresh.len()];
    for entry in events.iter().take_while(|entry| entry.id < end) {
        view.take(entry);
        for (condition, since) in fresh.iter().zip(&mut since) {
            match (view.holds(condition), &since) {
                (true, None) => *since = Some(entry.id),
                (false, Some(_)) => *since = None,
                _ => {}
            }
        }
    }
    let mut ranked: Vec<(Option<EventId>, Condition)> = since.into_iter().zip(fresh).collect();
    ranked.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
    ranked.into_iter().map(|(_, condition)| condition).take(TRIED).collect()
}

/// What can be said of a moment: how far clients, logs and the controller are.
fn states(scenario: &Scenario, now: &View) -> Vec<String> {
    let mut states = Vec::new();
    let value = |term: &str| {
        let condition = Condition::parse(&format!("{term} == 0"), 0).ok()?;
        condition.symbols().first().map(|symbol| now.value(symbol))
    };
    let at_least = |term: String| match value(&term) {
        Some(Value::Number(Some(number))) if number > 0 => Some(format!("{term} >= {number}")),
        _ => None,
    };
    let is = |term: String| match value(&term) {
        Some(nobody @ Value::Node(None)) => Some(format!("{term} == {nobody}")),
        Some(nodes @ (Value::Node(_) | Value::Nodes(_))) => Some(format!("{term} == {nodes}")),
        _ => None,
    };
    for partition in &now.cast().partitions {
        states.extend(is(format!("isr({partition})")));
        states.extend(is(format!("leader({partition})")));
        states.extend(at_least(format!("hw({partition})")));
        states.extend(at_least(format!("leo({partition})")));
    }
    for client in &scenario.clients {
        let functions: &[&str] = if matches!(client.work, Work::Send(_)) { &["acked", "sent"] } else { &["read"] };
        states.extend(functions.iter().filter_map(|function| at_least(format!("{function}({})", client.name))));
    }
    for (broker, _) in &now.cast().brokers {
        states.extend([format!("not running({broker})"), format!("running({broker})"), format!("fenced({broker})")]);
    }
    states
}
