//! Exit codes and messages of the simulation build: what a mistake is answered with, and where results go.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Left, highwater, left, root, run};

const SCENARIO: &str = "scenarios/01-acks-one-leader-crash.toml";

/// Fails unless the command ends with `exit`, prints no result, and says all of `words` on standard error.
fn check_refused(args: &[&str], exit: i32, words: &[&str]) {
    let Left { exit: found, stdout, stderr } = run(args);
    assert_eq!(found, exit, "{args:?} said {stderr}");
    assert_eq!(stdout, "", "{args:?} has no result");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: expected `{word}` in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{args:?} said {stderr}");
}

/// The scenario of this file with one change, in a file of this name. Its path.
fn changed(folder: &TempDir, name: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(root().join(SCENARIO)).expect("the scenario is there");
    assert!(text.contains(from), "`{from}` is in {SCENARIO}");
    written(folder, name, text.replacen(from, to, 1).as_bytes())
}

fn written(folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("the file can be written");
    path.display().to_string()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Lines of JSON, each with a schema.
fn json_lines(text: &str) -> Vec<Value> {
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for line in &lines {
        assert!(line["schema"].as_str().is_some_and(|schema| schema.starts_with("highwater/")), "no schema in {line}");
    }
    lines
}

#[test]
fn a_faulty_scenario_is_refused_by_every_command_that_reads_it() {
    let folder = folder();
    let faulty = changed(&folder, "faulty.toml", "seed ", "sede ");
    let fault = format!("{faulty}:6:1: `sede` is not a key of a scenario; did you mean `seed`?");
    for command in ["run", "replay", "sweep", "check"] {
        check_refused(&[command, &faulty], 64, &[&fault]);
    }
    let empty = written(&folder, "empty.toml", b"");
    let bytes = written(&folder, "bytes.toml", b"kafka = \"4.1\"\ntitle = \"\xff\"\n");
    let missing = folder.path().join("missing.toml").display().to_string();
    check_refused(&["check", &empty], 64, &[&format!("{empty}:1:1: `kafka` is missing")]);
    check_refused(&["check", &bytes], 64, &[&format!("{bytes}:2:10: expected UTF-8 text")]);
    check_refused(&["check", &missing], 64, &[&missing, "No such file"]);
    check_refused(&["check", "scenarios"], 64, &["scenarios", "directory"]);
}

#[test]
fn check_goes_on_behind_a_faulty_file_and_looks_into_variants() {
    let folder = folder();
    let faulty = changed(&folder, "faulty.toml", "\"client.p1.acks\" = \"all\"", "\"client.p1.acks\" = \"al\"");
    let Left { exit, stdout, stderr } = run(["check", &faulty, SCENARIO]);
    assert_eq!(exit, 64);
    assert!(stderr.contains("expected 0, 1 or all, found `al` (in variant `acks=all`)"), "{stderr}");
    assert_eq!(stdout, format!("{SCENARIO}: ok (3 steps, 1 variant)\n"));
}

#[test]
fn a_step_that_waits_for_a_time_is_legal_and_brittle() {
    let folder = folder();
    let brittle = changed(&folder, "brittle.toml", "when = \"hw(orders-0) >= 4\"", "at = \"2s\"");
    let Left { exit, stdout, stderr } = run(["check", &brittle]);
    assert_eq!((exit, stdout), (0, format!("{brittle}: ok (3 steps, 1 variant, 1 warning)\n")));
    assert!(stderr.starts_with(&format!("{brittle}:27:1: warning: `at` is brittle")), "{stderr}");
}

#[test]
fn wrong_usage_is_told_with_what_would_be_right() {
    let folder = folder();
    let empty = folder.path().display().to_string();
    check_refused(&["run", SCENARIO, "--variant", "acks=al"], 64, &[SCENARIO, "`acks=al`", "did you mean `acks=all`?"]);
    check_refused(&["replay", SCENARIO, "--variant", "acks=al"], 64, &["did you mean `acks=all`?"]);
    check_refused(&["sweep", SCENARIO, "--seeds", "5..1"], 64, &["--seeds", "5..1"]);
    check_refused(&["sweep", SCENARIO, "--seeds", "some"], 64, &["--seeds", "some"]);
    check_refused(&["sweep", SCENARIO, "--jobs", "0"], 64, &["--jobs", "zero"]);
    check_refused(&["sweep", SCENARIO, "--seeds", "1..1", "--shard", "2/2"], 64, &["nothing to run", "--seeds 1..100"]);
    check_refused(&["sweep", SCENARIO, "--shard", "3/2"], 64, &["--shard", "3/2"]);
    for time in ["18446744073709551615m", "0s"] {
        check_refused(&["sweep", SCENARIO, "--for", time], 64, &["expected a time as 60s or 10m"]);
    }
    check_refused(&["list", &empty], 64, &[&empty, "there is no scenario file (*.toml)"]);
    check_refused(&["explain", &empty], 64, &["run.json", "expected a folder as `run` writes it"]);
    check_refused(&["runn", SCENARIO], 64, &["runn", "run"]);
    check_refused(&["run"], 64, &["SCENARIOS"]);
    check_refused(&[], 64, &["Usage: highwater"]);
}

#[test]
fn a_command_of_the_other_build_says_how_to_run_it() {
    check_refused(
        &["produce", "a topic", "--set", "acks=1"],
        64,
        &["`produce` belongs to the deployment build", "cargo run --release -- produce 'a topic' --set acks=1"],
    );
    check_refused(&["serve", "--dev"], 64, &["cargo run --release -- serve --dev"]);
}

#[test]
fn what_cannot_be_written_is_told() {
    let folder = folder();
    let file = written(&folder, "file", b"");
    let Left { exit, stdout, stderr } = run(["run", SCENARIO, "--out", &file]);
    assert_eq!(exit, 74, "{stderr}");
    assert!(stdout.contains("acknowledged records lost") && !stdout.contains("report:"), "{stdout}");
    assert!(stderr.contains(&file), "{stderr}");
    let full = Path::new("/dev/full");
    if full.exists() {
        let out = fs::File::create(full).expect("the full device can be opened");
        let output = highwater().args(["check", SCENARIO]).stdout(out).output().expect("the program can be started");
        assert_eq!(output.status.code(), Some(74));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains("standard output cannot be written"), "{message}");
    }
}

