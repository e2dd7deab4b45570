//! How a run fails: what has to stay the same while its scenario is shrunk.

use super::{
    exit::{self, Failure},
    one_run::Told,
};
use crate::{
    check::{Cause, Claim},
    explore::shrink::Broken,
};

/// How a run fails.
#[derive(Clone, Debug)]
pub struct Way {
    /// What breaks.
    pub broken: Broken,
    /// The same in a sentence.
    pub how: String,
    /// Of a panic the assertion, without its numbers.
    assertion: Option<String>,
}

impl Way {
    /// How this run fails; `None` if it does not.
    ///
    /// # Errors
    /// The run could not be made.
    pub fn of(told: Result<Told, Failure>) -> Result<Option<Self>, Failure> {
        match told {
            Ok(told) if told.outcome.exit == exit::VIOLATED => Ok(Some(Self::claim(&told))),
            Ok(_) => Ok(None),
            Err(failure) if failure.code == exit::HARNESS => {
                let plain: String = failure.message.chars().filter(|char| !char.is_ascii_digit()).collect();
                let first = plain.lines().next().unwrap_or_default();
                let assertion = first.split_once(": ").map_or(first, |(_, rest)| rest).to_owned();
                let how = format!("Panic: {assertion}.");
                Ok(Some(Self { broken: Broken::Assertion, how, assertion: Some(assertion) }))
            }
            Err(failure) => Err(failure),
        }
    }

    /// How records are lost in a run that may lose them; `None` if none are.
    pub fn of_loss(told: &Told) -> Option<Self> {
        let lost = Self::causes(told).len();
        let unpromised = told.json["unpromised"].as_u64().unwrap_or(0);
        let (cause, how) = match Self::causes(told).first() {
            Some(cause) => {
                (Some(*cause), format!("{} lost: {}.", count(lost as u64, "acknowledged record"), cause.reason()))
            }
            None if unpromised > 0 => {
                (None, format!("{} gone, which nobody had promised.", count(unpromised, "record")))
            }
            None => return None,
        };
        Some(Self { broken: Broken::Permitted(cause), how, assertion: None })
    }

    /// How a run breaks claims that are expected to break, or loses what nobody promised; `None` if nothing is amiss.
    pub fn of_expected(told: &Told) -> Option<Self> {
        let claim = Self::broken(told).first().copied().filter(|claim| *claim != Claim::AckedRecordsSurvive);
        let way = |claim| Self { broken: Broken::Expected(claim), how: seen(told, claim), assertion: None };
        let expected = claim.map(way);
        if Self::causes(told).is_empty() { expected.or_else(|| Self::of_loss(told)) } else { Self::of_loss(told) }
    }

    /// The claims that broke, as expected or not.
    pub fn broken(told: &Told) -> Vec<Claim> {
        let status = |claim: &Claim| told.outcome.claims.get(claim.name());
        Claim::ALL
            .iter()
            .copied()
            .filter(|claim| status(claim).is_some_and(|text| text.starts_with("violated")))
            .collect()
    }

    /// The claims that broke against what was expected.
    pub fn violated(told: &Told) -> Vec<Claim> {
        let status = |claim: &Claim| told.outcome.claims.get(claim.name()).map(String::as_str);
        Claim::ALL.iter().copied().filter(|claim| status(claim) == Some("violated")).collect()
    }

    fn claim(told: &Told) -> Self {
        let claim = Self::violated(told).first().copied();
        // A loss that another cause would have permitted is told by the verdict alone.
        let claim = claim.unwrap_or(Claim::AckedRecordsSurvive);
        let cause = Self::causes(told).first().copied().filter(|_| claim == Claim::AckedRecordsSurvive);
        Self { broken: Broken::Claim(claim, cause), how: complaint(told, claim), assertion: None }
    }

    /// How a run that fails in this way fails, in a sentence.
    ///
    /// # Errors
    /// The run could not be made.
    pub fn told_by(&self, told: Result<Told, Failure>) -> Result<String, Failure> {
        Ok(match (self.broken, told) {
            (Broken::Claim(claim, _), Ok(told)) => complaint(&told, claim),
            (Broken::Permitted(_), Ok(told)) => Self::of_loss(&told).map_or_else(|| self.how.clone(), |way| way.how),
            (Broken::Expected(claim), Ok(told)) => seen(&told, claim),
            (Broken::Assertion, _) => self.how.clone(),
            (_, Err(failure)) => return Err(failure),
        })
    }

    /// Why each lost record was lost.
    fn causes(told: &Told) -> Vec<Cause> {
        let lost = told.json["lost"].as_array().into_iter().flatten();
        lost.filter_map(|lost| lost["cause"].as_str()?.parse().ok()).collect()
    }

    /// Whether this run fails in this way. One that breaks several claims breaks this one too.
    ///
    /// # Errors
    /// The run could not be made.
    pub fn is_in(&self, told: Result<Told, Failure>) -> Result<bool, Failure> {
        if self.broken == Broken::Assertion {
            return Ok(Self::of(told)?.is_some_and(|way| way.assertion == self.assertion));
        }
        let told = match told {
            Ok(told) => told,
            Err(failure) if failure.code == exit::HARNESS => return Ok(false),
            Err(failure) => return Err(failure),
        };
        let is_lost_by = |cause: Option<Cause>| cause.is_none_or(|cause| Self::causes(&told).contains(&cause));
        Ok(match self.broken {
            Broken::Claim(Claim::AckedRecordsSurvive, cause) => {
                told.outcome.exit == exit::VIOLATED && is_lost_by(cause)
            }
            Broken::Expected(claim) => Self::broken(&told).contains(&claim),
            Broken::Claim(claim, _) => told.outcome.claims.get(claim.name()).is_some_and(|status| status == "violated"),
            Broken::Permitted(Some(cause)) => told.outcome.exit == exit::OK && is_lost_by(Some(cause)),
            Broken::Permitted(None) => {
                told.outcome.exit == exit::OK && told.json["unpromised"].as_u64().is_some_and(|gone| gone > 0)
            }
            Broken::Assertion => unreachable!("it was looked at first"),
        })
    }
}

/// `1 record is`, `2 records are`.
fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what} is") } else { format!("{number} {what}s are") }
}

/// What the run says of a claim that broke as it is expected to.
fn seen(told: &Told, claim: Claim) -> String {
    let line = told.text.lines().map(str::trim).find(|line| line.starts_with(claim.name()));
    format!("{}.", line.unwrap_or(&told.outcome.verdict).trim_end_matches('.'))
}

/// What the run says of a claim that broke.
fn complaint(told: &Told, claim: Claim) -> String {
    let complaints = told.json["complaints"].as_array().into_iter().flatten().filter_map(|text| text.as_str());
    let own = complaints.clone().find(|text| text.starts_with(claim.name()));
    let how = own.or(complaints.clone().next()).unwrap_or(&told.outcome.verdict);
    format!("{}.", how.trim_end_matches('.'))
}
