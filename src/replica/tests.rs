//! The leader core under tables of inputs and random schedules; where followers cut.

use std::{collections::BTreeMap, time::Duration};

use proptest::{prelude::*, strategy::ValueTree};

use super::*;
use crate::base::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, Switches, Time};

const LAG: Duration = Duration::from_millis(1000);

fn at(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn active(ids: &[i32]) -> ActiveBrokers {
    nodes(ids).into_iter().map(|id| (id, BrokerEpoch(1))).collect::<BTreeMap<_, _>>().into()
}

fn leader(isr: &[i32], min_insync: usize, switches: Switches) -> Leader {
    Leader::new(start(isr, min_insync, switches), at(0))
}

fn start(isr: &[i32], min_insync: usize, switches: Switches) -> LeaderStart {
    LeaderStart {
        node: NodeId(1),
        epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        adding: Vec::new(),
        replicas: nodes(&[1, 2, 3]),
        isr: nodes(isr),
        end: Offset(10),
        high_watermark: Offset(10),
        active: active(&[1, 2, 3]),
        min_insync,
        lag_max: LAG,
        switches,
    }
}

fn fetch(leader: &mut Leader, follower: i32, offset: i64, ms: u64) -> Option<Vec<i32>> {
    let proposal = leader.fetched(NodeId(follower), Offset(offset), BrokerEpoch(1), at(ms));
    proposal.map(|proposal| proposal.isr.iter().map(|(id, _)| id.0).collect())
}

#[test]
fn the_high_watermark_is_the_smallest_end_in_the_isr() {
    let mut leader = leader(&[1, 2, 3], 1, Switches::NEWEST);
    leader.appended(Offset(15), at(1));
    assert_eq!((leader.high_watermark(), leader.ack(Offset(15))), (Offset(10), Ack::Wait));
    fetch(&mut leader, 2, 15, 2);
    fetch(&mut leader, 3, 12, 3);
    assert_eq!(leader.high_watermark(), Offset(12));
    fetch(&mut leader, 3, 15, 4);
    assert_eq!((leader.high_watermark(), leader.ack(Offset(15))), (Offset(15), Ack::Done));
}

#[test]
fn a_lagging_follower_is_proposed_out_and_counts_until_that_is_committed() {
    let mut leader = leader(&[1, 2, 3], 1, Switches::NEWEST);
    leader.appended(Offset(15), at(1));
    fetch(&mut leader, 2, 15, 900);
    assert_eq!(leader.check_lag(at(1000)), None);
    let proposal = leader.check_lag(at(1002)).unwrap();
    assert_eq!(proposal.isr.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(leader.check_lag(at(1002)), None, "one proposal at a time");
    assert_eq!(leader.high_watermark(), Offset(10));
    assert!(leader.committed(&nodes(&[1, 2]), PartitionEpoch(1), at(1003)));
    assert_eq!(leader.high_watermark(), Offset(15));
    assert!(!leader.committed(&nodes(&[1, 2, 3]), PartitionEpoch(1), at(1004)), "old news");
}

#[test]
fn a_proposal_of_which_metadata_told_is_not_awaited_any_more() {
    let mut leader = leader(&[1, 2, 3], 1, Switches::NEWEST);
    leader.appended(Offset(15), at(1));
    fetch(&mut leader, 2, 15, 900);
    let first = leader.check_lag(at(1002)).unwrap();
    assert!(leader.awaits(&first));
    leader.committed(&nodes(&[1, 2]), PartitionEpoch(1), at(1003));
    assert!(!leader.awaits(&first));
    leader.appended(Offset(20), at(1500));
    let second = leader.check_lag(at(5000)).unwrap();
    assert!(leader.awaits(&second) && !leader.awaits(&first), "an answer to the first says nothing of the second");
}

#[test]
fn a_follower_joins_at_the_high_watermark_and_the_begin_of_the_epoch() {
    let mut leader = leader(&[1], 1, Switches::NEWEST);
    leader.appended(Offset(15), at(1));
    assert_eq!(leader.high_watermark(), Offset(15));
    assert_eq!(fetch(&mut leader, 2, 14, 2), None);
    assert_eq!(fetch(&mut leader, 2, 15, 3), Some(vec![1, 2]));
    leader.appended(Offset(20), at(4));
    assert_eq!(leader.high_watermark(), Offset(15), "the joining follower may be in the ISR already");
    leader.refused(false, at(5000));
    assert_eq!(leader.high_watermark(), Offset(20));
}

#[test]
fn a_refusal_ends_no_doubt_about_an_attempt_that_was_not_answered() {
    let mut leader = leader(&[1], 1, Switches::NEWEST);
    assert_eq!(fetch(&mut leader, 2, 10, 1), Some(vec![1, 2]));
    leader.refused(true, at(2));
    leader.appended(Offset(15), at(5000));
    assert_eq!(leader.high_watermark(), Offset(10), "the attempt may be applied any moment");
    assert_eq!(fetch(&mut leader, 3, 15, 5001), Some(vec![1, 3]), "another ISR may be asked for");
    assert!(leader.committed(&nodes(&[1, 3]), PartitionEpoch(1), at(5002)));
    assert_eq!(leader.high_watermark(), Offset(15), "the attempt was made in an older partition epoch");
}

#[test]
fn below_min_insync_nothing_is_acknowledged_and_the_high_watermark_stays() {
    let mut leader = leader(&[1, 2], 2, Switches::NEWEST);
    assert!(leader.has_enough_replicas());
    leader.appended(Offset(12), at(1));
    assert!(leader.committed(&nodes(&[1]), PartitionEpoch(1), at(2)));
    assert!(!leader.has_enough_replicas());
    assert_eq!((leader.high_watermark(), leader.ack(Offset(12))), (Offset(10), Ack::Wait));
    assert_eq!(leader.ack(Offset(10)), Ack::NotEnoughReplicas);
}

/// Today's behaviour but for one switch.
fn without(switch: &str) -> Switches {
    let mut switches = Switches::NEWEST;
    let oldest = if switch == "isr_change" { "committed" } else { "false" };
    switches.set(switch, oldest).unwrap();
    switches
}

/// Runs a story on a leader of today and on one without the fix.
fn today_and_before<T>(switch: &str, story: impl Fn(Switches) -> T) -> (T, T) {
    (story(Switches::NEWEST), story(without(switch)))
}

#[test]
fn a_pending_member_holds_the_high_watermark_since_the_maximal_isr() {
    let story = |switches| {
        let mut leader = leader(&[1, 2], 1, switches);
        fetch(&mut leader, 2, 10, 1);
        assert_eq!(fetch(&mut leader, 3, 10, 2), Some(vec![1, 2, 3]));
        leader.appended(Offset(12), at(3));
        fetch(&mut leader, 2, 12, 5000);
        leader.high_watermark()
    };
    assert_eq!(today_and_before("isr_change", story), (Offset(10), Offset(12)));
}

#[test]
fn a_follower_had_only_to_reach_the_high_watermark_before_it_needed_the_begin_of_the_epoch() {
    let story = |switches| {
        let start = LeaderStart { high_watermark: Offset(5), ..start(&[1, 2], 1, switches) };
        let mut leader = Leader::new(start, at(0));
        fetch(&mut leader, 3, 5, 1)
    };
    assert_eq!(today_and_before("isr_join_needs_leso", story), (None, Some(vec![1, 2, 3])));
}

#[test]
fn a_follower_that_has_everything_lagged_once_when_it_did_not_fetch() {
    let story = |switches| {
        let mut leader = leader(&[1, 2], 1, switches);
        fetch(&mut leader, 2, 10, 1);
        leader.check_lag(at(2000)).is_some()
    };
    assert_eq!(today_and_before("idle_followers_stay", story), (false, true));
}

#[test]
fn a_shrunk_isr_moved_the_high_watermark_only_at_the_next_fetch_once() {
    let story = |switches| {
        let mut leader = leader(&[1, 2], 1, switches);
        leader.appended(Offset(12), at(1));
        leader.committed(&nodes(&[1]), PartitionEpoch(1), at(5000));
        leader.high_watermark()
    };
    assert_eq!(today_and_before("hw_after_alter_partition", story), (Offset(12), Offset(10)));
}

#[test]
fn the_high_watermark_passed_records_with_too_few_copies_once() {
    let story = |switches| {
        let mut leader = leader(&[1, 2], 2, switches);
        leader.appended(Offset(12), at(1));
        leader.committed(&nodes(&[1]), PartitionEpoch(1), at(5000));
        (leader.high_watermark(), leader.ack(Offset(12)))
    };
    let before = (Offset(12), Ack::NotEnoughReplicas);
    assert_eq!(today_and_before("hw_strict_min_isr", story), ((Offset(10), Ack::Wait), before));
    let more_than_there_are = |switches| leader(&[1, 2, 3], 4, switches).has_enough_replicas();
    assert_eq!(today_and_before("hw_strict_min_isr", more_than_there_are), (true, false));
}

#[test]
fn a_fenced_follower_neither_joins_nor_holds_the_high_watermark() {
    let story = |switches| {
        let mut leader = leader(&[1, 2], 1, switches);
        fetch(&mut leader, 2, 10, 1);
        leader.set_active(active(&[1]));
        leader.committed(&nodes(&[1]), PartitionEpoch(1), at(2));
        leader.appended(Offset(12), at(3));
        (leader.high_watermark(), fetch(&mut leader, 2, 12, 4))
    };
    let today = (Offset(12), None);
    assert_eq!(today_and_before("isr_excludes_fenced", story), (today.clone(), (Offset(10), Some(vec![1, 2]))));
    assert_eq!(today_and_before("hw_skips_ineligible", story), (today, (Offset(10), None)));
}

#[test]
fn only_the_registered_incarnation_joins_since_fetches_carry_it() {
    let story = |switches| {
        let mut leader = leader(&[1], 1, switches);
        leader.fetched(NodeId(2), Offset(10), BrokerEpoch(7), at(1)).is_some()
    };
    assert_eq!(today_and_before("isr_checks_broker_epoch", story), (false, true));
}

#[test]
fn a_follower_cuts_where_the_epochs_part() {
    let pair = |(epoch, end): (i32, i64)| (LeaderEpoch(epoch), Offset(end));
    let cases = [
        ((3, 10), (3, 12), 10, "same epoch, longer here"),
        ((3, 12), (3, 10), 10, "same epoch, longer there"),
        ((3, 12), (2, 8), 8, "older epoch here: ask again"),
        ((3, 12), (-1, -1), 12, "nothing that old here"),
        ((-1, -1), (-1, -1), 5, "epochs cannot help: own high watermark"),
    ];
    for (theirs, own, expected, why) in cases {
        assert_eq!(truncation_offset(pair(theirs), pair(own), Offset(5), Offset(20)), Offset(expected), "{why}");
    }
    assert_eq!(diverging_epoch(LeaderEpoch(2), Offset(9), pair((2, 9))), None);
    assert_eq!(diverging_epoch(LeaderEpoch(2), Offset(9), pair((2, 8))), Some(pair((2, 8))));
    assert_eq!(diverging_epoch(LeaderEpoch(2), Offset(9), pair((1, 20))), Some(pair((1, 20))));
}

#[derive(Clone, Debug)]
enum Input {
    Append(i64),
    Fetch(i32, i64),
    CheckLag,
    Commit(bool),
    /// The attempt is not answered, and the network keeps it.
    TimeOut,
    /// The newest attempt reaches the controller, which finds a member ineligible.
    Refuse,
    /// What the network kept reaches the controller.
    ArriveLate,
    Wait(u64),
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let input = prop_oneof![
        (1..4i64).prop_map(Input::Append),
        (2..4i32, 0..6i64).prop_map(|(follower, behind)| Input::Fetch(follower, behind)),
        Just(Input::CheckLag),
        any::<bool>().prop_map(Input::Commit),
        Just(Input::TimeOut),
        Just(Input::Refuse),
        Just(Input::ArriveLate),
        (1..1500u64).prop_map(Input::Wait),
    ];
    prop::collection::vec(input, 1..60)
}

/// What the controller makes of a proposal.
fn take(proposal: &Proposal, epoch: &mut i32, isr: &mut Vec<NodeId>) {
    if proposal.partition_epoch.0 == *epoch {
        *epoch += 1;
        *isr = proposal.isr.iter().map(|(id, _)| *id).collect();
    }
}

/// Runs `inputs` on a leader with true followers beside it; an acknowledged offset that a member of the controller's
/// ISR lacks is a violation.
fn violates(inputs: &[Input], switches: Switches) -> bool {
    let mut leader = leader(&[1, 2, 3], 1, switches);
    let (mut now, mut end, mut epoch) = (0, 10, 0);
    let mut ends = [0, 0, 10, 10];
    let mut controller_isr = nodes(&[1, 2, 3]);
    let mut pending: Option<Proposal> = None;
    let (mut kept, mut in_doubt) = (Vec::<Proposal>::new(), false);
    for input in inputs {
        now += 1;
        let proposal = match input {
            Input::Append(count) => {
                end += count;
                leader.appended(Offset(end), at(now));
                None
            }
            Input::Fetch(follower, behind) => {
                let known = &mut ends[*follower as usize];
                *known = (*known).max(end - behind);
                leader.fetched(NodeId(*follower), Offset(*known), BrokerEpoch(1), at(now))
            }
            Input::CheckLag => leader.check_lag(at(now)),
            Input::Commit(answer_arrives) => {
                let asked = pending.take();
                let told = asked.is_none() || *answer_arrives;
                asked.into_iter().for_each(|proposal| take(&proposal, &mut epoch, &mut controller_isr));
                if told {
                    leader.committed(&controller_isr, PartitionEpoch(epoch), at(now));
                }
                None
            }
            Input::TimeOut => {
                in_doubt |= pending.is_some();
                kept.extend(pending.clone());
                None
            }
            Input::Refuse => {
                if pending.take().is_some() {
                    leader.refused(in_doubt, at(now));
                }
                None
            }
            Input::ArriveLate => {
                kept.drain(..).for_each(|proposal| take(&proposal, &mut epoch, &mut controller_isr));
                None
            }
            Input::Wait(ms) => {
                now += ms;
                None
            }
        };
        in_doubt &= proposal.is_none();
        pending = proposal.or(pending);
        let acked = (0..=end).rev().find(|offset| leader.ack(Offset(*offset)) == Ack::Done).unwrap_or(0);
        let promised = leader.high_watermark().0.max(acked);
        if controller_isr.iter().any(|id| id.0 != 1 && ends[id.0 as usize] < promised) {
            return true;
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_promised_is_on_every_member_of_the_controllers_isr(inputs in inputs()) {
        prop_assert!(!violates(&inputs, Switches::NEWEST));
    }
}

#[test]
fn each_planted_bug_of_the_leader_breaks_that_promise() {
    let bugs = ["bug_ack_before_isr", "bug_hw_ignores_one_isr_member", "bug_isr_expands_early"];
    for bug in bugs {
        let mut switches = Switches::NEWEST;
        switches.set(bug, "true").unwrap();
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let found = (0..5000).any(|_| {
            let tree = inputs().new_tree(&mut runner).unwrap();
            violates(&tree.current(), switches)
        });
        assert!(found, "{bug} was not noticed");
    }
}
