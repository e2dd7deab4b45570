//! Which APIs and versions each listener serves: of the APIs that Highwater has, those of Kafka 4.3.
//!
//! Clients guess the release from the versions (kafka-python) and use the highest that both sides know, so a mix of
//! releases would be one that nobody has tried. `kafka-protocol` knows the schemas of 4.1; see [`layout`] for the rest.

use std::collections::BTreeMap;

use super::{
    ErrorCode,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
};

/// Levels of `metadata.version` whose records are read; the last is finalized on new clusters (4.1-IV1).
pub const METADATA_VERSIONS: (i16, i16) = (7, 27);

/// One row: an API and the versions served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiRange {
    /// The API.
    pub key: ApiKey,
    /// Lowest version advertised.
    pub min: i16,
    /// Highest version advertised.
    pub max: i16,
    /// Lowest version really served; only Produce has one above `min`.
    pub served_min: i16,
}

const fn api(key: ApiKey, min: i16, max: i16) -> ApiRange {
    ApiRange { key, min, max, served_min: min }
}

/// What a broker's listener serves.
///
/// Produce is advertised from version 0 although 0 to 2 are refused: with a higher minimum librdkafka before 2.4 sends
/// its batches uncompressed (KAFKA-18659).
pub const BROKER: &[ApiRange] = &[
    ApiRange { key: ApiKey::Produce, min: 0, max: 13, served_min: 3 },
    api(ApiKey::Fetch, 4, 18),
    api(ApiKey::ListOffsets, 1, 11),
    api(ApiKey::Metadata, 0, 13),
    api(ApiKey::OffsetCommit, 2, 10),
    api(ApiKey::OffsetFetch, 1, 10),
    api(ApiKey::FindCoordinator, 0, 6),
    api(ApiKey::JoinGroup, 0, 9),
    api(ApiKey::Heartbeat, 0, 4),
    api(ApiKey::LeaveGroup, 0, 5),
    api(ApiKey::SyncGroup, 0, 5),
    api(ApiKey::DescribeGroups, 0, 6),
    api(ApiKey::ListGroups, 0, 5),
    api(ApiKey::ApiVersions, 0, 4),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 5),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::DeleteGroups, 0, 2),
    api(ApiKey::ElectLeaders, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::AlterPartitionReassignments, 0, 1),
    api(ApiKey::ListPartitionReassignments, 0, 0),
    api(ApiKey::OffsetDelete, 0, 0),
    api(ApiKey::DescribeCluster, 0, 2),
    api(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    api(ApiKey::ConsumerGroupDescribe, 0, 1),
    api(ApiKey::ListConfigResources, 0, 1),
    api(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// What the controller's listener serves.
pub const CONTROLLER: &[ApiRange] = &[
    api(ApiKey::Fetch, 4, 18),
    api(ApiKey::ApiVersions, 0, 4),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::ElectLeaders, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::AlterPartitionReassignments, 0, 1),
    api(ApiKey::ListPartitionReassignments, 0, 0),
    api(ApiKey::AlterPartition, 2, 3),
    api(ApiKey::DescribeCluster, 0, 2),
    api(ApiKey::BrokerRegistration, 0, 4),
    api(ApiKey::BrokerHeartbeat, 0, 1),
    api(ApiKey::AllocateProducerIds, 0, 0),
];

/// The version whose layout `version` has, where they differ in meaning alone or in what [`super::topic_ids`] turns from
/// one into the other: ListOffsets 11 knows one more special timestamp than 10 (KIP-1023), and OffsetCommit and OffsetFetch
/// name topics by id since 10 (KIP-848).
pub const fn layout(key: ApiKey, version: i16) -> i16 {
    match (key, version) {
        (ApiKey::ListOffsets, 11) => 10,
        (ApiKey::OffsetCommit | ApiKey::OffsetFetch, 10) => 9,
        _ => version,
    }
}

/// The row of `key` in `table`.
pub fn range(table: &[ApiRange], key: ApiKey) -> Option<&ApiRange> {
    table.iter().find(|row| row.key == key)
}

/// Answers ApiVersions for a listener that serves `table`. `finalized` are the cluster's features as of `epoch`.
pub fn versions_response(
    table: &[ApiRange],
    request: &ApiVersionsRequest,
    version: i16,
    finalized: &BTreeMap<String, i16>,
    epoch: i64,
) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if version >= 3 && !names.iter().all(|name| is_software_name(name)) {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    let key = |row: &ApiRange| {
        ApiVersion::default().with_api_key(row.key as i16).with_min_version(row.min).with_max_version(row.max)
    };
    let response = ApiVersionsResponse::default().with_api_keys(table.iter().map(key).collect());
    if version < 3 {
        return response;
    }
    let supported = SupportedFeatureKey::default()
        .with_name("metadata.version".into())
        .with_min_version(METADATA_VERSIONS.0)
        .with_max_version(METADATA_VERSIONS.1);
    let finalized = finalized.iter().map(|(name, level)| {
        FinalizedFeatureKey::default()
            .with_name(name.clone().into())
            .with_min_version_level(*level)
            .with_max_version_level(*level)
    });
    response
        .with_supported_features(vec![supported])
        .with_finalized_features(finalized.collect())
        .with_finalized_features_epoch(epoch)
}

/// Letters and digits at both ends, dots and dashes between (KIP-511).
fn is_software_name(name: &str) -> bool {
    let ends = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    let good = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-');
    ends(name.chars().next()) && ends(name.chars().last()) && name.chars().all(good)
}

/// Kafka's name of an API.
pub const fn name(key: ApiKey) -> &'static str {
    match key {
        ApiKey::Produce => "Produce",
        ApiKey::Fetch => "Fetch",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Metadata => "Metadata",
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::CreateTopics => "CreateTopics",
        ApiKey::DeleteTopics => "DeleteTopics",
        ApiKey::DeleteRecords => "DeleteRecords",
        ApiKey::InitProducerId => "InitProducerId",
        ApiKey::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
        ApiKey::DescribeConfigs => "DescribeConfigs",
        ApiKey::CreatePartitions => "CreatePartitions",
        ApiKey::ElectLeaders => "ElectLeaders",
        ApiKey::IncrementalAlterConfigs => "IncrementalAlterConfigs",
        ApiKey::AlterPartitionReassignments => "AlterPartitionReassignments",
        ApiKey::ListPartitionReassignments => "ListPartitionReassignments",
        ApiKey::DescribeCluster => "DescribeCluster",
        ApiKey::ListConfigResources => "ListConfigResources",
        ApiKey::DescribeTopicPartitions => "DescribeTopicPartitions",
        ApiKey::AlterPartition => "AlterPartition",
        ApiKey::BrokerRegistration => "BrokerRegistration",
        ApiKey::BrokerHeartbeat => "BrokerHeartbeat",
        ApiKey::AllocateProducerIds => "AllocateProducerIds",
        ApiKey::FindCoordinator => "FindCoordinator",
        ApiKey::JoinGroup => "JoinGroup",
        ApiKey::SyncGroup => "SyncGroup",
        ApiKey::Heartbeat => "Heartbeat",
        ApiKey::LeaveGroup => "LeaveGroup",
        ApiKey::OffsetCommit => "OffsetCommit",
        ApiKey::OffsetFetch => "OffsetFetch",
        ApiKey::OffsetDelete => "OffsetDelete",
        ApiKey::DescribeGroups => "DescribeGroups",
        ApiKey::ListGroups => "ListGroups",
        ApiKey::DeleteGroups => "DeleteGroups",
        ApiKey::ConsumerGroupHeartbeat => "ConsumerGroupHeartbeat",
        ApiKey::ConsumerGroupDescribe => "ConsumerGroupDescribe",
        _ => "Unknown",
    }
}

