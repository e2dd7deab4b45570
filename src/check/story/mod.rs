//! The life of a record that was acknowledged and is gone, told from the journal: who had it, who promised it, which
//! event decided its loss, when its last copy went, and which setting would have kept it.
//!
//! [`walk`] goes through the journal and keeps the set of copies; [`words`] puts an event in plain words; [`therefore`]
//! draws the conclusion from two sets: who was needed for the promise, and who could be elected.

mod therefore;
mod walk;
mod words;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Lost, Plan};
use crate::{
    base::{LeaderEpoch, Time},
    trace::{EventId, journal::Entry},
};

/// A record's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Leader epoch in which it was appended, where the journal tells.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// With which `acks` it was sent.
    pub acks: i16,
    /// What happened to it, in order.
    pub lines: Vec<Line>,
    /// What follows: who was needed for the promise, who could be elected, what would have kept it.
    pub therefore: Vec<String>,
}

/// One line of a life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The event it tells of.
    pub event: EventId,
    /// When.
    pub time: Time,
    /// Who.
    pub node: Arc<str>,
    /// What.
    pub text: String,
    /// Who has a copy after it, where that changed: `{b1~, b2}`; `~` is not flushed, `?` unknown after a power loss.
    pub copies: Option<String>,
    /// Which of the three moments it is.
    pub moment: Option<Moment>,
}

/// The three moments of a lost record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// The acknowledgement was sent.
    Promise,
    /// From here on the leader's lineage lacks the record.
    Decisive,
    /// Nobody has it any more.
    LastCopyGone,
}

impl Life {
    /// The event of one of the three moments, if the journal shows it.
    pub fn moment(&self, moment: Moment) -> Option<EventId> {
        self.lines.iter().find(|line| line.moment == Some(moment)).map(|line| line.event)
    }
}

/// Tells the life of each lost record, and finds its cause.
pub fn tell(entries: &[Entry], plan: &Plan, lost: &mut [Lost]) {
    for record in lost {
        let (life, cause) = walk::tell(entries, plan, record);
        record.life = life;
        record.cause = cause;
    }
}
