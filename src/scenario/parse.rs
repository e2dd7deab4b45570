//! From the text of a file to a [`Scenario`]: keys, types, words. Whether names mean anything is checked when the
//! scenario is resolved.

use std::{collections::BTreeMap, time::Duration};

use toml::de::DeValue;

use super::{
    action,
    condition::{Condition, EventTrigger},
    file::{
        Client, Cluster, DEADLINE, Given, KAFKA, Reading, SWEEP, Scenario, Sending, Settings, Step, StepChange, Topic,
        Variant, WITHIN, Work,
    },
    groups::{CONSUME, Consuming},
    predict::Prediction,
    source::{self, Keys, Problem, Spot, Table, Value, expected, unknown},
    swarm::{SWARM, Swarm, swarm},
};
use crate::check::{Cause, Claim, Expectation, Expected, ExpectedLoss};

/// Most seeds of a sweep.
const SWEEP_MAX: u64 = 1_000_000;

/// Most records that a producer may send.
const COUNT_MAX: u64 = 1_000_000;

const SCENARIO: Keys = Keys {
    table: "a scenario",
    keys: &[
        "kafka",
        "title",
        "teaches",
        "note",
        "catalogue",
        "seed",
        "sweep",
        "deadline",
        "must_reach",
        "era",
        "switch",
        "leave_broken",
        "swarm",
        "cluster",
        "topic",
        "client",
        "step",
        "expect",
        "variant",
        "predict",
    ],
};
const CLUSTER: Keys = Keys { table: "[cluster]", keys: &["brokers", "controllers", "racks", "config"] };
const TOPIC: Keys = Keys { table: "[[topic]]", keys: &["name", "replicas", "config"] };
const CLIENT: Keys = Keys { table: "[[client]]", keys: &["name", "send", "read", "consume", "config"] };
const SEND: Keys =
    Keys { table: "`send`", keys: &["topic", "partition", "count", "every", "key", "value", "padding_bytes"] };
const READ: Keys = Keys { table: "`read`", keys: &["topic", "from"] };
const STEP: Keys = Keys { table: "[[step]]", keys: &["when", "on", "after", "at", "within", "optional", "do", "note"] };
const EXPECT: Keys = Keys { table: "[[expect]]", keys: &["claim", "value", "lost"] };
const LOST: Keys = Keys { table: "`lost`", keys: &["count", "cause"] };
const VARIANT: Keys = Keys { table: "[[variant]]", keys: &["name", "note", "set", "steps", "expect", "must_reach"] };
const VARIANT_STEP: Keys =
    Keys { table: "a variant's step", keys: &["off", "when", "on", "after", "do", "within", "note"] };
const VARIANT_EXPECT: Keys = Keys { table: "a variant's expectation", keys: &["value", "lost"] };
const PREDICT: Keys =
    Keys { table: "[[predict]]", keys: &["before", "ask", "options", "answer", "value", "wrong", "why", "variants"] };

/// Every table of a scenario with its keys.
pub const TABLES: &[&Keys] = &[
    &SCENARIO,
    &SWARM,
    &CLUSTER,
    &TOPIC,
    &CLIENT,
    &SEND,
    &READ,
    &CONSUME,
    &STEP,
    &EXPECT,
    &LOST,
    &VARIANT,
    &VARIANT_STEP,
    &VARIANT_EXPECT,
    &PREDICT,
];

