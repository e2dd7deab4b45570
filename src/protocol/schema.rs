//! The schemas of the messages of the APIs that Highwater speaks, as two tables: what is checked before a message is
//! decoded ([`super::skim`]) and what is told of it ([`super::tell`]).
//!
//! A schema is a list of fields in order, each `name:kind`. A kind is `1 2 4 8 16`: a number, or an id, of that many
//! bytes; `y` yes or no; `s` a string; `b` bytes; `*4` an array of plain values; `[..]` an array of structures; `{..}` a
//! structure; `?{..}` one that may be missing. `#3:name:kind` is the tagged field 3. `@5+`, `@-5`, `@5-7` give the
//! versions that have the field. The number before a schema is the first flexible version.

use std::{collections::BTreeMap, sync::OnceLock};

use super::messages::ApiKey;

/// The fields of a message, and from which version on it is flexible.
pub struct Schema {
    /// The first version with compact lengths and tagged fields.
    pub flexible_from: i16,
    /// The fields.
    pub fields: Fields,
}

/// The fields of a structure.
pub struct Fields {
    /// In their order.
    pub plain: Vec<Field>,
    /// By tag, in every flexible version that has them.
    pub tagged: Vec<(u32, Field)>,
}

/// One field.
pub struct Field {
    /// Kafka's name, as `fetch_offset`.
    pub name: &'static str,
    /// What its bytes are.
    pub kind: Kind,
    /// The first version that has it.
    pub first: i16,
    /// The last one.
    pub last: i16,
}

/// What bytes are.
pub enum Kind {
    /// A number of so many bytes, or an id of 16.
    Fixed(usize),
    /// One byte: yes or no.
    Flag,
    /// Text, or none.
    String,
    /// Bytes, or none.
    Bytes,
    /// Plain values.
    List(Box<Kind>),
    /// Structures.
    Array(Fields),
    /// A structure.
    Structure(Fields),
    /// A structure, or none.
    Optional(Fields),
}

/// The schema of requests, or of responses, of `api`; none for an API that Highwater does not speak.
pub fn of(api: ApiKey, is_request: bool) -> Option<&'static Schema> {
    let schemas = schemas();
    if is_request { &schemas.requests } else { &schemas.responses }.get(&(api as i16))
}

/// Every API with a schema.
#[cfg(test)]
pub fn apis() -> impl Iterator<Item = ApiKey> {
    REQUESTS.iter().map(|(key, ..)| *key)
}

struct Schemas {
    requests: BTreeMap<i16, Schema>,
    responses: BTreeMap<i16, Schema>,
}

fn schemas() -> &'static Schemas {
    static SCHEMAS: OnceLock<Schemas> = OnceLock::new();
    SCHEMAS.get_or_init(|| Schemas { requests: parse_table(REQUESTS), responses: parse_table(RESPONSES) })
}

fn parse_table(table: &[(ApiKey, i16, &'static str)]) -> BTreeMap<i16, Schema> {
    let parse = |text: &'static str| {
        let mut rest = text;
        let fields = parse_fields(&mut rest);
        assert!(rest.is_empty(), "schema `{text}` goes on with `{rest}`");
        fields
    };
    table
        .iter()
        .map(|(key, flexible_from, text)| (*key as i16, Schema { flexible_from: *flexible_from, fields: parse(text) }))
        .collect()
}

/// Parses fields up to the end or a closing bracket.
fn parse_fields(rest: &mut &'static str) -> Fields {
    let mut fields = Fields { plain: Vec::new(), tagged: Vec::new() };
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with([']', '}']) {
            return fields;
        }
        match rest.strip_prefix('#') {
            Some(after) => {
                let (tag, after) = after.split_once(':').expect("a tagged field is `#tag:name:kind`");
                *rest = after;
                fields.tagged.push((tag.parse().expect("a tag is a number"), parse_field(rest)));
            }
            None => fields.plain.push(parse_field(rest)),
        }
    }
}

