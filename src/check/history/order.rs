//! `order-kept`: S27, Jepsen's `nonmonotonic-send`.
//!
//! Of two acknowledged records that one producer sent to one partition and that are in the log at the end, the one sent
//! first has the lower offset. (A lost record's offset may be given again.) Where more than one request is in flight a
//! retry may reorder in two cases, which are noted and are no violation, unless the scenario is written to show it:
//! without `enable.idempotence`, and where the later record is the very first of its producer in the partition. For a
//! leader takes any first sequence of a producer that it does not know: when the first batch was refused, by
//! NOT_ENOUGH_REPLICAS say, the second may be taken before the first comes again. (Kafka demands 0 of transactions only.)

use std::{collections::BTreeMap, sync::Arc};

use super::{Acked, Case, Score};
use crate::{
    base::{Offset, TopicPartition},
    check::{Claim, Finding},
};

pub(super) fn check(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::OrderKept);
    let mut permitted = 0;
    let permits = !case.teaches_violation_of(Claim::OrderKept);
    let mut last: BTreeMap<(&Arc<str>, &TopicPartition), &Acked<'_>> = BTreeMap::new();
    for acked in case.acked.iter().filter(|acked| acked.is_in_place) {
        let before = last.insert((acked.producer, acked.partition), acked);
        if let Some(before) = before {
            score.checks += 1;
            if acked.offset <= before.offset {
                let producer = case.plan.producers.get(acked.producer);
                let is_first = lowest(case, acked) == Some(acked.offset);
                let may_reorder = producer.is_some_and(|p| (!p.idempotent || is_first) && p.max_in_flight > 1);
                if may_reorder && case.retried() && permits {
                    permitted += 1;
                } else {
                    score.violate(sentence(before, acked), vec![before.event, acked.event]);
                }
            }
        }
    }
    score.note = (permitted > 0).then(|| {
        format!("{permitted} times a retry changed the order, of a producer that the settings or the leader let do so")
    });
    score.into_finding()
}

/// The lowest offset in the log of what the producer of `acked` sent to its partition.
fn lowest(case: &Case<'_>, acked: &Acked<'_>) -> Option<Offset> {
    let same = |other: &&Acked<'_>| other.producer == acked.producer && other.partition == acked.partition;
    case.acked.iter().filter(|other| other.is_in_place).filter(same).map(|other| other.offset).min()
}

fn sentence(before: &Acked<'_>, after: &Acked<'_>) -> String {
    format!(
        "{} sent {} before {}, and they stand at {}@{} and {}@{}",
        after.producer,
        before.send.content.value,
        after.send.content.value,
        before.partition,
        before.offset,
        after.partition,
        after.offset
    )
}