/// Reads the text of a file.
///
/// # Errors
/// The first problem, with its place.
pub fn parse(text: &str) -> Result<Scenario, Problem> {
    let mut table = Table::parse(&SCENARIO, text)?;
    let missing = |problem: Problem| Problem::at(problem.at, format!("{}; write kafka = \"{KAFKA}\"", problem.message));
    let kafka = table.need("kafka").map_err(missing).and_then(source::text)?;
    if kafka.value != KAFKA {
        return Err(Problem::at(kafka.at, format!("expected `kafka = \"{KAFKA}\"`, found `{kafka}`")));
    }
    let swarm = drawn(&mut table)?;
    let cluster_given = match swarm {
        Some(_) => None,
        None => Some(table.need("cluster")?),
    };
    Ok(Scenario {
        title: table.need("title").and_then(source::text)?.value,
        teaches: plain(table.text("teaches")?),
        note: plain(table.text("note")?),
        catalogue: texts(&mut table, "catalogue")?.into_iter().map(|text| text.value).collect(),
        seed: table.number("seed")?.map_or(1, |seed| seed.value),
        sweep: sweep(table.number("sweep")?)?,
        deadline: deadline(table.duration("deadline")?)?,
        must_reach: texts(&mut table, "must_reach")?,
        era: table.text("era")?,
        switches: settings(table.take("switch"))?,
        leave_broken: table.flag("leave_broken")?.unwrap_or(false),
        swarm,
        cluster: cluster_given.map_or(Ok(Cluster::default()), |given| cluster(Table::from_value(&CLUSTER, given)?))?,
        topics: each(&mut table, "topic", &TOPIC, topic)?,
        clients: each(&mut table, "client", &CLIENT, client)?,
        steps: each(&mut table, "step", &STEP, step)?,
        expect: expectations(&mut table)?,
        variants: each(&mut table, "variant", &VARIANT, variant)?,
        predictions: each(&mut table, "predict", &PREDICT, Prediction::read)?,
    })
}

/// The table of ranges, beside which nothing may stand that the seed draws.
fn drawn(table: &mut Table<'_>) -> Result<Option<Swarm>, Problem> {
    let Some(value) = table.take("swarm") else { return Ok(None) };
    for key in ["cluster", "topic", "client", "step", "predict"] {
        if let Some(other) = table.take(key) {
            let message = format!("with [swarm] the seed draws the story; `{key}` cannot be given beside it");
            return Err(Problem::at(other.span().start, message));
        }
    }
    swarm(value).map(Some)
}

fn plain(text: Option<Spot<String>>) -> Option<String> {
    text.map(|text| text.value)
}

fn texts(table: &mut Table<'_>, key: &'static str) -> Result<Vec<Spot<String>>, Problem> {
    table.list(key)?.into_iter().map(source::text).collect()
}

/// The tables of a list, each read by `read`.
fn each<'a, T>(
    table: &mut Table<'a>,
    key: &'static str,
    known: &'static Keys,
    read: impl Fn(&mut Table<'a>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    table.tables(key, known)?.into_iter().map(|mut table| read(&mut table)).collect()
}

fn sweep(given: Option<Spot<u64>>) -> Result<u64, Problem> {
    match given {
        Some(given) if !(1..=SWEEP_MAX).contains(&given.value) => {
            Err(Problem::at(given.at, format!("expected 1 to {SWEEP_MAX} seeds, found `{given}`")))
        }
        given => Ok(given.map_or(SWEEP, |given| given.value)),
    }
}

fn deadline(given: Option<Spot<Duration>>) -> Result<Duration, Problem> {
    match given {
        Some(given) if given.value.is_zero() => Err(Problem::at(given.at, "expected a time above 0")),
        given => Ok(given.map_or(DEADLINE, |given| given.value)),
    }
}

/// Names with values; a dotted name may be written with quotes or without.
fn settings(value: Option<Value<'_>>) -> Result<Settings, Problem> {
    let mut settings = Settings::new();
    if let Some(value) = value {
        flatten("", value, &mut settings)?;
    }
    Ok(settings)
}

fn flatten(prefix: &str, table: Value<'_>, settings: &mut Settings) -> Result<(), Problem> {
    for (key, value) in source::entries("name = value", table)? {
        let name = format!("{prefix}{key}");
        if value.get_ref().is_table() {
            flatten(&format!("{name}."), value, settings)?;
            continue;
        }
        let text = source::scalar(&value)?;
        if settings.insert(name.clone(), Spot::new(text.value, key.at)).is_some() {
            return Err(Problem::at(key.at, format!("`{name}` is set twice")));
        }
    }
    Ok(())
}

