//! Where a follower cuts its log when the leader says that they diverge (KIP-101, KIP-279).

use crate::base::{LeaderEpoch, Offset};

/// The offset to truncate to, after the leader answered that its epochs up to `leader_epoch` end at `leader_end`.
///
/// `own` is the follower's own answer to the same question: the greatest epoch up to `leader_epoch` that it knows and
/// where that ends. More rounds may be needed: the follower fetches again from its new end, with the epoch there.
///
/// | the leader knows | the follower knows | cut at |
/// |---|---|---|
/// | no such epoch | | its own high watermark: epochs cannot help |
/// | the epoch | the same | the smaller end |
/// | the epoch | an older one | the smaller end, then ask again |
/// | the epoch | nothing that old | the leader's end |
pub fn truncation_offset(
    (leader_epoch, leader_end): (LeaderEpoch, Offset),
    (own_epoch, own_end): (LeaderEpoch, Offset),
    high_watermark: Offset,
    log_end: Offset,
) -> Offset {
    if leader_end == Offset::UNKNOWN {
        return high_watermark;
    }
    if leader_epoch == LeaderEpoch::UNKNOWN || own_epoch == LeaderEpoch::UNKNOWN || own_end == Offset::UNKNOWN {
        return leader_end.min(log_end);
    }
    own_end.min(leader_end).min(log_end)
}
