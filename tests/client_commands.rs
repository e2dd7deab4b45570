//! `topics`, `produce` and `consume` against a node: what they print, what they refuse, how long they wait.

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::serve::Serving;

/// What a command left: exit code, standard output, standard error.
#[derive(Debug, PartialEq, Eq)]
pub struct Left(i32, String, String);

impl Left {
    pub fn stdout(&self) -> &str {
        &self.1
    }
}

/// Runs a command against the broker at `address`, with `input` as standard input.
pub fn run(address: &str, args: &[&str], input: &str) -> Left {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(args).args(["--bootstrap-server", address]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("highwater runs");
    let mut stdin = process.stdin.take().expect("it is a pipe");
    // A command that refuses its options reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = process.wait_with_output().expect("a process of ours");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    Left(output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

/// Fails unless the command ends well, having printed `stdout` and said `stderr`.
pub fn check(address: &str, args: &[&str], input: &str, stdout: &str, stderr: &str) {
    assert_eq!(run(address, args, input), Left(0, stdout.to_owned(), stderr.to_owned()), "{args:?}");
}

/// Fails unless the command ends with `exit`, prints nothing, and says all of `words`.
pub fn check_refused(address: &str, args: &[&str], input: &str, exit: i32, words: &[&str]) {
    let Left(found, stdout, stderr) = run(address, args, input);
    assert_eq!((found, stdout.as_str()), (exit, ""), "{args:?} said {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: expected `{word}` in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{args:?} said {stderr}");
}

#[test]
fn a_topic_is_known_when_its_creation_is_told_and_gone_when_its_deletion_is() {
    let node = Serving::start(&[]);
    let at = &node.address;
    check(at, &["topics", "list"], "", "", "");
    let create = ["topics", "create", "orders", "--partitions", "2", "--config", "min.insync.replicas=1"];
    check(at, &create, "", "created orders\n", "");
    check(at, &["topics", "list"], "", "orders\n", "");
    let line = |index: i32| format!("  orders-{index}  leader 1 (epoch 0)  replicas 1  isr 1\n");
    let described = format!("orders  2 partitions\n{}{}", line(0), line(1));
    check(at, &["topics", "describe", "orders"], "", &described, "");
    check(at, &["topics", "describe"], "", &described, "");
    check(at, &["topics", "delete", "orders"], "", "deleted orders\n", "");
    check(at, &["topics", "list"], "", "", "");
}

#[test]
fn what_a_cluster_refuses_is_told_in_its_words() {
    let node = Serving::start(&[]);
    let at = &node.address;
    check(at, &["topics", "create", "orders"], "", "created orders\n", "");
    check_refused(at, &["topics", "create", "orders"], "", 1, &["TOPIC_ALREADY_EXISTS", "orders"]);
    check_refused(at, &["topics", "create", "my orders"], "", 1, &["INVALID_TOPIC_EXCEPTION", "my orders"]);
    let wide = ["topics", "create", "wide", "--replication-factor", "3"];
    check_refused(at, &wide, "", 1, &["INVALID_REPLICATION_FACTOR", "3"]);
    let unknown = ["topics", "create", "wide", "--config", "min.insync.replica=2"];
    check_refused(at, &unknown, "", 1, &["INVALID_CONFIG", "min.insync.replica"]);

    let missing = ["there is no topic `order`; did you mean `orders`?", "topics create order --bootstrap-server", at];
    for command in [&["topics", "describe", "order"][..], &["topics", "delete", "order"], &["consume", "order"]] {
        check_refused(at, command, "", 1, &missing);
    }
    let partition = "topic `orders` has no partition 7; it has 0 to 0";
    check_refused(at, &["produce", "orders", "--partition", "7"], "a\n", 64, &[partition]);
    check_refused(at, &["consume", "orders", "--partition", "7"], "", 64, &[partition]);
}

#[test]
fn lines_go_in_and_come_out_in_order() {
    let node = Serving::start(&[]);
    let at = &node.address;
    // The broker makes the topic by itself.
    check(at, &["produce", "words"], "one\ntwo\r\n\nfour", "", "4 records stored in words\n");
    let all = ["consume", "words", "--from-beginning", "--exit-at-end"];
    check(at, &all, "", "one\ntwo\n\nfour\n", "");
    check(at, &["consume", "words", "--from-beginning", "--max-messages", "2"], "", "one\ntwo\n", "");
    check(at, &["consume", "words", "--exit-at-end"], "", "", "");

    check(at, &["topics", "create", "pairs", "--partitions", "3"], "", "created pairs\n", "");
    let produce = ["produce", "pairs", "--key-separator", ": ", "--set", "acks=1"];
    check(at, &produce, "k: 1\nk: 2\nk: a: b\n", "", "3 records stored in pairs\n");
    let fault = "line 2: there is no `: ` between a key and a value";
    check_refused(at, &produce, "k: 3\nk 4\n", 64, &["1 record stored in pairs", fault]);
    let Left(exit, stdout, stderr) =
        run(at, &["consume", "pairs", "--from-beginning", "--exit-at-end", "--format", "json"], "");
    assert_eq!(exit, 0, "{stderr}");
    let records: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    // One key, so one partition.
    let partition = &records[0]["partition"];
    for (record, (offset, value)) in records.iter().zip((0..).zip(["1", "2", "a: b", "3"])) {
        let found = (&record["schema"], &record["partition"], &record["offset"], &record["key"], &record["value"]);
        let (schema, key) = (Value::from("highwater/record/1"), Value::from("k"));
        assert_eq!(found, (&schema, partition, &Value::from(offset), &key, &Value::from(value)));
    }
    assert_eq!(records.len(), 4, "{stdout}");
}

#[test]
fn a_peer_that_accepts_and_never_answers_is_given_up() {
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = deaf.local_addr().expect("it listens").to_string();
    let words = [&format!("no broker answers at {address}"), "nothing came within 5 s", "--bootstrap-server"];
    check_refused(&address, &["topics", "list"], "", 1, &words);
}
