//! Requests in; answers, records and events out.
//!
//! The shell owns a [`Machine`] for each partition that it leads. It appends what [`Machine::take_records`] gives, says
//! how that went, and tells how far the high watermark is; it wakes the machine when [`Machine::next_due`] has come.

use std::sync::Arc;

use super::{
    GroupSettings,
    classic::{Assignments, Rejoin},
    consumer::{Decided, topics::Topics},
    offsets::DeletedTopics,
    records::Record,
    request::GroupRequest,
    shard::Shard,
};
use crate::{
    base::{Offset, Switches, Time, Timestamp, mark, random::Random},
    coordinator::Coordinator,
    protocol::{ErrorCode, messages::ResponseKind},
    trace::Event,
};

/// Stands for a request that waits for its answer; the shell gives each a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiter(pub u64);

/// When, and for whom.
pub struct Context<'a> {
    /// Monotonic time, by which time-outs count.
    pub now: Time,
    /// Wall clock, which records carry.
    pub wall_ms: Timestamp,
    /// Where member ids come from.
    pub random: &'a mut Random,
    /// `client.id` of the request.
    pub client_id: &'a str,
    /// Address of the client.
    pub client_host: &'a str,
    /// Version of the request.
    pub version: i16,
}

/// What is to be done once records are committed or lost.
#[derive(Debug)]
pub enum Then {
    /// Nothing: nobody waits.
    Nothing,
    /// The answer leaves, and the event is told.
    Answer(Waiter, Box<ResponseKind>, Option<Box<Event>>),
    /// The members of a group get their assignments.
    Assigned {
        /// The group.
        group: Arc<str>,
        /// The generation that was assigned.
        generation: i32,
        /// What each member gets.
        assignments: Assignments,
    },
    /// A static member has taken its place again.
    Rejoined {
        /// The group.
        group: Arc<str>,
        /// Who, and how to take it back.
        rejoin: Box<Rejoin>,
    },
    /// A group exists.
    Created(Arc<str>),
    /// A group of the consumer protocol is a classic one now.
    Downgraded(Arc<str>),
    /// A decision about a group of the consumer protocol stands.
    Decided(Box<Decided>),
}

/// What handlers gave.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub answers: Vec<(Waiter, Answer)>,
    pub writes: Vec<(Vec<Record>, Then)>,
    pub events: Vec<Event>,
    /// Codes of writes that nobody waited for and that failed.
    pub lost: Vec<ErrorCode>,
}

/// An answer, or why there is none.
#[derive(Debug)]
pub enum Answer {
    /// What the client gets.
    Response(Box<ResponseKind>),
    /// The code to refuse the request with.
    Refused(ErrorCode),
    /// The records could not be written; [`GroupRequest::code_of_failed_write`] tells what the client is told.
    NotWritten(ErrorCode),
}

impl Outcome {
    pub fn answer(&mut self, waiter: Waiter, response: ResponseKind) {
        self.answers.push((waiter, Answer::Response(Box::new(response))));
    }

    pub fn refuse_write(&mut self, waiter: Waiter, code: ErrorCode) {
        self.answers.push((waiter, Answer::NotWritten(code)));
    }

    /// Records to append; without any, `then` waits for those before.
    pub fn write(&mut self, records: Vec<Record>, then: Then) {
        self.writes.push((records, then));
    }
}

/// What the shell has to send and to report.
#[derive(Debug, Default)]
pub struct Answers {
    /// Answers to requests.
    pub answers: Vec<(Waiter, Answer)>,
    /// What happened.
    pub events: Vec<Event>,
    /// Codes of writes that nobody waited for and that failed: to be logged.
    pub lost: Vec<ErrorCode>,
}

/// The coordinator of the groups of one partition, in one leadership.
pub struct Machine {
    coordinator: Coordinator<Shard, Then>,
    /// Decided and not taken by the shell yet.
    gathered: Vec<Record>,
}

impl Machine {
    /// Without groups: everything is to be loaded.
    pub fn new(settings: GroupSettings, switches: Switches) -> Self {
        Self { coordinator: Coordinator::new(Shard::new(settings, switches)), gathered: Vec::new() }
    }

    /// The state.
    pub fn shard(&self) -> &Shard {
        self.coordinator.state()
    }

    /// Replays records from the log up to `end_offset`; the high watermark was `high_watermark` when they were read.
    pub fn load(&mut self, records: Vec<Record>, end_offset: Offset, high_watermark: Offset) {
        self.coordinator.committed(high_watermark);
        self.coordinator.load(records, end_offset);
    }

    /// The log has been read to its end: begins to coordinate.
    pub fn loaded(&mut self, context: &mut Context<'_>) -> Answers {
        self.step(|coordinator, out| coordinator.state_mut().loaded(context, out))
    }

