//! `groups` against a node: tables with the columns of Kafka's own tool, and what is refused.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    client_commands::{check, check_refused, run},
    serve::Serving,
};

/// A table without the blanks at the ends of its lines.
fn table(lines: &[&str]) -> String {
    format!("\n{}\n", lines.join("\n"))
}

/// A node with a topic of two partitions, of which the first has three records, and a group that has read them.
fn with_group() -> Serving {
    let node = Serving::start(&["--set", "group.initial.rebalance.delay.ms=0"]);
    let at = &node.address;
    check(at, &["topics", "create", "orders", "--partitions", "2"], "", "created orders\n", "");
    check(at, &["produce", "orders", "--partition", "0"], "a\nb\nc\n", "", "3 records stored in orders\n");
    let read = ["consume", "orders", "--group", "billing", "--from-beginning", "--max-messages", "3"];
    check(at, &read, "", "a\nb\nc\n", "");
    node
}

const NOBODY: &str = "\nConsumer group 'billing' has no active members.\n";

#[test]
fn a_group_without_members_is_listed_described_reset_and_deleted() {
    let node = with_group();
    let at = &node.address;
    check(at, &["groups", "list"], "", "billing\n", "");
    let heads = "GROUP                     TYPE                 STATE\n";
    let listed = format!("{heads}billing                   Classic              Empty\n");
    check(at, &["groups", "list", "--state", "--type"], "", &listed, "");
    check(at, &["groups", "list", "--state", "stable, EMPTY", "--type", "classic"], "", &listed, "");
    check(at, &["groups", "list", "--state", "Stable", "--type"], "", heads, "");
    check(at, &["groups", "list", "--state", "--type", "consumer"], "", heads, "");
    check_refused(at, &["groups", "list", "--state", "idle"], "", 64, &["--state takes Stable, Empty", "not `idle`"]);

    let described = table(&[
        "GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID",
        "billing         orders          0          3               3               0               -               -               -",
        "billing         orders          1          0               0               0               -               -               -",
    ]);
    check(at, &["groups", "describe", "billing"], "", &described, NOBODY);
    let members = table(&["GROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS"]);
    check(at, &["groups", "describe", "billing", "--members"], "", &members, NOBODY);

    let planned = table(&[
        "GROUP           TOPIC           PARTITION  NEW-OFFSET",
        "billing         orders          0          2",
    ]);
    let reset = ["groups", "reset-offsets", "billing", "--topic", "orders:0", "--shift-by", "-1"];
    check(at, &reset, "", &planned, "nothing was changed; add --execute to do it\n");
    check(at, &[&reset[..], &["--execute"]].concat(), "", &planned, "");
    let lags = described.replace("3               3               0 ", "2               3               1 ");
    check(at, &["groups", "describe", "billing"], "", &lags, NOBODY);

    let deleted = table(&["TOPIC           PARTITION  STATUS", "orders          1          Successful"]);
    check(at, &["groups", "delete-offsets", "billing", "--topic", "orders:1"], "", &deleted, "");
    check(at, &["groups", "delete", "billing"], "", "deleted billing\n", "");
    check(at, &["groups", "list"], "", "", "");
    let missing = ["there is no group `billing`", "groups list --bootstrap-server", at];
    check_refused(at, &["groups", "describe", "billing"], "", 1, &missing);
    check_refused(at, &["groups", "delete", "billing"], "", 1, &missing);
}

#[test]
fn a_group_with_members_shows_them_and_is_neither_reset_nor_deleted() {
    for protocol in ["classic", "consumer"] {
        let node = with_group();
        let at = &node.address;
        let mut member = Command::new(env!("CARGO_BIN_EXE_highwater"));
        member.args(["consume", "orders", "--group", "billing", "--bootstrap-server", at]);
        member.args(["--set", &format!("group.protocol={protocol}"), "--set", "group.instance.id=i"]);
        let mut member = member.stdout(Stdio::null()).spawn().expect("highwater runs");
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_stable = || run(at, &["groups", "describe", "billing", "--state"], "").stdout().contains("Stable");
        while !is_stable() {
            assert!(Instant::now() < deadline, "the member does not come");
            std::thread::sleep(Duration::from_millis(50));
        }
        let rows = |args: &[&str]| -> Vec<Vec<String>> {
            let described = run(at, &[&["groups", "describe", "billing"], args].concat(), "");
            let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
            described.stdout().lines().skip(2).map(words).collect()
        };
        let offsets = rows(&[]);
        assert_eq!(offsets.len(), 2);
        assert_eq!(offsets[0][..6], ["billing", "orders", "0", "3", "3", "0"]);
        assert_eq!(offsets[0][7], "/127.0.0.1");
        let members = rows(&["--members", "--verbose"]);
        assert_eq!((members.len(), &members[0][1], &*members[0][2]), (1, &offsets[0][6], "i"));
        assert!(members[0].contains(&"orders:0,1".to_owned()), "{members:?}");
        let (assignor, epochs) = match protocol {
            "classic" => ("range", ["-", "-"]),
            _ => ("uniform", ["2", "2"]),
        };
        let state = &rows(&["--state", "--verbose"])[0];
        assert_eq!(state[2..], ["(1)", assignor, "Stable", epochs[0], epochs[1], "1"]);

        let kept = ["has members", "--members --bootstrap-server"];
        check_refused(at, &["groups", "delete", "billing"], "", 1, &kept);
        let reset = ["groups", "reset-offsets", "billing", "--all-topics", "--to-earliest", "--execute"];
        check_refused(at, &reset, "", 1, &["while group `billing` has no members", "it is Stable"]);
        let read = run(at, &["groups", "delete-offsets", "billing", "--topic", "orders:0"], "");
        assert!(read.stdout().contains("Error: GROUP_SUBSCRIBED_TO_TOPIC"), "{read:?}");
        member.kill().expect("a process of ours");
        member.wait().expect("a process of ours");
    }
}
