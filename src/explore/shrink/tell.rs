//! How a shrunk scenario is told: a title, notes on its steps, what is expected.

use crate::{
    check::{Cause, Claim, Expectation, Expected, ExpectedLoss},
    explore::excuse,
    runtime::DiskFault,
    scenario::{
        Scenario, Spot,
        action::{Action, Crash},
        file::{Given, Variant},
    },
};

/// What is broken in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A claim that has to hold; of lost records with their cause.
    Claim(Claim, Option<Cause>),
    /// Records are lost, which the settings permit: acknowledged ones for this cause, or such as nobody had promised.
    Permitted(Option<Cause>),
    /// Another claim, which the scenario expects to break.
    Expected(Claim),
    /// An assertion of the code.
    Assertion,
}

/// What was shrunk.
#[derive(Clone, Debug)]
pub struct Shrunk<'a> {
    /// The scenario that it began with: its path, or another name for it.
    pub from: &'a str,
    /// The seed.
    pub seed: u64,
    /// The variant.
    pub variant: Option<&'a str>,
    /// What breaks.
    pub broken: Broken,
    /// How it breaks, in a sentence.
    pub how: &'a str,
    /// What breaks beside it.
    pub beside: &'a [Claim],
}

/// The scenario as a file for people. Switches go into a variant that breaks the claim; without them it has to hold. A
/// loss that is permitted is expected.
pub fn tell(scenario: &Scenario, shrunk: &Shrunk<'_>) -> Scenario {
    let steps = match scenario.steps.len() {
        0 => "without a fault".to_owned(),
        1 => "in 1 step".to_owned(),
        more => format!("in {more} steps"),
    };
    let by = shrunk.variant.map(|name| format!(", variant {name}")).unwrap_or_default();
    let mut told = Scenario {
        title: match shrunk.broken {
            Broken::Claim(claim, _) | Broken::Expected(claim) => format!("{claim} breaks {steps}"),
            Broken::Assertion => format!("an assertion breaks {steps}"),
            Broken::Permitted(Some(_)) => format!("acknowledged records are lost {steps}"),
            Broken::Permitted(None) => format!("records that nobody had promised are gone {steps}"),
        },
        teaches: None,
        note: Some(format!("{} Shrunk from {}, seed {}{by}.", shrunk.how, shrunk.from, shrunk.seed)),
        sweep: 1,
        ..scenario.clone()
    };
    for step in &mut told.steps {
        step.note = step.note.take().or_else(|| step.actions.value.iter().find_map(note));
    }
    match shrunk.broken {
        Broken::Claim(claim, _) => expect_held(&mut told, scenario, claim, shrunk),
        Broken::Permitted(Some(cause)) => {
            let lost = Some(ExpectedLoss { count: None, causes: vec![cause] });
            told.expect = vec![Expectation { claim: Claim::AckedRecordsSurvive, value: Expected::Violated, lost }];
        }
        Broken::Expected(claim) => {
            let broken = std::iter::once(claim).chain(shrunk.beside.iter().copied().filter(|other| *other != claim));
            told.expect = broken.map(|claim| Expectation { claim, value: Expected::Violated, lost: None }).collect();
        }
        Broken::Permitted(None) | Broken::Assertion => {}
    }
    told
}

/// Without its switches, which a variant has, the claim holds.
fn expect_held(told: &mut Scenario, scenario: &Scenario, claim: Claim, shrunk: &Shrunk<'_>) {
    let expectation = |claim, value| Expectation { claim, value, lost: None };
    told.expect = excuse::expectations(scenario);
    told.expect.retain(|other| other.claim != claim);
    told.expect.push(expectation(claim, Expected::Held));
    if told.switches.is_empty() {
        return;
    }
    let switches = std::mem::take(&mut told.switches);
    let set = switches.into_iter().map(|(name, value)| (format!("switch.{name}"), value.map(Given::Text)));
    let beside = shrunk.beside.iter().copied().filter(|other| *other != claim);
    told.variants = vec![Variant {
        name: Spot::new(shrunk.variant.unwrap_or("as it was found").to_owned(), 0),
        note: None,
        set: set.collect(),
        steps: Default::default(),
        expect: std::iter::once(claim).chain(beside).map(|claim| expectation(claim, Expected::Violated)).collect(),
        must_reach: None,
    }];
}

/// What an action means to the story.
fn note(action: &Action) -> Option<String> {
    let text = match action {
        Action::Crash(_, Crash::Kill) => "The process dies; its host keeps what was written.",
        Action::Crash(_, Crash::Power) => "The power is gone, and with it what was not synced.",
        Action::Crash(_, Crash::Torn) => {
            "The power is gone in the middle of writing: of what was not synced, parts stay."
        }
        Action::Stop(_) => "A clean shutdown: leaderships move first.",
        Action::Restart(_) => "It comes back with what its disk holds.",
        Action::RestartBlank(_) => "It comes back as on a new machine: with an empty disk.",
        Action::Pause(_) => "It stands still, and does not know what happens meanwhile.",
        Action::Resume(_) => "It goes on as if no time had passed.",
        Action::Cut(_) => "From here on nothing arrives.",
        Action::Slow(..) => "From here on everything arrives late.",
        Action::Hold(..) => "These messages are kept back, all others arrive.",
        Action::Release(..) => "What was kept back arrives now.",
        Action::Drop(..) => "These messages are lost, and their connections with them.",
        Action::Lose(..) => "From here on packets are lost and have to be sent again.",
        Action::Bandwidth(..) => "From here on little goes over this link.",
        Action::Heal(_) | Action::HealAll => "The network is whole again.",
        Action::Settle => "Everything is whole again, and runs.",
        Action::Disk(_, DiskFault::Stall) => "From here on nothing that it writes is done.",
        Action::Disk(_, DiskFault::Slow(_)) => "From here on everything that it writes takes long.",
        Action::Disk(_, DiskFault::Full) => "Its disk has no space left.",
        Action::Disk(_, DiskFault::Eio) => "From here on it cannot write.",
        Action::Disk(_, DiskFault::SyncEio) => "From here on it cannot sync what it writes.",
        Action::Disk(_, DiskFault::LostSync) => "From here on what it syncs is not on the platter.",
        Action::Corrupt(..) => "Bytes of a batch change on its disk.",
        Action::HealDisk(_) => "Its disk is whole again.",
        Action::Elect(..) => "An operator orders an election.",
        Action::Reassign(moves) if moves.iter().all(|(_, replicas)| replicas.is_none()) => {
            "An operator wants partitions to stay where they were."
        }
        Action::Reassign(_) => "An operator gives partitions other replicas.",
        Action::Fence(_) => "The controller counts it out although it runs.",
        Action::DeleteRecords(..) => "An operator has records deleted.",
        Action::DeleteTopic(_) => "An operator deletes the topic.",
        Action::CreateTopic(_) => "An operator makes the topic again: another one of the same name.",
        Action::Set(..) => "An operator changes a setting.",
        Action::Clock(..) | Action::Drift(..) | Action::Nothing => return None,
    };
    Some(text.to_owned())
}
