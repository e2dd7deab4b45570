//! A bar for what takes longer than two seconds: on a terminal only, on standard error.

use std::{
    io::IsTerminal,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Nothing is shown of what is done sooner.
const PATIENCE: Duration = Duration::from_secs(2);

/// Progress of many runs.
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    time_limit: Option<Duration>,
    on_terminal: bool,
    failures: u64,
}

impl Progress {
    /// Of `total` runs, which began at `begun` and end at the latest after `time_limit`.
    pub fn new(total: usize, begun: Instant, time_limit: Option<Duration>) -> Self {
        let style = "{bar:30} {pos}/{len} runs, {per_sec}, {msg}";
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::hidden())
            .with_style(ProgressStyle::with_template(style).expect("the template is right"));
        Self { bar, begun, time_limit, on_terminal: std::io::stderr().is_terminal(), failures: 0 }
    }

    /// When its time is over.
    pub fn ends_at(&self) -> Option<Instant> {
        Some(self.begun + self.time_limit?)
    }

    /// The next result; `None` when no more will come. Shows the bar when its time has come, and keeps it up to date.
    pub fn receive<T>(&mut self, inbox: &Receiver<T>) -> Option<T> {
        loop {
            let wait = PATIENCE.checked_sub(self.begun.elapsed()).unwrap_or(Duration::from_secs(1));
            match inbox.recv_timeout(wait) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.draw(),
            }
        }
    }

    /// One more is done; `failures` of all so far were not as expected.
    pub fn done(&mut self, failures: u64) {
        self.failures = failures;
        self.bar.inc(1);
        self.draw();
    }

    fn draw(&mut self) {
        if !self.on_terminal || self.begun.elapsed() < PATIENCE {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        let by_rate = self.bar.eta();
        let left = self.time_limit.map_or(by_rate, |limit| by_rate.min(limit.saturating_sub(self.begun.elapsed())));
        self.bar.set_message(format!("{} not as expected, {} s left", self.failures, left.as_secs()));
    }

    /// Prints something without disturbing the bar.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
