//! Scenario files as commands name them.

use std::{fs, path::Path};

use super::exit::Failure;
use crate::{
    base::suggest,
    scenario::{self, Problem, Resolved, Scenario, Spot},
};

/// A scenario that was read.
pub struct ScenarioFile {
    /// Its path from the root of the project, or the whole path of a file elsewhere: the same from every folder.
    pub path: String,
    /// Path as it was given.
    pub given: String,
    /// Name of the file without folder and ending.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// What that means.
    pub scenario: Scenario,
}

impl ScenarioFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no scenario.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let given = path.display().to_string();
        let unreadable = |error: std::io::Error| Failure::usage(format!("{given}: {error}"));
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let faulty = |problem: Problem| Failure::usage(problem.in_file(&given, &text));
        let scenario = scenario::parse(&text).map_err(faulty)?;
        let whole = fs::canonicalize(path).map_err(unreadable)?;
        let root = whole.ancestors().find(|folder| folder.join("Cargo.toml").exists());
        let short = root.and_then(|root| whole.strip_prefix(root).ok()).unwrap_or(&whole);
        Ok(Self {
            path: short.display().to_string(),
            name: path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            given,
            text,
            scenario,
        })
    }

    /// The scenario with one of its variants.
    ///
    /// # Errors
    /// A name or value in the file that means nothing, or a variant that it does not have.
    pub fn resolve(&self, variant: Option<&str>) -> Result<Resolved, Failure> {
        if let Some(wanted) = variant {
            let names = self.scenario.variants.iter().map(|variant| variant.name.value.as_str());
            if !names.clone().any(|name| name == wanted) {
                let near = suggest::nearest(wanted, names.clone()).map(|near| format!("; did you mean `{near}`?"));
                let all = || format!("; it has: {}", names.collect::<Vec<_>>().join(", "));
                let hint = near.unwrap_or_else(all);
                return Err(Failure::usage(format!("{}: there is no variant `{wanted}`{hint}", self.given)));
            }
        }
        let variant = variant.map(|name| Spot::new(name.to_owned(), 0));
        scenario::resolve(&self.scenario, variant.as_ref())
            .map_err(|problem| Failure::usage(problem.in_file(&self.given, &self.text)))
    }

    /// Names of the variants.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        self.scenario.variants.iter().map(|variant| variant.name.value.as_str())
    }
}
