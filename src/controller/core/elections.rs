//! Who leads a partition, as a function of its registration and of who is alive.
//!
//! | election | order |
//! |---|---|
//! | online | the leader stays if it is in the ISR and alive; else the first replica that is; else, if allowed, unclean |
//! | preferred | the first replica if it is in the ISR and alive; else nothing changes |
//! | unclean | as online, and unclean is allowed |
//!
//! An unclean leader is the first live replica in the order of assignment, not the longest log (KAFKA-10751); it
//! becomes the only member of the ISR. A broker that is not alive leaves the ISR, unless it is the last member: the ISR
//! is never empty, so that it says who has everything.

use crate::{
    base::{NodeId, TopicId},
    controller::image::PartitionRegistration,
    protocol::metadata::PartitionChange,
    trace::Election,
};

/// Which election is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Because something changed.
    Online,
    /// Asked for: back to the first replica.
    Preferred,
    /// Asked for: whatever it costs.
    Unclean,
}

/// Who may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `unclean.leader.election.enable`: a replica outside the ISR, if nobody in it is alive.
    pub unclean: bool,
    /// Planted bug: anyone, as if in the ISR.
    pub anyone: bool,
}

/// The change that an election makes, or `None` where nothing changes.
pub fn elect(
    (topic_id, partition): (TopicId, i32),
    registration: &PartitionRegistration,
    kind: Kind,
    rules: Rules,
    alive: impl Fn(NodeId) -> bool,
) -> Option<(PartitionChange, Election)> {
    let live: Vec<NodeId> = registration.isr.iter().copied().filter(|member| alive(*member)).collect();
    let isr = if live.is_empty() { last_member(registration) } else { live };
    let electable = |node: &NodeId| (isr.contains(node) || rules.anyone) && alive(*node);
    let preferred = registration.replicas.first().copied().filter(electable);
    let current = Some(registration.leader).filter(electable);
    let clean = match kind {
        Kind::Preferred => preferred.or(current),
        Kind::Online | Kind::Unclean => current,
    };
    let clean = clean.or_else(|| registration.replicas.iter().copied().find(electable));
    let unclean = || {
        let allowed = rules.unclean || kind == Kind::Unclean;
        registration.replicas.iter().copied().find(|replica| allowed && alive(*replica))
    };
    let (leader, election) = match clean {
        Some(leader) if leader == registration.leader => (leader, Election::None),
        Some(leader) if kind == Kind::Preferred => (leader, Election::Preferred),
        Some(leader) => (leader, Election::Clean),
        None => match unclean() {
            Some(leader) => (leader, Election::Unclean),
            None => (NodeId::NONE, Election::Offline),
        },
    };
    let isr = match election {
        Election::Unclean => vec![leader],
        _ if rules.anyone && leader != NodeId::NONE && !isr.contains(&leader) => vec![leader],
        _ => isr,
    };
    let change = PartitionChange {
        partition,
        topic_id,
        isr: (isr != registration.isr).then_some(isr),
        leader: (leader != registration.leader).then_some(leader),
        ..PartitionChange::default()
    };
    (change.isr.is_some() || change.leader.is_some()).then_some((change, election))
}

/// Who stays in an ISR all of whose members are gone: the leader if it is among them, as it left last.
fn last_member(registration: &PartitionRegistration) -> Vec<NodeId> {
    match registration.isr.contains(&registration.leader) {
        true => vec![registration.leader],
        false => registration.isr.clone(),
    }
}
