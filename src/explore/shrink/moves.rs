//! What the shrinker tries: each function makes smaller scenarios of one, the boldest first. A candidate may be no
//! scenario at all, such as one whose step speaks of a client that is gone: those are not run.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    base::Time,
    runtime::DiskFault,
    scenario::{
        Scenario, Spot, action,
        action::Action,
        condition::Condition,
        file::{Client, DEADLINE, Settings, Step, WITHIN, Work},
        groups::{Application, Consuming},
        parse,
    },
    trace::{Event, journal::Entry},
};

/// Without some steps.
pub fn steps(of: &Scenario, without: &BTreeSet<usize>) -> (usize, Scenario) {
    let mut scenario = of.clone();
    let mut index = 0..;
    scenario.steps.retain(|_| !without.contains(&index.next().expect("numbers do not end")));
    (of.steps.len(), scenario)
}

/// When each step came in a run of it.
pub fn times(of: &Scenario, events: &[Entry]) -> Vec<Option<Time>> {
    let mut times = vec![None; of.steps.len()];
    for entry in events {
        if let Event::StepFired { step, .. } = entry.event {
            times[step - 1] = Some(entry.time);
        }
    }
    times
}

/// A step that comes so long after the one before it.
fn waits(step: &mut Step, time: Duration) {
    (step.at, step.on, step.when) = (None, None, None);
    step.after = Some(Duration::from_millis(time.as_millis() as u64));
}

/// Without the steps that did not come. In the second candidate the time that the story waited for them still passes: a
/// step behind them comes as long after the step before as it did, and the end waits.
pub fn fired(of: &Scenario, times: &[Option<Time>]) -> Vec<Scenario> {
    let fired: Vec<(usize, Time)> =
        times.iter().enumerate().filter_map(|(index, time)| Some((index, (*time)?))).collect();
    let mut idle: BTreeSet<usize> = (0..of.steps.len()).filter(|index| times[*index].is_none()).collect();
    let Some((last, _)) = fired.last().filter(|_| !idle.is_empty()) else { return Vec::new() };
    let mut timed = of.clone();
    for pair in fired.windows(2) {
        let [(before, then), (index, now)] = *pair else { unreachable!("a window has two") };
        if index - before > 1 {
            waits(&mut timed.steps[index], now.since(then));
        }
    }
    let plain = steps(of, &idle).1;
    if idle.remove(&(last + 1)) {
        let patience = of.steps[last + 1..].iter().map(|step| step.within).sum();
        let end = &mut timed.steps[last + 1];
        waits(end, patience);
        (end.optional, end.actions.value) = (false, vec![Action::Nothing]);
    }
    vec![plain, steps(&timed, &idle).1]
}

/// Without one step; the next comes when it came before. `None` where that is not known.
pub fn in_time(of: &Scenario, times: &[Option<Time>], index: usize) -> Option<Scenario> {
    let now = (*times.get(index + 1)?)?;
    let time = match index.checked_sub(1) {
        Some(before) => now.since(times[before]?),
        None => now.since(times[0]?) + of.steps[0].after?,
    };
    let mut scenario = of.clone();
    waits(&mut scenario.steps[index + 1], time);
    scenario.steps.remove(index);
    Some(scenario)
}

/// Without one client, and without the topics that nobody uses then.
pub fn clients(of: &Scenario) -> Vec<Scenario> {
    let drop = |index: usize| {
        let mut scenario = of.clone();
        scenario.clients.remove(index);
        let used: BTreeSet<String> = scenario.clients.iter().map(|client| client.work.topic().value.clone()).collect();
        scenario.topics.retain(|topic| used.contains(&topic.name.value));
        drop_faulty_steps(scenario)
    };
    (0..of.clients.len()).rev().map(drop).collect()
}

/// Without one consumer group; with an application that does less.
pub fn groups(of: &Scenario) -> Vec<Scenario> {
    let consuming = |client: &Client| match &client.work {
        Work::Consume(consuming) => Some(consuming.clone()),
        Work::Send(_) | Work::Read(_) => None,
    };
    let mut names: Vec<String> = of.clients.iter().filter_map(consuming).map(|found| found.group.value).collect();
    names.dedup();
    let mut candidates: Vec<Scenario> = Vec::new();
    for name in &names {
        let mut scenario = of.clone();
        scenario.clients.retain(|client| consuming(client).is_none_or(|found| found.group.value != *name));
        let used: BTreeSet<String> = scenario.clients.iter().map(|client| client.work.topic().value.clone()).collect();
        scenario.topics.retain(|topic| used.contains(&topic.name.value));
        candidates.push(drop_faulty_steps(scenario));
    }
    for (index, found) in of.clients.iter().enumerate().filter_map(|(index, client)| Some((index, consuming(client)?)))
    {
        let plain = [
            Consuming { processing: Duration::ZERO..=Duration::ZERO, ..found.clone() },
            Consuming { processing: *found.processing.end()..=*found.processing.end(), ..found.clone() },
            Consuming { application: Application::AtLeastOnce, ..found.clone() },
        ];
        for plainer in plain.into_iter().filter(|plainer| *plainer != found) {
            let mut scenario = of.clone();
            scenario.clients[index].work = Work::Consume(plainer);
            candidates.push(scenario);
        }
    }
    candidates
}