#[test]
fn a_page_that_cannot_be_written_leaves_the_verdict_and_the_other_files() {
    let folder = folder();
    let run_folder = folder.path().join("01-acks-one-leader-crash/seed-7");
    fs::create_dir_all(run_folder.join("report.html")).expect("a folder stands where the page goes");
    let scenario = "scenarios/01-acks-one-leader-crash.toml";
    let out = folder.path().display().to_string();
    let Left { exit, stdout, stderr } = run(["run", scenario, "--seed", "7", "--out", &out]);
    assert_eq!(exit, 74, "{stderr}");
    assert!(stdout.contains("4 of 12 acknowledged records lost"), "{stdout}");
    assert!(stderr.contains("report.html"), "{stderr}");
    for name in ["story.txt", "run.json", "events.jsonl", "messages.json", "branches.json", "trace.perfetto.json"] {
        assert!(run_folder.join(name).is_file(), "{name} is missing");
    }
}

#[test]
fn a_damaged_or_foreign_journal_is_told_with_its_place() {
    let folder = folder();
    let out = folder.path().display().to_string();
    let scenario = "scenarios/01-acks-one-leader-crash.toml";
    assert_eq!(run(["run", scenario, "--seed", "7", "--out", &out]).exit, 0);
    let run_folder = folder.path().join("01-acks-one-leader-crash/seed-7");
    let given = run_folder.display().to_string();
    let damages: [(&str, &[u8], &str); 5] = [
        ("branches.json", b"[{]", "line 1 column 3"),
        ("messages.json", b"{\"forms\":[],\"sent\":[[1,0]]}", "message 0 does not fill a form"),
        ("events.jsonl", b"{\"id\":1,\"time\":0}\n", "events.jsonl:1:17: "),
        ("events.jsonl", b"", "0 events"),
        ("run.json", b"{\n  \"schema\": 7\n}", "line 2"),
    ];
    for (name, bytes, words) in damages {
        let path = run_folder.join(name);
        let whole = fs::read(&path).expect("the file is there");
        fs::write(&path, bytes).expect("it can be written");
        check_refused(&["report", &given], 64, &[words]);
        fs::write(&path, whole).expect("it can be written");
    }
    assert_eq!(run(["report", &given]).exit, 0);
    for name in ["branches.json", "messages.json"] {
        fs::remove_file(run_folder.join(name)).expect("the file is there");
        let Left { exit, stderr, .. } = run(["report", &given]);
        assert!(exit == 0 && stderr.contains(&format!("there is no {name}")), "{exit}: {stderr}");
    }
    let page = fs::read_to_string(run_folder.join("report.html")).expect("the page is there");
    assert!(page.contains("there was no branches.json when this page was made"), "the page says nothing of it");
}

