//! From settings to promises, each executed: what `acks`, `min.insync.replicas` and their like are documented to keep
//! under a budget of faults, and what became of acknowledged records when such faults were injected by seed.
//!
//! | part | what it is |
//! |---|---|
//! | [`Settings`] | Kafka's own names and values, of topic, brokers and producer |
//! | [`Budget`] | which faults, in what order; prints as an ordinary scenario for a seed |
//! | [`promise`] | what Kafka's documents say of the two together |
//! | [`Tally`] | what the runs of one budget found |
//! | [`Cell`] | settings with all their budgets, as text and as JSON; many of them are a [`page`] |
//!
//! Pure: the command line writes the scenarios, starts a process for each run and hands the outcomes over. A loss that
//! the documents permit is a fact about the settings; a loss that they exclude is a bug, of Kafka's design or of ours.

mod budget;
mod cell;
mod page;
mod promise;
mod settings;
mod tally;

pub use budget::{BUDGETS, Budget};
pub use cell::{Cell, Outcome, Row};
pub use page::page;
pub use promise::{Promise, promise};
pub use settings::Settings;
pub use tally::{Found, Tally, upper_bound};