/// Without the steps that speak of what is gone.
fn drop_faulty_steps(mut scenario: Scenario) -> Scenario {
    let steps = std::mem::take(&mut scenario.steps);
    for step in steps {
        scenario.steps.push(step);
        if crate::scenario::resolve(&scenario, None).is_err() {
            scenario.steps.pop();
        }
    }
    scenario
}

/// With one partition of a topic only, or without the last.
pub fn partitions(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for (topic, found) in of.topics.iter().enumerate().filter(|(_, topic)| topic.replicas.len() > 1) {
        let name = &found.name.value;
        for kept in 0..found.replicas.len() {
            let mut scenario = of.clone();
            scenario.topics[topic].replicas = vec![found.replicas[kept].clone()];
            for client in &mut scenario.clients {
                if let Work::Send(sending) = &mut client.work
                    && sending.topic.value == *name
                {
                    sending.partition = sending.partition.map(|_| 0);
                }
            }
            let renamed = replaced(&scenario, &[(format!("{name}-{kept}"), format!("{name}-0"))]);
            candidates.extend(renamed.map(drop_faulty_steps));
        }
        let mut scenario = of.clone();
        scenario.topics[topic].replicas.pop();
        candidates.push(drop_faulty_steps(scenario));
    }
    candidates
}

/// The scenario with words replaced, all at once. A word is what stands between characters that no name has.
fn replaced(scenario: &Scenario, words: &[(String, String)]) -> Option<Scenario> {
    let text = scenario.to_string();
    let mut out = String::with_capacity(text.len());
    let is_word = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) { rest.find(|char| !is_word(char)) } else { Some(first.len_utf8()) };
        let (word, after) = rest.split_at(length.unwrap_or(rest.len()));
        out.push_str(words.iter().find(|(from, _)| from == word).map_or(word, |(_, to)| to));
        rest = after;
    }
    parse(&out).ok()
}

/// Without racks; without one broker, wherever it stands.
pub fn brokers(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    if !of.cluster.racks.is_empty() {
        let mut scenario = of.clone();
        scenario.cluster.racks.clear();
        candidates.push(scenario);
    }
    for gone in (1..=of.cluster.brokers).rev() {
        let name = format!("b{gone}");
        let mut scenario = of.clone();
        for replicas in scenario.topics.iter_mut().flat_map(|topic| &mut topic.replicas) {
            replicas.retain(|replica| replica.value != name);
        }
        let drop = |steps: &mut Vec<Step>| {
            let names = |text: String| text.split(|char: char| !char.is_ascii_alphanumeric()).any(|word| word == name);
            steps.retain(|step| !names(action::show(&step.actions.value)) && !names(step.trigger()));
        };
        let mut without_steps = scenario.clone();
        drop(&mut without_steps.steps);
        for mut scenario in [scenario, without_steps] {
            if scenario.cluster.brokers == 1 || scenario.topics.iter().any(|topic| topic.replicas.contains(&vec![])) {
                continue;
            }
            if !scenario.cluster.racks.is_empty() {
                scenario.cluster.racks.remove(gone as usize - 1);
            }
            scenario.cluster.brokers -= 1;
            // The brokers behind it move up.
            let moved: Vec<(String, String)> = (gone + 1..=of.cluster.brokers)
                .map(|broker| (format!("b{broker}"), format!("b{}", broker - 1)))
                .collect();
            candidates.extend(replaced(&scenario, &moved));
        }
    }
    candidates
}

/// A broker that is heard of more seldom than its session lasts is fenced for ever: without the first the second goes too.
const HEARTBEAT_AND_SESSION: [&str; 2] = ["broker.heartbeat.interval.ms", "broker.session.timeout.ms"];

/// Without some settings, which get their defaults.
pub fn settings(of: &Scenario, without: &BTreeSet<usize>) -> (usize, Scenario) {
    let mut scenario = of.clone();
    let mut count = 0;
    let mut thin = |settings: &mut Settings| {
        settings.retain(|_, _| {
            count += 1;
            !without.contains(&(count - 1))
        });
    };
    thin(&mut scenario.cluster.config);
    let [heartbeat, session] = HEARTBEAT_AND_SESSION;
    if of.cluster.config.contains_key(heartbeat) && !scenario.cluster.config.contains_key(heartbeat) {
        scenario.cluster.config.remove(session);
    }
    scenario.topics.iter_mut().for_each(|topic| thin(&mut topic.config));
    scenario.clients.iter_mut().for_each(|client| thin(&mut client.config));
    (count, scenario)
}

