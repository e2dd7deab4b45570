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
    base::random::stream,
    protocol::{
        ErrorCode,
        api::{self, ApiRange},
        frame::decode_request,
        messages::ApiKey,
        records::{
            BatchBuilder, BatchHeader, Codec, HEADER_BYTES, Limits, TimestampType, batches, decode_records,
            validate_produce,
        },
    },
};
use honest::{batch, damage};
use rand::Rng;

mod honest;

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
/// An element of an array has at least one byte on the wire and a hundred or two in memory.
const BYTES_FOR_EACH_BYTE: usize = 256;
/// What a reader may need whatever it reads.
const BASE_BYTES: usize = 1 << 20;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

#[test]
fn damaged_requests_are_refused_without_a_panic_and_without_room_for_a_lie() {
    let _alone = MEASURING.lock().unwrap();
    let of = |table: &'static [ApiRange]| honest::frames(table).into_iter().map(move |frame| (table, frame));
    let honest: Vec<(&[ApiRange], Bytes)> = of(api::BROKER).chain(of(api::CONTROLLER)).collect();
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

/// The records with another length and count inside than outside, compressed as an honest client compresses.
fn compressed(records: &[u8], codec: Codec) -> Bytes {
    sealed(&[&batch(codec)[..HEADER_BYTES], &codec.compress(records)].concat())
}

const LIMITS: Limits = Limits {
    message_bytes_max: 8 << 20,
    segment_bytes: 1 << 30,
    codec: None,
    compacted: true,
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: 3_600_000,
};

#[test]
fn damaged_batches_are_refused_without_a_panic_and_without_room_for_a_lie() {
    let _alone = MEASURING.lock().unwrap();
    let append_time = TimestampType::LogAppendTime;
    let topics = [LIMITS, Limits { timestamp_type: append_time, codec: Some(Codec::Lz4), ..LIMITS }];
    let honest: Vec<Bytes> = CODECS.iter().map(|codec| batch(*codec)).collect();
    for (whole, limits) in honest.iter().flat_map(|whole| topics.iter().map(move |limits| (whole, limits))) {
        validate_produce(whole, 9, limits, 2_000).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }
    let (mut random, mut refused) = (stream(1, "hostile batches"), 0);
    for case in 0..BATCHES {
        let codec = CODECS[case % CODECS.len()];
        let whole = &honest[case % honest.len()];
        let other = &honest[random.random_range(0..honest.len())];
        // With a wrong CRC; with a true one, so that what lies behind is read; with the damage below the compression.
        let bytes = match random.random_range(0..3) {
            0 => damage(&mut random, whole, other),
            1 => sealed(&damage(&mut random, whole, other)),
            _ => compressed(&damage(&mut random, &honest[0][HEADER_BYTES..], other), codec),
        };
        let limits = &topics[random.random_range(0..topics.len())];
        let (outcome, peak) = peak_bytes(|| read_as_everyone_does(&bytes, limits));
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
fn a_small_batch_that_grows_large_costs_a_reader_no_more_than_its_limit_and_a_leader_a_window() {
    let _alone = MEASURING.lock().unwrap();
    for codec in CODECS.into_iter().filter(|codec| *codec != Codec::None) {
        let mut builder = BatchBuilder::new(codec);
        builder.push(1_000, Some(b"key"), Some(&vec![0; 64 << 20]), &[]);
        let bomb = builder.build();
        let header = BatchHeader::parse(&bomb).expect("a sound batch");
        let (decoded, peak) = peak_bytes(|| decode_records(&header, &bomb, DECOMPRESSED_BYTES_MAX));
        assert!(decoded.is_err(), "{codec:?}: 64 MiB are more than was allowed");
        assert!(peak < 8 * DECOMPRESSED_BYTES_MAX, "{codec:?}: {peak} bytes were held");

        // A sound batch all the same: only its compressed size is limited.
        let (taken, peak) = peak_bytes(|| validate_produce(&bomb, 9, &LIMITS, 2_000));
        assert_eq!(taken.map(|(_, bytes)| bytes.len()), Ok(bomb.len()), "{codec:?}");
        assert!(peak < BASE_BYTES, "{codec:?}: {peak} bytes were held to look at one record");

        // Nor is there room for all of it while it is compressed anew as the topic wants it.
        let wanted = if codec == Codec::Lz4 { Codec::Zstd } else { Codec::Lz4 };
        let other = Limits { codec: Some(wanted), ..LIMITS };
        let (taken, peak) = peak_bytes(|| validate_produce(&bomb, 9, &other, 2_000));
        let made = taken.unwrap_or_else(|refusal| panic!("{codec:?}: {refusal:?}")).1.len();
        assert!(peak < 2 * made + 2 * BASE_BYTES, "{codec:?}: {peak} bytes were held to make {made}");

        let plain = Limits { codec: Some(Codec::None), ..LIMITS };
        let (refused, peak) = peak_bytes(|| validate_produce(&bomb, 9, &plain, 2_000).map_err(|refusal| refusal.code));
        assert_eq!(refused.err(), Some(ErrorCode::MessageTooLarge), "{codec:?}");
        assert!(peak < 4 * LIMITS.message_bytes_max, "{codec:?}: {peak} bytes were held to refuse it");
    }
}
