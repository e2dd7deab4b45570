//! Static members, and members that cannot be thrown out.

use super::*;

#[test]
fn a_static_member_keeps_its_place_while_it_is_away() {
    let mut desk = desk(&[("t", 2)]);
    let first = || Says { instance: Some("i"), ..subscribes(&["t"]) };
    let again = Says { instance: Some("i"), ..SAME };
    desk.check_beats(&[
        ("m", 0, first(), Ok((2, "t:0.1"))),
        ("n", 0, first(), Err(ErrorCode::UnreleasedInstanceId)),
        ("m", -2, Says { instance: Some("i"), ..SAME }, Ok((-2, "-"))),
        ("n", 0, first(), Ok((2, "t:0.1"))),
        ("m", 2, Says { instance: Some("i"), ..SAME }, Err(ErrorCode::FencedInstanceId)),
        ("m", -1, Says { instance: Some("i"), ..SAME }, Err(ErrorCode::FencedInstanceId)),
        ("n", 2, Says { instance: Some("j"), ..SAME }, Err(ErrorCode::UnknownMemberId)),
        ("n", 2, again, Ok((2, "-"))),
        ("n", -2, Says { instance: Some("i"), ..SAME }, Ok((-2, "-"))),
    ]);
    desk.sleep(46);
    assert_eq!(desk.consumer_state(), "Empty", "it stayed away for too long");
}

#[test]
fn a_static_member_that_goes_before_it_has_given_up_its_partitions_has_its_session_to_come_back() {
    let mut desk = desk(&[("t", 2)]);
    let of_i = |says| Says { instance: Some("i"), ..says };
    desk.check_beats(&[("m", 0, of_i(subscribes(&["t"])), Ok((2, "t:0.1")))]);
    desk.sleep(1);
    desk.check_beats(&[
        ("n", 0, subscribes(&["t"]), Ok((3, ""))),
        ("m", 2, of_i(SAME), Ok((2, "t:0"))),
        ("m", -2, of_i(SAME), Ok((-2, "-"))),
    ]);
    // Longer than it would have had to give them up.
    desk.sleep(30);
    desk.check_beats(&[("n", 3, SAME, Ok((3, "t:1"))), ("o", 0, of_i(subscribes(&["t"])), Ok((3, "t:0")))]);
}

#[test]
fn who_cannot_be_thrown_out_since_nothing_can_be_written_is_thrown_out_later() {
    let mut desk = desk(&[("t", 1)]);
    let joins = [("a", 0, Says { instance: Some("i"), ..subscribes(&["t"]) }, Ok((2, "t:0")))];
    desk.check_beats(&joins);
    desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
    desk.sleep(50);
    assert_eq!(desk.consumer_state(), "Stable", "its session is over, and nobody knows");
    desk.append_fails = None;
    desk.sleep(1);
    assert_eq!(desk.consumer_state(), "Empty");

    // Nor is one that leaves, or whose place another takes, forgotten.
    for (member, epoch, says) in [("a", -1, SAME), ("b", 0, subscribes(&["t"]))] {
        let of_i = |says| Says { instance: Some("i"), ..says };
        let epoch_now = desk.beat("a", 0, &of_i(subscribes(&["t"]))).expect("it joins").0;
        if epoch == 0 {
            desk.beat("a", -2, &of_i(SAME)).expect("it goes for a while");
        }
        desk.append_fails = Some(ErrorCode::NotEnoughReplicas);
        assert!(desk.beat(member, epoch, &of_i(says)).is_err(), "{member} in epoch {epoch_now}");
        desk.append_fails = None;
        assert_ne!(desk.consumer_state(), "Empty");
        desk.sleep(45);
        assert_eq!(desk.consumer_state(), "Empty", "{member}");
    }
}
