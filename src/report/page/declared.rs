//! What the scenario file declares beside the run: its note, its catalogue ids, its steps, its variants.
//!
//! Read from the text in the manifest, so that the page of an old run needs nothing else.

use serde::Deserialize;

/// The parts of a scenario that the page shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Declared {
    /// What to look at.
    pub note: Option<String>,
    /// Ids of the catalogue.
    pub catalogue: Vec<String>,
    /// The steps of the story.
    pub step: Vec<Step>,
    /// The variants.
    pub variant: Vec<Variant>,
}

/// A step as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    /// Its actions, with symbols for targets.
    #[serde(rename = "do")]
    pub action: String,
}

/// A variant as declared.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variant {
    /// Its name.
    pub name: String,
    /// Why it is there.
    pub note: Option<String>,
}

impl Declared {
    /// Reads `scenario`; nothing where it is no scenario of this version.
    pub(super) fn read(scenario: &str) -> Self {
        toml::from_str(scenario).unwrap_or_default()
    }
}
