//! Bytes that nobody honest sends: 200,000 damaged requests and 100,000 damaged batches, read as a listener and a leader
//! read them. Each is taken or refused; none panics, and none makes more room than its own bytes can account for.
//!
//! Every case follows from its number, so that a failure names a case that fails again:
//! `cargo test --test hostile`.
#![cfg(not(madsim))]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use highwater::{
    base::{ProducerEpoch, ProducerId, random::Random, random::stream},
    protocol::{
        api::{self, ApiRange},
        frame::{self, decode_request},
        messages::{ApiKey, RequestKind, TopicName, *},
        records::{BatchBuilder, BatchHeader, Codec, Limits, TimestampType, batches, decode_records, validate_produce},
    },
};
use rand::Rng;

/// Counts what is allocated, so that a test can say how much one call needed at most.
struct Counting;

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);
/// One measurement at a time: the counts are of the whole process.
static MEASURING: Mutex<()> = Mutex::new(());

// SAFETY: every call is passed on to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK_BYTES.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that `work` held at a time beyond what was held before.
fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD_BYTES.load(Ordering::Relaxed);
    PEAK_BYTES.store(before, Ordering::Relaxed);
    let done = work();
    (done, PEAK_BYTES.load(Ordering::Relaxed).saturating_sub(before))
}

const FRAMES: usize = 200_000;
const BATCHES: usize = 100_000;
/// An element of an array has at least one byte on the wire and a few hundred in memory, and a vector that grows has
/// twice what it needs.
const BYTES_FOR_EACH_BYTE: usize = 1024;
/// What a reader may need whatever it reads.
const BASE_BYTES: usize = 1 << 20;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// Changes some bytes, cuts, lengthens, or puts a piece of one message into another.
fn damage(random: &mut Random, whole: &[u8], other: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(whole);
    for _ in 0..random.random_range(1..=3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes[at] = [0x00, 0x7f, 0x80, 0xff][random.random_range(0..4)],
            3 => {
                // A length or a count that is far too large, or negative.
                let number: i32 = [i32::MAX, -1, -2, i32::MIN, 1 << 20][random.random_range(0..5)];
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&number.to_be_bytes()[..end - at]);
            }
            4 => bytes.truncate(at),
            _ => {
                let (from, tail) = (random.random_range(0..=other.len()), bytes.split_off(at));
                bytes.extend_from_slice(&other[from..other.len().min(from + 64)]);
                bytes.extend_from_slice(&tail);
            }
        }
    }
    bytes.freeze()
}

/// Requests as clients and brokers send them, with something in each of their arrays.
fn honest_requests() -> Vec<RequestKind> {
    let name = || TopicName("orders".to_owned().into());
    let topic = |index| {
        let partition = produce_request::PartitionProduceData::default().with_index(index);
        let partition = partition.with_records(Some(batch(Codec::None)));
        produce_request::TopicProduceData::default().with_name(name()).with_partition_data(vec![partition])
    };
    let fetched = fetch_request::FetchPartition::default().with_partition(1).with_partition_max_bytes(100);
    let fetched = fetch_request::FetchTopic::default().with_topic(name()).with_partitions(vec![fetched]);
    let listed = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let listed = list_offsets_request::ListOffsetsTopic::default().with_name(name()).with_partitions(vec![listed]);
    let config = create_topics_request::CreatableTopicConfig::default()
        .with_name("min.insync.replicas".to_owned().into())
        .with_value(Some("2".to_owned().into()));
    let created = create_topics_request::CreatableTopic::default().with_name(name()).with_configs(vec![config]);
    let described = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_name("orders".to_owned().into())
        .with_configuration_keys(Some(vec!["segment.bytes".to_owned().into()]));
    vec![
        ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic(0), topic(1)]).into(),
        FetchRequest::default().with_topics(vec![fetched.clone(), fetched]).into(),
        ListOffsetsRequest::default().with_topics(vec![listed]).into(),
        MetadataRequest::default()
            .with_topics(Some(vec![metadata_request::MetadataRequestTopic::default().with_name(Some(name()))]))
            .into(),
        CreateTopicsRequest::default().with_topics(vec![created.clone(), created]).into(),
        DescribeConfigsRequest::default().with_resources(vec![described]).into(),
        ApiVersionsRequest::default().into(),
        DeleteTopicsRequest::default().into(),
        InitProducerIdRequest::default().into(),
        OffsetForLeaderEpochRequest::default().into(),
        CreatePartitionsRequest::default().into(),
        ElectLeadersRequest::default().into(),
        IncrementalAlterConfigsRequest::default().into(),
        DescribeClusterRequest::default().into(),
        DescribeTopicPartitionsRequest::default().into(),
        AlterPartitionRequest::default().into(),
        BrokerRegistrationRequest::default().into(),
        BrokerHeartbeatRequest::default().into(),
        AllocateProducerIdsRequest::default().into(),
    ]
}

/// Every request in every version that a listener serves and that it can be written in, without the length prefix.
fn honest_frames() -> Vec<(&'static [ApiRange], Bytes)> {
    let mut frames = Vec::new();
    for table in [api::BROKER, api::CONTROLLER] {
        for body in honest_requests() {
            let key = frame::key_of(&body);
            let Some(range) = api::range(table, key) else { continue };
            for version in range.served_min..=range.max {
                if let Ok(chunks) = frame::encode_request(&body, version, 7, "honest") {
                    frames.push((table, Bytes::from(chunks.concat()).slice(frame::PREFIX_BYTES..)));
                }
            }
        }
    }
    frames
}

