//! Requests as clients and brokers send them, of every API in every version that is served and with something in each
//! array, and the damage that is done to them.

use bytes::{Bytes, BytesMut};
use highwater::{
    base::{ProducerEpoch, ProducerId, random::Random},
    protocol::{
        StrBytes,
        api::ApiRange,
        frame,
        messages::{ApiKey, RequestKind, TopicName, *},
        records::{BatchBuilder, Codec},
    },
};
use rand::Rng;
use uuid::Uuid;

/// The topic that the requests name, but for those that delete one.
pub const TOPIC: &str = "orders";

/// Each request in each version that `table` serves, without its length prefix.
pub fn frames(table: &[ApiRange]) -> Vec<Bytes> {
    let versions = table.iter().flat_map(|row| (row.served_min..=row.max).map(|version| (row.key, version)));
    let frame = |(key, version)| {
        let chunks = frame::encode_request(&request(key, version), version, 7, "honest")
            .unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
        Bytes::from(chunks.concat()).slice(frame::PREFIX_BYTES..)
    };
    versions.map(frame).collect()
}

/// A batch with keys, values and headers of several lengths.
pub fn batch(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(0), 0);
    for number in 0..6 {
        let value = vec![b'v'; number * 40];
        let headers = [("name".to_owned(), Some(Bytes::from_static(b"header"))), ("none".to_owned(), None)];
        builder.push(1_000 + number as i64, Some(b"key"), Some(&value), &headers[..number % 3]);
    }
    builder.build()
}

