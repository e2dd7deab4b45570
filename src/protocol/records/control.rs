//! Control batches that Highwater writes: the LEADER_CHANGE at the begin of each epoch of the metadata log.

use bytes::{BufMut, Bytes, BytesMut};

use super::{BatchBuilder, Codec};
use crate::base::{LeaderEpoch, NodeId, Offset, Timestamp};

/// Type of a LEADER_CHANGE record, in the key of a control record.
const LEADER_CHANGE: i16 = 2;

/// The first batch of a leader of the metadata log: who leads and who voted (LeaderChangeMessage, version 0).
pub fn leader_change_batch(
    base_offset: Offset,
    epoch: LeaderEpoch,
    leader: NodeId,
    voters: &[NodeId],
    timestamp: Timestamp,
) -> Bytes {
    let mut key = BytesMut::new();
    key.put_i16(0);
    key.put_i16(LEADER_CHANGE);
    let mut value = BytesMut::new();
    value.put_i16(0);
    value.put_i32(leader.0);
    for _granted_or_not in 0..2 {
        value.put_u8(u8::try_from(voters.len() + 1).expect("a quorum has few voters"));
        for voter in voters {
            value.put_i32(voter.0);
            value.put_u8(0);
        }
    }
    value.put_u8(0);
    let mut batch = BatchBuilder::new(Codec::None).position(base_offset, epoch).control();
    batch.push(timestamp, Some(&key), Some(&value), &[]);
    batch.build()
}