    /// Serves a request. Its answer comes now or later under `waiter`.
    pub fn handle(&mut self, request: &GroupRequest, waiter: Waiter, context: &mut Context<'_>) -> Answers {
        self.step(|coordinator, out| {
            let begun = match request {
                GroupRequest::OffsetFetch { group, require_stable } => {
                    if *require_stable || !coordinator.has_caught_up() {
                        if !coordinator.has_caught_up() {
                            mark::reach("fetch_waited_for_load");
                        }
                        let answer = coordinator.state().fetch_offsets(group, std::iter::empty());
                        out.write(Vec::new(), Then::Answer(waiter, Box::new(answer.into()), None));
                    } else {
                        let answer = coordinator.state().fetch_offsets(group, coordinator.uncommitted());
                        out.answer(waiter, answer.into());
                    }
                    Ok(())
                }
                GroupRequest::DescribeConsumers(groups) => {
                    let answer = coordinator.state().describe_consumers(groups, coordinator.uncommitted());
                    out.answer(waiter, answer.into());
                    Ok(())
                }
                request => coordinator.state_mut().handle(request, waiter, context, out),
            };
            if let Err(code) = begun {
                out.answers.push((waiter, Answer::Refused(code)));
            }
        })
    }

    /// When to call [`Machine::fire`] next.
    pub fn next_due(&self) -> Time {
        self.coordinator.state().next_due()
    }

    /// Does what is due at `context.now`.
    pub fn fire(&mut self, context: &mut Context<'_>) -> Answers {
        self.step(|coordinator, out| coordinator.state_mut().fire(context, out))
    }

    /// Topics were deleted, with these ids: their offsets go.
    pub fn forget_topics(&mut self, deleted: &DeletedTopics) -> Answers {
        self.step(|coordinator, out| coordinator.state().forget_topics(deleted, out))
    }

    /// The topics are these now.
    pub fn set_topics(&mut self, topics: Arc<Topics>) {
        self.coordinator.state_mut().topics = topics;
    }

    /// The records that were decided, to be appended in one batch. [`Machine::written`] or [`Machine::failed`] must
    /// follow before anything else is handled.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.gathered)
    }

    /// Whether something waits to be appended.
    pub fn has_records(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// The records taken last are in the log, which ends at `end_offset`.
    pub fn written(&mut self, end_offset: Offset) {
        self.coordinator.written(end_offset);
    }

    /// The records taken last could not be written.
    pub fn failed(&mut self, code: ErrorCode, context: &mut Context<'_>) -> Answers {
        mark::reach("coordinator_write_failed");
        let tickets = self.coordinator.failed();
        self.step(|coordinator, out| {
            tickets.into_iter().for_each(|then| coordinator.state_mut().done(then, Err(code), context, out));
        })
    }

    /// Everything below `high_watermark` is committed.
    pub fn committed(&mut self, high_watermark: Offset, context: &mut Context<'_>) -> Answers {
        let tickets = self.coordinator.committed(high_watermark);
        self.step(|coordinator, out| {
            tickets.into_iter().for_each(|then| coordinator.state_mut().done(then, Ok(()), context, out));
        })
    }

    /// Runs a handler, and puts what it gave where it belongs. What waits for nothing is done at once, which may give
    /// more.
    fn step(&mut self, run: impl FnOnce(&mut Coordinator<Shard, Then>, &mut Outcome)) -> Answers {
        let mut out = Outcome::default();
        run(&mut self.coordinator, &mut out);
        for (records, then) in std::mem::take(&mut out.writes) {
            if records.is_empty() {
                // Only answers wait without records of their own.
                match self.coordinator.wait(then) {
                    Some(Then::Answer(waiter, response, event)) => {
                        out.events.extend(event.map(|event| *event));
                        out.answers.push((waiter, Answer::Response(response)));
                    }
                    Some(other) => unreachable!("{other:?} has no records to wait for"),
                    None => {}
                }
                continue;
            }
            let then = self.answer_early(then, &mut out);
            self.coordinator.decide(&records, then);
            self.gathered.extend(records);
        }
        Answers { answers: out.answers, events: out.events, lost: out.lost }
    }

    /// The planted bug: an answer leaves before its records are committed.
    fn answer_early(&self, then: Then, out: &mut Outcome) -> Then {
        match then {
            Then::Answer(waiter, response, event)
                if self.coordinator.state().switches.bug_coordinator_answers_early =>
            {
                out.events.extend(event.map(|event| *event));
                out.answers.push((waiter, Answer::Response(response)));
                Then::Nothing
            }
            Then::Decided(mut decided) if self.coordinator.state().switches.bug_coordinator_answers_early => {
                if let Some((waiter, response)) = decided.answer.take() {
                    out.answers.push((waiter, Answer::Response(response)));
                }
                Then::Decided(decided)
            }
            other => other,
        }
    }
}
