//! Tests of the scenario language: its faults, what it prints, its documentation, what it knows of a run.

mod documented;
mod faults;
mod printed;
mod view;

use super::{Problem, parse, resolve};

/// Reads a text as `highwater check` does: as it stands, then with each variant. The message, as `line:column: message`.
fn checked(text: &str) -> Result<(), String> {
    let whole = |text: &str| -> Result<(), Problem> {
        let scenario = parse(text)?;
        resolve(&scenario, None)?;
        scenario.variants.iter().try_for_each(|variant| resolve(&scenario, Some(&variant.name)).map(drop))
    };
    whole(text).map_err(|problem| {
        let fault = problem.in_file("x", text).to_string();
        fault.strip_prefix("x:").expect("a fault begins with its file").to_owned()
    })
}
