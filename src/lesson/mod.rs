//! The questions of a scenario, answered by one of its runs: what joins [`crate::scenario::predict`], which measures,
//! to [`crate::report::lesson`], which tells. Pure.
//!
//! Not here: asking somebody (`cli`), drawing the lesson into the page of a run (`report`).

use crate::{
    check::Verdict,
    report::lesson::{Choice, Question},
    scenario::{
        Resolved,
        predict::{self, Answer, Measured, Prediction},
    },
    trace::journal::Entry,
};

/// The questions of `resolved` and its variant with the answers of the run that left `entries` and `verdict`. One whose
/// moment never came is not asked. A run whose journal was not kept has no answers.
pub fn questions(resolved: &Resolved, entries: &[Entry], verdict: &Verdict) -> Vec<Question> {
    if entries.is_empty() {
        return Vec::new();
    }
    let measured = predict::measure(resolved, entries, verdict);
    let asked = resolved.scenario.predictions.iter().zip(measured);
    let asked = asked.filter(|(prediction, _)| prediction.is_asked_in(resolved.variant.as_deref()));
    asked.filter_map(|(prediction, measured)| question(prediction, measured)).collect()
}

fn question(prediction: &Prediction, measured: Measured) -> Option<Question> {
    let (answer, what) = match &prediction.answer {
        Answer::Fixed(answer) => (answer.value.clone(), None),
        Answer::Measured(what) => (measured.answer?, Some(what.value.to_string())),
    };
    let mut options = prediction.options.clone();
    if !options.is_empty() && !options.contains(&answer) {
        options.push(answer.clone());
        // In order, so that the place does not tell which one was added.
        if options.iter().all(|option| option.parse::<u64>().is_ok()) {
            options.sort_by_key(|option| option.parse::<u64>().ok());
        }
    }
    let choice = |text: String| {
        let misconception = prediction.wrong.get(&text).map(|wrong| wrong.value.clone());
        Choice { misconception: misconception.filter(|_| text != answer), text }
    };
    Some(Question {
        before: prediction.before.value,
        event: measured.asked,
        ask: prediction.ask.clone(),
        choices: options.into_iter().map(choice).collect(),
        answer: answer.clone(),
        measured: what,
        why: prediction.why.clone(),
    })
}
