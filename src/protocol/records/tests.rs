//! Record batches: round trips of every codec, and refusals.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::base::{ProducerEpoch, ProducerId};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const LIMITS: Limits = Limits {
    message_bytes_max: 1 << 20,
    segment_bytes: 1 << 30,
    codec: None,
    compacted: false,
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: 3_600_000,
};

type Pair = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn build(codec: Codec, pairs: &[Pair]) -> Bytes {
    let mut builder = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(1), 3);
    for (index, (key, value, headers)) in pairs.iter().enumerate() {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.clone(), value.clone().map(Bytes::from))).collect();
        builder.push(1_000 - index as i64 * 7, key.as_deref(), value.as_deref(), &headers);
    }
    builder.build()
}

fn small_batch(codec: Codec) -> Bytes {
    build(codec, &[(Some(b"k".to_vec()), Some(vec![b'v'; 50]), vec![("h".into(), None)]), (None, None, vec![])])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_built_is_read_back(
        pairs in prop::collection::vec(
            (
                prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
                prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
                prop::collection::vec(("[a-c]{0,2}", prop::option::of(prop::collection::vec(any::<u8>(), 0..9))), 0..4),
            ),
            1..30,
        ),
        codec in prop::sample::select(&CODECS[..]),
    ) {
        let batch = build(codec, &pairs);
        let (header, whole) = validate_produce(&batch, 9, &LIMITS, 0).unwrap();
        prop_assert_eq!(whole.len(), header.size_bytes());
        prop_assert_eq!(&header.to_bytes()[..], &batch[..HEADER_BYTES]);
        let records = decode_records(&header, &whole, 1 << 20).unwrap();
        let read: Vec<Pair> = records.iter().map(|record| (
            record.key.as_ref().map(|key| key.to_vec()),
            record.value.as_ref().map(|value| value.to_vec()),
            record.headers.iter().map(|(name, value)| (name.clone(), value.as_ref().map(|v| v.to_vec()))).collect(),
        )).collect();
        prop_assert_eq!(read, pairs);
        prop_assert!(records.iter().enumerate().all(|(index, record)| record.offset.0 == index as i64));
    }
}

/// 100,000 damaged batches: an error or sound records, never a panic, and never more memory than the limit.
#[test]
fn damaged_batches_are_refused_without_a_panic() {
    use rand::Rng;
    let mut random = crate::base::random::stream(1, "damage");
    let whole: Vec<Bytes> = CODECS.iter().map(|codec| small_batch(*codec)).collect();
    let mut refused = 0;
    for round in 0..100_000 {
        let mut bytes = BytesMut::from(&whole[round % whole.len()][..]);
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        let bytes = bytes.freeze();
        refused += usize::from(validate_produce(&bytes, 9, &LIMITS, 0).is_err());
        if let Ok(header) = BatchHeader::parse(&bytes)
            && header.size_bytes() <= bytes.len()
            && let Ok(records) = decode_records(&header, &bytes, 10_000)
        {
            assert!(records.len() <= 10_000);
        }
    }
    assert!(refused > 90_000, "only {refused} of 100000 damaged batches were refused");
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    for codec in CODECS {
        let batch = build(codec, &[(None, Some(vec![0; 100_000]), vec![])]);
        let header = BatchHeader::parse(&batch).unwrap();
        let found = decode_records(&header, &batch, 50_000);
        assert_eq!(found.is_err(), codec != Codec::None, "{codec:?}: {found:?}");
        let walked = walk_records(&header, &batch, 50_000, |_| {});
        assert_eq!(walked, Err(BatchError::TooLarge(50_000)), "{codec:?}");
    }
}

fn check_refused(bytes: Bytes, version: i16, limits: &Limits, code: crate::protocol::ErrorCode) {
    let refusal = validate_produce(&bytes, version, limits, 10_000_000).unwrap_err();
    assert_eq!(refusal.code, code, "{}", refusal.message);
}

#[test]
fn a_leader_refuses_what_kafka_refuses_with_its_code() {
    use crate::protocol::ErrorCode::*;
    let good = small_batch(Codec::None);
    let twice = Bytes::from([&good[..], &good[..]].concat());
    check_refused(twice, 9, &LIMITS, InvalidRecord);
    check_refused(good.slice(..good.len() - 1), 9, &LIMITS, InvalidRecord);
    let mut damaged = BytesMut::from(&good[..]);
    damaged[HEADER_BYTES] ^= 1;
    check_refused(damaged.freeze(), 9, &LIMITS, CorruptMessage);
    check_refused(Bytes::new(), 9, &LIMITS, InvalidRecord);
    check_refused(small_batch(Codec::Zstd), 6, &LIMITS, UnsupportedCompressionType);
    check_refused(good.clone(), 9, &Limits { message_bytes_max: 20, ..LIMITS }, MessageTooLarge);
    check_refused(good.clone(), 9, &Limits { compacted: true, ..LIMITS }, InvalidRecord);
    check_refused(good.clone(), 9, &Limits { timestamp_before_max_ms: 5, ..LIMITS }, InvalidTimestamp);
    check_refused(good, 9, &Limits { segment_bytes: 100, ..LIMITS }, RecordListTooLarge);
}

#[test]
fn a_batch_is_written_anew_where_the_topic_asks_for_it() {
    let batch = small_batch(Codec::Gzip);
    let append_time = Limits { timestamp_type: TimestampType::LogAppendTime, ..LIMITS };
    for (limits, codec, timestamps) in [
        (LIMITS, Codec::Gzip, [1_000, 993]),
        (append_time, Codec::Gzip, [77, 77]),
        (Limits { codec: Some(Codec::Zstd), ..LIMITS }, Codec::Zstd, [1_000, 993]),
        (Limits { codec: Some(Codec::None), ..append_time }, Codec::None, [77, 77]),
    ] {
        let (header, bytes) = validate_produce(&batch, 9, &limits, 77).unwrap();
        assert_eq!(BatchHeader::parse(&bytes), Ok(header));
        check_crc(&header, &bytes).unwrap();
        assert_eq!(header.codec(), Ok(codec));
        assert_eq!(header.is_append_time(), limits.timestamp_type == TimestampType::LogAppendTime);
        let records = decode_records(&header, &bytes, 1000).unwrap();
        assert_eq!(records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), timestamps);
        assert_eq!(bytes == batch, limits == LIMITS);
    }
}

#[test]
fn the_two_patched_fields_lie_outside_the_checksum() {
    let batch = small_batch(Codec::None);
    let header = BatchHeader::parse(&batch).unwrap();
    let patched = patched_header(&header, crate::base::Offset(99), crate::base::LeaderEpoch(5));
    let bytes = [&patched[..], &batch[HEADER_BYTES..]].concat();
    let read = BatchHeader::parse(&bytes).unwrap();
    check_crc(&read, &bytes).unwrap();
    assert_eq!((read.base_offset.0, read.leader_epoch.0), (99, 5));
}
