//! What disks do to records: what was injected is excused, and nothing beyond it.

use super::{BEGIN, COMMIT_0, check, violated};
use crate::check::{Claim, Status};

#[test]
fn a_power_loss_while_writing_is_excused_as_any_other_and_a_killed_process_is_not() {
    let returns = "
        b2 up 2
        b2 load t-0 hw=0
        c1 chose t-0 leader=2 epoch=1 isr=2 election=clean
        b2 leads t-0 epoch=1 hw=0";
    let torn = "
        b1 torn
        b2 torn
        b3 power";
    check(&[BEGIN, COMMIT_0, torn, returns], Claim::CommittedPrefixKept, Status::Held, "a power loss of every");
    let killed = torn.replace("b2 torn", "b2 kill");
    violated(&[BEGIN, COMMIT_0, &killed, returns], Claim::CommittedPrefixKept, "without the committed records [0, 1)");
    let with_others = returns.replace("isr=2 ", "isr=2,3 ");
    let one = torn.replace("b3 power", "");
    violated(&[BEGIN, COMMIT_0, &one, &with_others], Claim::CommittedPrefixKept, "b2 leads epoch 1");
}

#[test]
fn a_hole_is_excused_where_a_disk_lied_before_the_power_went_and_nowhere_else() {
    let lie = "
        scenario fault disk b3 lost-sync";
    let returns = "
        b1 append t-0 leader e0 1..2
        b2 append t-0 follower e0 1..2
        b3 append t-0 follower e0 1..2
        b1 hw t-0 leader e0 2
        b3 power
        c1 chose t-0 leader=1 epoch=0 isr=1,2 election=none
        b3 up 2
        b3 load t-0 hw=2 1..2
        b3 follows t-0 leader=1 epoch=0 hw=2
        b3 hw t-0 follower e0 2";
    let (agree, kept) = (Claim::LogsAgreeBelowHw, Claim::CommittedPrefixKept);
    check(&[BEGIN, COMMIT_0, lie, returns], agree, Status::Held, "");
    violated(&[BEGIN, COMMIT_0, returns], agree, "at offset 0, b3 has nothing");
    let other = returns.replace("hw=2 1..2", "hw=2 0..1:x 1..2");
    violated(&[BEGIN, COMMIT_0, lie, &other], agree, "at offset 0, b3 has batch");

    let leads = "
        c1 chose t-0 leader=3 epoch=1 isr=3 election=clean
        b3 leads t-0 epoch=1 hw=2";
    check(&[BEGIN, COMMIT_0, lie, returns, leads], kept, Status::Held, "");
    violated(&[BEGIN, COMMIT_0, returns, leads], kept, "b3 leads epoch 1");
}
