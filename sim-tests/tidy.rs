//! The rules of the architecture, as a test over the sources. Each rule names the section of ARCHITECTURE.md it guards.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// One source file.
struct Source {
    /// Path from the root of the repository, as `src/base/ids.rs`.
    path: String,
    lines: Vec<String>,
}

impl Source {
    /// First folder under `src`, or the file's own name at the top.
    fn layer(&self) -> &str {
        let rest = self.path.strip_prefix("src/").unwrap_or(&self.path);
        rest.split('/').next().unwrap_or(rest)
    }

    fn is_test(&self) -> bool {
        !self.path.starts_with("src/") || self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// Lines of code outside comments, before the unit tests, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.lines.iter().position(|line| line.starts_with("#[cfg(test)]")).unwrap_or(self.lines.len());
        let code = self.lines[..tests].iter().enumerate().map(|(index, line)| (index + 1, line.trim()));
        code.filter(|(_, line)| !line.starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "sim-tests", "benches"].iter().map(|name| root.join(name)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let name = path.strip_prefix(root).expect("it lies below the root").display().to_string();
                sources.push(Source { path: name, lines: text.lines().map(str::to_owned).collect() });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 30, "found only {} sources below {}", sources.len(), root.display());
    sources
}

/// Fails with every line of `files` that contains one of `words`.
fn check_absent(rule: &str, files: impl Fn(&Source) -> bool, words: &[&str]) {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| files(source)) {
        for (number, line) in source.code() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: `{word}` in `{line}`", source.path));
            }
        }
    }
    assert!(found.is_empty(), "{rule}\n{}", found.join("\n"));
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("base", &[][..]),
        ("trace", &["base"]),
        ("runtime", &["base", "trace"]),
        ("protocol", &["base", "trace"]),
        ("rpc", &["base", "trace", "runtime", "protocol"]),
        ("storage", &["base", "trace", "runtime", "protocol"]),
        ("replica", &["base", "trace", "protocol", "storage"]),
        ("controller", &["base", "trace", "runtime", "protocol", "rpc", "storage"]),
        ("coordinator", &["base"]),
        ("group", &["base", "trace", "protocol", "coordinator"]),
        ("broker", &["base", "trace", "runtime", "protocol", "rpc", "storage", "replica", "controller", "group"]),
        ("client", &["base", "trace", "runtime", "protocol", "rpc"]),
        ("check", &["base", "trace"]),
        ("report", &["base", "trace", "check"]),
        ("scenario", &["base", "trace", "runtime", "protocol", "storage", "controller", "broker", "client", "check"]),
        ("engine", &["base", "trace", "runtime", "rpc", "storage", "broker", "client", "check", "scenario"]),
        ("explore", &["base", "broker", "controller", "client", "trace", "runtime", "check", "scenario", "report"]),
        ("lesson", &["base", "trace", "check", "scenario", "report"]),
    ]);
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/") && !source.is_test()) {
        let Some(allowed) = allowed.get(source.layer()) else { continue };
        for (number, line) in source.code() {
            for part in line.split("crate::").skip(1) {
                let layer: String = part.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
                if !layer.is_empty() && layer != source.layer() && !allowed.contains(&layer.as_str()) {
                    found.push(format!("{}:{number}: {} imports {layer}", source.path, source.layer()));
                }
            }
        }
    }
    assert!(found.is_empty(), "imports against the direction of ARCHITECTURE.md:\n{}", found.join("\n"));
}

#[test]
fn only_the_runtime_touches_the_world() {
    check_absent(
        "only src/runtime may name madsim, tokio's net, fs, time and spawn, files, threads and clocks",
        |source| {
            source.path.starts_with("src/")
                && !matches!(source.layer(), "runtime" | "cli" | "main.rs")
                && !source.is_test()
        },
        &[
            "madsim::",
            "tokio::net",
            "tokio::fs",
            "tokio::time",
            "tokio::spawn",
            "std::fs",
            "std::thread",
            "Instant::now",
            "SystemTime",
            "std::process",
            "RandomState",
            "std::net",
            "std::env",
        ],
    );
}

#[test]
fn only_the_runtime_and_the_command_line_know_the_build() {
    check_absent(
        "cfg(madsim) belongs to src/runtime, src/cli and the one line of src/lib.rs",
        |source| source.path.starts_with("src/") && !matches!(source.layer(), "runtime" | "cli" | "main.rs" | "lib.rs"),
        &["cfg(madsim)", "cfg(not(madsim))", "cfg!(madsim)"],
    );
}

#[test]
fn only_the_command_line_prints() {
    check_absent(
        "only src/cli prints; everything else reports events or logs through tracing",
        |source| source.path.starts_with("src/") && !matches!(source.layer(), "cli" | "main.rs"),
        &["println!", "eprintln!", "print!(", "eprint!(", "dbg!"],
    );
}

#[test]
fn cores_are_pure() {
    check_absent(
        "a core takes time and chance as arguments and does not await, spawn, log or do I/O",
        |source| {
            let core = [
                "src/replica/",
                "src/base/",
                "src/check/",
                "src/controller/image",
                "src/controller/core",
                "src/coordinator/",
                "src/group/",
                "src/client/group/assignor",
                "src/client/group/membership",
            ];
            core.iter().any(|prefix| source.path.starts_with(prefix)) && !source.is_test()
        },
        &[".await", "async fn", "runtime::", "tracing::", "spawn(", "thread_rng", "rand::rng("],
    );
}

#[test]
fn selections_are_biased_and_no_map_has_a_random_order() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        let code: Vec<_> = source.code().collect();
        for (index, (number, line)) in code.iter().enumerate() {
            let next = code.get(index + 1).map_or("", |(_, line)| line);
            if line.contains("select! {") && !next.starts_with("biased") {
                found.push(format!("{}:{number}: select! without `biased;`", source.path));
            }
            for word in ["HashMap", "HashSet", "ahash", "hashbrown", "fastrand", "sync::watch", "JoinSet"] {
                if line.contains(word) {
                    found.push(format!("{}:{number}: `{word}`", source.path));
                }
            }
        }
    }
    assert!(found.is_empty(), "sources of unrepeatable order:\n{}", found.join("\n"));
}

#[test]
fn nothing_unfinished_is_left() {
    let words = ["to", "do!("].concat();
    let fixme = ["FIX", "ME"].concat();
    let ignore = ["#[ig", "nore"].concat();
    let dead = ["allow(dead", "_code)"].concat();
    let unused = ["allow(un", "used"].concat();
    let unimplemented = ["unimple", "mented!"].concat();
    let words = [words, fixme, ignore, dead, unused, unimplemented];
    check_absent("unfinished work", |_| true, &words.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn files_are_chapters() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines.len() > 700 || source.code().count() > 520)
        .map(|source| format!("{}: {} lines", source.path, source.lines.len()))
        .collect();
    assert!(long.is_empty(), "a file is one chapter of about 500 lines:\n{}", long.join("\n"));
}

#[test]
fn modules_say_what_they_are() {
    let silent: Vec<&str> = sources_without_head();
    assert!(silent.is_empty(), "no module documentation at the head of:\n{}", silent.join("\n"));
}

fn sources_without_head() -> Vec<&'static str> {
    sources()
        .into_iter()
        .filter(|source| {
            let first = source.lines.iter().find(|line| !line.starts_with("#![") && !line.is_empty());
            !first.is_some_and(|line| line.starts_with("//!"))
        })
        .map(|source| &*source.path.leak())
        .collect()
}
