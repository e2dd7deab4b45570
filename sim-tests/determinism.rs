//! Same program, scenario and seed: the same bytes in every file, whatever surrounds the run.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::command::{self, Left, files, highwater, left, root, run};

/// A run with every layer in it: power loss, recovery, elections.
const SCENARIO: &str = "scenarios/05-power-loss-before-flush.toml";
const NAME: &str = "05-power-loss-before-flush";

/// Runs [`SCENARIO`] into a fresh folder.
fn report(options: &[&str]) -> (TempDir, Left) {
    let out = tempfile::tempdir().unwrap();
    let left = left(highwater().args(["run", SCENARIO, "--out"]).arg(out.path()).args(options));
    assert_eq!(left.exit, 0, "{left:?}");
    (out, left)
}

fn manifest(out: &Path, seed: u64) -> Value {
    let path = out.join(NAME).join(format!("seed-{seed}/run.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Fails at the first file of two folders that differs.
fn check_equal(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert_eq!(one.len(), 7, "a page, its branches, its messages, a story, a manifest, a journal, a timeline");
    for (name, bytes) in one {
        assert!(bytes == other[&name], "{} differs", name.display());
    }
}

/// Has the command run on the first core alone.
fn on_one_core(command: &mut std::process::Command) {
    // SAFETY: one system call on a value of the closure's own, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let mut cores: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(0, &mut cores);
            match libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &cores) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

#[test]
fn two_runs_of_a_seed_leave_the_same_bytes_and_another_seed_another_hash() {
    let (first, _) = report(&["--seed", "7"]);
    let (second, _) = report(&["--seed", "7"]);
    check_equal(first.path(), second.path());
    let (third, _) = report(&["--seed", "8"]);
    assert_ne!(manifest(first.path(), 7)["trace_hash"], manifest(third.path(), 8)["trace_hash"]);
}

#[test]
fn environment_working_folder_and_number_of_cores_change_nothing() {
    let (here, _) = report(&["--seed", "7"]);
    let (elsewhere, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = highwater();
    command.args(["run", "--seed", "7", "--out"]).arg(out.path()).arg(root().join(SCENARIO));
    command.current_dir(elsewhere.path());
    command.env_clear().envs([("RUST_LOG", "trace"), ("TZ", "Asia/Tokyo"), ("LANG", "tr_TR.UTF-8"), ("HOME", "/")]);
    command.envs([("MADSIM_TEST_SEED", "99"), ("RUST_BACKTRACE", "0")]);
    on_one_core(&mut command);
    let left = left(&mut command);
    assert_eq!(left.exit, 0, "{left:?}");
    check_equal(here.path(), out.path());
}

#[test]
fn a_run_without_a_journal_has_the_same_hash() {
    let (with, _) = report(&["--seed", "7"]);
    let (without, _) = report(&["--seed", "7", "--no-journal"]);
    assert!(!without.path().join(NAME).join("seed-7/events.jsonl").exists());
    for field in ["trace_hash", "events", "verdict"] {
        assert_eq!(manifest(with.path(), 7)[field], manifest(without.path(), 7)[field], "{field}");
    }
}

#[test]
fn replay_confirms_a_hash_and_a_run_that_was_tampered_with_is_a_fault_of_the_harness() {
    let (out, _) = report(&["--seed", "7"]);
    let path = out.path().join(NAME).join("seed-7/run.json");
    let hash = manifest(out.path(), 7)["trace_hash"].as_str().unwrap().to_owned();
    let replay = |path: &PathBuf| run(["replay".as_ref(), path.as_os_str()]);
    let confirmed = replay(&path);
    assert_eq!(confirmed.exit, 0, "{confirmed:?}");
    assert!(confirmed.stderr.contains(&format!("same trace hash as the recorded run: {hash}")), "{confirmed:?}");
    let other = hash.chars().rev().collect::<String>();
    let text = fs::read_to_string(&path).unwrap().replace(&hash, &other);
    fs::write(&path, text).unwrap();
    let refuted = replay(&path);
    assert_eq!(refuted.exit, 3, "{refuted:?}");
    assert!(refuted.stderr.contains(&hash) && refuted.stderr.contains(&other), "{refuted:?}");
    assert!(refuted.stderr.trim().ends_with(&format!("cargo sim replay {SCENARIO} --seed 7")), "{refuted:?}");
}

#[test]
fn the_committed_examples_are_what_fresh_runs_write() {
    for name in ["01-acks-one-leader-crash", "03-unclean-election", "05-power-loss-before-flush"] {
        let out = tempfile::tempdir().unwrap();
        let scenario = format!("scenarios/{name}.toml");
        let fresh = command::left(highwater().args(["run", &scenario, "--seed", "7", "--out"]).arg(out.path()));
        assert_eq!(fresh.exit, 0, "{fresh:?}");
        let (committed, fresh) = (files(&root().join("reports").join(name)), files(&out.path().join(name)));
        assert_eq!(committed.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>());
        for (file, bytes) in committed {
            let again = format!("cargo sim run {scenario} --seed 7");
            assert!(bytes == fresh[&file], "{} is out of date; write it again: {again}", file.display());
        }
    }
}

#[test]
fn a_report_that_is_rendered_again_has_the_same_bytes() {
    let (out, _) = report(&["--seed", "7"]);
    let before = files(out.path());
    let folder = out.path().join(NAME).join("seed-7");
    for name in ["report.html", "story.txt", "trace.perfetto.json"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let again = left(highwater().arg("report").arg(&folder));
    assert_eq!(again.exit, 0, "{again:?}");
    let after = files(out.path());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, bytes) in before {
        assert!(bytes == after[&name], "{} differs", name.display());
    }
}
