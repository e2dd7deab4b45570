//! `highwater serve` as a command: what it says, what it answers to mistakes, how it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use highwater::{
    client::{Admin, Cluster, Producer, ProducerConfig, ProducerRecord, admin::NewTopic},
    trace::Tracer,
};
use rustix::process::{Pid, Signal};

use crate::{block_on_threads, temporary_folder};

fn highwater(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails unless the command ends with `code` and one message that holds all of `words`.
fn check_refused(arguments: &[&str], environment: &[(&str, &str)], code: i32, words: &[&str]) {
    let mut command = highwater(arguments);
    command.envs(environment.iter().copied());
    let Output { status, stderr, stdout } = command.output().expect("highwater runs");
    let message = text(&stderr);
    assert_eq!(status.code(), Some(code), "{arguments:?} said {message}");
    assert_eq!(text(&stdout), "", "{arguments:?} has no result");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: expected `{word}` in {message}");
    }
    assert!(!message.contains("panicked"), "{arguments:?} said {message}");
}

fn properties(folder: &Path, node: i32, more: &str) -> String {
    let path = folder.join(format!("node-{node}.properties"));
    let text = format!(
        "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={node}@127.0.0.1:1\n\
         controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
         log.dirs={}\n{more}",
        folder.join("data").display()
    );
    fs::write(&path, text).expect("the properties can be written");
    path.display().to_string()
}

#[test]
fn a_mistake_of_the_operator_is_told_with_what_to_do() {
    let folder = temporary_folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it listens").to_string();
    check_refused(&["serve", "--dev", "--listen", &address], &[], 1, &["cannot listen on", &address, "--listen"]);
    check_refused(&["serve", "--dev", "--listen", "kafka"], &[], 64, &["--listen", "host:port", "`kafka`"]);
    check_refused(&["serve", "--dev", "--listen", "127.0.0.1:99999"], &[], 64, &["--listen", "host:port"]);

    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file can be written");
    let below = file.join("data").display().to_string();
    let listen = ["--listen", "127.0.0.1:0"];
    check_refused(
        &["serve", "--dev", "--data", &below, listen[0], listen[1]],
        &[],
        1,
        &["log directory", &below, "written"],
    );
    check_refused(&["serve", "--dev"], &[("RUST_LOG", "a=b=c")], 64, &["RUST_LOG", "a=b=c"]);
    check_refused(&["serve"], &[], 64, &["--config"]);

    let missing = folder.path().join("none.properties").display().to_string();
    check_refused(&["serve", "--config", &missing], &[], 64, &[&missing, "No such file"]);
    let unformatted = properties(folder.path(), 1, "");
    check_refused(&["serve", "--config", &unformatted], &[], 1, &["not formatted", "highwater storage format"]);
    let wrong = properties(folder.path(), 2, "num.partitions=many\n");
    check_refused(&["serve", "--config", &wrong], &[], 64, &[&wrong, ":7", "num.partitions", "`many`"]);

    let formatted = highwater(&["storage", "format", "--config", &unformatted]).output().expect("highwater runs");
    assert!(formatted.status.success(), "{}", text(&formatted.stderr));
    let other = properties(folder.path(), 3, "");
    check_refused(&["serve", "--config", &other], &[], 1, &["belongs to node 1", "this is node 3"]);
    let meta = folder.path().join("data/meta.properties");
    fs::write(&meta, "version=one\n").expect("the file can be written");
    check_refused(&["serve", "--config", &unformatted], &[], 1, &["meta.properties", "line 1"]);
}

/// A development node that has said where it serves; ended when it is dropped.
pub struct Serving {
    process: Child,
    pub address: String,
    data: PathBuf,
}

impl Serving {
    /// Starts it with these options, on a free port.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = highwater(&["serve", "--dev", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("highwater runs");
        let mut output = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let mut said = String::new();
        output.read_line(&mut said).expect("the node says where it serves");
        let (address, data) = said
            .trim()
            .strip_prefix("serving Kafka clients on ")
            .and_then(|rest| rest.split_once(", data in "))
            .unwrap_or_else(|| panic!("expected an address and a folder in `{said}`"));
        Self { process, address: address.to_owned(), data: data.into() }
    }

    fn cluster(&self) -> Arc<Cluster> {
        Cluster::new(ProducerConfig::default().cluster, vec![self.address.clone()])
    }

    /// Sends `signal`, expects a clean end, and returns the log.
    fn end(mut self, signal: Signal) -> String {
        rustix::process::kill_process(Pid::from_child(&self.process), signal).expect("a process of ours");
        assert_eq!(self.process.wait().expect("a process of ours").code(), Some(0));
        let mut log = String::new();
        self.process.stderr.take().expect("it is a pipe").read_to_string(&mut log).expect("the log is text");
        log
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_development_node_serves_at_once_and_leaves_nothing_behind() {
    let node = Serving::start(&["--set", "num.partition=3"]);
    let data = node.data.clone();
    assert!(data.join("meta.properties").exists(), "{} is a log directory", data.display());
    block_on_threads(async {
        let producer = Producer::new(ProducerConfig::default(), node.cluster(), Tracer::off());
        let value = Some(Bytes::from_static(b"hello"));
        let record = ProducerRecord { topic: "greetings".into(), value, ..ProducerRecord::default() };
        let receipt = producer.send(record).await.expect("the topic is made at once");
        let (_, offset) = receipt.await.expect("the producer lives").expect("the record is stored");
        assert_eq!(offset.0, 0);
    });
    let log = node.end(Signal::INT);
    assert!(!data.exists(), "{} is temporary", data.display());
    assert!(log.contains("property num.partition is not known; did you mean num.partitions?"), "{log}");
    for line in log.lines() {
        let entry: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in a line of {log}"));
        assert!(entry["level"].is_string() && entry["fields"]["message"].is_string(), "{line} of {log}");
    }
}

#[test]
fn a_data_folder_has_one_owner_and_outlives_it() {
    let folder = temporary_folder();
    let data = folder.path().join("data").display().to_string();
    let node = Serving::start(&["--data", &data]);
    let again = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data];
    check_refused(&again, &[], 1, &[&data, "in use by another process"]);
    let topic = NewTopic { name: "kept".to_owned(), partitions: 1, replication_factor: 1, ..NewTopic::default() };
    block_on_threads(async { Admin::new(node.cluster()).create_topic(&topic).await }).expect("the topic is created");
    node.end(Signal::TERM);
    let node = Serving::start(&["--data", &data]);
    let topics = block_on_threads(async { Admin::new(node.cluster()).describe_topics(None).await });
    let names: Vec<String> =
        topics.expect("the node answers").into_iter().filter_map(|topic| Some(topic.name?.to_string())).collect();
    assert_eq!(names, ["kept"]);
    assert!(node.end(Signal::TERM).contains("after a clean stop"));
}
