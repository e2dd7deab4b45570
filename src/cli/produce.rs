//! `produce`: a record for each line of standard input, each acknowledged before the command ends.

use std::{
    collections::VecDeque,
    io::{self, BufRead, Read},
    pin::{Pin, pin},
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot::error::TryRecvError};

use super::{
    args::ProduceOptions,
    cluster,
    exit::{self, Failure, Outcome},
};
use crate::{
    client::{Producer, ProducerConfig, ProducerRecord, producer::Receipt},
    runtime::process,
    trace::Tracer,
};

/// Lines that are read ahead.
const LINES_AHEAD: usize = 64;

/// A line's record on its way.
type OnItsWay = (u64, Receipt);

/// Sends lines until standard input ends or somebody presses Ctrl-C.
pub fn produce(options: &ProduceOptions) -> Outcome {
    let given = cluster::properties("--set", &options.properties)?;
    let config = ProducerConfig::from_properties(&given).map_err(Failure::usage)?;
    cluster::block_on(async {
        let reached = cluster::reach(&options.cluster, config.cluster.clone()).await?;
        let topic = cluster::topic(&reached, &options.cluster, &options.topic, true).await?;
        cluster::partitions(&topic, options.partition)?;
        let mut lines = lines(config.request_bytes_max);
        let sending = Sending { options, producer: Producer::new(config, reached, Tracer::off()) };
        let mut interrupt = pin!(process::shutdown_requested());
        let (mut on_their_way, mut stored) = (VecDeque::new(), 0);
        let sent = sending.send_all(&mut lines, interrupt.as_mut(), &mut on_their_way, &mut stored).await;
        let settled = tokio::select! {
            biased;
            () = process::shutdown_requested() => Err(Failure::failed("interrupted: the last records may be stored")),
            settled = settle(&mut on_their_way, &mut stored) => settled,
        };
        eprintln!("{stored} {} stored in {}", if stored == 1 { "record" } else { "records" }, options.topic);
        sent.and(settled).map(|()| exit::OK)
    })
}

struct Sending<'a> {
    options: &'a ProduceOptions,
    producer: Producer,
}

impl Sending<'_> {
    /// Sends every line. What is on its way when it returns is left in `on_their_way`.
    async fn send_all(
        &self,
        lines: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
        mut interrupt: Pin<&mut impl Future<Output = ()>>,
        on_their_way: &mut VecDeque<OnItsWay>,
        stored: &mut u64,
    ) -> Result<(), Failure> {
        for number in 1.. {
            let line = tokio::select! {
                biased;
                () = interrupt.as_mut() => return Ok(()),
                line = lines.recv() => line,
            };
            let Some(line) = line else { return Ok(()) };
            let line = line.map_err(|error| Failure::usage(format!("line {number}: {error}")))?;
            let record = self.record(number, line)?;
            let sent = tokio::select! {
                biased;
                () = interrupt.as_mut() => return Ok(()),
                sent = self.producer.send(record) => sent,
            };
            let receipt = sent.map_err(|error| Failure::failed(format!("line {number}: {error}")))?;
            on_their_way.push_back((number, receipt));
            while let Some((number, receipt)) = on_their_way.front_mut() {
                match receipt.try_recv() {
                    Err(TryRecvError::Empty) => break,
                    Ok(result) => {
                        result.map(drop).map_err(|error| Failure::failed(format!("line {number}: {error}")))?
                    }
                    Err(TryRecvError::Closed) => return Err(unknown(*number)),
                }
                on_their_way.pop_front();
                *stored += 1;
            }
        }
        Ok(())
    }

    fn record(&self, number: u64, line: Vec<u8>) -> Result<ProducerRecord, Failure> {
        let line = Bytes::from(line);
        let (key, value) = match &self.options.key_separator {
            None => (None, line),
            Some(separator) => {
                let width = separator.len();
                let at = line.windows(width.max(1)).position(|part| part == separator.as_bytes()).ok_or_else(|| {
                    Failure::usage(format!("line {number}: there is no `{separator}` between a key and a value"))
                })?;
                (Some(line.slice(..at)), line.slice(at + width..))
            }
        };
        Ok(ProducerRecord {
            topic: self.options.topic.as_str().into(),
            partition: self.options.partition,
            key,
            value: Some(value),
            ..ProducerRecord::default()
        })
    }
}

/// Waits for what is on its way, at most as long as the producer's delivery time-out.
async fn settle(on_their_way: &mut VecDeque<OnItsWay>, stored: &mut u64) -> Result<(), Failure> {
    let mut first = Ok(());
    for (number, receipt) in on_their_way.drain(..) {
        let failed = match receipt.await {
            Ok(Ok(_)) => {
                *stored += 1;
                continue;
            }
            Ok(Err(error)) => Failure::failed(format!("line {number}: {error}")),
            Err(_) => unknown(number),
        };
        first = first.and(Err(failed));
    }
    first
}

fn unknown(number: u64) -> Failure {
    Failure::failed(format!("line {number}: nobody can tell what became of it"))
}

/// The lines of standard input, each without its end, read by a thread of their own.
fn lines(bytes_max: usize) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = input.by_ref().take(bytes_max as u64 + 1).read_until(b'\n', &mut line).and_then(|count| {
                let too_long = || io::Error::other(format!("longer than max.request.size, {bytes_max} bytes"));
                if line.len() > bytes_max { Err(too_long()) } else { Ok(count) }
            });
            if matches!(read, Ok(0)) {
                return;
            }
            let whole = read.map(|_| {
                let end = line.strip_suffix(b"\n").unwrap_or(&line);
                end.strip_suffix(b"\r").unwrap_or(end).to_vec()
            });
            let ended = whole.is_err();
            if sender.blocking_send(whole).is_err() || ended {
                return;
            }
        }
    });
    receiver
}
