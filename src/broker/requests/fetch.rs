//! Fetch: for consumers up to the high watermark, for followers to the end; waits while there is too little.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::Rng;
use tokio::sync::Notify;

use super::{
    super::partition::{FetchParams, Fetched, Fetcher},
    Broker, READ_COMMITTED, READ_UNCOMMITTED,
    fetch_session::{Answering, Named, Partitions, Told, Wanted},
    find_partition, find_topic, topic_name, uuid_of,
};
use crate::{
    base::{BrokerEpoch, LeaderEpoch, NodeId, Offset, Time, TopicId},
    protocol::{
        ErrorCode,
        messages::{
            FetchRequest, FetchResponse, ResponseKind,
            fetch_response::{EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData},
        },
    },
    rpc::Reply,
    runtime::{clock, random},
    trace,
};

/// A fetch that was resolved: what is wanted, by whom, for how long.
struct Fetch {
    partitions: Arc<Partitions>,
    answering: Answering,
    fetcher: Fetcher,
    version: i16,
    max_bytes: usize,
    min_bytes: usize,
    deadline: Time,
}

impl Broker {
    pub(super) fn fetch(self: Arc<Self>, request: FetchRequest, version: i16) -> Reply {
        match self.resolve(&request, version) {
            Ok(fetch) => {
                let cause = trace::current_cause();
                Reply::later(trace::caused_by(cause, async move { self.serve(fetch).await }))
            }
            Err(code) => Reply::now(FetchResponse::default().with_error_code(code.code())),
        }
    }