fn parse_field(rest: &mut &'static str) -> Field {
    let (name, after) = rest.split_once(':').expect("a field is `name:kind`");
    *rest = after;
    let kind = parse_kind(rest);
    let (first, last) = parse_versions(rest);
    Field { name, kind, first, last }
}

fn parse_kind(rest: &mut &'static str) -> Kind {
    let inside = |rest: &mut &'static str, open: usize| {
        *rest = &rest[open..];
        let fields = parse_fields(rest);
        *rest = &rest[1..];
        fields
    };
    match rest.as_bytes()[0] {
        b'[' => Kind::Array(inside(rest, 1)),
        b'{' => Kind::Structure(inside(rest, 1)),
        b'?' => Kind::Optional(inside(rest, 2)),
        b'*' => {
            *rest = &rest[1..];
            Kind::List(Box::new(parse_kind(rest)))
        }
        b'y' => {
            *rest = &rest[1..];
            Kind::Flag
        }
        b's' => {
            *rest = &rest[1..];
            Kind::String
        }
        b'b' => {
            *rest = &rest[1..];
            Kind::Bytes
        }
        _ => Kind::Fixed(parse_number(rest) as usize),
    }
}

fn parse_versions(rest: &mut &'static str) -> (i16, i16) {
    let Some(after) = rest.strip_prefix('@') else { return (0, i16::MAX) };
    *rest = after;
    let first = if rest.starts_with('-') { 0 } else { parse_number(rest) };
    if let Some(after) = rest.strip_prefix('+') {
        *rest = after;
        return (first, i16::MAX);
    }
    *rest = rest.strip_prefix('-').expect("versions are `@5+`, `@-5` or `@5-7`");
    (first, parse_number(rest))
}

fn parse_number(rest: &mut &'static str) -> i16 {
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().unwrap_or_else(|_| panic!("`{digits}{after}` is no number in a schema"))
}

