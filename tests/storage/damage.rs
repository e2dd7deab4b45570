//! Damaged files: an error that names the file and the place, or what the log can make again. Never a panic, never
//! other records than those that were appended.

use std::collections::BTreeSet;

use bytes::Bytes;
use highwater::{
    base::{LeaderEpoch, Offset, Switches, random},
    protocol::records::batches,
    runtime::disk::{Disk, Open},
    storage::{Log, StorageError},
};
use rand::Rng;

use super::{FOLDER, block_on, on_disk, options, options_after_kill, small_config, small_log, temporary_folder};

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// Removed.
    Remove,
    /// One byte flipped; negative positions count from the end.
    Flip(i64),
    /// Cut by so many bytes.
    Cut(u64),
    /// Replaced.
    Text(&'static str),
    /// Zeros added.
    Zeros(u64),
}

pub async fn damage(disk: &Disk, path: &str, damage: Damage) {
    if let Damage::Remove = damage {
        return disk.remove_file(path).await.unwrap();
    }
    let file = disk.open(path, Open::Write).await.unwrap();
    let length = file.len().await.unwrap();
    match damage {
        Damage::Flip(at) => {
            let at = if at < 0 { length - at.unsigned_abs() } else { at as u64 };
            let byte = file.read_at(at, 1).await.unwrap()[0];
            file.write_at(at, &[byte ^ 0x55]).await.unwrap();
        }
        Damage::Cut(bytes) => file.set_len(length - bytes).await.unwrap(),
        Damage::Zeros(bytes) => file.set_len(length + bytes).await.unwrap(),
        Damage::Text(text) => {
            file.set_len(0).await.unwrap();
            file.write_at(0, text.as_bytes()).await.unwrap();
        }
        Damage::Remove => unreachable!("removed above"),
    }
}

/// All batches of a log, read as a consumer does.
async fn contents(log: &Log) -> Result<Vec<Bytes>, StorageError> {
    let mut found = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let bytes = log.read(from, log.end_offset(), 700, true).await?;
        if bytes.is_empty() {
            break;
        }
        for batch in batches(&bytes) {
            let (header, bytes) = batch.expect("what is read is whole");
            assert!(header.end_offset() > from, "read {from}, got a batch up to {}", header.end_offset());
            from = header.end_offset();
            found.push(bytes);
        }
    }
    Ok(found)
}

/// Names of the files of the small log with this ending, in order.
async fn files(disk: &Disk, ending: &str) -> Vec<String> {
    let entries = disk.list(FOLDER).await.unwrap();
    let names = entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(ending));
    names.map(|name| format!("{FOLDER}/{name}")).collect()
}