#[test]
fn the_catalogue_lists_every_run_and_links_to_pages() {
    let folder = folder();
    let scenarios = folder.path().join("scenarios");
    fs::create_dir(&scenarios).expect("it can be made");
    fs::copy(root().join("scenarios/03-unclean-election.toml"), scenarios.join("03-unclean-election.toml"))
        .expect("a copy");
    let (given, out) = (scenarios.display().to_string(), folder.path().join("out").display().to_string());
    let Left { exit, stdout, stderr } = run(["catalogue", &given, "--out", &out, "--pages"]);
    assert_eq!(exit, 0, "{stderr}");
    assert_eq!(stdout.trim(), format!("{out}/index.html"));
    let page = fs::read_to_string(stdout.trim()).expect("the page is there");
    for words in [
        "href=\"03-unclean-election/seed-7/report.html\"",
        "LOST 3 of 8 acknowledged records",
        "--variant &#39;acks=all, min ISR 2&#39;",
        "UNC-01",
        "href=\"#03-unclean-election\"",
        "makes its page: <code>cargo sim run ",
    ] {
        assert!(page.contains(words), "the page does not say `{words}`");
    }
    assert!(Path::new(&out).join("03-unclean-election/seed-7/report.html").exists());
}

#[test]
fn the_path_of_a_report_is_told_when_there_is_one() {
    let folder = folder();
    let out = folder.path().join("out").display().to_string();
    let without = run(["run", SCENARIO, "--no-report", "--out", &out]);
    assert_eq!(without.exit, 0, "{}", without.stderr);
    assert!(!without.stdout.contains("report:"), "{}", without.stdout);
    assert!(!Path::new(&out).exists());
    let with = run(["run", SCENARIO, "--out", &out]);
    let line = with.stdout.lines().last().expect("a run prints lines");
    let path = line.trim().strip_prefix("report: ").unwrap_or_else(|| panic!("no report in {}", with.stdout));
    assert!(Path::new(path).exists(), "{path}");
    assert!(with.stderr.starts_with(&format!("{SCENARIO}: seed 7\n")), "{}", with.stderr);
}

#[test]
fn every_line_of_json_has_a_schema() {
    let run_line = json_lines(&run(["run", SCENARIO, "--no-report", "--format", "json"]).stdout);
    assert_eq!(run_line.len(), 1);
    assert_eq!(run_line[0]["seed"], 7);
    let swept = json_lines(&run(["sweep", SCENARIO, "--seeds", "1..2", "--format", "json", "--jobs", "1"]).stdout);
    assert_eq!(swept.len(), 3, "two runs and their summary");
    let listed = json_lines(&run(["list", "--format", "json"]).stdout);
    let files = fs::read_dir(root().join("scenarios")).expect("the folder is there");
    let is_scenario = |file: std::io::Result<fs::DirEntry>| file.expect("a file").path().extension().is_some();
    assert_eq!(listed.len(), files.map(is_scenario).filter(|is_one| *is_one).count());
    assert_eq!(listed[0]["id"], "01-acks-one-leader-crash");
}

#[test]
fn the_version_names_the_build() {
    let told = left(highwater().arg("--version"));
    assert_eq!(told.exit, 0);
    assert_eq!(told.stdout, concat!("highwater ", env!("CARGO_PKG_VERSION"), " (simulation build)\n"));
}

#[test]
fn claims_tell_what_is_promised_and_what_was_found() {
    let folder = folder();
    let out = folder.path().display().to_string();
    let claims = |more: &[&str]| run([&["claims", "--out", &out][..], more].concat());

    let Left { exit, stdout, stderr } = claims(&["--budget", "crash-leader", "--budget", "power-all", "--seeds", "3"]);
    assert_eq!(exit, 0, "{stdout}{stderr}");
    assert!(stdout.starts_with("replication.factor=3 acks=all min.insync.replicas=1"), "{stdout}");
    assert!(stdout.contains(
        "survival is promised under 1 of 2 budgets of faults; 1 of the others lost records; no promise broke"
    ));

    let Left { exit, stdout, .. } = claims(&["--budget", "power-all", "--seeds", "20", "--format", "json"]);
    let [line] = &json_lines(&stdout)[..] else { panic!("one budget is one line: {stdout}") };
    assert_eq!((exit, &line["outcome"], &line["promised"]), (0, &"lost".into(), &false.into()), "{line}");
    let example = line["counter_example"]["scenario"].as_str().expect("a loss has an example");
    let replayed = run(["run", example, "--no-report", "--format", "json"]);
    let lost = json_lines(&replayed.stdout)[0]["lost"].as_array().expect("a list").len();
    assert!(lost > 0, "the counter-example, made smaller, loses records all the same");
}

#[test]
fn a_promise_that_breaks_is_told() {
    let folder = folder();
    let out = folder.path().display().to_string();
    let bug = "switch.bug_ack_before_isr=true";
    let Left { exit, stdout, .. } =
        run(["claims", "--set", bug, "--budget", "crash-all", "--seeds", "30", "--out", &out]);
    assert_eq!(exit, 1, "{stdout}");
    assert!(stdout.contains("BROKEN: acks=all: every in-sync replica wrote it"), "{stdout}");
}

