//! Clusters of Highwater processes on loopback, set up as an operator does: a properties file and a formatted log
//! directory for each node, then `highwater serve --config`.
//!
//! Node 1 is broker and controller, the others are brokers. A test that fails prints the end of each node's log.

mod groups;
mod hostile;
mod kills;
mod reassignment;
mod shutdown;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use highwater::{
    base::{Offset, TopicPartition},
    client::{self, Admin, Consumer, ConsumerConfig, ProducerConfig, admin::NewTopic, consumer::Seek},
    protocol::messages::metadata_response::MetadataResponsePartition,
    runtime::clock,
    trace::Tracer,
};

const BINARY: &str = env!("CARGO_BIN_EXE_highwater");
const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAg";
/// The node that is controller too.
const CONTROLLER: i32 = 1;
/// Nothing that a test waits for may take longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time-outs of a cluster in which failures are noticed within a second.
const QUICK: &[(&str, &str)] = &[
    ("broker.heartbeat.interval.ms", "200"),
    ("broker.session.timeout.ms", "1000"),
    ("replica.lag.time.max.ms", "3000"),
    ("replica.fetch.backoff.ms", "100"),
];

/// Processes that belong together.
struct Cluster {
    nodes: Vec<Node>,
    _folder: tempfile::TempDir,
}

/// One process, or the place of one that is down.
struct Node {
    id: i32,
    address: String,
    folder: PathBuf,
    process: Option<Child>,
}

impl Cluster {
    /// Starts `count` nodes with these properties besides the necessary ones, and waits until all take part.
    async fn start(count: i32, properties: &[(&str, &str)]) -> Self {
        let folder = crate::temporary_folder();
        let controller = free_address();
        let place = |id: i32| Node {
            id,
            address: free_address(),
            folder: folder.path().join(format!("node-{id}")),
            process: None,
        };
        let mut cluster = Self { nodes: (1..=count).map(place).collect(), _folder: folder };
        for node in &mut cluster.nodes {
            node.set_up(&controller, properties);
            node.start();
        }
        cluster.wait_for_all().await;
        cluster
    }

    fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).expect("the node is of this cluster")
    }

    fn bootstrap(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// A client's view of the cluster.
    fn client(&self) -> Arc<client::Cluster> {
        let given = properties(&[("request.timeout.ms", "5000"), ("delivery.timeout.ms", "60000")]);
        let config = ProducerConfig::from_properties(&given).expect("the properties are right");
        client::Cluster::new(config.cluster, self.bootstrap())
    }

    /// Creates a topic with a replica on each of up to three brokers, and waits until every ISR is full.
    async fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let replication_factor = self.nodes.len().min(3) as i16;
        let configs = properties(configs);
        let topic = NewTopic { name: name.to_owned(), partitions, replication_factor, assignment: vec![], configs };
        Admin::new(self.client()).create_topic(&topic).await.expect("the topic is created");
        self.wait_for_full_isr(name).await;
    }

    /// Waits until every node knows of every other.
    async fn wait_for_all(&self) {
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            let running = self.nodes.iter().filter(|node| node.process.is_some()).count();
            let what = format!("node {} knows of {running} brokers", node.id);
            until(&what, async || node.known_brokers().await == running).await;
        }
    }

    /// The partitions of a topic as some broker knows them.
    async fn describe(&self, topic: &str) -> Vec<MetadataResponsePartition> {
        let topics = Admin::new(self.client()).describe_topics(Some(&[topic])).await;
        let mut partitions = topics.map_or(vec![], |mut topics| topics.remove(0).partitions);
        partitions.sort_by_key(|partition| partition.partition_index);
        partitions
    }

    async fn leader(&self, topic: &str, partition: usize) -> i32 {
        self.describe(topic).await.get(partition).map_or(-1, |described| described.leader_id.0)
    }

    /// Waits until all replicas of `topic` are in the ISR.
    async fn wait_for_full_isr(&self, topic: &str) {
        let full = |partition: &MetadataResponsePartition| {
            partition.leader_id.0 >= 0 && partition.isr_nodes.len() == partition.replica_nodes.len()
        };
        let what = format!("every ISR of {topic} is full");
        until(&what, async || {
            let partitions = self.describe(topic).await;
            !partitions.is_empty() && partitions.iter().all(full)
        })
        .await;
    }

    /// The values in each partition of `topic` with their offsets, up to where it ends now.
    async fn read_all(&self, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<(Offset, String)>> {
        let mut consumer = Consumer::new(ConsumerConfig::default(), self.client(), Tracer::off());
        let mut ends = BTreeMap::new();
        for index in 0..partitions {
            let partition = TopicPartition::new(topic, index);
            consumer.assign(partition.clone(), Seek::Beginning);
            ends.insert(index, consumer.offset_of(&partition, Seek::End).await.expect("the partition has a leader"));
        }
        let mut read: BTreeMap<i32, Vec<(Offset, String)>> = ends.keys().map(|index| (*index, vec![])).collect();
        let deadline = clock::now() + PATIENCE;
        while ends.iter().any(|(index, end)| read[index].last().map_or(0, |(offset, _)| offset.0 + 1) < end.0) {
            assert!(clock::now() < deadline, "{topic} was not read up to {ends:?} within {PATIENCE:?}");
            for record in consumer.poll(Duration::from_millis(200)).await.expect("the position is in range") {
                let value = String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
                read.get_mut(&record.partition.partition).expect("it was assigned").push((record.offset, value));
            }
        }
        read
    }
}

