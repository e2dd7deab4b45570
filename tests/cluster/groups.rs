//! Groups over the wire: their coordinator dies, their records are damaged, what they are asked makes no sense.

use std::{fs, time::Duration};

use highwater::{
    base::TopicPartition,
    protocol::{
        ErrorCode, StrBytes,
        messages::{
            ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeConfigsRequest, FindCoordinatorRequest,
            GroupId, HeartbeatRequest, IncrementalAlterConfigsRequest, JoinGroupRequest, LeaveGroupRequest,
            OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, RequestKind, ResponseKind, SyncGroupRequest,
            TopicName,
            describe_configs_request::DescribeConfigsResource,
            incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
            join_group_request::JoinGroupRequestProtocol,
            offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
            offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        },
    },
    rpc::Connection,
    runtime::clock,
};

use super::{CONTROLLER, Cluster, PATIENCE, QUICK, until};
use crate::block_on_threads;

const FIND_VERSION: i16 = 6;
const COMMIT_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 8;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Cluster {
    async fn ask(&self, address: &str, request: RequestKind, version: i16) -> Option<ResponseKind> {
        let connection = Connection::connect(address, "groups", PATIENCE).await.ok()?;
        connection.call(request, version, PATIENCE).await.ok().map(|answer| answer.body)
    }

    /// Which node coordinates `group`, and where it listens.
    async fn coordinator(&self, group: &str) -> Option<(i32, String)> {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            let request = RequestKind::FindCoordinator(request.clone());
            if let Some(ResponseKind::FindCoordinator(found)) = self.ask(&node.address, request, FIND_VERSION).await
                && let Some(found) = found.coordinators.first().filter(|found| found.error_code == 0)
            {
                return Some((found.node_id.0, format!("{}:{}", found.host, found.port)));
            }
        }
        None
    }

    /// Commits `offset` of the first partition of `orders`, without a member; the code of the answer.
    async fn commit(&self, group: &str, offset: i64) -> Option<ErrorCode> {
        let (_, address) = self.coordinator(group).await?;
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = OffsetCommitRequestTopic::default().with_name(TopicName(text("orders")));
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic.with_partitions(vec![partition])]);
        match self.ask(&address, RequestKind::OffsetCommit(request), COMMIT_VERSION).await? {
            ResponseKind::OffsetCommit(answer) => Some(ErrorCode::from_i16(answer.topics[0].partitions[0].error_code)),
            other => panic!("{other:?} is no answer to a commit"),
        }
    }

    /// What `group` has committed of the first partition of `orders`; -1 for nothing.
    async fn fetch(&self, group: &str) -> Option<i64> {
        let (_, address) = self.coordinator(group).await?;
        let topic = OffsetFetchRequestTopics::default().with_name(TopicName(text("orders")));
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(Some(vec![topic.with_partition_indexes(vec![0])]));
        let request = OffsetFetchRequest::default().with_groups(vec![asked]);
        match self.ask(&address, RequestKind::OffsetFetch(request), FETCH_VERSION).await? {
            ResponseKind::OffsetFetch(answer) if answer.groups[0].error_code == 0 => {
                Some(answer.groups[0].topics[0].partitions[0].committed_offset)
            }
            ResponseKind::OffsetFetch(_) => None,
            other => panic!("{other:?} is no answer to a fetch"),
        }
    }

    async fn with_orders(count: i32, properties: &[(&str, &str)]) -> Self {
        let cluster = Self::start(count, &[QUICK, properties].concat()).await;
        cluster.create_topic("orders", 1, &[]).await;
        cluster
    }
}

