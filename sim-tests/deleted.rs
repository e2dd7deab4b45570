//! What is deleted on the leader goes on its followers.

use super::command::told_of;

const SCENARIO: &str = "scenarios/54-behind-the-begin.toml";

#[test]
fn a_follower_hears_of_deleted_records_with_the_answer_that_it_waits_for() {
    for seed in ["1", "2", "3"] {
        let moved = |node| told_of(node, SCENARIO, seed, &["log_start_moved"])[0]["time"].as_u64().unwrap();
        let (leader, follower) = (moved("b1"), moved("b2"));
        // It waits at most for `replica.fetch.wait.max.ms`, 500.
        let later_ms = (follower - leader) / 1_000_000;
        assert!(later_ms <= 600, "seed {seed}: {later_ms} ms after its leader");
    }
}
