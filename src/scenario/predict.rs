//! `[[predict]]`: a question that a class answers before it sees a step, and how a run answers it.
//!
//! An answer is fixed in the file, or better, measured: a term of the trigger language at a step or at the end, or an
//! [outcome](OUTCOMES) of the whole run. What was measured cannot rot when defaults or code change.

use std::{collections::BTreeMap, fmt};

use super::{
    file::Scenario,
    resolve::Resolved,
    source::{self, Problem, Spot, Table, expected, unknown},
    term::{Argument, Cast, Term},
    view::{Value, View},
    words::Words,
};
use crate::{
    base::TopicPartition,
    check::{Claim, Verdict},
    trace::{Event, EventId, journal::Entry},
};

/// A question to a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Asked before this step (from 1).
    pub before: Spot<u64>,
    /// The question.
    pub ask: String,
    /// Answers to choose from; none: the answer is written, as a number or a set.
    pub options: Vec<String>,
    /// The right one.
    pub answer: Answer,
    /// Of options that are wrong: what speaks against each.
    pub wrong: BTreeMap<String, Spot<String>>,
    /// Why the right one is right.
    pub why: String,
    /// In which variants it is asked, [`AS_WRITTEN`] among them; none: in the scenario as written alone. What it says has to
    /// be right in each.
    pub variants: Vec<Spot<String>>,
}

/// What the scenario without a variant is called among variants.
pub const AS_WRITTEN: &str = "as written";

/// Where the right answer comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The file says it.
    Fixed(Spot<String>),
    /// The run shows it.
    Measured(Spot<Measurement>),
}

/// What is measured, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What.
    pub value: Measure,
    /// When.
    pub at: Moment,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// A term of the trigger language.
    Term(Term),
    /// A number that is known when the run is over, of a partition or a group: a row of [`OUTCOMES`].
    Outcome(&'static str, Term),
    /// What became of a claim.
    Verdict(Claim),
}

/// When it is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    /// When this step fires, before it does anything.
    Step(Spot<u64>),
    /// When the run is over.
    End,
}

/// Numbers that are known when a run is over: name, what it counts, an example.
pub const OUTCOMES: &[(&str, &str, &str)] = &[
    ("lost", "acknowledged records of the partition that are gone at the end", "value = \"lost(orders-0)\""),
    ("kept", "acknowledged records of the partition that are there at the end", "value = \"kept(orders-0)\""),
    ("stored", "records that a new consumer reads from the partition at the end", "value = \"stored(orders-0)\""),
    (
        "missed",
        "records that no member of the group has processed, from where the group began to the end",
        "value = \"missed(billing)\"",
    ),
    ("repeated", "records that members of the group have processed more than once", "value = \"repeated(billing)\""),
    ("verdict", "what became of a claim: held, violated, not exercised", "value = \"verdict(no-duplicates)\""),
];

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(term) => write!(f, "{term}"),
            Self::Outcome(name, of) => write!(f, "{name}({of})"),
            Self::Verdict(claim) => write!(f, "verdict({claim})"),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(number) => write!(f, "step {number}"),
            Self::End => f.write_str("end"),
        }
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Moment::End => write!(f, "{}", self.value),
            at @ Moment::Step(_) => write!(f, "{} at {at}", self.value),
        }
    }
}

impl Measurement {
    /// Reads a whole text, which stands at byte `at` of its file.
    ///
    /// # Errors
    /// It names nothing that can be measured.
    pub fn parse(text: &str, at: usize) -> Result<Self, Problem> {
        let mut words = Words::of(text, at)?;
        let value = Measure::read(&mut words)?;
        let at = match words.keyword("at") {
            true if words.keyword("step") => {
                let (place, number) = words.word("the number of a step")?;
                let wrong = || Problem::at(place, format!("expected the number of a step, found `{number}`"));
                Moment::Step(Spot::new(number.parse().map_err(|_| wrong())?, place))
            }
            true if !words.keyword("end") => return Err(words.expected("`step 3` or `end`")),
            _ => Moment::End,
        };
        if words.is_done() { Ok(Self { value, at }) } else { Err(words.expected("`at step 3` or the end")) }
    }

    fn check(&self, cast: &Cast) -> Result<(), Problem> {
        match (&self.value, &self.at) {
            (Measure::Term(_), _) | (_, Moment::End) => self.value.check(cast),
            (other, Moment::Step(step)) => {
                Err(Problem::at(step.at, format!("`{other}` is known at the end only: leave `at step {step}` out")))
            }
        }
    }
}