#[rustfmt::skip]
const REQUESTS: &[(ApiKey, i16, &str)] = &[
    (ApiKey::Produce, 9, "transactional_id:s acks:2 timeout_ms:4 topic_data:[name:s@-12 topic_id:16@13+ partition_data:[index:4 records:b]]"),
    (ApiKey::Fetch, 12, "
        replica_id:4@-14 max_wait_ms:4 min_bytes:4 max_bytes:4 isolation_level:1 session_id:4@7+ session_epoch:4@7+ topics:[topic:s@-12
        topic_id:16@13+ partitions:[partition:4 current_leader_epoch:4@9+ fetch_offset:8 last_fetched_epoch:4@12+ log_start_offset:8@5+
        partition_max_bytes:4 #0:replica_directory_id:16 #1:high_watermark:8]] forgotten_topics_data:[topic:s@7-12 topic_id:16@13+
        partitions:*4@7+]@7+ rack_id:s@11+ #0:cluster_id:s #1:replica_state:{replica_id:4@15+ replica_epoch:8@15+}"),
    (ApiKey::ListOffsets, 6, "
        replica_id:4 isolation_level:1@2+ topics:[name:s partitions:[partition_index:4 current_leader_epoch:4@4+ timestamp:8]]
        timeout_ms:4@10+"),
    (ApiKey::Metadata, 9, "
        topics:[topic_id:16@10+ name:s] allow_auto_topic_creation:y@4+ include_cluster_authorized_operations:y@8-10
        include_topic_authorized_operations:y@8+"),
    (ApiKey::ApiVersions, 3, "client_software_name:s@3+ client_software_version:s@3+"),
    (ApiKey::CreateTopics, 5, "
        topics:[name:s num_partitions:4 replication_factor:2 assignments:[partition_index:4 broker_ids:*4] configs:[name:s value:s]]
        timeout_ms:4 validate_only:y"),
    (ApiKey::DeleteTopics, 4, "topics:[name:s@6+ topic_id:16@6+]@6+ topic_names:*s@-5 timeout_ms:4"),
    (ApiKey::DeleteRecords, 2, "topics:[name:s partitions:[partition_index:4 offset:8]] timeout_ms:4"),
    (ApiKey::InitProducerId, 2, "transactional_id:s transaction_timeout_ms:4 producer_id:8@3+ producer_epoch:2@3+"),
    (ApiKey::OffsetForLeaderEpoch, 4, "replica_id:4@3+ topics:[topic:s partitions:[partition:4 current_leader_epoch:4 leader_epoch:4]]"),
    (ApiKey::DescribeConfigs, 4, "resources:[resource_type:1 resource_name:s configuration_keys:*s] include_synonyms:y include_documentation:y@3+"),
    (ApiKey::CreatePartitions, 2, "topics:[name:s count:4 assignments:[broker_ids:*4]] timeout_ms:4 validate_only:y"),
    (ApiKey::ElectLeaders, 2, "election_type:1@1+ topic_partitions:[topic:s partitions:*4] timeout_ms:4"),
    (ApiKey::IncrementalAlterConfigs, 1, "resources:[resource_type:1 resource_name:s configs:[name:s config_operation:1 value:s]] validate_only:y"),
    (ApiKey::AlterPartitionReassignments, 0, "
        timeout_ms:4 allow_replication_factor_change:y@1+ topics:[name:s partitions:[partition_index:4 replicas:*4]]"),
    (ApiKey::ListPartitionReassignments, 0, "timeout_ms:4 topics:[name:s partition_indexes:*4]"),
    (ApiKey::DescribeCluster, 0, "include_cluster_authorized_operations:y endpoint_type:1@1+ include_fenced_brokers:y@2+"),
    (ApiKey::ListConfigResources, 0, "resource_types:*1@1+"),
    (ApiKey::DescribeTopicPartitions, 0, "topics:[name:s] response_partition_limit:4 cursor:?{topic_name:s partition_index:4}"),
    (ApiKey::AlterPartition, 2, "
        broker_id:4 broker_epoch:8 topics:[topic_id:16 partitions:[partition_index:4 leader_epoch:4 new_isr:*4@-2
        new_isr_with_epochs:[broker_id:4@3+ broker_epoch:8@3+]@3+ leader_recovery_state:1 partition_epoch:4]]"),
    (ApiKey::BrokerRegistration, 0, "
        broker_id:4 cluster_id:s incarnation_id:16 listeners:[name:s host:s port:2 security_protocol:2] features:[name:s
        min_supported_version:2 max_supported_version:2] rack:s is_migrating_zk_broker:y@1+ log_dirs:*16@2+ previous_broker_epoch:8@3+"),
    (ApiKey::BrokerHeartbeat, 0, "broker_id:4 broker_epoch:8 current_metadata_offset:8 want_fence:y want_shut_down:y #0:offline_log_dirs:*16"),
    (ApiKey::AllocateProducerIds, 0, "broker_id:4 broker_epoch:8"),
    (ApiKey::FindCoordinator, 3, "key:s@-3 key_type:1@1+ coordinator_keys:*s@4+"),
    (ApiKey::JoinGroup, 6, "
        group_id:s session_timeout_ms:4 rebalance_timeout_ms:4@1+ member_id:s group_instance_id:s@5+ protocol_type:s protocols:[name:s
        metadata:b] reason:s@8+"),
    (ApiKey::SyncGroup, 4, "
        group_id:s generation_id:4 member_id:s group_instance_id:s@3+ protocol_type:s@5+ protocol_name:s@5+ assignments:[member_id:s
        assignment:b]"),
    (ApiKey::Heartbeat, 4, "group_id:s generation_id:4 member_id:s group_instance_id:s@3+"),
    (ApiKey::LeaveGroup, 4, "group_id:s member_id:s@-2 members:[member_id:s group_instance_id:s reason:s@5+]@3+"),
    (ApiKey::OffsetCommit, 8, "
        group_id:s generation_id_or_member_epoch:4 member_id:s group_instance_id:s@7+ retention_time_ms:8@-4 topics:[name:s@-9
        topic_id:16@10+ partitions:[partition_index:4 committed_offset:8 committed_leader_epoch:4@6+ committed_metadata:s]]"),
    (ApiKey::OffsetFetch, 6, "
        group_id:s@-7 topics:[name:s partition_indexes:*4]@-7 groups:[group_id:s member_id:s@9+ member_epoch:4@9+ topics:[name:s@-9
        topic_id:16@10+ partition_indexes:*4]]@8+ require_stable:y@7+"),
    (ApiKey::OffsetDelete, i16::MAX, "group_id:s topics:[name:s partitions:[partition_index:4]]"),
    (ApiKey::DescribeGroups, 5, "groups:*s include_authorized_operations:y@3+"),
    (ApiKey::ListGroups, 3, "states_filter:*s@4+ types_filter:*s@5+"),
    (ApiKey::DeleteGroups, 2, "groups_names:*s"),
    (ApiKey::ConsumerGroupHeartbeat, 0, "
        group_id:s member_id:s member_epoch:4 instance_id:s rack_id:s rebalance_timeout_ms:4 subscribed_topic_names:*s
        subscribed_topic_regex:s@1+ server_assignor:s topic_partitions:[topic_id:16 partitions:*4]"),
    (ApiKey::ConsumerGroupDescribe, 0, "group_ids:*s include_authorized_operations:y"),
];

#[rustfmt::skip]
const RESPONSES: &[(ApiKey, i16, &str)] = &[
    (ApiKey::Produce, 9, "
        responses:[name:s@-12 topic_id:16@13+ partition_responses:[index:4 error_code:2 base_offset:8 log_append_time_ms:8
        log_start_offset:8@5+ record_errors:[batch_index:4@8+ batch_index_error_message:s@8+]@8+ error_message:s@8+
        #0:current_leader:{leader_id:4@10+ leader_epoch:4@10+}]] throttle_time_ms:4 #0:node_endpoints:[node_id:4@10+ host:s@10+ port:4@10+
        rack:s@10+]"),
    (ApiKey::Fetch, 12, "
        throttle_time_ms:4 error_code:2@7+ session_id:4@7+ responses:[topic:s@-12 topic_id:16@13+ partitions:[partition_index:4 error_code:2
        high_watermark:8 last_stable_offset:8 log_start_offset:8@5+ aborted_transactions:[producer_id:8 first_offset:8]
        preferred_read_replica:4@11+ records:b #0:diverging_epoch:{epoch:4@12+ end_offset:8@12+} #1:current_leader:{leader_id:4@12+
        leader_epoch:4@12+} #2:snapshot_id:{end_offset:8 epoch:4}]] #0:node_endpoints:[node_id:4@16+ host:s@16+ port:4@16+ rack:s@16+]"),
    (ApiKey::ListOffsets, 6, "
        throttle_time_ms:4@2+ topics:[name:s partitions:[partition_index:4 error_code:2 timestamp:8 offset:8 leader_epoch:4@4+]]"),
    (ApiKey::Metadata, 9, "
        throttle_time_ms:4@3+ brokers:[node_id:4 host:s port:4 rack:s@1+] cluster_id:s@2+ controller_id:4@1+ topics:[error_code:2 name:s
        topic_id:16@10+ is_internal:y@1+ partitions:[error_code:2 partition_index:4 leader_id:4 leader_epoch:4@7+ replica_nodes:*4
        isr_nodes:*4 offline_replicas:*4@5+] topic_authorized_operations:4@8+] cluster_authorized_operations:4@8-10 error_code:2@13+"),
    (ApiKey::ApiVersions, 3, "
        error_code:2 api_keys:[api_key:2 min_version:2 max_version:2] throttle_time_ms:4@1+ #0:supported_features:[name:s@3+
        min_version:2@3+ max_version:2@3+] #1:finalized_features_epoch:8 #2:finalized_features:[name:s@3+ max_version_level:2@3+
        min_version_level:2@3+] #3:zk_migration_ready:y"),
    (ApiKey::CreateTopics, 5, "
        throttle_time_ms:4 topics:[name:s topic_id:16@7+ error_code:2 error_message:s num_partitions:4@5+ replication_factor:2@5+
        configs:[name:s@5+ value:s@5+ read_only:y@5+ config_source:1@5+ is_sensitive:y@5+]@5+ #0:topic_config_error_code:2]"),
    (ApiKey::DeleteTopics, 4, "throttle_time_ms:4 responses:[name:s topic_id:16@6+ error_code:2 error_message:s@5+]"),
    (ApiKey::DeleteRecords, 2, "throttle_time_ms:4 topics:[name:s partitions:[partition_index:4 low_watermark:8 error_code:2]]"),
    (ApiKey::InitProducerId, 2, "throttle_time_ms:4 error_code:2 producer_id:8 producer_epoch:2"),
    (ApiKey::OffsetForLeaderEpoch, 4, "throttle_time_ms:4 topics:[topic:s partitions:[error_code:2 partition:4 leader_epoch:4 end_offset:8]]"),
    (ApiKey::DescribeConfigs, 4, "
        throttle_time_ms:4 results:[error_code:2 error_message:s resource_type:1 resource_name:s configs:[name:s value:s read_only:y
        config_source:1 is_sensitive:y synonyms:[name:s value:s source:1] config_type:1@3+ documentation:s@3+]]"),
    (ApiKey::CreatePartitions, 2, "throttle_time_ms:4 results:[name:s error_code:2 error_message:s]"),
    (ApiKey::ElectLeaders, 2, "
        throttle_time_ms:4 error_code:2@1+ replica_election_results:[topic:s partition_result:[partition_id:4 error_code:2 error_message:s]]"),
    (ApiKey::IncrementalAlterConfigs, 1, "throttle_time_ms:4 responses:[error_code:2 error_message:s resource_type:1 resource_name:s]"),
    (ApiKey::AlterPartitionReassignments, 0, "
        throttle_time_ms:4 allow_replication_factor_change:y@1+ error_code:2 error_message:s responses:[name:s
        partitions:[partition_index:4 error_code:2 error_message:s]]"),
    (ApiKey::ListPartitionReassignments, 0, "
        throttle_time_ms:4 error_code:2 error_message:s topics:[name:s partitions:[partition_index:4 replicas:*4 adding_replicas:*4
        removing_replicas:*4]]"),
    (ApiKey::DescribeCluster, 0, "
        throttle_time_ms:4 error_code:2 error_message:s endpoint_type:1@1+ cluster_id:s controller_id:4 brokers:[broker_id:4 host:s port:4
        rack:s is_fenced:y@2+] cluster_authorized_operations:4"),
    (ApiKey::ListConfigResources, 0, "throttle_time_ms:4 error_code:2 config_resources:[resource_name:s resource_type:1@1+]"),
    (ApiKey::DescribeTopicPartitions, 0, "
        throttle_time_ms:4 topics:[error_code:2 name:s topic_id:16 is_internal:y partitions:[error_code:2 partition_index:4 leader_id:4
        leader_epoch:4 replica_nodes:*4 isr_nodes:*4 eligible_leader_replicas:*4 last_known_elr:*4 offline_replicas:*4]
        topic_authorized_operations:4] next_cursor:?{topic_name:s partition_index:4}"),
    (ApiKey::AlterPartition, 2, "
        throttle_time_ms:4 error_code:2 topics:[topic_id:16 partitions:[partition_index:4 error_code:2 leader_id:4 leader_epoch:4 isr:*4
        leader_recovery_state:1 partition_epoch:4]]"),
    (ApiKey::BrokerRegistration, 0, "throttle_time_ms:4 error_code:2 broker_epoch:8"),
    (ApiKey::BrokerHeartbeat, 0, "throttle_time_ms:4 error_code:2 is_caught_up:y is_fenced:y should_shut_down:y"),
    (ApiKey::AllocateProducerIds, 0, "throttle_time_ms:4 error_code:2 producer_id_start:8 producer_id_len:4"),
    (ApiKey::FindCoordinator, 3, "
        throttle_time_ms:4@1+ error_code:2@-3 error_message:s@1-3 node_id:4@-3 host:s@-3 port:4@-3 coordinators:[key:s node_id:4 host:s
        port:4 error_code:2 error_message:s]@4+"),
    (ApiKey::JoinGroup, 6, "
        throttle_time_ms:4@2+ error_code:2 generation_id:4 protocol_type:s@7+ protocol_name:s leader:s skip_assignment:y@9+ member_id:s
        members:[member_id:s group_instance_id:s@5+ metadata:b]"),
    (ApiKey::SyncGroup, 4, "throttle_time_ms:4@1+ error_code:2 protocol_type:s@5+ protocol_name:s@5+ assignment:b"),
    (ApiKey::Heartbeat, 4, "throttle_time_ms:4@1+ error_code:2"),
    (ApiKey::LeaveGroup, 4, "throttle_time_ms:4@1+ error_code:2 members:[member_id:s group_instance_id:s error_code:2]@3+"),
    (ApiKey::OffsetCommit, 8, "throttle_time_ms:4@3+ topics:[name:s@-9 topic_id:16@10+ partitions:[partition_index:4 error_code:2]]"),
    (ApiKey::OffsetFetch, 6, "
        throttle_time_ms:4@3+ topics:[name:s partitions:[partition_index:4 committed_offset:8 committed_leader_epoch:4@5+ metadata:s
        error_code:2]]@-7 error_code:2@2-7 groups:[group_id:s topics:[name:s@-9 topic_id:16@10+ partitions:[partition_index:4
        committed_offset:8 committed_leader_epoch:4 metadata:s error_code:2]] error_code:2]@8+"),
    (ApiKey::OffsetDelete, i16::MAX, "error_code:2 throttle_time_ms:4 topics:[name:s partitions:[partition_index:4 error_code:2]]"),
    (ApiKey::DescribeGroups, 5, "
        throttle_time_ms:4@1+ groups:[error_code:2 error_message:s@6+ group_id:s group_state:s protocol_type:s protocol_data:s
        members:[member_id:s group_instance_id:s@4+ client_id:s client_host:s member_metadata:b member_assignment:b]
        authorized_operations:4@3+]"),
    (ApiKey::ListGroups, 3, "throttle_time_ms:4@1+ error_code:2 groups:[group_id:s protocol_type:s group_state:s@4+ group_type:s@5+]"),
    (ApiKey::DeleteGroups, 2, "throttle_time_ms:4 results:[group_id:s error_code:2]"),
    (ApiKey::ConsumerGroupHeartbeat, 0, "
        throttle_time_ms:4 error_code:2 error_message:s member_id:s member_epoch:4 heartbeat_interval_ms:4
        assignment:?{topic_partitions:[topic_id:16 partitions:*4]}"),
    (ApiKey::ConsumerGroupDescribe, 0, "
        throttle_time_ms:4 groups:[error_code:2 error_message:s group_id:s group_state:s group_epoch:4 assignment_epoch:4 assignor_name:s
        members:[member_id:s instance_id:s rack_id:s member_epoch:4 client_id:s client_host:s subscribed_topic_names:*s
        subscribed_topic_regex:s assignment:{topic_partitions:[topic_id:16 topic_name:s partitions:*4]}
        target_assignment:{topic_partitions:[topic_id:16 topic_name:s partitions:*4]} member_type:1@1+] authorized_operations:4]"),
];