fn cluster(mut table: Table<'_>) -> Result<Cluster, Problem> {
    let at = table.at();
    let brokers = table.number("brokers")?.unwrap_or(Spot::new(3, at));
    if !(1..=9).contains(&brokers.value) {
        return Err(Problem::at(brokers.at, format!("expected 1 to 9 brokers, found `{brokers}`")));
    }
    let controllers = table.number("controllers")?.unwrap_or(Spot::new(1, at));
    if controllers.value != 1 {
        return Err(Problem::at(controllers.at, format!("expected 1 controller, found `{controllers}`")));
    }
    let racks = table.take("racks");
    let racks_at = racks.as_ref().map_or(at, |racks| racks.span().start);
    let racks: Vec<Spot<String>> =
        racks.map_or(Ok(Vec::new()), source::list)?.into_iter().map(source::text).collect::<Result<_, _>>()?;
    if !racks.is_empty() && racks.len() as u64 != brokers.value {
        let message = format!("expected a rack for each of {brokers} brokers, found {}", racks.len());
        return Err(Problem::at(racks_at, message));
    }
    Ok(Cluster {
        brokers: brokers.value,
        controllers: controllers.value,
        racks: racks.into_iter().map(|rack| rack.value).collect(),
        config: settings(table.take("config"))?,
    })
}

fn topic(table: &mut Table<'_>) -> Result<Topic, Problem> {
    let name = table.need("name").and_then(source::text)?;
    let replicas = table.need("replicas")?;
    let partition = |value: Value<'_>| match value.get_ref() {
        DeValue::Array(_) => source::list(value)?.into_iter().map(source::text).collect(),
        other => {
            Err(expected("a list of brokers for each partition, as [[\"b1\", \"b2\"]]", other, value.span().start))
        }
    };
    let replicas = source::list(replicas)?.into_iter().map(partition).collect::<Result<_, _>>()?;
    Ok(Topic { name, replicas, config: settings(table.take("config"))? })
}

fn client(table: &mut Table<'_>) -> Result<Client, Problem> {
    let at = table.at();
    let name = table.need("name").and_then(source::text)?;
    let work = match (table.take("send"), table.take("read"), table.take("consume")) {
        (Some(send), None, None) => Work::Send(sending(Table::from_value(&SEND, send)?, &name.value)?),
        (None, Some(read), None) => Work::Read(reading(Table::from_value(&READ, read)?)?),
        (None, None, Some(consume)) => Work::Consume(Consuming::read(Table::from_value(&CONSUME, consume)?)?),
        _ => return Err(Problem::at(at, "a client has one of `send`, `read` and `consume`")),
    };
    Ok(Client { name, work, config: settings(table.take("config"))? })
}

/// Most padding of a record: a batch has to fit into `max.message.bytes`.
const PADDING_MAX_BYTES: u64 = 1_000_000;

fn sending(mut table: Table<'_>, client: &str) -> Result<Sending, Problem> {
    let topic = table.need("topic").and_then(source::text)?;
    let count = table.need("count").and_then(source::number)?;
    check_count(count.value).map_err(|message| Problem::at(count.at, message))?;
    let value = table.text("value")?;
    if let Some(fixed) = value.as_ref().filter(|value| !value.value.contains("{n}")) {
        return Err(Problem::at(fixed.at, "a value needs `{n}`, so that every record can be told from the others"));
    }
    let padding = table.number("padding_bytes")?;
    if let Some(wrong) = padding.as_ref().filter(|padding| padding.value > PADDING_MAX_BYTES) {
        return Err(Problem::at(wrong.at, format!("expected at most {PADDING_MAX_BYTES} bytes")));
    }
    Ok(Sending {
        topic,
        partition: table.number("partition")?.map(|partition| partition.value),
        count: count.value,
        every: table.duration("every")?.map_or(Duration::from_millis(100), |every| every.value),
        key: plain(table.text("key")?),
        value: plain(value).unwrap_or_else(|| format!("{client}-{{n}}")),
        padding_bytes: padding.map_or(0, |padding| padding.value),
    })
}

/// Refuses a number of records that no producer sends.
pub(super) fn check_count(count: u64) -> Result<(), String> {
    match count {
        1..=COUNT_MAX => Ok(()),
        _ => Err(format!("expected 1 to {COUNT_MAX} records, found `{count}`")),
    }
}

fn reading(mut table: Table<'_>) -> Result<Reading, Problem> {
    let topic = table.need("topic").and_then(source::text)?;
    let from = table.text("from")?;
    let from_end = match from.as_ref().map(|from| from.value.as_str()) {
        None | Some("beginning") => false,
        Some("end") => true,
        Some(other) => {
            let at = from.as_ref().map_or(0, |from| from.at);
            return Err(Problem::at(at, format!("expected `beginning` or `end`, found `{other}`")));
        }
    };
    Ok(Reading { topic, from_end })
}