/// Changes some bytes, cuts, lengthens, or puts a piece of one message into another.
pub fn damage(random: &mut Random, whole: &[u8], other: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(whole);
    for _ in 0..random.random_range(1..=3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..7) {
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
            5 => {
                // A number of variable length that is large, or longer than any number is.
                let number = &[0xff; 10][..random.random_range(1..=10)];
                bytes = BytesMut::from(&[&bytes[..at], number, &bytes[at + 1..]].concat()[..]);
            }
            _ => {
                let (from, tail) = (random.random_range(0..=other.len()), bytes.split_off(at));
                bytes.extend_from_slice(&other[from..other.len().min(from + 64)]);
                bytes.extend_from_slice(&tail);
            }
        }
    }
    bytes.freeze()
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn request(key: ApiKey, version: i16) -> RequestKind {
    let topic = || TopicName(text(TOPIC));
    let id = Uuid::from_u128(7);
    // What one version names, the next gives the id of.
    let by_id = |since: i16| version >= since;
    match key {
        ApiKey::Produce => {
            let data = produce_request::PartitionProduceData::default();
            let data = [0, 1].map(|index| data.clone().with_index(index).with_records(Some(batch(Codec::None))));
            let sent = produce_request::TopicProduceData::default().with_partition_data(data.to_vec());
            let sent = if by_id(13) { sent.with_topic_id(id) } else { sent.with_name(topic()) };
            ProduceRequest::default().with_acks(-1).with_timeout_ms(100).with_topic_data(vec![sent]).into()
        }
        ApiKey::Fetch => {
            let mut partition =
                fetch_request::FetchPartition::default().with_partition(1).with_partition_max_bytes(100);
            partition.last_fetched_epoch = if version >= 12 { 1 } else { -1 };
            let fetched = fetch_request::FetchTopic::default().with_partitions(vec![partition.clone(), partition]);
            let forgotten = fetch_request::ForgottenTopic::default().with_partitions(vec![3, 4]);
            let (fetched, forgotten) = match by_id(13) {
                true => (fetched.with_topic_id(id), forgotten.with_topic_id(id)),
                false => (fetched.with_topic(topic()), forgotten.with_topic(topic())),
            };
            let mut request = FetchRequest::default().with_max_wait_ms(50).with_topics(vec![fetched]);
            request.forgotten_topics_data.extend((version >= 7).then_some(forgotten));
            if version >= 12 {
                request.cluster_id = Some(text("cluster"));
            }
            if version >= 15 {
                request.replica_state.replica_id = 9.into();
            }
            request.into()
        }
        ApiKey::ListOffsets => {
            let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
            let listed = list_offsets_request::ListOffsetsTopic::default().with_name(topic());
            let listed = listed.with_partitions(vec![partition.clone(), partition.with_partition_index(1)]);
            ListOffsetsRequest::default().with_topics(vec![listed]).into()
        }
        ApiKey::Metadata => {
            let named = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
            MetadataRequest::default().with_topics(Some(vec![named.clone(), named])).into()
        }
        ApiKey::ApiVersions if version < 3 => ApiVersionsRequest::default().into(),
        ApiKey::ApiVersions => ApiVersionsRequest::default()
            .with_client_software_name(text("honest"))
            .with_client_software_version(text("1.0"))
            .into(),
        ApiKey::CreateTopics => {
            let config = create_topics_request::CreatableTopicConfig::default()
                .with_name(text("min.insync.replicas"))
                .with_value(Some(text("2")));
            let assigned = create_topics_request::CreatableReplicaAssignment::default().with_broker_ids(vec![1.into()]);
            let created = create_topics_request::CreatableTopic::default().with_configs(vec![config]);
            let counted = created.clone().with_name(TopicName(text("new"))).with_num_partitions(2);
            let assigned = created.with_name(TopicName(text("newer"))).with_assignments(vec![assigned]);
            let topics = vec![counted.with_replication_factor(1), assigned];
            CreateTopicsRequest::default().with_topics(topics).with_validate_only(true).into()
        }
        ApiKey::DeleteTopics => {
            let gone = || TopicName(text("gone"));
            let state = delete_topics_request::DeleteTopicState::default().with_name(Some(gone()));
            match by_id(6) {
                true => DeleteTopicsRequest::default().with_topics(vec![state.clone(), state]).into(),
                false => DeleteTopicsRequest::default().with_topic_names(vec![gone(), gone()]).into(),
            }
        }
        ApiKey::DeleteRecords => {
            let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(1);
            let deleted = delete_records_request::DeleteRecordsTopic::default().with_name(topic());
            let deleted = deleted.with_partitions(vec![partition.clone(), partition]);
            DeleteRecordsRequest::default().with_topics(vec![deleted]).into()
        }
        ApiKey::InitProducerId => {
            InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("payments")))).into()
        }
        ApiKey::OffsetForLeaderEpoch => {
            let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
            let asked = offset_for_leader_epoch_request::OffsetForLeaderTopic::default().with_topic(topic());
            let asked = asked.with_partitions(vec![partition.clone(), partition]);
            OffsetForLeaderEpochRequest::default().with_topics(vec![asked]).into()
        }
        ApiKey::DescribeConfigs => {
            let described = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(TOPIC))
                .with_configuration_keys(Some(vec![text("segment.bytes"), text("retention.ms")]));
            DescribeConfigsRequest::default().with_resources(vec![described]).into()
        }
        ApiKey::ListConfigResources => {
            let types = if by_id(1) { vec![2, 32] } else { vec![] };
            ListConfigResourcesRequest::default().with_resource_types(types).into()
        }
        ApiKey::CreatePartitions => {
            let assigned = create_partitions_request::CreatePartitionsAssignment::default();
            let assigned = assigned.with_broker_ids(vec![1.into()]);
            let grown = create_partitions_request::CreatePartitionsTopic::default().with_name(topic()).with_count(3);
            let grown = grown.with_assignments(Some(vec![assigned]));
            CreatePartitionsRequest::default().with_topics(vec![grown]).with_validate_only(true).into()
        }
        ApiKey::ElectLeaders => {
            let partitions = elect_leaders_request::TopicPartitions::default().with_topic(topic());
            let partitions = partitions.with_partitions(vec![0, 1]);
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![partitions])).into()
        }
        ApiKey::IncrementalAlterConfigs => {
            let config = incremental_alter_configs_request::AlterableConfig::default();
            let config = config.with_name(text("retention.ms")).with_value(Some(text("1000")));
            let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(TOPIC))
                .with_configs(vec![config]);
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(true).into()
        }
        ApiKey::AlterPartitionReassignments => {
            let cancelled = alter_partition_reassignments_request::ReassignablePartition::default();
            let there = cancelled.clone().with_replicas(Some(vec![1.into()]));
            let reassigned = alter_partition_reassignments_request::ReassignableTopic::default().with_name(topic());
            let reassigned = reassigned.with_partitions(vec![there, cancelled]);
            AlterPartitionReassignmentsRequest::default().with_topics(vec![reassigned]).into()
        }
        ApiKey::ListPartitionReassignments => {
            let listed = list_partition_reassignments_request::ListPartitionReassignmentsTopics::default();
            let listed = listed.with_name(topic()).with_partition_indexes(vec![0, 1]);
            ListPartitionReassignmentsRequest::default().with_topics(Some(vec![listed])).into()
        }
        ApiKey::DescribeCluster => DescribeClusterRequest::default().into(),
        ApiKey::DescribeTopicPartitions => {
            let asked = describe_topic_partitions_request::TopicRequest::default().with_name(topic());
            let cursor = describe_topic_partitions_request::Cursor::default().with_topic_name(topic());
            DescribeTopicPartitionsRequest::default().with_topics(vec![asked]).with_cursor(Some(cursor)).into()
        }
        ApiKey::AlterPartition => {
            let mut partition = alter_partition_request::PartitionData::default();
            match version >= 3 {
                true => partition.new_isr_with_epochs = vec![alter_partition_request::BrokerState::default(); 2],
                false => partition.new_isr = vec![1.into(), 2.into()],
            }
            let altered = alter_partition_request::TopicData::default().with_topic_id(id);
            let altered = altered.with_partitions(vec![partition]);
            AlterPartitionRequest::default().with_broker_id(9.into()).with_topics(vec![altered]).into()
        }
        ApiKey::BrokerRegistration => {
            let listener = broker_registration_request::Listener::default().with_name(text("PLAINTEXT"));
            let feature = broker_registration_request::Feature::default().with_name(text("metadata.version"));
            let request = BrokerRegistrationRequest::default()
                .with_broker_id(9.into())
                .with_cluster_id(text("cluster"))
                .with_listeners(vec![listener.with_host(text("localhost"))])
                .with_features(vec![feature])
                .with_rack(Some(text("a")));
            if version >= 2 { request.with_log_dirs(vec![id]).into() } else { request.into() }
        }
        ApiKey::BrokerHeartbeat => {
            let request = BrokerHeartbeatRequest::default().with_broker_id(9.into());
            if version >= 1 { request.with_offline_log_dirs(vec![id]).into() } else { request.into() }
        }
        ApiKey::AllocateProducerIds => AllocateProducerIdsRequest::default().with_broker_id(9.into()).into(),
        other => group_request(other, version),
    }
}

