//! InitProducerId for idempotent producers: ids from blocks that the controller hands out (KIP-730).

use std::sync::Arc;

use super::Broker;
use crate::{
    base::{ProducerEpoch, ProducerId},
    protocol::{
        ErrorCode,
        messages::{
            AllocateProducerIdsRequest, InitProducerIdRequest, InitProducerIdResponse, RequestKind, ResponseKind,
        },
    },
    rpc::Reply,
};

/// The ids left of the block in use.
#[derive(Debug, Default)]
pub struct ProducerIds {
    next: i64,
    end: i64,
}

impl Broker {
    pub(super) fn init_producer_id(self: Arc<Self>, request: InitProducerIdRequest) -> Reply {
        if request.transactional_id.is_some() {
            // No coordinator serves transactions here.
            let answer = InitProducerIdResponse::default().with_error_code(ErrorCode::CoordinatorNotAvailable.code());
            return Reply::now(answer.with_producer_id((-1).into()).with_producer_epoch(-1));
        }
        Reply::later(async move {
            let answer = match self.next_producer().await {
                Ok((id, epoch)) => {
                    InitProducerIdResponse::default().with_producer_id(id.0.into()).with_producer_epoch(epoch.0)
                }
                Err(code) => InitProducerIdResponse::default()
                    .with_error_code(code.code())
                    .with_producer_id((-1).into())
                    .with_producer_epoch(-1),
            };
            answer.into()
        })
    }

    /// A fresh id at epoch 0. A producer that wants to go on with its id after an error gets a new id as well: without
    /// a transactional id nobody else knows it.
    async fn next_producer(&self) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
        let mut ids = self.producer_ids.lock().await;
        if ids.next == ids.end {
            let request = AllocateProducerIdsRequest::default()
                .with_broker_id(self.registration.node.0.into())
                .with_broker_epoch(self.registration.broker_epoch().0);
            let answer = self.channel.call(RequestKind::AllocateProducerIds(request), 0).await;
            let Ok(ResponseKind::AllocateProducerIds(block)) = answer.map(|answer| answer.body) else {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            };
            if block.error_code != 0 {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            *ids = ProducerIds {
                next: block.producer_id_start.0,
                end: block.producer_id_start.0 + i64::from(block.producer_id_len),
            };
        }
        ids.next += 1;
        Ok((ProducerId(ids.next - 1), ProducerEpoch(0)))
    }
}
