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

/// The questions of `resolved` with the answers of the run that left `entries` and `verdict`. One whose answer is fixed
/// is asked only of the scenario as it stands; one whose moment never came is not asked. A run
/// whose journal was not kept has no answers.
pub fn questions(resolved: &Resolved, entries: &[Entry], verdict: &Verdict) -> Vec<Question> {
    if entries.is_empty() {
        return Vec::new();
    }
    let measured = predict::measure(resolved, entries, verdict);
    let as_it_stands = resolved.changes.is_empty();
    let asked = resolved.scenario.predictions.iter().zip(measured);
    asked.filter_map(|(prediction, measured)| question(prediction, measured, as_it_stands)).collect()
}

fn question(prediction: &Prediction, measured: Measured, as_it_stands: bool) -> Option<Question> {
    let (answer, what) = match &prediction.answer {
        Answer::Fixed(answer) if as_it_stands => (answer.value.clone(), None),
        Answer::Fixed(_) => return None,
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
        // The file explains the scenario as it stands.
        why: match as_it_stands {
            true => prediction.why.clone(),
            false => format!("As the scenario stands: {}", prediction.why),
        },
    })
}
