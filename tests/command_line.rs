//! Exit codes and messages of the deployment build, where no broker is needed.

use std::process::{Command, Output};

/// Runs a command. Its exit code, standard output and standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("RUST_LOG").args(args);
    let Output { status, stdout, stderr } = command.output().expect("highwater runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

/// Fails unless the command ends with `exit`, prints no result, and says all of `words` on standard error.
fn check_refused(args: &[&str], exit: i32, words: &[&str]) {
    let (found, stdout, stderr) = run(args);
    assert_eq!((found, stdout.as_str()), (exit, ""), "{args:?} said {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: expected `{word}` in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{args:?} said {stderr}");
}

#[test]
fn a_command_of_the_simulation_says_how_to_run_it() {
    let scenario = "scenarios/01-acks-one-leader-crash.toml";
    check_refused(
        &["run", scenario, "--variant", "min ISR 2"],
        64,
        &[
            "`run` belongs to the simulation build",
            "cargo sim run scenarios/01-acks-one-leader-crash.toml --variant 'min ISR 2'",
        ],
    );
    check_refused(&["sweep", scenario], 64, &["cargo sim sweep scenarios/01-acks-one-leader-crash.toml"]);
}

#[test]
fn wrong_usage_is_told_with_what_would_be_right() {
    check_refused(&[], 64, &["Usage: highwater"]);
    check_refused(&["topic", "list"], 64, &["topics"]);
    check_refused(&["topics", "list", "--bootstrap-server", "localhost"], 64, &["HOST:PORT", "`localhost`"]);
    check_refused(&["topics", "create", "orders", "--partitions", "many"], 64, &["--partitions", "many"]);
    check_refused(&["produce", "orders", "--set", "acks"], 64, &["--set takes name=value, not `acks`"]);
    check_refused(&["produce", "orders", "--set", "ack=1"], 64, &["ack", "did you mean `acks`?"]);
    check_refused(&["consume", "orders", "--set", "fetch.min.bytes=few"], 64, &["fetch.min.bytes", "`few`"]);
    check_refused(&["storage", "format"], 64, &["--config"]);
}

#[test]
fn a_cluster_that_does_not_answer_is_told_with_how_to_start_one() {
    // Nobody listens on port 1.
    let server = ["--bootstrap-server", "127.0.0.1:1"];
    for command in [&["topics", "list"][..], &["consume", "orders"], &["produce", "orders"]] {
        let args = [command, &server].concat();
        let how = "cargo run --release -- serve --dev --listen 127.0.0.1:1";
        check_refused(&args, 1, &["no broker answers at 127.0.0.1:1", how]);
    }
}

#[test]
fn scenarios_are_listed_and_checked_in_this_build_too() {
    let (exit, stdout, stderr) = run(&["list"]);
    assert_eq!(exit, 0, "{stderr}");
    assert!(stdout.starts_with("01-acks-one-leader-crash  "), "{stdout}");
    let (exit, stdout, stderr) = run(&["check", "scenarios/03-unclean-election.toml"]);
    assert_eq!(exit, 0, "{stderr}");
    assert_eq!(stdout, "scenarios/03-unclean-election.toml: ok (3 steps, 3 variants)\n");
}

#[test]
fn the_version_names_the_build() {
    let version = concat!("highwater ", env!("CARGO_PKG_VERSION"), " (deployment build)\n");
    assert_eq!(run(&["--version"]), (0, version.to_owned(), String::new()));
}
