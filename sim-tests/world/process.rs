//! Processes and clocks: clean stop, kill, restart, wall clocks that differ.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use highwater::{
    runtime::{clock, process, task},
    trace::{Event, StopKind},
};

use super::{Host, in_a_world, pass_ms, two_hosts};

async fn wall_ms(host: &Host) -> i64 {
    host.run(async { clock::wall_ms() }).await.unwrap()
}

in_a_world! {
    fn a_wall_clock_steps_on_its_own_host_only(world, _seen) {
        let (a, b) = two_hosts(&world);
        let (before_a, before_b) = (wall_ms(&a).await, wall_ms(&b).await);
        let monotonic = clock::now();
        world.step_wall_clock("b", 5_000);
        let (after_a, after_b) = (wall_ms(&a).await, wall_ms(&b).await);
        assert!((0..100).contains(&(after_a - before_a)));
        assert!((5_000..5_100).contains(&(after_b - before_b)));
        world.step_wall_clock("b", -60_000);
        assert!(wall_ms(&b).await < before_b, "it may go back");
        assert!(clock::now().since(monotonic) < Duration::from_millis(100), "time itself does not step");
    }

    fn a_clock_may_run_fast_or_slow_on_its_own_host_only(world, _seen) {
        let (a, b) = two_hosts(&world);
        let second = || async {
            let begun = clock::now();
            clock::sleep(Duration::from_secs(1)).await;
            clock::now().since(begun).as_millis()
        };
        for (ppm, b_takes_ms) in [(0, 1000), (1_000_000, 500), (-500_000, 2000)] {
            world.drift("b", ppm);
            for (host, takes_ms) in [(&a, 1000), (&b, b_takes_ms)] {
                let begun = clock::now();
                let shown_ms = host.run(second()).await.unwrap();
                let passed_ms = clock::now().since(begun).as_millis();
                assert!((995..1010).contains(&shown_ms), "a second on the clock of the host, not {shown_ms} ms");
                assert!((takes_ms - 5..takes_ms + 20).contains(&passed_ms), "{ppm} ppm: {passed_ms} ms");
            }
        }
    }

    fn a_clean_stop_lets_the_process_finish(world, seen) {
        let finished = Arc::new(AtomicU32::new(0));
        let counter = finished.clone();
        world.add_host("a", move || {
            let counter = counter.clone();
            async move {
                process::shutdown_requested().await;
                pass_ms(50).await;
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        pass_ms(10).await;
        world.stop("a");
        assert!(world.is_running("a") && world.is_stopping("a"), "it is asked, not ended");
        pass_ms(100).await;
        assert!(!world.is_stopping("a"));
        assert_eq!(finished.load(Ordering::Relaxed), 1);
        assert!(!world.is_running("a"));
        let clean = |event: &Event| matches!(event, Event::NodeStopped { how: StopKind::Clean });
        assert_eq!(seen.all(clean).len(), 1);
    }

    fn a_killed_process_does_nothing_more_and_a_restart_begins_anew(world, seen) {
        let (ticks, starts) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (ticking, starting) = (ticks.clone(), starts.clone());
        world.add_host("a", move || {
            let ticking = ticking.clone();
            starting.fetch_add(1, Ordering::Relaxed);
            async move {
                // A task that the process started dies with it.
                task::spawn(async move {
                    loop {
                        pass_ms(10).await;
                        ticking.fetch_add(1, Ordering::Relaxed);
                    }
                });
                std::future::pending().await
            }
        });
        pass_ms(100).await;
        world.crash("a", StopKind::Kill);
        let at_crash = ticks.load(Ordering::Relaxed);
        assert!(at_crash > 5);
        pass_ms(1_000).await;
        assert_eq!(ticks.load(Ordering::Relaxed), at_crash);
        world.restart("a");
        world.restart("a");
        pass_ms(100).await;
        assert!(ticks.load(Ordering::Relaxed) > at_crash);
        assert_eq!(starts.load(Ordering::Relaxed), 2, "a process that runs is not started again");
        assert_eq!(seen.all(|event| matches!(event, Event::NodeStarted { incarnation: 2 })).len(), 1);
    }

    fn what_a_dead_process_reports_is_not_heard(world, seen) {
        let a = Host::new(&world, "a");
        let tracer = world.tracer("a");
        a.run(async {}).await.unwrap();
        world.crash("a", StopKind::Kill);
        let error = Event::ClientError { error: "late".into() };
        assert_eq!(tracer.milestone(error.clone()), None);
        world.restart("a");
        assert_eq!(tracer.milestone(error), None, "nor by the incarnation before once another runs");
        assert!(seen.all(|event| matches!(event, Event::ClientError { .. })).is_empty());
    }

    fn a_paused_process_stands_still_while_time_goes_on(world, _seen) {
        let a = Host::new(&world, "a");
        let began = clock::now();
        let slept = a.run(async { pass_ms(100).await; clock::now() });
        world.pause("a");
        let resume = async {
            pass_ms(5_000).await;
            world.resume("a");
        };
        let (woke, ()) = tokio::join!(slept, resume);
        assert!(woke.unwrap().since(began) >= Duration::from_secs(5));
    }
}
