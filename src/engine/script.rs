//! The steps of a story in their order: which one waits, for what, and until when. Pure.

use std::time::Duration;

use crate::{
    base::Time,
    check::Unfired,
    scenario::{file::Step, view::View},
    trace::journal::Entry,
};

/// Where the story is.
#[derive(Debug)]
pub struct Script {
    steps: Vec<Step>,
    /// When each step fires at the latest, since the story began.
    latest: Vec<Duration>,
    /// When the steps fired, since the story began.
    fired: Vec<Duration>,
    next: usize,
    begun: Option<Time>,
    /// Since when the next step waits.
    armed: Time,
    /// A step is being done: nothing else fires meanwhile.
    busy: bool,
    unfired: Option<Unfired>,
}

impl Script {
    /// A story that has not begun. A step with a time in `latest` fires then, whether or not its trigger has come true.
    pub fn new(steps: Vec<Step>, latest: Vec<Duration>) -> Self {
        Self { steps, latest, fired: Vec::new(), next: 0, begun: None, armed: Time::ZERO, busy: false, unfired: None }
    }

    /// The story begins.
    pub fn begin(&mut self, now: Time) {
        (self.begun, self.armed) = (Some(now), now);
    }

    fn waiting(&self) -> Option<&Step> {
        self.steps.get(self.next).filter(|_| !self.busy && self.begun.is_some() && self.unfired.is_none())
    }

    /// Whether every step fired, or one never will.
    pub fn is_over(&self) -> bool {
        !self.busy && (self.next == self.steps.len() || self.unfired.is_some())
    }

    /// The step that fires now, with its number from 1; `entry` is the event that just happened, if one did.
    /// [`Script::done`] has to follow.
    pub fn fire(&mut self, now: Time, view: &View, entry: Option<&Entry>) -> Option<(usize, Step)> {
        let begun = self.begun?;
        let step = self.waiting()?;
        let overdue = self.latest().is_some_and(|latest| now >= latest);
        let timed = step.at.map(|at| begun + at).or(step.after.map(|after| self.armed + after));
        let happened = match (&step.on, entry) {
            (None, _) => true,
            (Some(on), Some(entry)) => view.matches(&on.value, entry),
            (Some(_), None) => false,
        };
        let holds = || step.when.as_ref().is_none_or(|when| view.holds(&when.value));
        if !overdue && (timed.is_some_and(|time| now < time) || !happened || !holds()) {
            return None;
        }
        let fired = step.clone();
        self.fired.push(now.since(begun));
        self.busy = true;
        Some((self.next + 1, fired))
    }

    /// When the next step fires at the latest.
    fn latest(&self) -> Option<Time> {
        Some(self.begun? + *self.latest.get(self.next)?)
    }

    /// When the steps fired, since the story began.
    pub fn fired(&self) -> &[Duration] {
        &self.fired
    }

    /// The step that fired has been done.
    pub fn done(&mut self, now: Time) {
        self.busy = false;
        self.next += 1;
        self.armed = now;
    }

    /// The step that fired at `now` cannot be done.
    pub fn fail(&mut self, problem: String, now: Time) {
        let step = &self.steps[self.next];
        if step.optional {
            return self.done(now);
        }
        self.busy = false;
        self.unfired = Some(Unfired { step: self.next + 1, trigger: step.trigger(), last_value: problem });
    }

    /// When to look again at the latest: a time that a step waits for, or the end of its patience.
    pub fn next_time(&self) -> Option<Time> {
        let step = self.waiting()?;
        let timed =
            step.at.map(|at| self.begun.unwrap_or_default() + at).or(step.after.map(|after| self.armed + after));
        let usual = timed.unwrap_or(self.armed + step.within);
        Some(self.latest().map_or(usual, |latest| latest.min(usual)))
    }

    /// Gives up the step whose patience is at its end. Returns whether the story goes on without it.
    pub fn give_up(&mut self, now: Time, view: &View) -> bool {
        let Some(step) = self.waiting() else { return false };
        if (step.when.is_none() && step.on.is_none()) || now < self.armed + step.within {
            return false;
        }
        if step.optional {
            self.done(now);
            return true;
        }
        let last_value = match (&step.when, &step.on) {
            (Some(when), _) => view.explain(&when.value),
            (None, Some(on)) => format!("{} did not happen", on.value),
            (None, None) => String::new(),
        };
        self.unfired = Some(Unfired { step: self.next + 1, trigger: step.trigger(), last_value });
        false
    }

    /// The step that never fired. A later step of the story did not get its turn.
    pub fn unfired(&self) -> Vec<Unfired> {
        self.unfired.iter().cloned().collect()
    }
}
