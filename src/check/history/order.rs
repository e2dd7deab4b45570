//! `order-kept`: S27, Jepsen's `nonmonotonic-send`.
//!
//! Of two acknowledged records that one producer sent to one partition and that are in the log at the end, the one sent
//! first has the lower offset. (A lost record's offset may be given again.) Without `enable.idempotence` and with more
//! than one request in flight a retry may reorder, which is noted but no violation, unless the scenario is
//! written to show it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Acked, Case, Score};
use crate::{
    base::TopicPartition,
    check::{Claim, Finding},
};

pub(super) fn check(case: &Case<'_>) -> Finding {
    let mut score = Score::new(Claim::OrderKept);
    let mut permitted = 0;
    let permits = !case.teaches_violation_of(Claim::OrderKept);
    let mut last: BTreeMap<(&Arc<str>, &TopicPartition), Acked<'_>> = BTreeMap::new();
    for acked in case.history.acked().filter(|acked| acked.is_in_place(case.history)) {
        let before = last.get(&(acked.producer, acked.partition));
        if let Some(before) = before {
            score.checks += 1;
            if acked.offset <= before.offset {
                let producer = case.plan.producers.get(acked.producer);
                let may_reorder = producer.is_some_and(|p| !p.idempotent && p.max_in_flight > 1) && case.retried();
                if may_reorder && permits {
                    permitted += 1;
                } else {
                    score.violate(sentence(before, &acked), vec![before.event, acked.event]);
                }
            }
        }
        last.insert((acked.producer, acked.partition), acked);
    }
    score.note = (permitted > 0)
        .then(|| format!("{permitted} times a retry without enable.idempotence changed the order, which is permitted"));
    score.into_finding()
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
