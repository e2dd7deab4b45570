//! Frames: bytes of one request or response, without the length prefix when read and with it when written.
//!
//! A request has header version 1 or 2, the latter for flexible versions; its client id keeps the old form in both.
//! A response has header version 0 or 1, but ApiVersions always 0, so that any client can read it (KIP-511).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use thiserror::Error;

use super::ErrorCode;
use super::{
    api::{self, ApiRange},
    messages::{
        ApiKey, ApiVersionsResponse, RequestHeader, RequestKind, ResponseHeader, ResponseKind,
        api_versions_response::ApiVersion,
    },
    skim, topic_ids,
};

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// A decoded request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The API.
    pub api: ApiKey,
    /// Version of the request, and of its response.
    pub version: i16,
    /// Answered with the same number.
    pub correlation: i32,
    /// The client's name for itself; may be missing.
    pub client_id: Option<String>,
    /// The request itself.
    pub body: RequestKind,
}

/// Why a frame is not a request that can be served.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// An ApiVersions request in a version not served, mostly a newer one: answered in version 0 with error 35 (KIP-511),
    /// the connection stays.
    #[error("ApiVersions in version {version} is not known")]
    UnservedApiVersions {
        /// Correlation id to answer with.
        correlation: i32,
        /// The version asked for.
        version: i16,
    },
    /// An API or a version that this listener does not serve: the connection is closed.
    #[error("API {api_key} in version {version} is not served")]
    Unsupported {
        /// Number of the API.
        api_key: i16,
        /// The version.
        version: i16,
    },
    /// Bytes that are no request: the connection is closed.
    #[error("malformed request: {0}")]
    Malformed(String),
}

fn malformed(problem: impl ToString) -> RequestError {
    RequestError::Malformed(problem.to_string())
}

/// Reads a request from a frame; `served` is the listener's table.
///
/// # Errors
/// See [`RequestError`]. Never allocates by a length that the frame cannot hold.
pub fn decode_request(mut frame: Bytes, served: &[ApiRange]) -> Result<Request, RequestError> {
    if frame.len() < 8 {
        return Err(malformed(format!("{} bytes are too few for a header", frame.len())));
    }
    let (api_key, version) = (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let unsupported = RequestError::Unsupported { api_key, version };
    let api = ApiKey::try_from(api_key).map_err(|()| unsupported.clone())?;
    let range = api::range(served, api).ok_or_else(|| unsupported.clone())?;
    let is_served = (range.served_min..=range.max).contains(&version);
    if !is_served && api != ApiKey::ApiVersions {
        return Err(unsupported);
    }
    let layout = api::layout(api, version);
    let header = RequestHeader::decode(&mut frame, api.request_header_version(layout)).map_err(malformed)?;
    if !is_served {
        return Err(RequestError::UnservedApiVersions { correlation, version });
    }
    let named = topic_ids::are_used(api, version);
    skim::request(api, if named { version } else { layout }, &frame).map_err(malformed)?;
    if named {
        frame = topic_ids::to_names(api, true, &frame).map_err(malformed)?;
    }
    let mut body = RequestKind::decode(api, &mut frame, layout).map_err(malformed)?;
    if named {
        topic_ids::read_request(&mut body).map_err(malformed)?;
    }
    if frame.has_remaining() && !matches!(api, ApiKey::ApiVersions) {
        tracing::debug!(api = api::name(api), version, extra = frame.remaining(), "bytes after a complete request");
    }
    Ok(Request { api, version, correlation, client_id: header.client_id.map(|id| id.to_string()), body })
}

/// Writes a request with its length prefix.
///
/// # Errors
/// A field is set that this version does not have, or is missing: a mistake of the caller, told by name.
pub fn encode_request(
    body: &RequestKind,
    version: i16,
    correlation: i32,
    client_id: &str,
) -> Result<Vec<Bytes>, EncodeError> {
    let api = key_of(body);
    let layout = api::layout(api, version);
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.to_owned().into()));
    let failed = |error: String| EncodeError { api: api::name(api), version, problem: error };
    header.encode(&mut out, api.request_header_version(layout)).map_err(|error| failed(error.to_string()))?;
    if topic_ids::are_used(api, version) {
        let mut body = body.clone();
        topic_ids::write_request(&mut body);
        let mut named = BytesMut::new();
        body.encode(&mut named, layout).map_err(|error| failed(error.to_string()))?;
        out.extend_from_slice(&topic_ids::to_ids(api, true, &named).map_err(failed)?);
    } else {
        body.encode(&mut out, layout).map_err(|error| failed(error.to_string()))?;
    }
    Ok(finish(out))
}

