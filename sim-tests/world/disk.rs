//! What a disk keeps when its process is killed, and when its host loses power; and what it does when it is broken.

use std::{io::ErrorKind, time::Duration};

use highwater::{
    runtime::{
        DiskFault, clock,
        disk::{Disk, Open},
    },
    trace::{Event, StopKind},
};

use super::{Host, in_a_world, pass_ms};

const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;

/// Content of page `page` that tells where each of its bytes belongs.
fn page(page: usize) -> Vec<u8> {
    (0..PAGE_BYTES).map(|at| 1 + ((page * 31 + at / SECTOR_BYTES) % 250) as u8).collect()
}

async fn write(disk: &Disk, path: &str, content: &[u8]) -> highwater::runtime::disk::File {
    let file = disk.open(path, Open::Write).await.unwrap();
    file.write_at(0, content).await.unwrap();
    file
}

async fn read(disk: &Disk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(path, Open::Read).await.ok()?;
    Some(file.read_at(0, file.len().await.unwrap() as usize).await.unwrap().to_vec())
}

/// Crashes `a` and starts it again.
async fn crash(world: &highwater::runtime::sim::World, how: StopKind) {
    world.crash("a", how);
    pass_ms(10).await;
    world.restart("a");
}

in_a_world! {
    fn a_killed_process_leaves_what_it_wrote_without_any_sync(world, seen) {
        let a = Host::new(&world, "a");
        a.run(async { write(&Disk::at(""), "log", b"not synced").await }).await.unwrap();
        crash(&world, StopKind::Kill).await;
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap();
        assert_eq!(found.as_deref(), Some(&b"not synced"[..]));
        assert!(seen.all(|event| matches!(event, Event::UnsyncedLost { .. })).is_empty());
    }

    fn a_power_loss_leaves_what_was_synced_with_its_name(world, _seen) {
        let a = Host::new(&world, "a");
        a.run(async {
            let disk = Disk::at("");
            let file = write(&disk, "log", &page(1)).await;
            file.sync().await.unwrap();
            disk.sync_dir("").await.unwrap();
        })
        .await
        .unwrap();
        crash(&world, StopKind::Power).await;
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap();
        assert_eq!(found, Some(page(1)));
    }

    fn a_power_loss_takes_a_part_of_the_unsynced_pages_and_tears_some_at_a_sector(world, seen) {
        const PAGES: usize = 400;
        let a = Host::new(&world, "a");
        a.run(async {
            let disk = Disk::at("");
            let file = write(&disk, "log", &page(0)).await;
            file.sync().await.unwrap();
            disk.sync_dir("").await.unwrap();
            let rest: Vec<u8> = (1..PAGES).flat_map(page).collect();
            file.write_at(PAGE_BYTES as u64, &rest).await.unwrap();
        })
        .await
        .unwrap();
        crash(&world, StopKind::Power).await;
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap().unwrap();
        assert_eq!(found[..PAGE_BYTES], page(0), "what was synced stays");
        let (mut whole, mut gone, mut torn) = (0, 0, 0);
        for number in 1..PAGES {
            let from = (number * PAGE_BYTES).min(found.len());
            let kept = &found[from..(from + PAGE_BYTES).min(found.len())];
            let sound = kept.iter().zip(page(number)).take_while(|(a, b)| **a == *b).count();
            assert_eq!(sound % SECTOR_BYTES, 0, "page {number} is torn within a sector, at {sound}");
            assert!(kept[sound..].iter().all(|byte| *byte == 0), "page {number} has bytes that nobody wrote");
            match sound {
                0 => gone += 1,
                PAGE_BYTES => whole += 1,
                _ => torn += 1,
            }
        }
        assert!(whole > 100 && gone > 100 && torn > 5, "{whole} whole, {gone} gone, {torn} torn");
        assert_eq!(seen.all(|event| matches!(event, Event::UnsyncedLost { .. })).len(), 1);
    }

    fn a_power_loss_while_writing_leaves_sectors_in_no_order_and_never_touches_what_was_synced(world, seen) {
        const FILES: usize = 60;
        let a = Host::new(&world, "a");
        a.run(async {
            let disk = Disk::at("");
            for number in 0..FILES {
                let file = write(&disk, &format!("log-{number}"), &page(0)).await;
                file.sync().await.unwrap();
                disk.sync_dir("").await.unwrap();
                for number in 1..4 {
                    file.write_at((number * PAGE_BYTES) as u64, &page(number)).await.unwrap();
                }
            }
        })
        .await
        .unwrap();
        crash(&world, StopKind::Torn).await;
        let written: Vec<u8> = (0..4).flat_map(page).collect();
        let (mut lengths, mut holes, mut zeros) = (std::collections::BTreeSet::new(), 0, 0);
        for number in 0..FILES {
            let found = a.run(async move { read(&Disk::at(""), &format!("log-{number}")).await }).await.unwrap().unwrap();
            assert_eq!(found[..PAGE_BYTES], page(0), "what was synced stays");
            lengths.insert(found.len());
            let sectors: Vec<bool> = (PAGE_BYTES..found.len())
                .step_by(SECTOR_BYTES)
                .map(|at| match &found[at..at + SECTOR_BYTES] {
                    sector if sector == &written[at..at + SECTOR_BYTES] => true,
                    sector => {
                        assert!(sector.iter().all(|byte| *byte == 0), "sector {at} has bytes that nobody wrote");
                        false
                    }
                })
                .collect();
            holes += usize::from(sectors.windows(2).any(|two| two == [false, true]));
            zeros += usize::from(sectors.last() == Some(&false));
        }
        assert_eq!(lengths, (1..=4).map(|pages| pages * PAGE_BYTES).collect(), "the length is any that the file had");
        assert!(holes > 20 && zeros > 10, "{holes} files with a hole, {zeros} that end in zeros");
        assert_eq!(seen.all(|event| matches!(event, Event::UnsyncedLost { .. })).len(), 1);
    }

    fn a_name_is_durable_only_after_its_folder_was_synced(world, _seen) {
        const FILES: usize = 40;
        let a = Host::new(&world, "a");
        a.run(async {
            let disk = Disk::at("");
            for number in 0..FILES {
                let file = write(&disk, &format!("new-{number}"), b"synced").await;
                file.sync().await.unwrap();
            }
        })
        .await
        .unwrap();
        crash(&world, StopKind::Power).await;
        let kept = a.run(async { Disk::at("").list("").await.unwrap().len() }).await.unwrap();
        assert!(0 < kept && kept < FILES, "{kept} of {FILES} names reached the disk");
    }

    fn a_renamed_file_is_there_under_its_old_or_its_new_name(world, _seen) {
        const FILES: usize = 40;
        let a = Host::new(&world, "a");
        a.run(async {
            let disk = Disk::at("");
            for number in 0..FILES {
                write(&disk, &format!("old-{number}"), b"synced").await.sync().await.unwrap();
            }
            disk.sync_dir("").await.unwrap();
            for number in 0..FILES {
                disk.rename(&format!("old-{number}"), &format!("new-{number}")).await.unwrap();
            }
        })
        .await
        .unwrap();
        crash(&world, StopKind::Power).await;
        let names = a.run(async { Disk::at("").list("").await.unwrap() }).await.unwrap();
        let new = names.iter().filter(|entry| entry.name.starts_with("new-")).count();
        assert_eq!(names.len(), FILES, "each file has one name");
        assert!(0 < new && new < FILES, "{new} of {FILES} renames reached the disk");
    }

    fn a_sync_makes_durable_what_was_written_before_it_began(world, _seen) {
        let a = Host::new(&world, "a");
        let file = a.run(async {
            let disk = Disk::at("");
            let file = write(&disk, "log", &page(1)).await;
            disk.sync_dir("").await.unwrap();
            file
        });
        let file = file.await.unwrap();
        let later = file.clone();
        let ((), ()) = tokio::join!(
            async { file.sync().await.unwrap() },
            async { later.write_at(0, &page(2)).await.unwrap() },
        );
        crash(&world, StopKind::Power).await;
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap().unwrap();
        let sound = found.iter().zip(page(2)).take_while(|(a, b)| **a == *b).count();
        assert_eq!(sound % SECTOR_BYTES, 0);
        assert_eq!(found[sound..], page(1)[sound..], "behind it is what the sync made durable");
    }

    fn a_dead_process_changes_nothing_on_the_disk_any_more(world, _seen) {
        let a = Host::new(&world, "a");
        let file = a.run(async { write(&Disk::at(""), "log", b"before").await }).await.unwrap();
        world.crash("a", StopKind::Kill);
        let late = clock::timeout(Duration::from_secs(1), file.write_at(0, b"after!"));
        assert!(late.await.is_err(), "a call of a dead process never returns");
        world.restart("a");
        let late = clock::timeout(Duration::from_secs(1), file.write_at(0, b"after!"));
        assert!(late.await.is_err(), "nor when the next process runs");
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap();
        assert_eq!(found.as_deref(), Some(&b"before"[..]));
    }

    fn a_full_disk_takes_nothing_longer_and_nothing_new_but_deletes(world, _seen) {
        let a = Host::new(&world, "a");
        let file = a.run(async { write(&Disk::at(""), "log", b"before").await }).await.unwrap();
        world.break_disk("a", DiskFault::Full);
        let (written, longer, new, gone) = a
            .run(async move {
                let disk = Disk::at("");
                let written = file.write_at(0, b"BEFORE").await.is_ok();
                let longer = file.write_at(6, b"more").await.unwrap_err().kind();
                let new = disk.open("new", Open::Write).await.unwrap_err().kind();
                file.set_len(3).await.unwrap();
                (written, longer, new, disk.remove_file("log").await.is_ok())
            })
            .await
            .unwrap();
        assert!(written && gone);
        assert_eq!((longer, new), (ErrorKind::StorageFull, ErrorKind::StorageFull));
        world.heal_disk("a");
        a.run(async { write(&Disk::at(""), "new", b"there is space again").await }).await.unwrap();
    }

    fn a_write_that_fails_leaves_the_file_as_it_was_and_a_sync_that_fails_makes_nothing_durable(world, _seen) {
        let a = Host::new(&world, "a");
        let file = a
            .run(async {
                let disk = Disk::at("");
                let file = write(&disk, "log", &page(1)).await;
                file.sync().await.unwrap();
                disk.sync_dir("").await.unwrap();
                file
            })
            .await
            .unwrap();
        world.break_disk("a", DiskFault::Eio);
        let broken = file.clone();
        assert!(a.run(async move { broken.write_at(0, &page(2)).await.is_err() }).await.unwrap());
        let broken = file.clone();
        let unreadable =
            a.run(async move { broken.read_at(0, 1).await.is_err() && Disk::at("").list("").await.is_err() });
        assert!(unreadable.await.unwrap());
        world.heal_disk("a");
        assert_eq!(a.run(async { read(&Disk::at(""), "log").await }).await.unwrap(), Some(page(1)));
        world.break_disk("a", DiskFault::SyncEio);
        let pages: Vec<u8> = (0..40).flat_map(page).collect();
        let failed = a.run(async move {
            file.write_at(0, &pages).await.unwrap();
            file.sync().await.is_err() && Disk::at("").sync_dir("").await.is_err()
        });
        assert!(failed.await.unwrap());
        crash(&world, StopKind::Power).await;
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap().unwrap();
        let whole: Vec<u8> = (0..40).flat_map(page).collect();
        assert_ne!(found, whole, "the power took a part of what no sync had made durable");
    }

    // "fsyncgate": what PostgreSQL found out in 2018.
    fn what_a_failed_sync_was_for_is_brought_to_the_disk_by_no_later_sync_unless_it_is_written_again(world, seen) {
        let a = Host::new(&world, "a");
        let file = a.run(async {
            let disk = Disk::at("");
            let file = write(&disk, "log", &[page(1), page(1), page(1)].concat()).await;
            file.sync().await.unwrap();
            disk.sync_dir("").await.unwrap();
            file
        });
        let file = file.await.unwrap();
        world.break_disk("a", DiskFault::SyncEio);
        let broken = file.clone();
        let failed = a.run(async move {
            broken.write_at(0, &[page(2), page(2)].concat()).await.unwrap();
            broken.sync().await.is_err()
        });
        assert!(failed.await.unwrap());
        world.heal_disk("a");
        crash(&world, StopKind::Kill).await;
        a.run(async {
            let disk = Disk::at("");
            assert_eq!(read(&disk, "log").await.unwrap()[..PAGE_BYTES], page(2), "the page cache has it");
            let file = disk.open("log", Open::Write).await.unwrap();
            let end = 2 * PAGE_BYTES as u64;
            file.write_at(end - 1, &page(3)[..2]).await.unwrap();
            file.sync().await.unwrap();
        })
        .await
        .unwrap();
        crash(&world, StopKind::Power).await;
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap().unwrap();
        let mut rewritten = [page(1), page(2), page(1)].concat();
        rewritten[2 * PAGE_BYTES - 1..=2 * PAGE_BYTES].copy_from_slice(&page(3)[..2]);
        assert_eq!(found, rewritten, "the first page is as it was, the second as a whole as it was written again");
        let lost = seen.all(|event| matches!(event, Event::UnsyncedLost { bytes, .. } if *bytes == PAGE_BYTES as u64));
        assert_eq!(lost.len(), 1);
    }

    fn a_sync_that_is_lost_says_nothing_and_the_power_takes_what_it_was_for(world, seen) {
        let a = Host::new(&world, "a");
        world.break_disk("a", DiskFault::LostSync);
        a.run(async {
            let disk = Disk::at("");
            for number in 0..40 {
                write(&disk, &format!("log-{number}"), &page(1)).await.sync().await.unwrap();
            }
            disk.sync_dir("").await.unwrap();
        })
        .await
        .unwrap();
        world.heal_disk("a");
        crash(&world, StopKind::Power).await;
        let kept = a.run(async { Disk::at("").list("").await.unwrap().len() }).await.unwrap();
        assert!(kept < 40, "all {kept} names were kept");
        assert_eq!(seen.all(|event| matches!(event, Event::UnsyncedLost { .. })).len(), 1);
    }

    fn what_rots_is_seen_at_once_survives_the_power_and_is_mended_where_it_still_stands(world, _seen) {
        let a = Host::new(&world, "a");
        a.run(async {
            let disk = Disk::at("");
            disk.create_dir_all("t-0").await.unwrap();
            for name in ["t-0/one", "t-0/two"] {
                write(&disk, name, &page(1)).await.sync().await.unwrap();
            }
            disk.sync_dir("").await.unwrap();
            disk.sync_dir("t-0").await.unwrap();
        })
        .await
        .unwrap();
        let pick = |name: &str, content: &[u8]| (name == "two" && content == page(1)).then_some(100..200);
        assert!(world.rot("a", "t-0", pick));
        assert!(!world.rot("a", "t-0", pick), "it is another content now");
        crash(&world, StopKind::Power).await;
        let found = a.run(async { read(&Disk::at(""), "t-0/two").await }).await.unwrap().unwrap();
        let rotten: Vec<usize> = (0..PAGE_BYTES).filter(|at| found[*at] != page(1)[*at]).collect();
        assert!((1..=4).contains(&rotten.len()) && rotten.iter().all(|at| (100..200).contains(at)), "{rotten:?}");
        assert_eq!(a.run(async { read(&Disk::at(""), "t-0/one").await }).await.unwrap(), Some(page(1)));
        world.heal_disk("a");
        assert_eq!(a.run(async { read(&Disk::at(""), "t-0/two").await }).await.unwrap(), Some(page(1)));
        assert!(world.rot("a", "t-0", pick));
        a.run(async { write(&Disk::at(""), "t-0/two", &page(2)).await }).await.unwrap();
        world.heal_disk("a");
        let found = a.run(async { read(&Disk::at(""), "t-0/two").await }).await.unwrap();
        assert_eq!(found, Some(page(2)), "what was written over is not what had rotted");
    }

    fn a_slow_disk_takes_its_time_and_a_stalled_one_answers_when_it_is_healed(world, _seen) {
        let a = Host::new(&world, "a");
        let file = a.run(async { write(&Disk::at(""), "log", b"before").await }).await.unwrap();
        world.break_disk("a", DiskFault::Slow(Duration::from_millis(50)));
        let (slow, began) = (file.clone(), clock::now());
        a.run(async move { slow.write_at(0, b"slow..").await.unwrap() }).await.unwrap();
        assert!(clock::now().since(began) >= Duration::from_millis(50));
        world.break_disk("a", DiskFault::Stall);
        let stalled = a.run(async move { file.write_at(0, b"after!").await.unwrap() });
        tokio::pin!(stalled);
        assert!(clock::timeout(Duration::from_secs(5), &mut stalled).await.is_err(), "it does not answer");
        assert_eq!(a.run(async { read(&Disk::at(""), "log").await }).await.unwrap().as_deref(), Some(&b"slow.."[..]));
        world.heal_disk("a");
        stalled.await.unwrap();
        assert_eq!(a.run(async { read(&Disk::at(""), "log").await }).await.unwrap().as_deref(), Some(&b"after!"[..]));
    }

    fn a_write_that_stalls_dies_with_its_process(world, _seen) {
        let a = Host::new(&world, "a");
        let file = a.run(async { write(&Disk::at(""), "log", b"before").await }).await.unwrap();
        world.break_disk("a", DiskFault::Stall);
        let late = clock::timeout(Duration::from_secs(1), a.run(async move { file.write_at(0, b"after!").await }));
        assert!(late.await.is_err());
        crash(&world, StopKind::Kill).await;
        world.heal_disk("a");
        let found = a.run(async { read(&Disk::at(""), "log").await }).await.unwrap();
        assert_eq!(found.as_deref(), Some(&b"before"[..]));
    }
}
