//! Connections that nobody honest makes, several hundred of them, while an honest producer goes on.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use highwater::{
    base::random::stream,
    client::{Producer, ProducerConfig, ProducerRecord},
    protocol::{
        ErrorCode, api,
        frame::{PREFIX_BYTES, decode_response, encode_request},
        messages::{
            ApiKey, ProduceRequest, RequestKind, ResponseKind, TopicName,
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        records::{BatchBuilder, Codec},
    },
    trace::Tracer,
};
use rand::Rng;

use super::{Cluster, QUICK};
use crate::{block_on_threads, honest};

/// Connections of each kind.
const EACH: usize = 60;
/// How long a node may take to answer or to close.
const PATIENCE: Duration = Duration::from_secs(10);
const PRODUCE_VERSION: i16 = 9;

/// Damaged requests to each listener.
const DAMAGED: usize = 2_000;

/// What a hostile client sends, and what becomes of its connection.
enum Outcome {
    Closed,
    /// Nothing is answered, as the request is not whole yet.
    Waits,
    /// A produce is answered with this code.
    Refused(ErrorCode),
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes()[..], body].concat()
}

fn produce(batch: Bytes) -> Vec<u8> {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(TopicName("orders".to_owned().into()));
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5_000)
        .with_topic_data(vec![topic.with_partition_data(vec![data])]);
    encode_request(&RequestKind::Produce(request), PRODUCE_VERSION, 1, "hostile").expect("it can be written").concat()
}

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(1_700_000_000_000, None, Some(b"hostile"), &[]);
    builder.build().to_vec()
}

fn hostile() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    let header = |key: i16, version: i16| [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1]].concat();
    let mut corrupt = batch();
    *corrupt.last_mut().expect("a batch has bytes") ^= 1;
    let cut = batch()[..40].to_vec();
    vec![
        ("garbage", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Outcome::Closed),
        ("a length of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff, 0, 0], Outcome::Closed),
        ("a negative length", vec![0xff, 0xff, 0xff, 0xff, 0, 0], Outcome::Closed),
        ("an empty frame", vec![0, 0, 0, 0], Outcome::Closed),
        ("an API that does not exist", framed(&header(999, 0)), Outcome::Closed),
        ("a version that does not exist", framed(&header(ApiKey::Metadata as i16, 99)), Outcome::Closed),
        (
            "an array of 2 billion topics",
            framed(&[header(ApiKey::Metadata as i16, 1), vec![0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]].concat()),
            Outcome::Closed,
        ),
        ("half a frame", vec![0, 0, 1, 0, 0, 3], Outcome::Waits),
        ("a corrupt batch", produce(corrupt.into()), Outcome::Refused(ErrorCode::CorruptMessage)),
        ("a batch that is cut", produce(cut.into()), Outcome::Refused(ErrorCode::InvalidRecord)),
    ]
}

/// Reads until the node closes, or for a moment; gives the answer of a produce.
fn check(what: &str, mut stream: TcpStream, expected: &Outcome) {
    let patience = if matches!(expected, Outcome::Waits) { Duration::from_millis(1) } else { PATIENCE };
    stream.set_read_timeout(Some(patience)).expect("a time-out can be set");
    let mut prefix = [0; PREFIX_BYTES];
    match (stream.read_exact(&mut prefix), expected) {
        (Ok(()), Outcome::Refused(code)) => {
            let mut frame = vec![0; i32::from_be_bytes(prefix) as usize];
            stream.read_exact(&mut frame).expect("the whole answer comes");
            let (_, answer) = decode_response(ApiKey::Produce, PRODUCE_VERSION, frame.into()).expect("it is an answer");
            let ResponseKind::Produce(answer) = answer else { panic!("{what}: answered with {answer:?}") };
            let found = answer.responses[0].partition_responses[0].error_code;
            assert_eq!(ErrorCode::from_i16(found), *code, "{what}");
        }
        (Err(error), Outcome::Closed) => {
            let closed = matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
            assert!(closed, "{what}: the connection is not closed: {error}");
        }
        (Err(error), Outcome::Waits) => {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{what}: {error}");
        }
        (read, _) => panic!("{what}: {read:?}, and {prefix:?}"),
    }
}