/// A message that its version cannot express.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{api} version {version} cannot be written: {problem}")]
pub struct EncodeError {
    /// The API.
    pub api: &'static str,
    /// The version.
    pub version: i16,
    /// What the encoder says.
    pub problem: String,
}

/// Writes a response with its length prefix.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_response(
    api: ApiKey,
    version: i16,
    correlation: i32,
    body: &ResponseKind,
) -> Result<Vec<Bytes>, EncodeError> {
    let layout = api::layout(api, version);
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    let failed = |error: String| EncodeError { api: api::name(api), version, problem: error };
    ResponseHeader::default()
        .with_correlation_id(correlation)
        .encode(&mut out, api.response_header_version(layout))
        .map_err(|error| failed(error.to_string()))?;
    if topic_ids::are_used(api, version) {
        let mut body = body.clone();
        topic_ids::write_response(&mut body);
        let mut named = BytesMut::new();
        body.encode(&mut named, layout).map_err(|error| failed(error.to_string()))?;
        out.extend_from_slice(&topic_ids::to_ids(api, false, &named).map_err(failed)?);
    } else {
        body.encode(&mut out, layout).map_err(|error| failed(error.to_string()))?;
    }
    Ok(finish(out))
}

/// The answer to an ApiVersions request in a version not served: header 0, body 0, error 35 and the one range that matters.
pub fn unserved_api_versions_response(correlation: i32, served: &[ApiRange]) -> Vec<Bytes> {
    let range = api::range(served, ApiKey::ApiVersions).expect("every listener serves ApiVersions");
    let key = ApiVersion::default()
        .with_api_key(ApiKey::ApiVersions as i16)
        .with_min_version(range.min)
        .with_max_version(range.max);
    let body =
        ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code()).with_api_keys(vec![key]);
    encode_response(ApiKey::ApiVersions, 0, correlation, &ResponseKind::ApiVersions(body))
        .expect("version 0 has an error and keys")
}

/// Reads the response to a request of `api` in `version`; gives the correlation id too.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_response(api: ApiKey, version: i16, mut frame: Bytes) -> Result<(i32, ResponseKind), String> {
    let layout = api::layout(api, version);
    let header_version = api.response_header_version(layout);
    let header = ResponseHeader::decode(&mut frame, header_version).map_err(|error| error.to_string())?;
    let named = topic_ids::are_used(api, version);
    skim::response(api, if named { version } else { layout }, &frame)?;
    if named {
        frame = topic_ids::to_names(api, false, &frame)?;
    }
    let mut body = ResponseKind::decode(api, &mut frame, layout).map_err(|error| error.to_string())?;
    if named {
        topic_ids::read_response(&mut body)?;
    }
    Ok((header.correlation_id, body))
}

fn finish(mut out: BytesMut) -> Vec<Bytes> {
    let length = i32::try_from(out.len() - PREFIX_BYTES).expect("a message is shorter than 2 GiB");
    out[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    vec![out.freeze()]
}

/// Which API a request belongs to.
pub fn key_of(body: &RequestKind) -> ApiKey {
    macro_rules! keys {
        ($($name:ident),*) => { match body { $(RequestKind::$name(_) => ApiKey::$name,)* _ => unreachable!("Highwater never sends {body:?}") } };
    }
    keys!(
        FindCoordinator,
        JoinGroup,
        SyncGroup,
        Heartbeat,
        LeaveGroup,
        OffsetCommit,
        OffsetFetch,
        OffsetDelete,
        DescribeGroups,
        ListGroups,
        DeleteGroups,
        ConsumerGroupHeartbeat,
        ConsumerGroupDescribe,
        Produce,
        Fetch,
        ListOffsets,
        Metadata,
        ApiVersions,
        CreateTopics,
        DeleteTopics,
        DeleteRecords,
        InitProducerId,
        OffsetForLeaderEpoch,
        DescribeConfigs,
        CreatePartitions,
        ElectLeaders,
        IncrementalAlterConfigs,
        AlterPartitionReassignments,
        ListPartitionReassignments,
        DescribeCluster,
        ListConfigResources,
        DescribeTopicPartitions,
        AlterPartition,
        BrokerRegistration,
        BrokerHeartbeat,
        AllocateProducerIds
    )
}
