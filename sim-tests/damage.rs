//! What a disk that lied has done to a log, and how the replica becomes whole.

use super::command::told_of;

const LOG: &str = "sim-tests/scenarios/damaged-log.toml";
const SYNC: &str = "scenarios/94-a-failed-sync.toml";
const READS: &str = "sim-tests/scenarios/unreadable-disk.toml";
const CHECKPOINT: &str = "sim-tests/scenarios/damaged-checkpoint.toml";

#[test]
fn a_log_that_does_not_open_is_told_and_copied_anew_once_everything_is_healed() {
    let told = told_of("b2", LOG, "8", &["log_loaded", "log_damaged", "damaged_log_removed"]);
    let kinds: Vec<&str> = told.iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, ["log_loaded", "log_damaged", "damaged_log_removed", "log_loaded"]);
    let problem = told[1]["problem"].as_str().unwrap();
    assert!(problem.starts_with("orders-0/"), "it says where: {problem}");
    assert_eq!(told[3]["end_offset"], 0, "nothing of it is kept");
}

#[test]
fn a_hole_below_what_was_called_synced_is_loaded_and_excused() {
    let told = told_of("b2", LOG, "3", &["log_loaded"]);
    let loaded = told.last().unwrap();
    assert_eq!(loaded["start_offset"], 0);
    assert!(loaded["batches"][0]["base_offset"].as_i64().unwrap() > 0, "the begin is gone: {loaded}");
}

#[test]
fn a_checkpoint_of_which_a_part_was_kept_is_removed_before_any_log_is_loaded() {
    let told = told_of("b2", CHECKPOINT, "1", &["node_started", "damaged_checkpoint_removed", "log_loaded"]);
    let mut kinds: Vec<&str> = told.iter().filter_map(|event| event["kind"].as_str()).collect();
    kinds.dedup();
    assert_eq!(kinds, ["node_started", "log_loaded", "node_started", "damaged_checkpoint_removed", "log_loaded"]);
}

#[test]
fn what_a_failed_sync_was_for_is_loaded_once_more_and_gone_with_the_next_loss_of_power() {
    let told = told_of("b1", SYNC, "1", &["log_dir_failed", "log_loaded"]);
    let ends: Vec<_> = told.iter().map(|event| event["end_offset"].as_i64()).collect();
    let [Some(0), None, Some(in_memory), Some(on_disk)] = ends[..] else { panic!("{told:?}") };
    assert!(10 <= in_memory && on_disk < 40, "{in_memory} records after the failed sync, {on_disk} at the end");
}

#[test]
fn a_log_directory_that_cannot_be_read_fails() {
    let told = told_of("b1", READS, "1", &["log_dir_failed", "node_stopped"]);
    assert_eq!(told[0]["kind"], "log_dir_failed", "{told:?}");
}
