//! `consume`: prints records of a topic until there are enough, or the end is reached, or somebody presses Ctrl-C.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Write},
    pin::pin,
    time::Duration,
};

use super::{
    args::{ConsumeOptions, Format},
    cluster::{self, failed},
    exit::{self, Failure, Outcome},
    output::unwritable,
};
use crate::{
    base::{Offset, Time, TopicPartition},
    client::{Cluster, Consumer, ConsumerConfig, ConsumerRecord, GroupConfig, GroupConsumer, consumer::Seek},
    runtime::{clock, process},
    trace::Tracer,
};

/// Longest wait of one poll.
const POLL: Duration = Duration::from_secs(1);
/// A cluster that does not answer for so long is given up.
const LOST: Duration = Duration::from_secs(30);

/// Prints records.
pub fn consume(options: &ConsumeOptions) -> Outcome {
    let mut given = cluster::properties("--set", &options.properties)?;
    if let Some(group) = &options.group {
        given.insert("group.id".to_owned(), group.clone());
        if options.from_beginning {
            given.entry("auto.offset.reset".to_owned()).or_insert_with(|| "earliest".to_owned());
        }
        let config = GroupConfig::from_properties(&given).map_err(Failure::usage)?;
        return cluster::block_on(read_as_member(options, config));
    }
    let config = ConsumerConfig::from_properties(&given).map_err(Failure::usage)?;
    cluster::block_on(async {
        let mut interrupt = pin!(process::shutdown_requested());
        let read = read(options, config);
        tokio::select! {
            biased;
            () = interrupt.as_mut() => Ok(exit::OK),
            outcome = read => outcome,
        }
    })
}

async fn read(options: &ConsumeOptions, config: ConsumerConfig) -> Outcome {
    let reached = cluster::reach(&options.cluster, config.cluster.clone()).await?;
    let topic = cluster::topic(&reached, &options.cluster, &options.topic, false).await?;
    let partitions = cluster::partitions(&topic, options.partition)?;
    let partitions: Vec<TopicPartition> =
        partitions.into_iter().map(|index| TopicPartition::new(options.topic.as_str(), index)).collect();
    let mut consumer = Consumer::new(config, reached.clone(), Tracer::off());
    let mut ends = Vec::new();
    for partition in &partitions {
        if options.exit_at_end {
            ends.push((partition.clone(), consumer.offset_of(partition, Seek::End).await.map_err(failed)?));
        }
        consumer.assign(partition.clone(), if options.from_beginning { Seek::Beginning } else { Seek::End });
    }
    let is_at_end = |consumer: &Consumer| {
        let passed =
            |(partition, end): &(TopicPartition, Offset)| consumer.position(partition).is_some_and(|at| at >= *end);
        options.exit_at_end && ends.iter().all(passed)
    };
    let mut left = options.max_messages.unwrap_or(u64::MAX);
    let mut watch = Watch { lost_since: None };
    while left > 0 && !is_at_end(&consumer) {
        let records = consumer.poll(POLL).await.map_err(failed)?;
        if records.is_empty() {
            watch.look(&reached, options).await?;
        }
        let wanted = records.iter().take(usize::try_from(left).unwrap_or(usize::MAX));
        left -= wanted.len() as u64;
        match write(wanted, options.format) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.map_err(|error| unwritable(&error))?,
        }
    }
    Ok(exit::OK)
}

/// As a member of a group, until the same; then it commits and leaves.
async fn read_as_member(options: &ConsumeOptions, config: GroupConfig) -> Outcome {
    let mut interrupt = pin!(process::shutdown_requested());
    let reached = cluster::reach(&options.cluster, config.consumer.cluster.clone()).await?;
    let topic = cluster::topic(&reached, &options.cluster, &options.topic, false).await?;
    let mut consumer = GroupConsumer::new(config, reached.clone(), Tracer::off());
    let mut ends = BTreeMap::new();
    for index in cluster::partitions(&topic, None)?.into_iter().filter(|_| options.exit_at_end) {
        let partition = TopicPartition::new(options.topic.as_str(), index);
        let end = consumer.offset_of(&partition, Seek::End).await.map_err(failed)?;
        ends.insert(partition, end);
    }
    let is_at_end = |consumer: &GroupConsumer| {
        let (owned, positions) = (consumer.assignment(), consumer.consumed());
        let passed = |one: &TopicPartition| {
            positions.get(one).is_some_and(|at| ends.get(one).is_none_or(|end| at.offset >= *end))
        };
        options.exit_at_end && !owned.is_empty() && owned.iter().all(passed)
    };
    consumer.subscribe(&[&options.topic]).await.map_err(failed)?;
    let mut left = options.max_messages.unwrap_or(u64::MAX);
    let mut watch = Watch { lost_since: None };
    while left > 0 && !is_at_end(&consumer) {
        let records = tokio::select! {
            biased;
            () = interrupt.as_mut() => break,
            records = consumer.poll(POLL) => records.map_err(failed)?,
        };
        if records.is_empty() {
            watch.look(&reached, options).await?;
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(records.len());
        left -= count as u64;
        // What is not printed is not read: it must not be committed.
        for unread in records[count..].iter().rev() {
            consumer.seek(&unread.partition, Seek::Offset(unread.offset)).map_err(failed)?;
        }
        match write(records[..count].iter(), options.format) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.map_err(|error| unwritable(&error))?,
        }
    }
    consumer.close(LOST).await.map_err(failed)?;
    Ok(exit::OK)
}

/// Notices that the whole cluster is gone: the consumer itself tries for ever.
struct Watch {
    lost_since: Option<Time>,
}

impl Watch {
    async fn look(&mut self, cluster: &Cluster, options: &ConsumeOptions) -> Result<(), Failure> {
        let answer = cluster::is_there(cluster, &options.cluster).await;
        match (answer, self.lost_since) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                eprintln!("a broker answers again");
                self.lost_since = None;
            }
            (Err(_), None) => {
                eprintln!("no broker answers; trying for {} s", LOST.as_secs());
                self.lost_since = Some(clock::now());
            }
            (Err(failure), Some(since)) if clock::now().since(since) >= LOST => return Err(failure),
            (Err(_), Some(_)) => {}
        }
        Ok(())
    }
}

fn write<'a>(records: impl Iterator<Item = &'a ConsumerRecord>, format: Format) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for record in records {
        match format {
            Format::Text => out.write_all(record.value.as_deref().unwrap_or_default())?,
            Format::Json => serde_json::to_writer(&mut out, &json(record))?,
        }
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// A record as JSON. Bytes that are no UTF-8 are replaced.
fn json(record: &ConsumerRecord) -> serde_json::Value {
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    let headers = record.headers.iter().map(|(name, value)| serde_json::json!([name, value.as_ref().map(text)]));
    serde_json::json!({
        "schema": "highwater/record/1",
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp,
        "leader_epoch": record.leader_epoch,
        "key": record.key.as_ref().map(text),
        "value": record.value.as_ref().map(text),
        "headers": headers.collect::<Vec<_>>(),
    })
}