impl Measure {
    fn read(words: &mut Words) -> Result<Self, Problem> {
        let mut ahead = words.clone();
        let name = ahead.word("what to measure").map(|(_, name)| name).unwrap_or_default();
        Ok(match OUTCOMES.iter().find(|(outcome, ..)| *outcome == name) {
            None => Self::Term(Term::read(words)?),
            Some((outcome, ..)) => {
                *words = ahead;
                words.need("(")?;
                let (at, argument) = words.word("a partition, as `orders-0`, a group, or a claim")?;
                words.need(")")?;
                match *outcome {
                    "verdict" => {
                        let names = Claim::ALL.iter().map(|claim| claim.name());
                        let claim = argument.parse();
                        Self::Verdict(claim.map_err(|_| Problem::at(at, unknown("a claim", &argument, names)))?)
                    }
                    outcome => Self::Outcome(outcome, Term::Name(at, argument)),
                }
            }
        })
    }

    fn check(&self, cast: &Cast) -> Result<(), Problem> {
        match self {
            Self::Term(term) => term.kind(cast).map(|_| ()),
            Self::Outcome("missed" | "repeated", group) => cast.argument(Argument::Group, group),
            Self::Outcome(_, partition) => cast.argument(Argument::Partition, partition),
            Self::Verdict(_) => Ok(()),
        }
    }
}

/// The number in `step 3`.
fn step_number(text: &Spot<String>) -> Result<Spot<u64>, Problem> {
    let number = text.value.strip_prefix("step ").and_then(|number| number.parse().ok());
    number
        .map(|number| Spot::new(number, text.at))
        .ok_or_else(|| Problem::at(text.at, format!("expected a step as \"step 3\", found `{text}`")))
}

impl Prediction {
    /// Reads a `[[predict]]`.
    pub(super) fn read(table: &mut Table<'_>) -> Result<Self, Problem> {
        let place = table.at();
        let before = step_number(&table.need("before").and_then(source::text)?)?;
        let options: Vec<String> =
            table.list("options")?.into_iter().map(|text| Ok(source::text(text)?.value)).collect::<Result<_, _>>()?;
        let measured = table.text("value")?;
        let answer = match (table.take("answer"), measured) {
            (Some(answer), None) => {
                let at = answer.span().start;
                let answer = source::text(answer)?;
                if !options.is_empty() && !options.contains(&answer.value) {
                    let wanted = format!("one of the options: {}", options.join(", "));
                    return Err(expected(&wanted, &toml::de::DeValue::String(answer.value.into()), at));
                }
                Answer::Fixed(answer)
            }
            (None, Some(text)) => Answer::Measured(Spot::new(Measurement::parse(&text.value, text.at)?, text.at)),
            _ => {
                let message = "a prediction has either `answer`, or `value`: what the run shows";
                return Err(Problem::at(place, message));
            }
        };
        let mut wrong = BTreeMap::new();
        if let Some(table) = table.take("wrong") {
            for (key, value) in source::entries("option = misconception", table)? {
                if !options.contains(&key.value) {
                    return Err(Problem::at(
                        key.at,
                        unknown("an option", &key.value, options.iter().map(String::as_str)),
                    ));
                }
                wrong.insert(key.value, Spot::new(source::text(value)?.value, key.at));
            }
        }
        let ask = table.need("ask").and_then(source::text)?.value;
        let why = table.need("why").and_then(source::text)?.value;
        let variants = table.list("variants")?.into_iter().map(source::text).collect::<Result<_, _>>()?;
        Ok(Self { before, ask, options, answer, wrong, why, variants })
    }

    /// Whether it is asked in `variant`, `None` for the scenario as written.
    pub fn is_asked_in(&self, variant: Option<&str>) -> bool {
        match self.variants.is_empty() {
            true => variant.is_none(),
            false => self.variants.iter().any(|name| name.value == variant.unwrap_or(AS_WRITTEN)),
        }
    }

    /// Refuses what refers to nothing in its scenario.
    pub(super) fn check(&self, scenario: &Scenario, cast: &Cast) -> Result<(), Problem> {
        let steps = scenario.steps.len();
        let exists = |step: &Spot<u64>| match (1..=steps as u64).contains(&step.value) {
            true => Ok(()),
            false => Err(Problem::at(step.at, format!("there is no step {step}; the scenario has {steps}"))),
        };
        exists(&self.before)?;
        let names = scenario.variants.iter().map(|variant| variant.name.value.as_str());
        let names = std::iter::once(AS_WRITTEN).chain(names);
        if let Some(name) = self.variants.iter().find(|name| !names.clone().any(|known| known == name.value)) {
            return Err(Problem::at(name.at, unknown("a variant of this scenario", &name.value, names)));
        }
        let Answer::Measured(measured) = &self.answer else { return Ok(()) };
        if let Moment::Step(step) = &measured.value.at {
            exists(step)?;
        }
        measured.value.check(cast).map_err(|problem| Problem { at: problem.at.max(measured.at), ..problem })
    }
}