#[test]
fn claims_of_settings_that_mean_nothing_are_refused() {
    let folder = folder();
    let contradicting = written(&folder, "producer.properties", b"acks=1\nenable.idempotence=true\n");
    let misspelt = written(&folder, "server.properties", b"broker.id=1\nmin.insync.replica=2\n");
    check_refused(
        &["claims", "--producer", &contradicting],
        64,
        &[&format!("{contradicting}:2: enable.idempotence: needs")],
    );
    let both = ["claims", "--set", "acks=1", "--set", "enable.idempotence=true"];
    check_refused(&both, 64, &["enable.idempotence: needs acks=all"]);
    check_refused(&["claims", "--config", &misspelt], 64, &[&format!("{misspelt}:2: `min.insync.replica`")]);
    let twice = written(&folder, "twice.properties", b"min.insync.replicas=2\nmin.insync.replicas=3\n");
    let told = format!("{twice}:2: `min.insync.replicas=3` contradicts `min.insync.replicas=2` in {twice}:1");
    check_refused(&["claims", "--config", &twice], 64, &[&told]);
    let swarm = "scenarios/swarm/rough.toml";
    check_refused(&["claims", swarm], 64, &[&format!("{swarm}: it draws its settings anew for each seed")]);
    let says = "acks is given twice, as `1` and as `all`; scenarios/01-acks-one-leader-crash.toml says acks=1";
    check_refused(&["claims", "scenarios/01-acks-one-leader-crash.toml", "--set", "acks=all"], 64, &[says]);
    check_refused(&["claims", "--set", "ack=1"], 64, &["did you mean `acks`?"]);
    check_refused(&["claims", "--set", "switch.truncat=x"], 64, &["did you mean `truncate`?"]);
    check_refused(&["claims", "--budget", "power-al"], 64, &["did you mean `power-all`?"]);
    check_refused(&["claims", "--seeds", "0"], 64, &["0 is not in 1..=100000"]);
    check_refused(&["claims", "--matrix", "--set", "acks=1"], 64, &["acks is given twice"]);
    check_refused(&["claims", "--matrix", "--replicas", "2,2"], 64, &["--replicas names 2 twice"]);
    check_refused(&["claims", "--matrix", "--replicas", "3,10"], 64, &["expected 1 to 9, found `10`"]);
    check_refused(&["claims", "--replicas", "2"], 64, &["--matrix"]);
}

#[test]
fn shares_of_a_sweep_merge_to_what_one_machine_finds_and_a_stopped_one_goes_on() {
    let folder = folder();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let sweep = |more: &[&str]| run([&["sweep", SCENARIO, "--seeds", "1..9", "--results"], more].concat());
    let merged = |files: &[String]| {
        run([&["sweep", "--merge"][..], &files.iter().map(String::as_str).collect::<Vec<_>>()].concat())
    };

    let whole = file("whole.jsonl");
    assert_eq!(sweep(&[&whole]).exit, 0);
    let one_machine = merged(std::slice::from_ref(&whole));
    assert_eq!(one_machine.exit, 0, "{one_machine:?}");
    assert!(one_machine.stdout.contains("9 runs"), "{one_machine:?}");
    let shares: Vec<String> = (1..=3).map(|share| file(&format!("{share}.jsonl"))).collect();
    for (path, share) in shares.iter().zip(["1/3", "2/3", "3/3"]) {
        assert_eq!(sweep(&[path, "--shard", share]).exit, 0);
    }
    assert_eq!(merged(&shares).stdout, one_machine.stdout);
    assert_eq!(merged(&[&shares[..], &shares[..1]].concat()).stdout, one_machine.stdout, "a run counts once");

    let without = merged(&shares[1..]);
    let told = "share 1/3 is missing: these files are not the whole sweep";
    assert!(without.exit == 2 && without.stderr.contains(told), "{without:?}");

    // Killed in the middle of its fifth line.
    let text = fs::read_to_string(&whole).expect("it was written");
    let fourth = text.match_indices('\n').nth(3).expect("there are nine lines").0;
    let stopped = written(&folder, "stopped.jsonl", &text.as_bytes()[..fourth + 40]);
    assert_eq!(sweep(&[&stopped]).exit, 0);
    assert_eq!(merged(std::slice::from_ref(&stopped)).stdout, one_machine.stdout);
    let damaged = written(&folder, "damaged.jsonl", &text.as_bytes()[..fourth + 40]);
    check_refused(&["sweep", "--merge", &damaged], 64, &[&format!("{damaged}:5: expected a run")]);
}