fn condition(table: &mut Table<'_>) -> Result<Option<Spot<Condition>>, Problem> {
    let parsed = |text: Spot<String>| Ok(Spot::new(Condition::parse(&text.value, text.at)?, text.at));
    table.text("when")?.map(parsed).transpose()
}

fn event(table: &mut Table<'_>) -> Result<Option<Spot<EventTrigger>>, Problem> {
    let parsed = |text: Spot<String>| Ok(Spot::new(EventTrigger::parse(&text.value, text.at)?, text.at));
    table.text("on")?.map(parsed).transpose()
}

fn actions(text: &Spot<String>) -> Result<Spot<Vec<action::Action>>, Problem> {
    Ok(Spot::new(action::parse(&text.value, text.at)?, text.at))
}

fn step(table: &mut Table<'_>) -> Result<Step, Problem> {
    let place = table.at();
    let step = Step {
        place: Spot::new((), place),
        at: table.duration("at")?.map(|at| at.value),
        after: table.duration("after")?.map(|after| after.value),
        on: event(table)?,
        when: condition(table)?,
        within: table.duration("within")?.map_or(WITHIN, |within| within.value),
        optional: table.flag("optional")?.unwrap_or(false),
        actions: actions(&table.need("do").and_then(source::text)?)?,
        note: plain(table.text("note")?),
    };
    let triggers = [step.at.is_some(), step.after.is_some(), step.on.is_some() || step.when.is_some()];
    match triggers.iter().filter(|given| **given).count() {
        1 => Ok(step),
        0 => Err(Problem::at(place, "a step needs a trigger: `when`, `on`, `after` or `at`")),
        _ => Err(Problem::at(place, "a step has one trigger: `when` and `on` together, or `after`, or `at`")),
    }
}

fn expectations(table: &mut Table<'_>) -> Result<Vec<Expectation>, Problem> {
    let mut expectations: Vec<Expectation> = Vec::new();
    for mut table in table.tables("expect", &EXPECT)? {
        let name = table.need("claim").and_then(source::text)?;
        let claim = claim(&name)?;
        if expectations.iter().any(|other| other.claim == claim) {
            return Err(Problem::at(name.at, format!("the claim `{claim}` is expected twice")));
        }
        expectations.push(expectation_of(claim, &mut table)?);
    }
    Ok(expectations)
}

fn claim(name: &Spot<String>) -> Result<Claim, Problem> {
    let found = Claim::ALL.iter().copied().find(|claim| claim.name() == name.value);
    let names = Claim::ALL.iter().map(|claim| claim.name());
    found.ok_or_else(|| Problem::at(name.at, unknown("a claim", &name.value, names)))
}

fn cause(name: &Spot<String>) -> Result<Cause, Problem> {
    let found = Cause::ALL.iter().copied().find(|cause| cause.name() == name.value);
    let names = Cause::ALL.iter().map(|cause| cause.name());
    found.ok_or_else(|| Problem::at(name.at, unknown("a cause of loss", &name.value, names)))
}

fn expectation_of(claim: Claim, table: &mut Table<'_>) -> Result<Expectation, Problem> {
    let value = expected_value(&table.need("value").and_then(source::text)?)?;
    let lost = match table.take("lost") {
        Some(lost) if !goes_with_losses(claim, value) => {
            let message = "`lost` goes with the claim `acked-records-survive` and another value than `held`, and with \
                           `processed-at-least-once` and the value `any`";
            return Err(Problem::at(lost.span().start, message));
        }
        Some(lost) => Some(expected_loss(Table::from_value(&LOST, lost)?)?),
        None => None,
    };
    Ok(Expectation { claim, value, lost })
}

fn goes_with_losses(claim: Claim, value: Expected) -> bool {
    match claim {
        Claim::AckedRecordsSurvive => value != Expected::Held,
        Claim::ProcessedAtLeastOnce => value == Expected::Any,
        _ => false,
    }
}

fn expected_value(text: &Spot<String>) -> Result<Expected, Problem> {
    match text.value.as_str() {
        "held" => Ok(Expected::Held),
        "violated" => Ok(Expected::Violated),
        "any" => Ok(Expected::Any),
        other => Err(Problem::at(text.at, unknown("an expectation", other, ["held", "violated", "any"]))),
    }
}