#[test]
fn commits_survive_the_death_of_their_coordinator() {
    block_on_threads(async {
        let offsets_topic = [("offsets.topic.num.partitions", "6"), ("offsets.topic.replication.factor", "3")];
        let mut cluster =
            Cluster::with_orders(3, &[&offsets_topic[..], &[("min.insync.replicas", "2")]].concat()).await;
        let groups: Vec<String> = (0..12).map(|index| format!("group-{index}")).collect();
        for (offset, group) in groups.iter().enumerate() {
            let what = format!("a commit of {group}");
            until(&what, async || cluster.commit(group, offset as i64).await == Some(ErrorCode::None)).await;
        }
        let mut victim = None;
        for group in &groups {
            victim = cluster.coordinator(group).await.map(|(id, _)| id).filter(|id| *id != CONTROLLER).or(victim);
        }
        let victim = victim.expect("some group is coordinated elsewhere");
        cluster.node(victim).kill();
        for (offset, group) in groups.iter().enumerate() {
            let what = format!("the offset of {group} from another coordinator");
            until(&what, async || cluster.fetch(group).await == Some(offset as i64)).await;
            let what = format!("another commit of {group}");
            until(&what, async || cluster.commit(group, 100).await == Some(ErrorCode::None)).await;
        }
        cluster.node(victim).start();
        cluster.wait_for_full_isr("__consumer_offsets").await;
        for group in &groups {
            until("the later offset", async || cluster.fetch(group).await == Some(100)).await;
        }
    });
}

#[test]
fn a_damaged_record_is_named_and_skipped_and_other_groups_go_on() {
    block_on_threads(async {
        let one = [("offsets.topic.num.partitions", "1"), ("offsets.topic.replication.factor", "1")];
        let mut cluster = Cluster::with_orders(1, &one).await;
        for (group, offset) in [("damaged", 5), ("sound", 7)] {
            until("a commit", async || cluster.commit(group, offset).await == Some(ErrorCode::None)).await;
        }
        assert!(cluster.node(CONTROLLER).terminate().await.success());
        let partition = TopicPartition::new("__consumer_offsets", 0).to_string();
        let path = cluster.node(CONTROLLER).log_dir().join(partition).join("00000000000000000000.log");
        let mut bytes = fs::read(&path).expect("the log is there");
        let at = bytes.windows(7).position(|bytes| bytes == b"damaged").expect("the group's name is in the log");
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("the log can be damaged");
        cluster.node(CONTROLLER).start();
        until("the sound group", async || cluster.fetch("sound").await == Some(7)).await;
        assert_eq!(cluster.fetch("damaged").await, Some(-1));
        let log = cluster.node(CONTROLLER).log();
        assert!(log.contains("damaged batches are skipped"), "the log names the damage");
        assert!(!log.contains("panicked"), "nothing panics");
    });
}

