//! Scenario files as commands name them.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::exit::Failure;
use crate::{
    explore::swarm,
    report,
    scenario::{self, Problem, Resolved, Scenario, Spot, source::unknown, variant::without_steps},
};

/// Largest scenario file, in bytes: far more than anybody writes, and little enough to read at once.
const BYTES_MAX: usize = 1 << 20;

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
        let text = read_text(path)?;
        let faulty = |problem: Problem| Failure::usage(problem.in_file(&given, &text));
        let scenario = scenario::parse(&text).map_err(faulty)?;
        let whole = fs::canonicalize(path).map_err(|error| Failure::usage(format!("{given}: {error}")))?;
        let short = project_of(&whole).and_then(|root| whole.strip_prefix(root).ok()).unwrap_or(&whole);
        Ok(Self {
            path: short.display().to_string(),
            name: path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            given,
            text,
            scenario,
        })
    }

    /// The scenario with one of its variants, as its own seed plays it.
    ///
    /// # Errors
    /// As [`ScenarioFile::resolve_at`].
    pub fn resolve(&self, variant: Option<&str>) -> Result<Resolved, Failure> {
        self.resolve_at(variant, self.scenario.seed)
    }

    /// The scenario with one of its variants, as `seed` plays it: with `[swarm]` the seed draws it.
    ///
    /// # Errors
    /// A name or value in the file that means nothing, or a variant that it does not have.
    pub fn resolve_at(&self, variant: Option<&str>, seed: u64) -> Result<Resolved, Failure> {
        let drawn = swarm::draw(&self.scenario, seed);
        let implied = without_steps(&drawn);
        let implied = || implied.iter().map(|variant| variant.name.value.as_str());
        if let Some(wanted) = variant.filter(|wanted| !self.variants().chain(implied()).any(|name| name == *wanted)) {
            let known: Vec<&str> = self.variants().chain(implied()).collect();
            let message = unknown("a variant of this scenario", wanted, known);
            return Err(Failure::usage(format!("{}: {message}", self.given)));
        }
        let variant = variant.map(|name| Spot::new(name.to_owned(), 0));
        scenario::resolve(&drawn, variant.as_ref()).map_err(|problem| match self.scenario.swarm {
            // What is drawn stands nowhere in the file but as a value to choose from.
            Some(_) => {
                let fault = problem.in_file(&self.given, &self.text);
                Failure::usage(format!("{}: seed {seed} draws what cannot be: {}", self.given, fault.message))
            }
            None => Failure::usage(problem.in_file(&self.given, &self.text)),
        })
    }

    /// Names of the variants.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        self.scenario.variants.iter().map(|variant| variant.name.value.as_str())
    }
}

/// The folder above `whole` that holds the project, if the file lies in one.
pub fn project_of(whole: &Path) -> Option<&Path> {
    whole.ancestors().find(|folder| folder.join("Cargo.toml").exists())
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let given = path.display();
    let unreadable = |error: std::io::Error| Failure::usage(format!("{given}: {error}"));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > BYTES_MAX {
        return Err(Failure::usage(format!("{given}: larger than a scenario may be, which is {BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let problem = Problem::at(good.len(), "expected UTF-8 text, found a byte that belongs to none");
        Failure::usage(problem.in_file(&given.to_string(), &good))
    })
}

/// The scenario files of a folder, by name; those of folders within it are not among them.
///
/// # Errors
/// The folder cannot be read, or holds no scenario file.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let given = folder.display();
    let unreadable = |error: std::io::Error| Failure::usage(format!("{given}: {error}"));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    match paths.is_empty() {
        true => Err(Failure::usage(format!("{given}: there is no scenario file (*.toml) in this folder"))),
        false => Ok(paths),
    }
}

/// Writes the files of a report into `folder` and returns their paths. A file that cannot be written does not keep the
/// others from it.
///
/// # Errors
/// The folder cannot be made, or a file not written: the first that failed.
pub fn write(folder: &Path, files: &[report::File]) -> Result<Vec<PathBuf>, Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::cannot_write(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let written: Vec<Result<PathBuf, Failure>> = files
        .iter()
        .map(|file| {
            let path = folder.join(file.name);
            fs::write(&path, &file.bytes).map_err(|error| failed(&path, error)).map(|()| path)
        })
        .collect();
    written.into_iter().collect()
}
