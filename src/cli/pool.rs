//! Workers that do many runs, several at a time, each in a process of its own: what `sweep`, `claims` and `bugs` share.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::{Mutex, mpsc},
    thread,
    time::Instant,
};

use super::{exit::Failure, progress::Progress};

/// How many of `count` runs are made at a time: what was asked for, or as many as there are cores.
pub fn jobs(asked: Option<NonZeroUsize>, count: usize) -> usize {
    let jobs = asked.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    jobs.min(count.max(1))
}

/// Does every item, `jobs` at a time, and hands what came of each to `take`, in whatever order they end. Once `take`
/// breaks or fails, or the time of `progress` is over, no other is begun; those under way are taken still.
///
/// # Errors
/// The first of `take`.
pub fn each<I: Send, R: Send>(
    items: Vec<I>,
    jobs: usize,
    progress: &mut Progress,
    work: impl Fn(I) -> R + Sync,
    mut take: impl FnMut(R, &mut Progress) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    let until = progress.ends_at();
    let queue = Mutex::new(VecDeque::from(items));
    let held = || queue.lock().expect("no panic while the queue is held");
    let next = || if until.is_some_and(|until| Instant::now() >= until) { None } else { held().pop_front() };
    let (outbox, inbox) = mpsc::channel();
    let mut failure = None;
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (outbox, next, work) = (outbox.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(item) = next() {
                    if outbox.send(work(item)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outbox);
        while let Some(done) = progress.receive(&inbox) {
            match take(done, progress) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => held().clear(),
                Err(failed) => {
                    held().clear();
                    failure.get_or_insert(failed);
                }
            }
        }
    });
    progress.end();
    failure.map_or(Ok(()), Err)
}