/// Damages the `index`th file (negative: from the end) with the ending after a clean stop or a kill, and opens the log.
/// `wanted` is the offset it then ends at, or what the error says.
fn check(ending: &'static str, index: i64, how: Damage, clean: bool, wanted: Result<i64, &'static [&'static str]>) {
    on_disk(|disk| async move {
        let mut log = small_log(&disk, &small_config()).await;
        let before = contents(&log).await.unwrap();
        let recovery_point = log.recovery_point();
        if clean {
            log.close().await.unwrap();
        }
        drop(log);
        let files = files(&disk, ending).await;
        let index = if index < 0 { files.len() - index.unsigned_abs() as usize } else { index as usize };
        damage(&disk, &files[index], how).await;
        let options = if clean { options(small_config()) } else { options_after_kill(small_config(), recovery_point) };
        let opened = Log::open(&disk, FOLDER, options).await;
        let case = format!("{how:?} of {}, clean: {clean}", files[index]);
        let outcome = match &opened {
            Ok(log) => contents(log).await.map(|batches| (log.end_offset().0, batches)).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match (outcome, wanted) {
            (Ok((end, batches)), Ok(wanted)) => {
                assert_eq!(end, wanted, "{case}");
                assert_eq!(batches, before[..batches.len()], "{case}");
                assert_eq!(batches.len() as i64, end / 2, "{case}");
                let log = opened.as_ref().unwrap();
                assert_eq!(log.latest_epoch().0, if end > 24 { 3 } else { 0 }, "{case}");
                assert_eq!(log.max_timestamp().await.unwrap().unwrap().offset.0, end - 1, "{case}");
            }
            (Err(error), Err(words)) => {
                let file = files[index].rsplit('/').next().unwrap();
                for word in words.iter().chain([&file]) {
                    assert!(error.contains(word), "{case}: `{error}` does not say `{word}`");
                }
            }
            (found, wanted) => panic!("{case}: found {:?}, wanted {wanted:?}", found.map(|(end, _)| end)),
        }
    });
}

#[test]
fn a_damaged_file_of_a_log_is_made_again_or_named() {
    for clean in [true, false] {
        // Batches have 197 bytes, segments 7 of them; the last segment has two.
        check(".log", 1, Damage::Flip(197 + 100), clean, Err(&["byte 197", "CRC"]));
        check(".log", 1, Damage::Flip(197 + 16), clean, Err(&["byte 197", "magic"]));
        check(".index", 1, Damage::Remove, clean, Ok(60));
        check(".index", 1, Damage::Flip(1), clean, Ok(60));
        check(".index", 1, Damage::Cut(3), clean, Ok(60));
        check(".index", 0, Damage::Zeros(800), clean, Ok(60));
        check(".timeindex", 1, Damage::Remove, clean, Ok(60));
        check(".timeindex", 2, Damage::Cut(5), clean, Ok(60));
        check(".timeindex", 0, Damage::Zeros(1200), clean, Ok(60));
        check(".snapshot", -1, Damage::Flip(7), clean, Ok(60));
        check(".snapshot", -1, Damage::Remove, clean, Ok(60));
        check("checkpoint", 0, Damage::Remove, clean, Ok(60));
    }
    check(".log", -1, Damage::Flip(197 + 16), true, Err(&["byte 197", "magic"]));
    check(".log", -1, Damage::Cut(1), true, Err(&["byte 197", "196"]));
    check(".log", -1, Damage::Zeros(10), true, Err(&["byte 394"]));
    check(".index", 1, Damage::Flip(-1), true, Ok(60));
    check(".index", -1, Damage::Text("abcdefgh"), true, Ok(60));
    check("checkpoint", 0, Damage::Text("1\n0\n"), true, Err(&["line 1", "version 0"]));
    check("checkpoint", 0, Damage::Text("0\n2\n0 0\n"), true, Err(&["line 2", "2 entries"]));
    check("checkpoint", 0, Damage::Text("0\n1\n0 x\n"), true, Err(&["line 3", "`0 x`"]));
    check("checkpoint", 0, Damage::Text(""), true, Ok(60));

    check(".log", -1, Damage::Flip(100), false, Ok(56));
    check(".log", -1, Damage::Flip(197 + 3), false, Ok(58));
    check(".log", -1, Damage::Cut(1), false, Ok(58));
    check(".log", -1, Damage::Zeros(10), false, Ok(60));
    check("checkpoint", 0, Damage::Text("0\n2\n0 0\n"), false, Ok(60));
    check("checkpoint", 0, Damage::Text(""), false, Ok(60));
}

#[test]
fn the_planted_bug_keeps_a_torn_batch() {
    on_disk(|disk| async move {
        let log = small_log(&disk, &small_config()).await;
        let recovery_point = log.recovery_point();
        drop(log);
        damage(&disk, files(&disk, ".log").await.last().unwrap(), Damage::Flip(-1)).await;
        for (bug, end) in [(true, 60), (false, 58)] {
            let switches = Switches { bug_recovery_accepts_torn_batch: bug, ..Switches::NEWEST };
            let options =
                highwater::storage::LogOptions { switches, ..options_after_kill(small_config(), recovery_point) };
            assert_eq!(Log::open(&disk, FOLDER, options).await.unwrap().end_offset(), Offset(end));
        }
    });
}

#[test]
fn a_log_that_was_closed_takes_nothing_more() {
    on_disk(|disk| async move {
        let mut log = small_log(&disk, &small_config()).await;
        log.close().await.unwrap();
        let end = log.end_offset();
        for refused in [
            log.truncate_to(Offset(1), "a test").await.err().map(|error| error.to_string()),
            log.begin_epoch(LeaderEpoch(99)).await.err().map(|error| error.to_string()),
            log.append_as_follower(&Bytes::new(), 0).await.err().map(|error| error.to_string()),
        ] {
            assert!(refused.as_ref().is_some_and(|error| error.contains("it is closed")), "{refused:?}");
        }
        assert_eq!(log.end_offset(), end);
    });
}

#[test]
fn an_interrupted_compaction_is_refused_rather_than_guessed_at() {
    on_disk(|disk| async move {
        small_log(&disk, &small_config()).await.close().await.unwrap();
        disk.open(&format!("{FOLDER}/00000000000000000000.log.swap"), Open::Write).await.unwrap();
        let error = Log::open(&disk, FOLDER, options(small_config())).await.err().expect("refused").to_string();
        assert!(error.contains("log.swap") && error.contains("compaction"), "{error}");
    });
}

/// Any bytes of any file of a log changed, after a clean stop or a kill.
#[test]
fn whatever_is_damaged_nothing_panics_and_no_record_is_invented() {
    let folder = temporary_folder();
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..1500 {
        let disk = Disk::at(folder.path().join(seed.to_string()));
        block_on(mutate_and_open(&disk, seed, &mut opened, &mut refused));
        std::fs::remove_dir_all(folder.path().join(seed.to_string())).unwrap();
    }
    assert!(opened > 300 && refused > 100, "{opened} logs opened, {refused} refused");
}

async fn mutate_and_open(disk: &Disk, seed: u64, opened: &mut usize, refused: &mut usize) {
    let mut random = random::stream(seed, "damage");
    let mut log = small_log(disk, &small_config()).await;
    // Base offset and leader epoch lie outside the CRC.
    let content = |batch: &Bytes| batch.slice(16..);
    let known: BTreeSet<Bytes> = contents(&log).await.unwrap().iter().map(content).collect();
    let clean = random.random();
    if clean {
        log.close().await.unwrap();
    }
    let recovery_point = Offset(random.random_range(0..=log.recovery_point().0));
    drop(log);
    let mut names = Vec::new();
    for ending in [".log", ".index", ".timeindex", ".snapshot", "checkpoint"] {
        names.extend(files(disk, ending).await);
    }
    for _ in 0..random.random_range(1..4) {
        let name = &names[random.random_range(0..names.len())];
        let file = disk.open(name, Open::Write).await.unwrap();
        let length = file.len().await.unwrap();
        match random.random_range(0..4) {
            0 => file.set_len(random.random_range(0..=length + 50)).await.unwrap(),
            _ if length == 0 => file.write_at(0, &[random.random(); 8]).await.unwrap(),
            _ => file.write_at(random.random_range(0..length), &[random.random()]).await.unwrap(),
        }
    }
    let options = if clean { options(small_config()) } else { options_after_kill(small_config(), recovery_point) };
    let Ok(mut log) = Log::open(disk, FOLDER, options).await else {
        *refused += 1;
        return;
    };
    *opened += 1;
    if let Ok(found) = contents(&log).await {
        assert!(found.iter().all(|batch| known.contains(&content(batch))), "seed {seed}: a record was invented");
    }
    for timestamp in [0, 1000, 1100, 1295, 2000] {
        let _ = log.offset_for_timestamp(timestamp).await;
    }
    let _ = log.max_timestamp().await;
    let _ = log.truncate_to(Offset(random.random_range(0..60)), "leader-epoch").await;
    let _ = log.flush().await;
    let _ = log.close().await;
}
