//! A member in the consumer protocol (KIP-848).

use super::*;

#[test]
fn in_the_consumer_protocol_giving_up_comes_first_and_is_told_at_once() {
    let mut play = Play::modern(&[]);
    assert!(matches!(play.membership.next(play.now), Step::Wait(Some(at)) if at == play.now + 5 * SECOND));
    play.pass(5 * SECOND);
    let unchanged = play.beat();
    assert_eq!((unchanged.topic_partitions, unchanged.subscribed_topic_names), (None, None));
    play.assign(4, &[1]);
    assert_eq!(play.take(), partitions(&[1]));
    let told = play.beat().topic_partitions.expect("it tells what it has");
    assert_eq!(told[0].partitions, [1]);
    play.assign(5, &[]);
    assert_eq!(play.take(), vec![]);
    assert_eq!(play.beat().topic_partitions, Some(vec![]));
    play.assign(6, &[1]);
    play.pass(5 * SECOND);
    assert_eq!(play.beat().topic_partitions, None, "the application has not taken it yet");
    play.assign(6, &[]);
    assert_eq!(play.beat().topic_partitions, Some(vec![]), "asked back before it was taken, it is given up at once");
    assert_eq!(play.membership.identity().epoch, 6);
}

#[test]
fn a_heartbeat_without_answer_is_followed_by_one_that_says_everything() {
    for a_commit_fails_first in [false, true] {
        let mut play = Play::modern(&[]);
        play.pass(5 * SECOND);
        play.beat();
        if a_commit_fails_first {
            play.membership.coordinator.lost_at(play.now, "h:9");
        }
        play.membership.answered(play.now, Err(gone()));
        play.pass(SECOND);
        play.find();
        let whole = play.beat();
        assert_eq!((whole.member_epoch, whole.rebalance_timeout_ms), (3, 60000));
        assert_eq!(whole.topic_partitions.map(|topics| topics[0].partitions.clone()), Some(vec![0, 1]));
        assert_eq!(whole.subscribed_topic_names.map(|topics| topics.len()), Some(1));
    }
}

#[test]
fn what_a_member_said_that_it_has_stays_true_until_the_answer_is_here() {
    let mut play = Play::modern(&[]);
    play.assign(4, &[]);
    assert_eq!(play.take(), vec![]);
    play.beat();
    play.assign(5, &[1]);
    play.pass(5 * SECOND);
    play.beat();
    play.membership.answered(play.now, Err(gone()));
    play.pass(SECOND);
    play.find();
    let whole = play.beat();
    assert_eq!(whole.topic_partitions, Some(vec![]), "the application has not taken it yet");
    assert_eq!(play.demand(), None, "the coordinator hears that nobody has it, and may give it to another");
    play.membership.answered(play.now, Err(gone()));
    assert_eq!(play.demand(), None, "it may have heard");
    play.pass(SECOND);
    play.find();
    play.beat();
    play.answer(ResponseKind::ConsumerGroupHeartbeat(alive(5)));
    assert_eq!(play.demand(), Some(Demand::Apply(partitions(&[1]))), "it is still this member's");
    play.pass(5 * SECOND);
    play.beat();
    play.membership.answered(play.now, Err(gone()));
    play.pass(SECOND);
    play.find();
    let whole = play.beat().topic_partitions.expect("everything is said");
    assert_eq!(whole[0].partitions, [1], "the application is about to have it");
}

#[test]
fn a_member_does_not_give_up_what_it_cannot_name_yet() {
    let mut play = Play::new(&[("group.protocol", "consumer")]);
    play.find();
    play.beat();
    play.assign(3, &[]);
    play.pass(5 * SECOND);
    play.beat();
    play.assign(4, &[0]);
    let Step::Names(ids) = play.membership.next(play.now) else { panic!("names are asked for") };
    play.pass(5 * SECOND);
    play.membership.names(play.now, ids.into_iter().map(|id| (id, Arc::from("t"))).collect());
    assert_eq!(play.beat().topic_partitions, None);
    assert_eq!(play.take(), partitions(&[0]));
}

#[test]
fn a_fenced_member_loses_what_it_has_and_joins_with_epoch_0() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId] {
        let mut play = Play::modern(&[]);
        play.pass(5 * SECOND);
        play.beat();
        play.answer(ResponseKind::ConsumerGroupHeartbeat(refused(code)));
        assert_eq!(play.membership.next(play.now), Step::Wait(None), "{code}: until the application has heard of it");
        assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: partitions(&[0, 1]), lost: true }), "{code}");
        play.membership.given_up(play.now, vec![]);
        let again = play.beat();
        assert_eq!((again.member_epoch, &*again.member_id, again.topic_partitions), (0, "me", Some(vec![])), "{code}");
    }
}

#[test]
fn what_a_member_takes_while_it_is_fenced_it_loses() {
    let mut play = Play::modern(&[]);
    play.assign(4, &[1, 2]);
    assert_eq!(play.demand(), Some(Demand::Apply(partitions(&[1, 2]))));
    play.pass(5 * SECOND);
    play.beat();
    play.answer(ResponseKind::ConsumerGroupHeartbeat(refused(ErrorCode::FencedMemberEpoch)));
    play.membership.applied(play.now, partitions(&[1, 2]), true);
    assert_eq!(play.demand(), Some(Demand::GiveUp { partitions: partitions(&[1, 2]), lost: true }));
    play.membership.given_up(play.now, vec![]);
    assert_eq!(play.beat().topic_partitions, Some(vec![]));
}