/// With fewer and plainer records.
pub fn workload(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for (index, client) in of.clients.iter().enumerate() {
        let mut change = |change: &dyn Fn(&mut crate::scenario::file::Sending)| {
            let mut scenario = of.clone();
            if let Work::Send(sending) = &mut scenario.clients[index].work {
                change(sending);
                candidates.push(scenario);
            }
        };
        let Work::Send(sending) = &client.work else { continue };
        let (count, padding) = (sending.count, sending.padding_bytes);
        for fewer in [1, 2, 5, 10, count / 4, count / 2, count * 3 / 4, count - 1] {
            if (1..count).contains(&fewer) {
                change(&|sending| sending.count = fewer);
            }
        }
        for smaller in [0, padding / 2] {
            if smaller < padding {
                change(&|sending| sending.padding_bytes = smaller);
            }
        }
        if sending.key.is_some() {
            change(&|sending| sending.key = None);
        }
        if sending.partition == Some(0) {
            change(&|sending| sending.partition = None);
        }
        let round = Duration::from_millis(20);
        if sending.every != round {
            change(&|sending| sending.every = round);
        }
    }
    candidates
}

/// With fewer actions in a step, and one waiting for less.
pub fn actions(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for (index, step) in of.steps.iter().enumerate() {
        let actions = &step.actions.value;
        for dropped in 0..actions.len() {
            let mut scenario = of.clone();
            let left = &mut scenario.steps[index].actions.value;
            left.remove(dropped);
            if !left.is_empty() {
                candidates.push(scenario);
            }
        }
        if step.on.is_some() && step.when.is_some() {
            let mut scenario = of.clone();
            scenario.steps[index].when = None;
            candidates.push(scenario);
        }
        // Two steps that follow at once are one.
        if index > 0 && step.after.is_some_and(|after| after < Duration::from_millis(20)) {
            let mut scenario = of.clone();
            let moved: Vec<Action> = scenario.steps.remove(index).actions.value;
            scenario.steps[index - 1].actions.value.extend(moved);
            candidates.push(scenario);
        }
    }
    candidates
}

/// With the usual deadline.
pub fn deadline(of: &Scenario) -> Vec<Scenario> {
    let usual = Scenario { deadline: DEADLINE, ..of.clone() };
    if usual == *of { Vec::new() } else { vec![usual] }
}

/// With steps that have to come, all of them or one.
pub fn steadiness(of: &Scenario) -> Vec<Scenario> {
    let steady = |scenario: &mut Scenario, index: usize| {
        scenario.steps[index].optional = false;
        scenario.steps[index].within = WITHIN;
    };
    let optional: Vec<usize> = (0..of.steps.len()).filter(|index| of.steps[*index].optional).collect();
    let mut all = of.clone();
    optional.iter().for_each(|index| steady(&mut all, *index));
    let one = |index: &usize| {
        let mut scenario = of.clone();
        steady(&mut scenario, *index);
        scenario
    };
    if optional.is_empty() { Vec::new() } else { std::iter::once(all).chain(optional.iter().map(one)).collect() }
}

/// With a step that waits for a condition.
pub fn with_condition(of: &Scenario, index: usize, condition: Condition) -> Scenario {
    let mut scenario = of.clone();
    let step = &mut scenario.steps[index];
    (step.at, step.after, step.on, step.when) = (None, None, None, Some(Spot::new(condition, 0)));
    (step.optional, step.within) = (false, WITHIN);
    scenario
}

/// With shorter or rounder times.
pub fn delays(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for (index, step) in of.steps.iter().enumerate() {
        let rounder = |time: Duration| {
            let ms = time.as_millis() as u64;
            let digits = ms.checked_ilog10().unwrap_or(0);
            let unit = 10u64.pow(digits);
            let round = [0, 10, 100, 1000, ms / unit * unit, (ms / unit + 1) * unit];
            round
                .into_iter()
                .filter(move |round| *round < ms || !ms.is_multiple_of(unit) && *round > ms)
                .map(Duration::from_millis)
        };
        for time in step.after.into_iter().flat_map(rounder) {
            let mut scenario = of.clone();
            scenario.steps[index].after = Some(time);
            candidates.push(scenario);
        }
        for (position, action) in step.actions.value.iter().enumerate() {
            let delay = match action {
                Action::Slow(_, delay) | Action::Disk(_, DiskFault::Slow(delay)) => *delay,
                _ => continue,
            };
            for time in rounder(delay).filter(|time| !time.is_zero()) {
                let mut scenario = of.clone();
                match &mut scenario.steps[index].actions.value[position] {
                    Action::Slow(_, delay) | Action::Disk(_, DiskFault::Slow(delay)) => *delay = time,
                    other => unreachable!("`{other}` has no delay"),
                }
                candidates.push(scenario);
            }
        }
    }
    candidates
}
