//! Sequences of operations on real files.

use highwater::{
    base::Offset,
    storage::{Log, LogConfig},
};

use super::{FOLDER, append, model::Session, on_disk, options, options_after_kill, small_config, small_log};

#[test]
fn a_log_behaves_as_a_list_of_batches_does() {
    for seed in 0..60 {
        on_disk(|disk| async move {
            let mut session = Session::begin(disk, seed).await;
            for _ in 0..80 {
                session.step().await;
            }
            session.check().await;
        });
    }
}

#[test]
fn old_timestamps_do_not_give_each_batch_a_segment() {
    on_disk(|disk| async move {
        let mut log = Log::open(&disk, FOLDER, options(LogConfig::default())).await.unwrap();
        for _ in 0..5 {
            append(&mut log, &[1000], 10, 0).await;
        }
        assert_eq!(segments(&disk).await, 1);
        append(&mut log, &[1001 + LogConfig::default().segment_ms], 10, 0).await;
        assert_eq!(segments(&disk).await, 2);
    });
}

#[test]
fn flush_messages_makes_an_append_durable_before_it_returns() {
    on_disk(|disk| async move {
        let config = LogConfig { flush_messages: 3, ..LogConfig::default() };
        let mut log = Log::open(&disk, FOLDER, options(config)).await.unwrap();
        for (end, durable) in [(2, 0), (4, 4), (6, 4), (8, 8)] {
            append(&mut log, &[1, 2], 10, 0).await;
            assert_eq!((log.end_offset(), log.recovery_point()), (Offset(end), Offset(durable)));
        }
    });
}

#[test]
fn a_roll_makes_what_lies_before_it_durable() {
    on_disk(|disk| async move {
        let log = small_log(&disk, &small_config()).await;
        assert!(segments(&disk).await > 3);
        assert!(log.recovery_point() > Offset(40) && log.recovery_point() < log.end_offset());
    });
}

#[test]
fn a_log_that_was_truncated_to_nothing_starts_where_it_was_told_after_a_restart() {
    on_disk(|disk| async move {
        let mut log = small_log(&disk, &small_config()).await;
        log.truncate_fully_and_start_at(Offset(500), "out-of-range").await.unwrap();
        drop(log);
        let log = Log::open(&disk, FOLDER, options_after_kill(small_config(), Offset(48))).await.unwrap();
        assert_eq!((log.start_offset(), log.end_offset()), (Offset(500), Offset(500)));
        assert!(log.epochs().entries().is_empty());
    });
}

async fn segments(disk: &highwater::runtime::disk::Disk) -> usize {
    disk.list(FOLDER).await.unwrap().iter().filter(|entry| entry.name.ends_with(".log")).count()
}