#[test]
fn damaged_requests_are_refused_without_a_panic_and_without_room_for_a_lie() {
    let _alone = MEASURING.lock().unwrap();
    let honest = honest_frames();
    for row in api::BROKER.iter().chain(api::CONTROLLER) {
        let key = (row.key as i16).to_be_bytes();
        assert!(honest.iter().any(|(_, frame)| frame[..2] == key), "no honest request of {:?}", row.key);
    }
    for (table, frame) in &honest {
        decode_request(frame.clone(), table).unwrap_or_else(|error| panic!("{error}: {frame:?}"));
    }
    let (mut random, mut refused) = (stream(1, "hostile frames"), 0);
    for case in 0..FRAMES {
        let (table, whole) = &honest[case % honest.len()];
        let (_, other) = &honest[random.random_range(0..honest.len())];
        let frame = damage(&mut random, whole, other);
        let (outcome, peak) = peak_bytes(|| decode_request(frame.clone(), table).is_err());
        refused += usize::from(outcome);
        let allowed = BASE_BYTES / 16 + frame.len() * BYTES_FOR_EACH_BYTE;
        assert!(peak <= allowed, "case {case}: {peak} bytes for a frame of {}: {frame:?}", frame.len());
    }
    assert!(refused > FRAMES / 4, "only {refused} of {FRAMES} damaged requests were refused");
}

#[test]
fn a_request_of_random_bytes_is_refused_whatever_its_api() {
    let mut random = stream(1, "random frames");
    for key in (0..100).filter_map(|key| ApiKey::try_from(key).ok()) {
        for _ in 0..50 {
            let length = random.random_range(0..80);
            let mut frame = vec![0; length];
            random.fill(&mut frame[..]);
            frame.splice(..length.min(2), (key as i16).to_be_bytes());
            // Refused or taken: what counts is that it ends.
            let _ = decode_request(frame.clone().into(), api::BROKER);
            let _ = decode_request(frame.into(), api::CONTROLLER);
        }
    }
}

fn batch(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(0), 0);
    for number in 0..6 {
        let value = vec![b'v'; number * 40];
        let headers = [("name".to_owned(), Some(Bytes::from_static(b"header"))), ("none".to_owned(), None)];
        builder.push(1_000 + number as i64, Some(b"key"), Some(&value), &headers[..number % 3]);
    }
    builder.build()
}

/// The batch with a length and a CRC that fit, as a liar who knows the format would send it.
fn sealed(bytes: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    if bytes.len() >= 61 {
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[21..]) as u32;
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes.freeze()
}

#[test]
fn damaged_batches_are_refused_without_a_panic_and_without_room_for_a_lie() {
    let _alone = MEASURING.lock().unwrap();
    let limits = Limits {
        message_bytes_max: 1 << 20,
        segment_bytes: 1 << 30,
        codec: None,
        compacted: true,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
    };
    let honest: Vec<Bytes> = CODECS.iter().map(|codec| batch(*codec)).collect();
    for whole in &honest {
        validate_produce(whole, 9, &limits, 2_000).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }
    let (mut random, mut refused) = (stream(1, "hostile batches"), 0);
    for case in 0..BATCHES {
        let whole = &honest[case % honest.len()];
        let other = &honest[random.random_range(0..honest.len())];
        let damaged = damage(&mut random, whole, other);
        // Half of them with a true CRC: what lies behind it is read then.
        let bytes = if case % 2 == 0 { damaged } else { sealed(&damaged) };
        let (outcome, peak) = peak_bytes(|| read_as_everyone_does(&bytes, &limits));
        refused += usize::from(outcome);
        let allowed = BASE_BYTES + 2 * DECOMPRESSED_BYTES_MAX + bytes.len() * BYTES_FOR_EACH_BYTE;
        assert!(peak <= allowed, "case {case}: {peak} bytes for a batch of {}: {bytes:?}", bytes.len());
    }
    assert!(refused > BATCHES / 2, "only {refused} of {BATCHES} damaged batches were refused");
}

/// A leader validates, a follower iterates, a look-up by time decodes. Whether the leader refused.
fn read_as_everyone_does(bytes: &Bytes, limits: &Limits) -> bool {
    let refused = validate_produce(bytes, 9, limits, 2_000).is_err();
    for found in batches(bytes) {
        let Ok((header, whole)) = found else { break };
        // What comes of it does not matter here.
        let _ = decode_records(&header, &whole, DECOMPRESSED_BYTES_MAX);
    }
    refused
}

#[test]
fn a_small_batch_that_claims_to_be_large_is_refused_before_there_is_room_for_it() {
    let _alone = MEASURING.lock().unwrap();
    for codec in CODECS.into_iter().filter(|codec| *codec != Codec::None) {
        let mut builder = BatchBuilder::new(codec);
        builder.push(1_000, Some(b"key"), Some(&vec![0; 64 << 20]), &[]);
        let bomb = builder.build();
        let header = BatchHeader::parse(&bomb).expect("a sound batch");
        let (decoded, peak) = peak_bytes(|| decode_records(&header, &bomb, DECOMPRESSED_BYTES_MAX));
        assert!(decoded.is_err(), "{codec:?}: 64 MiB are more than was allowed");
        assert!(peak < 8 * DECOMPRESSED_BYTES_MAX, "{codec:?}: {peak} bytes were held");
    }
}