impl Node {
    fn set_up(&self, controller: &str, properties: &[(&str, &str)]) {
        fs::create_dir_all(&self.folder).expect("the folder can be made");
        let (client, log_dir) = (&self.address, self.folder.join("data").display().to_string());
        let (roles, own) = match self.id {
            CONTROLLER => ("broker,controller", format!(",CONTROLLER://{controller}")),
            _ => ("broker", String::new()),
        };
        let mut text = format!(
            "process.roles={roles}\nnode.id={id}\ncontroller.quorum.voters=1@{controller}\n\
             controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://{client}{own}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://{client}\ninter.broker.listener.name=PLAINTEXT\nlog.dirs={log_dir}\n",
            id = self.id,
        );
        properties.iter().for_each(|(name, value)| text += &format!("{name}={value}\n"));
        fs::write(self.properties(), text).expect("the properties can be written");
        let format = ["storage", "format", "--cluster-id", CLUSTER_ID, "--config"];
        let formatted = Command::new(BINARY).args(format).arg(self.properties()).output().expect("highwater runs");
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    /// Where the controller listens, if this node is it.
    fn controller_address(&self) -> String {
        let text = fs::read_to_string(self.properties()).expect("the node is set up");
        let listener = text.split_once(",CONTROLLER://").expect("the node is controller").1;
        listener.lines().next().expect("a line has an end").to_owned()
    }

    fn log_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn start(&mut self) {
        assert!(self.process.is_none(), "node {} runs already", self.id);
        let log = File::options().create(true).append(true).open(self.folder.join("log")).expect("a log to write");
        let output = log.try_clone().expect("a file can be had twice");
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(self.properties()).stdin(Stdio::null()).stdout(output).stderr(log);
        self.process = Some(command.spawn().expect("highwater runs"));
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process.kill().expect("a process of ours");
        process.wait().expect("a process of ours");
    }

    /// SIGTERM; waits for the end.
    async fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the node runs");
        let id = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a process of ours");
        let deadline = clock::now() + PATIENCE;
        loop {
            match process.try_wait().expect("a process of ours") {
                Some(status) => return status,
                None if clock::now() < deadline => clock::sleep(Duration::from_millis(5)).await,
                None => {
                    self.process = Some(process);
                    panic!("node {} did not end within {PATIENCE:?} after SIGTERM", self.id);
                }
            }
        }
    }

    /// How many brokers it tells clients of; 0 while it does not answer.
    async fn known_brokers(&self) -> usize {
        let given = properties(&[("request.timeout.ms", "2000")]);
        let config = ConsumerConfig::from_properties(&given).expect("the properties are right");
        let client = client::Cluster::new(config.cluster, vec![self.address.clone()]);
        client.metadata(Some(vec![]), false).await.map_or(0, |metadata| metadata.brokers.len())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(process) = &mut node.process {
                let _ = process.kill();
                let _ = process.wait();
            }
            if std::thread::panicking() {
                let log = node.log();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(40)..].join("\n");
                eprintln!("--- end of the log of node {} ({} lines in all)\n{tail}", node.id, lines.len());
            }
        }
    }
}

/// Waits until `happened` says so, and fails when it takes too long.
async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !happened().await {
        assert!(clock::now() < deadline, "not within {PATIENCE:?}: {what}");
        clock::sleep(Duration::from_millis(20)).await;
    }
}

fn properties(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A loopback address that nobody listens on, with a port below those that the system gives to outgoing connections:
/// one that a node can have again after it was down.
fn free_address() -> String {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test processes that run at the same time begin at different ports.
        let nth = std::process::id().wrapping_mul(37).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + (nth % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}