/// Requests of groups, their members and their offsets.
fn group_request(key: ApiKey, version: i16) -> RequestKind {
    let group = || GroupId(text("group"));
    let instance = |since: i16| (version >= since).then(|| text("instance"));
    let (topic, id) = (|| TopicName(text(TOPIC)), Uuid::from_u128(7));
    match key {
        ApiKey::FindCoordinator if version < 4 => FindCoordinatorRequest::default().with_key(text("group")).into(),
        ApiKey::FindCoordinator => {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text("group"), text("other")]).into()
        }
        ApiKey::JoinGroup => {
            // A member that is not known: it is answered at once.
            let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
            let protocol = protocol.with_metadata(Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't']));
            let request = JoinGroupRequest::default()
                .with_group_id(group())
                .with_session_timeout_ms(10_000)
                .with_member_id(text("member"))
                .with_group_instance_id(instance(5))
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol.clone(), protocol]);
            let request = if version >= 1 { request.with_rebalance_timeout_ms(10_000) } else { request };
            if version >= 8 { request.with_reason(Some(text("because"))).into() } else { request.into() }
        }
        ApiKey::SyncGroup => {
            let assignment = sync_group_request::SyncGroupRequestAssignment::default().with_member_id(text("member"));
            let assignment = assignment.with_assignment(Bytes::from_static(&[0, 0, 0, 0, 0, 0]));
            SyncGroupRequest::default()
                .with_group_id(group())
                .with_member_id(text("member"))
                .with_group_instance_id(instance(3))
                .with_assignments(vec![assignment.clone(), assignment])
                .into()
        }
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::default().with_group_id(group()).with_member_id(text("member"));
            request.with_group_instance_id(instance(3)).into()
        }
        ApiKey::LeaveGroup if version < 3 => {
            LeaveGroupRequest::default().with_group_id(group()).with_member_id(text("member")).into()
        }
        ApiKey::LeaveGroup => {
            let member = leave_group_request::MemberIdentity::default().with_member_id(text("member"));
            let member = member.with_group_instance_id(instance(3));
            LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member.clone(), member]).into()
        }
        ApiKey::OffsetCommit => {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default();
            let partition = partition.with_committed_offset(1).with_committed_metadata(Some(text("note")));
            let committed = offset_commit_request::OffsetCommitRequestTopic::default();
            let committed = match version >= 10 {
                true => committed.with_topic_id(id),
                false => committed.with_name(topic()),
            };
            OffsetCommitRequest::default()
                .with_group_id(group())
                .with_group_instance_id(instance(7))
                .with_topics(vec![committed.with_partitions(vec![partition.clone(), partition])])
                .into()
        }
        ApiKey::OffsetFetch if version < 8 => {
            let fetched = offset_fetch_request::OffsetFetchRequestTopic::default().with_name(topic());
            let fetched = fetched.with_partition_indexes(vec![0, 1]);
            OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![fetched])).into()
        }
        ApiKey::OffsetFetch => {
            let fetched = offset_fetch_request::OffsetFetchRequestTopics::default().with_partition_indexes(vec![0, 1]);
            let fetched = if version >= 10 { fetched.with_topic_id(id) } else { fetched.with_name(topic()) };
            let asked = offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group());
            OffsetFetchRequest::default().with_groups(vec![asked.with_topics(Some(vec![fetched]))]).into()
        }
        ApiKey::OffsetDelete => {
            let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
            let deleted = offset_delete_request::OffsetDeleteRequestTopic::default().with_name(topic());
            let deleted = deleted.with_partitions(vec![partition.clone(), partition]);
            OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![deleted]).into()
        }
        ApiKey::DescribeGroups => DescribeGroupsRequest::default().with_groups(vec![group(), group()]).into(),
        ApiKey::DeleteGroups => DeleteGroupsRequest::default().with_groups_names(vec![group(), group()]).into(),
        ApiKey::ListGroups => {
            let request = ListGroupsRequest::default();
            let request = if version >= 4 { request.with_states_filter(vec![text("Stable")]) } else { request };
            if version >= 5 { request.with_types_filter(vec![text("classic")]).into() } else { request.into() }
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let owned = consumer_group_heartbeat_request::TopicPartitions::default().with_topic_id(id);
            let request = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(text("member"))
                .with_member_epoch(3)
                .with_instance_id(Some(text("instance")))
                .with_rack_id(Some(text("a")))
                .with_rebalance_timeout_ms(10_000)
                .with_subscribed_topic_names(Some(vec![topic(), topic()]))
                .with_server_assignor(Some(text("range")))
                .with_topic_partitions(Some(vec![owned.with_partitions(vec![0, 1])]));
            if version >= 1 { request.with_subscribed_topic_regex(Some(text("ord.*"))).into() } else { request.into() }
        }
        ApiKey::ConsumerGroupDescribe => {
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(), group()]).into()
        }
        other => panic!("{other:?} is served and has no honest request here"),
    }
}