fn expected_loss(mut table: Table<'_>) -> Result<ExpectedLoss, Problem> {
    let count = table.take("count");
    let count = count.map(|value| {
        let at = value.span().start;
        let text = source::scalar(&value)?.value;
        let (first, last) = text.split_once("..").unwrap_or((&text, &text));
        match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
            _ => Err(Problem::at(at, format!("expected a number or a range as \"2..4\", found `{text}`"))),
        }
    });
    let causes = match table.take("cause") {
        Some(value) if value.get_ref().is_array() => source::list(value)?.into_iter().map(source::text).collect(),
        given => given.into_iter().map(source::text).collect::<Result<Vec<_>, _>>(),
    };
    let causes = causes?.iter().map(cause).collect::<Result<_, _>>()?;
    Ok(ExpectedLoss { count: count.transpose()?, causes })
}

fn variant(table: &mut Table<'_>) -> Result<Variant, Problem> {
    let name = table.need("name").and_then(source::text)?;
    let note = plain(table.text("note")?);
    let mut set = BTreeMap::new();
    if let Some(value) = table.take("set") {
        flatten_given("", value, &mut set)?;
    }
    let mut steps = BTreeMap::new();
    if let Some(value) = table.take("steps") {
        for (key, value) in source::entries("number = change", value)? {
            let number = key.value.parse::<usize>().ok().filter(|number| *number > 0);
            let number = number
                .ok_or_else(|| Problem::at(key.at, format!("expected the number of a step, from 1, found `{key}`")))?;
            steps.insert(number, Spot::new(step_change(value)?, key.at));
        }
    }
    let mut expect = Vec::new();
    if let Some(value) = table.take("expect") {
        for (key, value) in source::entries("claim = value", value)? {
            let claim = claim(&key)?;
            expect.push(match value.get_ref().is_table() {
                true => expectation_of(claim, &mut Table::from_value(&VARIANT_EXPECT, value)?)?,
                false => Expectation { claim, value: expected_value(&source::text(value)?)?, lost: None },
            });
        }
    }
    let must_reach = match table.take("must_reach") {
        Some(value) => Some(source::list(value)?.into_iter().map(source::text).collect::<Result<_, _>>()?),
        None => None,
    };
    Ok(Variant { name, note, set, steps, expect, must_reach })
}

fn step_change(value: Value<'_>) -> Result<StepChange, Problem> {
    let mut table = Table::from_value(&VARIANT_STEP, value)?;
    let place = table.at();
    let change = StepChange {
        off: table.flag("off")?.unwrap_or(false),
        when: condition(&mut table)?,
        on: event(&mut table)?,
        after: table.duration("after")?.map(|after| after.value),
        actions: table.text("do")?.map(|text| actions(&text)).transpose()?,
        within: table.duration("within")?.map(|within| within.value),
        note: plain(table.text("note")?),
    };
    match change.after.is_some() && (change.when.is_some() || change.on.is_some()) {
        true => Err(Problem::at(place, "a step has one trigger: `when` and `on` together, or `after`")),
        false => Ok(change),
    }
}

fn flatten_given(prefix: &str, table: Value<'_>, set: &mut BTreeMap<String, Spot<Given>>) -> Result<(), Problem> {
    for (key, value) in source::entries("key = value", table)? {
        let name = format!("{prefix}{key}");
        match value.get_ref().is_table() {
            true => flatten_given(&format!("{name}."), value, set)?,
            false => {
                let given = given(value)?;
                set.insert(name, Spot::new(given.value, key.at));
            }
        }
    }
    Ok(())
}

/// The list that a text is, as `["r1", "r2"]`.
pub(super) fn list_given(text: &str) -> Result<Given, Problem> {
    let value = DeValue::parse(text).map_err(|error| Problem::at(0, error.message().replace('\n', ", ")))?;
    given(value).map(|given| given.value)
}

fn given(value: Value<'_>) -> Result<Spot<Given>, Problem> {
    let at = value.span().start;
    match value.get_ref() {
        DeValue::Array(_) => {
            let list = source::list(value)?.into_iter().map(given).collect::<Result<_, _>>()?;
            Ok(Spot::new(Given::List(list), at))
        }
        _ => source::scalar(&value).map(|text| text.map(Given::Text)),
    }
}
