//! The program under test, as somebody starts it: its exit code and what it prints.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `highwater` in the root of the repository.
pub fn highwater() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.current_dir(root());
    command
}

/// What a command left.
#[derive(Debug)]
pub struct Left {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `highwater` with these arguments in the root of the repository.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Left {
    left(highwater().args(args))
}

/// Runs a command to its end.
pub fn left(command: &mut Command) -> Left {
    let output = command.output().expect("the program can be started");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    Left {
        exit: output.status.code().expect("it ends by itself"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Every run of a sweep over `seeds` with all variants, in JSON, and the sweep's exit code. One run after the other, so
/// in their order.
pub fn sweep(scenarios: &[PathBuf], seeds: &str) -> (i32, Vec<Value>) {
    swept(scenarios, &["--seeds", seeds, "--variants"])
}

/// The same without the variants.
pub fn sweep_plain(scenarios: &[PathBuf], seeds: &str) -> (i32, Vec<Value>) {
    swept(scenarios, &["--seeds", seeds])
}

fn swept(scenarios: &[PathBuf], which: &[&str]) -> (i32, Vec<Value>) {
    let mut command = highwater();
    command.arg("sweep").args(scenarios).args(which).arg("--keep-going");
    command.args(["--jobs", "1", "--format", "json"]);
    let left = left(&mut command);
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let mut lines: Vec<Value> = left.stdout.lines().map(line).collect();
    let summary = lines.pop().unwrap_or_else(|| panic!("a sweep ends with a summary: {}", left.stderr));
    assert_eq!(summary["runs"], lines.len(), "{summary}");
    (left.exit, lines)
}

/// The scenario files in a folder of the repository, in order.
pub fn scenarios(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Path::new(folder).join(entry.expect("it can be read").file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

/// Every file below a folder, by its path in it.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it lies in the folder").to_owned();
                found.insert(name, fs::read(&path).expect("it can be read"));
            }
        }
    }
    found
}

/// Events of these kinds that `node` told in the run of this seed, which is as expected.
pub fn told_of(node: &str, scenario: &str, seed: &str, kinds: &[&str]) -> Vec<Value> {
    let out = tempfile::tempdir().unwrap();
    let left = left(highwater().args(["run", scenario, "--seed", seed, "--out"]).arg(out.path()));
    assert_eq!(left.exit, 0, "{left:?}");
    let files = files(out.path());
    let (_, journal) = files.iter().find(|(path, _)| path.ends_with("events.jsonl")).expect("the run has left it");
    let events = journal.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events = events.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    events.filter(|event| event["node"] == node && kinds.iter().any(|kind| event["kind"] == *kind)).collect()
}
