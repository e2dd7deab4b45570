//! The simulated network, disk, clocks and processes, one question a test.
//!
//! One process runs one world, so each test runs itself again, alone in a process of its own.

mod disk;
mod network;
mod process;

use std::{
    env,
    future::Future,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use highwater::{
    base::Time,
    runtime::{
        Label, Message, clock,
        net::{Listener, Reader, Writer, connect},
        sim::{World, WorldConfig},
        task,
    },
    trace::{Event, EventId, Sink},
};
use tokio::sync::{mpsc, oneshot};

/// Set in the process that runs one test alone: the test's name.
const ALONE: &str = "HIGHWATER_TEST_ALONE";

/// A test whose body runs in a world of its own; `world` and `seen` are its names for the world and its events.
macro_rules! in_a_world {
    ($(fn $name:ident($world:ident, $seen:ident) $body:block)*) => {$(
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            $crate::world::alone(path, |$world, $seen| async move { $body });
        }
    )*};
}
use in_a_world;

/// Runs `body` in a world, in a process of its own. `path` is the test's name with the crate before it.
fn alone<F: Future<Output = ()>>(path: &str, body: impl FnOnce(World, Arc<Seen>) -> F) {
    let (_, name) = path.split_once("::").expect("the crate's name comes first");
    if env::var(ALONE).as_deref() == Ok(name) {
        let seen = Arc::new(Seen::default());
        let config = WorldConfig { seed: 7, time_limit: Duration::from_secs(600) };
        World::run(&config, seen.clone(), |world| body(world, seen));
        return;
    }
    let myself = env::current_exe().expect("a test knows its program");
    let output = Command::new(myself).args([name, "--exact", "--nocapture"]).env(ALONE, name).output();
    let output = output.expect("the test can be started again");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}

/// Every event of the world.
#[derive(Default)]
struct Seen(Mutex<Vec<(Time, Arc<str>, Event)>>);

impl Seen {
    /// When and where events happened for which `asked` is true.
    fn all(&self, asked: impl Fn(&Event) -> bool) -> Vec<(Time, Arc<str>)> {
        let events = self.0.lock().unwrap();
        events.iter().filter(|(_, _, event)| asked(event)).map(|(time, node, _)| (*time, node.clone())).collect()
    }
}

impl Sink for Seen {
    fn record(&self, node: &Arc<str>, _cause: Option<EventId>, event: Event) -> Option<EventId> {
        let mut events = self.0.lock().unwrap();
        events.push((clock::now(), node.clone(), event));
        Some(EventId(events.len() as u64))
    }

    fn wants_detail(&self) -> bool {
        true
    }
}

type Job = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A host whose process does what it is given.
struct Host {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Host {
    fn new(world: &World, name: &str) -> Self {
        let (jobs, inbox) = mpsc::unbounded_channel::<Job>();
        let inbox = Arc::new(tokio::sync::Mutex::new(inbox));
        world.add_host(name, move || {
            let inbox = inbox.clone();
            async move {
                while let Some(job) = inbox.lock().await.recv().await {
                    task::spawn(job);
                }
            }
        });
        Self { jobs }
    }

    /// What `job` gives, done by the process on this host; `None` if the process died over it.
    async fn run<T: Send + 'static>(&self, job: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = async move {
            let _ = done.send(job.await);
        };
        self.jobs.send(Box::pin(job)).expect("the host was added");
        result.await.ok()
    }
}

/// One end of a connection.
struct End {
    reader: Reader,
    writer: Writer,
}

impl End {
    async fn send(&mut self, api: &'static str, bytes: usize) -> std::io::Result<()> {
        self.writer.write(message(api, bytes)).await
    }

    /// How long it takes until something arrives, at most `within_ms`.
    async fn arrival_ms(&mut self, within_ms: u64) -> Option<u64> {
        let began = clock::now();
        let mut buffer = BytesMut::new();
        let read = clock::timeout(Duration::from_millis(within_ms), self.reader.read(&mut buffer)).await.ok()?;
        assert!(read.expect("the connection lives") > 0, "the peer closed");
        Some(clock::now().since(began).as_millis() as u64)
    }
}

fn message(api: &'static str, bytes: usize) -> Message {
    let label = Label { api, version: 0, request: true, correlation: 1, cause: None };
    Message { chunks: vec![Bytes::from(vec![7; bytes])], label }
}

/// Hosts `a` and `b`.
fn two_hosts(world: &World) -> (Host, Host) {
    (Host::new(world, "a"), Host::new(world, "b"))
}

/// A connection from `a` to `b`, with its listener.
async fn connected(a: &Host, b: &Host) -> (End, End, Listener) {
    let listener = b.run(async { Listener::bind("b:1").await.expect("nobody listens there") }).await.unwrap();
    let (end_a, end_b) = another(a, &listener).await;
    (end_a, end_b, listener)
}

/// One more connection from `a` to the listener of `b`.
async fn another(a: &Host, listener: &Listener) -> (End, End) {
    let opened = a.run(async { connect("b:1").await.expect("b listens") });
    let (opened, accepted) = tokio::join!(opened, listener.accept());
    let (reader, writer) = opened.unwrap();
    let end_a = End { reader, writer };
    let (reader, writer, _) = accepted.expect("a connects");
    (end_a, End { reader, writer })
}

async fn pass_ms(ms: u64) {
    clock::sleep(Duration::from_millis(ms)).await;
}
