//! Faulty files: each message says where, what was expected and which word is near.

use super::checked;

/// A scenario without fault; the faults below are changes of it.
const SOUND: &str = r#"kafka      = "4.1"
title      = "a story"
seed       = 7
deadline   = "60s"
must_reach = ["clean_election"]
era        = "0.11"
switch     = { truncate = "leader-epoch" }

[cluster]
brokers = 3
racks   = ["r1", "r1", "r2"]
config  = { "replica.lag.time.max.ms" = 2000 }

[[topic]]
name     = "orders"
replicas = [["b1", "b2", "b3"], ["b2", "b3"]]
config   = { "min.insync.replicas" = 2 }

[[client]]
name   = "p1"
send   = { topic = "orders", partition = 1, count = 12, every = "20ms", value = "o-{n}" }
config = { acks = "1" }

[[client]]
name = "r1"
read = { topic = "orders", from = "beginning" }

[[step]]
when = "hw(orders-0) >= 4"
do   = "cut leader(orders-0) | followers(orders-0)"

[[step]]
on     = "appended(orders-0, b1)"
within = "20s"
do     = "crash b1 kill; set orders.retention.ms=1000"

[[expect]]
claim = "acked-records-survive"
value = "violated"
lost  = { count = "1..8", cause = "leader-crashed-before-replication" }

[[variant]]
name   = "acks=all"
set    = { "client.p1.acks" = "all" }
expect = { no-duplicates = "held" }
steps  = { 2 = { do = "stop b1" } }

[[predict]]
before  = "step 2"
ask     = "How many?"
options = ["8", "5"]
answer  = "5"
why     = "So."
"#;