/// Sends a damaged request and waits until the node has answered it or closed. What it answers does not matter here.
fn send_damaged(address: &str, case: usize, frame: &[u8]) {
    let key = frame.get(..2).map_or(-1, |key| i16::from_be_bytes([key[0], key[1]]));
    // A fetch may wait long, and a produce with acks=0 has no answer.
    let may_be_silent = [ApiKey::Fetch as i16, ApiKey::Produce as i16].contains(&key);
    let patience = if may_be_silent { Duration::from_millis(100) } else { PATIENCE };
    let mut stream = TcpStream::connect(address).expect("the node accepts");
    stream.set_read_timeout(Some(patience)).expect("a time-out can be set");
    stream.write_all(&framed(frame)).expect("the node reads");
    if let Err(error) = stream.read(&mut [0; 100]) {
        let silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let closed = error.kind() == ErrorKind::ConnectionReset;
        assert!(closed || silent && may_be_silent, "case {case}: {error} instead of an answer to {frame:?}");
    }
}

#[test]
fn damaged_requests_are_answered_or_end_their_connection_and_no_task_panics() {
    block_on_threads(async {
        let mut cluster = Cluster::start(1, QUICK).await;
        cluster.create_topic(honest::TOPIC, 2, &[]).await;
        let node = cluster.node(1);
        let mut random = stream(1, "damaged requests");
        for (address, table) in [(node.address.clone(), api::BROKER), (node.controller_address(), api::CONTROLLER)] {
            let honest = honest::frames(table);
            for case in 0..DAMAGED {
                let whole = &honest[case % honest.len()];
                let other = &honest[random.random_range(0..honest.len())];
                send_damaged(&address, case, &honest::damage(&mut random, whole, other));
            }
        }
        let log = node.log();
        let wrong: Vec<&str> = log.lines().filter(|line| line.contains("panicked") || line.contains("ERROR")).collect();
        assert!(wrong.is_empty(), "no request may bring a node to this:\n{}", wrong.join("\n"));
        cluster.create_topic("afterwards", 1, &[]).await;
        assert!(cluster.node(1).terminate().await.success());
    });
}

#[test]
fn broken_connections_end_alone_and_an_honest_producer_goes_on() {
    block_on_threads(async {
        let mut cluster = Cluster::start(1, QUICK).await;
        cluster.create_topic("orders", 1, &[]).await;
        let producer = Producer::new(ProducerConfig::default(), cluster.client(), Tracer::off());
        let mut sent = Vec::new();
        let mut waiting = Vec::new();
        for (what, bytes, expected) in hostile() {
            for _ in 0..EACH {
                let mut stream = TcpStream::connect(&cluster.node(1).address).expect("the node accepts");
                stream.write_all(&bytes).expect("the node reads");
                match expected {
                    Outcome::Waits => waiting.push(stream),
                    _ => check(what, stream, &expected),
                }
            }
            let value = Bytes::from(what);
            let record = ProducerRecord { topic: "orders".into(), value: Some(value), ..ProducerRecord::default() };
            let receipt = producer.send(record).await.expect("there is room for the record");
            receipt.await.expect("the producer lives").unwrap_or_else(|error| panic!("after {what}: {error}"));
            sent.push(what.to_owned());
        }
        waiting.into_iter().for_each(|stream| check("half a frame", stream, &Outcome::Waits));
        let read: Vec<String> = cluster
            .read_all("orders", 1)
            .await
            .remove(&0)
            .expect("a partition")
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        assert_eq!(read, sent, "what the honest producer sent, and nothing else");
        let log = cluster.node(1).log();
        assert!(!log.contains("panicked"), "a task of the node panicked:\n{log}");
        assert!(cluster.node(1).terminate().await.success());
    });
}