    fn resolve(&self, request: &FetchRequest, version: i16) -> Result<Fetch, ErrorCode> {
        if !matches!(request.isolation_level, READ_UNCOMMITTED..=READ_COMMITTED) {
            return Err(ErrorCode::UnknownServerError);
        }
        let by_id = version >= 13;
        let mut given = Partitions::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                let named = named(topic.topic.as_str(), *topic.topic_id.as_bytes(), partition.partition);
                let wanted = Wanted {
                    offset: Offset(partition.fetch_offset),
                    current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
                    last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
                    log_start: Offset(partition.log_start_offset),
                    max_bytes: partition.partition_max_bytes,
                };
                given.insert(named, (wanted, Told::NOTHING));
            }
        }
        let forgotten: Vec<Named> = request
            .forgotten_topics_data
            .iter()
            .flat_map(|topic| {
                let name = |index: &i32| named(topic.topic.as_str(), *topic.topic_id.as_bytes(), *index);
                topic.partitions.iter().map(name).collect::<Vec<_>>()
            })
            .collect();
        let (id, epoch) = if version >= 7 { (request.session_id, request.session_epoch) } else { (0, -1) };
        let mut sessions = self.sessions.lock().expect("no panic while the sessions are held");
        let mut ids = None;
        let fresh_id = || ids.get_or_insert_with(|| random::stream("fetch-sessions")).random_range(1..i32::MAX);
        let (partitions, answering) = sessions.resolve((id, epoch), given, &forgotten, by_id, fresh_id)?;
        drop(sessions);
        let (replica, replica_epoch) = match version {
            15.. => (request.replica_state.replica_id.0, request.replica_state.replica_epoch),
            _ => (request.replica_id.0, -1),
        };
        let fetcher = match replica {
            ..0 => Fetcher::Consumer,
            _ => Fetcher::Replica { id: NodeId(replica), epoch: BrokerEpoch(replica_epoch), tells: true },
        };
        let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let limit = if matches!(fetcher, Fetcher::Consumer) { self.config.fetch_max_bytes } else { usize::MAX };
        Ok(Fetch {
            partitions,
            answering,
            fetcher,
            version,
            max_bytes: limit.min(request.max_bytes.max(0) as usize),
            min_bytes: request.min_bytes.max(0) as usize,
            deadline: clock::now() + wait,
        })
    }

    async fn serve(&self, mut fetch: Fetch) -> ResponseKind {
        let waiter: Option<Arc<Notify>> = (fetch.deadline > clock::now()).then(Arc::default);
        loop {
            let results = self.read(&fetch, waiter.as_ref()).await;
            let bytes: usize = results.iter().map(|fetched| fetched.records.len()).sum();
            // An unknown partition does not cut short the wait for the others.
            let urgent = results.iter().any(is_urgent) || results.iter().all(|fetched| is_unknown(fetched.code));
            let left = fetch.deadline.since(clock::now());
            let waiter = match &waiter {
                Some(waiter) if bytes < fetch.min_bytes && !urgent && !left.is_zero() => waiter,
                _ => return self.fetch_response(fetch, results),
            };
            // What a follower told with its first read is known; waiting tells nothing new.
            fetch.fetcher = fetch.fetcher.without_news();
            let has_changed = clock::timeout(left, waiter.notified()).await.is_ok();
            // Only a partition that was found says when it changes.
            if !has_changed && results.iter().all(|fetched| fetched.code == ErrorCode::None) {
                return self.fetch_response(fetch, results);
            }
        }
    }

    /// Reads all partitions, in their order; `waiter` is rung when one of them has changed since.
    async fn read(&self, fetch: &Fetch, waiter: Option<&Arc<Notify>>) -> Vec<Fetched> {
        let image = self.cache.image();
        let mut results = Vec::with_capacity(fetch.partitions.len());
        let mut left = fetch.max_bytes;
        let mut nothing_yet = true;
        for (named, (wanted, _)) in &*fetch.partitions {
            let found = find_topic(&image, &topic_name(&named.topic), uuid_of(named.topic_id), fetch.version >= 13);
            let found = found.and_then(|topic| find_partition(&self.replicas, topic, named.partition));
            let fetched = match found {
                Ok(partition) => {
                    let params = FetchParams {
                        fetcher: fetch.fetcher,
                        offset: wanted.offset,
                        current_leader_epoch: wanted.current_leader_epoch,
                        last_fetched_epoch: wanted.last_fetched_epoch,
                        log_start: wanted.log_start,
                        max_bytes: left.min(wanted.max_bytes.max(0) as usize),
                        at_least_one: nothing_yet,
                    };
                    partition.fetch(&params, waiter).await
                }
                Err(code) => Fetched::error(code),
            };
            left = left.saturating_sub(fetched.records.len());
            nothing_yet &= fetched.records.is_empty();
            results.push(fetched);
        }
        results
    }

    fn fetch_response(&self, fetch: Fetch, results: Vec<Fetched>) -> ResponseKind {
        let session = match fetch.answering {
            Answering::Sessionless => 0,
            Answering::New(id) | Answering::Incremental(id) => id,
        };
        let incremental = matches!(fetch.answering, Answering::Incremental(_));
        let mut topics: Vec<(&Named, Vec<PartitionData>)> = Vec::new();
        let mut endpoints: BTreeMap<NodeId, NodeEndpoint> = BTreeMap::new();
        let mut news = Vec::new();
        for ((named, (_, told)), fetched) in fetch.partitions.iter().zip(results) {
            let failed = fetched.code != ErrorCode::None;
            let now = Told { high_watermark: fetched.high_watermark, log_start: fetched.log_start };
            let has_news = failed || !fetched.records.is_empty() || fetched.diverging.is_some() || now != *told;
            if incremental && !has_news {
                continue;
            }
            if session != 0 {
                // Of a partition in error it is told again next time.
                news.push((named.clone(), if failed { Told::NOTHING } else { now }));
            }
            self.add_endpoint(&mut endpoints, &fetched, fetch.version);
            let data = partition_data(named.partition, fetched, fetch.version);
            match topics.last_mut().filter(|(last, _)| last.topic == named.topic && last.topic_id == named.topic_id) {
                Some((_, partitions)) => partitions.push(data),
                None => topics.push((named, vec![data])),
            }
        }
        let topics = topics.into_iter().map(|(named, partitions)| {
            let topic = FetchableTopicResponse::default().with_partitions(partitions);
            match fetch.version {
                13.. => topic.with_topic_id(uuid_of(named.topic_id)),
                _ => topic.with_topic(topic_name(&named.topic)),
            }
        });
        let response = FetchResponse::default().with_responses(topics.collect());
        let response = if fetch.version >= 7 { response.with_session_id(session) } else { response };
        // The session is free to change its partitions in place.
        drop(fetch);
        self.sessions.lock().expect("no panic while the sessions are held").tell(session, news);
        response.with_node_endpoints(endpoints.into_values().collect()).into()
    }

    /// Who leads instead, for clients that can go there without asking for metadata (KIP-951).
    fn add_endpoint(&self, endpoints: &mut BTreeMap<NodeId, NodeEndpoint>, fetched: &Fetched, version: i16) {
        let moved = matches!(fetched.code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
        if version < 16 || !moved {
            return;
        }
        let image = self.cache.image();
        let known = image.broker(fetched.leader.0);
        if let Some(endpoint) = known.and_then(|known| known.endpoint(&self.config.inter_broker_listener)) {
            let node = NodeEndpoint::default()
                .with_node_id(fetched.leader.0.0.into())
                .with_host(endpoint.host.clone().into())
                .with_port(i32::from(endpoint.port));
            endpoints.insert(fetched.leader.0, node);
        }
    }
}

fn is_urgent(fetched: &Fetched) -> bool {
    fetched.diverging.is_some() || fetched.code != ErrorCode::None && !is_unknown(fetched.code)
}

fn is_unknown(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)
}

fn named(topic: &str, topic_id: [u8; 16], partition: i32) -> Named {
    Named { topic: topic.to_owned(), topic_id: TopicId(topic_id), partition }
}

fn partition_data(partition: i32, fetched: Fetched, version: i16) -> PartitionData {
    let moved = matches!(fetched.code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
    let mut data = PartitionData::default()
        .with_partition_index(partition)
        .with_error_code(fetched.code.code())
        .with_high_watermark(fetched.high_watermark.0)
        .with_last_stable_offset(fetched.high_watermark.0)
        .with_records(Some(fetched.records));
    data.aborted_transactions = None;
    if version >= 5 {
        data.log_start_offset = fetched.log_start.0;
    }
    if version >= 12 {
        if let Some((epoch, end)) = fetched.diverging {
            data.diverging_epoch = EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end.0);
        }
        if moved && fetched.leader.0 != NodeId::NONE {
            data.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(fetched.leader.0.0.into())
                .with_leader_epoch(fetched.leader.1.0);
        }
    }
    data
}
