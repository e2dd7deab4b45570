//! OffsetCommit and OffsetFetch 10: topics by id, where version 9 has their names (KIP-848).
//!
//! `kafka-protocol` knows the schemas of 4.1, in which these end at 9. The two versions differ in that one field, so a
//! message of version 10 is read and written as one of version 9 whose topics are called by the digits of their ids.

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::{
    messages::{ApiKey, RequestKind, ResponseKind, TopicName},
    skim,
};

const VERSION: i16 = 10;
const NAMED_VERSION: i16 = 9;
const ID_BYTES: usize = 16;
/// Digits of an id.
const DIGITS: usize = 32;

/// Whether `version` of `api` is read and written here.
pub fn are_used(api: ApiKey, version: i16) -> bool {
    matches!(api, ApiKey::OffsetCommit | ApiKey::OffsetFetch) && version == VERSION
}

/// Turns a body of version 10, which was checked, into one of version 9.
pub fn to_names(api: ApiKey, is_request: bool, body: &[u8]) -> Result<Bytes, String> {
    let mut out = BytesMut::with_capacity(body.len() * 2);
    let mut from = 0;
    for at in skim::topic_fields(api, VERSION, is_request, body)? {
        out.extend_from_slice(&body[from..at]);
        let id: [u8; ID_BYTES] = body[at..at + ID_BYTES].try_into().expect("the walk has skipped as many");
        out.extend_from_slice(&[DIGITS as u8 + 1]);
        out.extend_from_slice(Uuid::from_bytes(id).simple().to_string().as_bytes());
        from = at + ID_BYTES;
    }
    out.extend_from_slice(&body[from..]);
    Ok(out.freeze())
}

/// Turns a body of version 9, written by [`write_request`] or [`write_response`], into one of version 10.
pub fn to_ids(api: ApiKey, is_request: bool, body: &[u8]) -> Result<Bytes, String> {
    let mut out = BytesMut::with_capacity(body.len());
    let mut from = 0;
    for at in skim::topic_fields(api, NAMED_VERSION, is_request, body)? {
        out.extend_from_slice(&body[from..at]);
        let digits = body.get(at + 1..at + 1 + DIGITS).and_then(|digits| std::str::from_utf8(digits).ok());
        let id = digits.and_then(|digits| Uuid::try_parse(digits).ok()).ok_or("a topic without an id")?;
        out.extend_from_slice(id.as_bytes());
        from = at + 1 + DIGITS;
    }
    out.extend_from_slice(&body[from..]);
    Ok(out.freeze())
}

/// Gives the topics of a request their ids, which were read as names.
pub fn read_request(body: &mut RequestKind) -> Result<(), String> {
    each_of_request(body, &mut read)
}

/// As [`read_request`].
pub fn read_response(body: &mut ResponseKind) -> Result<(), String> {
    each_of_response(body, &mut read)
}

/// Calls the topics of a request by their ids, so that version 9 can write them.
pub fn write_request(body: &mut RequestKind) {
    each_of_request(body, &mut write).expect("any id can be written");
}

/// As [`write_request`].
pub fn write_response(body: &mut ResponseKind) {
    each_of_response(body, &mut write).expect("any id can be written");
}

type Change<'a> = &'a mut dyn FnMut(&mut TopicName, &mut Uuid) -> Result<(), String>;

fn read(name: &mut TopicName, id: &mut Uuid) -> Result<(), String> {
    *id = Uuid::try_parse(name).map_err(|error| error.to_string())?;
    *name = TopicName::default();
    Ok(())
}

fn write(name: &mut TopicName, id: &mut Uuid) -> Result<(), String> {
    *name = TopicName(std::mem::take(id).simple().to_string().into());
    Ok(())
}

fn each_of_request(body: &mut RequestKind, change: Change<'_>) -> Result<(), String> {
    match body {
        RequestKind::OffsetCommit(body) => {
            body.topics.iter_mut().try_for_each(|topic| change(&mut topic.name, &mut topic.topic_id))
        }
        RequestKind::OffsetFetch(body) => {
            let mut topics = body.groups.iter_mut().flat_map(|group| group.topics.iter_mut().flatten());
            topics.try_for_each(|topic| change(&mut topic.name, &mut topic.topic_id))
        }
        other => unreachable!("{other:?} has no version of ids"),
    }
}

fn each_of_response(body: &mut ResponseKind, change: Change<'_>) -> Result<(), String> {
    match body {
        ResponseKind::OffsetCommit(body) => {
            body.topics.iter_mut().try_for_each(|topic| change(&mut topic.name, &mut topic.topic_id))
        }
        ResponseKind::OffsetFetch(body) => {
            let mut topics = body.groups.iter_mut().flat_map(|group| group.topics.iter_mut());
            topics.try_for_each(|topic| change(&mut topic.name, &mut topic.topic_id))
        }
        other => unreachable!("{other:?} has no version of ids"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        api::BROKER,
        frame,
        messages::{
            OffsetCommitRequest, OffsetFetchResponse,
            offset_commit_request::OffsetCommitRequestTopic,
            offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponseTopics},
        },
    };

    #[test]
    fn topics_go_by_id_in_version_10() {
        let ids = [Uuid::from_u128(7), Uuid::from_u128(u128::MAX)];
        let topics = ids.map(|id| OffsetCommitRequestTopic::default().with_topic_id(id));
        let request = RequestKind::OffsetCommit(OffsetCommitRequest::default().with_topics(topics.to_vec()));
        let frame = frame::encode_request(&request, 10, 1, "c").unwrap().concat();
        assert!(frame.windows(16).any(|bytes| bytes == [0xff; 16]));
        let decoded = frame::decode_request(Bytes::from(frame).slice(frame::PREFIX_BYTES..), BROKER).unwrap();
        assert_eq!(decoded.body, request);

        let topics = ids.map(|id| OffsetFetchResponseTopics::default().with_topic_id(id));
        let group = OffsetFetchResponseGroup::default().with_topics(topics.to_vec());
        let response = ResponseKind::OffsetFetch(OffsetFetchResponse::default().with_groups(vec![group]));
        let frame = frame::encode_response(ApiKey::OffsetFetch, 10, 1, &response).unwrap().concat();
        let frame = Bytes::from(frame).slice(frame::PREFIX_BYTES..);
        assert_eq!(frame::decode_response(ApiKey::OffsetFetch, 10, frame).unwrap(), (1, response));
    }
}