/// A member of the classic protocol, for the first time; `metadata` is its subscription.
fn join(group: &str, metadata: &'static [u8]) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(metadata.into());
    JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(6_000)
        .with_rebalance_timeout_ms(6_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// A member of the newer protocol, for the first time.
fn heartbeat(group: &str, pattern: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(text("m"))
        .with_rebalance_timeout_ms(6_000)
        .with_subscribed_topic_regex(Some(text(pattern)))
        .with_topic_partitions(Some(Vec::new()))
}

#[test]
fn what_makes_no_sense_to_a_group_gets_kafkas_codes_and_other_groups_go_on() {
    block_on_threads(async {
        let one = [("offsets.topic.num.partitions", "1"), ("offsets.topic.replication.factor", "1")];
        let one = [&one[..], &[("group.initial.rebalance.delay.ms", "0")]].concat();
        let cluster = Cluster::with_orders(1, &one).await;
        until("a commit", async || cluster.commit("sound", 7).await == Some(ErrorCode::None)).await;
        let (_, address) = cluster.coordinator("sound").await.expect("somebody coordinates");
        let code = async |request: RequestKind, version: i16| {
            let answer = cluster.ask(&address, request, version).await.expect("an answer");
            let code = match answer {
                ResponseKind::JoinGroup(answer) => answer.error_code,
                ResponseKind::SyncGroup(answer) => answer.error_code,
                ResponseKind::Heartbeat(answer) => answer.error_code,
                ResponseKind::LeaveGroup(answer) => answer.error_code,
                ResponseKind::ConsumerGroupHeartbeat(answer) => answer.error_code,
                other => panic!("{other:?} was not asked for"),
            };
            ErrorCode::from_i16(code)
        };
        // A group needs a name to have members. Offsets it may have without one.
        for (request, version) in [
            (RequestKind::JoinGroup(join("", b"")), 5),
            (RequestKind::SyncGroup(SyncGroupRequest::default()), 3),
            (RequestKind::Heartbeat(HeartbeatRequest::default()), 3),
            (RequestKind::LeaveGroup(LeaveGroupRequest::default()), 3),
        ] {
            assert_eq!(code(request.clone(), version).await, ErrorCode::InvalidGroupId, "{request:?}");
        }
        let nameless = RequestKind::ConsumerGroupHeartbeat(heartbeat("", "o.*"));
        assert_eq!(code(nameless, 1).await, ErrorCode::InvalidRequest);
        assert_eq!(cluster.commit("", 3).await, Some(ErrorCode::None));
        // Nobody asks a partition how far it goes.
        assert_eq!(cluster.commit("ahead", 1_000_000).await, Some(ErrorCode::None));
        assert_eq!(cluster.fetch("ahead").await, Some(1_000_000));
        // What a classic member subscribes to is between it and the leader: version 3 joins without an id.
        assert_eq!(code(RequestKind::JoinGroup(join("nonsense", b"\x7f\xff\xff")), 3).await, ErrorCode::None);
        for pattern in ["((a{100}){100}){100}", "[", r"\1"] {
            let request = RequestKind::ConsumerGroupHeartbeat(heartbeat("explodes", pattern));
            assert_eq!(code(request, 1).await, ErrorCode::InvalidRegularExpression, "{pattern}");
        }
        assert_eq!(cluster.fetch("sound").await, Some(7));
        assert_eq!(code(RequestKind::ConsumerGroupHeartbeat(heartbeat("fine", "o.*")), 1).await, ErrorCode::None);
    });
}

#[test]
fn a_record_that_is_too_large_takes_no_others_along() {
    block_on_threads(async {
        // What comes within half a second is appended together.
        let one = [("offsets.topic.num.partitions", "1"), ("offsets.topic.replication.factor", "1")];
        // So much takes its time where nothing is optimized: nobody is to take the broker for dead.
        let patient = [("group.coordinator.append.linger.ms", "500"), ("broker.session.timeout.ms", "30000")];
        let one = [&one[..], &patient].concat();
        let cluster = Cluster::with_orders(1, &one).await;
        until("a commit", async || cluster.commit("sound", 7).await == Some(ErrorCode::None)).await;
        let (_, address) = cluster.coordinator("sound").await.expect("somebody coordinates");
        let names = (0..11_000).map(|index| TopicName(text(&format!("{index:0>100}")))).collect();
        let request = heartbeat("large", "").with_subscribed_topic_names(Some(names));
        let large = cluster.ask(&address, RequestKind::ConsumerGroupHeartbeat(request), 1);
        let (large, committed) = tokio::join!(large, cluster.commit("sound", 8));
        let Some(ResponseKind::ConsumerGroupHeartbeat(answer)) = large else { panic!("{large:?} is no answer") };
        assert_eq!(ErrorCode::from_i16(answer.error_code), ErrorCode::UnknownServerError);
        assert_eq!(committed, Some(ErrorCode::None));
    });
}

#[test]
fn a_classic_member_of_a_group_of_the_newer_protocol_does_not_wait_for_a_coordinator_that_cannot_commit() {
    block_on_threads(async {
        // Nobody notices that a follower is gone.
        let slow = [("broker.session.timeout.ms", "60000"), ("replica.lag.time.max.ms", "60000")];
        let offsets_topic = [("offsets.topic.num.partitions", "1"), ("offsets.topic.replication.factor", "2")];
        let properties = [&slow[..], &offsets_topic, &[("offsets.commit.timeout.ms", "500")]].concat();
        let mut cluster = Cluster::with_orders(2, &properties).await;
        until("a commit", async || cluster.commit("sound", 7).await == Some(ErrorCode::None)).await;
        let (coordinator, address) = cluster.coordinator("mixed").await.expect("somebody coordinates");
        let request = RequestKind::ConsumerGroupHeartbeat(heartbeat("mixed", "o.*"));
        let Some(ResponseKind::ConsumerGroupHeartbeat(answer)) = cluster.ask(&address, request, 1).await else {
            panic!("a heartbeat is answered")
        };
        assert_eq!(answer.error_code, 0);
        cluster.node(3 - coordinator).kill();
        // No topics, no user data.
        let request = RequestKind::JoinGroup(join("mixed", &[0; 10]));
        let Some(ResponseKind::JoinGroup(answer)) = cluster.ask(&address, request, 3).await else {
            panic!("a join is answered")
        };
        assert_eq!(ErrorCode::from_i16(answer.error_code), ErrorCode::CoordinatorNotAvailable);
    });
}

#[test]
fn what_needs_no_coordinator_to_be_refused_is_refused_by_every_broker() {
    block_on_threads(async {
        // Nobody has looked for a coordinator yet: there is none.
        let cluster = Cluster::with_orders(1, &[]).await;
        let code = async |request: RequestKind, version: i16| {
            let code = match cluster.ask(&cluster.nodes[0].address, request, version).await.expect("an answer") {
                ResponseKind::JoinGroup(answer) => answer.error_code,
                ResponseKind::SyncGroup(answer) => answer.error_code,
                ResponseKind::OffsetDelete(answer) => answer.error_code,
                ResponseKind::ConsumerGroupHeartbeat(answer) => answer.error_code,
                other => panic!("{other:?} was not asked for"),
            };
            ErrorCode::from_i16(code)
        };
        let sync =
            |group: &str| RequestKind::SyncGroup(SyncGroupRequest::default().with_group_id(GroupId(text(group))));
        let impatient = |group: &str| RequestKind::JoinGroup(join(group, b"").with_session_timeout_ms(1));
        let nameless = heartbeat("g", "o.*").with_member_id(text(""));
        for (request, version, expected) in [
            (RequestKind::JoinGroup(join("g", b"")), 5, ErrorCode::NotCoordinator),
            (impatient("g"), 5, ErrorCode::InvalidSessionTimeout),
            (impatient(""), 5, ErrorCode::InvalidGroupId),
            (sync("g"), 4, ErrorCode::NotCoordinator),
            (sync("g"), 5, ErrorCode::InconsistentGroupProtocol),
            (sync(""), 5, ErrorCode::InconsistentGroupProtocol),
            (sync(""), 4, ErrorCode::InvalidGroupId),
            (RequestKind::OffsetDelete(OffsetDeleteRequest::default()), 0, ErrorCode::InvalidGroupId),
            (RequestKind::ConsumerGroupHeartbeat(nameless), 1, ErrorCode::InvalidRequest),
            (RequestKind::ConsumerGroupHeartbeat(heartbeat("g", "[")), 1, ErrorCode::NotCoordinator),
        ] {
            assert_eq!(code(request.clone(), version).await, expected, "{request:?}");
        }
    });
}

#[test]
fn a_request_about_many_groups_waits_once_for_coordinators_that_cannot_commit() {
    block_on_threads(async {
        // Nobody notices that a follower is gone.
        let slow = [("broker.session.timeout.ms", "60000"), ("replica.lag.time.max.ms", "60000")];
        let offsets_topic = [("offsets.topic.num.partitions", "16"), ("offsets.topic.replication.factor", "2")];
        let properties = [&slow[..], &offsets_topic, &[("offsets.commit.timeout.ms", "1000")]].concat();
        let mut cluster = Cluster::with_orders(2, &properties).await;
        let mut groups = Vec::new();
        for index in 0..16 {
            let group = format!("group-{index}");
            let what = format!("a commit of {group}");
            until(&what, async || cluster.commit(&group, 7).await == Some(ErrorCode::None)).await;
            // Those that the node coordinates that will be left.
            if cluster.coordinator(&group).await.is_some_and(|(id, _)| id == CONTROLLER) {
                groups.push(GroupId(text(&group)));
            }
        }
        assert!(groups.len() >= 6, "{groups:?} are coordinated by several partitions of node 1");
        cluster.node(2).kill();
        let asked = |group: &GroupId| OffsetFetchRequestGroup::default().with_group_id(group.clone()).with_topics(None);
        let fetch = OffsetFetchRequest::default().with_require_stable(true);
        let fetch = RequestKind::OffsetFetch(fetch.with_groups(groups.iter().map(asked).collect()));
        let delete = RequestKind::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(groups.clone()));
        // The offsets wait for what the deletion has written.
        for (request, version, expected) in
            [(delete, 2, ErrorCode::CoordinatorNotAvailable), (fetch, FETCH_VERSION, ErrorCode::NotCoordinator)]
        {
            let begun = clock::now();
            let codes: Vec<i16> = match cluster.ask(&cluster.nodes[0].address, request, version).await {
                Some(ResponseKind::DeleteGroups(answer)) => {
                    answer.results.iter().map(|result| result.error_code).collect()
                }
                Some(ResponseKind::OffsetFetch(answer)) => answer.groups.iter().map(|group| group.error_code).collect(),
                other => panic!("{other:?} was not asked for"),
            };
            assert_eq!(codes, vec![expected.code(); groups.len()]);
            assert!(clock::now().since(begun) < Duration::from_secs(3), "they are asked together");
        }
    });
}

#[test]
fn an_assignment_interval_that_is_set_on_running_brokers_acts_at_once() {
    block_on_threads(async {
        const INTERVAL: &str = "group.consumer.assignment.interval.ms";
        let one = [("offsets.topic.num.partitions", "1"), ("offsets.topic.replication.factor", "1")];
        let cluster = Cluster::with_orders(1, &[&one[..], &[(INTERVAL, "15000")]].concat()).await;
        until("a commit", async || cluster.commit("sound", 7).await == Some(ErrorCode::None)).await;
        let address = &cluster.nodes[0].address;
        let set = async |value: &str| {
            let config = AlterableConfig::default().with_name(text(INTERVAL)).with_value(Some(text(value)));
            let resource = AlterConfigsResource::default().with_resource_type(4).with_configs(vec![config]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            match cluster.ask(address, RequestKind::IncrementalAlterConfigs(request), 1).await {
                Some(ResponseKind::IncrementalAlterConfigs(answer)) => {
                    ErrorCode::from_i16(answer.responses[0].error_code)
                }
                other => panic!("{other:?} is no answer"),
            }
        };
        // Value and source of what a group is told of it.
        let described = async || {
            let resource = DescribeConfigsResource::default().with_resource_type(32).with_resource_name(text("g"));
            let resource = resource.with_configuration_keys(Some(vec![text("consumer.assignment.interval.ms")]));
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
            match cluster.ask(address, RequestKind::DescribeConfigs(request), 4).await {
                Some(ResponseKind::DescribeConfigs(answer)) => {
                    let config = &answer.results[0].configs[0];
                    (config.value.as_ref().map(ToString::to_string), config.config_source)
                }
                other => panic!("{other:?} is no answer"),
            }
        };
        let epoch_of_new = async |member: &str| {
            let request = heartbeat("g", "o.*").with_subscribed_topic_regex(None);
            let request = request.with_subscribed_topic_names(Some(vec![TopicName(text("orders"))]));
            let request = RequestKind::ConsumerGroupHeartbeat(request.with_member_id(text(member)));
            match cluster.ask(address, request, 1).await {
                Some(ResponseKind::ConsumerGroupHeartbeat(answer)) => answer.member_epoch,
                other => panic!("{other:?} is no answer"),
            }
        };
        assert_eq!((epoch_of_new("m").await, epoch_of_new("n").await), (2, 2), "the second waits for the interval");
        for out_of_bounds in ["-1", "15001"] {
            assert_eq!(set(out_of_bounds).await, ErrorCode::InvalidRequest);
        }
        assert_eq!(described().await, (Some("15000".to_owned()), 4));
        assert_eq!(set("0").await, ErrorCode::None);
        until("the new value", async || described().await == (Some("0".to_owned()), 3)).await;
        assert_eq!(epoch_of_new("o").await, 4, "there is nothing to wait for");
    });
}
