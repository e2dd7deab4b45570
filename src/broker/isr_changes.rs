//! Carries ISR proposals to the controller: as many as wait in one AlterPartition, again until it answers.
//!
//! Each attempt that is not answered ends its connection, and the network may deliver it all the same, even after an
//! attempt on the next connection was answered.
//!
//! Kafka 3.5.0 and 3.5.1 named nobody in a request that they sent again to a controller without broker epochs: the list
//! was emptied when the first request was written (KAFKA-15353).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::{controller_channel::ControllerChannel, lifecycle::Registration, partition::IsrChange};
use crate::{
    base::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, Switches, switches::IsrSentAgain},
    protocol::{
        ErrorCode,
        messages::{
            AlterPartitionRequest, AlterPartitionResponse, RequestKind, ResponseKind,
            alter_partition_request::{BrokerState, PartitionData, TopicData},
        },
    },
    rpc::{RpcError, Shutdown},
    runtime::clock,
};

const RETRY_BACKOFF: Duration = Duration::from_millis(50);
const VERSION: i16 = 3;
/// The version that names members without their broker epochs.
const VERSION_WITHOUT_EPOCHS: i16 = 2;

/// Sends proposals until `shutdown`.
pub async fn send_all(
    mut proposals: mpsc::UnboundedReceiver<IsrChange>,
    channel: Arc<ControllerChannel>,
    registration: Arc<Registration>,
    switches: Switches,
    shutdown: Shutdown,
) {
    let sent_again = switches.isr_sent_again;
    let version = if sent_again == IsrSentAgain::Emptied { VERSION_WITHOUT_EPOCHS } else { VERSION };
    let mut waiting: Vec<IsrChange> = Vec::new();
    loop {
        if waiting.is_empty() {
            match shutdown.or(proposals.recv()).await {
                Some(Some(change)) => waiting.push(change),
                _ => return,
            }
        }
        while let Ok(change) = proposals.try_recv() {
            waiting.push(change);
        }
        // What metadata has told is not asked again: a newer proposal of the partition may wait by now.
        let mut awaited = Vec::new();
        for change in waiting.drain(..) {
            if change.partition.awaits(&change.proposal).await {
                awaited.push(change);
            }
        }
        waiting = awaited;
        if waiting.is_empty() {
            continue;
        }
        let request = request(&waiting, &registration, sent_again);
        let answer = match shutdown.or(channel.call(RequestKind::AlterPartition(request), version)).await {
            None => return,
            Some(answer) => answer,
        };
        match answer.map(|answer| answer.body) {
            Ok(ResponseKind::AlterPartition(response)) if response.error_code == 0 => {
                deliver(&mut waiting, &response).await;
            }
            outcome => {
                // Whether it was, or will be, applied is not known.
                let in_doubt = outcome.as_ref().is_err_and(RpcError::may_be_carried_out);
                waiting.iter_mut().for_each(|change| change.in_doubt |= in_doubt);
                tracing::debug!(?outcome, "AlterPartition failed; it is sent again");
                if shutdown.or(clock::sleep(RETRY_BACKOFF)).await.is_none() {
                    return;
                }
            }
        }
    }
}

fn request(waiting: &[IsrChange], registration: &Registration, sent_again: IsrSentAgain) -> AlterPartitionRequest {
    let mut topics: BTreeMap<[u8; 16], Vec<PartitionData>> = BTreeMap::new();
    for change in waiting {
        let member = |(id, epoch): &(NodeId, BrokerEpoch)| {
            let own = *id == registration.node;
            let epoch = if own { registration.broker_epoch() } else { *epoch };
            BrokerState::default().with_broker_id(id.0.into()).with_broker_epoch(epoch.0)
        };
        let members: Vec<BrokerState> = change.proposal.isr.iter().map(member).collect();
        let mut partition = PartitionData::default()
            .with_partition_index(change.partition.id.partition)
            .with_leader_epoch(change.proposal.leader_epoch.0)
            .with_partition_epoch(change.proposal.partition_epoch.0);
        match sent_again {
            IsrSentAgain::Whole => partition.new_isr_with_epochs = members,
            IsrSentAgain::Emptied if change.in_doubt => {}
            IsrSentAgain::Emptied => partition.new_isr = members.iter().map(|member| member.broker_id).collect(),
        }
        topics.entry(change.partition.topic_id.0).or_default().push(partition);
    }
    let topics = topics
        .into_iter()
        .map(|(id, partitions)| TopicData::default().with_topic_id(Uuid::from_bytes(id)).with_partitions(partitions));
    AlterPartitionRequest::default()
        .with_broker_id(registration.node.0.into())
        .with_broker_epoch(registration.broker_epoch().0)
        .with_topics(topics.collect())
}

async fn deliver(waiting: &mut Vec<IsrChange>, response: &AlterPartitionResponse) {
    for change in waiting.drain(..) {
        let topic = response.topics.iter().find(|topic| *topic.topic_id.as_bytes() == change.partition.topic_id.0);
        let index = change.partition.id.partition;
        let answer = topic.and_then(|topic| topic.partitions.iter().find(|answer| answer.partition_index == index));
        let Some(answer) = answer else { continue };
        let isr: Vec<NodeId> = answer.isr.iter().map(|id| NodeId(id.0)).collect();
        let outcome = match ErrorCode::from_i16(answer.error_code) {
            ErrorCode::None => Ok((LeaderEpoch(answer.leader_epoch), &isr[..], PartitionEpoch(answer.partition_epoch))),
            code => Err(code),
        };
        change.partition.isr_answered(&change, outcome).await;
    }
}
