//! Which brokers get the replicas of new partitions: striped over racks and brokers from a random begin, as Kafka's
//! StripedReplicaPlacer does, so that leaders and replicas spread evenly and no rack gets two before each has one.

use std::collections::BTreeMap;

use rand::Rng;

use crate::base::{NodeId, random::Random};

/// A broker that can take replicas.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The broker.
    pub id: NodeId,
    /// Its rack.
    pub rack: Option<String>,
    /// A fenced broker takes replicas too, but none is led by it.
    pub fenced: bool,
}

/// The replicas of `partitions` new partitions, preferred leader first. There are at least `replication` candidates
/// and one that is not fenced.
pub fn place(candidates: &[Candidate], partitions: usize, replication: usize, random: &mut Random) -> Vec<Vec<NodeId>> {
    let mut racks: BTreeMap<Option<String>, Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        racks.entry(candidate.rack.clone()).or_default().push(candidate);
    }
    let mut racks: Vec<Vec<&Candidate>> = racks.into_values().collect();
    for rack in &mut racks {
        let begin = random.random_range(0..rack.len());
        rack.rotate_left(begin);
    }
    let begin = random.random_range(0..racks.len());
    racks.rotate_left(begin);
    (0..partitions).map(|partition| replicas_of(&racks, partition, replication)).collect()
}

fn replicas_of(racks: &[Vec<&Candidate>], partition: usize, replication: usize) -> Vec<NodeId> {
    let mut order: Vec<&Candidate> = Vec::new();
    let longest = racks.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..longest {
        for stripe in 0..racks.len() {
            let rack = &racks[(partition + stripe) % racks.len()];
            if round < rack.len() {
                order.push(rack[(partition / racks.len() + round) % rack.len()]);
            }
        }
    }
    // The first is the preferred leader: a live one.
    if let Some(live) = order.iter().position(|candidate| !candidate.fenced) {
        let leader = order.remove(live);
        order.insert(0, leader);
    }
    order.iter().take(replication).map(|candidate| candidate.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(racks: &[Option<&str>]) -> Vec<Candidate> {
        let candidate = |(index, rack): (usize, &Option<&str>)| Candidate {
            id: NodeId(index as i32 + 1),
            rack: rack.map(str::to_owned),
            fenced: false,
        };
        racks.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn leaders_and_replicas_are_spread_and_racks_are_not_repeated() {
        for seed in 0..50 {
            let mut random = crate::base::random::stream(seed, "placement");
            let plain = place(&candidates(&[None, None, None]), 3, 3, &mut random);
            let mut leaders: Vec<i32> = plain.iter().map(|replicas| replicas[0].0).collect();
            leaders.sort_unstable();
            assert_eq!(leaders, [1, 2, 3]);
            let racked = candidates(&[Some("a"), Some("a"), Some("b"), Some("b")]);
            for replicas in place(&racked, 8, 2, &mut random) {
                let rack = |id: NodeId| &racked[id.0 as usize - 1].rack;
                assert_ne!(rack(replicas[0]), rack(replicas[1]), "{replicas:?}");
            }
        }
    }
}