/// The API called `name`, if Highwater speaks it: what a scenario's `api=NAME` may say.
pub fn by_name(name: &str) -> Option<ApiKey> {
    BROKER.iter().chain(CONTROLLER).map(|row| row.key).find(|key| self::name(*key) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_on_compatibility_lists_what_is_served() {
        let document = include_str!("../../docs/compatibility.md");
        let table = |rows: &[ApiRange]| {
            let line = |row: &ApiRange| format!("| {} | {} to {} |\n", name(row.key), row.min, row.max);
            format!("| API | versions |\n| --- | --- |\n{}\n", rows.iter().map(line).collect::<String>())
        };
        for (listener, rows) in [("a broker", BROKER), ("the controller", CONTROLLER)] {
            let table = table(rows);
            assert!(document.contains(&table), "docs/compatibility.md needs this table for {listener}:\n\n{table}");
        }
    }

    #[test]
    fn every_served_version_can_be_decoded_and_has_a_name() {
        for row in BROKER.iter().chain(CONTROLLER) {
            let valid = row.key.valid_versions();
            let name = name(row.key);
            assert_eq!(by_name(name), Some(row.key));
            let highest = layout(row.key, row.max);
            assert!(row.served_min >= valid.min && highest <= valid.max, "{name}: {row:?}, decodable {valid:?}");
            assert!(row.min <= row.max, "{name}");
        }
    }
}
