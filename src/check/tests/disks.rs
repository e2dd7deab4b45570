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