/// What a run says to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The event before which it is asked: the step fired. `None`: it never did.
    pub asked: Option<EventId>,
    /// The answer that was measured. `None`: it is fixed, or its moment never came.
    pub answer: Option<String>,
}

/// What a run says to each question of its scenario, in their order.
pub fn measure(resolved: &Resolved, entries: &[Entry], verdict: &Verdict) -> Vec<Measured> {
    let predictions = &resolved.scenario.predictions;
    let mut measured = vec![Measured::default(); predictions.len()];
    let mut view = View::new(resolved.cast.clone());
    for entry in entries {
        if let Event::StepFired { step, .. } = &entry.event {
            for (prediction, measured) in predictions.iter().zip(&mut measured) {
                if prediction.before.value == *step as u64 {
                    measured.asked = Some(entry.id);
                }
                if let Answer::Measured(Spot { value: Measurement { value: Measure::Term(term), at }, .. }) =
                    &prediction.answer
                    && let Moment::Step(at) = at
                    && at.value == *step as u64
                {
                    measured.answer = shown(&view.value(term));
                }
            }
        }
        view.take(entry);
    }
    for (prediction, measured) in predictions.iter().zip(&mut measured) {
        let Answer::Measured(Spot { value: Measurement { value, at: Moment::End }, .. }) = &prediction.answer else {
            continue;
        };
        measured.answer = match value {
            Measure::Term(term) => shown(&view.value(term)),
            Measure::Outcome(outcome @ ("missed" | "repeated"), group) => {
                Some(count_processed(outcome, &group.to_string(), resolved, entries).to_string())
            }
            Measure::Outcome(outcome, partition) => Some(count(outcome, partition, entries, verdict).to_string()),
            Measure::Verdict(claim) => Some(verdict.finding(*claim).status.to_string().to_lowercase())
                .map(|status| status.trim_end_matches(" as expected").to_owned()),
        };
    }
    measured
}

fn shown(value: &Value) -> Option<String> {
    (*value != Value::Number(None)).then(|| value.to_string())
}

fn count(outcome: &str, partition: &Term, entries: &[Entry], verdict: &Verdict) -> usize {
    let partition = partition.partition();
    let lost = verdict.lost.iter().filter(|lost| lost.partition == partition).count();
    let acked = |entry: &&Entry| matches!(&entry.event, Event::RecordAcked { partition: p, .. } if *p == partition);
    match outcome {
        "lost" => lost,
        "kept" => entries.iter().filter(acked).count() - lost,
        "stored" => {
            let mut offsets: Vec<_> = entries
                .iter()
                .filter(|entry| &*entry.node == crate::check::AUDIT_NODE)
                .filter_map(|entry| match &entry.event {
                    Event::RecordRead { partition: p, offset, .. } if *p == partition => Some(*offset),
                    _ => None,
                })
                .collect();
            offsets.sort();
            offsets.dedup();
            offsets.len()
        }
        other => unreachable!("outcome `{other}` is in the table and is not counted"),
    }
}

/// How many records of its topics a group has not processed, from where it began; or more than once.
fn count_processed(outcome: &str, group: &str, resolved: &Resolved, entries: &[Entry]) -> usize {
    let Some(plan) = resolved.plan.groups.get(group) else { return 0 };
    let (mut times, mut begins) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        match &entry.event {
            Event::PositionSet { partition, offset, .. } if plan.members.contains(&entry.node) => {
                begins.entry(partition).or_insert(*offset);
            }
            Event::RecordRead { partition, offset, value, .. } if &*entry.node == crate::check::AUDIT_NODE => {
                times.entry((partition, *offset, value)).or_insert(0);
            }
            Event::RecordProcessed { group: of, partition, offset, value } if **of == *group => {
                *times.entry((partition, *offset, value)).or_insert(0) += 1;
            }
            _ => {}
        }
    }
    let is_its_own = |partition: &TopicPartition, offset| begins.get(partition).is_some_and(|begin| offset >= begin);
    let counted = times.iter().filter(|((partition, offset, _), times)| match outcome {
        "missed" => **times == 0 && is_its_own(partition, offset),
        _ => **times > 1,
    });
    counted.count()
}