/// What stands in the sound file, what stands there instead, and the fault.
#[rustfmt::skip]
const FAULTS: &[(&str, &str, &str)] = &[
    // Keys.
    ("seed ", "sede ", "3:1: `sede` is not a key of a scenario; did you mean `seed`?"),
    ("[cluster]\nbrokers", "[cluster]\nbroker", "10:1: `broker` is not a key of [cluster]; did you mean `brokers`?"),
    ("[[step]]\nwhen", "[[step]]\nwenn", "29:1: `wenn` is not a key of [[step]]; did you mean `when`?"),
    ("within", "timeout", "34:1: `timeout` is not a key of [[step]]; expected one of: when, on, after, at, within, optional, do, note"),
    ("partition = 1", "partitoin = 1", "21:30: `partitoin` is not a key of `send`; did you mean `partition`?"),
    ("from = ", "start = ", "26:28: `start` is not a key of `read`; expected one of: topic, from"),
    ("cause = ", "reason = ", "40:27: `reason` is not a key of `lost`; expected one of: count, cause"),
    ("claim = ", "claims = ", "38:1: `claims` is not a key of [[expect]]; did you mean `claim`?"),
    ("{ do = \"stop b1\" }", "{ before = \"1s\" }", "46:18: `before` is not a key of a variant's step; expected one of: off, when, on, after, do, within, note"),
    ("[[topic]]", "[[topics]]", "14:3: `topics` is not a key of a scenario; did you mean `topic`?"),
    ("[[client]]\nname = \"r1\"", "[client]\nname = \"r1\"", "24:2: the table `client` is here twice; where there may be several, write [[step]]"),
    ("{ do = \"stop b1\" }", "{ after = \"1s\", when = \"hw(orders-0) >= 1\" }", "46:16: a step has one trigger: `when` and `on` together, or `after`"),
    // Missing keys.
    ("kafka      = \"4.1\"\n", "", r#"1:1: `kafka` is missing in a scenario; write kafka = "4.1""#),
    ("title      = \"a story\"\n", "", "1:1: `title` is missing in a scenario"),
    ("count = 12, ", "", "21:10: `count` is missing in `send`"),
    ("do   = \"cut leader(orders-0) | followers(orders-0)\"\n", "", "28:1: `do` is missing in [[step]]"),
    ("when = \"hw(orders-0) >= 4\"\n", "", "28:1: a step needs a trigger: `when`, `on`, `after` or `at`"),
    ("value = \"violated\"\n", "", "37:1: `value` is missing in [[expect]]"),
    ("read = { topic = \"orders\", from = \"beginning\" }\n", "", "24:1: a client has one of `send`, `read` and `consume`"),
    // Types.
    ("seed       = 7", "seed       = \"seven\"", "3:14: expected a number, 0 or more, found `seven`"),
    ("seed       = 7", "seed       = -7", "3:14: expected a number, 0 or more, found `-7`"),
    ("title      = \"a story\"", "title      = [\"a story\"]", "2:14: expected a text in quotes, found a list"),
    ("[\"clean_election\"]", "\"clean_election\"", "5:14: expected a list, found `clean_election`"),
    ("[[\"b1\", \"b2\", \"b3\"], [\"b2\", \"b3\"]]", "[\"b1\", \"b2\", \"b3\"]", r#"16:13: expected a list of brokers for each partition, as [["b1", "b2"]], found `b1`"#),
    ("{ acks = \"1\" }", "\"acks=1\"", "22:10: expected a table (name = value), found `acks=1`"),
    ("deadline   = \"60s\"", "deadline   = 60", r#"4:14: expected a time as "300ms", "5s" or "2m", found `60`"#),
    ("seed       = 7", "leave_broken = \"yes\"", "3:16: expected true or false, found `yes`"),
    // Values.
    ("\"4.1\"", "\"4.0\"", r#"1:15: expected `kafka = "4.1"`, found `4.0`"#),
    ("\"60s\"", "\"60 sec\"", "4:15: expected a time as 300ms, 5s or 2m, found `60 sec`"),
    ("\"60s\"", "\"0s\"", "4:15: expected a time above 0"),
    ("seed       = 7", "sweep = 0", "3:9: expected 1 to 1000000 seeds, found `0`"),
    ("seed       = 7", "sweep = 2_000_000", "3:9: expected 1 to 1000000 seeds, found `2000000`"),
    ("\"20ms\"", "\"20us\"", "21:66: expected a time as 300ms, 5s or 2m, found `20us`"),
    ("\"20s\"", "\"2000m\"", "34:11: expected at most a day (1440m), found `2000m`"),
    ("count = 12", "count = 0", "21:53: expected 1 to 1000000 records, found `0`"),
    ("\"o-{n}\"", "\"o\"", "21:82: a value needs `{n}`, so that every record can be told from the others"),
    ("\"beginning\"", "\"earliest\"", "26:36: expected `beginning` or `end`, found `earliest`"),
    ("brokers = 3", "brokers = 12", "10:11: expected 1 to 9 brokers, found `12`"),
    ("[\"r1\", \"r1\", \"r2\"]", "[\"r1\", \"r2\"]", "11:11: expected a rack for each of 3 brokers, found 2"),
    ("\"1..8\"", "\"8..1\"", r#"40:19: expected a number or a range as "2..4", found `8..1`"#),
    ("value = \"violated\"", "value = \"violate\"", "39:10: `violate` is not an expectation; did you mean `violated`?"),
    ("answer  = \"5\"", "answer  = \"6\"", "52:11: expected one of the options: 8, 5, found `6`"),
    ("before  = \"step 2\"", "before  = \"2\"", r#"49:12: expected a step as "step 3", found `2`"#),
    ("before  = \"step 2\"", "before  = \"step 3\"", "49:12: there is no step 3; the scenario has 2"),
    // Names.
    ("\"clean_election\"", "\"clean_elektion\"", "5:16: `clean_elektion` is not a mark; did you mean `clean_election`?"),
    ("\"0.11\"", "\"0.12\"", "6:15: era `0.12` is not known; known eras: 0.8, 0.10, 0.11, 1.1, 2.0, 2.8, 3.3, 3.6, 4.1, 4.3"),
    ("truncate = ", "trunkate = ", "7:16: `trunkate` is not a switch; did you mean `truncate`?"),
    ("\"leader-epoch\"", "\"leader_epoch\"", "7:16: switch `truncate` takes high-watermark or one-round or iterative or leader-epoch, not `leader_epoch`"),
    ("\"acked-records-survive\"", "\"acked-record-survives\"", "38:10: `acked-record-survives` is not a claim; did you mean `acked-records-survive`?"),
    ("no-duplicates", "no-duplicate", "45:12: `no-duplicate` is not a claim; did you mean `no-duplicates`?"),
    ("\"leader-crashed-before-replication\"", "\"leader-crashed\"", "40:36: `leader-crashed` is not a cause of loss; did you mean `leader-crashed-before-replication`?"),
    ("[\"b2\", \"b3\"]]", "[\"b2\", \"b4\"]]", "16:41: `b4` is not a broker; did you mean `b1`?"),
    ("[\"b2\", \"b3\"]]", "[\"b2\", \"b2\"]]", "16:41: `b2` is named twice"),
    ("[\"b2\", \"b3\"]]", "[]]", "15:13: partition 1 of `orders` has no replica"),
    ("topic = \"orders\", partition", "topic = \"order\", partition", "21:21: `order` is not a topic; did you mean `orders`?"),
    ("partition = 1", "partition = 2", "21:21: `orders` has no partition 2; it has 0 to 1"),
    ("name = \"r1\"", "name = \"p1\"", "25:9: the name `p1` is taken"),
    ("name = \"r1\"", "name = \"b1\"", "25:9: the name `b1` is taken"),
    ("name = \"r1\"", "name = \"stopped\"", "25:9: `stopped` means something in triggers and actions; choose another name"),
    ("name = \"r1\"", "name = \"r 1\"", "25:9: `r 1` is not a client's name: a letter, then letters, digits, `.`, `_`, `-`"),
    ("name     = \"orders\"", "name     = \"or ders\"", "15:13: `or ders` is not a topic's name: letters, digits, `.`, `_`, `-`"),
    ("[[client]]\nname   = \"p1\"", "[[topic]]\nname = \"orders\"\nreplicas = [[\"b1\"]]\n[[client]]\nname   = \"p1\"", "20:9: there are two topics `orders`"),
    ("[[client]]\nname   = \"p1\"", "[[topic]]\nname = \"unused\"\nreplicas = [[\"b1\"]]\n[[client]]\nname   = \"p1\"", "20:9: no client uses the topic `unused`"),
    ("[[predict]]", "[[variant]]\nname = \"acks=all\"\n[[predict]]", "49:9: there are two variants `acks=all`"),
    ("[[variant]]", "[[expect]]\nclaim = \"acked-records-survive\"\nvalue = \"held\"\n[[variant]]", "43:10: the claim `acked-records-survive` is expected twice"),
    ("claim = \"acked-records-survive\"", "claim = \"order-kept\"", "40:9: `lost` goes with the claim `acked-records-survive` and another value than `held`, and with `processed-at-least-once` and the value `any`"),
    ("value = \"violated\"", "value = \"held\"", "40:9: `lost` goes with the claim `acked-records-survive` and another value than `held`, and with `processed-at-least-once` and the value `any`"),
    // Settings.
    ("replica.lag.time.max.ms", "replica.lag.time.ms", "12:13: `replica.lag.time.ms` is not a property of brokers; did you mean `replica.lag.time.max.ms`?"),
    ("\"replica.lag.time.max.ms\" = 2000", "\"replica.lag.time.max.ms\" = \"2s\"", "12:13: replica.lag.time.max.ms: expected a number, found `2s`"),
    ("\"replica.lag.time.max.ms\" = 2000", "\"node.id\" = 5", "12:13: `node.id` is set by the scenario itself"),
    ("min.insync.replicas", "min.insync.replica", "17:14: `min.insync.replica` is not a topic's setting; did you mean `min.insync.replicas`?"),
    ("\"min.insync.replicas\" = 2", "\"min.insync.replicas\" = 0", "17:14: Invalid value 0 for configuration min.insync.replicas: Value must be at least 1"),
    ("acks = \"1\"", "acks = \"2\"", "22:12: acks: expected 0, 1 or all, found `2`"),
    ("acks = \"1\"", "ack = \"1\"", "22:12: `ack` is not a setting; did you mean `acks`?"),
    ("acks = \"1\"", "acks = \"1\", \"enable.idempotence\" = true", "22:24: enable.idempotence: needs acks=all"),
    ("orders.retention.ms=1000", "orders.retention=1000", "35:11: `retention` is not a topic's setting; did you mean `retention.ms`?"),
    ("orders.retention.ms=1000", "order.retention.ms=1000", "35:11: `order` is not a topic; did you mean `orders`?"),
    ("orders.retention.ms=1000", "orders.retention.ms=week", "35:11: Invalid value week for configuration retention.ms: Not a number"),
    // Triggers.
    ("hw(orders-0) >= 4", "hw(orders-0) >=", "29:24: expected a number, a node, a set as [b1, b2], or a function, found the end"),
    ("hw(orders-0) >= 4", "hw(orders-0 >= 4", "29:21: expected `,` or `)`, found `>=`"),
    ("hw(orders-0) >= 4", "hw(orders-0) = 4", "29:23: to compare, write `==`"),
    ("hw(orders-0) >= 4", "hw(orders-0) >= 4 but acked(p1) > 1", "29:27: expected `and`, `or` or the end, found `but`"),
    ("hw(orders-0) >= 4", "hw >= 4", "29:9: `hw` needs parentheses, as `hw(...)`"),
    ("hw(orders-0) >= 4", "hvv(orders-0) >= 4", "29:9: `hvv` is not a function; did you mean `hw`?"),
    ("hw(orders-0) >= 4", "hw(orders-2) >= 4", "29:12: `orders-2` is not a partition; did you mean `orders-0`?"),
    ("hw(orders-0) >= 4", "hw() >= 4", "29:9: `hw` takes 1 or 2 arguments, found 0; as in `hw(orders-0) >= 5`"),
    ("hw(orders-0) >= 4", "hw(orders-0, b1, b2) >= 4", "29:9: `hw` takes 1 or 2 arguments, found 3; as in `hw(orders-0) >= 5`"),
    ("hw(orders-0) >= 4", "hw(orders-0) >= 4 # the fourth", "29:27: `#` is not understood here"),
    ("hw(orders-0) >= 4", "hw(orders-0)", "29:9: expected true or false; `hw(orders-0)` is a number"),
    ("hw(orders-0) >= 4", "leader(orders-0) == 4", "29:9: `leader(orders-0)` is a node and `4` is a number: `==` cannot compare them"),
    ("hw(orders-0) >= 4", "leader(orders-0) == b4", "29:29: `b4` is not a node; did you mean `b1`?"),
    ("hw(orders-0) >= 4", "leader(orders-1) == b1", "29:9: `b1` is no replica of orders-1, so `leader(orders-1) == b1` never comes true"),
    ("hw(orders-0) >= 4", "isr(orders-1) == [b1, b2]", "29:9: `b1` is no replica of orders-1, so `isr(orders-1) == [b1, b2]` never comes true"),
    ("hw(orders-0) >= 4", "leader(orders-0) == [b1]", "29:9: `leader(orders-0)` is a node and `[b1]` is a set of nodes: `==` cannot compare them"),
    ("hw(orders-0) >= 4", "acked(p2) == 4", "29:15: `p2` is not a client; did you mean `p1`?"),
    ("hw(orders-0) >= 4", "acked(p1) == 13", "29:9: `p1` sends 12 records, so `acked(p1) == 13` never comes true"),
    ("hw(orders-0) >= 4", "acked(p1) > 12", "29:9: `p1` sends 12 records, so `acked(p1) > 12` never comes true"),
    ("hw(orders-0) >= 4", "acked(r1) >= 1", "29:9: `r1` sends nothing, so `acked(r1)` stays 0"),
    ("hw(orders-0) >= 4", "size(isr(orders-0)) == 4", "29:9: `isr(orders-0)` has at most 3 nodes, so `size(isr(orders-0)) == 4` never comes true"),
    ("hw(orders-0) >= 4", "size(rack(r3)) > 0", "29:19: `r3` is not a rack; did you mean `r1`?"),
    ("hw(orders-0) >= 4", "", "29:9: expected a number, a node, a set as [b1, b2], or a function, found the end"),
    ("on     = \"appended(orders-0, b1)\"", "on     = \"append(orders-0, b1)\"", "33:11: `append` is not an event; did you mean `appended`?"),
    ("appended(orders-0, b1)", "appended(orders-0, p2)", "33:30: `p2` is not a node; did you mean `b2`?"),
    ("appended(orders-0, b1)", "appended(b1)", "33:20: `b1` is not a partition; expected one of: orders-0, orders-1"),
    ("appended(orders-0, b1)", "request(AlterPartitions)", "33:19: `AlterPartitions` is not an API; did you mean `AlterPartition`?"),
    ("appended(orders-0, b1)", "appended", "33:19: expected `(`, found the end"),
    ("within = \"20s\"", "after  = \"20s\"", "32:1: a step has one trigger: `when` and `on` together, or `after`, or `at`"),
    ("within = \"20s\"\n", "at = \"2s\"\nwithin = \"20s\"\n", "32:1: a step has one trigger: `when` and `on` together, or `after`, or `at`"),
    ("when = \"hw(orders-0) >= 4\"", "at   = \"90s\"", "28:1: this step waits for 90s, and the run is given up after 60s (`deadline`)"),
    // Actions.
    ("crash b1 kill", "crush b1 kill", "35:11: `crush` is not an action; did you mean `crash`?"),
    ("crash b1 kill", "crash b1", "35:19: expected `kill` (the page cache stays), `power` (what was synced stays) or `torn` (that, and shreds of the rest), found `;`"),
    ("crash b1 kill", "crash b1 hard", "35:20: expected `kill` (the page cache stays), `power` (what was synced stays) or `torn` (that, and shreds of the rest), found `hard`"),
    ("crash b1 kill", "crash b9 kill", "35:17: `b9` is not a node; did you mean `b1`?"),
    ("crash b1 kill", "stop p1", "35:16: `p1` is a client in no group, and has nothing to finish in an orderly way; it can crash: `crash p1 kill`"),
    ("crash b1 kill", "crash isr(orders-9) kill", "35:21: `orders-9` is not a partition; did you mean `orders-0`?"),
    ("crash b1 kill", "stop hw(orders-0)", "35:16: expected nodes; `hw(orders-0)` is a number"),
    ("crash b1 kill", "restart b1 empty", "35:22: expected `;` or the end, found `empty`"),
    ("crash b1 kill", "restart c1 blank", "35:19: `c1`: the controller is the only one, and without its log there is no cluster; expected brokers"),
    ("crash b1 kill", "restart all blank", "35:19: `all`: the controller is the only one, and without its log there is no cluster; expected brokers"),
    ("crash b1 kill", "restart p1 blank", "35:19: `p1` is a client, and has nothing on its disk; expected a broker"),
    ("crash b1 kill", "cut b1 b2", "35:18: expected `|` (both directions) or `>` (one), found `b2`"),
    ("crash b1 kill", "slow b1 > b2 fast", "35:24: expected a time as 300ms, 5s or 2m, found `fast`"),
    ("crash b1 kill", "hold b1 > b2 Fetch", "35:24: expected `api=NAME`, as `api=Fetch`, found `Fetch`"),
    ("crash b1 kill", "hold b1 > b2 api=Fetsh", "35:28: `Fetsh` is not an API; did you mean `Fetch`?"),
    ("crash b1 kill", "drop b1 > b2 api=Fetch n=0", "35:36: expected a number from 1 to 1000000, found `0`"),
    ("crash b1 kill", "lose b1 > b2 100%", "35:24: expected 1% to 99%, found `100%`; `cut` loses everything"),
    ("crash b1 kill", "lose b1 > b2 5", "35:24: expected 1% to 99%, found `5`; `cut` loses everything"),
    ("crash b1 kill", "bandwidth b1 > b2 1mb/s", "35:29: expected bytes a second as 500B/s, 64kB/s or 1MB/s, found `1mb/s`"),
    ("crash b1 kill", "clock b1 5 s", "35:20: expected a time as 300ms, 5s or 2m, found `5`"),
    ("crash b1 kill", "disk b1 broken", "35:19: `broken` is not what can be wrong with a disk; expected one of: stall, slow, full, eio, sync-eio, lost-sync, corrupt, heal"),
    ("crash b1 kill", "disk b1 corrupt orders-0", "35:27: expected a record by its place, as orders-0@10, found `orders-0`"),
    ("crash b1 kill", "disk b1 corrupt orders-0@-1", "35:27: expected a record by its place, as orders-0@10, found `orders-0@-1`"),
    ("crash b1 kill", "disk b1 corrupt orders-9@1", "35:27: `orders-9` is not a partition; did you mean `orders-0`?"),
    ("crash b1 kill", "disk c1 corrupt orders-0@1", "35:16: `c1` has no copy of orders-0; expected a broker"),
    ("crash b1 kill", "disk b1 slow soon", "35:24: expected a time as 300ms, 5s or 2m, found `soon`"),
    ("crash b1 kill", "disk b1", "35:18: expected what is wrong with the disk, as `stall`, or `heal`, found `;`"),
    ("crash b1 kill", "disk p1 full", "35:16: `p1` is a client, and has nothing on its disk; expected a broker or a controller"),
    ("crash b1 kill", "elect orders-0", "35:17: expected `preferred` or `unclean`, found `orders-0`"),
    ("crash b1 kill", "move orders-0 [b2]", "35:25: expected `to` and the replicas, as `move orders-0 to [b2, b3]`, found `[`"),
    ("crash b1 kill", "move orders-0 to [b2, p1]", "35:33: expected a broker, found `p1`"),
    ("crash b1 kill", "move orders-0 to []", "35:11: expected at least one broker, as [b1]"),
    ("crash b1 kill", "move cancel orders-0", "35:16: a move is cancelled by `reassign cancel orders-0`"),
    ("crash b1 kill", "reassign orders-0 to [b2], cancel orders-0", "35:45: `orders-0` stands here twice"),
    ("crash b1 kill", "fence c1", "35:17: expected a broker, found `c1`"),
    ("crash b1 kill", "delete-records orders-0 10", "35:35: expected `before` and an offset, as `delete-records orders-0 before 10`, found `10`"),
    ("crash b1 kill", "delete-records orders-0 before b1", "35:42: expected an offset, found `b1`"),
    ("crash b1 kill", "delete topic order", "35:11: `order` is not a topic; did you mean `orders`?"),
    ("crash b1 kill", "create orders", "35:18: expected `topic` and its name, as `create topic orders`, found `orders`"),
    ("crash b1 kill", "delete-records orders-9 before 10", "35:26: `orders-9` is not a partition; did you mean `orders-0`?"),
    ("crash b1 kill", "delete orders-0 before 10", "35:18: expected `topic` and its name, as `delete topic orders`, found `orders-0`"),
    ("crash b1 kill;", "crash b1 kill,", "35:24: expected `;` or the end, found `,`"),
    ("crash b1 kill", "", "35:11: expected an action, as `crash b1 kill`, found `;`"),
    // Variants.
    ("client.p1.acks", "client.p2.acks", "44:12: `p2` is not a client; did you mean `p1`?"),
    ("client.p1.acks", "client.p1.ack", "44:12: `ack` is not a setting; did you mean `acks`?"),
    ("client.p1.acks", "client.p1", "44:12: expected a setting of `p1`, as `client.p1.client.id`"),
    ("client.p1.acks", "client.p1.send.value", "44:12: `value` is not a key of `send` that a variant may set; expected one of: count, every"),
    ("client.p1.acks", "client.r1.send.count", "44:12: `r1` does not send"),
    ("client.p1.acks", "clients.p1.acks", "44:12: `clients` is not what a variant may set; did you mean `client`?"),
    ("client.p1.acks", "topic.order.min.insync.replicas", "44:12: `order` is not a topic; did you mean `orders`?"),
    ("client.p1.acks", "topic.orders.min.insync.replica", "44:12: `min.insync.replica` is not a topic's setting; did you mean `min.insync.replicas`?"),
    ("client.p1.acks", "topic.orders.replicas", "44:12: expected a list of replicas for each partition"),
    ("client.p1.acks", "cluster.racks", "44:12: expected a list, found `all`"),
    ("client.p1.acks", "cluster.brokers", "44:12: a variant cannot change the number of brokers; it may set `cluster.racks`"),
    ("client.p1.acks", "cluster.replica.lag", "44:12: `replica.lag` is not a property of brokers; did you mean `replica.lag.time.max.ms`?"),
    ("client.p1.acks", "switch.truncat", "44:12: `truncat` is not a switch; did you mean `truncate`?"),
    ("client.p1.acks", "seed", "44:12: `seed` is not what a variant may set; expected one of: era, switch, cluster, topic, client"),
    ("client.p1.acks\" = \"all\"", "topic.orders.replicas\" = [[\"b1\", \"b7\"], [\"b2\"]]", "44:46: `b7` is not a broker; did you mean `b1`?"),
    ("client.p1.acks\" = \"all\"", "client.p1.send.count\" = 0", "44:12: expected 1 to 1000000 records, found `0`"),
    ("client.p1.acks\" = \"all\"", "client.p1.send.every\" = \"soon\"", "44:12: expected a time as 300ms, 5s or 2m, found `soon`"),
    ("2 = { do = \"stop b1\" }", "3 = { do = \"stop b1\" }", "46:12: there is no step 3; the scenario has 2"),
    ("2 = { do = \"stop b1\" }", "0 = { do = \"stop b1\" }", "46:12: expected the number of a step, from 1, found `0`"),
    ("2 = { do = \"stop b1\" }", "second = { do = \"stop b1\" }", "46:12: expected the number of a step, from 1, found `second`"),
    ("2 = { do = \"stop b1\" }", "2 = { do = \"stop b5\" }", "46:29: `b5` is not a node; did you mean `b1`?"),
    ("name   = \"acks=all\"", "name   = \"acks=all\"\nmust_reach = [\"isr_shrank\"]", "44:16: `isr_shrank` is not a mark; did you mean `isr_shrunk`?"),
    ("why     = \"So.\"", "why = \"So.\"\nvariants = [\"acks=al\"]", "54:14: `acks=al` is not a variant of this scenario; did you mean `acks=all`?"),
    ("[[predict]]", "[predict]", "48:1: `predict` may be there several times: write [[predict]]"),
    // TOML.
    ("seed       = 7", "seed       = ", "3:14: string values must be quoted, expected literal string"),
    ("seed       = 7", "seed       7", "3:12: key with no value, expected `=`"),
    ("seed       = 7", "seed       = 7\nseed       = 8", "4:1: `seed` is here twice"),
    ("\"a story\"", "\"a story", r#"2:22: invalid basic string, expected `"`"#),
    ("[[topic]]", "[[topic]", "14:9: unclosed array table, expected `]`"),
    ("[cluster]\n", "[cluster]\n[cluster]\n", "10:2: the table `cluster` is here twice; where there may be several, write [[step]]"),
    // Texts over several lines.
    ("\"hw(orders-0) >= 4\"", "\"\"\"\n  hw(orders-0) >= 4\n  and hw(orders-5) >= 4\"\"\"", "31:10: `orders-5` is not a partition; did you mean `orders-0`?"),
];

/// The message for the sound file with one change.
fn fault_of(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "`{from}` is not in the sound scenario");
    checked(&SOUND.replacen(from, to, 1)).err().unwrap_or_else(|| "no fault".to_owned())
}

#[test]
fn every_fault_is_told_with_its_place_and_what_to_write() {
    checked(SOUND).expect("the sound scenario has no fault");
    let wrong: Vec<String> = FAULTS
        .iter()
        .map(|(from, to, expected)| (from, to, expected, fault_of(from, to)))
        .filter(|(_, _, expected, found)| found != *expected)
        .map(|(from, to, expected, found)| format!("`{from}` as `{to}`\n    expected {expected}\n    found    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{} faults are told otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_empty_file_is_told_what_to_begin_with() {
    let begin = "1:1: `kafka` is missing in a scenario; write kafka = \"4.1\"";
    for text in ["", "\n\n", "# nothing but a comment\n"] {
        assert_eq!(checked(text), Err(begin.to_owned()), "{text:?}");
    }
}
